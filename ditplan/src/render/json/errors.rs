//! Errors of predictions over measurements, as JSON.

use std::collections::BTreeMap;

use planner::validate::statistics;
#[cfg(test)]
use schemars::JsonSchema;
use serde::Serialize;

use super::values::Amount;

/// Errors of predictions over measurements; null without rows.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub(crate) struct Score {
    /// Rows looked at.
    pub n: usize,
    /// Rows that have a prediction.
    pub mapped: usize,
    /// Median of the error's size, percent.
    pub median_pct: Option<Amount>,
    /// 90th percentile of the error's size, percent.
    pub p90_pct: Option<Amount>,
    /// Mean of the error's size, percent.
    pub mape_pct: Option<Amount>,
    /// The largest error's size, percent.
    pub max_pct: Option<Amount>,
    /// Mean of the signed error, percent; positive when the prediction is too long.
    pub bias_pct: Option<f64>,
    /// Share of rows inside their 90 % interval, percent; left out where predictions have no interval.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub coverage_pct: Option<Option<Amount>>,
    /// Geometric mean of the interval's upper end over the prediction; left out where predictions have no interval.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub width: Option<Option<Amount>>,
}

/// Errors of simpler models on the same rows, by their names.
pub(crate) type Baselines = BTreeMap<&'static str, Score>;

/// A number; none where it is not finite.
pub(crate) fn known<T: From<f64>>(number: f64) -> Option<T> {
    number.is_finite().then(|| number.into())
}

/// Simpler models as JSON.
pub(crate) fn baselines(all: &BTreeMap<&'static str, statistics::Score>) -> Baselines {
    all.iter().map(|(name, of)| (*name, of.into())).collect()
}

impl From<&statistics::Score> for Score {
    fn from(of: &statistics::Score) -> Self {
        Self {
            n: of.n,
            mapped: of.mapped,
            median_pct: known(of.median_pct),
            p90_pct: known(of.p90_pct),
            mape_pct: known(of.mape_pct),
            max_pct: known(of.max_pct),
            bias_pct: known(of.bias_pct),
            coverage_pct: of.coverage_pct.map(known),
            width: of.width.map(known),
        }
    }
}
