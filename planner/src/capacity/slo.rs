//! What must be kept: `"p95<=6s"`, `"mean<=4s"`, `"2048x2048:p99<=30s"`, several with commas between.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;
use topologies::SimDuration;

/// A figure of latencies.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Statistic {
    /// Their mean.
    Mean,
    /// What this share of them, in percent, does not exceed.
    Percentile(f64),
}

/// A figure with its limit.
#[derive(Clone, Debug, PartialEq)]
pub struct Criterion {
    /// The shape that is meant, by its name; all where there is none.
    pub shape: Option<String>,
    /// The figure.
    pub statistic: Statistic,
    /// The most it may be.
    pub limit: SimDuration,
}

/// What a fleet must keep: all of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Slo {
    /// At least one.
    pub criteria: Vec<Criterion>,
}

/// An objective that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error(
    "\"{text}\" is not an objective: write p95<=6s, mean<=4s or, for one shape, 2048x2048:p99<=30s (percentiles above 0 and below 100, times in ms, s, min, h)"
)]
pub struct SloError {
    /// What was written.
    pub text: String,
}

/// Units of time with their seconds.
const UNITS: [(&str, f64); 6] = [
    ("ms", 1e-3),
    ("min", 60.0),
    ("days", 86_400.0),
    ("day", 86_400.0),
    ("h", 3600.0),
    ("s", 1.0),
];

/// Reads a positive time of at most a year, with its unit: `6s`, `500 ms`, `24h`.
#[must_use]
pub fn time(text: &str) -> Option<SimDuration> {
    let text = text.trim();
    let (number, seconds) = UNITS
        .iter()
        .find_map(|(unit, seconds)| Some((text.strip_suffix(unit)?, seconds)))?;
    let number: f64 = number.trim().parse().ok()?;
    let total = number * seconds;
    // Half of what the clock holds.
    (total > 0.0 && total <= 100.0 * 86_400.0).then(|| SimDuration::from_secs_f64(total))
}

/// A time as people say it: `6 s`, `24 h`.
#[must_use]
pub fn spoken(time: SimDuration) -> String {
    let seconds = time.as_secs_f64();
    let (unit, length) = match seconds {
        86_400.0.. if seconds % 86_400.0 == 0.0 && seconds > 86_400.0 => ("days", 86_400.0),
        3600.0.. if seconds % 60.0 == 0.0 => ("h", 3600.0),
        120.0.. if seconds % 60.0 == 0.0 => ("min", 60.0),
        ..1.0 => ("ms", 1e-3),
        _ => ("s", 1.0),
    };
    let digits = format!("{:.3}", seconds / length);
    let digits = digits.trim_end_matches('0').trim_end_matches('.');
    format!("{digits} {unit}")
}

impl FromStr for Criterion {
    type Err = SloError;

    fn from_str(text: &str) -> Result<Self, SloError> {
        let wrong = || SloError {
            text: text.to_owned(),
        };
        let (left, right) = text.split_once("<=").ok_or_else(wrong)?;
        let (shape, name) = match left.rsplit_once(':') {
            Some((shape, name)) => (Some(shape.trim().to_owned()), name.trim()),
            None => (None, left.trim()),
        };
        let statistic = match name {
            "mean" => Statistic::Mean,
            _ => {
                let percent = name.strip_prefix('p').ok_or_else(wrong)?;
                let percent: f64 = percent.parse().map_err(|_| wrong())?;
                if !(percent > 0.0 && percent < 100.0) {
                    return Err(wrong());
                }
                Statistic::Percentile(percent)
            }
        };
        let limit = time(right).ok_or_else(wrong)?;
        Ok(Self {
            shape,
            statistic,
            limit,
        })
    }
}

impl FromStr for Slo {
    type Err = SloError;

    fn from_str(text: &str) -> Result<Self, SloError> {
        let criteria = text.split(',').map(str::parse).collect::<Result<_, _>>()?;
        Ok(Self { criteria })
    }
}

impl fmt::Display for Criterion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(shape) = &self.shape {
            write!(f, "{shape}:")?;
        }
        match self.statistic {
            Statistic::Mean => f.write_str("mean")?,
            Statistic::Percentile(percent) => write!(f, "p{percent}")?,
        }
        write!(f, "<={}", spoken(self.limit).replace(' ', ""))
    }
}

impl fmt::Display for Slo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all: Vec<String> = self.criteria.iter().map(ToString::to_string).collect();
        f.write_str(&all.join(","))
    }
}

impl Criterion {
    /// How much of a criterion latencies use up, with 1 as the most: a share of late requests over the
    /// share that may be late, a mean over its limit. Additive over parts of a fleet.
    pub(super) fn used(&self, latencies: impl Iterator<Item = f64>) -> f64 {
        let limit = self.limit.as_secs_f64();
        match self.statistic {
            Statistic::Mean => latencies.sum::<f64>() / limit,
            Statistic::Percentile(percent) => {
                let late = latencies.filter(|latency| *latency > limit).count();
                late as f64 / (1.0 - percent / 100.0)
            }
        }
    }

    /// Whether it is about a shape.
    #[must_use]
    pub fn is_about(&self, shape: &str) -> bool {
        self.shape.as_deref().is_none_or(|meant| meant == shape)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objectives_read_back_what_they_write() {
        for line in ["p95<=6s", "mean<=500ms", "2048x2048:p99.9<=2min,p50<=3s"] {
            assert_eq!(line.parse::<Slo>().unwrap().to_string(), line);
        }
        assert_eq!(" p95 <= 6 s".parse::<Slo>().unwrap().to_string(), "p95<=6s");
    }

    #[test]
    fn an_objective_without_sense_is_refused_with_an_example() {
        for wrong in [
            "p95", "p95>=6s", "p100<=6s", "p0<=6s", "p95<=6", "p95<=-1s", "max<=6s", "", "p95<=6s,",
        ] {
            let error = wrong.parse::<Slo>().unwrap_err();
            assert!(error.to_string().contains("p95<=6s"), "{wrong}");
        }
    }
}
