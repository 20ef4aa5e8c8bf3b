//! Local kriging of a residual on a dense grid: neighbours, two solves, one answer.
//!
//! ```text
//! u_a(i, j) = sum over the coordinates of axis a: |x_i - x_j| / length + jump * [x_i != x_j]
//! cov(i, j) = sum over terms: weight * product over axes of exp(-u_a / (1 or the axis' slow factor))
//! K a = r - mean,  estimate = mean + k0' a
//! ```
//! The mean is the generalised least-squares constant. After a first solve, point i's residual
//! without itself, `a_i / P_ii`, tells which points their neighbours contradict; their nugget grows
//! by `(residual / 2s)^2` and the system is solved again (s: 1.5 medians, plus a floor).
//!
//! Guarantees: ties between equally near neighbours go by cell number, so equal queries give equal
//! answers to the bit. Constants are those fitted on the measured tables
//! (leave-one-out, all systems together).
//!
//! Not modelled: trends. Beyond the table the caller holds the residual of the nearest points.

use crate::store::ln_us_of;

/// How far apart two values of a coordinate count.
#[derive(Clone, Copy)]
pub(crate) struct Metric {
    /// Weight in the narrow search for neighbours.
    pub weight: f64,
    /// Weight in the wide search.
    pub wide: f64,
    /// Correlation length, in octaves.
    pub length: f64,
    /// What any difference costs.
    pub jump: f64,
}

/// Which weights the search for neighbours uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Search {
    /// The query lies on measured lines: their other points come first.
    Narrow,
    /// It does not: neighbours on more lines.
    Wide,
}

/// One covariance term: its weight, and on which axes the correlation is the slow one.
pub(crate) struct Term {
    pub weight: f64,
    pub slow: [bool; 3],
}

/// The constants of one kriging model.
pub(crate) struct Law {
    /// Coordinates of each axis; an axis without coordinates has one point.
    pub metrics: [&'static [Metric]; 3],
    /// Stretch of the slow correlation.
    pub slow_factor: f64,
    pub terms: &'static [Term],
    /// Noise of a single measurement.
    pub nugget: f64,
    /// Smallest scale of a residual that counts as contradicted.
    pub floor: f64,
    pub neighbours: usize,
}

/// A point of an axis: up to two coordinates, in octaves.
pub(crate) type Point = [f64; 2];

struct Axis {
    points: Vec<Point>,
    /// Correlations between the axis' own points, fast and slow.
    fast: Vec<f64>,
    slow: Vec<f64>,
}

impl Axis {
    fn new(points: Vec<Point>, metrics: &[Metric], slow_factor: f64) -> Self {
        let pairs = || {
            points
                .iter()
                .flat_map(|a| points.iter().map(move |b| (a, b)))
        };
        let fast = pairs().map(|(a, b)| (-lag(metrics, a, b)).exp()).collect();
        let slow = pairs()
            .map(|(a, b)| (-lag(metrics, a, b) / slow_factor).exp())
            .collect();
        Self { points, fast, slow }
    }
}

fn lag(metrics: &[Metric], a: &Point, b: &Point) -> f64 {
    let one = |(metric, (a, b)): (&Metric, (&f64, &f64))| {
        let jump = if a == b { 0.0 } else { metric.jump };
        (a - b).abs() / metric.length + jump
    };
    metrics.iter().zip(a.iter().zip(b)).map(one).sum()
}

fn distance(metrics: &[Metric], search: Search, a: &Point, b: &Point) -> f64 {
    let one = |(metric, (a, b)): (&Metric, (&f64, &f64))| {
        let weight = match search {
            Search::Narrow => metric.weight,
            Search::Wide => metric.wide,
        };
        (weight * (a - b)).powi(2)
    };
    metrics.iter().zip(a.iter().zip(b)).map(one).sum()
}

/// A grid cell, and its position on each axis.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Neighbour {
    pub distance: f64,
    pub at: [usize; 3],
}

/// What kriging says at a point.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Estimate {
    /// The residual, as a natural logarithm.
    pub mean: f64,
    /// Standard deviation the covariance gives, in its own scale.
    pub spread: f64,
    /// 1.5 medians of the neighbours' residuals without themselves.
    pub scatter: f64,
}

/// Measured times on a grid of points, and how to interpolate between them.
pub(crate) struct Field {
    axes: [Axis; 3],
    cells: Vec<u16>,
    law: &'static Law,
}

