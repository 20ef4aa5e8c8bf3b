//! A machine as importers draw it, and the TOML that says the same.

mod toml;

use std::collections::BTreeSet;

use super::{Hints, ImportError, Imported, MOST_GPUS};
use crate::gpu::{self, Architecture, Gpu, NvlinkForm};
use crate::machine::Machine;
use crate::topology::PeerToPeer;
use crate::units::Bandwidth;

pub(crate) use toml::exact;

/// What one socket's memory passes on where transfers are staged: 8.5 GB/s a GPU in a published ring on
/// RTX 4090, 4 GPUs to a socket (`machines/4xrtx4090.toml`).
const STAGING: &str = "34 GB/s";

/// A PCIe switch.
#[derive(Clone, Debug)]
pub(super) struct Switch {
    pub name: String,
    pub attach: String,
    pub bandwidth: Bandwidth,
}

/// A GPU, in the order of the file.
#[derive(Clone, Debug)]
pub(super) struct Slot {
    pub gpu: &'static Gpu,
    pub attach: String,
    /// `None`: the GPU's own.
    pub bandwidth: Option<Bandwidth>,
}

/// A network card.
#[derive(Clone, Debug)]
pub(super) struct Nic {
    pub name: String,
    pub attach: String,
    pub bandwidth: Bandwidth,
    pub slot: Option<Bandwidth>,
    pub network: String,
    pub more: String,
}

/// The network that every card is on where a file says no other.
pub(super) const NETWORK: &str = "network";

/// What joins nodes, and how often they stand there.
#[derive(Clone, Debug)]
pub(super) struct Network {
    pub networks: Vec<String>,
    /// Links between networks: both ends, the keys of their figures.
    pub links: Vec<(String, String, String)>,
    /// Nodes for each drawn one.
    pub copies: u32,
}

impl Network {
    /// One network that never blocks, each node `copies` times.
    pub(super) fn one(copies: u32) -> Self {
        Self {
            networks: vec![NETWORK.to_owned()],
            links: Vec::new(),
            copies,
        }
    }
}

/// A node as importers draw it; of several the first has the name, the source and what was assumed.
#[derive(Clone, Debug, Default)]
pub(super) struct Sketch {
    pub name: String,
    pub about: String,
    pub source: String,
    pub sockets: Vec<String>,
    pub socket_links: Vec<(String, String, Bandwidth)>,
    pub switches: Vec<Switch>,
    pub gpus: Vec<Slot>,
    /// What each GPU puts through the NVSwitches, one way.
    pub nvswitch: Option<Bandwidth>,
    /// More keys of `[nvlink]`.
    pub nvlink: String,
    /// Direct NVLinks.
    pub bridges: Vec<(usize, usize, Bandwidth)>,
    pub nics: Vec<Nic>,
    pub peer_to_peer: Option<PeerToPeer>,
    pub staging: Option<String>,
    /// More keys of `[pcie]`.
    pub pcie: String,
    pub assumed: Vec<String>,
}

/// A machine name from a file name.
pub(super) fn stem(file: &str) -> String {
    let name = file.rsplit(['/', '\\']).next().unwrap_or(file);
    let stem = name.rsplit_once('.').map_or(name, |(stem, _)| stem);
    let fits = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let stem: String = stem.chars().filter(fits).take(64).collect();
    if stem.is_empty() {
        "imported".to_owned()
    } else {
        stem
    }
}

/// Bandwidth of one NVLink of a GPU, one way: 25 GB/s, 50 GB/s from Blackwell on.
/// Source: NVIDIA's datasheets (A100 12 links 300 GB/s, H100 18 links 450, B200 18 links 900; V100 6 links 150).
pub(crate) fn nvlink_rate(gpu: &Gpu) -> Bandwidth {
    match gpu.architecture {
        Architecture::Blackwell | Architecture::BlackwellUltra => Bandwidth::new(50_000_000_000),
        _ => Bandwidth::new(25_000_000_000),
    }
}

/// The GPU that the hints name.
pub(super) fn hinted(hints: &Hints, file: &str) -> Result<Option<&'static Gpu>, ImportError> {
    let Some(name) = &hints.gpu else {
        return Ok(None);
    };
    named(name, file).map(Some)
}

