//! Serving: requests arrive, replicas of plans serve them, and some wait.
//!
//! ```text
//! Pattern, mix, seed ─▶ Source ─▶ Stream ─┐
//!                                         ├─▶ run (events) ─▶ Replication ─▶ percentiles, utilisation, queue
//! plan's service times ─▶ Pool ───────────┘
//! ```
//!
//! A fleet is a list of pools, and every shape of request is served by exactly one of them: the pools of
//! a fleet are then independent of each other given the stream, and a fleet's run is the union of theirs.
//!
//! Guarantees:
//! 1. Every request that arrives is served, once; nothing is dropped.
//! 2. Equal inputs give equal runs on every machine: times are integer picoseconds, the generator is PCG
//!    with a stream of its own for each purpose, and the library's own logarithms are used.
//! 3. Common random numbers: a [`Source`] gives every fleet the same requests, and a higher rate is the same
//!    requests closer together. Under first come, first served without batches or failures no request is then
//!    served earlier at a higher rate, or with fewer replicas (Kiefer and Wolfowitz 1955, by induction over
//!    their recursion), so that percentiles are monotone in both.
//!
//! Not modelled: admission control, priorities, requests that give up, loading of weights, the network
//! between client and server, and whatever makes service times of one plan and shape differ.

pub mod closed_form;
pub mod pool;
pub mod rate;
pub mod run;
pub mod source;
pub mod statistics;
mod waiting;

#[cfg(test)]
mod tests;

pub use pool::{Failures, Pool, PoolError, Routing};
pub use rate::Rate;
pub use run::{Replication, RunError, Served, run};
pub use source::{Arrival, Pattern, Source, SourceError, Stream};
