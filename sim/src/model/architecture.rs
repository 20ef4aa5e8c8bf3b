//! The families of diffusion transformers: one variant each, with its widths and counts.

use serde::Deserialize;

use super::Model;
use super::families::class_joint::ClassJoint;
use super::families::cross::{Conditioning, Cross};
use super::families::dual_stream::DualStream;
use super::families::factorised::Factorised;
use super::families::joint::Joint;
use super::families::linear_attention::LinearAttention;
use super::families::mixture::Mixture;
use super::families::mochi::Asymmetric;
use super::families::shared::Shared;
use super::families::single_stream::SingleStream;
use super::families::unet::UNet;
use super::latent::Grid;
use crate::workload::{Layers, TokenCounts};

/// How a model is built.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Architecture {
    /// Image and text streams with joint attention: FLUX, SD3, Qwen-Image, HunyuanVideo.
    Joint(Joint),
    /// Joint attention with shared weights: CogVideoX.
    Shared(Shared),
    /// Joint attention of a wide and a narrow stream: Mochi.
    Asymmetric(Asymmetric),
    /// Self- and cross-attention: PixArt, Wan, LTX-Video, HunyuanDiT, DiT.
    Cross(Cross),
    /// Spatial, then temporal attention: Latte.
    Factorised(Factorised),
    /// Linear attention: SANA.
    LinearAttention(LinearAttention),
    /// One stream after refiners: Z-Image.
    SingleStream(SingleStream),
    /// Joint attention with experts: HiDream-I1.
    Mixture(Mixture),
    /// Video and audio streams: LTX-2.
    DualStream(DualStream),
    /// One stream of condition and image tokens, modulated by class: dit-digits.
    ClassJoint(ClassJoint),
    /// Convolutions and transformers at three resolutions: SDXL.
    UNet(UNet),
}

impl Architecture {
    /// The blocks of one forward pass.
    pub(crate) fn layers(&self, model: &Model, grid: &Grid, tokens: TokenCounts) -> Layers {
        match self {
            Self::Joint(joint) => joint.layers(model, tokens),
            Self::Shared(shared) => shared.layers(model, tokens),
            Self::Asymmetric(asymmetric) => asymmetric.layers(model, tokens),
            Self::Cross(cross) => cross.layers(model, tokens),
            Self::Factorised(factorised) => factorised.layers(model, grid, tokens),
            Self::LinearAttention(linear) => linear.layers(model, tokens),
            Self::SingleStream(single) => single.layers(model, tokens),
            Self::Mixture(mixture) => mixture.layers(model, tokens),
            Self::DualStream(dual) => dual.layers(model, tokens),
            Self::ClassJoint(joint) => joint.layers(model, tokens),
            Self::UNet(unet) => unet.layers(model, tokens),
        }
    }

    /// What ties the figures of a family to each other and to the model's: the key at fault and what is wrong.
    pub(crate) fn check(&self, model: &Model) -> Result<(), (&'static str, String)> {
        let refused = match self {
            Self::Joint(joint) => joint.check(),
            Self::LinearAttention(linear) => linear.check(model),
            Self::Mixture(mixture) => mixture.check(),
            Self::DualStream(dual) => dual.check(model),
            Self::UNet(unet) => unet.check(model),
            Self::Shared(_)
            | Self::Asymmetric(_)
            | Self::Cross(_)
            | Self::Factorised(_)
            | Self::SingleStream(_)
            | Self::ClassJoint(_) => None,
        };
        refused.map_or(Ok(()), Err)
    }

    /// Audio tokens of a video of this many frames: 0 unless the model makes audio.
    pub(crate) fn audio_tokens(&self, frames: u32) -> u64 {
        match self {
            Self::DualStream(dual) => dual.audio_tokens(frames),
            _ => 0,
        }
    }

    /// What a listing calls the family.
    #[must_use]
    pub const fn label(&self) -> &'static str {
        match self {
            Self::Joint(joint) if joint.single > 0 => "MMDiT, double and single blocks",
            Self::Joint(_) => "MMDiT",
            Self::Shared(_) => "MMDiT, shared weights",
            Self::Asymmetric(_) => "MMDiT, asymmetric",
            Self::Cross(cross) => match cross.conditioning {
                Conditioning::Caption { .. } => "DiT, cross-attention",
                Conditioning::LongSkips => "DiT, cross-attention, long skips",
                Conditioning::Class => "DiT, class",
            },
            Self::Factorised(_) => "DiT, spatial and temporal",
            Self::LinearAttention(_) => "DiT, linear attention",
            Self::SingleStream(_) => "DiT, single stream",
            Self::Mixture(_) => "MMDiT, mixture of experts",
            Self::DualStream(_) => "DiT, video and audio",
            Self::ClassJoint(_) => "DiT, class, joint attention",
            Self::UNet(_) => "U-Net",
        }
    }

    /// Whether block `i` feeds block `blocks - 1 - i`: pipelines must carry the saved activations.
    #[must_use]
    pub const fn has_long_skips(&self) -> bool {
        matches!(
            self,
            Self::UNet(_)
                | Self::Cross(Cross {
                    conditioning: Conditioning::LongSkips,
                    ..
                })
        )
    }
}
