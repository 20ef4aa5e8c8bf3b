//! Nodes of a machine: GPUs that links other than a network's join.

use std::collections::{BTreeMap, BTreeSet};

use super::{About, Machine};
use crate::ids::{DeviceId, LinkId};
use crate::topology::{Link, LinkKind, LinkSpec, Topology, TopologyError, Vertex, VertexKind};

/// The part that each vertex is in, where networks are taken away: a vertex of it.
pub(crate) fn parts(vertices: usize, links: &[Link]) -> Vec<usize> {
    let mut part: Vec<usize> = (0..vertices).collect();
    for link in links.iter().filter(|link| link.kind != LinkKind::Network) {
        let [from, to] = [link.from, link.to].map(|end| root(&mut part, end.index()));
        part[from.max(to)] = from.min(to);
    }
    (0..vertices).map(|at| root(&mut part, at)).collect()
}

/// The node of each GPU, numbered by their first GPUs.
pub(super) fn of_gpus(topology: &Topology, gpus: usize) -> Vec<usize> {
    let parts = parts(topology.vertices.len(), &topology.links);
    let mut of = vec![0; gpus];
    for (vertex, part) in topology.vertices.iter().zip(parts) {
        if let VertexKind::Gpu(device) = vertex.kind {
            of[device.index()] = part;
        }
    }
    let mut numbers = BTreeMap::new();
    for node in &mut of {
        let next = numbers.len();
        *node = *numbers.entry(*node).or_insert(next);
    }
    of
}

/// The first vertex of the part that `at` is in; the way there is halved.
fn root(part: &mut [usize], mut at: usize) -> usize {
    while part[at] != at {
        part[at] = part[part[at]];
        at = part[at];
    }
    at
}

impl Machine {
    /// The node that a GPU stands in, from 0.
    ///
    /// # Panics
    /// If the id is not of this machine.
    #[must_use]
    pub fn node_of(&self, gpu: DeviceId) -> usize {
        self.node_of[gpu.index()]
    }

    /// Whether a link joins a card (or a GPU) of `node` to its network.
    pub(crate) fn leaves(&self, node: usize, link: LinkId) -> bool {
        let parts = parts(self.vertices.len(), &self.links);
        let link = self.link(link);
        let gpu = |vertex: &Vertex| matches!(vertex.kind, VertexKind::Gpu(gpu) if self.node_of(gpu) == node);
        let of_node = self
            .vertices
            .iter()
            .position(gpu)
            .map(|vertex| parts[vertex]);
        let ends = [link.from, link.to].map(|end| Some(parts[end.index()]) == of_node);
        link.kind == LinkKind::Network && ends != [false; 2]
    }

    /// The same machine without some links and their opposites.
    ///
    /// # Errors
    /// [`TopologyError::Unreachable`]: two GPUs that no other way joins.
    pub fn without(self, lost: &BTreeSet<LinkId>) -> Result<Self, TopologyError> {
        let is_lost = |id: usize| {
            let id = LinkId::new(id);
            lost.contains(&id) || lost.contains(&self.link(id).reverse)
        };
        let mut topology = Topology {
            vertices: self.vertices.clone(),
            links: Vec::new(),
        };
        // Links come in pairs: the first of each makes both again.
        for (id, link) in self.links.iter().enumerate() {
            if id < link.reverse.index() && !is_lost(id) {
                let spec = LinkSpec {
                    kind: link.kind,
                    capacity: link.capacity,
                    latency: link.latency,
                    efficiency: link.efficiency,
                };
                topology.connect(link.from, link.to, spec);
            }
        }
        let about = About {
            name: self.name,
            about: self.about,
            source: self.source,
        };
        Self::new(about, self.host, self.gpus, topology, self.peer_to_peer)
    }

    /// Which of `gpus` so many ranks take, in order: of the fewest nodes that hold them equally many each, as launchers
    /// start them; the first of all where no nodes do.
    ///
    /// # Panics
    /// If there are fewer GPUs than ranks.
    #[must_use]
    pub fn evenly(&self, gpus: &[DeviceId], ranks: usize) -> Vec<DeviceId> {
        let mut nodes: BTreeMap<usize, Vec<DeviceId>> = BTreeMap::new();
        for gpu in gpus {
            nodes.entry(self.node_of(*gpu)).or_default().push(*gpu);
        }
        let on = |count: usize| {
            let each = ranks / count;
            let holding = nodes.values().filter(|node| node.len() >= each);
            let chosen: Vec<&[DeviceId]> = holding.take(count).map(|node| &node[..each]).collect();
            (each * count == ranks && chosen.len() == count).then(|| chosen.concat())
        };
        let even = (1..=nodes.len()).find_map(on);
        even.unwrap_or_else(|| gpus[..ranks].to_vec())
    }

    /// The GPUs of each node, in order.
    #[must_use]
    pub fn nodes(&self) -> Vec<Vec<DeviceId>> {
        let count = self.node_of.iter().max().map_or(0, |last| last + 1);
        let mut nodes = vec![Vec::new(); count];
        for gpu in self.devices() {
            nodes[self.node_of(gpu)].push(gpu);
        }
        nodes
    }
}
