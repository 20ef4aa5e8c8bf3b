//! Predictions of the rows that are scored, and their statistics.

use std::collections::BTreeMap;

use rayon::prelude::*;
use serde::Serialize;

use super::calibrate::Hosts;
use super::case::Case;
use super::hygiene::{Flags, one_gpu_times};
use super::predict::{Effort, predict};
use crate::interval;
use crate::validate::statistics::{Decision, Outcome, Score, decision, mean};
use crate::validate::tier::{Scored, Stratum, baselines, strata};

/// Ranks, patches and warm-up steps beyond which the closed form is scored: the tasks of more take
/// too long to simulate.
const SIMULATED: (u32, u32, u32) = (32, 64, 16);

/// A predicted multi-GPU latency row.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Prediction {
    /// File and line.
    pub row: String,
    /// Measured, seconds.
    #[serde(rename = "measured_s")]
    pub measured: f64,
    /// Predicted, seconds.
    #[serde(rename = "predicted_s")]
    pub predicted: f64,
    /// Lower end of the 90 % interval, seconds.
    #[serde(rename = "lo_s")]
    pub lo: f64,
    /// Upper end of the 90 % interval, seconds.
    #[serde(rename = "hi_s")]
    pub hi: f64,
    /// The plan; the fastest where the row does not print its split.
    pub plan: String,
    /// How the row's value was published.
    pub quality: String,
    /// Why the row is not scored.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub flag: Option<String>,
    /// Index of the case.
    #[serde(skip)]
    pub case: usize,
    /// Strata and baselines.
    #[serde(skip)]
    pub scored: Scored,
}

/// What was scored, and how good the choices were.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Part {
    /// Errors.
    #[serde(flatten)]
    pub score: Score,
    /// Errors of simpler models on the same rows.
    pub baselines: BTreeMap<&'static str, Score>,
    /// Mean regret of picking the plan predicted fastest, over groups of two or more plans.
    pub top1_regret_pct: f64,
    /// Mean Kendall's tau of these groups.
    pub kendall_tau: f64,
    /// Groups of plans for the same request on the same GPUs.
    pub groups: usize,
    /// Errors by strategy and host.
    pub strata: Vec<Stratum>,
}

/// Predicts every multi-GPU latency case that did not calibrate; in the order of the cases.
#[must_use]
pub fn predictions(cases: &[Case], hosts: &Hosts<'_>, flags: &Flags) -> Vec<Prediction> {
    let latencies = |(index, case): (usize, &'_ Case)| {
        let latency = case.row.metric.is_latency() && !case.is_one_gpu();
        Some((index, case.measured().filter(|_| latency)?))
    };
    let clean: Vec<(usize, &Case, f64)> = cases
        .iter()
        .enumerate()
        .filter(|(index, case)| flags[*index].is_none() && case.row.metric.is_latency())
        .filter_map(|(index, case)| Some((index, case, case.measured()?)))
        .collect();
    let single = one_gpu_times(&clean);
    let wanted: Vec<(usize, f64)> = cases
        .iter()
        .enumerate()
        .filter_map(latencies)
        .filter(|(index, _)| !hosts.used.contains_key(index))
        .collect();
    wanted
        .par_iter()
        .filter_map(|&(index, measured)| {
            let case = &cases[index];
            let one = single.get(&case.key()).copied();
            one_prediction(case, hosts, measured, one).map(|prediction| Prediction {
                flag: flags[index].clone(),
                case: index,
                ..prediction
            })
        })
        .collect()
}

fn one_prediction(
    case: &Case,
    hosts: &Hosts<'_>,
    measured: f64,
    one_gpu: Option<f64>,
) -> Option<Prediction> {
    let plan = case.plan();
    let size = (case.row.gpus, plan.pipeline.patches, plan.warmup);
    let small = size.0 <= SIMULATED.0 && size.1 <= SIMULATED.1 && size.2 <= SIMULATED.2;
    let effort = if small {
        Effort::Simulate
    } else {
        Effort::Estimate
    };
    let terms = predict(case, &hosts.calibration(case), effort).ok()?;
    let plan = &case.strategy.plans[terms.plan];
    let evidence = hosts.evidence(case);
    let factor = interval::factor(&terms.parts, plan, case.compilation, &evidence);
    // Two doubts of the row rather than of the plan: an unprinted split, a value read off a chart.
    let best = if case.is_printed_split() {
        0.0
    } else {
        0.04_f64
    };
    let digitised = if case.row.quality == "digitised" {
        0.04
    } else {
        0.0
    };
    let spread = factor
        .ln()
        .hypot(interval::SPREAD * best.hypot(digitised))
        .exp();
    let outcome = Outcome {
        measured,
        predicted: terms.value,
        lo: terms.value / spread,
        hi: terms.value * spread,
    };
    let peak = case.gpu.peak_bf16.as_f64() * f64::from(case.row.gpus);
    let roofline = case.workload.denoise_flops().get() as f64 / peak;
    Some(Prediction {
        row: case.row.name.clone(),
        measured,
        predicted: outcome.predicted,
        lo: outcome.lo,
        hi: outcome.hi,
        plan: plan.to_string(),
        quality: case.row.quality.clone(),
        flag: None,
        case: 0,
        scored: Scored {
            outcome,
            strata: vec![
                format!("strategy {}", case.strategy.family),
                format!("host {}", case.host),
            ],
            baselines: vec![
                (
                    "divide by N",
                    one_gpu.map(|one| one / f64::from(case.row.gpus)),
                ),
                ("roofline", Some(roofline)),
            ],
            how: String::new(),
        },
    })
}

/// Statistics of `rows`, of which `n` were looked at.
#[must_use]
pub fn part(cases: &[Case], rows: &[&Prediction], n: usize) -> Part {
    let scored: Vec<Scored> = rows.iter().map(|row| row.scored.clone()).collect();
    let outcomes: Vec<Outcome> = scored.iter().map(|row| row.outcome).collect();
    let decisions = decisions(cases, rows);
    let regrets: Vec<f64> = decisions.iter().map(|one| one.regret_pct).collect();
    let taus: Vec<f64> = decisions.iter().filter_map(|one| one.kendall_tau).collect();
    Part {
        score: Score::of(n, &outcomes),
        baselines: baselines(&scored.iter().collect::<Vec<_>>()),
        top1_regret_pct: mean(&regrets),
        kendall_tau: mean(&taus),
        groups: decisions.len(),
        strata: strata(&scored.iter().collect::<Vec<_>>()),
    }
}

/// Groups of printed plans for the same request on the same number of GPUs.
fn decisions(cases: &[Case], rows: &[&Prediction]) -> Vec<Decision> {
    let mut groups: BTreeMap<_, Vec<(f64, f64)>> = BTreeMap::new();
    for row in rows {
        let case = &cases[row.case];
        if case.is_printed_split() {
            let group = (case.key(), case.row.gpus);
            groups
                .entry(group)
                .or_default()
                .push((row.measured, row.predicted));
        }
    }
    groups
        .values()
        .filter_map(|group| decision(group))
        .collect()
}
