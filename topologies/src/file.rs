//! Machine files: TOML, with units on every quantity.
//!
//! ```toml
//! name = "my-box"
//! sockets = ["socket0"]          # host bridges, one per NUMA domain
//!
//! [host]
//! name = "my-box"
//! source = "nccl-tests of 3 March"
//!
//! [[gpus]]
//! model = "L20"                  # ditplan knows its PCIe and NVLink figures
//! count = 4
//! attach = "socket0"             # a socket or a PCIe switch
//!
//! [[host.rate]]
//! kind = "all-to-all"
//! ranks = 4
//! bus_bandwidth = "14 GB/s"
//! ```
//!
//! Sections: `[host]`, `[[host.rate]]`, `[[host.run]]`, `[[host.published]]`, `[[gpus]]`, `[pcie]`, `[[pcie_switches]]`,
//! `[[socket_links]]`, `[nvlink]`, `[[nvlink_bridges]]`, `[[nics]]`, `[staging]`; keys `name`, `about`,
//! `source`, `sockets`, `networks`. `[[gpus]]` takes `bandwidth` where its PCIe links are not the GPU's usual
//! ones, `[[nics]]` takes `slot_bandwidth`.
//!
//! `nodes = 2` makes two nodes, each as the file describes one; nodes that differ are `[[node]]` sections with `count`,
//! `sockets`, `[pcie]`, `[[node.gpus]]` and so on of their own. Networks join nodes: `networks` are switches that never
//! block, `[fabric]` (`name`, `leaves` = `"rails"` or `"nodes"`, `over_subscription`, `latency`) has leaves and a spine,
//! `[[network_links]]` (`between`, `bandwidth`) join two `networks`.
//! `[[nics]]` and `[[pcie_switches]]` take `count` and lists in `attach`; several are numbered: `nic0`, `nic1` ...
//!
//! ```toml
//! nodes = 2
//! sockets = ["socket0", "socket1"]
//!
//! [fabric]
//! name = "infiniband"
//! leaves = "rails"               # NIC k of every node on leaf k, a spine above
//! over_subscription = 2          # up-links carry half of what the ports do; 1 unless said
//!
//! [[nics]]
//! name = "nic"                   # node0.nic0, node0.nic1, node1.nic0, node1.nic1
//! attach = ["socket0", "socket1"]
//! network = "infiniband"
//! bandwidth = "400 Gbit/s"
//! ```
//!
//! `[host]` takes `name`, `source`, `software`, `launch_factor`, `nccl_system` and `collectives`: `"usual"` rates of the
//! wiring (the default), or its `"links"`. `[[host.run]]` is a run that calibrates: `model`, `width`, `height`, `steps`,
//! `latency`, and where they are not 1, `none`, eager or the host's: `frames`, `batch`, `guidance`, `text_tokens`, `gpus`,
//! `strategy`, `compiled`, `attention` (the kernel), `software`, `source`; `calibrates` where it may set one factor alone; `covers = "steps"` where its
//! latency is that of the denoising steps alone. `[[host.published]]` says which host of the built-in published runs this
//! is: `owner`, `gpu`, `interconnect` as its rows have them.
//!
//! Guarantees: an unknown key, a bare number where a unit is due, or an unknown name is an error that
//! gives file, line, key and remedy; nothing is skipped.

mod fabric;
mod hardware;
mod measured;
mod section;

use crate::machine::{About, Machine, MachineError};
use section::Document;

/// Reads a machine file.
pub(crate) fn read(text: &str, file: &str) -> Result<Machine, MachineError> {
    let document = Document::parse(text, file)?;
    let root = document.root();
    let about = About {
        name: root.required_text("name")?,
        about: root.text("about")?.unwrap_or_default(),
        source: root.text("source")?.unwrap_or_default(),
    };
    let host = measured::host(&root.required_table("host")?)?;
    let wiring = hardware::wiring(&root)?;
    root.finish()?;
    Machine::new(
        about,
        host,
        wiring.gpus,
        wiring.topology,
        wiring.peer_to_peer,
    )
    .map_err(|fault| MachineError::Topology {
        file: file.to_owned(),
        fault,
    })
}

#[cfg(test)]
mod tests;
