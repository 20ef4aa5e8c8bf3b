//! The two magnitudes of `2bit-fitted`: Lloyd-Max on z = |R| / s, from a histogram.
//!
//! 1024 bins over [0, 8), the last open. A bin keeps the sums of |R| s and of s^2 of its members;
//! the level that minimises sum (|R| - a s)^2 over some bins is the quotient of their sums. A bin
//! belongs to the lower level if its middle is below the threshold (a0 + a1) / 2, the open one always
//! to the upper. Elements with
//! s = 0 decode to 0 whatever the levels are, so they are left out.

use super::float16::vectorised;
use super::rows::Residual;
use super::shape::{Shape, in_order};
use super::sign::Scales;

const BINS: usize = 1024;
const BINS_PER_UNIT: f32 = 128.0;
const ROUNDS: usize = 8;
/// Elements binned at a time.
const BLOCK: usize = 256;

/// Sums of |R| s and of s^2 for each bin.
pub(crate) struct Histogram {
    products: Vec<f64>,
    squares: Vec<f64>,
}

vectorised! {
    /// The bins of a block, and what it adds to them.
    fn bin(
        row: &[f32],
        u: f32,
        v: &[f32],
        bins: &mut [u32; BLOCK],
        scales: &mut [f32; BLOCK],
    ) {
        for (((&value, &v), bin), scale) in row.iter().zip(v).zip(bins).zip(scales) {
            *scale = u * v;
            let z = value.abs() / *scale * BINS_PER_UNIT;
            let last = (BINS - 1) as f32;
            let z = if z < last { z } else { last };
            *bin = z as u32;
        }
    }
}

impl Histogram {
    fn new() -> Self {
        Self {
            products: vec![0.0; BINS],
            squares: vec![0.0; BINS],
        }
    }

    fn add_row(&mut self, row: &[f32], u: f32, v: &[f32]) {
        let (mut bins, mut scales) = ([0u32; BLOCK], [0.0f32; BLOCK]);
        for (row, v) in row.chunks(BLOCK).zip(v.chunks(BLOCK)) {
            bin(row, u, v, &mut bins, &mut scales);
            for ((value, &bin), &scale) in row.iter().zip(&bins).zip(&scales) {
                // A scale of 0 adds 0 to both sums, so its bin does not matter.
                let (bin, scale) = (bin as usize % BINS, f64::from(scale));
                self.products[bin] += f64::from(value.abs()) * scale;
                self.squares[bin] += scale * scale;
            }
        }
    }

    fn add(&mut self, other: &Self) {
        let sums = self.products.iter_mut().chain(&mut self.squares);
        for (sum, more) in sums.zip(other.products.iter().chain(&other.squares)) {
            *sum += more;
        }
    }

    /// The two levels after eight rounds from `start`.
    pub(crate) fn fit(&self, start: [f64; 2]) -> [f64; 2] {
        let mut levels = start;
        for _ in 0..ROUNDS {
            let threshold = f64::midpoint(levels[0], levels[1]);
            let below = |bin: usize| (bin as f64 + 0.5) / f64::from(BINS_PER_UNIT) < threshold;
            let split = (0..BINS - 1).find(|&bin| !below(bin)).unwrap_or(BINS - 1);
            for (level, members) in levels.iter_mut().zip([0..split, split..BINS]) {
                let squares: f64 = self.squares[members.clone()].iter().sum();
                if squares > 0.0 {
                    *level = self.products[members].iter().sum::<f64>() / squares;
                }
            }
        }
        levels
    }
}

/// The histogram of a residual under given scales.
pub(crate) fn measure(source: &impl Residual, shape: Shape, scales: &Scales) -> Histogram {
    let parts = in_order(shape.chunks(), |rows| {
        let mut buffer = vec![0.0; shape.channels()];
        let mut histogram = Histogram::new();
        for row in rows.singles() {
            source.strip(row, &mut buffer);
            histogram.add_row(&buffer, scales.rows[row.first], &scales.channels);
        }
        histogram
    });
    let mut total = Histogram::new();
    for part in &parts {
        total.add(part);
    }
    total
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_clusters_are_found() {
        // z is .25 or 1.5, s = 1: the levels are those two.
        let row: Vec<f32> = (0..512)
            .map(|n| if n % 3 == 0 { 1.5 } else { -0.25 })
            .collect();
        let mut histogram = Histogram::new();
        histogram.add_row(&row, 1.0, &vec![1.0; 512]);
        assert_eq!(histogram.fit([0.5, 2.0]), [0.25, 1.5]);
    }

    #[test]
    fn a_zero_scale_and_an_empty_level_leave_the_start() {
        let mut histogram = Histogram::new();
        histogram.add_row(&[1.0, 2.0, 0.0], 1.0, &[0.0; 3]);
        assert_eq!(histogram.fit([0.5, 2.0]), [0.5, 2.0]);
        // All members at z = 100 of the open last bin: only the upper level moves.
        histogram.add_row(&[100.0], 1.0, &[1.0]);
        assert_eq!(histogram.fit([0.5, 2.0]), [0.5, 100.0]);
    }
}
