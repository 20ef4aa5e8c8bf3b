//! Time of encoding and decoding on a GPU: bytes per element over bandwidth, calibrated on
//! published latencies of one GPU.
//!
//! | compressor | encode B/element, share of bandwidth | decode |
//! |---|---|---|
//! | `1bit`, `2bit` | 20.4, 20.75 at 1.25 (half of the passes hit L2) | 4.125, 4.25 at .72 |
//! | low rank | 134 at 1.0, plus 12.8 us for each rank (three tall QRs) | 4.0 at .385 |
//! | `sparse` | 6 + 2.5/M at .49 | 4 + 2.5/M at .42 |
//! | `2bit-fitted` | `2bit` + 4 (one more pass over x and base, for the histogram) | as `2bit` |
//! | `int8`, `int4`, `fp8` | 6 + message at .72 (assumed) | 4 + message at .72 (assumed) |
//!
//! Calibrated on the published latencies on L20 (864 GB/s, 96 MB L2), N x C = 1088 x 3072:
//! encode/decode .06/.02, .06/.02, .93/.04, .05/.04 ms; checked against the totals of a
//! CogVideoX-2b run on 6 L20 (tests). The last two lines are published by nobody: bytes over
//! bandwidth at the share that `2bit` reaches, marked [`Provenance::Datasheet`] with the interval that
//! an assumption deserves.
//!
//! **Other GPUs** were measured by nobody: scaled from L20 by bandwidth and by the floor of small kernels,
//! with an interval of their own. Were the kernels not limited by memory at all, their times would not
//! scale: the half-width grows by .3 of the logarithm of the bandwidths' ratio (H100 .57, B200 .77).
//!
//! Not modelled: kernels other than CompactFusion's; contention with the attention they overlap.

use std::sync::LazyLock;

use topologies::{Gpu, gpu};

use crate::compressor::{Compressor, GROUP};
use crate::cost::Provenance;
use crate::kinship::Kinship;
use crate::memory_kernel;
use crate::tables::Answer;

const PUBLISHED: &str = "published latencies on L20";
const SCALED: &str = "scaled from L20 by memory bandwidth and launch floor, measured by nobody";
/// The GPU of the published latencies.
const MEASURED: &str = "L20";
/// Half-width on L20, and on a GPU of its bandwidth.
const ON_L20: f64 = 0.20;
const ELSEWHERE: f64 = 0.40;
/// What the half-width gains for each unit of the logarithm of the bandwidths' ratio.
const PER_LN_BANDWIDTH: f64 = 0.30;
/// The slowest smallest kernel of NVIDIA's GPUs, microseconds: where the floor below was seen.
const USUAL_FLOOR_US: f64 = 2.6;
/// Launches of an encode of the original implementation.
const ENCODE_LAUNCHES: f64 = 8.0;
/// Least time of a kernel on the GPU, microseconds.
const KERNEL_FLOOR_US: f64 = 1.5;
/// Latency of the QR decompositions for each rank, microseconds.
const QR_US_PER_RANK: f64 = 12.8;
/// Bytes an encode keeps for each element: the activation, its base, an fp32 intermediate.
const ENCODE_WORKING_SET: f64 = 8.0;

/// Bytes an element takes in `int8`: its code and its share of the group's scale.
const INT8_BYTES: f64 = 1.0 + 2.0 / GROUP as f64;
/// Bytes an element takes in `int4`.
const INT4_BYTES: f64 = 0.5 + 2.0 / GROUP as f64;
/// Share of the bandwidth assumed of the formats without published times: that of a `2bit` decode.
const ASSUMED_SHARE: f64 = 0.72;

/// Time to encode a `rows x channels` residual.
pub(crate) fn encode(gpu: &Gpu, compressor: Compressor, rows: u64, channels: u64) -> Answer {
    let elements = (rows * channels) as f64;
    let cached = elements * ENCODE_WORKING_SET < gpu.l2.as_f64();
    let scales_share = if cached { 1.25 } else { 1.0 };
    let (bytes, share, latency) = match compressor {
        Compressor::OneBit => (20.4, scales_share, 0.0),
        Compressor::TwoBit => (20.75, scales_share, 0.0),
        Compressor::TwoBitFitted => (24.75, scales_share, 0.0),
        Compressor::Int8 => (6.0 + INT8_BYTES, ASSUMED_SHARE, 0.0),
        Compressor::Int4 => (6.0 + INT4_BYTES, ASSUMED_SHARE, 0.0),
        Compressor::Fp8 => (7.0, ASSUMED_SHARE, 0.0),
        Compressor::LowRank(r) | Compressor::LowRankInt4(r) => {
            (134.0, 1.0, QR_US_PER_RANK * f64::from(r))
        }
        Compressor::Sparse(m) => (6.0 + 2.5 / f64::from(m), 0.49, 0.0),
    };
    let floor = ENCODE_LAUNCHES * KERNEL_FLOOR_US;
    answer(gpu, compressor, elements * bytes, share, latency, floor)
}

