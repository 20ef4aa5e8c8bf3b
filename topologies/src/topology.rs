//! The wiring of a machine: vertices, directed links, and the routes between GPUs.
//!
//! ```text
//!   gpu0   gpu1      gpu2   gpu3          capacity x efficiency = effective bandwidth
//!     ╲    ╱           ╲    ╱
//!      plx0             plx1              PCIe switches: GPUs share the up-link
//!        │                │
//!     socket0 ─────── socket1             host bridges (one per NUMA domain), socket link
//!        │                                peer-to-peer off: + a memory vertex per socket
//!       nic0 ── network ── nic1 ── ...    NICs join boxes
//! ```
//!
//! Guarantees:
//! 1. Links come in pairs of opposite direction with equal figures.
//! 2. A route is the path of least latency, then fewest links, then smallest vertex numbers.
//! 3. GPUs are never in the middle of a route.
//! 4. The route back is the mirror of the route there, except for staged routes (below).
//! 5. GPUs that are equally near to several network cards take them in turn (`cards`), as NCCL does.
//!
//! A *staged* route is taken where peer-to-peer access is off: the data goes to a buffer in the memory
//! of the receiver's socket and from there to the receiver. (NCCL's shared-memory transport, whose
//! `NCCL_SHM_LOCALITY` is the receiver's side by default.) Both copies run at once, chunk by chunk,
//! so the rate is that of the slowest link; the price is the staging link, which all staged traffic
//! of a socket shares, and its latency.
//!
//! Not modelled: PCIe credits and ordering, adaptive routing, several parallel paths for one transfer,
//! staging in host memory before a NIC without GPUDirect.

mod cards;

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use thiserror::Error;

use crate::define_id;
use crate::ids::{DeviceId, LinkId};
use crate::units::{Bandwidth, SimDuration};

define_id!(
    /// A point of a machine's wiring.
    VertexId,
    "vertex"
);

/// What stands at a point of the wiring.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum VertexKind {
    /// A GPU.
    Gpu(DeviceId),
    /// A PCIe switch; its GPUs share the up-link.
    PcieSwitch,
    /// The PCIe root of a socket or NUMA domain.
    HostBridge,
    /// The memory of a socket, where staged copies wait.
    HostMemory,
    /// A network card.
    Nic,
    /// The NVSwitches of a box (or rack) together: a non-blocking crossbar.
    NvSwitch,
    /// An Ethernet or InfiniBand network: a non-blocking switch.
    NetworkSwitch,
}

/// A point of the wiring.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vertex {
    /// Name, as machine files and errors say it.
    pub name: String,
    /// What it is.
    pub kind: VertexKind,
}

/// The technology of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LinkKind {
    /// PCIe.
    Pcie,
    /// Between sockets: UPI, QPI, xGMI, Infinity Fabric.
    Socket,
    /// NVLink, or xGMI between AMD GPUs.
    Nvlink,
    /// Ethernet or InfiniBand.
    Network,
    /// Between a socket and the staging buffers in its memory.
    Staging,
}

/// The figures of a link; equal for both directions.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LinkSpec {
    /// Technology.
    pub kind: LinkKind,
    /// Datasheet bandwidth in this direction.
    pub capacity: Bandwidth,
    /// Time for the first byte to cross.
    pub latency: SimDuration,
    /// What the protocol leaves for data, as a share of `capacity`: above 0, at most 1.
    pub efficiency: f64,
}

/// A directed link.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Link {
    /// Where it starts.
    pub from: VertexId,
    /// Where it ends.
    pub to: VertexId,
    /// The link of the opposite direction.
    pub reverse: LinkId,
    /// Technology.
    pub kind: LinkKind,
    /// Datasheet bandwidth in this direction.
    pub capacity: Bandwidth,
    /// Time for the first byte to cross.
    pub latency: SimDuration,
    /// What the protocol leaves for data, as a share of `capacity`: above 0, at most 1.
    pub efficiency: f64,
}

impl Link {
    /// Bandwidth for data: capacity times efficiency.
    #[must_use]
    pub fn effective(&self) -> Bandwidth {
        self.capacity.scaled(self.efficiency)
    }
}

/// How a transfer between two GPUs travels.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Route {
    /// The links, in order. Empty from a GPU to itself.
    pub links: Vec<LinkId>,
    /// The sum of their latencies.
    pub latency: SimDuration,
}

