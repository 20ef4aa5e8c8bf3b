//! Machines in other programs' files: NCCL topology XML, SimGrid platform XML.
//!
//! Guarantees: what a format has no place for is in [`Exported::lost`], one sentence each; an NCCL topology that
//! is written here and read by [`crate::import`] is a machine with the same routes, rates and latencies, for
//! every preset.
//!
//! Not written: what the host was measured to do.

mod nccl_xml;
mod simgrid;
#[cfg(test)]
mod tests;

pub use nccl_xml::nccl_xml;
pub use simgrid::simgrid_xml;

use crate::machine::Machine;
use crate::topology::{Link, VertexId, VertexKind};

/// A machine in another format.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exported {
    /// The file's text.
    pub text: String,
    /// What the format has no place for.
    pub lost: Vec<String>,
}

/// A name as an XML attribute.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            c if c.is_control() => out.push(' '),
            c => out.push(c),
        }
    }
    out
}

fn kind(machine: &Machine, vertex: VertexId) -> VertexKind {
    machine.vertices[vertex.index()].kind
}

/// Links that leave a vertex.
fn links_of(machine: &Machine, vertex: VertexId) -> impl Iterator<Item = &Link> {
    machine.links.iter().filter(move |link| link.from == vertex)
}
