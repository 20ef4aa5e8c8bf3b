//! GPUs, sockets, switches and links of a machine file, node by node.
//!
//! ```text
//! no nodes            one node, whose parts are called as the file names them
//! nodes = 2           two nodes, each as the file describes it: node0.socket0, node1.socket0 ...
//! [[node]] count = 2  nodes that differ: what one holds stands in its section
//! ```
//! GPUs are numbered through the machine, `gpu0` to the last; a section names the GPUs of its own node.

use super::fabric::Fabric;
use super::section::Section;
use crate::gpu::{self, Architecture, Gpu, NvlinkForm};
use crate::ids::DeviceId;
use crate::machine::{MOST_GPUS, MachineError};
use crate::suggest::nearest;
use crate::topology::{LinkKind, LinkSpec, PeerToPeer, Topology, VertexId, VertexKind};
use crate::units::{Bandwidth, SimDuration};

/// NCCL's 12.0 GB/s for PCIe 3 x16, of 16. Source: NVIDIA/nccl `src/graph/topo.h`, PCI_BW.
const PCIE_EFFICIENCY: f64 = 0.75;
/// Half of NCCL's 1.0 us for a hop GPU to GPU (LL protocol: two PCIe links).
/// Source: NVIDIA/nccl `src/graph/tuning.cc`. Socket links are assumed to take as long.
const PCIE_LATENCY: SimDuration = SimDuration::new(500_000);
/// Half of NCCL's 0.6 us for a hop GPU to GPU (LL protocol: two links, through a switch). Same source.
const NVLINK_LATENCY: SimDuration = SimDuration::new(300_000);
/// Half of NCCL's 2.7 us for a network hop (LL protocol: out of one NIC, into another). Same source.
const NETWORK_LATENCY: SimDuration = SimDuration::new(1_350_000);
/// NCCL's 12.0 GB/s for 100 Gbit/s, which are 12.5. Source: NVIDIA/nccl `src/graph/topo.h`, NET_BW.
const NETWORK_EFFICIENCY: f64 = 0.96;
/// The slot of a NIC: PCIe 4 x16, or twice the port where that is more. Vendors fit the width to the
/// port, so the slot of one NIC never limits it.
const NIC_SLOT: Bandwidth = Bandwidth::new(32_000_000_000);
/// Half of NCCL's 5.7 us for a hop over PCIe with the Simple protocol, that staged copies use:
/// into the memory, out of it. Source: NVIDIA/nccl `src/graph/tuning.cc`.
const STAGING_LATENCY: SimDuration = SimDuration::new(2_850_000);

/// NCCL's NVLink rates per link over the datasheet's: 20.0 of 25 (V100, A100), 20.6 of 25 (Hopper),
/// 40.1 of 50 (Blackwell). Source: NVIDIA/nccl `src/graph/topo.h`. xGMI: 46.5 of 64, the middle of
/// the 45-48 GB/s RCCL reaches (ROCm blog, see data/gpus.csv).
fn nvlink_efficiency(architecture: Architecture) -> f64 {
    match architecture {
        Architecture::Volta | Architecture::Turing | Architecture::Ampere | Architecture::Ada => {
            0.8
        }
        Architecture::Hopper => 0.824,
        Architecture::Blackwell | Architecture::BlackwellUltra => 0.802,
        Architecture::Cdna3 => 0.727,
    }
}

/// Most points of a machine: each is looked up by name.
const MOST_PARTS: usize = 4096;

/// The hardware part of a machine file.
#[derive(Default)]
pub(super) struct Wiring {
    pub(super) gpus: Vec<Gpu>,
    pub(super) topology: Topology,
    pub(super) peer_to_peer: PeerToPeer,
    pub(super) fabric: Option<Fabric>,
    /// What the names of the node's parts begin with.
    prefix: String,
    /// The node's first vertex and GPU.
    first: (usize, usize),
}

