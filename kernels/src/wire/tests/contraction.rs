//! The formats against theory on samples whose distribution is known.
//!
//! For independent samples u and v are 1 and E|R|, so s = E|R| =: m.
//! 1bit keeps m^2 / E R^2: 2/pi on a Gaussian, 1/2 on a Laplacian. 2bit and Lloyd-Max: the
//! published .852 / .789 and .88; Lloyd-Max with 4 levels on a Laplacian: 1 - .1762 (Jayant &
//! Noll, Digital Coding of Waveforms, table 4.4).

use super::*;

const SIDE: usize = 700;

fn check(compressor: Compressor, of: fn(usize, u64) -> f32, expected: f64, tolerance: f64) {
    let shape = Shape::new(SIDE, SIDE);
    let residual = samples(shape, |n| of(n, 20));
    let kept = contraction(compressor, &residual, shape);
    assert!(
        (kept - expected).abs() < tolerance,
        "{compressor}: {kept}, expected {expected}"
    );
}

#[test]
fn one_bit_meets_theory() {
    check(
        Compressor::OneBit,
        gaussian,
        std::f64::consts::FRAC_2_PI,
        0.004,
    );
    check(Compressor::OneBit, laplacian, 0.5, 0.004);
}

#[test]
fn two_bit_meets_the_published_constants() {
    check(Compressor::TwoBit, gaussian, 0.852, 0.004);
    check(Compressor::TwoBit, laplacian, 0.789, 0.006);
}

#[test]
fn fitted_levels_meet_lloyd_max() {
    check(Compressor::TwoBitFitted, gaussian, 0.8825, 0.004);
    check(Compressor::TwoBitFitted, laplacian, 0.8238, 0.006);
}

#[test]
fn integers_and_floats_meet_the_noise_of_their_step() {
    // A uniform step d costs d^2 / 12. The largest of 64 Gaussians is about 2.4 sigma, the mean of
    // its square 5.9: int8 5.9 / 127^2 / 12 = 3e-5, int4 5.9 / 49 / 12 = .010.
    check(Compressor::Int8, gaussian, 1.0 - 3e-5, 1e-5);
    check(Compressor::Int4, gaussian, 0.990, 0.002);
    // e4m3: a step of 1/8 of the power of two below |R|; half of a binade's mean square of
    // (1/8)^2 / 12 over E m^2 = 7/3 for m in [1, 2): 5.6e-4.
    check(Compressor::Fp8, gaussian, 1.0 - 6e-4, 2e-4);
}

#[test]
fn a_larger_block_keeps_less() {
    let shape = Shape::new(64, 256);
    let residual = samples(shape, |n| gaussian(n, 21));
    let kept = [2, 4, 8, 16].map(|block| contraction(Compressor::Sparse(block), &residual, shape));
    assert!(kept.is_sorted_by(|a, b| a > b), "{kept:?}");
    // The larger of two: E max^2 = 1 + 2/pi of 2.
    let expected = (1.0 + std::f64::consts::FRAC_2_PI) / 2.0;
    assert!((kept[0] - expected).abs() < 0.02, "{kept:?}");
}
