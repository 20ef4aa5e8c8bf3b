//! What can be typed.
//!
//! Names and sizes stay text here; [`super::asked`] gives them their meaning, so that every mistake is
//! told in the words of the part that knows better.

use std::path::PathBuf;
use topologies::Bandwidth;

use clap::{Args, Parser, Subcommand, ValueEnum};

use super::calibrated::CalibrateArguments;
use super::capacity::CapacityArguments;
use super::compared::CompareArguments;
use super::cuda::CudaArguments;
use super::imported::MachinesArguments;
use super::listing::ModelsArguments;
use super::replayed::ReplayArguments;
use super::report::ReportArguments;
use super::serve::ServeArguments;
use super::shell::{CompletionsArguments, ManArguments};
use super::swept::SweepArguments;
use super::trace::TraceArguments;

/// Plan, simulate and validate how GPUs share one diffusion model.
#[derive(Debug, Parser)]
#[command(name = "ditplan", version, max_term_width = 100)]
pub struct Arguments {
    /// What to do.
    #[command(subcommand)]
    pub(super) command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Find the fastest plan, with its proof, its rivals and its launch command
    Plan(PlanArguments),
    /// Simulate one plan
    Simulate(SimulateArguments),
    /// Ask what-if: the answer at many values of bandwidth, GPUs, resolution and more
    Sweep(SweepArguments),
    /// Measure the GPU at hand: a profile for `--profile`
    Calibrate(CalibrateArguments),
    /// Compare predictions with measured kernels, collectives, published and live runs
    Validate(ValidateArguments),
    /// Put two plans or two machines side by side, and say what would turn the tables
    Compare(CompareArguments),
    /// Write the answer of any command that has --json as one page that opens from disk
    Report(ReportArguments),
    /// Show reports and ask questions in a browser on this machine
    Serve(ServeArguments),
    /// Run the compressors over a recorded trace: rate and error of every layer and step
    Replay(ReplayArguments),
    /// Find the fewest GPUs (or dollars) that serve a rate of requests in time
    Capacity(CapacityArguments),
    /// Inspect, check, slice and convert recorded activations
    Trace(TraceArguments),
    /// Check and time the compressors on the GPU found
    Cuda(CudaArguments),
    /// List the known models; print one's file
    Models(ModelsArguments),
    /// List the preset machines; import and export machines
    Machines(MachinesArguments),
    /// List the known GPUs
    Gpus(Format),
    /// Print completions for a shell
    Completions(CompletionsArguments),
    /// Print the manual page
    Man(ManArguments),
}

/// The question of `plan`.
#[derive(Debug, Args)]
pub(super) struct PlanArguments {
    #[command(flatten)]
    pub question: QuestionArguments,
    /// Consider only plans of this strategy, for instance ring4 or cfg2+ulysses2
    #[arg(long, value_name = "STRATEGY")]
    pub strategy: Option<String>,
    /// Consider only plans whose output equals the one-GPU output
    #[arg(long)]
    pub exact: bool,
    /// Consider only plans with a published FID of at most this (exact plans have 0)
    #[arg(long, value_name = "FID")]
    pub max_fid: Option<f64>,
    /// Consider only plans whose output keeps this: psnr>=30, rel-l2<=0.05 (predicted from a trace, kept
    /// by 19 of 20 runs), fid<=7 or lpips<=0.2 (published)
    #[arg(long, value_name = "BUDGET")]
    pub budget: Option<String>,
    /// What a compressor is chosen for under a budget: each layer, or each layer and third of the steps
    #[arg(long, value_enum, requires = "budget")]
    pub per: Option<Granularity>,
    /// Choose the plan whose worst case over a set of faults is the least
    #[arg(long, conflicts_with = "emit")]
    pub robust: bool,
    /// Faults that may happen with --robust, written as for --fault, or a file with one case a line; may be
    /// repeated [default: a GPU at 80 %, a link at 50 %, a GPU lost, all GPUs throttled to 85 %]
    #[arg(long, value_name = "FAULTS|FILE", requires = "robust")]
    pub faults: Vec<String>,
    /// Draw the choice: compressors by layer, and latency against quality; with --robust, plans by faults
    /// (.svg or .png)
    #[arg(long, value_name = "FILE")]
    pub plot: Option<PathBuf>,
    /// Print only this, for another program
    #[arg(long, value_enum, value_name = "WHAT", conflicts_with = "json")]
    pub emit: Option<Emit>,
    /// How many plans to show [default: 10; with --json, all]
    #[arg(long, value_name = "N")]
    pub top: Option<usize>,
    #[command(flatten)]
    pub format: Format,
}

