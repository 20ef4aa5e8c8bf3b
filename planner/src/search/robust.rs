//! The plan whose worst case over a set of faults is the least.
//!
//! ```text
//! T(p, 0)  the plan's latency when nothing is wrong
//! T(p, k)  max over the cases of kind k: simulated with the fault; where the case takes a GPU that the plan
//!          uses: the latency of the best plan on the GPUs that are left
//! least    min over p of (T(p, 0), T(p, 1), ...) sorted from the largest, compared in that order
//! bound    the same with closed forms in place of simulations: no T is less, so no sorted list comes before
//! choice   of the plans whose worst case the evidence cannot tell from the least, the first in the order of `tied`
//! ```
//! The worst case decides; among equals (a lost GPU costs all plans that use it the same) the next worst.
//!
//! Guarantees:
//! 1. A plan is dropped only if its bound comes after the least, and it would not be chosen for a tie: the answer is that
//!    of simulating all.
//! 2. A plan's worst case is not less than its latency when nothing is wrong.
//! 3. Of cases that a symmetry of machine and plan makes equal, one is simulated.
//!
//! Not modelled: what noticing a fault and starting again take, how likely a case is, compressors per layer.

use rayon::prelude::*;
use sim::plan::Plan;
use topologies::SimDuration;
use topologies::fault::Faults;

use super::bounded::{Bounded, BoundedPlan};
use super::evaluator::Evaluator;
use super::fault_scenarios::FaultScenarios;
use super::fault_set::Kind;
use super::simulated::Simulated;
use super::space::Space;
use super::tied::{CONFIDENCE, NEAR};
use super::{Candidate, PlanningError, Provenance, Question};
use crate::interval::{Uncertainty, faster};

/// Plans simulated side by side.
const BATCH: usize = 8;

/// A kind of fault, and what would be best if one knew that it comes.
#[derive(Clone, Debug)]
pub struct Column {
    /// The kind.
    pub kind: Kind,
    /// The best plan for the case for which the best plan is slowest.
    pub known: Candidate,
    /// That case.
    pub case: Faults,
}

/// A plan in every case of faults.
#[derive(Clone, Debug)]
pub struct RobustPlan {
    /// The plan with its figures when nothing is wrong.
    pub candidate: Candidate,
    /// Its latency in the worst case of each kind.
    pub latencies: Vec<SimDuration>,
    /// That case, as a position in the kind's cases.
    pub worst_cases: Vec<usize>,
    /// The longest of all, that when nothing is wrong included.
    pub worst: SimDuration,
    /// The most by which it is longer than the best plan for a kind.
    pub regret: SimDuration,
}

/// What to do when GPUs are lost.
#[derive(Clone, Debug)]
pub struct Replan {
    /// The case.
    pub case: Faults,
    /// How many cases of its kind have the same answer.
    pub alike: usize,
    /// What is chosen for what is left.
    pub candidate: Candidate,
}

/// The answer.
#[derive(Clone, Debug)]
pub struct Robust {
    /// What was asked.
    pub question: Question,
    /// The kinds of faults.
    pub columns: Vec<Column>,
    /// Of the plans that are tied with that of the least worst case, which is the first of `plans`, the one that is preferred; that
    /// first one where the question asks for the fastest.
    pub choice: RobustPlan,
    /// The choice when nothing is wrong.
    pub nominal: RobustPlan,
    /// The plans simulated, best first.
    pub plans: Vec<RobustPlan>,
    /// Plans considered.
    pub considered: usize,
    /// Plans that pass the filter and fit.
    pub fitting: usize,
    /// Plans dropped by their bounds.
    pub pruned: usize,
    /// Simulations of those that were not.
    pub runs: usize,
    /// The least worst case that a dropped plan could have.
    pub next_bound: Option<SimDuration>,
    /// What to do when a GPU is lost.
    pub replans: Vec<Replan>,
    /// Where the numbers come from.
    pub provenance: Vec<Provenance>,
}

/// A plan, and its bounds from the largest.
struct Waiting {
    bounded: BoundedPlan,
    key: Vec<SimDuration>,
}

