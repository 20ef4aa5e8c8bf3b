//! `1bit`, `2bit` and `2bit-fitted`: signs, one magnitude bit, and a scale u_n v_c of rank one.
//!
//! ```text
//! v_c = mean_n |R|    t_n = mean_c |R|    g = mean_n t_n    u_n = t_n / g (0 where g = 0)
//! s = u_n v_c of the fp16 values;  1bit: +-s;  2bit: +-a0 s or +-a1 s, the larger where |R| > t s
//! ```
//! `2bit` has a = (.5, 2) and t = 1; `2bit-fitted` sends a and has t = (a0 + a1) / 2.
//!
//! A message is the codes of all rows, u, v, and for `2bit-fitted` a0 and a1.

use super::float16::{Bf16, Bits16, F16, Half, narrow_f16, vectorised, widen_f16};
use super::histogram;
use super::rows::{Residual, read_f16, write_f16};
use super::shape::{Rows, Shape, in_order};
use crate::compressor::Compressor;

/// Lanes of the running sums: fixed, so that sums do not depend on the processor.
const LANES: usize = 16;
/// Flags turned to codes at a time.
const FLAGS: usize = 512;

/// The two magnitudes in units of s, and where the larger begins.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Levels {
    pub low: f32,
    pub high: f32,
    pub threshold: f32,
}

/// Levels as bit patterns: a choice by masks, since a choice between two fields would become a
/// load for each element.
#[derive(Clone, Copy)]
struct Masks {
    low: u32,
    turn: u32,
}

const FIXED: Levels = Levels {
    low: 0.5,
    high: 2.0,
    threshold: 1.0,
};

impl Levels {
    fn masks(self) -> Masks {
        let low = self.low.to_bits();
        Masks {
            low,
            turn: low ^ self.high.to_bits(),
        }
    }

    /// From the two fp16 of a fitted message.
    fn fitted(low: u16, high: u16) -> Self {
        let (low, high) = (widen_f16(low), widen_f16(high));
        Self {
            low,
            high,
            threshold: 0.5 * (low + high),
        }
    }
}

/// u and v, as the receiver reads them.
pub(crate) struct Scales {
    pub rows: Vec<f32>,
    pub channels: Vec<f32>,
}

