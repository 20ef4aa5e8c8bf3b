//! Errors of predictions, and how good the choices are that rest on them.
//!
//! ```text
//! error  = predicted / measured - 1            regret = measured(our pick) / measured(best) - 1
//! tau    = (pairs ordered alike - pairs ordered otherwise) / pairs
//! ```
//! Percentiles lie linearly between the two ranks around them. Not modelled: repeats of a
//! measurement; the tables hold medians.

use serde::Serialize;

/// A measurement and what was predicted for it, in the same unit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Outcome {
    /// What was measured.
    pub measured: f64,
    /// What was predicted.
    pub predicted: f64,
    /// Lower end of the 90 % interval.
    pub lo: f64,
    /// Upper end of the 90 % interval.
    pub hi: f64,
}

/// The errors of a set of rows, in percent; null where there is nothing to say.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Score {
    /// Rows looked at.
    pub n: usize,
    /// Rows with a prediction.
    pub mapped: usize,
    /// Median of the error's size.
    pub median_pct: f64,
    /// 90th percentile of the error's size.
    pub p90_pct: f64,
    /// Mean of the error's size.
    pub mape_pct: f64,
    /// The largest error's size.
    pub max_pct: f64,
    /// Mean of the signed error; positive when the prediction is too long.
    pub bias_pct: f64,
    /// Share of rows inside their 90 % interval; absent for baselines, which have none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub coverage_pct: Option<f64>,
    /// Geometric mean of the interval's upper end over the prediction; absent for baselines.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub width: Option<f64>,
}

impl Score {
    /// The errors of predictions with intervals; `n` rows were looked at.
    #[must_use]
    pub fn of(n: usize, outcomes: &[Outcome]) -> Self {
        let inside = outcomes
            .iter()
            .filter(|one| (one.lo..=one.hi).contains(&one.measured));
        let share = 100.0 * inside.count() as f64 / outcomes.len() as f64;
        let widths = outcomes.iter().map(|one| (one.hi / one.predicted).ln());
        Self {
            coverage_pct: Some(share),
            width: Some(mean(&widths.collect::<Vec<_>>()).exp()),
            ..Self::of_pairs(n, outcomes.iter().map(|one| (one.measured, one.predicted)))
        }
    }

    /// The errors of (measured, predicted) pairs without intervals.
    pub fn of_pairs(n: usize, pairs: impl Iterator<Item = (f64, f64)>) -> Self {
        let signed: Vec<f64> = pairs
            .map(|(measured, predicted)| 100.0 * (predicted / measured - 1.0))
            .collect();
        let mut sizes: Vec<f64> = signed.iter().map(|error| error.abs()).collect();
        sizes.sort_by(f64::total_cmp);
        Self {
            n,
            mapped: signed.len(),
            median_pct: percentile(&sizes, 0.5),
            p90_pct: percentile(&sizes, 0.9),
            mape_pct: mean(&sizes),
            max_pct: percentile(&sizes, 1.0),
            bias_pct: mean(&signed),
            coverage_pct: None,
            width: None,
        }
    }
}

/// The mean; NaN of nothing.
#[must_use]
pub fn mean(values: &[f64]) -> f64 {
    if values.is_empty() {
        return f64::NAN;
    }
    values.iter().sum::<f64>() / values.len() as f64
}

/// The `share` percentile of ascending values; NaN of nothing.
#[must_use]
pub fn percentile(ascending: &[f64], share: f64) -> f64 {
    let Some(last) = ascending.len().checked_sub(1) else {
        return f64::NAN;
    };
    let at = share * last as f64;
    let (low, high) = (at.floor() as usize, at.ceil() as usize);
    ascending[low] + (ascending[high] - ascending[low]) * at.fract()
}

/// The median of values in any order; NaN of nothing.
#[must_use]
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    percentile(&values, 0.5)
}

/// How well plans of one group are ranked.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Decision {
    /// Measured time of the plan predicted fastest, over the best measured time, minus 1; percent.
    pub regret_pct: f64,
    /// Kendall's tau; `None` when all measured times are equal.
    pub kendall_tau: Option<f64>,
}

