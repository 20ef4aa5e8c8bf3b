//! Why an engine has no command for a plan.

use kernels::Compressor;
use sim::model::Split;
use sim::plan::{Precision, Residency};

use super::Feature;

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
    /// Boxes would have different numbers of ranks.
    UnevenBoxes {
        /// Ranks of the plan.
        ranks: u32,
        /// GPUs of a box.
        gpus_per_box: u32,
    },
    /// Its code was replaced; published runs of it are predicted.
    NoCommand,
    /// It has no entry for the model.
    NotListed {
        /// Which.
        model: String,
    },
    /// It does not split this of the model.
    NotSplit {
        /// What.
        split: Split,
        /// Of which model.
        model: String,
    },
    /// It has nothing of this kind, for any model.
    Lacks {
        /// What a plan has.
        feature: Feature,
    },
    /// It does not run it, as its file says.
    Excluded {
        /// What follows its name in a sentence.
        because: String,
    },
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
    /// Every rank decodes the VAE of the model.
    VaeAlone {
        /// Which.
        model: String,
    },
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
