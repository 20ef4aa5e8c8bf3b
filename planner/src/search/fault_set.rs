//! What may go wrong: kinds of faults, any one case of which may happen.
//!
//! The usual set: each GPU at 80 %, each GPU's links and each shared link at 50 %, each GPU lost, all GPUs
//! throttled to 85 %. The shares are assumptions (docs/faults.md).
//!
//! Not modelled: how likely a case is; two cases at a time, unless one of them names both.

use std::collections::BTreeSet;

use topologies::fault::{Fault, Faults, Percent, link_name};
use topologies::topology::VertexKind;
use topologies::{DeviceId, LinkId, Machine};

/// Faults of one kind, any one of which may happen.
#[derive(Clone, Debug, PartialEq)]
pub struct Kind {
    /// In words: `a GPU at 80%`.
    pub name: String,
    /// The cases.
    pub cases: Vec<Faults>,
}

impl Kind {
    /// A kind of one case.
    #[must_use]
    pub fn of(faults: Faults) -> Self {
        Self {
            name: faults.to_string(),
            cases: vec![faults],
        }
    }
}

/// The usual set for a machine.
///
/// # Panics
/// Never: its shares are percentages.
#[must_use]
pub fn usual(machine: &Machine) -> Vec<Kind> {
    let percent = |percent| Percent::new(percent).expect("a constant from 1 to 100");
    let kind = |name: &str, faults: Vec<Fault>| Kind {
        name: name.to_owned(),
        cases: faults
            .into_iter()
            .map(|fault| Faults::from_iter([fault]))
            .collect(),
    };
    let each = |of: &dyn Fn(DeviceId) -> Fault| machine.devices().map(of).collect::<Vec<_>>();
    let half = percent(50.0);
    let mut kinds = vec![kind(
        "a GPU at 80%",
        each(&|gpu| Fault::Slow(gpu, percent(80.0))),
    )];
    if machine.gpus.len() > 1 {
        let own = each(&|gpu| Fault::GpuLinks(gpu, half));
        let shared = shared_links(machine);
        let shared = shared.into_iter().map(|name| Fault::Link(name, half));
        kinds.push(kind(
            "a link at 50%",
            own.into_iter().chain(shared).collect(),
        ));
        kinds.push(kind("a GPU lost", each(&Fault::Lost)));
    }
    kinds.push(kind("all at 85%", vec![Fault::Throttle(percent(85.0))]));
    kinds
}

/// Links between GPUs that no GPU is an end of, by name.
fn shared_links(machine: &Machine) -> Vec<String> {
    let pairs = machine
        .devices()
        .flat_map(|from| machine.devices().map(move |to| (from, to)));
    let used: BTreeSet<LinkId> = pairs
        .flat_map(|(from, to)| machine.route(from, to).links.iter().copied())
        .collect();
    let is_gpu = |vertex: topologies::VertexId| {
        matches!(machine.vertices[vertex.index()].kind, VertexKind::Gpu(_))
    };
    let mut names = BTreeSet::new();
    for id in used {
        let link = machine.link(id);
        if !is_gpu(link.from) && !is_gpu(link.to) {
            // Both directions are one link.
            let (this, back) = (link_name(machine, id), link_name(machine, link.reverse));
            names.insert(if id < link.reverse { this } else { back });
        }
    }
    names.into_iter().collect()
}
