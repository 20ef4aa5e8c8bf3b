//! What must hold of any network: after every solve the rates are the max-min fair ones, and over a
//! whole run each link has carried exactly the bytes of its transfers.

use proptest::prelude::*;

use super::*;
use crate::graph::Work;
use crate::testing::{Case, Numbers, Size, random};

/// A full link or equal rates, up to the rounding of a few sums.
const NEARLY: f64 = 1e-9;

/// The bundles under way.
fn active(network: &Network) -> impl Iterator<Item = (usize, &Bundle)> {
    let bundles = network.bundles.iter().enumerate();
    bundles.filter(|(slot, _)| !network.free.contains(&(*slot as u32)))
}

/// No link carries more than its capacity, no bundle goes faster than its cap, and each has a
/// bottleneck: its cap, or a full link on which no bundle is faster.
fn assert_max_min_fair(network: &Network) {
    let full = |link: &Link| {
        let weight = |slot: u32, on: usize| {
            let path = network.bundles[slot as usize].path;
            let shares = &network.shares[network.share_range(path)];
            shares
                .iter()
                .find(|share| share.0 as usize == on)
                .unwrap()
                .1
        };
        let on = network
            .links
            .iter()
            .position(|l| std::ptr::eq(l, link))
            .unwrap();
        let rates = link.bundles.iter();
        let used: f64 = rates
            .map(|&s| weight(s, on) * network.bundles[s as usize].rate)
            .sum();
        assert!(
            used <= link.capacity * (1.0 + NEARLY),
            "link{on} is overfull"
        );
        used >= link.capacity * (1.0 - NEARLY)
    };
    let full: Vec<bool> = network.links.iter().map(full).collect();
    for (slot, bundle) in active(network) {
        let cap = network.caps[bundle.path.index()];
        assert!(bundle.rate > 0.0 && bundle.rate <= cap, "bundle {slot}");
        let shares = &network.shares[network.share_range(bundle.path)];
        let bottleneck = shares.iter().any(|&(link, _)| {
            let fastest = network.links[link as usize].bundles.iter();
            let fastest = fastest
                .map(|&s| network.bundles[s as usize].rate)
                .fold(0.0, f64::max);
            full[link as usize] && bundle.rate >= fastest * (1.0 - NEARLY)
        });
        assert!(
            bottleneck || bundle.rate == cap,
            "bundle {slot} could be faster"
        );
    }
}

/// Lets the case's transfers enter at random moments and run to their ends.
fn run_and_check(case: &Case, numbers: &mut Numbers) {
    let transfers = case
        .graph
        .ids()
        .filter_map(|id| match case.graph.task(id).work {
            Work::Transfer { path, bytes } if bytes > Bytes::ZERO => Some((id, path, bytes)),
            _ => None,
        });
    let mut waiting: Vec<_> = transfers
        .map(|transfer| {
            (
                SimTime::from_ps(10_000 * numbers.below(2000) as u64),
                transfer,
            )
        })
        .collect();
    waiting.sort_by_key(|&(at, _)| std::cmp::Reverse(at));
    let total = waiting.len();
    let mut network = Network::new(case.graph.paths(), &case.capacities);
    let mut foreseen: Vec<(SimTime, Slot, TaskId)> = Vec::new();
    let mut carried = vec![0.0; case.capacities.len()];
    // What timed messages carry takes nothing from the network.
    for task in case.graph.tasks() {
        if let Work::Timed { path, bytes, .. } = task.work {
            for &(link, weight) in &case.graph.path(path).shares {
                carried[link.index()] += weight * bytes.as_f64();
            }
        }
    }
    let (mut now, mut ended) = (SimTime::ZERO, 0);
    while ended < total {
        let entry = waiting.last().map(|&(at, _)| at);
        let exit = foreseen.iter().map(|&(at, ..)| at).min();
        let next = entry.into_iter().chain(exit).min().expect("transfers end");
        for (_, bundle) in active(&network) {
            for &(link, weight) in &network.shares[network.share_range(bundle.path)] {
                carried[link as usize] += weight * bundle.rate * next.since(now).as_secs_f64();
            }
        }
        now = next;
        while waiting.last().is_some_and(|&(at, _)| at == now) {
            let (_, (id, path, bytes)) = waiting.pop().unwrap();
            network.enter(id, path, bytes);
        }
        let due = foreseen
            .extract_if(.., |&mut (at, ..)| at == now)
            .collect::<Vec<_>>();
        for (at, slot, task) in due {
            ended += usize::from(network.leave(slot, task, at));
        }
        network.solve(now, |at, slot, task| foreseen.push((at, slot, task)));
        assert_max_min_fair(&network);
    }
    let sums = crate::outcome::bytes_per_link(&case.graph, case.capacities.len());
    for ((carried, bytes), capacity) in carried.iter().zip(sums).zip(&case.capacities) {
        // Each end rounds up by at most 1 ps, during which at most a full link is wasted.
        let rounding = total as f64 * capacity.as_f64() * 1e-12 + 1e-9 * bytes.as_f64() + 1.0;
        let difference = (carried - bytes.as_f64()).abs();
        assert!(difference <= rounding, "carried {carried}, not {bytes}");
    }
}

proptest! {
    #[test]
    fn rates_are_max_min_fair_and_bytes_are_conserved(
        seed: u64,
        tasks in 1..120_usize,
        links in 1..12_usize,
        paths in 1..20_usize,
    ) {
        let case = random(seed, Size { tasks, devices: 4, links, paths });
        run_and_check(&case, &mut Numbers::new(seed));
    }
}
