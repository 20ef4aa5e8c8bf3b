//! A pool: equal replicas of one plan behind one entrance.

use std::fmt;

use thiserror::Error;
use topologies::SimDuration;

/// Who is served next, and by whom.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Routing {
    /// One queue; who came first is served first.
    #[default]
    Fifo,
    /// One queue; who takes the least time is served first, and of these who came first.
    Shortest,
    /// A queue for each replica; a request joins the one with the least work left, and stays there.
    LeastLoaded,
}

impl fmt::Display for Routing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Fifo => "fifo",
            Self::Shortest => "shortest",
            Self::LeastLoaded => "least-loaded",
        })
    }
}

/// How replicas fail and come back, each on its own and whether or not it serves; both times are exponential.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failures {
    /// Mean time from a repair to the next failure.
    pub mtbf: SimDuration,
    /// Mean time of a repair.
    pub mttr: SimDuration,
}

impl Failures {
    /// Share of the time that one replica is not failed.
    #[must_use]
    pub fn availability(self) -> f64 {
        let (up, down) = (self.mtbf.as_secs_f64(), self.mttr.as_secs_f64());
        up / (up + down)
    }

    /// Mean time that a service of this length takes on a replica that fails, without the repairs: a failed
    /// service starts again from its beginning, `mtbf (exp(s / mtbf) - 1)` (Gaver 1962).
    #[must_use]
    pub fn stretched_s(self, service_s: f64) -> f64 {
        let mtbf = self.mtbf.as_secs_f64();
        mtbf * (service_s / mtbf).exp_m1()
    }
}

/// Equal replicas of one plan.
///
/// Invariants: at least one replica, at least one shape served, no service without duration, and no replica
/// that fails more often than it can finish its longest service.
#[derive(Clone, Debug, PartialEq)]
pub struct Pool {
    replicas: u32,
    spares: u32,
    service: Vec<Vec<SimDuration>>,
    routing: Routing,
    failures: Option<Failures>,
}

/// A pool that cannot serve.
#[derive(Clone, Debug, PartialEq, Error)]
pub enum PoolError {
    /// Nobody serves.
    #[error("a pool needs at least one replica")]
    Empty,
    /// Nothing is served.
    #[error("a pool needs at least one shape that it serves")]
    NoShape,
    /// A service takes no time.
    #[error("shape {shape} would be served in no time at all")]
    NoTime {
        /// The shape.
        shape: usize,
    },
    /// Services are lost before they are done.
    #[error(
        "replicas that fail every {mtbf_s} s cannot finish a service of {service_s:.3} s: at least a third of it must pass between failures"
    )]
    FailsTooOften {
        /// Mean time between failures in seconds.
        mtbf_s: f64,
        /// The longest service in seconds.
        service_s: f64,
    },
    /// Failures without time.
    #[error("mtbf and mttr are positive times")]
    NoFailureTime,
}

/// Services may take this many times the mean time between failures: `e^3` tries each.
const LONGEST: f64 = 3.0;

impl Pool {
    /// Replicas with their service times: by shape, then by requests of a batch less one; empty for a shape
    /// that this pool does not serve.
    ///
    /// # Errors
    /// [`PoolError`] where an invariant would not hold.
    pub fn new(
        replicas: u32,
        service: Vec<Vec<SimDuration>>,
        routing: Routing,
    ) -> Result<Self, PoolError> {
        if replicas == 0 {
            return Err(PoolError::Empty);
        }
        if service.iter().all(Vec::is_empty) {
            return Err(PoolError::NoShape);
        }
        let idle = |times: &Vec<SimDuration>| times.contains(&SimDuration::ZERO);
        if let Some(shape) = service.iter().position(idle) {
            return Err(PoolError::NoTime { shape });
        }
        Ok(Self {
            replicas,
            spares: 0,
            service,
            routing,
            failures: None,
        })
    }

    /// The same with failures, and spare replicas: loaded, idle, and in the place of a failed one at once.
    ///
    /// # Errors
    /// [`PoolError`] where services could not be finished.
    pub fn with_failures(mut self, failures: Failures, spares: u32) -> Result<Self, PoolError> {
        if failures.mtbf == SimDuration::ZERO || failures.mttr == SimDuration::ZERO {
            return Err(PoolError::NoFailureTime);
        }
        let longest = self.service.iter().flatten().max();
        let service_s = longest.map_or(0.0, |time| time.as_secs_f64());
        let mtbf_s = failures.mtbf.as_secs_f64();
        if service_s > LONGEST * mtbf_s {
            return Err(PoolError::FailsTooOften { mtbf_s, service_s });
        }
        self.failures = Some(failures);
        self.spares = spares;
        Ok(self)
    }

    /// Replicas that serve at once.
    #[must_use]
    pub const fn replicas(&self) -> u32 {
        self.replicas
    }

    /// Replicas that stand by.
    #[must_use]
    pub const fn spares(&self) -> u32 {
        self.spares
    }

    /// Who is served next.
    #[must_use]
    pub const fn routing(&self) -> Routing {
        self.routing
    }

    /// How replicas fail.
    #[must_use]
    pub const fn failures(&self) -> Option<Failures> {
        self.failures
    }

    /// Whether it serves a shape.
    #[must_use]
    pub fn serves(&self, shape: usize) -> bool {
        self.service.get(shape).is_some_and(|of| !of.is_empty())
    }

    /// Requests of a shape that are served together at most; 0 where it does not serve it.
    #[must_use]
    pub fn largest_batch(&self, shape: usize) -> usize {
        self.service.get(shape).map_or(0, Vec::len)
    }

    /// How many shapes there are, served or not.
    #[must_use]
    pub fn shapes(&self) -> usize {
        self.service.len()
    }

    /// The time of a batch of `count` requests of a shape.
    ///
    /// # Panics
    /// If the pool does not serve that.
    #[must_use]
    pub fn time(&self, shape: usize, count: usize) -> SimDuration {
        self.service[shape][count - 1]
    }

    /// Seconds of one replica that a request of a shape takes at least: in the batch that serves most per
    /// second, with the restarts that failures cost.
    #[must_use]
    pub fn least_work_s(&self, shape: usize) -> Option<f64> {
        let times = self.service.get(shape)?.iter().zip(1_u32..);
        let each = times.map(|(time, count)| {
            let alone = time.as_secs_f64();
            let taken = self.failures.map_or(alone, |of| of.stretched_s(alone));
            taken / f64::from(count)
        });
        each.reduce(f64::min)
    }
}
