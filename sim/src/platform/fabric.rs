//! What joins the GPUs of one host: NVLink, PCIe of a known wiring, or the links that a machine file describes.

use topologies::host::Collectives;
use topologies::topology::{Link, LinkKind, VertexKind};
use topologies::{DeviceId, Gpu, Machine};

use crate::collective::{System, Wiring};

/// What joins the GPUs of one host, and so where rates come from.
#[derive(Clone, Debug, PartialEq)]
pub enum Fabric {
    /// NVLink: NCCL tables of the system.
    NvLink(System),
    /// PCIe of a known wiring: its usual rates.
    Pcie(Wiring),
    /// The links of the machine, as its file describes them.
    Links,
}

/// A 4090's driver refuses peer-to-peer copies: such cards count as consumer PCIe.
pub(super) fn pcie_wiring(gpu: &Gpu, sockets: Wiring) -> Wiring {
    let consumer = gpu.form_factor.to_lowercase().contains("consumer");
    if consumer && sockets == Wiring::SinglePcie {
        Wiring::ConsumerPcie
    } else {
        sockets
    }
}

impl Fabric {
    /// Boxes with PCIe roots are wired as published ones: their usual rates, for plans chosen by rates of links alone
    /// are slower (two sockets' all-to-all collapses, and no link says so). Links decide where nobody measured a wiring
    /// alike: GPUs around one switch, behind a network each, or with NVLink between some of them.
    pub(super) fn of(machine: &Machine) -> Self {
        let mut points = machine.vertices.iter().map(|vertex| vertex.kind);
        let rooted = points.any(|kind| kind == VertexKind::HostBridge);
        let links = machine.host.collectives == Collectives::Links;
        if links || !rooted || gpus_per_host(machine) == 1 {
            return Self::Links;
        }
        let has = |kind| machine.links.iter().any(|link| link.kind == kind);
        let gpu = &machine.gpus[0];
        let system = System::of(gpu);
        if !has(LinkKind::Nvlink) {
            let sockets = match has(LinkKind::Socket) {
                true => Wiring::DualSocketPcie,
                false => Wiring::SinglePcie,
            };
            Self::Pcie(pcie_wiring(gpu, sockets))
        } else if joined_by_nvlink(machine) && system.has_table() {
            Self::NvLink(system)
        } else {
            Self::Links
        }
    }
}

/// Whether NVLink alone joins the GPUs of each host, at the rate of the datasheet.
fn joined_by_nvlink(machine: &Machine) -> bool {
    let usual = machine.gpus[0].nvlink;
    let is_usual = |link: &Link| link.kind == LinkKind::Nvlink && Some(link.capacity) == usual;
    let is_joined = |host: &Vec<DeviceId>| {
        let mut links = host[1..]
            .iter()
            .flat_map(|to| &machine.route(host[0], *to).links);
        links.all(|link| is_usual(machine.link(*link)))
    };
    machine.nodes().iter().all(is_joined)
}

/// GPUs of the first host.
pub(super) fn gpus_per_host(machine: &Machine) -> u32 {
    let first = &machine.nodes()[0];
    u32::try_from(first.len()).expect("a machine has fewer than 2^32 GPUs")
}
