//! Why a plan is not legal, each reason in one sentence that says what to do.

use std::fmt;

use thiserror::Error;
use topologies::DeviceId;

use crate::plan::{Compression, Exchange, Precision, Residency};

/// A part of a plan, as messages name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// Ulysses.
    Ulysses,
    /// Tensor parallelism.
    Tensor,
    /// PipeFusion.
    Pipeline,
    /// A ring, all-gather, grid or displaced exchange.
    Exchange(Exchange),
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ulysses => "ulysses",
            Self::Tensor => "tensor parallelism",
            Self::Pipeline => "pipefusion",
            Self::Exchange(Exchange::Ring(_)) => "ring",
            Self::Exchange(Exchange::Gather(_)) => "allgather-kv",
            Self::Exchange(Exchange::Attention2d { .. }) => "attention2d",
            Self::Exchange(Exchange::Displaced(_)) => "distrifusion",
        })
    }
}

/// Why a plan is not legal.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Illegal {
    /// A degree of zero.
    #[error("the {what} degree is 0: use 1 to leave it out")]
    ZeroDegree {
        /// Which degree.
        what: &'static str,
    },
    /// More ranks than GPUs.
    #[error(
        "the degrees multiply to {ranks} ranks and the machine has {gpus} GPUs: lower a degree"
    )]
    TooFewGpus {
        /// Product of the degrees.
        ranks: u32,
        /// GPUs of the machine.
        gpus: usize,
    },
    /// A placement of another length than there are ranks.
    #[error("the placement names {placed} GPUs for {ranks} ranks: name one for each rank")]
    PlacementLength {
        /// Product of the degrees.
        ranks: u32,
        /// Length of the placement.
        placed: usize,
    },
    /// Two ranks on one GPU.
    #[error("{gpu} stands twice in the placement: give each rank a GPU of its own")]
    GpuTwice {
        /// The GPU.
        gpu: DeviceId,
    },
    /// A GPU the machine does not have.
    #[error("the placement names {gpu} and the machine has {gpus} GPUs, counted from 0")]
    NoSuchGpu {
        /// The GPU.
        gpu: DeviceId,
        /// GPUs of the machine.
        gpus: usize,
    },
    /// More than two guidance branches.
    #[error("cfg {cfg} is not possible, guidance has two branches: use 1 or 2")]
    CfgDegree {
        /// What was asked.
        cfg: u32,
    },
    /// Guidance branches to split, without guidance.
    #[error("{model} runs this request without classifier-free guidance: use cfg 1")]
    NoGuidance {
        /// The model.
        model: String,
    },
    /// Three guidance branches over two groups.
    #[error(
        "guidance by text and by an image has three branches, which two groups cannot share: use cfg 1"
    )]
    ThreeBranches,
    /// A batch that does not divide.
    #[error("data degree {data} does not divide a batch of {batch}: use a divisor of {batch}")]
    Batch {
        /// Data parallel degree.
        data: u32,
        /// Images per request.
        batch: u32,
    },
    /// More warm-up than steps.
    #[error("{warmup} warm-up steps do not fit in {steps} steps: use at most {steps}")]
    Warmup {
        /// Warm-up steps.
        warmup: u32,
        /// Denoising steps.
        steps: u32,
    },
    /// More VAE ranks than ranks.
    #[error("{vae} ranks cannot decode the VAE when there are {ranks}: use at most {ranks}")]
    VaeDegree {
        /// VAE degree.
        vae: u32,
        /// Ranks.
        ranks: u32,
    },
    /// Weights that move, with a pipeline.
    #[error(
        "residency={residency} fetches weights for every patch of a pipeline again, which no engine does: keep them \
         resident, or leave pipefusion out"
    )]
    MovingWeights {
        /// Where weights would live.
        residency: Residency,
    },
    /// A precision that the GPU has no units for.
    #[error("precision={precision} does not run on {gpu}: take another precision, or another GPU")]
    Precision {
        /// The precision.
        precision: Precision,
        /// The GPU.
        gpu: String,
    },
    /// Weights split over one rank.
    #[error(
        "residency=fsdp splits weights over ranks that hold the same, and each rank here holds its own: leave it out"
    )]
    NobodyShares,
    /// As many blocks resident as there are.
    #[error(
        "residency=layerwise({resident}) keeps {resident} of {blocks} blocks on the GPU: give fewer, or leave it out"
    )]
    AllResident {
        /// Blocks kept.
        resident: u32,
        /// Blocks of the model.
        blocks: usize,
    },
    /// A transformer's strategy on a U-Net.
    #[error("{model} is a U-Net and {method} splits a transformer: use cfg, dp or distrifusion")]
    UNet {
        /// The model.
        model: String,
        /// What was asked.
        method: Method,
    },
    /// Tensor parallelism that does not divide the heads.
    #[error(
        "tensor degree {tensor} does not divide the {heads} heads of {model}: use {}",
        list(legal)
    )]
    TensorHeads {
        /// Tensor parallel degree.
        tensor: u32,
        /// Heads of the model.
        heads: u64,
        /// The model.
        model: String,
        /// What divides.
        legal: Vec<u32>,
    },
    /// Ulysses that does not divide a rank's heads.
    #[error(
        "ulysses {ulysses} does not divide the {heads} heads of {model}{}: use {}",
        beside(*tensor), list(legal)
    )]
    UlyssesHeads {
        /// Ulysses degree.
        ulysses: u32,
        /// Heads on a tensor rank.
        heads: u64,
        /// Tensor parallel degree.
        tensor: u32,
        /// The model.
        model: String,
        /// What the model allows.
        legal: Vec<u32>,
    },
    /// A sequence split that does not divide the tokens.
    #[error(
        "a sequence degree of {degree} does not divide {count} {what}: use {}",
        list(legal)
    )]
    Tokens {
        /// Exchange degree times Ulysses degree.
        degree: u32,
        /// Tokens or token rows.
        count: u64,
        /// What is counted.
        what: &'static str,
        /// What divides.
        legal: Vec<u32>,
    },
    /// An attention grid of one rank.
    #[error("an attention2d grid of 1x1 splits nothing: leave it out or make it larger")]
    EmptyGrid,
    /// An exchange of keys and values without any.
    #[error(
        "{model} has linear attention, with a state in place of K and V: use ulysses or ring instead of {}",
        Method::Exchange(*exchange)
    )]
    LinearAttention {
        /// The model.
        model: String,
        /// What was asked.
        exchange: Exchange,
    },
    /// Patches and one stage.
    #[error("{patches} patches need more than one pipefusion stage: use 1 patch or more stages")]
    PatchesWithoutStages {
        /// Patches.
        patches: u32,
    },
    /// More stages than blocks.
    #[error("{stages} pipefusion stages cannot share {blocks} blocks: use at most {blocks}")]
    Stages {
        /// Stages.
        stages: u32,
        /// Blocks of the model.
        blocks: usize,
    },
    /// More patches than token rows.
    #[error(
        "{patches} patches cannot be cut from the {rows} token rows of a sequence rank: use at most {rows}"
    )]
    Patches {
        /// Patches.
        patches: u32,
        /// Token rows over the sequence degree.
        rows: u64,
    },
    /// An exchange that PipeFusion was not built with.
    #[error("pipefusion is published with ulysses and ring, not with {}: use one of them", Method::Exchange(*exchange))]
    PipelineExchange {
        /// What was asked.
        exchange: Exchange,
    },
    /// A number of displaced patches that is no power of two.
    #[error("distrifusion cuts in a power of two patches, not {patches}: use 2, 4, 8 or 16")]
    DisplacedPatches {
        /// Patches.
        patches: u32,
    },
    /// DistriFusion beside another split of the transformer.
    #[error("distrifusion is published with cfg and dp only: leave out {method} or distrifusion")]
    DisplacedWith {
        /// What stands beside it.
        method: Method,
    },
    /// A compressor without messages to compress.
    #[error(
        "{strategy} sends no K and V messages that {compression} could compress: drop it, or use ring, allgather-kv or ulysses"
    )]
    NothingToCompress {
        /// The compressor.
        compression: Compression,
        /// The strategy's line.
        strategy: String,
    },
    /// An assignment of compressors for another number of layers.
    #[error(
        "the plan names compressors for {named} layers, but the model has {layers}: name layers 0 to {} (raw=... for those that send uncompressed)", layers - 1
    )]
    Layers {
        /// Layers of the assignment.
        named: usize,
        /// Layers of the model.
        layers: usize,
    },
}

fn list(degrees: &[u32]) -> String {
    let words: Vec<String> = degrees.iter().map(u32::to_string).collect();
    words.join(", ")
}

fn beside(tensor: u32) -> String {
    match tensor {
        1 => String::new(),
        _ => format!(" on each of {tensor} tensor ranks"),
    }
}
