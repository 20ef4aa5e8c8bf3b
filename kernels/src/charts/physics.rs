//! The physical base of an attention kernel on any GPU, from its datasheet and two numbers a class.
//!
//! ```text
//! T     = T0 + max(1, CTAs/SM) * (B L score + tau),     CTAs = b h ceil(q/B),  B = 128
//! score = sqrt(tensor^2 + soft^2)      one query-key pair of one head on one SM
//! tensor: both products at the SM's rate for their formats;  soft: softmax and all else, in clocks
//! L     = keys rounded up to 64; causal: (that + 280)/2;  tau: Q and O of a CTA at its share of memory
//! ```
//! Tensor and exponent units overlap in part, hence the square root. Kernels without Hopper's and
//! Blackwell's own instructions reach a share of those tensor cores (`mma.sync`).
//!
//! Fitted on 353 printed times (the charts but H800's, whose form factor is not stated): 17 numbers.
//! The base alone: median 4, p90 17 %. Not modelled: grouped heads, power limits, clocks under load.

use topologies::{Architecture, Gpu};

use crate::attention::Shape;
use crate::attention_kernel::AttentionKernel;
use crate::memory_kernel;
use crate::store::Mask;

/// Launch of a kernel, microseconds, where the smallest kernel takes no more than [`USUAL_FLOOR`].
const T0: f64 = 5.0;
/// The slowest smallest kernel of NVIDIA's GPUs, microseconds (`tables/memory.csv`); MI300X takes 4.6.
const USUAL_FLOOR: f64 = 2.6;
/// Queries of one CTA.
const BLOCK: f64 = 128.0;
/// Share of a CTA's reads and writes that nothing hides.
const EXPOSED: f64 = 0.55;
/// Keys that a causal CTA computes in vain, twice.
const DIAGONAL: f64 = 280.0;
/// `mma.sync` over the peak: Hopper, data-centre Blackwell.
const HOPPER_MMA: f64 = 0.62;
const BLACKWELL_MMA: f64 = 0.22;
/// Cards with coolers of their own run above the sheet's boost clock.
const CARD_CLOCK: f64 = 1.05;
/// No kernel of a GPU without a chart passes this share of a peak.
pub(super) const MOST: f64 = 0.92;
/// The boost clock where the sheet has none, per microsecond.
const USUAL_CLOCK: f64 = 1900.0;

/// How a kernel multiplies: its instructions, and clocks for a score: `a + b head_dim`.
struct Class {
    legacy: bool,
    soft: (f64, f64),
}

fn class(kernel: AttentionKernel, gpu: &Gpu) -> Class {
    use AttentionKernel as K;
    let blackwell = matches!(
        gpu.architecture,
        Architecture::Blackwell | Architecture::BlackwellUltra
    ) && crate::kinship::data_centre(gpu);
    let (legacy, soft) = match kernel {
        // SD3.5's attention on MI300X takes 1,360 us (TraceLens, width 64); one kernel stands for all.
        _ if gpu.architecture == Architecture::Cdna3 => (false, (0.45, 0.001)),
        // There FlashAttention-4 (1.6 PFLOP/s) is 1.3 times as fast as cuDNN, say its authors, and Triton
        // has Blackwell's instructions.
        K::CuDnn if blackwell => (false, (0.108, 0.0)),
        K::Triton if blackwell => (false, (0.03, 0.0023)),
        K::FlashAttention2 | K::Triton => (true, (0.03, 0.0023)),
        K::Xformers => (true, (0.11, 0.0090)),
        K::FlashAttention3 | K::FlashAttention3Fp8 => (false, (0.08, 0.0006)),
        // As its tables of B200 with heads of 64 and 80 say, and 1.4 PFLOP/s of its authors at 128.
        K::FlashAttention4 => (false, (0.085, 0.0)),
        K::CuDnn | K::Aiter => (false, (0.08, 0.0011)),
        K::SageInt8Fp16 => (false, (0.05, 0.0016)),
        K::SageInt8Fp8 | K::SageInt8Fp8Short | K::SageInt4Fp8 | K::SageInt4Fp8Short | K::Sage3 => {
            (false, (0.065, 0.0008))
        }
    };
    Class { legacy, soft }
}

/// Whether the GPU is a card for PCs, whose tensor cores sum in fp32 at half the rate.
fn is_card(gpu: &Gpu) -> bool {
    ["consumer", "modified"]
        .iter()
        .any(|word| gpu.form_factor.contains(word))
}

/// Rates of the two products over the GPU's bf16 peak.
fn formats(kernel: AttentionKernel, gpu: &Gpu) -> (f64, f64) {
    use AttentionKernel as K;
    // Sums in fp32 halve a card's rates; int8 sums in int32, which does not.
    let short = if is_card(gpu) { 2.0 } else { 1.0 };
    match kernel {
        K::FlashAttention3Fp8 => (2.0, 2.0),
        K::SageInt8Fp16 => (2.0 * short, short),
        K::SageInt8Fp8 => (2.0 * short, 2.0),
        K::SageInt8Fp8Short => (2.0 * short, 2.0 * short),
        K::SageInt4Fp8 => (4.0 * short, 2.0),
        K::SageInt4Fp8Short => (4.0 * short, 2.0 * short),
        K::Sage3 => (4.0 * short, 4.0 * short),
        _ => (1.0, 1.0),
    }
}

/// FLOP per microsecond of both products at the peaks of their formats.
pub(crate) fn peak(kernel: AttentionKernel, gpu: &Gpu) -> f64 {
    let (scores, values) = formats(kernel, gpu);
    gpu.peak_bf16.as_f64() / 1e6 / (0.5 / scores + 0.5 / values)
}

/// Microseconds of an attention.
pub(super) fn us(kernel: AttentionKernel, gpu: &Gpu, mask: Mask, shape: Shape) -> f64 {
    let Class { legacy, soft } = class(kernel, gpu);
    let share = match gpu.architecture {
        Architecture::Hopper if legacy => HOPPER_MMA,
        Architecture::BlackwellUltra if legacy => BLACKWELL_MMA,
        Architecture::Blackwell if legacy && crate::kinship::data_centre(gpu) => BLACKWELL_MMA,
        _ => 1.0,
    };
    // Kernels are built for widths in steps of 32; others run padded (FA3's tables of 72 and 80 are alike).
    let width = (shape.head_dim.div_ceil(32) * 32) as f64;
    let multiprocessors = f64::from(gpu.sm_count);
    let clock = gpu.boost_clock_hz.map_or(USUAL_CLOCK, |hertz| hertz / 1e6);
    let tensor = 4.0 * width * multiprocessors / (peak(kernel, gpu) * share);
    let pace = if is_card(gpu) { CARD_CLOCK } else { 1.0 };
    let score = tensor.hypot((soft.0 + soft.1 * width) / clock) / pace;
    let bandwidth = gpu.memory_bandwidth.as_f64() / 1e6 / multiprocessors;
    let tau = EXPOSED * BLOCK * width * 4.0 / bandwidth;
    let keys = (shape.keys as f64 / 64.0).ceil() * 64.0;
    let length = match mask {
        Mask::Full => keys,
        Mask::Causal => (keys + DIAGONAL) / 2.0,
    };
    let ctas = (shape.batch * shape.heads) as f64 * (shape.queries as f64 / BLOCK).ceil();
    let waves = (ctas / multiprocessors).max(1.0);
    let start = T0 + (memory_kernel::floor_us(gpu) - USUAL_FLOOR).max(0.0);
    start + waves * (BLOCK * length * score + tau)
}
