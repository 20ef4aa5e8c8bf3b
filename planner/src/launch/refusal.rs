//! Why an engine has no command for a plan.

use kernels::Compressor;
use sim::model::Split;
use sim::plan::{Precision, Residency};

/// Why an engine has no command for a plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// No published weights are known.
    NoWeights {
        /// Of which model.
        model: String,
    },
    /// No engine runs the model.
    Absent {
        /// As its file says.
        reason: String,
    },
    /// The engine does not start the model.
    NotStarted {
        /// Which.
        model: String,
        /// As its file says.
        reason: String,
    },
    /// xDiT's runner takes no setting of PipeFusion but its degree.
    RunnerPipeline {
        /// Its patches: as many as stages.
        patches: u32,
    },
    /// Boxes would have different numbers of ranks.
    UnevenBoxes {
        /// Ranks of the plan.
        ranks: u32,
        /// GPUs of a box.
        gpus_per_box: u32,
    },
    /// Its code was replaced; published runs of it are predicted.
    NoCommand,
    /// It has no pipeline of its own for the model.
    NoPipeline,
    /// It does not split this of the model.
    NotSplit {
        /// What.
        split: Split,
        /// Of which model.
        model: String,
    },
    /// Its lists of models that it splits so leave this one out.
    NotListed {
        /// What would be split.
        split: Split,
    },
    /// It has no context parallelism for the model.
    NoContextParallelism,
    /// It compresses no keys and values.
    Uncompressed,
    /// It compresses them for Ulysses only, in fp8, which is no compressor here.
    UncompressedOrFp8,
    /// Its rings run in its own loop.
    OwnRingLoop,
    /// It has no PipeFusion.
    NoPipeFusion,
    /// It has no Attention2D.
    NoAttention2d,
    /// It runs no stale plans.
    SynchronousOnly,
    /// It exchanges keys and values by Ring and Ulysses only.
    RingAndUlyssesOnly,
    /// Its ring gathers keys and values.
    RingGathers,
    /// It is used for Ulysses and all-gather only.
    UlyssesAndGatherOnly,
    /// It splits neither the branches of guidance nor the batch.
    NeitherGuidanceNorBatch,
    /// A command of it runs one replica.
    OneReplica,
    /// It does not keep weights so.
    Residency {
        /// Where they would live.
        residency: Residency,
    },
    /// It does not run products so.
    Precision {
        /// In which numbers they would run.
        precision: Precision,
    },
    /// Its ranks are not numbered box by box, or stand on other GPUs of each box.
    ScatteredRanks,
    /// Boxes hold different numbers of GPUs.
    UnequalBoxes,
    /// It decodes the VAE on one rank or on all.
    VaeOnOneOrAll,
    /// It decodes the VAE on every rank.
    VaeOnEvery,
    /// It chooses the ranks that decode the VAE.
    VaeItself,
    /// xDiT leaves the plan to its fork, which has no command either.
    CompactFusion(CompactRefusal),
}

/// Why CompactFusion has no command for a plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CompactRefusal {
    /// It has one compressor for all layers.
    OneCompressor,
    /// Neither it nor any other engine compresses Ulysses.
    Ulysses,
    /// It compresses the messages of its fused ring loop only.
    FusedLoop,
    /// It has no settings for such messages.
    NoSettings {
        /// How they are compressed, if they are.
        compressor: Option<Compressor>,
    },
    /// It runs a compressed or displaced exchange alone.
    Alone {
        /// The strategy that the exchange is a part of.
        strategy: String,
    },
    /// Its settings have another warm-up.
    Warmup {
        /// Theirs, in steps.
        has: u32,
        /// The plan's.
        asked: u32,
    },
    /// It takes no settings for the model from its command line.
    Model {
        /// Which.
        model: String,
        /// Those it does for.
        ready: Vec<String>,
    },
}

impl From<CompactRefusal> for Refusal {
    fn from(refusal: CompactRefusal) -> Self {
        Self::CompactFusion(refusal)
    }
}

/// The first refusal that applies.
pub(super) fn check<const CASES: usize>(cases: [(bool, Refusal); CASES]) -> Result<(), Refusal> {
    let first = cases.into_iter().find(|(applies, _)| *applies);
    first.map_or(Ok(()), |(_, refusal)| Err(refusal))
}
