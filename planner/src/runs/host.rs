//! Which machine a published row ran on.
//!
//! | the row's host | its machine |
//! |---|---|
//! | a preset says that it is this host, and has room | the preset |
//! | else | boxes of eight GPUs, wired as the label says: NVLink, PCIe on one socket, on two |
//!
//! Not mapped: several boxes without a preset, for no label says what joins them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use kernels::Miss;
use sim::platform::Platform;
use topologies::host::PublishedHost;
use topologies::{Bandwidth, Gpu, LinkKind, Machine, gpu, machine};

use super::reason::NoRun;
use super::row::{Metric, Row};
use super::source::owner_of;

/// GPUs of a box of which nothing is said.
const BOX: u32 = 8;

/// How ranks of a row may sit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Span {
    /// In one box.
    OneBox,
    /// In several boxes.
    Boxes,
    /// Every GPU behind an emulated network link of this rate.
    Emulated(Bandwidth),
}

impl Span {
    /// How the ranks of a row sit.
    ///
    /// # Errors
    /// Why an emulated link is none.
    pub fn of(row: &Row) -> Result<Self, NoRun> {
        let cell = row.interconnect.to_lowercase();
        if let (Some(gigabytes), true) = (row.bandwidth, cell.contains("ethernet")) {
            if gigabytes < 0.01 {
                return Err(NoRun::EmulatedLink(gigabytes));
            }
            return Ok(Self::Emulated(Bandwidth::new((gigabytes * 1e9) as u64)));
        }
        let several = ["ethernet", "inter-node", "infiniband", "between nodes"];
        Ok(if several.iter().any(|word| cell.contains(word)) {
            Self::Boxes
        } else {
            Self::OneBox
        })
    }
}

/// The interconnect cell, up to the first `+`.
fn local(row: &Row) -> &str {
    row.interconnect
        .split('+')
        .next()
        .unwrap_or_default()
        .trim()
}

/// The host of a row.
#[must_use]
pub fn published(row: &Row, owner: &str) -> PublishedHost {
    PublishedHost {
        owner: owner.to_owned(),
        gpu: row.gpu.clone(),
        interconnect: local(row).to_owned(),
    }
}

/// Gives one-GPU rows without an interconnect that of the one host of their owner and GPU, if there is one.
pub fn join(rows: &mut [Row]) {
    let mut known: BTreeMap<(String, String), BTreeSet<String>> = BTreeMap::new();
    for row in rows.iter().filter(|row| !row.interconnect.is_empty()) {
        // An emulated rate is a setting of one host.
        let cell = if row.bandwidth.is_some() {
            row.interconnect.clone()
        } else {
            local(row).to_owned()
        };
        known
            .entry((owner_of(&row.source), row.gpu.clone()))
            .or_default()
            .insert(cell);
    }
    for row in rows
        .iter_mut()
        .filter(|row| row.gpus == 1 && row.interconnect.is_empty())
    {
        let cells = known.get(&(owner_of(&row.source), row.gpu.clone()));
        if let Some(only) = cells
            .filter(|cells| cells.len() == 1)
            .and_then(BTreeSet::first)
        {
            row.interconnect.clone_from(only);
        }
    }
}

/// The GPU of a row. A peak of memory is the same on either of two GPUs (`L40/A100 (not printed)`).
///
/// # Errors
/// Why no GPU is meant.
pub fn gpu_of(row: &Row) -> Result<&'static Gpu, NoRun> {
    let cell = row.gpu.as_str();
    let unknown = ["not ", "unstated", "not_", "?"];
    let unstated = row.metric != Metric::Memory && unknown.iter().any(|word| cell.contains(word));
    if unstated || cell.is_empty() {
        return Err(NoRun::GpuNotStated(cell.to_owned()));
    }
    named(cell).ok_or_else(|| NoRun::UnknownGpu(cell.to_owned()))
}

/// The GPU that a cell names: exact name or alias, brackets removed; of `A800/A100` the one with the faster links.
fn named(cell: &str) -> Option<&'static Gpu> {
    let plain = cell.split('(').next().unwrap_or_default().trim();
    let whole = [cell, plain]
        .into_iter()
        .find_map(|name| gpu::find(name).ok());
    let parts = plain.split('/').filter_map(|name| gpu::find(name).ok());
    let rate = |gpu: &&Gpu| gpu.nvlink.map_or(0, Bandwidth::get);
    whole.or_else(|| parts.max_by_key(rate))
}

/// A machine, and what messages among its GPUs cost.
#[derive(Clone, Debug)]
pub struct Place {
    /// The machine.
    pub machine: Arc<Machine>,
    /// Its GPUs and the way between them.
    pub platform: Arc<Platform>,
}

impl Place {
    /// A machine with its platform.
    ///
    /// # Errors
    /// [`Miss`] where no figure covers its wiring.
    pub fn new(machine: Arc<Machine>) -> Result<Self, Miss> {
        let platform = Platform::of_machine(&machine)?;
        Ok(Self {
            machine,
            platform: Arc::new(platform),
        })
    }
}

/// The machines of published hosts, each built once.
#[derive(Debug, Default)]
pub struct Machines {
    presets: BTreeMap<PublishedHost, Vec<Arc<Machine>>>,
    built: BTreeMap<(PublishedHost, u32, u64), Place>,
}

