//! Plans that the filter lets pass and that fit, each with its memory and its lower bound.

use rayon::prelude::*;
use sim::engine::RunError;
use sim::lower::Parts;
use sim::memory::{self, Memory, Residency};
use sim::plan::{Fidelity, Plan};
use sim::simulate::SimulationError;

use super::assigned::Assigned;
use super::evaluator::Evaluator;
use super::space::Space;
use super::{Budget, NoPlan, PlanningError, Rejected, Unfit, Which};

/// A plan with its memory and its lower bound.
#[derive(Clone)]
pub(super) struct BoundedPlan {
    pub plan: Plan,
    /// Where its weights are, so that it fits; all on every GPU where nothing fits.
    pub residency: Residency,
    pub memory: Memory,
    pub parts: Parts,
}

/// The plans that may be chosen, lowest bound first, and why others may not.
pub(super) struct Bounded {
    pub plans: Vec<BoundedPlan>,
    pub assigned: Vec<Assigned>,
    pub dropped: Dropped,
}

/// Plans that may not be chosen.
#[derive(Clone)]
pub(super) struct Dropped {
    /// Legal plans, those included that may be chosen.
    pub legal: usize,
    /// Legal plans that the filter lets pass, whether or not they fit.
    pub passing: usize,
    /// Plans that are not legal or do not fit, one for each reason.
    pub illegal: Vec<Rejected>,
}

impl Bounded {
    /// Bounds the plans of a space. Those that take longer than is simulated are left out, if not all do.
    pub(super) fn new(evaluator: &Evaluator<'_>, space: Space) -> Result<Self, PlanningError> {
        let mut dropped = Dropped {
            legal: space.legal.len(),
            passing: 0,
            illegal: space.illegal,
        };
        let mut passing = space.legal;
        passing.retain(|plan| passes(evaluator, plan));
        dropped.passing = passing.len();
        let fitting = fitting(evaluator, passing, &mut dropped.illegal);
        Ok(Self {
            plans: bounds(evaluator, fitting)?,
            assigned: space.assigned,
            dropped,
        })
    }
}

impl Dropped {
    /// Why no plan is left.
    pub(super) fn no_plan(&self, evaluator: &Evaluator<'_>) -> PlanningError {
        let wanted = evaluator.question.filter.strategy.as_deref();
        let of_wanted = wanted.and_then(|wanted| {
            let plan: Plan = wanted.parse().ok()?;
            Some(NoPlan::Wanted {
                line: wanted.to_owned(),
                why: evaluator.check(&plan).err()?,
            })
        });
        let reason = match (of_wanted, self.illegal.last()) {
            (Some(reason), _) => reason,
            (None, Some(last)) if self.passing > 0 || self.legal == 0 => {
                // What is counted only stands behind the plan that says how much it needs.
                let counted = matches!(last.which, Which::More(_));
                let named = self.illegal.len() - 1 - usize::from(counted);
                NoPlan::Rejected {
                    first: Box::new(self.illegal[named].clone()),
                    more: match last.which {
                        Which::More(count) => count,
                        Which::Line(_) => 0,
                    },
                }
            }
            (None, _) => NoPlan::Filtered,
        };
        PlanningError::NoPlan { reason }
    }
}

/// Whether the filter lets a plan be chosen.
fn passes(evaluator: &Evaluator<'_>, plan: &Plan) -> bool {
    let filter = &evaluator.question.filter;
    if filter
        .strategy
        .as_ref()
        .is_some_and(|wanted| *wanted != plan.strategy())
    {
        return false;
    }
    if filter.launchable && evaluator.launch(plan).command.is_err() {
        return false;
    }
    if plan.fidelity() == Fidelity::Exact {
        return true;
    }
    if filter.exact_only {
        return false;
    }
    if filter.max_fid.is_none() && filter.budget.is_none() {
        return true;
    }
    let quality = evaluator.quality(plan);
    let at_most = |figure: Option<f64>, most: f64| figure.is_some_and(|figure| figure <= most);
    let upper = quality.predicted.map(|predicted| predicted.upper);
    filter.max_fid.is_none_or(|most| at_most(quality.fid, most))
        && match filter.budget {
            None => true,
            Some(Budget::Fid(most)) => at_most(quality.fid, most),
            Some(Budget::Lpips(most)) => at_most(quality.lpips, most),
            Some(budget) => evaluator
                .limit(budget)
                .is_some_and(|most| at_most(upper, most * (1.0 + 1e-9))),
        }
}

/// A plan, where its weights are, and what it needs.
type Fitting = (Plan, Residency, Memory);

/// The plans whose fullest GPU has room for them: with all components resident where that fits, else moved in turn or
/// sharded. Of the others the first is listed with what it needs.
fn fitting(
    evaluator: &Evaluator<'_>,
    plans: Vec<Plan>,
    illegal: &mut Vec<Rejected>,
) -> Vec<Fitting> {
    let mut fitting = Vec::with_capacity(plans.len());
    let mut full = 0_usize;
    for plan in plans {
        let (residency, memory) = memory_of(evaluator, &plan);
        if memory.fits.is_fit() {
            fitting.push((plan, residency, memory));
            continue;
        }
        full += 1;
        if full == 1 {
            let why = Unfit::Memory {
                needs: memory.total,
                has: evaluator.platform.gpu(plan.placement[0]).memory,
            };
            illegal.push(Rejected::new(plan.to_string(), why));
        }
    }
    if full > 1 {
        illegal.push(Rejected {
            which: Which::More(full - 1),
            why: Unfit::MemoryToo,
        });
    }
    fitting
}

/// Where a plan's weights are and what it needs; with everything on every GPU where nothing fits.
fn memory_of(evaluator: &Evaluator<'_>, plan: &Plan) -> (Residency, Memory) {
    let gpu = evaluator.platform.gpu(plan.placement[0]);
    let workload = &evaluator.workload;
    memory::first_fit(workload, plan, gpu).unwrap_or_else(|| {
        let residency = Residency::default();
        (residency, memory::peak(workload, plan, gpu, &residency))
    })
}

fn bounds(
    evaluator: &Evaluator<'_>,
    plans: Vec<Fitting>,
) -> Result<Vec<BoundedPlan>, PlanningError> {
    let bound = |(plan, residency, memory): Fitting| {
        let parts = evaluator.parts(&plan)?;
        Ok(BoundedPlan {
            plan,
            residency,
            memory,
            parts,
        })
    };
    let bounded: Vec<Result<_, PlanningError>> = plans.into_par_iter().map(bound).collect();
    let too_long = PlanningError::from(SimulationError::from(RunError::TooLong));
    let mut all = Vec::with_capacity(bounded.len());
    let mut dropped = false;
    for one in bounded {
        match one {
            Err(error) if error == too_long => dropped = true,
            one => all.push(one?),
        }
    }
    if all.is_empty() && dropped {
        return Err(too_long);
    }
    all.sort_by(|a, b| (a.parts.total, &a.plan).cmp(&(b.parts.total, &b.plan)));
    Ok(all)
}

/// One plan with its memory and lower bound, whether or not it fits.
pub(super) fn bounded(
    evaluator: &Evaluator<'_>,
    plan: &Plan,
) -> Result<BoundedPlan, PlanningError> {
    let (residency, memory) = memory_of(evaluator, plan);
    Ok(BoundedPlan {
        plan: plan.clone(),
        residency,
        memory,
        parts: evaluator.parts(plan)?,
    })
}
