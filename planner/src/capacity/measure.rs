//! A fleet on the common requests: what the simulation finds.

use rayon::prelude::*;
use sim::serving::statistics::{Estimate, percentile};
use sim::serving::{Pool, Rate, Replication, Stream, run};

use super::offer::Menu;
use super::slo::{Criterion, Statistic};
use super::{CapacityError, Fleet, PoolChoice, Question};

/// Percentiles that are always reported.
const SHARES: [f64; 3] = [0.5, 0.95, 0.99];

/// What the simulation found of a fleet.
#[derive(Clone, Debug)]
pub struct Measured {
    /// Mean, p50, p95 and p99 of the latencies of all requests, in seconds.
    pub latency: [Estimate; 4],
    /// The same by shape; none for a shape that no run asked for.
    pub by_shape: Vec<Option<[Estimate; 4]>>,
    /// The figure of each criterion, in seconds.
    pub criteria: Vec<Estimate>,
    /// Share of the time that the fleet's GPUs serve, spares left out.
    pub utilisation: Estimate,
    /// Requests that wait, on average.
    pub waiting: Estimate,
    /// Share of the requests that failures made start again.
    pub restarted: Estimate,
    /// Requests of a batch, on average.
    pub batch: f64,
    /// Whether every criterion is kept with the upper end of its interval.
    pub keeps: bool,
}

/// One replication of a fleet.
struct Sample {
    latency: [f64; 4],
    by_shape: Vec<Option<[f64; 4]>>,
    criteria: Vec<Option<f64>>,
    utilisation: f64,
    waiting: f64,
    restarted: f64,
    batch: f64,
}

/// The question with its offers and common requests.
pub(super) struct Bench<'a> {
    pub question: &'a Question,
    pub menu: &'a Menu,
    /// The requests of every replication at the rate that is asked.
    pub streams: Vec<Stream>,
}

/// Mean and percentiles of ascending latencies.
fn figures(ascending: &[f64]) -> Option<[f64; 4]> {
    if ascending.is_empty() {
        return None;
    }
    let mean = ascending.iter().sum::<f64>() / ascending.len() as f64;
    let [p50, p95, p99] = SHARES.map(|share| percentile(ascending, share));
    Some([mean, p50, p95, p99])
}

impl<'a> Bench<'a> {
    pub fn new(question: &'a Question, menu: &'a Menu) -> Self {
        let streams = streams(question, question.rate());
        Self {
            question,
            menu,
            streams,
        }
    }

    /// A pool to simulate; `slow` stretches its services to the upper ends of their intervals.
    pub fn pool(&self, choice: &PoolChoice, slow: bool) -> Result<Pool, CapacityError> {
        let offer = &self.menu.offers[choice.offer];
        let shapes = 0..self.question.shapes.len();
        let service = shapes.map(|shape| {
            let factor = if slow { offer.slow[shape] } else { 1.0 };
            let own = choice.shapes.contains(&shape);
            let times = offer.service[shape].iter().filter(|_| own);
            times.map(|time| time.scaled(factor)).collect()
        });
        let rules = &self.question.rules;
        let pool = Pool::new(choice.replicas, service.collect(), rules.routing)?;
        match rules.failures {
            Some(failures) => Ok(pool.with_failures(failures, choice.spares)?),
            None => Ok(pool),
        }
    }

    /// The runs of a pool, one for each stream.
    pub fn runs(&self, pool: &Pool, streams: &[Stream]) -> Result<Vec<Replication>, CapacityError> {
        let seed = self.question.seed;
        let replications: Vec<(u32, &Stream)> = (0..).zip(streams).collect();
        let runs = replications.into_par_iter();
        let runs = runs.map(|(replication, stream)| Ok(run(pool, stream, seed, replication)?));
        runs.collect()
    }

    /// A fleet at the rate that is asked.
    pub fn measure(&self, fleet: &Fleet) -> Result<Measured, CapacityError> {
        self.measure_on(fleet, &self.streams, false)
    }

    /// A fleet on given requests.
    pub fn measure_on(
        &self,
        fleet: &Fleet,
        streams: &[Stream],
        slow: bool,
    ) -> Result<Measured, CapacityError> {
        let pools = fleet.pools.iter().map(|choice| self.pool(choice, slow));
        let pools: Vec<Pool> = pools.collect::<Result<_, _>>()?;
        let seed = self.question.seed;
        let one = |(replication, stream): (u32, &Stream)| {
            let runs = pools
                .iter()
                .map(|pool| run(pool, stream, seed, replication));
            let runs: Vec<Replication> = runs.collect::<Result<_, _>>()?;
            Ok(self.sample(fleet, stream, &runs))
        };
        let replications: Vec<(u32, &Stream)> = (0..).zip(streams).collect();
        let samples = replications.into_par_iter().map(one);
        let samples: Vec<Sample> = samples.collect::<Result<_, CapacityError>>()?;
        Ok(self.estimate(&samples))
    }

