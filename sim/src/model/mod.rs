//! Diffusion transformers as data: what they are, what a request to them means in tokens.
//!
//! Shapes come from the configuration files named in each model's `source`.

mod architecture;
pub mod config;
mod encoder;
pub(crate) mod families;
mod latent;
mod presets;
#[cfg(test)]
mod published;
mod request;
mod summary;
mod vae;

use strsim::jaro_winkler;
use thiserror::Error;

pub use architecture::Architecture;
pub use encoder::Encoder;
pub use families::class_joint::ClassJoint;
pub use families::cross::{Conditioning, Cross, CrossSplit, Reference, SizeEmbedding};
pub use families::dual_stream::DualStream;
pub use families::factorised::Factorised;
pub use families::joint::{GuidanceEmbedding, Joint, LastText, Modulation, SecondText, TextStem};
pub use families::linear_attention::LinearAttention;
pub use families::mixture::Mixture;
pub use families::mochi::Asymmetric;
pub use families::shared::Shared;
pub use families::single_stream::SingleStream;
pub use families::unet::{Resample, Stage, UNet};
pub use families::{Activation, PatchEmbedder};
pub use latent::{Grid, Latent, Temporal};
pub use request::{Guidance, Request, RequestError, Resolution};
use request::{MOST_FRAMES, MOST_IMAGES, MOST_PIXELS, MOST_STEPS, MOST_TEXT_TOKENS, MOST_TOKENS};
pub use summary::Summary;
pub use vae::{MiddleAttention, Tiling, Vae};

use crate::workload::Workload;

/// A diffusion transformer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Model {
    /// Its name, as its authors write it.
    pub name: &'static str,
    /// Other names in published tables.
    pub aliases: &'static [&'static str],
    /// Width of the residual stream.
    pub hidden: u64,
    /// Attention heads.
    pub heads: u64,
    /// Width of a head.
    pub head_dim: u64,
    /// How it is built.
    pub architecture: Architecture,
    /// Its latent space.
    pub latent: Latent,
    /// Images or frames of the same size whose tokens join the sequence (image editing).
    pub reference_frames: u32,
    /// Transformers of which one works at a time.
    pub experts: Experts,
    /// What Ulysses may split.
    pub ulysses: UlyssesRule,
    /// What a sequence split must divide.
    pub sequence_axis: SequenceAxis,
    /// Text and image encoders.
    pub encoders: &'static [Encoder],
    /// Its VAE.
    pub vae: Vae,
    /// What it is asked for when nothing else is said.
    pub default: Request,
    /// Where the shapes come from.
    pub source: &'static str,
}

/// Transformers of which one works at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Experts {
    /// One transformer.
    One,
    /// Two of the same shape: the first for the noisy steps, the second for the rest. One is
    /// resident unless both fit; a swap reloads the weights.
    TwoByTimestep,
}

impl Experts {
    /// How many transformers there are.
    #[must_use]
    pub const fn count(self) -> u64 {
        match self {
            Self::One => 1,
            Self::TwoByTimestep => 2,
        }
    }
}

/// What Ulysses may split.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UlyssesRule {
    /// Any divisor of the head count.
    HeadDivisors,
    /// Divisors of the head count up to this one.
    AtMost(u64),
}

/// What a sequence split must divide.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SequenceAxis {
    /// The image tokens.
    Tokens,
    /// The token rows of a frame: the stack cuts the latent by height.
    Rows,
}

impl Model {
    /// Heads and their width.
    pub(crate) const fn head_shape(&self) -> (u64, u64) {
        (self.heads, self.head_dim)
    }

    /// Degrees that Ulysses may have, ascending.
    #[must_use]
    pub fn ulysses_degrees(&self) -> Vec<u64> {
        let most = match self.ulysses {
            UlyssesRule::HeadDivisors => self.heads,
            UlyssesRule::AtMost(most) => most,
        };
        (1..=most)
            .filter(|degree| self.heads.is_multiple_of(*degree))
            .collect()
    }

    /// Whether it runs classifier-free guidance by default.
    #[must_use]
    pub fn uses_guidance(&self) -> bool {
        self.default.guidance != Guidance::None
    }

    /// The token grid of a request.
    ///
    /// # Errors
    /// A [`RequestError`] when the model cannot make such an image or video.
    pub fn grid(&self, request: &Request) -> Result<Grid, RequestError> {
        for (what, count) in [
            ("step", request.steps),
            ("image", request.batch),
            ("frame", request.frames),
        ] {
            if count == 0 {
                return Err(RequestError::Zero { what });
            }
        }
        for (what, count, most) in [
            ("steps", request.steps, MOST_STEPS),
            ("images", request.batch, MOST_IMAGES),
            ("frames", request.frames, MOST_FRAMES),
            ("pixels across", request.resolution.width, MOST_PIXELS),
            ("pixels down", request.resolution.height, MOST_PIXELS),
            ("text tokens", request.text_tokens, MOST_TEXT_TOKENS),
        ] {
            if count > most {
                return Err(RequestError::Large { what, count, most });
            }
        }
        if self.latent.temporal == Temporal::Image && request.frames != 1 {
            return Err(RequestError::Frames {
                model: self.name.to_owned(),
                frames: request.frames,
            });
        }
        let grid = self
            .latent
            .grid(self.name, request.resolution, request.frames)?;
        let grid = Grid {
            frames: grid.frames + u64::from(self.reference_frames),
            ..grid
        };
        let (tokens, images) = (grid.tokens(), request.batch);
        if tokens * u64::from(images) > MOST_TOKENS {
            return Err(RequestError::Tokens { tokens, images });
        }
        Ok(grid)
    }

    /// What one forward pass does for a request.
    ///
    /// # Errors
    /// A [`RequestError`] when the model cannot make such an image or video.
    pub fn workload(&self, request: &Request) -> Result<Workload, RequestError> {
        Workload::new(self, request)
    }
}

/// A model name that is not known.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("no model is called \"{name}\": did you mean \"{nearest}\"? Known: {known}")]
pub struct UnknownModel {
    /// What was written.
    pub name: String,
    /// The most similar known name.
    pub nearest: &'static str,
    /// All known names.
    pub known: String,
}

/// All models, by family.
#[must_use]
pub fn known() -> &'static [Model] {
    presets::MODELS
}

/// The model of this name or alias, upper and lower case alike.
///
/// # Errors
/// [`UnknownModel`] with the known names and the nearest one.
pub fn find(name: &str) -> Result<&'static Model, UnknownModel> {
    let wanted = name.trim().to_lowercase();
    let names =
        |model: &'static Model| std::iter::once(model.name).chain(model.aliases.iter().copied());
    let is_wanted = |known: &str| known.to_lowercase() == wanted;
    if let Some(model) = known().iter().find(|model| names(model).any(is_wanted)) {
        return Ok(model);
    }
    let likeness = |known: &str| jaro_winkler(&known.to_lowercase(), &wanted);
    let nearest = known()
        .iter()
        .flat_map(names)
        .max_by(|a, b| likeness(a).total_cmp(&likeness(b)))
        .expect("at least one model is built in");
    let list: Vec<&str> = known().iter().map(|model| model.name).collect();
    Err(UnknownModel {
        name: name.to_owned(),
        nearest,
        known: list.join(", "),
    })
}
