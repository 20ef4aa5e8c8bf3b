//! NCCL topology XML: what `NCCL_TOPO_FILE` takes.
//!
//! NCCL knows links by PCIe rate and width, NVLink counts and card speeds; it has its own figures for what links
//! between CPUs carry and what protocols leave. Ours stand in attributes that start with `ditplan_`, which NCCL
//! stores and ignores (`src/graph/xml.cc` keeps up to 16 attributes an element), so that our importer gives back
//! the same machine.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::{Exported, escaped, kind, links_of};
use crate::gpu::{Architecture, Gpu};
use crate::import::{pci, sketch::nvlink_rate};
use crate::machine::{Machine, nodes::parts};
use crate::topology::{Link, LinkKind, PeerToPeer, VertexId, VertexKind};

struct Writer<'a> {
    machine: &'a Machine,
    out: String,
    lost: Vec<String>,
    /// The part that each vertex is in, without networks.
    parts: Vec<usize>,
}

/// A bus number that is each vertex's own.
fn bus(vertex: VertexId) -> String {
    let index = vertex.index();
    format!("{:04x}:{:02x}:00.0", index >> 8, index & 0xff)
}

/// Compute capability. Source: NVIDIA's CUDA GPU list.
fn capability(gpu: &Gpu) -> u32 {
    match gpu.architecture {
        Architecture::Volta => 70,
        Architecture::Turing => 75,
        Architecture::Ampere if gpu.name == "A10" => 86,
        Architecture::Ampere => 80,
        Architecture::Ada => 89,
        Architecture::Hopper | Architecture::Cdna3 => 90,
        Architecture::Blackwell if gpu.name.starts_with("RTX") => 120,
        Architecture::Blackwell => 100,
        Architecture::BlackwellUltra => 103,
    }
}

/// A machine as an NCCL topology file.
#[must_use]
pub fn nccl_xml(machine: &Machine) -> Exported {
    let mut writer = Writer {
        machine,
        out: String::new(),
        lost: Vec::new(),
        parts: parts(machine.vertices.len(), &machine.links),
    };
    writer.system();
    writer.lose_networks();
    Exported {
        text: writer.out,
        lost: writer.lost,
    }
}

impl<'a> Writer<'a> {
    fn lose(&mut self, sentence: impl Into<String>) {
        let sentence = sentence.into();
        if !self.lost.contains(&sentence) {
            self.lost.push(sentence);
        }
    }

    fn of_kind(&self, wanted: LinkKind) -> impl Iterator<Item = &'a Link> + use<'a> {
        let machine: &'a Machine = self.machine;
        machine.links.iter().filter(move |link| link.kind == wanted)
    }

    fn system(&mut self) {
        let name = escaped(&self.machine.name);
        let _ = write!(self.out, "<system version=\"1\" ditplan_name=\"{name}\"");
        if let Some(first) = self.of_kind(LinkKind::Pcie).next().copied() {
            let (efficiency, latency) = (first.efficiency, first.latency.get());
            let _ = write!(
                self.out,
                " ditplan_efficiency=\"{efficiency:?}\" ditplan_latency=\"{latency} ps\""
            );
            let mut pcie = self.of_kind(LinkKind::Pcie);
            if pcie.any(|link| (link.efficiency, link.latency) != (first.efficiency, first.latency))
            {
                self.lose(
                    "PCIe links have one efficiency and latency in the file: the first link's",
                );
            }
        }
        if self.machine.peer_to_peer != PeerToPeer::On {
            let _ = write!(self.out, " ditplan_peers=\"{}\"", self.machine.peer_to_peer);
            self.lose("NCCL finds out by itself that peer-to-peer access is off");
        }
        if let Some(staging) = self.of_kind(LinkKind::Staging).next().copied() {
            let _ = write!(
                self.out,
                " ditplan_staging=\"{} B/s\"",
                staging.capacity.get()
            );
        }
        self.out.push_str(">\n");
        let sockets: Vec<VertexId> = (0..self.machine.vertices.len())
            .map(VertexId::new)
            .filter(|vertex| kind(self.machine, *vertex) == VertexKind::HostBridge)
            .collect();
        for (number, socket) in sockets.iter().enumerate() {
            self.cpu(number, *socket, &sockets);
        }
        self.network_links();
        self.out.push_str("</system>\n");
    }

