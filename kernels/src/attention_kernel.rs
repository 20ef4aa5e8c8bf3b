//! Attention kernels: which there are, what tables call them, where they run.
//!
//! The names are data (`tables/attention_names.csv`): a name may mean another kernel by architecture,
//! as `flash_attn` does on Hopper. Case, blanks, dashes and underscores do not matter.

use std::fmt;

use thiserror::Error;
use topologies::{Architecture, Gpu};

use crate::kinship;

/// An implementation of attention, in bf16 or fp16 unless it says otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AttentionKernel {
    /// FlashAttention-2, PyTorch's flash `scaled_dot_product_attention` too.
    FlashAttention2,
    /// FlashAttention-3.
    FlashAttention3,
    /// FlashAttention-3 in fp8.
    FlashAttention3Fp8,
    /// FlashAttention-4.
    FlashAttention4,
    /// cuDNN's fused attention.
    CuDnn,
    /// xFormers and PyTorch's memory-efficient attention (CUTLASS).
    Xformers,
    /// Triton.
    Triton,
    /// AMD's AITER.
    Aiter,
    /// SageAttention: scores from int8, values in fp16.
    SageInt8Fp16,
    /// SageAttention2: scores from int8, values in fp8 summed in fp32.
    SageInt8Fp8,
    /// SageAttention2++: values in fp8 summed in fp16.
    SageInt8Fp8Short,
    /// SageAttention2: scores from int4, values in fp8 summed in fp32.
    SageInt4Fp8,
    /// SageAttention2++: scores from int4, values in fp8 summed in fp16.
    SageInt4Fp8Short,
    /// SageAttention3: both products in nvfp4.
    Sage3,
}

use AttentionKernel as K;

/// A name that no attention kernel has.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("unknown attention kernel \"{name}\": known are {}", known())]
pub struct UnknownKernel {
    /// What was asked for.
    pub name: String,
}

fn known() -> String {
    K::ALL.map(K::name).join(", ")
}

/// (name, architecture, kernel) of every line; a name's own architecture stands before `any`.
fn names() -> impl Iterator<Item = (String, &'static str, &'static str)> {
    let lines = include_str!("../tables/attention_names.csv")
        .lines()
        .skip(1);
    lines.filter_map(|line| {
        let mut cells = line.split(',');
        Some((normalised(cells.next()?), cells.next()?, cells.next()?))
    })
}

fn normalised(name: &str) -> String {
    let kept = name
        .chars()
        .filter(|c| c.is_ascii_alphanumeric() || *c == '+');
    kept.flat_map(char::to_lowercase).collect()
}

impl AttentionKernel {
    /// All of them.
    pub const ALL: [Self; 14] = [
        K::FlashAttention2,
        K::FlashAttention3,
        K::FlashAttention3Fp8,
        K::FlashAttention4,
        K::CuDnn,
        K::Xformers,
        K::Triton,
        K::Aiter,
        K::SageInt8Fp16,
        K::SageInt8Fp8,
        K::SageInt8Fp8Short,
        K::SageInt4Fp8,
        K::SageInt4Fp8Short,
        K::Sage3,
    ];

