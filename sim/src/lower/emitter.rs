//! A graph in the making: tasks of ranks, and messages among groups of them.
//!
//! ```text
//! first rank  [span that stands for the flows: bytes, links] ─┬─▶ what every rank waits for
//! others      [span of the same time] ────────────────────────┘   (an arrow in the timeline)
//! ```
//! Bytes thus count once for each group. A shared message is one transfer that all wait for.

use std::collections::BTreeMap;

use topologies::{Bytes, CollectiveKind, DeviceId, SimDuration};
use traces::timeline::{SpanClass, Stream};

use super::Setup;
use super::weights::Fetch;
use crate::graph::{Exchange, GraphBuilder, Path, PathId, Task, TaskId, Work};
use crate::one_gpu::{self, OneGpu};
use crate::platform::{Message, Timing};

/// Where a task stands in the run.
#[derive(Clone, Copy, Debug)]
pub(super) struct Spot {
    pub step: u32,
    pub layer: u32,
}

/// A distinct message: the ranks that send it, the collective, the size of each.
type Sent = (Vec<u32>, CollectiveKind, Vec<Bytes>);

/// A graph in the making.
pub(super) struct TaskEmitter<'a> {
    pub setup: Setup<'a>,
    pub builder: GraphBuilder,
    pub spot: Spot,
    /// One rank stands for all: messages are times, and nothing is said of links.
    pub folded: bool,
    /// What a rank's next compute waits for, where ranks share a GPU: others' work comes before it.
    waits: BTreeMap<u32, Vec<TaskId>>,
    /// What each rank had computed before its last block: the next one's weights are fetched from then on.
    before_block: BTreeMap<u32, Option<TaskId>>,
    /// What each distinct message moves, by the ranks that send it, and its exchange.
    carried: BTreeMap<Sent, (Option<(PathId, Bytes)>, u32)>,
}

/// What a rank waits for: its own span of a message, and the span that stands for the flows.
pub(super) type Arrival = [TaskId; 2];

/// An arrival's tasks, each once.
pub(super) fn each_once(arrival: &Arrival) -> &[TaskId] {
    let distinct = if arrival[0] == arrival[1] { 1 } else { 2 };
    &arrival[..distinct]
}

