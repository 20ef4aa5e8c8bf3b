//! Diffusion transformers as data: what they are, what a request to them means in tokens.
//!
//! The built-in models are the files of `sim/models` (docs/models.md), read once; a user's own is read the same way
//! ([`mod@file`]), and so is the configuration of a diffusers transformer ([`config`]).

mod architecture;
mod builtin {
    //! The files of `sim/models`: a list of (file, text) by file name, written by the build script.
    include!(concat!(env!("OUT_DIR"), "/models.rs"));
}
mod calibrated;
pub mod config;
mod encoder;
mod engines;
pub(crate) mod families;
pub mod file;
mod latent;
mod limits;
#[cfg(test)]
mod published;
mod request;
mod summary;
mod vae;

use std::sync::LazyLock;

use serde::Deserialize;
use strsim::jaro_winkler;
use thiserror::Error;

pub use architecture::Architecture;
pub use calibrated::{Elementwise, LaunchTimes, PhaseTime, PhaseTimes};
pub use encoder::{Encoder, Fp16};
pub use engines::{CompactFusion, Engines, OnEngine, Split};
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
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Model {
    /// Its name, as its authors write it.
    #[serde(deserialize_with = "limits::name")]
    pub name: String,
    /// Other names in published tables.
    #[serde(default, deserialize_with = "limits::names")]
    pub aliases: Vec<String>,
    /// Where the shapes come from.
    #[serde(deserialize_with = "limits::line")]
    pub source: String,
    /// Its class in diffusers: a configuration of this class takes from here what it does not say.
    #[serde(default, deserialize_with = "limits::some_word")]
    pub diffusers_class: Option<String>,
    /// Width of the residual stream.
    #[serde(deserialize_with = "limits::width")]
    pub hidden: u64,
    /// Attention heads.
    #[serde(deserialize_with = "limits::heads")]
    pub heads: u64,
    /// Width of a head.
    #[serde(deserialize_with = "limits::head_dim")]
    pub head_dim: u64,
    /// Images or frames of the same size whose tokens join the sequence (image editing).
    #[serde(default, deserialize_with = "limits::few")]
    pub reference_frames: u32,
    /// Last steps of its sampler that its pipeline skips, as their time is 0.
    #[serde(default, deserialize_with = "limits::few")]
    pub idle_steps: u32,
    /// Transformers of which one works at a time.
    #[serde(default)]
    pub experts: Experts,
    /// What Ulysses may split.
    #[serde(default)]
    pub ulysses: UlyssesRule,
    /// What a sequence split must divide.
    #[serde(default)]
    pub sequence_axis: SequenceAxis,
    /// How it is built.
    #[serde(rename = "family")]
    pub architecture: Architecture,
    /// Its latent space.
    pub latent: Latent,
    /// Text and image encoders.
    pub encoders: Vec<Encoder>,
    /// Its VAE.
    pub vae: Vae,
    /// What it is asked for when nothing else is said.
    pub default: Request,
    /// Encoding and decoding.
    pub phases: PhaseTimes,
    /// Norms, activations, rotary embeddings, residual sums.
    #[serde(default)]
    pub elementwise: Elementwise,
    /// Launching its blocks.
    pub launch: LaunchTimes,
    /// How engines call it.
    #[serde(default)]
    pub engines: Engines,
}

/// Transformers of which one works at a time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Experts {
    /// One transformer.
    #[default]
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
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum UlyssesRule {
    /// Any divisor of the head count.
    #[default]
    HeadDivisors,
    /// Divisors of the head count up to this one.
    AtMost(#[serde(deserialize_with = "limits::heads")] u64),
}

/// What a sequence split must divide.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum SequenceAxis {
    /// The image tokens.
    #[default]
    Tokens,
    /// The token rows of a frame: the stack cuts the latent by height.
    Rows,
}

impl Model {
    /// Its name and its other names.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        std::iter::once(&self.name)
            .chain(&self.aliases)
            .map(String::as_str)
    }

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
                model: self.name.clone(),
                frames: request.frames,
            });
        }
        let grid = self
            .latent
            .grid(&self.name, request.resolution, request.frames)?;
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

/// The built-in models, by the names of their files in `sim/models`.
#[must_use]
pub fn known() -> &'static [Model] {
    static MODELS: LazyLock<Vec<Model>> =
        LazyLock::new(|| builtin::FILES.iter().map(parsed).collect());
    &MODELS
}

/// The file of a built-in model, to start one's own from: without its other names, which stay its own.
///
/// # Errors
/// [`UnknownModel`] with the known names and the nearest one.
pub fn source_text(name: &str) -> Result<String, UnknownModel> {
    let model = find(name)?;
    let mut files = builtin::FILES.iter().zip(known());
    let found = files.find(|(_, known)| known.name == model.name);
    let ((_, text), _) = found.expect("a known model has a file");
    let lines = text.split_inclusive('\n');
    Ok(lines
        .filter(|line| !line.starts_with("aliases = "))
        .collect())
}

/// A built-in model from its file.
fn parsed((name, text): &(&str, &str)) -> Model {
    file::parse(text, name).unwrap_or_else(|error| panic!("a built-in model is damaged: {error}"))
}

/// The model of this name or alias, upper and lower case alike.
///
/// # Errors
/// [`UnknownModel`] with the known names and the nearest one.
pub fn find(name: &str) -> Result<&'static Model, UnknownModel> {
    let wanted = name.trim().to_lowercase();
    let is_wanted = |known: &str| known.to_lowercase() == wanted;
    if let Some(model) = known().iter().find(|model| model.names().any(is_wanted)) {
        return Ok(model);
    }
    let likeness = |known: &str| jaro_winkler(&known.to_lowercase(), &wanted);
    let nearest = known()
        .iter()
        .flat_map(Model::names)
        .max_by(|a, b| likeness(a).total_cmp(&likeness(b)))
        .expect("at least one model is built in");
    let list: Vec<&str> = known().iter().map(|model| model.name.as_str()).collect();
    Err(UnknownModel {
        name: name.to_owned(),
        nearest,
        known: list.join(", "),
    })
}
