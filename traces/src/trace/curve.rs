//! How far activations move from step to step: the curve that decides what residuals cost.
//!
//! ```text
//! ratio_t = mean ||x_t - x_(t-1)|| / mean ||x_t||        means over tensors and samples
//! ```
//! the way CompactFusion publishes it for FLUX.1-dev, so that both can be laid over each other.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde::{Deserialize, Serialize};

use super::{Statistic, Tensor};

/// Steps of the published FLUX.1-dev run (traces/data/README.md).
pub const FLUX_STEPS: u32 = 28;

static FLUX: LazyLock<Vec<PublishedStep>> = LazyLock::new(|| {
    let text = include_str!("../../data/flux_step_statistics.csv");
    let rows = csv::Reader::from_reader(text.as_bytes())
        .into_deserialize()
        .collect();
    let rows: Result<Vec<PublishedStep>, csv::Error> = rows;
    rows.expect("the published table is part of the program, and a test reads it")
});

/// One step of FLUX.1-dev as CompactFusion published it (traces/data/README.md).
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
pub struct PublishedStep {
    /// The step, from 1.
    pub step: u32,
    /// Mean Frobenius norm of 114 tensors.
    #[serde(rename = "activation_activation_norm")]
    pub norm: f64,
    /// Mean cosine to the step before; not printed for step 1.
    #[serde(rename = "activation_mean_cosine_similarity_to_previous_step")]
    pub cosine: Option<f64>,
    /// Mean norm of the change since the step before.
    #[serde(rename = "activation_step_residual_norm")]
    pub residual_norm: f64,
}

impl PublishedStep {
    /// Residual over activation.
    #[must_use]
    pub fn ratio(&self) -> f64 {
        self.residual_norm / self.norm
    }
}

/// The published statistics of FLUX.1-dev, 28 steps: step 1 to 27.
#[must_use]
pub fn flux() -> &'static [PublishedStep] {
    &FLUX
}

/// The published step at the same part of a run of `steps` steps.
#[must_use]
pub fn flux_at(step: u32, steps: u32) -> &'static PublishedStep {
    let place = f64::from(step) * f64::from(FLUX_STEPS) / f64::from(steps.max(1));
    let place = (place.round() as usize).clamp(1, FLUX.len());
    &FLUX[place - 1]
}

/// Which layers a point of a curve stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grouping {
    /// All of them together.
    Together,
    /// One point for each.
    ByLayer,
}

/// Means over some tensors at one step.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Point {
    /// The step, from 1.
    pub step: u32,
    /// The layer; nothing for all together.
    pub layer: Option<u32>,
    /// K or V; nothing for both together.
    pub tensor: Option<Tensor>,
    /// How many tensors of samples it is the mean of.
    pub tensors: u32,
    /// Mean norm.
    pub norm: f64,
    /// Mean norm of the change since the step before.
    pub residual_norm: f64,
    /// Residual over activation.
    pub ratio: f64,
    /// Mean cosine to the step before.
    pub cosine: f64,
}

/// The curve of statistics: a point for each step with one before it, for K, V and both, by step, layer
/// and tensor (both first).
#[must_use]
pub fn curve(rows: &[Statistic], grouping: Grouping) -> Vec<Point> {
    let mut sums: BTreeMap<(u32, Option<u32>, Option<Tensor>), [f64; 4]> = BTreeMap::new();
    for row in rows {
        let (Some(residual), Some(cosine)) = (row.residual_norm, row.cosine) else {
            continue;
        };
        let layer = match grouping {
            Grouping::Together => None,
            Grouping::ByLayer => Some(row.layer),
        };
        for tensor in [None, Some(row.tensor)] {
            let sum = sums.entry((row.step, layer, tensor)).or_default();
            for (sum, more) in sum.iter_mut().zip([1.0, row.norm, residual, cosine]) {
                *sum += more;
            }
        }
    }
    let points = sums.into_iter().map(|((step, layer, tensor), sum)| {
        let [count, norm, residual, cosine] = sum;
        Point {
            step,
            layer,
            tensor,
            tensors: count as u32,
            norm: norm / count,
            residual_norm: residual / count,
            ratio: if norm > 0.0 { residual / norm } else { 0.0 },
            cosine: cosine / count,
        }
    });
    points.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The published curve: 1083.29 / 2343.55 = 0.462 at the start, lowest in the middle, mean 0.205.
    #[test]
    fn the_published_curve_is_u_shaped() {
        let ratios: Vec<f64> = flux().iter().map(PublishedStep::ratio).collect();
        assert_eq!(ratios.len(), 27);
        assert!((ratios[0] - 0.4622).abs() < 1e-4);
        let mean = ratios.iter().sum::<f64>() / 27.0;
        assert!((mean - 0.205).abs() < 5e-4, "{mean}");
        let lowest = ratios.iter().copied().fold(f64::INFINITY, f64::min);
        assert!(lowest < 0.5 * ratios[26] && lowest < 0.4 * ratios[0]);
    }

    #[test]
    fn a_step_of_another_run_has_its_place_in_the_published_one() {
        assert_eq!(flux_at(1, 28).step, 1);
        assert_eq!(flux_at(27, 28).step, 27);
        assert_eq!(flux_at(4, 8).step, 14);
        assert_eq!(flux_at(3, 4).step, 21);
    }

    /// Residuals 1 and 3 over norms 10 and 10: 0.1 for K, 0.3 for V, 0.2 for both.
    #[test]
    fn points_are_ratios_of_means() {
        let row = |tensor, residual| Statistic {
            sample: 0,
            step: 1,
            layer: 5,
            tensor,
            norm: 10.0,
            residual_norm: Some(residual),
            cosine: Some(0.9),
        };
        let first = Statistic {
            step: 0,
            residual_norm: None,
            cosine: None,
            ..row(Tensor::K, 0.0)
        };
        let rows = [first, row(Tensor::K, 1.0), row(Tensor::V, 3.0)];
        let points = curve(&rows, Grouping::Together);
        let ratios: Vec<_> = points
            .iter()
            .map(|point| (point.tensor, point.ratio))
            .collect();
        assert_eq!(
            ratios,
            [(None, 0.2), (Some(Tensor::K), 0.1), (Some(Tensor::V), 0.3)]
        );
        let by_layer = curve(&rows, Grouping::ByLayer);
        assert!(by_layer.iter().all(|point| point.layer == Some(5)));
    }
}
