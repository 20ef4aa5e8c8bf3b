//! What needs no measurement: no kernel beats its own sheet, and sheets order GPUs.
//!
//! A measurement may beat both. Cards for PCs run above the clock of their sheets: FlashAttention-2 reaches 101 % of
//! RTX 4090's peak (512 FLOP a clock and multiprocessor, sums in fp32) and 105 % of RTX 5090's. The tensor units of L20
//! and H20 (512 and 1024 FLOP a clock; H100 has 4096) are so small beside the rest that nothing else is waited for: 95
//! and 96 %. Measured products of A100, H100, H200, B200, GB300 and RTX PRO 6000 reach 93 to 98 %. These stay as
//! measured; what is not measured keeps to 92 %, or to what the GPU itself has shown.

use topologies::gpu;

use super::*;
use crate::cost::CostModel;
use crate::kinship::Kinship;
use crate::op::Op;

/// What predictions may use of a peak where no measurement of the GPU shows more; rounding of picoseconds on top.
const MOST: f64 = 0.92 + 1e-6;

/// Widths of diffusion transformers (PixArt, SD3, SD3.5, FLUX, HunyuanImage, Wan) and of their token counts.
const WIDTHS: [u64; 6] = [1152, 1536, 2432, 3072, 3584, 5120];
const TOKENS: [u64; 7] = [512, 1088, 4096, 4608, 16_384, 32_760, 118_800];

/// (m, n, k) of a block's products at every width and token count.
fn products() -> Vec<[u64; 3]> {
    let of = |width: u64| {
        let sides = [(1, 1), (3, 1), (4, 1), (1, 4)];
        sides.map(|(n, k)| (n * width, k * width))
    };
    let sides = WIDTHS.into_iter().flat_map(of);
    sides.flat_map(|(n, k)| TOKENS.map(|m| [m, n, k])).collect()
}

fn shape(tokens: u64, head_dim: u64) -> attention::Shape {
    attention::Shape {
        batch: 1,
        heads: 24,
        queries: tokens,
        keys: tokens,
        head_dim,
    }
}

fn product_us(gpu: &Gpu, dtype: DType, [m, n, k]: [u64; 3]) -> Option<f64> {
    let op = Op::Gemm { m, n, k, dtype };
    let cost = Tables::built_in().cost(&op, gpu).ok()?;
    Some(cost.time.as_us_f64())
}

fn attention_us(gpu: &Gpu, kernel: AttentionKernel, tokens: u64, head_dim: u64) -> Option<f64> {
    let op = Op::Attention {
        kernel,
        batch: 1,
        heads: 24,
        queries: tokens,
        keys: tokens,
        head_dim,
    };
    let cost = Tables::built_in().cost(&op, gpu).ok()?;
    Some(cost.time.as_us_f64())
}

/// The largest share of the peak that measured products of the GPU, or of another with its chip, reach; its measured rate too.
fn measured_product(gpu: &Gpu, dtype: DType, peak: f64) -> f64 {
    let tables = Tables::built_in().gemm.iter();
    let own = tables
        .filter(|table| table.dtype == dtype && Kinship::of(&table.gpu, gpu) <= Kinship::SameChip);
    let share = |(shape, us): (Shape, f64)| match shape {
        Shape::Gemm(shape) => shape.flops() / us / peak,
        Shape::Attention(_) => 0.0,
    };
    let shares = own.flat_map(|table| table.measured().map(share));
    let rate = gpu
        .sustained_gemm
        .filter(|_| gpu.sustained_source.starts_with("measured"));
    let sustained = rate.map(|rate| rate.as_f64() / gpu.peak_bf16.as_f64());
    shares.chain(sustained).fold(0.0, f64::max)
}

