//! Work limited by memory: bytes over bandwidth.
//!
//! ```text
//! T(A bytes) = max(A / BW, 1 us)
//! ```
//! The share of the datasheet bandwidth is 1: the number of passes of a transformer block (117 eager,
//! 69 compiled) was fitted to published runs against the datasheet bandwidth, so what is not
//! achieved is in the passes. A kernel takes at least 1 us on the GPU.
//!
//! Not modelled: launch gaps of the host (in the simulator), passes that level 2 serves (with a factor
//! for them published runs were predicted worse).

use topologies::Gpu;

use crate::cost::Provenance;
use crate::tables::Answer;

/// Least time of a pass, microseconds.
const FLOOR_US: f64 = 1.0;

/// Reads and writes of `bytes` bytes in all.
pub(crate) fn moved(gpu: &Gpu, bytes: u64) -> Answer {
    let per_us = gpu.memory_bandwidth.as_f64() / 1e6;
    Answer {
        us: (bytes as f64 / per_us).max(FLOOR_US),
        provenance: Provenance::Datasheet,
        half_width: 0.30,
        note: "bytes over datasheet bandwidth".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use topologies::gpu;

    #[test]
    fn bytes_move_at_the_datasheet_bandwidth_after_a_least_time() {
        // 864 MB at 864 GB/s: 1 ms.
        let l20 = gpu::find("L20").unwrap();
        assert!((moved(l20, 864_000_000).us - 1000.0).abs() < 1e-6);
        assert!((moved(l20, 64).us - 1.0).abs() < 1e-9);
    }
}
