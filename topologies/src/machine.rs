//! A validated machine: its GPUs, its wiring with a route between every two GPUs, and its host.
//!
//! ```text
//! machine file ─▶ Machine::from_toml ─┐
//! preset name ──▶ Machine::preset ────┼─▶ Machine ─▶ route(a, b), bandwidth(a, b), islands()
//! importer ─────▶ Machine::new ───────┘
//! ```
//!
//! Guarantees:
//! 1. Every GPU reaches every other; every link has capacity.
//! 2. Routes are computed once and depend on nothing but the wiring.
//! 3. GPUs are of one node exactly if links other than a network's join them.
//!
//! Not modelled: links that change during a run. What is slower or gone is a [`crate::fault`].

pub mod hypothetical;
pub(crate) mod nodes;

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

use crate::gpu::{Architecture, Gpu};
use crate::host::{Host, PublishedHost, UnknownWord, words};
use crate::ids::{DeviceId, LinkId};
use crate::suggest::nearest;
use crate::topology::{
    Link, LinkKind, PeerToPeer, Route, Topology, TopologyError, Vertex, VertexId, VertexKind,
};
use crate::units::Bandwidth;

words!(
    PeerToPeer,
    [(On, "on"), (SameSocket, "same-socket"), (Off, "off")]
);

/// The preset that is used when a user names no machine.
pub const DEFAULT_PRESET: &str = "4xl20-pcie";

/// Preset machines: name and file.
const PRESETS: &[(&str, &str)] = &[
    ("4xl20-pcie", include_str!("../machines/4xl20-pcie.toml")),
    ("8xl20-pcie", include_str!("../machines/8xl20-pcie.toml")),
    (
        "4xl20-cachedit",
        include_str!("../machines/4xl20-cachedit.toml"),
    ),
    ("8xl40-pcie", include_str!("../machines/8xl40-pcie.toml")),
    (
        "16xl40-ethernet",
        include_str!("../machines/16xl40-ethernet.toml"),
    ),
    ("4xa100-pcie", include_str!("../machines/4xa100-pcie.toml")),
    ("8xa100-sxm", include_str!("../machines/8xa100-sxm.toml")),
    ("8xh100-sxm", include_str!("../machines/8xh100-sxm.toml")),
    ("8xh200-sxm", include_str!("../machines/8xh200-sxm.toml")),
    (
        "4xh20-nvlink",
        include_str!("../machines/4xh20-nvlink.toml"),
    ),
    (
        "8xh20-nvlink",
        include_str!("../machines/8xh20-nvlink.toml"),
    ),
    ("8xb200-sxm", include_str!("../machines/8xb200-sxm.toml")),
    ("gb200-nvl72", include_str!("../machines/gb200-nvl72.toml")),
    (
        "2x8xh100-sxm",
        include_str!("../machines/2x8xh100-sxm.toml"),
    ),
    ("2x8xl40s", include_str!("../machines/2x8xl40s.toml")),
    ("4xrtx4090", include_str!("../machines/4xrtx4090.toml")),
    (
        "4x-emulated-ethernet",
        include_str!("../machines/4x-emulated-ethernet.toml"),
    ),
];

/// Why a machine cannot be had.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum MachineError {
    /// The file is not TOML.
    #[error("{file}, line {line}: {reason}: correct the TOML there")]
    Syntax {
        /// The file.
        file: String,
        /// The line.
        line: usize,
        /// What the TOML reader says.
        reason: String,
    },
    /// The file says nothing.
    #[error("{file} is empty: give name, sockets, [host] and at least one [[gpus]] section")]
    Empty {
        /// The file.
        file: String,
    },
    /// A key is missing, unknown, or has a wrong value.
    #[error("{file}, line {line}: {key} {fault}: {remedy}")]
    Key {
        /// The file.
        file: String,
        /// The line.
        line: usize,
        /// The key, with its section: `pcie.bandwidth`.
        key: String,
        /// What is wrong.
        fault: String,
        /// What to do.
        remedy: String,
    },
    /// The parts do not make a machine.
    #[error("{file}: {fault}")]
    Topology {
        /// The file, or the machine's name.
        file: String,
        /// What is wrong, and what to do.
        fault: TopologyError,
    },
    /// A hypothetical machine that cannot be read.
    #[error(transparent)]
    Hypothetical(#[from] hypothetical::NotHypothetical),
    /// No preset has this name.
    #[error(
        "unknown machine \"{name}\": did you mean {nearest}? Known: {known}; or give a .toml file, or COUNTxGPU@RATE as in 16xL20@25GB/s"
    )]
    UnknownPreset {
        /// What was asked for.
        name: String,
        /// The name spelled most alike.
        nearest: String,
        /// All names.
        known: String,
    },
}

