//! The fewest replicas of each offer that serve all shapes: the uniform fleets.

use indicatif::ProgressBar;
use rayon::prelude::*;

use super::measure::Bench;
use super::{CapacityError, Fleet, Judged, Missed, Shortfall, Verdict};

/// The fewest replicas of every offer, in the order of cost; offers that fail last.
pub(super) struct Uniform {
    pub by_offer: Vec<(usize, Verdict)>,
}

impl Uniform {
    /// The cheapest that keeps the objective.
    pub fn best(&self) -> Option<&Judged> {
        match self.by_offer.first()? {
            (_, Verdict::Keeps(judged)) => Some(judged),
            (_, Verdict::Fails(_)) => None,
        }
    }
}

/// The fewest replicas of every offer that serves all shapes.
pub(super) fn uniform(bench: &Bench<'_>, progress: &ProgressBar) -> Result<Uniform, CapacityError> {
    let shapes: Vec<usize> = (0..bench.question.shapes.len()).collect();
    let offers = bench.menu.for_block(&shapes);
    progress.set_message("uniform fleets");
    progress.set_position(0);
    progress.set_length(offers.len() as u64);
    let one = |&offer: &usize| {
        let verdict = fewest(bench, offer, &shapes);
        progress.inc(1);
        Ok((offer, verdict?))
    };
    let mut by_offer: Vec<(usize, Verdict)> = offers
        .par_iter()
        .map(one)
        .collect::<Result<_, CapacityError>>()?;
    let rank = |verdict: &Verdict| match verdict {
        Verdict::Keeps(judged) => {
            let tie = judged.measured.latency[2].value;
            (bench.fleet_cost(&judged.fleet), tie)
        }
        Verdict::Fails(_) => (f64::INFINITY, f64::INFINITY),
    };
    by_offer.sort_by(|a, b| {
        let (one, other) = (rank(&a.1), rank(&b.1));
        one.0.total_cmp(&other.0).then(one.1.total_cmp(&other.1))
    });
    Ok(Uniform { by_offer })
}

/// Why no number of replicas can keep the objective: an idle one is too slow for too many requests.
pub(super) fn too_slow(bench: &Bench<'_>, offer: usize, shapes: &[usize]) -> Option<Shortfall> {
    let used = bench.idle_use(offer, shapes);
    let over = used.iter().position(|used| *used > 1.0 + 1e-9)?;
    let criterion = &bench.question.slo.criteria[over];
    let meant = bench.shapes_of(criterion);
    let times = meant
        .iter()
        .filter(|shape| shapes.contains(shape))
        .map(|shape| {
            let time = bench.menu.offers[offer].service[*shape][0].as_secs_f64();
            (time, &bench.question.shapes[*shape].name)
        });
    let (alone_s, shape) = times.max_by(|a, b| a.0.total_cmp(&b.0))?;
    Some(Shortfall::TooSlow {
        criterion: criterion.clone(),
        shape: shape.clone(),
        alone_s,
    })
}

/// The fewest replicas of an offer for some shapes that keep the objective, all others left out of it.
fn fewest(bench: &Bench<'_>, offer: usize, shapes: &[usize]) -> Result<Verdict, CapacityError> {
    if let Some(why) = too_slow(bench, offer, shapes) {
        return Ok(Verdict::Fails(why));
    }
    let each = bench.menu.offers[offer].gpus;
    let spares = bench.pool_of(offer, shapes, 1).spares;
    let most = (bench.question.most_gpus / each).saturating_sub(spares);
    let low = bench.fewest(offer, shapes);
    if low > most {
        return Ok(Verdict::Fails(Shortfall::Load {
            gpus: (u64::from(low) + u64::from(spares)) * u64::from(each),
            most: bench.question.most_gpus,
        }));
    }
    let judged = |replicas| {
        let pools = vec![bench.pool_of(offer, shapes, replicas)];
        bench.judge(Fleet { pools })
    };
    let guess = guess(bench, offer, shapes, low, most);
    let mut best = None;
    // Known to fail: everything up to here.
    let mut failed = low - 1;
    let mut next = guess;
    let mut step = 1;
    while best.is_none() {
        let found = judged(next)?;
        if found.measured.keeps {
            best = Some((next, found));
            break;
        }
        failed = next;
        let nobody_waits = found.measured.waiting.hi < 1e-6;
        if next == most || nobody_waits {
            return Ok(Verdict::Fails(Shortfall::Misses {
                gpus: found.gpus,
                missed: missed(bench, &found),
            }));
        }
        next = (next + step).min(most);
        step *= 2;
    }
    let (mut high, mut kept) = best.expect("the loop ends with one");
    let mut stride = 1;
    while failed + 1 < high {
        // Small steps down first: the guess is near.
        let middle = if high == guess || stride < 4 {
            high.saturating_sub(stride).max(failed + 1)
        } else {
            failed + (high - failed) / 2
        };
        stride *= 2;
        let found = judged(middle)?;
        if found.measured.keeps {
            (high, kept) = (middle, found);
        } else {
            failed = middle;
        }
    }
    Ok(Verdict::Keeps(Box::new(kept)))
}

/// Replicas that the closed forms think enough; the bound where they say nothing.
fn guess(bench: &Bench<'_>, offer: usize, shapes: &[usize], low: u32, most: u32) -> u32 {
    let criteria = &bench.question.slo.criteria;
    let keeps = |replicas: u32| {
        let (_, queue) = bench.queue(&bench.pool_of(offer, shapes, replicas));
        criteria.iter().all(|criterion| match criterion.statistic {
            super::Statistic::Mean => queue
                .mean_latency_s()
                .is_some_and(|mean| mean <= criterion.limit.as_secs_f64()),
            super::Statistic::Percentile(percent) => queue
                .late(criterion.limit.as_secs_f64())
                .is_some_and(|late| late <= 1.0 - percent / 100.0),
        })
    };
    if bench.question.rules.batch > 1 {
        return low;
    }
    let load = bench.load(offer, shapes);
    let start = low.max(load as u32);
    let end = most.min(start.saturating_mul(2).saturating_add(20));
    (start..end)
        .find(|replicas| keeps(*replicas))
        .unwrap_or(start)
        .clamp(low, most)
}

/// Which criteria a fleet misses, and by what.
pub(super) fn missed(bench: &Bench<'_>, found: &Judged) -> Vec<Missed> {
    let wanted = &bench.question.slo.criteria;
    let criteria = wanted.iter().zip(&found.measured.criteria);
    let over = criteria.filter(|(wanted, found)| found.hi > wanted.limit.as_secs_f64());
    let missed = over.map(|(criterion, found)| Missed {
        criterion: criterion.clone(),
        found: *found,
    });
    missed.collect()
}
