//! Tasks of plans without a pipeline: every rank runs every block, in step with its groups.

use traces::timeline::{SpanClass, Stream};

use super::pass::{BlockTimes, Mode, Passes};
use super::weaver::{Arrival, Spot, Weaver, each_once};
use super::{LowerError, Setup};
use crate::graph::{TaskGraph, TaskId};
use crate::plan::{Coordinates, Exchange};
use crate::platform::Message;

/// The ranks of every group of one dimension of a plan.
pub(super) fn groups(
    setup: &Setup<'_>,
    degree: u32,
    of: fn(&mut Coordinates) -> &mut u32,
) -> Vec<Vec<u32>> {
    let plan = setup.plan;
    let leads = (0..plan.ranks()).filter(|&rank| *of(&mut plan.coordinates(rank)) == 0);
    let members = |lead: u32| {
        let member = |position| {
            let mut at = plan.coordinates(lead);
            *of(&mut at) = position;
            plan.rank(at)
        };
        (0..degree).map(member).collect()
    };
    leads.map(members).collect()
}

/// Groups of the dimensions that exchange messages within a block.
pub(super) struct Groups {
    pub all: Vec<u32>,
    ulysses: Vec<Vec<u32>>,
    outer: Vec<Vec<u32>>,
    /// Of Attention2D: the rows and the columns of the grids.
    rows: Vec<Vec<u32>>,
    columns: Vec<Vec<u32>>,
    tensor: Vec<Vec<u32>>,
}

impl Groups {
    pub(super) fn new(setup: &Setup<'_>) -> Self {
        let plan = setup.plan;
        let outer = groups(setup, plan.exchange.degree(), |at| &mut at.outer);
        let across = match plan.exchange {
            Exchange::Attention2d { columns, .. } => columns as usize,
            _ => 1,
        };
        let row = |grid: &Vec<u32>| grid.chunks(across).map(<[u32]>::to_vec).collect::<Vec<_>>();
        let column = |grid: &Vec<u32>| {
            let of = |first: usize| grid[first..].iter().copied().step_by(across).collect();
            (0..across).map(of).collect::<Vec<Vec<u32>>>()
        };
        Self {
            all: (0..plan.ranks()).collect(),
            ulysses: groups(setup, plan.ulysses, |at| &mut at.ulysses),
            rows: outer.iter().flat_map(row).collect(),
            columns: outer.iter().flat_map(column).collect(),
            outer,
            tensor: groups(setup, plan.tensor, |at| &mut at.tensor),
        }
    }
}

impl Groups {
    /// The groups of each gather of an exchange, in the order of the gathers.
    fn gathering(&self, exchange: Exchange) -> Vec<&[Vec<u32>]> {
        match exchange {
            Exchange::Attention2d { columns: 1, .. } => vec![&self.columns],
            Exchange::Attention2d { .. } => vec![&self.rows, &self.columns],
            _ => vec![&self.outer],
        }
    }
}

/// Gathers under way, by layer: what the next step's attention waits for.
type Pending = Vec<Vec<Arrival>>;

/// The tasks of `steps` steps.
pub(super) fn tasks(setup: &Setup<'_>, steps: &[u32]) -> Result<TaskGraph, LowerError> {
    let passes = Passes::new(setup)?;
    let groups = Groups::new(setup);
    let mut weaver = Weaver::new(*setup);
    let mut pending = Pending::new();
    for &step in steps {
        let mode = if step < setup.warmup() {
            Mode::Synchronous
        } else {
            Mode::Steady
        };
        for _forward in 0..setup.forwards() {
            let blocks = passes.blocks(setup, step, mode);
            pending = weave_pass(&mut weaver, &groups, blocks, (step, mode), &pending);
        }
    }
    Ok(weaver.builder.finish())
}

/// The tasks of one forward pass; returns the gathers it leaves under way.
fn weave_pass<'a>(
    weaver: &mut Weaver<'_>,
    groups: &Groups,
    blocks: impl Iterator<Item = &'a BlockTimes>,
    (step, mode): (u32, Mode),
    pending: &Pending,
) -> Pending {
    let mut next = Pending::new();
    for (layer, block) in blocks.enumerate() {
        weaver.spot = Spot {
            step,
            layer: u32::try_from(layer).expect("a model has few layers"),
        };
        let arrived = pending.get(layer).cloned().unwrap_or_default();
        next.push(weave_block(weaver, groups, block, mode, &arrived));
    }
    next
}

