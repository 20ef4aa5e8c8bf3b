//! From a model, a machine and a plan to a simulated timeline.

pub mod bounds;
pub mod collective;
pub mod engine;
pub mod graph;
pub mod legality;
pub mod memory;
pub mod model;
mod network;
pub mod outcome;
pub mod plan;
pub mod testing;
pub mod workload;
