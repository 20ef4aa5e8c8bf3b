//! Residuals by strips of rows, and formats whose rows are coded independently.
//!
//! A message of such a format is the codes of all rows, then what stands beside them (scales or
//! positions) of all rows.

use super::float16::{Half, limited, vectorised};
use super::low_rank::{self, Factors};
use super::shape::{Rows, STRIP_ROWS, Shape, in_order};
use super::{WireError, fp8, integer, sign, sparse};
use crate::compressor::Compressor;

/// Gives a residual strip by strip.
pub(crate) trait Residual: Sync {
    /// The first non-finite element of the activation in some rows, as an error.
    fn check(&self, rows: Rows) -> Result<(), usize>;
    /// Writes the residual of a strip that was checked.
    fn strip(&self, rows: Rows, out: &mut [f32]);
    /// Both sides of the difference, where they are 16-bit floats of one format.
    fn halves(&self) -> Option<Halves<'_>> {
        None
    }
}

/// An activation and what predicts it, row after row.
#[derive(Clone, Copy)]
pub(crate) struct Halves<'a> {
    pub half: Half,
    pub x: &'a [u16],
    pub base: &'a [u16],
}

/// A residual in memory.
pub(crate) struct Given<'a> {
    pub residual: &'a [f32],
    pub shape: Shape,
}

vectorised! {
    fn copy_limited(values: &[f32], out: &mut [f32]) {
        for (out, &value) in out.iter_mut().zip(values) {
            *out = limited(value);
        }
    }
}

impl Residual for Given<'_> {
    fn check(&self, rows: Rows) -> Result<(), usize> {
        let range = self.shape.range(rows);
        let start = range.start;
        let values = &self.residual[range];
        match values.iter().position(|value| !value.is_finite()) {
            None => Ok(()),
            Some(offset) => Err(start + offset),
        }
    }

    fn strip(&self, rows: Rows, out: &mut [f32]) {
        copy_limited(&self.residual[self.shape.range(rows)], out);
    }
}

/// A format whose strips of rows are coded independently.
pub(crate) trait RowFormat: Sync {
    /// Bytes of a row's codes.
    fn code_bytes(&self, channels: usize) -> usize;
    /// Bytes beside the codes of `rows` rows, the first of them even.
    fn side_bytes(&self, channels: usize, rows: usize) -> usize;
    /// Codes a strip. The residual may be overwritten.
    fn encode(&self, channels: usize, residual: &mut [f32], codes: &mut [u8], side: &mut [u8]);
    /// Decodes a strip.
    fn decode(&self, channels: usize, codes: &[u8], side: &[u8], out: &mut [f32]);
}

/// Calls `work` for each strip of a chunk with its codes and what stands beside them.
pub(crate) fn each_strip_mut(
    format: &impl RowFormat,
    channels: usize,
    rows: Rows,
    codes: &mut [u8],
    side: &mut [u8],
    mut work: impl FnMut(Rows, &mut [u8], &mut [u8]) -> Result<(), usize>,
) -> Result<(), usize> {
    let codes = codes.chunks_mut(STRIP_ROWS * format.code_bytes(channels));
    let side = side.chunks_mut(format.side_bytes(channels, STRIP_ROWS));
    for ((strip, codes), side) in rows.strips().zip(codes).zip(side) {
        work(strip, codes, side)?;
    }
    Ok(())
}

/// Writes a message; the error is the first non-finite element.
pub(crate) fn encode(
    format: &impl RowFormat,
    source: &impl Residual,
    shape: Shape,
    message: &mut [u8],
) -> Result<(), usize> {
    let channels = shape.channels();
    let (codes, side) = message.split_at_mut(shape.rows() * format.code_bytes(channels));
    let codes = codes.chunks_mut(shape.chunk_rows() * format.code_bytes(channels));
    let side = side.chunks_mut(format.side_bytes(channels, shape.chunk_rows()));
    let tasks = shape.chunks().zip(codes).zip(side);
    let done = in_order(tasks, |((rows, codes), side)| {
        let mut buffer = shape.strip_buffer();
        each_strip_mut(format, channels, rows, codes, side, |strip, codes, side| {
            let residual = &mut buffer[..strip.count * channels];
            source.check(strip)?;
            source.strip(strip, residual);
            format.encode(channels, residual, codes, side);
            Ok(())
        })
    });
    done.into_iter().collect()
}

/// Codes and what stands beside them, strip by strip.
pub(crate) struct RowDecoder<'a, F> {
    format: F,
    channels: usize,
    codes: &'a [u8],
    side: &'a [u8],
}

impl<'a, F: RowFormat> RowDecoder<'a, F> {
    pub(crate) fn new(format: F, shape: Shape, message: &'a [u8]) -> Self {
        let channels = shape.channels();
        let (codes, side) = message.split_at(shape.rows() * format.code_bytes(channels));
        Self {
            format,
            channels,
            codes,
            side,
        }
    }

    fn strip(&self, rows: Rows, out: &mut [f32]) {
        let width = self.format.code_bytes(self.channels);
        let codes = &self.codes[rows.first * width..(rows.first + rows.count) * width];
        let start = self.format.side_bytes(self.channels, rows.first);
        let length = self.format.side_bytes(self.channels, rows.count);
        let side = &self.side[start..start + length];
        self.format.decode(self.channels, codes, side, out);
    }
}

