//! Faults: what is slower than the machine file says, or gone.
//!
//! ```text
//! gpu3=80%                   its compute and its memory run at 80 %
//! gpu3=lost                  nothing can run on it; the others' wiring stays
//! gpu3-link=50%              all links of that GPU at half width
//! link:gpu2-socket0=50%      one link, both ways, by the names of its ends in the machine file
//! link:node0.nic1-lan=lost   that link is gone: what went over it takes another way
//! node1=80%, node1=lost      all GPUs of a node
//! node1-link=50%             all links between that node's network cards and their switches
//! throttle=85%               the clocks of all GPUs: compute slows, memory and links do not
//! gpu3=80%,throttle=85%      all of these at once
//! ```
//! Guarantees:
//! 1. A [`Condition`] never makes anything faster: no share exceeds 1.
//! 2. A fault of 100 % is none: [`Condition::HEALTHY`] and its condition are equal.
//!
//! Not modelled: faults that come and go during a run, errors that are corrected, a GPU that loses memory.

use std::collections::BTreeSet;

use thiserror::Error;

use crate::ids::{DeviceId, LinkId};
use crate::machine::Machine;
use crate::suggest::nearest;
use crate::topology::{TopologyError, VertexKind};

mod text;

/// What is left of a rate, in percent: from 1 to 100.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub struct Percent(f64);

impl Percent {
    /// `percent`, where it is from 1 to 100; less is as good as lost, and times would not fit.
    #[must_use]
    pub fn new(percent: f64) -> Option<Self> {
        (1.0..=100.0).contains(&percent).then_some(Self(percent))
    }

    /// As a share: from 0.01 to 1.
    #[must_use]
    pub fn share(self) -> f64 {
        self.0 / 100.0
    }
}

/// One thing that is wrong with a machine.
#[derive(Clone, Debug, PartialEq)]
pub enum Fault {
    /// A GPU's compute and memory are slower.
    Slow(DeviceId, Percent),
    /// A GPU is gone.
    Lost(DeviceId),
    /// All links of a GPU are narrower.
    GpuLinks(DeviceId, Percent),
    /// A link is narrower, both ways; named by its ends: `gpu2-socket0`.
    Link(String, Percent),
    /// A link is gone, both ways; named as above.
    LinkLost(String),
    /// All GPUs of a node are slower.
    Node(usize, Percent),
    /// A node is gone.
    NodeLost(usize),
    /// A node's links to its networks are narrower.
    NodeLinks(usize, Percent),
    /// All GPUs' clocks are lower.
    Throttle(Percent),
}

/// Why a fault cannot be read, or is none of this machine.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum FaultError {
    /// It is written in no known way.
    #[error(
        "fault \"{text}\": write gpu3=80%, gpu3=lost, gpu3-link=50%, link:A-B=50%, link:A-B=lost, node1=80%, node1=lost, \
         node1-link=50% or throttle=85%, several joined by commas"
    )]
    Form {
        /// What was typed.
        text: String,
    },
    /// A share outside 1 to 100 %.
    #[error(
        "fault \"{text}\": {share} is not a percentage from 1 to 100: say what is left, as in 80%"
    )]
    Percent {
        /// What was typed.
        text: String,
        /// The share as typed.
        share: String,
    },
    /// No such GPU.
    #[error("fault \"{fault}\": {machine} has the GPUs gpu0 to gpu{last}")]
    Gpu {
        /// The fault.
        fault: String,
        /// The machine.
        machine: String,
        /// Its last GPU.
        last: usize,
    },
    /// No such node.
    #[error("fault \"{fault}\": {machine} has the nodes node0 to node{last}")]
    Node {
        /// The fault.
        fault: String,
        /// The machine.
        machine: String,
        /// Its last node.
        last: usize,
    },
    /// A lost link among cases of which each may happen.
    #[error(
        "fault \"{fault}\": a lost link is another wiring: give it with --fault, not as a case of --robust"
    )]
    Wiring {
        /// The fault.
        fault: String,
    },
    /// Without a lost link two GPUs do not reach each other.
    #[error("faults \"{faults}\": {cut}")]
    Cut {
        /// The faults.
        faults: String,
        /// Who does not reach whom.
        cut: TopologyError,
    },
    /// No such link.
    #[error(
        "fault \"{fault}\": {machine} has no such link: did you mean {nearest}? Its links: {known}"
    )]
    Link {
        /// The fault.
        fault: String,
        /// The machine.
        machine: String,
        /// The name spelled most alike.
        nearest: String,
        /// All names.
        known: String,
    },
    /// The machine has no links at all.
    #[error("fault \"{fault}\": {machine} has no links")]
    NoLinks {
        /// The fault.
        fault: String,
        /// The machine.
        machine: String,
    },
    /// The same thing twice.
    #[error("faults \"{faults}\": {fault} concerns what another of them does: give each once")]
    Twice {
        /// The faults.
        faults: String,
        /// The second.
        fault: String,
    },
    /// Every GPU is lost.
    #[error("faults \"{faults}\": no GPU of {machine} is left: keep at least one")]
    NoneLeft {
        /// The faults.
        faults: String,
        /// The machine.
        machine: String,
    },
}

