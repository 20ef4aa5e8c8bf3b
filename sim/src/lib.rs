//! sim

pub mod bounds;
pub mod engine;
pub mod graph;
mod network;
pub mod outcome;
pub mod testing;