    fn cpu(&mut self, number: usize, socket: VertexId, sockets: &[VertexId]) {
        let mut links = links_of(self.machine, socket).filter(|link| link.kind == LinkKind::Socket);
        let rate = links.next().map(|link| link.capacity);
        let uneven = links.any(|link| Some(link.capacity) != rate);
        let (arch, vendor, family, model) = pci::cpu_for(rate.unwrap_or_default());
        let host = self.host(socket, sockets);
        let _ = write!(
            self.out,
            "  <cpu host_hash=\"{host:#x}\" numaid=\"{number}\" arch=\"{arch}\" vendor=\"{vendor}\" \
             familyid=\"{family}\" modelid=\"{model}\""
        );
        let node = self.parts[socket.index()];
        let of_node = sockets
            .iter()
            .filter(|other| self.parts[other.index()] == node);
        if of_node
            .map(|other| self.host(*other, sockets))
            .any(|other| other != host)
        {
            let _ = write!(self.out, " ditplan_node=\"{node}\"");
        }
        if let Some(rate) = rate {
            let _ = write!(self.out, " ditplan_link=\"{} B/s\"", rate.get());
            self.lose(
                "NCCL takes its own figure for links between CPUs: the CPU named is the nearest",
            );
        }
        if uneven {
            self.lose("a socket's links to others have one rate in the file: the first link's");
        }
        self.out.push_str(">\n");
        self.branch(socket, None, 2);
        self.out.push_str("  </cpu>\n");
    }

    /// The first socket that is joined to this one, as the number of the host.
    fn host(&self, socket: VertexId, sockets: &[VertexId]) -> usize {
        let mut seen = vec![socket];
        let mut at = 0;
        while let Some(vertex) = seen.get(at).copied() {
            at += 1;
            for link in links_of(self.machine, vertex).filter(|link| link.kind == LinkKind::Socket)
            {
                if !seen.contains(&link.to) {
                    seen.push(link.to);
                }
            }
        }
        let first = sockets.iter().position(|other| seen.contains(other));
        first.expect("a socket is joined to itself") + 1
    }

