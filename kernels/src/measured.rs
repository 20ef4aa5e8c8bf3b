//! Measurements of one GPU that stand in place of the built-in tables.
//!
//! ```text
//! points of a profile ─▶ Own: tables of its GPU, exact rectangles, memory rate, codec times
//! Op on that GPU ─▶ Own, where it covers the shape ─▶ else the built-in tables, as without it
//! ```
//! Guarantees: other GPUs' answers are those of the built-in tables; an answer from here says so in its
//! note. A shape beyond those measured is left to a built-in table of the same GPU that covers it.
//!
//! Not modelled: several kernels of one operation at once: the one named, else PyTorch's flash attention,
//! else the first by name.

mod grid;
mod own;

use thiserror::Error;
use topologies::{DType, Gpu};

use crate::compressor::Compressor;
use crate::tables::Tables;

pub(crate) use own::Own;

/// A measured matrix product.
#[derive(Clone, Debug, PartialEq)]
pub struct GemmPoint {
    /// Number format.
    pub dtype: DType,
    /// Kernel.
    pub kernel: String,
    /// Rows, output width, input width.
    pub shape: [u32; 3],
    /// Time, microseconds.
    pub us: f64,
}

/// A measured non-causal attention in 16 bits.
#[derive(Clone, Debug, PartialEq)]
pub struct AttentionPoint {
    /// Kernel.
    pub kernel: String,
    /// Independent rows.
    pub batch: u32,
    /// Heads.
    pub heads: u32,
    /// Query tokens.
    pub queries: u32,
    /// Key tokens.
    pub keys: u32,
    /// Width of a head.
    pub head_dim: u32,
    /// Time, microseconds.
    pub us: f64,
}

/// Memory-bound work of `bytes` read and written takes `max(floor, bytes / rate)`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MemoryRate {
    /// Bytes per microsecond.
    pub bytes_per_us: f64,
    /// The shortest operation, microseconds.
    pub floor_us: f64,
}

/// Which way a compressor works.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Way {
    /// Activation to message.
    Encode,
    /// Message to base.
    Decode,
}

/// A measured encode or decode of a `rows x channels` residual.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CodecPoint {
    /// The compressor.
    pub compressor: Compressor,
    /// Encode or decode.
    pub way: Way,
    /// Tokens.
    pub rows: u32,
    /// Channels.
    pub channels: u32,
    /// Time, microseconds.
    pub us: f64,
}

/// What was measured on one GPU.
#[derive(Clone, Debug, PartialEq)]
pub struct Measurements {
    /// The GPU.
    pub gpu: Gpu,
    /// Its short name, for example `h200_sxm`.
    pub system: String,
    /// The software that ran the kernels.
    pub software: String,
    /// Matrix products.
    pub gemm: Vec<GemmPoint>,
    /// Attention, square and rectangular.
    pub attention: Vec<AttentionPoint>,
    /// The attention kernel that is asked about; none for the usual one.
    pub attention_kernel: Option<String>,
    /// Memory-bound work.
    pub memory: Option<MemoryRate>,
    /// Compressors.
    pub codecs: Vec<CodecPoint>,
}

/// Why measurements make no tables.
#[derive(Clone, Debug, PartialEq, Error)]
pub enum Unmeasurable {
    /// A time that the tables' code does not hold.
    #[error("{us} us for {what} is no time of a kernel: it lies outside 0.25 us to 2^29 us")]
    Time {
        /// The operation.
        what: String,
        /// The time.
        us: f64,
    },
    /// The GPU computes nothing in this number format.
    #[error(
        "{gpu} has no {dtype:?} peak, so measured products in it cannot be moved to other shapes"
    )]
    Format {
        /// The GPU.
        gpu: String,
        /// The number format.
        dtype: DType,
    },
}

impl Tables {
    /// The built-in tables, with `measured` in place of those of its GPU.
    ///
    /// # Errors
    /// [`Unmeasurable`] for a time that no kernel takes.
    pub fn built_in_with(measured: &Measurements) -> Result<Self, Unmeasurable> {
        let mut tables = Self::fresh();
        tables.own = Some(Own::new(measured, &tables)?);
        Ok(tables)
    }
}

#[cfg(test)]
mod tests;
