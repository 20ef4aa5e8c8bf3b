//! One set of weights for image and text with joint attention: CogVideoX.

use serde::Deserialize;

use super::{
    Activation, PatchEmbedder, attend, blocks, condition, embed, feed_forward, modulated_tail,
    self_attention,
};
use crate::model::{Model, limits};
use crate::workload::{AttentionKind, BlockKind, Layers, Role, TokenCounts, Tokens};

/// The widths and counts of a model with shared weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Shared {
    /// Blocks.
    #[serde(deserialize_with = "limits::blocks")]
    pub layers: usize,
    /// Width inside the feed-forward part.
    #[serde(deserialize_with = "limits::inner")]
    pub feed_forward: u64,
    /// Width of the text encoder's output.
    #[serde(deserialize_with = "limits::width")]
    pub text_width: u64,
    /// Width of the time embedding that modulates the blocks.
    #[serde(deserialize_with = "limits::width")]
    pub time_width: u64,
    /// How patches are embedded.
    pub patch: PatchEmbedder,
}

impl Shared {
    /// The blocks of one forward pass.
    pub(crate) fn layers(&self, model: &Model, tokens: TokenCounts) -> Layers {
        let (d, time) = (model.hidden, self.time_width);
        let values = model.latent.values_per_token();
        let block = blocks(d, tokens);
        let head = vec![
            condition(Role::Embed, time, d),
            condition(Role::Embed, time, time),
            embed(Tokens::Text, d, self.text_width),
            self.patch.embed(d, values),
        ];
        let mut linears = vec![condition(Role::Modulation, 6 * d, time).times(2)];
        linears.extend(self_attention(Tokens::Joint, d));
        linears.extend(feed_forward(
            Tokens::Joint,
            d,
            self.feed_forward,
            Activation::Gelu,
        ));
        let joint = attend(
            AttentionKind::Joint,
            model.head_shape(),
            Tokens::Joint,
            Tokens::Joint,
        );
        Layers {
            head: block(BlockKind::Head, head, vec![]),
            kinds: vec![block(BlockKind::Single, linears, vec![joint])],
            order: vec![0; self.layers],
            tail: block(
                BlockKind::Tail,
                modulated_tail(d, time, values).to_vec(),
                vec![],
            ),
        }
    }
}
