//! NCCL topology XML, as `NCCL_TOPO_DUMP_FILE` writes it and `NCCL_TOPO_FILE` takes it.
//!
//! ```text
//! system > cpu (numaid, host_hash, arch, vendor, familyid, modelid)      a socket
//!          > pci (busid, class, link_speed, link_width)                  a bridge: a PCIe switch
//!            > pci > gpu (dev, sm) > nvlink (target, count)              a GPU
//!            > pci > nic > net (name, speed in Mbit/s, latency in us)    a network card
//! ```
//!
//! Source of the schema: NVIDIA/nccl `src/graph/xml.{h,cc}`, version 1. Attributes that start with `ditplan_`
//! are our exporter's: figures that NCCL has no place for (see [`crate::export`]).
//!
//! Hosts, told apart by `host_hash`, are nodes: PCI numbers come again in each, NVSwitches join the GPUs of one, network
//! cards the nodes.
//!
//! Not read: affinities, ranks, `keep`, `gdr`, C2C links, collnet.

mod attribute;
mod nvlink;

use std::fmt::Write;

use roxmltree::Node;

use attribute::{is_card, is_gpu, number, own};

use super::sketch::{self, NETWORK, Network, Nic, Sketch, Slot, Switch, exact};
use super::{Hints, ImportError, Imported, pci, smi_query, xml};
use crate::gpu::Gpu;
use crate::topology::PeerToPeer;
use crate::units::{Bandwidth, SimDuration};

/// A GPU element with what is known of it before all are.
struct Found<'a, 'i> {
    node: Node<'a, 'i>,
    attach: String,
    /// NCCL's `dev`, else the position in the file.
    order: u32,
}

struct Reader<'a, 'i, 'f> {
    file: &'f str,
    sketch: Sketch,
    gpus: Vec<Found<'a, 'i>>,
    silent_cards: usize,
}

/// Reads a machine from the text of an NCCL topology file.
pub(super) fn read(text: &str, file: &str, hints: &Hints) -> Result<Imported, ImportError> {
    let document = xml::parse(text, file)?;
    let root = document.root_element();
    if !root.has_tag_name("system") {
        let what = format!("<{}> is not NCCL's <system>", root.tag_name().name());
        return Err(xml::fault(
            file,
            root,
            what,
            "write the file with NCCL_TOPO_DUMP_FILE",
        ));
    }
    if let Some(version) = root.attribute("version").filter(|version| *version != "1") {
        let what = format!("version \"{version}\" is not known");
        return Err(xml::fault(file, root, what, "this program reads version 1"));
    }
    let mut hosts: Vec<(&str, Vec<Node<'_, '_>>)> = Vec::new();
    for cpu in xml::children(root, "cpu") {
        let hash = cpu.attribute("ditplan_node").or(cpu.attribute("host_hash"));
        let hash = hash.unwrap_or_default();
        match hosts.iter_mut().find(|(known, _)| *known == hash) {
            Some((_, cpus)) => cpus.push(cpu),
            None => hosts.push((hash, vec![cpu])),
        }
    }
    let gpus = root
        .descendants()
        .filter(|node| node.has_tag_name("pci") && is_gpu(*node));
    Sketch::check_count(gpus.count(), file)?;
    let mut nodes = Vec::new();
    for (_, cpus) in &hosts {
        let node = host(root, cpus, hints, file)?;
        // A host without GPUs is none of this machine's nodes.
        if !node.gpus.is_empty() {
            nodes.push(node);
        }
    }
    let count = nodes.len();
    let gpus: usize = nodes.iter().map(|node| node.gpus.len()).sum();
    Sketch::check_count(gpus, file)?;
    let own = network(root, &nodes, file)?;
    let first = &mut nodes[0];
    let network = match (own, count) {
        (_, 2..) if hints.nodes.is_some() || hints.fabric.is_some() => {
            let what = format!("{count} hosts (host_hash) are {count} nodes");
            return Err(xml::fault(
                file,
                root,
                what,
                "leave out --nodes and --fabric",
            ));
        }
        (Some(own), _) => own,
        (None, _) => first.on_fabric(hints, file)?,
    };
    if !first.nics.is_empty() && network.networks == [NETWORK] && network.copies == 1 {
        first.assume("all network cards are on one network");
    }
    first.about = match count {
        1 => format!("{gpus} GPUs, imported from an NCCL topology file"),
        _ => format!("{gpus} GPUs on {count} nodes, imported from an NCCL topology file"),
    };
    sketch::machine_of(nodes, &network, file)
}

