//! Collectives over several nodes, as NCCL runs them: a stage inside the nodes, a stage over their network cards.
//!
//! ```text
//! node 0   0 1 2 3      a ring (channel) for each card: all ranks of a node, in by one card, out by another,
//!          │ │ │ │      the same ones on both ends, so that rails of a fabric do not meet:
//! node 1   4 5 6 7      channel 0: 1 2 3 0 | 4 7 6 5 | 1 ...
//! ```
//! With n ranks on N nodes, R cards used in each and S nccl-tests' size, a card carries one way
//!
//! | collective | bytes | network hops |
//! |---|---|---|
//! | all-gather, reduce-scatter | (n-1)/n·S/R | N-1 |
//! | all-reduce, rings | 2 (n-1)/n·S/R | 2 (N-1) |
//! | all-reduce, NVLink switches that sum (NVLS tree) | (sum of tree neighbours)/2·S/R, on 2 nodes S/R | 2 log2 N |
//! | all-to-all | (n-g)/n·S for each of its ranks, g of them in a node | 1 |
//! | ring pass | S for a rank whose successor is elsewhere | 1 |
//!
//! and, the stages being pipelined, `time = latency + max(inside, network)`. The stage inside is measured
//! ([`Inside`]) where its table or wiring is known; what it moves:
//!
//! | collective | asked of the g ranks of the fullest node |
//! |---|---|
//! | all-gather, reduce-scatter, all-reduce by rings | the size whose ring edges carry as much: S·(n-1)/n·g/(g-1) |
//! | all-reduce by a tree | S |
//! | all-to-all | S·g/n |
//! | ring pass | S |
//!
//! Source: NVIDIA/nccl `src/graph/{search,rings,trees,tuning}.cc` (channels by card, double binary trees, latency of hops).
//! Published all-reduces over two nodes are 8 % off at 1 GiB and 2 % from 4 GiB (2 x 8 H100), 3 % off (2 x 8 A100): a test,
//! and none of them set a constant.
//!
//! Guarantees: bytes over each card are the closed forms above; the bundle's uncontended time is `time`.
//!
//! Not modelled: trees without NVLS, whose latency is less for small messages; cards of other ranks' GPUs (PXN) when
//! a group uses a part of a node; congestion inside the fabric beyond its links' capacity.

use std::collections::BTreeMap;

use topologies::{Bandwidth, Bytes, CollectiveKind, LinkId, SimDuration};

use super::decompose::{Bundle, Group, Protocol, flow_bytes};

/// The stage inside the nodes, as it was measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Inside {
    /// Of the smallest message.
    pub latency: SimDuration,
    /// What the size adds.
    pub time: SimDuration,
}

/// How an all-reduce crosses nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// Rings through every card; all other collectives too.
    Rings,
    /// Sums in NVLink switches, a double binary tree over the nodes for each card.
    SwitchTree,
}

/// A collective over several nodes whose inside is known.
#[derive(Clone, Debug, PartialEq)]
pub struct Staged {
    /// The protocol taken.
    pub protocol: Protocol,
    /// The flows between nodes, at most as fast as the stage inside.
    pub bundle: Bundle,
    /// Time when nothing else uses the links.
    pub time: SimDuration,
}

/// The size that the ranks of the fullest node are asked for.
#[must_use]
pub fn size_inside(
    kind: CollectiveKind,
    algorithm: Algorithm,
    size: Bytes,
    (ranks, fullest): (usize, usize),
) -> Bytes {
    let (n, g) = (ranks as f64, fullest as f64);
    let share = match (kind, algorithm) {
        (CollectiveKind::AllReduce, Algorithm::SwitchTree) | (CollectiveKind::RingPass, _) => 1.0,
        (CollectiveKind::AllToAll, _) => g / n,
        _ => (n - 1.0) / n * g / (g - 1.0),
    };
    size.scaled(share)
}

