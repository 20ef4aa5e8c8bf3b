//! The faults of a set: what a plan takes in each case, and what would be best if one knew.

use std::collections::{BTreeMap, BTreeSet};

use rayon::prelude::*;
use sim::plan::Plan;
use topologies::fault::Faults;
use topologies::{DeviceId, SimDuration};

use super::bounded::{Bounded, BoundedPlan};
use super::evaluator::Evaluator;
use super::fault_set::Kind;
use super::robust::{Column, Replan, RobustPlan};
use super::simulated::Simulated;
use super::space::Space;
use super::{Candidate, NoPlan, PlanningError};

/// A fault that may happen.
struct Case<'a> {
    faults: Faults,
    evaluator: Evaluator<'a>,
    likeness: Likeness,
}

/// Equal for cases of a kind that a symmetry of the machine makes equal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Likeness {
    /// One GPU of an island.
    Island(usize),
    /// Like no other: the position in its kind.
    Alone(usize),
}

/// What is best in a case.
struct Best {
    /// The plan predicted fastest.
    fastest: Candidate,
    /// What is chosen: the first of those that are tied with it.
    choice: Candidate,
}

/// All that may happen.
pub(super) struct FaultScenarios<'a> {
    evaluator: &'a Evaluator<'a>,
    /// By kind.
    cases: Vec<Vec<Case<'a>>>,
    /// By kind, the best plans for the cases if one knew that they come.
    known: Vec<BTreeMap<Likeness, Best>>,
}

impl<'a> FaultScenarios<'a> {
    pub(super) fn new(evaluator: &'a Evaluator<'a>, kinds: &[Kind]) -> Result<Self, PlanningError> {
        let machine = &evaluator.question.machine;
        let islands = machine.islands();
        let asked = &evaluator.question.faults;
        let case = |(index, faults): (usize, &Faults)| {
            let all: Faults = asked.all().iter().chain(faults.all()).cloned().collect();
            // What is wrong already sets GPUs of an island apart.
            let gpu = one_gpu_of(faults).filter(|_| asked.is_empty());
            let island = gpu.and_then(|gpu| islands.iter().position(|of| of.contains(&gpu)));
            Ok(Case {
                evaluator: evaluator.under(all.on(machine)?),
                faults: faults.clone(),
                likeness: island.map_or(Likeness::Alone(index), Likeness::Island),
            })
        };
        let of_kind = |kind: &Kind| kind.cases.iter().enumerate().map(case).collect();
        let cases: Vec<Vec<Case<'a>>> = kinds
            .iter()
            .map(of_kind)
            .collect::<Result<_, PlanningError>>()?;
        let known = cases.iter().map(|cases| known(cases));
        Ok(Self {
            evaluator,
            known: known.collect::<Result<_, _>>()?,
            cases,
        })
    }

    /// The cases of a kind of which no two are equal for `plan`, as positions: of an island's GPUs one for
    /// each stage of a pipeline, and one that the plan does not use.
    fn representatives(&self, kind: usize, plan: &Plan) -> Vec<usize> {
        let stage = |gpu: DeviceId| {
            let rank = plan.placement.iter().position(|used| *used == gpu)?;
            let rank = u32::try_from(rank).expect("a machine has fewer than 2^32 GPUs");
            Some(plan.coordinates(rank).stage)
        };
        let mut seen = BTreeSet::new();
        let new = |(_, case): &(usize, &Case<'_>)| {
            seen.insert((case.likeness, one_gpu_of(&case.faults).and_then(stage)))
        };
        let cases = self.cases[kind].iter().enumerate();
        cases.filter(new).map(|(index, _)| index).collect()
    }

    /// The plan that takes the place of `plan` where a case takes a GPU that it uses.
    fn replacement(&self, kind: usize, case: &Case<'_>, plan: &Plan) -> Option<&Candidate> {
        let lost = |gpu: &DeviceId| case.evaluator.condition.lost.contains(gpu);
        let hit = plan.placement.iter().any(lost);
        hit.then(|| &self.known[kind][&case.likeness].fastest)
    }

    /// Bounds on what a plan takes: when nothing is wrong, then in the worst case of each kind.
    pub(super) fn bounds(&self, bounded: &BoundedPlan) -> Result<Vec<SimDuration>, PlanningError> {
        let plan = &bounded.plan;
        let mut bounds = vec![bounded.parts.total];
        for kind in 0..self.cases.len() {
            let mut worst = SimDuration::ZERO;
            for index in self.representatives(kind, plan) {
                let case = &self.cases[kind][index];
                worst = worst.max(match self.replacement(kind, case, plan) {
                    Some(other) => other.latency,
                    None => case.evaluator.parts(plan)?.total,
                });
            }
            bounds.push(worst);
        }
        Ok(bounds)
    }

