//! `fp8`: e4m3 codes (OCP: bias 7, largest 448, no Inf) with an fp16 scale a row.
//!
//! scale = max |R| / 448, rounded up to the next fp16; code = R / scale to the nearest e4m3, ties
//! to even, at most 448. A row whose scale is 0 has codes 0.
//!
//! A message is the codes of all rows, then the scales.

use super::float16::{narrow_f16_up, vectorised, widen_f16};
use super::rows::RowFormat;

/// The format `fp8`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fp8;

const LARGEST: f32 = 448.0;

/// The nearest e4m3 bit pattern.
#[inline(always)]
fn narrow(value: f32) -> u8 {
    let sign = ((value.to_bits() >> 24) & 0x80) as u8;
    let magnitude = value.abs();
    let magnitude = if magnitude < LARGEST {
        magnitude
    } else {
        LARGEST
    };
    let bits = magnitude.to_bits();
    let odd = (bits >> 20) & 1;
    let normal = ((bits + 0x7_FFFF + odd) >> 20).wrapping_sub((127 - 7) << 3);
    // Below 2^-6 the spacing is 2^-9, which is that of numbers from 2^14 to 2^15.
    let subnormal = (magnitude + 16384.0)
        .to_bits()
        .wrapping_sub(16384.0f32.to_bits());
    let below = magnitude < 1.0 / 64.0;
    sign | (if below { subnormal } else { normal }) as u8
}

/// The value of an e4m3 bit pattern; the NaN pattern, which no sender writes, is 480.
#[inline(always)]
fn widen(code: u8) -> f32 {
    let magnitude = f32::from_bits(u32::from(code & 0x7F) << 20);
    let scaled = magnitude * f32::from_bits((127 - 7 + 127) << 23);
    f32::from_bits(scaled.to_bits() | (u32::from(code & 0x80) << 24))
}

vectorised! {
    fn greatest(values: &[f32]) -> f32 {
        values.iter().fold(0.0f32, |greatest, value| {
            let magnitude = value.abs();
            if magnitude > greatest { magnitude } else { greatest }
        })
    }

    fn encode_row(values: &[f32], scale: f32, out: &mut [u8]) {
        for (out, &value) in out.iter_mut().zip(values) {
            *out = narrow(value / scale);
        }
    }

    fn decode_row(codes: &[u8], scale: f32, out: &mut [f32]) {
        for (out, &code) in out.iter_mut().zip(codes) {
            *out = widen(code) * scale;
        }
    }
}

impl RowFormat for Fp8 {
    fn code_bytes(&self, channels: usize) -> usize {
        channels
    }

    fn side_bytes(&self, _channels: usize, rows: usize) -> usize {
        2 * rows
    }

    fn encode(&self, channels: usize, residual: &mut [f32], codes: &mut [u8], side: &mut [u8]) {
        let rows = residual.chunks(channels).zip(codes.chunks_mut(channels));
        for ((row, codes), scale) in rows.zip(side.chunks_exact_mut(2)) {
            let bits = narrow_f16_up(greatest(row) / LARGEST);
            scale.copy_from_slice(&bits.to_le_bytes());
            if bits == 0 {
                codes.fill(0);
            } else {
                encode_row(row, widen_f16(bits), codes);
            }
        }
    }

    fn decode(&self, channels: usize, codes: &[u8], side: &[u8], out: &mut [f32]) {
        let rows = out.chunks_mut(channels).zip(codes.chunks(channels));
        for ((out, codes), scale) in rows.zip(side.chunks_exact(2)) {
            let scale = widen_f16(u16::from_le_bytes([scale[0], scale[1]]));
            decode_row(codes, scale, out);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn e4m3_has_its_landmarks() {
        // (pattern, value): OCP 8-bit floating point specification, table 2.
        let landmarks = [
            (0x00, 0.0),
            (0x01, 1.0 / 512.0),
            (0x07, 7.0 / 512.0),
            (0x08, 1.0 / 64.0),
            (0x38, 1.0),
            (0x3C, 1.5),
            (0x7E, 448.0),
            (0xFE, -448.0),
        ];
        for (code, value) in landmarks {
            assert_eq!(widen(code), value);
            assert_eq!(narrow(value), code);
        }
        assert_eq!(narrow(1e9), 0x7E);
    }

    #[test]
    fn e4m3_rounds_to_the_nearest_and_on_a_tie_to_the_even() {
        for low in 0..0x7Eu8 {
            let (a, b) = (widen(low), widen(low + 1));
            let middle = f32::midpoint(a, b);
            assert_eq!(narrow(middle), low + (low & 1), "{low:#x}");
            assert_eq!(narrow(middle.next_down()), low);
            assert_eq!(narrow(middle.next_up()), low + 1);
            assert_eq!(narrow(-b), (low + 1) | 0x80);
        }
    }
}