    /// What a part is called in its node.
    fn name(&self, vertex: VertexId) -> &'a str {
        let name = self.machine.vertices[vertex.index()].name.as_str();
        let whole = name
            .strip_prefix("node")
            .and_then(|rest| rest.split_once('.'));
        match whole {
            Some((number, own)) if number.parse::<u32>().is_ok() => own,
            _ => name,
        }
    }

    /// Links between networks; NCCL passes over elements that it does not know.
    fn network_links(&mut self) {
        let is_network = |end| kind(self.machine, end) == VertexKind::NetworkSwitch;
        let between = |link: &&Link| is_network(link.from) && is_network(link.to);
        let forward = self.machine.links.iter().enumerate();
        let forward = forward.filter(|(index, link)| *index < link.reverse.index());
        for link in forward.map(|(_, link)| link).filter(between) {
            let [from, to] = [link.from, link.to].map(|end| escaped(self.name(end)));
            let (rate, latency, efficiency) =
                (link.capacity.get(), link.latency.get(), link.efficiency);
            let _ = writeln!(
                self.out,
                "  <ditplan_network_link from=\"{from}\" to=\"{to}\" bandwidth=\"{rate} B/s\" \
                 latency=\"{latency} ps\" efficiency=\"{efficiency:?}\"/>"
            );
        }
    }

    /// What hangs below a socket or a switch.
    fn branch(&mut self, vertex: VertexId, parent: Option<VertexId>, depth: usize) {
        let below: Vec<Link> = links_of(self.machine, vertex)
            .filter(|link| link.kind == LinkKind::Pcie && Some(link.to) != parent)
            .copied()
            .collect();
        for link in below {
            self.device(link, vertex, depth);
        }
    }

    fn device(&mut self, link: Link, parent: VertexId, depth: usize) {
        let indent = "  ".repeat(depth);
        let found = kind(self.machine, link.to);
        let (class, device) = match found {
            VertexKind::Gpu(gpu) => ("0x030200", pci::number(self.machine.gpu(gpu))),
            VertexKind::Nic => ("0x020000", None),
            _ => ("0x060400", None),
        };
        let _ = write!(
            self.out,
            "{indent}<pci busid=\"{}\" class=\"{class}\"",
            bus(link.to)
        );
        if let Some(number) = device {
            let _ = write!(self.out, " vendor=\"0x10de\" device=\"{number:#06x}\"");
        }
        let said = pci::rate_and_width(link.capacity);
        let (rate, width) = said.unwrap_or((16.0, 16));
        let _ = write!(
            self.out,
            " link_speed=\"{rate:?} GT/s PCIe\" link_width=\"{width}\""
        );
        if said.is_none() {
            let _ = write!(
                self.out,
                " ditplan_bandwidth=\"{} B/s\"",
                link.capacity.get()
            );
            self.lose(format!(
                "a PCIe link of {} is written as 16 GT/s x16",
                link.capacity
            ));
        }
        if let (VertexKind::Gpu(gpu), None) = (found, device) {
            let _ = write!(
                self.out,
                " ditplan_gpu=\"{}\"",
                escaped(&self.machine.gpu(gpu).name)
            );
        }
        self.out.push_str(">\n");
        match found {
            VertexKind::Gpu(_) => self.gpu(link.to, depth + 1),
            VertexKind::Nic => self.card(link.to, depth + 1),
            _ => self.branch(link.to, Some(parent), depth + 1),
        }
        let _ = writeln!(self.out, "{indent}</pci>");
    }

    fn gpu(&mut self, vertex: VertexId, depth: usize) {
        let VertexKind::Gpu(device) = kind(self.machine, vertex) else {
            unreachable!("called for GPUs only");
        };
        let gpu = self.machine.gpu(device);
        let (indent, dev, sm) = ("  ".repeat(depth), device.index(), capability(gpu));
        let _ = writeln!(
            self.out,
            "{indent}<gpu dev=\"{dev}\" sm=\"{sm}\" rank=\"{dev}\" gdr=\"1\">"
        );
        let rate = nvlink_rate(gpu);
        for link in links_of(self.machine, vertex).filter(|link| link.kind == LinkKind::Nvlink) {
            // The reader takes at most 64 links.
            let links = link.capacity.get() / rate.get();
            let whole = link.capacity.get().is_multiple_of(rate.get()) && links <= 64;
            let count = links.clamp(1, 64);
            let class = match kind(self.machine, link.to) {
                VertexKind::NvSwitch => "0x068000",
                _ => "0x030200",
            };
            let mut own = match whole {
                true => String::new(),
                false => format!(" ditplan_bandwidth=\"{} B/s\"", link.capacity.get()),
            };
            if kind(self.machine, link.to) == VertexKind::NvSwitch {
                let (efficiency, latency) = (link.efficiency, link.latency.get());
                let _ = write!(
                    own,
                    " ditplan_efficiency=\"{efficiency:?}\" ditplan_latency=\"{latency} ps\""
                );
            }
            let target = bus(link.to);
            let _ = writeln!(
                self.out,
                "{indent}  <nvlink target=\"{target}\" count=\"{count}\" tclass=\"{class}\"{own}/>"
            );
        }
        let _ = writeln!(self.out, "{indent}</gpu>");
    }

    fn card(&mut self, vertex: VertexId, depth: usize) {
        let indent = "  ".repeat(depth);
        let name = escaped(self.name(vertex));
        let _ = writeln!(self.out, "{indent}<nic>");
        for link in links_of(self.machine, vertex).filter(|link| link.kind == LinkKind::Network) {
            let speed = link.capacity.get() / 125_000;
            let (latency, efficiency) = (link.latency.as_us_f64(), link.efficiency);
            let network = escaped(self.name(link.to));
            let _ = writeln!(
                self.out,
                "{indent}  <net name=\"{name}\" dev=\"{}\" speed=\"{speed}\" port=\"1\" latency=\"{latency:.6}\" \
                 gdr=\"1\" ditplan_efficiency=\"{efficiency:?}\" ditplan_network=\"{network}\"/>",
                vertex.index()
            );
        }
        let _ = writeln!(self.out, "{indent}</nic>");
    }

    fn lose_networks(&mut self) {
        let kinds = self.machine.vertices.iter().map(|vertex| vertex.kind);
        let networks = kinds
            .filter(|kind| *kind == VertexKind::NetworkSwitch)
            .count();
        if networks > 1 {
            self.lose(format!(
                "NCCL does not read which of {networks} networks a card is on, nor what joins them"
            ));
        }
        let nodes: Vec<usize> = self
            .machine
            .devices()
            .map(|gpu| self.machine.node_of(gpu))
            .collect();
        if !nodes.is_sorted() {
            self.lose("GPUs are numbered node by node in the file");
        }
        let slow: BTreeMap<u64, String> = self
            .of_kind(LinkKind::Network)
            .filter(|link| !link.capacity.get().is_multiple_of(125_000))
            .map(|link| (link.capacity.get(), link.capacity.to_string()))
            .collect();
        for rate in slow.into_values() {
            self.lose(format!("a card of {rate} is written in whole Mbit/s"));
        }
    }
}
