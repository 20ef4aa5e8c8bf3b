//! Refiners for image and text apart, then one stream of both: Z-Image.

use serde::Deserialize;

use super::{Activation, attend, blocks, condition, embed, feed_forward, self_attention};
use crate::model::{Model, limits};
use crate::workload::{
    AttentionKind, BlockKind, CONDITION, Layers, Linear, Role, Split, TokenCounts, Tokens,
};

/// The widths and counts of a single-stream model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SingleStream {
    /// Blocks over image and text.
    #[serde(deserialize_with = "limits::blocks")]
    pub layers: usize,
    /// Blocks over the image alone before them, and as many over the text alone.
    #[serde(deserialize_with = "limits::any_blocks")]
    pub refiners: usize,
    /// Width inside the feed-forward part (gated).
    #[serde(deserialize_with = "limits::inner")]
    pub feed_forward: u64,
    /// Width of the text encoder's output.
    #[serde(deserialize_with = "limits::width")]
    pub text_width: u64,
    /// Width of the time embedding that modulates the blocks.
    #[serde(deserialize_with = "limits::width")]
    pub time_width: u64,
}

impl SingleStream {
    /// The blocks of one forward pass. The text refiners stand in the head.
    pub(crate) fn layers(&self, model: &Model, tokens: TokenCounts) -> Layers {
        let (d, time) = (model.hidden, self.time_width);
        let values = model.latent.values_per_token();
        let block = blocks(d, tokens);
        let call = |kind, on| attend(kind, model.head_shape(), on, on);
        let modulated = |on| {
            let mut linears = self.part(on, d);
            linears.push(condition(Role::Modulation, 4 * d, time));
            linears
        };
        let head = self.head(d, values);
        let text = vec![call(AttentionKind::SelfOther, Tokens::Text); self.refiners];
        let tail = vec![
            condition(Role::Modulation, d, time),
            Linear::new(Role::Final, Tokens::Joint, values, d, Split::Replicated),
        ];
        Layers {
            head: block(BlockKind::Head, head, text),
            kinds: vec![
                block(
                    BlockKind::Refiner,
                    modulated(Tokens::Image),
                    vec![call(AttentionKind::SelfImage, Tokens::Image)],
                ),
                block(
                    BlockKind::Single,
                    modulated(Tokens::Joint),
                    vec![call(AttentionKind::Joint, Tokens::Joint)],
                ),
            ],
            order: [vec![0; self.refiners], vec![1; self.layers]].concat(),
            tail: block(BlockKind::Tail, tail, vec![]),
        }
    }

    fn head(&self, d: u64, values: u64) -> Vec<Linear> {
        let mut linears = vec![
            embed(CONDITION, 1024, 256),
            embed(CONDITION, self.time_width, 1024),
            embed(Tokens::Image, d, values),
            embed(Tokens::Text, d, self.text_width),
        ];
        for _ in 0..self.refiners {
            // Every rank has the whole text: nothing to split or reduce.
            let text = self.part(Tokens::Text, d).into_iter();
            linears.extend(text.map(|linear| linear.split(Split::Replicated)));
        }
        linears
    }

    fn part(&self, on: Tokens, d: u64) -> Vec<Linear> {
        let mut linears = self_attention(on, d).to_vec();
        linears.extend(feed_forward(on, d, self.feed_forward, Activation::Gated));
        linears
    }
}
