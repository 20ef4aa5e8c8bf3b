//! Launch time: what the host's CPU needs to launch a block, and the gap it leaves on the GPU.
//!
//! ```text
//! block time = (G^2 + C^2)^(1/2)       G: GPU time with its exposed messages, C: launch time
//! ```
//! Published eager runs bottom out at 1.2 to 3 ms per block however many GPUs share it. A plain
//! maximum of G and C is too fast near G = C, a sum too slow; exponents from 1.4 to 2.5 fit
//! published runs about equally (docs/calibration.md section 1).
//!
//! Not modelled: which kernel of the block waits for which launch.

use topologies::SimDuration;
use topologies::host::Compilation;

use crate::model::Model;
use crate::plan::{Exchange, Plan, RingLoop, Weights};
use crate::workload::{Block, BlockKind};

/// Exponent of the combination.
const EXPONENT: f64 = 2.0;

/// `(a^p + b^p)^(1/p)`.
#[must_use]
pub fn combine(gpu: SimDuration, launch: SimDuration) -> SimDuration {
    let (a, b) = (gpu.as_secs_f64(), launch.as_secs_f64());
    SimDuration::from_secs_f64((a.powf(EXPONENT) + b.powf(EXPONENT)).powf(EXPONENT.recip()))
}

/// The gap that launching leaves beside `gpu` time.
#[must_use]
pub fn gap(gpu: SimDuration, launch: SimDuration) -> SimDuration {
    if launch == SimDuration::ZERO {
        // Not what rounding the combination would leave.
        return SimDuration::ZERO;
    }
    combine(gpu, launch).saturating_sub(gpu)
}

/// Launch time of one block on one GPU, eager, on a host of launch factor 1, in milliseconds.
#[must_use]
pub fn base_ms(model: &Model, video: bool) -> f64 {
    let launch = &model.launch;
    let of_video = launch.video_block_ms.filter(|_| video);
    of_video.unwrap_or(launch.block_ms)
}

/// Extra launch time of a quantised product, eager, in milliseconds on a host of launch factor 1: more kernels, and subclasses
/// of tensors that are dispatched in Python. SGLang's Z-Image on H100, whose steps
/// grow by 0 to .1 ms a product with fp8, by version.
pub const QUANTISING_MS: f64 = 0.1;

/// What compiling leaves of a model's launch time.
#[must_use]
pub fn compiled_share(model: &Model, compilation: Compilation, pipelined: bool) -> f64 {
    match compilation {
        Compilation::Eager => 1.0,
        Compilation::Compiled if pipelined => model.launch.compiled_pipeline_share,
        Compilation::Compiled => model.launch.compiled_share,
    }
}

/// Whether launching this block costs a block's launch time; embedders and output layers are
/// counted in the blocks.
#[must_use]
pub const fn launches(block: &Block) -> bool {
    !matches!(block.kind, BlockKind::Head | BlockKind::Tail)
}

/// What a block's messages are launched for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Launched {
    /// The four all-to-alls.
    Ulysses,
    /// An engine's ring: its set-up and its hops.
    Ring,
    /// CompactFusion's loop, which has no set-up.
    FusedRing,
    /// A gather of K and V.
    Gather,
    /// A gather that this step does not wait for.
    AsyncGather,
    /// All-reduces of tensor parallel layers.
    AllReduce,
    /// A gather of a block's weights.
    Weights,
}

/// Extra launch time, in milliseconds on a host of launch factor 1.
///
/// Source: least squares over pairs of plans for one request in both published files, without and with the host's own
/// runs, robust, in November 2026 (docs/calibration.md section 3 has the ranges).
pub mod message_ms {
    /// The four all-to-alls of a block.
    pub const ULYSSES: f64 = 0.45;
    /// The set-up of an engine's ring.
    pub const RING: f64 = 0.4;
    /// A hop of an engine's ring.
    pub const HOP: f64 = 0.25;
    /// A hop of CompactFusion's fused loop (fitted on its own runs).
    pub const FUSED_HOP: f64 = 0.1;
    /// An all-reduce.
    pub const ALL_REDUCE: f64 = 0.07;
    /// A gather of K and V: no published pair says.
    pub const GATHER: f64 = 0.2;
    /// An asynchronous gather: no published pair says.
    pub const ASYNC_GATHER: f64 = 0.1;
    /// A gather of a block's weights (FSDP): what SGLang 0.5.18 needs for Z-Image on 2 H100 beside the gather itself.
    pub const WEIGHTS: f64 = 0.7;
    /// A micro-step of a pipeline.
    pub const MICRO_STEP: f64 = 0.5;
}