    /// Its short name: what `--attention-kernel` takes.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            K::FlashAttention2 => "fa2",
            K::FlashAttention3 => "fa3",
            K::FlashAttention3Fp8 => "fa3-fp8",
            K::FlashAttention4 => "fa4",
            K::CuDnn => "cudnn",
            K::Xformers => "xformers",
            K::Triton => "triton",
            K::Aiter => "aiter",
            K::SageInt8Fp16 => "sage-int8-fp16",
            K::SageInt8Fp8 => "sage-int8-fp8",
            K::SageInt8Fp8Short => "sage-int8-fp8-short",
            K::SageInt4Fp8 => "sage-int4-fp8",
            K::SageInt4Fp8Short => "sage-int4-fp8-short",
            K::Sage3 => "sage3",
        }
    }

    /// The kernel that `name` means on an architecture: its short name, or one that tables use. Of
    /// `SDPA (FA2)` the bracket decides, then what stands before it.
    ///
    /// # Errors
    /// [`UnknownKernel`], with the short names.
    pub fn named(name: &str, architecture: Architecture) -> Result<Self, UnknownKernel> {
        let (before, bracket) = name.split_once('(').unwrap_or((name, ""));
        let found = [name, bracket, before].into_iter().find_map(|part| {
            let part = normalised(part);
            let own = Self::ALL.into_iter();
            let mut own = own.filter(|kernel| normalised(kernel.name()) == part);
            own.next().or_else(|| Self::alias(&part, architecture))
        });
        found.ok_or_else(|| UnknownKernel {
            name: name.to_owned(),
        })
    }

    fn alias(part: &str, architecture: Architecture) -> Option<Self> {
        let here = format!("{architecture:?}").to_lowercase();
        let mut lines =
            names().filter(|(name, on, _)| name == part && (*on == "any" || *on == here));
        let (_, _, kernel) = lines.next()?;
        Self::ALL.into_iter().find(|one| one.name() == kernel)
    }

    /// The newest flash attention of a GPU: what speaks for it where nobody says which runs.
    #[must_use]
    pub fn usual(gpu: &Gpu) -> Self {
        use Architecture as A;
        match gpu.architecture {
            A::Volta | A::Turing => K::Xformers,
            A::Hopper => K::FlashAttention3,
            A::Blackwell | A::BlackwellUltra if kinship::data_centre(gpu) => K::FlashAttention4,
            A::Cdna3 => K::Aiter,
            A::Ampere | A::Ada | A::Blackwell | A::BlackwellUltra => K::FlashAttention2,
        }
    }

    /// Whether its output differs from the exact one by more than 16-bit rounding.
    #[must_use]
    pub const fn is_lossy(self) -> bool {
        !self.is_16_bit()
    }

    /// Whether both products are in bf16 or fp16.
    #[must_use]
    pub const fn is_16_bit(self) -> bool {
        matches!(
            self,
            K::FlashAttention2
                | K::FlashAttention3
                | K::FlashAttention4
                | K::CuDnn
                | K::Xformers
                | K::Triton
                | K::Aiter
        )
    }

    /// Whether it is built for a GPU of this architecture. Sources: the projects' own lists of
    /// supported GPUs (flash-attention, SageAttention, xFormers, AITER), cuDNN's support matrix.
    #[must_use]
    pub fn runs_on(self, gpu: &Gpu) -> bool {
        use Architecture as A;
        let at = gpu.architecture;
        let ampere = !matches!(at, A::Volta | A::Turing | A::Cdna3);
        let blackwell = matches!(at, A::Blackwell | A::BlackwellUltra);
        match self {
            K::FlashAttention2 => ampere || at == A::Cdna3,
            K::FlashAttention3 | K::FlashAttention3Fp8 => at == A::Hopper,
            K::FlashAttention4 => at == A::Hopper || blackwell,
            K::CuDnn | K::SageInt8Fp16 => ampere,
            K::Xformers => at != A::Cdna3,
            K::Triton => !matches!(at, A::Volta | A::Turing),
            K::Aiter => at == A::Cdna3,
            // AITER has SageAttention2 for CDNA3 (a run of FLUX.1 in AMD-AGI/TraceLens).
            K::SageInt8Fp8 => ampere && at != A::Ampere || at == A::Cdna3,
            K::SageInt8Fp8Short => ampere && at != A::Ampere,
            // The int4 units are gone from Hopper on; kept for cards where charts show them.
            K::SageInt4Fp8 | K::SageInt4Fp8Short => matches!(at, A::Ada),
            K::Sage3 => blackwell,
        }
    }
}

impl fmt::Display for AttentionKernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_tables_are_kernels() {
        use Architecture as A;
        for (name, on, kernel) in [
            ("FlashAttn2", A::Ada, K::FlashAttention2),
            ("SDPA (FA2)", A::Blackwell, K::FlashAttention2),
            ("FLASH_ATTN", A::Hopper, K::FlashAttention3),
            ("flash_attn", A::Ampere, K::FlashAttention2),
            ("engine default (FA3)", A::Hopper, K::FlashAttention3),
            ("AITER", A::Cdna3, K::Aiter),
            ("SAGE_ATTN", A::Hopper, K::SageInt8Fp8),
            ("Sage2++(8+8)", A::Ada, K::SageInt8Fp8Short),
            ("Sage2(8+8)", A::Blackwell, K::SageInt8Fp8),
            ("sage", A::Ampere, K::SageInt8Fp16),
            ("FlashAttn3-fp8", A::Hopper, K::FlashAttention3Fp8),
        ] {
            assert_eq!(K::named(name, on), Ok(kernel), "{name}");
        }
        let error = K::named("warp drive", A::Ada).unwrap_err().to_string();
        assert!(
            error.contains("warp drive") && error.contains("sage3"),
            "{error}"
        );
    }

    #[test]
    fn every_line_of_the_names_is_a_kernel() {
        for (name, on, kernel) in names() {
            assert!(K::ALL.iter().any(|one| one.name() == kernel), "{name} {on}");
        }
        for kernel in K::ALL {
            assert_eq!(K::named(kernel.name(), Architecture::Ada), Ok(kernel));
        }
    }
}
