//! The CUDA sources, and the names of what they hold.

use crate::compressor::Compressor;
use crate::wire::{BaseFormat, Half};

const COMMON: &str = include_str!("../../cuda/common.cuh");

/// A source file: the kernels of one family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// `1bit`, `2bit`, `2bit-fitted`.
    Sign,
    /// `int8`, `int4`, and the raw step.
    Integer,
    /// `fp8`.
    Fp8,
    /// `sparse(1:M)`.
    Sparse,
    /// `lowrank(r)`, `lowrank-int4(r)`.
    LowRank,
}

impl Source {
    /// Every file.
    pub const ALL: [Self; 5] = [
        Self::Sign,
        Self::Integer,
        Self::Fp8,
        Self::Sparse,
        Self::LowRank,
    ];

    /// The file of a compressor.
    #[must_use]
    pub fn of(compressor: Compressor) -> Self {
        match compressor {
            Compressor::OneBit | Compressor::TwoBit | Compressor::TwoBitFitted => Self::Sign,
            Compressor::Int8 | Compressor::Int4 => Self::Integer,
            Compressor::Fp8 => Self::Fp8,
            Compressor::Sparse(_) => Self::Sparse,
            Compressor::LowRank(_) | Compressor::LowRankInt4(_) => Self::LowRank,
        }
    }

    /// The file's name without its ending.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Sign => "sign",
            Self::Integer => "integer",
            Self::Fp8 => "fp8",
            Self::Sparse => "sparse",
            Self::LowRank => "low_rank",
        }
    }

    /// The text that a compiler gets: what all share, then the family.
    #[must_use]
    pub fn text(self) -> String {
        let own = match self {
            Self::Sign => include_str!("../../cuda/sign.cu"),
            Self::Integer => include_str!("../../cuda/integer.cu"),
            Self::Fp8 => include_str!("../../cuda/fp8.cu"),
            Self::Sparse => include_str!("../../cuda/sparse.cu"),
            Self::LowRank => include_str!("../../cuda/low_rank.cu"),
        };
        format!("{COMMON}\n#line 1 \"{}.cu\"\n{own}", self.name())
    }
}

/// What entry points are built for: the formats of activation and base.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Variant {
    /// The activation.
    pub activation: Half,
    /// The base.
    pub base: BaseFormat,
}

impl Variant {
    /// Every variant.
    pub fn all() -> impl Iterator<Item = Self> {
        [Half::F16, Half::Bf16]
            .into_iter()
            .flat_map(|activation| BaseFormat::ALL.map(|base| Self { activation, base }))
    }

    /// As names of entry points end: `f16_int8`.
    #[must_use]
    pub fn suffix(self) -> String {
        format!(
            "{}_{}",
            activation_name(self.activation),
            base_name(self.base)
        )
    }

    /// What the source is compiled with to have this variant only.
    #[must_use]
    pub fn definitions(self) -> [String; 2] {
        [
            format!("-DDITPLAN_ACTIVATION={}", activation_name(self.activation)),
            format!("-DDITPLAN_BASE={}", base_name(self.base)),
        ]
    }
}

fn activation_name(half: Half) -> &'static str {
    match half {
        Half::F16 => "f16",
        Half::Bf16 => "bf16",
    }
}

fn base_name(base: BaseFormat) -> &'static str {
    match base {
        BaseFormat::F16 => "f16",
        BaseFormat::Bf16 => "bf16",
        BaseFormat::Int8 => "int8",
        BaseFormat::Int4 => "int4",
    }
}
