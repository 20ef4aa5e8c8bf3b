//! Nodes of a machine: GPUs that links other than a network's join.

use std::collections::BTreeMap;

use super::Machine;
use crate::ids::DeviceId;
use crate::topology::{Link, LinkKind, Topology, VertexKind};

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
