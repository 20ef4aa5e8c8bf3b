//! The `ditplan` program: parse, ask, print.
//!
//! Exit codes: 0, an answer (also when the reader of the output went away); 1, the answer could not be
//! written; 2, a mistake in the question, told in one sentence on standard error.

use std::io::{ErrorKind, Write};
use std::process::ExitCode;

use clap::Parser;
use planner::cli::{self, Arguments};

fn main() -> ExitCode {
    match cli::answer(&Arguments::parse()) {
        Ok(text) => print(&text),
        Err(error) => {
            complain(&format!("{error:#}"));
            ExitCode::from(2)
        }
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
