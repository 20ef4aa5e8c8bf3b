//! The `ditplan` program, as a library for those who run its sweeps on several machines: parse, ask, print.
//!
//! ```text
//! Arguments ─▶ asked::Asked ─▶ Question ─▶ planner ─▶ Answer ─▶ table | JSON | picture
//! ```
//! Nothing here computes a figure, and every command gives back its text.
//!
//! Exit codes: 0, an answer (also when the reader of the output went away); 1, the answer could not be
//! written; 2, a mistake in the question, told in one sentence on standard error.

mod arguments;
mod asked;
mod calibrated;
mod capacity;
mod choice;
mod compared;
mod contract;
mod cuda;
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

use std::io::{ErrorKind, Write};
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
        Err(error) => {
            let _ = error.print();
            return u8::try_from(error.exit_code()).map_or(ExitCode::FAILURE, ExitCode::from);
        }
    };
    match answer(&arguments, workers) {
        Ok(text) => print(&text),
        Err(error) => {
            complain(&format!("{error:#}"));
            ExitCode::from(2)
        }
    }
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
        Command::Models(format) => Ok(listing::models(*format)),
        Command::Machines(wanted) => imported::answer(wanted),
        Command::Gpus(format) => Ok(listing::gpus(*format)),
        Command::Completions(wanted) => Ok(shell::completions(wanted)),
        Command::Man(wanted) => shell::man(wanted),
    }
}

/// Writes the answer; styles are dropped where standard output is not a terminal.
fn print(text: &str) -> ExitCode {
    let mut out = anstream::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.kind() == ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            complain(&format!("the answer could not be written: {error}"));
            ExitCode::FAILURE
        }
    }
}

/// One line on standard error; nobody is told when even that is closed.
fn complain(sentence: &str) {
    let line: Vec<&str> = sentence.split_whitespace().collect();
    let _ = writeln!(std::io::stderr(), "error: {}", line.join(" "));
}
