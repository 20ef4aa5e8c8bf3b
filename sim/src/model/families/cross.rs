//! Self-attention over the image, cross-attention to the text: PixArt, Wan, LTX-Video, HunyuanDiT,
//! Step-Video; and DiT, which has a class instead of a text.

use serde::Deserialize;

use super::{
    Activation, PatchEmbedder, attend, blocks, condition, cross_attention, embed, feed_forward,
    modulated_tail, self_attention, shared_modulation, time_embedder, two_layers,
};
use crate::model::{Model, limits};
use crate::workload::{
    AttentionCall, AttentionKind, BlockKind, CONDITION, Layers, Linear, Role, Split, TokenCounts,
    Tokens,
};

/// The widths and counts of a cross-attention model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cross {
    /// Blocks.
    #[serde(deserialize_with = "limits::blocks")]
    pub layers: usize,
    /// Width inside the feed-forward part.
    #[serde(deserialize_with = "limits::inner")]
    pub feed_forward: u64,
    /// How patches are embedded.
    pub patch: PatchEmbedder,
    /// Channels given beside the latent (first frame and mask), before patching.
    #[serde(default, deserialize_with = "limits::any_channels")]
    pub extra_channels: u64,
    /// Channels predicted, before patching (twice the latent's where the variance is learned).
    #[serde(deserialize_with = "limits::channels")]
    pub out_channels: u64,
    /// What conditions the blocks.
    pub conditioning: Conditioning,
    /// Whether tensor parallelism splits the cross-attention.
    pub cross_split: CrossSplit,
}

/// Whether tensor parallelism splits the cross-attention.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum CrossSplit {
    /// By heads, with an all-reduce of its output: three per block.
    Heads,
    /// It stays whole: two all-reduces per block, which is what PixArt's published runs imply.
    Replicated,
}

/// What conditions the blocks of a cross-attention model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Conditioning {
    /// One modulation for all blocks, text through a two-layer projection of this input width.
    Caption {
        /// Width of the text encoder's output.
        #[serde(deserialize_with = "limits::width")]
        text_width: u64,
        /// Resolution and aspect ratio, embedded in a third of the width each (PixArt-alpha 1024).
        size: SizeEmbedding,
        /// Reference image tokens that get keys and values of their own (Wan 2.1 image to video).
        reference: Option<Reference>,
    },
    /// HunyuanDiT: CLIP and T5 text, modulation per block, long skips in the second half.
    LongSkips,
    /// A class label: modulation and its embedder in each block, no cross-attention (DiT).
    Class,
}

/// Whether the frame size is embedded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum SizeEmbedding {
    /// It is.
    Embedded,
    /// It is not.
    Absent,
}

/// Reference image tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reference {
    /// Tokens.
    #[serde(deserialize_with = "limits::any_tokens")]
    pub tokens: u64,
    /// Width of the image encoder's output.
    #[serde(deserialize_with = "limits::width")]
    pub width: u64,
}

/// HunyuanDiT's text: 256 mT5 tokens of 2048, projected through 8192 to CLIP's 1024.
const HUNYUAN_T5: (u64, u64, u64, u64) = (256, 2048, 8192, 1024);

impl Cross {
    /// The blocks of one forward pass.
    pub(crate) fn layers(&self, model: &Model, tokens: TokenCounts) -> Layers {
        let block = blocks(model.hidden, tokens);
        let kind = match self.conditioning {
            Conditioning::Class => BlockKind::ClassConditional,
            _ => BlockKind::CrossAttention,
        };
        let plain = self.block(model.hidden);
        let mut skip = plain.clone();
        skip.push(Linear::new(
            Role::Skip,
            Tokens::Image,
            model.hidden,
            2 * model.hidden,
            Split::Replicated,
        ));
        // Blocks after the middle one merge a skip: 19 of 40.
        let skips = match self.conditioning {
            Conditioning::LongSkips => self.layers - self.layers / 2 - 1,
            _ => 0,
        };
        let calls = self.attention(model);
        Layers {
            head: block(BlockKind::Head, self.head(model), vec![]),
            kinds: vec![block(kind, plain, calls.clone()), block(kind, skip, calls)],
            order: [vec![0; self.layers - skips], vec![1; skips]].concat(),
            tail: block(BlockKind::Tail, self.tail(model), vec![]),
        }
    }

