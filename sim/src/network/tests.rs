//! The algebra of each case stands above its numbers. Capacities are in bytes per second; with
//! 1e12 B/s a byte takes one picosecond, so that times are counts of bytes.

use super::*;
use crate::engine::{Outcome, run};
use crate::graph::{TaskGraph, TaskId};
use crate::testing::{busy, ps, transfer};

/// One byte per picosecond.
const BYTE_PER_PS: u64 = 1_000_000_000_000;

fn link(index: usize) -> LinkId {
    LinkId::new(index)
}

fn capacities(bytes_per_ps: &[u64]) -> Vec<Bandwidth> {
    let per_second = |&count: &u64| Bandwidth::new(count * BYTE_PER_PS);
    bytes_per_ps.iter().map(per_second).collect()
}

fn ends(outcome: &Outcome) -> Vec<u64> {
    outcome.end.iter().map(|end| end.as_ps()).collect()
}

/// Runs transfers that all begin at once; each is its path's (links, bytes).
fn at_once(transfers: &[(&[usize], u64)], bytes_per_ps: &[u64]) -> Vec<u64> {
    let mut graph = TaskGraph::new();
    for &(links, bytes) in transfers {
        let links: Vec<LinkId> = links.iter().map(|&index| link(index)).collect();
        let path = graph.intern(Path::single(SimDuration::ZERO, &links));
        graph.push(transfer(0, path, bytes), &[]);
    }
    ends(&run(&graph, &capacities(bytes_per_ps)).unwrap())
}

#[test]
fn one_flow_takes_latency_and_bytes_over_the_narrowest_link() {
    // 7 + 600 / min(3, 2, 5) = 307.
    let mut graph = TaskGraph::new();
    let path = graph.intern(Path::single(ps(7), &[link(0), link(1), link(2)]));
    graph.push(transfer(0, path, 600), &[]);
    let outcome = run(&graph, &capacities(&[3, 2, 5])).unwrap();
    assert_eq!(ends(&outcome), [307]);
    assert_eq!((outcome.events, outcome.solves), (2, 1));
}

#[test]
fn a_finish_rounds_up() {
    // 10 bytes at 3 bytes/ps: 3.33 ps.
    assert_eq!(at_once(&[(&[0], 10)], &[3]), [4]);
}

#[test]
fn a_dumbbell_shares_its_middle_equally() {
    // Three flows a -> b over private links of 9 and a middle link of 6: 2 each.
    // The shorter ones, 100 and 200 bytes: t1 = 100/2 = 50; then 3 each: (200 - 100)/3 = 33.3, so
    // the second ends at 83.33 -> 84; the third has 400 - 100 - 100 - 0.67 * 3 = 198 left at 84,
    // alone at 6: 33 more, 117.
    let flows: [(&[usize], u64); 3] = [(&[1, 0], 100), (&[2, 0], 200), (&[3, 0], 400)];
    assert_eq!(at_once(&flows, &[6, 9, 9, 9]), [50, 84, 117]);
}

#[test]
fn a_flow_with_a_narrower_link_leaves_its_share_to_others() {
    // Shared up-link of 10; the first flow also crosses a link of 2. Filling: level 2 stops the
    // first; the second rises to 10 - 2 = 8. 200/2 = 100 and 800/8 = 100.
    assert_eq!(
        at_once(&[(&[0, 1], 200), (&[0], 800)], &[10, 2]),
        [100, 100]
    );
}

#[test]
fn levels_cascade() {
    // The classic of four flows: link 0 (3) carries a, b, c; link 1 (3) carries c, d.
    // Level 1 fills link 0: a = b = c = 1; then d = 3 - 1 = 2. All carry 60 bytes per unit rate.
    let flows: [(&[usize], u64); 4] = [(&[0], 60), (&[0], 60), (&[0, 1], 60), (&[1], 120)];
    assert_eq!(at_once(&flows, &[3, 3]), [60, 60, 60, 60]);
}

#[test]
fn a_cap_leaves_the_rest_to_the_other_flow() {
    // Link of 10, one flow capped at 1: 1 and 9. 100/1 = 100 and 900/9 = 100.
    let mut graph = TaskGraph::new();
    let open = Path::single(SimDuration::ZERO, &[link(0)]);
    let capped = Path {
        cap: Some(Bandwidth::new(BYTE_PER_PS)),
        ..open.clone()
    };
    let paths = [graph.intern(capped), graph.intern(open)];
    graph.push(transfer(0, paths[0], 100), &[]);
    graph.push(transfer(0, paths[1], 900), &[]);
    assert_eq!(ends(&run(&graph, &capacities(&[10])).unwrap()), [100, 100]);
}

#[test]
fn a_cap_alone_limits_too() {
    let mut graph = TaskGraph::new();
    let path = graph.intern(Path {
        latency: ps(5),
        shares: Vec::new(),
        cap: Some(Bandwidth::new(4 * BYTE_PER_PS)),
    });
    graph.push(transfer(0, path, 400), &[]);
    assert_eq!(ends(&run(&graph, &[]).unwrap()), [105]);
}