/// A message read, ready to give any strip.
pub(crate) enum Decoder<'a> {
    Sign(sign::Decoder<'a>),
    Integer(RowDecoder<'a, integer::Integer>),
    Fp8(RowDecoder<'a, fp8::Fp8>),
    Sparse(RowDecoder<'a, sparse::Sparse>),
    LowRank(Factors),
}

impl<'a> Decoder<'a> {
    /// Reads a message.
    pub(crate) fn new(
        compressor: Compressor,
        message: &'a [u8],
        shape: Shape,
    ) -> Result<Self, WireError> {
        let expected = compressor.wire_bytes(shape);
        check_length(&compressor.to_string(), shape, expected, message.len())?;
        if let Some(byte) = first_damage(compressor, shape, message) {
            let format = compressor.to_string();
            return Err(WireError::Damaged { format, byte });
        }
        let rank = |r: u16| usize::from(r).min(shape.rows()).min(shape.channels());
        Ok(match compressor {
            Compressor::OneBit | Compressor::TwoBit | Compressor::TwoBitFitted => {
                Self::Sign(sign::Decoder::new(compressor, message, shape))
            }
            Compressor::Int8 => Self::Integer(RowDecoder::new(integer::EIGHT_BIT, shape, message)),
            Compressor::Int4 => Self::Integer(RowDecoder::new(integer::FOUR_BIT, shape, message)),
            Compressor::Fp8 => Self::Fp8(RowDecoder::new(fp8::Fp8, shape, message)),
            Compressor::Sparse(m) => {
                let block = usize::from(m);
                Self::Sparse(RowDecoder::new(sparse::Sparse { block }, shape, message))
            }
            Compressor::LowRank(r) => {
                Self::LowRank(low_rank::read_f16_factors(message, shape, rank(r)))
            }
            Compressor::LowRankInt4(r) => {
                Self::LowRank(low_rank::read_int4(message, shape, rank(r)))
            }
        })
    }

    /// Writes the decoded residual of a strip.
    pub(crate) fn strip(&self, rows: Rows, out: &mut [f32]) {
        match self {
            Self::Sign(decoder) => decoder.strip(rows, out),
            Self::Integer(decoder) => decoder.strip(rows, out),
            Self::Fp8(decoder) => decoder.strip(rows, out),
            Self::Sparse(decoder) => decoder.strip(rows, out),
            Self::LowRank(factors) => low_rank::product(factors, rows, out),
        }
    }
}

/// Refuses a message of another size.
pub(crate) fn check_length(
    format: &str,
    shape: Shape,
    expected: usize,
    got: usize,
) -> Result<(), WireError> {
    if got == expected {
        return Ok(());
    }
    Err(WireError::Length {
        format: format.to_owned(),
        rows: shape.rows(),
        channels: shape.channels(),
        expected,
        got,
    })
}

/// The offset of the first fp16 of a message that is Inf or NaN.
fn first_damage(compressor: Compressor, shape: Shape, message: &[u8]) -> Option<usize> {
    let (rows, channels) = (shape.rows(), shape.channels());
    let halves = match compressor {
        Compressor::OneBit => rows * channels.div_ceil(8)..message.len(),
        Compressor::TwoBit | Compressor::TwoBitFitted => rows * channels.div_ceil(4)..message.len(),
        Compressor::Int8 | Compressor::Fp8 => rows * channels..message.len(),
        Compressor::Int4 => rows * channels.div_ceil(2)..message.len(),
        Compressor::LowRank(_) => 0..message.len(),
        Compressor::LowRankInt4(r) => {
            let rank = usize::from(r).min(rows).min(channels);
            message.len() - 8 * rank..message.len()
        }
        Compressor::Sparse(m) => 0..2 * rows * channels.div_ceil(usize::from(m)),
    };
    let start = halves.start;
    first_non_finite_bytes(Half::F16, &message[halves]).map(|byte| start + byte)
}

/// The offset of the first little-endian 16-bit float that is Inf or NaN.
pub(crate) fn first_non_finite_bytes(half: Half, bytes: &[u8]) -> Option<usize> {
    const BLOCK: usize = 1024;
    let mut bits = [0u16; BLOCK];
    bytes.chunks(2 * BLOCK).enumerate().find_map(|(n, bytes)| {
        let bits = &mut bits[..bytes.len() / 2];
        read_bits(bytes, bits);
        half.first_non_finite(bits)
            .map(|offset| 2 * (n * BLOCK + offset))
    })
}

vectorised! {
    /// Little-endian 16-bit patterns.
    pub(crate) fn read_bits(bytes: &[u8], out: &mut [u16]) {
        for (out, pair) in out.iter_mut().zip(bytes.chunks_exact(2)) {
            *out = u16::from_le_bytes([pair[0], pair[1]]);
        }
    }

    /// Little-endian bytes of 16-bit patterns.
    pub(crate) fn write_bits(bits: &[u16], out: &mut [u8]) {
        for (pair, bits) in out.chunks_exact_mut(2).zip(bits) {
            pair.copy_from_slice(&bits.to_le_bytes());
        }
    }
}

/// The values of little-endian fp16.
pub(crate) fn read_f16(bytes: &[u8]) -> Vec<f32> {
    let mut bits = vec![0; bytes.len() / 2];
    read_bits(bytes, &mut bits);
    let mut values = vec![0.0; bits.len()];
    Half::F16.widen(&bits, &mut values);
    values
}

/// Writes values as little-endian fp16.
pub(crate) fn write_f16(values: &[f32], out: &mut [u8]) {
    let mut bits = vec![0; values.len()];
    Half::F16.narrow(values, &mut bits);
    write_bits(&bits, out);
}
