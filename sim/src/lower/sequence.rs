//! Tasks of plans without a pipeline: every rank runs every block, in step with its groups.

use topologies::SimDuration;
use traces::timeline::{SpanClass, Stream};

use super::classes::Classes;
use super::emitter::{Arrival, Spot, TaskEmitter, each_once};
use super::pass::{BlockTimes, Mode, Passes};
use super::{LowerError, Setup};
use crate::graph::{TaskGraph, TaskId};
use crate::plan::{Coordinates, Exchange};

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

impl Groups {
    /// One rank, which stands for all: every group of its own.
    fn folded() -> Self {
        let own = || vec![vec![0]];
        Self {
            all: vec![0],
            ulysses: own(),
            outer: own(),
            rows: own(),
            columns: own(),
            tensor: own(),
        }
    }
}

/// A block as every rank does it, by its class.
#[derive(Clone, Copy)]
struct Blocks<'a> {
    classes: &'a Classes,
    times: &'a [&'a BlockTimes],
}

impl<'a> Blocks<'a> {
    /// What a rank does.
    fn of(self, rank: u32) -> &'a BlockTimes {
        self.times[self.classes.of(rank)]
    }

    /// Which messages there are, as in every class.
    fn any(self) -> &'a BlockTimes {
        self.times[0]
    }
}

/// Gathers under way, by layer: what the next step's attention waits for.
type Pending = Vec<Vec<Arrival>>;

/// The tasks of `steps`. With `fold` of one rank, where all are alike and no message waits for another's links: they
/// then do the same at the same time (a test compares both).
pub(super) fn tasks(setup: &Setup<'_>, steps: &[u32], fold: bool) -> Result<TaskGraph, LowerError> {
    let classes = Classes::new(setup);
    let of_class = |&lead: &u32| Passes::new(&setup.of(lead));
    let passes: Vec<Passes> = classes
        .leads
        .iter()
        .map(of_class)
        .collect::<Result<_, _>>()?;
    let own_gpus = setup.platform.one_gpu.is_none();
    let fold = fold && own_gpus && passes.len() == 1 && passes[0].are_fixed();
    let groups = if fold {
        Groups::folded()
    } else {
        Groups::new(setup)
    };
    let mut emitter = TaskEmitter::new(*setup);
    emitter.folded = fold;
    let mut pending = Pending::new();
    for (done, &step) in steps.iter().enumerate() {
        if done == 1 {
            emitter.builder.reserve(steps.len() - 1);
        }
        let mode = if step < setup.warmup() {
            Mode::Synchronous
        } else {
            Mode::Steady
        };
        for _forward in 0..setup.forwards() {
            let of_class = |passes| Passes::blocks(passes, setup, step, mode).collect();
            let blocks: Vec<Vec<&BlockTimes>> = passes.iter().map(of_class).collect();
            let blocks = (&classes, &blocks[..]);
            pending = emit_pass(&mut emitter, &groups, blocks, (step, mode), &pending);
        }
    }
    Ok(emitter.builder.finish())
}

/// The tasks of one forward pass; returns the gathers it leaves under way.
fn emit_pass(
    emitter: &mut TaskEmitter<'_>,
    groups: &Groups,
    (classes, blocks): (&Classes, &[Vec<&BlockTimes>]),
    (step, mode): (u32, Mode),
    pending: &Pending,
) -> Pending {
    let mut next = Pending::new();
    for layer in 0..blocks[0].len() {
        let times: Vec<&BlockTimes> = blocks.iter().map(|of_class| of_class[layer]).collect();
        let block = Blocks {
            classes,
            times: &times,
        };
        emitter.spot = Spot {
            step,
            layer: u32::try_from(layer).expect("a model has few layers"),
        };
        let arrived = pending.get(layer).cloned().unwrap_or_default();
        next.push(emit_block(emitter, groups, block, mode, &arrived));
    }
    next
}

/// The tasks of one block on every rank; returns the gathers it leaves under way.
fn emit_block(
    emitter: &mut TaskEmitter<'_>,
    groups: &Groups,
    blocks: Blocks<'_>,
    mode: Mode,
    arrived: &[Arrival],
) -> Vec<Arrival> {
    let exchange = emitter.setup.plan.exchange;
    let (gaps, alone): (Vec<_>, Vec<_>) = blocks
        .times
        .iter()
        .map(|block| block.gap_and_time(exchange, mode))
        .unzip();
    for &rank in &groups.all {
        let block = blocks.of(rank);
        let class = blocks.classes.of(rank);
        if let Some(fetch) = &block.fetch {
            emitter.fetch(rank, fetch, alone[class]);
        }
        let gap = gaps[class];
        emitter.compute(rank, SpanClass::Launch, gap, &[]);
        emitter.compute(rank, SpanClass::Linear, block.compute.before, &[]);
        emitter.compute(rank, SpanClass::Encode, block.encode, &[]);
        emitter.compute(rank, SpanClass::Communication, block.skew, &[]);
    }
    emitter.blocking(&groups.ulysses, |rank| {
        blocks.of(rank).ulysses.as_ref().map(|(inward, _)| inward)
    });
    let under_way = emit_attention(emitter, groups, blocks, mode, arrived);
    emitter.blocking(&groups.ulysses, |rank| {
        blocks.of(rank).ulysses.as_ref().map(|(_, outward)| outward)
    });
    for &rank in &groups.all {
        let block = blocks.of(rank);
        emitter.compute(rank, SpanClass::Linear, block.compute.after, &[]);
        emitter.compute(rank, SpanClass::Elementwise, block.compute.elementwise, &[]);
        if let Some(fetch) = &block.fetch {
            let slowed = fetch.slows(alone[blocks.classes.of(rank)]);
            emitter.compute(rank, SpanClass::Weights, slowed, &[]);
        }
    }
    for reduce in 0..blocks.any().reduce.len() {
        emitter.blocking(&groups.tensor, |rank| blocks.of(rank).reduce.get(reduce));
    }
    under_way
}

