//! Collectives over connections, as NCCL's rings and pairs do them, block by block.
//!
//! ```text
//! all-gather      n-1 steps: send the block that came last to the next, take one from the one before
//! reduce-scatter  the same steps (sums are left out);  all-reduce  both
//! all-to-all      size/n to everyone at once
//! ring pass       size to the next
//! ```

use std::sync::Arc;

use anyhow::{Context, Result, ensure};

use crate::mesh::{Arrival, Payload};
use crate::program::{Job, Kind};
use crate::worker::Worker;

/// The connections (peer, channel) that a job of `rank` sends over.
pub(crate) fn connections(job: &Job, rank: u32) -> Vec<(u32, u32)> {
    match job {
        Job::Send { to, channel, .. } => vec![(*to, *channel)],
        Job::Collective { kind, group, .. } => {
            let at = position(group, rank);
            let peers = match kind {
                Kind::AllToAll => group.iter().copied().filter(|&to| to != rank).collect(),
                _ => vec![group[(at + 1) % group.len()]],
            };
            peers.into_iter().map(|peer| (peer, 0)).collect()
        }
        _ => Vec::new(),
    }
}

fn position(group: &[u32], rank: u32) -> usize {
    let at = group.iter().position(|&member| member == rank);
    at.expect("a rank has jobs for its own groups only")
}

/// Takes part in a collective whose messages are numbered from `number` on; returns when it was done.
///
/// # Errors
/// When a compressed message has other bytes than simulated.
pub(crate) fn collective(
    worker: &Worker,
    kind: Kind,
    group: &[u32],
    size: u64,
    number: u64,
) -> Result<u64> {
    let ranks = group.len() as u64;
    let block = size.div_ceil(ranks);
    let steps = ranks - 1;
    match kind {
        Kind::AllGather => around(worker, group, block, steps, number),
        Kind::ReduceScatter => around(worker, group, block, steps, number),
        Kind::AllReduce => around(worker, group, block, 2 * steps, number),
        Kind::RingPass => around(worker, group, size, 1, number),
        Kind::AllToAll => {
            let at = position(group, worker.rank);
            let peers = (1..group.len()).map(|step| group[(at + step) % group.len()]);
            for to in peers.clone() {
                worker.mesh.send(to, 0, number, Payload::Filler(block));
            }
            let arrived = peers.map(|from| worker.mesh.receive(from, number).at_ns);
            Ok(arrived.max().expect("a group has another rank"))
        }
    }
}

/// `steps` steps around the ring of a group.
fn around(worker: &Worker, group: &[u32], block: u64, steps: u64, number: u64) -> Result<u64> {
    ensure!(
        steps < 256,
        "a message's number has room for 256 steps, not {steps}"
    );
    let at = position(group, worker.rank);
    let next = group[(at + 1) % group.len()];
    let before = group[(at + group.len() - 1) % group.len()];
    let mut payload = match held(worker, block)? {
        Some(bytes) => Payload::Bytes(bytes),
        None => Payload::Filler(block),
    };
    let mut came = Vec::new();
    let mut at_ns = 0;
    for step in 0..steps {
        worker.mesh.send(next, 0, number | step, payload.clone());
        let Arrival { at_ns: at, bytes } = worker.mesh.receive(before, number | step);
        at_ns = at;
        if let Some(bytes) = bytes {
            came.push(Arc::clone(&bytes));
            payload = Payload::Bytes(bytes);
        }
    }
    if !came.is_empty() {
        let mut coder = worker.coder.lock().ok().context("a lane died")?;
        coder
            .as_mut()
            .context("compressed bytes reached a rank without a codec")?
            .hold(came);
    }
    Ok(at_ns)
}

/// The compressed message to send, where the plan compresses.
fn held(worker: &Worker, bytes: u64) -> Result<Option<Arc<Vec<u8>>>> {
    let coder = worker.coder.lock().ok().context("a lane died")?;
    match coder.as_ref() {
        Some(coder) => coder.outgoing(bytes),
        None => Ok(None),
    }
}