/// The GPU of this name.
pub(super) fn named(name: &str, file: &str) -> Result<&'static Gpu, ImportError> {
    gpu::find(name).map_err(|unknown| ImportError::File {
        file: file.to_owned(),
        fault: format!("has a GPU \"{name}\" that is not known here"),
        remedy: format!(
            "name the nearest of these with --gpu, for instance {}. Known: {}",
            unknown.nearest,
            unknown.known.join(", ")
        ),
    })
}

impl Sketch {
    /// Says once what was assumed.
    pub(super) fn assume(&mut self, sentence: impl Into<String>) {
        let sentence = sentence.into();
        if !self.assumed.contains(&sentence) {
            self.assumed.push(sentence);
        }
    }

    /// Refuses more GPUs than are imported, and none.
    pub(super) fn check_count(gpus: usize, file: &str) -> Result<(), ImportError> {
        if (1..=MOST_GPUS).contains(&gpus) {
            return Ok(());
        }
        Err(ImportError::File {
            file: file.to_owned(),
            fault: format!("has {gpus} GPUs"),
            remedy: format!("give a machine of 1 to {MOST_GPUS} GPUs"),
        })
    }

    /// Every two sockets of a host joined at the rate its PCIe generation suggests.
    pub(super) fn join_sockets(&mut self) {
        let fastest = self
            .gpus
            .iter()
            .map(|slot| slot.bandwidth.unwrap_or(slot.gpu.pcie));
        let (rate, cpu) = match fastest.max().unwrap_or_default().get() {
            ..=16_000_000_000 => (10, "Intel Skylake's, as its GPUs are on PCIe 3"),
            16_000_000_001..=32_000_000_000 => (16, "AMD's, as its GPUs are on PCIe 4"),
            _ => (22, "Intel Sapphire Rapids', as its GPUs are on PCIe 5"),
        };
        if self.sockets.len() < 2 {
            return;
        }
        let sockets = self.sockets.clone();
        for (index, one) in sockets.iter().enumerate() {
            for other in &sockets[index + 1..] {
                let rate = Bandwidth::new(rate * 1_000_000_000);
                self.socket_links.push((one.clone(), other.clone(), rate));
            }
        }
        self.assume(format!(
            "sockets are joined at {rate} GB/s: the CPU is not named, this is NCCL's figure for {cpu}"
        ));
    }

    /// What no such file says: peer-to-peer access, efficiencies, the host's measurements.
    fn assume_the_usual(&mut self) {
        let geforce = self
            .gpus
            .iter()
            .find(|slot| slot.gpu.name.starts_with("RTX4090") || slot.gpu.name == "RTX5090");
        match (self.peer_to_peer, geforce) {
            (Some(_), _) => {}
            (None, Some(slot)) => {
                let name = slot.gpu.name.clone();
                self.peer_to_peer = Some(PeerToPeer::Off);
                self.assume(format!(
                    "no peer-to-peer access over PCIe: NVIDIA's driver blocks it on {name}; copies are staged at \
                     {STAGING} a socket (a published ring on RTX 4090)"
                ));
            }
            (None, None) => self.assume(
                "peer-to-peer access is on between all GPUs: write peer_to_peer = \"off\" in [pcie] and [staging] \
                 if nvidia-smi topo -p2p r says otherwise",
            ),
        }
        if self.pcie.is_empty() {
            self.assume("PCIe passes 75 % of its rate to data, as NCCL takes it (PCI_BW); latencies are NCCL's");
        }
        self.assume("the host is not measured: add [[host.rate]] from nccl-tests (ditplan calibrate --nccl-tests)");
    }

