//! In which numbers a plan's products run, and how its weights are stored.
//!
//! | word of `precision=` | weights | products |
//! |---|---|---|
//! | (none), `bf16` | 16 bits | 16 bits |
//! | `fp8`, `fp8-row`, `fp8-block` | 8 bits, a scale a tensor, row, block | 8 bits, activations quantised on the way |
//! | `int8` | 8 bits | 8-bit integers, activations quantised on the way |
//! | `nvfp4` | 4 bits, a scale for 16 | 4 bits, activations quantised on the way |
//! | `svdq-int4`, `svdq-nvfp4` | 4 bits, and a branch of rank 32 in 16 | 4 bits and the branch (SVDQuant) |
//! | `fp8-weights`, `int8-weights`, `nf4-weights` | 8, 8, 4 bits | 16 bits, weights unpacked before each |
//!
//! Quantised are the products of attention and feed-forward parts; embedders, modulation, convolutions and the output layer
//! keep 16 bits, as engines leave them.

use std::fmt;
use std::str::FromStr;

use topologies::{Architecture, DType, Gpu};

use crate::workload::{ELEMENT_BYTES, Role};

/// In which numbers products run, and how weights are stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Precision {
    /// 16 bits throughout.
    #[default]
    Bf16,
    /// 8-bit floating point, a scale for a tensor.
    Fp8,
    /// The same, a scale for a row.
    Fp8Row,
    /// The same, a scale for a block.
    Fp8Block,
    /// 8-bit integers.
    Int8,
    /// 4-bit floating point.
    Nvfp4,
    /// 4-bit integers and a branch of low rank.
    SvdqInt4,
    /// 4-bit floating point and a branch of low rank.
    SvdqNvfp4,
    /// Weights in 8-bit floating point.
    Fp8Weights,
    /// Weights in 8-bit integers.
    Int8Weights,
    /// Weights in 4-bit normal floats (bitsandbytes).
    Nf4Weights,
}

/// Rank of SVDQuant's branch.
pub const SVDQ_RANK: u64 = 32;

/// Thousandths of a byte that 4 bits and their share of a scale take.
const FOUR_BITS: u64 = 562;

impl Precision {
    /// All of them, as words are listed.
    pub const ALL: [Self; 11] = [
        Self::Bf16,
        Self::Fp8,
        Self::Fp8Row,
        Self::Fp8Block,
        Self::Int8,
        Self::Nvfp4,
        Self::SvdqInt4,
        Self::SvdqNvfp4,
        Self::Fp8Weights,
        Self::Int8Weights,
        Self::Nf4Weights,
    ];

    /// Its word in plans.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Bf16 => "bf16",
            Self::Fp8 => "fp8",
            Self::Fp8Row => "fp8-row",
            Self::Fp8Block => "fp8-block",
            Self::Int8 => "int8",
            Self::Nvfp4 => "nvfp4",
            Self::SvdqInt4 => "svdq-int4",
            Self::SvdqNvfp4 => "svdq-nvfp4",
            Self::Fp8Weights => "fp8-weights",
            Self::Int8Weights => "int8-weights",
            Self::Nf4Weights => "nf4-weights",
        }
    }

    /// Whether it changes what is computed.
    #[must_use]
    pub const fn is_lossy(self) -> bool {
        !matches!(self, Self::Bf16)
    }

    /// Whether only weights are stored so, and products run in 16 bits.
    #[must_use]
    pub const fn is_weights_only(self) -> bool {
        matches!(
            self,
            Self::Fp8Weights | Self::Int8Weights | Self::Nf4Weights
        )
    }

    /// Whether it has a branch of low rank.
    #[must_use]
    pub const fn has_branch(self) -> bool {
        matches!(self, Self::SvdqInt4 | Self::SvdqNvfp4)
    }

    /// Whether products of this role are quantised.
    #[must_use]
    pub const fn quantises(self, role: Role) -> bool {
        let kept = matches!(
            role,
            Role::Embed | Role::Modulation | Role::Convolution | Role::Depthwise | Role::Final
        );
        self.is_lossy() && !kept
    }

    /// Bytes of a weight matrix of `n` x `k` that it quantises.
    #[must_use]
    pub const fn weight_bytes(self, n: u64, k: u64) -> u64 {
        let branch = SVDQ_RANK * (n + k) * ELEMENT_BYTES;
        match self {
            Self::Bf16 => n * k * ELEMENT_BYTES,
            Self::Fp8 | Self::Fp8Row | Self::Fp8Block => n * k,
            Self::Int8 | Self::Fp8Weights | Self::Int8Weights => n * k,
            Self::Nvfp4 | Self::Nf4Weights => (n * k * FOUR_BITS).div_ceil(1000),
            Self::SvdqInt4 | Self::SvdqNvfp4 => (n * k * FOUR_BITS).div_ceil(1000) + branch,
        }
    }

    /// Whether a GPU's units run its products: 8-bit floats from Ada on, 4-bit floats from Blackwell on, 8-bit integers from
    /// Turing on; SVDQuant's 4-bit integers, whose kernels are built for these, on Turing, Ampere and Ada.
    #[must_use]
    pub fn runs_on(self, gpu: &Gpu) -> bool {
        use Architecture as A;
        let architecture = gpu.architecture;
        match self {
            Self::Bf16 | Self::Fp8Weights | Self::Int8Weights | Self::Nf4Weights => true,
            Self::Fp8 | Self::Fp8Row | Self::Fp8Block => gpu.peak_fp8.is_some(),
            Self::Int8 => architecture != A::Volta,
            Self::Nvfp4 | Self::SvdqNvfp4 => gpu.peak_fp4.is_some(),
            Self::SvdqInt4 => matches!(architecture, A::Turing | A::Ampere | A::Ada),
        }
    }

    /// The measured number format whose products cost what these do; none where they are scaled from 16 bits.
    #[must_use]
    pub const fn products(self) -> Option<DType> {
        match self {
            Self::Fp8 | Self::Fp8Row | Self::Fp8Block => Some(DType::Fp8),
            Self::Nvfp4 | Self::SvdqNvfp4 => Some(DType::Nvfp4),
            Self::Bf16 | Self::Fp8Weights | Self::Int8Weights | Self::Nf4Weights => {
                Some(DType::Bf16)
            }
            Self::Int8 | Self::SvdqInt4 => None,
        }
    }
}

impl fmt::Display for Precision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

/// A word that says no precision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoPrecision;

impl FromStr for Precision {
    type Err = NoPrecision;

    fn from_str(text: &str) -> Result<Self, NoPrecision> {
        let found = Self::ALL.into_iter().find(|one| one.word() == text);
        found.ok_or(NoPrecision)
    }
}
