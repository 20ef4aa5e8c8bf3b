//! Operations of diffusion transformers and what they cost on a GPU.
//!
//! ```text
//! tables/*.bin ─▶ store ─▶ table (base + kriging of what it misses) ─┐
//! charts.csv   ─▶ charts (attention by kernel: base + kriging over charts) ─┤
//! datasheets   ─▶ kinship (whose table, how far to trust it) ────────┼─▶ Tables: CostModel
//! published    ─▶ codec, memory ─────────────────────────────────────┤
//! one's own    ─▶ measured (in place of the tables of its GPU) ──────┘
//! ```
//!
//! Guarantees: every time names where it came from and a 90 % interval; nothing is substituted
//! silently; equal questions have equal answers.
//!
//! Not modelled: concurrent kernels, launch gaps of the host, power caps set by the operator.

mod attention;
mod attention_kernel;
mod charts;
mod chip;
mod codec;
mod compressor;
mod constants;
mod cost;
#[cfg(feature = "cuda")]
pub mod cuda;
mod field;
pub mod fit;
mod gemm;
mod interval;
mod kinship;
mod measured;
mod memory;
mod memory_kernel;
mod nearest;
mod on_gpu;
mod op;
pub mod predict;
mod rank;
pub mod solve;
pub mod store;
mod table;
mod tables;
pub mod wire;

pub use attention_kernel::{AttentionKernel, UnknownKernel};
pub use compressor::{Compressor, UnknownCompressor};
pub use cost::{Cost, CostModel, Miss, Provenance};
pub use measured::{
    AttentionPoint, CodecPoint, GemmPoint, Measurements, MemoryRate, Unmeasurable, Way,
};
pub use memory_kernel::{MemoryKind, MemoryRow};
pub use op::Op;
pub use predict::{AttentionRow, Baselines, GemmRow, KernelRow, Prediction};
pub use rank::nearest_rank;
pub use store::{DamagedTable, Mask};
pub use table::Exclude;
pub use tables::Tables;
