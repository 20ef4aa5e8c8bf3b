//! Activation traces: K and V of every layer and step of a sampling run, in a directory.
//!
//! ```text
//! manifest.json                     what was recorded, where and how; sizes and checksums of the files
//! kv-00001-of-00028.safetensors     one shard a step: "layers.{l}.k", "layers.{l}.v"
//! stats.csv.gz                      norms of all layers and steps              (Statistic)
//! errors.csv.gz                     what replayed compressors did to them      (ErrorRow)
//! runs.csv.gz                       closed-loop runs and how far they went     (ClosedLoop)
//! quality.json                      the calibration fitted from those runs     (QualityFile)
//! ```
//! Every tensor is `[samples, tokens, heads, head_dim]`, row-major and little-endian, K after qk-norm and
//! RoPE. `layers.{l}` counts the model's layers, whichever of them were recorded.
//!
//! Guarantees:
//! 1. [`Trace::open`] reads nothing but a complete trace whose files have the sizes, and whose shards
//!    have the tensors, shapes and types, that the manifest says. [`Trace::open_partial`] reads the steps
//!    before the first that is not like that.
//! 2. [`Trace::verify`] recomputes every checksum. Nothing else reads whole files.
//! 3. Shards are mapped one step at a time: memory does not grow with the trace.
//! 4. [`TraceWriter`] and [`Trace::put`] write a file beside its name, flush it to the disk and rename it;
//!    the manifest comes last. A writer that dies leaves a trace that is marked partial.
//!
//! Subsets: `recorded` in the manifest says which layers, steps, heads, tokens and samples the shards
//! hold. The tables describe the whole run, whatever the shards hold.
//!
//! Not modelled: attention's queries, more than one request at a time, compressed shards.

mod calibrated;
mod checksum;
mod curve;
mod element;
mod error;
mod file;
mod manifest;
mod mapping;
mod open;
mod quality;
mod replay;
mod rows;
mod runs;
mod selection;
mod shard;
mod statistics;
mod validate;
mod view;
mod writer;

#[cfg(test)]
mod tests;

pub use calibrated::Calibrated;
pub use checksum::Checksum;
pub use curve::{FLUX_STEPS, Grouping, Point, PublishedStep, curve, flux, flux_at};
pub use element::{Dtype, Element};
pub use error::TraceError;
pub use manifest::{
    Capture, Device, DeviceKind, FileEntry, Format, Label, Manifest, ModelInfo, Recorded, Sample,
    Sampler, State, TokenOrder,
};
pub use open::Trace;
pub use quality::{Confidence, PhaseWeight, QualityFile, Sensitivity, TensorWeight};
pub use replay::{ErrorKind, ErrorRow, Phase};
pub use rows::{Row, read as read_rows};
pub use runs::{ClosedLoop, Purpose, RunStrategy, Split};
pub use selection::{Selection, convert, slice};
pub use statistics::{Statistic, measure};
pub use view::{NonFinite, Rows, Shape, StepView, Tensor, TensorView};
pub use writer::TraceWriter;

/// Statistics of the run: [`Statistic`].
pub const STATISTICS: &str = "stats.csv.gz";
/// What replayed compressors did: [`ErrorRow`].
pub const ERRORS: &str = "errors.csv.gz";
/// Closed-loop runs: [`ClosedLoop`].
pub const RUNS: &str = "runs.csv.gz";
/// The calibration of the quality model: [`QualityFile`].
pub const QUALITY: &str = "quality.json";
/// Spans of the recorded run: [`crate::timeline`].
pub const TIMELINE: &str = "timeline.json";
