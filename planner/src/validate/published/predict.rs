//! The one place where cases meet the simulator.

use std::collections::BTreeMap;

use kernels::Tables;
use sim::execution::{Calibration, Execution};
use sim::lower::Parts;
use sim::plan::Plan;
use sim::platform::Reach;
use sim::simulate::{Detail, estimate, simulate};
use topologies::{CollectiveKind, SimDuration};

use super::case::Case;
use super::row::Metric;

/// Terms of a prediction, in seconds.
#[derive(Clone, Debug, PartialEq)]
pub struct Terms {
    /// The value: as the row measures it.
    pub value: f64,
    /// Encoders, VAE and pipeline overhead in it.
    pub fixed: f64,
    /// GPU time of one forward pass, exposed messages included.
    pub gpu: f64,
    /// Launch time of one forward pass.
    pub launch: f64,
    /// Exposed time of messages of one forward pass.
    pub exposed: BTreeMap<(CollectiveKind, Reach), f64>,
    /// Which of the case's plans.
    pub plan: usize,
    /// As the simulator gives them.
    pub parts: Parts,
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

/// How much of a case is worked out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effort {
    /// The closed form.
    Estimate,
    /// The closed form, and the value from the simulated tasks.
    Simulate,
}

/// What the fastest plan of `case` takes under `calibration`.
///
/// # Errors
/// Why nothing can be said, in words.
pub fn predict(case: &Case, calibration: &Calibration, effort: Effort) -> Result<Terms, String> {
    let execution = Execution {
        compilation: case.compilation,
        software: case.software,
        calibration: calibration.clone(),
    };
    let mut best: Option<Terms> = None;
    for (index, plan) in case.strategy.plans.iter().enumerate() {
        let mut terms = closed_form(case, plan, &execution)?;
        terms.plan = index;
        if best.as_ref().is_none_or(|best| terms.value < best.value) {
            best = Some(terms);
        }
    }
    let mut best = best.ok_or("no plan")?;
    if effort == Effort::Simulate {
        best.value = simulated(case, &case.strategy.plans[best.plan], &execution)?;
    }
    Ok(best)
}

fn closed_form(case: &Case, plan: &Plan, execution: &Execution) -> Result<Terms, String> {
    let parts = estimate(
        &case.workload,
        plan,
        &case.platform,
        execution,
        Tables::built_in(),
    );
    let parts: Parts = parts.map_err(|error| error.to_string())?;
    let seconds = SimDuration::as_secs_f64;
    let fixed = match case.row.metric {
        Metric::Latency => seconds(parts.fixed),
        _ => 0.0,
    };
    Ok(Terms {
        value: seconds(parts.total) - seconds(parts.fixed) + fixed,
        fixed,
        gpu: seconds(parts.gpu),
        launch: seconds(parts.launch),
        exposed: parts
            .exposed
            .iter()
            .map(|(key, time)| (*key, seconds(*time)))
            .collect(),
        plan: 0,
        parts,
    })
}

fn simulated(case: &Case, plan: &Plan, execution: &Execution) -> Result<f64, String> {
    let run = simulate(
        &case.workload,
        plan,
        &case.platform,
        execution,
        Tables::built_in(),
        Detail::Folded,
    );
    let run = run.map_err(|error| error.to_string())?;
    Ok(match case.row.metric {
        Metric::Latency => run.totals.latency.as_secs_f64(),
        _ => run.totals.denoise.as_secs_f64(),
    })
}
