//! Our machine file of a sketch.

use std::fmt::Write;

use super::{STAGING, Sketch, Slot};
use crate::topology::PeerToPeer;
use crate::units::Bandwidth;

impl Sketch {
    /// Our file of it.
    pub(super) fn toml(&self, measured: &str) -> String {
        let mut out = String::new();
        for line in &self.assumed {
            let _ = writeln!(out, "# Assumed: {line}");
        }
        let quoted =
            |text: &str| ::toml::Value::String(text.replace(['\n', '\r'], " ")).to_string();
        let list = |names: &[String]| {
            let names: Vec<String> = names.iter().map(|name| quoted(name)).collect();
            names.join(", ")
        };
        let _ = writeln!(out, "name = {}", quoted(&self.name));
        let _ = writeln!(out, "about = {}", quoted(&self.about));
        let _ = writeln!(out, "source = {}", quoted(&self.source));
        let _ = writeln!(out, "sockets = [{}]", list(&self.sockets));
        if !self.nics.is_empty() {
            let _ = writeln!(out, "networks = [\"network\"]");
        }
        let _ = writeln!(
            out,
            "\n[host]\nname = {}\nsource = {}",
            quoted(&self.name),
            quoted(measured)
        );
        self.write_pcie(&mut out);
        for switch in &self.switches {
            let (name, attach) = (quoted(&switch.name), quoted(&switch.attach));
            let rate = exact(switch.bandwidth);
            let _ = writeln!(
                out,
                "\n[[pcie_switches]]\nname = {name}\nattach = {attach}\nbandwidth = {rate}"
            );
        }
        self.write_gpus(&mut out, &quoted);
        if let Some(bandwidth) = self.nvswitch {
            let _ = writeln!(
                out,
                "\n[nvlink]\nswitch = \"nvswitch\"\nbandwidth = {}",
                exact(bandwidth)
            );
        }
        for (a, b, bandwidth) in &self.bridges {
            let rate = exact(*bandwidth);
            let _ = writeln!(
                out,
                "\n[[nvlink_bridges]]\nbetween = [\"gpu{a}\", \"gpu{b}\"]\nbandwidth = {rate}"
            );
        }
        for (a, b, bandwidth) in &self.socket_links {
            let (a, b, rate) = (quoted(a), quoted(b), exact(*bandwidth));
            let _ = writeln!(
                out,
                "\n[[socket_links]]\nbetween = [{a}, {b}]\nbandwidth = {rate}"
            );
        }
        for nic in &self.nics {
            let (name, attach) = (quoted(&nic.name), quoted(&nic.attach));
            let _ = writeln!(
                out,
                "\n[[nics]]\nname = {name}\nattach = {attach}\nnetwork = \"network\""
            );
            let _ = writeln!(out, "bandwidth = {}{}", exact(nic.bandwidth), nic.more);
            if let Some(slot) = nic.slot {
                let _ = writeln!(out, "slot_bandwidth = {}", exact(slot));
            }
        }
        out
    }

    fn write_pcie(&self, out: &mut String) {
        let off = self.peer_to_peer.filter(|peers| *peers != PeerToPeer::On);
        if off.is_some() || !self.pcie.is_empty() {
            let _ = writeln!(out, "\n[pcie]{}", self.pcie);
        }
        if let Some(peers) = off {
            let _ = writeln!(out, "peer_to_peer = \"{peers}\"");
            let usual = format!("\nbandwidth = \"{STAGING}\"");
            let staging = self.staging.as_deref().unwrap_or(&usual);
            let _ = writeln!(out, "\n[staging]{staging}");
        }
    }

    /// Equal neighbours share a section, so that device numbers stay those of the file.
    fn write_gpus(&self, out: &mut String, quoted: &impl Fn(&str) -> String) {
        let alike = |a: &Slot, b: &Slot| {
            a.gpu.name == b.gpu.name && a.attach == b.attach && a.bandwidth == b.bandwidth
        };
        for group in self.gpus.chunk_by(alike) {
            let slot = &group[0];
            let (model, attach) = (quoted(&slot.gpu.name), quoted(&slot.attach));
            let count = group.len();
            let _ = writeln!(
                out,
                "\n[[gpus]]\nmodel = {model}\ncount = {count}\nattach = {attach}"
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
