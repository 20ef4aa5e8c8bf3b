//! Blocks, linears and attention calls: the shapes of one forward pass, per row, before sharding.

use topologies::{Bytes, Flops};

/// Bytes of one activation element (bf16).
pub const ELEMENT_BYTES: u64 = 2;

/// Which tokens of a row an operation touches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Tokens {
    /// Image or video tokens: what sequence parallelism splits.
    Image,
    /// Text tokens.
    Text,
    /// Image and text tokens in one matrix with shared weights.
    Joint,
    /// Audio tokens of a dual-stream model: split like the image's.
    Audio,
    /// A small fixed number, the same on every rank: 1 for conditioning (time, guidance, pooled
    /// text), more for pooled caption tokens or reference image embeddings.
    Fixed(u64),
}

/// Time, guidance and pooled-text conditioning: one token per row.
pub const CONDITION: Tokens = Tokens::Fixed(1);

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
    /// Dense convolution, as its implicit matrix product (`k` = input channels x taps).
    Convolution,
    /// Depthwise convolution (`k` = taps): limited by memory, not a matrix product.
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

    /// Stored weights.
    #[must_use]
    pub const fn parameters(&self) -> u64 {
        self.stored * self.n * self.k
    }
}

/// What an attention call connects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AttentionKind {
    /// Image and text tokens attend to image and text tokens.
    Joint,
    /// Image tokens attend to image tokens.
    SelfImage,
    /// Image tokens attend to text (or other conditioning) tokens: local under sequence parallelism.
    Cross,
    /// Image tokens attend to the tokens of their own frame.
    Spatial,
    /// Image tokens attend to the tokens at their own position in other frames.
    Temporal,
    /// Tokens of one modality attend to those of another that is split too (video and audio).
    CrossStream,
    /// Linear attention: a `head_dim x head_dim` state per head instead of a score matrix.
    Linear,
    /// Tokens of a conditioning stream (text, audio) attend to each other: local or tiny.
    SelfOther,
}

/// One attention call of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AttentionCall {
    /// What it connects.
    pub kind: AttentionKind,
    /// Heads.
    pub heads: u64,
    /// Width of a head.
    pub head_dim: u64,
    /// Query tokens.
    pub queries: Tokens,
    /// Key and value tokens.
    pub keys: Tokens,
    /// Independent sequences that share queries and keys evenly (frames, positions); 1 otherwise.
    pub sequences: u64,
}

impl AttentionCall {
    /// Whether keys and values must reach every rank when image tokens are split.
    #[must_use]
    pub const fn crosses_shards(&self) -> bool {
        matches!(
            self.kind,
            AttentionKind::Joint
                | AttentionKind::SelfImage
                | AttentionKind::Spatial
                | AttentionKind::Temporal
                | AttentionKind::CrossStream
                | AttentionKind::Linear
        )
    }

    /// Width of Q, K and V.
    #[must_use]
    pub const fn width(&self) -> u64 {
        self.heads * self.head_dim
    }
}

/// Tokens of one row, by group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TokenCounts {
    /// Image or video tokens.
    pub image: u64,
    /// Text tokens as the block sees them (0 where the model has none).
    pub text: u64,
    /// Audio tokens (0 unless the model has an audio stream).
    pub audio: u64,
}

impl TokenCounts {
    /// How many tokens a group has.
    #[must_use]
    pub const fn of(&self, tokens: Tokens) -> u64 {
        match tokens {
            Tokens::Image => self.image,
            Tokens::Text => self.text,
            Tokens::Joint => self.image + self.text,
            Tokens::Audio => self.audio,
            Tokens::Fixed(count) => count,
        }
    }

