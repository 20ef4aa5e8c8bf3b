//! What a fleet costs, and what can be said of it without a simulation.

use sim::serving::closed_form::{Queue, latency_percentile_s};
use sim::serving::{Failures, Pattern};

use super::measure::Bench;
use super::{CapacityError, Criterion, Fleet, Judged, Objective, PoolChoice};

impl Bench<'_> {
    /// A pool of an offer for some shapes.
    pub fn pool_of(&self, offer: usize, shapes: &[usize], replicas: u32) -> PoolChoice {
        let rules = &self.question.rules;
        PoolChoice {
            offer,
            shapes: shapes.to_vec(),
            replicas,
            spares: if rules.failures.is_some() {
                rules.spares
            } else {
                0
            },
        }
    }

    /// GPUs of a pool, spares included.
    pub fn gpus(&self, pool: &PoolChoice) -> u32 {
        self.menu.offers[pool.offer].gpus * (pool.replicas + pool.spares)
    }

    /// What one replica of an offer costs: GPUs or dollars an hour.
    pub fn replica_cost(&self, offer: usize) -> f64 {
        let offer = &self.menu.offers[offer];
        let price = match self.question.objective {
            Objective::Gpus => 1.0,
            Objective::Dollars => {
                let price = self.question.markets[offer.market].price;
                price.expect("prices were checked before")
            }
        };
        price * f64::from(offer.gpus)
    }

    /// What a pool costs.
    pub fn cost(&self, pool: &PoolChoice) -> f64 {
        self.replica_cost(pool.offer) * f64::from(pool.replicas + pool.spares)
    }

    /// What a fleet costs.
    pub fn fleet_cost(&self, fleet: &Fleet) -> f64 {
        fleet.pools.iter().map(|pool| self.cost(pool)).sum()
    }

    /// A fleet with what the simulation and the closed forms say.
    pub fn judge(&self, fleet: Fleet) -> Result<Judged, CapacityError> {
        let measured = self.measure(&fleet)?;
        Ok(self.judged(fleet, measured))
    }

    pub fn judged(&self, fleet: Fleet, measured: super::Measured) -> Judged {
        let dollars = fleet.pools.iter().map(|pool| {
            let market = &self.question.markets[self.menu.offers[pool.offer].market];
            Some(market.price? * f64::from(self.gpus(pool)))
        });
        Judged {
            gpus: fleet.pools.iter().map(|pool| self.gpus(pool)).sum(),
            dollars_per_hour: dollars.sum(),
            machines: self.machines(&fleet),
            closed_form: self.closed_form(&fleet),
            measured,
            fleet,
        }
    }

    /// Machines of each market, filled with the largest replicas first.
    fn machines(&self, fleet: &Fleet) -> Vec<u32> {
        let markets = self.question.markets.iter().enumerate();
        let count = |(market, of): (usize, &super::Market)| {
            let own = fleet
                .pools
                .iter()
                .map(|pool| (pool, &self.menu.offers[pool.offer]));
            let own = own.filter(|(_, offer)| offer.market == market);
            let mut sizes: Vec<u32> = own
                .flat_map(|(pool, offer)| {
                    std::iter::repeat_n(offer.gpus, (pool.replicas + pool.spares) as usize)
                })
                .collect();
            sizes.sort_unstable_by(|a, b| b.cmp(a));
            let room = of.questions[0].gpus;
            let mut left: Vec<u32> = Vec::new();
            for size in sizes {
                match left.iter_mut().find(|left| **left >= size) {
                    Some(left) => *left -= size,
                    None => left.push(room - size),
                }
            }
            u32::try_from(left.len()).expect("a fleet has fewer than 2^32 machines")
        };
        markets.map(count).collect()
    }

    /// Busy replicas that the requests of some shapes amount to: as many or fewer never keep up.
    pub fn load(&self, offer: usize, shapes: &[usize]) -> f64 {
        let offer = &self.menu.offers[offer];
        let rate = self.question.rate().get();
        let work = |shape: &usize| {
            let times = offer.service[*shape].iter().zip(1_u32..);
            let each = times.map(|(time, count)| {
                let alone = time.as_secs_f64();
                let failures = self.question.rules.failures;
                failures.map_or(alone, |of| of.stretched_s(alone)) / f64::from(count)
            });
            let least = each.fold(f64::INFINITY, f64::min);
            rate * self.question.shapes[*shape].share * least
        };
        shapes.iter().map(work).sum()
    }

    /// Replicas below which the load proves that a pool fails; 1 for recorded streams, which end.
    pub fn fewest(&self, offer: usize, shapes: &[usize]) -> u32 {
        if !self.question.source.is_random() {
            return 1;
        }
        let availability = self.question.rules.failures.map_or(1.0, |failures| {
            // Spares fill in at best for every failure.
            if self.question.rules.spares > 0 {
                1.0
            } else {
                failures.availability()
            }
        });
        let load = self.load(offer, shapes) / availability;
        // More than any fleet has is enough to know.
        ((load * (1.0 + 1e-12)).floor() as u32).saturating_add(1)
    }

    /// How much of each criterion a pool's shapes use up where nobody waits.
    pub fn idle_use(&self, offer: usize, shapes: &[usize]) -> Vec<f64> {
        let criterion = |criterion: &Criterion| {
            let meant = self.shapes_of(criterion);
            let share = |shape: &usize| self.question.shapes[*shape].share;
            let total: f64 = meant.iter().map(share).sum();
            let own = meant.iter().filter(|shape| shapes.contains(shape));
            let used = own.map(|shape| {
                let alone = self.menu.offers[offer].service[*shape][0].as_secs_f64();
                share(shape) / total * criterion.used(std::iter::once(alone))
            });
            used.sum()
        };
        self.question.slo.criteria.iter().map(criterion).collect()
    }

    /// Mean, p50, p95 and p99 in closed form; none where a phase is overloaded.
    fn closed_form(&self, fleet: &Fleet) -> Option<[f64; 4]> {
        let queues: Vec<(f64, Queue)> = fleet.pools.iter().map(|pool| self.queue(pool)).collect();
        let means = queues
            .iter()
            .map(|(share, queue)| Some(share * queue.mean_latency_s()?));
        let mean: Option<f64> = means.sum();
        let at = |share| latency_percentile_s(&queues, share);
        Some([mean?, at(0.5)?, at(0.95)?, at(0.99)?])
    }

    /// A pool as a queue, with its share of all requests. Batches are left out.
    pub fn queue(&self, pool: &PoolChoice) -> (f64, Queue) {
        let offer = &self.menu.offers[pool.offer];
        let source = &self.question.source;
        let share = |shape: &usize| self.question.shapes[*shape].share;
        let own: f64 = pool.shapes.iter().map(share).sum();
        let failures = self.question.rules.failures;
        let services = pool.shapes.iter().map(|shape| {
            let alone = offer.service[*shape][0].as_secs_f64();
            let taken = failures.map_or(alone, |failures| failures.stretched_s(alone));
            (share(shape) / own, taken)
        });
        let replicas = f64::from(pool.replicas);
        let queue = Queue {
            rate: source.rate().get() * own,
            servers: failures.map_or(replicas, |failures| up(pool, failures)),
            // A share p of a renewal stream, drawn at random: p ca2 + 1 - p.
            arrival_scv: match source.pattern() {
                Pattern::Diurnal { .. } => 1.0,
                _ => own * source.arrival_scv() + 1.0 - own,
            },
            services: services.collect(),
            phases: source.phases(),
        };
        (own, queue)
    }
}

