//! N ranks on one GPU: what virtual ranks run on, to compare a simulation with a measurement.
//!
//! ```text
//! compute  rank 0 linear | rank 1 linear | .. | rank 0 attention | rank 1 attention | decode ..   one queue
//! down                     rank 0 -> host | rank 1 -> host | ..                                   one queue
//! up                                        host -> rank 1 | host -> rank 0 | ..                  one queue
//! ```
//! A plan is lowered as on N GPUs; only three things differ. All ranks' compute is one queue, in the order of
//! the tasks. A message is two copies, down to pinned host memory and up again, each way a queue and a link.
//! What a real collective costs beside its bytes (posting, skew, set-up) is left out, for there is none.
//!
//! Not modelled: waiting for a free host buffer (there are two for each pair of ranks).

use topologies::{Bandwidth, Bytes, CollectiveKind, DeviceId, LinkId, SimDuration};
use traces::timeline::Stream;

use crate::graph::Path;

/// Copies in one direction: `latency + bytes / rate`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CopyRate {
    /// Time before the first byte.
    pub latency: SimDuration,
    /// Rate when nothing goes the other way.
    pub rate: Bandwidth,
}

/// Whether copies run beside compute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Copies {
    /// They do, on a stream each way.
    Streams,
    /// They do not: a processor does one thing after another.
    InTurn,
}

/// How ranks that share one GPU exchange messages.
#[derive(Clone, Debug, PartialEq)]
pub struct OneGpu {
    /// To the host.
    pub down: CopyRate,
    /// From the host.
    pub up: CopyRate,
    /// What both directions together carry at most.
    pub together: Bandwidth,
    /// The part by which compute is longer beside copies both ways.
    pub interference: f64,
    /// Whether copies run beside compute.
    pub copies: Copies,
}

/// A queue of the GPU, as a stream of a device; copies have devices of their own behind the ranks.
pub(crate) type Queue = (DeviceId, Stream);

/// One copy from a rank of a group to another, by position in the group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Copy {
    pub from: usize,
    pub to: usize,
    pub bytes: Bytes,
}

impl OneGpu {
    /// Capacities of the links: down, up, both together.
    pub(crate) fn capacities(&self) -> Vec<Bandwidth> {
        vec![self.down.rate, self.up.rate, self.together]
    }

    /// The way down (else up).
    pub(crate) fn path(&self, down: bool) -> Path {
        let (rate, link) = if down { (self.down, 0) } else { (self.up, 1) };
        Path::single(rate.latency, &[LinkId::new(link), LinkId::new(2)])
    }

    /// The queue of copies down (else up), of `ranks` ranks.
    pub(crate) fn queue(&self, down: bool, ranks: usize) -> Queue {
        match self.copies {
            Copies::InTurn => (DeviceId::new(0), Stream::Compute),
            Copies::Streams if down => (DeviceId::new(ranks), Stream::Communication),
            Copies::Streams => (DeviceId::new(ranks + 1), Stream::Communication),
        }
    }

    /// Each rank's part of the time of `copies`, one after another, the two ways beside each other.
    pub(crate) fn time(&self, copies: &[Copy], ranks: usize) -> SimDuration {
        let slower = |bytes: Bytes| {
            let way = |rate: CopyRate| rate.latency + bytes / rate.rate;
            way(self.down).max(way(self.up))
        };
        let total: SimDuration = copies.iter().map(|copy| slower(copy.bytes)).sum();
        total.scaled(1.0 / ranks as f64)
    }
}

/// The copies that a collective of nccl-tests' `size` is among `ranks` ranks, in the order of their sending:
/// nearest neighbours first. None where virtual ranks run no such collective.
pub(crate) fn copies(kind: CollectiveKind, ranks: usize, size: Bytes) -> Option<Vec<Copy>> {
    let (distances, bytes) = match kind {
        CollectiveKind::RingPass => (1..2, size),
        CollectiveKind::AllGather | CollectiveKind::AllToAll => {
            (1..ranks, Bytes::new(size.get().div_ceil(ranks as u64)))
        }
        _ => return None,
    };
    let from_to = distances.flat_map(|distance| (0..ranks).map(move |from| (from, distance)));
    let copy = |(from, distance)| Copy {
        from,
        to: (from + distance) % ranks,
        bytes,
    };
    Some(from_to.map(copy).collect())
}

#[cfg(test)]
mod tests;
