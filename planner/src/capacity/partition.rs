//! Fleets of several pools, each for some of the shapes: is one cheaper than the best uniform fleet?
//!
//! How much of a criterion a fleet uses up (late requests over those that may be late) is the sum of what its
//! pools use, and pools do not meet: each pool is simulated once, alone, and fleets are put together from
//! those numbers. They are tried in the order of their cost; the first that keeps the objective when all its
//! pools are simulated together is the cheapest.
//!
//! Guarantee: no fleet of pools of the offers, for blocks of the shapes, is cheaper than the one given back,
//! up to the factor [`SLACK`] and the limits [`MOST_SIMULATED`] and [`MOST_SHAPES`], which are told.

use std::collections::{BTreeMap, BTreeSet};

use indicatif::ProgressBar;
use rayon::prelude::*;

use super::choose::too_slow;
use super::measure::Bench;
use super::{CapacityError, Criterion, Fleet, Judged, PoolChoice};

/// Fleets that use up to this much of a criterion are simulated: percentiles, averaged over replications,
/// and shares of late requests, averaged likewise, do not agree to the last digit.
const SLACK: f64 = 1.15;

/// Fleets simulated at most.
const MOST_SIMULATED: usize = 200;

/// Shapes up to which every partition is tried: of more, only a pool for each.
const MOST_SHAPES: usize = 4;

/// Combinations of pools kept at most, cheapest first.
const MOST_COMBINED: usize = 20_000;

/// A pool that could be a part of a fleet.
#[derive(Clone, Debug)]
struct Part {
    pool: PoolChoice,
    cost: f64,
    used: Vec<f64>,
}

/// The cheapest mix, where one is cheaper than the uniform fleet.
pub(super) struct Mixed {
    pub best: Option<Judged>,
    pub simulated: usize,
    /// Whether fleets that might have been cheaper were left out.
    pub cut: bool,
}

/// All ways to split the shapes into two blocks or more.
fn partitions(shapes: usize) -> Vec<Vec<Vec<usize>>> {
    if shapes > MOST_SHAPES {
        return vec![(0..shapes).map(|shape| vec![shape]).collect()];
    }
    let mut all: Vec<Vec<Vec<usize>>> = vec![vec![]];
    for shape in 0..shapes {
        let mut next = Vec::new();
        for partition in all {
            for block in 0..partition.len() {
                let mut grown = partition.clone();
                grown[block].push(shape);
                next.push(grown);
            }
            let mut grown = partition;
            grown.push(vec![shape]);
            next.push(grown);
        }
        all = next;
    }
    all.retain(|partition| partition.len() > 1);
    all
}

/// The cheapest fleet of several pools, where it is cheaper than `uniform`.
pub(super) fn cheaper(
    bench: &Bench<'_>,
    uniform: Option<&Judged>,
    progress: &ProgressBar,
) -> Result<Mixed, CapacityError> {
    let shapes = bench.question.shapes.len();
    let none = Mixed {
        best: None,
        simulated: 0,
        cut: false,
    };
    if shapes < 2 {
        return Ok(none);
    }
    let replica = |offer| bench.replica_cost(offer);
    let dearest = (0..bench.menu.offers.len())
        .map(replica)
        .fold(0.0, f64::max);
    let below = match uniform {
        Some(uniform) => bench.fleet_cost(&uniform.fleet),
        None => f64::from(bench.question.most_gpus) * dearest,
    };
    let partitions = partitions(shapes);
    let blocks: BTreeSet<&Vec<usize>> = partitions.iter().flatten().collect();
    progress.set_message("pools for some shapes");
    progress.set_position(0);
    progress.set_length(blocks.len() as u64);
    let parts = blocks.into_par_iter().map(|block| {
        let parts = parts(bench, block, below);
        progress.inc(1);
        Ok((block.clone(), parts?))
    });
    let parts: BTreeMap<Vec<usize>, Vec<Part>> = parts.collect::<Result<_, CapacityError>>()?;
    let mut cut = shapes > MOST_SHAPES;
    let mut fleets: Vec<(f64, f64, Fleet)> = Vec::new();
    for partition in &partitions {
        let choices: Vec<&[Part]> = partition
            .iter()
            .map(|block| parts[block].as_slice())
            .collect();
        combine(bench, &choices, below, &mut fleets);
    }
    fleets.sort_by(|a, b| {
        a.0.total_cmp(&b.0)
            .then(a.1.total_cmp(&b.1))
            .then(a.2.cmp(&b.2))
    });
    if fleets.len() > MOST_SIMULATED {
        fleets.truncate(MOST_SIMULATED);
        cut = true;
    }
    progress.set_message("mixed fleets");
    progress.set_position(0);
    progress.set_length(fleets.len() as u64);
    let mut simulated = 0;
    for batch in fleets.chunks(4) {
        let judged = batch
            .par_iter()
            .map(|(_, _, fleet)| bench.judge(fleet.clone()));
        let judged: Vec<Judged> = judged.collect::<Result<_, _>>()?;
        simulated += judged.len();
        progress.inc(judged.len() as u64);
        if let Some(best) = judged.into_iter().find(|one| one.measured.keeps) {
            let best = Some(best);
            return Ok(Mixed {
                best,
                simulated,
                cut: false,
            });
        }
    }
    Ok(Mixed {
        simulated,
        cut,
        ..none
    })
}

