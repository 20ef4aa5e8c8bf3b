//! The plain engine: no queue, no heap, no memory of rates. At every instant it finds all rates anew and
//! looks at every transfer. It says what [`run`] has to give, to the picosecond.

use proptest::prelude::*;

use super::*;
use crate::network::Plain;
use crate::testing::{Case, Size, random};

/// A transfer under way.
struct UnderWay {
    task: TaskId,
    path: PathId,
    left: u128,
}

/// Start and end of every task.
fn plain_run(graph: &TaskGraph, capacities: &[Bandwidth]) -> (Vec<SimTime>, Vec<SimTime>) {
    let plain = Plain::new(graph.paths(), capacities);
    let mut start = vec![None; graph.len()];
    let mut end: Vec<Option<SimTime>> = vec![None; graph.len()];
    let mut under_way: Vec<UnderWay> = Vec::new();
    let mut now = SimTime::ZERO;
    loop {
        let mut arrivals: Vec<(SimTime, TaskId, PathId, Bytes)> = Vec::new();
        for id in graph.ids() {
            let ends = graph.predecessors(id).iter().map(|p| end[p.index()]);
            let Some(ends) = ends.collect::<Option<Vec<SimTime>>>() else {
                continue;
            };
            let begin = ends.into_iter().max().unwrap_or(SimTime::ZERO);
            start[id.index()] = Some(begin);
            match graph.task(id).work {
                Work::Busy(time) | Work::Timed { time, .. } => end[id.index()] = Some(begin + time),
                Work::Join => end[id.index()] = Some(begin),
                Work::Transfer { path, bytes } if end[id.index()].is_none() => {
                    let at = begin + graph.path(path).latency;
                    if bytes == Bytes::ZERO || !plain.limits(path) {
                        end[id.index()] = Some(at);
                    } else if under_way.iter().all(|other| other.task != id) {
                        arrivals.push((at, id, path, bytes));
                    }
                }
                Work::Transfer { .. } => {}
            }
        }
        for &(_, task, path, bytes) in arrivals.iter().filter(|arrival| arrival.0 == now) {
            let left = plain.work(bytes);
            under_way.push(UnderWay { task, path, left });
        }
        let paths: Vec<PathId> = under_way.iter().map(|transfer| transfer.path).collect();
        let rates = plain.rates(&paths);
        let later = arrivals
            .iter()
            .map(|arrival| arrival.0)
            .filter(|&at| at > now);
        let ends = under_way.iter().zip(&rates);
        let ends = ends.map(|(transfer, &rate)| now + Plain::time(transfer.left, rate));
        let Some(next) = later.chain(ends).min() else {
            break;
        };
        for (transfer, rate) in under_way.iter_mut().zip(rates) {
            let served = u128::from(rate) * u128::from(next.since(now).get());
            transfer.left = transfer.left.saturating_sub(served);
            if transfer.left == 0 {
                end[transfer.task.index()] = Some(next);
            }
        }
        under_way.retain(|transfer| transfer.left > 0);
        now = next;
    }
    let all = |times: Vec<Option<SimTime>>| times.into_iter().collect::<Option<Vec<_>>>();
    (all(start).unwrap(), all(end).unwrap())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn a_run_is_the_plain_run_to_the_bit(
        seed: u64,
        tasks in 1..90_usize,
        devices in 1..6_usize,
        links in 1..12_usize,
        paths in 1..16_usize,
    ) {
        let Case { graph, capacities } = random(seed, Size { tasks, devices, links, paths });
        let outcome = run(&graph, &capacities).unwrap();
        let (start, end) = plain_run(&graph, &capacities);
        prop_assert_eq!(outcome.start, start);
        prop_assert_eq!(outcome.end, end);
    }
}
