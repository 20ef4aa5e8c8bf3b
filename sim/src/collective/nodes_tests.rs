//! Hand formulas, conservation of bytes, and published nccl-tests over nodes.

use topologies::{Bandwidth, Bytes, CollectiveKind, DeviceId, LinkId, Machine, SimDuration};

use super::*;
use crate::collective::{Hop, HopKind};
use crate::platform::{Platform, RateFactors, Timing};

const GB: u64 = 1_000_000_000;
const RINGS: Algorithm = Algorithm::Rings;

/// `nodes` nodes of `each` ranks with `cards` cards: ranks share NVLink ports inside, cards between.
#[derive(Clone, Copy)]
struct Cluster {
    nodes: usize,
    each: usize,
    cards: usize,
}

impl Cluster {
    fn ranks(self) -> usize {
        self.nodes * self.each
    }

    fn card(self, rank: usize) -> usize {
        rank / self.each * self.cards + rank % self.each % self.cards
    }

    /// The link out of a card.
    fn out(self, card: usize) -> LinkId {
        LinkId::new(2 * self.ranks() + card)
    }

    /// NVLink at 400 GB/s, cards at 50.
    fn rates(self) -> Vec<Bandwidth> {
        let ports = vec![Bandwidth::new(400 * GB); 2 * self.ranks()];
        let cards = vec![Bandwidth::new(50 * GB); 2 * self.nodes * self.cards];
        [ports, cards].concat()
    }

    fn group(self, rates: &[Bandwidth]) -> Group<'_> {
        Group::new(self.ranks(), rates, |from, to| {
            let inside = from / self.each == to / self.each;
            let into = self.out(self.nodes * self.cards + self.card(to));
            Hop {
                links: match inside {
                    true => vec![LinkId::new(from), LinkId::new(self.ranks() + to)],
                    false => vec![self.out(self.card(from)), into],
                },
                latency: SimDuration::ZERO,
                kind: if inside {
                    HopKind::NvLink
                } else {
                    HopKind::Network
                },
                wire: (!inside).then(|| self.out(self.card(from))),
            }
        })
    }
}

const TWO: Cluster = Cluster {
    nodes: 2,
    each: 8,
    cards: 8,
};

/// 8 GB over two nodes of eight with a card each: 16 ranks, cards of 50 GB/s, and a stage inside of 10 us and 4 ms.
#[test]
fn two_nodes_take_the_hand_formula() {
    let rates = TWO.rates();
    let group = TWO.group(&rates);
    let size = Bytes::new(8 * GB);
    let us = SimDuration::from_us_f64;
    let inside = Some(Inside {
        latency: us(10.0),
        time: us(4_000.0),
    });
    let time = |kind, algorithm| group.across(kind, algorithm, size, inside).time;
    use CollectiveKind::{AllGather, AllReduce, AllToAll, ReduceScatter, RingPass};
    // Simple: 14 us a network hop, 3.4 us for each of 7 hops inside the second node.
    let further = 14.0 + 7.0 * 3.4;
    // 15/16 · 8 GB / 8 cards / 50 GB/s.
    let gather = us(10.0 + further + 18_750.0);
    assert_eq!(time(AllGather, RINGS), gather);
    assert_eq!(time(ReduceScatter, RINGS), gather);
    assert_eq!(time(AllReduce, RINGS), us(10.0 + 2.0 * further + 37_500.0));
    // S / 8 cards / 50 GB/s; one level up and down.
    assert_eq!(
        time(AllReduce, Algorithm::SwitchTree),
        us(10.0 + 28.0 + 20_000.0)
    );
    // 8 of a rank's 16 parts leave by its card: 4 GB at 50 GB/s. The wire's 8.4 + 14 us are more than the inside's.
    assert_eq!(time(AllToAll, RINGS), us(22.4 + 80_000.0));
    assert_eq!(time(RingPass, RINGS), us(22.4 + 160_000.0));
    // A slow inside decides; its latency stands before it.
    let slow = Some(Inside {
        latency: us(10.0),
        time: us(30_000.0),
    });
    let slow = group.across(AllGather, RINGS, size, slow);
    assert!((slow.time.as_us_f64() / (10.0 + further + 30_000.0) - 1.0).abs() < 1e-8);
    // With one rank a node there is none.
    let pair = Cluster {
        each: 1,
        cards: 1,
        ..TWO
    };
    let rates = pair.rates();
    let pair = pair.group(&rates).across(AllGather, RINGS, size, None);
    assert_eq!(pair.time, us(8.4 + 14.0 + 80_000.0));
}

