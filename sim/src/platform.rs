//! Where a plan runs: GPUs, and what a message among a group of them costs.
//!
//! | what is known | a message is |
//! |---|---|
//! | a measured rate, an NCCL table, or the wiring with its usual rates | a fixed time: measurements already hold what groups beside each other cost |
//! | only the links of a machine file | flows that share the links max-min fairly |
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

use std::collections::BTreeMap;
use std::sync::Arc;

use kernels::{Miss, Provenance};
use topologies::host::Collectives;
use topologies::topology::{LinkKind, VertexKind};
use topologies::{
    Bandwidth, Bytes, CollectiveKind, Condition, DeviceId, Gpu, Machine, SimDuration,
};

use crate::collective::{
    Ask, Bundle, Element, Group, Hop, HopKind, HostRates, NcclTable, System, Wiring,
};
use crate::graph::Path;
use crate::one_gpu::{self, OneGpu};

mod condition;

/// Whether a group of ranks stays within one host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reach {
    /// Within one host (or one NVLink domain).
    Host,
    /// Across hosts.
    Network,
}

/// Calibrated factors on rates: measured rate over assumed rate, by kind and reach.
pub type RateFactors = BTreeMap<(CollectiveKind, Reach), f64>;

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

/// GPUs and the way between them.
#[derive(Clone, Debug)]
pub struct Platform {
    /// The GPUs, by [`DeviceId`].
    pub gpus: Vec<Gpu>,
    /// What joins them.
    pub fabric: Fabric,
    /// GPUs of one host.
    pub gpus_per_host: u32,
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

/// Whether what else uses the links changes a message's time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Timing {
    /// It does not: a measurement, or a rate of the wiring, gave the time.
    Fixed,
    /// It does: the flows share the links.
    Shared,
}

/// What one message among a group costs: a collective, or several one after another.
#[derive(Clone, Debug, PartialEq)]
pub struct Message {
    /// Time when nothing else uses the links.
    pub time: SimDuration,
    /// Whether the links decide.
    pub timing: Timing,
    /// The collective.
    pub kind: CollectiveKind,
    /// nccl-tests' size of each.
    pub sizes: Vec<Bytes>,
    /// Where the time came from.
    pub provenance: Provenance,
    /// Whether it leaves the host.
    pub reach: Reach,
}

impl Message {
    /// This message where it takes `factor` times as long.
    #[must_use]
    pub fn lengthened(mut self, factor: f64) -> Self {
        if factor != 1.0 {
            self.time = self.time.scaled(factor);
        }
        self
    }

    /// This message, and then `times` others of its kind among its group.
    #[must_use]
    pub fn then(&self, other: &Self, times: u32) -> Self {
        assert_eq!(self.kind, other.kind, "a message has one kind");
        let mut sizes = self.sizes.clone();
        sizes.extend((0..times).flat_map(|_| &other.sizes));
        Self {
            time: self.time + other.time * u64::from(times),
            sizes,
            ..self.clone()
        }
    }
}

