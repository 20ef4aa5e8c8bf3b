//! sim

pub mod engine;
pub mod graph;
