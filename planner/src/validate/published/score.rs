//! Predictions of the rows that are scored, and their statistics.

use std::collections::BTreeMap;

use rayon::prelude::*;

use super::hygiene::{Flag, Flags, one_gpu_times};
use super::tiers::{self, Hosts, Tier};
use crate::interval;
use crate::runs::Run;
use crate::search::Candidate;
use crate::validate::statistics::{Decision, Outcome, Score, decision, mean, median};
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

impl Prediction {
    /// Whether it is printed and not flagged.
    #[must_use]
    pub fn is_scored(&self) -> bool {
        self.flag.is_none() && self.quality != "digitised"
    }
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
                && run.is_plain()
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
#[derive(Clone, Debug, PartialEq)]
pub struct Unknown {
    /// Errors.
    pub score: Score,
    /// Choices by these predictions.
    pub choices: Choices,
    /// Errors by what the predictions rest on, by strategy and by number of GPUs.
    pub strata: Vec<Stratum>,
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
        let mut groups: BTreeMap<_, BTreeMap<String, Vec<(f64, f64)>>> = BTreeMap::new();
        for (index, times) in times {
            let run = &runs[index];
            if run.is_printed_split() {
                let group = groups.entry((run.key(), run.gpus)).or_default();
                let plan = run.plan().to_string();
                group.entry(plan).or_default().push(times);
            }
        }
        // A plan measured twice is no choice.
        let middle = |rows: &Vec<(f64, f64)>| {
            let of = |pick: fn(&(f64, f64)) -> f64| median(rows.iter().map(pick).collect());
            (of(|row| row.0), of(|row| row.1))
        };
        let plans = groups.values();
        let plans = plans.map(|group| group.values().map(middle).collect::<Vec<_>>());
        let decisions: Vec<Decision> = plans.filter_map(|group| decision(&group)).collect();
        let regrets: Vec<f64> = decisions.iter().map(|one| one.regret_pct).collect();
        let taus: Vec<f64> = decisions.iter().filter_map(|one| one.kendall_tau).collect();
        Self {
            top1_regret_pct: mean(&regrets),
            kendall_tau: mean(&taus),
            groups: decisions.len(),
        }
    }
}

impl Unknown {
    /// The errors of some runs, given by their index.
    #[must_use]
    pub fn of(runs: &[Run], rows: &[&(usize, Scored)]) -> Self {
        let scored: Vec<&Scored> = rows.iter().map(|(_, one)| one).collect();
        let outcomes: Vec<Outcome> = scored.iter().map(|one| one.outcome).collect();
        let times = rows
            .iter()
            .map(|(run, one)| (*run, (one.outcome.measured, one.outcome.predicted)));
        Self {
            score: Score::of(outcomes.len(), &outcomes),
            choices: Choices::of(runs, times),
            strata: strata(&scored),
        }
    }
}

/// Runs predicted in a tier.
#[must_use]
pub fn outcomes(runs: &[Run], which: &[usize], hosts: &Hosts, tier: Tier) -> Vec<(usize, Scored)> {
    let one = |&index: &usize| {
        let run = &runs[index];
        let prediction = one_prediction(run, hosts, tier, None)?;
        Some((index, prediction.scored))
    };
    which.par_iter().filter_map(one).collect()
}

pub(super) fn one_prediction(
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
            strata: strata_of(run, &candidate, tier),
            baselines: vec![
                ("divide by N", one_gpu.map(|one| one / f64::from(run.gpus))),
                ("roofline", Some(roofline)),
            ],
            how: String::new(),
        },
    })
}

/// The classes of a prediction, its kind of GPU, and in sample its host.
fn strata_of(run: &Run, candidate: &Candidate, tier: Tier) -> Vec<String> {
    let classes = candidate.uncertainty.classes.iter();
    let mut strata: Vec<String> = classes.map(ToString::to_string).collect();
    strata.push(format!("on {}", run.gpu().name));
    if tier == Tier::InSample {
        strata.push(format!("host {}", run.host));
    }
    strata
}

/// One-GPU runs that are printed and not flagged.
#[must_use]
pub fn alone(runs: &[Run], flags: &Flags) -> Vec<usize> {
    let is_alone = |index: &usize| {
        let run = &runs[*index];
        run.is_one_gpu() && flags[*index].is_none() && !run.is_digitised() && run.is_plain()
    };
    (0..runs.len()).filter(is_alone).collect()
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
