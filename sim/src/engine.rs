//! The discrete-event engine: from a task graph and link capacities to when each task ran.
//!
//! ```text
//!            last predecessor ends                 latency over
//!  waiting ────────────────▶ Busy, Timed, Join ─▶ ended
//!                               └▶ Transfer ──▶ enters ──▶ in the network ──▶ leaves ──▶ ended
//! ```
//!
//! Busy and timed tasks share nothing, so their end is known as soon as their start is: only transfers cost
//! events, and without any, one pass over the graph finds all ends. A transfer enters the network when its latency is over, and leaves when its last byte has arrived.
//!
//! Guarantees:
//! 1. A task starts at the latest end of its predecessors, at time zero where it has none.
//! 2. A finished run has run each task exactly once; a run that cannot proceed is an error that
//!    names the task and the link it waits for.
//! 3. All that happens at one instant is applied before rates are solved again, and has no order:
//!    equal inputs give equal outcomes, to the bit, and so does the plain engine of `plain.rs`, which
//!    knows neither queues nor changes.
//! 4. The loop does not allocate once its vectors have grown.
//!
//! Not modelled: computation that slows down because a transfer is under way on its device (the
//! maker of the graph lengthens the task), preemption, loss and retransmission.

mod queue;

use thiserror::Error;
use topologies::{Bandwidth, Bytes, DeviceId, LinkId, SimDuration, SimTime};

use crate::graph::{PathId, Successors, TaskGraph, TaskId, Work};
use crate::network::Network;

pub use queue::Queue;

/// When each task of a graph ran.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// When each task started, by identifier: the latest end of its predecessors.
    pub start: Vec<SimTime>,
    /// When each task ended, by identifier.
    pub end: Vec<SimTime>,
    /// How many events it took: entries into the network, and exits.
    pub events: u64,
    /// At how many instants rates were solved.
    pub solves: u64,
}

impl Outcome {
    /// How long the run took: the latest end.
    #[must_use]
    pub fn makespan(&self) -> SimDuration {
        let last = self.end.iter().max().copied().unwrap_or(SimTime::ZERO);
        last.since(SimTime::ZERO)
    }
}

/// Why a run cannot be finished.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum RunError {
    /// A path crosses a link without a capacity.
    #[error(
        "{path} crosses {link}, but capacities are given for the first {links} links only: give one for every link of the machine"
    )]
    UnknownLink {
        /// The path.
        path: PathId,
        /// The link.
        link: LinkId,
        /// How many links have a capacity.
        links: usize,
    },
    /// A transfer waits for a link that lets nothing through.
    #[error(
        "{task} ({bytes} from {device}) waits for {link}, whose capacity is zero; {unfinished} tasks cannot end: route around the link or give it a capacity"
    )]
    Stalled {
        /// The transfer with the smallest identifier that cannot proceed.
        task: TaskId,
        /// Its sender.
        device: DeviceId,
        /// Bytes of each of its flows.
        bytes: Bytes,
        /// The link.
        link: LinkId,
        /// How many tasks have not ended, this one included.
        unfinished: usize,
    },
    /// It would go on for longer than can be counted.
    #[error(
        "the run takes longer than 53 days, the longest that is simulated: ask for less, or check the rates of the machine"
    )]
    TooLong,
}

/// A run that takes longer is refused; a quarter of what 64 bits hold, so that sums of few runs are exact.
pub(crate) const LONGEST: SimDuration = SimDuration::new(1 << 62);

/// Runs `graph` over links of the given capacities (indexed by [`LinkId`]).
///
/// # Errors
/// If a path crosses a link without a capacity, or a transfer waits for a link of capacity zero.
pub fn run(graph: &TaskGraph, capacities: &[Bandwidth]) -> Result<Outcome, RunError> {
    if !graph.has_transfers() {
        check_links(graph, capacities)?;
        return Ok(foreseen(graph));
    }
    let mut run = Simulation::new(graph, capacities)?;
    run.advance(u64::MAX);
    run.finish()
}

/// A run without transfers: each end follows from ends before it, in the order of the graph.
fn foreseen(graph: &TaskGraph) -> Outcome {
    let mut start = Vec::with_capacity(graph.len());
    let mut end: Vec<SimTime> = Vec::with_capacity(graph.len());
    for (id, task) in graph.ids().zip(graph.tasks()) {
        let began = latest_end(graph, &end, id);
        let time = task.work.time().expect("only transfers have none");
        start.push(began);
        end.push(began + time);
    }
    Outcome {
        start,
        end,
        events: 0,
        solves: 0,
    }
}

/// When a task starts, its predecessors having ended.
fn latest_end(graph: &TaskGraph, end: &[SimTime], id: TaskId) -> SimTime {
    let ends = graph.predecessors(id).iter().map(|p| end[p.index()]);
    ends.max().unwrap_or(SimTime::ZERO)
}