impl Group<'_> {
    /// The ranks of each node, in ring order.
    #[must_use]
    pub fn nodes(&self) -> Vec<Vec<usize>> {
        let mut nodes: Vec<Vec<usize>> = Vec::new();
        for rank in self.ring_order() {
            let same = |node: &&mut Vec<usize>| self.hop(node[0], rank).wire.is_none();
            match nodes.iter_mut().find(same) {
                Some(node) => node.push(rank),
                None => nodes.push(vec![rank]),
            }
        }
        nodes
    }

    /// The first rank at each card of a node.
    fn rails(&self, nodes: &[Vec<usize>], node: usize) -> Vec<usize> {
        let other = nodes[(node + 1) % nodes.len()][0];
        let mut rails: BTreeMap<LinkId, usize> = BTreeMap::new();
        for rank in nodes[node].iter().rev() {
            let wire = self.hop(*rank, other).wire;
            rails.insert(wire.expect("another node is reached by a wire"), *rank);
        }
        rails.into_values().collect()
    }

    /// The rings of a collective, one for each card; the ranks' own order for all-to-all.
    pub(super) fn orders(&self, kind: CollectiveKind) -> Vec<Vec<usize>> {
        match kind {
            CollectiveKind::AllToAll => return vec![(0..self.ranks() as usize).collect()],
            CollectiveKind::RingPass => return vec![self.ring_order()],
            _ => {}
        }
        let nodes = self.nodes();
        if nodes.len() == 1 {
            return vec![self.ring_order()];
        }
        let rails: Vec<Vec<usize>> = (0..nodes.len())
            .map(|node| self.rails(&nodes, node))
            .collect();
        let channels = rails.iter().map(Vec::len).max().unwrap_or(1);
        let ring = |channel: usize| {
            // The card on the edge behind a node: alternately this channel's and the one after.
            let card =
                |node: usize, edge: usize| rails[node][(channel + edge % 2) % rails[node].len()];
            let of_node = |node: usize| {
                let (enter, exit) = (
                    card(node, (node + nodes.len() - 1) % nodes.len()),
                    card(node, node),
                );
                let others = nodes[node].iter().copied();
                let middle = others.filter(move |rank| *rank != enter && *rank != exit);
                let first = (enter != exit).then_some(enter);
                first.into_iter().chain(middle).chain([exit])
            };
            (0..nodes.len()).flat_map(of_node).collect()
        };
        (0..channels).map(ring).collect()
    }

    /// How often each link is crossed by the pairs of a channel, in the mean.
    pub(super) fn mean_crossings(&self, channels: &[Vec<(usize, usize)>]) -> Vec<(LinkId, f64)> {
        let mut crossings = self.crossings(channels.iter().flatten());
        for (_, count) in &mut crossings {
            *count /= channels.len() as f64;
        }
        crossings
    }

    /// `kind` of `size` over the wires between nodes, beside a stage inside that is known; `inside` is none where
    /// every node holds one rank. By the protocol that takes the least time.
    ///
    /// # Panics
    /// Where the group is in one node.
    #[must_use]
    pub fn across(
        &self,
        kind: CollectiveKind,
        algorithm: Algorithm,
        size: Bytes,
        inside: Option<Inside>,
    ) -> Staged {
        let nodes = self.nodes();
        assert!(nodes.len() > 1, "a group in one node crosses no wire");
        let (crossings, bytes) = self.wires(kind, algorithm, size);
        let staged = |protocol: Protocol| {
            let overhead = protocol.overhead();
            let shares = crossings
                .iter()
                .map(|(link, flows)| (*link, flows * overhead));
            let bundle = Bundle {
                latency: self.staged_latency(kind, algorithm, protocol, &nodes, inside)?,
                shares: shares.collect(),
                cap: inside.and_then(|inside| cap(bytes, inside.time)),
                bytes,
            };
            let time = bundle.uncontended(self.effective());
            Some(Staged {
                protocol,
                bundle,
                time,
            })
        };
        let choices = Protocol::ALL.into_iter().filter_map(staged);
        choices
            .min_by_key(|choice| choice.time)
            .expect("Simple runs over every kind of hop")
    }

    /// How many flows cross each link between nodes, and the payload of one.
    #[must_use]
    pub fn wires(
        &self,
        kind: CollectiveKind,
        algorithm: Algorithm,
        size: Bytes,
    ) -> (Vec<(LinkId, f64)>, Bytes) {
        if kind == CollectiveKind::AllReduce && algorithm == Algorithm::SwitchTree {
            return (self.tree_crossings(&self.nodes()), size);
        }
        let is_between = |pair: &(usize, usize)| self.hop(pair.0, pair.1).wire.is_some();
        let channels = self.orders(kind).into_iter().map(|order| {
            let pairs = self.pairs(kind, &order).into_iter();
            pairs.filter(is_between).collect()
        });
        let channels: Vec<Vec<(usize, usize)>> = channels.collect();
        let bytes = flow_bytes(kind, self.ranks(), size);
        (self.mean_crossings(&channels), bytes)
    }

    /// Both directions of the edges of a double binary tree over the nodes, half of the data on each tree, a tree pair
    /// for each card.
    fn tree_crossings(&self, nodes: &[Vec<usize>]) -> Vec<(LinkId, f64)> {
        let rails: Vec<Vec<usize>> = (0..nodes.len())
            .map(|node| self.rails(nodes, node))
            .collect();
        let channels = rails.iter().map(Vec::len).max().unwrap_or(1);
        let mut pairs = Vec::new();
        for channel in 0..channels {
            let at = |node: usize| rails[node][channel % rails[node].len()];
            for (child, parent) in double_tree(nodes.len()) {
                pairs.extend([(at(child), at(parent)), (at(parent), at(child))]);
            }
        }
        let mut crossings = self.crossings(&pairs);
        for (_, count) in &mut crossings {
            *count /= 2.0 * channels as f64;
        }
        crossings
    }

    /// Latency of both stages: the inside's, and network hops one after another. A ring passes every node's inside,
    /// a tree up and down its levels; other collectives have both at once.
    fn staged_latency(
        &self,
        kind: CollectiveKind,
        algorithm: Algorithm,
        protocol: Protocol,
        nodes: &[Vec<usize>],
        inside: Option<Inside>,
    ) -> Option<SimDuration> {
        let wire = self.hop(nodes[0][0], nodes[1][0]);
        let net = protocol.hop(wire.kind)?.max(wire.latency);
        let base = protocol.base();
        let own = inside.map_or(base, |inside| inside.latency);
        let further = nodes.len() as u64 - 1;
        let fullest = nodes
            .iter()
            .max_by_key(|node| node.len())
            .expect("a group has nodes");
        let local = match fullest.as_slice() {
            [a, b, ..] => {
                let hop = self.hop(*a, *b);
                // LL128 that only NVLink runs is not asked of PCIe.
                protocol.hop(hop.kind)?.max(hop.latency) * (fullest.len() as u64 - 1)
            }
            _ => SimDuration::ZERO,
        };
        Some(match kind {
            CollectiveKind::AllGather | CollectiveKind::ReduceScatter => {
                own + (net + local) * further
            }
            CollectiveKind::AllReduce if algorithm == Algorithm::SwitchTree => {
                own + net * (2 * u64::from(levels(nodes.len())))
            }
            CollectiveKind::AllReduce => own + (net + local) * (2 * further),
            CollectiveKind::AllToAll | CollectiveKind::RingPass => own.max(base + net),
        })
    }
}

