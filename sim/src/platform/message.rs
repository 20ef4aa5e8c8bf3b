//! What a message among a group of GPUs costs, and what it moves over which links.

use std::collections::BTreeMap;

use kernels::{Miss, Provenance};
use topologies::topology::{Link, LinkKind};
use topologies::{
    Architecture, Bandwidth, Bytes, CollectiveKind, DeviceId, LinkId, Machine, SimDuration,
};

use super::{Fabric, Network, Platform};
use crate::collective::{
    Algorithm, Ask, Bundle, CollectiveCost, Element, Fabric as Links, Group, Hop, HopKind,
    HostRates, Inside, NcclTable, Protocol, Wiring, cap, size_inside,
};
use crate::graph::Path;
use crate::one_gpu::{self, OneGpu};

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
    /// Where a stage inside nodes was measured and the links between them decide: how.
    pub stage: Option<Stage>,
}

/// How a message crosses nodes beside a measured stage inside them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stage {
    /// Rings or a tree.
    pub algorithm: Algorithm,
    /// The protocol of the wires.
    pub protocol: Protocol,
    /// Of the message's time, what passes before the first byte.
    pub latency: SimDuration,
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
            stage: self.stage.zip(other.stage).map(|(own, other)| Stage {
                latency: own.latency + other.latency * u64::from(times),
                ..own
            }),
            sizes,
            ..self.clone()
        }
    }
}

impl Platform {
    /// Whether `group` leaves its host.
    #[must_use]
    pub fn reach(&self, group: &[DeviceId]) -> Reach {
        if self.span(group).len() < 2 {
            Reach::Host
        } else {
            Reach::Network
        }
    }

    /// How many ranks of `group` each node holds that has one, the fullest first.
    #[must_use]
    pub fn span(&self, group: &[DeviceId]) -> Vec<usize> {
        let mut ranks = BTreeMap::new();
        for device in group {
            *ranks.entry(self.node_of[device.index()]).or_insert(0) += 1;
        }
        let mut span: Vec<usize> = ranks.into_values().collect();
        span.sort_unstable_by(|a, b| b.cmp(a));
        span
    }

