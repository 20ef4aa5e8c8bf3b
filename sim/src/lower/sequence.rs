//! Tasks of plans without a pipeline: every rank runs every block, in step with its groups.

use topologies::{DeviceId, SimDuration};
use traces::timeline::{SpanClass, Stream};

use super::pass::{BlockTimes, Mode, Pass};
use super::{LowerError, Setup};
use crate::graph::{GraphBuilder, Path, Task, TaskGraph, TaskId, Work};
use crate::plan::{Coordinates, Exchange};
use crate::platform::Message;

/// Where a task stands in the run.
#[derive(Clone, Copy, Debug)]
pub(super) struct Spot {
    pub step: u32,
    pub layer: u32,
}

/// A graph in the making.
pub(super) struct Weaver<'a> {
    pub setup: Setup<'a>,
    pub builder: GraphBuilder,
    pub spot: Spot,
}

impl<'a> Weaver<'a> {
    pub(super) fn new(setup: Setup<'a>) -> Self {
        Self {
            setup,
            builder: GraphBuilder::new(),
            spot: Spot { step: 0, layer: 0 },
        }
    }

    fn device(&self, rank: u32) -> DeviceId {
        self.setup.plan.placement[rank as usize]
    }

    /// A task of `rank`, after `after` and all before it on its stream; nothing for no time.
    pub(super) fn busy(
        &mut self,
        rank: u32,
        stream: Stream,
        class: SpanClass,
        time: SimDuration,
        after: &[TaskId],
    ) -> Option<TaskId> {
        if time == SimDuration::ZERO && after.is_empty() {
            return self.builder.last(self.device(rank), stream);
        }
        let task = Task {
            device: self.device(rank),
            stream,
            class,
            step: self.spot.step,
            layer: self.spot.layer,
            work: Work::Busy(time),
        };
        Some(self.builder.push(task, after))
    }

    pub(super) fn compute(
        &mut self,
        rank: u32,
        class: SpanClass,
        time: SimDuration,
        after: &[TaskId],
    ) {
        self.busy(rank, Stream::Compute, class, time, after);
    }

    /// The last compute task of a rank.
    pub(super) fn computed(&self, rank: u32) -> Option<TaskId> {
        self.builder.last(self.device(rank), Stream::Compute)
    }

    /// A message among `group` (ranks) that starts when all of `after` are done; returns what each
    /// rank of the group waits for.
    pub(super) fn message(
        &mut self,
        group: &[u32],
        message: &Message,
        after: &[TaskId],
    ) -> Vec<TaskId> {
        let first = self.device(group[0]);
        let task = |device, class, work, spot: Spot| Task {
            device,
            stream: Stream::Communication,
            class,
            step: spot.step,
            layer: spot.layer,
            work,
        };
        let spot = self.spot;
        let join = task(first, SpanClass::Communication, Work::Join, spot);
        let ready = self.builder.push_unordered(join, after);
        if let Some(flows) = &message.flows {
            let path = self.builder.intern(Path {
                latency: flows.latency,
                shares: flows.shares.clone(),
                cap: flows.cap,
            });
            let work = Work::Transfer {
                path,
                bytes: flows.bytes,
            };
            let moved = self
                .builder
                .push(task(first, SpanClass::Communication, work, spot), &[ready]);
            return vec![moved; group.len()];
        }
        let each = group.iter().map(|&rank| {
            let work = Work::Busy(message.time);
            let device = self.setup.plan.placement[rank as usize];
            self.builder
                .push(task(device, SpanClass::Communication, work, spot), &[ready])
        });
        each.collect()
    }

    /// A blocking message among every group of a dimension: nobody computes until it is done.
    pub(super) fn blocking(&mut self, groups: &[Vec<u32>], message: &Message) {
        for group in groups {
            let after: Vec<TaskId> = group
                .iter()
                .filter_map(|&rank| self.computed(rank))
                .collect();
            let done = self.message(group, message, &after);
            for (&rank, task) in group.iter().zip(done) {
                self.compute(rank, SpanClass::Communication, SimDuration::ZERO, &[task]);
            }
        }
    }
}

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
    tensor: Vec<Vec<u32>>,
}

impl Groups {
    pub(super) fn new(setup: &Setup<'_>) -> Self {
        let plan = setup.plan;
        Self {
            all: (0..plan.ranks()).collect(),
            ulysses: groups(setup, plan.ulysses, |at| &mut at.ulysses),
            outer: groups(setup, plan.exchange.degree(), |at| &mut at.outer),
            tensor: groups(setup, plan.tensor, |at| &mut at.tensor),
        }
    }
}

/// Gathers under way, by layer: what the next step's attention waits for.
type Pending = Vec<Vec<TaskId>>;

