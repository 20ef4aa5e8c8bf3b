//! Kernels of whole runs, as JSON.

use planner::validate::operations;
#[cfg(test)]
use schemars::JsonSchema;
use serde::Serialize;

use super::tier::{Tier, all};
use crate::render::json::Amount;

/// Kernels of whole runs: one by one, and summed so that errors which cancel are seen.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub(crate) struct Operations {
    /// Errors of single kernels; strata by class, and by run and class.
    pub single: Tier,
    /// Sums by run and class.
    pub sums: Vec<Sum>,
}

/// The predicted kernels of one class in one run.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub(crate) struct Sum {
    /// The run.
    pub run: String,
    /// Its GPU.
    pub gpu: String,
    /// Matrix products, attention or elementwise.
    pub class: &'static str,
    /// Rows that are predicted.
    pub rows: usize,
    /// What they took together, microseconds.
    pub measured_us: Amount,
    /// What is predicted for them, microseconds.
    pub predicted_us: Amount,
    /// Predicted over measured less one, percent.
    pub error_pct: f64,
    /// Share of the run's time that these rows took, percent.
    pub share_pct: Amount,
}

impl From<&operations::Operations> for Operations {
    fn from(of: &operations::Operations) -> Self {
        Self {
            single: (&of.single).into(),
            sums: all(&of.sums),
        }
    }
}

impl From<&operations::Sum> for Sum {
    fn from(of: &operations::Sum) -> Self {
        Self {
            run: of.run.clone(),
            gpu: of.gpu.clone(),
            class: of.class.name(),
            rows: of.rows,
            measured_us: of.measured.as_us_f64().into(),
            predicted_us: of.predicted.as_us_f64().into(),
            error_pct: of.error_pct(),
            share_pct: (100.0 * of.share).into(),
        }
    }
}
