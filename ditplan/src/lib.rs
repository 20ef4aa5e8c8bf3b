//! The `ditplan` program, as a library for those who run its sweeps on several machines: parse, ask, print.
//!
//! ```text
//! cli          what can be typed, and who answers it
//!  └▶ commands   a module for each: what was typed ─▶ planner ─▶ what is printed, drawn, written
//!      ├▶ question  flags and files that commands share ─▶ a question to the planner
//!      └▶ render    answers as text, tables, figures, pages, JSON
//! ```
//! Arrows run down only, and no two files import each other (`tests/hygiene.rs`). Nothing here computes a figure, and every
//! command gives back its text.
//!
//! How it ends, and with which exit code, stands in `ending.rs`.

mod cli;
mod commands;
mod ending;
mod question;
mod render;
#[cfg(test)]
mod schemas;

pub use cli::{run, sweep};
pub use commands::sweep::{Threads, Workers, digest, lines};
