//! Attention by kernel: a physical base, and what published charts say beyond it.
//!
//! ```text
//! ln T(GPU, kernel, shape) = ln base + residual;   residual = kriging over all rows of all charts
//! ```
//! Rows covary as far as they share a GPU (its real clock and power), a kernel on an architecture, or
//! both; no trend is fitted, so that a kernel never charted keeps its base. The interval is the
//! kriging's own.
//!
//! Guarantees: a charted shape is answered as charted; else a GPU exceeds 92 % of its peak only as far as a
//! chart of its own does; one without charts not its sustained rate of products either. Not modelled:
//! grouped heads.

mod law;
mod physics;
mod rows;

pub(crate) use physics::peak;

use std::sync::OnceLock;

use topologies::{Gpu, gpu};

use crate::attention::Shape;
use crate::attention_kernel::AttentionKernel;
use crate::cost::Provenance;
use crate::kinship::Kinship;
use crate::solve;
use crate::store::Mask;
use crate::tables::Answer;

/// One attention of one kernel on one GPU.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Case<'a> {
    pub gpu: &'a Gpu,
    pub kernel: AttentionKernel,
    pub mask: Mask,
    pub shape: Shape,
}

impl Case<'_> {
    pub(crate) fn base_us(&self) -> f64 {
        physics::us(self.kernel, self.gpu, self.mask, self.shape)
    }

    /// FLOP per microsecond where the case takes `us`.
    fn rate(&self, us: f64) -> f64 {
        self.shape.flops(self.mask) / us
    }

    /// Whether both are of one kernel, width and mask on one GPU.
    fn is_of_the_chart_of(&self, other: &Case<'_>) -> bool {
        self.is_kernel_of(other)
            && self.mask == other.mask
            && self.shape.head_dim == other.shape.head_dim
    }

    fn is_kernel_of(&self, other: &Case<'_>) -> bool {
        self.kernel == other.kernel && self.gpu.name == other.gpu.name
    }
}

/// A measured row.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Row<'a> {
    pub case: Case<'a>,
    pub us: f64,
}

/// Charts, ready to answer.
pub(crate) struct Charts<'a> {
    rows: Vec<Row<'a>>,
    /// U with U'U the rows' covariance.
    factor: Vec<f64>,
    /// The covariance's inverse times the residuals.
    weights: Vec<f64>,
}

impl<'a> Charts<'a> {
    pub(crate) fn of(rows: Vec<Row<'a>>) -> Self {
        let n = rows.len();
        let mut factor = vec![0.0; n * n];
        for (i, one) in rows.iter().enumerate() {
            for (j, other) in rows.iter().enumerate().skip(i) {
                factor[i * n + j] = law::covariance(&one.case, &other.case);
            }
            factor[i * n + i] += law::NUGGET;
        }
        solve::factor(&mut factor, n);
        let residual = |row: &Row<'_>| (row.us / row.case.base_us()).ln();
        let weights = solve::solve(&factor, rows.iter().map(residual).collect());
        Self {
            rows,
            factor,
            weights,
        }
    }

    /// The charts that ship with the program.
    pub(crate) fn built_in() -> &'static Charts<'static> {
        static CHARTS: OnceLock<Charts<'static>> = OnceLock::new();
        CHARTS.get_or_init(|| Charts::of(rows::built_in()))
    }

    /// The charts but for rows that are `left_out`.
    pub(crate) fn without(&self, left_out: impl Fn(&Case<'_>) -> bool) -> Self {
        let kept = self.rows.iter().filter(|row| !left_out(&row.case));
        Self::of(kept.copied().collect())
    }

    /// The charts but for those of a kernel on a GPU.
    pub(crate) fn without_kernel(&self, gpu: &Gpu, kernel: AttentionKernel) -> Self {
        self.without(|case| case.kernel == kernel && case.gpu.name == gpu.name)
    }

    /// Whether a chart of the kernel is of this GPU, or of another with its chip.
    pub(crate) fn know(&self, gpu: &Gpu, kernel: AttentionKernel) -> bool {
        let same = |row: &Row<'_>| {
            row.case.kernel == kernel && Kinship::of(row.case.gpu, gpu) <= Kinship::SameChip
        };
        self.rows.iter().any(same)
    }

