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

/// Extra launch time of messages, in milliseconds on a host of launch factor 1
/// (docs/calibration.md section 3).
pub mod message_ms {
    /// The four all-to-alls of a block.
    pub const ULYSSES: f64 = 0.65;
    /// The set-up of an engine's ring. Published eager runs on NVLink servers: ring-2 launches longer than Ulysses-2
    /// (FLUX on H100 5.3 s against 4.4 s), and further hops add about 0.25 to 0.3 ms each (PixArt on
    /// A100).
    pub const RING: f64 = 0.4;
    /// A hop of an engine's ring.
    pub const HOP: f64 = 0.3;
    /// A hop of CompactFusion's fused loop, which has no set-up (fitted on its own runs).
    pub const FUSED_HOP: f64 = 0.1;
    /// An all-reduce.
    pub const ALL_REDUCE: f64 = 0.06;
    /// A gather of K and V.
    pub const GATHER: f64 = 0.2;
    /// An asynchronous gather.
    pub const ASYNC_GATHER: f64 = 0.1;
    /// A micro-step of a pipeline.
    pub const MICRO_STEP: f64 = 0.9;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_launch_far_below_the_gpu_time_leaves_no_gap() {
        // (10^2 + 1^2)^(1/2) = 10.0499.
        let ms = |count| SimDuration::from_us_f64(count * 1000.0);
        assert!((combine(ms(10.0), ms(1.0)).as_us_f64() - 10_049.9).abs() < 0.1);
        assert!((gap(ms(0.0), ms(1.0)).as_us_f64() - 1000.0).abs() < 1e-6);
        assert_eq!(gap(ms(1.0 / 3.0), SimDuration::ZERO), SimDuration::ZERO);
    }
}