/// Without a measured stage the links inside count: rings through all cards at once.
#[test]
fn over_links_alone_all_cards_are_used() {
    let rates = TWO.rates();
    let whole = TWO
        .group(&rates)
        .decompose(CollectiveKind::AllGather, Bytes::new(8 * GB));
    // 14 hops inside and the network twice, less the longest; 18.75 ms as above, NVLink 7/8 · 7.5 GB / 400 GB/s.
    assert_eq!(
        whole.time,
        SimDuration::from_us_f64(8.4 + 14.0 * 3.4 + 14.0 + 18_750.0)
    );
    let ports = whole
        .bundle
        .shares
        .iter()
        .filter(|share| share.0.index() < 32);
    assert!(
        ports
            .clone()
            .all(|share| (share.1 - 7.0 / 8.0).abs() < 1e-12)
    );
    assert_eq!(ports.count(), 32);
}

fn clusters() -> impl Iterator<Item = Cluster> {
    let cards = |each: usize| (1..=each).filter(move |cards| each.is_multiple_of(*cards));
    (2..=5).flat_map(move |nodes| {
        [1, 2, 3, 4, 8]
            .into_iter()
            .flat_map(move |each| cards(each).map(move |cards| Cluster { nodes, each, cards }))
    })
}

/// What leaves a node is the closed form of the collective, however many cards carry it, each as much as the others.
#[test]
fn bytes_between_nodes_are_conserved() {
    let size = Bytes::new(840 * 1_000_000);
    for cluster in clusters() {
        let Cluster { nodes, each, cards } = cluster;
        let (rates, n) = (cluster.rates(), (nodes * each) as f64);
        let group = cluster.group(&rates);
        for (kind, expected) in [
            (CollectiveKind::AllGather, (n - 1.0) / n),
            (CollectiveKind::ReduceScatter, (n - 1.0) / n),
            (CollectiveKind::AllReduce, 2.0 * (n - 1.0) / n),
            (
                CollectiveKind::AllToAll,
                each as f64 * (n - each as f64) / n,
            ),
            (CollectiveKind::RingPass, 1.0),
        ] {
            let (shares, bytes) = group.wires(kind, RINGS, size);
            let sent = |card: usize| {
                let found = shares.iter().find(|share| share.0 == cluster.out(card));
                found.map_or(0.0, |share| share.1) * bytes.as_f64() / size.as_f64()
            };
            for node in 0..nodes {
                let of_node: Vec<f64> = (0..cards).map(|card| sent(node * cards + card)).collect();
                let total: f64 = of_node.iter().sum();
                assert!(
                    (total / expected - 1.0).abs() < 1e-6,
                    "{kind} {nodes}x{each}/{cards}: {total}"
                );
                let even = kind == CollectiveKind::RingPass
                    || of_node
                        .iter()
                        .all(|card| (card * cards as f64 / total - 1.0).abs() < 1e-9);
                assert!(even, "{kind} {nodes}x{each}/{cards}: {of_node:?}");
            }
        }
    }
}

/// Cards of one number meet, so that no ring climbs to the spine of a fabric with rails; of odd counts of nodes one
/// edge does.
#[test]
fn rings_visit_every_rank_and_stay_on_their_rails() {
    for cluster in clusters() {
        let Cluster { nodes, each, cards } = cluster;
        let rates = cluster.rates();
        let orders = cluster.group(&rates).orders(CollectiveKind::AllGather);
        assert_eq!(orders.len(), cards);
        for order in orders {
            let mut sorted = order.clone();
            sorted.sort_unstable();
            assert_eq!(sorted, (0..nodes * each).collect::<Vec<_>>());
            let edges = (0..order.len()).map(|at| (order[at], order[(at + 1) % order.len()]));
            let between = edges.filter(|(a, b)| a / each != b / each);
            let rail = |rank: usize| cluster.card(rank) % cards;
            let met: Vec<bool> = between.map(|(a, b)| rail(a) == rail(b)).collect();
            assert_eq!(met.len(), nodes);
            let missed = met.iter().filter(|met| !**met).count();
            assert!(missed <= nodes % 2, "{nodes}x{each}/{cards}: {order:?}");
        }
    }
}

