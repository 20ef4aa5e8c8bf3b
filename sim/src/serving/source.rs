//! Where requests come from: patterns of arrivals, mixes of shapes, recorded streams.
//!
//! | pattern | times between arrivals |
//! |---|---|
//! | Poisson | exponential |
//! | gamma | gamma with a coefficient of variation: above 1 bursty, below 1 regular |
//! | diurnal | Poisson whose rate is `mean (1 - a cos(2 pi t / period))`, `a = (peak - 1) / (peak + 1)`: it starts at the trough, and `peak` is the highest rate over the lowest |
//! | recorded | as recorded, all closer together or further apart where another rate is asked |
//!
//! The random numbers of request n do not depend on the rate: a higher rate is the same stream, faster.

use thiserror::Error;
use topologies::{SimDuration, SimTime};

use super::rate::Rate;

mod stream;

pub(super) use stream::{generator, purpose};

/// When requests come.
#[derive(Clone, Debug, PartialEq)]
pub enum Pattern {
    /// Independent of each other.
    Poisson,
    /// In bursts, or regularly.
    Gamma {
        /// Standard deviation of the time between arrivals over its mean.
        cv: f64,
    },
    /// More by day than by night.
    Diurnal {
        /// The highest rate over the lowest.
        peak: f64,
        /// From one trough to the next.
        period: SimDuration,
    },
    /// As recorded.
    Recorded(Vec<Arrival>),
}

/// A request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Arrival {
    /// When it comes.
    pub at: SimTime,
    /// What it asks for: an index into the mix.
    pub shape: usize,
}

/// Requests in the order of their arrival.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stream {
    /// The requests.
    pub arrivals: Vec<Arrival>,
    /// How many of the first are not measured: the fleet starts empty.
    pub warmup: usize,
}

/// What cannot arrive.
#[derive(Clone, Debug, PartialEq, Error)]
pub enum SourceError {
    /// A parameter is out of its range.
    #[error("{what} is {value}: {remedy}")]
    Parameter {
        /// Which.
        what: &'static str,
        /// Its value.
        value: f64,
        /// What it may be.
        remedy: &'static str,
    },
    /// The run would be longer than the clock.
    #[error(
        "{requests} requests at {rate} take {days:.0} days: ask for fewer requests, so that a run is shorter than 100 days"
    )]
    TooLong {
        /// How many.
        requests: usize,
        /// How often.
        rate: Rate,
        /// How long.
        days: f64,
    },
}

/// Requests on demand: the same for everyone who asks with the same rate and replication.
#[derive(Clone, Debug, PartialEq)]
pub struct Source {
    pattern: Pattern,
    weights: Vec<f64>,
    requests: usize,
    rate: Rate,
    seed: u64,
}

impl Source {
    /// Requests of a pattern and a mix; `rate` is the rate that they are asked for, and `requests` how many
    /// a run has: of a diurnal pattern, at that rate and rounded to whole periods.
    ///
    /// # Errors
    /// [`SourceError`] for parameters without sense.
    pub fn new(
        pattern: Pattern,
        weights: Vec<f64>,
        requests: usize,
        rate: Rate,
        seed: u64,
    ) -> Result<Self, SourceError> {
        let wrong = |what, value, remedy| {
            Err(SourceError::Parameter {
                what,
                value,
                remedy,
            })
        };
        match &pattern {
            Pattern::Gamma { cv } if !(0.05..=20.0).contains(cv) => {
                return wrong("cv", *cv, "give a number from 0.05 to 20");
            }
            Pattern::Diurnal { peak, .. } if !(1.0..=1000.0).contains(peak) => {
                return wrong(
                    "peak",
                    *peak,
                    "the highest rate over the lowest is from 1 to 1000",
                );
            }
            Pattern::Diurnal { period, .. } if *period == SimDuration::ZERO => {
                return wrong("period", 0.0, "give the time from one trough to the next");
            }
            _ => {}
        }
        if let Some(bad) = weights
            .iter()
            .find(|weight| weight.is_nan() || **weight <= 0.0)
        {
            return wrong("a weight", *bad, "weights are positive");
        }
        let source = Self {
            pattern,
            weights,
            requests,
            rate,
            seed,
        };
        let days = source.span_s() / 86_400.0;
        if days > 100.0 {
            return Err(SourceError::TooLong {
                requests,
                rate,
                days,
            });
        }
        Ok(source)
    }

    /// When requests come.
    #[must_use]
    pub const fn pattern(&self) -> &Pattern {
        &self.pattern
    }

    /// How often they come where nothing else is asked.
    #[must_use]
    pub const fn rate(&self) -> Rate {
        self.rate
    }

    /// Requests of a run at the source's rate.
    #[must_use]
    pub const fn requests(&self) -> usize {
        self.requests
    }

    /// Whether there can be more than one run.
    #[must_use]
    pub const fn is_random(&self) -> bool {
        !matches!(self.pattern, Pattern::Recorded(_))
    }

    /// The share of requests of each shape, by shape.
    #[must_use]
    pub fn shares(&self) -> Vec<f64> {
        let total: f64 = self.weights.iter().sum();
        self.weights.iter().map(|weight| weight / total).collect()
    }

    /// Squared coefficient of variation of the times between arrivals; for a recorded stream, its own.
    #[must_use]
    pub fn arrival_scv(&self) -> f64 {
        match &self.pattern {
            Pattern::Poisson | Pattern::Diurnal { .. } => 1.0,
            Pattern::Gamma { cv } => cv * cv,
            Pattern::Recorded(arrivals) => {
                let gaps = arrivals.windows(2).map(|pair| pair[1].at.since(pair[0].at));
                let gaps: Vec<f64> = gaps.map(SimDuration::as_secs_f64).collect();
                let n = gaps.len().max(1) as f64;
                let mean = gaps.iter().sum::<f64>() / n;
                let variance = gaps.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>() / n;
                if mean > 0.0 {
                    variance / (mean * mean)
                } else {
                    1.0
                }
            }
        }
    }

    /// The rate over its mean in equal parts of a period: 1 for all but a diurnal pattern.
    #[must_use]
    pub fn phases(&self) -> Vec<f64> {
        match self.pattern {
            Pattern::Diurnal { peak, .. } => {
                let swing = swing(peak);
                let middle = |part: u32| (f64::from(part) + 0.5) / 24.0;
                let at = |part| 1.0 - swing * (std::f64::consts::TAU * middle(part)).cos();
                (0..24).map(at).collect()
            }
            _ => vec![1.0],
        }
    }

    fn span_s(&self) -> f64 {
        match &self.pattern {
            Pattern::Diurnal { period, .. } => {
                f64::from(self.periods(*period)) * period.as_secs_f64()
            }
            _ => self.requests as f64 / self.rate.get(),
        }
    }

    /// Whole periods of a run: as near the number of requests as can be, and at least one.
    fn periods(&self, period: SimDuration) -> u32 {
        let wanted = self.requests as f64 / self.rate.get() / period.as_secs_f64();
        wanted.round().clamp(1.0, 1e6) as u32
    }
}

/// Amplitude of the rate over its mean.
fn swing(peak: f64) -> f64 {
    (peak - 1.0) / (peak + 1.0)
}
