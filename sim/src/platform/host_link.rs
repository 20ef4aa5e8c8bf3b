//! The way from host memory to a GPU: how fast weights that are not resident get there.

use topologies::topology::{LinkKind, VertexKind};
use topologies::{Bandwidth, DeviceId, Machine};

use super::Platform;

/// What a copy from pinned host memory reaches of the PCIe rate of the datasheet. Encoders of 9.8 GB that SGLang copies for
/// every request take .45 s on an RTX 4090 (22 of 32 GB/s) and .18 s on an H100 (54 of 64 GB/s).
const PINNED_SHARE: f64 = 0.75;

/// What pageable memory reaches of the pinned rate. Host code copies it twice: usually a third is left; on one L20 host
/// 2.1 of 24 GB/s were (FLUX.1, sequential offload). Between both, by ratio.
const PAGEABLE_SHARE: f64 = 1.0 / 6.0;

/// How host memory is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HostMemory {
    /// Locked in place: copied at the link's rate.
    Pinned,
    /// As the operating system gives it.
    Pageable,
}

impl Platform {
    /// The rate at which a copy from host memory reaches `device` while all of `copying` receive one: of its own link, or its
    /// share of a PCIe switch's.
    #[must_use]
    pub fn host_rate(
        &self,
        device: DeviceId,
        copying: &[DeviceId],
        memory: HostMemory,
    ) -> Bandwidth {
        let share = match memory {
            HostMemory::Pinned => PINNED_SHARE,
            HostMemory::Pageable => PINNED_SHARE * PAGEABLE_SHARE,
        };
        let own = self.gpu(device).pcie;
        let uplink = self
            .machine()
            .and_then(|machine| uplink(machine, device, copying));
        own.min(uplink.unwrap_or(own)).scaled(share)
    }
}

/// What a GPU has of the links above it, where those are PCIe switches' that others of `copying` use too.
fn uplink(machine: &Machine, device: DeviceId, copying: &[DeviceId]) -> Option<Bandwidth> {
    let above = switches(machine, device);
    let others: Vec<Vec<(usize, Bandwidth)>> =
        copying.iter().map(|&gpu| switches(machine, gpu)).collect();
    let share = |&(switch, rate): &(usize, Bandwidth)| {
        let sharing = others
            .iter()
            .filter(|path| path.iter().any(|(other, _)| *other == switch));
        rate.scaled((sharing.count().max(1) as f64).recip())
    };
    above.iter().map(share).min()
}

/// The PCIe switches above a GPU, each with the rate of its up-link.
fn switches(machine: &Machine, device: DeviceId) -> Vec<(usize, Bandwidth)> {
    let is_gpu = |at: usize| matches!(machine.vertices[at].kind, VertexKind::Gpu(_));
    let here = |kind: VertexKind| kind == VertexKind::Gpu(device);
    let mut at = machine.vertices.iter().position(|vertex| here(vertex.kind));
    let mut path = Vec::new();
    while let Some(from) = at {
        let seen = |to: usize| path.iter().any(|&(switch, _)| switch == to);
        let mut up = machine.links.iter().filter(|link| {
            let to = link.to.index();
            link.from.index() == from && link.kind == LinkKind::Pcie && !is_gpu(to) && !seen(to)
        });
        let Some(link) = up.next() else { break };
        if machine.vertices[from].kind == VertexKind::PcieSwitch {
            path.push((from, link.capacity));
        }
        at = (machine.vertices[link.to.index()].kind == VertexKind::PcieSwitch)
            .then(|| link.to.index());
        if at.is_none() {
            break;
        }
    }
    path
}
