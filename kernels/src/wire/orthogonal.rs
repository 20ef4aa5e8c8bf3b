//! Tall matrices of few columns: products with a large matrix, and orthonormal columns.
//!
//! Sums run in a fixed order, so results do not depend on threads or the processor.

use super::float16::vectorised;
use super::shape::{Rows, Shape, in_order};

/// Columns that are worked on at a time; a row's columns are padded with zeros to a multiple.
const LANES: usize = 8;
/// Columns of the large matrix in a task of the transposed product.
const COLUMN_BLOCK: usize = 64;
/// Rows of the large matrix whose block of columns stays in the first-level cache.
const ROW_BLOCK: usize = 32;
/// Rows, or columns of the large matrix, that share a load.
const GROUP: usize = 4;
/// A column shorter than this part of itself before projection was a combination of the others.
const NULL: f64 = 1e-6;

/// A matrix of `rank` columns, row after row, each row padded to a multiple of [`LANES`].
#[derive(Clone, Debug)]
pub(crate) struct Tall {
    pub rows: usize,
    pub rank: usize,
    stride: usize,
    values: Vec<f32>,
}

impl Tall {
    pub(crate) fn zeros(rows: usize, rank: usize) -> Self {
        let stride = rank.next_multiple_of(LANES);
        Self {
            rows,
            rank,
            stride,
            values: vec![0.0; rows * stride],
        }
    }

    pub(crate) fn get(&self, row: usize, column: usize) -> f32 {
        self.values[row * self.stride + column]
    }

    pub(crate) fn set(&mut self, row: usize, column: usize, value: f32) {
        self.values[row * self.stride + column] = value;
    }

    pub(crate) fn row(&self, row: usize) -> &[f32] {
        &self.values[row * self.stride..][..self.rank]
    }

    pub(crate) fn column(&self, column: usize) -> impl Iterator<Item = f32> {
        (0..self.rows).map(move |row| self.get(row, column))
    }

    pub(crate) fn is_null(&self, column: usize) -> bool {
        self.column(column).all(|value| value == 0.0)
    }
}

vectorised! {
    /// Four rows of A times eight columns of Q.
    fn rows_times(a: [&[f32]; GROUP], q: &[f32], stride: usize) -> [[f32; LANES]; GROUP] {
        let mut sums = [[0.0f32; LANES]; GROUP];
        let values = a[0].iter().zip(a[1]).zip(a[2]).zip(a[3]);
        for ((((a0, a1), a2), a3), q) in values.zip(q.chunks(stride)) {
            let q: &[f32; LANES] = q[..LANES].try_into().expect("rows are padded");
            for (sums, a) in sums.iter_mut().zip([a0, a1, a2, a3]) {
                for lane in 0..LANES {
                    sums[lane] += a * q[lane];
                }
            }
        }
        sums
    }

    /// Four columns of A, transposed, times eight columns of Y; `a` starts at the first of the
    /// four, and so does `y` at the first of the eight.
    fn columns_times(
        a: &[f32],
        width: usize,
        y: &[f32],
        stride: usize,
    ) -> [[f32; LANES]; GROUP] {
        let mut sums = [[0.0f32; LANES]; GROUP];
        for (a, y) in a.chunks(width).zip(y.chunks(stride)) {
            let y: &[f32; LANES] = y[..LANES].try_into().expect("rows are padded");
            for (sums, a) in sums.iter_mut().zip(&a[..GROUP]) {
                for lane in 0..LANES {
                    sums[lane] += a * y[lane];
                }
            }
        }
        sums
    }

    fn dot(a: &[f64], b: &[f64]) -> f64 {
        let mut lanes = [0.0f64; LANES];
        let (mut left, mut right) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
        for (a, b) in (&mut left).zip(&mut right) {
            for lane in 0..LANES {
                lanes[lane] += a[lane] * b[lane];
            }
        }
        let rest = left.remainder().iter().zip(right.remainder());
        rest.map(|(a, b)| a * b).sum::<f64>() + lanes.iter().sum::<f64>()
    }

    fn subtract_multiple(column: &mut [f64], factor: f64, other: &[f64]) {
        for (value, other) in column.iter_mut().zip(other) {
            *value -= factor * other;
        }
    }
}

/// A Q for a row-major A of `shape`.
pub(crate) fn times(a: &[f32], shape: Shape, q: &Tall) -> Tall {
    let width = shape.channels();
    let mut out = Tall::zeros(shape.rows(), q.rank);
    let stride = out.stride;
    let tasks = shape
        .chunks()
        .zip(out.values.chunks_mut(shape.chunk_rows() * stride));
    in_order(tasks, |(rows, out)| {
        let a = &a[shape.range(rows)];
        for (a, out) in a.chunks(GROUP * width).zip(out.chunks_mut(GROUP * stride)) {
            let present = a.len() / width;
            let row = |n: usize| &a[width * n.min(present - 1)..][..width];
            for lane in (0..stride).step_by(LANES) {
                let sums = rows_times([row(0), row(1), row(2), row(3)], &q.values[lane..], stride);
                for (out, sums) in out.chunks_mut(stride).zip(sums) {
                    out[lane..lane + LANES].copy_from_slice(&sums);
                }
            }
        }
    });
    out
}

