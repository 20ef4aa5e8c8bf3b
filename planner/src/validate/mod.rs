//! Predictions against measurements.

use std::path::PathBuf;

use serde::Serialize;

/// What to validate on; nothing at all means the built-in data of every tier.
#[derive(Clone, Debug, Default, PartialEq, Eq, clap::Args)]
pub struct Inputs {
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
}

/// The report of every tier that ran.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {}

/// Why there is no report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InputError {
    /// Nothing validates yet.
    #[error("validation is not part of this build")]
    Missing,
}

/// Runs the tiers that `inputs` ask for.
///
/// # Errors
/// [`InputError`] naming file, line and column of what cannot be read.
pub fn validate(
    _inputs: &Inputs,
    _progress: &indicatif::ProgressBar,
) -> Result<Report, InputError> {
    Err(InputError::Missing)
}