/// The pools for a block of shapes that cost less than `below` with the least that the others cost.
fn parts(bench: &Bench<'_>, block: &[usize], below: f64) -> Result<Vec<Part>, CapacityError> {
    let offers = 0..bench.menu.offers.len();
    let least = |shape: usize| {
        let able = offers
            .clone()
            .filter(|offer| bench.menu.offers[*offer].serves(&[shape]));
        let costs = able.map(|offer| bench.load(offer, &[shape]) * bench.replica_cost(offer));
        costs.fold(f64::INFINITY, f64::min)
    };
    let others = (0..bench.question.shapes.len()).filter(|shape| !block.contains(shape));
    let random = bench.question.source.is_random();
    let rest: f64 = others
        .map(|shape| if random { least(shape) } else { 0.0 })
        .sum();
    let mut parts = Vec::new();
    for offer in bench.menu.for_block(block) {
        if too_slow(bench, offer, block).is_some() {
            continue;
        }
        let idle = bench.idle_use(offer, block);
        for replicas in bench.fewest(offer, block).. {
            let pool = bench.pool_of(offer, block, replicas);
            let cost = bench.cost(&pool);
            if cost + rest >= below {
                break;
            }
            let used = used(bench, &pool)?;
            let rests = used
                .iter()
                .zip(&idle)
                .all(|(used, idle)| *used <= idle + 1e-3);
            parts.push(Part { pool, cost, used });
            if rests {
                break;
            }
        }
    }
    parts.sort_by(|a, b| a.cost.total_cmp(&b.cost).then(a.pool.cmp(&b.pool)));
    let mut kept: Vec<Part> = Vec::new();
    for part in parts {
        let beats = |other: &Part| {
            other
                .used
                .iter()
                .zip(&part.used)
                .all(|(other, own)| other <= own)
        };
        if !kept.iter().any(beats) && part.used.iter().all(|used| *used <= SLACK) {
            kept.push(part);
        }
    }
    Ok(kept)
}

/// How much of each criterion a pool uses up, averaged over replications.
fn used(bench: &Bench<'_>, pool: &PoolChoice) -> Result<Vec<f64>, CapacityError> {
    let runs = bench.runs(&bench.pool(pool, false)?, &bench.streams)?;
    let criterion = |criterion: &Criterion| {
        let meant = bench.shapes_of(criterion);
        let each = runs.iter().zip(&bench.streams).map(|(run, stream)| {
            let measured = &stream.arrivals[stream.warmup..];
            let all = measured
                .iter()
                .filter(|one| meant.contains(&one.shape))
                .count();
            let own = run
                .served
                .iter()
                .filter(|one| one.request as usize >= stream.warmup && meant.contains(&one.shape));
            criterion.used(own.map(|one| one.latency().as_secs_f64())) / (all.max(1) as f64)
        });
        each.sum::<f64>() / bench.streams.len() as f64
    };
    Ok(bench.question.slo.criteria.iter().map(criterion).collect())
}

/// Every choice of one pool for each block that is cheap enough and may keep the criteria.
fn combine(
    bench: &Bench<'_>,
    choices: &[&[Part]],
    below: f64,
    fleets: &mut Vec<(f64, f64, Fleet)>,
) {
    let criteria = bench.question.slo.criteria.len();
    let mut partial: Vec<(f64, Vec<f64>, Vec<PoolChoice>)> =
        vec![(0.0, vec![0.0; criteria], Vec::new())];
    for (place, parts) in choices.iter().enumerate() {
        let later = &choices[place + 1..];
        let cheapest = |parts: &&[Part]| parts.first().map_or(f64::INFINITY, |part| part.cost);
        let rest: f64 = later.iter().map(cheapest).sum();
        let mut next = Vec::new();
        for (cost, used, pools) in &partial {
            for part in *parts {
                let cost = cost + part.cost;
                let used: Vec<f64> = used.iter().zip(&part.used).map(|(a, b)| a + b).collect();
                if cost + rest >= below * (1.0 - 1e-9) || used.iter().any(|used| *used > SLACK) {
                    continue;
                }
                let mut pools = pools.clone();
                pools.push(part.pool.clone());
                next.push((cost, used, pools));
            }
        }
        next.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.2.cmp(&b.2)));
        next.truncate(MOST_COMBINED);
        partial = next;
    }
    fleets.extend(partial.into_iter().map(|(cost, used, mut pools)| {
        pools.sort_by(|a, b| a.shapes.cmp(&b.shapes));
        let worst = used.into_iter().fold(0.0, f64::max);
        (cost, worst, Fleet { pools })
    }));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partitions_are_bells_numbers_less_one() {
        assert_eq!(partitions(2), [[[0], [1]]]);
        assert_eq!(partitions(3).len(), 4);
        assert_eq!(partitions(4).len(), 14);
        assert_eq!(partitions(6).len(), 1);
    }
}
