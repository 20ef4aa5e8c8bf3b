//! Runs of virtual ranks, as JSON.

use planner::validate::live;
#[cfg(test)]
use schemars::JsonSchema;
use serde::Serialize;

use super::tier::{Stratum, Unmapped, all};
use crate::render::json::{Amount, Baselines, ByClass, Score, baselines};
use crate::render::words;

/// Plans that virtual ranks executed on one GPU; errors are of the makespan.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub(crate) struct Live {
    /// What was compared.
    pub source: String,
    /// What a reader must know, one sentence each.
    pub notes: Vec<String>,
    /// Errors of the makespan over the runs.
    #[serde(flatten)]
    pub score: Score,
    /// Errors of simpler models on the same rows, by their names.
    pub baselines: Baselines,
    /// Errors of the makespan by strategy, model and mode.
    pub strata: Vec<Stratum>,
    /// Errors of exposed communication, percent of the makespan: all runs, then by strategy.
    pub exposed_communication: Vec<Stratum>,
    /// Errors of each kind of work, percent of that kind.
    pub classes: Vec<Stratum>,
    /// Every run.
    pub runs: Vec<Run>,
    /// Rows without a prediction.
    pub unmapped: Vec<Unmapped>,
}

/// A run and its prediction.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub(crate) struct Run {
    /// The run's directory.
    pub run: String,
    /// The model.
    pub model: String,
    /// The plan that ran.
    pub plan: String,
    /// How work was launched.
    #[cfg_attr(test, schemars(extend("enum" = ["eager", "graph"])))]
    pub mode: String,
    /// How many times it ran.
    pub repeats: usize,
    /// Slowest repeat over fastest, less 1, percent.
    pub repeats_spread_pct: Amount,
    /// Whether exact strategies agreed with one rank.
    pub numerics_ok: bool,
    /// Median makespan, microseconds.
    pub measured_us: Amount,
    /// Simulated makespan, microseconds.
    pub predicted_us: Amount,
    /// Predicted over measured makespan, less 1, percent.
    pub error_pct: f64,
    /// Median exposed communication, microseconds.
    pub measured_exposed_us: Amount,
    /// Simulated exposed communication, microseconds.
    pub predicted_exposed_us: Amount,
    /// Measured and simulated sum of the spans of each kind of work, microseconds.
    pub classes_us: ByClass<[Amount; 2]>,
}

impl From<&live::Live> for Live {
    fn from(of: &live::Live) -> Self {
        Self {
            source: of.source.clone(),
            notes: of.notes.iter().map(words::note).collect(),
            score: (&of.score).into(),
            baselines: baselines(&of.baselines),
            strata: all(&of.strata),
            exposed_communication: all(&of.exposed_communication),
            classes: all(&of.classes),
            runs: all(&of.runs),
            unmapped: all(&of.unmapped),
        }
    }
}

impl From<&live::Compared> for Run {
    fn from(of: &live::Compared) -> Self {
        let classes = of.classes_us.iter();
        Self {
            run: of.run.clone(),
            model: of.model.clone(),
            plan: of.plan.clone(),
            mode: of.mode.clone(),
            repeats: of.repeats,
            repeats_spread_pct: of.repeats_spread_pct.into(),
            numerics_ok: of.numerics_ok,
            measured_us: of.measured_us.into(),
            predicted_us: of.predicted_us.into(),
            error_pct: of.error_pct,
            measured_exposed_us: of.measured_exposed_us.into(),
            predicted_exposed_us: of.predicted_exposed_us.into(),
            classes_us: classes
                .map(|(class, pair)| (*class, [pair.0.into(), pair.1.into()]))
                .collect(),
        }
    }
}
