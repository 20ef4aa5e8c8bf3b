//! Plans that the filter lets pass and that fit, each with its memory and its lower bound.

use rayon::prelude::*;
use sim::engine::RunError;
use sim::lower::Parts;
use sim::memory::{self, Memory, Stored};
use sim::plan::{Fidelity, Plan, Residency, Weights};
use sim::simulate::SimulationError;

use super::assigned::Assigned;
use super::evaluator::Evaluator;
use super::space::Space;
use super::{Budget, NoPlan, PlanningError, Rejected, Unfit, Which};

/// A plan with its memory and its lower bound.
#[derive(Clone)]
pub(super) struct BoundedPlan {
    pub plan: Plan,
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

/// The plans whose fullest GPU has room for them: with everything resident where that fits, else with every residency that
/// the engine offers and that fits. Of the others the first is listed with what it needs.
fn fitting(
    evaluator: &Evaluator<'_>,
    plans: Vec<Plan>,
    illegal: &mut Vec<Rejected>,
) -> Vec<(Plan, Memory)> {
    let mut fitting = Vec::with_capacity(plans.len());
    let mut full = 0_usize;
    for plan in plans {
        let memory = memory_of(evaluator, &plan);
        if memory.fits.is_fit() {
            fitting.push((plan, memory));
            continue;
        }
        let mut moved = evaluator.moved(&plan);
        if evaluator.question.filter.launchable {
            moved.retain(|(plan, _)| evaluator.launch(plan).command.is_ok());
        }
        if !moved.is_empty() {
            fitting.extend(moved);
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

fn memory_of(evaluator: &Evaluator<'_>, plan: &Plan) -> Memory {
    let gpu = evaluator.platform.gpu(plan.placement[0]);
    memory::peak(&evaluator.workload, plan, gpu, &Stored::default())
}

impl Evaluator<'_> {
    /// A plan with each residency that its engine offers, that is legal and fits, from the fastest.
    pub(super) fn moved(&self, plan: &Plan) -> Vec<(Plan, Memory)> {
        let question = self.question;
        let offered = question.engine.residencies(question.model, plan);
        let gpu = self.platform.gpu(plan.placement[0]);
        let with = |(residency, any_stay): (Residency, bool)| {
            let residency = match residency.transformer {
                Weights::Layerwise { ahead, .. } if any_stay => {
                    memory::most_resident(&self.workload, plan, gpu, residency, ahead)?.0
                }
                _ => residency,
            };
            let plan = plan.clone().with_residency(residency);
            let legal = self.check_on(&plan, self.platform.gpus.len()).is_ok();
            let memory = memory_of(self, &plan);
            (legal && memory.fits.is_fit()).then_some((plan, memory))
        };
        offered.into_iter().filter_map(with).collect()
    }

    /// A plan where it fits: as it is, else with the residency that its engine offers and whose bound is the lowest. As it is
    /// where none fits.
    pub(super) fn fitted(&self, plan: Plan) -> Result<Plan, PlanningError> {
        if memory_of(self, &plan).fits.is_fit() {
            return Ok(plan);
        }
        let moved = bounds(self, self.moved(&plan))?;
        Ok(moved.into_iter().next().map_or(plan, |first| first.plan))
    }
}

fn bounds(
    evaluator: &Evaluator<'_>,
    plans: Vec<(Plan, Memory)>,
) -> Result<Vec<BoundedPlan>, PlanningError> {
    let bound = |(plan, memory): (Plan, Memory)| {
        let parts = evaluator.parts(&plan)?;
        Ok(BoundedPlan {
            plan,
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
    Ok(BoundedPlan {
        plan: plan.clone(),
        memory: memory_of(evaluator, plan),
        parts: evaluator.parts(plan)?,
    })
}