impl Launched {
    /// Standard deviation of the logarithm of its launch time.
    #[must_use]
    pub const fn sigma(self) -> f64 {
        match self {
            Self::Ulysses => 0.30,
            Self::Ring => 0.15,
            Self::FusedRing | Self::Gather | Self::AsyncGather | Self::AllReduce => 0.50,
            // Before 0.5.18, SGLang needed 6 ms.
            Self::Weights => 1.0,
        }
    }
}

/// Launch time of a block's messages, in milliseconds on a host of launch factor 1; `exchanges` are those of its attention.
#[must_use]
pub fn messages_ms(plan: &Plan, all_reduces: usize, exchanges: bool) -> Vec<(Launched, f64)> {
    let mut messages = Vec::new();
    if all_reduces > 0 {
        let ms = message_ms::ALL_REDUCE * all_reduces as f64;
        messages.push((Launched::AllReduce, ms));
    }
    let gathers = plan.execution.residency.transformer == Weights::Sharded && plan.replicas() > 1;
    if gathers {
        messages.push((Launched::Weights, message_ms::WEIGHTS));
    }
    if exchanges && plan.ulysses > 1 {
        messages.push((Launched::Ulysses, message_ms::ULYSSES));
    }
    if exchanges && plan.exchange.degree() > 1 {
        messages.push(match (plan.exchange, plan.ring_loop) {
            (Exchange::Ring(n), RingLoop::Engine) => (
                Launched::Ring,
                message_ms::RING + message_ms::HOP * f64::from(n - 1),
            ),
            (Exchange::Ring(n), RingLoop::Fused) => {
                let hops = f64::from(n - 1);
                (Launched::FusedRing, message_ms::FUSED_HOP * hops)
            }
            (Exchange::Gather(_), _) => (Launched::Gather, message_ms::GATHER),
            (Exchange::Displaced(_), _) => (Launched::AsyncGather, message_ms::ASYNC_GATHER),
            (Exchange::Attention2d { .. }, _) => (Launched::Gather, 3.0 * message_ms::GATHER),
        });
    }
    messages
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_launched_for_what_a_plan_exchanges() {
        for (plan, all_reduces, exchanges, expected) in [
            ("none", 0, true, 0.0),
            ("ulysses4", 0, true, 0.45),
            ("ulysses4", 0, false, 0.0),
            ("ring4", 0, true, 0.4 + 3.0 * 0.25),
            ("ring4 loop=fused", 0, true, 0.3),
            ("ulysses2+ring2", 0, true, 0.45 + 0.4 + 0.25),
            ("allgather-kv4", 0, true, 0.2),
            ("distrifusion4", 0, true, 0.1),
            ("attention2d2x2", 0, true, 0.6),
            ("tp2", 2, false, 0.14),
        ] {
            let messages = messages_ms(&plan.parse().expect(plan), all_reduces, exchanges);
            let sum: f64 = messages.iter().map(|(_, ms)| ms).sum();
            assert!((sum - expected).abs() < 1e-12, "{plan}: {sum}");
        }
    }

    #[test]
    fn a_launch_far_below_the_gpu_time_leaves_no_gap() {
        // (10^2 + 1^2)^(1/2) = 10.0499.
        let ms = |count| SimDuration::from_us_f64(count * 1000.0);
        assert!((combine(ms(10.0), ms(1.0)).as_us_f64() - 10_049.9).abs() < 0.1);
        assert!((gap(ms(0.0), ms(1.0)).as_us_f64() - 1000.0).abs() < 1e-6);
        assert_eq!(gap(ms(1.0 / 3.0), SimDuration::ZERO), SimDuration::ZERO);
    }
}
