//! The loops over rows of the sign formats.
//!
//! A block of channels is turned to one flag a byte, then to codes by multiplication, in the
//! first-level cache. Sums have a fixed order: channels over rows, a row over sixteen lanes.

use super::super::float16::{Bits16, difference, widely_vectorised};
use super::super::shape::STRIP_ROWS;
use super::Masks;

/// Lanes of the running sums: fixed, so that sums do not depend on the processor.
pub(super) const LANES: usize = 16;
/// Channels of a block.
const BLOCK: usize = 512;

type Flags = [u8; BLOCK];
type Lanes = [f32; LANES];

widely_vectorised! {
    /// Adds the magnitudes of a row to the channels' sums; the row's own sum.
    pub(super) fn add_magnitudes(row: &[f32], channels: &mut [f32]) -> f64 {
        let mut lanes = [0.0f32; LANES];
        for (row, channels) in row.chunks(LANES).zip(channels.chunks_mut(LANES)) {
            for ((lane, sum), value) in lanes.iter_mut().zip(channels).zip(row) {
                *lane += value.abs();
                *sum += value.abs();
            }
        }
        total(&lanes)
    }

    /// [`add_magnitudes`] and [`pack_signs`] of `x - base` for two rows, without the residual in
    /// memory; None where an x is not finite. Codes are written where there is room for them.
    /// Channels are a multiple of [`LANES`].
    pub(super) fn measure_two<B: Bits16>(
        x: &[u16],
        base: &[u16],
        channels: &mut [f32],
        codes: &mut [u8],
    ) -> Option<[f64; STRIP_ROWS]> {
        let (x, y) = x.split_at(channels.len());
        let (base, next) = base.split_at(channels.len());
        let (codes, lower) = codes.split_at_mut(codes.len() / STRIP_ROWS);
        let mut lanes = [[0.0; LANES]; STRIP_ROWS];
        let mut flags = [[0; BLOCK]; STRIP_ROWS];
        let mut greatest = 0;
        for (block, sums) in channels.chunks_mut(BLOCK).enumerate() {
            let range = block * BLOCK..block * BLOCK + sums.len();
            let x = [&x[range.clone()], &y[range.clone()]];
            let base = [&base[range.clone()], &next[range]];
            for (a, b) in x[0].iter().zip(x[1]) {
                greatest = (a & 0x7FFF).max(b & 0x7FFF).max(greatest);
            }
            measure_block::<B>(x, base, sums, &mut lanes, &mut flags);
            for (codes, flags) in [&mut *codes, &mut *lower].into_iter().zip(&flags) {
                let codes = codes.chunks_mut(BLOCK / 8).nth(block).unwrap_or_default();
                join_signs(flags, codes);
            }
        }
        (greatest < B::NOT_FINITE).then(|| lanes.map(|lanes| total(&lanes)))
    }

    /// Adds sums of fp32 to totals.
    pub(super) fn add_to_totals(partial: &[f32], totals: &mut [f64]) {
        for (total, &partial) in totals.iter_mut().zip(partial) {
            *total += f64::from(partial);
        }
    }

    /// Bits R >= 0, eight channels a byte, the first lowest.
    pub(super) fn pack_signs(row: &[f32], out: &mut [u8]) {
        let mut flags = [0; BLOCK];
        for (row, out) in row.chunks(BLOCK).zip(out.chunks_mut(BLOCK / 8)) {
            for (flag, &value) in flags.iter_mut().zip(row) {
                *flag = u8::from(value >= 0.0);
            }
            flags[row.len()..].fill(0);
            join_signs(&flags, out);
        }
    }

    /// Codes (R >= 0) << 1 | (|R| > t s), four channels a byte, the first lowest.
    pub(super) fn pack_pairs(row: &[f32], u: f32, v: &[f32], threshold: f32, out: &mut [u8]) {
        let mut flags = [0; BLOCK];
        let rows = row.chunks(BLOCK).zip(v.chunks(BLOCK));
        for ((row, v), out) in rows.zip(out.chunks_mut(BLOCK / 4)) {
            for ((flag, &value), &v) in flags.iter_mut().zip(row).zip(v) {
                let (up, large) = pair(value, u * v, threshold);
                *flag = (u8::from(up) << 1) | u8::from(large);
            }
            flags[row.len()..].fill(0);
            join_pairs(&flags, out);
        }
    }

    /// [`pack_pairs`] of `x - base`, and [`add_pairs`] of the codes to the base.
    pub(super) fn exchange_pairs<B: Bits16>(
        x: &[u16],
        base: &mut [u16],
        u: f32,
        v: &[f32],
        levels: Masks,
        out: &mut [u8],
    ) {
        let mut flags = [0; BLOCK];
        let rows = x.chunks(BLOCK).zip(base.chunks_mut(BLOCK)).zip(v.chunks(BLOCK));
        for (((x, base), v), out) in rows.zip(out.chunks_mut(BLOCK / 4)) {
            for (((flag, &x), base), &v) in flags.iter_mut().zip(x).zip(base).zip(v) {
                let residual = difference::<B>(x, *base);
                let (up, large) = pair(residual, u * v, levels.threshold);
                let change = levels.of(large.into()) * (u * v);
                *base = B::narrow(B::widen(*base) + if up { change } else { -change });
                *flag = (u8::from(up) << 1) | u8::from(large);
            }
            flags[x.len()..].fill(0);
            join_pairs(&flags, out);
        }
    }

    pub(super) fn unpack_signs(bytes: &[u8], u: f32, v: &[f32], out: &mut [f32]) {
        let mut flags = [0; BLOCK];
        let blocks = out.chunks_mut(BLOCK).zip(v.chunks(BLOCK));
        for ((out, v), bytes) in blocks.zip(bytes.chunks(BLOCK / 8)) {
            spread_signs(bytes, &mut flags);
            for ((out, &v), &flag) in out.iter_mut().zip(v).zip(&flags) {
                *out = one_bit(flag.into(), u * v);
            }
        }
    }

    pub(super) fn unpack_pairs(bytes: &[u8], u: f32, v: &[f32], levels: Masks, out: &mut [f32]) {
        let mut flags = [0; BLOCK];
        let blocks = out.chunks_mut(BLOCK).zip(v.chunks(BLOCK));
        for ((out, v), bytes) in blocks.zip(bytes.chunks(BLOCK / 4)) {
            spread_pairs(bytes, &mut flags);
            for ((out, &v), &flag) in out.iter_mut().zip(v).zip(&flags) {
                *out = two_bit(flag.into(), u * v, levels);
            }
        }
    }

    /// [`unpack_signs`], added to a row of a 16-bit base.
    pub(super) fn add_signs<B: Bits16>(bytes: &[u8], u: f32, v: &[f32], base: &mut [u16]) {
        let mut flags = [0; BLOCK];
        let blocks = base.chunks_mut(BLOCK).zip(v.chunks(BLOCK));
        for ((base, v), bytes) in blocks.zip(bytes.chunks(BLOCK / 8)) {
            spread_signs(bytes, &mut flags);
            for ((base, &v), &flag) in base.iter_mut().zip(v).zip(&flags) {
                *base = B::narrow(B::widen(*base) + one_bit(flag.into(), u * v));
            }
        }
    }

    /// [`unpack_pairs`], added to a row of a 16-bit base.
    pub(super) fn add_pairs<B: Bits16>(
        bytes: &[u8],
        u: f32,
        v: &[f32],
        levels: Masks,
        base: &mut [u16],
    ) {
        let mut flags = [0; BLOCK];
        let blocks = base.chunks_mut(BLOCK).zip(v.chunks(BLOCK));
        for ((base, v), bytes) in blocks.zip(bytes.chunks(BLOCK / 4)) {
            spread_pairs(bytes, &mut flags);
            for ((base, &v), &flag) in base.iter_mut().zip(v).zip(&flags) {
                *base = B::narrow(B::widen(*base) + two_bit(flag.into(), u * v, levels));
            }
        }
    }
}