    /// Every row.
    pub(crate) fn rows(&self) -> impl Iterator<Item = &Row<'a>> {
        self.rows.iter()
    }

    /// Whether `case` itself is charted.
    pub(crate) fn hold(&self, case: &Case<'_>) -> bool {
        self.place(case).is_some()
    }

    fn place(&self, case: &Case<'_>) -> Option<usize> {
        self.rows.iter().position(|row| {
            let known = &row.case;
            known.shape == case.shape && known.is_of_the_chart_of(case) && known.gpu == case.gpu
        })
    }

    /// Whether any chart is of this GPU, or of another with its chip.
    pub(crate) fn know_gpu(&self, gpu: &Gpu) -> bool {
        let mut rows = self.rows.iter();
        rows.any(|row| Kinship::of(row.case.gpu, gpu) <= Kinship::SameChip)
    }

    /// What `case` takes; with `itself` left out, as if it were not charted.
    pub(crate) fn answer(&self, case: &Case<'_>, itself: bool) -> Answer {
        let charted = self.place(case);
        if let (Some(at), true) = (charted, itself) {
            return Answer {
                us: self.rows[at].us,
                provenance: Provenance::Measured,
                half_width: law::half_width(0.0),
                note: format!("charted for {}", case.gpu.name),
            };
        }
        let (residual, variance) = match charted {
            Some(at) => self.without_row(at),
            None => self.at(case),
        };
        let us = case.base_us() * residual.exp();
        let ceiling = self.ceiling(case);
        let us = if case.rate(us) > ceiling {
            case.shape.flops(case.mask) / ceiling
        } else {
            us
        };
        let (provenance, note) = self.origin(case);
        Answer {
            us,
            provenance,
            half_width: law::half_width(variance),
            note,
        }
    }

    /// Residual and its variance.
    fn at(&self, case: &Case<'_>) -> (f64, f64) {
        let towards: Vec<f64> = self
            .rows
            .iter()
            .map(|row| law::covariance(&row.case, case))
            .collect();
        let mean = towards.iter().zip(&self.weights).map(|(c, w)| c * w).sum();
        let mut explained = towards;
        solve::forward(&self.factor, &mut explained);
        let explained: f64 = explained.iter().map(|z| z * z).sum();
        let sill = law::covariance(case, case);
        (mean, (sill - explained).max(0.0))
    }

    /// The residual of a row and its variance, from all the others.
    fn without_row(&self, at: usize) -> (f64, f64) {
        let n = self.rows.len();
        let unit = (0..n).map(|i| if i == at { 1.0 } else { 0.0 });
        let own = solve::solve(&self.factor, unit.collect())[at];
        let row = &self.rows[at];
        let residual = (row.us / row.case.base_us()).ln();
        (
            residual - self.weights[at] / own,
            (1.0 / own - law::NUGGET).max(0.0),
        )
    }

    /// The highest rate that is believed, FLOP per microsecond.
    fn ceiling(&self, case: &Case<'_>) -> f64 {
        let believed = |row: &&Row<'_>| {
            row.case.gpu.name == case.gpu.name
                && (row.case.kernel == case.kernel
                    || row.case.kernel.is_16_bit() && case.kernel.is_16_bit())
                && row.case.shape != case.shape
        };
        let charted = self.rows.iter().filter(believed);
        let fastest = charted.map(|row| row.case.rate(row.us)).fold(0.0, f64::max);
        let peak = physics::MOST * peak(case.kernel, case.gpu);
        if self.know_gpu(case.gpu) || !case.kernel.is_16_bit() {
            return peak.max(fastest);
        }
        let products = case.gpu.sustained_gemm.map(|rate| rate.as_f64() / 1e6);
        peak.min(products.unwrap_or(peak))
    }

    fn origin(&self, case: &Case<'_>) -> (Provenance, String) {
        let kernel = case.kernel;
        let lengths = self
            .rows
            .iter()
            .filter(|row| row.case.is_of_the_chart_of(case));
        let lengths: Vec<u64> = lengths.map(|row| row.case.shape.keys).collect();
        if let (Some(low), Some(high)) = (lengths.iter().min(), lengths.iter().max()) {
            let note = format!("chart of {}", case.gpu.name);
            return if (*low..=*high).contains(&case.shape.keys) {
                (Provenance::Interpolated, note)
            } else {
                (Provenance::Extrapolated, note)
            };
        }
        let kin = |row: &&Row<'_>| row.case.kernel == kernel;
        let nearest = self.rows.iter().filter(kin).min_by_key(|row| {
            let unlike =
                row.case.mask != case.mask || row.case.shape.head_dim != case.shape.head_dim;
            (Kinship::of(row.case.gpu, case.gpu), unlike)
        });
        match nearest {
            Some(row) if Kinship::of(row.case.gpu, case.gpu) <= Kinship::Family => {
                let note = format!("chart of {}, moved by the datasheets", row.case.gpu.name);
                (Provenance::Borrowed, note)
            }
            _ => (
                Provenance::Datasheet,
                "datasheet, no chart of a relative".to_owned(),
            ),
        }
    }
}

/// The GPU that a chart names.
fn charted_gpu(name: &str) -> &'static Gpu {
    gpu::find(name).expect("a test reads the built-in charts")
}

#[cfg(test)]
mod tests;
