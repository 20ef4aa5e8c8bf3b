//! Branch and bound over the space: plans in the order of their lower bounds, simulated in batches,
//! until no bound left is below the best simulated latency.
//!
//! Guarantees:
//! 1. A plan is dropped only if its lower bound exceeds the simulated latency of the best plan that
//!    passes the filter.
//! 2. The answer is the same at any number of threads: batches have a fixed size and are collected
//!    in order; ties go to the smaller plan.

use std::collections::BTreeSet;

use rayon::prelude::*;
use sim::plan::{Compression, Exchange, Fidelity, Plan};
use sim::simulate::{Detail, Simulation};
use topologies::SimDuration;

use super::bench::{Bench, Bounded};
use super::{Budget, PlanningError};

/// Plans simulated side by side.
const BATCH: usize = 8;

/// A simulated plan.
#[derive(Clone)]
pub(super) struct Judged {
    pub bounded: Bounded,
    pub simulation: Simulation,
}

impl Judged {
    pub(super) fn latency(&self) -> SimDuration {
        self.simulation.latency
    }
}

/// What the search found: simulated plans, best first, and how many were not simulated.
pub(super) struct Found {
    pub judged: Vec<Judged>,
    pub pruned: usize,
    /// The lowest bound among the plans that were not simulated.
    pub next_bound: Option<SimDuration>,
    /// One GPU.
    pub single: Option<Judged>,
}

/// A gain over one compressor everywhere that is worth a compressor per layer: smaller ones were not
/// found again in closed loop (docs/quality.md).
pub(super) const WORTH: f64 = 1.05;

/// Whether the filter lets a plan be chosen.
pub(super) fn passes(bench: &Bench<'_>, plan: &Plan) -> bool {
    let filter = &bench.question.filter;
    if filter
        .strategy
        .as_ref()
        .is_some_and(|wanted| *wanted != plan.strategy())
    {
        return false;
    }
    if filter.launchable && bench.launch(plan).command.is_err() {
        return false;
    }
    if plan.fidelity() == Fidelity::Exact {
        return true;
    }
    if filter.exact_only {
        return false;
    }
    let quality = bench.quality(plan);
    let at_most = |figure: Option<f64>, most: f64| figure.is_some_and(|figure| figure <= most);
    let upper = quality.predicted.map(|predicted| predicted.upper);
    filter.max_fid.is_none_or(|most| at_most(quality.fid, most))
        && match filter.budget {
            None => true,
            Some(Budget::Fid(most)) => at_most(quality.fid, most),
            Some(Budget::Lpips(most)) => at_most(quality.lpips, most),
            Some(budget) => bench
                .limit(budget)
                .is_some_and(|most| at_most(upper, most * (1.0 + 1e-9))),
        }
}

/// Whether a plan has one compressor for everything, or none.
fn is_uniform(plan: &Plan) -> bool {
    !matches!(plan.compression, Compression::Mixed(_))
}

/// What a plan is called in a listing that shows one of each kind: its dimensions and compressor.
fn kind(plan: &Plan) -> (u8, bool, bool, bool, bool, bool, Compression) {
    let exchange = match plan.exchange {
        Exchange::Ring(1) => 0,
        Exchange::Ring(_) => 1,
        Exchange::Gather(_) => 2,
        Exchange::Attention2d { .. } => 3,
        Exchange::Displaced(_) => 4,
    };
    let pipelined = plan.pipeline.stages > 1;
    let (data, cfg, tensor, ulysses) = (
        plan.data > 1,
        plan.cfg > 1,
        plan.tensor > 1,
        plan.ulysses > 1,
    );
    (
        exchange,
        data,
        cfg,
        pipelined,
        ulysses,
        tensor,
        plan.compression.clone(),
    )
}

/// Plans simulated in the order of their bounds until none left can win, and those left.
struct Raced {
    judged: Vec<Judged>,
    left: Vec<Bounded>,
}