/// The question of `simulate`.
#[derive(Debug, Args)]
pub(super) struct SimulateArguments {
    /// The plan, for instance "ring4/1bit" or "cfg2+ulysses2+pipefusion2(m4) warmup=2"
    #[arg(long, value_name = "PLAN")]
    pub plan: String,
    #[command(flatten)]
    pub question: QuestionArguments,
    /// Write what ran where and when, for Perfetto or chrome://tracing
    #[arg(long, value_name = "FILE")]
    pub timeline: Option<PathBuf>,
    /// Write Chakra execution traces here, DIR/ditplan.RANK.et, for ASTRA-sim
    #[arg(long, value_name = "DIR")]
    pub chakra: Option<PathBuf>,
    #[command(flatten)]
    pub format: Format,
}

/// What `validate` reads.
#[derive(Debug, Args)]
pub(super) struct ValidateArguments {
    /// Measured GEMM times (CSV or CSV.gz with the columns of the built-in table).
    #[arg(long, value_name = "FILE")]
    pub gemm: Option<PathBuf>,
    /// Measured attention times.
    #[arg(long, value_name = "FILE")]
    pub attention: Option<PathBuf>,
    /// Measured NCCL times.
    #[arg(long, value_name = "FILE")]
    pub nccl: Option<PathBuf>,
    /// Published end-to-end latencies; may be repeated: calibration rows are looked for in all files.
    #[arg(long, value_name = "FILE")]
    pub published: Vec<PathBuf>,
    /// A run of virtual ranks (the directory with its timeline.json and plan.json, or a directory of
    /// runs); may be repeated.
    #[arg(long, value_name = "DIR")]
    pub timeline: Vec<PathBuf>,
    /// What `ditplan calibrate` measured on the GPU of these runs [default: the built-in tables].
    #[arg(long, value_name = "DIR", requires = "timeline")]
    pub profile: Option<PathBuf>,
    /// Also write a report here: validation.md with its plots.
    #[arg(long, value_name = "FOLDER")]
    pub report: Option<PathBuf>,
    #[command(flatten)]
    pub format: Format,
}

/// What `plan` and `simulate` ask about.
#[derive(Clone, Debug, Args)]
pub(super) struct QuestionArguments {
    /// The model (`ditplan models` lists them), a model file, or diffusers' config.json of a transformer
    #[arg(long, value_name = "NAME|FILE", default_value = "FLUX.1-dev")]
    pub model: String,
    /// A preset (`ditplan machines` lists them) or a machine file: TOML, nvidia-smi topo -m, NCCL topology XML
    #[arg(long, value_name = "NAME|FILE", default_value = topologies::machine::DEFAULT_PRESET)]
    pub machine: String,
    /// How many of the machine's GPUs may be used [default: all]
    #[arg(long, value_name = "N")]
    pub gpus: Option<u32>,
    /// Width x height in pixels [default: the model's]
    #[arg(long, value_name = "WxH")]
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
    #[arg(long, value_name = "RATE")]
    pub network: Option<Bandwidth>,
    /// What is wrong with the machine: gpu3=80%, gpu3=lost, gpu3-link=50%, link:A-B=50% (a link by its ends),
    /// throttle=85%; several joined by commas
    #[arg(long, value_name = "FAULTS")]
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
    /// Who executes the plan [default: xdit]
    #[arg(long, value_enum)]
    pub engine: Option<EngineArgument>,
    /// The transformer is compiled (torch.compile)
    #[arg(long)]
    pub compile: bool,
}

/// What a compressor is chosen for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Granularity {
    /// Each layer
    Layer,
    /// Each layer in each third of the steps
    Phase,
}

/// What is printed for another program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Emit {
    /// The compressor of each layer and phase as JSON, which ditplan_capture executes
    Assignment,
    /// The command of xDiT
    Xdit,
    /// The command of SGLang Diffusion
    Sglang,
    /// The script of Hugging Face diffusers
    Diffusers,
    /// The script of cache-dit
    CacheDit,
}

/// How classifier-free guidance runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum GuidanceArgument {
    /// As the model's pipeline does it
    Default,
    /// One prediction per step
    None,
    /// Both branches in one forward pass
    Batched,
    /// Both branches one after the other
    Sequential,
}

/// Who executes the plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum EngineArgument {
    /// xDiT
    Xdit,
    /// SGLang Diffusion
    Sglang,
    /// Hugging Face diffusers
    Diffusers,
    /// cache-dit, on diffusers
    CacheDit,
}

/// For people or for programs.
#[derive(Clone, Copy, Debug, Args)]
pub(super) struct Format {
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}
