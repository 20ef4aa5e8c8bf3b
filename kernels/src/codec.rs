//! Time of encoding and decoding on a GPU: bytes per element over bandwidth, calibrated on
//! published latencies of one GPU.
//!
//! | compressor | encode B/element, share of bandwidth | decode |
//! |---|---|---|
//! | `1bit`, `2bit` | 20.4, 20.75 at 1.25 (half of the passes hit L2) | 4.125, 4.25 at .72 |
//! | low rank | 134 at 1.0, plus 12.8 us for each rank (three tall QRs) | 4.0 at .385 |
//! | `sparse` | 6 + 2.5/M at .49 | 4 + 2.5/M at .42 |
//!
//! Calibrated on the published latencies on L20 (864 GB/s, 96 MB L2), N x C = 1088 x 3072:
//! encode/decode .06/.02, .06/.02, .93/.04, .05/.04 ms; checked against the totals of a
//! CogVideoX-2b run on 6 L20 (tests). Other GPUs by the ratio of bandwidths.
//!
//! Not modelled: kernels other than CompactFusion's; contention with the attention they overlap.

use topologies::Gpu;

use crate::compressor::Compressor;
use crate::cost::Provenance;
use crate::tables::Answer;

/// Launches of an encode of the original implementation.
const ENCODE_LAUNCHES: f64 = 8.0;
/// Least time of a kernel on the GPU, microseconds.
const KERNEL_FLOOR_US: f64 = 1.5;
/// Latency of the QR decompositions for each rank, microseconds.
const QR_US_PER_RANK: f64 = 12.8;
/// Bytes an encode keeps for each element: the activation, its base, an fp32 intermediate.
const ENCODE_WORKING_SET: f64 = 8.0;

/// Time to encode a `rows x channels` residual.
pub(crate) fn encode(gpu: &Gpu, compressor: Compressor, rows: u64, channels: u64) -> Answer {
    let elements = (rows * channels) as f64;
    let cached = elements * ENCODE_WORKING_SET < gpu.l2.as_f64();
    let scales_share = if cached { 1.25 } else { 1.0 };
    let (bytes, share, latency) = match compressor {
        Compressor::OneBit => (20.4, scales_share, 0.0),
        Compressor::TwoBit => (20.75, scales_share, 0.0),
        Compressor::LowRank(r) | Compressor::LowRankInt4(r) => {
            (134.0, 1.0, QR_US_PER_RANK * f64::from(r))
        }
        Compressor::Sparse(m) => (6.0 + 2.5 / f64::from(m), 0.49, 0.0),
    };
    let floor = ENCODE_LAUNCHES * KERNEL_FLOOR_US;
    answer(gpu, elements * bytes, share, latency, floor)
}

/// Time to decode a message into a `rows x channels` base.
pub(crate) fn decode(gpu: &Gpu, compressor: Compressor, rows: u64, channels: u64) -> Answer {
    let elements = (rows * channels) as f64;
    let (bytes, share) = match compressor {
        Compressor::OneBit => (4.125, 0.72),
        Compressor::TwoBit => (4.25, 0.72),
        Compressor::LowRank(_) | Compressor::LowRankInt4(_) => (4.0, 0.385),
        Compressor::Sparse(m) => (4.0 + 2.5 / f64::from(m), 0.42),
    };
    answer(gpu, elements * bytes, share, 0.0, KERNEL_FLOOR_US)
}

fn answer(gpu: &Gpu, bytes: f64, share: f64, latency_us: f64, floor_us: f64) -> Answer {
    let us = latency_us + bytes / (gpu.memory_bandwidth.as_f64() / 1e6 * share);
    let (provenance, half_width) = if gpu.name == "L20" {
        (Provenance::Interpolated, 0.20)
    } else {
        (Provenance::Borrowed, 0.40)
    };
    Answer {
        us: us.max(floor_us),
        provenance,
        half_width,
        note: "published latencies on L20, moved by memory bandwidth".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use topologies::gpu;

    fn l20() -> &'static Gpu {
        gpu::find("L20").unwrap()
    }

    #[test]
    fn published_latencies_on_l20_are_met() {
        // (compressor, encode ms, decode ms); printed to .01 ms.
        let published = [
            (Compressor::OneBit, 0.06, 0.02),
            (Compressor::TwoBit, 0.06, 0.02),
            (Compressor::LowRankInt4(32), 0.93, 0.04),
            (Compressor::Sparse(8), 0.05, 0.04),
        ];
        for (compressor, encode_ms, decode_ms) in published {
            let encoded = encode(l20(), compressor, 1088, 3072).us / 1e3;
            let decoded = decode(l20(), compressor, 1088, 3072).us / 1e3;
            assert!(
                (encoded - encode_ms).abs() < 0.007,
                "{compressor}: {encoded}"
            );
            assert!(
                (decoded - decode_ms).abs() < 0.007,
                "{compressor}: {decoded}"
            );
        }
    }

    #[test]
    fn the_breakdown_of_a_video_run_is_met() {
        // CogVideoX-2b on 6 L20: 48 compressed steps x 30 layers, 2 encodes and 2 x 5 decodes each.
        let encodes = 48.0 * 30.0 * 2.0;
        let published = [
            (Compressor::OneBit, 0.61, 1.13),
            (Compressor::TwoBit, 0.60, 1.15),
            (Compressor::LowRankInt4(32), 6.21, 1.92),
        ];
        for (compressor, encode_s, decode_s) in published {
            let encoded = encodes * encode(l20(), compressor, 5850, 1920).us / 1e6;
            let decoded = 5.0 * encodes * decode(l20(), compressor, 5850, 1920).us / 1e6;
            assert!(
                (encoded / encode_s - 1.0).abs() < 0.1,
                "{compressor}: {encoded}"
            );
            assert!(
                (decoded / decode_s - 1.0).abs() < 0.1,
                "{compressor}: {decoded}"
            );
        }
    }
}
