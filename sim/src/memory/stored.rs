//! What stands in memory that no plan says: number formats of checkpoints, and where the latent is decoded.

/// Where the latent is decoded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Decoding {
    /// By the ranks of the plan.
    #[default]
    Here,
    /// Not at all, with the VAE's weights resident: latent output, as benchmarks do.
    Skipped,
    /// On another GPU that holds the VAE.
    Elsewhere,
}

/// A stored number format.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Precision {
    /// 2 bytes.
    #[default]
    Bf16,
    /// 2 bytes; the transformers library keeps the feed-forward output matrix (`wo`) of T5
    /// encoders in 4 bytes (`_keep_in_fp32_modules` of its `modeling_t5.py`).
    Fp16,
    /// 4 bytes; for a transformer, the residual stream follows (autocast lowers products only).
    Fp32,
}

impl Precision {
    /// Bytes of a number.
    #[must_use]
    pub const fn bytes(self) -> u64 {
        match self {
            Self::Bf16 | Self::Fp16 => 2,
            Self::Fp32 => 4,
        }
    }
}

/// What stands in memory that no plan says.
///
/// The default is diffusers' and xDiT's: bf16, decoded by the ranks. Counted peaks agree: FLUX.1 on one GPU
/// 34.21 GB = 33.74 GB of weights of all components + 16 A.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Stored {
    /// Precision of the encoders' weights.
    pub encoder_precision: Precision,
    /// Precision of the transformer's weights.
    pub weight_precision: Precision,
    /// Where the latent is decoded.
    pub decoding: Decoding,
    /// Whether weights are quantised on the GPU, after they came there in 16 bits.
    pub quantised_there: bool,
}
