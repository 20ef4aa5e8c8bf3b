use super::*;
use crate::graph::{Path, Task};
use crate::testing::{busy, ps, transfer};

const LINK: LinkId = LinkId::new(0);

#[test]
fn a_diamond_ends_with_its_longest_side() {
    //  a(5) ─▶ b(7) ─▶ d(1)      a: 0..5, b: 5..12, c: 5..8, d: 12..13.
    //      └─▶ c(3) ──┘
    let mut graph = TaskGraph::new();
    let a = graph.push(busy(0, 5), &[]);
    let b = graph.push(busy(0, 7), &[a]);
    let c = graph.push(busy(1, 3), &[a]);
    graph.push(busy(0, 1), &[b, c]);
    let outcome = run(&graph, &[]).unwrap();
    assert_eq!(outcome.start, [0, 5, 5, 12].map(SimTime::from_ps));
    assert_eq!(outcome.end, [5, 12, 8, 13].map(SimTime::from_ps));
    assert_eq!(outcome.makespan(), ps(13));
    assert_eq!(outcome.events, 0);
}

#[test]
fn an_empty_graph_takes_no_time() {
    assert_eq!(run(&TaskGraph::new(), &[]).unwrap().makespan(), ps(0));
}

#[test]
fn a_predecessor_named_twice_counts_once() {
    let mut graph = TaskGraph::new();
    let a = graph.push(busy(0, 5), &[]);
    graph.push(busy(0, 5), &[a, a]);
    assert_eq!(run(&graph, &[]).unwrap().makespan(), ps(10));
}

#[test]
fn zero_bytes_take_the_latency_and_no_event() {
    let mut graph = TaskGraph::new();
    let path = graph.intern(Path::single(ps(9), &[LINK]));
    graph.push(transfer(0, path, 0), &[]);
    // A capacity of zero does not matter to nothing.
    let outcome = run(&graph, &[Bandwidth::ZERO]).unwrap();
    assert_eq!((outcome.makespan(), outcome.events), (ps(9), 0));
}

#[test]
fn a_path_that_nothing_limits_takes_the_latency() {
    let mut graph = TaskGraph::new();
    let path = graph.intern(Path::single(ps(9), &[]));
    graph.push(transfer(0, path, 1 << 40), &[]);
    assert_eq!(run(&graph, &[]).unwrap().makespan(), ps(9));
}

#[test]
fn a_transfer_without_end_is_an_error_that_says_who_waits_for_what() {
    let mut graph = TaskGraph::new();
    let path = graph.intern(Path::single(ps(9), &[LINK]));
    let first = graph.push(busy(0, 5), &[]);
    let stalled = graph.push(transfer(2, path, 4096), &[first]);
    graph.push(
        Task {
            work: Work::Join,
            ..busy(0, 0)
        },
        &[stalled],
    );
    let error = run(&graph, &[Bandwidth::ZERO]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "task1 (4.096 kB from gpu2) waits for link0, whose capacity is zero; 2 tasks cannot end: \
         route around the link or give it a capacity"
    );
}

#[test]
fn a_link_without_a_capacity_is_an_error() {
    let mut graph = TaskGraph::new();
    let path = graph.intern(Path::single(ps(9), &[LinkId::new(1)]));
    let error = run(&graph, &[Bandwidth::new(1)]).unwrap_err();
    let link = LinkId::new(1);
    assert_eq!(
        error,
        RunError::UnknownLink {
            path,
            link,
            links: 1
        }
    );
}

#[test]
fn equal_inputs_give_equal_outcomes() {
    let case = crate::testing::random(7, crate::testing::Size::default());
    let outcome = run(&case.graph, &case.capacities);
    assert_eq!(outcome, run(&case.graph, &case.capacities));
}
