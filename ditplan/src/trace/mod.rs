//! `trace`: what a recorded run holds, whether it is whole, and parts of it.
//!
//! ```text
//! info    what was recorded, where and how
//! check   every file, checksum, number and statistic
//! stats   how far activations move from step to step, beside the published curve of FLUX.1-dev
//! quality predicted output errors beside closed-loop runs
//! slice   some layers, steps, samples, tokens or heads as a trace of their own
//! convert another element type
//! kineto  what a PyTorch profiler saw, beside a plan's messages
//! ```

mod arguments;
mod check;
mod copy;
mod info;
mod kineto;
mod numbers;
mod picture;
mod quality;
mod stats;

use std::path::PathBuf;

use anyhow::Result;
use indicatif::{ProgressBar, ProgressStyle};
use traces::trace::{Trace, TraceError};

pub(super) use arguments::TraceArguments;
use arguments::{Source, TraceCommand};

/// What `trace` prints.
pub(super) fn answer(typed: &TraceArguments) -> Result<String> {
    match &typed.command {
        TraceCommand::Info(typed) => info::answer(typed),
        TraceCommand::Check(typed) => check::answer(typed),
        TraceCommand::Stats(typed) => stats::answer(typed),
        TraceCommand::Quality(typed) => quality::answer(typed),
        TraceCommand::Slice(typed) => copy::slice(typed),
        TraceCommand::Convert(typed) => copy::convert(typed),
        TraceCommand::Kineto(typed) => kineto::answer(typed),
    }
}

impl Source {
    /// Opens the trace: whole, or with `--partial` up to its last complete step.
    fn open(&self) -> Result<Trace, TraceError> {
        if self.partial {
            Trace::open_partial(&self.directory)
        } else {
            Trace::open(&self.directory)
        }
    }
}

/// A bar on standard error; invisible where that is not a terminal.
pub(super) fn progress(length: u64, what: &'static str) -> ProgressBar {
    let style = ProgressStyle::with_template("{msg:24} {wide_bar} {percent:>3} %");
    let style = style.unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(length)
        .with_style(style)
        .with_message(what)
}

/// Numbers as people list them: `0-3, 5, 7-9`.
fn listed(numbers: &[u32]) -> String {
    let mut runs: Vec<(u32, u32)> = Vec::new();
    for &number in numbers {
        match runs.last_mut() {
            Some((_, last)) if *last + 1 == number => *last = number,
            _ => runs.push((number, number)),
        }
    }
    let runs: Vec<String> = runs
        .iter()
        .map(|(first, last)| match first == last {
            true => first.to_string(),
            false => format!("{first}-{last}"),
        })
        .collect();
    runs.join(", ")
}

/// Where a new trace was written, and what it holds.
fn written(out: &PathBuf) -> Result<String> {
    let trace = Trace::open(out)?;
    Ok(format!(
        "wrote {}\n{}",
        out.display(),
        info::page(&trace, None)
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_of_numbers_are_ranges() {
        assert_eq!(listed(&[0, 1, 2, 3, 5, 7, 8]), "0-3, 5, 7-8");
        assert_eq!(listed(&[4]), "4");
        assert_eq!(listed(&[]), "");
    }
}