/// What a machine is called and where its figures are from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct About {
    /// Short name, for example `4xl20-pcie`.
    pub name: String,
    /// One sentence.
    pub about: String,
    /// Where the wiring is from.
    pub source: String,
}

/// A validated machine.
///
/// Invariant: `routes` belongs to `links`; to change a bandwidth use
/// [`with_bandwidth`](Self::with_bandwidth).
#[derive(Clone, Debug, PartialEq)]
pub struct Machine {
    /// Short name, for example `4xl20-pcie`.
    pub name: String,
    /// One sentence.
    pub about: String,
    /// Where the wiring is from.
    pub source: String,
    /// The host's measured figures.
    pub host: Host,
    /// GPUs, by [`DeviceId`].
    pub gpus: Vec<Gpu>,
    /// Points of the wiring, by [`VertexId`].
    pub vertices: Vec<Vertex>,
    /// Directed links, by [`LinkId`].
    pub links: Vec<Link>,
    /// Whether GPUs may access each other over PCIe.
    pub peer_to_peer: PeerToPeer,
    routes: Vec<Route>,
    /// The node of each GPU.
    node_of: Vec<usize>,
}

/// One line of a list of machines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// Preset name.
    pub name: String,
    /// GPUs in words: `4 x L20`.
    pub gpus: String,
    /// Interconnect in words.
    pub interconnect: String,
    /// Host.
    pub host: String,
    /// Where the figures are from.
    pub source: String,
}

/// The names of the preset machines.
pub fn presets() -> impl Iterator<Item = &'static str> {
    PRESETS.iter().map(|(name, _)| *name)
}

/// The preset machines that say that they are a published host.
///
/// # Panics
/// Never in a released build: every preset is loaded by the tests.
#[must_use]
pub fn presets_of(host: &PublishedHost) -> Vec<Machine> {
    let owner = format!("owner = \"{}\"", host.owner);
    let may = PRESETS.iter().filter(|(_, text)| text.contains(&owner));
    let read = |(name, _): &(&str, _)| {
        Machine::preset(name).expect("every preset is loaded by this crate's tests")
    };
    let machines = may.map(read);
    machines
        .filter(|machine| machine.host.published.contains(host))
        .collect()
}

/// GPUs of the largest machine that is read.
pub const MOST_GPUS: usize = 1024;

/// A line about every preset machine, in the order of [`presets`].
///
/// # Panics
/// Never in a released build: every preset is loaded by the tests.
#[must_use]
pub fn summaries() -> Vec<Summary> {
    presets()
        .map(|name| Machine::preset(name).expect("every preset is loaded by this crate's tests"))
        .map(|machine| machine.summary())
        .collect()
}

impl Machine {
    /// A machine from its parts; the GPUs' vertices are those of kind [`VertexKind::Gpu`].
    ///
    /// # Errors
    /// [`TopologyError`]: no GPU, a link without capacity, two GPUs without a path.
    ///
    /// # Panics
    /// If a GPU has no vertex: whoever puts the parts together adds one for each.
    pub fn new(
        about: About,
        host: Host,
        gpus: Vec<Gpu>,
        topology: Topology,
        peer_to_peer: PeerToPeer,
    ) -> Result<Self, TopologyError> {
        if gpus.is_empty() {
            return Err(TopologyError::NoGpu);
        }
        topology.check_links()?;
        let routes = topology.routes(gpus.len(), peer_to_peer)?;
        let node_of = nodes::of_gpus(&topology, gpus.len());
        Ok(Self {
            name: about.name,
            about: about.about,
            source: about.source,
            host,
            gpus,
            vertices: topology.vertices,
            links: topology.links,
            peer_to_peer,
            routes,
            node_of,
        })
    }

    /// The preset machine called `name`, or the hypothetical one that `name` describes
    /// ([`hypothetical::machine`]).
    ///
    /// # Errors
    /// [`MachineError::UnknownPreset`], with the known names and the nearest of them.
    pub fn preset(name: &str) -> Result<Self, MachineError> {
        if name.contains('@') {
            return Ok(hypothetical::machine(name)?);
        }
        let wanted = name.to_lowercase();
        let found = PRESETS.iter().find(|(preset, _)| *preset == wanted);
        let (preset, text) = found.ok_or_else(|| MachineError::UnknownPreset {
            name: name.to_owned(),
            nearest: nearest(name, presets())
                .expect("at least one preset exists")
                .to_owned(),
            known: presets().collect::<Vec<_>>().join(", "),
        })?;
        Self::from_toml(text, &format!("topologies/machines/{preset}.toml"))
    }

