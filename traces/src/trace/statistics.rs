//! `stats.csv.gz`: norms of K and V, and how far they move from step to step.
//!
//! ```text
//! norm ||x_t||      residual_norm ||x_t - x_(t-1)||      cosine <x_t, x_(t-1)> / (||x_t|| ||x_(t-1)||)
//! ```
//! over the whole sequence and all heads of one sample. A cosine with a zero tensor is 0.

use serde::{Deserialize, Serialize};

use super::rows::{Row, not_negative};
use super::{Dtype, NonFinite, Rows, StepView, Tensor, TraceError};

/// Elements compared at a time.
const BLOCK: usize = 4096;

/// What sums may differ by beside rounding: 32-bit accumulation on a GPU.
const SUMS: f64 = 1e-4;

/// One tensor of one sample at one step.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Statistic {
    /// The sample, as the manifest counts them.
    pub sample: u32,
    /// The step.
    pub step: u32,
    /// The layer.
    pub layer: u32,
    /// K or V.
    pub tensor: Tensor,
    /// Frobenius norm.
    pub norm: f64,
    /// Frobenius norm of the change since the step before; nothing at step 0.
    pub residual_norm: Option<f64>,
    /// Cosine to the step before; nothing at step 0.
    pub cosine: Option<f64>,
}

impl Row for Statistic {
    const FILE: &'static str = super::STATISTICS;

    fn check(&self) -> Result<(), String> {
        not_negative("norm", self.norm)?;
        if let Some(residual) = self.residual_norm {
            not_negative("residual_norm", residual)?;
        }
        match (self.step, self.residual_norm, self.cosine) {
            (0, None, None) => Ok(()),
            (0, ..) => Err("step 0 has no step before".to_owned()),
            (_, Some(_), Some(cosine)) if (-1.001..=1.001).contains(&cosine) => Ok(()),
            (_, Some(_), Some(cosine)) => Err(format!("cosine is {cosine}")),
            (_, None, None) => Ok(()),
            _ => Err("residual_norm and cosine stand together".to_owned()),
        }
    }
}

impl Statistic {
    /// Compares with what the activations give: the name of the first figure that is further away than
    /// rounding to `dtype` explains, as written and as recomputed.
    #[must_use]
    pub fn differs(&self, recomputed: &Self, dtype: Dtype) -> Option<(&'static str, f64, f64)> {
        let rounding = dtype.rounding() + SUMS;
        let scale = recomputed.norm;
        let pairs = [
            ("norm", Some(self.norm), Some(scale), rounding * scale),
            // Both tensors of a difference are rounded.
            (
                "residual_norm",
                self.residual_norm,
                recomputed.residual_norm,
                3.0 * rounding * scale,
            ),
            ("cosine", self.cosine, recomputed.cosine, 4.0 * rounding),
        ];
        pairs.into_iter().find_map(|(name, found, expected, most)| {
            let (found, expected) = (found?, expected?);
            ((found - expected).abs() > most).then_some((name, found, expected))
        })
    }
}

/// Statistics of one tensor of a step, a row for each recorded sample; `before` is the step before, if
/// that is recorded.
///
/// # Errors
/// [`TraceError::NonFinite`] for the first element that is NaN or infinite, and
/// [`TraceError::NotRecorded`].
pub fn measure(
    now: &StepView,
    before: Option<&StepView>,
    layer: u32,
    tensor: Tensor,
) -> Result<Vec<Statistic>, TraceError> {
    let view = now.tensor(layer, tensor)?;
    let before = before.filter(|before| before.step() + 1 == now.step());
    let before = before
        .map(|before| before.tensor(layer, tensor))
        .transpose()?;
    let samples = now.samples().iter().enumerate();
    let rows = samples.map(|(place, &sample)| {
        let before = before.map(|before| before.sample(place));
        let sums =
            Sums::over(view.sample(place), before).map_err(|found| TraceError::NonFinite {
                file: now.path().display().to_string(),
                value: found.value,
                tensor,
                layer,
                step: now.step(),
                sample,
                index: found.index,
                remedy: "",
            })?;
        Ok(Statistic {
            sample,
            step: now.step(),
            layer,
            tensor,
            norm: sums.now.sqrt(),
            residual_norm: before.map(|_| sums.residual.sqrt()),
            cosine: before.map(|_| sums.cosine()),
        })
    });
    rows.collect()
}

