//! The units everything is measured in: one newtype and one stored unit per dimension.
//!
//! | type | stored unit | example |
//! |---|---|---|
//! | [`SimTime`], [`SimDuration`] | picoseconds | `"2.5 us"` |
//! | [`Bytes`] | bytes | `"48 GB"`, `"96 MiB"` |
//! | [`Bandwidth`] | bytes per second | `"64 GB/s"` |
//! | [`Flops`] | floating-point operations | `"74.4 TFLOP"` |
//! | [`FlopRate`] | floating-point operations per second | `"119.5 TFLOP/s"` |
//!
//! Guarantees:
//! 1. No conversion loses a unit silently: parsing a bare number is an error.
//! 2. A moment ([`SimTime`]) and a duration ([`SimDuration`]) are two types.
//! 3. Durations round **up** to the picosecond, so a lower bound computed from rates never
//!    exceeds a simulated time built from the same durations.
//! 4. Sums, products and quotients that leave 64 bits stay at the largest number (2^64 ps are 213 days), so that an
//!    order between two is never turned around; the simulator refuses runs that come near it. A negative difference
//!    is our mistake and panics with a sentence.

use std::fmt;
use std::iter::Sum;
use std::ops::{Add, AddAssign, Div, Mul, Sub};
use std::str::FromStr;

use thiserror::Error;

/// Picoseconds in a second.
const PS_PER_SECOND: u128 = 1_000_000_000_000;

/// A quantity that a person wrote and that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum UnitError {
    /// The text has no unit.
    #[error("\"{text}\" has no unit: write for instance \"{example}\"")]
    Bare {
        /// What was written.
        text: String,
        /// A right way to write such a quantity.
        example: &'static str,
    },
    /// The number before the unit is not a number.
    #[error("\"{text}\" does not start with a number: write for instance \"{example}\"")]
    Number {
        /// What was written.
        text: String,
        /// A right way to write such a quantity.
        example: &'static str,
    },
    /// The unit is not one of this dimension.
    #[error("\"{text}\" has the unknown unit \"{unit}\": use one of {known}")]
    Unit {
        /// What was written.
        text: String,
        /// The unit found.
        unit: String,
        /// The units that this dimension knows.
        known: String,
    },
    /// The quantity is negative, not finite, or too large to store.
    #[error(
        "\"{text}\" is out of range: a quantity must be finite, not negative and below 2^64 {stored}"
    )]
    Range {
        /// What was written.
        text: String,
        /// The stored unit.
        stored: &'static str,
    },
}

/// Reads `"<number> <unit>"` into a count of the stored unit, rounding to nearest.
fn parse_quantity(
    text: &str,
    units: &[(&str, f64)],
    stored: &'static str,
    example: &'static str,
) -> Result<u64, UnitError> {
    let trimmed = text.trim();
    let split = trimmed
        .find(|c: char| !(c.is_ascii_digit() || matches!(c, '.' | '-' | '+' | '_')))
        .unwrap_or(trimmed.len());
    let (number, unit) = trimmed.split_at(split);
    let unit = unit.trim();
    let owned = || text.to_owned();
    let value: f64 = number
        .replace('_', "")
        .parse()
        .map_err(|_| UnitError::Number {
            text: owned(),
            example,
        })?;
    if unit.is_empty() {
        return Err(UnitError::Bare {
            text: owned(),
            example,
        });
    }
    let (_, factor) = units
        .iter()
        .find(|(name, _)| *name == unit)
        .ok_or_else(|| {
            let known: Vec<&str> = units.iter().map(|(name, _)| *name).collect();
            UnitError::Unit {
                text: owned(),
                unit: unit.to_owned(),
                known: known.join(", "),
            }
        })?;
    let scaled = (value * factor).round();
    if !scaled.is_finite() || scaled < 0.0 || scaled >= u64::MAX as f64 {
        return Err(UnitError::Range {
            text: owned(),
            stored,
        });
    }
    Ok(scaled as u64)
}

/// Writes a count with the largest decimal byte unit (or other unit) that leaves at least one, to four
/// digits. Bits and powers of 1024 are read but never written: a quantity prints in one system.
fn write_quantity(f: &mut fmt::Formatter<'_>, count: u64, units: &[(&str, f64)]) -> fmt::Result {
    let value = count as f64;
    let written = |(name, _): &&(&str, f64)| !name.contains("bit") && !name.contains("iB");
    let (name, factor) = units
        .iter()
        .filter(written)
        .filter(|(_, factor)| value >= *factor)
        .max_by(|a, b| a.1.total_cmp(&b.1))
        .or_else(|| units.iter().min_by(|a, b| a.1.total_cmp(&b.1)))
        .expect("every dimension has a unit");
    let scaled = value / factor;
    let decimals = match scaled {
        1000.0.. => 0,
        100.0.. => 1,
        10.0.. => 2,
        _ => 3,
    };
    let digits = format!("{scaled:.decimals$}");
    let digits = if digits.contains('.') {
        digits.trim_end_matches('0').trim_end_matches('.')
    } else {
        &digits
    };
    write!(f, "{digits} {name}")
}

