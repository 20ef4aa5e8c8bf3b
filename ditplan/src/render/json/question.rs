//! What was asked, as JSON.

use kernels::AttentionKernel;
use planner::search;
#[cfg(test)]
use schemars::JsonSchema;
use serde::Serialize;
use sim::model::{self, Guidance};
use sim::plan::Precision;
use topologies::host::Compilation;

use super::values::{Amount, Word};

/// What was asked, with every default filled in.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub(crate) struct Question {
    /// The model, as `ditplan models` names it, or the name in its config.json.
    pub model: String,
    /// What is asked of the model.
    pub request: Request,
    /// The machine: a preset, a hypothetical one (16xL20@25GB/s), or the name in its file.
    pub machine: String,
    /// The host whose measurements the machine carries; `hypothetical` where nothing was measured.
    pub host: String,
    /// The machine's links in words.
    pub interconnect: String,
    /// How many of the machine's GPUs may be used.
    pub gpus: u32,
    /// Who executes the plan, as the file of the engine calls it.
    pub engine: String,
    /// Whether the transformer is compiled (torch.compile).
    pub compilation: Word<Compilation>,
    /// In which numbers products run (--precision); null for any that the engine offers.
    pub precision: Option<Word<Precision>>,
    /// Only plans of this strategy; null for all.
    pub strategy: Option<String>,
    /// What is wrong with the machine (--fault); empty where nothing is.
    pub faults: Vec<String>,
    /// Only plans whose output equals the one-GPU output.
    pub exact_only: bool,
    /// Only plans with a published FID of at most this; null for no limit.
    pub max_fid: Option<Amount>,
    /// The quality budget: psnr>=N (dB), rel-l2<=X, fid<=X or lpips<=X; null without one.
    pub budget: Option<String>,
    /// The recorded trace that output quality is predicted from; null without one.
    pub trace: Option<String>,
    /// The directory of the measured GPU's profile (--profile); null for the built-in figures.
    pub profile: Option<String>,
    /// Whether the plan predicted fastest is chosen, also where the evidence cannot tell others from it (--fastest).
    pub fastest: bool,
}

/// How plans are executed.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub(crate) struct Execution {
    /// Who computes attention: --attention-kernel, else what the engine takes on the GPU.
    pub attention: Word<AttentionKernel>,
}

impl From<&search::Question> for Execution {
    fn from(asked: &search::Question) -> Self {
        Self {
            attention: Word(asked.attention_kernel()),
        }
    }
}

/// What is asked of the model.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub(crate) struct Request {
    /// Width of the picture, pixels.
    pub width: u32,
    /// Height of the picture, pixels.
    pub height: u32,
    /// Frames of a video; 1 for an image.
    pub frames: u32,
    /// Denoising steps.
    pub steps: u32,
    /// Images or videos made together.
    pub batch: u32,
    /// How classifier-free guidance runs. none: one prediction per step; batched: both branches in one forward pass;
    /// sequential: one after the other; triple: by text and by an image, three branches in one forward pass.
    pub guidance: Word<Guidance>,
    /// Text tokens of the sequence.
    pub text_tokens: u32,
}

impl From<&search::Question> for Question {
    fn from(asked: &search::Question) -> Self {
        let search::Question {
            model,
            request,
            machine,
            gpus,
            engine,
            attention: _,
            compilation,
            either_compilation: _,
            precision,
            filter,
            quality,
            profile,
            measured: _,
            fastest,
            shown: _,
            known: _,
            faults,
        } = asked;
        Self {
            model: model.name.to_owned(),
            request: request.into(),
            machine: machine.name.clone(),
            host: machine.host.name.clone(),
            interconnect: machine.interconnect(),
            gpus: *gpus,
            faults: faults.all().iter().map(ToString::to_string).collect(),
            engine: engine.to_string(),
            compilation: Word(*compilation),
            precision: precision.map(Word),
            strategy: filter.strategy.clone(),
            exact_only: filter.exact_only,
            max_fid: filter.max_fid.map(Amount::from),
            budget: filter.budget.map(|budget| budget.to_string()),
            trace: quality.as_ref().map(|quality| quality.name.clone()),
            profile: profile.as_ref().map(|profile| profile.path.clone()),
            fastest: *fastest,
        }
    }
}

impl From<&model::Request> for Request {
    fn from(ask: &model::Request) -> Self {
        Self {
            width: ask.resolution.width,
            height: ask.resolution.height,
            frames: ask.frames,
            steps: ask.steps,
            batch: ask.batch,
            guidance: Word(ask.guidance),
            text_tokens: ask.text_tokens,
        }
    }
}