#[test]
fn no_product_uses_more_of_a_peak_than_was_ever_measured() {
    for gpu in gpu::known() {
        for dtype in [DType::Bf16, DType::Fp8, DType::Nvfp4] {
            let Some(peak) = Chip::of(gpu).peak(dtype) else {
                continue;
            };
            let most = measured_product(gpu, dtype, peak).max(MOST);
            for [m, n, k] in products() {
                let Some(us) = product_us(gpu, dtype, [m, n, k]) else {
                    continue;
                };
                let share = gemm::Shape { m, n, k }.flops() / us / peak;
                assert!(share <= most, "{} {dtype:?} {m} {n} {k}: {share}", gpu.name);
                let bytes = gemm::Shape { m, n, k }.bytes(dtype);
                let share = bytes / us / Chip::of(gpu).bandwidth;
                let large = bytes > 4.0 * gpu.l2.as_f64();
                assert!(!large || share <= MOST, "{} memory {share}", gpu.name);
            }
        }
    }
}

#[test]
fn no_attention_uses_more_of_a_peak_than_a_chart_of_the_gpu_shows() {
    let beyond = ["L20", "H20", "RTX4090", "RTX5090"];
    for gpu in gpu::known() {
        for kernel in AttentionKernel::ALL
            .into_iter()
            .filter(|one| one.runs_on(gpu))
        {
            let peak = charts::peak(kernel, gpu);
            for (tokens, head_dim) in TOKENS
                .into_iter()
                .flat_map(|t| [64, 72, 128, 256].map(|d| (t, d)))
            {
                let Some(us) = attention_us(gpu, kernel, tokens, head_dim) else {
                    continue;
                };
                let share = shape(tokens, head_dim).flops(Mask::Full) / us / peak;
                let named = beyond.contains(&gpu.name.as_str());
                let most = if named { 1.055 } else { MOST };
                assert!(
                    share <= most,
                    "{} {kernel} {tokens} {head_dim}: {share}",
                    gpu.name
                );
            }
        }
    }
}

/// The charts that beat 92 % are those of the four GPUs whose sheets say less than their tensor units give.
#[test]
fn charts_beyond_their_sheets_are_of_four_gpus() {
    let rows = Tables::built_in().kernel_rows();
    let beyond =
        rows.filter(|(row, us)| row.flops() / us / charts::peak(row.kernel, row.gpu) > MOST);
    let names: std::collections::BTreeSet<&str> =
        beyond.map(|(row, _)| row.gpu.name.as_str()).collect();
    assert_eq!(Vec::from_iter(names), ["H20", "L20", "RTX4090", "RTX5090"]);
}

/// Of two GPUs of one architecture the one with the higher peak is faster, but where measurements say otherwise.
#[test]
fn gpus_of_an_architecture_are_in_the_order_of_their_sheets() {
    // GB200's tables are up to 8 % slower than B200's; L40 sustains 134 TFLOP/s in published runs, RTX 4090's charts
    // 164; H800's charts are of another form factor, likely. A10 and A30 have neither: A10's clock and multiprocessors
    // outrun A30's where the exponents decide, and nothing is known of its 150 W.
    let otherwise = [
        ("GB200", "B200"),
        ("L40", "RTX4090"),
        ("L40", "RTX4090-48GB"),
        ("H800-SXM", "H100-PCIe"),
        ("A30", "A10"),
    ];
    let pairs = || {
        gpu::known()
            .iter()
            .flat_map(|a| gpu::known().iter().map(move |b| (a, b)))
    };
    let ordered = |(a, b): &(&Gpu, &Gpu)| {
        a.architecture == b.architecture && a.peak_bf16.as_f64() > 1.02 * b.peak_bf16.as_f64()
    };
    for (a, b) in pairs().filter(ordered) {
        if otherwise.contains(&(a.name.as_str(), b.name.as_str())) {
            continue;
        }
        for shape in [
            [4608, 12_288, 3072],
            [16_384, 5120, 5120],
            [32_760, 8960, 1536],
        ] {
            let [fast, slow] = [a, b].map(|gpu| product_us(gpu, DType::Bf16, shape));
            assert!(fast <= slow, "{} {} product {shape:?}", a.name, b.name);
        }
        for (tokens, head_dim) in [(4608, 128), (16_384, 128), (16_384, 64)] {
            let [fast, slow] =
                [a, b].map(|gpu| attention_us(gpu, AttentionKernel::usual(gpu), tokens, head_dim));
            assert!(fast <= slow, "{} {} attention {tokens}", a.name, b.name);
        }
    }
}
