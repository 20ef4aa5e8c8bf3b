//! Image and text streams with joint attention (MMDiT): FLUX, SD3, Qwen-Image, HunyuanVideo.
//!
//! ```text
//! double block: image and text each have Q, K, V, out and a feed-forward part of their own
//! single block: one stream, Q, K, V and feed-forward in parallel, one fused output
//! ```

use serde::Deserialize;

use super::{
    Activation, PatchEmbedder, attend, blocks, condition, embed, feed_forward, modulated_tail,
    self_attention, time_embedder, two_layers,
};
use crate::model::{Model, limits};
use crate::workload::{
    AttentionCall, AttentionKind, BlockKind, CONDITION, Layers, Linear, Role, Split, TokenCounts,
    Tokens,
};

/// The widths and counts of a joint model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Joint {
    /// Double blocks.
    #[serde(deserialize_with = "limits::any_blocks")]
    pub double: usize,
    /// Single blocks.
    #[serde(deserialize_with = "limits::any_blocks")]
    pub single: usize,
    /// Leading double blocks with a second, image-only attention (SD3.5-medium).
    #[serde(default, deserialize_with = "limits::any_blocks")]
    pub dual_attention: usize,
    /// Width inside the feed-forward part.
    #[serde(deserialize_with = "limits::inner")]
    pub feed_forward: u64,
    /// Activation of the feed-forward part.
    pub activation: Activation,
    /// How patches are embedded.
    pub patch: PatchEmbedder,
    /// Channels given beside the latent (conditioning frame and mask), before patching.
    #[serde(default, deserialize_with = "limits::any_channels")]
    pub extra_channels: u64,
    /// What the text passes before the first block.
    pub text: TextStem,
    /// Width of the pooled text vector, where the model takes one.
    #[serde(default, deserialize_with = "limits::some_width")]
    pub pooled_width: Option<u64>,
    /// Whether the guidance scale is embedded.
    pub guidance: GuidanceEmbedding,
    /// Where modulation is computed.
    pub modulation: Modulation,
    /// What the last double block does with the text.
    pub last_text: LastText,
}

/// What the text passes before the first block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum TextStem {
    /// One linear from the encoder's width.
    Linear(#[serde(deserialize_with = "limits::width")] u64),
    /// A linear, then blocks of self-attention over the text, modulated by time and mean text.
    Refiner {
        /// Width of the encoder's output.
        #[serde(deserialize_with = "limits::width")]
        from: u64,
        /// Blocks.
        #[serde(deserialize_with = "limits::stages")]
        blocks: u64,
        /// A second encoder whose tokens join the text, where there is one.
        second: Option<SecondText>,
    },
}

/// A second text encoder whose tokens join the first one's (glyphs).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SecondText {
    /// Tokens of the first encoder, padding included.
    #[serde(deserialize_with = "limits::any_tokens")]
    pub first: u64,
    /// Tokens of this encoder, contained in the request's text tokens.
    #[serde(deserialize_with = "limits::any_tokens")]
    pub tokens: u64,
    /// Width of the encoder's output.
    #[serde(deserialize_with = "limits::width")]
    pub from: u64,
}

/// Whether a distilled guidance scale enters the conditioning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum GuidanceEmbedding {
    /// It does, through an embedder of its own.
    Embedded,
    /// It does not.
    Absent,
}

/// Where modulation is computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Modulation {
    /// Each block has its own matrices; single blocks have separate Q, K, V and feed-forward.
    PerBlock,
    /// Once for all blocks; single blocks fuse Q, K, V and feed-forward in one matrix (FLUX.2).
    Shared,
}

/// What the last double block does with the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum LastText {
    /// As every block.
    Kept,
    /// Its text output is not computed: nothing reads it (SD3).
    Dropped,
}

impl Joint {
    /// What is wrong with its counts of blocks.
    pub(crate) fn check(&self) -> Option<(&'static str, String)> {
        let special = self.dual_attention + usize::from(self.last_text == LastText::Dropped);
        if self.double + self.single == 0 {
            return Some(("family.joint.double", "no block of either kind".to_owned()));
        }
        (special > self.double).then(|| {
            let fault = format!("{special} of {} double blocks are special", self.double);
            ("family.joint.dual_attention", fault)
        })
    }

