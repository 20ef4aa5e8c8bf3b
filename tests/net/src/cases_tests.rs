use std::collections::BTreeSet;

use super::*;
use crate::drawn::{CALIBRATED_ON, Extent, net, nets, of};
use crate::link::Queues;
use crate::machine::{self, Calibration};
use crate::program::Job;

const CALIBRATION: Calibration = Calibration {
    efficiency: 0.95,
    latency_us: 100.0,
};

fn all(extent: Extent) -> Vec<Case> {
    let of = |net| of(net, extent, CALIBRATION).unwrap();
    nets(extent).into_iter().flat_map(of).collect()
}

#[test]
fn the_full_extent_has_a_hundred_cases_of_eight_kinds() {
    let cases = all(Extent::Full);
    let kinds: BTreeSet<String> = cases.iter().map(Case::kind).collect();
    assert!(cases.len() >= 100, "{}", cases.len());
    assert!(kinds.len() >= 8, "{kinds:?}");
    assert_eq!(
        cases,
        all(Extent::Full),
        "the same seed draws the same cases"
    );
}

/// The machine file's efficiency and latency are those of the flow that calibrated: simulating that flow gives its
/// line back, 100 us + 1 MB / (0.95 x 20 MB/s) = 52,731.6 us.
#[test]
fn the_calibrated_flow_comes_out_as_measured() {
    let platform = machine::platform(CALIBRATED_ON, CALIBRATION).unwrap();
    let prepared = Prepared::new(&single(CALIBRATED_ON, 1_000_000), &platform).unwrap();
    let us = prepared.simulated(&platform).unwrap().as_us_f64();
    assert!((us - 52_731.579).abs() < 0.01, "{us}");
}

/// A ring of 4 at 40 MB/s: 3 blocks of 1 MB each way, 3 / 38 s, after a start and 3 hops.
#[test]
fn an_all_gather_takes_its_closed_form() {
    let net = net(4, 40, None, Queues::Fair);
    let platform = machine::platform(net, CALIBRATION).unwrap();
    let case = Case {
        net,
        what: What::Collective(CollectiveKind::AllGather, 4_000_000),
        flows: Vec::new(),
    };
    let prepared = Prepared::new(&case, &platform).unwrap();
    let us = prepared.simulated(&platform).unwrap().as_us_f64();
    let hop = 100.0 - 8.4;
    assert!((us - (8.4 + 3.0 * hop + 3e6 / 38.0)).abs() < 0.1, "{us}");
}

#[test]
fn flows_beside_a_case_never_make_it_faster() {
    for case in all(Extent::Quick) {
        let platform = machine::platform(case.net, CALIBRATION).unwrap();
        let time = |case: &Case| {
            let prepared = Prepared::new(case, &platform).unwrap();
            prepared.simulated(&platform).unwrap()
        };
        let alone = Case {
            flows: case.flows[..usize::from(case.is_flows())].to_vec(),
            ..case.clone()
        };
        assert!(time(&case) >= time(&alone), "{case:?}");
    }
}

/// Every rank waits only for jobs that it has before; what one rank sends, another receives.
#[test]
fn programs_wait_for_what_their_rank_does() {
    for case in all(Extent::Quick) {
        let platform = machine::platform(case.net, CALIBRATION).unwrap();
        let prepared = Prepared::new(&case, &platform).unwrap();
        let (mut sent, mut received) = (BTreeSet::new(), BTreeSet::new());
        for (rank, program) in (0..).zip(&prepared.programs) {
            let mut before = BTreeSet::new();
            for node in &program.nodes {
                assert!(
                    node.after.iter().all(|task| before.contains(task)),
                    "{node:?}"
                );
                assert!(before.insert(node.task), "{node:?}");
                match node.job {
                    Job::Send { to, .. } => drop(sent.insert((node.task, rank, to))),
                    Job::Receive { from } => drop(received.insert((node.task, from, rank))),
                    _ => {}
                }
            }
        }
        assert_eq!(sent, received);
    }
}

/// All ranks meet in the same collectives in the same order: none can wait for another forever.
#[test]
fn ranks_meet_in_the_same_order() {
    for case in all(Extent::Quick) {
        let platform = machine::platform(case.net, CALIBRATION).unwrap();
        let prepared = Prepared::new(&case, &platform).unwrap();
        let meetings = |rank: u32, with: u32| -> Vec<u32> {
            let nodes = prepared.programs[rank as usize].nodes.iter();
            let both = nodes.filter(|node| {
                matches!(&node.job, Job::Collective { group, .. }
                    if group.contains(&rank) && group.contains(&with))
            });
            both.map(|node| node.task).collect()
        };
        for rank in 0..case.net.hosts {
            for with in 0..case.net.hosts {
                assert_eq!(meetings(rank, with), meetings(with, rank), "{case:?}");
            }
        }
    }
}

/// Rings go around the hosts in their own order, as the workers' do: hosts of one switch are neighbours.
#[test]
fn the_simulated_ring_is_the_workers() {
    use sim::collective::{Group, Hop, HopKind};
    for net in nets(Extent::Full) {
        let platform = machine::platform(net, CALIBRATION).unwrap();
        let machine = platform.machine().unwrap();
        let hop = |from, to| {
            let route = machine.route(DeviceId::new(from), DeviceId::new(to));
            Hop {
                wire: None,
                links: route.links.clone(),
                latency: route.latency,
                kind: HopKind::Network,
            }
        };
        let group = Group::new(net.hosts as usize, &platform.effective, hop);
        let own: Vec<usize> = (0..net.hosts as usize).collect();
        assert_eq!(group.ring_order(), own, "{net}");
    }
}

/// Stage 0 sends to stage 1 while a flow of the same way does: both get half of the link.
#[test]
fn a_flow_beside_a_pipeline_slows_it() {
    let net = net(2, 20, None, Queues::Fair);
    let platform = machine::platform(net, CALIBRATION).unwrap();
    let dit = Dit {
        plan: "pipefusion2(m2) warmup=1".to_owned(),
        hidden: 512,
        steps: 3,
        pace: 1.0,
    };
    let time = |flows| {
        let what = What::Pipeline(dit.clone());
        let prepared = Prepared::new(&Case { net, what, flows }, &platform).unwrap();
        prepared.simulated(&platform).unwrap().as_secs_f64()
    };
    let flow = Flow {
        from: 0,
        to: 1,
        bytes: 1_000_000_000,
    };
    let (alone, beside) = (time(Vec::new()), time(vec![flow]));
    // 1 MB goes that way in each step, at 9.5 MB/s instead of 19. In warm-up everyone waits for it; later steps
    // may hide it behind work on other patches.
    let longer = 1024.0 * 512.0 * 2.0 / 19e6;
    assert!(beside > alone + 0.99 * longer, "{alone} {beside} {longer}");
    assert!(beside < alone + 3.01 * longer, "{alone} {beside} {longer}");
}
