//! Operations: shapes only, no device.

use topologies::DType;

use crate::attention_kernel::AttentionKernel;
use crate::compressor::Compressor;

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
        /// Who computes it.
        kernel: AttentionKernel,
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
        /// Bytes read plus bytes written by all kernels.
        bytes: u64,
        /// Kernels.
        kernels: u64,
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
