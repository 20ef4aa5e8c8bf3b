//! Closed forms of collectives on small machines.

use topologies::{Bandwidth, Bytes, CollectiveKind, LinkId, SimDuration};

use super::decompose::{Bundle, Group, Hop, HopKind, Protocol, flow_bytes};

const GB: u64 = 1_000_000_000;

fn hop(links: &[usize], kind: HopKind) -> Hop {
    Hop {
        links: links.iter().map(|link| LinkId::new(*link)).collect(),
        latency: SimDuration::ZERO,
        kind,
        wire: None,
    }
}

/// n ranks around a switch: link `rank` goes up, link `n + rank` comes down.
fn star(n: usize, effective: &[Bandwidth]) -> Group<'_> {
    Group::new(n, effective, |from, to| {
        hop(&[from, n + to], HopKind::NvLink)
    })
}

/// n ranks on two sockets, even ranks on the first: links 0..n up, n..2n down, 2n the link between
/// the sockets one way, 2n + 1 the other way.
fn dual_socket(n: usize, effective: &[Bandwidth]) -> Group<'_> {
    Group::new(n, effective, |from, to| match (from % 2, to % 2) {
        (0, 1) => hop(&[from, 2 * n, n + to], HopKind::Pcie),
        (1, 0) => hop(&[from, 2 * n + 1, n + to], HopKind::Pcie),
        _ => hop(&[from, n + to], HopKind::Pcie),
    })
}

fn rates(links: usize, rate: u64) -> Vec<Bandwidth> {
    vec![Bandwidth::new(rate * GB); links]
}

fn weight(bundle: &Bundle, link: usize) -> f64 {
    let found = bundle
        .shares
        .iter()
        .find(|share| share.0 == LinkId::new(link));
    found.map_or(0.0, |share| share.1)
}

#[test]
fn ring_all_gather_takes_its_closed_form() {
    // Simple: 8.4 + 7·3.4 us, then 7/8 · 8 GB at 100 GB/s = 70 ms.
    let effective = rates(16, 100);
    let whole = star(8, &effective).decompose(CollectiveKind::AllGather, Bytes::new(8 * GB));
    assert_eq!(whole.protocol, Protocol::Simple);
    assert_eq!(
        whole.time,
        SimDuration::from_us_f64(8.4 + 7.0 * 3.4 + 70_000.0)
    );
    assert_eq!(whole.bundle.latency, SimDuration::new(32_200_000));
}

#[test]
fn small_messages_take_the_low_latency_protocol() {
    // LL: 6.6 + 7·0.6 = 10.8 us; H100 measures 10.5.
    let effective = rates(16, 350);
    let small = star(8, &effective).decompose(CollectiveKind::AllGather, Bytes::new(512));
    assert_eq!(small.protocol, Protocol::Ll);
    assert!((small.time.as_us_f64() - 10.8).abs() < 0.01);
}

#[test]
fn all_to_all_on_a_star_loads_every_link_with_n_less_one_flows() {
    // Each up-link carries n-1 flows of S/n: (n-1)/n·S/B.
    let effective = rates(8, 10);
    let all = star(4, &effective).decompose(CollectiveKind::AllToAll, Bytes::new(4 * GB));
    assert_eq!(all.bundle.bytes, Bytes::new(GB));
    assert!(all.bundle.shares.iter().all(|share| share.1 == 3.0));
    assert_eq!(all.time, SimDuration::from_us_f64(8.4 + 3.4 + 300_000.0));
}

#[test]
fn the_cross_socket_link_carries_exactly_the_pairs_that_cross() {
    // 8 ranks, 4 on each socket: 16 ordered pairs each way; a ring crosses once each way.
    let mut effective = rates(18, 25);
    effective[16] = Bandwidth::new(10 * GB);
    effective[17] = Bandwidth::new(10 * GB);
    let group = dual_socket(8, &effective);
    let all = group.decompose(CollectiveKind::AllToAll, Bytes::new(8 * GB));
    assert_eq!(
        (weight(&all.bundle, 16), weight(&all.bundle, 17)),
        (16.0, 16.0)
    );
    // 16 flows of 1 GB at 10 GB/s: 1.6 s.
    assert_eq!(all.time, SimDuration::from_us_f64(8.4 + 5.7 + 1_600_000.0));
    let ring = group.decompose(CollectiveKind::AllGather, Bytes::new(8 * GB));
    assert_eq!(
        (weight(&ring.bundle, 16), weight(&ring.bundle, 17)),
        (1.0, 1.0)
    );
    assert_eq!(ring.order, [0, 2, 4, 6, 1, 3, 5, 7]);
}

#[test]
fn payload_is_the_closed_form_of_the_collective() {
    // Sent by all ranks together: (n-1)·S, 2(n-1)·S, n(n-1)·S/n, n·S.
    let size = Bytes::new(840);
    for n in [2_u32, 3, 4, 5, 6, 7, 8] {
        let total = |kind, flows: u32| flow_bytes(kind, n, size).get() * u64::from(flows);
        let less = u64::from(n - 1);
        assert_eq!(total(CollectiveKind::AllGather, n), less * 840);
        assert_eq!(total(CollectiveKind::ReduceScatter, n), less * 840);
        assert_eq!(total(CollectiveKind::AllReduce, n), 2 * less * 840);
        assert_eq!(total(CollectiveKind::AllToAll, n * (n - 1)), less * 840);
        assert_eq!(total(CollectiveKind::RingPass, n), u64::from(n) * 840);
    }
}

#[test]
fn doubling_every_link_never_slows() {
    for kind in [
        CollectiveKind::AllGather,
        CollectiveKind::AllReduce,
        CollectiveKind::AllToAll,
        CollectiveKind::RingPass,
    ] {
        for power in 9..30 {
            let size = Bytes::new(1 << power);
            let (slow, fast) = (rates(18, 12), rates(18, 24));
            let slow = dual_socket(8, &slow).decompose(kind, size).time;
            assert!(dual_socket(8, &fast).decompose(kind, size).time <= slow);
        }
    }
}