/// Replicas that serve on average: of `replicas + spares`, each up on its own, as many as there is room for.
fn up(pool: &PoolChoice, failures: Failures) -> f64 {
    let (all, most) = (pool.replicas + pool.spares, pool.replicas);
    let available = failures.availability();
    let mut chances = vec![1.0];
    for _ in 0..all {
        let mut next = vec![0.0; chances.len() + 1];
        for (up, chance) in chances.iter().enumerate() {
            next[up] += chance * (1.0 - available);
            next[up + 1] += chance * available;
        }
        chances = next;
    }
    let serving = |(up, chance): (usize, &f64)| chance * (up as f64).min(f64::from(most));
    chances.iter().enumerate().map(serving).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use topologies::SimDuration;

    #[test]
    fn spares_keep_replicas_up() {
        let hours = |count: f64| SimDuration::from_secs_f64(count * 3600.0);
        let failures = Failures {
            mtbf: hours(9.0),
            mttr: hours(1.0),
        };
        let pool = |replicas, spares| PoolChoice {
            offer: 0,
            shapes: vec![0],
            replicas,
            spares,
        };
        assert!((up(&pool(4, 0), failures) - 3.6).abs() < 1e-9);
        // One of two up: 1 - 0.1^2.
        assert!((up(&pool(1, 1), failures) - 0.99).abs() < 1e-9);
    }
}
