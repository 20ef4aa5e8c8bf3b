//! sim

pub mod engine;
pub mod graph;
mod network;
pub mod testing;