/// One host's sockets and what hangs below them.
fn host<'i>(
    root: Node<'_, 'i>,
    cpus: &[Node<'_, 'i>],
    hints: &Hints,
    file: &str,
) -> Result<Sketch, ImportError> {
    let mut reader = Reader {
        file,
        sketch: Sketch {
            name: root
                .attribute("ditplan_name")
                .map_or_else(|| sketch::stem(file), str::to_owned),
            source: format!("NCCL topology, {file}"),
            ..Sketch::default()
        },
        gpus: Vec::new(),
        silent_cards: 0,
    };
    reader.own_keys(root)?;
    for (index, cpu) in cpus.iter().enumerate() {
        let socket = format!("socket{index}");
        reader.sketch.sockets.push(socket.clone());
        reader.branch(*cpu, &socket)?;
    }
    reader.describe(hints)?;
    reader.sockets(cpus)?;
    reader.nvlink()?;
    let mut sketch = reader.sketch;
    if reader.silent_cards > 0 {
        let count = reader.silent_cards;
        sketch.assume(format!(
            "{count} network cards without a <net speed=...> are left out"
        ));
    }
    Ok(sketch)
}

/// The networks that our exporter names, and the links between them.
fn network(
    root: Node<'_, '_>,
    nodes: &[Sketch],
    file: &str,
) -> Result<Option<Network>, ImportError> {
    let cards = nodes.iter().flat_map(|node| &node.nics);
    let mut network = Network {
        networks: Vec::new(),
        ..Network::one(1)
    };
    let mut add = |name: &str| {
        if !network.networks.iter().any(|known| known == name) {
            network.networks.push(name.to_owned());
        }
    };
    cards.for_each(|nic| add(&nic.network));
    for link in xml::children(root, "ditplan_network_link") {
        let ends = ["from", "to"].map(|key| link.attribute(key).unwrap_or_default().to_owned());
        ends.iter().for_each(|end| add(end));
        let rate = own::<Bandwidth>(link, "bandwidth", file)?.unwrap_or_default();
        let latency = own::<SimDuration>(link, "latency", file)?.unwrap_or_default();
        let efficiency = own::<f64>(link, "efficiency", file)?.unwrap_or(1.0);
        let (rate, latency) = (exact(rate), latency.get());
        let figures = format!(
            "\nbandwidth = {rate}\nlatency = \"{latency} ps\"\nefficiency = {efficiency:?}"
        );
        let [from, to] = ends;
        network.links.push((from, to, figures));
    }
    let named = network.networks.iter().any(|name| name != NETWORK);
    Ok(named.then_some(network))
}

