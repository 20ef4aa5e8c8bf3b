//! Percentiles, and means with their 95 % intervals.
//!
//! Latencies of one run depend on each other, so that their own scatter says little about a percentile's.
//! An interval is Student's t over the percentiles of independent replications (Law, *Simulation Modeling and
//! Analysis*, 5th ed., section 9.4). A recorded stream has no replications: what it says of itself is exact,
//! and has no interval.

use statrs::distribution::{ContinuousCDF, StudentsT};

/// A figure with its 95 % interval.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Estimate {
    /// The mean of its samples.
    pub value: f64,
    /// Lower end; the value itself where there is one sample.
    pub lo: f64,
    /// Upper end.
    pub hi: f64,
}

impl Estimate {
    /// The mean of independent samples with its 95 % interval.
    ///
    /// # Panics
    /// If there is no sample.
    #[must_use]
    pub fn of(samples: &[f64]) -> Self {
        assert!(!samples.is_empty(), "an estimate needs a sample");
        let n = samples.len() as f64;
        let value = samples.iter().sum::<f64>() / n;
        if samples.len() == 1 {
            return Self {
                value,
                lo: value,
                hi: value,
            };
        }
        let squares: f64 = samples.iter().map(|sample| (sample - value).powi(2)).sum();
        let error = (squares / (n - 1.0) / n).sqrt();
        let student = StudentsT::new(0.0, 1.0, n - 1.0).expect("two samples or more");
        let half = student.inverse_cdf(0.975) * error;
        Self {
            value,
            lo: value - half,
            hi: value + half,
        }
    }
}

/// The percentile of ascending values: the smallest that so large a share of them does not exceed.
///
/// # Panics
/// If there are no values or the share is not in (0, 1].
#[must_use]
pub fn percentile(ascending: &[f64], share: f64) -> f64 {
    assert!(
        !ascending.is_empty() && share > 0.0 && share <= 1.0,
        "a percentile needs values and a share in (0, 1]"
    );
    // Less a breath, so that 0.95 of 100 values is the 95th and not the 96th.
    let rank = (share * ascending.len() as f64 - 1e-9).ceil() as usize;
    ascending[rank.clamp(1, ascending.len()) - 1]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_nearest_ranks() {
        let values: Vec<f64> = (1..=100).map(f64::from).collect();
        assert_eq!(percentile(&values, 0.95), 95.0);
        assert_eq!(percentile(&values, 0.5), 50.0);
        assert_eq!(percentile(&values, 1.0), 100.0);
        assert_eq!(percentile(&[3.0], 0.01), 3.0);
    }

    #[test]
    fn an_interval_is_students() {
        // Ten samples: t(9, 0.975) = 2.262; mean 5.5, s = 3.0277, half = 2.262 x 3.0277 / sqrt(10) = 2.166.
        let samples: Vec<f64> = (1..=10).map(f64::from).collect();
        let estimate = Estimate::of(&samples);
        assert_eq!(estimate.value, 5.5);
        assert!((estimate.hi - 7.666).abs() < 1e-3, "{estimate:?}");
        assert!((estimate.lo - 3.334).abs() < 1e-3, "{estimate:?}");
        assert_eq!(Estimate::of(&[2.0]).hi, 2.0);
    }
}