/// Whether GPUs may read and write each other's memory over PCIe.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PeerToPeer {
    /// Between all GPUs.
    #[default]
    On,
    /// Between GPUs of one socket; other transfers are staged.
    SameSocket,
    /// Never (GeForce drivers, `NCCL_P2P_DISABLE=1`): every transfer inside a box is staged.
    Off,
}

/// Why a wiring is not a machine.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum TopologyError {
    /// No GPU.
    #[error("the machine has no GPU: add a [[gpus]] section with model, count and attach")]
    NoGpu,
    /// A link of zero capacity.
    #[error(
        "the link {from} to {to} has no capacity: give it a bandwidth above zero, or remove it"
    )]
    ZeroCapacity {
        /// One end.
        from: String,
        /// The other end.
        to: String,
    },
    /// An efficiency outside (0, 1].
    #[error(
        "the link {from} to {to} has efficiency {efficiency}: use a share above 0 and at most 1"
    )]
    Efficiency {
        /// One end.
        from: String,
        /// The other end.
        to: String,
        /// What was given.
        efficiency: String,
    },
    /// Two GPUs without a path.
    #[error(
        "{from} cannot reach {to}: connect them by a socket link, an NVLink switch or NICs on one network"
    )]
    Unreachable {
        /// The sender.
        from: String,
        /// The receiver.
        to: String,
    },
}

/// A wiring being put together.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Topology {
    pub(crate) vertices: Vec<Vertex>,
    pub(crate) links: Vec<Link>,
}

impl Topology {
    /// Adds a point.
    pub fn add(&mut self, name: impl Into<String>, kind: VertexKind) -> VertexId {
        self.vertices.push(Vertex {
            name: name.into(),
            kind,
        });
        VertexId::new(self.vertices.len() - 1)
    }

    /// Joins two points in both directions.
    pub fn connect(&mut self, a: VertexId, b: VertexId, spec: LinkSpec) {
        let first = self.links.len();
        for (from, to, reverse) in [(a, b, first + 1), (b, a, first)] {
            self.links.push(Link {
                from,
                to,
                reverse: LinkId::new(reverse),
                kind: spec.kind,
                capacity: spec.capacity,
                latency: spec.latency,
                efficiency: spec.efficiency,
            });
        }
    }

    /// The point called `name`.
    #[must_use]
    pub fn named(&self, name: &str) -> Option<VertexId> {
        let position = self.vertices.iter().position(|v| v.name == name);
        position.map(VertexId::new)
    }

    /// Checks every link.
    pub(crate) fn check_links(&self) -> Result<(), TopologyError> {
        for link in &self.links {
            let name = |id: VertexId| self.vertices[id.index()].name.clone();
            let (from, to) = (name(link.from), name(link.to));
            if !(link.efficiency > 0.0 && link.efficiency <= 1.0) {
                let efficiency = link.efficiency.to_string();
                return Err(TopologyError::Efficiency {
                    from,
                    to,
                    efficiency,
                });
            }
            if link.effective() == Bandwidth::ZERO {
                return Err(TopologyError::ZeroCapacity { from, to });
            }
        }
        Ok(())
    }

    /// Routes between `gpus` GPUs, row by row: the route from *a* to *b* is at `a * gpus + b`.
    pub(crate) fn routes(
        &self,
        gpus: usize,
        peers: PeerToPeer,
    ) -> Result<Vec<Route>, TopologyError> {
        let outgoing = self.outgoing();
        let mut position = vec![None; gpus];
        for (index, vertex) in self.vertices.iter().enumerate() {
            if let VertexKind::Gpu(device) = vertex.kind {
                position[device.index()] = Some(VertexId::new(index));
            }
        }
        let position: Vec<VertexId> = position
            .into_iter()
            .map(|p| p.expect("every GPU of a machine has a vertex"))
            .collect();
        let trees: Vec<Tree> = position.iter().map(|p| self.tree(&outgoing, *p)).collect();
        let cards = cards::Cards::new(self, &outgoing, &trees, &position);
        let mut routes = vec![Route::default(); gpus * gpus];
        for a in 0..gpus {
            for b in a + 1..gpus {
                let nearest = self.path(&trees[a], position[b])?;
                let there = cards
                    .in_turn(self, &trees, (a, b), &nearest)
                    .unwrap_or(nearest);
                routes[b * gpus + a] = self.mirror(&there.links);
                routes[a * gpus + b] = there;
            }
        }
        for b in 0..gpus {
            let mut staged = None;
            for a in (0..gpus).filter(|a| *a != b) {
                let route = &mut routes[a * gpus + b];
                if self.needs_staging(route, peers) {
                    let (memory, out) = match &staged {
                        Some(known) => known,
                        None => {
                            &*staged.insert(self.past_memory(&outgoing, &trees[b], position[b])?)
                        }
                    };
                    let mut links = self.path(&trees[a], *memory)?.links;
                    links.extend(out);
                    *route = self.route_of(links);
                }
            }
        }
        Ok(routes)
    }