    fn head(&self, model: &Model) -> Vec<Linear> {
        let d = model.hidden;
        let patch = u64::from(model.latent.patch * model.latent.patch);
        let inputs = model.latent.values_per_token() + self.extra_channels * patch;
        let mut linears = vec![self.patch.embed(d, inputs)];
        match self.conditioning {
            Conditioning::Caption {
                text_width,
                size,
                reference,
            } => {
                linears.extend(shared_modulation(d));
                linears.extend(two_layers(Tokens::Text, text_width, d));
                if size == SizeEmbedding::Embedded {
                    // Height, width and aspect ratio share two embedders of a third of the width.
                    linears.extend(two_layers(Tokens::Fixed(2), 256, d / 3));
                    linears.extend(two_layers(CONDITION, 256, d / 3));
                }
                if let Some(Reference { tokens, width }) = reference {
                    linears.push(embed(Tokens::Fixed(tokens), width, width));
                    linears.push(embed(Tokens::Fixed(tokens), d, width));
                }
            }
            Conditioning::LongSkips => {
                let (tokens, from, inner, to) = HUNYUAN_T5;
                linears.extend(time_embedder(d));
                linears.push(embed(Tokens::Fixed(tokens), inner, from));
                linears.push(embed(Tokens::Fixed(tokens), to, inner));
                // Pooling of the mT5 tokens and their mean: Q of one, K and V of all.
                linears.push(embed(CONDITION, from, from));
                linears.push(embed(Tokens::Fixed(tokens + 1), from, from).times(2));
                linears.push(embed(CONDITION, to, from));
                linears.push(embed(CONDITION, 4 * d, to));
                linears.push(embed(CONDITION, d, 4 * d));
            }
            Conditioning::Class => {}
        }
        linears
    }

    fn block(&self, d: u64) -> Vec<Linear> {
        let mut linears = Vec::new();
        match self.conditioning {
            Conditioning::Caption { .. } => {}
            Conditioning::LongSkips => linears.push(condition(Role::Modulation, d, d)),
            Conditioning::Class => {
                linears.extend(shared_modulation(d));
                // A table of 1000 classes and "no class": looked up, not multiplied.
                linears.push(condition(Role::Embed, d, 1001).experts(0, 1));
            }
        }
        linears.extend(self_attention(Tokens::Image, d));
        let cross = match self.conditioning {
            Conditioning::Caption { reference, .. } => {
                let mut cross = cross_attention(d, d).to_vec();
                if let Some(Reference { tokens, .. }) = reference {
                    let on = Tokens::Fixed(tokens);
                    cross.push(Linear::new(Role::CrossQkv, on, d, d, Split::Column).times(2));
                }
                cross
            }
            Conditioning::LongSkips => cross_attention(d, HUNYUAN_T5.3).to_vec(),
            Conditioning::Class => vec![],
        };
        linears.extend(cross.into_iter().map(|linear| match self.cross_split {
            CrossSplit::Heads => linear,
            CrossSplit::Replicated => linear.split(Split::Replicated),
        }));
        linears.extend(feed_forward(
            Tokens::Image,
            d,
            self.feed_forward,
            Activation::Gelu,
        ));
        linears
    }

    fn attention(&self, model: &Model) -> Vec<AttentionCall> {
        let shape = model.head_shape();
        let mut calls = vec![attend(
            AttentionKind::SelfImage,
            shape,
            Tokens::Image,
            Tokens::Image,
        )];
        let mut cross = |keys| calls.push(attend(AttentionKind::Cross, shape, Tokens::Image, keys));
        match self.conditioning {
            Conditioning::Caption { reference, .. } => {
                cross(Tokens::Text);
                if let Some(Reference { tokens, .. }) = reference {
                    cross(Tokens::Fixed(tokens));
                }
            }
            Conditioning::LongSkips => cross(Tokens::Text),
            Conditioning::Class => {}
        }
        calls
    }

    fn tail(&self, model: &Model) -> Vec<Linear> {
        let d = model.hidden;
        let out = self.out_channels * u64::from(model.latent.patch * model.latent.patch);
        match self.conditioning {
            Conditioning::Caption { .. } => vec![Linear::new(
                Role::Final,
                Tokens::Image,
                out,
                d,
                Split::Replicated,
            )],
            Conditioning::LongSkips => modulated_tail(d, d, out).to_vec(),
            Conditioning::Class => {
                // The last modulation reuses the first block's time and class embedder.
                let mut linears = time_embedder(d).map(Linear::unstored).to_vec();
                linears.extend(modulated_tail(d, d, out));
                linears
            }
        }
    }
}
