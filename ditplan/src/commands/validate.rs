//! `validate`: how far the predictions are from measurements.

pub(crate) mod json;
mod page;
mod plots;
mod report;

use std::path::PathBuf;

use anyhow::{Result, anyhow};
use clap::Args;

use self::json::ValidateAnswer;
use crate::question::Format;
use crate::render::json::pretty;
use crate::render::progress::progress;
use planner::validate::{self, Inputs};

/// What `validate` reads.
#[derive(Debug, Args)]
pub(crate) struct ValidateArguments {
    /// Measured GEMM times (CSV or CSV.gz with the columns of the built-in table).
    #[arg(long, value_name = "FILE")]
    pub gemm: Option<PathBuf>,
    /// Measured attention times.
    #[arg(long, value_name = "FILE")]
    pub attention: Option<PathBuf>,
    /// Measured attention times by kernel (docs/validation.md).
    #[arg(long, value_name = "FILE")]
    pub attention_kernels: Option<PathBuf>,
    /// Measured NCCL times.
    #[arg(long, value_name = "FILE")]
    pub nccl: Option<PathBuf>,
    /// Kernels of whole runs, by shape: single kernels and their sums by run (docs/validation.md).
    #[arg(long, value_name = "FILE")]
    pub operations: Option<PathBuf>,
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

/// What `validate` prints.
pub(crate) fn answer(typed: &ValidateArguments) -> Result<String> {
    let progress = progress(0, "");
    let report = validate::validate(&typed.inputs(), &progress);
    progress.finish_and_clear();
    let report = report?;
    if let Some(folder) = &typed.report {
        report::write(&report, folder).map_err(|error| {
            anyhow!(
                "{} cannot be written ({error}): choose a folder that you may write to",
                folder.display()
            )
        })?;
    }
    if typed.format.json {
        return Ok(pretty(&ValidateAnswer::from(&report)));
    }
    Ok(page::page(&report))
}

impl ValidateArguments {
    fn inputs(&self) -> Inputs {
        Inputs {
            gemm: self.gemm.clone(),
            attention: self.attention.clone(),
            attention_kernels: self.attention_kernels.clone(),
            nccl: self.nccl.clone(),
            operations: self.operations.clone(),
            published: self.published.clone(),
            timelines: self.timeline.clone(),
            profile: self.profile.clone(),
        }
    }
}