impl Field {
    pub(crate) fn new(points: [Vec<Point>; 3], cells: Vec<u16>, law: &'static Law) -> Self {
        assert_eq!(
            points.iter().map(Vec::len).product::<usize>(),
            cells.len(),
            "a grid has one cell for each combination of its axes' points"
        );
        let mut points = points;
        let axes = std::array::from_fn(|axis| {
            Axis::new(
                std::mem::take(&mut points[axis]),
                law.metrics[axis],
                law.slow_factor,
            )
        });
        Self { axes, cells, law }
    }

    /// Natural logarithm of the microseconds measured at a cell.
    pub(crate) fn ln_us(&self, at: [usize; 3]) -> Option<f64> {
        let [_, second, third] = &self.axes;
        ln_us_of(self.cells[(at[0] * second.points.len() + at[1]) * third.points.len() + at[2]])
    }

    /// Whether `query` has a coordinate of this axis.
    pub(crate) fn on_axis(&self, axis: usize, query: &[Point; 3]) -> bool {
        self.axes[axis].points.contains(&query[axis])
    }

    /// Every measured cell with the natural logarithm of its microseconds.
    #[cfg(test)]
    pub(crate) fn measured(&self) -> impl Iterator<Item = ([usize; 3], f64)> {
        let [_, second, third] = &self.axes;
        let (second, third) = (second.points.len(), third.points.len());
        self.cells
            .iter()
            .enumerate()
            .filter_map(move |(cell, code)| {
                let at = [cell / (second * third), cell / third % second, cell % third];
                ln_us_of(*code).map(|ln| (at, ln))
            })
    }

    /// Weighted mean of ln T over the measured corners of a box; `None` where none is measured.
    pub(crate) fn weighted(&self, corners: [Vec<(usize, f64)>; 3]) -> Option<f64> {
        let (mut sum, mut total) = (0.0, 0.0);
        for &(i, first) in &corners[0] {
            for &(j, second) in &corners[1] {
                for &(k, third) in &corners[2] {
                    if let Some(ln) = self.ln_us([i, j, k]) {
                        let weight = first * second * third;
                        sum += weight * ln;
                        total += weight;
                    }
                }
            }
        }
        (total > 0.0).then(|| sum / total)
    }

    /// The points of an axis on both sides of a coordinate, with linear weights; `strict` looks past
    /// a point at the coordinate itself. Empty beyond the axis.
    pub(crate) fn bracket(&self, axis: usize, at: f64, strict: bool) -> Vec<(usize, f64)> {
        let points = &self.axes[axis].points;
        if points.len() == 1 {
            return vec![(0, 1.0)];
        }
        let exact = || points.iter().enumerate().filter(|(_, p)| p[0] == at);
        if !strict && let Some((index, _)) = exact().next() {
            return vec![(index, 1.0)];
        }
        let closest = |side: &dyn Fn(f64) -> bool| {
            points
                .iter()
                .enumerate()
                .filter(|(_, point)| side(point[0]))
                .min_by(|a, b| (a.1[0] - at).abs().total_cmp(&(b.1[0] - at).abs()))
        };
        match (closest(&|x| x < at), closest(&|x| x > at)) {
            (Some((below, low)), Some((above, high))) => {
                let share = (at - low[0]) / (high[0] - low[0]);
                vec![(below, 1.0 - share), (above, share)]
            }
            _ => Vec::new(),
        }
    }

    /// The cell whose coordinates are exactly `query`.
    pub(crate) fn cell(&self, query: &[Point; 3]) -> Option<[usize; 3]> {
        let mut at = [0; 3];
        for (axis, (index, point)) in self.axes.iter().zip(at.iter_mut().zip(query)) {
            *index = axis.points.iter().position(|p| p == point)?;
        }
        Some(at)
    }

    /// The `count` measured cells nearest to `query` that `skip` allows, nearest first.
    pub(crate) fn nearest(
        &self,
        query: &[Point; 3],
        search: Search,
        count: usize,
        skip: impl Fn([usize; 3]) -> bool,
    ) -> Vec<Neighbour> {
        let order: [Vec<(f64, usize)>; 3] = std::array::from_fn(|axis| {
            let mut order: Vec<(f64, usize)> = self.axes[axis]
                .points
                .iter()
                .map(|point| distance(self.law.metrics[axis], search, point, &query[axis]))
                .zip(0..)
                .collect();
            order.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
            order
        });
        let mut found = Nearest::new(count);
        for &(first, i) in &order[0] {
            if first > found.limit {
                break;
            }
            for &(second, j) in &order[1] {
                if first + second > found.limit {
                    break;
                }
                for &(third, k) in &order[2] {
                    let total = first + second + third;
                    if total > found.limit {
                        break;
                    }
                    let at = [i, j, k];
                    if self.ln_us(at).is_some() && !skip(at) {
                        found.offer(Neighbour {
                            distance: total,
                            at,
                        });
                    }
                }
            }
        }
        found.finish()
    }

