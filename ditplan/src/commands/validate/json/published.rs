//! Published runs, as JSON.

use std::collections::BTreeMap;

use planner::validate::published::{self, memory, score};
#[cfg(test)]
use schemars::JsonSchema;
use serde::Serialize;

use super::tier::{Stratum, Unmapped, all};
use crate::render::json::{Amount, Baselines, Score, baselines, known};
use crate::render::words;

/// Published runs of all files.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub(crate) struct Published {
    /// All files together.
    #[serde(flatten)]
    pub together: Summary,
    /// Each file.
    pub files: Vec<File>,
}

/// One file's report.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub(crate) struct File {
    /// The file.
    pub file: String,
    /// Its rows.
    #[serde(flatten)]
    pub summary: Summary,
}

/// Published runs of one or more files.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub(crate) struct Summary {
    /// Errors and decisions of printed, unflagged rows.
    #[serde(flatten)]
    pub part: Part,
    /// Rows that these errors are over: printed, not flagged, not used to calibrate.
    pub scored: usize,
    /// The scored rows predicted without any run of their project: no row, rate or factor of it, nor its preset but for
    /// emulated links.
    pub project_left_out: Unknown,
    /// The scored rows predicted without any run: a new box.
    pub nothing_known: Unknown,
    /// One-GPU latency rows: those that are printed and unflagged, predicted without any run.
    pub one_gpu: OneGpu,
    /// How many rows other metrics have, by metric.
    pub not_latency: BTreeMap<String, usize>,
    /// Unflagged rows read off a chart.
    pub digitised: Part,
    /// Flagged rows: they contradict their own labels.
    pub flagged: Part,
    /// Published peaks of memory.
    pub memory: Memory,
    /// Rows with quantised products or weights that move; in none of the errors above.
    pub levers: Levers,
    /// Rows that calibrated and are not scored.
    pub calibration_rows: Vec<CalibrationRow>,
    /// Rows without a prediction.
    pub unmapped: Vec<Unmapped>,
    /// Predicted rows.
    pub rows: Vec<Prediction>,
}

/// Errors of some published rows, and how good choices by these predictions are.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub(crate) struct Part {
    /// Errors.
    #[serde(flatten)]
    pub score: Score,
    /// Errors of simpler models on the same rows, by their names.
    pub baselines: Baselines,
    /// Choices by these predictions.
    #[serde(flatten)]
    pub choices: Choices,
    /// Errors by strategy and host.
    pub strata: Vec<Stratum>,
}

/// Errors of predictions that rest on less than all that is known.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub(crate) struct Unknown {
    /// Their errors.
    #[serde(flatten)]
    pub score: Score,
    /// Choices by these predictions.
    #[serde(flatten)]
    pub choices: Choices,
    /// Errors by what the predictions rest on, by strategy and by number of GPUs.
    pub strata: Vec<Stratum>,
}

/// How good choices by predictions are.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub(crate) struct Choices {
    /// How much slower than the best of its group the plan predicted fastest is, mean over groups, percent; null without
    /// groups.
    pub top1_regret_pct: Option<Amount>,
    /// Kendall's tau of predicted against measured order, mean over groups, -1 to 1; null without groups.
    #[cfg_attr(test, schemars(range(min = -1, max = 1)))]
    pub kendall_tau: Option<f64>,
    /// Groups of plans for the same request on the same GPUs.
    pub groups: usize,
}

impl From<&score::Choices> for Choices {
    fn from(of: &score::Choices) -> Self {
        Self {
            top1_regret_pct: known(of.top1_regret_pct),
            kendall_tau: known(of.kendall_tau),
            groups: of.groups,
        }
    }
}

/// One-GPU latency rows: those that are printed and unflagged, predicted without any run.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub(crate) struct OneGpu {
    /// Their errors.
    #[serde(flatten)]
    pub score: Score,
    /// Rows that the errors are over.
    pub scored: usize,
    /// Errors by what the predictions rest on, and by strategy.
    pub strata: Vec<Stratum>,
}

/// Published peaks of memory.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub(crate) struct Memory {
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

/// Rows with quantised products or weights that move.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub(crate) struct Levers {
    /// Errors of their times.
    #[serde(flatten)]
    pub score: Score,
    /// The same by precision and by where weights live.
    pub strata: Vec<Stratum>,
    /// Errors of the time without the lever over the time with it, where both were measured alike.
    pub gains: Score,
    /// Of these, how many gain or lose by 3 % or more.
    pub signed: usize,
    /// Of those, how many are predicted to gain where they gain, and to lose where they lose.
    pub sign_right: usize,
    /// Every row.
    pub rows: Vec<LeverRow>,
}

/// A row with quantised products or weights that move.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub(crate) struct LeverRow {
    /// File and line.
    pub row: String,
    /// The plan.
    pub plan: String,
    /// Measured, seconds.
    pub measured_s: Amount,
    /// Predicted, seconds.
    pub predicted_s: Amount,
    /// File and line of the same run without the lever; null where there is none.
    pub twin: Option<String>,
    /// Measured time of the twin over that of the row; null without one.
    pub measured_gain: Option<Amount>,
    /// The same, predicted.
    pub predicted_gain: Option<Amount>,
}

