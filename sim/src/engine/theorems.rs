//! What must hold of any run, on random graphs.
//!
//! Not among them: "more capacity is never slower". With several links and an order of tasks it is
//! false, as for list schedules (Graham 1969): a faster first transfer may meet a third one on a
//! link that it used to leave to it. It is tested where it does hold: where no link is shared.

use proptest::prelude::*;

use super::*;
use crate::bounds::bounds;
use crate::graph::{Path, Task};
use crate::testing::{Case, Numbers, Size, busy, join, ps, random, transfer};

fn sizes() -> impl Strategy<Value = Size> {
    (1..250_usize, 1..6_usize, 1..10_usize, 1..12_usize).prop_map(
        |(tasks, devices, links, paths)| Size {
            tasks,
            devices,
            links,
            paths,
        },
    )
}

/// The graph rebuilt with every task and path changed by the functions given.
fn rebuilt(
    graph: &TaskGraph,
    path: impl Fn(&Path) -> Path,
    task: impl Fn(Task) -> Task,
) -> TaskGraph {
    let mut copy = TaskGraph::new();
    for id in graph.ids() {
        let mut task = task(*graph.task(id));
        if let Work::Transfer { path: new, .. } | Work::Timed { path: new, .. } = &mut task.work {
            *new = copy.intern(path(graph.path(*new)));
        }
        copy.push(task, graph.predecessors(id));
    }
    copy
}

fn doubled(rate: Bandwidth) -> Bandwidth {
    rate * 2
}

/// Each transfer gets a link of its own, of the rate it would have alone.
fn without_sharing(case: &Case) -> Case {
    let mut graph = TaskGraph::new();
    let mut capacities = Vec::new();
    for id in case.graph.ids() {
        let mut task = *case.graph.task(id);
        if let Work::Transfer { path, .. } | Work::Timed { path, .. } = &mut task.work {
            let latency = case.graph.path(*path).latency;
            let link = LinkId::new(capacities.len());
            *path = graph.intern(Path::single(latency, &[link]));
            capacities.push(case.capacities[id.index() % case.capacities.len()]);
        }
        graph.push(task, case.graph.predecessors(id));
    }
    Case { graph, capacities }
}

