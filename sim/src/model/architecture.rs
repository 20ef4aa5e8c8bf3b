//! The families of diffusion transformers, each as a few widths and counts.

use crate::model::Model;
use crate::model::latent::Grid;
use crate::workload::{Layers, TokenCounts};

use super::families::joint::{self, Joint};

/// How a model is built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Architecture {
    /// Image and text streams with joint attention: FLUX, SD3, Qwen-Image, HunyuanVideo.
    Joint(Joint),
}

impl Architecture {
    /// The blocks of one forward pass.
    pub(crate) fn layers(&self, model: &Model, _grid: &Grid, tokens: TokenCounts) -> Layers {
        match self {
            Self::Joint(joint) => joint::layers(model, joint, tokens),
        }
    }
}