#[test]
fn a_bundle_is_as_many_flows_as_its_weight() {
    // Link of 8: a bundle of 3 flows and a single one: r = 8 / (3 + 1) = 2 for each flow.
    // 100 bytes per flow take 50; exactly as four single flows do.
    let mut graph = TaskGraph::new();
    let bundle = graph.intern(Path {
        latency: SimDuration::ZERO,
        shares: vec![(link(0), 3.0)],
        cap: None,
    });
    let single = graph.intern(Path::single(SimDuration::ZERO, &[link(0)]));
    graph.push(transfer(0, bundle, 100), &[]);
    graph.push(transfer(0, single, 100), &[]);
    assert_eq!(ends(&run(&graph, &capacities(&[8])).unwrap()), [50, 50]);
    let four: [(&[usize], u64); 4] = [(&[0], 100); 4];
    assert_eq!(at_once(&four, &[8]), [50; 4]);
}

#[test]
fn a_late_flow_takes_its_share_from_then_on() {
    // Link of 2. a (300 bytes) alone until 50: 100 moved. b (100 bytes) enters at 40 + 10 latency;
    // both at 1: b ends at 150; a has 100 left, alone at 2: 200.
    let mut graph = TaskGraph::new();
    let now = graph.intern(Path::single(SimDuration::ZERO, &[link(0)]));
    let later = graph.intern(Path::single(ps(10), &[link(0)]));
    graph.push(transfer(0, now, 300), &[]);
    let wait = graph.push(busy(1, 40), &[]);
    graph.push(transfer(1, later, 100), &[wait]);
    let outcome = run(&graph, &capacities(&[2])).unwrap();
    assert_eq!(ends(&outcome), [200, 40, 150]);
}

#[test]
fn a_ring_all_gather_takes_its_closed_form() {
    // n ranks, each passes a shard of s bytes to its successor n - 1 times over links of rate c
    // with latency a: (n - 1)(a + s/c) = 7 (20 + 1000/4) = 1890. Each round begins at one instant and
    // ends at one, which touches no other: a solve each, and 2 events per transfer.
    let n = 8;
    let mut graph = TaskGraph::new();
    let mut held: Vec<Option<TaskId>> = vec![None; n];
    for _ in 1..n {
        let pass = |rank: usize| {
            let path = graph.intern(Path::single(ps(20), &[link(rank)]));
            let after: Vec<TaskId> = held[rank].into_iter().collect();
            Some(graph.push(transfer(rank, path, 1000), &after))
        };
        let mut passed: Vec<Option<TaskId>> = (0..n).map(pass).collect();
        passed.rotate_right(1);
        held = passed;
    }
    let outcome = run(&graph, &capacities(&[4; 8])).unwrap();
    assert_eq!(outcome.makespan(), ps(1890));
    assert_eq!((outcome.events, outcome.solves), (2 * 56, 7));
}

#[test]
fn an_all_to_all_on_a_star_is_bound_by_the_up_links() {
    // n ranks send b bytes to each other one over up-links and down-links of rate c: every link
    // carries n - 1 flows at c/(n - 1), all equal, so all end at (n - 1) b / c = 7 * 100 / 5 = 140.
    let n = 8;
    let mut flows = Vec::new();
    for from in 0..n {
        for to in (0..n).filter(|&to| to != from) {
            flows.push([from, n + to]);
        }
    }
    let flows: Vec<(&[usize], u64)> = flows.iter().map(|links| (&links[..], 100)).collect();
    assert_eq!(at_once(&flows, &[5; 16]), [140; 56]);
}

#[test]
fn equal_starts_and_equal_ends_are_one_solve_each() {
    let mut graph = TaskGraph::new();
    let path = graph.intern(Path::single(SimDuration::ZERO, &[link(0)]));
    for _ in 0..5 {
        graph.push(transfer(0, path, 100), &[]);
    }
    // One solve for five starts; the five ends empty the link and need none.
    assert_eq!(run(&graph, &capacities(&[5])).unwrap().solves, 1);
}

#[test]
fn only_what_changes_is_solved() {
    // Two links without a common flow: the second's flow ends in the midst of the first's, which
    // nobody looks at: one solve for the two entries.
    let mut graph = TaskGraph::new();
    for (index, bytes) in [(0, 1000), (1, 10)] {
        let path = graph.intern(Path::single(SimDuration::ZERO, &[link(index)]));
        graph.push(transfer(0, path, bytes), &[]);
    }
    let outcome = run(&graph, &capacities(&[1, 1])).unwrap();
    assert_eq!(ends(&outcome), [1000, 10]);
    assert_eq!((outcome.events, outcome.solves), (4, 1));
}

#[test]
fn nearly_whole_picoseconds_count_as_whole() {
    assert_eq!(round_up(0.0), ps(0));
    assert_eq!(round_up(1e-9), ps(1));
    assert_eq!(round_up(1e12 + 1e-4), ps(1_000_000_000_000));
    assert_eq!(round_up(1e12 + 0.01), ps(1_000_000_000_001));
    assert_eq!(round_up(2.5), ps(3));
}