/// The rate of one flow whose bytes take as long as the stage inside; none where that takes no time.
pub(crate) fn cap(bytes: Bytes, inside: SimDuration) -> Option<Bandwidth> {
    let rate = bytes.as_f64() / inside.as_secs_f64();
    (inside > SimDuration::ZERO && rate < u64::MAX as f64)
        .then(|| Bandwidth::new((rate as u64).max(1)))
}

/// Levels of a binary tree over `nodes`.
fn levels(nodes: usize) -> u32 {
    usize::BITS - (nodes - 1).leading_zeros()
}

/// The edges (child, parent) of both trees. Source: NCCL `src/graph/trees.cc`, `ncclGetBtree` and `ncclGetDtree`: the
/// second is the first mirrored for even counts, shifted by one for odd ones.
fn double_tree(nodes: usize) -> Vec<(usize, usize)> {
    let second = |node: usize| match nodes % 2 {
        0 => nodes - 1 - node,
        _ => (node + 1) % nodes,
    };
    let first: Vec<(usize, usize)> = (1..nodes)
        .map(|node| {
            let bit = 1 << node.trailing_zeros();
            let up = (node ^ bit) | (bit << 1);
            (node, if up >= nodes { node ^ bit } else { up })
        })
        .collect();
    let mirrored = first
        .iter()
        .map(|(child, parent)| (second(*child), second(*parent)));
    first.iter().copied().chain(mirrored).collect()
}

#[cfg(test)]
#[path = "nodes_tests.rs"]
mod tests;