    /// The ranks of `group` in the node that holds most of them, the first of such nodes.
    fn fullest(&self, group: &[DeviceId]) -> Vec<DeviceId> {
        let mut parts: BTreeMap<usize, Vec<DeviceId>> = BTreeMap::new();
        for device in group {
            parts
                .entry(self.node_of[device.index()])
                .or_default()
                .push(*device);
        }
        let most = parts.values().map(Vec::len).max();
        let fullest = parts.into_values().find(|part| Some(part.len()) == most);
        fullest.unwrap_or_default()
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
        let fixed = |cost: CollectiveCost, factor: f64| Message {
            time: cost.time.scaled(self.moved(ask, group) / factor),
            timing: Timing::Fixed,
            kind,
            sizes: vec![size],
            provenance: cost.provenance,
            reach,
            stage: None,
        };
        let measured = self.timed(reach);
        let timed = measured.iter().any(|rate| rate.0 == kind);
        let wiring = match (&self.fabric, reach) {
            (_, Reach::Network) if !timed && self.network == Network::Links => {
                return self.across(ask, group, factors);
            }
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
            measured: &measured,
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
            stage: None,
        })
    }

    /// Collectives that were timed in one node, or over several: on more ranks than a node holds.
    fn timed(&self, reach: Reach) -> Vec<(CollectiveKind, u32, Bandwidth)> {
        let over_nodes = |ranks: u32| ranks > self.gpus_per_host;
        let fits = |ranks: u32| !self.has_nodes() || over_nodes(ranks) == (reach == Reach::Network);
        let all = self.timed.iter().copied();
        all.filter(|(_, ranks, _)| fits(*ranks)).collect()
    }

    /// A message among ranks of several nodes: a stage inside that is measured, beside flows over the network.
    fn across(&self, ask: Ask, group: &[DeviceId], factors: &RateFactors) -> Result<Message, Miss> {
        let reach = Reach::Network;
        let factor = factors.get(&(ask.kind, reach)).copied();
        if self.fabric == Fabric::Links {
            return Ok(self.over_links(ask, group, factor, reach));
        }
        let part = self.fullest(group);
        let staged = |algorithm: Algorithm| -> Result<_, Miss> {
            let inside = match part.len() {
                1 => None,
                fullest => {
                    let size = size_inside(ask.kind, algorithm, ask.size, (group.len(), fullest));
                    let whole = self.message(ask.kind, &part, size, factors)?.time;
                    let least = self.message(ask.kind, &part, Bytes::new(1), factors)?.time;
                    let latency = least.min(whole);
                    Some(Inside {
                        latency,
                        time: whole.saturating_sub(latency),
                    })
                }
            };
            let links = self
                .links_of(group)
                .expect("nodes joined by links are a machine's");
            Ok(links.across(ask.kind, algorithm, ask.size, inside))
        };
        let (mut best, mut algorithm) = (staged(Algorithm::Rings)?, Algorithm::Rings);
        if self.sums_in_switches() && ask.kind == CollectiveKind::AllReduce {
            let tree = staged(Algorithm::SwitchTree)?;
            if tree.time < best.time {
                (best, algorithm) = (tree, Algorithm::SwitchTree);
            }
        }
        let stage = Stage {
            algorithm,
            protocol: best.protocol,
            latency: best.bundle.latency,
        };
        Ok(Message {
            time: best.time.scaled(1.0 / factor.unwrap_or(1.0)),
            timing: factor.map_or(Timing::Shared, |_| Timing::Fixed),
            kind: ask.kind,
            sizes: vec![ask.size],
            provenance: Provenance::Datasheet,
            reach,
            stage: factor.is_none().then_some(stage),
        })
    }

    /// Whether the NVLink switches of a node sum what they pass on (NVLS): from Hopper on.
    fn sums_in_switches(&self) -> bool {
        let Fabric::NvLink(system) = &self.fabric else {
            return false;
        };
        let summing = [
            Architecture::Hopper,
            Architecture::Blackwell,
            Architecture::BlackwellUltra,
        ];
        matches!(system.fabric, Links::NvLink(_)) && summing.contains(&system.architecture)
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
            stage: None,
        }
    }

    /// The ways between the GPUs of a group, where a machine is known.
    pub(super) fn links_of(&self, group: &[DeviceId]) -> Option<Group<'_>> {
        let machine = self.machine.as_ref()?;
        let hop = |from: usize, to: usize| hop(machine, group[from], group[to]);
        Some(Group::new(group.len(), &self.healthy, hop))
    }

    /// What `message` moves over the links when `group` sends it; nothing where no machine is known.
    ///
    /// Of a shared message these are the bytes on the wire; of a fixed one the payload, for its
    /// protocol is not known, and no latency, which its time holds. Of one beside a stage inside nodes these are the
    /// bytes between the nodes, at most as fast as that stage.
    #[must_use]
    pub fn flows(&self, message: &Message, group: &[DeviceId]) -> Option<Bundle> {
        let links = self.links_of(group)?;
        if let Some(stage) = message
            .stage
            .filter(|_| self.reach(group) == Reach::Network)
        {
            return staged(&links, message, stage);
        }
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
                let flows = *weight / decomposed.protocol.overhead();
                // Of several rings each counts in part.
                *weight = (flows * ROUND).round() / ROUND;
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
        let links = &self.machine.as_ref()?.route(from, to).links;
        let pair = self.links_of(&[from, to])?;
        if let Some(stage) = message
            .stage
            .filter(|_| self.reach(&[from, to]) == Reach::Network)
        {
            let overhead = stage.protocol.overhead();
            return Some(Bundle {
                shares: links.iter().map(|&link| (link, overhead)).collect(),
                ..staged(&pair, message, stage)?
            });
        }
        let pair = pair.decompose(message.kind, size);
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
        let effective: Vec<Bandwidth> = measured.links.iter().map(Link::effective).collect();
        time(machine, &self.healthy) / time(measured, &effective)
    }
}

/// Weights of fixed messages' flows are rounded to a part in this many.
const ROUND: f64 = (1u32 << 20) as f64;

/// The flows between nodes of a message beside a stage inside: together with that stage's cap they take its time.
fn staged(links: &Group<'_>, message: &Message, stage: Stage) -> Option<Bundle> {
    let wires = |size: &Bytes| links.wires(message.kind, stage.algorithm, *size);
    let (shares, _) = wires(message.sizes.first()?);
    let bytes = message.sizes.iter().map(|size| wires(size).1).sum();
    let overhead = stage.protocol.overhead();
    Some(Bundle {
        latency: stage.latency,
        shares: shares
            .iter()
            .map(|(link, flows)| (*link, flows * overhead))
            .collect(),
        cap: cap(bytes, message.time.saturating_sub(stage.latency)),
        bytes,
    })
}

fn hop(machine: &Machine, from: DeviceId, to: DeviceId) -> Hop {
    let route = machine.route(from, to);
    let kind = |link: &LinkId| match machine.link(*link).kind {
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
        wire: route
            .links
            .iter()
            .copied()
            .find(|link| kind(link) == HopKind::Network),
    }
}