/// The tasks of one block on every rank; returns the gathers it leaves under way.
fn weave_block(
    weaver: &mut Weaver<'_>,
    groups: &Groups,
    block: &BlockTimes,
    mode: Mode,
    arrived: &[Arrival],
) -> Vec<Arrival> {
    let exchange = weaver.setup.plan.exchange;
    let gap = block.gap(exchange, mode);
    for &rank in &groups.all {
        weaver.compute(rank, SpanClass::Launch, gap, &[]);
        weaver.compute(rank, SpanClass::Linear, block.compute.before, &[]);
        weaver.compute(rank, SpanClass::Encode, block.encode, &[]);
        weaver.compute(rank, SpanClass::Communication, block.skew, &[]);
    }
    if let Some((inward, _)) = &block.ulysses {
        weaver.blocking(&groups.ulysses, inward);
    }
    let under_way = weave_attention(weaver, groups, block, mode, arrived);
    if let Some((_, outward)) = &block.ulysses {
        weaver.blocking(&groups.ulysses, outward);
    }
    for &rank in &groups.all {
        weaver.compute(rank, SpanClass::Linear, block.compute.after, &[]);
        weaver.compute(rank, SpanClass::Elementwise, block.compute.elementwise, &[]);
    }
    for reduce in &block.reduce {
        weaver.blocking(&groups.tensor, reduce);
    }
    under_way
}

fn weave_attention(
    weaver: &mut Weaver<'_>,
    groups: &Groups,
    block: &BlockTimes,
    mode: Mode,
    arrived: &[Arrival],
) -> Vec<Arrival> {
    let attention = block.compute.attention;
    let exchange = weaver.setup.plan.exchange;
    match (exchange, block.exchange.first()) {
        (Exchange::Ring(_), Some(hop)) => {
            for group in &groups.outer {
                weave_ring(weaver, group, block, hop);
            }
        }
        (Exchange::Displaced(_), Some(gather)) if mode == Mode::Steady => {
            return weave_displaced(weaver, groups, block, gather, arrived);
        }
        _ => {
            for (gather, members) in block.exchange.iter().zip(groups.gathering(exchange)) {
                weaver.blocking(members, gather);
            }
            for &rank in &groups.all {
                weaver.compute(rank, SpanClass::Decode, block.decode, &[]);
                weaver.compute(rank, SpanClass::Attention, attention, &[]);
            }
            if let Some(merge) = &block.merge {
                weaver.blocking(&groups.rows, merge);
            }
        }
    }
    Vec::new()
}

/// A hop beside each chunk of attention but the last; each waits for the one before.
fn weave_ring(weaver: &mut Weaver<'_>, group: &[u32], block: &BlockTimes, hop: &Message) {
    let mut attention = block.compute.attention;
    let beside = block.beside(attention, hop.time);
    let mut waiting = block.sync;
    if weaver.setup.platform.one_gpu.is_some() {
        // Whoever computes beside the copies is slowed, not who waits for them.
        attention += beside;
    } else {
        waiting += beside;
    }
    for _ in 1..block.chunks {
        let ready: Vec<TaskId> = group
            .iter()
            .filter_map(|&rank| weaver.computed(rank))
            .collect();
        let received = weaver.message(group, hop, &ready);
        for &rank in group {
            weaver.compute(rank, SpanClass::Attention, attention, &[]);
        }
        for (&rank, arrival) in group.iter().zip(&received) {
            let mut after = each_once(arrival).to_vec();
            after.extend(weaver.computed(rank));
            let class = SpanClass::Communication;
            let synced = weaver.busy(rank, Stream::Communication, class, waiting, &after);
            let synced: Vec<TaskId> = synced.into_iter().collect();
            weaver.compute(rank, SpanClass::Decode, block.decode, &synced);
            weaver.compute(rank, SpanClass::Elementwise, block.merge_time, &[]);
        }
    }
    for &rank in group {
        weaver.compute(rank, SpanClass::Attention, block.compute.attention, &[]);
    }
}

/// Attention on the previous step's K and V; this step's are gathered meanwhile.
fn weave_displaced(
    weaver: &mut Weaver<'_>,
    groups: &Groups,
    block: &BlockTimes,
    gather: &Message,
    arrived: &[Arrival],
) -> Vec<Arrival> {
    let compute = &block.compute;
    let busy =
        compute.before + compute.attention + compute.after + compute.elementwise + block.encode;
    let slowed = block.beside(busy, gather.time);
    let mut under_way: Vec<Option<Arrival>> = vec![None; groups.all.len()];
    for group in &groups.outer {
        let ready: Vec<TaskId> = group
            .iter()
            .filter_map(|&rank| weaver.computed(rank))
            .collect();
        for (&rank, arrival) in group.iter().zip(weaver.message(group, gather, &ready)) {
            under_way[rank as usize] = Some(arrival);
        }
    }
    for &rank in &groups.all {
        let stale = arrived.get(rank as usize).map_or(&[][..], each_once);
        weaver.compute(rank, SpanClass::Attention, compute.attention, stale);
        weaver.compute(rank, SpanClass::Other, slowed, &[]);
    }
    under_way.into_iter().flatten().collect()
}
