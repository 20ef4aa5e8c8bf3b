//! Dense solves for kriging: Cholesky on some fifty points, and each point's residual without itself.
//!
//! ```text
//! K = U'U,   mean = 1'K^-1 r / 1'K^-1 1,   a = K^-1 (r - mean)
//! residual of i without itself = a_i / P_ii,   P = K^-1 - K^-1 1 1'K^-1 / 1'K^-1 1
//! ```
//! Matrices are square, by rows; only the upper triangle is read. Right-looking updates run along
//! rows, so the compiler vectorises them and the order of additions never changes.
//!
//! Not modelled: pivoting. A covariance with a nugget is positive definite.

/// `K^-1 r` and `K^-1 1`, with the mean that makes the rest sum to nothing.
pub(crate) struct Solution {
    mean: f64,
    /// `K^-1 (r - mean)`.
    weights: Vec<f64>,
    /// `K^-1 1`.
    ones: Vec<f64>,
    /// Sum of `ones`.
    total: f64,
}

impl Solution {
    /// Solves where `factor` holds U with U'U = K.
    pub(crate) fn of(factor: &[f64], values: &[f64]) -> Self {
        let ones = solve(factor, vec![1.0; values.len()]);
        let raw = solve(factor, values.to_vec());
        let total: f64 = ones.iter().sum();
        let mean = raw.iter().sum::<f64>() / total;
        let weights = raw.iter().zip(&ones).map(|(r, o)| r - mean * o).collect();
        Self {
            mean,
            weights,
            ones,
            total,
        }
    }

    /// Each point's residual to what the others say, the mean re-estimated without it.
    pub(crate) fn without_themselves(&self, factor: &[f64]) -> Vec<f64> {
        let n = self.weights.len();
        let inverse = invert(factor, n);
        let mut diagonal = vec![0.0; n];
        for i in 0..n {
            for (d, l) in diagonal[..=i].iter_mut().zip(&inverse[i * n..=i * n + i]) {
                *d += l * l;
            }
        }
        (0..n)
            .map(|i| self.weights[i] / (diagonal[i] - self.ones[i].powi(2) / self.total))
            .collect()
    }

    /// The estimate and its variance where `towards` are the covariances to the points.
    pub(crate) fn at(&self, factor: &[f64], towards: &[f64], sill: f64) -> (f64, f64) {
        let dot = |a: &[f64]| a.iter().zip(towards).map(|(a, b)| a * b).sum::<f64>();
        let estimate = self.mean + dot(&self.weights);
        let mut z = towards.to_vec();
        forward(factor, &mut z);
        let explained: f64 = z.iter().map(|z| z * z).sum();
        let unbiased = (1.0 - dot(&self.ones)).powi(2) / self.total;
        (estimate, sill - explained + unbiased)
    }
}

/// Cholesky in place: the upper triangle K becomes U with U'U = K.
pub(crate) fn factor(matrix: &mut [f64], n: usize) {
    for j in 0..n {
        let (done, rest) = matrix.split_at_mut((j + 1) * n);
        let row = &mut done[j * n + j..];
        assert!(
            row[0] > 0.0,
            "a covariance with a nugget is positive definite"
        );
        let scale = 1.0 / row[0].sqrt();
        row.iter_mut().for_each(|value| *value *= scale);
        for i in 1..row.len() {
            let (factor, source) = (row[i], &row[i..]);
            let start = (i - 1) * n + j + i;
            for (value, source) in rest[start..start + source.len()].iter_mut().zip(source) {
                *value -= factor * source;
            }
        }
    }
}

/// Replaces `x` by L^-1 x where L' = U is in the upper triangle of `factor`.
pub(crate) fn forward(factor: &[f64], x: &mut [f64]) {
    let n = x.len();
    for i in 0..n {
        x[i] /= factor[i * n + i];
        let head = x[i];
        for (rest, u) in x[i + 1..].iter_mut().zip(&factor[i * n + i + 1..i * n + n]) {
            *rest -= u * head;
        }
    }
}

/// K^-1 x where U with U'U = K is in the upper triangle of `factor`.
pub(crate) fn solve(factor: &[f64], mut x: Vec<f64>) -> Vec<f64> {
    let n = x.len();
    forward(factor, &mut x);
    for i in (0..n).rev() {
        let row = &factor[i * n + i + 1..i * n + n];
        let known: f64 = row.iter().zip(&x[i + 1..]).map(|(u, x)| u * x).sum();
        x[i] = (x[i] - known) / factor[i * n + i];
    }
    x
}

/// Rows of L^-1 where U = L' is in the upper triangle of `factor`.
fn invert(factor: &[f64], n: usize) -> Vec<f64> {
    let mut inverse = vec![0.0; n * n];
    for i in 0..n {
        inverse[i * n + i] = 1.0;
    }
    for i in 0..n {
        let (done, rest) = inverse.split_at_mut((i + 1) * n);
        let row = &mut done[i * n..=i * n + i];
        let scale = 1.0 / factor[i * n + i];
        row.iter_mut().for_each(|value| *value *= scale);
        for later in i + 1..n {
            let weight = factor[i * n + later];
            let start = (later - i - 1) * n;
            for (value, source) in rest[start..=start + i].iter_mut().zip(row.iter()) {
                *value -= weight * source;
            }
        }
    }
    inverse
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn factoring_and_inverting_gives_the_identity() {
        // K = [4 2; 2 5] = U'U with U = [2 1; 0 2]; L^-1 = [1/2 0; -1/4 1/2].
        let mut matrix = vec![4.0, 2.0, 0.0, 5.0];
        factor(&mut matrix, 2);
        assert_eq!(matrix, [2.0, 1.0, 0.0, 2.0]);
        assert_eq!(invert(&matrix, 2), [0.5, 0.0, -0.25, 0.5]);
    }

    #[test]
    fn a_residual_without_itself_is_that_of_solving_without_it() {
        // Three points; leave out the last and predict it from the others with their own mean.
        let full = [2.0, 0.9, 0.4, 0.0, 2.0, 0.7, 0.0, 0.0, 2.0];
        let values = [1.0, 3.0, 2.0];
        let mut all = full.to_vec();
        factor(&mut all, 3);
        let lone = Solution::of(&all, &values).without_themselves(&all)[2];
        let mut two = vec![2.0, 0.9, 0.0, 2.0];
        factor(&mut two, 2);
        let (predicted, _) = Solution::of(&two, &values[..2]).at(&two, &[0.4, 0.7], 2.0);
        assert!((lone - (values[2] - predicted)).abs() < 1e-12);
    }
}