    /// The largest part when image and audio are cut in `image_parts`, text in `text_parts`.
    ///
    /// # Panics
    /// If a number of parts is zero: a lowering always has at least one.
    #[must_use]
    pub const fn part(&self, image_parts: u64, text_parts: u64) -> Self {
        assert!(
            image_parts > 0 && text_parts > 0,
            "tokens are cut in at least one part"
        );
        Self {
            image: self.image.div_ceil(image_parts),
            text: self.text.div_ceil(text_parts),
            audio: self.audio.div_ceil(image_parts),
        }
    }
}

/// What kind of block this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum BlockKind {
    /// Embedders before the first block.
    Head,
    /// Joint attention, separate weights for image and text.
    Double,
    /// Joint attention, shared weights for image and text.
    Single,
    /// Self-attention over the image, cross-attention to the text.
    CrossAttention,
    /// Self-attention over the image before the text joins.
    Refiner,
    /// Self-attention within a frame (and cross-attention to the text).
    Spatial,
    /// Self-attention across frames.
    Temporal,
    /// Self-attention, conditioned by modulation only.
    ClassConditional,
    /// Linear attention over the image, cross-attention to the text.
    LinearAttention,
    /// Video and audio streams with attention between them.
    DualStream,
    /// Convolutions and transformer layers at one resolution of a U-Net.
    UNetStage,
    /// Final norm and projection.
    Tail,
}

/// How a block is cut for one rank.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Shard {
    /// Rows (images x guidance branches) on this rank.
    pub rows: u64,
    /// Parts that image (and audio) tokens are cut in.
    pub image_parts: u64,
    /// Parts that text tokens are cut in: 1 where every rank has all the text.
    pub text_parts: u64,
    /// Tensor-parallel degree.
    pub tensor_degree: u64,
}

impl Shard {
    /// Everything on one rank.
    #[must_use]
    pub const fn whole(rows: u64) -> Self {
        Self {
            rows,
            image_parts: 1,
            text_parts: 1,
            tensor_degree: 1,
        }
    }
}

/// A matrix product that a rank runs: `m x k` times `k x n`.
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

/// One block of a forward pass: its operations in execution order by part, per row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// What kind of block this is.
    pub kind: BlockKind,
    /// Width of the residual stream.
    pub hidden: u64,
    /// Tokens of one row in this block.
    pub tokens: TokenCounts,
    /// Weight matrices.
    pub linears: Vec<Linear>,
    /// Attention calls.
    pub attention: Vec<AttentionCall>,
}

impl Block {
    /// Linears on image tokens alone.
    pub fn image_linears(&self) -> impl Iterator<Item = &Linear> {
        self.on(Tokens::Image)
    }

    /// Linears on text tokens alone.
    pub fn text_linears(&self) -> impl Iterator<Item = &Linear> {
        self.on(Tokens::Text)
    }

    /// Linears applied to exactly this group.
    pub fn on(&self, tokens: Tokens) -> impl Iterator<Item = &Linear> {
        self.linears
            .iter()
            .filter(move |linear| linear.on == tokens)
    }

    /// The matrix products one rank runs, in order. Widths split by tensor parallelism round up.
    #[must_use]
    pub fn gemms(&self, shard: &Shard) -> Vec<Gemm> {
        let tokens = self.tokens.part(shard.image_parts, shard.text_parts);
        let mut gemms = Vec::with_capacity(self.linears.len());
        for linear in &self.linears {
            let (n, k) = match linear.split {
                Split::Column => (linear.n.div_ceil(shard.tensor_degree), linear.k),
                Split::Row | Split::RowPartial => {
                    (linear.n, linear.k.div_ceil(shard.tensor_degree))
                }
                Split::Replicated => (linear.n, linear.k),
            };
            let m = shard.rows * tokens.of(linear.on);
            let gemm = Gemm {
                role: linear.role,
                m,
                n,
                k,
            };
            if m > 0 {
                gemms.extend((0..linear.used).map(|_| gemm));
            }
        }
        gemms
    }

    /// FLOPs of the matrix products of `rows` rows, convolutions left out.
    #[must_use]
    pub fn linear_flops(&self, rows: u64) -> Flops {
        self.flops_where(rows, |role| !role.is_convolution())
    }