/// Refuses paths over links that have no capacity.
pub(crate) fn check_links(graph: &TaskGraph, capacities: &[Bandwidth]) -> Result<(), RunError> {
    for (index, path) in graph.paths().iter().enumerate() {
        for &(link, _) in &path.shares {
            if link.index() >= capacities.len() {
                return Err(RunError::UnknownLink {
                    path: PathId::new(index),
                    link,
                    links: capacities.len(),
                });
            }
        }
    }
    Ok(())
}

/// A simulation under way.
#[derive(Debug)]
pub(crate) struct Simulation<'g> {
    graph: &'g TaskGraph,
    successors: Successors,
    /// How many predecessors of each task have not ended.
    waiting: Vec<u32>,
    end: Vec<SimTime>,
    unfinished: usize,
    /// Transfers whose latency is not over.
    queue: Queue<TaskId>,
    network: Network,
    /// Tasks whose end is known and whose successors have not heard of it.
    ended: Vec<TaskId>,
}

impl<'g> Simulation<'g> {
    /// A run in which the tasks without predecessors have begun.
    pub(crate) fn new(graph: &'g TaskGraph, capacities: &[Bandwidth]) -> Result<Self, RunError> {
        check_links(graph, capacities)?;
        let count =
            |id| u32::try_from(graph.predecessors(id).len()).expect("a graph has under 2^32 edges");
        let mut run = Self {
            graph,
            successors: graph.successors(),
            waiting: graph.ids().map(count).collect(),
            end: vec![SimTime::ZERO; graph.len()],
            unfinished: graph.len(),
            queue: Queue::new(),
            network: Network::new(graph.paths(), capacities),
            ended: Vec::new(),
        };
        for id in graph.ids() {
            if graph.predecessors(id).is_empty() {
                run.begin(id);
                run.tell_successors();
            }
        }
        Ok(run)
    }

    /// Goes on until `transfers` more have left the network, and what else happens at that instant.
    /// How many have left.
    pub(crate) fn advance(&mut self, transfers: u64) -> u64 {
        let mut left = 0;
        while left < transfers {
            let next = [self.queue.next_at(), self.network.next_at()];
            let Some(now) = next.into_iter().flatten().min() else {
                break;
            };
            while let Some(task) = self.network.leave(now) {
                self.end_at(task, now);
                left += 1;
            }
            while self.queue.next_at() == Some(now)
                && let Some((_, task)) = self.queue.pop()
            {
                self.enter(task, now);
            }
            self.network.solve(now);
        }
        left
    }

    /// When each task has ended; zero for those that have not.
    pub(crate) fn ends(&self) -> &[SimTime] {
        &self.end
    }

    /// A task's predecessors have all ended: foresees its end, or its way into the network.
    fn begin(&mut self, id: TaskId) {
        let start = latest_end(self.graph, &self.end, id);
        let end = match self.graph.task(id).work {
            Work::Transfer { path, bytes } => {
                let arrival = start + self.graph.path(path).latency;
                if bytes > Bytes::ZERO && self.network.limits(path) {
                    self.queue.push(arrival, id);
                    return;
                }
                arrival
            }
            work => start + work.time().expect("only transfers have none"),
        };
        self.end[id.index()] = end;
        self.ended.push(id);
    }

    /// Passes on the ends in `ended`, and those that become known by that.
    fn tell_successors(&mut self) {
        while let Some(id) = self.ended.pop() {
            self.unfinished -= 1;
            let successors = self.successors.range(id);
            for position in successors {
                let successor = self.successors.at(position);
                let waiting = &mut self.waiting[successor.index()];
                *waiting -= 1;
                if *waiting == 0 {
                    self.begin(successor);
                }
            }
        }
    }

    fn enter(&mut self, id: TaskId, now: SimTime) {
        let Work::Transfer { path, bytes } = self.graph.task(id).work else {
            unreachable!("only transfers enter the network");
        };
        self.network.enter(now, id, path, bytes);
    }

    fn end_at(&mut self, id: TaskId, now: SimTime) {
        self.end[id.index()] = now;
        self.ended.push(id);
        self.tell_successors();
    }

    fn finish(self) -> Result<Outcome, RunError> {
        if let Some((task, link)) = self.network.stalled() {
            let Work::Transfer { bytes, .. } = self.graph.task(task).work else {
                unreachable!("only transfers are in the network");
            };
            return Err(RunError::Stalled {
                task,
                device: self.graph.task(task).device,
                bytes,
                link,
                unfinished: self.unfinished,
            });
        }
        // A graph has no cycle: what is left is a transfer that ends beyond all time, and what waits for it.
        if self.unfinished > 0 {
            return Err(RunError::TooLong);
        }
        let (events, solves) = (self.network.events(), self.network.solves());
        let Self {
            graph,
            end,
            successors,
            waiting,
            ..
        } = self;
        // What only the run needs is freed before the starts take its room.
        drop((successors, waiting));
        let start = graph.ids().map(|id| latest_end(graph, &end, id)).collect();
        Ok(Outcome {
            start,
            end,
            events,
            solves,
        })
    }
}

#[cfg(test)]
mod plain;

#[cfg(test)]
mod theorems;

#[cfg(test)]
mod tests;
