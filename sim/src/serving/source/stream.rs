//! The requests of one replication, from a source's random numbers.

use rand_distr::{Distribution, Exp1, Gamma, StandardUniform};
use rand_pcg::Pcg64;
use topologies::{SimDuration, SimTime};

use super::{Arrival, Pattern, Source, Stream, swing};
use crate::serving::rate::Rate;

/// Share of a run's requests that are not measured, where it starts empty: a tenth.
const WARMUP: usize = 10;

/// Purposes, each with random numbers of its own.
pub(in crate::serving) mod purpose {
    pub const ARRIVALS: u128 = 0;
    pub const SHAPES: u128 = 1;
    pub const FAILURES: u128 = 2;
}

/// The generator of a purpose in a replication.
pub(in crate::serving) fn generator(seed: u64, replication: u32, purpose: u128) -> Pcg64 {
    let state = u128::from(seed) << 32 | u128::from(replication);
    // The odd constant spreads neighbouring seeds over the state (2^128 / golden ratio).
    Pcg64::new(
        state.wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835),
        purpose,
    )
}

impl Source {
    /// The requests of one replication at a rate.
    #[must_use]
    pub fn stream(&self, rate: Rate, replication: u32) -> Stream {
        let ratio = rate.get() / self.rate.get();
        let times = match &self.pattern {
            Pattern::Poisson => self.renewal(rate, replication, &Exp1),
            Pattern::Gamma { cv } => {
                let shape = 1.0 / (cv * cv);
                let gamma = Gamma::new(shape, 1.0 / shape).expect("the cv was checked");
                self.renewal(rate, replication, &gamma)
            }
            Pattern::Diurnal { peak, period } => {
                self.diurnal(rate, replication, swing(*peak), *period)
            }
            Pattern::Recorded(arrivals) => {
                let scaled = |one: &Arrival| Arrival {
                    at: SimTime::from_ps((one.at.as_ps() as f64 / ratio).round() as u64),
                    shape: one.shape,
                };
                return Stream {
                    arrivals: arrivals.iter().map(scaled).collect(),
                    warmup: 0,
                };
            }
        };
        let warmup = match self.pattern {
            Pattern::Poisson | Pattern::Gamma { .. } => times.len() / WARMUP,
            // Periods are measured whole; they start at the trough.
            Pattern::Diurnal { .. } | Pattern::Recorded(_) => 0,
        };
        let shapes = self.shapes(replication);
        let arrivals = times.into_iter().zip(shapes);
        Stream {
            arrivals: arrivals.map(|(at, shape)| Arrival { at, shape }).collect(),
            warmup,
        }
    }

    /// Independent times between arrivals, of mean 1 before they are scaled.
    fn renewal(&self, rate: Rate, replication: u32, gaps: &impl Distribution<f64>) -> Vec<SimTime> {
        let mut numbers = generator(self.seed, replication, purpose::ARRIVALS);
        let mut sum = 0.0;
        let mut next = || {
            let gap: f64 = gaps.sample(&mut numbers);
            sum += gap;
            moment(sum / rate.get())
        };
        (0..self.requests).map(|_| next()).collect()
    }

    /// A Poisson process of rate 1 whose clock runs as the rate does (inversion of the cumulative rate,
    /// Cinlar 1975).
    fn diurnal(
        &self,
        rate: Rate,
        replication: u32,
        swing: f64,
        period: SimDuration,
    ) -> Vec<SimTime> {
        let mut numbers = generator(self.seed, replication, purpose::ARRIVALS);
        let period_s = period.as_secs_f64();
        let mut times = Vec::with_capacity(self.requests + self.requests / 8);
        let mut sum = 0.0;
        loop {
            let gap: f64 = Exp1.sample(&mut numbers);
            sum += gap;
            let turns = sum / rate.get() / period_s;
            if turns >= f64::from(self.periods(period)) {
                return times;
            }
            times.push(moment(period_s * when(turns, swing)));
        }
    }

    /// A shape for each request, without end.
    fn shapes(&self, replication: u32) -> impl Iterator<Item = usize> {
        let mut numbers = generator(self.seed, replication, purpose::SHAPES);
        let mut sum = 0.0;
        let shares = self.shares();
        let ends: Vec<f64> = shares
            .iter()
            .map(|share| {
                sum += share;
                sum
            })
            .collect();
        std::iter::repeat_with(move || {
            let at: f64 = StandardUniform.sample(&mut numbers);
            ends.partition_point(|end| *end <= at).min(ends.len() - 1)
        })
    }
}

fn moment(seconds: f64) -> SimTime {
    SimTime::ZERO + SimDuration::from_secs_f64(seconds)
}

/// The moment, in periods, by which a rate of mean 1 has brought `turns` (Kepler's equation, bisected: its
/// left side grows).
fn when(turns: f64, swing: f64) -> f64 {
    let tau = std::f64::consts::TAU;
    let (mut low, mut high) = (turns - 0.5, turns + 0.5);
    for _ in 0..50 {
        let middle = 0.5 * (low + high);
        if middle - swing * (tau * middle).sin() / tau < turns {
            low = middle;
        } else {
            high = middle;
        }
    }
    (0.5 * (low + high)).max(0.0)
}
