//! Predictions of the rows that are scored, and their statistics.

use std::collections::BTreeMap;

use rayon::prelude::*;

use super::hygiene::{Flag, Flags, one_gpu_times};
use super::tiers::{self, Hosts, Tier};
use crate::interval;
use crate::runs::Run;
use crate::validate::statistics::{Decision, Outcome, Score, decision, mean};
use crate::validate::tier::{Scored, Stratum, baselines, strata};

/// A predicted multi-GPU latency row.
#[derive(Clone, Debug, PartialEq)]
pub struct Prediction {
    /// File and line.
    pub row: String,
    /// Measured, seconds.
    pub measured: f64,
    /// Predicted, seconds.
    pub predicted: f64,
    /// Lower end of the 90 % interval, seconds.
    pub lo: f64,
    /// Upper end of the 90 % interval, seconds.
    pub hi: f64,
    /// The plan; the fastest where the row does not print its split.
    pub plan: String,
    /// How the row's value was published.
    pub quality: String,
    /// Why the row is not scored.
    pub flag: Option<Flag>,
    /// Index of the run.
    pub run: usize,
    /// Strata and baselines.
    pub scored: Scored,
}

/// What was scored, and how good the choices were.
#[derive(Clone, Debug, PartialEq)]
pub struct Part {
    /// Errors.
    pub score: Score,
    /// Errors of simpler models on the same rows.
    pub baselines: BTreeMap<&'static str, Score>,
    /// Choices by these predictions.
    pub choices: Choices,
    /// Errors by strategy and host.
    pub strata: Vec<Stratum>,
}

/// Predicts every multi-GPU latency run that did not calibrate; in the order of the runs.
#[must_use]
pub fn predictions(runs: &[Run], hosts: &Hosts, flags: &Flags) -> Vec<Prediction> {
    let clean = runs
        .iter()
        .enumerate()
        .filter(|(index, run)| flags[*index].is_none() && run.covers.is_latency());
    let clean: Vec<(usize, &Run, f64)> = clean
        .filter_map(|(index, run)| Some((index, run, run.measured()?)))
        .collect();
    let single = one_gpu_times(&clean);
    let wanted: Vec<usize> = (0..runs.len())
        .filter(|&index| {
            let run = &runs[index];
            run.covers.is_latency()
                && !run.is_one_gpu()
                && run.measured().is_some()
                && hosts.used(run).is_none()
        })
        .collect();
    wanted
        .par_iter()
        .filter_map(|&index| {
            let run = &runs[index];
            let one = single.get(&run.key()).copied();
            let prediction = one_prediction(run, hosts, Tier::InSample, one)?;
            Some(Prediction {
                flag: flags[index].clone(),
                run: index,
                ..prediction
            })
        })
        .collect()
}

/// Errors of predictions that rest on less than all that is known; null without rows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Unknown {
    /// Runs predicted.
    pub n: usize,
    /// Their errors.
    pub errors: Errors,
    /// Choices by these predictions.
    pub choices: Choices,
}

/// How good choices by predictions are.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Choices {
    /// Mean regret of picking the plan predicted fastest, over groups of two or more plans, percent.
    pub top1_regret_pct: f64,
    /// Mean Kendall's tau of these groups.
    pub kendall_tau: f64,
    /// Groups of plans for the same request on the same GPUs.
    pub groups: usize,
}

impl Choices {
    /// The choices among runs whose (measured, predicted) times are given by their index.
    fn of(runs: &[Run], times: impl Iterator<Item = (usize, (f64, f64))>) -> Self {
        let mut groups: BTreeMap<_, Vec<(f64, f64)>> = BTreeMap::new();
        for (index, times) in times {
            let run = &runs[index];
            if run.is_printed_split() {
                groups.entry((run.key(), run.gpus)).or_default().push(times);
            }
        }
        let decisions: Vec<Decision> = groups
            .values()
            .filter_map(|group| decision(group))
            .collect();
        let regrets: Vec<f64> = decisions.iter().map(|one| one.regret_pct).collect();
        let taus: Vec<f64> = decisions.iter().filter_map(|one| one.kendall_tau).collect();
        Self {
            top1_regret_pct: mean(&regrets),
            kendall_tau: mean(&taus),
            groups: decisions.len(),
        }
    }
}