pub(super) fn wiring(root: &Section<'_>) -> Result<Wiring, MachineError> {
    let mut wiring = Wiring::default();
    for name in root.texts("networks")? {
        wiring.add(root, "networks", name, VertexKind::NetworkSwitch)?;
    }
    wiring.fabric = Fabric::read(root, &wiring.topology)?;
    wiring.network_links(root)?;
    let listed = root.tables("node")?;
    let count = root.count("nodes")?;
    if listed.is_empty() {
        wiring.nodes(root, "nodes", count.unwrap_or(1), (0, count.unwrap_or(1)))?;
    } else {
        if count.is_some() {
            let remedy = "count them by [[node]] sections, or by count = 2 in one of them";
            return Err(root.fault("nodes", "stands beside [[node]]", remedy));
        }
        let counts: Vec<u32> = listed
            .iter()
            .map(|node| Ok(node.count("count")?.unwrap_or(1)))
            .collect::<Result<_, MachineError>>()?;
        let all = counts
            .iter()
            .fold(0, |all: u32, count| all.saturating_add(*count));
        let mut before = 0;
        for (node, count) in listed.iter().zip(counts) {
            wiring.nodes(node, "count", count, (before, all))?;
            node.finish()?;
            before += count;
        }
    }
    if let Some(fabric) = wiring.fabric.take() {
        fabric.join_leaves(&mut wiring.topology);
    }
    Ok(wiring)
}

/// Defaults of PCIe links.
#[derive(Default)]
struct Pcie {
    bandwidth: Option<Bandwidth>,
    efficiency: Option<f64>,
    latency: Option<SimDuration>,
    peer_to_peer: PeerToPeer,
}

impl Pcie {
    fn read(section: Option<&Section<'_>>) -> Result<Self, MachineError> {
        let Some(section) = section else {
            return Ok(Self::default());
        };
        let pcie = Self {
            bandwidth: section.bandwidth("bandwidth")?,
            efficiency: section.ratio("efficiency", 1.0)?,
            latency: section.quantity("latency")?,
            peer_to_peer: section.word("peer_to_peer")?.unwrap_or_default(),
        };
        section.finish()?;
        Ok(pcie)
    }

    fn link(&self, capacity: Bandwidth) -> LinkSpec {
        LinkSpec {
            kind: LinkKind::Pcie,
            capacity,
            latency: self.latency.unwrap_or(PCIE_LATENCY),
            efficiency: self.efficiency.unwrap_or(PCIE_EFFICIENCY),
        }
    }
}

/// A link that a section of its own describes: bandwidth, efficiency, latency.
fn link(
    section: &Section<'_>,
    kind: LinkKind,
    capacity: Option<Bandwidth>,
    efficiency: f64,
    latency: SimDuration,
) -> Result<LinkSpec, MachineError> {
    let capacity = section.bandwidth("bandwidth")?.or(capacity);
    Ok(LinkSpec {
        kind,
        capacity: capacity
            .ok_or_else(|| section.missing("bandwidth", "add bandwidth = \"64 GB/s\", one way"))?,
        latency: section.quantity("latency")?.unwrap_or(latency),
        efficiency: section.ratio("efficiency", 1.0)?.unwrap_or(efficiency),
    })
}

impl Wiring {
    /// `count` nodes as `section` describes one; `before` of `all` nodes stand before them.
    fn nodes(
        &mut self,
        section: &Section<'_>,
        key: &'static str,
        count: u32,
        (before, all): (u32, u32),
    ) -> Result<(), MachineError> {
        if all as usize > MOST_GPUS {
            let fault = format!("makes more than {MOST_GPUS} nodes");
            return Err(section.fault(key, fault, "describe a part of the machine"));
        }
        for node in before..before + count {
            if all > 1 {
                self.prefix = format!("node{node}.");
            }
            self.first = (self.topology.vertices.len(), self.gpus.len());
            self.node(section, node)?;
            if all > 1 && self.first.1 == self.gpus.len() {
                return Err(section.missing("gpus", "add [[gpus]]: every node holds at least one"));
            }
        }
        Ok(())
    }

    fn node(&mut self, section: &Section<'_>, node: u32) -> Result<(), MachineError> {
        for name in section.texts("sockets")? {
            self.add_named(section, "sockets", &name, VertexKind::HostBridge)?;
        }
        let pcie = Pcie::read(section.table("pcie")?.as_ref())?;
        if node > 0 && pcie.peer_to_peer != self.peer_to_peer {
            let fault = "sets another peer_to_peer than the nodes before";
            return Err(section.fault("pcie", fault, "write the same in every [[node]]"));
        }
        self.peer_to_peer = pcie.peer_to_peer;
        self.pcie_switches(section, &pcie)?;
        self.gpus(section, &pcie)?;
        self.socket_links(section)?;
        self.nvlink(section)?;
        self.nvlink_bridges(section)?;
        self.nics(section, &pcie, node)?;
        self.staging(section)
    }

