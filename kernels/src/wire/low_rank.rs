//! `lowrank(r)` and `lowrank-int4(r)`: A = U V by subspace iteration, as fp16 or 4-bit factors.
//!
//! ```text
//! Q0: signs of a fixed hash;  twice Q = qr(A^T (A Q));  U = qr(A Q) (N x r);  V = U^T A (r x C)
//! ```
//! A sender that sent a message before starts from its V instead and does one round: over slowly
//! changing residuals that is no worse and takes half the time. r is at most min(N, C).

use super::float16::{narrow_f16, vectorised, widen_f16};
use super::nibbles;
use super::orthogonal::{Tall, orthonormal, times, transposed_times};
use super::rows::{Residual, read_f16, write_f16 as write_halves};
use super::shape::{Rows, Shape, in_order};

/// Rounds from the fixed start.
const COLD_ROUNDS: usize = 2;

/// What a sender keeps of its last message: V^T, before rounding.
pub(crate) type Subspace = Tall;

/// The factors of a residual, or of a message.
pub(crate) struct Factors {
    rank: usize,
    /// N x r, row after row.
    u: Vec<f32>,
    /// r x C, row after row.
    v: Vec<f32>,
}

/// +1 or -1 by the top bit of splitmix64.
fn sign(n: u64) -> f32 {
    let z = n.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    if (z ^ (z >> 31)) >> 63 == 1 {
        1.0
    } else {
        -1.0
    }
}

/// Where the iteration starts, and its rounds.
fn start(subspace: Option<&Subspace>, channels: usize, rank: usize) -> (Tall, usize) {
    let usable = subspace.filter(|last| last.rows == channels && last.rank == rank);
    let usable = usable.filter(|last| (0..rank).any(|column| !last.is_null(column)));
    let (mut q, rounds) = match usable {
        Some(last) => (last.clone(), 1),
        None => (Tall::zeros(channels, rank), COLD_ROUNDS),
    };
    for column in 0..rank {
        if q.is_null(column) {
            for channel in 0..channels {
                q.set(channel, column, sign((channel * rank + column) as u64));
            }
        }
    }
    (q, rounds)
}

/// The residual in memory, and its greatest magnitude.
fn collect(source: &impl Residual, shape: Shape) -> Result<(Vec<f32>, f32), usize> {
    let mut a = vec![0.0f32; shape.elements()];
    let step = shape.chunk_rows() * shape.channels();
    let greatest = in_order(shape.chunks().zip(a.chunks_mut(step)), |(rows, out)| {
        let strip_elements = super::shape::STRIP_ROWS * shape.channels();
        let mut greatest = 0.0f32;
        for (strip, out) in rows.strips().zip(out.chunks_mut(strip_elements)) {
            source.check(strip)?;
            source.strip(strip, out);
            greatest = out
                .iter()
                .fold(greatest, |most, value| most.max(value.abs()));
        }
        Ok(greatest)
    });
    let greatest: Vec<f32> = greatest.into_iter().collect::<Result<_, usize>>()?;
    Ok((a, greatest.into_iter().fold(0.0, f32::max)))
}

/// The power of two at or below a positive number.
fn power_of_two(value: f32) -> f32 {
    f32::from_bits(value.to_bits() & 0x7F80_0000)
}

/// Factors of a residual; the error is its first non-finite element.
pub(crate) fn factor(
    source: &impl Residual,
    shape: Shape,
    rank: usize,
    subspace: &mut Option<Subspace>,
) -> Result<Factors, usize> {
    let rank = rank.min(shape.rows()).min(shape.channels());
    let (mut a, greatest) = collect(source, shape)?;
    // Squares of squares must not overflow: A is scaled by a power of two, which rounds nothing.
    let scale = power_of_two(greatest);
    if scale > 0.0 {
        a.iter_mut().for_each(|value| *value /= scale);
    }
    let (mut q, rounds) = start(subspace.as_ref(), shape.channels(), rank);
    for _ in 0..rounds {
        let projected = times(&a, shape, &q);
        q = orthonormal(&transposed_times(&a, shape, &projected));
    }
    let u = orthonormal(&times(&a, shape, &q));
    let v = transposed_times(&a, shape, &u);
    let factors = Factors {
        rank,
        u: (0..shape.rows()).flat_map(|n| u.row(n).to_vec()).collect(),
        v: (0..rank)
            .flat_map(|j| v.column(j).map(|value| value * scale))
            .collect(),
    };
    *subspace = Some(v);
    Ok(factors)
}

/// Writes a `lowrank(r)` message: U, then V, both fp16 and row after row.
pub(crate) fn write_f16(factors: &Factors, message: &mut [u8]) {
    let (u, v) = message.split_at_mut(2 * factors.u.len());
    write_halves(&factors.u, u);
    write_halves(&factors.v, v);
}

