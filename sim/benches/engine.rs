//! Speed of the engine: `cargo bench -p sim --bench engine`.
//!
//! `hold` is the yardstick: a plain `BinaryHeap` that pops the earliest of 1000 events and pushes
//! one later (the hold model of Jones, CACM 1986). Compare items/s within one run.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use divan::counter::ItemsCount;
use divan::{Bencher, black_box};
use sim::engine::run;
use sim::graph::{Path, PathId, TaskGraph, TaskId};
use sim::testing::{Numbers, busy, join, ps, transfer};
use topologies::{Bandwidth, LinkId};

fn main() {
    divan::main();
}

const EVENTS: usize = 100_000;

/// The yardstick: 100,000 holds on a heap of 1000 events.
#[divan::bench]
fn hold(bencher: Bencher) {
    bencher.counter(ItemsCount::new(EVENTS)).bench(|| {
        let mut numbers = Numbers::new(1);
        let mut heap: BinaryHeap<Reverse<(u64, u64)>> = (0..1000)
            .map(|n| Reverse((numbers.below(1000) as u64, n)))
            .collect();
        for number in 0..EVENTS as u64 {
            let Reverse((at, _)) = heap.pop().expect("a hold leaves as many events");
            heap.push(Reverse((at + numbers.below(1000) as u64, number + 1000)));
        }
        heap.len()
    });
}

/// 1000 chains of 50 transfers on links of their own: 100,000 events, 1000 of them pending.
#[divan::bench]
fn hold_of_transfers(bencher: Bencher) {
    let mut numbers = Numbers::new(1);
    let mut graph = TaskGraph::new();
    for chain in 0..1000 {
        let path = graph.intern(Path::single(ps(1000), &[LinkId::new(chain)]));
        let mut last: Vec<TaskId> = Vec::new();
        for _ in 0..50 {
            let bytes = 1 + numbers.below(100_000) as u64;
            last = vec![graph.push(transfer(0, path, bytes), &last)];
        }
    }
    let capacities = vec![Bandwidth::new(64_000_000_000); 1000];
    let counted = bencher.counter(ItemsCount::new(EVENTS));
    counted.bench(|| run(black_box(&graph), &capacities));
}

/// 200,000 busy tasks and joins on 8 devices, up to three predecessors each.
#[divan::bench]
fn tasks_200k(bencher: Bencher) {
    let mut numbers = Numbers::new(1);
    let mut graph = TaskGraph::new();
    let mut ids: Vec<TaskId> = Vec::new();
    for index in 0..200_000 {
        let recent = ids.len().saturating_sub(64);
        let after: Vec<TaskId> = (0..3.min(ids.len()))
            .map(|_| ids[recent + numbers.below(ids.len() - recent)])
            .collect();
        let task = match index % 4 {
            0 => join(index % 8),
            _ => busy(index % 8, numbers.below(1_000_000) as u64),
        };
        ids.push(graph.push(task, &after));
    }
    let counted = bencher.counter(ItemsCount::new(graph.len()));
    counted.bench(|| run(black_box(&graph), &[]));
}

/// Components of `flows` transfers at once: an up-link and a down-link each, and a shared link.
fn flows(flows: usize, total: usize) -> (TaskGraph, Vec<Bandwidth>) {
    let mut numbers = Numbers::new(1);
    let mut graph = TaskGraph::new();
    let paths: Vec<PathId> = (0..flows)
        .map(|flow| {
            let links = [2 * flow, 2 * flow + 1, 2 * flows].map(LinkId::new);
            graph.intern(Path::single(ps(5000), &links))
        })
        .collect();
    let mut last: Vec<Vec<TaskId>> = vec![Vec::new(); flows];
    for index in 0..total {
        let flow = index % flows;
        let bytes = 100_000 + numbers.below(1_000_000) as u64;
        last[flow] = vec![graph.push(transfer(flow, paths[flow], bytes), &last[flow])];
    }
    (graph, vec![Bandwidth::new(64_000_000_000); 2 * flows + 1])
}

/// 100,000 transfers, none of which starts or ends together with another.
#[divan::bench(args = [8, 64])]
fn flows_100k(bencher: Bencher, at_once: usize) {
    let (graph, capacities) = flows(at_once, 100_000);
    let counted = bencher.counter(ItemsCount::new(graph.len()));
    counted.bench(|| run(black_box(&graph), &capacities));
}

/// 100,000 transfers of 8-rank all-to-all rounds (56 flows on a star), equal and so in step.
#[divan::bench]
fn all_to_all_100k(bencher: Bencher) {
    let mut graph = TaskGraph::new();
    let mut barrier: Vec<TaskId> = Vec::new();
    let mut count = 0_usize;
    while count < 100_000 {
        let mut round = Vec::new();
        for from in 0..8 {
            for to in (0..8).filter(|&to| to != from) {
                let links = [LinkId::new(from), LinkId::new(8 + to)];
                let path = graph.intern(Path::single(ps(5000), &links));
                round.push(graph.push(transfer(from, path, 1_000_000), &barrier));
                count += 1;
            }
        }
        barrier = vec![graph.push(join(0), &round)];
    }
    let capacities = vec![Bandwidth::new(64_000_000_000); 16];
    let counted = bencher.counter(ItemsCount::new(count));
    counted.bench(|| run(black_box(&graph), &capacities));
}
