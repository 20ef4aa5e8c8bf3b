//! Blocks: the shapes of one layer, per row, and what one rank runs of it.

use topologies::{Bytes, Flops};

use super::attention::{AttentionCall, AttentionKind};
use super::linear::{Gemm, Linear, Role, Split};
use super::tokens::{TokenCounts, Tokens};
use crate::plan::Precision;

/// Bytes of one activation element (bf16).
pub const ELEMENT_BYTES: u64 = 2;

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

impl BlockKind {
    /// All kinds, in execution order.
    pub const ALL: [Self; 12] = [
        Self::Head,
        Self::Double,
        Self::Single,
        Self::CrossAttention,
        Self::Refiner,
        Self::Spatial,
        Self::Temporal,
        Self::ClassConditional,
        Self::LinearAttention,
        Self::DualStream,
        Self::UNetStage,
        Self::Tail,
    ];
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

    /// The GEMMs one rank runs, in order. Widths split by tensor parallelism round up.
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

    /// FLOPs of the GEMMs of `rows` rows, convolutions left out.
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
        let held = |linear: &Linear| linear.parameters_per_rank(tensor_degree);
        self.linears.iter().map(held).sum()
    }

    /// Bytes of these weights in a precision; what it does not quantise takes `element` bytes a number.
    #[must_use]
    pub fn weight_bytes_per_rank(
        &self,
        tensor_degree: u64,
        precision: Precision,
        element: u64,
    ) -> u64 {
        let bytes = |linear: &Linear| {
            let held = linear.parameters_per_rank(tensor_degree);
            if !precision.quantises(linear.role) {
                return held * element;
            }
            let (n, k) = (linear.n, linear.k);
            (u128::from(held) * u128::from(precision.weight_bytes(n, k)))
                .div_ceil(u128::from(n * k)) as u64
        };
        self.linears.iter().map(bytes).sum()
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