    fn sample(&self, fleet: &Fleet, stream: &Stream, runs: &[Replication]) -> Sample {
        let mut by_shape: Vec<Vec<f64>> = vec![Vec::new(); self.question.shapes.len()];
        for one in runs.iter().flat_map(|run| &run.served) {
            if one.request as usize >= stream.warmup {
                by_shape[one.shape].push(one.latency().as_secs_f64());
            }
        }
        let mut all: Vec<f64> = by_shape.iter().flatten().copied().collect();
        all.sort_unstable_by(f64::total_cmp);
        for latencies in &mut by_shape {
            latencies.sort_unstable_by(f64::total_cmp);
        }
        let end = runs.iter().map(|run| run.end).max().unwrap_or_default();
        let end = end.as_ps() as f64 / 1e12;
        let (mut busy, mut gpus, mut waited) = (0.0, 0.0, 0.0);
        for (run, pool) in runs.iter().zip(&fleet.pools) {
            let each = f64::from(self.menu.offers[pool.offer].gpus);
            busy += each * run.busy.iter().map(|time| time.as_secs_f64()).sum::<f64>();
            gpus += each * f64::from(pool.replicas);
            waited += run
                .served
                .iter()
                .map(|one| one.wait().as_secs_f64())
                .sum::<f64>();
        }
        let requests = stream.arrivals.len() as f64;
        let sum = |of: fn(&Replication) -> u64| runs.iter().map(of).sum::<u64>() as f64;
        let (restarts, batches) = (sum(|run| run.restarts), sum(|run| run.batches));
        let criterion = |criterion: &Criterion| {
            let meant = self.shapes_of(criterion);
            let only;
            let ascending = match meant.as_slice() {
                _ if criterion.shape.is_none() => &all,
                [shape] => &by_shape[*shape],
                _ => {
                    only = Vec::new();
                    &only
                }
            };
            let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
            (!ascending.is_empty()).then(|| match criterion.statistic {
                Statistic::Mean => mean(ascending),
                Statistic::Percentile(percent) => percentile(ascending, percent / 100.0),
            })
        };
        Sample {
            latency: figures(&all).unwrap_or_default(),
            by_shape: by_shape.iter().map(|of| figures(of)).collect(),
            criteria: self.question.slo.criteria.iter().map(criterion).collect(),
            utilisation: busy / (gpus * end),
            waiting: waited / end,
            restarted: restarts / requests,
            batch: requests / (batches - restarts).max(1.0),
        }
    }

    fn estimate(&self, samples: &[Sample]) -> Measured {
        let of = |figure: &dyn Fn(&Sample) -> f64| {
            Estimate::of(&samples.iter().map(figure).collect::<Vec<_>>())
        };
        let four = |figures: &dyn Fn(&Sample) -> Option<[f64; 4]>| {
            let known: Vec<[f64; 4]> = samples.iter().filter_map(figures).collect();
            let at = |place: usize| known.iter().map(|four| four[place]).collect::<Vec<_>>();
            (!known.is_empty()).then(|| [0, 1, 2, 3].map(|place| Estimate::of(&at(place))))
        };
        let criterion = |place: usize| {
            let known: Vec<f64> = samples
                .iter()
                .filter_map(|one| one.criteria[place])
                .collect();
            if known.is_empty() {
                Estimate::default()
            } else {
                Estimate::of(&known)
            }
        };
        let wanted = &self.question.slo.criteria;
        let criteria: Vec<Estimate> = (0..wanted.len()).map(criterion).collect();
        let kept =
            |(found, wanted): (&Estimate, &Criterion)| found.hi <= wanted.limit.as_secs_f64();
        Measured {
            latency: four(&|one| Some(one.latency)).unwrap_or_default(),
            by_shape: (0..self.question.shapes.len())
                .map(|shape| four(&|one| one.by_shape[shape]))
                .collect(),
            keeps: criteria.iter().zip(wanted).all(kept),
            criteria,
            utilisation: of(&|one| one.utilisation),
            waiting: of(&|one| one.waiting),
            restarted: of(&|one| one.restarted),
            batch: of(&|one| one.batch).value,
        }
    }

    /// The shapes that a criterion is about.
    pub fn shapes_of(&self, criterion: &Criterion) -> Vec<usize> {
        let shapes = self.question.shapes.iter().enumerate();
        let meant = shapes.filter(|(_, shape)| criterion.is_about(&shape.name));
        meant.map(|(index, _)| index).collect()
    }
}

/// The requests of every replication at a rate: only one of a recorded stream, unless failures differ.
pub(super) fn streams(question: &Question, rate: Rate) -> Vec<Stream> {
    let differs = question.source.is_random() || question.rules.failures.is_some();
    let count = if differs { question.replications } else { 1 };
    (0..count)
        .map(|replication| question.source.stream(rate, replication))
        .collect()
}