/// The memory of one row.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub(crate) struct MemoryRow {
    /// File and line.
    pub row: String,
    /// Measured peak, GB (1e9 bytes); null where it ran out.
    pub measured_gb: Option<Amount>,
    /// Predicted peak as its project counts, GB.
    pub predicted_gb: Amount,
    /// Whether it is predicted to fit.
    pub fits: bool,
    /// The plan.
    pub plan: String,
}

/// A row that calibrated.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub(crate) struct CalibrationRow {
    /// File and line.
    pub row: String,
    /// What it set, in words: GPU time x 1.66.
    pub says: String,
    /// Its host.
    pub host: String,
    /// Its plan.
    pub plan: String,
    /// Its value, seconds.
    pub measured_s: Amount,
}

/// A predicted row.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub(crate) struct Prediction {
    /// File and line.
    pub row: String,
    /// Measured, seconds.
    pub measured_s: Amount,
    /// Predicted, seconds.
    pub predicted_s: Amount,
    /// Lower end of the 90 % interval, seconds.
    pub lo_s: Amount,
    /// Upper end of the 90 % interval, seconds.
    pub hi_s: Amount,
    /// The plan; the fastest where the row does not print its split.
    pub plan: String,
    /// How the value was published, a word of its file: printed, digitised, ...; empty where it does not say.
    pub quality: String,
    /// Why the row is not scored; left out where it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub flag: Option<String>,
}

impl From<&published::Published> for Published {
    fn from(of: &published::Published) -> Self {
        let files = of.files.iter().map(|one| File {
            file: one.file.clone(),
            summary: (&one.summary).into(),
        });
        Self {
            together: (&of.together).into(),
            files: files.collect(),
        }
    }
}

impl From<&published::Summary> for Summary {
    fn from(of: &published::Summary) -> Self {
        Self {
            part: (&of.part).into(),
            scored: of.scored,
            project_left_out: (&of.project_left_out).into(),
            nothing_known: (&of.nothing_known).into(),
            one_gpu: (&of.one_gpu).into(),
            not_latency: of.not_latency.clone(),
            digitised: (&of.digitised).into(),
            flagged: (&of.flagged).into(),
            memory: (&of.memory).into(),
            levers: (&of.levers).into(),
            calibration_rows: all(&of.calibration_rows),
            unmapped: all(&of.unmapped),
            rows: all(&of.rows),
        }
    }
}

impl From<&score::Part> for Part {
    fn from(of: &score::Part) -> Self {
        Self {
            score: (&of.score).into(),
            baselines: baselines(&of.baselines),
            choices: (&of.choices).into(),
            strata: all(&of.strata),
        }
    }
}

impl From<&score::Unknown> for Unknown {
    fn from(of: &score::Unknown) -> Self {
        Self {
            score: (&of.score).into(),
            choices: (&of.choices).into(),
            strata: all(&of.strata),
        }
    }
}

impl From<&published::OneGpu> for OneGpu {
    fn from(of: &published::OneGpu) -> Self {
        Self {
            score: (&of.score).into(),
            scored: of.scored,
            strata: all(&of.strata),
        }
    }
}

impl From<&memory::MemoryReport> for Memory {
    fn from(of: &memory::MemoryReport) -> Self {
        let rows = of.rows.iter().map(|row| MemoryRow {
            row: row.row.clone(),
            measured_gb: row.measured_gb.map(Amount::from),
            predicted_gb: row.predicted_gb.into(),
            fits: row.fits,
            plan: row.plan.clone(),
        });
        Self {
            score: (&of.score).into(),
            oom_right: of.oom_right,
            oom_wrong: of.oom_wrong,
            ran_but_predicted_oom: of.ran_but_predicted_oom,
            rows: rows.collect(),
            unmapped: all(&of.unmapped),
        }
    }
}

impl From<&published::levers::Levers> for Levers {
    fn from(of: &published::levers::Levers) -> Self {
        let row = |row: &published::levers::LeverRow| LeverRow {
            row: row.row.clone(),
            plan: row.plan.clone(),
            measured_s: row.measured.into(),
            predicted_s: row.predicted.into(),
            twin: row.gain.as_ref().map(|gain| gain.twin.clone()),
            measured_gain: row.gain.as_ref().map(|gain| gain.measured.into()),
            predicted_gain: row.gain.as_ref().map(|gain| gain.predicted.into()),
        };
        Self {
            score: (&of.score).into(),
            strata: all(&of.strata),
            gains: (&of.gains).into(),
            signed: of.signed,
            sign_right: of.sign_right,
            rows: of.rows.iter().map(row).collect(),
        }
    }
}

impl From<&published::CalibrationRow> for CalibrationRow {
    fn from(of: &published::CalibrationRow) -> Self {
        Self {
            row: of.row.clone(),
            says: words::says(of.says),
            host: of.host.clone(),
            plan: of.plan.clone(),
            measured_s: of.measured.into(),
        }
    }
}

impl From<&score::Prediction> for Prediction {
    fn from(of: &score::Prediction) -> Self {
        Self {
            row: of.row.clone(),
            measured_s: of.measured.into(),
            predicted_s: of.predicted.into(),
            lo_s: of.lo.into(),
            hi_s: of.hi.into(),
            plan: of.plan.clone(),
            quality: of.quality.clone(),
            flag: of.flag.as_ref().map(words::flag),
        }
    }
}
