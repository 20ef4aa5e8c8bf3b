//! What every rank does: a simulated task graph, cut into one program for each rank.
//!
//! ```text
//! TaskGraph   busy(0) ─▶ join ─▶ all-gather(0, 1) ─▶ busy(1)
//! rank 0      busy ─▶ all-gather                                 an arrow = "after", of the same rank
//! rank 1                all-gather ─▶ busy
//! ```
//! Guarantees:
//! 1. A job waits only for jobs of its own rank; what it waits for on other ranks comes to it as the bytes of an
//!    exchange that it takes part in.
//! 2. A rank's lanes (compute, collectives, each flow) run their jobs in the order of the graph.
//!
//! Not carried over: the simulator's rule that a collective starts on all ranks at once. Real ranks begin when they
//! are ready.

use serde::{Deserialize, Serialize};
use sim::graph::{Exchange, TaskGraph, TaskId, Work};
use topologies::{CollectiveKind, DeviceId};
use traces::timeline::{SpanClass, Stream};

use crate::mesh::CHANNELS;

/// What a job does.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Job {
    /// Waits for a time.
    Busy { ns: u64 },
    /// Compresses the rank's own K and V, within a time.
    Encode { ns: u64 },
    /// Decompresses what arrived last, within a time.
    Decode { ns: u64 },
    /// Takes part in a collective of nccl-tests' `size` among these ranks, in this order.
    Collective {
        kind: Kind,
        group: Vec<u32>,
        size: u64,
    },
    /// Sends `bytes` to a rank.
    Send { to: u32, bytes: u64, channel: u32 },
    /// Waits for what the job of the same number sends from a rank.
    Receive { from: u32 },
}

/// A collective, as the sockets run it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Kind {
    /// Blocks around a ring, each to the next.
    AllGather,
    /// As an all-gather; the sums themselves are left out.
    ReduceScatter,
    /// A reduce-scatter, then an all-gather.
    AllReduce,
    /// Everyone to everyone at once.
    AllToAll,
    /// Everyone to the next.
    RingPass,
}

impl From<CollectiveKind> for Kind {
    fn from(kind: CollectiveKind) -> Self {
        match kind {
            CollectiveKind::AllGather => Self::AllGather,
            CollectiveKind::ReduceScatter => Self::ReduceScatter,
            CollectiveKind::AllReduce => Self::AllReduce,
            CollectiveKind::AllToAll => Self::AllToAll,
            CollectiveKind::RingPass => Self::RingPass,
        }
    }
}

/// A job's place: jobs of a lane run one after another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) enum Lane {
    /// The compute stream.
    Compute,
    /// The communication stream.
    Communication,
    /// A competing flow.
    Flow(u32),
    /// What arrives from one rank over the connection of collectives.
    From(u32),
}

/// A job of one rank.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Node {
    /// The task of the graph.
    pub task: u32,
    /// Where it runs.
    pub lane: Lane,
    /// Tasks of the same rank that it waits for.
    pub after: Vec<u32>,
    /// What it does.
    pub job: Job,
}

/// What one rank does.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Program {
    /// In the order of the graph.
    pub nodes: Vec<Node>,
    /// What its messages are compressed with.
    pub codec: Option<Codec>,
}

/// The compressor of K and V and the matrix of each.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Codec {
    /// The compressor's name.
    pub compressor: String,
    /// Tokens of a rank's shard.
    pub rows: usize,
    /// Channels.
    pub channels: usize,
}

/// The programs of all ranks; rank and device are one.
///
/// # Panics
/// If a transfer has no exchange: only lowered graphs, and flows that say where they go, can be run.
pub(crate) fn programs(graph: &TaskGraph, ranks: u32) -> Vec<Program> {
    let competing = graph.ids().filter(|&task| competes(graph, task));
    let mut cutter = Cutter {
        graph,
        resolved: vec![Vec::new(); graph.len()],
        flows: competing.collect(),
    };
    assert!(
        cutter.flows.len() < CHANNELS as usize,
        "flows have a channel each, and there are {CHANNELS}"
    );
    let mut programs = vec![Program::default(); ranks as usize];
    for task in graph.ids() {
        cutter.resolve(task);
        for (rank, program) in (0..).zip(&mut programs) {
            program.nodes.extend(cutter.node(task, rank));
        }
    }
    programs
}

