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

use crate::nearest::{Nearest, Neighbour};
use crate::solve::{Solution, factor};
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