/// Reads a `lowrank(r)` message.
pub(crate) fn read_f16_factors(message: &[u8], shape: Shape, rank: usize) -> Factors {
    let (u, v) = message.split_at(2 * rank * shape.rows());
    Factors {
        rank,
        u: read_f16(u),
        v: read_f16(v),
    }
}

/// The fp16 least value and step of 16 levels.
#[derive(Clone, Copy)]
struct Affine {
    least: u16,
    step: u16,
}

impl Affine {
    fn of(values: impl Iterator<Item = f32>) -> Self {
        let (least, most) = values.fold((f32::INFINITY, f32::NEG_INFINITY), |(least, most), x| {
            (least.min(x), most.max(x))
        });
        Self {
            least: narrow_f16(least),
            step: narrow_f16((most - least) / 15.0),
        }
    }

    fn code(self, value: f32) -> u8 {
        let step = widen_f16(self.step);
        if step == 0.0 {
            return 0;
        }
        let code = (value - widen_f16(self.least)) / step;
        code.round_ties_even().clamp(0.0, 15.0) as u8
    }

    fn value(self, code: u8) -> f32 {
        widen_f16(self.least) + f32::from(code) * widen_f16(self.step)
    }

    fn bytes(self) -> [u8; 4] {
        let ([a, b], [c, d]) = (self.least.to_le_bytes(), self.step.to_le_bytes());
        [a, b, c, d]
    }

    fn read(bytes: &[u8]) -> Self {
        Self {
            least: u16::from_le_bytes([bytes[0], bytes[1]]),
            step: u16::from_le_bytes([bytes[2], bytes[3]]),
        }
    }
}

/// Writes a `lowrank-int4(r)` message: codes of U column after column, of V row after row, then
/// (least, step) of each column of U and of each row of V.
pub(crate) fn write_int4(factors: &Factors, message: &mut [u8]) {
    let rank = factors.rank;
    let (rows, channels) = (factors.u.len() / rank, factors.v.len() / rank);
    let columns: Vec<Vec<f32>> = (0..rank)
        .map(|j| (0..rows).map(|n| factors.u[n * rank + j]).collect())
        .chain(factors.v.chunks(channels).map(<[f32]>::to_vec))
        .collect();
    let affine: Vec<Affine> = columns
        .iter()
        .map(|values| Affine::of(values.iter().copied()))
        .collect();
    let (codes, scales) = message.split_at_mut(message.len() - 8 * rank);
    let lines = columns.iter().zip(&affine);
    let stream = lines.flat_map(|(values, affine)| values.iter().map(|&value| affine.code(value)));
    nibbles::pack(stream, codes);
    for (out, affine) in scales.chunks_exact_mut(4).zip(&affine) {
        out.copy_from_slice(&affine.bytes());
    }
}

/// Reads a `lowrank-int4(r)` message.
pub(crate) fn read_int4(message: &[u8], shape: Shape, rank: usize) -> Factors {
    let (rows, channels) = (shape.rows(), shape.channels());
    let (codes, scales) = message.split_at(message.len() - 8 * rank);
    let affine: Vec<Affine> = scales.chunks_exact(4).map(Affine::read).collect();
    let mut u = vec![0.0; rows * rank];
    for j in 0..rank {
        for n in 0..rows {
            u[n * rank + j] = affine[j].value(nibbles::read(codes, j * rows + n));
        }
    }
    let first = rank * rows;
    let v = (0..rank * channels)
        .map(|n| affine[rank + n / channels].value(nibbles::read(codes, first + n)))
        .collect();
    Factors { rank, u, v }
}

vectorised! {
    fn add_multiple(out: &mut [f32], factor: f32, row: &[f32]) {
        for (out, value) in out.iter_mut().zip(row) {
            *out += factor * value;
        }
    }
}

/// Rows of U V, summed over the rank in order.
pub(crate) fn product(factors: &Factors, rows: Rows, out: &mut [f32]) {
    out.fill(0.0);
    let channels = factors.v.len() / factors.rank;
    let u = factors.u[rows.first * factors.rank..].chunks(factors.rank);
    for (out, u) in out.chunks_mut(channels).zip(u) {
        for (&factor, row) in u.iter().zip(factors.v.chunks(channels)) {
            add_multiple(out, factor, row);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_splitmix64() {
        // The first output of splitmix64 seeded with 0 is e220a8397b1dcdaf, with 1 910a2dec89025cc1,
        // with 2 975835de1c9756ce, with 3 1d0b14e4db018fed.
        assert_eq!([0, 1, 2, 3].map(sign), [1.0, 1.0, 1.0, -1.0]);
    }
}
