//! What can be said of a job, in the words that the files of engines use.

use std::str::FromStr;

use serde::Deserialize;
use sim::legality::Padding;
use sim::model::Split;
use sim::plan::{Exchange, Pipeline, Plan, RingLoop, Weights};
use topologies::host::Compilation;

use super::Case;
use super::words::words;

words! {
    /// Something that a job has or has not.
    pub enum Feature ("nothing that a job has") {
        /// Replicas, each of a part of the batch.
        Data = "dp",
        /// Ranks for the branches of guidance.
        Guidance = "cfg",
        /// Ulysses.
        Ulysses = "ulysses",
        /// A ring.
        Ring = "ring",
        /// K and V gathered.
        Gather = "allgather-kv",
        /// Attention2D.
        Attention2d = "attention2d",
        /// K and V of the step before.
        Displaced = "distrifusion",
        /// Stages of blocks.
        Stages = "pipefusion",
        /// Tensor parallelism.
        Tensor = "tp",
        /// Several ranks decode the VAE.
        Vae = "vae-p",
        /// Messages are compressed.
        Compressed = "compressed",
        /// CompactFusion's ring loop.
        FusedLoop = "loop=fused",
        /// Several ranks decode the VAE, but fewer than the engine decodes it with.
        VaeSome = "vae-some",
        /// A pipeline with other patches than stages, or another warm-up than one step.
        StagesSet = "pipefusion-set",
        /// More than one rank.
        Several = "several",
        /// The transformer's weights are sharded.
        Sharded = "sharded",
        /// Ranks in more than one box.
        Boxes = "boxes",
        /// Ranks on other GPUs than the first, in order, of one box.
        Placed = "placed",
        /// The transformer is compiled.
        Compiled = "compiled",
        /// A degree leaves a rest, which ranks pad.
        Padded = "padded",
        /// More than one frame.
        Video = "video",
        /// More than one output.
        Batch = "batch",
        /// The pipeline's own guidance is to be switched off.
        Unguided = "unguided",
        /// The request begins with an image.
        Image = "image",
        /// The model's entry names a script of the engine's.
        Script = "script",
        /// The model's entry names a task.
        Task = "task",
        /// The model's entry says `text_length`.
        TextLength = "text-length",
        /// The model's entry splits `weights`.
        WeightsSplit = "weights",
        /// The model's entry says `int8`.
        Int8 = "int8",
    }
}

/// What a plan is made of: each has to stand in the `runs` of an engine's file.
pub(super) const LAYOUT: &[Feature] = Feature::ALL.split_at(12).0;

/// Features that a job must have, and such as it must not have: `"ulysses !ring"`.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct Guard(Vec<(Feature, bool)>);

impl TryFrom<String> for Guard {
    type Error = String;

    fn try_from(words: String) -> Result<Self, String> {
        words.parse()
    }
}

impl FromStr for Guard {
    type Err = String;

    fn from_str(words: &str) -> Result<Self, String> {
        let one = |word: &str| {
            let bare = word.strip_prefix('!');
            Ok((bare.unwrap_or(word).parse()?, bare.is_none()))
        };
        words
            .split_whitespace()
            .map(one)
            .collect::<Result<_, _>>()
            .map(Self)
    }
}

impl Guard {
    /// Whether it holds.
    pub(super) fn holds(&self, case: &Case<'_>) -> bool {
        let mut words = self.0.iter();
        words.all(|&(feature, wanted)| feature.is_of(case) == wanted)
    }

    /// Whether it holds of a plan; features that are not a plan's hold of none.
    pub(super) fn holds_of(&self, plan: &Plan) -> bool {
        let mut words = self.0.iter();
        words.all(|&(feature, wanted)| feature.is_of_plan(plan) == Some(wanted))
    }

    /// The first of its features that is not a plan's.
    pub(super) fn beside_plans(&self) -> Option<Feature> {
        let mut features = self.0.iter().map(|(feature, _)| *feature);
        features.find(|feature| !LAYOUT.contains(feature))
    }
}

impl Feature {
    /// Whether a plan has it, if that is a matter of plans alone.
    fn is_of_plan(self, plan: &Plan) -> Option<bool> {
        let several = plan.exchange.degree() > 1;
        Some(match self {
            Self::Data => plan.data > 1,
            Self::Guidance => plan.cfg > 1,
            Self::Ulysses => plan.ulysses > 1,
            Self::Ring => several && matches!(plan.exchange, Exchange::Ring(_)),
            Self::Gather => several && matches!(plan.exchange, Exchange::Gather(_)),
            Self::Attention2d => several && matches!(plan.exchange, Exchange::Attention2d { .. }),
            Self::Displaced => several && matches!(plan.exchange, Exchange::Displaced(_)),
            Self::Stages => plan.pipeline.stages > 1,
            Self::Tensor => plan.tensor > 1,
            Self::Vae => plan.vae > 1,
            Self::Compressed => !plan.compression.is_raw(),
            Self::FusedLoop => plan.ring_loop == RingLoop::Fused,
            _ => return None,
        })
    }

    /// What of a model a layout splits with it.
    pub(super) const fn split(self) -> Option<Split> {
        match self {
            Self::Guidance => Some(Split::Guidance),
            Self::Ulysses | Self::Ring | Self::Gather | Self::Attention2d | Self::Displaced => {
                Some(Split::Sequence)
            }
            Self::Stages => Some(Split::Stages),
            Self::Tensor => Some(Split::Tensor),
            _ => None,
        }
    }

    /// Whether a job has it.
    pub(super) fn is_of(self, case: &Case<'_>) -> bool {
        let (job, plan, request) = (case.job, case.job.plan, case.job.request);
        let Pipeline { stages, patches } = plan.pipeline;
        let entry = case.entry;
        match self {
            Self::VaeSome => plan.vae > 1 && plan.vae < plan.ranks().min(case.file.decoders),
            Self::StagesSet => stages > 1 && (patches, plan.warmup) != (stages, 1),
            Self::Several => plan.ranks() > 1,
            Self::Boxes => job.boxes().is_ok_and(|(boxes, _)| boxes > 1),
            Self::Placed => job.devices().is_some(),
            Self::Sharded => plan.execution.residency.transformer == Weights::Sharded,
            Self::Compiled => job.compilation == Compilation::Compiled,
            Self::Padded => {
                let workload = job.model.workload(request);
                let padding = workload.map(|workload| Padding::of(job.model, &workload, plan));
                padding.is_ok_and(|padding| padding != Padding::default())
            }
            Self::Video => request.frames > 1,
            Self::Batch => request.batch > 1,
            Self::Unguided => job.guidance_is_off(),
            Self::Image => job.model.engines.images > 0,
            Self::Script => entry.is_some_and(|entry| entry.script.is_some()),
            Self::Task => entry.is_some_and(|entry| entry.task.is_some()),
            Self::TextLength => entry.is_some_and(|entry| entry.text_length),
            Self::WeightsSplit => entry.is_some_and(|entry| entry.splits.contains(&Split::Weights)),
            Self::Int8 => entry.is_some_and(|entry| entry.int8),
            _ => self.is_of_plan(plan) == Some(true),
        }
    }
}
