//! Fits the constants of a physical base to a measured table.
//!
//! ```text
//! minimise  sum over rows of sqrt(1 + (ln(base/measured) / .05)^2) - 1      (outliers count once, not squared)
//! by Nelder and Mead's simplex, started again from its own answer until that no longer helps
//! ```
//! Waves and tiles make the sum a staircase, so no gradient is asked for. A bound that the answer touches is no
//! physics: it is what the bound says. Attention's block, a whole number of queries, is tried in turn.
//!
//! Guarantees: equal tables give equal constants; nothing but the table and the GPU's datasheet is looked at.
//!
//! Not modelled: kernel switches (they stay in the residual).

use rayon::prelude::*;
use topologies::{DType, Gpu};

use crate::attention;
use crate::chip::Chip;
use crate::constants::{Constants, dtype_name, usual_beyond};
use crate::gemm::{self, Besides};
use crate::rank::nearest_rank;
use crate::store::{Kind, Mask, StoredTable};
use crate::table::{Exclude, Physics, Shape, Table};

/// A ratio's logarithm from which a row counts as an outlier.
const OUTLIER: f64 = 0.05;
/// No interval beyond a table is narrower than the noise of a row.
const LEAST_BEYOND: f64 = 0.06;
/// Rows that a step of the fit looks at, at most: evenly spread over the table.
const ROWS: usize = 6000;
/// Steps of one simplex.
const STEPS: usize = 600;
/// Simplices, one after the other.
const ROUNDS: usize = 6;

/// Constants of a table and how well they and the table do.
#[derive(Clone, Debug, PartialEq)]
pub struct Fit {
    stored: StoredTable,
    gpu: Gpu,
    constants: Constants,
    /// Rows of the table.
    pub rows: usize,
    /// Median and p90 of the relative error of the base alone.
    pub base: [f64; 2],
    /// Median and p90 with the base and the other rows of the table.
    pub left_out: [f64; 2],
}

/// One constant: where the fit starts and between what it may move.
#[derive(Clone, Copy)]
struct Free {
    start: f64,
    low: f64,
    high: f64,
}

const fn free(start: f64, low: f64, high: f64) -> Free {
    Free { start, low, high }
}

const GEMM: [Free; 7] = [
    free(2.5, 0.5, 12.0), // T0
    free(0.1, 0.0, 8.0),  // tk
    free(0.8, 0.2, 1.0),  // e0
    free(0.05, 0.0, 1.0), // c
    free(0.8, 0.2, 1.0),  // b
    free(1.2, 0.5, 4.0),  // f
    free(2.5, 0.0, 20.0), // e1
];
const SPLIT: [Free; 1] = [free(3.0, 0.0, 10.0)];
const QUANTISE: [Free; 2] = [free(0.3, 0.0, 2.0), free(0.5, 0.0, 2.0)];
const ATTENTION: [Free; 6] = [
    free(5.0, 1.0, 20.0), // T0
    free(0.55, 0.1, 1.0), // eff
    free(3.5, 0.0, 20.0), // tau
    free(0.6, 0.1, 3.0),  // be
    free(0.9, 0.0, 1.0),  // w
    free(0.5, 0.0, 20.0), // ks
];
/// Queries of a CTA that kernels are built for.
const BLOCKS: [f64; 4] = [64.0, 128.0, 192.0, 256.0];

impl Fit {
    /// Fits the constants of `stored`, measured on `gpu`; `None` where the GPU has no peak for its number format.
    #[must_use]
    pub fn of(stored: &StoredTable, gpu: &Gpu) -> Option<Self> {
        Chip::of(gpu).peak(stored.dtype)?;
        let physics = match stored.kind {
            Kind::Gemm => fit_gemm(stored, gpu),
            Kind::Attention { .. } => fit_attention(stored, gpu),
        };
        let beyond = beyond(stored, gpu, physics).map(|p90| p90.max(LEAST_BEYOND));
        let beyond = beyond.unwrap_or(usual_beyond(stored.kind));
        let constants = Constants { physics, beyond };
        let table = Table::on(gpu.clone(), constants, stored.clone());
        let rows: Vec<(Shape, f64)> = table.measured().collect();
        let base = |(shape, us): &(Shape, f64)| (base_us(&table, *shape) / us - 1.0).abs();
        let left_out = |(shape, us): &(Shape, f64)| {
            let residual = table.residual(*shape, Exclude::This).value;
            (base_us(&table, *shape) * residual.exp() / us - 1.0).abs()
        };
        Some(Self {
            stored: stored.clone(),
            gpu: gpu.clone(),
            constants,
            rows: rows.len(),
            base: quantiles(rows.par_iter().map(base).collect()),
            left_out: quantiles(rows.par_iter().map(left_out).collect()),
        })
    }

