//! Our machine file of a sketch.

use std::fmt::Write;

use super::{Network, STAGING, Sketch, Slot};
use crate::topology::PeerToPeer;
use crate::units::Bandwidth;

/// A text as TOML writes it.
fn quoted(text: &str) -> String {
    ::toml::Value::String(text.replace(['\n', '\r'], " ")).to_string()
}

fn list(names: &[String]) -> String {
    let names: Vec<String> = names.iter().map(|name| quoted(name)).collect();
    format!("[{}]", names.join(", "))
}

/// Our file of a machine of these nodes: one description where all are alike, else a section each.
pub(super) fn file(about: &Network, nodes: &[Sketch], measured: &str) -> String {
    let first = &nodes[0];
    let mut out = String::new();
    for line in &first.assumed {
        let _ = writeln!(out, "# Assumed: {line}");
    }
    let _ = writeln!(out, "name = {}", quoted(&first.name));
    let _ = writeln!(out, "about = {}", quoted(&first.about));
    let _ = writeln!(out, "source = {}", quoted(&first.source));
    let parts = |node: &Sketch, at: &str| (list(&node.sockets), node.parts(at));
    let alike = nodes.iter().all(|node| parts(node, "") == parts(first, ""));
    let copies = about.copies as usize * nodes.len();
    if alike && copies > 1 {
        let _ = writeln!(out, "nodes = {copies}");
    }
    if alike {
        let _ = writeln!(out, "sockets = {}", list(&first.sockets));
    }
    if nodes.iter().any(|node| !node.nics.is_empty()) {
        let _ = writeln!(out, "networks = {}", list(&about.networks));
    }
    let (name, measured) = (quoted(&first.name), quoted(measured));
    let _ = writeln!(out, "\n[host]\nname = {name}\nsource = {measured}");
    for (a, b, figures) in &about.links {
        let (a, b) = (quoted(a), quoted(b));
        let _ = writeln!(out, "\n[[network_links]]\nbetween = [{a}, {b}]{figures}");
    }
    if alike {
        out.push_str(&first.parts(""));
        return out;
    }
    for node in nodes {
        let (sockets, parts) = parts(node, "node.");
        let _ = write!(out, "\n[[node]]\nsockets = {sockets}\n{parts}");
    }
    out
}

impl Sketch {
    /// The sections of a node; `at` stands before their names.
    fn parts(&self, at: &str) -> String {
        let mut out = String::new();
        self.write_pcie(&mut out, at);
        for switch in &self.switches {
            let (name, attach) = (quoted(&switch.name), quoted(&switch.attach));
            let rate = exact(switch.bandwidth);
            let _ = writeln!(
                out,
                "\n[[{at}pcie_switches]]\nname = {name}\nattach = {attach}\nbandwidth = {rate}"
            );
        }
        self.write_gpus(&mut out, at);
        if let Some(bandwidth) = self.nvswitch {
            let _ = writeln!(
                out,
                "\n[{at}nvlink]\nswitch = \"nvswitch\"\nbandwidth = {}{}",
                exact(bandwidth),
                self.nvlink
            );
        }
        for (a, b, bandwidth) in &self.bridges {
            let rate = exact(*bandwidth);
            let _ = writeln!(
                out,
                "\n[[{at}nvlink_bridges]]\nbetween = [\"gpu{a}\", \"gpu{b}\"]\nbandwidth = {rate}"
            );
        }
        for (a, b, bandwidth) in &self.socket_links {
            let (a, b, rate) = (quoted(a), quoted(b), exact(*bandwidth));
            let _ = writeln!(
                out,
                "\n[[{at}socket_links]]\nbetween = [{a}, {b}]\nbandwidth = {rate}"
            );
        }
        for nic in &self.nics {
            let (name, attach) = (quoted(&nic.name), quoted(&nic.attach));
            let network = quoted(&nic.network);
            let _ = writeln!(
                out,
                "\n[[{at}nics]]\nname = {name}\nattach = {attach}\nnetwork = {network}"
            );
            let _ = writeln!(out, "bandwidth = {}{}", exact(nic.bandwidth), nic.more);
            if let Some(slot) = nic.slot {
                let _ = writeln!(out, "slot_bandwidth = {}", exact(slot));
            }
        }
        out
    }

    fn write_pcie(&self, out: &mut String, at: &str) {
        let off = self.peer_to_peer.filter(|peers| *peers != PeerToPeer::On);
        if off.is_some() || !self.pcie.is_empty() {
            let _ = writeln!(out, "\n[{at}pcie]{}", self.pcie);
        }
        if let Some(peers) = off {
            let _ = writeln!(out, "peer_to_peer = \"{peers}\"");
            let usual = format!("\nbandwidth = \"{STAGING}\"");
            let staging = self.staging.as_deref().unwrap_or(&usual);
            let _ = writeln!(out, "\n[{at}staging]{staging}");
        }
    }

    /// Equal neighbours share a section, so that device numbers stay those of the file.
    fn write_gpus(&self, out: &mut String, at: &str) {
        let alike = |a: &Slot, b: &Slot| {
            a.gpu.name == b.gpu.name && a.attach == b.attach && a.bandwidth == b.bandwidth
        };
        for group in self.gpus.chunk_by(alike) {
            let slot = &group[0];
            let (model, attach) = (quoted(&slot.gpu.name), quoted(&slot.attach));
            let count = group.len();
            let _ = writeln!(
                out,
                "\n[[{at}gpus]]\nmodel = {model}\ncount = {count}\nattach = {attach}"
            );
            if let Some(bandwidth) = slot.bandwidth.filter(|rate| *rate != slot.gpu.pcie) {
                let _ = writeln!(out, "bandwidth = {}", exact(bandwidth));
            }
        }
    }
}

/// A bandwidth that reads back to the byte: in units that leave no remainder.
pub(crate) fn exact(bandwidth: Bandwidth) -> String {
    let count = bandwidth.get();
    let units = [
        (1_000_000_000, "GB/s"),
        (1_000_000, "MB/s"),
        (1_000, "kB/s"),
    ];
    let found = units.iter().find(|(unit, _)| count.is_multiple_of(*unit));
    match found {
        Some((unit, name)) => format!("\"{} {name}\"", count / unit),
        None => format!("\"{count} B/s\""),
    }
}
