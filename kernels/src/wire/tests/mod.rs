//! What every format and the protocol promise.

mod contraction;
mod examples;
mod formats;
mod protocol;

use super::*;

/// Formats of every family, with ranks and blocks that small shapes exercise.
const FORMATS: [Compressor; 12] = [
    Compressor::OneBit,
    Compressor::TwoBit,
    Compressor::TwoBitFitted,
    Compressor::Int8,
    Compressor::Int4,
    Compressor::Fp8,
    Compressor::LowRank(3),
    Compressor::LowRankInt4(4),
    Compressor::Sparse(2),
    Compressor::Sparse(4),
    Compressor::Sparse(8),
    Compressor::Sparse(16),
];

/// Tiny and odd: not multiples of 2, 4, 8, 16, 64, of a strip or of a chunk.
const SHAPES: [(usize, usize); 9] = [
    (1, 1),
    (1, 130),
    (7, 1),
    (5, 7),
    (3, 65),
    (6, 40),
    (2, 513),
    (131, 17),
    (45, 1601),
];

const PLACE: Place = Place {
    layer: 3,
    step: 5,
    tensor: Tensor::Value,
};

/// A number in (0, 1) from a hash.
fn uniform(n: usize, seed: u64) -> f64 {
    let z = (n as u64).wrapping_add(seed << 40).wrapping_add(1);
    let z = z.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    (((z ^ (z >> 31)) >> 11) as f64 + 0.5) / (1u64 << 53) as f64
}

/// Box-Muller.
fn gaussian(n: usize, seed: u64) -> f32 {
    let radius = (-2.0 * uniform(2 * n, seed).ln()).sqrt();
    (radius * (std::f64::consts::TAU * uniform(2 * n + 1, seed)).cos()) as f32
}

fn laplacian(n: usize, seed: u64) -> f32 {
    let u = uniform(n, seed) - 0.5;
    (-u.signum() * (1.0 - 2.0 * u.abs()).ln()) as f32
}

fn samples(shape: Shape, of: impl Fn(usize) -> f32) -> Vec<f32> {
    (0..shape.elements()).map(of).collect()
}

fn narrowed(half: Half, values: &[f32]) -> Vec<u16> {
    let mut bits = vec![0; values.len()];
    half.narrow(values, &mut bits);
    bits
}

fn widened(half: Half, bits: &[u16]) -> Vec<f32> {
    let mut values = vec![0.0; bits.len()];
    half.widen(bits, &mut values);
    values
}

fn energy(values: &[f32]) -> f64 {
    values.iter().map(|&value| f64::from(value).powi(2)).sum()
}

fn distance(a: &[f32], b: &[f32]) -> f64 {
    let pairs = a.iter().zip(b);
    pairs
        .map(|(&a, &b)| (f64::from(a) - f64::from(b)).powi(2))
        .sum()
}

/// 1 - |R - dec|^2 / |R|^2.
fn contraction(compressor: Compressor, residual: &[f32], shape: Shape) -> f64 {
    let message = compressor.encode(residual, shape).unwrap();
    let decoded = compressor.decode(&message.0, shape).unwrap();
    1.0 - distance(residual, &decoded) / energy(residual)
}