struct Cutter<'a> {
    graph: &'a TaskGraph,
    /// What each task waits for: joins looked through, spans of a collective replaced by the one that leads.
    resolved: Vec<Vec<TaskId>>,
    /// Competing flows.
    flows: Vec<TaskId>,
}

/// Whether a task is a flow that competes with what is measured.
fn competes(graph: &TaskGraph, id: TaskId) -> bool {
    let send = matches!(graph.exchange(id), Some((Exchange::Send { .. }, _)));
    send && graph.task(id).class == SpanClass::Other
}

fn number(task: TaskId) -> u32 {
    u32::try_from(task.index()).expect("a graph has under 2^32 tasks")
}

fn rank_of(device: DeviceId) -> u32 {
    u32::try_from(device.index()).expect("a machine has under 2^32 GPUs")
}

impl Cutter<'_> {
    fn lead(&self, task: TaskId) -> TaskId {
        self.graph.exchange(task).map_or(task, |(_, lead)| lead)
    }

    fn resolve(&mut self, task: TaskId) {
        let mut all = Vec::new();
        for &before in self.graph.predecessors(task) {
            if self.graph.task(before).work == Work::Join {
                all.extend_from_slice(&self.resolved[before.index()]);
            } else {
                all.push(self.lead(before));
            }
        }
        all.sort_unstable();
        all.dedup();
        self.resolved[task.index()] = all;
    }

    /// Whether a rank has a job for a task.
    fn takes_part(&self, task: TaskId, rank: u32) -> bool {
        let own = rank_of(self.graph.task(task).device) == rank;
        match self.graph.exchange(task) {
            None => own,
            Some((Exchange::Collective { group, .. }, _)) => {
                group.iter().any(|&device| rank_of(device) == rank)
            }
            Some((Exchange::Send { to, .. }, _)) => own || rank_of(*to) == rank,
        }
    }

    /// What `rank` does for `task`.
    fn node(&self, task: TaskId, rank: u32) -> Option<Node> {
        let is_join = self.graph.task(task).work == Work::Join;
        if is_join || self.lead(task) != task || !self.takes_part(task, rank) {
            return None;
        }
        let (lane, job) = self.job(task, rank);
        let receives = matches!(job, Job::Receive { .. });
        let waits = self.resolved[task.index()].iter();
        let after = waits.filter(|before| !receives && self.takes_part(**before, rank));
        Some(Node {
            task: number(task),
            lane,
            after: after.map(|before| number(*before)).collect(),
            job,
        })
    }

    fn job(&self, id: TaskId, rank: u32) -> (Lane, Job) {
        let task = self.graph.task(id);
        let stream = match task.stream {
            Stream::Compute => Lane::Compute,
            _ => Lane::Communication,
        };
        match self.graph.exchange(id) {
            None => (stream, busy(task.class, task.work)),
            Some((Exchange::Collective { kind, group, size }, _)) => {
                let job = Job::Collective {
                    kind: (*kind).into(),
                    group: group.iter().map(|&device| rank_of(device)).collect(),
                    size: size.get(),
                };
                (Lane::Communication, job)
            }
            Some((Exchange::Send { to, size }, _)) => {
                let flow = self.flows.iter().position(|&flow| flow == id);
                let channel = flow.map_or(0, |flow| 1 + flow as u32);
                let (from, to) = (rank_of(task.device), rank_of(*to));
                let lane = |other| match channel {
                    0 => other,
                    _ => Lane::Flow(channel),
                };
                if rank == from {
                    let job = Job::Send {
                        to,
                        bytes: size.get(),
                        channel,
                    };
                    return (lane(stream), job);
                }
                (lane(Lane::From(from)), Job::Receive { from })
            }
        }
    }
}

fn busy(class: SpanClass, work: Work) -> Job {
    let Work::Busy(time) = work else {
        unreachable!("a transfer of a lowered graph, or a flow, has an exchange");
    };
    let ns = time.get() / 1000;
    match class {
        SpanClass::Encode => Job::Encode { ns },
        SpanClass::Decode => Job::Decode { ns },
        _ => Job::Busy { ns },
    }
}
