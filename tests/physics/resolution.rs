//! Larger images take longer: padding and the engine's splits make no size faster than a smaller one.

use std::collections::BTreeSet;

use planner::runs::Known;
use planner::search::{self, Question, Shared};
use sim::model::{self, Resolution};
use topologies::{Machine, SimDuration, hypothetical};

use super::{plan, preset};

/// Machines without runs of their own.
fn machines() -> Vec<Machine> {
    let hypothetical = ["8xH100-SXM@nvlink4", "4xL20@pcie4"]
        .map(|text| hypothetical::machine(text).expect("a machine"));
    let presets = ["8xh100-sxm", "8xl20-pcie"].map(|name| {
        let mut machine = preset(name);
        machine.host.published.clear();
        machine.host.runs.clear();
        machine
    });
    hypothetical.into_iter().chain(presets).collect()
}

/// Steps of 64 pixels change no latency downwards; `change` is made to the question before.
fn rises(machine: &Machine, name: &str, change: impl Fn(&mut Question)) {
    let model = model::find(name).expect("a known model");
    let mut question = Question::new(model, machine.clone()).expect("readable runs");
    question.shown = 0;
    question.fastest = true;
    change(&mut question);
    let mut before = None;
    for side in (512..=2048).step_by(64) {
        question.request.resolution = Resolution::square(side);
        let choice = search::plan(&question).expect("a plan").choice;
        let (latency, plan) = (choice.latency, choice.plan);
        if let Some((smaller, of)) = &before {
            assert!(
                latency >= *smaller,
                "{name} at {side} on {}: {plan} takes {latency}, {of} {smaller} at 64 less",
                machine.name
            );
        }
        before = Some((latency, plan));
    }
}

/// Where the GPUs are a power of two, which divides every such size: what CompactFusion runs is not padded.
#[test]
fn the_best_plan_of_a_larger_image_takes_no_less() {
    for machine in machines() {
        for name in ["FLUX.1-dev", "SD3-medium", "PixArt-alpha"] {
            rises(&machine, name, |_| {});
        }
    }
}

#[test]
fn a_padded_plan_of_a_larger_image_takes_no_less() {
    let machine = hypothetical::machine("6xA100-80-SXM@200GB/s").expect("a machine");
    for strategy in ["ulysses6", "ulysses3"] {
        rises(&machine, "FLUX.1-dev", |question| {
            question.filter.strategy = Some(strategy.to_owned());
        });
    }
}

/// A run at one size informs others smoothly: on every preset, for every model that it has one-GPU runs of.
#[test]
fn own_runs_at_some_sizes_make_no_larger_size_faster() {
    let mut walked = 0;
    for name in topologies::machine::presets() {
        let machine = preset(name);
        let known = Known::of_machine(&machine).expect("readable runs");
        let alone = known.own.iter().filter(|run| run.is_one_gpu());
        let models: BTreeSet<&str> = alone.map(|run| &*run.model.name).collect();
        for model in models {
            let model = model::find(model).expect("a known model");
            let mut question = Question::new(model, machine.clone()).expect("readable runs");
            let shared = Shared::default();
            let mut before = SimDuration::ZERO;
            for side in (256..=4096).step_by(64) {
                question.request.resolution = Resolution::square(side);
                let plans = [plan("none")];
                let Ok(found) = search::candidates(&question, &plans, &shared) else {
                    continue;
                };
                let latency = found[0].latency;
                assert!(
                    latency >= before,
                    "{} at {side} on {name}: {latency}, {before} at 64 less",
                    model.name
                );
                before = latency;
            }
            assert!(before > SimDuration::ZERO, "{} on {name}", model.name);
            walked += 1;
        }
    }
    assert!(walked > 30, "{walked} pairs of preset and model");
}

/// 2016 pixels are 15,876 tokens, which eight ranks share with four more: no longer than 2048 pixels.
#[test]
fn tokens_that_do_not_divide_cost_their_ceiling() {
    let model = model::find("FLUX.1-dev").expect("a known model");
    let mut question = Question::new(model, preset("8xh100-sxm")).expect("readable runs");
    question.filter.strategy = Some("ulysses8".to_owned());
    let [smaller, larger] = [2016, 2048].map(|side| {
        question.request.resolution = Resolution::square(side);
        search::plan(&question)
            .expect("a plan")
            .choice
            .latency
            .as_secs_f64()
    });
    assert!(
        smaller < larger && larger < 1.05 * smaller,
        "{smaller} s, {larger} s"
    );
}
