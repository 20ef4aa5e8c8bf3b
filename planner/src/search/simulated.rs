//! Branch and bound over the bounded plans: simulated in the order of their lower bounds, as far as the answer needs them.
//!
//! | the answer names | a plan is simulated while its bound is at most the latency of |
//! |---|---|
//! | the winner | the fastest plan with one compressor or none: a compressor per layer must beat it by [`WORTH`] |
//! | what staleness and compression gain | the fastest raw, exact, stale, lossy plan, for a plan of that class |
//! | the n that are shown, of different kinds | the n-th fastest kind, for the first plan of a kind |
//!
//! Guarantees:
//! 1. A plan is dropped only if its lower bound exceeds the simulated latency of the best plan.
//! 2. The fastest plan of each class, and the n fastest kinds, are those of simulating all.
//! 3. The answer is the same at any number of threads: batches have a fixed size and are collected
//!    in order; ties go to the smaller plan.

use std::collections::BTreeSet;

use rayon::prelude::*;
use sim::plan::{Compression, Exchange, Fidelity, Plan, RingLoop};
use sim::simulate::Totals;
use topologies::SimDuration;

use super::PlanningError;
use super::assigned::Assigned;
use super::bounded::{Bounded, BoundedPlan, Dropped};
use super::evaluator::Evaluator;

/// Plans simulated side by side.
const BATCH: usize = 8;

/// A gain over one compressor everywhere that is worth a compressor per layer: smaller ones were not
/// found again in closed loop (docs/quality.md).
pub(super) const WORTH: f64 = 1.05;

/// A simulated plan.
#[derive(Clone)]
pub(super) struct SimulatedPlan {
    pub bounded: BoundedPlan,
    pub totals: Totals,
}

impl SimulatedPlan {
    pub(super) fn latency(&self) -> SimDuration {
        self.totals.latency
    }
}

/// The plans that were simulated, best first, and what is known of the others.
pub(super) struct Simulated {
    pub plans: Vec<SimulatedPlan>,
    /// The chosen one's place.
    pub choice: usize,
    /// Plans that were not simulated, lowest bound first.
    pub waiting: Vec<BoundedPlan>,
    /// How many of those are tied with the fastest by their bounds.
    pub tied_by_bound: usize,
    pub assigned: Vec<Assigned>,
    pub dropped: Dropped,
}

/// Whether a plan has one compressor for everything, or none.
pub(super) fn is_uniform(plan: &Plan) -> bool {
    !matches!(plan.compression, Compression::Mixed(_))
}

/// Classes of plans of which an answer names the fastest.
const CLASSES: [fn(&Plan) -> bool; 5] = [
    |plan| plan.compression.is_raw(),
    |plan| plan.compression.is_raw() && plan.ring_loop == RingLoop::Engine,
    |plan| plan.fidelity() == Fidelity::Exact,
    |plan| plan.fidelity() == Fidelity::Stale,
    |plan| plan.fidelity() == Fidelity::Lossy,
];

/// What a plan is called in a listing that shows one of each kind: its dimensions and compressor.
type Kind = (u8, [bool; 5], Compression);

fn kind(plan: &Plan) -> Kind {
    let exchange = match plan.exchange {
        Exchange::Ring(1) => 0,
        Exchange::Ring(_) => 1,
        Exchange::Gather(_) => 2,
        Exchange::Attention2d { .. } => 3,
        Exchange::Displaced(_) => 4,
    };
    let degrees = [
        plan.data,
        plan.cfg,
        plan.pipeline.stages,
        plan.ulysses,
        plan.tensor,
    ];
    (
        exchange,
        degrees.map(|degree| degree > 1),
        plan.compression.clone(),
    )
}

/// Longer than any plan.
const NEVER: SimDuration = SimDuration::new(u64::MAX);

/// The latency of the fastest of some plans; [`NEVER`] where there is none.
fn fastest(plans: &[SimulatedPlan], of: impl Fn(&Plan) -> bool) -> SimDuration {
    let plans = plans.iter().filter(|one| of(&one.bounded.plan));
    plans.map(SimulatedPlan::latency).min().unwrap_or(NEVER)
}

/// Up to which bounds the answer still needs plans, from what was simulated.
struct Needs {
    winner: SimDuration,
    classes: [SimDuration; CLASSES.len()],
    kinds: SimDuration,
    seen: BTreeSet<Kind>,
}

impl Needs {
    /// `shown` kinds are listed.
    fn new(simulated: &[SimulatedPlan], shown: usize) -> Self {
        let mut by_latency: Vec<&SimulatedPlan> = simulated.iter().collect();
        by_latency.sort_by_key(|one| one.latency());
        let mut seen = BTreeSet::new();
        let mut kinds = if shown == 0 { SimDuration::ZERO } else { NEVER };
        for one in by_latency {
            if seen.insert(kind(&one.bounded.plan)) && seen.len() == shown {
                kinds = one.latency();
            }
        }
        Self {
            winner: fastest(simulated, is_uniform),
            classes: CLASSES.map(|class| fastest(simulated, class)),
            kinds,
            seen,
        }
    }

    /// The bound above which no plan is needed.
    fn last(&self) -> SimDuration {
        let classes = self.classes.into_iter();
        classes.fold(self.winner.max(self.kinds), Ord::max)
    }

