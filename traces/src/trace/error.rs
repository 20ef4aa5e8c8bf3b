//! What can be wrong with a trace: one sentence each, with the file and what to do.

use thiserror::Error;
use topologies::Bytes;

use super::{Dtype, Shape, Tensor};

/// Why a trace, or a file of it, cannot be used or written.
#[derive(Clone, Debug, PartialEq, Error)]
pub enum TraceError {
    /// The directory has no manifest.
    #[error(
        "{directory} is not a trace ({what}): give a directory that ditplan_capture or `ditplan trace` wrote, with its manifest.json"
    )]
    NotATrace {
        /// The directory.
        directory: String,
        /// What the system says.
        what: String,
    },
    /// A file cannot be opened or read.
    #[error("{file} cannot be read ({what}): check the path and its permissions")]
    Unreadable {
        /// The file.
        file: String,
        /// What the system says.
        what: String,
    },
    /// A file or directory cannot be written.
    #[error(
        "{file} cannot be written ({what}): choose a directory with room that you may write to"
    )]
    Unwritable {
        /// The file.
        file: String,
        /// What kind of failure it is.
        kind: std::io::ErrorKind,
        /// What the system says.
        what: String,
    },
    /// A trace would be written over something.
    #[error("{directory} is not empty: give a new directory, or delete this one first")]
    Exists {
        /// The directory.
        directory: String,
    },
    /// A format or version that this program does not know.
    #[error(
        "{file} has format \"{format}\" version {version}; this program reads ditplan-trace version 1: use the program that wrote it, or record the trace again"
    )]
    Version {
        /// The manifest.
        file: String,
        /// The format found.
        format: String,
        /// The version found.
        version: u64,
    },
    /// A key of the manifest, or of another JSON file, is missing, unknown or wrong.
    #[error("{file}, key \"{key}\": {what}: correct it, or write the file again")]
    Key {
        /// The file.
        file: String,
        /// The key, as a path.
        key: String,
        /// What is wrong.
        what: String,
    },
    /// The recording was cut short.
    #[error(
        "{directory} is a partial trace, {done} of {steps} steps: record it again, or read those with --partial"
    )]
    Partial {
        /// The directory.
        directory: String,
        /// Steps in the manifest.
        done: usize,
        /// Steps that were to be recorded.
        steps: usize,
    },
    /// Not one step can be read.
    #[error("{directory} has no complete step ({what}): record the trace again")]
    NoSteps {
        /// The directory.
        directory: String,
        /// What is wrong with the first.
        what: String,
    },
    /// A file that predictions of quality need is not there.
    #[error("{directory} has no {file}, so it says nothing about output quality: {remedy}")]
    NotCalibrated {
        /// The trace.
        directory: String,
        /// The file.
        file: &'static str,
        /// What makes it.
        remedy: String,
    },
    /// A file of the manifest is not there.
    #[error(
        "{file} is missing: copy it from where the trace was recorded, or read the steps before it with --partial"
    )]
    Missing {
        /// The file.
        file: String,
    },
    /// A file is shorter than the manifest says.
    #[error(
        "{file} is truncated, {bytes} of {expected}: copy it again, or read the steps before it with --partial"
    )]
    Truncated {
        /// The file.
        file: String,
        /// Its size.
        bytes: Bytes,
        /// Its size in the manifest.
        expected: Bytes,
    },
    /// A file is not the one of the manifest.
    #[error("{file} was altered ({what}): copy it again from where the trace was recorded")]
    Altered {
        /// The file.
        file: String,
        /// Size or checksum.
        what: String,
    },
    /// A shard is not safetensors, or not the tensors of one step.
    #[error(
        "{file} is not a shard of this trace ({what}): copy it again, or record the trace again"
    )]
    Shard {
        /// The file.
        file: String,
        /// What is wrong.
        what: String,
    },
    /// A tensor has another element type than the manifest says.
    #[error(
        "{file}, tensor {name}: {found} where the manifest says {expected}: record the trace again, or correct \"dtype\""
    )]
    WrongDtype {
        /// The file.
        file: String,
        /// The tensor.
        name: String,
        /// The type found, as safetensors says it.
        found: String,
        /// The type of the manifest.
        expected: Dtype,
    },
    /// A tensor has another shape than the manifest says.
    #[error(
        "{file}, tensor {name}: shape {found:?} where the manifest says {expected}: record the trace again, or correct \"model\" and \"recorded\""
    )]
    WrongShape {
        /// The file.
        file: String,
        /// The tensor.
        name: String,
        /// The shape found.
        found: Vec<usize>,
        /// The shape of the manifest.
        expected: Shape,
    },
    /// A layer, step or other part was asked for that the trace does not have.
    #[error("{file} has no {what}: ask for one of {known}")]
    NotRecorded {
        /// The manifest or the trace.
        file: String,
        /// What was asked for.
        what: String,
        /// What there is.
        known: String,
    },
    /// NaN or infinity.
    #[error(
        "{file}: {value} in {tensor} of layer {layer}, step {step}, sample {sample}, element {index}: record the trace again{remedy}"
    )]
    NonFinite {
        /// The shard.
        file: String,
        /// NaN, inf or -inf.
        value: f32,
        /// K or V.
        tensor: Tensor,
        /// The layer.
        layer: u32,
        /// The step.
        step: u32,
        /// The sample, as the manifest counts them.
        sample: u32,
        /// The element in the sample's `[tokens, heads, head_dim]`.
        index: usize,
        /// What else can be done; empty, or a clause.
        remedy: &'static str,
    },
    /// A row of the statistics is not what the activations give.
    #[error(
        "{file}: {what} is {found} where the activations give {expected}: record the trace again"
    )]
    Statistics {
        /// The table.
        file: String,
        /// Which figure of which row.
        what: String,
        /// As written.
        found: f64,
        /// As recomputed.
        expected: f64,
    },
    /// A row of a table is wrong.
    #[error("{file}, line {line}: {what}: correct the row, or write the table again")]
    Table {
        /// The table.
        file: String,
        /// The line, from 1.
        line: u64,
        /// What is wrong.
        what: String,
    },
}