/// A^T Y for a row-major A of `shape`.
pub(crate) fn transposed_times(a: &[f32], shape: Shape, y: &Tall) -> Tall {
    let width = shape.channels();
    let mut out = Tall::zeros(width, y.rank);
    let stride = out.stride;
    let tasks = (0..width)
        .step_by(COLUMN_BLOCK)
        .zip(out.values.chunks_mut(COLUMN_BLOCK * stride));
    in_order(tasks, |(first, out)| {
        let columns = out.len() / stride;
        for row in (0..shape.rows()).step_by(ROW_BLOCK) {
            let count = ROW_BLOCK.min(shape.rows() - row);
            let a = &a[shape.range(Rows { first: row, count })];
            let y = &y.values[row * stride..(row + count) * stride];
            for lane in (0..stride).step_by(LANES) {
                let y = &y[lane..];
                for (n, out) in out.chunks_mut(GROUP * stride).enumerate() {
                    add_columns(&a[first + GROUP * n..], width, y, stride, lane, out);
                }
            }
        }
        debug_assert!(columns <= COLUMN_BLOCK, "a task has one block of columns");
    });
    out
}

/// Adds what some rows give to at most four rows of the transposed product.
fn add_columns(a: &[f32], width: usize, y: &[f32], stride: usize, lane: usize, out: &mut [f32]) {
    let present = out.len() / stride;
    // The last rows' slice may end before four columns: those are copied out.
    let sums = if present == GROUP {
        columns_times(a, width, y, stride)
    } else {
        let rows = a.chunks(width);
        let copied: Vec<f32> = rows
            .flat_map(|row| (0..GROUP).map(|n| if n < present { row[n] } else { 0.0 }))
            .collect();
        columns_times(&copied, GROUP, y, stride)
    };
    for (out, sums) in out.chunks_mut(stride).zip(sums) {
        for (out, sum) in out[lane..lane + LANES].iter_mut().zip(sums) {
            *out += sum;
        }
    }
}

/// Orthonormal columns of the same span: Gram-Schmidt twice, in fp64, so R has a positive
/// diagonal; a column that depends on those before it becomes zeros.
pub(crate) fn orthonormal(matrix: &Tall) -> Tall {
    let mut done: Vec<Vec<f64>> = Vec::with_capacity(matrix.rank);
    let mut out = Tall::zeros(matrix.rows, matrix.rank);
    for column in 0..matrix.rank {
        let mut values: Vec<f64> = matrix.column(column).map(f64::from).collect();
        let before = dot(&values, &values).sqrt();
        for _ in 0..2 {
            for other in &done {
                let factor = dot(&values, other);
                subtract_multiple(&mut values, factor, other);
            }
        }
        let norm = dot(&values, &values).sqrt();
        if norm > NULL * before {
            values.iter_mut().for_each(|value| *value /= norm);
        } else {
            values.fill(0.0);
        }
        for (row, &value) in values.iter().enumerate() {
            out.set(row, column, value as f32);
        }
        done.push(values);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(n: usize) -> f32 {
        ((n * 7919) % 101) as f32 - 50.0
    }

    #[test]
    fn products_are_those_of_the_definition() {
        for (rows, channels, rank) in [(1, 1, 1), (5, 130, 3), (70, 9, 9), (33, 67, 11)] {
            let shape = Shape::new(rows, channels);
            let a: Vec<f32> = (0..shape.elements()).map(sample).collect();
            let mut q = Tall::zeros(channels, rank);
            let mut y = Tall::zeros(rows, rank);
            for j in 0..rank {
                (0..channels).for_each(|c| q.set(c, j, sample(c * 31 + j)));
                (0..rows).for_each(|n| y.set(n, j, sample(n * 17 + j)));
            }
            let (aq, aty) = (times(&a, shape, &q), transposed_times(&a, shape, &y));
            for j in 0..rank {
                for n in 0..rows {
                    let sum: f32 = (0..channels)
                        .map(|c| a[n * channels + c] * q.get(c, j))
                        .sum();
                    assert_eq!(aq.get(n, j), sum);
                }
                for c in 0..channels {
                    let sum: f32 = (0..rows).map(|n| a[n * channels + c] * y.get(n, j)).sum();
                    assert_eq!(aty.get(c, j), sum);
                }
            }
        }
    }

    #[test]
    fn columns_become_orthonormal_and_a_dependent_one_null() {
        let mut matrix = Tall::zeros(50, 4);
        for n in 0..50 {
            matrix.set(n, 0, sample(n));
            matrix.set(n, 1, sample(n * n + 3));
            matrix.set(n, 2, sample(n) * 2.0 - sample(n * n + 3));
            matrix.set(n, 3, sample(5 * n + 1));
        }
        let q = orthonormal(&matrix);
        assert!(q.is_null(2));
        for i in 0..4 {
            for j in 0..4 {
                let product: f32 = q.column(i).zip(q.column(j)).map(|(a, b)| a * b).sum();
                let expected = if i == j && i != 2 { 1.0 } else { 0.0 };
                assert!((product - expected).abs() < 1e-6, "{i} {j}: {product}");
            }
        }
        // Positive diagonal of R: the first column keeps its direction.
        assert!(q.get(0, 0) * matrix.get(0, 0) > 0.0);
    }
}
