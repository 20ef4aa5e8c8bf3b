//! What the built-in one-GPU runs say of GPU time: each its factor, found once and committed.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use topologies::host::PublishedHost;

use super::gpu_time::{Host, Observation, Pooled, Traits};
use crate::runs::{Elsewhere, one_gpu_runs};

/// Factors of the built-in one-GPU runs, in their order, as a test finds them; 0 where a run says nothing.
static FACTORS: &str = include_str!("../../data/gpu_times.txt");

/// Built-in one-GPU runs, with what each says.
static BUILT_IN: LazyLock<Vec<(String, Observation)>> = LazyLock::new(|| {
    let factors = FACTORS.lines().map(|line| line.parse::<f64>());
    let said = one_gpu_runs().into_iter().zip(factors);
    let said = said.filter_map(|(run, factor)| {
        let factor = factor.expect("a test reads the built-in factors");
        let observation = Observation {
            traits: Traits::of_run(&run, Host::Other(run.host.clone())),
            ln_factor: factor.ln(),
            title: run.title(),
        };
        (factor > 0.0).then_some((run.project, observation))
    });
    said.collect()
});

/// What runs of other machines say of one without runs.
pub(super) fn without_own(which: &Elsewhere) -> Arc<Pooled> {
    static POOLED: Mutex<BTreeMap<Elsewhere, Arc<Pooled>>> = Mutex::new(BTreeMap::new());
    let mut known = POOLED.lock().unwrap_or_else(PoisonError::into_inner);
    let pooled = known.entry(which.clone()).or_insert_with(|| {
        let all = said_elsewhere(which, &[]);
        Arc::new(Pooled::new(all))
    });
    Arc::clone(pooled)
}

/// What runs of other machines than `own` say.
pub(super) fn said_elsewhere(which: &Elsewhere, own: &[&PublishedHost]) -> Vec<Observation> {
    let wanted = |(project, one): &&(String, Observation)| match (which, &one.traits.host) {
        (Elsewhere::Nothing, _) => false,
        (Elsewhere::Without(left_out), _) if project == left_out => false,
        (_, Host::Other(host)) => !own.contains(&host),
        (_, Host::Asked) => true,
    };
    let said = BUILT_IN.iter().filter(wanted);
    said.map(|(_, one)| one.clone()).collect()
}

#[cfg(test)]
mod tests {
    use kernels::Tables;

    use super::super::rule::Rule;
    use super::super::{Basis, start};
    use super::*;
    use crate::runs::{Known, Run};

    /// What a one-GPU run says of GPU time at the launch factor that is usual of its host.
    fn said(run: &Run) -> Option<f64> {
        let (calibration, ..) = start(&run.platform, None);
        let known = Known::nothing();
        let basis = Basis {
            known: &known,
            platform: &run.platform,
            launch_factor: None,
            costs: Tables::built_in(),
        };
        Rule::new(&basis, &calibration).fit_gpu_time(run, calibration.launch)
    }

    /// The committed factors are those that today's costs give; `UPDATE_RUNS=1` writes them.
    #[test]
    fn the_built_in_factors_are_what_the_built_in_runs_say() {
        let runs = one_gpu_runs();
        let factors = runs.iter().map(|run| said(run).unwrap_or(0.0));
        let factors: Vec<String> = factors.map(|factor| format!("{factor:.5}\n")).collect();
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/data/gpu_times.txt");
        if std::env::var_os("UPDATE_RUNS").is_some() {
            std::fs::write(path, factors.concat()).expect("the file can be written");
            return;
        }
        let near = |(committed, found): (&str, &String)| {
            let number = |text: &str| text.trim().parse::<f64>().expect("a number");
            (number(committed) - number(found)).abs() < 2e-5
        };
        let all = FACTORS.lines().zip(&factors).all(near);
        assert!(
            all && FACTORS.lines().count() == factors.len(),
            "UPDATE_RUNS=1 cargo test -p planner --lib built_in writes {path}, after runs.csv"
        );
    }
}
