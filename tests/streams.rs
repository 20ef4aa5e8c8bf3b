//! Closed pipes, colours, backtraces.

use std::io::Read;
use std::process::{Command, Stdio};

use crate::printed;

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_ditplan"))
        .args(["gpus", "--json"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    drop(child.stdout.take());
    let mut stderr = String::new();
    let mut pipe = child.stderr.take().expect("standard error is a pipe");
    pipe.read_to_string(&mut stderr)
        .expect("standard error is text");
    assert!(child.wait().expect("the program ends").success());
    assert_eq!(stderr, "");
}

#[test]
fn no_colour_reaches_a_pipe() {
    for arguments in [&["models"][..], &["machines"], &["gpus"]] {
        assert!(!printed(arguments).contains('\u{1b}'));
    }
}

#[test]
fn an_answer_that_cannot_be_written_is_exit_code_1() {
    for arguments in [
        &["--version"][..],
        &["--help"],
        &["plan", "--help"],
        &["gpus"],
    ] {
        let full = std::fs::OpenOptions::new().write(true).open("/dev/full");
        let Ok(full) = full else {
            println!("SKIPPED: no /dev/full here");
            return;
        };
        let output = Command::new(env!("CARGO_BIN_EXE_ditplan"))
            .args(arguments)
            .stdout(full)
            .output()
            .expect("the program runs");
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
    }
}
