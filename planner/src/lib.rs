//! The parts of the `ditplan` program.

pub mod validate;
