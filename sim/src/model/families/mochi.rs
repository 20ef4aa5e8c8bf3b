//! Mochi: joint attention between a wide video stream and a narrow text stream.

use serde::Deserialize;

use super::{
    Activation, PatchEmbedder, attend, blocks, condition, embed, feed_forward, modulated_tail,
    self_attention, time_embedder,
};
use crate::model::{Model, limits};
use crate::workload::{
    AttentionKind, BlockKind, CONDITION, Layers, Linear, Role, Split, TokenCounts, Tokens,
};

/// The widths and counts of an asymmetric model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Asymmetric {
    /// Blocks.
    #[serde(deserialize_with = "limits::blocks")]
    pub layers: usize,
    /// Width of the text stream.
    #[serde(deserialize_with = "limits::width")]
    pub text_hidden: u64,
    /// Width inside the video's feed-forward part (gated).
    #[serde(deserialize_with = "limits::inner")]
    pub feed_forward: u64,
    /// Width inside the text's feed-forward part (gated).
    #[serde(deserialize_with = "limits::inner")]
    pub text_feed_forward: u64,
    /// Width of the text encoder's output.
    #[serde(deserialize_with = "limits::width")]
    pub text_width: u64,
}

impl Asymmetric {
    /// The blocks of one forward pass. The last block does not compute its text output.
    pub(crate) fn layers(&self, model: &Model, tokens: TokenCounts) -> Layers {
        let (d, values) = (model.hidden, model.latent.values_per_token());
        let block = blocks(d, tokens);
        let joint = attend(
            AttentionKind::Joint,
            model.head_shape(),
            Tokens::Joint,
            Tokens::Joint,
        );
        let mut head = vec![
            PatchEmbedder::Convolution.embed(d, values),
            embed(Tokens::Text, self.text_hidden, self.text_width),
            // Attention pooling of the text: K and V of all tokens, Q and output of one.
            embed(Tokens::Text, 2 * self.text_width, self.text_width),
            embed(CONDITION, self.text_width, self.text_width),
            embed(CONDITION, d, self.text_width),
        ];
        head.extend(time_embedder(d));
        Layers {
            head: block(BlockKind::Head, head, vec![]),
            kinds: vec![
                block(BlockKind::Double, self.double(d), vec![joint]),
                block(BlockKind::Double, self.last(d), vec![joint]),
            ],
            order: [vec![0; self.layers - 1], vec![1]].concat(),
            tail: block(
                BlockKind::Tail,
                modulated_tail(d, d, values).to_vec(),
                vec![],
            ),
        }
    }

    fn double(&self, d: u64) -> Vec<Linear> {
        let text = self.text_hidden;
        let mut linears = self.video(d);
        linears.push(condition(Role::Modulation, 4 * text, d));
        linears.push(Linear::new(Role::Qkv, Tokens::Text, d, text, Split::Column).times(3));
        linears.push(Linear::new(
            Role::AttentionOut,
            Tokens::Text,
            text,
            d,
            Split::Row,
        ));
        linears.extend(feed_forward(
            Tokens::Text,
            text,
            self.text_feed_forward,
            Activation::Gated,
        ));
        linears
    }

    fn last(&self, d: u64) -> Vec<Linear> {
        let text = self.text_hidden;
        let mut linears = self.video(d);
        linears.push(condition(Role::Modulation, text, d));
        linears.push(Linear::new(Role::Qkv, Tokens::Text, d, text, Split::Column).times(3));
        linears
    }

    fn video(&self, d: u64) -> Vec<Linear> {
        let mut linears = vec![condition(Role::Modulation, 4 * d, d)];
        linears.extend(self_attention(Tokens::Image, d));
        linears.extend(feed_forward(
            Tokens::Image,
            d,
            self.feed_forward,
            Activation::Gated,
        ));
        linears
    }
}
