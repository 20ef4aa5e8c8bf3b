//! What one forward pass does on one rank: times and messages by distinct block.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use kernels::{Compressor, Op};
use topologies::{Bytes, CollectiveKind, DeviceId, SimDuration};

use super::times::{Compute, Slice};
use super::weights::Fetch;
use super::{LowerError, Setup};
use crate::plan::{Coordinates, Exchange, RingLoop};
use crate::platform::{Message, Timing};
use crate::workload::{AttentionCall, AttentionKind, Block, ELEMENT_BYTES, Tokens};

/// How a step runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Synchronous, raw messages: warm-up, and every step of exact plans.
    Synchronous,
    /// After warm-up: stale or compressed, where the plan is.
    Steady,
}

/// A group that exchanges messages: what its messages cost is known of the first rank's, which stands for
/// all of its dimension that lie on the nodes alike; how narrow links lengthen them, of the own.
pub(super) struct Members {
    first: Vec<DeviceId>,
    own: Vec<DeviceId>,
}

/// The forward passes of one rank: of warm-up, and of every compressor that the plan uses after it.
#[derive(Clone, Debug)]
pub(super) struct Passes {
    synchronous: Pass,
    steady: BTreeMap<Option<Compressor>, Pass>,
}

impl Passes {
    pub(super) fn new(setup: &Setup<'_>) -> Result<Self, LowerError> {
        let compression = &setup.plan.compression;
        let layers = setup.workload.layers.order.len();
        let mut steady = BTreeMap::new();
        for start in compression.phase_starts() {
            for layer in 0..layers {
                let compressor = compression.at(start, layer);
                if let Entry::Vacant(vacant) = steady.entry(compressor) {
                    vacant.insert(setup.pass(1, Mode::Steady, compressor)?);
                }
            }
        }
        Ok(Self {
            synchronous: setup.pass(1, Mode::Synchronous, None)?,
            steady,
        })
    }

    /// Whether messages take as long as they take, whatever else uses the links.
    pub(super) fn are_fixed(&self) -> bool {
        let passes = self.steady.values().chain([&self.synchronous]);
        let blocks = passes.flat_map(|pass| pass.kinds.iter().chain([&pass.head, &pass.tail]));
        let mut messages = blocks.flat_map(BlockTimes::messages);
        messages.all(|message| message.timing == Timing::Fixed)
    }

    /// The blocks of a step in execution order: head, layers, tail. The head and the tail, which have
    /// no layer to be named by, send raw.
    pub(super) fn blocks<'a>(
        &'a self,
        setup: &'a Setup<'_>,
        step: u32,
        mode: Mode,
    ) -> impl Iterator<Item = &'a BlockTimes> {
        let ends = match mode {
            Mode::Synchronous => &self.synchronous,
            Mode::Steady => self
                .steady
                .values()
                .next()
                .expect("a plan has a first phase"),
        };
        let layer = move |(layer, kind): (usize, &usize)| {
            let pass = match mode {
                Mode::Synchronous => &self.synchronous,
                Mode::Steady => &self.steady[&setup.plan.compression.at(step, layer)],
            };
            &pass.kinds[*kind]
        };
        let layers = setup.workload.layers.order.iter().enumerate().map(layer);
        std::iter::once(&ends.head)
            .chain(layers)
            .chain(std::iter::once(&ends.tail))
    }
}

/// What one rank does for one block.
#[derive(Clone, Debug)]
pub struct BlockTimes {
    pub(super) compute: Compute,
    /// Launch time of the block.
    pub(super) launch: SimDuration,
    /// Attention chunks: the ring degree.
    pub(super) chunks: u32,
    /// Compressing K and V of the own shard.
    pub(super) encode: SimDuration,
    /// Decompressing what one message brought.
    pub(super) decode: SimDuration,
    /// Half-width of the interval of both, as a fraction.
    pub(super) codec_doubt: f64,
    /// The all-to-alls before attention, then after; alike on all groups of equal reach.
    pub(super) ulysses: Option<(Message, Message)>,
    /// The messages of the exchange: a hop, or the gathers before attention.
    pub(super) exchange: Vec<Message>,
    /// The merge of partial outputs over the ranks of a row (Attention2D).
    pub(super) merge: Option<Message>,
    /// The part of what could overlap that compute and a message beside it cost each other.
    pub(super) interference: f64,
    /// Merging partial outputs, per further chunk.
    pub(super) merge_time: SimDuration,
    /// Waiting of one hop beside the transfer: posting, synchronising.
    pub(super) sync: SimDuration,
    /// Waiting before a blocking message for the rank whose encode takes longest.
    pub(super) skew: SimDuration,
    /// The all-reduces.
    pub(super) reduce: Vec<Message>,
    /// Fetching its weights, where they are not on the GPU.
    pub(super) fetch: Option<Fetch>,
}

