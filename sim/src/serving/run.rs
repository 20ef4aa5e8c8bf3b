//! The event simulation of one pool: arrivals, ends of service, failures, repairs.
//!
//! Rules:
//! 1. At one moment, ends of service, failures and repairs go before arrivals, in the order they were set.
//! 2. A replica that is free takes whose turn it is, with more of the same shape if it batches; it never
//!    waits for a batch to fill.
//! 3. What a replica serves when it fails starts again, at its place in the queue by arrival. A spare that is
//!    up takes the place of the failed one at once; a repaired replica serves again where one is missing,
//!    and else becomes a spare.
//!
//! Complexity: O(log(replicas)) an event, O(shapes) a start; least-loaded O(replicas) an arrival.

use thiserror::Error;
use topologies::{SimDuration, SimTime};

use super::pool::Pool;
use super::source::{Arrival, Stream};
use events::Simulation;

mod events;

/// A request that was served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Served {
    /// Its place in the stream.
    pub request: u32,
    /// What it asked for.
    pub shape: usize,
    /// When it came.
    pub arrived: SimTime,
    /// When its service started: the one that was finished.
    pub started: SimTime,
    /// When it was done.
    pub finished: SimTime,
}

impl Served {
    /// From arrival to end.
    #[must_use]
    pub fn latency(&self) -> SimDuration {
        self.finished.since(self.arrived)
    }

    /// From arrival to start.
    #[must_use]
    pub fn wait(&self) -> SimDuration {
        self.started.since(self.arrived)
    }
}

/// What happened in a pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replication {
    /// Every request of the stream that the pool serves, in the order of arrival.
    pub served: Vec<Served>,
    /// Time that each replica served, spares last; services that failed included.
    pub busy: Vec<SimDuration>,
    /// When the last request was done.
    pub end: SimTime,
    /// Requests in the pool, integrated over the run, in request-picoseconds.
    pub in_pool: u128,
    /// Services that failed and started again, in requests.
    pub restarts: u64,
    /// Services started.
    pub batches: u64,
}

/// A run that cannot end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error(
    "{restarts} services were lost to failures while {served} requests were served: give a longer mtbf or a shorter mttr"
)]
pub struct RunError {
    /// Services lost.
    pub restarts: u64,
    /// Requests served.
    pub served: usize,
}

/// Serves a stream's requests with a pool; those of shapes that the pool does not serve are not its own.
/// `seed` and `replication` decide when replicas fail.
///
/// # Errors
/// [`RunError`] where failures let nothing through.
///
/// # Panics
/// If a run takes longer than 213 days.
pub fn run(
    pool: &Pool,
    stream: &Stream,
    seed: u64,
    replication: u32,
) -> Result<Replication, RunError> {
    let mut simulation = Simulation::new(pool, &stream.arrivals, seed, replication);
    let own = |arrival: &Arrival| pool.serves(arrival.shape);
    let count = stream.arrivals.iter().filter(|one| own(one)).count();
    for (request, arrival) in (0_u32..).zip(&stream.arrivals) {
        if own(arrival) {
            while simulation.step(Some(arrival.at)) {}
            simulation.arrive(request, arrival);
            simulation.check()?;
        }
    }
    while simulation.done < count && simulation.step(None) {
        simulation.check()?;
    }
    assert_eq!(simulation.done, count, "a pool serves all that arrive");
    Ok(simulation.finish())
}
