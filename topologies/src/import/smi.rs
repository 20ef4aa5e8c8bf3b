//! `nvidia-smi topo -m`: classes of connections, without rates.
//!
//! | class | here |
//! |---|---|
//! | `PIX` | one PCIe switch; its up-link is as wide as a GPU's link |
//! | `PXB` | PCIe switches under a further one |
//! | `PHB`, `NODE` | the host bridge of a NUMA domain |
//! | `SYS`, `SOC` | host bridges of two NUMA domains, joined by a socket link |
//! | `NV#` | NVSwitch where every pair has the same number and they exceed the GPU's links, else direct |
//!
//! GPU names come from `--gpu`, from `nvidia-smi -q -x`, or from `nvidia-smi -L` lines in the same file.

mod table;

use table::{Class, Table, fault, is_gpu, table};

use super::sketch::{self, NETWORK, Nic, Sketch, Slot, Switch, nvlink_rate};
use super::smi_query::{self, Described};
use super::{Hints, ImportError, Imported};
use crate::gpu::Gpu;
use crate::units::Bandwidth;

pub(super) use table::is_topology;

/// What a NIC in a `topo -m` table is taken for: the table has no rate. 200 Gbit/s.
const NIC: Bandwidth = Bandwidth::new(25_000_000_000);

/// Smallest member of the group of each device, where pairs for which `joined` holds are in one group.
fn groups(count: usize, joined: impl Fn(usize, usize) -> bool) -> Vec<usize> {
    let mut group: Vec<usize> = (0..count).collect();
    for a in 0..count {
        for b in 0..a {
            if joined(a, b) && group[a] != group[b] {
                let (from, to) = (group[a].max(group[b]), group[a].min(group[b]));
                group
                    .iter_mut()
                    .filter(|of| **of == from)
                    .for_each(|of| *of = to);
            }
        }
    }
    group
}

/// Reads a machine from the text of `nvidia-smi topo -m`.
pub(super) fn read(text: &str, file: &str, hints: &Hints) -> Result<Imported, ImportError> {
    let table = table(text, file)?;
    let count = table.names.len();
    for (a, b) in (0..count).flat_map(|a| (0..a).map(move |b| (a, b))) {
        let both = is_gpu(&table.names[a]) && is_gpu(&table.names[b]);
        if both && table.cells[a][b] != table.cells[b][a] {
            let what = format!(
                "{} and {} are connected differently there and back",
                table.names[b], table.names[a]
            );
            return Err(fault(file, table.line, what, "copy the table again"));
        }
    }
    let mut sketch = Sketch {
        name: sketch::stem(file),
        source: format!("nvidia-smi topo -m, {file}"),
        ..Sketch::default()
    };
    let described = describe(text, file, hints, &table, &mut sketch)?;
    sketch.about = format!("{} GPUs, imported from nvidia-smi topo -m", described.len());
    let domains = domains(&table, &mut sketch);
    let attach = switches(&table, &domains, &described, &mut sketch);
    let mut gpus = described.into_iter();
    for (index, name) in table.names.iter().enumerate() {
        let attach = attach[index].clone();
        if is_gpu(name) {
            let (gpu, bandwidth) = gpus.next().expect("one description per GPU of the table");
            sketch.gpus.push(Slot {
                gpu,
                attach,
                bandwidth,
            });
        } else {
            let name = legend(text, name);
            sketch.nics.push(Nic {
                name,
                attach,
                bandwidth: NIC,
                slot: None,
                network: NETWORK.to_owned(),
                more: String::new(),
            });
        }
    }
    let network = sketch.on_fabric(hints, file)?;
    if !sketch.nics.is_empty() && hints.fabric.is_none() {
        sketch.assume(format!(
            "every network card is taken for {NIC} (200 Gbit/s), and all are on one network"
        ));
    }
    sketch.join_sockets();
    nvlink(&table, &mut sketch, file)?;
    sketch.finish(&network, file)
}