    /// A part of the node, of which the file says `name`.
    fn add_named(
        &mut self,
        section: &Section<'_>,
        key: &'static str,
        name: &str,
        kind: VertexKind,
    ) -> Result<VertexId, MachineError> {
        let whole = if name.is_empty() {
            String::new()
        } else {
            format!("{}{name}", self.prefix)
        };
        self.add(section, key, whole, kind)
    }

    /// Parts of the node: `name` itself where there is one, else `name0`, `name1` ...
    fn add_numbered(
        &mut self,
        section: &Section<'_>,
        count: usize,
        kind: VertexKind,
    ) -> Result<Vec<VertexId>, MachineError> {
        let name = section.required_text("name")?;
        let named = |index: usize| match count {
            1 => name.clone(),
            _ => format!("{name}{index}"),
        };
        let add = |index| self.add_named(section, "name", &named(index), kind);
        (0..count).map(add).collect()
    }

    fn add(
        &mut self,
        section: &Section<'_>,
        key: &'static str,
        name: String,
        kind: VertexKind,
    ) -> Result<VertexId, MachineError> {
        if self.topology.vertices.len() >= MOST_PARTS {
            let fault = format!("makes more than {MOST_PARTS} GPUs, switches, NICs and sockets");
            return Err(section.fault(key, fault, "describe a part of the machine"));
        }
        if name.is_empty() || self.topology.named(&name).is_some() {
            let fault = format!("names \"{name}\" a second time");
            return Err(section.fault(key, fault, "give every part of the machine its own name"));
        }
        Ok(self.topology.add(name, kind))
    }

    /// What the file calls a part: a network by its name, a part of the node without the node.
    fn said(&self, index: usize) -> Option<String> {
        let vertex = &self.topology.vertices[index];
        match vertex.kind {
            VertexKind::NetworkSwitch => Some(vertex.name.clone()),
            _ if index < self.first.0 => None,
            VertexKind::Gpu(device) => {
                Some(DeviceId::new(device.index() - self.first.1).to_string())
            }
            _ => vertex.name.strip_prefix(&self.prefix).map(str::to_owned),
        }
    }

    /// The vertex that `key` names, if its kind is one of `kinds`.
    fn point(
        &self,
        section: &Section<'_>,
        key: &'static str,
        name: &str,
        fits: fn(VertexKind) -> bool,
        kinds: &str,
    ) -> Result<VertexId, MachineError> {
        let vertices = &self.topology.vertices;
        let fitting = (0..vertices.len()).filter(|index| fits(vertices[*index].kind));
        let known: Vec<(usize, String)> = fitting
            .filter_map(|index| Some((index, self.said(index)?)))
            .collect();
        let found = known.iter().find(|(_, said)| said == name);
        found
            .map(|(index, _)| VertexId::new(*index))
            .ok_or_else(|| {
                let known: Vec<&str> = known.iter().map(|(_, said)| said.as_str()).collect();
                let remedy = match nearest(name, known.iter().copied()) {
                    Some(near) => format!("did you mean {near}? Known: {}", known.join(", ")),
                    None => format!("add a {kinds} of that name"),
                };
                section.fault(key, format!("= \"{name}\" is no {kinds}"), remedy)
            })
    }

    /// Where GPUs plug in: one point, or a list of points that get `count` GPUs each.
    fn slots(&self, section: &Section<'_>) -> Result<Vec<VertexId>, MachineError> {
        let names = section.text_or_texts("attach")?;
        if names.is_empty() {
            let remedy = "add attach = \"socket0\", or the socket or PCIe switch of these GPUs";
            return Err(section.missing("attach", remedy));
        }
        let fits = |kind| matches!(kind, VertexKind::HostBridge | VertexKind::PcieSwitch);
        let slot =
            |name: &String| self.point(section, "attach", name, fits, "socket or PCIe switch");
        names.iter().map(slot).collect()
    }

    /// Where the NICs or PCIe switches of a section plug in: `count` at each point.
    fn ports(&self, section: &Section<'_>) -> Result<Vec<VertexId>, MachineError> {
        let slots = self.slots(section)?;
        let count = section.count("count")?.unwrap_or(1) as usize;
        if slots.len().saturating_mul(count) > MOST_PARTS {
            let fault = format!("makes more than {MOST_PARTS} parts");
            return Err(section.fault("count", fault, "describe a part of the machine"));
        }
        Ok(slots.iter().flat_map(|slot| vec![*slot; count]).collect())
    }