    /// Kriging at `query` of the residuals of the neighbours that `skip` allows.
    ///
    /// `None` with fewer than four neighbours.
    pub(crate) fn estimate(
        &self,
        query: &[Point; 3],
        search: Search,
        residual: impl Fn([usize; 3]) -> f64,
        skip: impl Fn([usize; 3]) -> bool,
    ) -> Option<Estimate> {
        let near = self.nearest(query, search, self.law.neighbours, skip);
        if near.len() < 4 {
            return None;
        }
        let values: Vec<f64> = near.iter().map(|n| residual(n.at)).collect();
        let covariances = self.covariances(&near);
        let size = near.len();
        let noisy = |noise: &dyn Fn(usize) -> f64| {
            let mut matrix = covariances.clone();
            for i in 0..size {
                matrix[i * size + i] += noise(i);
            }
            factor(&mut matrix, size);
            matrix
        };
        let even = noisy(&|_| self.law.nugget);
        let lone = Solution::of(&even, &values).without_themselves(&even);
        let mut sizes: Vec<f64> = lone.iter().map(|r| r.abs()).collect();
        sizes.sort_unstable_by(f64::total_cmp);
        let scatter = 1.5 * sizes[size / 2];
        let scale = scatter + self.law.floor;
        let doubt = |i: usize| (lone[i] / (2.0 * scale)).powi(2).max(1.0);
        let reweighted = noisy(&|i| self.law.nugget * doubt(i));
        let solution = Solution::of(&reweighted, &values);
        let towards = self.towards(query, &near);
        let (mean, variance) = solution.at(&reweighted, &towards, self.sill());
        Some(Estimate {
            mean,
            spread: (variance.max(0.0) + self.law.nugget).sqrt(),
            scatter,
        })
    }

    fn sill(&self) -> f64 {
        self.law.terms.iter().map(|term| term.weight).sum()
    }

    /// The upper triangle of the neighbours' covariance matrix.
    fn covariances(&self, near: &[Neighbour]) -> Vec<f64> {
        let n = near.len();
        let mut matrix = vec![0.0; n * n];
        for i in 0..n {
            matrix[i * n + i] = self.sill();
            let rows: [usize; 3] =
                std::array::from_fn(|axis| near[i].at[axis] * self.axes[axis].points.len());
            for j in i + 1..n {
                let pair: [(f64, f64); 3] = std::array::from_fn(|axis| {
                    let index = rows[axis] + near[j].at[axis];
                    (self.axes[axis].fast[index], self.axes[axis].slow[index])
                });
                matrix[i * n + j] = self.covariance(&pair);
            }
        }
        matrix
    }

    fn covariance(&self, pair: &[(f64, f64); 3]) -> f64 {
        let pick = |axis: usize, term: &Term| {
            if term.slow[axis] {
                pair[axis].1
            } else {
                pair[axis].0
            }
        };
        self.law
            .terms
            .iter()
            .map(|term| term.weight * pick(0, term) * pick(1, term) * pick(2, term))
            .sum()
    }

    /// Covariances between the query and its neighbours.
    fn towards(&self, query: &[Point; 3], near: &[Neighbour]) -> Vec<f64> {
        near.iter()
            .map(|neighbour| {
                let pair: [(f64, f64); 3] = std::array::from_fn(|axis| {
                    let point = &self.axes[axis].points[neighbour.at[axis]];
                    let u = lag(self.law.metrics[axis], point, &query[axis]);
                    ((-u).exp(), (-u / self.law.slow_factor).exp())
                });
                self.covariance(&pair)
            })
            .collect()
    }
}

/// The best candidates so far, in a heap whose top is the worst.
struct Nearest {
    count: usize,
    limit: f64,
    heap: std::collections::BinaryHeap<Farther>,
}

#[derive(PartialEq)]
struct Farther(Neighbour);

impl Eq for Farther {}

impl PartialOrd for Farther {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Farther {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0
            .distance
            .total_cmp(&other.0.distance)
            .then(self.0.at.cmp(&other.0.at))
    }
}

impl Nearest {
    fn new(count: usize) -> Self {
        Self {
            count,
            limit: f64::INFINITY,
            heap: std::collections::BinaryHeap::with_capacity(count + 1),
        }
    }

    fn offer(&mut self, candidate: Neighbour) {
        self.heap.push(Farther(candidate));
        if self.heap.len() > self.count {
            self.heap.pop();
        }
        if self.heap.len() == self.count
            && let Some(worst) = self.heap.peek()
        {
            self.limit = worst.0.distance;
        }
    }