/// The model and the PCIe link of every GPU.
fn describe(
    text: &str,
    file: &str,
    hints: &Hints,
    table: &Table,
    sketch: &mut Sketch,
) -> Result<Vec<(&'static Gpu, Option<Bandwidth>)>, ImportError> {
    let count = table.names.iter().filter(|name| is_gpu(name)).count();
    let query = match &hints.smi_xml {
        Some((text, file)) => smi_query::read(text, file)?,
        None => listed(text),
    };
    let hinted = sketch::hinted(hints, file)?;
    if query.is_empty() && hinted.is_none() {
        return Err(ImportError::File {
            file: file.to_owned(),
            fault: "does not say which GPUs these are".to_owned(),
            remedy: "name them with ditplan machines import --gpu NAME or --smi-xml FILE, or put the lines of \
                     nvidia-smi -L into the file".to_owned(),
        });
    }
    if !query.is_empty() && query.len() != count {
        return Err(ImportError::File {
            file: file.to_owned(),
            fault: format!("has {count} GPUs, and {} are described", query.len()),
            remedy: "give both outputs of the same machine".to_owned(),
        });
    }
    let known = |at: usize| query.get(at).and_then(|gpu| gpu.bandwidth);
    let gpus = (0..count).map(|at| {
        let gpu = match (hinted, query.get(at)) {
            (Some(gpu), _) => gpu,
            (None, Some(described)) => sketch::named(&described.name, file)?,
            (None, None) => unreachable!("either the hint or a description of every GPU is there"),
        };
        Ok((gpu, known(at)))
    });
    let gpus = gpus.collect::<Result<Vec<_>, ImportError>>()?;
    if (0..count).any(|at| known(at).is_none()) {
        let (gpu, _) = gpus[0];
        sketch.assume(format!(
            "every GPU's PCIe link is its full one ({} for {}): give --smi-xml for the slot's",
            gpu.pcie, gpu.name
        ));
    }
    Ok(gpus)
}

/// `GPU 0: NVIDIA L20 (UUID: ...)`, the lines of `nvidia-smi -L`.
fn listed(text: &str) -> Vec<Described> {
    let gpu = |line: &str| {
        let (number, name) = line.trim().strip_prefix("GPU ")?.split_once(": ")?;
        number.parse::<u32>().ok()?;
        let (name, _) = name.split_once(" (UUID")?;
        Some(Described {
            name: name.to_owned(),
            bandwidth: None,
        })
    };
    text.lines().filter_map(gpu).collect()
}

/// The name of a card in the "NIC Legend".
fn legend(text: &str, name: &str) -> String {
    let lines = text.lines().map(str::trim);
    let found = lines
        .filter_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
        .next();
    found.map_or_else(
        || name.to_owned(),
        |card| card.trim().chars().take(64).collect(),
    )
}

/// The socket of every device, by name.
fn domains(table: &Table, sketch: &mut Sketch) -> Vec<String> {
    let count = table.names.len();
    let near = groups(count, |a, b| {
        let (there, back) = (table.cells[a][b], table.cells[b][a]);
        let is_near = |class: Class| {
            matches!(
                class,
                Class::Switch | Class::Switches | Class::Bridge | Class::Domain
            )
        };
        is_near(there) || is_near(back)
    });
    let gpus: Vec<usize> = (0..count).filter(|at| is_gpu(&table.names[*at])).collect();
    let mut keys: Vec<String> = Vec::new();
    let mut of = vec![None; count];
    for &at in &gpus {
        let friend = gpus
            .iter()
            .find(|other| near[**other] == near[at] && table.affinity[**other].is_some());
        let known = table.affinity[at].clone();
        let known = known.or_else(|| table.affinity[*friend?].clone());
        let key = known.unwrap_or_else(|| format!("group {}", near[at]));
        let socket = keys
            .iter()
            .position(|known| *known == key)
            .unwrap_or_else(|| {
                keys.push(key);
                keys.len() - 1
            });
        of[at] = Some(socket);
    }
    if !table.by_numa {
        sketch
            .assume("NUMA domains are told apart by CPU affinity: the table has no NUMA affinity");
    }
    sketch.sockets = (0..keys.len())
        .map(|index| format!("socket{index}"))
        .collect();
    let socket = |at: usize| {
        let kin = || {
            gpus.iter()
                .find(|gpu| near[**gpu] == near[at])
                .and_then(|gpu| of[*gpu])
        };
        of[at].or_else(kin)
    };
    if (0..count).any(|at| socket(at).is_none()) {
        sketch.assume("network cards with no GPU in their NUMA domain are attached to socket0");
    }
    sketch.assume(
        "the host bridges of a NUMA domain are one: GPUs below it meet without losing rate",
    );
    (0..count)
        .map(|at| sketch.sockets[socket(at).unwrap_or(0)].clone())
        .collect()
}

