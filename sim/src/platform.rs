//! Where a plan runs: GPUs, and what a message among a group of them costs.
//!
//! | what is known | a message is |
//! |---|---|
//! | a measured rate, an NCCL table, or the wiring with its usual rates | a fixed time: measurements already hold what groups beside each other cost |
//! | only the links of a machine file | flows that share the links max-min fairly |
//! | one of the first inside nodes, links between them | flows over the links between, at most as fast as what is inside |
//!
//! Source of the first rule: in published runs a group of 2 keeps its rate beside three others, and
//! Ulysses-4 in each of two guidance branches runs at the rate of 4 ranks (docs/calibration.md section 4).
//!
//! What a message moves over which links is known of both, so that timelines show it.
//!
//! Where all ranks share one GPU (`one_gpu`), a message is copies to the host and back.
//!
//! Faults (`with`) leave messages' times and rings as they were set up; where a link on their way is narrower,
//! the time grows by what that does to the same flows, of measured collectives too.
//!
//! Not modelled: contention between two collectives of known rate, rings that are set up again around a
//! narrow link.

mod condition;
mod fabric;
mod host_link;
mod message;

use std::sync::Arc;

use kernels::Miss;
use topologies::gpu::NvlinkForm;
use topologies::topology::Link;
use topologies::{Bandwidth, CollectiveKind, Condition, DeviceId, Gpu, Machine};

use crate::collective::System;
use crate::one_gpu::OneGpu;

pub use self::fabric::Fabric;
use self::fabric::{gpus_per_host, pcie_wiring};
pub use self::host_link::HostMemory;
pub use self::message::{Message, RateFactors, Reach, Stage, Timing};

/// Where the time of messages between hosts comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Network {
    /// Usual rates: those of the published hosts that they were read from, and of labels.
    Usual,
    /// The links of the machine.
    Links,
}

/// GPUs and the way between them.
#[derive(Clone, Debug)]
pub struct Platform {
    /// The GPUs, by [`DeviceId`].
    pub gpus: Vec<Gpu>,
    /// What joins them.
    pub fabric: Fabric,
    /// GPUs of one host: of the first, where hosts differ.
    pub gpus_per_host: u32,
    /// The host of each GPU.
    node_of: Vec<usize>,
    /// Where the time of messages between hosts comes from.
    network: Network,
    /// Collectives that were timed by themselves on this host: kind, ranks, bus bandwidth.
    pub timed: Vec<(CollectiveKind, u32, Bandwidth)>,
    /// Rate that payload reaches on each link, by link.
    pub effective: Vec<Bandwidth>,
    /// The same where nothing is wrong with the links.
    healthy: Vec<Bandwidth>,
    /// What is wrong.
    condition: Condition,
    /// Where all ranks share one GPU: how they exchange messages.
    pub one_gpu: Option<OneGpu>,
    machine: Option<Arc<Machine>>,
    /// The machine that figures of collectives were measured on, where its links are others.
    measured: Option<Arc<Machine>>,
}

impl Platform {
    /// `count` equal GPUs of which only the kind of interconnect is known; hosts hold at most 8.
    #[must_use]
    pub fn labelled(gpu: &Gpu, count: u32, fabric: Fabric) -> Self {
        let hosts = match fabric {
            Fabric::NvLink(_) => 1,
            Fabric::Pcie(_) | Fabric::Links => count.div_ceil(8),
        };
        let fabric = match fabric {
            Fabric::Pcie(wiring) => Fabric::Pcie(pcie_wiring(gpu, wiring)),
            other => other,
        };
        let gpus_per_host = count.div_ceil(hosts);
        let node_of = (0..count).map(|gpu| (gpu / gpus_per_host) as usize);
        Self {
            gpus: vec![gpu.clone(); count as usize],
            fabric,
            gpus_per_host,
            node_of: node_of.collect(),
            network: Network::Usual,
            timed: Vec::new(),
            effective: Vec::new(),
            healthy: Vec::new(),
            condition: Condition::HEALTHY,
            one_gpu: None,
            machine: None,
            measured: None,
        }
    }

    /// `ranks` ranks on one GPU.
    #[must_use]
    pub fn on_one_gpu(gpu: &Gpu, ranks: u32, exchange: OneGpu) -> Self {
        Self {
            gpus_per_host: ranks,
            node_of: vec![0; ranks as usize],
            effective: exchange.capacities(),
            one_gpu: Some(exchange),
            ..Self::labelled(gpu, ranks, Fabric::Links)
        }
    }

    /// The GPUs and links of a machine; its fabric is what its host's file says, else how its GPUs are wired.
    ///
    /// # Errors
    /// [`Miss`] when the host names an NCCL system that is not known.
    pub fn of_machine(machine: &Machine) -> Result<Self, Miss> {
        let fabric = match &machine.host.nccl_system {
            Some(system) => Fabric::NvLink(System::named(system)?),
            None => Fabric::of(machine),
        };
        let effective: Vec<Bandwidth> = machine.links.iter().map(Link::effective).collect();
        let timed = machine.host.rates.iter();
        Ok(Self {
            gpus: machine.gpus.clone(),
            gpus_per_host: gpus_per_host(machine),
            node_of: machine.devices().map(|gpu| machine.node_of(gpu)).collect(),
            network: match (&fabric, machine.host.published.is_empty()) {
                (Fabric::Pcie(_), false) => Network::Usual,
                _ => Network::Links,
            },
            fabric,
            timed: timed
                .map(|rate| (rate.kind, rate.ranks, rate.bus_bandwidth))
                .collect(),
            healthy: effective.clone(),
            effective,
            condition: Condition::HEALTHY,
            one_gpu: None,
            machine: Some(Arc::new(machine.clone())),
            measured: None,
        })
    }

    /// As [`of_machine`](Self::of_machine), for `machine` a change of `measured`, whose figures its host
    /// carries: a measured collective is moved by what the change does to the same flows over the links.
    ///
    /// # Errors
    /// As [`of_machine`](Self::of_machine).
    pub fn what_if(machine: &Machine, measured: &Machine) -> Result<Self, Miss> {
        let mut platform = Self::of_machine(machine)?;
        let same = machine.links == measured.links || machine.gpus.len() != measured.gpus.len();
        platform.measured = (!same).then(|| Arc::new(measured.clone()));
        Ok(platform)
    }

    /// The GPU of a device.
    #[must_use]
    pub fn gpu(&self, device: DeviceId) -> &Gpu {
        &self.gpus[device.index()]
    }

    /// Whether its GPUs stand in several hosts.
    #[must_use]
    pub fn has_nodes(&self) -> bool {
        self.node_of.iter().any(|node| *node > 0)
    }

    /// The machine, where one is known.
    #[must_use]
    pub fn machine(&self) -> Option<&Machine> {
        self.machine.as_deref()
    }

    /// Whether its GPUs are those of servers that join them on a board, whatever joins them here: their CPUs are such servers' too.
    #[must_use]
    pub fn is_of_servers(&self) -> bool {
        let form = self.gpus.first().and_then(|gpu| gpu.nvlink_form);
        self.is_nvlink() || form == Some(NvlinkForm::Board)
    }

    /// Whether ranks are joined by NVLink.
    #[must_use]
    pub const fn is_nvlink(&self) -> bool {
        matches!(self.fabric, Fabric::NvLink(_))
    }
}