    /// Whether a plan must be simulated; others of its kind are then not needed to show it.
    fn explain(&mut self, waiting: &BoundedPlan) -> bool {
        let (plan, bound) = (&waiting.plan, waiting.parts.total);
        let mut classes = CLASSES.iter().zip(self.classes);
        let needed = bound <= self.winner
            || classes.any(|(class, most)| bound <= most && class(plan))
            || bound <= self.kinds && !self.seen.contains(&kind(plan));
        if needed {
            self.seen.insert(kind(plan));
        }
        needed
    }
}

/// Simulates plans, in batches and in order, as long as `needed` names some.
fn race(
    evaluator: &Evaluator<'_>,
    waiting: &mut Vec<BoundedPlan>,
    batch: usize,
    mut needed: impl FnMut(&[SimulatedPlan], &[BoundedPlan]) -> Vec<usize>,
) -> Result<Vec<SimulatedPlan>, PlanningError> {
    let mut done: Vec<SimulatedPlan> = Vec::new();
    loop {
        let mut next = needed(&done, waiting);
        next.truncate(batch);
        if next.is_empty() {
            return Ok(done);
        }
        // From the back, so that the places before stay.
        let mut taken: Vec<BoundedPlan> = next.iter().rev().map(|&at| waiting.remove(at)).collect();
        taken.reverse();
        done.extend(simulate(evaluator, taken)?);
    }
}

pub(super) fn simulate(
    evaluator: &Evaluator<'_>,
    batch: Vec<BoundedPlan>,
) -> Result<Vec<SimulatedPlan>, PlanningError> {
    let one = |bounded: BoundedPlan| {
        let totals = evaluator.simulate(&bounded.plan)?;
        Ok(SimulatedPlan { bounded, totals })
    };
    batch.into_par_iter().map(one).collect()
}

/// Best first; a compressor per layer only where it is worth it.
fn rank(plans: &mut [SimulatedPlan]) {
    plans.sort_by(|a, b| (a.latency(), &a.bounded.plan).cmp(&(b.latency(), &b.bounded.plan)));
    let uniform = plans.iter().position(|one| is_uniform(&one.bounded.plan));
    if let Some(first) = uniform {
        let gain = plans[first].latency().as_secs_f64() / plans[0].latency().as_secs_f64();
        if gain < WORTH {
            plans[..=first].rotate_right(1);
        }
    }
}

impl Simulated {
    /// The plans that the answer names: the winner and what it is compared with, `shown` kinds of plans, and where the
    /// engine cannot run the winner, the fastest that it can.
    pub(super) fn new(
        evaluator: &Evaluator<'_>,
        bounded: Bounded,
        shown: usize,
    ) -> Result<Self, PlanningError> {
        let mut waiting = bounded.plans;
        let explained = |done: &[SimulatedPlan], waiting: &[BoundedPlan]| {
            let mut needs = Needs::new(done, shown);
            let last = needs.last();
            let near = waiting.iter().enumerate();
            let near = near.take_while(|(_, plan)| plan.parts.total <= last);
            let needed = near.filter(|(_, plan)| needs.explain(plan));
            needed.map(|(at, _)| at).take(BATCH).collect()
        };
        let mut plans = race(evaluator, &mut waiting, BATCH, explained)?;
        rank(&mut plans);
        let runs = |plan: &Plan| evaluator.launch(plan).command.is_ok();
        if plans.first().is_some_and(|best| !runs(&best.bounded.plan)) {
            let mut most = fastest(&plans, runs);
            let launchable = |done: &[SimulatedPlan], waiting: &[BoundedPlan]| {
                most = most.min(fastest(done, |_| true));
                let near = waiting.iter().enumerate();
                let mut near = near.take_while(|(_, plan)| plan.parts.total < most);
                near.find(|(_, plan)| runs(&plan.plan))
                    .map_or_else(Vec::new, |(at, _)| vec![at])
            };
            plans.extend(race(evaluator, &mut waiting, 1, launchable)?);
            rank(&mut plans);
        }
        Ok(Self {
            plans,
            choice: 0,
            waiting,
            tied_by_bound: 0,
            assigned: bounded.assigned,
            dropped: bounded.dropped,
        })
    }

    /// The plans that could win; one at a time, since many such searches run side by side.
    pub(super) fn contenders(
        evaluator: &Evaluator<'_>,
        bounded: Bounded,
    ) -> Result<Self, PlanningError> {
        let mut waiting = bounded.plans;
        let first = |done: &[SimulatedPlan], waiting: &[BoundedPlan]| {
            let most = fastest(done, is_uniform);
            let first = waiting.first().filter(|plan| plan.parts.total <= most);
            first.map_or_else(Vec::new, |_| vec![0])
        };
        let mut plans = race(evaluator, &mut waiting, 1, first)?;
        rank(&mut plans);
        Ok(Self {
            plans,
            choice: 0,
            waiting,
            tied_by_bound: 0,
            assigned: bounded.assigned,
            dropped: bounded.dropped,
        })
    }

    /// Puts the fastest first again.
    pub(super) fn rank(&mut self) {
        rank(&mut self.plans);
    }

    /// The chosen plan.
    pub(super) fn best(&self, evaluator: &Evaluator<'_>) -> Result<&SimulatedPlan, PlanningError> {
        let best = self.plans.get(self.choice);
        best.ok_or_else(|| self.dropped.no_plan(evaluator))
    }
}

#[cfg(test)]
mod tests;
