//! One rank's share of weights, activations and caches.

use topologies::{Bytes, Gpu};

use super::{COMMUNICATOR, CONTEXT, Decoding, Fit, Memory, Phase, Precision, Stored};
use crate::model::{Fp16, Guidance, Tiling};
use crate::plan::{Components, Encoders, Exchange, Plan, Weights, stage_blocks};
use crate::workload::{Block, ELEMENT_BYTES, Linear, Role, Tokens, Workload};

/// Blocks that FSDP gathers at a time: one in use, one ahead.
const BLOCKS_GATHERED: u64 = 2;

/// Copies of K and V that DistriFusion keeps: the one attention reads and the flat one that the
/// asynchronous all-gather of a tensor list fills before it copies out (PyTorch's ProcessGroupNCCL
/// allocates it). Published slopes: 117 and 126 A over 28 blocks, of which two copies are 112.
const DISPLACED_COPIES: u64 = 2;

/// Output frames that a causal video decoder keeps per full-resolution convolution, and how many of
/// these it has (three residual blocks of two and the last one), each half as wide as the widest.
const CAUSAL_FRAMES: u64 = 2;
const CAUSAL_CONVOLUTIONS: u64 = 7;

/// What a further image of a batch adds to the peak of decoding one: convolutions' workspaces do not grow with it. From FLUX.1
/// on H100 with batches of 1, 4, 8 and 16.
const FURTHER_IMAGE: (u64, u64) = (3, 4);

/// What of an encoder is on the GPU when its layers come one after another: two of 24 layers.
const ENCODER_PARTS: u64 = 12;

/// Parameters in the feed-forward output of a T5 encoder layer over all of the layer:
/// 2.5 d^2 of 4 d^2 (attention) + 7.5 d^2 (gated, 2.5 d wide).
const T5_OUTPUT_PARTS: (u64, u64) = (5, 23);

/// What one rank runs and holds.
pub(super) struct Share<'a> {
    workload: &'a Workload,
    plan: &'a Plan,
    stored: &'a Stored,
    rank: u32,
    /// Blocks of the rank's stage.
    blocks: Vec<&'a Block>,
    /// Whether embedders and output layer are on this stage.
    ends: (bool, bool),
    /// Rows of its forward pass.
    rows: u64,
    /// Transformers resident.
    experts: u64,
}

impl<'a> Share<'a> {
    pub(super) fn new(
        workload: &'a Workload,
        plan: &'a Plan,
        stored: &'a Stored,
        rank: u32,
        experts: u64,
    ) -> Self {
        let all: Vec<&Block> = workload.blocks().collect();
        let stages = plan.pipeline.stages as usize;
        let stage = plan.coordinates(rank).stage as usize;
        let range = stage_blocks(all.len(), stages)[stage].clone();
        let branches = match workload.request.guidance {
            Guidance::Batched => u64::from(plan.cfg),
            Guidance::None | Guidance::Sequential | Guidance::Triple => 1,
        };
        Self {
            workload,
            plan,
            stored,
            rank,
            blocks: all[range].to_vec(),
            ends: (stage == 0, stage + 1 == stages),
            rows: workload.rows.div_ceil(u64::from(plan.data) * branches),
            experts,
        }
    }

    /// The phase that needs the most, against a GPU's memory.
    pub(super) fn worst(&self, gpu: &Gpu) -> Memory {
        [Phase::Encode, Phase::Denoise, Phase::Decode]
            .into_iter()
            .map(|phase| self.phase(phase, gpu))
            .reduce(|most, next| if next.total > most.total { next } else { most })
            .expect("there are three phases")
    }

    pub(super) fn phase(&self, phase: Phase, gpu: &Gpu) -> Memory {
        let residency = self.plan.execution.residency;
        let resident = |own: Phase, bytes: Bytes| match (residency.components, residency.encoders) {
            (Components::InTurn, _) if own != phase => Bytes::ZERO,
            (_, Encoders::InTurn) if own == Phase::Encode && own != phase => Bytes::ZERO,
            _ => bytes,
        };
        let during = |own: Phase, bytes: Bytes| if own == phase { bytes } else { Bytes::ZERO };
        // Caches are allocated by the first step and freed with the transformer.
        let kept = |bytes: Bytes| match phase {
            Phase::Encode => Bytes::ZERO,
            _ => resident(Phase::Denoise, bytes),
        };
        let mut memory = Memory {
            rank: self.rank,
            phase,
            weights: resident(Phase::Denoise, self.weights(phase)),
            encoders: resident(Phase::Encode, self.encoders()),
            activations: during(Phase::Denoise, self.activations()),
            kv_cache: kept(self.kv_cache()),
            bases: kept(self.bases()),
            vae: resident(Phase::Decode, self.vae_weights())
                + during(Phase::Decode, self.vae_activations()),
            runtime: self.runtime(),
            total: Bytes::ZERO,
            fits: Fit::Fits(Bytes::ZERO),
        };
        memory.total = memory.weights
            + memory.encoders
            + memory.activations
            + memory.kv_cache
            + memory.bases
            + memory.vae
            + memory.runtime;
        let (need, have) = (memory.total.get(), gpu.memory.get());
        memory.fits = match have.checked_sub(need) {
            Some(spare) => Fit::Fits(Bytes::new(spare)),
            None => Fit::Exceeds(Bytes::new(need - have)),
        };
        memory
    }