vectorised! {
    /// Adds the magnitudes of a row to the channels' sums; the row's own sum.
    fn add_magnitudes(row: &[f32], channels: &mut [f32]) -> f64 {
        let mut lanes = [0.0f32; LANES];
        let mut values = row.chunks_exact(LANES);
        let mut sums = channels.chunks_exact_mut(LANES);
        for (values, sums) in (&mut values).zip(&mut sums) {
            for lane in 0..LANES {
                let magnitude = values[lane].abs();
                lanes[lane] += magnitude;
                sums[lane] += magnitude;
            }
        }
        let rest = values.remainder().iter().zip(sums.into_remainder());
        for (lane, (value, sum)) in rest.enumerate() {
            lanes[lane] += value.abs();
            *sum += value.abs();
        }
        lanes.iter().map(|&lane| f64::from(lane)).sum()
    }

    fn add_to_totals(partial: &[f32], totals: &mut [f64]) {
        for (total, &partial) in totals.iter_mut().zip(partial) {
            *total += f64::from(partial);
        }
    }

    /// Bits R >= 0, eight channels a byte, the first lowest.
    fn pack_signs(row: &[f32], out: &mut [u8]) {
        let mut flags = [0u8; FLAGS];
        for (row, out) in row.chunks(FLAGS).zip(out.chunks_mut(FLAGS / 8)) {
            for (flag, &value) in flags.iter_mut().zip(row) {
                *flag = u8::from(value >= 0.0);
            }
            flags[row.len()..].fill(0);
            for (byte, eight) in out.iter_mut().zip(flags.chunks_exact(8)) {
                let eight: [u8; 8] = eight.try_into().expect("chunks of eight");
                // Byte i, shifted left by 56 - 7i, has its lowest bit at 56 + i.
                let spread = u64::from_le_bytes(eight).wrapping_mul(0x0102_0408_1020_4080);
                *byte = (spread >> 56) as u8;
            }
        }
    }

    /// Codes (R >= 0) << 1 | (|R| > t s), four channels a byte, the first lowest.
    fn pack_pairs(row: &[f32], u: f32, v: &[f32], threshold: f32, out: &mut [u8]) {
        let mut flags = [0u8; FLAGS];
        let rows = row.chunks(FLAGS).zip(v.chunks(FLAGS));
        for ((row, v), out) in rows.zip(out.chunks_mut(FLAGS / 4)) {
            for ((flag, &value), &v) in flags.iter_mut().zip(row).zip(v) {
                let large = value.abs() > threshold * (u * v);
                *flag = (u8::from(value >= 0.0) << 1) | u8::from(large);
            }
            flags[row.len()..].fill(0);
            for (byte, four) in out.iter_mut().zip(flags.chunks_exact(4)) {
                let four: [u8; 4] = four.try_into().expect("chunks of four");
                // Byte i, shifted left by 24 - 6i, has its lowest bit at 24 + 2i.
                let spread = u32::from_le_bytes(four).wrapping_mul(0x0104_1040);
                *byte = (spread >> 24) as u8;
            }
        }
    }

    fn unpack_signs(bytes: &[u8], u: f32, v: &[f32], out: &mut [f32]) {
        let mut flags = [0u8; FLAGS];
        let blocks = out.chunks_mut(FLAGS).zip(v.chunks(FLAGS));
        for ((out, v), bytes) in blocks.zip(bytes.chunks(FLAGS / 8)) {
            spread_signs(bytes, &mut flags);
            for ((out, &v), &flag) in out.iter_mut().zip(v).zip(&flags) {
                *out = one_bit(flag, u * v);
            }
        }
    }

    fn unpack_pairs(bytes: &[u8], u: f32, v: &[f32], levels: Masks, out: &mut [f32]) {
        let mut flags = [0u8; FLAGS];
        let blocks = out.chunks_mut(FLAGS).zip(v.chunks(FLAGS));
        for ((out, v), bytes) in blocks.zip(bytes.chunks(FLAGS / 4)) {
            spread_pairs(bytes, &mut flags);
            for ((out, &v), &flag) in out.iter_mut().zip(v).zip(&flags) {
                *out = two_bit(flag, u * v, levels);
            }
        }
    }

    /// [`unpack_signs`], added to a row of a 16-bit base.
    fn add_signs<B: Bits16>(bytes: &[u8], u: f32, v: &[f32], base: &mut [u16]) {
        let mut flags = [0u8; FLAGS];
        let blocks = base.chunks_mut(FLAGS).zip(v.chunks(FLAGS));
        for ((base, v), bytes) in blocks.zip(bytes.chunks(FLAGS / 8)) {
            spread_signs(bytes, &mut flags);
            for ((base, &v), &flag) in base.iter_mut().zip(v).zip(&flags) {
                *base = B::narrow(B::widen(*base) + one_bit(flag, u * v));
            }
        }
    }

    /// [`unpack_pairs`], added to a row of a 16-bit base.
    fn add_pairs<B: Bits16>(bytes: &[u8], u: f32, v: &[f32], levels: Masks, base: &mut [u16]) {
        let mut flags = [0u8; FLAGS];
        let blocks = base.chunks_mut(FLAGS).zip(v.chunks(FLAGS));
        for ((base, v), bytes) in blocks.zip(bytes.chunks(FLAGS / 4)) {
            spread_pairs(bytes, &mut flags);
            for ((base, &v), &flag) in base.iter_mut().zip(v).zip(&flags) {
                *base = B::narrow(B::widen(*base) + two_bit(flag, u * v, levels));
            }
        }
    }
}

/// One bit a byte: apart by halves, quarters, eighths, so that bit i is the lowest of byte i.
#[inline(always)]
fn spread_signs(bytes: &[u8], flags: &mut [u8; FLAGS]) {
    for (eight, &byte) in flags.chunks_exact_mut(8).zip(bytes) {
        let spread = u64::from(byte);
        let spread = (spread | (spread << 28)) & 0x0000_000F_0000_000F;
        let spread = (spread | (spread << 14)) & 0x0003_0003_0003_0003;
        let spread = (spread | (spread << 7)) & 0x0101_0101_0101_0101;
        eight.copy_from_slice(&spread.to_le_bytes());
    }
}