/// Faults at the same time; empty is a healthy machine.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Faults(Vec<Fault>);

/// How fast a GPU is, as shares of what its figures say: above 0, at most 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SpeedFactor {
    /// Arithmetic.
    pub compute: f64,
    /// Device memory.
    pub memory: f64,
}

impl SpeedFactor {
    /// As its figures say.
    pub const FULL: Self = Self {
        compute: 1.0,
        memory: 1.0,
    };
}

/// What faults leave of a machine.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Condition {
    /// How fast each GPU is, by [`DeviceId`]; empty where all are at full speed.
    pub speed_factors: Vec<SpeedFactor>,
    /// What is left of each link's bandwidth, by [`LinkId`]; empty where all have theirs.
    pub widths: Vec<f64>,
    /// GPUs that nothing can run on.
    pub lost: BTreeSet<DeviceId>,
}

impl Fault {
    /// Whether it changes nothing.
    fn is_none(&self) -> bool {
        match self {
            Self::Slow(_, left)
            | Self::GpuLinks(_, left)
            | Self::Link(_, left)
            | Self::Node(_, left)
            | Self::NodeLinks(_, left)
            | Self::Throttle(left) => left.share() == 1.0,
            Self::Lost(_) | Self::NodeLost(_) | Self::LinkLost(_) => false,
        }
    }

    /// The GPU it names.
    #[must_use]
    pub const fn gpu(&self) -> Option<DeviceId> {
        match self {
            Self::Slow(gpu, _) | Self::Lost(gpu) | Self::GpuLinks(gpu, _) => Some(*gpu),
            Self::Link(..)
            | Self::LinkLost(_)
            | Self::Node(..)
            | Self::NodeLost(_)
            | Self::NodeLinks(..)
            | Self::Throttle(_) => None,
        }
    }

    /// The node it names.
    const fn node(&self) -> Option<usize> {
        match self {
            Self::Node(node, _) | Self::NodeLost(node) | Self::NodeLinks(node, _) => Some(*node),
            _ => None,
        }
    }
}

impl FromIterator<Fault> for Faults {
    fn from_iter<I: IntoIterator<Item = Fault>>(faults: I) -> Self {
        Self(faults.into_iter().collect())
    }
}

