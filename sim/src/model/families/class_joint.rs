//! One stream of condition and image tokens with joint attention, modulated by timestep and class:
//! `dit-digits`, the model that the repository's trace was recorded from.

use serde::Deserialize;

use super::{
    Activation, attend, blocks, condition, embed, feed_forward, modulated_tail, self_attention,
    two_layers,
};
use crate::model::{Model, limits};
use crate::workload::{
    AttentionKind, BlockKind, CONDITION, Layers, Linear, Role, TokenCounts, Tokens,
};

/// The widths and counts of a class-conditional joint model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClassJoint {
    /// Blocks.
    #[serde(deserialize_with = "limits::blocks")]
    pub layers: usize,
    /// Width inside the feed-forward part.
    #[serde(deserialize_with = "limits::inner")]
    pub feed_forward: u64,
    /// Learned rows of condition tokens: classes and "no class", looked up.
    #[serde(deserialize_with = "limits::any_tokens")]
    pub classes: u64,
}

impl ClassJoint {
    /// The blocks of one forward pass.
    pub(crate) fn layers(&self, model: &Model, tokens: TokenCounts) -> Layers {
        let d = model.hidden;
        let values = model.latent.values_per_token();
        let block = blocks(d, tokens);
        let mut linears = vec![condition(Role::Modulation, 6 * d, d)];
        linears.extend(self_attention(Tokens::Joint, d));
        linears.extend(feed_forward(
            Tokens::Joint,
            d,
            self.feed_forward,
            Activation::Gelu,
        ));
        let (joint, shape) = (Tokens::Joint, model.head_shape());
        let attention = attend(AttentionKind::Joint, shape, joint, joint);
        Layers {
            head: block(BlockKind::Head, self.head(d, values, tokens), vec![]),
            kinds: vec![block(BlockKind::Single, linears, vec![attention])],
            order: vec![0; self.layers],
            tail: block(
                BlockKind::Tail,
                modulated_tail(d, d, values).to_vec(),
                vec![],
            ),
        }
    }

    /// Patch and time embedders; the tables of condition tokens and classes are looked up, not
    /// multiplied.
    fn head(&self, d: u64, values: u64, tokens: TokenCounts) -> Vec<Linear> {
        let mut linears = vec![embed(Tokens::Image, d, values)];
        linears.extend(two_layers(CONDITION, d, d));
        let rows = self.classes * (tokens.text + 1);
        linears.push(condition(Role::Embed, d, rows).experts(0, 1));
        linears
    }
}