/// A 4090's driver refuses peer-to-peer copies: such cards count as consumer PCIe.
fn pcie_wiring(gpu: &Gpu, sockets: Wiring) -> Wiring {
    let consumer = gpu.form_factor.to_lowercase().contains("consumer");
    if consumer && sockets == Wiring::SinglePcie {
        Wiring::ConsumerPcie
    } else {
        sockets
    }
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
        Self {
            gpus: vec![gpu.clone(); count as usize],
            fabric,
            gpus_per_host: count.div_ceil(hosts),
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
            None => fabric(machine),
        };
        let effective: Vec<Bandwidth> = machine
            .links
            .iter()
            .map(topologies::topology::Link::effective)
            .collect();
        let timed = machine.host.rates.iter();
        Ok(Self {
            gpus: machine.gpus.clone(),
            fabric,
            gpus_per_host: gpus_per_host(machine),
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

    /// Time of the flows of a collective over the links as they are, over that of the measured machine's.
    fn moved(&self, ask: Ask, group: &[DeviceId]) -> f64 {
        let (Some(machine), Some(measured)) = (&self.machine, &self.measured) else {
            return 1.0;
        };
        let time = |machine: &Machine, effective: &[Bandwidth]| {
            let hop = |from: usize, to: usize| hop(machine, group[from], group[to]);
            let links = Group::new(group.len(), effective, hop);
            links.decompose(ask.kind, ask.size).time.as_secs_f64()
        };
        let effective: Vec<Bandwidth> = measured
            .links
            .iter()
            .map(topologies::topology::Link::effective)
            .collect();
        time(machine, &self.healthy) / time(measured, &effective)
    }

    /// The GPU of a device.
    #[must_use]
    pub fn gpu(&self, device: DeviceId) -> &Gpu {
        &self.gpus[device.index()]
    }

    /// The machine, where one is known.
    #[must_use]
    pub fn machine(&self) -> Option<&Machine> {
        self.machine.as_deref()
    }

    /// Whether ranks are joined by NVLink.
    #[must_use]
    pub const fn is_nvlink(&self) -> bool {
        matches!(self.fabric, Fabric::NvLink(_))
    }

    /// Whether `group` leaves its host.
    #[must_use]
    pub fn reach(&self, group: &[DeviceId]) -> Reach {
        let host = |device: &DeviceId| device.index() / self.gpus_per_host as usize;
        let first = group.first().map(host);
        let same = group.iter().all(|device| Some(host(device)) == first);
        if same { Reach::Host } else { Reach::Network }
    }

    /// What `kind` of nccl-tests' `size` costs among `group`, at rates times `factors`.
    ///
    /// # Errors
    /// [`Miss`] when no figure covers the group.
    pub fn message(
        &self,
        kind: CollectiveKind,
        group: &[DeviceId],
        size: Bytes,
        factors: &RateFactors,
    ) -> Result<Message, Miss> {
        let ranks = u32::try_from(group.len()).expect("a machine has fewer than 2^32 GPUs");
        let reach = self.reach(group);
        if let Some(one) = &self.one_gpu {
            return Self::copied(one, kind, group, size);
        }
        let ask = Ask {
            kind,
            element: Element::Half,
            ranks,
            size,
        };
        let factor = factors.get(&(kind, reach)).copied();
        let fixed = |cost: crate::collective::CollectiveCost, factor: f64| Message {
            time: cost.time.scaled(self.moved(ask, group) / factor),
            timing: Timing::Fixed,
            kind,
            sizes: vec![size],
            provenance: cost.provenance,
            reach,
        };
        let timed = self.timed.iter().any(|rate| rate.0 == kind);
        let wiring = match (&self.fabric, reach) {
            (Fabric::NvLink(system), _) if !timed => {
                return Ok(fixed(
                    NcclTable::built_in().time(system, None, ask)?,
                    factor.unwrap_or(1.0),
                ));
            }
            (Fabric::Links, _) if !timed => return Ok(self.over_links(ask, group, factor, reach)),
            (Fabric::Pcie(_), Reach::Network) => Wiring::Network,
            (Fabric::Pcie(wiring), Reach::Host) => *wiring,
            _ => Wiring::Other,
        };
        let pcie = self.gpu(group[0]).pcie;
        let rates = HostRates {
            measured: &self.timed,
            wiring,
            pcie,
        };
        let cost = rates
            .time(kind, ranks, size)
            .expect("the wiring or a timed collective gives a rate");
        Ok(fixed(cost, factor.unwrap_or(1.0)))
    }

    /// A message among ranks that share a GPU.
    fn copied(
        one: &OneGpu,
        kind: CollectiveKind,
        group: &[DeviceId],
        size: Bytes,
    ) -> Result<Message, Miss> {
        let copies = one_gpu::copies(kind, group.len(), size);
        let copies = copies.ok_or_else(|| Miss::NoFigure {
            gpu: "ranks that share one GPU".into(),
            what: format!("{kind}"),
            remedy: "they run plans without tensor parallelism".into(),
        })?;
        Ok(Message {
            time: one.time(&copies, group.len()),
            timing: Timing::Shared,
            kind,
            sizes: vec![size],
            provenance: Provenance::Measured,
            reach: Reach::Host,
        })
    }

    fn over_links(
        &self,
        ask: Ask,
        group: &[DeviceId],
        factor: Option<f64>,
        reach: Reach,
    ) -> Message {
        let links = self
            .links_of(group)
            .expect("a fabric of links has a machine");
        let links = links.decompose(ask.kind, ask.size);
        Message {
            time: links.time.scaled(1.0 / factor.unwrap_or(1.0)),
            timing: factor.map_or(Timing::Shared, |_| Timing::Fixed),
            kind: ask.kind,
            sizes: vec![ask.size],
            provenance: Provenance::Datasheet,
            reach,
        }
    }

    /// The ways between the GPUs of a group, where a machine is known.
    fn links_of(&self, group: &[DeviceId]) -> Option<Group<'_>> {
        let machine = self.machine.as_ref()?;
        let hop = |from: usize, to: usize| hop(machine, group[from], group[to]);
        Some(Group::new(group.len(), &self.healthy, hop))
    }

    /// What `message` moves over the links when `group` sends it; nothing where no machine is known.
    ///
    /// Of a shared message these are the bytes on the wire; of a fixed one the payload, for its
    /// protocol is not known, and no latency, which its time holds.
    #[must_use]
    pub fn flows(&self, message: &Message, group: &[DeviceId]) -> Option<Bundle> {
        let links = self.links_of(group)?;
        let (&first, rest) = message.sizes.split_first()?;
        let decomposed = links.decompose(message.kind, first);
        let mut flows = decomposed.bundle;
        for &size in rest {
            let next = links.decompose(message.kind, size);
            flows.latency += next.bundle.latency;
            // The weights hold the first part's overhead; a smaller part may go by a protocol with more.
            let overhead = match message.timing {
                Timing::Fixed => 1.0,
                Timing::Shared => next.protocol.overhead() / decomposed.protocol.overhead(),
            };
            flows.bytes += next.bundle.bytes.scaled(overhead);
        }
        if message.timing == Timing::Fixed {
            flows.latency = SimDuration::ZERO;
            for (_, weight) in &mut flows.shares {
                *weight = (*weight / decomposed.protocol.overhead()).round();
            }
        }
        Some(flows)
    }

    /// The one flow of `message` when one GPU sends it to another; nothing where its time is known otherwise.
    #[must_use]
    pub fn one_flow(&self, message: &Message, from: DeviceId, to: DeviceId) -> Option<Bundle> {
        let (Timing::Shared, Some(&size)) = (message.timing, message.sizes.first()) else {
            return None;
        };
        let pair = self.links_of(&[from, to])?.decompose(message.kind, size);
        let links = &self.machine.as_ref()?.route(from, to).links;
        let overhead = pair.protocol.overhead();
        Some(Bundle {
            shares: links.iter().map(|&link| (link, overhead)).collect(),
            ..pair.bundle
        })
    }

    /// The way of one flow between two GPUs, without latency, where a machine is known.
    #[must_use]
    pub fn way(&self, from: DeviceId, to: DeviceId) -> Option<Path> {
        let route = self.machine.as_ref()?.route(from, to);
        Some(Path::single(SimDuration::ZERO, &route.links))
    }
}

fn hop(machine: &Machine, from: DeviceId, to: DeviceId) -> Hop {
    let route = machine.route(from, to);
    let kind = |link: &topologies::LinkId| match machine.link(*link).kind {
        LinkKind::Nvlink => HopKind::NvLink,
        LinkKind::Network => HopKind::Network,
        LinkKind::Pcie | LinkKind::Socket | LinkKind::Staging => HopKind::Pcie,
    };
    Hop {
        links: route.links.clone(),
        latency: route.latency,
        kind: route
            .links
            .iter()
            .map(kind)
            .max()
            .unwrap_or(HopKind::NvLink),
    }
}

fn has(machine: &Machine, kind: LinkKind) -> bool {
    machine.links.iter().any(|link| link.kind == kind)
}

/// Boxes with PCIe roots are wired as published ones: their usual rates, for plans chosen by rates of links alone are
/// slower (two sockets' all-to-all collapses, and no link says so). Links decide where nobody measured a wiring alike:
/// GPUs around one switch, behind a network each, or with NVLink between some of them.
fn fabric(machine: &Machine) -> Fabric {
    let rooted = machine
        .vertices
        .iter()
        .any(|vertex| vertex.kind == VertexKind::HostBridge);
    let gpu = &machine.gpus[0];
    let links = machine.host.collectives == Collectives::Links;
    if links || !rooted || has_network_only(machine) {
        return Fabric::Links;
    }
    if !has(machine, LinkKind::Nvlink) {
        return Fabric::Pcie(pcie_wiring(gpu, machine_wiring(machine)));
    }
    let system = System::of(gpu);
    if joined_by_nvlink(machine) && system.has_table() {
        Fabric::NvLink(system)
    } else {
        Fabric::Links
    }
}

/// Whether NVLink alone joins the GPUs of the first GPU's host, at the rate of its datasheet.
fn joined_by_nvlink(machine: &Machine) -> bool {
    let first = DeviceId::new(0);
    let usual = machine.gpus[0].nvlink;
    let others = machine.devices().filter(|device| *device != first);
    others
        .map(|device| machine.route(first, device))
        .all(|route| {
            let mut links = route.links.iter().map(|link| machine.link(*link));
            links.all(|link| link.kind == LinkKind::Nvlink && Some(link.capacity) == usual)
        })
}

/// Whether every pair of GPUs is joined by a network: one GPU per host.
fn has_network_only(machine: &Machine) -> bool {
    gpus_per_host(machine) == 1
}

fn machine_wiring(machine: &Machine) -> Wiring {
    if has(machine, LinkKind::Socket) {
        Wiring::DualSocketPcie
    } else {
        Wiring::SinglePcie
    }
}

/// GPUs joined without a network: those of the first GPU's host.
fn gpus_per_host(machine: &Machine) -> u32 {
    let first = DeviceId::new(0);
    let local = |device: &DeviceId| {
        let route = machine.route(first, *device);
        !route
            .links
            .iter()
            .any(|link| machine.link(*link).kind == LinkKind::Network)
    };
    let others = machine
        .devices()
        .filter(|device| *device != first)
        .filter(local)
        .count();
    u32::try_from(others + 1).expect("a machine has fewer than 2^32 GPUs")
}