impl Faults {
    /// The faults, as written.
    #[must_use]
    pub fn all(&self) -> &[Fault] {
        &self.0
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The machine without the links that are lost; the faults stay, and change nothing more there.
    ///
    /// # Errors
    /// [`FaultError`]: a link that `machine` lacks, or GPUs that no longer reach each other.
    pub fn rewired(&self, machine: Machine) -> Result<Machine, FaultError> {
        let mut lost = BTreeSet::new();
        for fault in &self.0 {
            if let Fault::LinkLost(name) = fault {
                Fault::Link(name.clone(), Percent(100.0)).check(&machine)?;
                lost.extend(fault.links(&machine));
            }
        }
        if lost.is_empty() {
            return Ok(machine);
        }
        let cut = |cut| FaultError::Cut {
            faults: self.to_string(),
            cut,
        };
        machine.without(&lost).map_err(cut)
    }

    /// The faults that change something on `machine`, all of which it can have.
    ///
    /// # Errors
    /// [`FaultError`]: a GPU or link that `machine` lacks, or no GPU left.
    pub fn checked(mut self, machine: &Machine) -> Result<Self, FaultError> {
        self.on(machine)?;
        self.0.retain(|fault| !fault.is_none());
        Ok(self)
    }

    /// What they leave of `machine`. What two faults narrow is narrowed by both.
    ///
    /// # Errors
    /// [`FaultError`]: a GPU or link that `machine` lacks, or no GPU left.
    pub fn on(&self, machine: &Machine) -> Result<Condition, FaultError> {
        let mut speed_factors = vec![SpeedFactor::FULL; machine.gpus.len()];
        let mut widths = vec![1.0; machine.links.len()];
        let mut lost = BTreeSet::new();
        for fault in &self.0 {
            fault.check(machine)?;
            match fault {
                Fault::Slow(gpu, left) => {
                    let speed_factor = &mut speed_factors[gpu.index()];
                    speed_factor.compute *= left.share();
                    speed_factor.memory *= left.share();
                }
                Fault::Lost(gpu) => {
                    lost.insert(*gpu);
                }
                Fault::Node(node, left) => {
                    for gpu in &machine.nodes()[*node] {
                        let speed_factor = &mut speed_factors[gpu.index()];
                        speed_factor.compute *= left.share();
                        speed_factor.memory *= left.share();
                    }
                }
                Fault::NodeLost(node) => lost.extend(&machine.nodes()[*node]),
                Fault::LinkLost(_) => {}
                Fault::Throttle(left) => {
                    for speed_factor in &mut speed_factors {
                        speed_factor.compute *= left.share();
                    }
                }
                Fault::GpuLinks(..) | Fault::Link(..) | Fault::NodeLinks(..) => {
                    let left = fault.width();
                    for link in fault.links(machine) {
                        widths[link.index()] *= left;
                    }
                }
            }
        }
        if lost.len() == machine.gpus.len() {
            return Err(FaultError::NoneLeft {
                faults: self.to_string(),
                machine: machine.name.clone(),
            });
        }
        if speed_factors
            .iter()
            .all(|speed_factor| *speed_factor == SpeedFactor::FULL)
        {
            speed_factors.clear();
        }
        if widths.iter().all(|width| *width == 1.0) {
            widths.clear();
        }
        Ok(Condition {
            speed_factors,
            widths,
            lost,
        })
    }
}

impl Fault {
    /// What is left of the bandwidth of its links.
    fn width(&self) -> f64 {
        match self {
            Self::GpuLinks(_, left) | Self::Link(_, left) | Self::NodeLinks(_, left) => {
                left.share()
            }
            _ => 1.0,
        }
    }

    /// The links it narrows.
    fn links(&self, machine: &Machine) -> Vec<LinkId> {
        let concerns = |id: &LinkId| match self {
            Self::GpuLinks(gpu, _) => {
                let link = machine.link(*id);
                let ends = [link.from, link.to];
                ends.iter()
                    .any(|end| machine.vertices[end.index()].kind == VertexKind::Gpu(*gpu))
            }
            Self::Link(name, _) | Self::LinkLost(name) => {
                let reverse = machine.link(*id).reverse;
                link_name(machine, *id) == *name || link_name(machine, reverse) == *name
            }
            Self::NodeLinks(node, _) => machine.leaves(*node, *id),
            _ => false,
        };
        let all = (0..machine.links.len()).map(LinkId::new);
        all.filter(concerns).collect()
    }

