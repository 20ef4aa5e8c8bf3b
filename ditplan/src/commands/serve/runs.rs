//! Questions under way: a process each, a few at a time, each for a limited time.
//!
//! Guarantee: no question outlives the server, however that ends. Its standard input is a pipe that only the server
//! holds; the system closes it with the server, and the question ends ([`crate::ending::with_input`]).

use std::collections::BTreeMap;
use std::io::Read;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// Questions at the same time.
const AT_ONCE: usize = 2;
/// Answers kept.
const KEPT: usize = 32;
/// Bytes of all answers kept: of more, the oldest go.
const KEPT_BYTES: usize = 256 << 20;
/// Bytes of an answer at most.
const LARGEST: u64 = 64 << 20;

/// How a question stands.
pub(super) enum State {
    /// Not answered yet.
    Running {
        /// For how long.
        seconds: f64,
    },
    /// Answered.
    Done {
        /// What the page shows, as JSON text.
        data: Arc<str>,
    },
    /// Not answered.
    Failed {
        /// Why, in one sentence.
        sentence: Arc<str>,
    },
}

struct Run {
    child: Child,
    started: Instant,
    output: Option<[JoinHandle<String>; 2]>,
    ended: Option<Result<Arc<str>, Arc<str>>>,
}

/// All questions, by id.
pub(super) struct Runs {
    limit: Duration,
    runs: Mutex<(u64, BTreeMap<u64, Run>)>,
}

/// What a stream says, to its end or the largest answer.
fn read(stream: Option<impl Read + Send + 'static>) -> JoinHandle<String> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(stream) = stream {
            // What was read before an error is what there is.
            let _ = stream.take(LARGEST).read_to_end(&mut bytes);
        }
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

#[allow(
    clippy::disallowed_methods,
    reason = "questions are stopped after a time of the clock"
)]
pub(super) fn now() -> Instant {
    Instant::now()
}

impl Run {
    /// Ends what has ended, or what took longer than `limit`.
    fn settle(&mut self, limit: Duration) {
        if self.ended.is_some() {
            return;
        }
        let status = match self.child.try_wait() {
            Ok(Some(status)) => status,
            Ok(None) if now().duration_since(self.started) > limit => {
                self.stop(&format!(
                    "stopped after {} s: ask for less, or serve with a larger --limit",
                    limit.as_secs()
                ));
                return;
            }
            Ok(None) => return,
            Err(error) => return self.stop(&format!("the run is lost: {error}")),
        };
        let mut output = self.output.take().into_iter().flatten();
        let mut text = || {
            output
                .next()
                .and_then(|thread| thread.join().ok())
                .unwrap_or_default()
        };
        let (data, sentence) = (text(), text());
        self.ended = Some(if status.success() {
            Ok(data.into())
        } else {
            Err(sentence.trim_start_matches("error: ").trim().into())
        });
    }

    /// Bytes of its answer.
    fn size(&self) -> usize {
        let answer = self.ended.as_ref();
        answer.map_or(0, |ended| {
            ended
                .as_ref()
                .map_or_else(|error| error.len(), |data| data.len())
        })
    }

    fn stop(&mut self, sentence: &str) {
        // A process that is gone already needs no end.
        let _ = self.child.kill();
        let _ = self.child.wait();
        self.output = None;
        self.ended = Some(Err(sentence.into()));
    }
}

impl Runs {
    pub(super) fn new(limit: Duration) -> Self {
        Self {
            limit,
            runs: Mutex::new((0, BTreeMap::new())),
        }
    }

    fn settled(&self) -> MutexGuard<'_, (u64, BTreeMap<u64, Run>)> {
        let mut guard = self.runs.lock().unwrap_or_else(PoisonError::into_inner);
        for run in guard.1.values_mut() {
            run.settle(self.limit);
        }
        let runs = &mut guard.1;
        let ended = runs.iter().filter(|(_, run)| run.ended.is_some());
        let ended: Vec<u64> = ended.map(|(id, _)| *id).collect();
        for id in ended {
            let bytes: usize = runs.values().map(Run::size).sum();
            if runs.len() <= KEPT && bytes <= KEPT_BYTES {
                break;
            }
            runs.remove(&id);
        }
        guard
    }

    /// Ends what has ended or took too long, and forgets old answers.
    pub(super) fn settle(&self) {
        drop(self.settled());
    }

    /// Starts a question; its id.
    pub(super) fn start(&self, words: &[String]) -> Result<u64, (u16, String)> {
        let mut guard = self.settled();
        let (last, runs) = &mut *guard;
        if runs.values().filter(|run| run.ended.is_none()).count() >= AT_ONCE {
            let sentence = format!("{AT_ONCE} questions are being answered: wait, or cancel one");
            return Err((429, sentence));
        }
        let failed = |error: std::io::Error| (500, format!("the question cannot be run: {error}"));
        let program = std::env::current_exe().map_err(failed)?;
        let mut child = Command::new(program)
            .args(["report", "--data", "--while-asked"])
            .args(words)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(failed)?;
        let output = Some([read(child.stdout.take()), read(child.stderr.take())]);
        *last += 1;
        let run = Run {
            child,
            started: now(),
            output,
            ended: None,
        };
        runs.insert(*last, run);
        Ok(*last)
    }

    /// How a question stands.
    pub(super) fn state(&self, id: u64) -> Option<State> {
        let guard = self.settled();
        let run = guard.1.get(&id)?;
        Some(match &run.ended {
            None => State::Running {
                seconds: now().duration_since(run.started).as_secs_f64(),
            },
            Some(Ok(data)) => State::Done {
                data: Arc::clone(data),
            },
            Some(Err(sentence)) => State::Failed {
                sentence: Arc::clone(sentence),
            },
        })
    }

    /// Stops a question that is not answered yet.
    pub(super) fn cancel(&self, id: u64) {
        let mut guard = self.settled();
        let run = guard.1.get_mut(&id).filter(|run| run.ended.is_none());
        if let Some(run) = run {
            run.stop("cancelled");
        }
    }
}
