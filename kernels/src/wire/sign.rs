//! `1bit`, `2bit` and `2bit-fitted`: signs, one magnitude bit, and a scale u_n v_c of rank one.
//!
//! ```text
//! v_c = mean_n |R|    t_n = mean_c |R|    g = mean_n t_n    u_n = t_n / g (0 where g = 0)
//! s = u_n v_c of the fp16 values;  1bit: +-s;  2bit: +-a0 s or +-a1 s, the larger where |R| > t s
//! ```
//! `2bit` has a = (.5, 2) and t = 1; `2bit-fitted` sends a and has t = (a0 + a1) / 2.
//!
//! A message is the codes of all rows, u, v, and for `2bit-fitted` a0 and a1.

mod sweeps;

use super::float16::{Bf16, F16, Half, narrow_f16, widen_f16};
use super::histogram;
use super::rows::{Residual, read_f16, write_f16};
use super::shape::{Rows, STRIP_ROWS, Shape, in_order};
use crate::compressor::Compressor;
use sweeps::{
    LANES, add_magnitudes, add_pairs, add_signs, add_to_totals, exchange_pairs, measure_two,
};
use sweeps::{pack_pairs, pack_signs, unpack_pairs, unpack_signs};

/// Channels whose sums one thread adds up.
const TOTALS: usize = 512;

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
    threshold: f32,
}

impl Masks {
    /// The level of a code's lower bit.
    #[inline(always)]
    fn of(self, large: u32) -> f32 {
        f32::from_bits(self.low ^ (self.turn & 0u32.wrapping_sub(large)))
    }
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
            threshold: self.threshold,
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

/// Sums of magnitudes; the signs meanwhile, where `codes` has room for them.
fn measure(source: &impl Residual, shape: Shape, codes: &mut [u8]) -> Result<Scales, usize> {
    let channels = shape.channels();
    let width = codes.len() / shape.rows();
    let mut row_sums = vec![0.0f64; shape.rows()];
    let sums = row_sums.chunks_mut(shape.chunk_rows());
    let mut codes = codes;
    let tasks = shape.chunks().zip(sums).map(|(rows, sums)| {
        let codes = codes.split_off_mut(..rows.count * width);
        (rows, sums, codes.expect("a width for each row"))
    });
    let partials: Vec<Result<Vec<f32>, usize>> = in_order(tasks, |(rows, row_sums, codes)| {
        let mut partial = vec![0.0; channels];
        let mut buffer = vec![0.0; channels];
        let mut codes = codes;
        for (strip, sums) in rows.strips().zip(row_sums.chunks_mut(STRIP_ROWS)) {
            let codes = codes.split_off_mut(..strip.count * width);
            let codes = codes.expect("a width for each row");
            if !measure_halves(source, shape, strip, sums, &mut partial, codes)? {
                measure_rows(source, strip, &mut buffer, sums, &mut partial, codes)?;
            }
        }
        Ok(partial)
    });
    let partials: Vec<Vec<f32>> = partials.into_iter().collect::<Result<_, _>>()?;
    let mut totals = vec![0.0f64; channels];
    in_order(totals.chunks_mut(TOTALS).enumerate(), |(n, totals)| {
        for partial in &partials {
            add_to_totals(&partial[n * TOTALS..][..totals.len()], totals);
        }
    });
    Ok(scales(&row_sums, &totals, shape))
}

/// The short way of [`measure`]: two rows of 16-bit floats; false where there are not such.
fn measure_halves(
    source: &impl Residual,
    shape: Shape,
    strip: Rows,
    sums: &mut [f64],
    partial: &mut [f32],
    codes: &mut [u8],
) -> Result<bool, usize> {
    let (Some(halves), [_, _]) = (source.halves(), &sums) else {
        return Ok(false);
    };
    if !shape.channels().is_multiple_of(LANES) {
        return Ok(false);
    }
    let range = shape.range(strip);
    let (x, base) = (&halves.x[range.clone()], &halves.base[range]);
    let found = match halves.half {
        Half::F16 => measure_two::<F16>(x, base, partial, codes),
        Half::Bf16 => measure_two::<Bf16>(x, base, partial, codes),
    };
    match found {
        Some(found) => sums.copy_from_slice(&found),
        None => source.check(strip)?,
    }
    Ok(true)
}

/// The way of [`measure`] for any residual, row by row.
fn measure_rows(
    source: &impl Residual,
    strip: Rows,
    buffer: &mut [f32],
    sums: &mut [f64],
    partial: &mut [f32],
    codes: &mut [u8],
) -> Result<(), usize> {
    let width = codes.len() / strip.count;
    for (n, (row, sum)) in strip.singles().zip(sums).enumerate() {
        source.check(row)?;
        source.strip(row, buffer);
        *sum = add_magnitudes(buffer, partial);
        if width > 0 {
            pack_signs(buffer, &mut codes[n * width..][..width]);
        }
    }
    Ok(())
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
    let scales = measure(source, shape, codes)?;
    write_scales(&scales, side);
    Ok(())
}

/// Writes a `2bit` or `2bit-fitted` message.
pub(crate) fn encode_two_bit(
    compressor: Compressor,
    source: &impl Residual,
    shape: Shape,
    message: &mut [u8],
) -> Result<(), usize> {
    let (quantiser, codes) = Quantiser::measure(compressor, source, shape, message)?;
    quantiser.pack(source, shape, codes);
    Ok(())
}

/// What codes of two bits stand for, known before they are.
pub(crate) struct Quantiser {
    scales: Scales,
    levels: Levels,
}

impl Quantiser {
    /// Writes what a message says beside its codes; their room.
    pub(crate) fn measure<'a>(
        compressor: Compressor,
        source: &impl Residual,
        shape: Shape,
        message: &'a mut [u8],
    ) -> Result<(Self, &'a mut [u8]), usize> {
        let (codes, side) = message.split_at_mut(shape.rows() * shape.channels().div_ceil(4));
        let scales = measure(source, shape, &mut [])?;
        let (side, magnitudes) = side.split_at_mut(2 * (shape.rows() + shape.channels()));
        write_scales(&scales, side);
        let mut levels = FIXED;
        if compressor == Compressor::TwoBitFitted {
            let start = [FIXED.low, FIXED.high].map(f64::from);
            let fitted = histogram::measure(source, shape, &scales).fit(start);
            let [low, high] = fitted.map(|level| narrow_f16(level as f32));
            magnitudes[..2].copy_from_slice(&low.to_le_bytes());
            magnitudes[2..].copy_from_slice(&high.to_le_bytes());
            levels = Levels::fitted(low, high);
        }
        Ok((Self { scales, levels }, codes))
    }