    /// Weights of the rank's blocks; embedders on the first stage, the output layer on the last.
    fn weights(&self, phase: Phase) -> Bytes {
        let layers = &self.workload.layers;
        let tensor = u64::from(self.plan.tensor);
        let size = self.stored.weight_precision.bytes();
        let precision = self.plan.execution.precision;
        let held = |block: &Block| block.weight_bytes_per_rank(tensor, precision, size);
        let blocks: u64 = self.blocks.iter().map(|block| held(block)).sum();
        let ends = u64::from(self.ends.0) * held(&layers.head)
            + u64::from(self.ends.1) * held(&layers.tail);
        let whole = (blocks + ends) * self.experts;
        // What is in flight is cast to the precision of the GEMMs.
        let largest = self
            .blocks
            .iter()
            .map(|block| block.weight_bytes_per_rank(tensor, precision, ELEMENT_BYTES))
            .max();
        let in_flight = |count: u64| match phase {
            Phase::Denoise => count * largest.unwrap_or(0),
            Phase::Encode | Phase::Decode => 0,
        };
        let sharers = u64::from(self.plan.replicas());
        Bytes::new(match self.plan.execution.residency.transformer {
            Weights::Resident => whole,
            Weights::Sharded if sharers == 1 => whole,
            Weights::Sharded => whole.div_ceil(sharers) + in_flight(BLOCKS_GATHERED),
            Weights::Layerwise { resident, ahead } => {
                let all = self.blocks.len() as u64;
                let resident = u64::from(resident).min(all);
                let copied = (1 + u64::from(ahead)).min(all - resident);
                self.experts * (ends + blocks * resident / all.max(1)) + in_flight(copied)
            }
        })
    }

    fn encoders(&self) -> Bytes {
        let whole: u64 = self
            .workload
            .model
            .encoders
            .iter()
            .map(|encoder| {
                let parameters = encoder.parameters * self.stored.encoder_precision.bytes();
                let (part, of) = T5_OUTPUT_PARTS;
                match (self.stored.encoder_precision, encoder.fp16) {
                    (Precision::Fp16, Fp16::OutputsInSinglePrecision) => {
                        parameters + 2 * encoder.active * part / of
                    }
                    _ => parameters,
                }
            })
            .sum();
        Bytes::new(match self.plan.execution.residency.encoders {
            Encoders::Whole => whole,
            Encoders::InTurn => whole / ENCODER_PARTS,
            Encoders::Split => whole.div_ceil(u64::from(self.plan.ranks())),
            Encoders::Elsewhere => 0,
        })
    }

    /// Activations of the fullest block, with what the exchange holds beside them.
    ///
    /// A pipeline stage sees the whole image in warm-up, so patches do not shrink it.
    fn activations(&self) -> Bytes {
        let peak = |block: &&Block| {
            let one = self.activation(block);
            let attention = self.attention_width() * one + self.transient(block);
            let forward = self.feed_forward_width(block) * one;
            Bytes::new(attention.max(forward).ceil() as u64)
        };
        self.blocks.iter().map(peak).max().unwrap_or(Bytes::ZERO)
    }

    /// A: one activation of a block on this rank, bytes. Text that does not divide is on every rank.
    fn activation(&self, block: &Block) -> f64 {
        let parts = u64::from(self.plan.sequence());
        let text_parts = if self.workload.text_splits(parts) {
            parts
        } else {
            1
        };
        let tokens = block.tokens.part(parts, text_parts);
        let joint = block
            .sharded_attention()
            .is_some_and(|call| call.keys == Tokens::Joint);
        let count = tokens.of(if joint { Tokens::Joint } else { Tokens::Image });
        (self.rows * count * block.hidden * ELEMENT_BYTES) as f64
    }

    /// Residual, norm, Q, K, V, output: in units of A.
    fn attention_width(&self) -> f64 {
        2.0 * self.residual_scale() + 4.0 / f64::from(self.plan.tensor)
    }