impl Machines {
    /// The machine of a row on `host`.
    ///
    /// # Errors
    /// Why there is none.
    pub fn of(&mut self, row: &Row, host: &PublishedHost) -> Result<Place, NoRun> {
        let span = Span::of(row)?;
        let count = row.gpus.max(1);
        let rate = match span {
            Span::Emulated(rate) => rate.get(),
            Span::OneBox | Span::Boxes => u64::from(span == Span::Boxes),
        };
        let key = (host.clone(), count.max(BOX), rate);
        if let Some(known) = self.built.get(&key) {
            return Ok(known.clone());
        }
        let made = match (self.preset(host, span, count), span) {
            (Some(preset), Span::Emulated(rate)) => {
                let changed = Machine::clone(&preset).with_bandwidth(Some(LinkKind::Network), rate);
                Arc::new(changed.map_err(NoRun::Links)?)
            }
            (Some(preset), _) => preset,
            (None, Span::OneBox) => Arc::new(labelled(local(row), gpu_of(row)?, count)),
            (None, _) => return Err(NoRun::BoxesNotJoined),
        };
        let made = Place::new(made).map_err(NoRun::NoPlatform)?;
        self.built.insert(key, made.clone());
        Ok(made)
    }

    fn preset(&mut self, host: &PublishedHost, span: Span, count: u32) -> Option<Arc<Machine>> {
        let presets = self.presets.entry(host.clone()).or_insert_with(|| {
            let machines = machine::presets_of(host).into_iter();
            machines.map(Arc::new).collect()
        });
        let networked = |machine: &Machine| {
            machine
                .links
                .iter()
                .any(|link| link.kind == LinkKind::Network)
        };
        let fits = |machine: &&Arc<Machine>| {
            networked(machine) == (span != Span::OneBox) && machine.gpus.len() >= count as usize
        };
        presets.iter().find(fits).map(Arc::clone)
    }
}

/// A box of at least eight GPUs of which only the kind of interconnect is known.
///
/// # Panics
/// Never: the file that it writes is one that machines are read from.
#[must_use]
pub fn labelled(label: &str, gpu: &Gpu, count: u32) -> Machine {
    let named_nvlink = ["NVL", "HCCS", "xGMI"]
        .iter()
        .any(|word| label.starts_with(word));
    let nvlink = gpu.nvlink.is_some()
        && (named_nvlink || label.is_empty() && gpu.form_factor.contains("SXM"));
    let lower = label.to_lowercase();
    let dual = !nvlink
        && ["2 sockets", "dual"]
            .iter()
            .any(|word| lower.contains(word));
    let count = count.max(BOX);
    let sockets: &[&str] = if dual {
        &["socket0", "socket1"]
    } else {
        &["socket0"]
    };
    // A label may hold any character: the string is written as TOML writes it.
    let name = toml::Value::String(format!("{count}x{} {label}", gpu.name));
    let mut text = format!(
        "name = {name}\nsource = \"only the label is known\"\nsockets = {sockets:?}\n\
         [host]\nname = \"unknown\"\nsource = \"nothing is measured\"\n[pcie]\nefficiency = 0.82\n"
    );
    if dual {
        text.push_str(&format!(
            "[[socket_links]]\nbetween = {sockets:?}\nbandwidth = \"40 GB/s\"\n"
        ));
    }
    let each = count.div_ceil(sockets.len() as u32);
    for (socket, here) in sockets.iter().zip([each, count - each]) {
        text.push_str(&format!(
            "[[gpus]]\nmodel = \"{}\"\ncount = {here}\nattach = \"{socket}\"\n",
            gpu.name
        ));
    }
    if nvlink {
        text.push_str("[nvlink]\nswitch = \"nvswitch\"\n");
    }
    Machine::from_toml(&text, "label").expect("the file is as machines are read")
}

#[cfg(test)]
mod tests {
    use sim::collective::Wiring;
    use sim::platform::{Fabric, Platform};

    use super::*;

    #[test]
    fn gpu_cells_are_gpus() {
        for (cell, name) in [
            ("A800/A100", Some("A100-80-SXM")),
            ("H100/H800", Some("H100-SXM")),
            ("H100-80-SXM (lmsys host, presumed)", Some("H100-SXM")),
            ("L20 (assumed)", Some("L20")),
            ("A100-80", Some("A100-80-SXM")),
            ("A800-80-SXM", Some("A800-80-SXM")),
            ("", None),
            ("warp drive", None),
        ] {
            assert_eq!(named(cell).map(|gpu| gpu.name.as_str()), name, "{cell}");
        }
    }

    /// A label is a box that is wired as presets are.
    #[test]
    fn labels_are_boxes() {
        let fabric = |label: &str, name: &str| {
            let gpu = gpu::find(name).expect("a GPU");
            let machine = labelled(label, gpu, 4);
            assert_eq!(machine.gpus.len(), 8);
            Platform::of_machine(&machine).expect("a platform").fabric
        };
        assert_eq!(
            fabric("PCIe4 (2 sockets)", "L20"),
            Fabric::Pcie(Wiring::DualSocketPcie)
        );
        assert_eq!(fabric("PCIe4", "L20"), Fabric::Pcie(Wiring::SinglePcie));
        assert_eq!(
            fabric("PCIe4", "RTX4090"),
            Fabric::Pcie(Wiring::ConsumerPcie)
        );
        assert!(matches!(fabric("NVLink", "H100-SXM"), Fabric::NvLink(_)));
        assert!(matches!(fabric("", "H100-SXM"), Fabric::NvLink(_)));
        assert!(matches!(fabric("PCIe5", "H100-SXM"), Fabric::Pcie(_)));
        assert_eq!(
            fabric("PCIe4 \"\\\0\n", "L20"),
            Fabric::Pcie(Wiring::SinglePcie)
        );
    }
}