    /// A plan in all cases.
    pub(super) fn in_all_cases(&self, bounded: &BoundedPlan) -> Result<RobustPlan, PlanningError> {
        let plan = &bounded.plan;
        let totals = self.evaluator.simulate(plan)?;
        let candidate = self.evaluator.candidate(bounded, &totals);
        let mut robust = RobustPlan {
            worst: candidate.latency,
            regret: SimDuration::ZERO,
            latencies: Vec::new(),
            worst_cases: Vec::new(),
            candidate,
        };
        for kind in 0..self.cases.len() {
            let mut worst = (SimDuration::ZERO, 0);
            for index in self.representatives(kind, plan) {
                let case = &self.cases[kind][index];
                let latency = match self.replacement(kind, case, plan) {
                    Some(other) => other.latency,
                    None => case.evaluator.simulate(plan)?.latency,
                };
                if latency > worst.0 {
                    worst = (latency, index);
                }
            }
            robust.worst = robust.worst.max(worst.0);
            let known = self.hardest(kind).1.latency;
            robust.regret = robust.regret.max(worst.0.saturating_sub(known));
            robust.latencies.push(worst.0);
            robust.worst_cases.push(worst.1);
        }
        Ok(robust)
    }

    /// How many simulations [`in_all_cases`](Self::in_all_cases) takes.
    pub(super) fn runs(&self, plan: &Plan) -> usize {
        let simulated = |kind: usize| {
            let cases = self.representatives(kind, plan).into_iter();
            let own = cases.filter(|&index| {
                let case = &self.cases[kind][index];
                self.replacement(kind, case, plan).is_none()
            });
            own.count()
        };
        1 + (0..self.cases.len()).map(simulated).sum::<usize>()
    }

    /// The case of a kind for which even the best plan is slowest.
    fn hardest(&self, kind: usize) -> (&Case<'a>, &Candidate) {
        let with_plan = |case: &'_ Case<'a>| self.known[kind][&case.likeness].fastest.latency;
        let hardest = self.cases[kind].iter().reduce(|hardest, case| {
            if with_plan(case) > with_plan(hardest) {
                case
            } else {
                hardest
            }
        });
        let hardest = hardest.expect("a kind has cases");
        (hardest, &self.known[kind][&hardest.likeness].fastest)
    }

    /// The kinds with what would be best.
    pub(super) fn columns(&self, kinds: Vec<Kind>) -> Vec<Column> {
        let column = |(index, kind)| {
            let (case, known) = self.hardest(index);
            Column {
                kind,
                known: known.clone(),
                case: case.faults.clone(),
            }
        };
        kinds.into_iter().enumerate().map(column).collect()
    }

    /// What to do when GPUs are lost, by the first of the cases with equal answers.
    pub(super) fn replans(&self) -> Vec<Replan> {
        let mut replans: Vec<Replan> = Vec::new();
        for (cases, known) in self.cases.iter().zip(&self.known) {
            let losing = || {
                let lost = |case: &&Case<'_>| !case.evaluator.condition.lost.is_empty();
                cases.iter().filter(lost)
            };
            for (likeness, Best { choice, .. }) in known {
                let mut alike = losing().filter(|case| case.likeness == *likeness);
                if let Some(first) = alike.next() {
                    replans.push(Replan {
                        case: first.faults.clone(),
                        alike: 1 + alike.count(),
                        candidate: choice.clone(),
                    });
                }
            }
        }
        replans
    }
}

/// The best plan for each likeness of cases.
fn known(cases: &[Case<'_>]) -> Result<BTreeMap<Likeness, Best>, PlanningError> {
    let mut firsts: BTreeMap<Likeness, &Case<'_>> = BTreeMap::new();
    for case in cases {
        firsts.entry(case.likeness).or_insert(case);
    }
    let firsts: Vec<_> = firsts.into_iter().collect();
    let best = |(likeness, case): (Likeness, &Case<'_>)| {
        let evaluator = &case.evaluator;
        let bounded = Bounded::new(evaluator, Space::new(evaluator))?;
        let found = evaluator.settle(Simulated::contenders(evaluator, bounded)?)?;
        let choice = found.best(evaluator).map_err(|error| match error {
            PlanningError::NoPlan { reason } => PlanningError::NoPlan {
                reason: NoPlan::Faulty {
                    faults: case.faults.clone(),
                    why: Box::new(reason),
                },
            },
            other => other,
        })?;
        let [fastest, choice] =
            [&found.plans[0], choice].map(|one| evaluator.candidate(&one.bounded, &one.totals));
        Ok((likeness, Best { fastest, choice }))
    };
    firsts.into_par_iter().map(best).collect()
}

/// The one GPU that a case of one fault concerns.
fn one_gpu_of(faults: &Faults) -> Option<DeviceId> {
    match faults.all() {
        [fault] => fault.gpu(),
        _ => None,
    }
}
