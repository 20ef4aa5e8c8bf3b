//! What can be typed behind `sweep`.

use std::path::PathBuf;

use clap::{Args, ValueEnum, ValueHint};
use planner::search::Budget;
use planner::sweep::Axis;

use crate::question::{Format, QuestionArguments};

/// What is varied, and over which question.
#[derive(Debug, Args)]
pub(crate) struct SweepArguments {
    #[command(flatten)]
    pub question: QuestionArguments,
    /// A number to vary: FIELD=A,B,C or FIELD=FROM..TO:COUNT or FIELD=FROM..TO:COUNT:log, for instance
    /// "link.bandwidth=1GB/s..900GB/s:30:log"; may be repeated, the last varies fastest. Fields: gpus, size,
    /// frames, steps, batch, text-tokens, {link|pcie|socket|nvlink|network}.{bandwidth|latency}, gpu.compute,
    /// gpu.memory-bandwidth, gpu.price, psnr
    #[arg(long, value_name = "FIELD=VALUES", required_unless_present = "tornado", value_hint = ValueHint::Other)]
    pub vary: Vec<Axis>,
    /// Compare these plans at each point instead of letting the planner choose; may be repeated
    #[arg(long, value_name = "PLAN", conflicts_with_all = ["exact", "budget"], value_hint = ValueHint::Other)]
    pub plan: Vec<String>,
    /// Consider only plans whose output equals the one-GPU output
    #[arg(long)]
    pub exact: bool,
    /// Consider only plans whose output keeps this, as for `plan`
    #[arg(long, value_name = "BUDGET", value_hint = ValueHint::Other)]
    pub budget: Option<Budget>,
    /// Take the plan predicted fastest, also where the evidence cannot tell others from it
    #[arg(long, conflicts_with = "plan")]
    pub fastest: bool,
    /// What an hour of a GPU costs, for instance L20=0.8/h, in place of the built-in price
    #[arg(long, value_name = "GPU=DOLLARS/h", value_hint = ValueHint::Other)]
    pub price: Vec<String>,
    /// Write the rows here, a few at a time, so that a sweep that stops can go on
    #[arg(long, value_name = "FILE.csv")]
    pub out: Option<PathBuf>,
    /// Go on behind the last row of --out
    #[arg(long, requires = "out")]
    pub resume: bool,
    /// When all rows are there, write them here too, with typed columns
    #[arg(long, value_name = "FILE.parquet")]
    pub parquet: Option<PathBuf>,
    /// What the table and the picture show
    #[arg(long, value_enum, default_value_t = Show::Winners)]
    pub show: Show,
    /// Draw it (.svg or .png); winners: curves with their crossovers over one number, who wins where over two
    #[arg(long, value_name = "FILE")]
    pub plot: Option<PathBuf>,
    /// Instead: move each input by this share, plan again, and rank the inputs by their effect
    #[arg(long, value_name = "SHARE", num_args = 0..=1, default_missing_value = "0.2", conflicts_with_all = ["vary", "plan", "out", "show", "parquet", "price"])]
    pub tornado: Option<f64>,
    #[command(flatten)]
    pub format: Format,
}

/// What a sweep's table and picture show.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Show {
    /// What `plan` chooses at each point
    Winners,
    /// Plans than which none is faster, cheaper and better at once
    Frontier,
    /// Speed-up and efficiency over GPUs, against the ideal
    SpeedUp,
}
