//! What stays in GPU memory all the run, and in which precision.

/// Whether encoders, transformer and VAE are on the GPU together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Components {
    /// All the run: `pipeline.to("cuda")`, what diffusers' pipelines and xDiT's examples do.
    #[default]
    Together,
    /// Each in its phase only: `enable_model_cpu_offload()`, Wan's `--offload_model`.
    InTurn,
}

/// Where the encoders are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EncoderCopies {
    /// Whole on every rank.
    #[default]
    Whole,
    /// Split over all ranks: cache-dit's encoder parallelism, Wan's `--t5_fsdp`.
    Sharded,
    /// On the host or on another GPU: Wan's `--t5_cpu`, Step-Video's servers.
    Elsewhere,
}

/// How ranks that would hold the same weights of the transformer share them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum WeightSharding {
    /// Not at all.
    #[default]
    Whole,
    /// Each holds a part and gathers a block at a time, one ahead (FSDP).
    Sharded,
    /// On the host; two blocks at a time are copied to the GPU.
    HostBlocks,
}

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

/// What stays in GPU memory all the run, and in which precision.
///
/// The default is diffusers' and xDiT's: bf16, everything on every rank all the run. Counted peaks
/// agree: FLUX.1 on one GPU 34.21 GB = 33.74 GB of weights of all components + 16 A.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Residency {
    /// Whether the components are on the GPU together.
    pub components: Components,
    /// Where the encoders are.
    pub encoders: EncoderCopies,
    /// Precision of the encoders' weights.
    pub encoder_precision: Precision,
    /// How the transformer's weights are shared.
    pub weights: WeightSharding,
    /// Precision of the transformer's weights.
    pub weight_precision: Precision,
    /// Where the latent is decoded.
    pub decoding: Decoding,
}
