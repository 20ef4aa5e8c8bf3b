//! sim

pub mod model;
pub mod workload;