fn emit_attention(
    emitter: &mut TaskEmitter<'_>,
    groups: &Groups,
    blocks: Blocks<'_>,
    mode: Mode,
    arrived: &[Arrival],
) -> Vec<Arrival> {
    let exchange = emitter.setup.plan.exchange;
    match (exchange, blocks.any().exchange.first()) {
        (Exchange::Ring(_), Some(_)) => {
            for group in &groups.outer {
                emit_ring(emitter, group, blocks);
            }
        }
        (Exchange::Displaced(_), Some(_)) if mode == Mode::Steady => {
            return emit_displaced(emitter, groups, blocks, arrived);
        }
        _ => {
            let gathers = blocks.any().exchange.len();
            for (gather, members) in (0..gathers).zip(groups.gathering(exchange)) {
                emitter.blocking(members, |rank| blocks.of(rank).exchange.get(gather));
            }
            for &rank in &groups.all {
                let block = blocks.of(rank);
                emitter.compute(rank, SpanClass::Decode, block.decode, &[]);
                emitter.compute(rank, SpanClass::Attention, block.compute.attention, &[]);
            }
            emitter.blocking(&groups.rows, |rank| blocks.of(rank).merge.as_ref());
        }
    }
    Vec::new()
}

/// A hop beside each chunk of attention but the last; each waits for the one before.
fn emit_ring(emitter: &mut TaskEmitter<'_>, group: &[u32], blocks: Blocks<'_>) {
    // Where ranks share a GPU, whoever computes beside the copies is slowed, not who waits for them.
    let shared = emitter.setup.platform.one_gpu.is_some();
    let beside = |block: &BlockTimes| block.beside(block.compute.attention, block.exchange[0].time);
    let lead = blocks.of(group[0]);
    let mut after = Vec::new();
    for _ in 1..lead.chunks {
        let ready: Vec<TaskId> = group
            .iter()
            .filter_map(|&rank| emitter.computed(rank))
            .collect();
        let received = emitter.message(group, &lead.exchange[0], &ready);
        for &rank in group {
            let block = blocks.of(rank);
            let slowed = if shared {
                beside(block)
            } else {
                SimDuration::ZERO
            };
            let attention = block.compute.attention + slowed;
            emitter.compute(rank, SpanClass::Attention, attention, &[]);
        }
        for (&rank, arrival) in group.iter().zip(&received) {
            let block = blocks.of(rank);
            let slowed = if shared {
                SimDuration::ZERO
            } else {
                beside(block)
            };
            let waiting = block.sync + slowed;
            after.clear();
            after.extend_from_slice(each_once(arrival));
            after.extend(emitter.computed(rank));
            let class = SpanClass::Communication;
            let synced = emitter.busy(rank, Stream::Communication, class, waiting, &after);
            emitter.compute(rank, SpanClass::Decode, block.decode, synced.as_slice());
            emitter.compute(rank, SpanClass::Elementwise, block.merge_time, &[]);
        }
    }
    for &rank in group {
        let attention = blocks.of(rank).compute.attention;
        emitter.compute(rank, SpanClass::Attention, attention, &[]);
    }
}

/// Attention on the previous step's K and V; this step's are gathered meanwhile.
fn emit_displaced(
    emitter: &mut TaskEmitter<'_>,
    groups: &Groups,
    blocks: Blocks<'_>,
    arrived: &[Arrival],
) -> Vec<Arrival> {
    let mut under_way: Vec<Option<Arrival>> = vec![None; groups.all.len()];
    for group in &groups.outer {
        let ready: Vec<TaskId> = group
            .iter()
            .filter_map(|&rank| emitter.computed(rank))
            .collect();
        let gather = &blocks.of(group[0]).exchange[0];
        for (&rank, arrival) in group.iter().zip(emitter.message(group, gather, &ready)) {
            under_way[rank as usize] = Some(arrival);
        }
    }
    for &rank in &groups.all {
        let block = blocks.of(rank);
        let compute = &block.compute;
        let busy =
            compute.before + compute.attention + compute.after + compute.elementwise + block.encode;
        let slowed = block.beside(busy, block.exchange[0].time);
        let stale = arrived.get(rank as usize).map_or(&[][..], each_once);
        emitter.compute(rank, SpanClass::Attention, compute.attention, stale);
        emitter.compute(rank, SpanClass::Other, slowed, &[]);
    }
    under_way.into_iter().flatten().collect()
}
