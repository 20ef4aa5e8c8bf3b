//! What the answer names is what simulating every plan would name.

use std::collections::BTreeSet;

use sim::model;
use topologies::Machine;

use super::*;
use crate::launch::Engine;
use crate::search::Question;
use crate::search::space::Space;

fn question(machine: &str, model: &str, engine: Engine) -> Question {
    let model = model::find(model).expect("a known model");
    let machine = Machine::preset(machine).expect("a machine");
    let mut request = model.default;
    request.steps = 4;
    Question {
        request,
        engine,
        shown: 6,
        ..Question::new(model, machine).expect("readable runs")
    }
}

/// Of each kind, the plan with the lowest bound, and of plans that could be the fastest of a class all.
#[test]
fn winners_and_shown_kinds_are_those_of_simulating_all() {
    for (machine, model, engine) in [
        ("4xl20-pcie", "FLUX.1-dev", Engine::Xdit),
        ("8xl40-pcie", "SD3-medium", Engine::Sglang),
        ("4xh20-nvlink", "FLUX.1-dev", Engine::Diffusers),
        ("8xh100-sxm", "Wan2.1-T2V-1.3B", Engine::Sglang),
    ] {
        let question = question(machine, model, engine);
        let evaluator = Evaluator::new(&question).expect("an evaluator");
        let bounded = || Bounded::new(&evaluator, Space::new(&evaluator)).expect("bounds");
        let mut all = simulate(&evaluator, bounded().plans).expect("all can run");
        let found = Simulated::new(&evaluator, bounded(), question.shown).expect("plans");
        let mut firsts = BTreeSet::new();
        let mut kinds: Vec<SimDuration> = all
            .iter()
            .filter(|one| firsts.insert(kind(&one.bounded.plan)))
            .map(SimulatedPlan::latency)
            .collect();
        kinds.sort();
        rank(&mut all);
        let plan = |one: &SimulatedPlan| one.bounded.plan.clone();
        assert_eq!(plan(&found.plans[0]), plan(&all[0]), "{machine}");
        let runs = |plan: &Plan| evaluator.launch(plan).command.is_ok();
        assert_eq!(
            fastest(&found.plans, runs),
            fastest(&all, runs),
            "{machine}"
        );
        for class in CLASSES {
            assert_eq!(
                fastest(&found.plans, class),
                fastest(&all, class),
                "{machine}"
            );
        }
        let mut seen = BTreeSet::new();
        let shown = found.plans.iter();
        let shown: Vec<SimDuration> = shown
            .filter(|one| seen.insert(kind(&one.bounded.plan)))
            .map(SimulatedPlan::latency)
            .take(question.shown)
            .collect();
        // A kind's fastest plan need not be the one of its lowest bound: what is shown is never slower.
        assert_eq!(shown.len(), question.shown, "{machine}");
        for (shown, expected) in shown.iter().zip(&kinds) {
            assert!(shown <= expected, "{machine}: {shown:?} {expected:?}");
        }
        let next = found
            .waiting
            .first()
            .map(|one| one.parts.total)
            .expect("plans were dropped");
        assert!(next >= found.plans[0].latency(), "{machine}");
        assert_eq!(
            found.plans.len() + found.waiting.len(),
            all.len(),
            "{machine}"
        );
    }
}

/// A kind is what is split and how it is sent, whatever the degrees.
#[test]
fn a_kind_is_what_is_split() {
    let of = |line: &str| kind(&line.parse().expect("a plan"));
    let kinds = [
        "none",
        "dp2",
        "cfg2",
        "pipefusion2",
        "ulysses2",
        "tp2",
        "ring2",
        "allgather-kv2",
        "attention2d2x2",
        "distrifusion2",
        "ulysses2+ring2",
        "ring2/1bit",
        "ring2/2bit",
    ];
    let distinct: BTreeSet<Kind> = kinds.iter().map(|line| of(line)).collect();
    assert_eq!(distinct.len(), kinds.len());
    for (one, other) in [
        ("ulysses2", "ulysses8"),
        ("ring2", "ring4"),
        ("ring2/1bit", "ring8/1bit warmup=1"),
        ("pipefusion2", "pipefusion4(m16)"),
        ("attention2d2x2", "attention2d2x4"),
    ] {
        assert_eq!(of(one), of(other), "{one}, {other}");
    }
}
