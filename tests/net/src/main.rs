//! The simulator's network against real sockets: network namespaces joined by shaped links.
//!
//! ```text
//! cases ─▶ machine file ─▶ the product's lowering ─▶ TaskGraph ─┬─▶ engine ─▶ predicted ─┐
//!                                                               └─▶ programs ─▶ workers ─▶ measured ─▶ errors
//! ```
//! One flow on one testbed is measured first: what it reaches of the label's rate and its latency stand in every
//! machine file from then on. Nothing else is fitted.

mod cases;
mod clock;
mod codec;
mod dit;
mod drawn;
mod exchange;
mod link;
mod machine;
mod measure;
mod mesh;
mod program;
mod report;
#[cfg(test)]
mod results;
mod stat;
mod testbed;
mod worker;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

use drawn::Extent;
use measure::Setup;
use report::Report;

/// Collectives over real sockets, measured and simulated.
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Measures, simulates, compares.
    Measure {
        /// A few cases only.
        #[arg(long)]
        quick: bool,
        /// Fail where the objective is missed.
        #[arg(long)]
        check: bool,
        /// Measured repeats of each case.
        #[arg(long, default_value_t = 5)]
        repeats: u32,
        /// Where the files go.
        #[arg(long)]
        out: PathBuf,
        /// Begins the names of namespaces.
        #[arg(long)]
        token: String,
    },
    /// One rank; started by `measure`.
    #[command(hide = true)]
    Worker {
        /// The rank.
        rank: u32,
        /// Where each rank listens.
        addresses: Vec<String>,
    },
}

fn main() -> ExitCode {
    let done = match Arguments::parse().command {
        Command::Measure {
            quick,
            check,
            repeats,
            out,
            token,
        } => {
            let extent = if quick { Extent::Quick } else { Extent::Full };
            let report = measured(&Setup { repeats, token }, extent, &out);
            report.and_then(|report| if check { report.check() } else { Ok(()) })
        }
        Command::Worker { rank, addresses } => worker::serve(rank, addresses),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn measured(setup: &Setup, extent: Extent, out: &std::path::Path) -> Result<Report> {
    let (calibration, sweep) = measure::calibrate(setup)?;
    eprintln!(
        "one flow: {:.4} of the link's rate, {:.0} us",
        calibration.efficiency, calibration.latency_us
    );
    let all = measure::measure(setup, extent, calibration, |one| {
        eprintln!("{}", report::line(one));
    })?;
    let report = Report::new(&all, calibration, &sweep, setup.repeats)?;
    report.write(&all, out)?;
    println!("{report}");
    Ok(report)
}