/// The most robust plan for a question, over cases of the given kinds.
///
/// # Errors
/// A [`PlanningError`] when no plan can serve it, also with a fault.
pub fn robust(question: &Question, kinds: Vec<Kind>) -> Result<Robust, PlanningError> {
    let evaluator = Evaluator::new(question)?;
    let scenarios = FaultScenarios::new(&evaluator, &kinds)?;
    let bounded = Bounded::new(&evaluator, Space::new(&evaluator))?;
    let (plans, dropped) = (bounded.plans.clone(), bounded.dropped.clone());
    let number = plans.len();
    let nominal = evaluator.settle(Simulated::contenders(&evaluator, bounded)?)?;
    let usual = nominal.best(&evaluator)?;
    let (found, left) = race(&scenarios, plans)?;
    let (choice, found, left) = settle(&evaluator, &scenarios, found, left)?;
    let same = |faced: &&RobustPlan| faced.candidate.plan == usual.bounded.plan;
    let nominal = match found.iter().find(same) {
        Some(nominal) => nominal.clone(),
        None => scenarios.in_all_cases(&usual.bounded)?,
    };
    let provenance = evaluator.provenance(found.iter().map(|faced| &faced.candidate.plan));
    Ok(Robust {
        question: question.clone(),
        choice,
        nominal,
        considered: dropped.legal,
        fitting: number,
        pruned: left.len(),
        runs: found
            .iter()
            .map(|faced| scenarios.runs(&faced.candidate.plan))
            .sum(),
        next_bound: left.first().map(|waiting| waiting.key[0]),
        plans: found,
        replans: scenarios.replans(),
        columns: scenarios.columns(kinds),
        provenance,
    })
}

/// Plans in the order of their bounds, simulated until none left can win; these best first, and those left.
fn race(
    scenarios: &FaultScenarios<'_>,
    plans: Vec<BoundedPlan>,
) -> Result<(Vec<RobustPlan>, Vec<Waiting>), PlanningError> {
    let waiting = |bounded: BoundedPlan| {
        let key = from_largest(scenarios.bounds(&bounded)?);
        Ok(Waiting { bounded, key })
    };
    let mut queue: Vec<Waiting> = plans
        .into_par_iter()
        .map(waiting)
        .collect::<Result<_, PlanningError>>()?;
    queue.sort_by(|a, b| (&a.key, &a.bounded.plan).cmp(&(&b.key, &b.bounded.plan)));
    let mut queue = queue.into_iter().peekable();
    let mut faced: Vec<RobustPlan> = Vec::new();
    while let Some(next) = queue.peek() {
        if faced.first().is_some_and(|best| next.key > best.key()) {
            break;
        }
        let batch: Vec<Waiting> = queue.by_ref().take(BATCH).collect();
        let judged = batch
            .par_iter()
            .map(|one| scenarios.in_all_cases(&one.bounded));
        faced.extend(judged.collect::<Result<Vec<_>, PlanningError>>()?);
        faced.sort_by_cached_key(|faced| (faced.key(), faced.candidate.plan.clone()));
    }
    Ok((faced, queue.collect()))
}

/// The choice among plans whose worst cases are tied with the least, with all that was simulated and what is left.
fn settle(
    evaluator: &Evaluator<'_>,
    scenarios: &FaultScenarios<'_>,
    mut faced: Vec<RobustPlan>,
    mut left: Vec<Waiting>,
) -> Result<(RobustPlan, Vec<RobustPlan>, Vec<Waiting>), PlanningError> {
    let least = faced[0].clone();
    if evaluator.question.fastest {
        return Ok((least, faced, left));
    }
    let first = (least.worst, &least.candidate.uncertainty);
    let is_tied = |worst: SimDuration, uncertainty: &Uncertainty| {
        worst <= first.0
            || worst <= first.0.scaled(NEAR) && faster(first, (worst, uncertainty)) < CONFIDENCE
    };
    let key = |plan: &Plan, times: Vec<SimDuration>| (evaluator.preference(plan), times);
    let of = |one: &RobustPlan| key(&one.candidate.plan, one.key());
    let tied = faced
        .iter()
        .filter(|one| is_tied(one.worst, &one.candidate.uncertainty));
    let mut choice = tied
        .min_by_key(|one| of(one))
        .expect("the least is tied with itself")
        .clone();
    left.sort_by_cached_key(|one| key(&one.bounded.plan, one.key.clone()));
    let mut kept = Vec::new();
    for one in left {
        let (bounded, bound) = (&one.bounded, one.key.clone());
        let may = is_tied(bound[0], &evaluator.uncertainty(bounded))
            && key(&bounded.plan, bound) < of(&choice);
        if !may {
            kept.push(one);
            continue;
        }
        let judged = scenarios.in_all_cases(bounded)?;
        if is_tied(judged.worst, &judged.candidate.uncertainty) && of(&judged) < of(&choice) {
            choice = judged.clone();
        }
        faced.push(judged);
    }
    kept.sort_by(|a, b| (&a.key, &a.bounded.plan).cmp(&(&b.key, &b.bounded.plan)));
    faced.sort_by_cached_key(|faced| (faced.key(), faced.candidate.plan.clone()));
    Ok((choice, faced, kept))
}

/// From the largest.
fn from_largest(mut times: Vec<SimDuration>) -> Vec<SimDuration> {
    times.sort_by(|a, b| b.cmp(a));
    times
}

impl RobustPlan {
    /// All its latencies from the largest: what plans are compared by.
    fn key(&self) -> Vec<SimDuration> {
        let sound = [self.candidate.latency];
        from_largest(self.latencies.iter().copied().chain(sound).collect())
    }
}

#[cfg(test)]
mod tests;
