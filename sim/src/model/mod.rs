//! Diffusion transformers as data: what they are, what a request to them means in tokens.
//!
//! Shapes come from the configuration files named in each model's `source`.

mod architecture;
pub(crate) mod families;
mod latent;
mod presets;
mod request;

use strsim::jaro_winkler;
use thiserror::Error;

pub use architecture::Architecture;
pub use families::joint::{GuidanceEmbedding, Joint};
pub use latent::{Grid, Latent, Temporal};
pub use request::{Guidance, Request, RequestError, Resolution};

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
    /// What it is asked for when nothing else is said.
    pub default: Request,
    /// Where the shapes come from.
    pub source: &'static str,
}

impl Model {
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
        if self.latent.temporal == Temporal::Image && request.frames != 1 {
            return Err(RequestError::Frames {
                model: self.name.to_owned(),
                frames: request.frames,
            });
        }
        self.latent
            .grid(self.name, request.resolution, request.frames)
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
