//! Rows with quantised products or weights that move, scored apart: their times, and what the lever gains over the same run
//! without it.
//!
//! A row's twin is the run on the same GPUs, of the same request and layout, that differs in nothing but the execution; of
//! several the nearest line. Both are predicted from what is known of the host, which no such row calibrates.

use rayon::prelude::*;

use super::hygiene::Flags;
use super::score::one_prediction;
use super::tiers::{Hosts, Tier};
use crate::runs::Run;
use crate::validate::statistics::{Outcome, Score};
use crate::validate::tier::{Scored, Stratum, strata};

/// How rows with a lever are predicted.
#[derive(Clone, Debug, PartialEq)]
pub struct Levers {
    /// Errors of their times.
    pub score: Score,
    /// The same by precision and by where weights live.
    pub strata: Vec<Stratum>,
    /// Errors of what the lever gains, where the row has a twin.
    pub gains: Score,
    /// Of these, how many gain or lose by 3 % or more.
    pub signed: usize,
    /// Of those, how many are predicted to gain where they gain, and to lose where they lose.
    pub sign_right: usize,
    /// Every row.
    pub rows: Vec<LeverRow>,
}

/// A row with a lever.
#[derive(Clone, Debug, PartialEq)]
pub struct LeverRow {
    /// File and line.
    pub row: String,
    /// Its file.
    pub file: usize,
    /// Its plan.
    pub plan: String,
    /// Measured, seconds.
    pub measured: f64,
    /// Predicted, seconds.
    pub predicted: f64,
    /// Its twin.
    pub gain: Option<Gain>,
    scored: Scored,
}

/// Time of the twin over that of the row.
#[derive(Clone, Debug, PartialEq)]
pub struct Gain {
    /// The twin's file and line.
    pub twin: String,
    /// Measured.
    pub measured: f64,
    /// Predicted.
    pub predicted: f64,
}

/// Measured gains nearer to 1 than this, in logarithms, have no sign.
const SAME: f64 = 0.03;

impl Gain {
    /// Whether the prediction is on the measured side of 1; none where the measurement is on neither.
    fn is_right(&self) -> Option<bool> {
        let measured = self.measured.ln();
        let right = measured * self.predicted.ln() > 0.0;
        (measured.abs() >= SAME).then_some(right)
    }
}

/// Predicts the unflagged rows with a lever.
#[must_use]
pub(super) fn rows(runs: &[Run], hosts: &Hosts, flags: &Flags) -> Vec<LeverRow> {
    let clean = |index: usize| {
        let run = &runs[index];
        flags[index].is_none() && run.covers.is_latency() && !run.is_digitised()
    };
    let levered = (0..runs.len()).filter(|&index| clean(index) && !runs[index].is_plain());
    let levered: Vec<usize> = levered.collect();
    let one = |&index: &usize| {
        let run = &runs[index];
        let found = one_prediction(run, hosts, Tier::InSample, None)?;
        let twins = (0..runs.len()).filter(|&other| clean(other) && is_twin(&runs[other], run));
        let twin = twins.min_by_key(|&other| runs[other].line.abs_diff(run.line));
        let gain = twin.and_then(|twin| {
            let twin = &runs[twin];
            let predicted = one_prediction(twin, hosts, Tier::InSample, None)?;
            Some(Gain {
                twin: twin.name.clone(),
                measured: twin.measured()? / run.measured()?,
                predicted: predicted.predicted / found.predicted,
            })
        });
        let mut scored = found.scored;
        let execution = run.plan().execution;
        scored.strata = vec![
            format!("precision {}", execution.precision),
            format!("residency {}", execution.residency),
        ];
        Some(LeverRow {
            row: run.name.clone(),
            file: run.file,
            plan: found.plan,
            measured: found.measured,
            predicted: found.predicted,
            gain,
            scored,
        })
    };
    levered.par_iter().filter_map(one).collect()
}

/// Whether two runs differ in nothing but the execution, and the first is plain.
fn is_twin(twin: &Run, run: &Run) -> bool {
    let alike = |run: &Run| {
        let mut plan = run.plan().clone();
        plan.execution = Default::default();
        (
            plan,
            run.gpus,
            run.file,
            run.request,
            run.compiler,
            run.covers,
        )
    };
    twin.is_plain()
        && twin.host == run.host
        && twin.model.name == run.model.name
        && alike(twin) == alike(run)
}

/// The report of some rows.
#[must_use]
pub(super) fn report(rows: Vec<LeverRow>) -> Levers {
    let outcomes: Vec<Outcome> = rows.iter().map(|row| row.scored.outcome).collect();
    let gains: Vec<&Gain> = rows.iter().filter_map(|row| row.gain.as_ref()).collect();
    let signs: Vec<bool> = gains.iter().filter_map(|gain| gain.is_right()).collect();
    let errors = gains.iter().map(|gain| Outcome {
        measured: gain.measured,
        predicted: gain.predicted,
        lo: gain.predicted,
        hi: gain.predicted,
    });
    let errors: Vec<Outcome> = errors.collect();
    Levers {
        score: Score::of(rows.len(), &outcomes),
        strata: strata(&rows.iter().map(|row| &row.scored).collect::<Vec<_>>()),
        gains: Score {
            coverage_pct: None,
            width: None,
            ..Score::of(errors.len(), &errors)
        },
        signed: signs.len(),
        sign_right: signs.iter().filter(|right| **right).count(),
        rows,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sign_is_right_on_the_measured_side_of_one() {
        for (measured, predicted, right) in [
            (1.30, 1.02, Some(true)),
            (0.80, 0.99, Some(true)),
            (0.80, 1.0, Some(false)),
            (0.80, 1.01, Some(false)),
            (1.30, 0.99, Some(false)),
            (1.02, 0.80, None),
        ] {
            let gain = Gain {
                twin: String::new(),
                measured,
                predicted,
            };
            assert_eq!(gain.is_right(), right, "{measured} {predicted}");
        }
    }
}
