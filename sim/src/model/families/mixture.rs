//! Joint attention with a mixture of experts in the feed-forward part: HiDream-I1.
//!
//! The text is three parts of equal length: T5, the last Llama layer, and the Llama layer of the
//! block's own depth, projected for each block.

use serde::Deserialize;

use super::{
    Activation, attend, blocks, condition, embed, feed_forward, modulated_tail, self_attention,
    time_embedder, two_layers,
};
use crate::model::{Model, limits};
use crate::workload::{
    AttentionKind, BlockKind, CONDITION, Layers, Linear, Role, Split, TokenCounts, Tokens,
};

/// The widths and counts of a mixture model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mixture {
    /// Double blocks.
    #[serde(deserialize_with = "limits::any_blocks")]
    pub double: usize,
    /// Single blocks.
    #[serde(deserialize_with = "limits::any_blocks")]
    pub single: usize,
    /// Width inside an expert (gated).
    #[serde(deserialize_with = "limits::inner")]
    pub feed_forward: u64,
    /// Width inside the expert that every token passes (gated).
    #[serde(deserialize_with = "limits::inner")]
    pub shared_feed_forward: u64,
    /// Routed experts.
    #[serde(deserialize_with = "limits::experts")]
    pub experts: u64,
    /// Experts that a token passes.
    #[serde(deserialize_with = "limits::experts")]
    pub active: u64,
    /// Width of the text encoders' outputs.
    #[serde(deserialize_with = "limits::width")]
    pub text_width: u64,
    /// Width of the pooled text vector.
    #[serde(deserialize_with = "limits::width")]
    pub pooled_width: u64,
}

impl Mixture {
    /// What is wrong with its counts.
    pub(crate) fn check(&self) -> Option<(&'static str, String)> {
        if self.double + self.single == 0 {
            return Some((
                "family.mixture.double",
                "no block of either kind".to_owned(),
            ));
        }
        (self.active > self.experts).then(|| {
            let fault = format!("a token passes {} of {} experts", self.active, self.experts);
            ("family.mixture.active", fault)
        })
    }

    /// The blocks of one forward pass.
    pub(crate) fn layers(&self, model: &Model, tokens: TokenCounts) -> Layers {
        let (d, values) = (model.hidden, model.latent.values_per_token());
        let block = blocks(d, tokens);
        let joint = attend(
            AttentionKind::Joint,
            model.head_shape(),
            Tokens::Joint,
            Tokens::Joint,
        );
        let captions = (self.double + self.single + 1) as u64;
        let mut head = vec![
            embed(Tokens::Image, d, values),
            embed(Tokens::Fixed(tokens.text / 3), d, self.text_width).times(captions),
        ];
        head.extend(time_embedder(d));
        head.extend(two_layers(CONDITION, self.pooled_width, d));
        let mut double = vec![condition(Role::Modulation, 12 * d, d)];
        double.extend(self_attention(Tokens::Image, d));
        double.extend(self_attention(Tokens::Text, d));
        double.extend(self.experts(Tokens::Image, d));
        let text = feed_forward(Tokens::Text, d, self.feed_forward, Activation::Gated);
        double.extend(text);
        let mut single = vec![condition(Role::Modulation, 6 * d, d)];
        single.extend(self_attention(Tokens::Joint, d));
        single.extend(self.experts(Tokens::Joint, d));
        Layers {
            head: block(BlockKind::Head, head, vec![]),
            kinds: vec![
                block(BlockKind::Double, double, vec![joint]),
                block(BlockKind::Single, single, vec![joint]),
            ],
            order: [vec![0; self.double], vec![1; self.single]].concat(),
            tail: block(
                BlockKind::Tail,
                modulated_tail(d, d, values).to_vec(),
                vec![],
            ),
        }
    }

    fn experts(&self, on: Tokens, d: u64) -> Vec<Linear> {
        let mut linears = vec![embed(on, self.experts, d)];
        // Routed outputs are summed with the shared expert's before the one all-reduce.
        let [shared_in, shared_out] =
            feed_forward(on, d, self.shared_feed_forward, Activation::Gated);
        let ff = self.feed_forward;
        linears.extend([
            shared_in,
            Linear::new(Role::FeedForwardIn, on, ff, d, Split::Column)
                .experts(2 * self.active, 2 * self.experts),
            Linear::new(Role::FeedForwardOut, on, d, ff, Split::RowPartial)
                .experts(self.active, self.experts),
            shared_out,
        ]);
        linears
    }
}