/// Sums of products of two steps' elements.
#[derive(Default)]
struct Sums {
    now: f64,
    before: f64,
    residual: f64,
    product: f64,
}

impl Sums {
    fn over(now: Rows<'_>, before: Option<Rows<'_>>) -> Result<Self, NonFinite> {
        let mut sums = Self::default();
        let (mut x, mut y) = ([0.0_f32; BLOCK], [0.0_f32; BLOCK]);
        let mut done = 0;
        while done < now.elements() {
            let count = BLOCK.min(now.elements() - done);
            let (x, y) = (&mut x[..count], &mut y[..count]);
            now.block(done, x);
            if let Some(before) = before {
                before.block(done, y);
            }
            if let Some(at) = x.iter().position(|value| !value.is_finite()) {
                return Err(NonFinite {
                    index: done + at,
                    value: x[at],
                });
            }
            sums.add(x, y);
            done += count;
        }
        Ok(sums)
    }

    fn add(&mut self, x: &[f32], y: &[f32]) {
        for (x, y) in x.iter().zip(y) {
            let (x, y) = (f64::from(*x), f64::from(*y));
            self.now += x * x;
            self.before += y * y;
            self.residual += (x - y) * (x - y);
            self.product += x * y;
        }
    }

    fn cosine(&self) -> f64 {
        let norms = (self.now * self.before).sqrt();
        if norms == 0.0 {
            0.0
        } else {
            self.product / norms
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{manifest, synthetic};

    /// ||x - y||^2 = ||x||^2 + ||y||^2 - 2 <x, y>: the three figures are tied.
    #[test]
    fn norms_obey_the_law_of_cosines() {
        let folder = tempfile::tempdir().unwrap();
        let trace = synthetic(folder.path(), &manifest(2, 1, 3)).unwrap();
        let steps: Vec<StepView> = (0..3).map(|step| trace.step(step).unwrap()).collect();
        for pair in steps.windows(2) {
            for tensor in Tensor::ALL {
                let first = measure(&pair[0], None, 0, tensor).unwrap();
                let second = measure(&pair[1], Some(&pair[0]), 0, tensor).unwrap();
                for (x, y) in second.iter().zip(first) {
                    let (residual, cosine) = (x.residual_norm.unwrap(), x.cosine.unwrap());
                    let law = x.norm.powi(2) + y.norm.powi(2) - 2.0 * cosine * x.norm * y.norm;
                    assert!((residual.powi(2) - law).abs() < 1e-9 * law.abs().max(1.0));
                    assert!(residual > 0.0 && x.check().is_ok());
                }
            }
        }
    }

    #[test]
    fn only_the_step_before_has_a_residual() {
        let folder = tempfile::tempdir().unwrap();
        let trace = synthetic(folder.path(), &manifest(1, 1, 3)).unwrap();
        let (first, last) = (trace.step(0).unwrap(), trace.step(2).unwrap());
        let row = measure(&last, Some(&first), 0, Tensor::K).unwrap()[0];
        assert_eq!((row.residual_norm, row.cosine), (None, None));
    }

    #[test]
    fn what_rounding_does_not_explain_differs() {
        let right = Statistic {
            sample: 0,
            step: 1,
            layer: 0,
            tensor: Tensor::K,
            norm: 10.0,
            residual_norm: Some(1.0),
            cosine: Some(0.9),
        };
        assert_eq!(right.differs(&right, Dtype::Float16), None);
        let near = Statistic {
            norm: 10.004,
            ..right
        };
        assert_eq!(near.differs(&right, Dtype::Float16), None);
        let far = Statistic {
            residual_norm: Some(1.1),
            ..right
        };
        let found = far.differs(&right, Dtype::Float16);
        assert_eq!(found, Some(("residual_norm", 1.1, 1.0)));
    }
}
