//! Attention within frames, then across frames: Latte.
//!
//! Spatial blocks see one frame at a time and repeat the text for each; temporal blocks see one
//! position in all frames and no text.

use serde::Deserialize;

use super::{
    Activation, PatchEmbedder, attend, cross_attention, feed_forward, self_attention,
    shared_modulation, two_layers,
};
use crate::model::latent::Grid;
use crate::model::{Model, limits};
use crate::workload::{
    AttentionCall, AttentionKind, Block, BlockKind, Layers, Linear, Role, Split, TokenCounts,
    Tokens,
};

/// The widths and counts of a factorised model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Factorised {
    /// Spatial blocks, each followed by a temporal one.
    #[serde(deserialize_with = "limits::blocks")]
    pub pairs: usize,
    /// Width inside the feed-forward part.
    #[serde(deserialize_with = "limits::inner")]
    pub feed_forward: u64,
    /// Width of the text encoder's output.
    #[serde(deserialize_with = "limits::width")]
    pub text_width: u64,
    /// Channels predicted, before patching.
    #[serde(deserialize_with = "limits::channels")]
    pub out_channels: u64,
}

impl Factorised {
    /// The blocks of one forward pass.
    pub(crate) fn layers(&self, model: &Model, grid: &Grid, tokens: TokenCounts) -> Layers {
        let d = model.hidden;
        let repeated = TokenCounts {
            text: tokens.text * grid.frames,
            ..tokens
        };
        let block = |kind, tokens, linears, attention| Block {
            kind,
            hidden: d,
            tokens,
            linears,
            attention,
        };
        let call = |kind, keys, sequences| AttentionCall {
            sequences,
            ..attend(kind, model.head_shape(), Tokens::Image, keys)
        };
        let mut temporal = self_attention(Tokens::Image, d).to_vec();
        let inner = self.feed_forward;
        temporal.extend(feed_forward(Tokens::Image, d, inner, Activation::Gelu));
        let mut spatial = temporal.clone();
        spatial.extend(cross_attention(d, d));
        let positions = grid.height * grid.width;
        Layers {
            head: block(BlockKind::Head, tokens, self.head(model), vec![]),
            kinds: vec![
                block(
                    BlockKind::Spatial,
                    repeated,
                    spatial,
                    vec![
                        call(AttentionKind::Spatial, Tokens::Image, grid.frames),
                        call(AttentionKind::Cross, Tokens::Text, grid.frames),
                    ],
                ),
                block(
                    BlockKind::Temporal,
                    TokenCounts { text: 0, ..tokens },
                    temporal,
                    vec![call(AttentionKind::Temporal, Tokens::Image, positions)],
                ),
            ],
            order: [0, 1].repeat(self.pairs),
            tail: block(BlockKind::Tail, tokens, vec![self.out(model)], vec![]),
        }
    }

    fn head(&self, model: &Model) -> Vec<Linear> {
        let (d, values) = (model.hidden, model.latent.values_per_token());
        let mut linears = vec![PatchEmbedder::Convolution.embed(d, values)];
        linears.extend(shared_modulation(d));
        linears.extend(two_layers(Tokens::Text, self.text_width, d));
        linears
    }

    fn out(&self, model: &Model) -> Linear {
        let width = self.out_channels * u64::from(model.latent.patch * model.latent.patch);
        Linear::new(
            Role::Final,
            Tokens::Image,
            width,
            model.hidden,
            Split::Replicated,
        )
    }
}