    fn check(&self, machine: &Machine) -> Result<(), FaultError> {
        let (fault, named) = (self.to_string(), machine.name.clone());
        if self
            .gpu()
            .is_some_and(|gpu| gpu.index() >= machine.gpus.len())
        {
            return Err(FaultError::Gpu {
                fault,
                machine: named,
                last: machine.gpus.len() - 1,
            });
        }
        let last = machine.nodes().len() - 1;
        if self.node().is_some_and(|node| node > last) {
            return Err(FaultError::Node {
                fault,
                machine: named,
                last,
            });
        }
        if matches!(self, Self::LinkLost(_)) && !self.links(machine).is_empty() {
            return Err(FaultError::Wiring { fault });
        }
        let of_links = matches!(
            self,
            Self::GpuLinks(..) | Self::Link(..) | Self::NodeLinks(..)
        );
        if of_links && self.links(machine).is_empty() {
            let known = link_names(machine);
            let Self::Link(wanted, _) = self else {
                return Err(FaultError::NoLinks {
                    fault,
                    machine: named,
                });
            };
            let Some(nearest) = nearest(wanted, known.iter().map(String::as_str)) else {
                return Err(FaultError::NoLinks {
                    fault,
                    machine: named,
                });
            };
            return Err(FaultError::Link {
                fault,
                machine: named,
                nearest: nearest.to_owned(),
                known: known.join(", "),
            });
        }
        Ok(())
    }
}

/// A link by the names of its ends: `gpu2-socket0`.
#[must_use]
pub fn link_name(machine: &Machine, id: LinkId) -> String {
    let link = machine.link(id);
    let name = |vertex: crate::VertexId| machine.vertices[vertex.index()].name.as_str();
    format!("{}-{}", name(link.from), name(link.to))
}

/// The names of all links, each once: in the direction in which the machine file declares them.
#[must_use]
pub fn link_names(machine: &Machine) -> Vec<String> {
    let mut seen = BTreeSet::new();
    let all = (0..machine.links.len()).map(LinkId::new);
    let forward = all.filter(|id| id.index() < machine.link(*id).reverse.index());
    forward
        .map(|id| link_name(machine, id))
        .filter(|name| seen.insert(name.clone()))
        .collect()
}

impl Condition {
    /// Nothing is wrong.
    pub const HEALTHY: Self = Self {
        speed_factors: Vec::new(),
        widths: Vec::new(),
        lost: BTreeSet::new(),
    };

    /// How fast a GPU is.
    #[must_use]
    pub fn speed_factor(&self, gpu: DeviceId) -> SpeedFactor {
        self.speed_factors
            .get(gpu.index())
            .copied()
            .unwrap_or(SpeedFactor::FULL)
    }

    /// What is left of a link's bandwidth.
    #[must_use]
    pub fn width(&self, link: LinkId) -> f64 {
        self.widths.get(link.index()).copied().unwrap_or(1.0)
    }

    /// The GPUs of `machine` that are left, in order.
    #[must_use]
    pub fn left(&self, machine: &Machine) -> Vec<DeviceId> {
        let there = |gpu: &DeviceId| !self.lost.contains(gpu);
        machine.devices().filter(there).collect()
    }

    /// How good a GPU is beside others: the lesser of its speed factors and of what is left of its links.
    #[must_use]
    pub fn health(&self, machine: &Machine, gpu: DeviceId) -> f64 {
        let own = Fault::GpuLinks(gpu, Percent(100.0)).links(machine);
        let widths = own.into_iter().map(|link| self.width(link));
        let SpeedFactor { compute, memory } = self.speed_factor(gpu);
        widths.fold(compute.min(memory), f64::min)
    }
}

#[cfg(test)]
mod tests;
