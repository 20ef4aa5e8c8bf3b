//! What can be typed behind `capacity`.

use std::path::PathBuf;

use clap::{Args, ValueEnum, ValueHint};

use crate::question::{Compile, EngineArgument, Format, GuidanceArgument};

/// The question of `capacity`.
#[derive(Debug, Args)]
pub(crate) struct CapacityArguments {
    /// The model (`ditplan models` lists them)
    #[arg(long, default_value = "FLUX.1-dev", value_hint = ValueHint::FilePath)]
    pub model: String,
    /// A preset (`ditplan machines` lists them) or a machine file; may be repeated. As many of each can be
    /// had as are needed
    #[arg(long, value_name = "NAME|FILE", default_value = topologies::machine::DEFAULT_PRESET, value_hint = ValueHint::FilePath)]
    pub machine: Vec<String>,
    /// How often requests come, for instance 2/s, 90/min or 500/h [default: as recorded, where they are]
    #[arg(long, value_name = "RATE", value_hint = ValueHint::Other)]
    pub rate: Option<String>,
    /// What must be kept, for instance "p95<=6s", "mean<=4s,p99<=20s" or "2048x2048:p95<=30s"
    #[arg(long, value_name = "SLO", value_hint = ValueHint::Other)]
    pub slo: String,
    /// Shapes with their weights, width x height, x frames and @steps if need be, for instance
    /// "1024x1024:0.7,2048x2048@50:0.3" [default: the model's]
    #[arg(long, value_name = "MIX", value_hint = ValueHint::Other)]
    pub mix: Option<String>,
    /// poisson, gamma:cv=2, diurnal:peak=3,period=24h (peak over trough), or a CSV file with the columns
    /// time (seconds), size and, if need be, frames and steps
    #[arg(long, value_name = "PATTERN|FILE", default_value = "poisson", value_hint = ValueHint::FilePath)]
    pub arrivals: String,
    /// Who is served next
    #[arg(long, value_enum, default_value_t = RoutingArgument::Fifo)]
    pub routing: RoutingArgument,
    /// Requests of one shape that a replica serves together at most
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=32))]
    pub batch: u32,
    /// Replicas fail and are repaired, for instance mtbf=200h,mttr=30min
    #[arg(long, value_name = "TIMES", value_hint = ValueHint::Other)]
    pub failures: Option<String>,
    /// Spare replicas of each pool, loaded and idle; they cost what the others cost
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub spares: u32,
    /// Requests of a run [default: 10000; of a diurnal pattern, those of a period]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(100..=2_000_000))]
    pub requests: Option<u64>,
    /// Independent runs of each fleet [default: 10; 4 of long runs]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(2..=1000))]
    pub replications: Option<u32>,
    /// Where random numbers start
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,
    /// Dollars for a GPU and hour, for instance H100-SXM=2.5/h; may be repeated [default: the GPU data's,
    /// where it has one]
    #[arg(long, value_name = "GPU=DOLLARS/h", value_hint = ValueHint::Other)]
    pub price: Vec<String>,
    /// What is to be small
    #[arg(long, value_enum, default_value_t = ObjectiveArgument::Gpus)]
    pub objective: ObjectiveArgument,
    /// The largest fleet that is looked at
    #[arg(long, value_name = "N", default_value_t = 1024, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub max_gpus: u32,
    /// Denoising steps of shapes that do not say [default: the model's]
    #[arg(long, value_name = "N")]
    pub steps: Option<u32>,
    /// How classifier-free guidance runs
    #[arg(long, value_enum, default_value_t = GuidanceArgument::Default)]
    pub guidance: GuidanceArgument,
    /// Who executes the plans, as for `plan`
    #[arg(long, value_name = "NAME|FILE", default_value = "xdit", value_hint = ValueHint::FilePath)]
    pub engine: EngineArgument,
    /// In which numbers products run and weights are stored, as for `plan`; or any [default: bf16]
    #[arg(long, value_name = "NAME", value_hint = ValueHint::Other)]
    pub precision: Option<String>,
    /// Who computes attention, as for `plan` [default: what the engine takes on the GPU]
    #[arg(long, value_name = "NAME", value_hint = ValueHint::Other)]
    pub attention_kernel: Option<String>,
    /// The transformer is compiled (torch.compile); auto: whichever is faster
    #[arg(long, value_enum, num_args = 0..=1, default_value_t = Compile::No, default_missing_value = "yes")]
    pub compile: Compile,
    /// A measured profile of the machine's GPU (docs/profiles.md)
    #[arg(long, value_name = "DIR")]
    pub profile: Option<std::path::PathBuf>,
    /// Consider only plans whose output equals the one-GPU output
    #[arg(long)]
    pub exact: bool,
    /// Consider only plans with a published FID of at most this
    #[arg(long, value_name = "FID")]
    pub max_fid: Option<f64>,
    /// Take the plans predicted fastest, also where the evidence cannot tell others from them
    #[arg(long)]
    pub fastest: bool,
    /// Draw latency against the rate, and the queue over time (.svg or .png)
    #[arg(long, value_name = "FILE")]
    pub plot: Option<PathBuf>,
    #[command(flatten)]
    pub format: Format,
}

/// Who is served next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum RoutingArgument {
    /// One queue, first come, first served
    Fifo,
    /// One queue, the shortest service first
    Shortest,
    /// A queue for each replica, joined where least work is left
    LeastLoaded,
}

/// What is to be small.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ObjectiveArgument {
    /// GPUs
    Gpus,
    /// Dollars an hour
    Dollars,
}
