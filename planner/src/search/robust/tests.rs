//! The answer is that of simulating every plan in every case, without bounds and without symmetry.

use sim::model::{self, Request};
use sim::plan::Plan;
use topologies::Machine;

use super::super::fault_set::usual;
use super::super::{Shared, winner};
use super::*;

fn question(machine: &str) -> Question {
    let model = model::find("FLUX.1-dev").expect("a known model");
    let machine = Machine::preset(machine).expect("a machine");
    Question {
        request: Request {
            steps: 5,
            ..model.default
        },
        fastest: true,
        ..Question::new(model, machine).expect("readable runs")
    }
}

/// A plan's latency without a fault and in the worst case of each kind, every case simulated.
fn exhaustively(
    question: &Question,
    evaluator: &Evaluator<'_>,
    plan: &Plan,
    kinds: &[Kind],
) -> Vec<SimDuration> {
    let sound = evaluator.simulate(plan).expect("it can run");
    let mut times = vec![sound.latency];
    for kind in kinds {
        let of_case = |case: &Faults| {
            let asked = Question {
                faults: case.clone(),
                ..question.clone()
            };
            let evaluator = Evaluator::new(&asked).expect("an evaluator");
            let lost = |gpu| evaluator.condition.lost.contains(gpu);
            if plan.placement.iter().any(lost) {
                return winner(&asked, &Shared::default())
                    .expect("plans")
                    .candidate
                    .latency;
            }
            evaluator.simulate(plan).expect("it can run").latency
        };
        times.push(kind.cases.iter().map(of_case).max().expect("cases"));
    }
    times
}

/// Of the plans that are tied with the least worst case, all simulated, the choice is the first in the order of `tied`.
#[test]
fn the_choice_is_the_first_of_those_that_are_tied() {
    for machine in ["4xl20-pcie", "3xL20@25GB/s"] {
        let question = Question {
            fastest: false,
            ..question(machine)
        };
        let kinds = usual(&question.machine);
        let found = robust(&question, kinds.clone()).expect("plans");
        let evaluator = Evaluator::new(&question).expect("an evaluator");
        let scenarios = FaultScenarios::new(&evaluator, &kinds).expect("cases");
        let bounded = Bounded::new(&evaluator, Space::new(&evaluator)).expect("bounds");
        let all = bounded.plans.iter().map(|one| scenarios.in_all_cases(one));
        let all: Vec<RobustPlan> = all.collect::<Result<_, _>>().expect("it can run");
        let of = |one: &RobustPlan| (one.worst, one.candidate.uncertainty.clone());
        let least = all.iter().min_by_key(|one| one.key()).expect("plans");
        let (worst, sure) = of(least);
        let tied = all.iter().filter(|one| {
            one.worst <= worst || faster((worst, &sure), (one.worst, &of(one).1)) < CONFIDENCE
        });
        let first = tied.min_by_key(|one| (evaluator.preference(&one.candidate.plan), one.key()));
        let first = first.expect("the least is tied");
        assert_eq!(
            first.candidate.plan, found.choice.candidate.plan,
            "{machine}"
        );
        assert_eq!(
            found.plans[0].candidate.plan, least.candidate.plan,
            "{machine}"
        );
        assert!(found.fitting == found.plans.len() + found.pruned);
    }
}

#[test]
fn bounds_and_symmetry_change_no_answer() {
    for machine in ["4xl20-pcie", "3xL20@25GB/s", "4xrtx4090"] {
        let question = question(machine);
        let kinds = usual(&question.machine);
        let found = robust(&question, kinds.clone()).expect("plans");
        let evaluator = Evaluator::new(&question).expect("an evaluator");
        let bounded = Bounded::new(&evaluator, Space::new(&evaluator)).expect("bounds");
        let plans = bounded.plans.into_iter().map(|one| one.plan);
        let mut all: Vec<(Vec<SimDuration>, Plan)> = plans
            .map(|plan| {
                let times = exhaustively(&question, &evaluator, &plan, &kinds);
                (from_largest(times), plan)
            })
            .collect();
        all.sort();
        assert_eq!(all.len(), found.fitting, "{machine}");
        let of = |faced: &RobustPlan| (faced.key(), faced.candidate.plan.clone());
        assert_eq!(of(&found.choice), all[0], "{machine}");
        for (faced, expected) in found.plans.iter().zip(&all) {
            // Up to the first that was dropped, the order is that of all; a bound is a sum of rounded times.
            let rounded = SimDuration::from_us_f64(0.001);
            let below = |bound: SimDuration| expected.0[0] + rounded < bound;
            if found.next_bound.is_none_or(below) {
                assert_eq!(of(faced), *expected, "{machine}");
            }
        }
        assert!(
            found.pruned > 0,
            "{machine}: nothing was dropped, so bounds were not tried"
        );
    }
}
