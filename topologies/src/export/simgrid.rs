//! SimGrid platform XML, version 4.1: a second opinion on contention.
//!
//! A host per GPU (its speed is the dense bf16 peak), a SimGrid link per direction of each of our links (capacity
//! times efficiency), and the route of every two GPUs with full routing.
//!
//! Source of the schema: SimGrid `src/kernel/xml/simgrid.dtd`; units `f`, `Bps`, `ps`.

use std::fmt::Write;

use super::{Exported, escaped};
use crate::machine::Machine;

/// A machine as a SimGrid platform.
#[must_use]
pub fn simgrid_xml(machine: &Machine) -> Exported {
    let mut out = String::from(
        "<?xml version='1.0'?>\n<!DOCTYPE platform SYSTEM \"https://simgrid.org/simgrid.dtd\">\n\
         <platform version=\"4.1\">\n",
    );
    let _ = writeln!(
        out,
        "  <zone id=\"{}\" routing=\"Full\">",
        escaped(&machine.name)
    );
    for (device, gpu) in machine.devices().zip(&machine.gpus) {
        let (speed, name) = (gpu.peak_bf16.get(), escaped(&gpu.name));
        let _ = writeln!(out, "    <host id=\"{device}\" speed=\"{speed}f\">");
        let _ = writeln!(
            out,
            "      <prop id=\"model\" value=\"{name}\"/>\n    </host>"
        );
    }
    for (index, link) in machine.links.iter().enumerate() {
        let end = |vertex: crate::VertexId| escaped(&machine.vertices[vertex.index()].name);
        let (rate, latency) = (link.effective().get(), link.latency.get());
        let _ = writeln!(
            out,
            "    <link id=\"link{index}\" bandwidth=\"{rate}Bps\" latency=\"{latency}ps\">\n      \
             <prop id=\"between\" value=\"{} to {}\"/>\n    </link>",
            end(link.from),
            end(link.to)
        );
    }
    for from in machine.devices() {
        for to in machine.devices().filter(|to| *to != from) {
            let _ = write!(
                out,
                "    <route src=\"{from}\" dst=\"{to}\" symmetrical=\"NO\">"
            );
            for link in &machine.route(from, to).links {
                let _ = write!(out, "<link_ctn id=\"{link}\"/>");
            }
            out.push_str("</route>\n");
        }
    }
    out.push_str("  </zone>\n</platform>\n");
    let lost = vec![
        "SimGrid computes at one speed: kernels at less than the bf16 peak are its user's to scale"
            .to_owned(),
        "protocols of NCCL (algorithms, channels, per-hop costs) are not in a platform".to_owned(),
    ];
    Exported { text: out, lost }
}