    fn finish(self) -> Vec<Neighbour> {
        self.heap
            .into_sorted_vec()
            .into_iter()
            .map(|item| item.0)
            .collect()
    }
}

/// `K^-1 r` and `K^-1 1`, with the mean that makes the rest sum to nothing.
struct Solution {
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
    fn of(factor: &[f64], values: &[f64]) -> Self {
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
    fn without_themselves(&self, factor: &[f64]) -> Vec<f64> {
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
    fn at(&self, factor: &[f64], towards: &[f64], sill: f64) -> (f64, f64) {
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
fn factor(matrix: &mut [f64], n: usize) {
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
fn forward(factor: &[f64], x: &mut [f64]) {
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
fn solve(factor: &[f64], mut x: Vec<f64>) -> Vec<f64> {
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
    use crate::store::code_of;

    static METRIC: [Metric; 1] = [Metric {
        weight: 1.0,
        wide: 1.0,
        length: 1.0,
        jump: 0.0,
    }];
    static LAW: Law = Law {
        metrics: [&METRIC, &METRIC, &METRIC],
        slow_factor: 4.0,
        terms: &[Term {
            weight: 1.0,
            slow: [true, true, true],
        }],
        nugget: 1e-9,
        floor: 0.01,
        neighbours: 12,
    };

    fn field(value: impl Fn(usize, usize, usize) -> f64) -> Field {
        let line = || (0..5).map(|i| [f64::from(i), 0.0]).collect::<Vec<_>>();
        let mut cells = Vec::new();
        for i in 0..5 {
            for j in 0..5 {
                for k in 0..5 {
                    cells.push(code_of(value(i, j, k).exp()));
                }
            }
        }
        Field::new([line(), line(), line()], cells, &LAW)
    }

    #[test]
    fn factoring_and_inverting_gives_the_identity() {
        // K = [4 2; 2 5] = U'U with U = [2 1; 0 2]; L^-1 = [1/2 0; -1/4 1/2].
        let mut matrix = vec![4.0, 2.0, 0.0, 5.0];
        factor(&mut matrix, 2);
        assert_eq!(matrix, [2.0, 1.0, 0.0, 2.0]);
        assert_eq!(invert(&matrix, 2), [0.5, 0.0, -0.25, 0.5]);
    }

    #[test]
    fn a_constant_residual_is_found_exactly() {
        let field = field(|_, _, _| 3.0);
        let level = field.ln_us([0, 0, 0]).unwrap();
        let query = [[1.3, 0.0], [2.7, 0.0], [0.1, 0.0]];
        let found = field
            .estimate(
                &query,
                Search::Narrow,
                |at| field.ln_us(at).unwrap(),
                |_| false,
            )
            .unwrap();
        assert!((found.mean - level).abs() < 1e-9);
    }

    #[test]
    fn a_measured_point_without_noise_is_returned() {
        let field = field(|i, j, k| 1.0 + 0.3 * i as f64 - 0.2 * j as f64 + 0.1 * k as f64);
        let query = [[2.0, 0.0], [3.0, 0.0], [1.0, 0.0]];
        let found = field
            .estimate(
                &query,
                Search::Narrow,
                |at| field.ln_us(at).unwrap(),
                |_| false,
            )
            .unwrap();
        assert!((found.mean - field.ln_us([2, 3, 1]).unwrap()).abs() < 1e-3);
        assert!(found.spread < 0.01);
    }

    #[test]
    fn the_grid_search_finds_what_a_scan_finds() {
        let field = field(|i, j, k| (1 + i + j + k) as f64 * 0.1);
        let query = [[1.4, 0.0], [3.9, 0.0], [0.2, 0.0]];
        let mut scan: Vec<Neighbour> = (0..125)
            .map(|cell| {
                let at = [cell / 25, cell / 5 % 5, cell % 5];
                let distance = (0..3).map(|a| (at[a] as f64 - query[a][0]).powi(2)).sum();
                Neighbour { distance, at }
            })
            .filter(|n| n.at != [1, 4, 0])
            .collect();
        scan.sort_by(|a, b| a.distance.total_cmp(&b.distance).then(a.at.cmp(&b.at)));
        let found = field.nearest(&query, Search::Narrow, 9, |at| at == [1, 4, 0]);
        let cells = |list: &[Neighbour]| list.iter().map(|n| n.at).collect::<Vec<_>>();
        assert_eq!(cells(&found), cells(&scan[..9]));
    }
}
