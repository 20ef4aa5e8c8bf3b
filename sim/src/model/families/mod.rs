//! One file per family: its widths as data, and the blocks that follow from them.

use serde::Deserialize;

use crate::workload::{
    AttentionCall, AttentionKind, Block, BlockKind, CONDITION, Linear, Role, Split, TokenCounts,
    Tokens,
};

pub(crate) mod class_joint;
pub(crate) mod cross;
pub(crate) mod dual_stream;
pub(crate) mod factorised;
pub(crate) mod joint;
pub(crate) mod linear_attention;
pub(crate) mod mixture;
pub(crate) mod mochi;
pub(crate) mod shared;
pub(crate) mod single_stream;
pub(crate) mod unet;

/// Width of the sinusoidal time embedding in nearly every model.
const TIME_WIDTH: u64 = 256;

/// How the patch embedder is written: the product is the same, only the operator differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum PatchEmbedder {
    /// A strided convolution.
    Convolution,
    /// A linear on packed patches.
    Linear,
}

impl PatchEmbedder {
    const fn embed(self, n: u64, k: u64) -> Linear {
        let role = match self {
            Self::Convolution => Role::Convolution,
            Self::Linear => Role::Embed,
        };
        Linear::new(role, Tokens::Image, n, k, Split::Replicated)
    }
}

/// The activation of a feed-forward part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Activation {
    /// One matrix in, one out.
    Gelu,
    /// Gate and up matrices in, one out.
    Gated,
}

impl Activation {
    /// Matrices before the activation.
    const fn inputs(self) -> u64 {
        match self {
            Self::Gelu => 1,
            Self::Gated => 2,
        }
    }
}

/// Makes blocks of one width and one count of tokens, from a kind, weight matrices and attention calls.
fn blocks(
    hidden: u64,
    tokens: TokenCounts,
) -> impl Fn(BlockKind, Vec<Linear>, Vec<AttentionCall>) -> Block {
    move |kind, linears, attention| Block {
        kind,
        hidden,
        tokens,
        linears,
        attention,
    }
}

/// `k -> n` on the conditioning token, replicated.
const fn condition(role: Role, n: u64, k: u64) -> Linear {
    Linear::new(role, CONDITION, n, k, Split::Replicated)
}

/// `k -> n` on some tokens, replicated.
const fn embed(on: Tokens, n: u64, k: u64) -> Linear {
    Linear::new(Role::Embed, on, n, k, Split::Replicated)
}

/// The two-layer embedder of a sinusoidal time (or guidance): `256 -> hidden -> hidden`.
const fn time_embedder(hidden: u64) -> [Linear; 2] {
    two_layers(CONDITION, TIME_WIDTH, hidden)
}

/// A two-layer embedder: `from -> hidden -> hidden`.
const fn two_layers(on: Tokens, from: u64, hidden: u64) -> [Linear; 2] {
    [embed(on, hidden, from), embed(on, hidden, hidden)]
}

/// Modulation shared by all blocks: time embedder and its `6 x hidden` projection.
const fn shared_modulation(hidden: u64) -> [Linear; 3] {
    let [first, second] = time_embedder(hidden);
    [
        first,
        second,
        condition(Role::Modulation, 6 * hidden, hidden),
    ]
}

/// Separate Q, K and V projections, and the output projection, of one stream.
const fn self_attention(on: Tokens, hidden: u64) -> [Linear; 2] {
    [
        Linear::new(Role::Qkv, on, hidden, hidden, Split::Column).times(3),
        Linear::new(Role::AttentionOut, on, hidden, hidden, Split::Row),
    ]
}

/// Q from the image, K and V from text of width `text`, and the output projection.
const fn cross_attention(hidden: u64, text: u64) -> [Linear; 3] {
    [
        Linear::new(Role::CrossQkv, Tokens::Image, hidden, hidden, Split::Column),
        Linear::new(Role::CrossQkv, Tokens::Text, hidden, text, Split::Column).times(2),
        Linear::new(Role::CrossOut, Tokens::Image, hidden, hidden, Split::Row),
    ]
}

/// The feed-forward part of one stream.
const fn feed_forward(on: Tokens, hidden: u64, inner: u64, activation: Activation) -> [Linear; 2] {
    [
        Linear::new(Role::FeedForwardIn, on, inner, hidden, Split::Column)
            .times(activation.inputs()),
        Linear::new(Role::FeedForwardOut, on, hidden, inner, Split::Row),
    ]
}

/// Final modulation (`2 x hidden`, from a conditioning of width `from`) and projection.
const fn modulated_tail(hidden: u64, from: u64, out: u64) -> [Linear; 2] {
    [
        condition(Role::Modulation, 2 * hidden, from),
        Linear::new(Role::Final, Tokens::Image, out, hidden, Split::Replicated),
    ]
}

/// An attention call over one sequence.
const fn attend(
    kind: AttentionKind,
    (heads, head_dim): (u64, u64),
    queries: Tokens,
    keys: Tokens,
) -> AttentionCall {
    AttentionCall {
        kind,
        heads,
        head_dim,
        queries,
        keys,
        sequences: 1,
    }
}
