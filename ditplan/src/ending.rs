//! How the program ends.
//!
//! | exit code | means |
//! |---|---|
//! | 0 | an answer, also when the reader of the output went away |
//! | 1 | an answer that could not be written: the disk is full, the device fails |
//! | 2 | a mistake in the question, told in one sentence on standard error with what to do |
//! | 101 | a mistake of ours (a panic): please report the command |
//! | 130 | stopped by Ctrl-C: files that were finished are kept, half-written ones removed |

use std::io::{ErrorKind, Write};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};

use thiserror::Error;
use traces::trace::TraceError;
use traces::whole;

/// How the program ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// With an answer.
    Answered,
    /// With an answer that could not be written.
    Unwritten,
    /// With a mistake of the user's.
    Mistaken,
    /// By Ctrl-C.
    Stopped,
}

impl Ending {
    const fn code(self) -> u8 {
        match self {
            Self::Answered => 0,
            Self::Unwritten => 1,
            Self::Mistaken => 2,
            Self::Stopped => 130,
        }
    }

    fn of(error: &anyhow::Error) -> Self {
        let failed = |kind: ErrorKind| {
            use ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull, WriteZero};
            matches!(kind, FileTooLarge | QuotaExceeded | StorageFull | WriteZero)
        };
        for cause in error.chain() {
            if cause.is::<Stopped>() {
                return Self::Stopped;
            }
            let kind = match cause.downcast_ref::<TraceError>() {
                Some(TraceError::Unwritable { kind, .. }) => Some(*kind),
                // An input beyond our limits is large too, but no system's word.
                _ => cause
                    .downcast_ref::<std::io::Error>()
                    .filter(|error| {
                        error.kind() != ErrorKind::FileTooLarge || error.raw_os_error().is_some()
                    })
                    .map(std::io::Error::kind),
            };
            if kind.is_some_and(failed) {
                return Self::Unwritten;
            }
        }
        Self::Mistaken
    }
}

impl From<Ending> for ExitCode {
    fn from(ending: Ending) -> Self {
        Self::from(ending.code())
    }
}

/// A command ended early because the user asked for it; the text says what is kept.
#[derive(Debug, Error)]
#[error("{0}")]
pub struct Stopped(pub String);

/// Whether a program that was started here hears Ctrl-C too, and is waited for.
static WAITING: AtomicBool = AtomicBool::new(false);

/// Ctrl-C ends the program at once; what is half written is removed.
pub fn keep_what_is_done() {
    // Where no handler can be set, Ctrl-C ends the program as it ends any other.
    let _ = ctrlc::set_handler(|| {
        if !WAITING.load(Ordering::Relaxed) {
            whole::abandon();
            say("stopped: files that were finished are kept");
            std::process::exit(i32::from(Ending::Stopped.code()));
        }
    });
}

/// From here on Ctrl-C is for the program that was started, which this one waits for.
pub fn wait_for_other() {
    WAITING.store(true, Ordering::Relaxed);
}

/// Ends the program when its standard input ends: whoever started it and holds the other end is gone.
pub fn with_input() {
    std::thread::spawn(|| {
        // An input that cannot be read has ended too.
        let _ = std::io::copy(&mut std::io::stdin().lock(), &mut std::io::sink());
        whole::abandon();
        std::process::exit(i32::from(Ending::Stopped.code()));
    });
}

/// Writes the answer; styles are dropped where standard output is not a terminal.
pub fn print(text: &str) -> Ending {
    let mut out = anstream::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => Ending::Answered,
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ending::Answered,
        Err(error) => {
            say(&format!("the answer could not be written: {error}"));
            Ending::Unwritten
        }
    }
}

/// Tells what went wrong.
pub fn complain(error: &anyhow::Error) -> Ending {
    say(&format!("{error:#}"));
    Ending::of(error)
}

/// One line on standard error; nobody is told when even that is closed.
fn say(sentence: &str) {
    let _ = writeln!(std::io::stderr(), "error: {}", line(sentence));
}

/// A sentence as one line of readable length, whatever of an input it quotes.
fn line(sentence: &str) -> String {
    const LONGEST: usize = 2000;
    let words: Vec<&str> = sentence.split_whitespace().collect();
    let readable = |c: char| if c.is_control() { '\u{fffd}' } else { c };
    let line: Vec<char> = words.join(" ").chars().map(readable).collect();
    match line.len() > LONGEST {
        true => {
            // What to do stands at the end.
            let (start, end) = (&line[..LONGEST / 2], &line[line.len() - LONGEST / 2..]);
            [start, &[' ', '…', ' '], end]
                .concat()
                .into_iter()
                .collect()
        }
        false => line.into_iter().collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sentence_is_one_readable_line() {
        assert_eq!(line("a\n  b \u{1b}[31mred"), "a b \u{fffd}[31mred");
        let long = line(&format!("column \"{}\": name it", "x".repeat(1 << 20)));
        assert!(long.chars().count() < 2100 && long.ends_with("\": name it"));
    }
}