    /// Its line in the file of constants.
    #[must_use]
    pub fn line(&self) -> String {
        let short = |value: f64| {
            let digits = 2 - value.abs().max(1e-3).log10().floor() as i32;
            let text = format!("{value:.*}", digits.clamp(0, 4) as usize);
            text.parse::<f64>().map_or(text, |value| value.to_string())
        };
        let list = |values: &[f64]| {
            values
                .iter()
                .map(|v| short(*v))
                .collect::<Vec<_>>()
                .join(",")
        };
        let (system, beyond) = (&self.stored.system, self.constants.beyond);
        let numbers = match (self.constants.physics, self.stored.kind) {
            (Physics::Gemm(base), _) => {
                let dtype = dtype_name(self.stored.dtype);
                let first = list(&[base.t0, base.tk, base.e0, base.c, base.b, base.f, base.e1]);
                let besides = match base.besides {
                    Besides::Split(ts) => format!("{},,", short(ts)),
                    Besides::Quantise { row, pass } => format!(",{},{}", short(row), short(pass)),
                };
                format!("{dtype},{first},{besides}")
            }
            (Physics::Attention(base), Kind::Attention { mask, head_dim }) => {
                let mask = match mask {
                    Mask::Full => "full",
                    Mask::Causal => "causal",
                };
                let rest = [
                    base.block, base.t0, base.eff, base.tau, base.be, base.w, base.ks,
                ];
                format!("{mask},{head_dim},{}", list(&rest))
            }
            (Physics::Attention(_), Kind::Gemm) => unreachable!("a table has a base of its kind"),
        };
        let [base, left_out] =
            [self.base, self.left_out].map(|[median, p90]| format!("{median:.4},{p90:.4}"));
        format!(
            "{system},{numbers},{beyond:.2},{},{base},{left_out},fit_table",
            self.rows
        )
    }

    /// The GPU that was measured.
    #[must_use]
    pub fn gpu(&self) -> &Gpu {
        &self.gpu
    }
}

fn base_us(table: &Table, shape: Shape) -> f64 {
    let base = table.base_us(&table.chip, shape);
    base.expect("the peak was looked at before the fit")
}

fn quantiles(mut errors: Vec<f64>) -> [f64; 2] {
    errors.sort_by(f64::total_cmp);
    [0.5, 0.9].map(|share| nearest_rank(&errors, share))
}

/// The p90 of rows of more than a quarter of the largest m or length, told by the smaller ones alone.
fn beyond(stored: &StoredTable, gpu: &Gpu, physics: Physics) -> Option<f64> {
    let axis = usize::from(stored.kind != Kind::Gemm);
    let largest = *stored.axes[axis].last()?;
    let kept = stored.axes[axis].partition_point(|size| *size <= largest / 4);
    let [first, second, third] = [0, 1, 2].map(|at| stored.axes[at].len());
    let place = |cell: usize| [cell / (second * third), cell / third % second, cell % third];
    let mut smaller = stored.clone();
    smaller.axes[axis].truncate(kept);
    smaller.cells = (0..first * second * third)
        .filter(|cell| place(*cell)[axis] < kept)
        .map(|cell| stored.cells[cell])
        .collect();
    if smaller.cells.iter().all(|cell| *cell == 0) {
        return None;
    }
    let constants = Constants {
        physics,
        beyond: 0.0,
    };
    let smaller = Table::on(gpu.clone(), constants, smaller);
    let whole = Table::on(gpu.clone(), constants, stored.clone());
    let held: Vec<(Shape, f64)> = whole
        .measured()
        .filter(|(shape, _)| !smaller.covers(*shape))
        .collect();
    let error = |(shape, us): &(Shape, f64)| {
        let residual = smaller.residual(*shape, Exclude::Nothing).value;
        (base_us(&smaller, *shape) * residual.exp() / us - 1.0).abs()
    };
    let errors: Vec<f64> = held.par_iter().map(error).collect();
    (errors.len() >= 50).then(|| quantiles(errors)[1])
}