    /// The links out of each vertex, the last first: of links that are alike the last is taken.
    fn outgoing(&self) -> Vec<Vec<LinkId>> {
        let mut outgoing = vec![Vec::new(); self.vertices.len()];
        for (index, link) in self.links.iter().enumerate().rev() {
            outgoing[link.from.index()].push(LinkId::new(index));
        }
        outgoing
    }

    /// Dijkstra over (latency, links), never through a GPU.
    fn tree(&self, outgoing: &[Vec<LinkId>], source: VertexId) -> Tree {
        let mut best = vec![(SimDuration::new(u64::MAX), u32::MAX); self.vertices.len()];
        let mut via = vec![None; self.vertices.len()];
        let mut queue = BinaryHeap::new();
        best[source.index()] = (SimDuration::ZERO, 0);
        queue.push(Reverse((SimDuration::ZERO, 0, source)));
        while let Some(Reverse((latency, hops, at))) = queue.pop() {
            let is_gpu = matches!(self.vertices[at.index()].kind, VertexKind::Gpu(_));
            if (latency, hops) > best[at.index()] || (is_gpu && at != source) {
                continue;
            }
            for &id in &outgoing[at.index()] {
                let link = &self.links[id.index()];
                let cost = (latency + link.latency, hops + 1);
                if cost < best[link.to.index()] {
                    best[link.to.index()] = cost;
                    via[link.to.index()] = Some(id);
                    queue.push(Reverse((cost.0, cost.1, link.to)));
                }
            }
        }
        Tree { source, via }
    }

    fn path(&self, tree: &Tree, to: VertexId) -> Result<Route, TopologyError> {
        let mut links = Vec::new();
        let mut at = to;
        while at != tree.source {
            let link = tree.via[at.index()].ok_or_else(|| TopologyError::Unreachable {
                from: self.vertices[tree.source.index()].name.clone(),
                to: self.vertices[to.index()].name.clone(),
            })?;
            links.push(link);
            at = self.links[link.index()].from;
        }
        links.reverse();
        Ok(self.route_of(links))
    }

    fn mirror(&self, back: &[LinkId]) -> Route {
        let reverse = |link: &LinkId| self.links[link.index()].reverse;
        self.route_of(back.iter().rev().map(reverse).collect())
    }

    fn route_of(&self, links: Vec<LinkId>) -> Route {
        let latency = links
            .iter()
            .map(|link| self.links[link.index()].latency)
            .sum();
        Route { links, latency }
    }

    fn crosses(&self, route: &Route, kind: LinkKind) -> bool {
        let of_kind = |link: &LinkId| self.links[link.index()].kind == kind;
        route.links.iter().any(of_kind)
    }

    fn needs_staging(&self, route: &Route, peers: PeerToPeer) -> bool {
        match peers {
            PeerToPeer::On => false,
            PeerToPeer::SameSocket => self.crosses(route, LinkKind::Socket),
            PeerToPeer::Off => {
                !self.crosses(route, LinkKind::Network) && !self.crosses(route, LinkKind::Nvlink)
            }
        }
    }

    /// The memory nearest to a GPU, where what it is sent is staged, and the path from there.
    fn past_memory(
        &self,
        outgoing: &[Vec<LinkId>],
        tree: &Tree,
        gpu: VertexId,
    ) -> Result<(VertexId, Vec<LinkId>), TopologyError> {
        let memory = (0..self.vertices.len())
            .filter(|index| self.vertices[*index].kind == VertexKind::HostMemory)
            .map(VertexId::new)
            .filter_map(|memory| Some((self.path(tree, memory).ok()?, memory)))
            .min_by_key(|(route, memory)| (route.latency, route.links.len(), *memory));
        let (_, memory) = memory.ok_or_else(|| TopologyError::Unreachable {
            from: "the staging memory".to_owned(),
            to: self.vertices[gpu.index()].name.clone(),
        })?;
        Ok((memory, self.path(&self.tree(outgoing, memory), gpu)?.links))
    }
}

/// The paths of least cost from one vertex: the last link into each other one.
struct Tree {
    source: VertexId,
    via: Vec<Option<LinkId>>,
}

#[cfg(test)]
mod tests;