/// Declares a quantity stored as a `u64` count of one unit.
macro_rules! quantity {
    ($(#[$doc:meta])* $name:ident, $stored:literal, $example:literal, [$(($unit:literal, $factor:expr)),+ $(,)?]) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(u64);

        impl $name {
            /// Nothing.
            pub const ZERO: Self = Self(0);
            const UNITS: &'static [(&'static str, f64)] = &[$(($unit, $factor)),+];

            /// A count of the stored unit.
            #[must_use]
            pub const fn new(count: u64) -> Self {
                Self(count)
            }

            /// The count of the stored unit.
            #[must_use]
            pub const fn get(self) -> u64 {
                self.0
            }

            /// The count of the stored unit, for arithmetic that leaves the dimension.
            #[must_use]
            pub const fn as_f64(self) -> f64 {
                self.0 as f64
            }

            /// `self * factor`, rounded up; for shares and scale factors.
            ///
            /// # Panics
            /// If the factor is negative or no number.
            #[must_use]
            pub fn scaled(self, factor: f64) -> Self {
                let product = (self.0 as f64 * factor).ceil();
                assert!(product >= 0.0, "a scaled quantity is not negative");
                Self(product as u64)
            }
        }

        impl FromStr for $name {
            type Err = UnitError;

            fn from_str(text: &str) -> Result<Self, UnitError> {
                parse_quantity(text, Self::UNITS, $stored, $example).map(Self)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write_quantity(f, self.0, Self::UNITS)
            }
        }

        impl Add for $name {
            type Output = Self;

            #[inline]
            fn add(self, other: Self) -> Self {
                Self(self.0.saturating_add(other.0))
            }
        }

        impl AddAssign for $name {
            #[inline]
            fn add_assign(&mut self, other: Self) {
                *self = *self + other;
            }
        }

        impl Sub for $name {
            type Output = Self;

            #[inline]
            fn sub(self, other: Self) -> Self {
                Self(self.0.checked_sub(other.0).expect("a difference of quantities is not negative"))
            }
        }

        impl Mul<u64> for $name {
            type Output = Self;

            #[inline]
            fn mul(self, count: u64) -> Self {
                Self(self.0.saturating_mul(count))
            }
        }

        impl Sum for $name {
            fn sum<I: Iterator<Item = Self>>(items: I) -> Self {
                items.fold(Self::ZERO, Add::add)
            }
        }
    };
}

quantity!(
    /// A length of simulated time, in picoseconds.
    SimDuration,
    "picoseconds",
    "2.5 us",
    [("ps", 1.0), ("ns", 1e3), ("us", 1e6), ("ms", 1e9), ("s", 1e12)]
);
quantity!(
    /// An amount of data, in bytes.
    Bytes,
    "bytes",
    "48 GB",
    [
        ("B", 1.0), ("kB", 1e3), ("MB", 1e6), ("GB", 1e9), ("TB", 1e12),
        ("KiB", 1024.0), ("MiB", 1_048_576.0), ("GiB", 1_073_741_824.0),
    ]
);
quantity!(
    /// A data rate, in bytes per second.
    Bandwidth,
    "bytes per second",
    "64 GB/s",
    [
        ("B/s", 1.0), ("kB/s", 1e3), ("MB/s", 1e6), ("GB/s", 1e9), ("TB/s", 1e12),
        ("Mbit/s", 1.25e5), ("Gbit/s", 1.25e8), ("Tbit/s", 1.25e11),
    ]
);
quantity!(
    /// An amount of arithmetic, in floating-point operations (a multiply-add counts as two).
    Flops,
    "floating-point operations",
    "74.4 TFLOP",
    [("FLOP", 1.0), ("MFLOP", 1e6), ("GFLOP", 1e9), ("TFLOP", 1e12), ("PFLOP", 1e15)]
);
quantity!(
    /// A rate of arithmetic, in floating-point operations per second.
    FlopRate,
    "floating-point operations per second",
    "119.5 TFLOP/s",
    [("FLOP/s", 1.0), ("GFLOP/s", 1e9), ("TFLOP/s", 1e12), ("PFLOP/s", 1e15)]
);

/// A moment of simulated time, in picoseconds since the start of the run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SimTime(u64);

impl SimTime {
    /// The start of the run.
    pub const ZERO: Self = Self(0);

    /// A moment `ps` picoseconds after the start.
    #[must_use]
    pub const fn from_ps(ps: u64) -> Self {
        Self(ps)
    }

    /// Picoseconds since the start.
    #[must_use]
    pub const fn as_ps(self) -> u64 {
        self.0
    }

    /// Microseconds since the start, for exports whose format wants a float.
    #[must_use]
    pub fn as_us_f64(self) -> f64 {
        self.0 as f64 / 1e6
    }

