//! `int8` and `int4`: two's complement codes with an fp16 scale for every 64 channels of a row.
//!
//! scale = max |R| / 127 (or 7), rounded up to the next fp16 so that no code overflows; code =
//! R / scale rounded half to even. A group whose scale is 0 has codes 0. The same quantiser keeps
//! a base in 8 or 4 bits.
//!
//! A message is the codes of all rows (int4: the even channel in the low half of a byte, a row
//! ends on a byte), then the scales of all rows.

use super::float16::{narrow_f16_up, vectorised, widen_f16};
use super::rows::RowFormat;
use crate::compressor::GROUP;

/// A group's codes are -largest to +largest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Integer {
    largest: i8,
}

/// `int8`.
pub(crate) const EIGHT_BIT: Integer = Integer { largest: 127 };
/// `int4`.
pub(crate) const FOUR_BIT: Integer = Integer { largest: 7 };

/// 1.5 x 2^23: adding and subtracting it rounds |z| < 2^22 to an integer, half to even.
const ROUND: f32 = 12_582_912.0;

vectorised! {
    fn greatest(values: &[f32]) -> f32 {
        values.iter().fold(0.0f32, |greatest, value| {
            let magnitude = value.abs();
            if magnitude > greatest { magnitude } else { greatest }
        })
    }

    fn quantise(values: &[f32], scale: f32, largest: f32, out: &mut [i8]) {
        for (out, &value) in out.iter_mut().zip(values) {
            let code = value / scale;
            let code = if code > largest { largest } else { code };
            let code = if code < -largest { -largest } else { code };
            // The integer stands in the low bits of the fraction.
            *out = (code + ROUND).to_bits() as i8;
        }
    }

    fn pack_bytes(codes: &[i8], out: &mut [u8]) {
        for (out, &code) in out.iter_mut().zip(codes) {
            *out = code.cast_unsigned();
        }
    }

    fn pack_halves(codes: &[i8], out: &mut [u8]) {
        let mut pairs = codes.chunks_exact(2);
        for (out, pair) in out.iter_mut().zip(&mut pairs) {
            *out = (pair[0].cast_unsigned() & 0xF) | (pair[1].cast_unsigned() << 4);
        }
        if let [single] = pairs.remainder() {
            out[out.len() - 1] = single.cast_unsigned() & 0xF;
        }
    }

    fn unpack_bytes(bytes: &[u8], scale: f32, out: &mut [f32]) {
        for (out, &byte) in out.iter_mut().zip(bytes) {
            *out = f32::from(byte.cast_signed()) * scale;
        }
    }

    fn unpack_halves(bytes: &[u8], scale: f32, out: &mut [f32]) {
        let mut pairs = out.chunks_exact_mut(2);
        for (pair, &byte) in (&mut pairs).zip(bytes) {
            pair[0] = f32::from((byte << 4).cast_signed() >> 4) * scale;
            pair[1] = f32::from(byte.cast_signed() >> 4) * scale;
        }
        if let [single] = pairs.into_remainder() {
            *single = f32::from((bytes[bytes.len() - 1] << 4).cast_signed() >> 4) * scale;
        }
    }
}

impl Integer {
    /// Bytes of the codes of `channels` of one row.
    fn bytes(self, channels: usize) -> usize {
        if self == EIGHT_BIT {
            channels
        } else {
            channels.div_ceil(2)
        }
    }

    fn encode_group(self, values: &[f32], codes: &mut [u8]) -> u16 {
        let largest = f32::from(self.largest);
        let bits = narrow_f16_up(greatest(values) / largest);
        let mut integers = [0i8; GROUP];
        let integers = &mut integers[..values.len()];
        if bits != 0 {
            quantise(values, widen_f16(bits), largest, integers);
        }
        if self == EIGHT_BIT {
            pack_bytes(integers, codes);
        } else {
            pack_halves(integers, codes);
        }
        bits
    }
}

impl RowFormat for Integer {
    fn code_bytes(&self, channels: usize) -> usize {
        self.bytes(channels)
    }

    fn side_bytes(&self, channels: usize, rows: usize) -> usize {
        2 * rows * channels.div_ceil(GROUP)
    }

    fn encode(&self, channels: usize, residual: &mut [f32], codes: &mut [u8], side: &mut [u8]) {
        let mut scales = side.chunks_exact_mut(2);
        let rows = residual.chunks(channels);
        for (row, codes) in rows.zip(codes.chunks_mut(self.bytes(channels))) {
            let groups = row.chunks(GROUP).zip(codes.chunks_mut(self.bytes(GROUP)));
            for ((values, codes), scale) in groups.zip(&mut scales) {
                scale.copy_from_slice(&self.encode_group(values, codes).to_le_bytes());
            }
        }
    }

    fn decode(&self, channels: usize, codes: &[u8], side: &[u8], out: &mut [f32]) {
        let mut scales = side.chunks_exact(2);
        let rows = out.chunks_mut(channels);
        for (row, codes) in rows.zip(codes.chunks(self.bytes(channels))) {
            let groups = row.chunks_mut(GROUP).zip(codes.chunks(self.bytes(GROUP)));
            for ((out, codes), scale) in groups.zip(&mut scales) {
                let scale = widen_f16(u16::from_le_bytes([scale[0], scale[1]]));
                if *self == EIGHT_BIT {
                    unpack_bytes(codes, scale, out);
                } else {
                    unpack_halves(codes, scale, out);
                }
            }
        }
    }
}
