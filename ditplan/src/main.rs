//! The `ditplan` program.

use std::process::ExitCode;

fn main() -> ExitCode {
    ditplan::run(&ditplan::Threads)
}
