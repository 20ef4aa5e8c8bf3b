//! sim

pub mod collective;
