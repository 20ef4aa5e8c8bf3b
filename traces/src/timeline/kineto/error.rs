//! Why a file is no profiler's trace.

use thiserror::Error;

/// Why a file is no such trace.
#[derive(Debug, Error)]
pub enum KinetoError {
    /// It cannot be read or unpacked.
    #[error("{file} cannot be read, {cause}: give the profiler's .json or .json.gz")]
    Read {
        /// The file.
        file: String,
        /// Why.
        cause: std::io::Error,
    },
    /// It is no JSON of the right form.
    #[error("{file}: no profiler's trace, {cause}: export it again with export_chrome_trace")]
    Json {
        /// The file.
        file: String,
        /// What is wrong, with line and column.
        cause: serde_json::Error,
    },
    /// An event is at fault.
    #[error("{file}, event {event}: {fault}: {remedy}")]
    Event {
        /// The file.
        file: String,
        /// Position of the event, from 0.
        event: usize,
        /// What is wrong.
        fault: String,
        /// What to do.
        remedy: &'static str,
    },
    /// Nothing ran on a GPU.
    #[error("{file} has no work of a GPU: profile with ProfilerActivity.CUDA")]
    NoGpu {
        /// The file.
        file: String,
    },
}