    /// FLOPs of the convolutions of `rows` rows.
    #[must_use]
    pub fn convolution_flops(&self, rows: u64) -> Flops {
        self.flops_where(rows, Role::is_convolution)
    }

    fn flops_where(&self, rows: u64, keep: impl Fn(Role) -> bool) -> Flops {
        let per_row: u64 = self
            .linears
            .iter()
            .filter(|linear| keep(linear.role))
            .map(|linear| 2 * self.tokens.of(linear.on) * linear.used * linear.n * linear.k)
            .sum();
        Flops::new(per_row) * rows
    }

    /// FLOPs of one attention call on `rows` rows: `4 q k d / sequences` (scores and values), or
    /// `4 q d (head_dim + 1)` for linear attention with its normaliser row.
    #[must_use]
    pub fn call_flops(&self, call: &AttentionCall, rows: u64) -> Flops {
        let queries = self.tokens.of(call.queries);
        let keys = self.tokens.of(call.keys);
        let per_row = match call.kind {
            AttentionKind::Linear => 4 * queries * call.width() * (call.head_dim + 1),
            _ => 4 * queries * (keys / call.sequences) * call.width(),
        };
        Flops::new(per_row) * rows
    }

    /// FLOPs of all attention calls of `rows` rows.
    #[must_use]
    pub fn attention_flops(&self, rows: u64) -> Flops {
        self.attention
            .iter()
            .map(|call| self.call_flops(call, rows))
            .sum()
    }

    /// The attention whose keys and values cross shards, if any: what sequence parallelism moves.
    #[must_use]
    pub fn sharded_attention(&self) -> Option<&AttentionCall> {
        self.attention.iter().find(|call| call.crosses_shards())
    }

    /// Bytes of K and V (all tokens, `rows` rows) that sequence parallelism would move or cache.
    #[must_use]
    pub fn kv_bytes(&self, rows: u64) -> Bytes {
        self.attention
            .iter()
            .filter(|call| call.crosses_shards())
            .map(|call| {
                Bytes::new(2 * rows * self.tokens.of(call.keys) * call.width() * ELEMENT_BYTES)
            })
            .sum()
    }

    /// The outputs that tensor parallelism all-reduces in this block, one entry per call.
    #[must_use]
    pub fn all_reduces(&self, shard: &Shard) -> Vec<Bytes> {
        let tokens = self.tokens.part(shard.image_parts, shard.text_parts);
        self.linears
            .iter()
            .filter(|linear| linear.split == Split::Row)
            .map(|linear| Bytes::new(shard.rows * tokens.of(linear.on) * linear.n * ELEMENT_BYTES))
            .filter(|bytes| bytes.get() > 0)
            .collect()
    }

    /// Stored weights (biases, norms and tables, under 1 %, are left out).
    #[must_use]
    pub fn parameters(&self) -> u64 {
        self.linears.iter().map(Linear::parameters).sum()
    }

    /// Weights that one rank stores under tensor parallelism.
    #[must_use]
    pub fn parameters_per_rank(&self, tensor_degree: u64) -> u64 {
        self.linears
            .iter()
            .map(|linear| match linear.split {
                Split::Replicated => linear.parameters(),
                Split::Column | Split::Row | Split::RowPartial => {
                    linear.parameters().div_ceil(tensor_degree)
                }
            })
            .sum()
    }

    /// Bytes of one full activation: rows x (image + text in the residual stream) x width.
    #[must_use]
    pub fn activation_bytes(&self, rows: u64) -> Bytes {
        let joint = self
            .sharded_attention()
            .is_some_and(|call| call.keys == Tokens::Joint);
        let tokens = if joint { Tokens::Joint } else { Tokens::Image };
        Bytes::new(rows * self.tokens.of(tokens) * self.hidden * ELEMENT_BYTES)
    }
}
