//! The compressors on an NVIDIA GPU: `kernels/cuda/*.cu` compiled for the card found, launched, checked
//! against [`crate::wire`] and timed.
//!
//! ```text
//! Source + Variant ─▶ NVRTC (or PTX files) ─▶ Kernel ─┐
//! Compressor + Shape ─▶ Geometry ─▶ Launch ───────────┴▶ Gpu::launch on Codec's memory
//! ```
//! Guarantees: without a driver every entry gives one sentence and never panics; launches of one codec
//! run in order on one stream; equal inputs give equal bytes.
//!
//! Modelled of the protocol: order 1 with feedback, raw steps, and order 0 (no base). Not modelled: order
//! 2, feedback off, more than one GPU, and the refusal of non-finite activations, which the caller must
//! keep out.

mod case;
mod check;
mod codec;
mod device;
mod error;
mod geometry;
mod low_rank;
mod samples;
mod source;
mod sweep;
mod table;
mod tolerance;

pub use check::{Checked, Depth, check};
pub use codec::Codec;
pub use device::{Buffer, Gpu, Kernel, Operands, compile, file_name, probe};
pub use error::CudaError;
pub use geometry::{Geometry, Launch};
pub use source::{Source, Variant};
pub use sweep::{Sweep, sweep};
pub use table::{Direction, Measured, UnreadableTable, ratios, read, write};

#[cfg(test)]
mod tests;
