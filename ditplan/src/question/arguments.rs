//! What commands share of what can be typed.
//!
//! Names and sizes stay text here; [`crate::question`] gives them their meaning, so that every mistake is
//! told in the words of the part that knows better.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use clap::{Args, ValueEnum, ValueHint};
use planner::launch::Engine;
use topologies::{Bandwidth, suggest};

/// What `plan` and `simulate` ask about.
#[derive(Clone, Debug, Args)]
pub(crate) struct QuestionArguments {
    /// The model (`ditplan models` lists them), a model file, or diffusers' config.json of a transformer
    #[arg(long, value_name = "NAME|FILE", default_value = "FLUX.1-dev", value_hint = ValueHint::FilePath)]
    pub model: String,
    /// A preset (`ditplan machines` lists them) or a machine file: TOML, nvidia-smi topo -m, NCCL topology XML
    #[arg(long, value_name = "NAME|FILE", default_value = topologies::machine::DEFAULT_PRESET, value_hint = ValueHint::FilePath)]
    pub machine: String,
    /// How many of the machine's GPUs may be used [default: all]
    #[arg(long, value_name = "N")]
    pub gpus: Option<u32>,
    /// Width x height in pixels [default: the model's]
    #[arg(long, value_name = "WxH", value_hint = ValueHint::Other)]
    pub size: Option<String>,
    /// Frames of a video [default: the model's]
    #[arg(long, value_name = "N")]
    pub frames: Option<u32>,
    /// Denoising steps [default: the model's]
    #[arg(long, value_name = "N")]
    pub steps: Option<u32>,
    /// Text tokens [default: those of the host's own runs of the model, else the model's]
    #[arg(long, value_name = "N")]
    pub text_tokens: Option<u32>,
    /// Another bandwidth for the machine's network links, one way, for instance "0.5 GB/s"
    #[arg(long, value_name = "RATE", value_hint = ValueHint::Other)]
    pub network: Option<Bandwidth>,
    /// What is wrong with the machine: gpu3=80%, gpu3=lost, gpu3-link=50%, link:A-B=50% (a link by its ends),
    /// link:A-B=lost, node1=80%, node1=lost, node1-link=50% (its network cards), throttle=85%; several joined by commas
    #[arg(long, value_name = "FAULTS", value_hint = ValueHint::Other)]
    pub fault: Option<String>,
    /// A recorded trace of the model (a directory), to predict output quality from [default: the
    /// repository's own for dit-digits, none for others]
    #[arg(long, value_name = "DIR")]
    pub trace: Option<PathBuf>,
    /// What `ditplan calibrate` measured on the machine's GPU (a directory), in place of the built-in
    /// figures of that GPU
    #[arg(long, value_name = "DIR")]
    pub profile: Option<PathBuf>,
    /// Images or videos made together
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub batch: u32,
    /// How classifier-free guidance runs
    #[arg(long, value_enum, default_value_t = GuidanceArgument::Default)]
    pub guidance: GuidanceArgument,
    /// Who executes the plan: xdit, sglang, vllm-omni, diffusers, cache-dit, pipefusion (predicted, not started) or a file
    /// of your own (docs/engines.md): only plans that it starts are searched, where it starts the model; any: xDiT's
    /// figures for plans that no engine runs too [default: xdit]
    #[arg(long, value_name = "NAME|FILE", value_hint = ValueHint::FilePath)]
    pub engine: Option<EngineArgument>,
    /// Who computes attention: fa2, fa3, fa3-fp8, fa4, cudnn, xformers, triton, aiter, sage, sage3 ...
    /// [default: what the engine takes on the GPU]
    #[arg(long, value_name = "NAME", value_hint = ValueHint::Other)]
    pub attention_kernel: Option<String>,
    /// In which numbers products run and weights are stored: bf16, fp8, fp8-row, fp8-block, int8, nvfp4, svdq-int4,
    /// svdq-nvfp4, fp8-weights, int8-weights, nf4-weights; or any: all that the engine offers on the GPU
    /// [default: bf16]
    #[arg(long, value_name = "NAME", value_hint = ValueHint::Other)]
    pub precision: Option<String>,
    /// The transformer is compiled (torch.compile); auto: whichever is faster
    #[arg(long, value_enum, num_args = 0..=1, default_value_t = Compile::No, default_missing_value = "yes")]
    pub compile: Compile,
}

/// Whether the transformer is compiled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Compile {
    /// Eager
    No,
    /// Compiled; starting takes minutes once
    Yes,
    /// Whichever is faster
    Auto,
}

/// How classifier-free guidance runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum GuidanceArgument {
    /// As the model's pipeline does it
    Default,
    /// One prediction per step
    None,
    /// Both branches in one forward pass
    Batched,
    /// Both branches one after the other
    Sequential,
    /// By text and by an image: three branches in one forward pass
    Triple,
}

/// Who executes the plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum EngineArgument {
    /// A built-in engine
    BuiltIn(Engine),
    /// The TOML file of one
    File(PathBuf),
    /// xDiT's figures for any plan, whether or not an engine runs it: plans of research too
    Any,
}

impl FromStr for EngineArgument {
    type Err = String;

    fn from_str(typed: &str) -> Result<Self, String> {
        let path = Path::new(typed);
        let mut built_in = Engine::BUILT_IN.into_iter();
        if typed == "any" {
            return Ok(Self::Any);
        }
        if let Some(engine) = built_in.find(|engine| engine.word() == typed) {
            return Ok(Self::BuiltIn(engine));
        }
        if path.extension().is_some_and(|ending| ending == "toml") || path.exists() {
            return Ok(Self::File(path.to_owned()));
        }
        let words = || {
            Engine::BUILT_IN
                .into_iter()
                .map(Engine::word)
                .chain(["any"])
        };
        let nearest = suggest::nearest(typed, words()).unwrap_or("xdit");
        let all = words().collect::<Vec<_>>().join(", ");
        Err(format!(
            "no engine and no file; did you mean \"{nearest}\"? Known: {all}, or a TOML file of your own (docs/engines.md)"
        ))
    }
}

/// For people or for programs.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct Format {
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}
