//! The closed form of a run, and the factor at which it takes as long as was measured.

use std::collections::BTreeMap;

use kernels::CostModel;
use sim::execution::{Calibration, Execution};
use sim::lower::Parts;
use sim::plan::Plan;
use sim::platform::Reach;
use sim::simulate::estimate;
use topologies::{CollectiveKind, DeviceId, SimDuration};

use crate::runs::Run;
use crate::runs::row::Metric;

/// Terms of a run's closed form, in seconds.
#[derive(Clone, Debug, PartialEq)]
pub struct Terms {
    /// The value: what the run measures.
    pub value: f64,
    /// Encoders, VAE and pipeline overhead in it.
    pub fixed: f64,
    /// GPU time of one forward pass, exposed messages included.
    pub gpu: f64,
    /// Launch time of one forward pass.
    pub launch: f64,
    /// Exposed time of messages of one forward pass.
    pub exposed: BTreeMap<(CollectiveKind, Reach), f64>,
    /// Which of the run's plans: the fastest.
    pub plan: usize,
}

impl Terms {
    /// The longer of GPU and launch time.
    #[must_use]
    pub fn top(&self) -> f64 {
        self.gpu.max(self.launch).max(1e-12)
    }

    /// Exposed time of messages over the longer of GPU and launch time.
    #[must_use]
    pub fn share(&self, key: (CollectiveKind, Reach)) -> f64 {
        self.exposed.get(&key).copied().unwrap_or(0.0) / self.top()
    }
}

/// The terms of the fastest plan of `run` under `calibration`; none where something has no cost.
#[must_use]
pub fn terms(run: &Run, calibration: &Calibration, costs: &dyn CostModel) -> Option<Terms> {
    let execution = Execution {
        compilation: run.compiler.compilation(),
        software: run.engine.software(),
        attention: run.attention,
        calibration: calibration.clone(),
    };
    let seconds = SimDuration::as_secs_f64;
    let of_plan = |(index, plan): (usize, &Plan)| {
        // Launchers start equally many ranks on each node.
        let ranks = plan.ranks() as usize;
        let machine = run.platform.machine();
        let machine = machine.filter(|machine| machine.gpus.len() >= ranks);
        let spread = machine.map(|machine| {
            let gpus: Vec<DeviceId> = machine.devices().collect();
            plan.clone().placed(machine.evenly(&gpus, ranks))
        });
        let plan = spread.as_ref().unwrap_or(plan);
        let parts: Parts = estimate(&run.workload, plan, &run.platform, &execution, costs).ok()?;
        let fixed = match run.covers {
            Metric::Latency => seconds(parts.fixed),
            _ => 0.0,
        };
        Some(Terms {
            value: seconds(parts.total) - seconds(parts.fixed) + fixed,
            fixed,
            gpu: seconds(parts.gpu),
            launch: seconds(parts.launch),
            exposed: parts
                .exposed
                .iter()
                .map(|(key, time)| (*key, seconds(*time)))
                .collect(),
            plan: index,
        })
    };
    let all: Option<Vec<Terms>> = run.strategy.plans.iter().enumerate().map(of_plan).collect();
    all?.into_iter().min_by(|a, b| a.value.total_cmp(&b.value))
}

/// `x` in `[low, high]` with `predict(x) = measured`, for a `predict` that only rises or only falls;
/// `None` where no `x` comes within 1 %.
///
/// Regula falsi on the logarithms, the end that stays halved (Illinois), until the bracket is at the rounding of `x`.
#[must_use]
pub fn solve(
    low: f64,
    high: f64,
    measured: f64,
    predict: impl Fn(f64) -> Option<f64>,
) -> Option<f64> {
    let miss = |x: f64| Some((predict(x.exp())? / measured).ln());
    let (mut a, mut b) = (low.ln(), high.ln());
    let (mut fa, mut fb) = (miss(a)?, miss(b)?);
    let mut best = if fa.abs() < fb.abs() {
        (a, fa)
    } else {
        (b, fb)
    };
    if fa * fb < 0.0 {
        for _ in 0..60 {
            let x = (a * fb - b * fa) / (fb - fa);
            let fx = miss(x)?;
            if fx.abs() < best.1.abs() {
                best = (x, fx);
            }
            if fx == 0.0 || (b - a).abs() < 1e-14 {
                break;
            }
            if fx * fb < 0.0 {
                (a, fa) = (b, fb);
            } else {
                fa /= 2.0;
            }
            (b, fb) = (x, fx);
            if best.1.abs() < 1e-13 {
                break;
            }
        }
    }
    (best.1.exp_m1().abs() < 0.01).then_some(best.0.exp())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn solve_finds_the_factor_of_a_rising_or_falling_prediction() {
        // 3 x = 12 and 12 / x = 3 have x = 4; 1 + x^3 = 9 has x = 2.
        assert!((solve(0.1, 10.0, 12.0, |x| Some(3.0 * x)).unwrap() - 4.0).abs() < 1e-9);
        assert!((solve(0.1, 10.0, 3.0, |x| Some(12.0 / x)).unwrap() - 4.0).abs() < 1e-9);
        assert!((solve(0.1, 10.0, 9.0, |x| Some(1.0 + x.powi(3))).unwrap() - 2.0).abs() < 1e-9);
        assert_eq!(solve(0.1, 10.0, 1000.0, Some), None);
        assert_eq!(solve(0.1, 10.0, 0.001, Some), None);
        // A step: no x comes near.
        assert_eq!(
            solve(0.1, 10.0, 2.0, |x| Some(if x < 1.0 { 1.0 } else { 4.0 })),
            None
        );
    }

    /// A measured value at an end, or within 1 % beyond it, has that end; one farther out has none.
    #[test]
    fn an_end_is_taken_where_it_is_near() {
        let triple = |x: f64| Some(3.0 * x);
        let third = |x: f64| Some(6.0 / x);
        for (measured, found) in [
            (6.0, Some(2.0)),
            (5.95, Some(2.0)),
            (5.93, None),
            (30.0, Some(10.0)),
            (30.25, Some(10.0)),
            (30.4, None),
        ] {
            let is = |solved: Option<f64>, found: Option<f64>| match (solved, found) {
                (Some(solved), Some(found)) => (solved / found - 1.0).abs() < 1e-9,
                (solved, found) => solved == found,
            };
            let rising = solve(2.0, 10.0, measured, triple);
            assert!(is(rising, found), "{measured}: {rising:?}");
            // 6 / x is 18 / measured where x is measured / 3.
            let falling = solve(2.0, 10.0, 18.0 / measured, third);
            assert!(is(falling, found), "{measured}: {falling:?}");
        }
        assert_eq!(solve(0.1, 10.0, 1.0, |_| None), None);
    }

    #[test]
    fn shares_are_of_the_longer_of_work_and_launches() {
        let key = (CollectiveKind::AllToAll, Reach::Host);
        let terms = |gpu, launch| Terms {
            value: 1.0,
            fixed: 0.0,
            gpu,
            launch,
            exposed: BTreeMap::from([(key, 1.5)]),
            plan: 0,
        };
        assert_eq!(terms(3.0, 2.0).share(key), 0.5);
        assert_eq!(terms(2.0, 6.0).share(key), 0.25);
        let other = (CollectiveKind::AllToAll, Reach::Network);
        assert_eq!(terms(3.0, 2.0).share(other), 0.0);
    }
}
