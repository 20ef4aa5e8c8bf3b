//! Machines nobody measured: equal GPUs around one switch, or nodes of them joined by a network.
//!
//! ```text
//! 16xL20@25GB/s       8xH100-SXM@nvlink6       32xL40S@ethernet-400g
//! 2x8xH100-SXM@ib-400g                         nodes x GPUs; inside a node what the GPUs have
//! 16xH100-SXM@nvlink4+ethernet-400g            the same, the link inside named; nodes of 8 are assumed, and said
//! ```
//! Without nodes every GPU has one link to the switch, which never blocks; no collective is calibrated. In a node
//! (`nodes`) a card for each GPU joins a network that never blocks.

mod nodes;

use thiserror::Error;

use crate::gpu::{self, NvlinkForm};
use crate::host::Host;
use crate::ids::DeviceId;
use crate::machine::{About, MOST_GPUS, Machine};
use crate::suggest::nearest;
use crate::topology::{LinkKind, LinkSpec, PeerToPeer, Topology, VertexKind};
use crate::units::{Bandwidth, SimDuration};

/// An interconnect by name, announced or standardised.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Interconnect {
    /// As it is typed.
    pub name: &'static str,
    /// Its technology.
    pub kind: LinkKind,
    /// One GPU's rate, one way.
    pub capacity: Bandwidth,
    /// Share of it that data gets.
    pub efficiency: f64,
    /// From a GPU to the switch; a message takes it twice.
    pub latency: SimDuration,
    /// Where rate, efficiency and latency are from; what is assumed.
    pub source: &'static str,
}

/// One row a line: name, technology, MB/s one way, efficiency, nanoseconds to the switch, source.
macro_rules! interconnects {
    ($($name:literal $kind:ident $rate:literal $efficiency:literal $latency:literal $source:literal;)+) => {
        &[$(Interconnect {
            name: $name,
            kind: LinkKind::$kind,
            capacity: Bandwidth::new($rate * 1_000_000),
            efficiency: $efficiency,
            latency: SimDuration::new($latency * 1000),
            source: $source,
        }),+]
    };
}

/// Latencies are NCCL's per hop (`src/graph/tuning.cc`) unless stated; efficiencies those of the
/// generation before, as NCCL's `src/graph/topo.h` has them: assumptions for what is not built yet.
pub const INTERCONNECTS: &[Interconnect] = interconnects! {
    "pcie4" Pcie 32000 0.82 500 "PCI-SIG: 16 GT/s x16; efficiency of published PCIe 4 hosts";
    "pcie5" Pcie 64000 0.82 500 "PCI-SIG: 32 GT/s x16; efficiency of PCIe 4";
    "pcie6" Pcie 128000 0.82 500 "PCI-SIG PCIe 6.0: 64 GT/s x16; efficiency and latency assumed as PCIe 4";
    "pcie7" Pcie 256000 0.82 500 "PCI-SIG PCIe 7.0: 128 GT/s x16; efficiency and latency assumed as PCIe 4";
    "nvlink4" Nvlink 450000 0.824 300 "NVIDIA H100 datasheet: 900 GB/s both ways";
    "nvlink5" Nvlink 900000 0.802 300 "NVIDIA B200 datasheet: 1.8 TB/s both ways";
    "nvlink6" Nvlink 1800000 0.802 300 "NVIDIA Rubin announcement: 3.6 TB/s both ways; efficiency assumed as NVLink 5";
    "ualink" Nvlink 100000 0.9 500 "UALink 200G 1.0: 4 lanes of 200 Gbit/s a station; one station, efficiency and latency assumed";
    "ib-200g" Network 25000 0.96 1350 "InfiniBand HDR, 200 Gbit/s; one port a GPU";
    "ib-400g" Network 50000 0.96 1350 "InfiniBand NDR, 400 Gbit/s; one port a GPU";
    "ib-800g" Network 100000 0.96 1350 "InfiniBand XDR, 800 Gbit/s; one port a GPU; efficiency and latency assumed as NDR";
    "ethernet-100g" Network 12500 0.96 1350 "IEEE 802.3; one port a GPU";
    "ethernet-400g" Network 50000 0.96 1350 "IEEE 802.3bs; one port a GPU";
    "ethernet-800g" Network 100000 0.96 1350 "IEEE 802.3df; one port a GPU; efficiency and latency assumed as 100G";
    "ethernet-1.6t" Network 200000 0.96 1350 "IEEE P802.3dj (in progress); one port a GPU; efficiency and latency assumed as 100G";
    "optics-scale-up" Nvlink 1800000 0.8 600 "assumption: co-packaged optics carry NVLink 6 rates between racks, at twice its latency for 50 m of fibre";
};

