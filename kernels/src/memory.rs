//! Work limited by memory: norms, activations, residual sums, copies.
//!
//! ```text
//! T(n kernels, A bytes in all) = n T0 + A / (share x BW)
//! ```
//! T0: a kernel starts, reads its first bytes and drains in 2.5 us (measured floors: 1.4 to 2.7 us). Share: what streaming
//! kernels above 1 GB reach of the datasheet's bandwidth (docs/calibration.md section 2).
//!
//! Not modelled: launch gaps of the host (in the simulator); which tensors level 2 holds (with a term for them, runs on
//! several GPUs were predicted worse: shards are small, and are not read as fast as that).

use topologies::{Architecture, Gpu};

use crate::cost::Provenance;
use crate::kinship::data_centre;
use crate::tables::Answer;

/// Time of a kernel beside its bytes, microseconds.
const KERNEL_US: f64 = 1.4;

/// Share of the datasheet's bandwidth that kernels reach: measured on H100 (.91), H200 (.88) and B200 (.89); A100 and
/// V100 are taken as their like. Cards with GDDR memory stream at .76 (L40S) and .83 (RTX PRO 6000), and get it back from
/// a level 2 that is large beside it: published runs on L20 and L40 fit 1.
fn share(gpu: &Gpu) -> f64 {
    match gpu.architecture {
        Architecture::Cdna3 => 0.80,
        _ if data_centre(gpu) => 0.89,
        _ => 1.0,
    }
}

/// `kernels` kernels that read and write `bytes` bytes in all.
pub(crate) fn moved(gpu: &Gpu, bytes: u64, kernels: u64) -> Answer {
    let per_us = gpu.memory_bandwidth.as_f64() / 1e6 * share(gpu);
    Answer {
        us: KERNEL_US * kernels as f64 + bytes as f64 / per_us,
        provenance: Provenance::Datasheet,
        half_width: 0.30,
        note: "bytes over the bandwidth that kernels reach".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use topologies::gpu;

    #[test]
    fn bytes_move_at_the_bandwidth_that_kernels_reach() {
        let us = |gpu, bytes, kernels| moved(gpu::find(gpu).unwrap(), bytes, kernels).us;
        // 864 MB at 864 GB/s: 1 ms; 3.35 GB at .89 x 3.35 TB/s: 1 / .89 ms.
        assert!((us("L20", 864_000_000, 0) - 1000.0).abs() < 1e-6);
        assert!((us("H100-SXM", 3_350_000_000, 0) - 1000.0 / 0.89).abs() < 1e-6);
        assert!((us("L20", 0, 3) - 3.0 * KERNEL_US).abs() < 1e-9);
    }
}