impl BlockTimes {
    fn messages(&self) -> impl Iterator<Item = &Message> {
        let ulysses = self
            .ulysses
            .iter()
            .flat_map(|(inward, outward)| [inward, outward]);
        let others = self.exchange.iter().chain(&self.merge).chain(&self.reduce);
        ulysses.chain(others)
    }
}

/// One forward pass of one rank.
#[derive(Clone, Debug)]
pub struct Pass {
    /// Times of each distinct block: head, kinds in order, tail.
    pub(super) head: BlockTimes,
    pub(super) kinds: Vec<BlockTimes>,
    pub(super) tail: BlockTimes,
}

/// Waiting per ring hop beside the transfer. PCIe: CompactFusion's compressed rings on 4 L20 wait
/// 0.42 s over 4,617 hops, little of it for bytes. NVLink: a fifth of it (assumption).
const fn hop_sync(nvlink: bool) -> SimDuration {
    SimDuration::new(if nvlink { 10_000_000 } else { 50_000_000 })
}

/// How much longer the slowest rank of a group encodes than the others, who wait for it: a part of
/// the encode. CompactFusion's low-rank rings on 4 L20 wait 0.18 s more than its 1-bit rings, which
/// send more bytes, over 2.96 s of encoding (three latency-bound QRs each).
const ENCODE_SKEW: f64 = 0.08;

/// What overlapping saves is three quarters of the shorter on PCIe: so CompactFusion's breakdown of
/// FLUX on 4 L20, its DistriFusion run there and xDiT's ring runs agree. On NVLink rings gain nothing
/// from it: a hop's copies take the multiprocessors that attention would use (strategies of equal
/// bytes without overlap were faster there in vLLM-Omni's controlled test, and in xDiT's runs).
const fn interference(exchange: Exchange, nvlink: bool) -> f64 {
    match exchange {
        Exchange::Ring(_) if nvlink => 1.0,
        _ => 0.25,
    }
}