fn fit_gemm(stored: &StoredTable, gpu: &Gpu) -> Physics {
    let more: &[Free] = match stored.dtype {
        DType::Bf16 => &SPLIT,
        DType::Fp8 | DType::Nvfp4 => &QUANTISE,
    };
    let parameters: Vec<Free> = GEMM.iter().chain(more).copied().collect();
    let physics = |values: &[f64]| {
        Physics::Gemm(gemm::Base {
            t0: values[0],
            tk: values[1],
            e0: values[2],
            c: values[3],
            b: values[4],
            f: values[5],
            e1: values[6],
            besides: match values[7..] {
                [row, pass] => Besides::Quantise { row, pass },
                _ => Besides::Split(values[7]),
            },
        })
    };
    best(stored, gpu, &parameters, physics).0
}

fn fit_attention(stored: &StoredTable, gpu: &Gpu) -> Physics {
    let with_block = |block: f64| {
        let physics = move |values: &[f64]| {
            Physics::Attention(attention::Base {
                block,
                t0: values[0],
                eff: values[1],
                tau: values[2],
                be: values[3],
                w: values[4],
                ks: values[5],
            })
        };
        best(stored, gpu, &ATTENTION, physics)
    };
    let tried = BLOCKS.map(with_block).into_iter();
    let least = tried.min_by(|a, b| a.1.total_cmp(&b.1));
    least.expect("there are blocks").0
}

/// The base with the least loss over the table's rows, and that loss.
fn best(
    stored: &StoredTable,
    gpu: &Gpu,
    parameters: &[Free],
    physics: impl Fn(&[f64]) -> Physics,
) -> (Physics, f64) {
    let built = |physics| {
        let constants = Constants {
            physics,
            beyond: 0.0,
        };
        Table::on(gpu.clone(), constants, stored.clone())
    };
    let start: Vec<f64> = parameters.iter().map(|free| free.start).collect();
    let mut table = built(physics(&start));
    let rows: Vec<(Shape, f64)> = table.measured().collect();
    let rows: Vec<(Shape, f64)> = rows
        .iter()
        .step_by(rows.len().div_ceil(ROWS))
        .copied()
        .collect();
    let mut loss = |at: &[f64]| {
        table.physics = physics(&within(parameters, at));
        let one = |(shape, us): &(Shape, f64)| {
            let miss = (base_us(&table, *shape) / us).ln() / OUTLIER;
            miss.hypot(1.0) - 1.0
        };
        let misses: Vec<f64> = rows.par_iter().map(one).collect();
        misses.iter().sum()
    };
    let scales: Vec<f64> = parameters
        .iter()
        .map(|free| 0.25 * free.start.max(0.1 * (free.high - free.low)))
        .collect();
    let (mut at, mut least) = (start, f64::INFINITY);
    for round in 0..ROUNDS {
        let shrunk = 0.5_f64.powi(round as i32 / 2);
        let sides: Vec<f64> = scales.iter().map(|scale| scale * shrunk).collect();
        let (next, value) = simplex(&at, &sides, &mut loss);
        let gained = least - value;
        (at, least) = (within(parameters, &next), value);
        if gained < 1e-3 * least {
            break;
        }
    }
    (physics(&at), least)
}

fn within(parameters: &[Free], at: &[f64]) -> Vec<f64> {
    let both = parameters.iter().zip(at);
    both.map(|(free, value)| value.clamp(free.low, free.high))
        .collect()
}