    /// Every card is a port of the fabric that the hints name; cards for each GPU where none is drawn.
    ///
    /// # Errors
    /// [`ImportError::File`] where one of the hints lacks the other.
    pub(super) fn on_fabric(&mut self, hints: &Hints, file: &str) -> Result<Network, ImportError> {
        let fault = |fault: &str, remedy: &str| ImportError::File {
            file: file.to_owned(),
            fault: fault.to_owned(),
            remedy: remedy.to_owned(),
        };
        let (nodes, fabric) = match (hints.nodes, hints.fabric) {
            (None, None) => return Ok(Network::one(1)),
            (Some(nodes), Some(fabric)) => (nodes, fabric),
            (Some(_), None) => {
                return Err(fault(
                    "is of one node",
                    "name what joins the nodes with --fabric, as in ib-400g",
                ));
            }
            (None, Some(_)) => {
                return Err(fault(
                    "is of one node",
                    "say how many nodes the fabric joins with --nodes",
                ));
            }
        };
        if self.nics.is_empty() {
            self.assume("a network card stands beside each GPU: the file has none");
            let cards = self.gpus.iter().enumerate();
            self.nics = cards
                .map(|(index, slot)| Nic {
                    name: format!("nic{index}"),
                    attach: slot.attach.clone(),
                    bandwidth: fabric.capacity,
                    slot: None,
                    network: NETWORK.to_owned(),
                    more: String::new(),
                })
                .collect();
        }
        for nic in &mut self.nics {
            nic.bandwidth = fabric.capacity;
            nic.more = format!(
                "\nlatency = \"{} ps\"\nefficiency = {:?}",
                fabric.latency.get(),
                fabric.efficiency
            );
        }
        self.assume(format!(
            "{nodes} nodes as this one; every network card is a port of {}, one network that never blocks",
            fabric.name
        ));
        Ok(Network::one(nodes))
    }

    /// The machine of one drawn node.
    pub(super) fn finish(self, network: &Network, file: &str) -> Result<Imported, ImportError> {
        machine_of(vec![self], network, file)
    }

    fn check_nvlink(&self, file: &str) -> Result<(), ImportError> {
        let needs_board = self.nvswitch.is_some();
        let linked = |index: usize| {
            needs_board
                || self
                    .bridges
                    .iter()
                    .any(|(a, b, _)| *a == index || *b == index)
        };
        let lacks = |gpu: &Gpu| match gpu.nvlink_form {
            None => true,
            Some(form) => needs_board && form != NvlinkForm::Board,
        };
        let mut slots = self.gpus.iter().enumerate();
        match slots.find(|(index, slot)| linked(*index) && lacks(slot.gpu)) {
            None => Ok(()),
            Some((index, slot)) => Err(ImportError::File {
                file: file.to_owned(),
                fault: format!(
                    "shows NVLink at gpu{index}, and {} has none of that kind",
                    slot.gpu.name
                ),
                remedy: "name the GPU that is in the machine with --gpu".to_owned(),
            }),
        }
    }

    /// Names of cards may come twice (ports, hosts): the later ones get a number.
    fn unique_names(&mut self) {
        let mut used: BTreeSet<String> = self.sockets.iter().cloned().collect();
        used.extend(self.switches.iter().map(|switch| switch.name.clone()));
        used.extend(["network".to_owned(), "nvswitch".to_owned()]);
        used.extend((0..self.gpus.len()).map(|index| format!("gpu{index}")));
        for nic in &mut self.nics {
            if nic.name.trim().is_empty() {
                nic.name = "nic".to_owned();
            }
            let base = nic.name.clone();
            let mut number = 1;
            while !used.insert(nic.name.clone()) {
                number += 1;
                nic.name = format!("{base}.{number}");
            }
        }
    }
}

/// The machine of these nodes.
pub(super) fn machine_of(
    mut nodes: Vec<Sketch>,
    network: &Network,
    file: &str,
) -> Result<Imported, ImportError> {
    let gpus: usize = nodes.iter().map(|node| node.gpus.len()).sum();
    Sketch::check_count(gpus.saturating_mul(network.copies as usize), file)?;
    for node in &mut nodes {
        node.check_nvlink(file)?;
        node.assume_the_usual();
        node.unique_names();
    }
    let mut first = nodes.remove(0);
    for node in &nodes {
        node.assumed
            .iter()
            .for_each(|line| first.assume(line.clone()));
    }
    let measured = std::mem::take(&mut first.source);
    first.source = format!("{measured}; assumed: {}", first.assumed.join("; "));
    let assumed = first.assumed.clone();
    nodes.insert(0, first);
    let toml = toml::file(network, &nodes, &measured);
    let machine = Machine::from_toml(&toml, file)?;
    Ok(Imported {
        machine,
        toml,
        assumed,
    })
}
