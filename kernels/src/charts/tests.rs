use topologies::gpu;

use super::*;
use crate::attention_kernel::AttentionKernel as K;

fn case(name: &str, kernel: K, length: u64, head_dim: u64) -> Case<'static> {
    Case {
        gpu: gpu::find(name).unwrap(),
        kernel,
        mask: Mask::Full,
        shape: Shape {
            batch: 1,
            heads: 24,
            queries: length,
            keys: length,
            head_dim,
        },
    }
}

fn at(errors: &mut [f64], share: f64) -> f64 {
    errors.sort_by(f64::total_cmp);
    errors[(share * errors.len() as f64) as usize]
}

/// Errors of every row, and the share inside its interval.
fn score(ask: impl Fn(&Case<'_>) -> Answer) -> (Vec<f64>, f64) {
    let rows = &Charts::built_in().rows;
    let (mut errors, mut inside) = (Vec::new(), 0);
    for row in rows {
        let answer = ask(&row.case);
        inside += usize::from((row.us / answer.us - 1.0).abs() <= answer.half_width);
        errors.push((answer.us / row.us - 1.0).abs());
    }
    let share = inside as f64 / errors.len() as f64;
    (errors, share)
}

#[test]
fn rows_left_out_of_their_charts_are_predicted() {
    let (mut errors, inside) = score(|case| Charts::built_in().answer(case, false));
    let (median, p90) = (at(&mut errors, 0.5), at(&mut errors, 0.9));
    assert!(median < 0.02 && p90 < 0.07, "{median} {p90} {inside}");
    println!("row {median} {p90} {inside}");
    assert!(inside > 0.87, "inside {inside}");
}

#[test]
fn kernels_left_out_of_a_gpu_are_predicted() {
    let mut without = std::collections::BTreeMap::new();
    for row in &Charts::built_in().rows {
        let Case { gpu, kernel, .. } = row.case;
        let key = (gpu.name.clone(), kernel);
        without
            .entry(key)
            .or_insert_with(|| Charts::built_in().without_kernel(gpu, kernel));
    }
    let (mut errors, inside) =
        score(|case| without[&(case.gpu.name.clone(), case.kernel)].answer(case, false));
    let (median, p90) = (at(&mut errors, 0.5), at(&mut errors, 0.9));
    assert!(median < 0.065 && p90 < 0.16, "{median} {p90} {inside}");
    println!("kernel {median} {p90} {inside}");
    assert!((0.87..=0.98).contains(&inside), "inside {inside}");
}

#[test]
fn a_charted_shape_comes_back_as_charted() {
    let row = &Charts::built_in().rows[0];
    let answer = Charts::built_in().answer(&row.case, true);
    assert_eq!(
        (answer.us, answer.provenance),
        (row.us, Provenance::Measured)
    );
}

/// Half of the pairs are masked: half the FLOPs, and no less time than that.
#[test]
fn a_causal_mask_halves_the_work() {
    for kernel in [K::FlashAttention2, K::FlashAttention3, K::CuDnn] {
        for length in [512, 4096, 65_536] {
            let full = case("H100-SXM", kernel, length, 128);
            let causal = Case {
                mask: Mask::Causal,
                ..full
            };
            assert_eq!(
                2.0 * causal.shape.flops(causal.mask),
                full.shape.flops(full.mask)
            );
            let (half, whole) = (causal.base_us(), full.base_us());
            assert!(0.5 * whole <= half && half <= whole, "{kernel} {length}");
        }
    }
}

#[test]
fn longer_attention_takes_longer_and_stays_below_the_peak() {
    for gpu in gpu::known() {
        for kernel in K::ALL.into_iter().filter(|kernel| kernel.runs_on(gpu)) {
            let mut rows = Charts::built_in().rows.iter();
            let charted = rows.any(|row| row.case.gpu.name == gpu.name);
            for head_dim in [64, 72, 128] {
                let mut before = 0.0;
                for length in (1..40).map(|step| 1024 * step) {
                    let one = case(&gpu.name, kernel, length, head_dim);
                    let us = Charts::built_in().answer(&one, true).us;
                    assert!(us > before, "{} {kernel} {head_dim} {length}", gpu.name);
                    before = us;
                    let share = one.rate(us) / peak(kernel, gpu);
                    // What cards were measured to do above their sheet's clock stands.
                    let most = if charted { 1.06 } else { physics::MOST };
                    assert!(
                        share <= most + 1e-9,
                        "{} {kernel} {head_dim}: {share}",
                        gpu.name
                    );
                }
            }
        }
    }
}

/// Where every figure of a sheet is at least another's, attention is no slower: of GPUs that no
/// chart speaks for.
#[test]
fn gpus_of_an_architecture_stand_in_the_order_of_their_sheets() {
    let figures = |gpu: &Gpu| {
        let clock = gpu.boost_clock_hz.unwrap_or(0.0);
        [
            f64::from(gpu.sm_count),
            gpu.peak_bf16.as_f64(),
            gpu.memory_bandwidth.as_f64(),
            clock,
        ]
    };
    for fast in gpu::known() {
        for slow in gpu::known() {
            let kernel = K::usual(fast);
            let alike = fast.architecture == slow.architecture && K::usual(slow) == kernel;
            let charted = |gpu| Charts::built_in().know(gpu, kernel);
            let (a, b) = (figures(fast), figures(slow));
            if !alike || charted(fast) || charted(slow) || a.iter().zip(b).any(|(a, b)| *a < b) {
                continue;
            }
            let us = |gpu: &Gpu| {
                let one = case(&gpu.name, kernel, 8192, 128);
                Charts::built_in().answer(&one, true).us
            };
            assert!(us(fast) <= us(slow) * 1.001, "{} {}", fast.name, slow.name);
        }
    }
}

#[test]
fn an_mi300x_stays_below_its_products() {
    let one = case("MI300X", K::Aiter, 16_384, 128);
    let products = one
        .gpu
        .sustained_gemm
        .map_or(668.0, |rate| rate.as_f64() / 1e12);
    let rate = one.rate(Charts::built_in().answer(&one, true).us) / 1e6;
    assert!((400.0..=products).contains(&rate), "{rate} of {products}");
}