/// Nelder and Mead's search from `start` with a simplex of these sides: the best point and its value.
fn simplex(start: &[f64], sides: &[f64], loss: &mut impl FnMut(&[f64]) -> f64) -> (Vec<f64>, f64) {
    let n = start.len();
    let mut points: Vec<(Vec<f64>, f64)> = vec![(start.to_vec(), loss(start))];
    for (axis, side) in sides.iter().enumerate() {
        let mut point = start.to_vec();
        point[axis] += side;
        let value = loss(&point);
        points.push((point, value));
    }
    for _ in 0..STEPS {
        points.sort_by(|a, b| a.1.total_cmp(&b.1));
        if points[n].1 - points[0].1 < 1e-6 * points[0].1.abs() {
            break;
        }
        let centre: Vec<f64> = (0..n)
            .map(|axis| points[..n].iter().map(|(p, _)| p[axis]).sum::<f64>() / n as f64)
            .collect();
        let towards = |share: f64| -> Vec<f64> {
            let worst = &points[n].0;
            let pair = centre.iter().zip(worst);
            pair.map(|(c, w)| c + share * (w - c)).collect()
        };
        let reflected = towards(-1.0);
        let value = loss(&reflected);
        if value < points[0].1 {
            let further = towards(-2.0);
            let beyond = loss(&further);
            points[n] = if beyond < value {
                (further, beyond)
            } else {
                (reflected, value)
            };
        } else if value < points[n - 1].1 {
            points[n] = (reflected, value);
        } else {
            let nearer = if value < points[n].1 {
                towards(-0.5)
            } else {
                towards(0.5)
            };
            let inside = loss(&nearer);
            if inside < points[n].1.min(value) {
                points[n] = (nearer, inside);
                continue;
            }
            let lead = points[0].0.clone();
            for (point, known) in &mut points[1..] {
                for (value, best) in point.iter_mut().zip(&lead) {
                    *value = f64::midpoint(*value, *best);
                }
                *known = loss(point);
            }
        }
    }
    points.sort_by(|a, b| a.1.total_cmp(&b.1));
    points.swap_remove(0)
}

#[cfg(test)]
mod tests {
    use topologies::gpu;

    use super::*;
    use crate::store::code_of;

    #[test]
    fn a_simplex_finds_the_bottom_of_a_valley() {
        // Rosenbrock's function has its only minimum, 0, at (1, 1).
        let mut valley =
            |at: &[f64]| (1.0 - at[0]).powi(2) + 100.0 * (at[1] - at[0] * at[0]).powi(2);
        let (at, value) = simplex(&[-1.2, 1.0], &[0.5, 0.5], &mut valley);
        assert!(value < 1e-6 && (at[0] - 1.0).abs() < 1e-2, "{at:?} {value}");
    }

    #[test]
    fn constants_that_made_a_table_are_found_again() {
        let gpu = gpu::find("H100-SXM").unwrap();
        let axes = [
            vec![64, 256, 1024, 4096, 16_384],
            vec![256, 2048, 8192],
            vec![128, 1024, 4096, 16_384],
        ];
        let besides = Besides::Split(3.0);
        let truth = gemm::Base {
            t0: 2.2,
            tk: 0.05,
            e0: 0.85,
            c: 0.05,
            b: 0.8,
            f: 1.3,
            e1: 2.0,
            besides,
        };
        let chip = Chip::of(gpu);
        let mut cells = Vec::new();
        for m in &axes[0] {
            for n in &axes[1] {
                for k in &axes[2] {
                    let shape = gemm::Shape {
                        m: (*m).into(),
                        n: (*n).into(),
                        k: (*k).into(),
                    };
                    cells.push(code_of(truth.us(&chip, chip.bf16, DType::Bf16, shape)));
                }
            }
        }
        let text = || "h100_sxm".to_owned();
        let stored = StoredTable {
            kind: Kind::Gemm,
            system: text(),
            software: text(),
            kernel: text(),
            dtype: DType::Bf16,
            axes,
            cells,
        };
        let fit = Fit::of(&stored, gpu).unwrap();
        assert!(fit.base[1] < 0.02, "{}", fit.line());
        assert!(fit.line().starts_with("h100_sxm,bf16,2."), "{}", fit.line());
    }
}
