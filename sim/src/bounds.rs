//! Bounds on a run, from the graph alone and without simulating it.
//!
//! With *d_t* what task *t* takes with the network to itself (a transfer: latency +
//! bytes / min(cap, min_l C_l / w_l)), *head_t* the longest chain of tasks before *t* and *tail_t*
//! the longest after it:
//!
//! ```text
//! lower = max( max_t head_t + d_t + tail_t,                                        critical path
//!              max_l min_{t on l} (head_t + latency_t)
//!                    + sum_{t on l} w_tl bytes_t / C_l + min_{t on l} tail_t )     busiest link
//! upper = sum_t d_t  (+ 1 ps per transfer, for its rounding)                       serial run
//! ```
//!
//! Why `lower` holds: no rate exceeds the one alone, so no chain is faster; link *l* carries at most
//! *C_l* per second, nothing before its first transfer can have arrived, and after its last
//! byte that transfer's successors still have to run.
//! Why `upper` holds: count a task's progress in units of its *d_t*. At every moment some task
//! is under way. A busy task, a latency or a capped transfer progresses at full speed; any other has
//! a bottleneck link that is full, and the transfers on it together progress at full speed or more:
//! `sum_i w_i r_i / C = 1`, and alone none gets more than `C / w_i`.
//!
//! The load of a stream is reported too, but bounds a run only where edges keep the stream in order,
//! and then it is part of a chain and so of the critical path.
//!
//! The amounts in `lower` are rounded down by a relative 1e-12 and 0.001 ps more, so that the
//! engine's `f64` rates cannot undercut it.

use topologies::{Bandwidth, DeviceId, LinkId, SimDuration};
use traces::timeline::Stream;

use crate::engine::{self, RunError};
use crate::graph::{TaskGraph, TaskId, Work};
use crate::network::{ps_alone, round_up};

/// How short and how long a run can be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// No run of the graph is shorter.
    pub lower: SimDuration,
    /// No run of the graph is longer.
    pub upper: SimDuration,
    /// The longest chain of tasks, each with the network to itself.
    pub critical_path: SimDuration,
    /// The link that bounds the run most, and its bound.
    pub busiest_link: Option<(LinkId, SimDuration)>,
    /// The stream with the most work, and how much; its transfers with the network to themselves.
    pub busiest_stream: Option<(DeviceId, Stream, SimDuration)>,
}

/// Bounds on every run of `graph` over links of the given capacities (indexed by [`LinkId`]).
///
/// # Errors
/// As [`engine::run`]: where there is no run, there are no bounds.
pub fn bounds(graph: &TaskGraph, capacities: &[Bandwidth]) -> Result<Bounds, RunError> {
    engine::check_links(graph, capacities)?;
    let alone: Vec<f64> = graph.ids().map(|id| ps_of(graph, id, capacities)).collect();
    if alone.contains(&f64::INFINITY) {
        return Err(engine::run(graph, capacities)
            .expect_err("a transfer over a link of capacity zero never ends"));
    }
    let least: Vec<SimDuration> = graph
        .ids()
        .map(|id| fixed(graph, id) + round_down(alone[id.index()]))
        .collect();
    let (heads, tails) = chains(graph, &least);
    let critical_path = graph
        .ids()
        .map(|id| heads[id.index()] + least[id.index()] + tails[id.index()])
        .max()
        .unwrap_or(SimDuration::ZERO);
    let busiest_link = busiest_link(graph, capacities, &heads, &tails);
    let link = busiest_link.map_or(SimDuration::ZERO, |(_, bound)| bound);
    let most = |id: TaskId| {
        let rounding = SimDuration::new(u64::from(alone[id.index()] > 0.0));
        fixed(graph, id) + round_up(alone[id.index()]) + rounding
    };
    Ok(Bounds {
        lower: critical_path.max(link),
        upper: graph.ids().map(most).sum(),
        critical_path,
        busiest_link,
        busiest_stream: busiest_stream(graph, &least),
    })
}

/// The part of a task's time that does not depend on rates: work or latency.
fn fixed(graph: &TaskGraph, id: TaskId) -> SimDuration {
    match graph.task(id).work {
        Work::Busy(time) | Work::Timed { time, .. } => time,
        Work::Transfer { path, .. } => graph.path(path).latency,
        Work::Join => SimDuration::ZERO,
    }
}

/// The part of a task's time in the network, alone, in picoseconds.
fn ps_of(graph: &TaskGraph, id: TaskId, capacities: &[Bandwidth]) -> f64 {
    match graph.task(id).work {
        Work::Transfer { path, bytes } => ps_alone(graph.path(path), bytes, capacities),
        Work::Busy(_) | Work::Timed { .. } | Work::Join => 0.0,
    }
}

/// Whole picoseconds that no simulated time of this amount falls below.
fn round_down(ps: f64) -> SimDuration {
    SimDuration::new((ps * (1.0 - 1e-12) - 1e-3).ceil().max(0.0) as u64)
}

/// The longest chain before each task, and the longest after it.
fn chains(graph: &TaskGraph, least: &[SimDuration]) -> (Vec<SimDuration>, Vec<SimDuration>) {
    let mut heads = vec![SimDuration::ZERO; graph.len()];
    let mut tails = heads.clone();
    for id in graph.ids() {
        let ends = graph.predecessors(id).iter();
        let ends = ends.map(|p| heads[p.index()] + least[p.index()]);
        heads[id.index()] = ends.max().unwrap_or(SimDuration::ZERO);
    }
    for id in graph.ids().rev() {
        let chain = least[id.index()] + tails[id.index()];
        for predecessor in graph.predecessors(id) {
            let tail = &mut tails[predecessor.index()];
            *tail = chain.max(*tail);
        }
    }
    (heads, tails)
}

