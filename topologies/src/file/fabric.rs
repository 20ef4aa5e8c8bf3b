//! The network of several nodes: leaf switches, and a spine above them.
//!
//! ```text
//!            spine                     up-link of a leaf = its ports together / over_subscription
//!         ╱         ╲\
//!     leaf0         leaf1              leaves = "rails": leaf k joins NIC k of every node
//!     ╱  ╲          ╱  ╲               leaves = "nodes": leaf k joins the NICs of node k
//! n0.nic0 n1.nic0  n0.nic1 n1.nic1     without leaves: one switch that never blocks
//! ```
//!
//! Not modelled: several up-links of a leaf between which flows are hashed; adaptive routing.

use super::section::Section;
use crate::host::{UnknownWord, words};
use crate::machine::MachineError;
use crate::topology::{LinkKind, LinkSpec, Topology, VertexId, VertexKind};
use crate::units::{Bandwidth, SimDuration};
use std::fmt;
use std::str::FromStr;

/// Assumption for one more switch and its cable: cut-through switches of this class state 0.13 us from port to
/// port (NVIDIA Quantum QM8700 datasheet); 20 m of fibre take 0.1 us.
pub(super) const SWITCH_LATENCY: SimDuration = SimDuration::new(230_000);

/// Which NICs share a leaf switch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Leaves {
    /// Those of equal number in every node.
    Rails,
    /// Those of one node.
    Nodes,
}

words!(Leaves, [(Rails, "rails"), (Nodes, "nodes")]);

/// The network of `[fabric]`.
pub(super) struct Fabric {
    pub(super) name: String,
    leaves: Option<Leaves>,
    over_subscription: f64,
    latency: SimDuration,
    switches: Vec<(String, VertexId)>,
}

/// The up-links that a leaf may lack, as a ratio.
const MOST_OVER_SUBSCRIPTION: f64 = 1000.0;

impl Fabric {
    pub(super) fn read(
        root: &Section<'_>,
        topology: &Topology,
    ) -> Result<Option<Self>, MachineError> {
        let Some(section) = root.table("fabric")? else {
            return Ok(None);
        };
        let name = section.required_text("name")?;
        if topology.named(&name).is_some() {
            let fault = format!("= \"{name}\" is a network already");
            return Err(section.fault("name", fault, "give the fabric its own name"));
        }
        let leaves = section.word("leaves")?;
        let ratio = section.ratio("over_subscription", MOST_OVER_SUBSCRIPTION)?;
        let latency = section.quantity("latency")?;
        if leaves.is_none() && (ratio.is_some() || latency.is_some()) {
            let remedy =
                "add leaves = \"rails\" or \"nodes\", or leave out over_subscription and latency";
            return Err(section.missing("leaves", remedy));
        }
        if ratio.is_some_and(|ratio| ratio < 1.0) {
            let remedy = "write 1 for up-links that carry all that the ports do, 2 for half of it";
            return Err(section.fault("over_subscription", "is below 1", remedy));
        }
        section.finish()?;
        Ok(Some(Self {
            name,
            leaves,
            over_subscription: ratio.unwrap_or(1.0),
            latency: latency.unwrap_or(SWITCH_LATENCY),
            switches: Vec::new(),
        }))
    }

    /// The switch that a NIC is joined to; `rail` is its number in its node.
    pub(super) fn leaf(&mut self, topology: &mut Topology, node: u32, rail: u32) -> VertexId {
        let name = match self.leaves {
            None => self.name.clone(),
            Some(Leaves::Rails) => format!("{}.rail{rail}", self.name),
            Some(Leaves::Nodes) => format!("{}.leaf{node}", self.name),
        };
        if let Some((_, known)) = self.switches.iter().find(|(known, _)| *known == name) {
            return *known;
        }
        let switch = topology.add(name.clone(), VertexKind::NetworkSwitch);
        self.switches.push((name, switch));
        switch
    }

    /// The spine above the leaves, where there are several.
    pub(super) fn join_leaves(self, topology: &mut Topology) {
        if self.switches.len() < 2 {
            return;
        }
        let spine = topology.add(format!("{}.spine", self.name), VertexKind::NetworkSwitch);
        for (_, leaf) in self.switches {
            let ports = topology.links.iter().filter(|link| link.from == leaf);
            let ports: Vec<(u64, f64)> = ports
                .map(|port| (port.capacity.get(), port.efficiency))
                .collect();
            let all: u64 = ports.iter().fold(0, |all, port| all.saturating_add(port.0));
            let efficiency = ports.iter().map(|port| port.1).fold(1.0, f64::min);
            topology.connect(
                leaf,
                spine,
                LinkSpec {
                    kind: LinkKind::Network,
                    capacity: Bandwidth::new(all).scaled(self.over_subscription.recip()),
                    latency: self.latency,
                    efficiency,
                },
            );
        }
    }
}
