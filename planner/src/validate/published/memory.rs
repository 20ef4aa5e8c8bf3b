//! Published peaks of memory against the memory model, and whether what ran out is said to.
//!
//! | project | what stands in memory | counter |
//! |---|---|---|
//! | PipeFusion | fp16, all together, latent output | PyTorch's, GiB |
//! | xDiT | fp16 (FLUX bf16), all together, latent output; Step-Video: encoders and VAE elsewhere | PyTorch's, GB |
//! | Wan-Video | fp32 weights; `fsdp`: weights and encoders sharded | device, GB |
//! | cache-dit, sglang | bf16, encoders split over all ranks | PyTorch's |
//! | others | bf16, all together; `fsdp`, `hsdp`: sharded | PyTorch's |
//!
//! One choice for all rows of a project, from its code or documents where they say; see the tests of
//! `sim::memory` for what was inferred. Not modelled: fragmentation, offloading.

use serde::Serialize;
use sim::legality;
use sim::memory::{
    Components, Decoding, EncoderCopies, Memory, Precision, Residency, WeightSharding, peak,
    peak_of,
};

use sim::plan::{Exchange, Plan};

use super::case::Case;
use super::row::{Metric, Value};
use crate::validate::statistics::{Outcome, Score};
use crate::validate::tier::Unmapped;

/// How the memory model does.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct MemoryReport {
    /// Errors of the peaks that are printed.
    #[serde(flatten)]
    pub score: Score,
    /// Rows that ran out of memory and are predicted to.
    pub oom_right: usize,
    /// Rows that ran out of memory and are predicted to fit.
    pub oom_wrong: usize,
    /// Rows that ran and are predicted to run out.
    pub ran_but_predicted_oom: usize,
    /// Every row.
    pub rows: Vec<MemoryRow>,
    /// Rows without a prediction.
    pub unmapped: Vec<Unmapped>,
}

/// One row, in GB.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct MemoryRow {
    /// File and line.
    pub row: String,
    /// Measured peak; absent when it ran out.
    pub measured_gb: Option<f64>,
    /// Predicted peak as its project counts.
    pub predicted_gb: f64,
    /// Whether it is predicted to fit.
    pub fits: bool,
    /// The plan.
    pub plan: String,
    #[serde(skip)]
    metric: Metric,
}

/// Predicts the memory of a peak row, or of a latency row that ran out.
///
/// # Errors
/// Why the plan has no memory.
pub fn row(case: &Case) -> Result<MemoryRow, String> {
    if !case.is_printed_split() && case.strategy.family != "sp" {
        return Err("the split of ranks is not stated".to_owned());
    }
    let plan = &resident(case);
    let gpus = case.platform.gpus.len();
    legality::check(case.model, &case.workload, plan, gpus).map_err(|why| why.to_string())?;
    let residency = residency(case);
    let memory = if case.host.project == "xDiT" {
        // xDiT prints the peak of the last rank.
        peak_of(&case.workload, plan, case.gpu, &residency, plan.ranks() - 1)
    } else {
        peak(&case.workload, plan, case.gpu, &residency)
    };
    let whole = peak(&case.workload, plan, case.gpu, &residency);
    Ok(MemoryRow {
        row: case.row.name.clone(),
        measured_gb: case
            .measured()
            .filter(|_| case.row.metric == Metric::Memory)
            .map(|bytes| bytes / 1e9),
        predicted_gb: counted(case, &memory) / 1e9,
        fits: whole.fits.is_fit(),
        plan: plan.to_string(),
        metric: case.row.metric,
    })
}

/// The plan as it stands in memory: PipeFusion's DistriFusion of PixArt asserts `split_batch == False`,
/// so both guidance branches are on every rank.
fn resident(case: &Case) -> Plan {
    // Sequence parallelism without a stated split: as much Ulysses as the heads allow.
    let plan = case
        .strategy
        .plans
        .last()
        .expect("a strategy has plans")
        .clone();
    match plan.exchange {
        Exchange::Displaced(degree) if case.host.project == "PipeFusion" => Plan {
            exchange: Exchange::Displaced(degree * plan.cfg),
            cfg: 1,
            ..plan
        },
        _ => plan,
    }
}

/// Bytes as the row's project counts and names them.
fn counted(case: &Case, memory: &Memory) -> f64 {
    let device =
        case.host.project.starts_with("Wan-Video") || case.model.name.starts_with("Step-Video");
    let bytes = if device {
        memory.total
    } else {
        memory.allocated()
    };
    // PipeFusion's chart says GB and divides by 2^30.
    let unit = if case.host.project == "PipeFusion" {
        1e9 / (1_u64 << 30) as f64
    } else {
        1.0
    };
    bytes.as_f64() * unit
}

fn residency(case: &Case) -> Residency {
    let strategy = case.row.strategy.to_lowercase();
    let sharded = strategy.contains("fsdp") || strategy.contains("hsdp");
    let mut residency = Residency::default();
    if sharded {
        residency.weights = WeightSharding::Sharded;
        residency.encoders = EncoderCopies::Sharded;
    }
    let project = case.host.project.as_str();
    match project {
        "PipeFusion" | "xDiT" => {
            residency.decoding = Decoding::Skipped;
            let bf16 = case.model.name.starts_with("FLUX");
            residency.encoder_precision = if bf16 {
                Precision::Bf16
            } else {
                Precision::Fp16
            };
        }
        _ if project.starts_with("Wan-Video") => {
            residency.weight_precision = Precision::Fp32;
            if case.is_one_gpu() || case.row.strategy.contains("offload") {
                residency.components = Components::InTurn;
                residency.encoders = EncoderCopies::Elsewhere;
            }
        }
        _ if project.contains("cache-dit") || project.contains("sgl") => {
            residency.encoders = EncoderCopies::Sharded;
        }
        _ => {}
    }
    if case.model.name.starts_with("Step-Video") {
        residency.encoders = EncoderCopies::Elsewhere;
        residency.decoding = Decoding::Elsewhere;
    }
    residency
}

/// The report of memory rows.
#[must_use]
pub fn report(rows: Vec<MemoryRow>, unmapped: Vec<Unmapped>) -> MemoryReport {
    let outcome = |row: &MemoryRow| {
        let measured = row.measured_gb?;
        Some(Outcome {
            measured,
            predicted: row.predicted_gb,
            lo: row.predicted_gb / 1.35,
            hi: row.predicted_gb * 1.35,
        })
    };
    let outcomes: Vec<Outcome> = rows.iter().filter_map(outcome).collect();
    let ran_out = |row: &&MemoryRow| row.measured_gb.is_none();
    let right = rows.iter().filter(ran_out).filter(|row| !row.fits).count();
    let wrong = rows.iter().filter(ran_out).filter(|row| row.fits).count();
    let ran = rows.iter().filter(|row| row.measured_gb.is_some());
    let peaks = rows
        .iter()
        .filter(|row| row.metric == Metric::Memory)
        .count();
    let mut score = Score::of(peaks + unmapped.len(), &outcomes);
    score.mapped = peaks;
    MemoryReport {
        score,
        oom_right: right,
        oom_wrong: wrong,
        ran_but_predicted_oom: ran.filter(|row| !row.fits).count(),
        rows,
        unmapped,
    }
}

/// Whether a row says something about memory: a peak, or that it ran out.
#[must_use]
pub fn concerns(metric: Metric, value: Value) -> bool {
    metric == Metric::Memory && value != Value::Missing
        || metric.is_latency() && value == Value::OutOfMemory
}
