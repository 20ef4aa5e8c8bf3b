//! Weight matrices: what they are applied to and how tensor parallelism splits them.

use topologies::Flops;

use super::tokens::Tokens;

/// How tensor parallelism splits a weight matrix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Split {
    /// By output width: no communication.
    Column,
    /// By input width: one all-reduce of the output follows.
    Row,
    /// By input width, its output summed into the next `Row` matrix's before that all-reduce.
    RowPartial,
    /// Every rank holds and computes all of it.
    Replicated,
}

/// What a linear is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Patch, caption, time and guidance embedders, refiners excluded.
    Embed,
    /// Modulation (adaLN) from the conditioning.
    Modulation,
    /// Query, key or value projection of self or joint attention.
    Qkv,
    /// Output projection of self or joint attention.
    AttentionOut,
    /// Query, key or value projection of cross-attention.
    CrossQkv,
    /// Output projection of cross-attention.
    CrossOut,
    /// First matrix (or gate and up matrices) of the feed-forward part.
    FeedForwardIn,
    /// Last matrix of the feed-forward part.
    FeedForwardOut,
    /// Fused attention and feed-forward output of a single block.
    FusedOut,
    /// Merge of a long skip connection.
    Skip,
    /// Dense convolution, as its implicit GEMM (`k` = input channels x taps).
    Convolution,
    /// Depthwise convolution (`k` = taps): limited by memory, not a GEMM.
    Depthwise,
    /// Output layer.
    Final,
}

impl Role {
    /// Whether it is a convolution, dense or depthwise.
    #[must_use]
    pub const fn is_convolution(self) -> bool {
        matches!(self, Self::Convolution | Self::Depthwise)
    }
}

/// A weight matrix applied to tokens: `tokens x k` times `k x n`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Linear {
    /// What it is for.
    pub role: Role,
    /// The tokens it is applied to.
    pub on: Tokens,
    /// Output width.
    pub n: u64,
    /// Input width.
    pub k: u64,
    /// How tensor parallelism splits it.
    pub split: Split,
    /// How many such matrices each token passes (3 for separate Q, K, V; active experts).
    pub used: u64,
    /// How many such matrices are stored (experts).
    pub stored: u64,
}

impl Linear {
    /// One matrix, used once.
    #[must_use]
    pub const fn new(role: Role, on: Tokens, n: u64, k: u64, split: Split) -> Self {
        Self {
            role,
            on,
            n,
            k,
            split,
            used: 1,
            stored: 1,
        }
    }

    /// `count` matrices of this shape, each used once per token.
    #[must_use]
    pub const fn times(mut self, count: u64) -> Self {
        self.used = count;
        self.stored = count;
        self
    }

    /// `stored` matrices of this shape, of which each token passes `used`.
    #[must_use]
    pub const fn experts(mut self, used: u64, stored: u64) -> Self {
        self.used = used;
        self.stored = stored;
        self
    }

    /// The same matrix with another split under tensor parallelism.
    #[must_use]
    pub const fn split(mut self, split: Split) -> Self {
        self.split = split;
        self
    }

    /// A matrix whose weights another block stores.
    #[must_use]
    pub const fn unstored(mut self) -> Self {
        self.stored = 0;
        self
    }

    /// Weights that one rank stores under tensor parallelism.
    #[must_use]
    pub const fn parameters_per_rank(&self, tensor_degree: u64) -> u64 {
        match self.split {
            Split::Replicated => self.parameters(),
            Split::Column | Split::Row | Split::RowPartial => {
                self.parameters().div_ceil(tensor_degree)
            }
        }
    }

    /// Stored weights.
    #[must_use]
    pub const fn parameters(&self) -> u64 {
        self.stored * self.n * self.k
    }
}

/// A GEMM that a rank runs: `m x k` times `k x n`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Gemm {
    /// What it is for.
    pub role: Role,
    /// Rows of the left matrix (batch rows x tokens).
    pub m: u64,
    /// Output width on this rank.
    pub n: u64,
    /// Input width on this rank.
    pub k: u64,
}

impl Gemm {
    /// Multiply-adds count as two.
    #[must_use]
    pub const fn flops(&self) -> Flops {
        Flops::new(2 * self.m * self.n * self.k)
    }
}
