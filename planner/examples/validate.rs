//! The validation without the program around it: prints the report as JSON.
//!
//! ```text
//! cargo run -p planner --release --example validate -- [--gemm F] [--attention F] [--nccl F] [--published F]...
//! ```

use std::error::Error;

use clap::Parser;
use indicatif::ProgressBar;
use planner::validate::{Inputs, validate};

#[derive(Parser)]
struct Arguments {
    #[command(flatten)]
    inputs: Inputs,
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments = Arguments::parse();
    match validate(&arguments.inputs, &ProgressBar::hidden()) {
        Ok(report) => println!("{}", serde_json::to_string_pretty(&report)?),
        Err(mistake) => {
            eprintln!("{mistake}");
            std::process::exit(2);
        }
    }
    Ok(())
}