impl Setup<'_> {
    /// One forward pass of one patch of `patches`.
    pub(super) fn pass(
        &self,
        patches: u64,
        mode: Mode,
        compressor: Option<Compressor>,
    ) -> Result<Pass, LowerError> {
        let slice = Slice {
            rows: self.rows(),
            sequence: u64::from(self.plan.sequence()),
            patches,
        };
        let layers = &self.workload.layers;
        let block = |block: &Block| self.block_times(block, slice, mode, compressor);
        Ok(Pass {
            head: block(&layers.head)?,
            kinds: layers.kinds.iter().map(block).collect::<Result<_, _>>()?,
            tail: block(&layers.tail)?,
        })
    }

    fn block_times(
        &self,
        block: &Block,
        slice: Slice,
        mode: Mode,
        compressor: Option<Compressor>,
    ) -> Result<BlockTimes, LowerError> {
        let plan = self.plan;
        let exchanged = block
            .attention
            .iter()
            .find(|call| call.crosses_shards() && call.kind != AttentionKind::Spatial);
        let compressor = compressor.filter(|_| mode == Mode::Steady && exchanged.is_some());
        let reduces = if plan.tensor > 1 {
            block.all_reduces(&self.shard(slice))
        } else {
            Vec::new()
        };
        let tensor = self.members(plan.tensor, |at, position| at.tensor = position);
        let reduce = |bytes: &Bytes| self.message(CollectiveKind::AllReduce, &tensor, *bytes);
        let mut times = BlockTimes {
            compute: self.compute(block, slice)?,
            launch: self.launch(block, reduces.len(), exchanged.is_some()),
            chunks: 1,
            encode: SimDuration::ZERO,
            decode: SimDuration::ZERO,
            codec_doubt: 0.0,
            ulysses: None,
            exchange: Vec::new(),
            merge: None,
            interference: match &self.platform.one_gpu {
                Some(one) => one.interference,
                None => interference(plan.exchange, self.platform.is_nvlink()),
            },
            merge_time: SimDuration::ZERO,
            sync: SimDuration::ZERO,
            skew: SimDuration::ZERO,
            reduce: reduces.iter().map(reduce).collect::<Result<_, _>>()?,
            fetch: self.fetch(block)?,
        };
        if let Some(call) = exchanged {
            self.add_ulysses(&mut times, block, call, slice, compressor)?;
            self.add_exchange(&mut times, block, call, slice, compressor)?;
        }
        Ok(times)
    }

    /// The groups of a dimension that the first rank and this one are in.
    pub(super) fn members(&self, degree: u32, set: impl Fn(&mut Coordinates, u32)) -> Members {
        Members {
            first: self.group_of(0, degree, &set),
            own: self.group_of(self.rank, degree, &set),
        }
    }

    pub(super) fn message(
        &self,
        kind: CollectiveKind,
        group: &Members,
        size: Bytes,
    ) -> Result<Message, LowerError> {
        let factors = &self.execution.calibration.rates;
        let platform = self.platform;
        let alike = platform.span(&group.first) == platform.span(&group.own);
        let group_of = if alike { &group.first } else { &group.own };
        let message = platform.message(kind, group_of, size, factors)?;
        let longer = platform.lengthened(&message, &group.own);
        Ok(message.lengthened(longer))
    }

    /// Rows (tokens of all rows) and channels of one rank's K or V matrix, as it leaves the rank.
    fn message_shape(&self, block: &Block, call: &AttentionCall, slice: Slice) -> (u64, u64) {
        let shard = self.shard(slice);
        let own = block.tokens.part(shard.image_parts, shard.text_parts);
        // Text that every rank has in full does not travel.
        let tokens = match call.keys {
            Tokens::Joint if shard.text_parts == 1 && slice.sequence > 1 => own.image,
            keys => own.of(keys),
        };
        let width = call.width().div_ceil(u64::from(self.plan.tensor));
        (slice.rows * tokens, width)
    }

    /// Time of an encode or decode, and the half-width of its interval.
    fn codec(&self, op: Op) -> Result<(SimDuration, f64), LowerError> {
        let gpu = self.platform.gpu(self.plan.placement[0]);
        let cost = self.costs.cost(&op, gpu)?;
        Ok((self.at_pace(op, cost.time), cost.half_width))
    }

    /// Encode of K and V of a shard, and decode of both of one message.
    fn add_codec(
        &self,
        times: &mut BlockTimes,
        compressor: Compressor,
        (rows, channels): (u64, u64),
        messages: u64,
    ) -> Result<(), LowerError> {
        let (encode, doubt) = self.codec(Op::Encode {
            compressor,
            rows,
            channels,
        })?;
        let (decode, other) = self.codec(Op::Decode {
            compressor,
            rows,
            channels,
        })?;
        times.encode = encode * 2;
        times.decode = decode * (2 * messages);
        times.codec_doubt = doubt.max(other);
        match self.plan.exchange {
            // Ranks of one GPU encode one after another: none waits for the slowest.
            _ if self.platform.one_gpu.is_some() => {}
            // A ring's ranks wait hop by hop.
            Exchange::Ring(n) if n > 1 => {
                times.sync += times.encode.scaled(ENCODE_SKEW / f64::from(n - 1));
            }
            _ => times.skew = times.encode.scaled(ENCODE_SKEW),
        }
        Ok(())
    }

    fn add_ulysses(
        &self,
        times: &mut BlockTimes,
        block: &Block,
        call: &AttentionCall,
        slice: Slice,
        compressor: Option<Compressor>,
    ) -> Result<(), LowerError> {
        let degree = self.plan.ulysses;
        if degree == 1 {
            return Ok(());
        }
        let group = self.members(degree, |at, position| at.ulysses = position);
        let (rows, mut channels) = self.message_shape(block, call, slice);
        let heads = call.heads.div_ceil(u64::from(self.plan.tensor));
        if !heads.is_multiple_of(u64::from(degree)) {
            channels = heads.next_multiple_of(u64::from(degree)) * call.head_dim;
        }
        let raw = Compressor::raw_bytes(rows, channels);
        let one = self.message(CollectiveKind::AllToAll, &group, raw)?;
        let kv = match compressor {
            // With a ring beyond, K and V are compressed there, where they are sent.
            Some(compressor) if self.plan.exchange.degree() == 1 => {
                // A head group's part of a shard, its own part included, is decoded after the exchange.
                self.add_codec(times, compressor, (rows, channels), 1)?;
                self.message(
                    CollectiveKind::AllToAll,
                    &group,
                    compressor.message_bytes(rows, channels),
                )?
            }
            _ => one.clone(),
        };
        times.ulysses = Some((one.then(&kv, 2), one));
        Ok(())
    }

    fn add_exchange(
        &self,
        times: &mut BlockTimes,
        block: &Block,
        call: &AttentionCall,
        slice: Slice,
        compressor: Option<Compressor>,
    ) -> Result<(), LowerError> {
        let degree = self.plan.exchange.degree();
        if degree == 1 {
            return Ok(());
        }
        let (rows, channels) = self.message_shape(block, call, slice);
        // Inside a Ulysses group a rank has all tokens of the group and a part of the heads.
        let tensor_bytes = match compressor {
            Some(compressor) => compressor.message_bytes(rows, channels),
            None => Compressor::raw_bytes(rows, channels),
        };
        let own = tensor_bytes * 2;
        let outer = self.members(degree, |at, position| at.outer = position);
        match self.plan.exchange {
            Exchange::Ring(_) => {
                times.chunks = degree;
                times.exchange = vec![self.message(CollectiveKind::RingPass, &outer, own)?];
                if self.platform.one_gpu.is_none() {
                    times.sync = hop_sync(self.platform.is_nvlink());
                }
                times.merge_time = self.merge_time(rows, channels)?;
                if let Some(compressor) = compressor {
                    self.add_codec(times, compressor, (rows, channels), 1)?;
                }
            }
            Exchange::Gather(n) | Exchange::Displaced(n) => {
                let total = own * u64::from(n);
                times.exchange = vec![self.message(CollectiveKind::AllGather, &outer, total)?];
                if let Some(compressor) = compressor {
                    self.add_codec(times, compressor, (rows, channels), u64::from(n))?;
                }
            }
            Exchange::Attention2d {
                rows: down,
                columns: across,
            } => {
                let raw = Compressor::raw_bytes(rows, channels);
                self.add_attention2d(times, &outer, (down, across), (raw, own))?;
                if let Some(compressor) = compressor {
                    self.add_codec(times, compressor, (rows, channels), u64::from(down))?;
                }
            }
        }
        Ok(())
    }

    /// Q gathered raw along a row of the grid, K and V along a column, partial outputs exchanged raw
    /// along the row. Rank `i` of the exchange stands in row `i / across`, column `i % across`.
    fn add_attention2d(
        &self,
        times: &mut BlockTimes,
        outer: &Members,
        (down, across): (u32, u32),
        (query, kv): (Bytes, Bytes),
    ) -> Result<(), LowerError> {
        let (across_at, at) = (across as usize, self.plan.coordinates(self.rank).outer);
        let own_row = (at / across) as usize;
        let row = Members {
            first: outer.first[..across_at].to_vec(),
            own: outer.own[own_row * across_at..][..across_at].to_vec(),
        };
        let from = |grid: &[DeviceId], first: u32| {
            grid[first as usize..]
                .iter()
                .copied()
                .step_by(across_at)
                .collect()
        };
        let column = Members {
            first: from(&outer.first, 0),
            own: from(&outer.own, at % across),
        };
        if across > 1 {
            let gathered = query * u64::from(across);
            times
                .exchange
                .push(self.message(CollectiveKind::AllGather, &row, gathered)?);
            times.merge = Some(self.message(CollectiveKind::AllToAll, &row, gathered)?);
        }
        if down > 1 {
            let gathered = kv * u64::from(down);
            times
                .exchange
                .push(self.message(CollectiveKind::AllGather, &column, gathered)?);
        }
        Ok(())
    }

    /// Merging a further partial output into the sum, in fp32: seven passes in eager code
    /// (docs/calibration.md section 2), three in CompactFusion's fused loop, whatever is sent.
    fn merge_time(&self, rows: u64, channels: u64) -> Result<SimDuration, LowerError> {
        let passes = match self.plan.ring_loop {
            RingLoop::Engine => 7,
            RingLoop::Fused => 3,
        };
        let merge = self.codec(Op::MemoryBound {
            bytes: passes * rows * channels * 2 * ELEMENT_BYTES,
            kernels: passes / 3,
        })?;
        Ok(merge.0)
    }
}