impl<'a, 'i> Reader<'a, 'i, '_> {
    /// What our exporter adds to `system`.
    fn own_keys(&mut self, root: Node<'_, '_>) -> Result<(), ImportError> {
        if let Some(efficiency) = own::<f64>(root, "ditplan_efficiency", self.file)? {
            let _ = write!(self.sketch.pcie, "\nefficiency = {efficiency:?}");
        }
        if let Some(latency) = own::<SimDuration>(root, "ditplan_latency", self.file)? {
            let _ = write!(self.sketch.pcie, "\nlatency = \"{} ps\"", latency.get());
        }
        if let Some(peers) = root.attribute("ditplan_peers") {
            self.sketch.peer_to_peer = Some(peers.parse::<PeerToPeer>().map_err(|known| {
                xml::fault(
                    self.file,
                    root,
                    format!("ditplan_peers {known}"),
                    "use one of these",
                )
            })?);
        }
        if let Some(staging) = own::<Bandwidth>(root, "ditplan_staging", self.file)? {
            self.sketch.staging = Some(format!("\nbandwidth = {}", exact(staging)));
        }
        Ok(())
    }

    /// Everything below a socket or a bridge.
    fn branch(&mut self, node: Node<'a, 'i>, attach: &str) -> Result<(), ImportError> {
        for nic in xml::children(node, "nic").filter(|_| node.has_tag_name("cpu")) {
            self.card(nic, nic, attach)?;
        }
        for child in xml::children(node, "pci") {
            if is_gpu(child) {
                let gpu = xml::children(child, "gpu").next();
                let dev = gpu
                    .map(|gpu| number(gpu, "dev", self.file))
                    .transpose()?
                    .flatten();
                let order = dev.unwrap_or(self.gpus.len() as u32);
                self.gpus.push(Found {
                    node: child,
                    attach: attach.to_owned(),
                    order,
                });
            } else if is_card(child) {
                let nics: Vec<_> = xml::children(child, "nic").collect();
                self.silent_cards += usize::from(nics.is_empty());
                for nic in nics {
                    self.card(child, nic, attach)?;
                }
            } else {
                self.bridge(child, attach)?;
            }
        }
        Ok(())
    }

    fn bridge(&mut self, node: Node<'a, 'i>, attach: &str) -> Result<(), ImportError> {
        if xml::children(node, "pci").next().is_none() {
            return Ok(());
        }
        let rate = self.link(node)?;
        let below = xml::children(node, "pci").map(|child| self.link(child));
        let below = below.collect::<Result<Vec<_>, _>>()?;
        let fastest = below.into_iter().flatten().max();
        let slowest = pci::link(2.5, 1);
        let bandwidth = match (rate, fastest) {
            (Some(rate), Some(fastest)) if Some(rate) == slowest && rate < fastest => {
                self.sketch.assume(
                    "bridges of 2.5 GT/s x1 over faster devices are a virtual machine's: their up-links are as fast \
                     as the fastest device below",
                );
                fastest
            }
            (Some(rate), _) => rate,
            (None, fastest) => {
                self.sketch
                    .assume("bridges without a link speed are as fast as the fastest device below");
                fastest.unwrap_or(Bandwidth::new(32_000_000_000))
            }
        };
        let name = format!("switch{}", self.sketch.switches.len());
        self.sketch.switches.push(Switch {
            name: name.clone(),
            attach: attach.to_owned(),
            bandwidth,
        });
        self.branch(node, &name)
    }

    /// The rate of a `pci` element's link; `None` where the file does not say it.
    fn link(&self, node: Node<'_, '_>) -> Result<Option<Bandwidth>, ImportError> {
        if let Some(bandwidth) = own::<Bandwidth>(node, "ditplan_bandwidth", self.file)? {
            return Ok(Some(bandwidth));
        }
        let speed = node.attribute("link_speed").unwrap_or_default();
        let rate = match speed.trim() {
            "" | "Unknown" | "Unknown speed" => return Ok(None),
            text => pci::gigatransfers(text),
        };
        // A width of 0 is what virtual machines report: NCCL takes 16 (`topo.cc`).
        let width = number(node, "link_width", self.file)?
            .filter(|width| *width > 0)
            .unwrap_or(16);
        let link = rate.and_then(|rate| pci::link(rate, width));
        link.map(Some).ok_or_else(|| {
            let what = format!("link_speed=\"{speed}\" with link_width {width} is no PCIe link");
            xml::fault(
                self.file,
                node,
                what,
                "write for instance link_speed=\"16.0 GT/s PCIe\" link_width=\"16\"",
            )
        })
    }

    /// The cards of a `nic` element; `slot` is the element that holds its PCIe link.
    fn card(
        &mut self,
        slot: Node<'_, '_>,
        nic: Node<'_, '_>,
        attach: &str,
    ) -> Result<(), ImportError> {
        for net in xml::children(nic, "net") {
            let speed = number(net, "speed", self.file)?.filter(|speed| *speed > 0);
            let Some(speed) = speed else {
                self.silent_cards += 1;
                continue;
            };
            let mut more = String::new();
            let latency = net
                .attribute("latency")
                .and_then(|text| text.parse::<f64>().ok());
            if let Some(latency) = latency.filter(|us| *us > 0.0 && *us < 1e6) {
                let _ = write!(
                    more,
                    "\nlatency = \"{} ps\"",
                    (latency * 1e6).round() as u64
                );
            }
            let network = net.attribute("ditplan_network").unwrap_or(NETWORK);
            if let Some(efficiency) = own::<f64>(net, "ditplan_efficiency", self.file)? {
                let _ = write!(more, "\nefficiency = {efficiency:?}");
            }
            self.sketch.nics.push(Nic {
                name: net
                    .attribute("name")
                    .unwrap_or("nic")
                    .chars()
                    .take(64)
                    .collect(),
                attach: attach.to_owned(),
                bandwidth: Bandwidth::new(u64::from(speed) * 125_000),
                slot: self.link(slot)?,
                network: network.to_owned(),
                more,
            });
        }
        Ok(())
    }

    /// The models of the GPUs, in the order of their `dev`.
    fn describe(&mut self, hints: &Hints) -> Result<(), ImportError> {
        self.gpus.sort_by_key(|found| found.order);
        let hinted = sketch::hinted(hints, self.file)?;
        let query = match &hints.smi_xml {
            Some((text, file)) => smi_query::read(text, file)?,
            None => Vec::new(),
        };
        for (index, found) in self.gpus.iter().enumerate() {
            let own = found.node.attribute("ditplan_gpu");
            let own = own.map(|name| sketch::named(name, self.file)).transpose()?;
            let device = found.node.attribute("device").and_then(pci::device).or(own);
            let gpu: &'static Gpu = match (hinted, query.get(index), device) {
                (Some(gpu), _, _) | (None, None, Some(gpu)) => gpu,
                (None, Some(described), _) => sketch::named(&described.name, self.file)?,
                (None, None, None) => {
                    let number = found.node.attribute("device");
                    let number =
                        number.map_or_else(String::new, |device| format!(" (PCI device {device})"));
                    let what = format!("nothing says which GPU gpu{index} is{number}");
                    let remedy =
                        "name it with ditplan machines import --gpu NAME, or give --smi-xml FILE";
                    return Err(xml::fault(self.file, found.node, what, remedy));
                }
            };
            let bandwidth = self.link(found.node)?;
            if bandwidth.is_none() {
                let sentence = format!(
                    "a GPU without a link speed has {}'s full {}",
                    gpu.name, gpu.pcie
                );
                self.sketch.assume(sentence);
            }
            self.sketch.gpus.push(Slot {
                gpu,
                attach: found.attach.clone(),
                bandwidth,
            });
        }
        Ok(())
    }

    /// The host's sockets, joined at the rate NCCL takes for their CPU.
    fn sockets(&mut self, cpus: &[Node<'_, '_>]) -> Result<(), ImportError> {
        for (index, node) in cpus.iter().enumerate() {
            let host = |at: usize| cpus[at].attribute("host_hash");
            for other in (index + 1..cpus.len()).filter(|other| host(*other) == host(index)) {
                let rate = match own::<Bandwidth>(*node, "ditplan_link", self.file)? {
                    Some(rate) => rate,
                    None => self.between_cpus(*node)?,
                };
                let [one, other] = [index, other].map(|at| self.sketch.sockets[at].clone());
                self.sketch.socket_links.push((one, other, rate));
            }
        }
        Ok(())
    }

    fn between_cpus(&mut self, cpu: Node<'_, '_>) -> Result<Bandwidth, ImportError> {
        let arch = cpu.attribute("arch").unwrap_or("x86_64");
        let vendor = cpu.attribute("vendor").unwrap_or_default();
        let family = number(cpu, "familyid", self.file)?.unwrap_or_default();
        let model = number(cpu, "modelid", self.file)?.unwrap_or_default();
        let (rate, name) = pci::between_cpus(arch, vendor, family, model);
        self.sketch.assume(format!(
            "sockets are joined at {rate} GB/s: NCCL's figure for {name} (family {family}, model {model})"
        ));
        Ok(Bandwidth::new((rate * 1e9) as u64))
    }
}
