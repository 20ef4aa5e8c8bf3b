//! Rank 0 of a sweep: deals chunks to whoever is idle, and passes lines on in the order of the points.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use anyhow::Result;
use mpi::topology::SimpleCommunicator;
use mpi::traits::*;
use planner::search::Shared;
use planner::sweep::Sweep;

use crate::{Order, PAUSE};

/// Chunks a rank that may be dealt ahead of the first one that is not written.
pub const AHEAD: usize = 4;

/// Lines of a chunk, who worked them out, and the chunk's first point.
struct Arrived {
    rank: i32,
    from: usize,
    lines: Vec<u8>,
}

/// Rank 0's own share of the work: a thread that takes chunks and gives lines.
struct Own {
    chunks: Sender<Range<usize>>,
    lines: Receiver<Arrived>,
}

pub struct Dealer<'a> {
    world: &'a SimpleCommunicator,
    sweep: &'a Sweep,
    first: usize,
    digest: String,
}

impl<'a> Dealer<'a> {
    pub fn new(world: &'a SimpleCommunicator, sweep: &'a Sweep, first: usize) -> Self {
        Self {
            world,
            sweep,
            first,
            digest: ditplan::digest(sweep),
        }
    }

    /// Gives all lines from the first point on to `each`, in order.
    pub fn run(&self, each: &mut dyn FnMut(Vec<u8>) -> Result<()>) -> Result<()> {
        let sweep = self.sweep;
        thread::scope(|scope| {
            let (chunks, taken) = channel::<Range<usize>>();
            let (given, lines) = channel();
            scope.spawn(move || {
                let shared = Shared::default();
                for points in taken {
                    let from = points.start;
                    let lines = ditplan::lines(sweep, points, &shared);
                    let rank = 0;
                    if given.send(Arrived { rank, from, lines }).is_err() {
                        return;
                    }
                }
            });
            self.deal(&Own { chunks, lines }, each)
        })
    }

    fn deal(&self, own: &Own, each: &mut dyn FnMut(Vec<u8>) -> Result<()>) -> Result<()> {
        let ranks = self.world.size();
        let mut chunks = self.sweep.chunks(self.first).fuse();
        let mut idle: Vec<i32> = (0..ranks).collect();
        // First points of chunks that are dealt and not written, in order; and those of them that are worked out.
        let mut dealt: VecDeque<usize> = VecDeque::new();
        let mut done: BTreeMap<usize, Vec<u8>> = BTreeMap::new();
        let mut written = Ok(());
        loop {
            while written.is_ok() && dealt.len() < AHEAD * ranks as usize && !idle.is_empty() {
                let Some(points) = chunks.next() else { break };
                dealt.push_back(points.start);
                let rank = idle.pop().expect("one is idle");
                self.send(rank, points, own);
            }
            if idle.len() == ranks as usize {
                return written;
            }
            let Some(Arrived { rank, from, lines }) = self.arrived(own) else {
                thread::sleep(PAUSE);
                continue;
            };
            idle.push(rank);
            done.insert(from, lines);
            while let Some(lines) = dealt.front().and_then(|from| done.remove(from)) {
                dealt.pop_front();
                // After a failure the others are waited for, so that no message is left without a receiver.
                if written.is_ok() {
                    written = each(lines);
                }
            }
        }
    }

    fn send(&self, rank: i32, points: Range<usize>, own: &Own) {
        if rank == 0 {
            own.chunks
                .send(points)
                .expect("the thread takes chunks until it is told no more");
            return;
        }
        let order = Order {
            from: points.start,
            until: points.end,
            digest: self.digest.clone(),
        };
        self.world.process_at_rank(rank).send(&order.write()[..]);
    }

    /// The lines of one chunk, where some have come.
    fn arrived(&self, own: &Own) -> Option<Arrived> {
        if let Ok(arrived) = own.lines.try_recv() {
            return Some(arrived);
        }
        let any = self.world.any_process();
        any.immediate_probe()?;
        let (message, status) = any.receive_vec::<u8>();
        let (from, lines) = message
            .split_first_chunk::<8>()
            .expect("lines come behind their first point");
        Some(Arrived {
            rank: status.source_rank(),
            from: u64::from_le_bytes(*from) as usize,
            lines: lines.to_vec(),
        })
    }
}