    /// Residual, norm, modulated input and output, and what is alive inside the feed-forward part.
    fn feed_forward_width(&self, block: &Block) -> f64 {
        let (hidden, tensor) = (block.hidden as f64, f64::from(self.plan.tensor));
        let widest = |role: Role, width: fn(&Linear) -> u64| {
            let on = block.linears.iter().filter(|linear| linear.role == role);
            on.map(width).max().unwrap_or(0) as f64 / hidden
        };
        let inner = widest(Role::FeedForwardIn, |linear| linear.n);
        let fused = widest(Role::FusedOut, |linear| linear.k);
        let convolution = widest(Role::Convolution, |linear| linear.n + linear.k / 9);
        if fused > 0.0 {
            // Q, K, V and attention (4), the feed-forward part before and in the join.
            return 3.0 * self.residual_scale() + (4.0 + (fused - 1.0) + fused) / tensor;
        }
        let out = widest(Role::FeedForwardOut, |linear| linear.k);
        4.0 * self.residual_scale() + ((inner + out) / tensor).max(convolution)
    }

    /// A residual stream in single precision is twice as large.
    fn residual_scale(&self) -> f64 {
        self.stored.weight_precision.bytes() as f64 / ELEMENT_BYTES as f64
    }

    /// Copies that the exchange holds while a block attends, bytes. One K and V of this rank's heads
    /// and of all tokens is `kv`.
    fn transient(&self, block: &Block) -> f64 {
        let kv = self.kv(block);
        let parts = f64::from(self.plan.exchange.degree());
        let exchange = match self.plan.exchange {
            // Two KV shards in flight; output and its log-sum-exp merge in single precision.
            Exchange::Ring(n) if n > 1 => 2.0 * kv / parts + 2.0 * kv / parts,
            Exchange::Gather(n) if n > 1 => kv,
            Exchange::Attention2d { rows, columns } => {
                kv / 2.0 / f64::from(rows) + kv / f64::from(columns)
            }
            Exchange::Displaced(n) if n > 1 => kv,
            _ => 0.0,
        };
        // The exchanged copies of Q, K, V and the output.
        let ulysses = if self.plan.ulysses > 1 {
            2.0 * kv / parts
        } else {
            0.0
        };
        exchange + ulysses
    }

    /// Bytes of K and V of a block: all tokens, the heads that this rank attends with.
    fn kv(&self, block: &Block) -> f64 {
        block.kv_bytes(self.rows).as_f64() / f64::from(self.plan.ulysses * self.plan.tensor)
    }

    /// Stale K and V: of the stage's blocks (PipeFusion; a ring keeps its shard), of all blocks and
    /// ranks (DistriFusion).
    fn kv_cache(&self) -> Bytes {
        let layers: f64 = self.blocks.iter().map(|block| self.kv(block)).sum();
        let copies = match self.plan.exchange {
            Exchange::Displaced(n) if n > 1 => DISPLACED_COPIES as f64,
            other if self.plan.pipeline.stages > 1 => 1.0 / f64::from(other.degree()),
            _ => 0.0,
        };
        Bytes::new((layers * copies) as u64)
    }

    /// One reconstruction of K and V of every layer and shard (compressors keep it on every rank).
    fn bases(&self) -> Bytes {
        match self.plan.compression.is_raw() {
            false => Bytes::new(self.blocks.iter().map(|block| self.kv(block)).sum::<f64>() as u64),
            true => Bytes::ZERO,
        }
    }

    fn vae_weights(&self) -> Bytes {
        match self.stored.decoding {
            Decoding::Elsewhere => Bytes::ZERO,
            Decoding::Here | Decoding::Skipped => self.workload.model.vae.weight_bytes(),
        }
    }

    /// Activations of decoding: images of a batch together, videos in turn, with the frames that causal decoders keep.
    fn vae_activations(&self) -> Bytes {
        if self.stored.decoding != Decoding::Here {
            return Bytes::ZERO;
        }
        let vae = &self.workload.model.vae;
        let pixels = self.workload.request.resolution.pixels();
        let kept = match vae.tiling {
            Tiling::Frames(at_once)
                if at_once > 1 && at_once < u64::from(self.workload.request.frames) =>
            {
                CAUSAL_FRAMES * CAUSAL_CONVOLUTIONS * (vae.widest / 2) * vae.element_bytes * pixels
            }
            _ => 0,
        };
        let images = match self.workload.request.frames {
            1 => u64::from(self.workload.request.batch.div_ceil(self.plan.data)),
            _ => 1,
        };
        let one = self.workload.vae_peak_bytes().get();
        let (part, of) = FURTHER_IMAGE;
        let whole = one + one * (images - 1) * part / of + kept;
        Bytes::new(whole.div_ceil(u64::from(self.plan.vae)))
    }

    /// Context, and NCCL buffers for every dimension that communicates.
    fn runtime(&self) -> Bytes {
        let plan = self.plan;
        let dimensions = [
            plan.cfg,
            plan.pipeline.stages,
            plan.exchange.degree(),
            plan.ulysses,
            plan.tensor,
        ];
        let communicators = dimensions.iter().filter(|&&degree| degree > 1).count() as u64;
        CONTEXT + COMMUNICATOR * communicators
    }
}
