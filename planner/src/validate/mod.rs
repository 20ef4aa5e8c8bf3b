//! Predictions against measurements: kernels, collectives, published runs, each reported apart.
//!
//! ```text
//! files (or the built-in tables) ─▶ rows ─▶ predictions, the row left out ─▶ errors, baselines, strata
//! runs of virtual ranks on one GPU ─▶ the same plans simulated ─▶ errors by strategy and span class
//! published runs ─▶ runs ─▶ hygiene ─▶ the road of users: calibration, `search` ─▶ the same; project left out; nothing known
//! ```
//! Guarantees: same files, same report, at any number of threads; a row that is not predicted is
//! listed with the reason. Not here: live runs on a network.

pub mod attention_kernels_tier;
pub mod collectives_tier;
pub mod kernels_tier;
pub mod live;
pub mod operations;
pub mod published;
pub mod reason;
pub mod statistics;
pub mod tier;

use std::path::{Path, PathBuf};

use indicatif::ProgressBar;
use thiserror::Error;
use traces::bounded;

use live::{Live, LiveError};
use operations::Operations;
use published::{OneGpu, Published};
use tier::Tier;

use crate::csv_input::{InputError, Table};
use crate::profile::{Accept, Profile, ProfileError};

/// What to validate on; nothing at all means the built-in data of every tier.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inputs {
    /// Measured GEMM times (CSV or CSV.gz with the columns of the built-in table).
    pub gemm: Option<PathBuf>,
    /// Measured attention times.
    pub attention: Option<PathBuf>,
    /// Measured attention times by kernel.
    pub attention_kernels: Option<PathBuf>,
    /// Measured NCCL times.
    pub nccl: Option<PathBuf>,
    /// Kernels of whole runs, by shape.
    pub operations: Option<PathBuf>,
    /// Published end-to-end latencies; may be repeated: calibration rows are looked for in all files.
    pub published: Vec<PathBuf>,
    /// Runs of virtual ranks: directories with `plan.json` and `timeline.json`.
    pub timelines: Vec<PathBuf>,
    /// The profile whose costs they are compared with.
    pub profile: Option<PathBuf>,
}

/// Why there is no report.
#[derive(Debug, Error)]
pub enum ValidationError {
    /// A table is wrong.
    #[error(transparent)]
    Input(#[from] InputError),
    /// A measured run is wrong.
    #[error(transparent)]
    Live(#[from] LiveError),
    /// The profile is wrong.
    #[error(transparent)]
    Profile(#[from] ProfileError),
}

impl Inputs {
    /// Whether no file is given for any tier.
    fn is_empty(&self) -> bool {
        let single = [
            &self.gemm,
            &self.attention,
            &self.attention_kernels,
            &self.nccl,
            &self.operations,
        ];
        single.iter().all(|path| path.is_none())
            && self.published.is_empty()
            && self.timelines.is_empty()
    }
}

/// The report of every tier that ran.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// The tiers.
    pub tiers: Tiers,
}

/// Tiers; absent where no file was given for them but one was for another.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tiers {
    /// Tier 1: matrix products.
    pub gemm: Option<Tier>,
    /// Tier 1: attention.
    pub attention: Option<Tier>,
    /// Tier 1: attention by kernel, the row left out.
    pub attention_kernels: Option<Tier>,
    /// The same, all of the kernel on the GPU left out.
    pub attention_kernels_left_out: Option<Tier>,
    /// Tier 2.
    pub collectives: Option<Tier>,
    /// Tier 1: kernels of whole runs; only where a file is given.
    pub operations: Option<Operations>,
    /// Tier 3.
    pub published: Option<Published>,
    /// One GPU, nothing known.
    pub one_gpu: Option<OneGpu>,
    /// Tier 4.
    pub live: Option<Live>,
}

const PUBLISHED: [(&str, &[u8]); 3] = [
    (
        "built-in published_latency.csv",
        include_bytes!("../../data/published_latency.csv.gz"),
    ),
    (
        "built-in published_latency_2.csv",
        include_bytes!("../../data/published_latency_2.csv.gz"),
    ),
    (
        "built-in published_compression.csv",
        include_bytes!("../../data/published_compression.csv.gz"),
    ),
];

/// The built-in tables of published runs.
///
/// # Errors
/// Never: a test reads them.
pub fn built_in_published() -> Result<Vec<Table>, InputError> {
    let built_in = PUBLISHED.iter();
    built_in
        .map(|(name, bytes)| Table::from_bytes(bytes, name))
        .collect()
}

/// The files of published runs, or the built-in ones.
fn published_tables(inputs: &Inputs, everything: bool) -> Result<Vec<Table>, InputError> {
    if everything {
        return built_in_published();
    }
    inputs
        .published
        .iter()
        .map(|path| Table::read(path, bounded::PUBLISHED))
        .collect()
}

/// Runs the tiers that `inputs` ask for.
///
/// # Errors
/// [`ValidationError`] naming file, line and column of what cannot be read.
pub fn validate(inputs: &Inputs, progress: &ProgressBar) -> Result<Report, ValidationError> {
    let everything = inputs.is_empty();
    let table = |path: &Path| Table::read(path, bounded::MEASURED);
    let read = |path: &Option<PathBuf>| path.as_deref().map(table).transpose();
    let (gemm, attention, by_kernel, nccl) = (
        read(&inputs.gemm)?,
        read(&inputs.attention)?,
        read(&inputs.attention_kernels)?,
        read(&inputs.nccl)?,
    );
    let wanted = |table: &Option<Table>| everything || table.is_some();
    let mut tiers = Tiers::default();
    if wanted(&gemm) {
        tiers.gemm = Some(kernels_tier::gemm(gemm.as_ref(), progress)?);
    }
    if wanted(&attention) {
        tiers.attention = Some(kernels_tier::attention(attention.as_ref(), progress)?);
    }
    if wanted(&by_kernel) {
        let found = attention_kernels_tier::attention_kernels(by_kernel.as_ref(), progress)?;
        tiers.attention_kernels = Some(found.known);
        tiers.attention_kernels_left_out = Some(found.left_out);
    }
    if wanted(&nccl) {
        tiers.collectives = Some(collectives_tier::collectives(nccl.as_ref(), progress)?);
    }
    if let Some(table) = read(&inputs.operations)? {
        tiers.operations = Some(operations::operations(&table, progress)?);
    }
    let published = published_tables(inputs, everything)?;
    if !published.is_empty() {
        let published = published::published(&published)?;
        tiers.one_gpu = Some(published.together.one_gpu.clone());
        tiers.published = Some(published);
    }
    if !inputs.timelines.is_empty() {
        let profile = inputs.profile.as_deref();
        let read = |path| Profile::read(path, Accept::Any);
        let profile = profile.map(read).transpose()?;
        tiers.live = Some(live::live(&inputs.timelines, profile.as_ref())?);
    }
    progress.finish_and_clear();
    Ok(Report { tiers })
}
