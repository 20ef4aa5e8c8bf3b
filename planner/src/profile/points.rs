//! The measured points of a profile, and the files they stand in.
//!
//! | file | columns that name a point |
//! |---|---|
//! | `gemm.csv` | system, software, dtype, kernel, m, n, k |
//! | `attention.csv` | system, software, dtype, kernel, causal, batch, seq_len, heads, head_dim |
//! | `attention_rectangular.csv` | the same with query_len, key_len for seq_len |
//! | `memory.csv` | op, dtype, rows, columns (and bytes) |
//! | `launch.csv` | mode, kernels |
//! | `copies.csv` | direction, pinned, bytes |
//! | `blocks.csv` | model, block, mode, batch, tokens, text_tokens, ranks |
//! | `interference.csv` | compute, copy |
//! | `compressors.csv` | compressor, direction, kernel, dtype, base, rows, channels |
//!
//! Each has `latency_us`, the median of repeats, and may have `p10_us` and `p90_us`.

use kernels::{AttentionPoint, CodecPoint, GemmPoint};

/// A part of a profile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// Matrix products.
    Gemm,
    /// Square attention.
    Attention,
    /// Attention of other queries than keys.
    Rectangular,
    /// Memory-bound operations.
    Memory,
    /// Chains of tiny kernels.
    Launch,
    /// Copies between device and host.
    Copies,
    /// Whole blocks.
    Blocks,
    /// Compute beside copies.
    Interference,
    /// Encodes and decodes.
    Compressors,
}

impl Part {
    /// All parts, in the order of reports.
    pub const ALL: [Self; 9] = [
        Self::Gemm,
        Self::Attention,
        Self::Rectangular,
        Self::Memory,
        Self::Launch,
        Self::Copies,
        Self::Blocks,
        Self::Interference,
        Self::Compressors,
    ];

    /// The file.
    #[must_use]
    pub const fn file(self) -> &'static str {
        match self {
            Self::Gemm => "gemm.csv",
            Self::Attention => "attention.csv",
            Self::Rectangular => "attention_rectangular.csv",
            Self::Memory => "memory.csv",
            Self::Launch => "launch.csv",
            Self::Copies => "copies.csv",
            Self::Blocks => "blocks.csv",
            Self::Interference => "interference.csv",
            Self::Compressors => "compressors.csv",
        }
    }

    /// In words.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::Gemm => "matrix products",
            Self::Attention => "attention",
            Self::Rectangular => "rectangular attention",
            Self::Memory => "memory-bound work",
            Self::Launch => "launching",
            Self::Copies => "copies",
            Self::Blocks => "whole blocks",
            Self::Interference => "compute beside copies",
            Self::Compressors => "compressors",
        }
    }
}

/// What was measured.
#[derive(Clone, Debug, PartialEq)]
pub enum What {
    /// A matrix product.
    Gemm(GemmPoint),
    /// Non-causal attention.
    Attention(AttentionPoint),
    /// A memory-bound operation.
    Memory {
        /// Which.
        op: String,
        /// Bytes at least read and written.
        bytes: u64,
    },
    /// A chain of tiny kernels.
    Launch {
        /// eager, graph or compiled.
        mode: String,
        /// How many.
        kernels: u64,
    },
    /// A copy.
    Copy {
        /// h2d, d2h, d2d or both.
        direction: String,
        /// Whether the host's memory is pinned.
        pinned: bool,
        /// Bytes (each way, of `both`).
        bytes: u64,
    },
    /// A block on one rank.
    Block(BlockPoint),
    /// Compute beside copies.
    Interference {
        /// gemm or attention.
        compute: String,
        /// none, h2d, d2h or both.
        copy: String,
    },
    /// An encode or a decode.
    Codec {
        /// Which, and at which size.
        point: CodecPoint,
        /// Whose kernels: `ditplan` or another's.
        kernel: String,
        /// The base's format.
        base: String,
    },
}

/// A measured block: one rank's share of the sequence, all keys and values there.
#[derive(Clone, Debug, PartialEq)]
pub struct BlockPoint {
    /// The model.
    pub model: String,
    /// double, single, joint or cross.
    pub block: String,
    /// Whether it was compiled.
    pub compiled: bool,
    /// Samples in a forward pass.
    pub batch: u64,
    /// Image tokens of the whole sequence.
    pub tokens: u64,
    /// Text tokens.
    pub text_tokens: u64,
    /// How many ranks share the sequence.
    pub ranks: u64,
}

/// A measured point.
#[derive(Clone, Debug, PartialEq)]
pub struct Point {
    /// What.
    pub what: What,
    /// Median, microseconds.
    pub us: f64,
    /// 10th and 90th percentile, where given.
    pub spread: Option<(f64, f64)>,
}