/// Where each device plugs in; PCIe switches are drawn on the way.
fn switches(
    table: &Table,
    domains: &[String],
    described: &[(&'static Gpu, Option<Bandwidth>)],
    sketch: &mut Sketch,
) -> Vec<String> {
    let count = table.names.len();
    let is =
        |class: Class, a: usize, b: usize| table.cells[a][b] == class || table.cells[b][a] == class;
    let inner = groups(count, |a, b| is(Class::Switch, a, b));
    let outer = groups(count, |a, b| {
        is(Class::Switch, a, b) || is(Class::Switches, a, b)
    });
    let uplink = described
        .iter()
        .map(|(gpu, link)| link.unwrap_or(gpu.pcie))
        .max();
    let uplink = uplink.unwrap_or_default();
    let size = |groups: &[usize], of: usize| groups.iter().filter(|group| **group == of).count();
    let mut attach = domains.to_vec();
    for group in (0..count).filter(|at| outer[*at] == *at && size(&outer, *at) > 1) {
        let members: Vec<usize> = (0..count).filter(|at| outer[*at] == group).collect();
        let mut add = |attach: String| {
            let name = format!("switch{}", sketch.switches.len());
            sketch.switches.push(Switch {
                name: name.clone(),
                attach,
                bandwidth: uplink,
            });
            name
        };
        let top = add(domains[group].clone());
        let is_one = members.iter().all(|at| inner[*at] == inner[group]);
        for at in members.iter().copied() {
            attach[at] = top.clone();
        }
        if is_one {
            continue;
        }
        for start in members
            .iter()
            .copied()
            .filter(|at| inner[*at] == *at && size(&inner, *at) > 1)
        {
            let name = add(top.clone());
            for at in members.iter().copied().filter(|at| inner[*at] == start) {
                attach[at] = name.clone();
            }
        }
    }
    if !sketch.switches.is_empty() {
        sketch.assume(format!(
            "every PCIe switch has an up-link of {uplink}, as wide as a GPU's"
        ));
    }
    attach
}

/// NVSwitch or direct NVLinks.
fn nvlink(table: &Table, sketch: &mut Sketch, file: &str) -> Result<(), ImportError> {
    let gpus: Vec<usize> = (0..table.names.len())
        .filter(|at| is_gpu(&table.names[*at]))
        .collect();
    let mut pairs = Vec::new();
    for (a, &row) in gpus.iter().enumerate() {
        for (b, &column) in gpus.iter().enumerate().skip(a + 1) {
            if let Class::Nvlink(links) = table.cells[row][column] {
                pairs.push((a, b, links));
            }
        }
    }
    let Some(&(first, _, links)) = pairs.first() else {
        return Ok(());
    };
    let all = pairs.len() == gpus.len() * (gpus.len() - 1) / 2;
    let gpu = sketch.gpus[first].gpu;
    let own = gpu.nvlink.ok_or_else(|| ImportError::File {
        file: file.to_owned(),
        fault: format!("shows NVLink between GPUs, and {} has none", gpu.name),
        remedy: "name the GPU that is in the machine with --gpu".to_owned(),
    })?;
    let rate = nvlink_rate(gpu);
    let others = gpus.len() as u64 - 1;
    let switched =
        all && pairs.iter().all(|pair| pair.2 == links) && rate * u64::from(links) * others > own;
    sketch.assume(format!(
        "an NVLink of {} carries {rate} one way (datasheet)",
        gpu.name
    ));
    if switched && others > 1 {
        sketch.nvswitch = Some(rate * u64::from(links));
        sketch.assume(format!(
            "{links} NVLinks to every other GPU are more than {} has: they go through NVSwitches",
            gpu.name
        ));
        return Ok(());
    }
    for (a, b, links) in pairs {
        sketch.bridges.push((a, b, rate * u64::from(links)));
    }
    Ok(())
}