/// A block of [`measure_two`]: sixteen channels of both rows at a time.
#[inline(always)]
fn measure_block<B: Bits16>(
    x: [&[u16]; STRIP_ROWS],
    base: [&[u16]; STRIP_ROWS],
    sums: &mut [f32],
    lanes: &mut [Lanes; STRIP_ROWS],
    flags: &mut [Flags; STRIP_ROWS],
) {
    let ([x, y], [b, c]) = (x.map(sixteens), base.map(sixteens));
    let [first, second] = flags.each_mut().map(|it| it.as_chunks_mut::<LANES>().0);
    let sums = sums.as_chunks_mut::<LANES>().0.iter_mut();
    let sums = sums.zip(first).zip(second);
    let rows = x.iter().zip(y).zip(b).zip(c);
    for (((sums, first), second), (((x, y), b), c)) in sums.zip(rows) {
        for lane in 0..LANES {
            let above = difference::<B>(x[lane], b[lane]);
            let below = difference::<B>(y[lane], c[lane]);
            lanes[0][lane] += above.abs();
            lanes[1][lane] += below.abs();
            sums[lane] = sums[lane] + above.abs() + below.abs();
            first[lane] = u8::from(above >= 0.0);
            second[lane] = u8::from(below >= 0.0);
        }
    }
}