/// Why there is no such machine.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("machine \"{text}\": {fault}")]
pub struct NotHypothetical {
    /// What was typed.
    pub text: String,
    /// What is wrong, and what to do.
    pub fault: String,
}

/// The machine `text` describes: `COUNTxGPU@RATE`, `COUNTxGPU@INTERCONNECT`, `NODESxCOUNTxGPU@NETWORK` or
/// `COUNTxGPU@INSIDE+NETWORK`.
///
/// ```
/// let machine = topologies::hypothetical::machine("16xL20@25GB/s")?;
/// assert_eq!(machine.gpus.len(), 16);
/// let (a, b) = (topologies::DeviceId::new(0), topologies::DeviceId::new(9));
/// assert_eq!(machine.bandwidth(a, b), Some("25 GB/s".parse().unwrap()));
/// # Ok::<(), topologies::hypothetical::NotHypothetical>(())
/// ```
///
/// # Errors
/// [`NotHypothetical`] naming the part that cannot be read.
pub fn machine(text: &str) -> Result<Machine, NotHypothetical> {
    let fault = |fault: String| NotHypothetical {
        text: text.to_owned(),
        fault,
    };
    let parts = text.split_once('@').and_then(|(gpus, link)| {
        let (count, model) = gpus.split_once('x')?;
        Some((count, model, link))
    });
    let (count, model, link) = parts.ok_or_else(|| {
        fault("write COUNTxGPU@RATE, as in 16xL20@25GB/s or 8xH100-SXM@nvlink6, or NODESxCOUNTxGPU@NETWORK, as in \
               2x8xH100-SXM@ib-400g".to_owned())
    })?;
    let read_count = |count: &str| {
        let most = MOST_GPUS as u32;
        let read = count
            .parse()
            .ok()
            .filter(|count| (1..=most).contains(count));
        read.ok_or_else(|| {
            fault(format!(
                "\"{count}\" GPUs: give a count from 1 to {MOST_GPUS}"
            ))
        })
    };
    let count: u32 = read_count(count)?;
    let of_nodes = |model: &str| {
        let (each, model) = model.split_once('x')?;
        each.parse::<u64>()
            .is_ok()
            .then(|| (each.to_owned(), model.to_owned()))
    };
    let each = of_nodes(model);
    let model = each.as_ref().map_or(model, |(_, model)| model.as_str());
    let gpu = gpu::find(model).map_err(|error| fault(error.to_string()))?;
    let (inside, network) = match link.split_once('+') {
        Some((inside, network)) => (Some(interconnect(inside).map_err(fault)?), network),
        None => (None, link),
    };
    let (spec, source) = interconnect(network).map_err(fault)?;
    let is_network = spec.kind == LinkKind::Network;
    if each.is_some() || inside.is_some() {
        let each = each.map(|(each, _)| read_count(&each)).transpose()?;
        if !is_network {
            return Err(fault(format!(
                "\"{network}\" joins no nodes: name a network, as in {count}x8x{}@ib-400g",
                gpu.name
            )));
        }
        let nodes = nodes::Nodes::new(count, each, gpu).map_err(fault)?;
        return nodes.machine(text, inside, (spec, &source)).map_err(fault);
    }
    if is_network && count > 1 && gpu.nvlink_form == Some(NvlinkForm::Board) {
        return Err(fault(format!(
            "{} stands in nodes with NVLink, and this does not say how many: write {}x{}x{}@{network} for nodes of {}, \
             {count}x1x{}@{network} for nodes of one",
            gpu.name,
            count.div_ceil(8),
            count.min(8),
            gpu.name,
            count.min(8),
            gpu.name
        )));
    }
    let mut topology = Topology::default();
    let centre = topology.add("switch", centre(spec.kind));
    for index in 0..count as usize {
        let kind = VertexKind::Gpu(DeviceId::new(index));
        let vertex = topology.add(format!("gpu{index}"), kind);
        topology.connect(vertex, centre, spec);
    }
    let about = About {
        name: text.to_owned(),
        about: format!("{count} {} around one switch that never blocks", gpu.name),
        source: format!("hypothetical; {source}"),
    };
    let host = Host {
        name: "hypothetical".to_owned(),
        source: "nothing is measured".to_owned(),
        ..Host::default()
    };
    Machine::new(
        about,
        host,
        vec![gpu.clone(); count as usize],
        topology,
        PeerToPeer::On,
    )
    .map_err(|error| fault(error.to_string()))
}

