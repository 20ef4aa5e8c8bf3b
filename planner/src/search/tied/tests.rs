//! The choice is the first, in the module's order, of all plans that the evidence does not tell from the fastest.

use sim::model;
use topologies::Machine;

use super::super::bounded::Bounded;
use super::super::space::Space;
use super::super::{Question, plan};
use super::*;

fn question(machine: &str, model: &str, gpus: u32) -> Question {
    let model = model::find(model).expect("a known model");
    let machine = Machine::preset(machine).expect("a machine");
    let mut question = Question::new(model, machine).expect("readable runs");
    (question.gpus, question.request.steps, question.shown) = (gpus, 4, 3);
    question
}

#[test]
fn the_choice_is_the_first_of_all_that_are_tied() {
    for (machine, model, gpus) in [
        ("4xl20-pcie", "FLUX.1-dev", 4),
        ("8xh100-sxm", "FLUX.1-dev", 4),
        ("8xh100-sxm", "SD3-medium", 2),
        ("4xh20-nvlink", "SD3-medium", 4),
        ("8xl40-pcie", "PixArt-alpha", 4),
    ] {
        let asked = question(machine, model, gpus);
        let evaluator = Evaluator::new(&asked).expect("an evaluator");
        let bounded = Bounded::new(&evaluator, Space::new(&evaluator)).expect("bounds");
        let all = simulate(&evaluator, bounded.plans).expect("all can run");
        let latency = |one: &&SimulatedPlan| (one.latency(), one.bounded.plan.clone());
        let fastest = all.iter().min_by_key(latency).expect("plans");
        let sure = evaluator.uncertainty(&fastest.bounded);
        let tied = all.iter().filter(|one| {
            let own = evaluator.uncertainty(&one.bounded);
            let behind = faster((fastest.latency(), &sure), (one.latency(), &own));
            behind < CONFIDENCE
        });
        let order = |one: &&SimulatedPlan| {
            let plan = &one.bounded.plan;
            let refused = evaluator.launch(plan).command.is_err();
            let ways = [
                plan.data,
                plan.cfg,
                plan.pipeline.stages,
                plan.ulysses,
                plan.tensor,
            ];
            let ways = ways.into_iter().filter(|degree| *degree > 1).count();
            let grid = match plan.exchange {
                Exchange::Attention2d { rows, columns } => [rows, columns],
                other => [other.degree(), 1],
            };
            let exchanged = grid.into_iter().filter(|degree| *degree > 1).count();
            let compressed = usize::from(!plan.compression.is_raw());
            let ranks = plan.ranks();
            (
                refused,
                plan.fidelity(),
                ranks,
                ways + exchanged + compressed,
                one.latency(),
            )
        };
        let expected = tied.clone().min_by_key(order).expect("the fastest is tied");
        let answer = plan(&asked).expect("a plan");
        let found = all
            .iter()
            .find(|one| one.bounded.plan == answer.choice.plan);
        let found = found.expect("a plan of the space");
        assert_eq!(order(&found), order(&expected), "{model} on {machine}");
        assert!(answer.choice.is_tied());
        // Every tied plan is simulated or counted.
        let shown = answer.tied().count();
        assert!(
            shown + answer.tied_by_bound >= tied.count(),
            "{model} on {machine}"
        );
        let best = Question {
            fastest: true,
            ..asked.clone()
        };
        let best = plan(&best).expect("a plan").choice;
        assert_eq!(best.latency, fastest.latency(), "{model} on {machine}");
    }
}

#[test]
fn a_dimension_is_something_that_is_split() {
    for (line, count) in [
        ("none", 0),
        ("cfg2", 1),
        ("dp2", 1),
        ("tp2", 1),
        ("ulysses2", 1),
        ("pipefusion2", 1),
        ("ring2", 1),
        ("allgather-kv2", 1),
        ("distrifusion2", 1),
        ("attention2d2x2", 2),
        ("attention2d1x2", 1),
        ("attention2d2x1", 1),
        ("ulysses2+ring2", 2),
        ("ring2/1bit", 2),
        ("cfg2+dp2+pipefusion2+ulysses2+ring2+tp2", 6),
    ] {
        assert_eq!(dimensions(&line.parse().expect("a plan")), count, "{line}");
    }
}