/// Judges one group of (measured, predicted) plans; `None` when there is no choice to make.
///
/// Pairs measured equal say nothing; a predicted tie counts against the prediction.
#[must_use]
pub fn decision(group: &[(f64, f64)]) -> Option<Decision> {
    if group.len() < 2 {
        return None;
    }
    let best = group
        .iter()
        .map(|plan| plan.0)
        .fold(f64::INFINITY, f64::min);
    let pick = group.iter().min_by(|a, b| a.1.total_cmp(&b.1))?;
    let (mut agreement, mut pairs) = (0_i64, 0_i64);
    for (index, a) in group.iter().enumerate() {
        for b in group[index + 1..].iter().filter(|b| b.0 != a.0) {
            pairs += 1;
            agreement += if (a.0 - b.0) * (a.1 - b.1) > 0.0 {
                1
            } else {
                -1
            };
        }
    }
    Some(Decision {
        regret_pct: 100.0 * (pick.0 / best - 1.0),
        kendall_tau: (pairs > 0).then(|| agreement as f64 / pairs as f64),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(measured: f64, predicted: f64) -> Outcome {
        Outcome {
            measured,
            predicted,
            lo: predicted * 0.9,
            hi: predicted * 1.1,
        }
    }

    /// Errors +10, -20, +5, 0 %: sizes 0, 5, 10, 20; mean 8.75, median 7.5, bias -1.25;
    /// p90 at 2.7 of 0..3: 10 + 0.7 x 10 = 17.
    #[test]
    fn errors_of_four_rows_by_hand() {
        let rows = [
            outcome(10.0, 11.0),
            outcome(10.0, 8.0),
            outcome(20.0, 21.0),
            outcome(5.0, 5.0),
        ];
        let score = Score::of(5, &rows);
        assert_eq!((score.n, score.mapped), (5, 4));
        for (found, wanted) in [
            (score.median_pct, 7.5),
            (score.p90_pct, 17.0),
            (score.mape_pct, 8.75),
            (score.max_pct, 20.0),
            (score.bias_pct, -1.25),
            (score.coverage_pct.unwrap(), 75.0),
            (score.width.unwrap(), 1.1),
        ] {
            assert!((found - wanted).abs() < 1e-9, "{found} {wanted}");
        }
    }

    #[test]
    fn nothing_has_no_errors_and_serialises_as_null() {
        let json = serde_json::to_value(Score::of(3, &[])).unwrap();
        assert_eq!(json["mapped"], 0);
        assert!(json["median_pct"].is_null() && json["coverage_pct"].is_null());
    }

    /// Measured 1, 2, 4; predicted 3, 2, 5: the pick is the plan of 2, regret 100 %;
    /// of three pairs (1,2) is reversed: tau = (2 - 1) / 3.
    #[test]
    fn regret_and_tau_of_three_plans() {
        let judged = decision(&[(1.0, 3.0), (2.0, 2.0), (4.0, 5.0)]).unwrap();
        assert!((judged.regret_pct - 100.0).abs() < 1e-9);
        assert!((judged.kendall_tau.unwrap() - 1.0 / 3.0).abs() < 1e-9);
    }

    #[test]
    fn one_plan_is_no_choice_and_equal_times_have_no_order() {
        assert_eq!(decision(&[(1.0, 1.0)]), None);
        let judged = decision(&[(1.0, 1.0), (1.0, 2.0)]).unwrap();
        assert_eq!(judged.kendall_tau, None);
        assert_eq!(judged.regret_pct, 0.0);
    }

    #[test]
    fn a_perfect_order_has_tau_one_and_its_reverse_minus_one() {
        let group: Vec<(f64, f64)> = (1..6).map(|i| (f64::from(i), f64::from(i * i))).collect();
        assert_eq!(decision(&group).unwrap().kendall_tau, Some(1.0));
        let reversed: Vec<(f64, f64)> = group.iter().map(|(a, b)| (*a, -b)).collect();
        assert_eq!(decision(&reversed).unwrap().kendall_tau, Some(-1.0));
    }
}