    /// The blocks of one forward pass.
    pub(crate) fn layers(&self, model: &Model, tokens: TokenCounts) -> Layers {
        let block = blocks(model.hidden, tokens);
        let joint = attend(
            AttentionKind::Joint,
            model.head_shape(),
            Tokens::Joint,
            Tokens::Joint,
        );
        let image = attend(
            AttentionKind::SelfImage,
            model.head_shape(),
            Tokens::Image,
            Tokens::Image,
        );
        let (d, out) = (model.hidden, model.latent.values_per_token());
        let last = self.last_text == LastText::Dropped;
        let plain = self.double - self.dual_attention - usize::from(last);
        Layers {
            head: block(
                BlockKind::Head,
                self.head(model),
                self.head_attention(model),
            ),
            kinds: vec![
                block(BlockKind::Double, self.dual(d), vec![joint, image]),
                block(BlockKind::Double, self.double(d), vec![joint]),
                block(BlockKind::Double, self.last_double(d), vec![joint]),
                block(BlockKind::Single, self.single(d), vec![joint]),
            ],
            order: [
                vec![0; self.dual_attention],
                vec![1; plain],
                vec![2; usize::from(last)],
                vec![3; self.single],
            ]
            .concat(),
            tail: block(BlockKind::Tail, modulated_tail(d, d, out).to_vec(), vec![]),
        }
    }

    fn head(&self, model: &Model) -> Vec<Linear> {
        let d = model.hidden;
        let latent = &model.latent;
        let extra = self.extra_channels * u64::from(latent.patch * latent.patch);
        let mut linears = vec![self.patch.embed(d, latent.values_per_token() + extra)];
        linears.extend(self.text.linears(d));
        linears.extend(time_embedder(d));
        if self.guidance == GuidanceEmbedding::Embedded {
            linears.extend(time_embedder(d));
        }
        if let Some(width) = self.pooled_width {
            linears.extend(two_layers(CONDITION, width, d));
        }
        if self.modulation == Modulation::Shared {
            linears.push(condition(Role::Modulation, 6 * d, d).times(2));
            linears.push(condition(Role::Modulation, 3 * d, d));
        }
        linears
    }

    fn head_attention(&self, model: &Model) -> Vec<AttentionCall> {
        let TextStem::Refiner { blocks, second, .. } = self.text else {
            return vec![];
        };
        let tokens = match second {
            None => Tokens::Text,
            Some(second) => Tokens::Fixed(second.first),
        };
        let call = attend(AttentionKind::SelfOther, model.head_shape(), tokens, tokens);
        (0..blocks).map(|_| call).collect()
    }

    fn double(&self, d: u64) -> Vec<Linear> {
        let mut linears = self.stream(Tokens::Image, d);
        linears.extend(self.stream(Tokens::Text, d));
        linears
    }

    /// A double block with a second attention over the image: `9 d` of modulation for the image.
    fn dual(&self, d: u64) -> Vec<Linear> {
        let mut linears = self.double(d);
        linears.push(condition(Role::Modulation, 3 * d, d));
        linears.extend(self_attention(Tokens::Image, d));
        linears
    }

    /// A double block whose text only gives keys and values.
    fn last_double(&self, d: u64) -> Vec<Linear> {
        let mut linears = self.stream(Tokens::Image, d);
        linears.push(condition(Role::Modulation, 2 * d, d));
        linears.push(Linear::new(Role::Qkv, Tokens::Text, d, d, Split::Column).times(3));
        linears
    }

    fn stream(&self, on: Tokens, d: u64) -> Vec<Linear> {
        let mut linears = Vec::new();
        if self.modulation == Modulation::PerBlock {
            linears.push(condition(Role::Modulation, 6 * d, d));
        }
        linears.extend(self_attention(on, d));
        linears.extend(feed_forward(on, d, self.feed_forward, self.activation));
        linears
    }

    fn single(&self, d: u64) -> Vec<Linear> {
        let on = Tokens::Joint;
        let ff = self.feed_forward;
        let inner = self.activation.inputs() * ff;
        let out = Linear::new(Role::FusedOut, on, d, d + ff, Split::Row);
        match self.modulation {
            Modulation::PerBlock => vec![
                condition(Role::Modulation, 3 * d, d),
                Linear::new(Role::Qkv, on, d, d, Split::Column).times(3),
                Linear::new(Role::FeedForwardIn, on, inner, d, Split::Column),
                out,
            ],
            Modulation::Shared => vec![
                Linear::new(Role::Qkv, on, 3 * d + inner, d, Split::Column),
                out,
            ],
        }
    }
}

impl TextStem {
    fn linears(self, d: u64) -> Vec<Linear> {
        match self {
            Self::Linear(from) => vec![embed(Tokens::Text, d, from)],
            Self::Refiner {
                from,
                blocks,
                second,
            } => {
                let on = second.map_or(Tokens::Text, |second| Tokens::Fixed(second.first));
                let mut linears = vec![embed(on, d, from)];
                linears.extend(time_embedder(d));
                linears.extend(two_layers(CONDITION, from, d));
                for _ in 0..blocks {
                    linears.push(condition(Role::Modulation, 2 * d, d));
                    linears.push(embed(on, d, d).times(4));
                    linears.push(embed(on, 4 * d, d));
                    linears.push(embed(on, d, 4 * d));
                }
                if let Some(second) = second {
                    let on = Tokens::Fixed(second.tokens);
                    linears.extend(two_layers(on, second.from, 2048));
                    linears.push(embed(on, d, 2048));
                }
                linears
            }
        }
    }
}
