//! Work without a table: elementwise passes over memory, and dense arithmetic.
//!
//! ```text
//! T(passes over A bytes) = max(passes * A / (BW * L2 factor), passes * 0.5 us)
//! T(dense F flops)       = F / (sustained GEMM rate * 0.4)
//! ```
//! * The share of the datasheet bandwidth is 1: the number of passes of a transformer block (117
//!   eager, 69 compiled) was fitted to published runs against the datasheet bandwidth, so what is
//!   not achieved is in the passes.
//! * L2 factor 1.5 where one pass touches less than 35 % of L2 (without it, extrapolated resolutions
//!   are 7.5 / 28 % off instead of 6.8 / 25).
//! * A kernel reads and writes, two passes, and takes at least 1 us on the GPU.
//! * Utilisation .4 of dense work: .10 s per megapixel at 250 TFLOP/s is what published runs spend
//!   on decoding an image, whose decoder needs about 10 TFLOP per megapixel.
//!
//! Not modelled: launch gaps of the host (in the simulator), which convolution algorithm runs.

use topologies::{FlopRate, Gpu};

use crate::cost::Provenance;
use crate::tables::Answer;

/// Share of level 2 below which an activation stays in it.
const CACHED_SHARE: f64 = 0.35;
/// Speed-up of a pass over such an activation.
const CACHED_FACTOR: f64 = 1.5;
/// Least time of a pass, microseconds.
const PASS_FLOOR_US: f64 = 0.5;
/// Share of the sustained matrix rate that convolutions and text encoders reach.
const DENSE_UTILISATION: f64 = 0.4;
/// Share of the tensor peak sustained where nothing is known.
const SUSTAINED_SHARE: f64 = 0.6;

/// `passes` reads or writes of an activation of `bytes` bytes.
pub(crate) fn passes(gpu: &Gpu, passes: u64, bytes: u64) -> Answer {
    let cached = (bytes as f64) < CACHED_SHARE * gpu.l2.as_f64();
    let factor = if cached { CACHED_FACTOR } else { 1.0 };
    let per_us = gpu.memory_bandwidth.as_f64() / 1e6 * factor;
    let one = (bytes as f64 / per_us).max(PASS_FLOOR_US);
    Answer {
        us: one * passes as f64,
        provenance: Provenance::Datasheet,
        half_width: 0.30,
        note: "bytes over datasheet bandwidth".into(),
    }
}

/// `flops` operations of convolutions or text encoders.
pub(crate) fn dense(gpu: &Gpu, flops: u64) -> Answer {
    let (rate, half_width, note) = match gpu.sustained_gemm {
        Some(rate) => (rate, 0.5, "sustained matrix rate x 0.4"),
        None => (
            FlopRate::new(gpu.peak_bf16.get()).scaled(SUSTAINED_SHARE),
            0.7,
            "0.6 of the datasheet peak x 0.4",
        ),
    };
    Answer {
        us: flops as f64 / (rate.as_f64() / 1e6 * DENSE_UTILISATION),
        provenance: Provenance::Datasheet,
        half_width,
        note: note.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use topologies::gpu;

    #[test]
    fn a_large_activation_moves_at_the_datasheet_bandwidth() {
        // 864 MB at 864 GB/s: 1 ms a pass, far beyond 35 % of 96 MB.
        let l20 = gpu::find("L20").unwrap();
        assert!((passes(l20, 3, 864_000_000).us - 3000.0).abs() < 1e-6);
    }

    #[test]
    fn a_small_activation_stays_in_level_2() {
        // 8.64 MB: 10 us from memory, 10 / 1.5 from L2.
        let l20 = gpu::find("L20").unwrap();
        assert!((passes(l20, 1, 8_640_000).us - 10.0 / 1.5).abs() < 1e-6);
        assert!((passes(l20, 4, 64).us - 2.0).abs() < 1e-9);
    }

    #[test]
    fn dense_work_runs_at_a_share_of_the_sustained_rate() {
        // L20: 100 TFLOP/s * .4; 40 TFLOP take a second.
        let l20 = gpu::find("L20").unwrap();
        assert!((dense(l20, 40_000_000_000_000).us - 1e6).abs() < 1.0);
    }
}
