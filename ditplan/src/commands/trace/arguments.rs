//! What can be typed behind `trace`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use traces::trace::{Trace, TraceError};

use crate::question::Format;

/// The arguments of `trace`.
#[derive(Debug, Args)]
pub(crate) struct TraceArguments {
    #[command(subcommand)]
    pub(super) command: TraceCommand,
}

/// What to do with a trace.
#[derive(Debug, Subcommand)]
pub(super) enum TraceCommand {
    /// Show what was recorded, where and how
    Info(InfoArguments),
    /// Check every file, checksum, number and statistic
    Check(CheckArguments),
    /// Show how far activations move from step to step
    Stats(StatsArguments),
    /// Compare predicted output errors with closed-loop runs that did not fit
    Quality(QualityArguments),
    /// Write some layers, steps, samples, tokens or heads as a new trace
    Slice(SliceArguments),
    /// Write a new trace with another element type
    Convert(ConvertArguments),
    /// Sum up a PyTorch profiler trace; compare its messages with a plan's
    Kineto(super::kineto::KinetoArguments),
}

/// The arguments of `trace quality`.
#[derive(Debug, Args)]
pub(super) struct QualityArguments {
    /// The trace's directory, with errors.csv.gz, runs.csv.gz and quality.json
    #[arg(value_name = "DIR")]
    pub directory: PathBuf,
    /// Traces of other numbers of steps: their errors, with this calibration
    #[arg(long, value_name = "DIR")]
    pub steps_of: Vec<PathBuf>,
    #[command(flatten)]
    pub format: Format,
}

/// Which trace.
#[derive(Debug, Args)]
pub(super) struct Source {
    /// The trace's directory
    #[arg(value_name = "DIR")]
    pub directory: PathBuf,
    /// Read a partial or damaged trace up to its last complete step
    #[arg(long)]
    pub partial: bool,
}

/// The arguments of `trace info`.
#[derive(Debug, Args)]
pub(super) struct InfoArguments {
    /// The trace's directory
    #[arg(value_name = "DIR")]
    pub directory: PathBuf,
    #[command(flatten)]
    pub format: Format,
}

/// The arguments of `trace check`.
#[derive(Debug, Args)]
pub(super) struct CheckArguments {
    #[command(flatten)]
    pub source: Source,
    #[command(flatten)]
    pub format: Format,
}

/// The arguments of `trace stats`.
#[derive(Debug, Args)]
pub(super) struct StatsArguments {
    #[command(flatten)]
    pub source: Source,
    /// Only these layers, for instance "0,3,5-7"
    #[arg(long, value_name = "LIST")]
    pub layers: Option<String>,
    /// Each layer for itself
    #[arg(long)]
    pub by_layer: bool,
    /// Beside the published statistics of FLUX.1-dev
    #[arg(long)]
    pub against_flux: bool,
    /// Draw residual/activation over the steps, with FLUX.1-dev's, as .svg or .png
    #[arg(long, value_name = "FILE")]
    pub plot: Option<PathBuf>,
    /// Print CSV
    #[arg(long, conflicts_with = "json")]
    pub csv: bool,
    #[command(flatten)]
    pub format: Format,
}

/// The arguments of `trace slice`.
#[derive(Debug, Args)]
pub(super) struct SliceArguments {
    #[command(flatten)]
    pub source: Source,
    /// The new trace's directory
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// Layers to keep, for instance "0,3,5-7" [default: all]
    #[arg(long, value_name = "LIST")]
    pub layers: Option<String>,
    /// Steps to keep
    #[arg(long, value_name = "LIST")]
    pub steps: Option<String>,
    /// Samples to keep
    #[arg(long, value_name = "LIST")]
    pub samples: Option<String>,
    /// Heads to keep
    #[arg(long, value_name = "LIST")]
    pub heads: Option<String>,
    /// Tokens of the sequence to keep, for instance "8..72" (72 is not kept)
    #[arg(long, value_name = "A..B")]
    pub tokens: Option<String>,
}

/// The arguments of `trace convert`.
#[derive(Debug, Args)]
pub(super) struct ConvertArguments {
    #[command(flatten)]
    pub source: Source,
    /// The new trace's directory
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// float16, bfloat16 or float32
    #[arg(long, value_name = "TYPE")]
    pub dtype: String,
}

impl Source {
    /// Opens the trace: whole, or with `--partial` up to its last complete step.
    pub(super) fn open(&self) -> Result<Trace, TraceError> {
        if self.partial {
            Trace::open_partial(&self.directory)
        } else {
            Trace::open(&self.directory)
        }
    }
}
