//! Times of one rank's share of a block: GEMMs, attention, elementwise kernels, launches.

use kernels::Op;
use topologies::host::Compilation;
use topologies::{DType, Gpu, SimDuration};

use super::{LowerError, Setup};
use crate::execution::{Execution, Software};
use crate::launch;
use crate::model::Model;
use crate::plan::Exchange;
use crate::workload::{
    AttentionCall, AttentionKind, Block, BlockKind, ELEMENT_BYTES, Role, Shard, Tokens,
};

/// Passes of eager kernels where what passes between them comes from memory, and where level 2 hands most of it on.
const EAGER: (f64, f64) = (185.0, 90.0);
/// Microseconds of memory traffic that a level 2 must hold to do half of that. Measured GPUs are far from it: 10 to 20
/// (T4, A100, H100, B200), 54 to 111 (RTX 5090, RTX 4090, L20, L40).
const LEVEL_2_US: f64 = 35.0;

/// Passes over a block's activation by norms, activations, rotary embeddings and residual sums.
///
/// Source: docs/calibration.md section 2. Eager: what runs on one GPU take longer than the same runs compiled. The sharper
/// fourth power never makes a GPU with more bandwidth slower.
#[must_use]
pub fn elementwise_passes(
    model: &Model,
    compilation: Compilation,
    software: Software,
    gpu: &Gpu,
) -> f64 {
    let usual = match (compilation, software) {
        (Compilation::Compiled, _) => 53.0,
        (Compilation::Eager, Software::Sglang) => 66.0,
        (Compilation::Eager, _) => {
            let held_us = 1e6 * gpu.l2.as_f64() / gpu.memory_bandwidth.as_f64();
            let (memory, level_2) = EAGER;
            level_2 + (memory - level_2) / (1.0 + (held_us / LEVEL_2_US).powi(4))
        }
    };
    (usual * model.elementwise.passes).round()
}

/// Passes of a kernel: two tensors read, one written.
const PASSES_OF_A_KERNEL: f64 = 3.0;

/// How a rank's share is cut from a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Slice {
    /// Rows.
    pub rows: u64,
    /// Parts of the sequence group.
    pub sequence: u64,
    /// Patches of a pipeline.
    pub patches: u64,
}

/// GPU times of one rank's share of one block.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Compute {
    /// GEMMs before attention.
    pub before: SimDuration,
    /// One chunk of attention: all of it but for rings.
    pub attention: SimDuration,
    /// GEMMs after attention.
    pub after: SimDuration,
    /// Elementwise kernels.
    pub elementwise: SimDuration,
}

