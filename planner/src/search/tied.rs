//! The choice among the plans that the evidence cannot tell from the fastest.
//!
//! | first | then |
//! |---|---|
//! | the engine has a command for it | it has none |
//! | exact | stale, then lossy |
//! | all weights resident | some that move |
//! | fewer GPUs | more |
//! | fewer dimensions of parallelism | more |
//! | predicted faster | slower |
//!
//! A plan is tied with the fastest while the probability that the fastest is faster is below [`CONFIDENCE`]
//! ([`crate::interval::faster`]); of those that are predicted at most a quarter slower, one is chosen. Guarantees: the choice is simulated, as is every plan that would go before it; those
//! that are tied by their bounds and would not are counted.

use sim::plan::{Exchange, Fidelity, Plan, Residency};
use topologies::SimDuration;

use super::bounded::BoundedPlan;
use super::evaluator::Evaluator;
use super::simulated::{Simulated, SimulatedPlan, is_uniform, simulate};
use super::{Answer, Candidate, PlanningError};
use crate::interval::{Uncertainty, faster};

/// How sure the fastest must be of a plan for that plan to be called slower.
pub const CONFIDENCE: f64 = 0.9;

/// A plan predicted to take longer than the fastest by more than this is not chosen for what is preferred, however little is known:
/// where only links are, plans twice as slow are within the interval.
pub(super) const NEAR: f64 = 1.25;

/// What a plan is preferred for, the best first.
pub(super) type Preference = (bool, Fidelity, bool, u32, usize);

impl Evaluator<'_> {
    pub(super) fn uncertainty(&self, bounded: &BoundedPlan) -> Uncertainty {
        let compilation = self.question.compilation;
        let evidence = &self.calibrated.evidence;
        let asked = (self.question.model, self.question.request.frames > 1);
        Uncertainty::of(&bounded.parts, &bounded.plan, asked, compilation, evidence)
    }

    pub(super) fn preference(&self, plan: &Plan) -> Preference {
        let engine_refuses = self.launch(plan).command.is_err();
        (
            engine_refuses,
            plan.fidelity(),
            plan.execution.residency != Residency::RESIDENT,
            plan.ranks(),
            dimensions(plan),
        )
    }

    /// Settles which plan is chosen, simulating what may go before the fastest.
    ///
    /// # Errors
    /// [`PlanningError`] when something has no cost.
    pub(super) fn settle(&self, mut found: Simulated) -> Result<Simulated, PlanningError> {
        if self.question.fastest {
            return Ok(found);
        }
        let Some(fastest) = found.plans.first() else {
            return Ok(found);
        };
        let sure = self.uncertainty(&fastest.bounded);
        let first = (fastest.latency(), sure);
        let worth = fastest.bounded.plan.clone();
        let is_tied = |bounded: &BoundedPlan, latency: SimDuration| {
            // A compressor per layer that is not worth it stands behind a uniform one already.
            if !is_uniform(&bounded.plan) && bounded.plan != worth {
                return false;
            }
            let near = latency <= first.0.scaled(NEAR);
            latency <= first.0
                || near
                    && faster((first.0, &first.1), (latency, &self.uncertainty(bounded)))
                        < CONFIDENCE
        };
        let key = |plan: &Plan, latency| (self.preference(plan), latency);
        let plans = found.plans.iter().enumerate();
        let tied = plans.filter(|(_, one)| is_tied(&one.bounded, one.latency()));
        let keyed = tied.map(|(at, one)| (key(&one.bounded.plan, one.latency()), at));
        let (mut best, at) = keyed.min().expect("the fastest is tied with itself");
        let mut chosen = found.plans[at].bounded.plan.clone();
        let near = found.waiting.iter().enumerate();
        let near = near.filter(|(_, one)| is_tied(one, one.parts.total));
        let mut near: Vec<_> = near
            .map(|(at, one)| (key(&one.plan, one.parts.total), at))
            .collect();
        near.sort_unstable();
        found.tied_by_bound = near.len();
        let mut taken = Vec::new();
        for (bound, at) in near {
            if bound >= best {
                break;
            }
            let bounded = found.waiting[at].clone();
            taken.push(at);
            found.plans.extend(simulate(self, vec![bounded])?);
            let one: &SimulatedPlan = found.plans.last().expect("it was just simulated");
            let simulated = key(&one.bounded.plan, one.latency());
            if simulated < best && is_tied(&one.bounded, one.latency()) {
                best = simulated;
                chosen = one.bounded.plan.clone();
            }
        }
        taken.sort_unstable();
        for at in taken.iter().rev() {
            found.waiting.remove(*at);
        }
        found.tied_by_bound -= taken.len();
        found.rank();
        let place = |one: &SimulatedPlan| one.bounded.plan == chosen;
        found.choice = found.plans.iter().position(place).unwrap_or(0);
        Ok(found)
    }
}

/// Dimensions in which a plan splits something, a compressor counted as one.
fn dimensions(plan: &Plan) -> usize {
    let exchange = match plan.exchange {
        Exchange::Attention2d { rows, columns } => usize::from(rows > 1) + usize::from(columns > 1),
        one_way => usize::from(one_way.degree() > 1),
    };
    let degrees = [
        plan.data,
        plan.cfg,
        plan.pipeline.stages,
        plan.ulysses,
        plan.tensor,
    ];
    let split = degrees.iter().filter(|degree| **degree > 1).count();
    split + exchange + usize::from(!plan.compression.is_raw())
}

impl Candidate {
    /// Whether the evidence cannot tell it from the plan predicted fastest.
    #[must_use]
    pub fn is_tied(&self) -> bool {
        self.behind < CONFIDENCE
    }
}

impl Answer {
    /// The plans that the evidence cannot tell from the fastest, which is the first.
    pub fn tied(&self) -> impl Iterator<Item = &Candidate> {
        self.plans.iter().filter(|one| one.is_tied())
    }

    /// The fastest plan whose output equals the one-GPU output.
    #[must_use]
    pub fn fastest_exact(&self) -> Option<&Candidate> {
        let mut plans = self.plans.iter();
        plans.find(|one| one.fidelity == Fidelity::Exact)
    }

    /// The fastest plan that the engine has a command for.
    #[must_use]
    pub fn fastest_launchable(&self) -> Option<&Candidate> {
        let mut plans = self.plans.iter();
        plans.find(|one| one.launch.command.is_ok())
    }
}

#[cfg(test)]
mod tests;
