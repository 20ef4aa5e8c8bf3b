//! The `ditplan` program, as a library for those who run its sweeps on several machines: parse, ask, print.
//!
//! ```text
//! Arguments ─▶ asked::Asked ─▶ Question ─▶ planner ─▶ Answer ─▶ table | JSON | picture
//! ```
//! Nothing here computes a figure, and every command gives back its text.
//!
//! How it ends, and with which exit code, stands in `ending.rs`.

mod arguments;
mod asked;
mod calibrated;
mod capacity;
mod choice;
mod compared;
mod contract;
mod cuda;
mod ending;
mod figure;
mod imported;
mod listing;
mod nccl;
mod quality;
mod replayed;
mod report;
mod robust;
#[cfg(test)]
mod sample;
mod serve;
mod shell;
mod simulated;
mod swept;
mod text;
mod trace;
mod validated;

use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;

use arguments::{Arguments, Command};
use planner::sweep::Sweep;

pub use swept::{Threads, Workers, digest, lines};

/// The sweep that the command line asks for; none where it asks for something else.
///
/// # Errors
/// A mistake of the user's, whose text says what to do.
pub fn sweep() -> Result<Option<Sweep>> {
    match &Arguments::try_parse()?.command {
        Command::Sweep(wanted) if wanted.tornado.is_none() => swept::sweep(wanted).map(Some),
        _ => Ok(None),
    }
}

/// Answers the command line; `workers` work out the points of sweeps.
pub fn run(workers: &dyn Workers) -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        // Help and version are answers too.
        Err(text) if !text.use_stderr() => {
            return ending::print(&text.render().ansi().to_string()).into();
        }
        Err(error) => {
            let _ = error.print();
            return u8::try_from(error.exit_code()).map_or(ExitCode::FAILURE, ExitCode::from);
        }
    };
    ending::keep_what_is_done();
    let ending = match answer(&arguments, workers) {
        Ok(text) => ending::print(&text),
        Err(error) => ending::complain(&error),
    };
    ending.into()
}

/// Runs one command and gives back the text to print.
///
/// # Errors
/// A mistake of the user's, whose text says what to do.
fn answer(arguments: &Arguments, workers: &dyn Workers) -> Result<String> {
    match &arguments.command {
        Command::Plan(wanted) => choice::answer(wanted),
        Command::Simulate(wanted) => simulated::answer(wanted),
        Command::Compare(wanted) => compared::answer(wanted),
        Command::Sweep(wanted) => swept::answer(wanted, workers),
        Command::Report(wanted) => report::answer(wanted),
        Command::Serve(wanted) => serve::answer(wanted),
        Command::Calibrate(wanted) => calibrated::answer(wanted),
        Command::Validate(wanted) => validated::answer(wanted),
        Command::Replay(typed) => replayed::answer(typed),
        Command::Capacity(typed) => capacity::answer(typed),
        Command::Trace(wanted) => trace::answer(wanted),
        Command::Cuda(wanted) => cuda::answer(wanted),
        Command::Models(wanted) => listing::answer(wanted),
        Command::Machines(wanted) => imported::answer(wanted),
        Command::Gpus(format) => Ok(listing::gpus(*format)),
        Command::Completions(wanted) => Ok(shell::completions(wanted)),
        Command::Man(wanted) => shell::man(wanted),
    }
}