fn race(bench: &Bench<'_>, plans: Vec<Bounded>, batch: usize) -> Result<Raced, PlanningError> {
    let allowed = |bounded: &Bounded| passes(bench, &bounded.plan);
    let mut queue = plans
        .into_iter()
        .filter(allowed)
        .collect::<Vec<_>>()
        .into_iter()
        .peekable();
    let mut judged: Vec<Judged> = Vec::new();
    let mut best: Option<SimDuration> = None;
    while let Some(next) = queue.peek() {
        if best.is_some_and(|best| next.parts.total > best) {
            break;
        }
        let batch: Vec<Bounded> = queue.by_ref().take(batch).collect();
        judged.extend(judge(bench, batch)?);
        // Compressors per layer must beat one everywhere by a margin: so the best of these is found too.
        let uniform = judged
            .iter()
            .filter(|judged| is_uniform(&judged.bounded.plan));
        best = uniform.map(Judged::latency).min();
    }
    let left = queue.collect();
    Ok(Raced { judged, left })
}

/// Best first; a compressor per layer only where it is worth it.
fn rank(judged: &mut [Judged]) {
    judged.sort_by(|a, b| (a.latency(), &a.bounded.plan).cmp(&(b.latency(), &b.bounded.plan)));
    prefer_uniform(judged);
}

/// The plans that could win, best first; one at a time, since many such searches run side by side.
pub(super) fn fastest(
    bench: &Bench<'_>,
    plans: Vec<Bounded>,
) -> Result<Vec<Judged>, PlanningError> {
    let mut judged = race(bench, plans, 1)?.judged;
    rank(&mut judged);
    Ok(judged)
}

/// Searches the plans, given by ascending lower bound; one of each kind that cannot win is judged too.
pub(super) fn search(bench: &Bench<'_>, plans: Vec<Bounded>) -> Result<Found, PlanningError> {
    let Raced { mut judged, left } = race(bench, plans, BATCH)?;
    let next_bound = left.first().map(|bounded| bounded.parts.total);
    let (shown, pruned) = one_of_each_kind(left, &judged);
    judged.extend(judge(bench, shown)?);
    rank(&mut judged);
    let single = judged
        .iter()
        .position(|judged| judged.bounded.plan.ranks() == 1);
    let single = single.map(|index| judged[index].clone());
    Ok(Found {
        judged,
        pruned,
        next_bound,
        single,
    })
}

/// Moves the fastest plan with one compressor (or none) to the front, where plans with compressors per
/// layer are not faster by [`WORTH`].
fn prefer_uniform(judged: &mut [Judged]) {
    let Some(first) = judged
        .iter()
        .position(|judged| is_uniform(&judged.bounded.plan))
    else {
        return;
    };
    let gain = judged[first].latency().as_secs_f64() / judged[0].latency().as_secs_f64();
    if gain < WORTH {
        judged[..=first].rotate_right(1);
    }
}

/// Of the plans that cannot win, the most promising of each kind, so that the answer can say why they
/// lose; and how many are dropped.
fn one_of_each_kind(left: Vec<Bounded>, judged: &[Judged]) -> (Vec<Bounded>, usize) {
    let mut seen: BTreeSet<_> = judged
        .iter()
        .map(|judged| kind(&judged.bounded.plan))
        .collect();
    let total = left.len();
    let shown: Vec<Bounded> = left
        .into_iter()
        .filter(|bounded| seen.insert(kind(&bounded.plan)))
        .collect();
    let pruned = total - shown.len();
    (shown, pruned)
}

fn judge(bench: &Bench<'_>, batch: Vec<Bounded>) -> Result<Vec<Judged>, PlanningError> {
    let one = |bounded: Bounded| {
        let simulation = bench.simulate(&bounded.plan, Detail::Folded)?;
        Ok(Judged {
            bounded,
            simulation,
        })
    };
    batch.into_par_iter().map(one).collect()
}
