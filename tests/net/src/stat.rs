//! Bootstrap intervals of a median.

use planner::validate::statistics::{median, percentile};
use sim::testing::Numbers;

/// Resamples.
const RESAMPLES: usize = 2000;

/// A median and its 95 % interval.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Estimate {
    /// Lower end.
    pub lo: f64,
    /// The median.
    pub median: f64,
    /// Upper end.
    pub hi: f64,
}

/// The median of `values` with the percentile bootstrap's 95 % interval (Efron, *Annals of Statistics* 7, 1979).
pub(crate) fn bootstrap(values: &[f64]) -> Estimate {
    let mut numbers = Numbers::new(values.len() as u64);
    let mut resample = || {
        let drawn = (0..values.len()).map(|_| values[numbers.below(values.len())]);
        median(drawn.collect())
    };
    let mut medians: Vec<f64> = (0..RESAMPLES).map(|_| resample()).collect();
    medians.sort_by(f64::total_cmp);
    Estimate {
        lo: percentile(&medians, 0.025),
        median: median(values.to_vec()),
        hi: percentile(&medians, 0.975),
    }
}
