//! What can be typed behind `plan`.

use std::path::PathBuf;

use clap::{Args, ValueEnum, ValueHint};

use crate::question::{Format, QuestionArguments};

/// The question of `plan`.
#[derive(Debug, Args)]
pub(crate) struct PlanArguments {
    #[command(flatten)]
    pub question: QuestionArguments,
    /// Consider only plans of this strategy, for instance ring4 or cfg2+ulysses2
    #[arg(long, value_name = "STRATEGY", value_hint = ValueHint::Other)]
    pub strategy: Option<String>,
    /// Consider only plans whose output equals the one-GPU output
    #[arg(long)]
    pub exact: bool,
    /// Consider only plans with a published FID of at most this (exact plans have 0)
    #[arg(long, value_name = "FID")]
    pub max_fid: Option<f64>,
    /// Consider only plans whose output keeps this: psnr>=30, rel-l2<=0.05 (predicted from a trace, kept
    /// by 19 of 20 runs), fid<=7 or lpips<=0.2 (published)
    #[arg(long, value_name = "BUDGET", value_hint = ValueHint::Other)]
    pub budget: Option<String>,
    /// What a compressor is chosen for under a budget: each layer, or each layer and third of the steps
    #[arg(long, value_enum, requires = "budget")]
    pub per: Option<Granularity>,
    /// Choose the plan predicted fastest, also where the evidence cannot tell others from it
    #[arg(long)]
    pub fastest: bool,
    /// Choose the plan whose worst case over a set of faults is the least
    #[arg(long, conflicts_with = "emit")]
    pub robust: bool,
    /// Faults that may happen with --robust, written as for --fault, or a file with one case a line; may be
    /// repeated [default: a GPU at 80 %, a link at 50 %, a GPU lost, all GPUs throttled to 85 %]
    #[arg(long, value_name = "FAULTS|FILE", requires = "robust", value_hint = ValueHint::FilePath)]
    pub faults: Vec<String>,
    /// Draw the choice: compressors by layer, and latency against quality; with --robust, plans by faults
    /// (.svg or .png)
    #[arg(long, value_name = "FILE")]
    pub plot: Option<PathBuf>,
    /// Also print what was searched, and what the interval of the choice is made of
    #[arg(long, conflicts_with_all = ["json", "emit", "robust"])]
    pub explain: bool,
    /// Print only this, for another program
    #[arg(long, value_enum, value_name = "WHAT", conflicts_with = "json")]
    pub emit: Option<Emit>,
    /// How many plans to show [default: 10; with --json, all]
    #[arg(long, value_name = "N")]
    pub top: Option<usize>,
    #[command(flatten)]
    pub format: Format,
}

/// What a compressor is chosen for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Granularity {
    /// Each layer
    Layer,
    /// Each layer in each third of the steps
    Phase,
}

/// What is printed for another program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Emit {
    /// The compressor of each layer and phase as JSON, which ditplan_capture executes
    Assignment,
    /// The command of --engine
    Command,
    /// The command of xDiT
    Xdit,
    /// The command of SGLang Diffusion
    Sglang,
    /// The script of Hugging Face diffusers
    Diffusers,
    /// The script of cache-dit
    CacheDit,
    /// The command of vLLM-Omni, and a request to it
    VllmOmni,
}
