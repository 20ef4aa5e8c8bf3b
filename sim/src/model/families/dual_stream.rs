//! A video and an audio stream, each with self- and text cross-attention, and attention between
//! them: LTX-2.

use serde::Deserialize;

use super::{
    Activation, attend, blocks, condition, embed, feed_forward, self_attention, time_embedder,
    two_layers,
};
use crate::model::{Model, limits};
use crate::workload::{
    AttentionCall, AttentionKind, BlockKind, Layers, Linear, Role, Split, TokenCounts, Tokens,
};

/// The widths and counts of a dual-stream model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DualStream {
    /// Blocks.
    #[serde(deserialize_with = "limits::blocks")]
    pub layers: usize,
    /// Width inside the video's feed-forward part.
    #[serde(deserialize_with = "limits::inner")]
    pub feed_forward: u64,
    /// Width of the audio stream.
    #[serde(deserialize_with = "limits::width")]
    pub audio_hidden: u64,
    /// Width inside the audio's feed-forward part.
    #[serde(deserialize_with = "limits::inner")]
    pub audio_feed_forward: u64,
    /// Latent values per audio token.
    #[serde(deserialize_with = "limits::width")]
    pub audio_channels: u64,
    /// Width of the text encoder's output.
    #[serde(deserialize_with = "limits::width")]
    pub text_width: u64,
    /// Audio tokens per second.
    #[serde(deserialize_with = "limits::rate")]
    pub audio_rate: u64,
    /// Frames per second.
    #[serde(deserialize_with = "limits::rate")]
    pub frame_rate: u64,
}

impl DualStream {
    /// What is wrong with the width of the audio stream.
    pub(crate) fn check(&self, model: &Model) -> Option<(&'static str, String)> {
        (!self.audio_hidden.is_multiple_of(model.heads)).then(|| {
            let fault = format!(
                "{} heads do not divide a width of {}",
                model.heads, self.audio_hidden
            );
            ("family.dual-stream.audio_hidden", fault)
        })
    }

    /// Audio tokens of a video of this many frames, rounded to nearest.
    pub(crate) const fn audio_tokens(&self, frames: u32) -> u64 {
        (2 * frames as u64 * self.audio_rate + self.frame_rate) / (2 * self.frame_rate)
    }

    /// The blocks of one forward pass.
    pub(crate) fn layers(&self, model: &Model, tokens: TokenCounts) -> Layers {
        let block = blocks(model.hidden, tokens);
        let (d, a) = (model.hidden, self.audio_hidden);
        let calls = self.attention(model);
        let values = model.latent.values_per_token();
        let out = |on, n, k| Linear::new(Role::Final, on, n, k, Split::Replicated);
        Layers {
            head: block(BlockKind::Head, self.head(d, values), vec![]),
            kinds: vec![block(BlockKind::DualStream, self.block(d), calls)],
            order: vec![0; self.layers],
            tail: block(
                BlockKind::Tail,
                vec![
                    out(Tokens::Image, values, d),
                    out(Tokens::Audio, self.audio_channels, a),
                ],
                vec![],
            ),
        }
    }

    fn attention(&self, model: &Model) -> Vec<AttentionCall> {
        let video = model.head_shape();
        let audio = (model.heads, self.audio_hidden / model.heads);
        [
            (
                AttentionKind::SelfImage,
                video,
                Tokens::Image,
                Tokens::Image,
            ),
            (
                AttentionKind::SelfOther,
                audio,
                Tokens::Audio,
                Tokens::Audio,
            ),
            (AttentionKind::Cross, video, Tokens::Image, Tokens::Text),
            (AttentionKind::Cross, audio, Tokens::Audio, Tokens::Text),
            (
                AttentionKind::CrossStream,
                audio,
                Tokens::Image,
                Tokens::Audio,
            ),
            (
                AttentionKind::CrossStream,
                audio,
                Tokens::Audio,
                Tokens::Image,
            ),
        ]
        .map(|(kind, shape, queries, keys)| attend(kind, shape, queries, keys))
        .to_vec()
    }

    fn head(&self, d: u64, values: u64) -> Vec<Linear> {
        let mut linears = vec![
            embed(Tokens::Image, d, values),
            embed(Tokens::Audio, self.audio_hidden, self.audio_channels),
        ];
        for hidden in [d, self.audio_hidden] {
            // Own modulation, scale and shift towards the other stream, gate from it.
            for outputs in [6, 4, 1] {
                linears.extend(time_embedder(hidden));
                linears.push(condition(Role::Modulation, outputs * hidden, hidden));
            }
            linears.extend(two_layers(Tokens::Text, self.text_width, hidden));
        }
        linears
    }

    fn block(&self, d: u64) -> Vec<Linear> {
        let a = self.audio_hidden;
        let mut linears = Vec::new();
        for (on, hidden, inner) in [
            (Tokens::Image, d, self.feed_forward),
            (Tokens::Audio, a, self.audio_feed_forward),
        ] {
            linears.extend(self_attention(on, hidden));
            linears.extend(attention_to(on, hidden, hidden, Tokens::Text, hidden));
            linears.extend(feed_forward(on, hidden, inner, Activation::Gelu));
        }
        linears.extend(attention_to(Tokens::Image, d, a, Tokens::Audio, a));
        linears.extend(attention_to(Tokens::Audio, a, a, Tokens::Image, d));
        linears
    }
}

/// Attention of width `inner` from one stream to another.
const fn attention_to(
    queries: Tokens,
    hidden: u64,
    inner: u64,
    keys: Tokens,
    from: u64,
) -> [Linear; 3] {
    [
        Linear::new(Role::CrossQkv, queries, inner, hidden, Split::Column),
        Linear::new(Role::CrossQkv, keys, inner, from, Split::Column).times(2),
        Linear::new(Role::CrossOut, queries, hidden, inner, Split::Row),
    ]
}
