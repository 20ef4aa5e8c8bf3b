//! The chosen layout's assignment again, with costs from the simulation in place of the closed form.
//!
//! ```text
//! cost of an option in a layer = latency simulated with it - latency simulated with what is there now
//! ```
//! The closed form adds the times of blocks up; what a message hides behind may depend on the blocks around. So the
//! costs of the best assignment are asked of the simulation, the knapsack is solved with them, its answer is simulated,
//! and so on until nothing changes ([`coupled`]).
//!
//! Layers whose blocks take equally long and that have the same option now are asked through the first of them, and a
//! change of all thirds of the steps is the sum of a change in each: the answer is simulated as a whole, and taken only
//! if it is faster.

use std::cell::RefCell;
use std::collections::BTreeMap;

use rayon::prelude::*;
use sim::plan::{Compression, Plan};

use super::assigned::{Assigned, Classes};
use super::bounded::bounded;
use super::budget::{CONFIDENCE, TraceQuality};
use super::evaluator::Evaluator;
use super::simulated::{Simulated, SimulatedPlan};
use super::{NoPlan, PlanningError};
use crate::assign::{Coupled, coupled};

/// Rounds of asking and solving at most.
const ROUNDS: usize = 4;

impl Evaluator<'_> {
    /// The simulated plans, with the assignment of the chosen layout coupled to the schedule; as it was where no
    /// compressor per layer was chosen.
    ///
    /// # Errors
    /// [`PlanningError`] when something has no cost.
    pub(super) fn couple(&self, mut found: Simulated) -> Result<Simulated, PlanningError> {
        let (Some((quality, limit)), Some(best)) = (self.judge(), found.plans.first()) else {
            return Ok(found);
        };
        let chosen = best.bounded.plan.clone();
        let own = found.assigned.iter_mut().find(|one| one.plan == chosen);
        let (Compression::Mixed(_), Some(own)) = (&chosen.compression, own) else {
            return Ok(found);
        };
        let (classes, rounds) = self.rounds(own, quality, limit)?;
        let faster = rounds.best > 0;
        if faster {
            let plan = classes.plan(&chosen, &rounds.best().chosen);
            let totals = self.simulate(&plan)?;
            let bounded = bounded(self, &plan)?;
            own.plan = plan;
            found.plans.insert(0, SimulatedPlan { bounded, totals });
        }
        own.coupled = Some(rounds);
        Ok(found)
    }

    fn rounds(
        &self,
        own: &Assigned,
        quality: &TraceQuality,
        limit: f64,
    ) -> Result<(Classes, Coupled), PlanningError> {
        let budget = (limit / quality.model.factor(CONFIDENCE)?).powi(2);
        let granularity = self.question.filter.granularity;
        let classes = self.classes(&own.plan, quality, budget, granularity)?;
        let weights: Vec<Vec<f64>> = classes
            .instance
            .classes()
            .iter()
            .map(|class| class.iter().map(|item| item.weight).collect())
            .collect();
        let failed = RefCell::new(None);
        let or_keep = |result: Result<f64, PlanningError>| {
            result.unwrap_or_else(|error| {
                failed.borrow_mut().get_or_insert(error);
                f64::MAX
            })
        };
        let costs = |chosen: &[usize]| {
            let costs = self.costs(&own.plan, &classes, chosen);
            costs.unwrap_or_else(|error| {
                failed.borrow_mut().get_or_insert(error);
                weights.iter().map(|of| vec![0.0; of.len()]).collect()
            })
        };
        let latency = |chosen: &[usize]| or_keep(self.seconds(&classes.plan(&own.plan, chosen)));
        let rounds = coupled(&weights, budget, &own.chosen, ROUNDS, costs, latency);
        match (failed.into_inner(), rounds) {
            (Some(error), _) => Err(error),
            (None, Ok(rounds)) => Ok((classes, rounds)),
            (None, Err(fault)) => Err(PlanningError::NoPlan {
                reason: NoPlan::Costs(fault),
            }),
        }
    }

    fn seconds(&self, plan: &Plan) -> Result<f64, PlanningError> {
        Ok(self.simulate(plan)?.latency.as_secs_f64())
    }

    /// The cost of each option of each layer around an assignment, in seconds from it.
    fn costs(
        &self,
        layout: &Plan,
        classes: &Classes,
        chosen: &[usize],
    ) -> Result<Vec<Vec<f64>>, PlanningError> {
        // Equal times of all options and the same option now: one is asked for all.
        let mut alike: BTreeMap<(Vec<u64>, usize), Vec<usize>> = BTreeMap::new();
        for (layer, class) in classes.instance.classes().iter().enumerate() {
            let times = class.iter().map(|item| item.cost.to_bits()).collect();
            alike.entry((times, chosen[layer])).or_default().push(layer);
        }
        let now = self.seconds(&classes.plan(layout, chosen))?;
        let groups: Vec<Vec<usize>> = alike.into_values().collect();
        let asked = groups.par_iter().map(|layers| {
            let changed = |option: usize| {
                let mut other = chosen.to_vec();
                other[layers[0]] = option;
                Ok(self.seconds(&classes.plan(layout, &other))? - now)
            };
            classes.summed(chosen[layers[0]], changed)
        });
        let asked: Vec<Vec<f64>> = asked.collect::<Result<_, PlanningError>>()?;
        let mut costs = vec![Vec::new(); chosen.len()];
        for (layers, of_option) in groups.iter().zip(asked) {
            for &layer in layers {
                costs[layer].clone_from(&of_option);
            }
        }
        Ok(costs)
    }
}

impl Classes {
    /// The cost of each option from `changed`, that of one: asked for options that differ from `now` in one third of the
    /// steps (or are alike in all), summed for the others.
    pub(super) fn summed(
        &self,
        now: usize,
        changed: impl Fn(usize) -> Result<f64, PlanningError>,
    ) -> Result<Vec<f64>, PlanningError> {
        let from = self.options[now];
        let alike = self.options.iter().all(|option| option[0] == option[2]);
        let mut in_third: BTreeMap<(usize, usize), f64> = BTreeMap::new();
        let mut costs = Vec::with_capacity(self.options.len());
        for (index, option) in self.options.iter().enumerate() {
            if alike {
                costs.push(if index == now { 0.0 } else { changed(index)? });
                continue;
            }
            let mut sum = 0.0;
            for third in (0..3).filter(|&third| option[third] != from[third]) {
                let mut single = from;
                single[third] = option[third];
                let single = self.options.iter().position(|of| *of == single);
                let single = single.expect("options are all combinations of the palette");
                sum += match in_third.get(&(third, single)) {
                    Some(known) => *known,
                    None => {
                        let cost = changed(single)?;
                        in_third.insert((third, single), cost);
                        cost
                    }
                };
            }
            costs.push(sum);
        }
        Ok(costs)
    }
}
