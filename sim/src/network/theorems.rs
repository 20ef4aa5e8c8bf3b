//! What must hold of any network: after every solve the rates are the max-min fair ones, and over a
//! whole run each link has carried exactly the bytes of its transfers.

use proptest::prelude::*;

use super::*;
use crate::graph::Work;
use crate::testing::{Case, Numbers, Size, random};

/// A full link or equal rates, up to the rounding of a few sums.
const NEARLY: f64 = 1e-9;

/// The paths with transfers under way, and the rate of each in bytes/s.
fn active(network: &Network) -> impl Iterator<Item = (usize, f64)> {
    let classes = network.classes.iter().enumerate();
    let active = classes.filter(|(_, class)| class.count > 0);
    active.map(|(path, class)| (path, network.scale.bytes_per_second(class.rate)))
}

/// No link carries more than its capacity, no bundle goes faster than its cap, and each has a
/// bottleneck: its cap, or a full link on which no bundle is faster.
fn assert_max_min_fair(network: &Network, case: &Case) {
    let rates: Vec<(usize, f64)> = active(network).collect();
    let on = |link: usize| {
        rates.iter().filter_map(move |&(path, rate)| {
            let shares = &case.graph.paths()[path].shares;
            let share = shares.iter().find(|share| share.0.index() == link)?;
            let count = f64::from(network.classes[path].count);
            Some((rate, share.1 * count))
        })
    };
    let full = |link: usize| {
        let used: f64 = on(link).map(|(rate, weight)| rate * weight).sum();
        let capacity = case.capacities[link].as_f64();
        assert!(used <= capacity * (1.0 + NEARLY), "link{link} is overfull");
        used >= capacity * (1.0 - NEARLY)
    };
    let full: Vec<bool> = (0..case.capacities.len()).map(full).collect();
    for &(path, rate) in &rates {
        let Path { shares, cap, .. } = &case.graph.paths()[path];
        let cap = cap.map_or(f64::INFINITY, Bandwidth::as_f64);
        assert!(rate > 0.0 && rate <= cap, "path{path}");
        let bottleneck = shares.iter().any(|&(link, _)| {
            let fastest = on(link.index()).map(|(rate, _)| rate).fold(0.0, f64::max);
            full[link.index()] && rate >= fastest * (1.0 - NEARLY)
        });
        assert!(bottleneck || rate == cap, "path{path} could be faster");
    }
}

/// The rates are those of the plain filling, to the unit.
fn assert_plain(network: &Network) {
    network.filling.assert_sound();
    let plain = network.filling.plain_rates();
    let rates = (0..plain.len() as u32).map(|path| network.filling.rate(path));
    assert_eq!(rates.collect::<Vec<_>>(), plain);
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
        let next = entry.into_iter().chain(network.next_at()).min();
        let next = next.expect("transfers end");
        for (path, rate) in active(&network) {
            let flows = f64::from(network.classes[path].count);
            for &(link, weight) in &case.graph.paths()[path].shares {
                let seconds = next.since(now).as_secs_f64();
                carried[link.index()] += weight * flows * rate * seconds;
            }
        }
        now = next;
        while waiting.last().is_some_and(|&(at, _)| at == now) {
            let (_, (id, path, bytes)) = waiting.pop().unwrap();
            network.enter(now, id, path, bytes);
        }
        while network.leave(now).is_some() {
            ended += 1;
        }
        network.solve(now);
        assert_max_min_fair(&network, case);
        assert_plain(&network);
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