    /// How long after `earlier` this moment is.
    ///
    /// # Panics
    /// If `earlier` is later: simulated time never runs backwards.
    #[inline]
    #[must_use]
    pub fn since(self, earlier: Self) -> SimDuration {
        SimDuration(
            self.0
                .checked_sub(earlier.0)
                .expect("simulated time never runs backwards"),
        )
    }
}

impl Add<SimDuration> for SimTime {
    type Output = Self;

    #[inline]
    fn add(self, duration: SimDuration) -> Self {
        Self(self.0.saturating_add(duration.0))
    }
}

impl SimDuration {
    /// `us` microseconds, rounded up to the picosecond.
    ///
    /// # Panics
    /// If `us` is negative or no number: measured and modelled times never are.
    #[must_use]
    pub fn from_us_f64(us: f64) -> Self {
        Self::from_secs_f64(us * 1e-6)
    }

    /// `seconds`, rounded up to the picosecond.
    ///
    /// # Panics
    /// If `seconds` is negative or no number: measured and modelled times never are.
    #[must_use]
    pub fn from_secs_f64(seconds: f64) -> Self {
        let ps = (seconds * 1e12).ceil();
        assert!(ps >= 0.0, "a duration is not negative, and not {seconds} s");
        Self(ps as u64)
    }

    /// Seconds.
    #[must_use]
    pub fn as_secs_f64(self) -> f64 {
        self.0 as f64 / 1e12
    }

    /// Microseconds.
    #[must_use]
    pub fn as_us_f64(self) -> f64 {
        self.0 as f64 / 1e6
    }

    /// `self - other`, or zero where that would be negative.
    #[must_use]
    pub const fn saturating_sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }
}

/// `amount / rate` of two `u64` counts as a duration, rounded up; at a rate of zero the longest.
fn time_at_rate(amount: u64, rate: u64) -> SimDuration {
    if rate == 0 {
        return SimDuration(u64::MAX);
    }
    let ps = (u128::from(amount) * PS_PER_SECOND).div_ceil(u128::from(rate));
    SimDuration(u64::try_from(ps).unwrap_or(u64::MAX))
}

impl Div<Bandwidth> for Bytes {
    type Output = SimDuration;

    fn div(self, rate: Bandwidth) -> SimDuration {
        time_at_rate(self.0, rate.0)
    }
}

impl Div<FlopRate> for Flops {
    type Output = SimDuration;

    fn div(self, rate: FlopRate) -> SimDuration {
        time_at_rate(self.0, rate.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantity_reads_back_what_it_writes() {
        let rate: Bandwidth = "64 GB/s".parse().unwrap();
        assert_eq!(rate, Bandwidth::new(64_000_000_000));
        assert_eq!(rate.to_string(), "64 GB/s");
        assert_eq!(Bandwidth::new(450_000_000_000).to_string(), "450 GB/s");
        assert_eq!(Bytes::new(48_000_000_000).to_string(), "48 GB");
        assert_eq!("2.5us".parse::<SimDuration>().unwrap().get(), 2_500_000);
        assert_eq!(
            "119.5 TFLOP/s".parse::<FlopRate>().unwrap().to_string(),
            "119.5 TFLOP/s"
        );
    }

    #[test]
    fn a_bare_number_is_refused_with_an_example() {
        let error = "64".parse::<Bandwidth>().unwrap_err();
        assert_eq!(
            error.to_string(),
            "\"64\" has no unit: write for instance \"64 GB/s\""
        );
    }

    #[test]
    fn a_negative_or_foreign_quantity_is_refused() {
        assert!(matches!(
            "-1 GB/s".parse::<Bandwidth>(),
            Err(UnitError::Range { .. })
        ));
        assert!(matches!(
            "1 GB".parse::<Bandwidth>(),
            Err(UnitError::Unit { .. })
        ));
        assert!(matches!(
            "fast".parse::<Bandwidth>(),
            Err(UnitError::Number { .. })
        ));
    }

    #[test]
    fn durations_round_up() {
        // 1 byte at 3 B/s takes 333,333,333,333.33 ps.
        assert_eq!((Bytes::new(1) / Bandwidth::new(3)).get(), 333_333_333_334);
    }

    #[test]
    fn what_leaves_64_bits_stays_at_the_largest_number() {
        let longest = SimDuration::new(u64::MAX);
        assert_eq!(Bytes::new(1 << 60) / Bandwidth::new(1), longest);
        assert_eq!(Bytes::new(1) / Bandwidth::ZERO, longest);
        assert_eq!(SimDuration::from_secs_f64(f64::INFINITY), longest);
        assert_eq!(longest + SimDuration::new(1), longest);
        assert_eq!(SimDuration::new(1 << 60) * 100, longest);
        assert_eq!(SimDuration::new(1 << 60).scaled(1e9), longest);
        assert_eq!(SimTime::from_ps(5) + longest, SimTime::from_ps(u64::MAX));
    }
}
