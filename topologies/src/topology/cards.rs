//! Which network card a GPU sends through where several are equally near.
//!
//! ```text
//! gpu0 gpu1 gpu2 gpu3      gpu0 and gpu2 take nic0, gpu1 and gpu3 nic1
//!    ╲   ╲   ╱   ╱         a route between nodes leaves by the sender's card and arrives by the receiver's,
//!       socket             where no card of the receiver is nearer to the sender's
//!       ╱    ╲\
//!     nic0   nic1
//! ```

use std::collections::BTreeMap;

use super::{LinkId, LinkKind, Route, Topology, Tree, VertexId, VertexKind};

/// The cards of each GPU.
pub(super) struct Cards {
    /// By GPU: its own card, and all that are as near; empty where one is nearest.
    of: Vec<Vec<VertexId>>,
    /// The paths from each card in `of`.
    trees: BTreeMap<VertexId, Tree>,
}

impl Cards {
    pub(super) fn new(
        topology: &Topology,
        outgoing: &[Vec<LinkId>],
        trees: &[Tree],
        gpus: &[VertexId],
    ) -> Self {
        let cards: Vec<VertexId> = (0..topology.vertices.len())
            .map(VertexId::new)
            .filter(|card| topology.vertices[card.index()].kind == VertexKind::Nic)
            .collect();
        let mut of = Vec::with_capacity(gpus.len());
        let mut users: BTreeMap<Vec<VertexId>, usize> = BTreeMap::new();
        for tree in trees {
            let near = |card: &VertexId| {
                let way = topology.path(tree, *card).ok()?;
                let local = !topology.crosses(&way, LinkKind::Network);
                local.then_some(((way.latency, way.links.len()), *card))
            };
            let ways: Vec<_> = cards.iter().filter_map(near).collect();
            let least = ways.iter().map(|(cost, _)| *cost).min();
            let nearest = ways.iter().filter(|(cost, _)| Some(*cost) == least);
            let mut nearest: Vec<VertexId> = nearest.map(|(_, card)| *card).collect();
            if nearest.len() > 1 {
                let turn = users.entry(nearest.clone()).or_default();
                let own = *turn % nearest.len();
                *turn += 1;
                nearest.rotate_left(own);
            }
            of.push(nearest);
        }
        let several = users.keys().flatten();
        let trees = several.map(|card| (*card, topology.tree(outgoing, *card)));
        let trees = trees.collect();
        Self { of, trees }
    }

    /// The route between two GPUs through the sender's own card, where it is as near as `nearest`.
    pub(super) fn in_turn(
        &self,
        topology: &Topology,
        trees: &[Tree],
        (a, b): (usize, usize),
        nearest: &Route,
    ) -> Option<Route> {
        let choice = self.of[a].len() > 1 || self.of[b].len() > 1;
        if !choice || !topology.crosses(nearest, LinkKind::Network) {
            return None;
        }
        let out = *self.of[a].first()?;
        let way = |card: VertexId| {
            let mut links = topology.path(&trees[a], out).ok()?.links;
            let between = match self.trees.get(&out) {
                Some(tree) => topology.path(tree, card).ok()?.links,
                None => {
                    topology
                        .mirror(&topology.path(self.trees.get(&card)?, out).ok()?.links)
                        .links
                }
            };
            links.extend(between);
            let back = topology.path(&trees[b], card).ok()?;
            links.extend(topology.mirror(&back.links).links);
            let route = topology.route_of(links);
            let as_near =
                (route.latency, route.links.len()) == (nearest.latency, nearest.links.len());
            as_near.then_some(route)
        };
        self.of[b].iter().find_map(|card| way(*card))
    }
}