/// Errors with the width of their intervals.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Errors {
    /// Median of the error's size.
    pub median_pct: f64,
    /// 90th percentile of the error's size.
    pub p90_pct: f64,
    /// Mean of the signed error; positive when the prediction is too long.
    pub bias_pct: f64,
    /// Share of runs inside their 90 % interval.
    pub coverage_pct: f64,
    /// Geometric mean of the interval's upper end over the prediction.
    pub width: f64,
}

impl Unknown {
    /// The errors of some outcomes, with the indices of their runs.
    #[must_use]
    pub fn of(runs: &[Run], indexed: &[(usize, Outcome)]) -> Self {
        let outcomes: Vec<Outcome> = indexed.iter().map(|(_, one)| *one).collect();
        let score = Score::of(outcomes.len(), &outcomes);
        let logs: Vec<f64> = outcomes
            .iter()
            .map(|one| (one.hi / one.predicted).ln())
            .collect();
        let errors = Errors {
            median_pct: score.median_pct,
            p90_pct: score.p90_pct,
            bias_pct: score.bias_pct,
            coverage_pct: score.coverage_pct.unwrap_or(f64::NAN),
            width: mean(&logs).exp(),
        };
        let times = indexed
            .iter()
            .map(|(run, one)| (*run, (one.measured, one.predicted)));
        Self {
            n: outcomes.len(),
            errors,
            choices: Choices::of(runs, times),
        }
    }
}

/// Runs predicted in a tier, with their outcomes.
#[must_use]
pub fn outcomes(runs: &[Run], which: &[usize], hosts: &Hosts, tier: Tier) -> Vec<(usize, Outcome)> {
    let one = |&index: &usize| {
        let run = &runs[index];
        let prediction = one_prediction(run, hosts, tier, None)?;
        Some((index, prediction.scored.outcome))
    };
    which.par_iter().filter_map(one).collect()
}

fn one_prediction(
    run: &Run,
    hosts: &Hosts,
    tier: Tier,
    one_gpu: Option<f64>,
) -> Option<Prediction> {
    let measured = run.measured()?;
    let (candidate, value, factor) = tiers::predict(run, hosts, tier)?;
    // Two doubts of the run rather than of the plan: an unprinted split, a value read off a chart.
    let present = |holds: bool| if holds { 0.04_f64 } else { 0.0 };
    let doubts = present(!run.is_printed_split()).hypot(present(run.is_digitised()));
    let spread = factor.ln().hypot(interval::SPREAD * doubts).exp();
    let outcome = Outcome {
        measured,
        predicted: value,
        lo: value / spread,
        hi: value * spread,
    };
    let peak = run.gpu().peak_bf16.as_f64() * f64::from(run.gpus);
    let roofline = run.workload.denoise_flops().get() as f64 / peak;
    Some(Prediction {
        row: run.name.clone(),
        measured,
        predicted: outcome.predicted,
        lo: outcome.lo,
        hi: outcome.hi,
        plan: candidate.plan.to_string(),
        quality: run.quality.clone(),
        flag: None,
        run: 0,
        scored: Scored {
            outcome,
            strata: vec![
                format!("strategy {}", run.strategy.family),
                format!("host {}", run.host),
            ],
            baselines: vec![
                ("divide by N", one_gpu.map(|one| one / f64::from(run.gpus))),
                ("roofline", Some(roofline)),
            ],
            how: String::new(),
        },
    })
}

/// Statistics of `rows`, of which `n` were looked at.
#[must_use]
pub fn part(runs: &[Run], rows: &[&Prediction], n: usize) -> Part {
    let scored: Vec<Scored> = rows.iter().map(|row| row.scored.clone()).collect();
    let outcomes: Vec<Outcome> = scored.iter().map(|row| row.outcome).collect();
    let times = rows
        .iter()
        .map(|row| (row.run, (row.measured, row.predicted)));
    Part {
        score: Score::of(n, &outcomes),
        baselines: baselines(&scored.iter().collect::<Vec<_>>()),
        choices: Choices::of(runs, times),
        strata: strata(&scored.iter().collect::<Vec<_>>()),
    }
}