/// Time to decode a message into a `rows x channels` base.
pub(crate) fn decode(gpu: &Gpu, compressor: Compressor, rows: u64, channels: u64) -> Answer {
    let elements = (rows * channels) as f64;
    let (bytes, share) = match compressor {
        Compressor::OneBit => (4.125, 0.72),
        Compressor::TwoBit | Compressor::TwoBitFitted => (4.25, 0.72),
        Compressor::Int8 => (4.0 + INT8_BYTES, ASSUMED_SHARE),
        Compressor::Int4 => (4.0 + INT4_BYTES, ASSUMED_SHARE),
        Compressor::Fp8 => (5.0, ASSUMED_SHARE),
        Compressor::LowRank(_) | Compressor::LowRankInt4(_) => (4.0, 0.385),
        Compressor::Sparse(m) => (4.0 + 2.5 / f64::from(m), 0.42),
    };
    answer(
        gpu,
        compressor,
        elements * bytes,
        share,
        0.0,
        KERNEL_FLOOR_US,
    )
}

/// The GPU of the published latencies, as its sheet has it.
static SHEET: LazyLock<&Gpu> =
    LazyLock::new(|| gpu::find(MEASURED).expect("the list of GPUs has it"));

/// Whether the published latencies are of this chip, whatever it is called.
fn is_measured(gpu: &Gpu) -> bool {
    Kinship::of(&SHEET, gpu) <= Kinship::SameChip
}

/// What the times of a compressor on a GPU rest on, in words; nothing where they were published for it.
pub(crate) fn doubt(gpu: &Gpu, compressor: Compressor) -> Option<String> {
    let one = encode(gpu, compressor, 4096, 3072);
    let known = is_measured(gpu) && is_published(compressor);
    (!known).then_some(one.note)
}

/// Whether the original implementation has this compressor, so that its times are published.
fn is_published(compressor: Compressor) -> bool {
    match compressor {
        Compressor::OneBit
        | Compressor::TwoBit
        | Compressor::LowRank(_)
        | Compressor::LowRankInt4(_)
        | Compressor::Sparse(_) => true,
        Compressor::TwoBitFitted | Compressor::Int8 | Compressor::Int4 | Compressor::Fp8 => false,
    }
}

fn answer(
    gpu: &Gpu,
    compressor: Compressor,
    bytes: f64,
    share: f64,
    latency_us: f64,
    floor_us: f64,
) -> Answer {
    let bandwidth = gpu.memory_bandwidth.as_f64();
    let us = latency_us + bytes / (bandwidth / 1e6 * share);
    let scaled =
        ELSEWHERE.hypot(PER_LN_BANDWIDTH * (bandwidth / SHEET.memory_bandwidth.as_f64()).ln());
    let (provenance, half_width, note) = if !is_published(compressor) {
        let note = "assumed: bytes over memory bandwidth, nobody has published a time";
        (Provenance::Datasheet, scaled.max(0.60), note)
    } else if is_measured(gpu) {
        (Provenance::Interpolated, ON_L20, PUBLISHED)
    } else {
        (Provenance::Borrowed, scaled.min(0.9), SCALED)
    };
    let slower = (memory_kernel::floor_us(gpu) / USUAL_FLOOR_US).max(1.0);
    Answer {
        us: us.max(floor_us * slower),
        provenance,
        half_width,
        note: note.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn a_format_that_nobody_timed_says_so() {
        // 1088 x 3072 elements of 6 + 1.03125 B at .72 x 864 GB/s are 37.8 us.
        let int8 = encode(l20(), Compressor::Int8, 1088, 3072);
        assert!((int8.us - 37.8).abs() < 0.1, "{}", int8.us);
        assert_eq!(int8.provenance, Provenance::Datasheet);
        assert!(int8.half_width >= 0.6);
        assert!(int8.note.contains("assumed"), "{}", int8.note);
    }

    #[test]
    fn another_gpu_is_scaled_says_so_and_is_the_wider_the_further() {
        let of = |name: &str| encode(gpu::find(name).unwrap(), Compressor::OneBit, 1088, 3072);
        let widths = ["L20", "L40", "H100-SXM", "B200"].map(|name| of(name).half_width);
        assert!(
            widths.is_sorted() && widths[0] == 0.20 && widths[1] == 0.40,
            "{widths:?}"
        );
        // sqrt(.4^2 + (.3 ln 3.877)^2) = .570.
        assert!((widths[2] - 0.570).abs() < 1e-3, "{widths:?}");
        assert!(of("H100-SXM").note.starts_with("scaled from L20"));
        // The chip decides, not what it is called.
        let mut renamed = gpu::find("L20").unwrap().clone();
        renamed.name = "mine".to_owned();
        assert!(super::doubt(&renamed, Compressor::OneBit).is_none());
        let doubt = |name| doubt(gpu::find(name).unwrap(), Compressor::OneBit);
        assert!(doubt("L20").is_none() && doubt("H200").unwrap().contains("scaled from L20"));
        // One row: 8 launches, each no shorter than MI300X's smallest kernel lets it be.
        let tiny = encode(gpu::find("MI300X").unwrap(), Compressor::OneBit, 1, 64);
        assert!(
            (tiny.us - 8.0 * 1.5 * 4.6 / 2.6).abs() < 1e-9,
            "{}",
            tiny.us
        );
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