    /// The two ends of a link.
    fn between(
        &self,
        section: &Section<'_>,
        fits: fn(VertexKind) -> bool,
        kinds: &str,
    ) -> Result<(VertexId, VertexId), MachineError> {
        let names = section.texts("between")?;
        let [a, b] = names.as_slice() else {
            let remedy = "write between = [\"one\", \"other\"]";
            return Err(section.fault("between", "does not name two ends", remedy));
        };
        if a == b {
            return Err(section.fault("between", "names one end twice", "name two different ends"));
        }
        let end = |name: &String| self.point(section, "between", name, fits, kinds);
        Ok((end(a)?, end(b)?))
    }

    fn pcie_switches(&mut self, root: &Section<'_>, pcie: &Pcie) -> Result<(), MachineError> {
        for section in root.tables("pcie_switches")? {
            let up = self.ports(&section)?;
            let defaults = pcie.link(Bandwidth::ZERO);
            let uplink = link(
                &section,
                LinkKind::Pcie,
                pcie.bandwidth,
                defaults.efficiency,
                defaults.latency,
            )?;
            let switches = self.add_numbered(&section, up.len(), VertexKind::PcieSwitch)?;
            section.finish()?;
            for (switch, up) in switches.into_iter().zip(up) {
                self.topology.connect(switch, up, uplink);
            }
        }
        Ok(())
    }

    fn gpus(&mut self, root: &Section<'_>, pcie: &Pcie) -> Result<(), MachineError> {
        for section in root.tables("gpus")? {
            let model = section.required_text("model")?;
            let gpu = gpu::find(&model).map_err(|unknown| {
                let remedy = format!(
                    "did you mean {}? Known: {}",
                    unknown.nearest,
                    unknown.known.join(", ")
                );
                section.fault("model", format!("= \"{model}\" is no known GPU"), remedy)
            })?;
            let count = section.required_count("count")?;
            let slots = self.slots(&section)?;
            let own = section.bandwidth("bandwidth")?;
            section.finish()?;
            if slots.len() as u64 * u64::from(count) > (MOST_GPUS - self.gpus.len()) as u64 {
                let fault = format!("makes more than {MOST_GPUS} GPUs");
                return Err(section.fault("count", fault, "describe a part of the machine"));
            }
            for slot in slots.iter().flat_map(|slot| (0..count).map(|_| *slot)) {
                let device = DeviceId::new(self.gpus.len());
                let kind = VertexKind::Gpu(device);
                let vertex = self.add(&section, "model", device.to_string(), kind)?;
                let capacity = own.or(pcie.bandwidth).unwrap_or(gpu.pcie);
                self.topology.connect(vertex, slot, pcie.link(capacity));
                self.gpus.push(gpu.clone());
            }
        }
        Ok(())
    }

    fn socket_links(&mut self, root: &Section<'_>) -> Result<(), MachineError> {
        for section in root.tables("socket_links")? {
            let fits = |kind| kind == VertexKind::HostBridge;
            let (a, b) = self.between(&section, fits, "socket")?;
            let spec = link(&section, LinkKind::Socket, None, 1.0, PCIE_LATENCY)?;
            section.finish()?;
            self.topology.connect(a, b, spec);
        }
        Ok(())
    }

    fn network_links(&mut self, root: &Section<'_>) -> Result<(), MachineError> {
        for section in root.tables("network_links")? {
            let fits = |kind| kind == VertexKind::NetworkSwitch;
            let (a, b) = self.between(&section, fits, "network")?;
            let spec = link(
                &section,
                LinkKind::Network,
                None,
                NETWORK_EFFICIENCY,
                super::fabric::SWITCH_LATENCY,
            )?;
            section.finish()?;
            self.topology.connect(a, b, spec);
        }
        Ok(())
    }