/// What stands in the middle.
fn centre(kind: LinkKind) -> VertexKind {
    match kind {
        LinkKind::Pcie | LinkKind::Socket | LinkKind::Staging => VertexKind::HostBridge,
        LinkKind::Nvlink => VertexKind::NvSwitch,
        LinkKind::Network => VertexKind::NetworkSwitch,
    }
}

/// The network of this name, of which every network card of a node is a port.
///
/// # Errors
/// A sentence with the known networks.
pub fn network(name: &str) -> Result<&'static Interconnect, UnknownNetwork> {
    let mut networks = INTERCONNECTS
        .iter()
        .filter(|one| one.kind == LinkKind::Network);
    let known = networks.clone().map(|one| one.name);
    let found = networks.find(|one| one.name == name.to_lowercase());
    found.ok_or_else(|| UnknownNetwork {
        name: name.to_owned(),
        known: known.collect::<Vec<_>>().join(", "),
    })
}

/// No network has this name.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("\"{name}\" is no network: use one of {known}")]
pub struct UnknownNetwork {
    /// What was typed.
    pub name: String,
    /// The known names.
    pub known: String,
}

/// The links of an interconnect's name or rate, and where they are from.
fn interconnect(text: &str) -> Result<(LinkSpec, String), String> {
    let wanted = text.to_lowercase();
    if let Some(known) = INTERCONNECTS.iter().find(|known| known.name == wanted) {
        return Ok((known.spec(), known.source.to_owned()));
    }
    if wanted.starts_with(|first: char| first.is_ascii_digit()) {
        let capacity: Bandwidth = text
            .parse()
            .map_err(|error| format!("the rate \"{text}\" {error}"))?;
        let spec = LinkSpec {
            kind: LinkKind::Nvlink,
            capacity,
            latency: SimDuration::new(300_000),
            efficiency: 1.0,
        };
        return Ok((spec, "the rate is what data gets".to_owned()));
    }
    let names = || INTERCONNECTS.iter().map(|known| known.name);
    let nearest = nearest(text, names()).unwrap_or_default();
    let known = names().collect::<Vec<_>>().join(", ");
    Err(format!(
        "unknown interconnect \"{text}\": did you mean {nearest}? Known: {known}; or give a rate, as 25GB/s"
    ))
}

impl Interconnect {
    /// The link of one GPU.
    #[must_use]
    pub fn spec(&self) -> LinkSpec {
        LinkSpec {
            kind: self.kind,
            capacity: self.capacity,
            latency: self.latency,
            efficiency: self.efficiency,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_interconnect_makes_a_machine() {
        for known in INTERCONNECTS {
            let machine = machine(&format!("4xL20@{}", known.name)).unwrap();
            let rate = machine
                .bandwidth(DeviceId::new(1), DeviceId::new(3))
                .unwrap();
            assert_eq!(
                rate,
                known.capacity.scaled(known.efficiency),
                "{}",
                known.name
            );
            assert_eq!(machine.islands().len(), 1, "{}", known.name);
        }
    }

    #[test]
    fn mistakes_are_named() {
        for (text, part) in [
            ("16xL20", "COUNTxGPU@RATE"),
            ("16@25GB/s", "COUNTxGPU@RATE"),
            ("0xL20@25GB/s", "from 1 to 1024"),
            ("5000xL20@25GB/s", "from 1 to 1024"),
            ("4xL2@25GB/s", "L20"),
            ("4xL20@nvlnk5", "did you mean nvlink5"),
            ("4xL20@25", "25"),
            ("4xL20@0GB/s", "no capacity"),
            (
                "16xH100-SXM@ethernet-400g",
                "write 2x8xH100-SXM@ethernet-400g",
            ),
            ("2x8xH100-SXM@nvlink5", "joins no nodes"),
            ("2x0xH100-SXM@ib-400g", "from 1 to 1024"),
            ("200x8xH100-SXM@ib-400g", "from 1 to 1024"),
            ("12xH100-SXM@nvlink4+ib-400g", "NODESxCOUNT"),
            ("16xL20@pcie4+ib-400g", "NODESxCOUNT"),
            ("144xGB200@nvlink5+ib-800g", "NODESxCOUNT"),
            ("2x8xL20@nvlink4+ib-400g", "has no switched NVLink"),
            ("2x8xH100-SXM@ib-400g+ib-400g", "inside a node"),
        ] {
            let message = machine(text).unwrap_err().to_string();
            assert!(
                message.contains(text) && message.contains(part),
                "{message}"
            );
        }
    }
}
