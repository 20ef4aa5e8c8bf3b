//! Operations: shapes only, no device.

use topologies::DType;

/// A compressor of K and V messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Compressor {
    /// Sign, with a scale per token and channel.
    OneBit,
    /// Sign and one magnitude bit, with a scale per token and channel.
    TwoBit,
    /// Rank-`r` factors by subspace iteration, fp16.
    LowRank(u16),
    /// Rank-`r` factors by subspace iteration, INT4.
    LowRankInt4(u16),
    /// The largest of every `M` values, with its position.
    Sparse(u16),
}

/// One operation of a diffusion transformer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Op {
    /// `m x k` times `k x n`.
    Gemm {
        /// Rows (tokens).
        m: u64,
        /// Output width.
        n: u64,
        /// Input width.
        k: u64,
        /// Number format.
        dtype: DType,
    },
    /// Non-causal attention of `queries` tokens over `keys` tokens.
    Attention {
        /// Independent rows.
        batch: u64,
        /// Heads on this device.
        heads: u64,
        /// Query tokens.
        queries: u64,
        /// Key and value tokens.
        keys: u64,
        /// Width of a head.
        head_dim: u64,
    },
    /// Work limited by device memory: norms, activations, residual sums, merges, copies.
    MemoryBound {
        /// Bytes read plus bytes written.
        bytes: u64,
    },
    /// Arithmetic without a table, at the GPU's sustained rate: convolutions of a VAE, text encoders.
    Dense {
        /// Floating-point operations.
        flops: u64,
    },
    /// Encoding an `rows x channels` residual.
    Encode {
        /// The compressor.
        compressor: Compressor,
        /// Tokens.
        rows: u64,
        /// Channels.
        channels: u64,
    },
    /// Decoding a message into an `rows x channels` base.
    Decode {
        /// The compressor.
        compressor: Compressor,
        /// Tokens.
        rows: u64,
        /// Channels.
        channels: u64,
    },
}
