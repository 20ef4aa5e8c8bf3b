//! Requests per second.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

/// A rate of requests, positive and finite. Written and read with its unit: `"2/s"`, `"90/min"`, `"500/h"`.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub struct Rate(f64);

/// A rate that cannot be read, or is not positive.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error(
    "\"{text}\" is not a rate of requests: write a positive number with its unit, for instance \"2/s\", \"90/min\" or \"500/h\""
)]
pub struct RateError {
    /// What was written.
    pub text: String,
}

/// Units with the seconds they last.
const UNITS: [(&str, f64); 4] = [("s", 1.0), ("min", 60.0), ("h", 3600.0), ("day", 86_400.0)];

impl Rate {
    /// So many requests per second.
    ///
    /// # Errors
    /// [`RateError`] where that is not positive and finite.
    pub fn per_second(count: f64) -> Result<Self, RateError> {
        if count > 0.0 && count.is_finite() {
            return Ok(Self(count));
        }
        Err(RateError {
            text: format!("{count}/s"),
        })
    }

    /// Requests per second.
    #[must_use]
    pub const fn get(self) -> f64 {
        self.0
    }

    /// This rate times a positive factor.
    ///
    /// # Panics
    /// If the product is not positive and finite: factors are ratios of rates.
    #[must_use]
    pub fn times(self, factor: f64) -> Self {
        Self::per_second(self.0 * factor).expect("a ratio of rates is positive and finite")
    }
}

impl FromStr for Rate {
    type Err = RateError;

    fn from_str(text: &str) -> Result<Self, RateError> {
        let wrong = || RateError {
            text: text.to_owned(),
        };
        let (number, unit) = text.split_once('/').ok_or_else(wrong)?;
        let unit = unit.trim();
        let (_, lasts) = UNITS
            .iter()
            .find(|(name, _)| *name == unit)
            .ok_or_else(wrong)?;
        let number: f64 = number.trim().parse().map_err(|_| wrong())?;
        Self::per_second(number / lasts).map_err(|_| wrong())
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (unit, lasts) = UNITS
            .into_iter()
            .find(|(_, lasts)| self.0 * lasts >= 0.1)
            .unwrap_or(UNITS[3]);
        let count = self.0 * lasts;
        let decimals = match count {
            100.0.. => 0,
            10.0.. => 1,
            1.0.. => 2,
            _ => 3,
        };
        let digits = format!("{count:.decimals$}");
        let digits = match digits.contains('.') {
            true => digits.trim_end_matches('0').trim_end_matches('.'),
            false => &digits,
        };
        write!(f, "{digits}/{unit}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_read_back_what_they_write() {
        for line in ["2/s", "0.25/s", "1.5/min", "125/s"] {
            assert_eq!(line.parse::<Rate>().unwrap().to_string(), line);
        }
        assert_eq!("90/min".parse::<Rate>().unwrap().to_string(), "1.5/s");
        assert_eq!("7200/h".parse::<Rate>().unwrap().get(), 2.0);
    }

    #[test]
    fn a_rate_without_unit_or_sense_is_refused_with_an_example() {
        for wrong in ["2", "2/week", "-1/s", "0/s", "inf/s", "x/s", "/s"] {
            let error = wrong.parse::<Rate>().unwrap_err();
            assert!(error.to_string().contains("\"2/s\""), "{wrong}");
        }
    }
}
