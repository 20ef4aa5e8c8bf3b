//! The command line: from what was typed to the text that is printed.
//!
//! ```text
//! Arguments ─▶ asked::Asked ─▶ Question ─▶ search ─▶ Answer ─▶ table | JSON
//! ```
//! Nothing here computes a figure, and nothing here prints: every command gives back its text.

mod arguments;
mod asked;
mod choice;
mod contract;
mod cuda;
mod listing;
mod quality;
mod replayed;
#[cfg(test)]
mod sample;
mod simulated;
mod text;
mod trace;
mod validated;

use anyhow::Result;

pub use arguments::Arguments;
use arguments::Command;

/// Runs one command and gives back the text to print.
///
/// # Errors
/// A mistake of the user's, whose text says what to do.
pub fn answer(arguments: &Arguments) -> Result<String> {
    match &arguments.command {
        Command::Plan(wanted) => choice::answer(wanted),
        Command::Simulate(wanted) => simulated::answer(wanted),
        Command::Validate(wanted) => validated::answer(wanted),
        Command::Replay(typed) => replayed::answer(typed),
        Command::Trace(wanted) => trace::answer(wanted),
        Command::Cuda(wanted) => cuda::answer(wanted),
        Command::Models(format) => Ok(listing::models(*format)),
        Command::Machines(format) => Ok(listing::machines(*format)),
        Command::Gpus(format) => Ok(listing::gpus(*format)),
    }
}
