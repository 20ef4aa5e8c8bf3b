//! The list of commands: what can be typed, and who answers it.

use std::process::ExitCode;

use anyhow::{Result, anyhow};
use clap::{CommandFactory, Parser, Subcommand};
use planner::sweep::Sweep;
use traces::timeline::Timeline;

use crate::commands::calibrate::{self, CalibrateArguments};
use crate::commands::capacity::{self, CapacityArguments};
use crate::commands::compare::{self, CompareArguments};
use crate::commands::cuda::{self, CudaArguments};
use crate::commands::list::{self, ModelsArguments};
use crate::commands::machines::{self, MachinesArguments};
use crate::commands::plan::{self, PlanArguments};
use crate::commands::replay::{self, ReplayArguments};
use crate::commands::report::{self, ReportArguments};
use crate::commands::serve::{self, ServeArguments};
use crate::commands::shell::{self, CompletionsArguments, ManArguments};
use crate::commands::simulate::{self, SimulateArguments};
use crate::commands::sweep::{self, SweepArguments, Threads, Workers};
use crate::commands::trace::{self, TraceArguments};
use crate::commands::validate::{self, ValidateArguments};
use crate::ending;
use crate::question::Format;

/// Plan, simulate and validate how GPUs share one diffusion model.
#[derive(Debug, Parser)]
#[command(name = "ditplan", version, max_term_width = 100)]
pub(crate) struct Arguments {
    /// What to do.
    #[command(subcommand)]
    command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Find the fastest plan, with its proof, its rivals and its launch command
    Plan(PlanArguments),
    /// Simulate one plan
    Simulate(SimulateArguments),
    /// Ask what-if: the answer at many values of bandwidth, GPUs, resolution and more
    Sweep(SweepArguments),
    /// Measure the GPU at hand: a profile for `--profile`
    Calibrate(CalibrateArguments),
    /// Compare predictions with measured kernels, collectives, published and live runs
    Validate(ValidateArguments),
    /// Put two plans or two machines side by side, and say what would turn the tables
    Compare(CompareArguments),
    /// Write the answer of any command that has --json as one page that opens from disk
    Report(ReportArguments),
    /// Show reports and ask questions in a browser on this machine
    Serve(ServeArguments),
    /// Run the compressors over a recorded trace: rate and error of every layer and step
    Replay(ReplayArguments),
    /// Find the fewest GPUs (or dollars) that serve a rate of requests in time
    Capacity(CapacityArguments),
    /// Inspect, check, slice and convert recorded activations
    Trace(TraceArguments),
    /// Check and time the compressors on the GPU found
    Cuda(CudaArguments),
    /// List the known models; print one's file
    Models(ModelsArguments),
    /// List the preset machines; import and export machines
    Machines(MachinesArguments),
    /// List the known GPUs
    Gpus(Format),
    /// Print completions for a shell
    Completions(CompletionsArguments),
    /// Print the manual page
    Man(ManArguments),
}

/// The sweep that the command line asks for; none where it asks for something else.
///
/// # Errors
/// A mistake of the user's, whose text says what to do.
pub fn sweep() -> Result<Option<Sweep>> {
    match &Arguments::try_parse()?.command {
        Command::Sweep(typed) if typed.tornado.is_none() => sweep::sweep(typed).map(Some),
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
    let ending = match answer(&arguments.command, workers) {
        Ok(text) => ending::print(&text),
        Err(error) => ending::complain(&error),
    };
    ending.into()
}

/// Runs one command and gives back the text to print.
///
/// # Errors
/// A mistake of the user's, whose text says what to do.
fn answer(command: &Command, workers: &dyn Workers) -> Result<String> {
    match command {
        Command::Plan(typed) => plan::answer(typed),
        Command::Simulate(typed) => simulate::answer(typed),
        Command::Compare(typed) => compare::answer(typed),
        Command::Sweep(typed) => sweep::answer(typed, workers),
        Command::Report(typed) => report::answer(typed, &Arguments::command(), reported),
        Command::Serve(typed) => serve::answer(typed, &Arguments::command()),
        Command::Calibrate(typed) => calibrate::answer(typed),
        Command::Validate(typed) => validate::answer(typed),
        Command::Replay(typed) => replay::answer(typed),
        Command::Capacity(typed) => capacity::answer(typed),
        Command::Trace(typed) => trace::answer(typed),
        Command::Cuda(typed) => cuda::answer(typed),
        Command::Models(wanted) => list::answer(wanted),
        Command::Machines(typed) => machines::answer(typed),
        Command::Gpus(format) => Ok(list::gpus(*format)),
        Command::Completions(typed) => Ok(shell::completions(typed, Arguments::command())),
        Command::Man(typed) => shell::man(typed, Arguments::command()),
    }
}

/// What a page shows of a command line: what is printed, and the timeline of a plan.
fn reported(words: &[String]) -> Result<(String, Option<Timeline>)> {
    let typed = Arguments::try_parse_from(words).map_err(|error| {
        let mistake = report::mistake(&error);
        anyhow!("a page is drawn from what --json prints: {mistake}")
    })?;
    if let Command::Plan(typed) = &typed.command {
        anyhow::ensure!(
            !typed.robust,
            "--robust has no page: draw it with --plot FILE"
        );
    }
    let text = answer(&typed.command, &Threads)?;
    let timeline = match &typed.command {
        Command::Plan(typed) => Some(plan::timeline(typed, &text)?),
        Command::Simulate(typed) => Some(simulate::timeline(typed)?),
        _ => None,
    };
    Ok((text, timeline))
}