/// What one link has to carry.
#[derive(Clone)]
struct Load {
    bytes: f64,
    head: SimDuration,
    tail: SimDuration,
}

fn busiest_link(
    graph: &TaskGraph,
    capacities: &[Bandwidth],
    heads: &[SimDuration],
    tails: &[SimDuration],
) -> Option<(LinkId, SimDuration)> {
    let mut loads: Vec<Option<Load>> = vec![None; capacities.len()];
    for id in graph.ids() {
        let Work::Transfer { path, bytes } = graph.task(id).work else {
            continue;
        };
        if bytes.get() == 0 {
            continue;
        }
        let path = graph.path(path);
        let (head, tail) = (heads[id.index()] + path.latency, tails[id.index()]);
        for &(link, weight) in &path.shares {
            let bytes = weight * bytes.as_f64();
            let load = loads[link.index()].get_or_insert(Load {
                bytes: 0.0,
                head,
                tail,
            });
            load.bytes += bytes;
            load.head = load.head.min(head);
            load.tail = load.tail.min(tail);
        }
    }
    let bounds = loads.iter().enumerate().filter_map(|(index, load)| {
        let Load { bytes, head, tail } = load.as_ref()?;
        let time = round_down(bytes * 1e12 / capacities[index].as_f64());
        Some((LinkId::new(index), *head + time + *tail))
    });
    bounds.max_by_key(|&(link, bound)| (bound, std::cmp::Reverse(link)))
}

fn busiest_stream(
    graph: &TaskGraph,
    least: &[SimDuration],
) -> Option<(DeviceId, Stream, SimDuration)> {
    let mut loads: Vec<[SimDuration; Stream::ALL.len()]> = Vec::new();
    for (task, &duration) in graph.tasks().iter().zip(least) {
        let device = task.device.index();
        if loads.len() <= device {
            loads.resize(device + 1, [SimDuration::ZERO; Stream::ALL.len()]);
        }
        loads[device][task.stream as usize] += duration;
    }
    let streams = loads.iter().enumerate().flat_map(|(device, streams)| {
        let load = move |(&stream, &load)| (DeviceId::new(device), stream, load);
        Stream::ALL.iter().zip(streams).map(load)
    });
    streams.max_by_key(|&(device, stream, load)| (load, std::cmp::Reverse((device, stream))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::Path;
    use crate::testing::{busy, ps, transfer};

    /// One byte per picosecond.
    const CAPACITIES: [Bandwidth; 1] = [Bandwidth::new(1_000_000_000_000)];

    #[test]
    fn a_chain_is_bound_by_itself_and_both_bounds_meet() {
        // busy 5, latency 7 + 100 bytes, busy 3: 115; serial the same and 1 ps for the rounding.
        let mut graph = TaskGraph::new();
        let path = graph.intern(Path::single(ps(7), &[LinkId::new(0)]));
        let a = graph.push(busy(0, 5), &[]);
        let b = graph.push(transfer(0, path, 100), &[a]);
        graph.push(busy(0, 3), &[b]);
        let bounds = bounds(&graph, &CAPACITIES).unwrap();
        assert_eq!((bounds.lower, bounds.upper), (ps(115), ps(116)));
        let (compute, communication) = (ps(8), ps(107));
        assert!(communication > compute);
        let stream = (DeviceId::new(0), Stream::Communication, communication);
        assert_eq!(bounds.busiest_stream, Some(stream));
    }

    #[test]
    fn a_shared_link_bounds_more_than_any_chain() {
        // Four transfers of 100 bytes after 5 of work each and with latency 7, and 3 of work after
        // each: a chain is 5 + 107 + 3 = 115; the link needs 5 + 7 + 400 + 3 = 415, which the run takes.
        let mut graph = TaskGraph::new();
        let path = graph.intern(Path::single(ps(7), &[LinkId::new(0)]));
        for device in 0..4 {
            let a = graph.push(busy(device, 5), &[]);
            let b = graph.push(transfer(device, path, 100), &[a]);
            graph.push(busy(device, 3), &[b]);
        }
        let bounds = bounds(&graph, &CAPACITIES).unwrap();
        assert_eq!(bounds.critical_path, ps(115));
        assert_eq!(bounds.busiest_link, Some((LinkId::new(0), ps(415))));
        assert_eq!(bounds.lower, ps(415));
        let outcome = engine::run(&graph, &CAPACITIES).unwrap();
        assert_eq!(outcome.makespan(), ps(415));
    }

    #[test]
    fn where_there_is_no_run_there_are_no_bounds() {
        let mut graph = TaskGraph::new();
        let path = graph.intern(Path::single(ps(7), &[LinkId::new(0)]));
        graph.push(transfer(0, path, 100), &[]);
        let error = bounds(&graph, &[Bandwidth::ZERO]).unwrap_err();
        assert!(matches!(error, RunError::Stalled { .. }), "{error}");
        let error = bounds(&graph, &[]).unwrap_err();
        assert!(matches!(error, RunError::UnknownLink { .. }), "{error}");
    }

    #[test]
    fn an_empty_graph_takes_no_time() {
        let bounds = bounds(&TaskGraph::new(), &CAPACITIES).unwrap();
        assert_eq!((bounds.lower, bounds.upper), (ps(0), ps(0)));
        assert_eq!((bounds.busiest_link, bounds.busiest_stream), (None, None));
    }
}
