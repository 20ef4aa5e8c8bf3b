//! What a replica can be: a plan on some of a machine's GPUs, with its service time of every shape.

use std::collections::BTreeSet;

use indicatif::ProgressBar;
use rayon::prelude::*;
use sim::plan::Plan;
use topologies::SimDuration;

use super::{CapacityError, NoOffer, Question};
use crate::launch::Launch;
use crate::search;

/// A replica that can be had.
#[derive(Clone, Debug, PartialEq)]
pub struct Offer {
    /// Whose GPUs: an index into [`Question::markets`].
    pub market: usize,
    /// How many it takes.
    pub gpus: u32,
    /// How they share a request.
    pub plan: Plan,
    /// By shape, then by requests of a batch less one; empty where the plan cannot serve the shape.
    pub service: Vec<Vec<SimDuration>>,
    /// Upper end of the 90 % interval of a service time over the time itself, by shape.
    pub slow: Vec<f64>,
    /// How it is launched, by shape; none where it cannot serve the shape.
    pub launch: Vec<Option<Launch>>,
    /// Requests that it serves together at most.
    pub batch: usize,
}

impl Offer {
    /// Whether it serves all of these shapes.
    #[must_use]
    pub fn serves(&self, shapes: &[usize]) -> bool {
        shapes.iter().all(|shape| !self.service[*shape].is_empty())
    }

    /// The same with every limit of batches that is a power of two, and its own: larger ones carry more, and
    /// make requests late.
    fn batched(&self) -> Vec<Self> {
        let limits = (0..31).map(|power| 1_usize << power);
        let limits = limits.take_while(|limit| *limit < self.batch);
        let limited = |batch: usize| {
            let first = |times: &Vec<SimDuration>| times.iter().take(batch).copied().collect();
            Self {
                service: self.service.iter().map(first).collect(),
                batch,
                ..self.clone()
            }
        };
        limits.chain([self.batch]).map(limited).collect()
    }

    /// Whether another offer is as good for these shapes, and better or listed first.
    fn dominated(&self, by: &Self, shapes: &[usize]) -> bool {
        by.serves(shapes)
            && shapes.iter().all(|shape| {
                let (own, other) = (&self.service[*shape], &by.service[*shape]);
                other.len() == own.len() && own.iter().zip(other).all(|(own, other)| other <= own)
            })
    }
}

/// All replicas that can be had.
pub(super) struct Menu {
    pub offers: Vec<Offer>,
    /// Where service times come from, by machine and shape.
    pub provenance: Vec<search::Provenance>,
}

/// The sizes of a replica: 1, 2, 4 ... GPUs of a machine.
fn sizes(gpus: u32) -> impl Iterator<Item = u32> {
    (0..31)
        .map(|power| 1_u32 << power)
        .take_while(move |size| *size <= gpus)
}

