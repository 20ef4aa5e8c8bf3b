//! How near a GPU's message must be to the CPU's.
//!
//! | family | promise |
//! |---|---|
//! | `int8`, `int4`, `fp8`, `sparse` | the same bytes |
//! | `1bit` | the same codes; u and v at most one fp16 apart (sums in another order) |
//! | `2bit` | as `1bit`; magnitude bits may differ where \|R\| is that near to the threshold |
//! | `2bit-fitted` | as `2bit`, with levels at most [`LEVEL_ULPS`] fp16 apart |
//! | low rank | decoded values within [`LOW_RANK`] of the residual's norm |

use super::samples::bits_of;
use crate::compressor::Compressor;
use crate::wire::{Half, Shape};

/// Distance of fitted levels, in fp16 numbers: a u one apart moves elements over the edges of bins
/// (1/128 wide), and a split by a bin.
const LEVEL_ULPS: u16 = 32;
/// Distance of low-rank reconstructions, as a part of the residual's norm.
const LOW_RANK: f64 = 1e-2;

/// A message that keeps the promise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Agreement {
    /// Byte for byte.
    Equal,
    /// Within the tolerance.
    Near,
}

/// Compares a GPU's message with the CPU's.
pub(super) fn compare(
    compressor: Compressor,
    shape: Shape,
    residual: &[f32],
    expected: &[u8],
    got: &[u8],
) -> Result<Agreement, String> {
    if expected == got {
        return Ok(Agreement::Equal);
    }
    let near = match compressor {
        Compressor::OneBit => signs(shape, residual, expected, got, 1, None),
        Compressor::TwoBit => {
            let levels = Span {
                least: 1.0,
                most: 1.0,
            };
            signs(shape, residual, expected, got, 2, Some(levels))
        }
        Compressor::TwoBitFitted => fitted(shape, residual, expected, got),
        Compressor::LowRank(_) | Compressor::LowRankInt4(_) => {
            low_rank(compressor, shape, residual, expected, got)
        }
        Compressor::Int8 | Compressor::Int4 | Compressor::Fp8 | Compressor::Sparse(_) => {
            let at = expected.iter().zip(got).position(|(a, b)| a != b);
            let at = at.unwrap_or(0);
            let (e, g) = (expected[at], got[at]);
            Err(format!(
                "the message differs first at byte {at}: {g:02x}, not {e:02x}"
            ))
        }
    };
    near.map(|()| Agreement::Near)
}

/// What a number may be.
#[derive(Clone, Copy)]
struct Span {
    least: f32,
    most: f32,
}

/// The numbers at most `ulps` fp16 from one of zero or more.
fn around(bits: u16, ulps: u16) -> Span {
    let value = |bits: u16| {
        let mut out = [0.0];
        Half::F16.widen(&[bits.min(0x7BFF)], &mut out);
        out[0]
    };
    Span {
        least: value(bits.saturating_sub(ulps)),
        most: value(bits + ulps),
    }
}

fn fitted(shape: Shape, residual: &[f32], expected: &[u8], got: &[u8]) -> Result<(), String> {
    let (body, levels) = expected.split_at(expected.len() - 4);
    let (got_body, got_levels) = got.split_at(body.len());
    let (levels, got_levels) = (bits_of(levels), bits_of(got_levels));
    for (name, (&a, &b)) in ["a0", "a1"].iter().zip(levels.iter().zip(&got_levels)) {
        if a.abs_diff(b) > LEVEL_ULPS {
            return Err(format!("{name} is {b:04x}, not {a:04x}"));
        }
    }
    let [low, high] = [0, 1].map(|n| around(levels[n], LEVEL_ULPS));
    let threshold = Span {
        least: 0.5 * (low.least + high.least),
        most: 0.5 * (low.most + high.most),
    };
    signs(shape, residual, body, got_body, 2, Some(threshold))
}

/// Codes of `bits` bits, u, v; `threshold` in units of s where there is a magnitude bit.
fn signs(
    shape: Shape,
    residual: &[f32],
    expected: &[u8],
    got: &[u8],
    bits: usize,
    threshold: Option<Span>,
) -> Result<(), String> {
    let (rows, channels) = (shape.rows(), shape.channels());
    let width = (channels * bits).div_ceil(8);
    let (scales, got_scales) = (
        bits_of(&expected[rows * width..]),
        bits_of(&got[rows * width..]),
    );
    for (n, (&a, &b)) in scales.iter().zip(&got_scales).enumerate() {
        if a.abs_diff(b) > 1 {
            let (name, n) = if n < rows { ("u", n) } else { ("v", n - rows) };
            return Err(format!("{name} of {n} is {b:04x}, not {a:04x}"));
        }
    }
    for (row, values) in residual.chunks(channels).enumerate() {
        let line = row * width..(row + 1) * width;
        let (a, b) = (&expected[line.clone()], &got[line]);
        for (channel, value) in values.iter().enumerate() {
            let code = |line: &[u8]| {
                (line[channel * bits / 8] >> (channel * bits % 8)) & ((1 << bits) - 1)
            };
            if code(a) == code(b) {
                continue;
            }
            let (u, v) = (around(scales[row], 1), around(scales[rows + channel], 1));
            let near = threshold.is_some_and(|t| {
                let size = value.abs();
                t.least * (u.least * v.least) <= size && size <= t.most * (u.most * v.most)
            });
            if !near || (code(a) ^ code(b)) & 2 != 0 {
                return Err(format!(
                    "the code of row {row}, channel {channel} is {}, not {}",
                    code(b),
                    code(a)
                ));
            }
        }
        let last = channels * bits % 8;
        if last != 0 && b[width - 1] >> last != 0 {
            return Err(format!("row {row} is not padded with zero bits"));
        }
    }
    Ok(())
}

fn low_rank(
    compressor: Compressor,
    shape: Shape,
    residual: &[f32],
    expected: &[u8],
    got: &[u8],
) -> Result<(), String> {
    let decoded = |message: &[u8]| {
        compressor
            .decode(message, shape)
            .map_err(|error| error.to_string())
    };
    let (a, b) = (decoded(expected)?, decoded(got)?);
    let norm = residual
        .iter()
        .map(|&value| f64::from(value).powi(2))
        .sum::<f64>()
        .sqrt();
    let pairs = a.iter().zip(&b);
    let distance = pairs
        .map(|(&a, &b)| (f64::from(a) - f64::from(b)).powi(2))
        .sum::<f64>()
        .sqrt();
    if distance <= LOW_RANK * norm {
        return Ok(());
    }
    Err(format!(
        "the reconstruction is {:.2e} of the residual's norm away",
        distance / norm
    ))
}