impl<'a> TaskEmitter<'a> {
    pub(super) fn new(setup: Setup<'a>) -> Self {
        Self {
            setup,
            builder: match setup.platform.one_gpu {
                Some(_) => GraphBuilder::with_one_compute(),
                None => GraphBuilder::new(),
            },
            spot: Spot { step: 0, layer: 0 },
            folded: false,
            waits: BTreeMap::new(),
            before_block: BTreeMap::new(),
            carried: BTreeMap::new(),
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
        let waits = match stream {
            Stream::Compute if time > SimDuration::ZERO => self.waits.remove(&rank),
            _ => None,
        };
        let task = Task {
            device: self.device(rank),
            stream,
            class,
            step: self.spot.step,
            layer: self.spot.layer,
            work: match time {
                SimDuration::ZERO => Work::Join,
                time => Work::Busy(time),
            },
        };
        Some(match waits {
            Some(waits) => self.builder.push(task, &[after, &waits].concat()),
            None => self.builder.push(task, after),
        })
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

    /// Fetches the weights of the block that `rank` is about to run, beside its last block where they are fetched ahead;
    /// the block waits for them.
    pub(super) fn fetch(&mut self, rank: u32, fetch: &Fetch, block: SimDuration) {
        let now = self.computed(rank);
        let before = self.before_block.insert(rank, now);
        let from = match before {
            Some(before) if fetch.ahead => before,
            // The first block has none before it.
            None if fetch.ahead => None,
            _ => now,
        };
        let class = SpanClass::Weights;
        let time = fetch.time + fetch.slows(block);
        let fetched = self.busy(rank, Stream::Weights, class, time, from.as_slice());
        self.compute(rank, class, SimDuration::ZERO, fetched.as_slice());
    }

    /// A task of this moment on the communication stream of `rank`.
    fn communication(&self, rank: u32, work: Work) -> Task {
        Task {
            device: self.device(rank),
            stream: Stream::Communication,
            class: SpanClass::Communication,
            step: self.spot.step,
            layer: self.spot.layer,
            work,
        }
    }

    /// What `message` moves when `group` (ranks) sends it, and its exchange; found once for each
    /// distinct message.
    fn carried(&mut self, group: &[u32], message: &Message) -> (Option<(PathId, Bytes)>, u32) {
        let key = (group.to_vec(), message.kind, message.sizes.clone());
        if let Some(&known) = self.carried.get(&key) {
            return known;
        }
        let devices: Vec<DeviceId> = group.iter().map(|&rank| self.device(rank)).collect();
        let flows = self.setup.platform.flows(message, &devices);
        let carried = flows.map(|flows| {
            let path = Path {
                latency: flows.latency,
                shares: flows.shares,
                cap: flows.cap,
            };
            (self.builder.intern(path), flows.bytes)
        });
        let exchange = self.builder.exchange(Exchange::Collective {
            kind: message.kind,
            group: devices,
            size: message.sizes.iter().copied().sum(),
        });
        self.carried.insert(key, (carried, exchange));
        (carried, exchange)
    }

    /// A message among `group` (ranks) that starts when all of `after` are done; returns what each
    /// rank of the group waits for. Its bytes are those of one task, on the first rank's track.
    pub(super) fn message(
        &mut self,
        group: &[u32],
        message: &Message,
        after: &[TaskId],
    ) -> Vec<Arrival> {
        let platform = self.setup.platform;
        if let Some(one) = &platform.one_gpu {
            return self.copies(one, group, message, after);
        }
        let join = self.communication(group[0], Work::Join);
        let ready = self.builder.push_unordered(join, after);
        let time = message.time;
        if self.folded {
            let alone = self.communication(group[0], Work::Busy(time));
            return vec![[self.builder.push(alone, &[ready]); 2]];
        }
        let (carried, exchange) = self.carried(group, message);
        let lead = match (message.timing, carried) {
            (Timing::Shared, Some((path, bytes))) => Work::Transfer { path, bytes },
            (Timing::Shared, None) => unreachable!("only links share, and those a machine has"),
            (Timing::Fixed, Some((path, bytes))) => Work::Timed { time, path, bytes },
            (Timing::Fixed, None) => Work::Busy(time),
        };
        let lead = self
            .builder
            .push(self.communication(group[0], lead), &[ready]);
        self.builder.take_part(lead, lead, exchange);
        if message.timing == Timing::Shared {
            return vec![[lead; 2]; group.len()];
        }
        let mut arrivals = vec![[lead; 2]];
        arrivals.extend(group[1..].iter().map(|&rank| {
            let own = self.communication(rank, Work::Busy(time));
            let own = self.builder.push(own, &[ready]);
            self.builder.take_part(own, lead, exchange);
            [own, lead]
        }));
        arrivals
    }

    /// A message among ranks that share a GPU: copies down to the host and up again, in order.
    fn copies(
        &mut self,
        one: &OneGpu,
        group: &[u32],
        message: &Message,
        after: &[TaskId],
    ) -> Vec<Arrival> {
        let bytes = message.sizes.iter().copied().sum();
        let copies = one_gpu::copies(message.kind, group.len(), bytes);
        let copies = copies.expect("the platform has given this kind of message a time");
        let mut last = vec![None; group.len()];
        for copy in copies {
            let (from, to) = (group[copy.from], group[copy.to]);
            last[copy.to] = Some(self.copy(one, (from, to), copy.bytes, after));
        }
        let arrival = |up: Option<TaskId>| [up.expect("every rank of a group receives"); 2];
        last.into_iter().map(arrival).collect()
    }

    /// A copy down from one rank, and one up to another; returns the second.
    fn copy(
        &mut self,
        one: &OneGpu,
        (from, to): (u32, u32),
        bytes: Bytes,
        after: &[TaskId],
    ) -> TaskId {
        let ranks = self.setup.platform.gpus.len();
        let mut done = after.to_vec();
        for (rank, down) in [(from, true), (to, false)] {
            let path = self.builder.intern(one.path(down));
            let task = self.communication(rank, Work::Transfer { path, bytes });
            let queue = one.queue(down, ranks);
            done = vec![self.builder.push_in(queue, task, &done)];
        }
        done[0]
    }

    /// A message from one rank, once it has computed, to another.
    pub(super) fn send(&mut self, from: u32, to: u32, message: &Message) -> TaskId {
        let platform = self.setup.platform;
        if let Some(one) = &platform.one_gpu {
            let bytes = message.sizes.iter().copied().sum();
            let after: Vec<TaskId> = self.computed(from).into_iter().collect();
            return self.copy(one, (from, to), bytes, &after);
        }
        let bytes = message.sizes.iter().copied().sum();
        let work = self.one_message(from, to, message);
        let after: Vec<TaskId> = self.computed(from).into_iter().collect();
        let task = self.builder.push(self.communication(from, work), &after);
        let to = self.device(to);
        let exchange = self.builder.exchange(Exchange::Send { to, size: bytes });
        self.builder.take_part(task, task, exchange);
        task
    }

    /// A flow where the links decide, else a known time.
    fn one_message(&mut self, from: u32, to: u32, message: &Message) -> Work {
        let platform = self.setup.platform;
        let (from, to) = (self.device(from), self.device(to));
        if let Some(flow) = platform.one_flow(message, from, to) {
            let path = self.builder.intern(Path {
                latency: flow.latency,
                shares: flow.shares,
                cap: flow.cap,
            });
            let bytes = flow.bytes;
            return Work::Transfer { path, bytes };
        }
        let time = message.time;
        let bytes = message.sizes.iter().copied().sum();
        match platform.way(from, to) {
            Some(way) => Work::Timed {
                time,
                path: self.builder.intern(way),
                bytes,
            },
            None => Work::Busy(time),
        }
    }

    /// A blocking message among every group of a dimension, as its first rank has it, if there is one:
    /// nobody computes until it is done.
    pub(super) fn blocking<'m>(
        &mut self,
        groups: &[Vec<u32>],
        message: impl Fn(u32) -> Option<&'m Message>,
    ) {
        let defer = self.setup.platform.one_gpu.is_some();
        for group in groups {
            let Some(message) = message(group[0]) else {
                continue;
            };
            for rank in group {
                // A second message before any work: the first is waited for here.
                if let Some(waits) = self.waits.remove(rank) {
                    self.compute(*rank, SpanClass::Communication, SimDuration::ZERO, &waits);
                }
            }
            let after: Vec<TaskId> = group
                .iter()
                .filter_map(|&rank| self.computed(rank))
                .collect();
            let done = self.message(group, message, &after);
            for (&rank, arrival) in group.iter().zip(&done) {
                if defer {
                    self.waits.insert(rank, each_once(arrival).to_vec());
                    continue;
                }
                let class = SpanClass::Communication;
                self.compute(rank, class, SimDuration::ZERO, each_once(arrival));
            }
        }
    }
}