/// The tasks of `steps` steps.
pub(super) fn tasks(setup: &Setup<'_>, steps: u32) -> Result<TaskGraph, LowerError> {
    let warm = setup.pass(0, 1, Mode::Synchronous)?;
    let steady = setup.pass(0, 1, Mode::Steady)?;
    let groups = Groups::new(setup);
    let mut weaver = Weaver::new(*setup);
    let mut pending = Pending::new();
    for step in 0..steps {
        let (pass, mode) = if step < setup.warmup() {
            (&warm, Mode::Synchronous)
        } else {
            (&steady, Mode::Steady)
        };
        for forward in 0..setup.forwards() {
            let mut next = Pending::new();
            weave_pass(
                &mut weaver,
                &groups,
                pass,
                mode,
                (step, forward),
                &mut pending,
                &mut next,
            );
            pending = next;
        }
    }
    Ok(weaver.builder.finish())
}

fn weave_pass(
    weaver: &mut Weaver<'_>,
    groups: &Groups,
    pass: &Pass,
    mode: Mode,
    (step, _forward): (u32, u32),
    pending: &mut Pending,
    next: &mut Pending,
) {
    let order = weaver.setup.workload.layers.order.clone();
    for (layer, block) in pass.in_order(&order).enumerate() {
        weaver.spot = Spot {
            step,
            layer: u32::try_from(layer).expect("a model has few layers"),
        };
        let arrived = pending.get(layer).cloned().unwrap_or_default();
        next.push(weave_block(weaver, groups, block, mode, &arrived));
    }
}

/// The tasks of one block on every rank; returns the gathers it leaves under way.
fn weave_block(
    weaver: &mut Weaver<'_>,
    groups: &Groups,
    block: &BlockTimes,
    mode: Mode,
    arrived: &[TaskId],
) -> Vec<TaskId> {
    let exchange = weaver.setup.plan.exchange;
    let gap = block.gap(exchange, mode);
    for &rank in &groups.all {
        weaver.compute(rank, SpanClass::Launch, gap, &[]);
        weaver.compute(rank, SpanClass::Linear, block.compute.before, &[]);
        weaver.compute(rank, SpanClass::Encode, block.encode, &[]);
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
    arrived: &[TaskId],
) -> Vec<TaskId> {
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
            for gather in &block.exchange {
                weaver.blocking(&groups.outer, gather);
            }
            for &rank in &groups.all {
                weaver.compute(rank, SpanClass::Decode, block.decode, &[]);
                weaver.compute(rank, SpanClass::Attention, attention, &[]);
            }
            if let Some(merge) = &block.merge {
                weaver.blocking(&groups.outer, merge);
            }
        }
    }
    Vec::new()
}

/// A hop beside each chunk of attention but the last; each waits for the one before.
fn weave_ring(weaver: &mut Weaver<'_>, group: &[u32], block: &BlockTimes, hop: &Message) {
    let attention = block.compute.attention;
    let waiting = block.sync + block.beside(attention, hop.time);
    for _ in 1..block.chunks {
        let ready: Vec<TaskId> = group
            .iter()
            .filter_map(|&rank| weaver.computed(rank))
            .collect();
        let received = weaver.message(group, hop, &ready);
        for (&rank, message) in group.iter().zip(received) {
            weaver.compute(rank, SpanClass::Attention, attention, &[]);
            let mut after = vec![message];
            after.extend(weaver.computed(rank));
            let class = SpanClass::Communication;
            let synced = weaver.busy(rank, Stream::Communication, class, waiting, &after);
            let synced: Vec<TaskId> = synced.into_iter().collect();
            weaver.compute(rank, SpanClass::Decode, block.decode, &synced);
            weaver.compute(rank, SpanClass::Elementwise, block.merge_time, &[]);
        }
    }
    for &rank in group {
        weaver.compute(rank, SpanClass::Attention, attention, &[]);
    }
}

/// Attention on the previous step's K and V; this step's are gathered meanwhile.
fn weave_displaced(
    weaver: &mut Weaver<'_>,
    groups: &Groups,
    block: &BlockTimes,
    gather: &Message,
    arrived: &[TaskId],
) -> Vec<TaskId> {
    let compute = &block.compute;
    let busy =
        compute.before + compute.attention + compute.after + compute.elementwise + block.encode;
    let slowed = block.beside(busy, gather.time);
    let mut under_way = vec![None; groups.all.len()];
    for group in &groups.outer {
        let ready: Vec<TaskId> = group
            .iter()
            .filter_map(|&rank| weaver.computed(rank))
            .collect();
        for (&rank, task) in group.iter().zip(weaver.message(group, gather, &ready)) {
            under_way[rank as usize] = Some(task);
        }
    }
    for &rank in &groups.all {
        let stale: Vec<TaskId> = arrived.get(rank as usize).copied().into_iter().collect();
        weaver.compute(rank, SpanClass::Attention, compute.attention, &stale);
        weaver.compute(rank, SpanClass::Other, slowed, &[]);
    }
    under_way.into_iter().flatten().collect()
}