    /// Reads a machine file; `file` is named in errors.
    ///
    /// ```
    /// let machine = topologies::Machine::from_toml(
    ///     r#"
    ///     name = "my-box"
    ///     sockets = ["socket0"]
    ///
    ///     [host]
    ///     name = "my-box"
    ///     source = "nccl-tests of 3 March"
    ///
    ///     [[gpus]]
    ///     model = "L20"
    ///     count = 4
    ///     attach = "socket0"
    ///     "#,
    ///     "my-box.toml",
    /// )?;
    /// assert_eq!(machine.interconnect(), "PCIe 32 GB/s, 1 socket");
    /// assert_eq!(machine.islands().len(), 1);
    /// # Ok::<(), topologies::MachineError>(())
    /// ```
    ///
    /// # Errors
    /// [`MachineError`], one sentence with file, line, key and remedy.
    pub fn from_toml(text: &str, file: &str) -> Result<Self, MachineError> {
        crate::file::read(text, file)
    }

    /// How a transfer travels from one GPU to another; no links from a GPU to itself.
    ///
    /// # Panics
    /// If an id is not of this machine.
    #[must_use]
    pub fn route(&self, from: DeviceId, to: DeviceId) -> &Route {
        &self.routes[from.index() * self.gpus.len() + to.index()]
    }

    /// One-way effective bandwidth of a route: that of its slowest link.
    /// `None` from a GPU to itself.
    #[must_use]
    pub fn bandwidth(&self, from: DeviceId, to: DeviceId) -> Option<Bandwidth> {
        let links = &self.route(from, to).links;
        links.iter().map(|link| self.link(*link).effective()).min()
    }

    /// A link.
    #[must_use]
    pub fn link(&self, id: LinkId) -> &Link {
        &self.links[id.index()]
    }

    /// A GPU.
    #[must_use]
    pub fn gpu(&self, id: DeviceId) -> &Gpu {
        &self.gpus[id.index()]
    }

    /// Every GPU's id, in order.
    pub fn devices(&self) -> impl Iterator<Item = DeviceId> + use<> {
        (0..self.gpus.len()).map(DeviceId::new)
    }

    /// The same machine with every link of one technology, or every link, at another capacity; links between
    /// two network switches, which carry what several ports do, change in proportion to the fastest port.
    /// Measured rates and runs of the host are kept; whoever asks what-if decides if they still hold.
    ///
    /// # Errors
    /// [`TopologyError::ZeroCapacity`].
    pub fn with_bandwidth(
        self,
        kind: Option<LinkKind>,
        capacity: Bandwidth,
    ) -> Result<Self, TopologyError> {
        let vertices = self.vertices.clone();
        let is_switch = |end: VertexId| vertices[end.index()].kind == VertexKind::NetworkSwitch;
        let is_between = |link: &Link| is_switch(link.from) && is_switch(link.to);
        let is_port = |link: &&Link| link.kind == LinkKind::Network && !is_between(link);
        let ports = self.links.iter().filter(is_port);
        let fastest = ports.map(|link| link.capacity).max();
        let ratio = fastest.map_or(1.0, |fastest| capacity.as_f64() / fastest.as_f64());
        let change = |link: &mut Link| {
            link.capacity = match is_between(link) {
                true => link.capacity.scaled(ratio),
                false => capacity,
            }
        };
        self.with_links(|of| kind.is_none_or(|kind| of == kind), change)
    }

    /// The same machine with every link of some technologies changed by `change`, which keeps the kind.
    /// Measured rates and runs of the host are kept, as for [`with_bandwidth`](Self::with_bandwidth).
    ///
    /// # Errors
    /// [`TopologyError`]: a link without capacity or with an efficiency outside (0, 1].
    pub fn with_links(
        mut self,
        kinds: impl Fn(LinkKind) -> bool,
        change: impl Fn(&mut Link),
    ) -> Result<Self, TopologyError> {
        for link in self.links.iter_mut().filter(|link| kinds(link.kind)) {
            change(link);
        }
        let topology = Topology {
            vertices: self.vertices.clone(),
            links: self.links.clone(),
        };
        topology.check_links()?;
        let latency = |link: &LinkId| self.links[link.index()].latency;
        for route in &mut self.routes {
            route.latency = route.links.iter().map(latency).sum();
        }
        Ok(self)
    }

