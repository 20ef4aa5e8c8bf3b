//! From a model, a machine and a plan to a simulated timeline.

pub mod bounds;
pub mod chakra;
pub mod collective;
pub mod engine;
pub mod execution;
pub mod graph;
pub mod launch;
pub mod legality;
pub mod lower;
pub mod memory;
pub mod model;
mod network;
pub mod one_gpu;
pub mod outcome;
pub mod phases;
pub mod plan;
pub mod platform;
pub mod quality;
pub mod replay;
pub mod serving;
pub mod simulate;
pub mod testing;
pub mod workload;
