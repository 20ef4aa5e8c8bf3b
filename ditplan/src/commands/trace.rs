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
pub(crate) mod check;
mod copy;
pub(crate) mod info;
pub(crate) mod kineto;
mod numbers;
mod picture;
pub(crate) mod quality;
pub(crate) mod stats;

use anyhow::Result;

pub(crate) use arguments::TraceArguments;
use arguments::TraceCommand;

/// What `trace` prints.
pub(crate) fn answer(typed: &TraceArguments) -> Result<String> {
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