impl Setup<'_> {
    pub(super) fn gpu_time(&self, op: Op) -> Result<SimDuration, LowerError> {
        let gpu = self.platform.gpu(self.plan.placement[0]);
        let cost = self.costs.cost(&op, gpu)?;
        let time = cost.time.scaled(self.execution.calibration.compute);
        Ok(self.at_pace(op, time))
    }

    /// What takes `time` at full speed, on the rank's GPU.
    pub(super) fn at_pace(&self, op: Op, time: SimDuration) -> SimDuration {
        let speed_factor = self
            .platform
            .speed_factor(self.plan.placement[self.rank as usize]);
        let share = match op {
            Op::MemoryBound { .. } => speed_factor.memory,
            Op::Gemm { .. } | Op::Attention { .. } | Op::Encode { .. } | Op::Decode { .. } => {
                speed_factor.compute
            }
        };
        if share == 1.0 {
            return time;
        }
        time.scaled(share.recip())
    }

    /// Whether text tokens are cut among the sequence group, or every rank has all of them.
    pub(super) fn text_parts(&self, slice: Slice) -> u64 {
        let even = self.workload.text_splits(slice.sequence) && slice.patches == 1;
        if even { slice.sequence } else { 1 }
    }

    pub(super) fn shard(&self, slice: Slice) -> Shard {
        Shard {
            rows: slice.rows,
            image_parts: slice.sequence * slice.patches,
            text_parts: self.text_parts(slice),
            tensor_degree: u64::from(self.plan.tensor),
        }
    }

    /// GPU times of a rank's share of `block`.
    pub(super) fn compute(&self, block: &Block, slice: Slice) -> Result<Compute, LowerError> {
        let shard = self.shard(slice);
        let mut times = Compute::default();
        for gemm in block.gemms(&shard) {
            let time = self.product(&gemm)?;
            match gemm.role {
                Role::Embed | Role::Modulation | Role::Qkv => times.before += time,
                _ => times.after += time,
            }
        }
        for call in &block.attention {
            let (chunk, elsewhere) = self.attention(block, call, slice)?;
            times.attention += chunk;
            times.after += elsewhere;
        }
        times.elementwise = self.elementwise(block, slice)?;
        Ok(times)
    }

    fn elementwise(&self, block: &Block, slice: Slice) -> Result<SimDuration, LowerError> {
        if matches!(block.kind, BlockKind::Head | BlockKind::Tail) {
            return Ok(SimDuration::ZERO);
        }
        let shard = self.shard(slice);
        let own = block.tokens.part(shard.image_parts, shard.text_parts);
        let joint = block
            .attention
            .iter()
            .any(|call| call.keys == Tokens::Joint);
        let tokens = own.image + own.audio + if joint { own.text } else { 0 };
        let activation = slice.rows * tokens * block.hidden * ELEMENT_BYTES;
        let measured = self.execution.calibration.passes.get(&block.kind);
        // Measured passes hold what starting kernels takes.
        let (passes, kernels) = match measured {
            Some(passes) => (*passes, 1.0),
            None => {
                let Execution {
                    compilation,
                    software,
                    ..
                } = *self.execution;
                let gpu = self.platform.gpu(self.plan.placement[0]);
                let passes = elementwise_passes(self.model, compilation, software, gpu);
                (passes, (passes / PASSES_OF_A_KERNEL).ceil())
            }
        };
        // Under tensor parallelism norms and residual sums stay whole: half of the kernels.
        let share = 0.5 + 0.5 / f64::from(self.plan.tensor);
        self.gpu_time(Op::MemoryBound {
            bytes: (passes * activation as f64 * share).ceil() as u64,
            kernels: kernels as u64,
        })
    }

    /// One chunk of a call that shards exchange, or the whole of a local call (second).
    fn attention(
        &self,
        block: &Block,
        call: &AttentionCall,
        slice: Slice,
    ) -> Result<(SimDuration, SimDuration), LowerError> {
        let shard = self.shard(slice);
        let own = block.tokens.part(shard.image_parts, shard.text_parts);
        let tensor = u64::from(self.plan.tensor);
        let exchanged = call.crosses_shards() && call.kind != AttentionKind::Spatial;
        if !exchanged {
            let heads = call.heads.div_ceil(tensor);
            let keys = if call.keys == Tokens::Image {
                block.tokens.of(call.keys)
            } else {
                own.of(call.keys)
            };
            let op = self.attention_op(call, slice.rows, heads, own.of(call.queries), keys);
            return Ok((SimDuration::ZERO, self.gpu_time(op)?));
        }
        let ulysses = u64::from(self.plan.ulysses);
        let heads = call.heads.div_ceil(tensor * ulysses);
        let whole = block.tokens;
        let cut = |tokens, parts: u64| {
            whole
                .part(parts, if shard.text_parts > 1 { parts } else { 1 })
                .of(tokens)
        };
        let outer = u64::from(self.plan.exchange.degree());
        let queries = |parts: u64| cut(call.queries, parts * slice.patches);
        let (queries, keys) = match self.plan.exchange {
            Exchange::Ring(_) => (queries(outer), whole.of(call.keys).div_ceil(outer)),
            Exchange::Gather(_) | Exchange::Displaced(_) => (queries(outer), whole.of(call.keys)),
            Exchange::Attention2d { rows, columns } => (
                queries(u64::from(rows)),
                whole.of(call.keys).div_ceil(u64::from(columns)),
            ),
        };
        // Linear attention sums states of its own tokens: its share, however many chunks pass.
        let queries = match (call.kind, self.plan.exchange) {
            (AttentionKind::Linear, Exchange::Ring(_)) => queries.div_ceil(outer),
            _ => queries,
        };
        let op = self.attention_op(call, slice.rows, heads, queries, keys);
        Ok((self.gpu_time(op)?, SimDuration::ZERO))
    }

    fn attention_op(
        &self,
        call: &AttentionCall,
        rows: u64,
        heads: u64,
        queries: u64,
        keys: u64,
    ) -> Op {
        if call.kind == AttentionKind::Linear {
            // A head's state is head_dim x (head_dim + 1): two products over the tokens.
            let width = heads * call.head_dim;
            return Op::Gemm {
                m: rows * queries,
                n: width,
                k: 2 * (call.head_dim + 1),
                dtype: DType::Bf16,
            };
        }
        Op::Attention {
            kernel: self.execution.attention,
            batch: rows * call.sequences,
            heads,
            queries: queries.div_ceil(call.sequences),
            keys: keys.div_ceil(call.sequences),
            head_dim: call.head_dim,
        }
    }

    /// Launch time of one block, its messages included.
    pub(super) fn launch(&self, block: &Block, all_reduces: usize, exchanges: bool) -> SimDuration {
        if !launch::launches(block) {
            return SimDuration::ZERO;
        }
        let plan = self.plan;
        let pipelined = plan.pipeline.stages > 1;
        let video = self.workload.request.frames > 1;
        let compilation = self.execution.compilation;
        let share = launch::compiled_share(self.model, compilation, pipelined);
        let messages = launch::messages_ms(plan, all_reduces, exchanges);
        let messages: f64 = messages.into_iter().map(|(_, ms)| ms).sum();
        let precision = self.plan.execution.precision;
        let quantised = block.linears.iter();
        let quantised = quantised.filter(|linear| precision.quantises(linear.role));
        let quantised: u64 = quantised.map(|linear| linear.used).sum();
        let quantising = launch::QUANTISING_MS * quantised as f64;
        let kernels = self.execution.software.launched_share(compilation);
        let ms = kernels * launch::base_ms(self.model, video) + messages + quantising;
        SimDuration::from_us_f64(1000.0 * ms * share * self.launch_factor())
    }

    /// The host's launch factor; pure guidance parallelism launches for half the rows, which
    /// published runs show as half the floor.
    pub(super) fn launch_factor(&self) -> f64 {
        let pure = self.plan.cfg == 2 && self.plan.ranks() == 2;
        self.execution.calibration.launch * if pure { 0.5 } else { 1.0 }
    }
}
