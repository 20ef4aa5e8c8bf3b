//! Image and text streams with joint attention (MMDiT): FLUX, SD3, Qwen-Image, HunyuanVideo.
//!
//! ```text
//! double block: image and text each have Q, K, V, out and a feed-forward part of their own
//! single block: one stream, Q, K, V and feed-forward in parallel, one fused output
//! ```

use crate::model::Model;
use crate::workload::{
    AttentionKind, Block, BlockKind, Layers, Linear, Role, Split, TokenCounts, Tokens,
};

use super::{attend, condition, pooled_embedder, qkv, time_embedder};

/// The widths and counts of a joint model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Joint {
    /// Double blocks.
    pub double: usize,
    /// Single blocks.
    pub single: usize,
    /// Width inside the feed-forward part.
    pub feed_forward: u64,
    /// Width of the text encoder's output.
    pub text_width: u64,
    /// Width of the pooled text vector, where the model takes one.
    pub pooled_width: Option<u64>,
    /// Whether the guidance scale is embedded.
    pub guidance: GuidanceEmbedding,
}

/// Whether a distilled guidance scale enters the conditioning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GuidanceEmbedding {
    /// It does, through an embedder of its own.
    Embedded,
    /// It does not.
    Absent,
}

/// The blocks of one forward pass.
pub(crate) fn layers(model: &Model, joint: &Joint, tokens: TokenCounts) -> Layers {
    let block = |kind, linears, attention| Block {
        kind,
        hidden: model.hidden,
        tokens,
        linears,
        attention,
    };
    let attention = attend(
        AttentionKind::Joint,
        model.heads,
        model.head_dim,
        Tokens::Joint,
        Tokens::Joint,
    );
    Layers {
        head: block(BlockKind::Head, head(model, joint), vec![]),
        kinds: vec![
            block(BlockKind::Double, double(model, joint), vec![attention]),
            block(BlockKind::Single, single(model, joint), vec![attention]),
        ],
        order: [vec![0; joint.double], vec![1; joint.single]].concat(),
        tail: block(BlockKind::Tail, tail(model), vec![]),
    }
}

fn head(model: &Model, joint: &Joint) -> Vec<Linear> {
    let d = model.hidden;
    let embed = |on, k| Linear::new(Role::Embed, on, d, k, Split::Replicated);
    let mut linears = vec![
        embed(Tokens::Image, model.latent.values_per_token()),
        embed(Tokens::Text, joint.text_width),
    ];
    linears.extend(time_embedder(d));
    if joint.guidance == GuidanceEmbedding::Embedded {
        linears.extend(time_embedder(d));
    }
    if let Some(width) = joint.pooled_width {
        linears.extend(pooled_embedder(width, d));
    }
    linears
}

fn double(model: &Model, joint: &Joint) -> Vec<Linear> {
    let d = model.hidden;
    let mut linears = Vec::new();
    for on in [Tokens::Image, Tokens::Text] {
        linears.extend([
            condition(Role::Modulation, 6 * d, d),
            qkv(on, d, d),
            Linear::new(Role::AttentionOut, on, d, d, Split::Row),
            Linear::new(
                Role::FeedForwardIn,
                on,
                joint.feed_forward,
                d,
                Split::Column,
            ),
            Linear::new(Role::FeedForwardOut, on, d, joint.feed_forward, Split::Row),
        ]);
    }
    linears
}

fn single(model: &Model, joint: &Joint) -> Vec<Linear> {
    let d = model.hidden;
    let on = Tokens::Joint;
    vec![
        condition(Role::Modulation, 3 * d, d),
        qkv(on, d, d),
        Linear::new(
            Role::FeedForwardIn,
            on,
            joint.feed_forward,
            d,
            Split::Column,
        ),
        Linear::new(Role::FusedOut, on, d, d + joint.feed_forward, Split::Row),
    ]
}

fn tail(model: &Model) -> Vec<Linear> {
    let d = model.hidden;
    let out = model.latent.values_per_token();
    vec![
        condition(Role::Modulation, 2 * d, d),
        Linear::new(Role::Final, Tokens::Image, out, d, Split::Replicated),
    ]
}