    /// Groups of interchangeable GPUs: equal models, and equal routes to every other GPU.
    ///
    /// Swapping two GPUs of one group changes no predicted time, so a placement search
    /// needs only one of such placements. Groups and their members are in ascending order.
    #[must_use]
    pub fn islands(&self) -> Vec<Vec<DeviceId>> {
        let mut islands: Vec<Vec<DeviceId>> = Vec::new();
        for device in self.devices() {
            let mut same = islands.iter_mut();
            match same.find(|island| self.interchangeable(island[0], device)) {
                Some(island) => island.push(device),
                None => islands.push(vec![device]),
            }
        }
        islands
    }

    /// Whether `a` and `b` are equal and see every third GPU alike.
    fn interchangeable(&self, a: DeviceId, b: DeviceId) -> bool {
        self.gpu(a) == self.gpu(b)
            && self.alike((a, b), (b, a))
            && self
                .devices()
                .filter(|c| *c != a && *c != b)
                .all(|c| self.alike((a, c), (b, c)) && self.alike((c, a), (c, b)))
    }

    /// Whether two routes have equal kinds of links, of equal bandwidth and latency, in equal order.
    fn alike(&self, one: (DeviceId, DeviceId), other: (DeviceId, DeviceId)) -> bool {
        let figures = |(from, to): (DeviceId, DeviceId)| {
            let links = self.route(from, to).links.iter().map(|id| self.link(*id));
            links.map(|link| (link.kind, link.effective(), link.latency))
        };
        figures(one).eq(figures(other))
    }

    /// The interconnect in words: `PCIe 32 GB/s, 2 sockets`.
    #[must_use]
    pub fn interconnect(&self) -> String {
        let from = |link: &Link| self.vertices[link.from.index()].kind;
        let is_gpu = |link: &Link| matches!(from(link), VertexKind::Gpu(_));
        let fastest = |kind: LinkKind| {
            let of_kind = self.links.iter().filter(|link| link.kind == kind);
            let own = of_kind.filter(|link| match kind {
                LinkKind::Pcie => is_gpu(link),
                LinkKind::Network => from(link) != VertexKind::NetworkSwitch,
                _ => true,
            });
            own.map(|link| link.capacity).max()
        };
        let count = |kind: VertexKind| self.vertices.iter().filter(|v| v.kind == kind).count();
        let nodes = self.nodes().len();
        let mut words = Vec::new();
        if nodes > 1 {
            words.push(format!("{nodes} nodes"));
        }
        if let Some(capacity) = fastest(LinkKind::Nvlink) {
            let has = |of: fn(&Gpu) -> bool| self.gpus.iter().any(of);
            let name = match () {
                () if !has(|gpu| gpu.nvlink.is_some()) => "switch",
                () if has(|gpu| gpu.architecture == Architecture::Cdna3) => "xGMI",
                () => "NVLink",
            };
            words.push(format!("{name} {capacity}"));
        }
        if let Some(capacity) = fastest(LinkKind::Pcie) {
            words.push(format!("PCIe {capacity}"));
        }
        match count(VertexKind::HostBridge) {
            0 => {}
            1 => words.push("1 socket".to_owned()),
            sockets if nodes > 1 => words.push(format!("{sockets} sockets in all")),
            sockets => words.push(format!("{sockets} sockets")),
        }
        if let Some(capacity) = fastest(LinkKind::Network) {
            words.push(format!("network {capacity} a NIC"));
        }
        match self.peer_to_peer {
            PeerToPeer::On => {}
            PeerToPeer::SameSocket => words.push("peer-to-peer inside a socket only".to_owned()),
            PeerToPeer::Off => words.push("no peer-to-peer".to_owned()),
        }
        words.join(", ")
    }

    /// The machine in a line.
    #[must_use]
    pub fn summary(&self) -> Summary {
        let mut gpus: Vec<(&str, usize)> = Vec::new();
        for gpu in &self.gpus {
            match gpus.iter_mut().find(|(name, _)| *name == gpu.name) {
                Some((_, count)) => *count += 1,
                None => gpus.push((&gpu.name, 1)),
            }
        }
        let gpus = gpus.iter().map(|(name, count)| format!("{count} x {name}"));
        Summary {
            name: self.name.clone(),
            gpus: gpus.collect::<Vec<_>>().join(", "),
            interconnect: self.interconnect(),
            host: self.host.name.clone(),
            source: self.source.clone(),
        }
    }
}

#[cfg(test)]
mod tests;