proptest! {
    #[test]
    fn a_run_lies_between_its_bounds(seed: u64, size in sizes()) {
        let Case { graph, capacities } = random(seed, size);
        let makespan = run(&graph, &capacities).unwrap().makespan();
        let bounds = bounds(&graph, &capacities).unwrap();
        prop_assert!(bounds.lower <= makespan, "{bounds:?} {makespan:?}");
        prop_assert!(makespan <= bounds.upper, "{bounds:?} {makespan:?}");
    }

    #[test]
    fn a_task_starts_when_its_last_predecessor_ends(seed: u64, size in sizes()) {
        let Case { graph, capacities } = random(seed, size);
        let outcome = run(&graph, &capacities).unwrap();
        for id in graph.ids() {
            let ends = graph.predecessors(id).iter().map(|p| outcome.end[p.index()]);
            prop_assert_eq!(outcome.start[id.index()], ends.max().unwrap_or(SimTime::ZERO));
            let took = outcome.end[id.index()].since(outcome.start[id.index()]);
            match graph.task(id).work {
                Work::Busy(time) | Work::Timed { time, .. } => prop_assert_eq!(took, time),
                Work::Join => prop_assert_eq!(took, ps(0)),
                Work::Transfer { path, bytes } => {
                    let alone = crate::network::ps_alone(graph.path(path), bytes, &capacities);
                    let latency = graph.path(path).latency;
                    prop_assert!(took.as_f64() + 1e-3 >= latency.as_f64() + alone * (1.0 - 1e-12));
                }
            }
        }
    }

    #[test]
    fn a_critical_path_adds_up_to_the_run(seed: u64, size in sizes()) {
        let Case { graph, capacities } = random(seed, size);
        let outcome = run(&graph, &capacities).unwrap();
        let classes = crate::outcome::critical_path_by_class(&graph, &outcome);
        let sum: SimDuration = classes.into_iter().map(|(_, time)| time).sum();
        prop_assert_eq!(sum, outcome.makespan());
        for device in crate::outcome::device_use(&graph, &outcome) {
            let parts = [device.compute, device.launch, device.codec, device.waiting];
            prop_assert_eq!(parts.into_iter().sum::<SimDuration>(), outcome.makespan());
        }
        let names = vec![String::new(); capacities.len()];
        let timeline = crate::outcome::timeline(&graph, &outcome, &names, String::new());
        let last = timeline.end().since(SimTime::ZERO);
        prop_assert_eq!(last, outcome.makespan());
    }

    /// Twice the bytes at twice the rates: a power of two is exact in binary, so to the bit.
    #[test]
    fn doubled_bytes_at_doubled_rates_change_nothing(seed: u64, size in sizes()) {
        let Case { graph, capacities } = random(seed, size);
        let path = |path: &Path| Path { cap: path.cap.map(doubled), ..path.clone() };
        let task = |mut task: Task| {
            if let Work::Transfer { bytes, .. } = &mut task.work {
                *bytes = *bytes * 2;
            }
            task
        };
        let twice = rebuilt(&graph, path, task);
        let fast: Vec<Bandwidth> = capacities.iter().copied().map(doubled).collect();
        prop_assert_eq!(run(&twice, &fast), run(&graph, &capacities));
    }

    /// Without sharing a run is a longest chain, and a longest chain is monotone in its parts.
    #[test]
    fn without_sharing_more_capacity_is_never_slower(seed: u64, size in sizes()) {
        let case = without_sharing(&random(seed, size));
        let slow = run(&case.graph, &case.capacities).unwrap();
        let mut capacities = case.capacities.clone();
        if let Some(link) = capacities.get_mut(seed as usize % case.capacities.len().max(1)) {
            *link = doubled(*link);
        }
        let fast = run(&case.graph, &capacities).unwrap();
        prop_assert!(fast.end.iter().zip(&slow.end).all(|(fast, slow)| fast <= slow));
        // And then the bound is the run.
        let bounds = bounds(&case.graph, &case.capacities).unwrap();
        prop_assert_eq!(bounds.lower, slow.makespan());
    }

    #[test]
    fn an_idle_device_and_idle_links_change_nothing(seed: u64, size in sizes()) {
        let Case { graph, mut capacities } = random(seed, size);
        let before = run(&graph, &capacities).unwrap();
        let mut graph = graph;
        graph.push(join(size.devices), &[]);
        capacities.push(Bandwidth::ZERO);
        let after = run(&graph, &capacities).unwrap();
        prop_assert_eq!(&after.end[..before.end.len()], &before.end[..]);
        prop_assert_eq!(after.makespan(), before.makespan());
    }

    /// A transfer of nothing over a path without latency before every task is no wait at all.
    #[test]
    fn transfers_of_nothing_change_nothing(seed: u64, size in sizes()) {
        let Case { graph, capacities } = random(seed, size);
        let mut longer = TaskGraph::new();
        let nothing = longer.intern(Path::single(ps(0), &[LinkId::new(0)]));
        let mut new_ids: Vec<TaskId> = Vec::new();
        for id in graph.ids() {
            let mut task = *graph.task(id);
            if let Work::Transfer { path, .. } | Work::Timed { path, .. } = &mut task.work {
                *path = longer.intern(graph.path(*path).clone());
            }
            let after: Vec<TaskId> = graph.predecessors(id).iter().map(|p| new_ids[p.index()]).collect();
            let before = longer.push(transfer(0, nothing, 0), &after);
            new_ids.push(longer.push(task, &[before]));
        }
        let (short, long) = (run(&graph, &capacities).unwrap(), run(&longer, &capacities).unwrap());
        for (id, new) in graph.ids().zip(new_ids) {
            prop_assert_eq!(short.end[id.index()], long.end[new.index()]);
        }
    }

    /// A ring is the same from every rank: renaming the ranks renames the ends and no more.
    #[test]
    fn renaming_the_ranks_of_a_ring_changes_nothing(
        seed: u64,
        ranks in 2..9_usize,
        rounds in 1..5_usize,
        offset in 0..9_usize,
    ) {
        let ends = |rotate: usize| {
            let mut numbers = Numbers::new(seed);
            let mut graph = TaskGraph::new();
            let mut held: Vec<Vec<TaskId>> = vec![Vec::new(); ranks];
            for _ in 0..rounds {
                let (work, bytes) = (numbers.below(100_000) as u64, numbers.below(100_000) as u64);
                let mut passed = held.clone();
                for position in 0..ranks {
                    let rank = (position + rotate) % ranks;
                    let next = (rank + 1) % ranks;
                    let path = graph.intern(Path::single(ps(50), &[LinkId::new(rank), LinkId::new(ranks + next), LinkId::new(2 * ranks)]));
                    let sent = graph.push(transfer(rank, path, bytes), &held[rank]);
                    let computed = graph.push(busy(rank, work), &held[rank]);
                    passed[rank] = vec![computed];
                    passed[next].push(sent);
                }
                held = passed;
            }
            let capacities = vec![Bandwidth::new(7_000_000_000); 2 * ranks + 1];
            let outcome = run(&graph, &capacities).unwrap();
            let mut ends = outcome.end;
            ends.sort_unstable();
            ends
        };
        prop_assert_eq!(ends(0), ends(offset % ranks));
    }
}
