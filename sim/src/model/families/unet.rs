//! A U-Net of residual convolutions and transformers at three resolutions: SDXL.
//!
//! ```text
//! 320 @ 1 -> 640 @ 1/2 -> 1280 @ 1/4 -> middle -> 1280 @ 1/4 -> 640 @ 1/2 -> 320 @ 1
//! ```
//! Each resolution on each side is one block; the convolution that changes the resolution belongs
//! to the block it leads to. Skips between the sides stay on the rank.

use serde::Deserialize;

use super::{attend, condition, cross_attention, self_attention};
use crate::model::{Model, limits};
use crate::workload::{
    AttentionCall, AttentionKind, Block, BlockKind, CONDITION, Layers, Linear, Role, Split,
    TokenCounts, Tokens,
};

/// One stage of the U-Net.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stage {
    /// Channels.
    #[serde(deserialize_with = "limits::width")]
    pub channels: u64,
    /// Latent cells per cell of this stage, along a side.
    #[serde(deserialize_with = "limits::cell_64")]
    pub scale: u64,
    /// Input channels of each residual unit (skips included).
    #[serde(deserialize_with = "limits::widths")]
    pub inputs: Vec<u64>,
    /// Transformer layers after each residual unit.
    #[serde(deserialize_with = "limits::stages")]
    pub depth: u64,
    /// Transformers in the stage.
    #[serde(deserialize_with = "limits::stages")]
    pub transformers: u64,
    /// Whether a convolution changes the resolution before the stage.
    pub resample: Resample,
}

/// The convolution before a stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Resample {
    /// The resolution stays.
    None,
    /// From this many channels to as many.
    From(#[serde(deserialize_with = "limits::width")] u64),
}

/// The stages of a U-Net.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UNet {
    /// In execution order.
    pub stages: Vec<Stage>,
    /// Width of the time embedding.
    #[serde(deserialize_with = "limits::width")]
    pub time_width: u64,
    /// Width of the pooled text and size vector.
    #[serde(deserialize_with = "limits::width")]
    pub pooled_width: u64,
    /// Width of the text encoders' outputs.
    #[serde(deserialize_with = "limits::width")]
    pub text_width: u64,
}

impl UNet {
    /// What is wrong with its stages.
    pub(crate) fn check(&self, model: &Model) -> Option<(&'static str, String)> {
        let key = "family.u-net.stages";
        if !(1..=64).contains(&self.stages.len()) {
            return Some((key, "a list of 1 to 64 stages is meant".to_owned()));
        }
        let attends = |stage: &&Stage| stage.depth > 0 && stage.transformers > 0;
        let odd = |stage: &&Stage| !stage.channels.is_multiple_of(model.head_dim);
        self.stages.iter().filter(attends).find(odd).map(|stage| {
            let fault = format!(
                "{} channels are not heads of {}",
                stage.channels, model.head_dim
            );
            (key, fault)
        })
    }

    /// The blocks of one forward pass.
    pub(crate) fn layers(&self, model: &Model, tokens: TokenCounts) -> Layers {
        let first = model.hidden;
        let channels = u64::from(model.latent.channels);
        let full = |kind, linears| Block {
            kind,
            hidden: first,
            tokens,
            linears,
            attention: vec![],
        };
        let head = vec![
            condition(Role::Embed, self.time_width, first),
            condition(Role::Embed, self.time_width, self.time_width).times(2),
            condition(Role::Embed, self.time_width, self.pooled_width),
            convolution(first, channels),
        ];
        Layers {
            head: full(BlockKind::Head, head),
            kinds: self
                .stages
                .iter()
                .map(|stage| self.stage(stage, model.head_dim, tokens))
                .collect(),
            order: (0..self.stages.len()).collect(),
            tail: full(BlockKind::Tail, vec![convolution(channels, first)]),
        }
    }

    fn stage(&self, stage: &Stage, head_dim: u64, tokens: TokenCounts) -> Block {
        let c = stage.channels;
        let mut linears = Vec::new();
        if let Resample::From(channels) = stage.resample {
            linears.push(convolution(channels, channels));
        }
        for &from in &stage.inputs {
            linears.push(convolution(c, from));
            linears.push(Linear::new(
                Role::Modulation,
                CONDITION,
                c,
                self.time_width,
                Split::Replicated,
            ));
            linears.push(convolution(c, c));
            if from != c {
                linears.push(pointwise(c, from));
            }
        }
        let mut attention = Vec::new();
        for _ in 0..stage.transformers {
            linears.push(Linear::new(Role::Embed, Tokens::Image, c, c, Split::Replicated).times(2));
            for _ in 0..stage.depth {
                linears.extend(self.transformer(c));
                attention.extend(calls(c, head_dim));
            }
        }
        Block {
            kind: BlockKind::UNetStage,
            hidden: c,
            tokens: TokenCounts {
                image: tokens.image / (stage.scale * stage.scale),
                ..tokens
            },
            linears,
            attention,
        }
    }

    fn transformer(&self, c: u64) -> Vec<Linear> {
        let on = Tokens::Image;
        let mut linears = self_attention(on, c).to_vec();
        linears.extend(cross_attention(c, self.text_width));
        linears.push(Linear::new(
            Role::FeedForwardIn,
            on,
            8 * c,
            c,
            Split::Column,
        ));
        linears.push(Linear::new(Role::FeedForwardOut, on, c, 4 * c, Split::Row));
        linears
    }
}

fn calls(c: u64, head_dim: u64) -> [AttentionCall; 2] {
    let shape = (c / head_dim, head_dim);
    [
        attend(
            AttentionKind::SelfImage,
            shape,
            Tokens::Image,
            Tokens::Image,
        ),
        attend(AttentionKind::Cross, shape, Tokens::Image, Tokens::Text),
    ]
}

/// A 3 x 3 convolution.
const fn convolution(to: u64, from: u64) -> Linear {
    Linear::new(
        Role::Convolution,
        Tokens::Image,
        to,
        9 * from,
        Split::Replicated,
    )
}

/// A 1 x 1 convolution.
const fn pointwise(to: u64, from: u64) -> Linear {
    Linear::new(
        Role::Convolution,
        Tokens::Image,
        to,
        from,
        Split::Replicated,
    )
}