impl Menu {
    pub fn new(question: &Question, progress: &ProgressBar) -> Result<Self, CapacityError> {
        let mut asked = Vec::new();
        for (market, of) in question.markets.iter().enumerate() {
            for size in sizes(of.questions[0].gpus) {
                asked.extend((0..question.shapes.len()).map(|shape| (market, size, shape)));
            }
        }
        progress.set_message("planning replicas");
        progress.set_length(asked.len() as u64);
        let plan = |&(market, size, shape): &(usize, u32, usize)| {
            let mut one = question.markets[market].questions[shape].clone();
            one.gpus = size;
            let found = search::plan(&one);
            progress.inc(1);
            found
        };
        let found: Vec<_> = asked.par_iter().map(plan).collect();
        let mut menu = Self {
            offers: Vec::new(),
            provenance: Vec::new(),
        };
        let mut missing: Vec<(usize, NoOffer)> = Vec::new();
        let mut plans: BTreeSet<(usize, u32, Plan)> = BTreeSet::new();
        for (&(market, size, shape), found) in asked.iter().zip(&found) {
            match found {
                // A plan that leaves GPUs idle is the offer of a smaller size.
                Ok(answer)
                    if answer.choice.plan.ranks() == size && answer.choice.memory.fits.is_fit() =>
                {
                    plans.insert((market, size, answer.choice.plan.clone()));
                }
                Ok(answer) => {
                    let strategy = answer.choice.plan.strategy();
                    let gpus = size;
                    missing.push((shape, NoOffer::Idle { gpus, strategy }));
                }
                Err(error) => missing.push((shape, NoOffer::NoPlan(Box::new(error.clone())))),
            }
            if let Ok(answer) = found {
                let new = answer.provenance.iter();
                let new = new.filter(|one| !menu.provenance.contains(*one));
                let new: Vec<_> = new.cloned().collect();
                menu.provenance.extend(new);
            }
        }
        progress.set_length(plans.len() as u64);
        progress.set_position(0);
        progress.set_message("timing batches");
        let plans: Vec<_> = plans.into_iter().collect();
        let priced = plans.into_par_iter().map(|(market, gpus, plan)| {
            let offer = priced(question, market, gpus, plan);
            progress.inc(1);
            offer
        });
        let priced: Vec<Offer> = priced.collect();
        menu.offers = priced.iter().flat_map(Offer::batched).collect();
        for (shape, one) in question.shapes.iter().enumerate() {
            let served = menu.offers.iter().any(|offer| offer.serves(&[shape]));
            let last = missing.iter().rev().find(|missing| missing.0 == shape);
            if let Some((_, reason)) = last.filter(|_| !served) {
                return Err(CapacityError::NoOffer {
                    shape: one.name.clone(),
                    reason: reason.clone(),
                });
            }
        }
        Ok(menu)
    }

    /// The offers for a block of shapes, without those that another of the same size beats on every shape.
    pub fn for_block(&self, shapes: &[usize]) -> Vec<usize> {
        let able = |index: &usize| self.offers[*index].serves(shapes);
        let able: Vec<usize> = (0..self.offers.len()).filter(able).collect();
        let beaten = |index: usize| {
            able.iter().any(|&other| {
                let (one, by) = (&self.offers[index], &self.offers[other]);
                let same = (one.market, one.gpus, one.batch) == (by.market, by.gpus, by.batch);
                let tie = by.dominated(one, shapes);
                same && other != index && one.dominated(by, shapes) && (!tie || other < index)
            })
        };
        able.iter()
            .copied()
            .filter(|index| !beaten(*index))
            .collect()
    }
}

/// A plan with its service times of every shape and batch that it can serve.
fn priced(question: &Question, market: usize, gpus: u32, plan: Plan) -> Offer {
    let mut offer = Offer {
        market,
        gpus,
        plan,
        service: Vec::new(),
        slow: Vec::new(),
        launch: Vec::new(),
        batch: 1,
    };
    for of_shape in &question.markets[market].questions {
        let mut times = Vec::new();
        let mut factor = 1.0;
        let mut launch = None;
        for batch in 1..=question.rules.batch {
            let mut one = of_shape.clone();
            one.gpus = gpus;
            one.request.batch = batch;
            match search::candidate(&one, &offer.plan) {
                Ok(found) if found.memory.fits.is_fit() => {
                    if batch == 1 {
                        factor = found.hi.as_secs_f64() / found.latency.as_secs_f64();
                        launch = Some(found.launch);
                    }
                    times.push(found.latency);
                }
                // What does not fit, or is not legal, ends the batches.
                Ok(_) | Err(_) => break,
            }
        }
        offer.batch = offer.batch.max(times.len());
        offer.service.push(times);
        offer.slow.push(factor);
        offer.launch.push(launch);
    }
    offer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_powers_of_two() {
        assert_eq!(sizes(8).collect::<Vec<_>>(), [1, 2, 4, 8]);
        assert_eq!(sizes(6).collect::<Vec<_>>(), [1, 2, 4]);
        assert_eq!(sizes(1).collect::<Vec<_>>(), [1]);
    }
}
