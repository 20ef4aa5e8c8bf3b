//! The `ditplan` program.

fn main() {}