/// Each tree joins all nodes, and who has children in one has none, or one at the edge, in the other.
#[test]
fn double_trees_span_the_nodes() {
    for nodes in 2..=33 {
        let edges = double_tree(nodes);
        assert_eq!(edges.len(), 2 * (nodes - 1));
        for tree in edges.chunks(nodes - 1) {
            let mut seen: Vec<usize> = tree.iter().map(|edge| edge.0).collect();
            seen.sort_unstable();
            seen.dedup();
            assert_eq!(seen.len(), nodes - 1, "each but the root has one parent");
            let mut above = tree.to_vec();
            for _ in 0..levels(nodes) {
                for edge in &mut above {
                    edge.1 = tree
                        .iter()
                        .find(|up| up.0 == edge.1)
                        .map_or(edge.1, |up| up.1);
                }
            }
            assert!(
                above.iter().all(|edge| edge.1 == above[0].1),
                "{nodes}: {tree:?}"
            );
        }
        let most = (0..nodes).map(|node| {
            edges
                .iter()
                .filter(|edge| edge.0 == node || edge.1 == node)
                .count()
        });
        assert!(most.max() <= Some(4), "{nodes}");
    }
}

fn machine(gpu: &str, system: &str, nodes: usize, card: &str) -> Machine {
    let names: Vec<String> = (0..8).map(|index| format!("\"plx{index}\"")).collect();
    let names = names.join(", ");
    let text = format!(
        "name = \"m\"\nnodes = {nodes}\nsockets = [\"root\"]\nnetworks = [\"net\"]\n[host]\nname = \"h\"\nsource = \"s\"\n\
         nccl_system = \"{system}\"\n[[pcie_switches]]\nname = \"plx\"\ncount = 8\nattach = \"root\"\nbandwidth = \"64 GB/s\"\n\
         [[gpus]]\nmodel = \"{gpu}\"\ncount = 1\nattach = [{names}]\n[nvlink]\nswitch = \"nvswitch\"\n\
         [[nics]]\nname = \"nic\"\nattach = [{names}]\nnetwork = \"net\"\nbandwidth = \"{card}\"\n[pcie]\nbandwidth = \"64 GB/s\"\n"
    );
    Machine::from_toml(&text, "m.toml").unwrap()
}

/// GPU, NCCL system, nodes, card; bytes and us.
type Log = (
    &'static str,
    &'static str,
    usize,
    &'static str,
    &'static [(u64, f64)],
);

/// All-reduce of nccl-tests over nodes, of public logs (bytes, us): none of these figures set a constant here.
///
/// Sources: aws-samples/awsome-distributed-training@7217859 (p5.48xlarge, 2 nodes, 3.2 Tbit/s EFA a node),
/// oracle-quickstart/oci-hpc-oke@61d210a (2 x 8 A100-40, 1.6 Tbit/s RoCE a node), stas00/ml-engineering@744d01e (B200).
#[test]
fn published_all_reduces_over_nodes_agree() {
    let logs: [Log; 2] = [
        (
            "H100-SXM",
            "h100_sxm",
            2,
            "400 Gbit/s",
            &[
                (1 << 30, 4607.6),
                (1 << 31, 9074.5),
                (1 << 32, 17_286.0),
                (1 << 33, 33_605.0),
                (1 << 34, 66_132.0),
            ],
        ),
        (
            "A100-40-SXM",
            "a100_sxm",
            2,
            "200 Gbit/s",
            &[
                (1 << 30, 10_887.4),
                (1 << 31, 21_511.7),
                (1 << 32, 42_747.7),
            ],
        ),
    ];
    for (gpu, system, nodes, card, rows) in logs {
        let machine = machine(gpu, system, nodes, card);
        let platform = Platform::of_machine(&machine).unwrap();
        let all: Vec<DeviceId> = machine.devices().collect();
        for (bytes, measured) in rows {
            let kind = CollectiveKind::AllReduce;
            let message = platform
                .message(kind, &all, Bytes::new(*bytes), &RateFactors::new())
                .unwrap();
            assert_eq!(message.timing, Timing::Shared);
            let error = message.time.as_us_f64() / measured - 1.0;
            println!(
                "{gpu} {bytes}: {:.0} us of {measured}, {:+.1} %",
                message.time.as_us_f64(),
                100.0 * error
            );
            assert!(error.abs() < 0.10, "{gpu} {bytes}: {error}");
        }
    }
}
