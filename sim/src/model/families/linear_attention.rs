//! Linear attention over the image, softmax cross-attention to the text: SANA.
//!
//! The feed-forward part is `1x1 -> 3x3 depthwise -> gate -> 1x1`; the point-wise convolutions are
//! GEMMs.

use serde::Deserialize;

use super::{
    PatchEmbedder, attend, blocks, cross_attention, self_attention, shared_modulation, two_layers,
};
use crate::model::{Model, limits};
use crate::workload::{AttentionKind, BlockKind, Layers, Linear, Role, Split, TokenCounts, Tokens};

/// The widths and counts of a linear-attention model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LinearAttention {
    /// Blocks.
    #[serde(deserialize_with = "limits::blocks")]
    pub layers: usize,
    /// Width inside the feed-forward part, after the gate.
    #[serde(deserialize_with = "limits::inner")]
    pub feed_forward: u64,
    /// Heads of the cross-attention.
    #[serde(deserialize_with = "limits::heads")]
    pub cross_heads: u64,
    /// Width of the text encoder's output.
    #[serde(deserialize_with = "limits::width")]
    pub text_width: u64,
}

impl LinearAttention {
    /// What is wrong with the heads of its cross-attention.
    pub(crate) fn check(&self, model: &Model) -> Option<(&'static str, String)> {
        (!model.hidden.is_multiple_of(self.cross_heads)).then(|| {
            let fault = format!(
                "{} does not divide a width of {}",
                self.cross_heads, model.hidden
            );
            ("family.linear-attention.cross_heads", fault)
        })
    }

    /// The blocks of one forward pass.
    pub(crate) fn layers(&self, model: &Model, tokens: TokenCounts) -> Layers {
        let (d, values) = (model.hidden, model.latent.values_per_token());
        let on = Tokens::Image;
        let block = blocks(d, tokens);
        let mut head = vec![PatchEmbedder::Convolution.embed(d, values)];
        head.extend(shared_modulation(d));
        head.extend(two_layers(Tokens::Text, self.text_width, d));
        let gated = 2 * self.feed_forward;
        let mut linears = self_attention(on, d).to_vec();
        linears.extend(cross_attention(d, d));
        linears.extend([
            Linear::new(Role::FeedForwardIn, on, gated, d, Split::Column),
            Linear::new(Role::Depthwise, on, gated, 9, Split::Column),
            Linear::new(Role::FeedForwardOut, on, d, self.feed_forward, Split::Row),
        ]);
        let cross = (self.cross_heads, d / self.cross_heads);
        let calls = vec![
            attend(AttentionKind::Linear, model.head_shape(), on, on),
            attend(AttentionKind::Cross, cross, on, Tokens::Text),
        ];
        Layers {
            head: block(BlockKind::Head, head, vec![]),
            kinds: vec![block(BlockKind::LinearAttention, linears, calls)],
            order: vec![0; self.layers],
            tail: block(
                BlockKind::Tail,
                vec![Linear::new(Role::Final, on, values, d, Split::Replicated)],
                vec![],
            ),
        }
    }
}