    /// Writes the codes of the residual that was measured.
    fn pack(&self, source: &impl Residual, shape: Shape, codes: &mut [u8]) {
        let (channels, width) = (shape.channels(), shape.channels().div_ceil(4));
        let codes = codes.chunks_mut(shape.chunk_rows() * width);
        in_order(shape.chunks().zip(codes), |(rows, codes)| {
            let mut buffer = vec![0.0; channels];
            for (row, codes) in rows.singles().zip(codes.chunks_mut(width)) {
                source.strip(row, &mut buffer);
                let (u, v) = (self.scales.rows[row.first], &self.scales.channels);
                pack_pairs(&buffer, u, v, self.levels.threshold, codes);
            }
        });
    }

    /// Writes the codes of some rows of `x - base`, and adds what they stand for to the base.
    pub(crate) fn exchange(
        &self,
        rows: Rows,
        half: Half,
        x: &[u16],
        base: &mut [u16],
        codes: &mut [u8],
    ) {
        let (v, levels) = (&self.scales.channels, self.levels.masks());
        let lines = x.chunks(v.len()).zip(base.chunks_mut(v.len()));
        let lines = lines.zip(codes.chunks_mut(v.len().div_ceil(4)));
        for (((x, base), codes), &u) in lines.zip(&self.scales.rows[rows.first..]) {
            match half {
                Half::F16 => exchange_pairs::<F16>(x, base, u, v, levels, codes),
                Half::Bf16 => exchange_pairs::<Bf16>(x, base, u, v, levels, codes),
            }
        }
    }
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