    /// One crossbar that joins every GPU with NVLink.
    fn nvlink(&mut self, root: &Section<'_>) -> Result<(), MachineError> {
        let Some(section) = root.table("nvlink")? else {
            return Ok(());
        };
        let name = section.required_text("switch")?;
        let switch = self.add_named(&section, "switch", &name, VertexKind::NvSwitch)?;
        let vertices = self.topology.vertices.clone().into_iter().enumerate();
        for (index, vertex) in vertices.skip(self.first.0) {
            let VertexKind::Gpu(device) = vertex.kind else {
                continue;
            };
            let gpu = &self.gpus[device.index()];
            if gpu.nvlink_form != Some(NvlinkForm::Board) {
                let fault = format!(
                    "joins {}, and {} has no switched NVLink",
                    vertex.name, gpu.name
                );
                let remedy = "remove [nvlink]; a bridge between two GPUs is [[nvlink_bridges]]";
                return Err(section.fault("switch", fault, remedy));
            }
            let efficiency = nvlink_efficiency(gpu.architecture);
            let spec = link(
                &section,
                LinkKind::Nvlink,
                gpu.nvlink,
                efficiency,
                NVLINK_LATENCY,
            )?;
            self.topology.connect(VertexId::new(index), switch, spec);
        }
        section.finish()
    }

    fn nvlink_bridges(&mut self, root: &Section<'_>) -> Result<(), MachineError> {
        for section in root.tables("nvlink_bridges")? {
            let fits = |kind| matches!(kind, VertexKind::Gpu(_));
            let (a, b) = self.between(&section, fits, "GPU")?;
            let VertexKind::Gpu(device) = self.topology.vertices[a.index()].kind else {
                unreachable!("both ends of a bridge are GPUs: `between` was asked for those");
            };
            let gpu = &self.gpus[device.index()];
            let efficiency = nvlink_efficiency(gpu.architecture);
            let spec = link(
                &section,
                LinkKind::Nvlink,
                gpu.nvlink,
                efficiency,
                NVLINK_LATENCY,
            )?;
            section.finish()?;
            self.topology.connect(a, b, spec);
        }
        Ok(())
    }

    fn nics(&mut self, root: &Section<'_>, pcie: &Pcie, node: u32) -> Result<(), MachineError> {
        let mut rail = 0;
        for section in root.tables("nics")? {
            let slots = self.ports(&section)?;
            let name = section.required_text("network")?;
            let fabric = self.fabric.as_ref().filter(|fabric| fabric.name == name);
            let switched = match fabric {
                Some(_) => None,
                None => {
                    let fits = |kind| kind == VertexKind::NetworkSwitch;
                    Some(self.point(&section, "network", &name, fits, "network")?)
                }
            };
            let wire = link(
                &section,
                LinkKind::Network,
                None,
                NETWORK_EFFICIENCY,
                NETWORK_LATENCY,
            )?;
            let own = section.bandwidth("slot_bandwidth")?;
            let nics = self.add_numbered(&section, slots.len(), VertexKind::Nic)?;
            section.finish()?;
            let usual = || {
                let slot = pcie.bandwidth.unwrap_or(NIC_SLOT);
                slot.max(wire.capacity.scaled(2.0))
            };
            let slot_capacity = own.unwrap_or_else(usual);
            for (nic, slot) in nics.into_iter().zip(slots) {
                self.topology.connect(nic, slot, pcie.link(slot_capacity));
                let network = match (switched, &mut self.fabric) {
                    (Some(network), _) => network,
                    (None, Some(fabric)) => fabric.leaf(&mut self.topology, node, rail),
                    (None, None) => unreachable!("the name was found to be the fabric's"),
                };
                self.topology.connect(nic, network, wire);
                rail += 1;
            }
        }
        Ok(())
    }

    /// A memory at every socket, where some transfers are staged.
    fn staging(&mut self, root: &Section<'_>) -> Result<(), MachineError> {
        let section = root.table("staging")?;
        let Some(section) = section else {
            if self.peer_to_peer == PeerToPeer::On {
                return Ok(());
            }
            let remedy = "with peer_to_peer off, add [staging] with bandwidth = \"34 GB/s\": \
                          what one socket's memory passes on, one way";
            return Err(root.missing("staging", remedy));
        };
        let spec = link(&section, LinkKind::Staging, None, 1.0, STAGING_LATENCY)?;
        section.finish()?;
        let vertices = self.topology.vertices.clone().into_iter().enumerate();
        let own = vertices.skip(self.first.0);
        for (index, socket) in own.filter(|(_, v)| v.kind == VertexKind::HostBridge) {
            let name = format!("{}.memory", socket.name);
            let memory = self.topology.add(name, VertexKind::HostMemory);
            self.topology.connect(VertexId::new(index), memory, spec);
        }
        Ok(())
    }
}