/// One code a byte: apart by halves, then quarters.
#[inline(always)]
fn spread_pairs(bytes: &[u8], flags: &mut [u8; FLAGS]) {
    for (four, &byte) in flags.chunks_exact_mut(4).zip(bytes) {
        let spread = u32::from(byte);
        let spread = (spread | (spread << 12)) & 0x000F_000F;
        let spread = (spread | (spread << 6)) & 0x0303_0303;
        four.copy_from_slice(&spread.to_le_bytes());
    }
}

#[inline(always)]
fn one_bit(flag: u8, scale: f32) -> f32 {
    signed(scale, u32::from(flag) << 31)
}

#[inline(always)]
fn two_bit(flag: u8, scale: f32, levels: Masks) -> f32 {
    let code = u32::from(flag);
    let level = levels.low ^ (levels.turn & 0u32.wrapping_sub(code & 1));
    signed(f32::from_bits(level) * scale, code << 30)
}

/// A positive scale, negative where the top bit is 0.
#[inline(always)]
fn signed(scale: f32, top_bit: u32) -> f32 {
    f32::from_bits(scale.to_bits() | (!top_bit & 0x8000_0000))
}

/// Sums of magnitudes, and what `coded` does with each strip meanwhile.
fn measure(
    source: &impl Residual,
    shape: Shape,
    codes: &mut [u8],
    coded: impl Fn(&[f32], &mut [u8]) + Sync + Send,
) -> Result<Scales, usize> {
    let channels = shape.channels();
    let width = codes.len() / shape.rows();
    let mut row_sums = vec![0.0f64; shape.rows()];
    let sums = row_sums.chunks_mut(shape.chunk_rows());
    let codes = codes.chunks_mut(shape.chunk_rows() * width);
    let tasks = shape.chunks().zip(sums).zip(codes);
    let partials: Vec<Result<Vec<f32>, usize>> = in_order(tasks, |((rows, row_sums), codes)| {
        let mut buffer = vec![0.0; channels];
        let mut partial = vec![0.0f32; channels];
        let mut next = row_sums.iter_mut().zip(codes.chunks_mut(width));
        for (row, (sum, codes)) in rows.singles().zip(&mut next) {
            source.check(row)?;
            source.strip(row, &mut buffer);
            *sum = add_magnitudes(&buffer, &mut partial);
            coded(&buffer, codes);
        }
        Ok(partial)
    });
    let mut totals = vec![0.0f64; channels];
    for partial in partials {
        add_to_totals(&partial?, &mut totals);
    }
    Ok(scales(&row_sums, &totals, shape))
}

/// u and v, rounded to fp16.
fn scales(row_sums: &[f64], channel_sums: &[f64], shape: Shape) -> Scales {
    let (rows, channels) = (shape.rows() as f64, shape.channels() as f64);
    let means: Vec<f64> = row_sums.iter().map(|sum| sum / channels).collect();
    let mean = means.iter().sum::<f64>() / rows;
    let fp16 = |value: f64| widen_f16(narrow_f16(value as f32));
    let u = |t: &f64| if mean > 0.0 { fp16(t / mean) } else { 0.0 };
    Scales {
        rows: means.iter().map(u).collect(),
        channels: channel_sums.iter().map(|sum| fp16(sum / rows)).collect(),
    }
}

fn write_scales(scales: &Scales, out: &mut [u8]) {
    let (u, v) = out.split_at_mut(2 * scales.rows.len());
    write_f16(&scales.rows, u);
    write_f16(&scales.channels, v);
}

/// Writes a `1bit` message: the signs are packed while the sums are made.
pub(crate) fn encode_one_bit(
    source: &impl Residual,
    shape: Shape,
    message: &mut [u8],
) -> Result<(), usize> {
    let (codes, side) = message.split_at_mut(shape.rows() * shape.channels().div_ceil(8));
    let scales = measure(source, shape, codes, pack_signs)?;
    write_scales(&scales, side);
    Ok(())
}

/// Writes a `2bit` message.
pub(crate) fn encode_two_bit(
    source: &impl Residual,
    shape: Shape,
    message: &mut [u8],
) -> Result<(), usize> {
    let (codes, side) = message.split_at_mut(shape.rows() * shape.channels().div_ceil(4));
    let scales = measure(source, shape, codes, |_, _| ())?;
    write_scales(&scales, side);
    pack(source, shape, &scales, FIXED, codes);
    Ok(())
}

