//! Published peaks of memory against the memory model, and whether what ran out is said to.
//!
//! What stands in memory and who counts is a fact of the row's source (`data/sources.toml`); by default bf16, all
//! components on every GPU, PyTorch's counter. Not modelled: fragmentation, offloading.

use sim::legality;
use sim::memory::{Decoding, Precision, Stored, peak, peak_of};
use sim::plan::{Components, Encoders, Exchange, Plan, Residency, Weights};

use crate::runs::Run;
use crate::runs::row::{Metric, Value};
use crate::runs::source::{self, Alone, Branches, Counter, Rank};
use crate::validate::reason::Reason;
use crate::validate::statistics::{Outcome, Score};
use crate::validate::tier::Unmapped;

/// How the memory model does.
#[derive(Clone, Debug, PartialEq)]
pub struct MemoryReport {
    /// Errors of the peaks that are printed.
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
#[derive(Clone, Debug, PartialEq)]
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
    metric: Metric,
}

/// Predicts the memory of a peak row, or of a latency row that ran out.
///
/// # Errors
/// Why the plan has no memory.
pub fn row(run: &Run) -> Result<MemoryRow, Reason> {
    if !run.is_printed_split() && run.strategy.family != "sp" {
        return Err(Reason::SplitNotStated);
    }
    let plan = &resident(run);
    let (gpu, workload, facts) = (run.gpu(), &run.workload, &run.facts.memory);
    let pads = run.engine.pads(plan);
    legality::check_padded(run.model, workload, plan, run.gpus as usize, pads)
        .map_err(Reason::Illegal)?;
    let stored = stored(run);
    let whole = peak(workload, plan, gpu, &stored);
    let memory = match facts.rank {
        Some(Rank::Last) => peak_of(workload, plan, gpu, &stored, plan.ranks() - 1),
        Some(Rank::Fullest) | None => whole,
    };
    let counted = match facts.counter {
        Some(Counter::Device) => memory.total,
        Some(Counter::Allocator) | None => memory.allocated(),
    };
    let unit = if facts.gibibytes == Some(true) {
        (1_u64 << 30) as f64
    } else {
        1e9
    };
    Ok(MemoryRow {
        row: run.name.clone(),
        measured_gb: run
            .measured()
            .filter(|_| run.covers == Metric::Memory)
            .map(|bytes| bytes / 1e9),
        predicted_gb: counted.as_f64() / unit,
        fits: whole.fits.is_fit(),
        plan: plan.to_string(),
        metric: run.covers,
    })
}

/// The plan as it stands in memory.
fn resident(run: &Run) -> Plan {
    // Sequence parallelism without a stated split: as much Ulysses as the heads allow.
    let plan = run.strategy.plans.last().expect("a strategy has plans");
    let plan = plan.clone().with_residency(residency(run));
    match (plan.exchange, run.facts.memory.displaced_guidance) {
        (Exchange::Displaced(degree), Some(Branches::Whole)) => Plan {
            exchange: Exchange::Displaced(degree * plan.cfg),
            cfg: 1,
            ..plan
        },
        _ => plan,
    }
}

const fn precision(known: Option<source::Precision>) -> Precision {
    match known {
        Some(source::Precision::Fp16) => Precision::Fp16,
        Some(source::Precision::Fp32) => Precision::Fp32,
        Some(source::Precision::Bf16) | None => Precision::Bf16,
    }
}

/// Where weights live: what the row says, else what its source's runs do.
fn residency(run: &Run) -> Residency {
    let facts = &run.facts.memory;
    let said = run.plan().execution.residency;
    let cell = run.strategy_cell.to_lowercase();
    let sharded = said.transformer == Weights::Sharded;
    let in_turn =
        facts.alone == Some(Alone::InTurn) && (run.is_one_gpu() || cell.contains("offload"));
    Residency {
        components: match in_turn {
            true => Components::InTurn,
            false => said.components,
        },
        encoders: match (said.encoders, facts.encoders) {
            (Encoders::Whole, _) if in_turn => Encoders::Elsewhere,
            (Encoders::Whole, Some(source::Encoders::Elsewhere)) => Encoders::Elsewhere,
            (Encoders::Whole, Some(source::Encoders::Sharded)) => Encoders::Split,
            (Encoders::Whole, Some(source::Encoders::InTurn)) => Encoders::InTurn,
            (Encoders::Whole, _) if sharded => Encoders::Split,
            (said, _) => said,
        },
        transformer: said.transformer,
    }
}

fn stored(run: &Run) -> Stored {
    let facts = &run.facts.memory;
    Stored {
        encoder_precision: precision(facts.encoder_weights),
        weight_precision: precision(facts.weights),
        decoding: match facts.decoding {
            Some(source::Decoding::Skipped) => Decoding::Skipped,
            Some(source::Decoding::Elsewhere) => Decoding::Elsewhere,
            Some(source::Decoding::Here) | None => Decoding::Here,
        },
        quantised_there: facts.quantised_there == Some(true),
    }
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