fn sixteens(row: &[u16]) -> &[[u16; LANES]] {
    row.as_chunks().0
}

#[inline(always)]
fn total(lanes: &Lanes) -> f64 {
    lanes.iter().map(|&lane| f64::from(lane)).sum()
}

/// One bit a byte: apart by halves, quarters, eighths, so that bit i is the lowest of byte i.
#[inline(always)]
fn spread_signs(bytes: &[u8], flags: &mut Flags) {
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
fn spread_pairs(bytes: &[u8], flags: &mut Flags) {
    for (four, &byte) in flags.chunks_exact_mut(4).zip(bytes) {
        let spread = u32::from(byte);
        let spread = (spread | (spread << 12)) & 0x000F_000F;
        let spread = (spread | (spread << 6)) & 0x0303_0303;
        four.copy_from_slice(&spread.to_le_bytes());
    }
}

/// Byte i of eight, shifted left by 56 - 7i, has its lowest bit at 56 + i.
#[inline(always)]
fn join_signs(flags: &Flags, codes: &mut [u8]) {
    for (code, eight) in codes.iter_mut().zip(flags.as_chunks().0) {
        let spread = u64::from_le_bytes(*eight).wrapping_mul(0x0102_0408_1020_4080);
        *code = (spread >> 56) as u8;
    }
}

/// Byte i of four, shifted left by 24 - 6i, has its lowest bit at 24 + 2i.
#[inline(always)]
fn join_pairs(flags: &Flags, codes: &mut [u8]) {
    for (code, four) in codes.iter_mut().zip(flags.as_chunks().0) {
        *code = (u32::from_le_bytes(*four).wrapping_mul(0x0104_1040) >> 24) as u8;
    }
}

/// The two bits of a code, the higher first.
#[inline(always)]
fn pair(residual: f32, scale: f32, threshold: f32) -> (bool, bool) {
    (residual >= 0.0, residual.abs() > threshold * scale)
}

#[inline(always)]
fn one_bit(code: u32, scale: f32) -> f32 {
    signed(scale, code << 31)
}

#[inline(always)]
fn two_bit(code: u32, scale: f32, levels: Masks) -> f32 {
    signed(levels.of(code & 1) * scale, code << 30)
}

/// A positive scale, negative where the top bit is 0.
#[inline(always)]
fn signed(scale: f32, top_bit: u32) -> f32 {
    f32::from_bits(scale.to_bits() | (!top_bit & 0x8000_0000))
}