/// Writes a `2bit-fitted` message.
pub(crate) fn encode_fitted(
    source: &impl Residual,
    shape: Shape,
    message: &mut [u8],
) -> Result<(), usize> {
    let (codes, side) = message.split_at_mut(shape.rows() * shape.channels().div_ceil(4));
    let (side, magnitudes) = side.split_at_mut(side.len() - 4);
    let scales = measure(source, shape, codes, |_, _| ())?;
    write_scales(&scales, side);
    let fitted =
        histogram::measure(source, shape, &scales).fit([FIXED.low, FIXED.high].map(f64::from));
    let [low, high] = fitted.map(|level| narrow_f16(level as f32));
    magnitudes[..2].copy_from_slice(&low.to_le_bytes());
    magnitudes[2..].copy_from_slice(&high.to_le_bytes());
    pack(source, shape, &scales, Levels::fitted(low, high), codes);
    Ok(())
}

/// Writes 2-bit codes of a residual that was measured before.
fn pack(source: &impl Residual, shape: Shape, scales: &Scales, levels: Levels, codes: &mut [u8]) {
    let channels = shape.channels();
    let width = channels.div_ceil(4);
    let tasks = shape
        .chunks()
        .zip(codes.chunks_mut(shape.chunk_rows() * width));
    in_order(tasks, |(rows, codes)| {
        let mut buffer = vec![0.0; channels];
        for (row, codes) in rows.singles().zip(codes.chunks_mut(width)) {
            source.strip(row, &mut buffer);
            let u = scales.rows[row.first];
            pack_pairs(&buffer, u, &scales.channels, levels.threshold, codes);
        }
    });
}

/// A message of the family.
pub(crate) struct Decoder<'a> {
    codes: &'a [u8],
    width: usize,
    scales: Scales,
    /// None where there are signs alone.
    levels: Option<Levels>,
}

impl<'a> Decoder<'a> {
    /// Reads the scales of a message of the right length.
    pub(crate) fn new(compressor: Compressor, message: &'a [u8], shape: Shape) -> Self {
        let per_byte = if compressor == Compressor::OneBit {
            8
        } else {
            4
        };
        let width = shape.channels().div_ceil(per_byte);
        let (codes, side) = message.split_at(shape.rows() * width);
        let (u, v) = side.split_at(2 * shape.rows());
        let (v, magnitudes) = v.split_at(2 * shape.channels());
        let levels = match magnitudes {
            [a, b, c, d] => Some(Levels::fitted(
                u16::from_le_bytes([*a, *b]),
                u16::from_le_bytes([*c, *d]),
            )),
            _ if compressor == Compressor::OneBit => None,
            _ => Some(FIXED),
        };
        Self {
            codes,
            width,
            scales: Scales {
                rows: read_f16(u),
                channels: read_f16(v),
            },
            levels,
        }
    }

    /// Decodes a strip.
    pub(crate) fn strip(&self, rows: Rows, out: &mut [f32]) {
        let v = &self.scales.channels;
        for (out, (codes, u)) in out.chunks_mut(v.len()).zip(self.lines(rows)) {
            match self.levels {
                None => unpack_signs(codes, u, v, out),
                Some(levels) => unpack_pairs(codes, u, v, levels.masks(), out),
            }
        }
    }

    /// Adds decoded rows to rows of a 16-bit base.
    pub(crate) fn add(&self, rows: Rows, half: Half, base: &mut [u16]) {
        let v = &self.scales.channels;
        for (base, (codes, u)) in base.chunks_mut(v.len()).zip(self.lines(rows)) {
            match (self.levels.map(Levels::masks), half) {
                (None, Half::F16) => add_signs::<F16>(codes, u, v, base),
                (None, Half::Bf16) => add_signs::<Bf16>(codes, u, v, base),
                (Some(levels), Half::F16) => add_pairs::<F16>(codes, u, v, levels, base),
                (Some(levels), Half::Bf16) => add_pairs::<Bf16>(codes, u, v, levels, base),
            }
        }
    }

    /// Codes and u of each row.
    fn lines(&self, rows: Rows) -> impl Iterator<Item = (&[u8], f32)> {
        let codes = self.codes[rows.first * self.width..].chunks(self.width);
        codes.zip(self.scales.rows[rows.first..].iter().copied())
    }
}
