//! How many ranks an engine decodes the VAE with.
//!
//! | engine | ranks |
//! |---|---|
//! | xDiT, CompactFusion | all, `--use_parallel_vae` (DistVAE); one of models whose runner takes the flag without effect (`parallel_vae` of the model's file) |
//! | cache-dit | all, `extra_parallel_modules` |
//! | SGLang | as many as it chooses: a plan says one |
//! | diffusers, PipeFusion | one |

use sim::model::Model;

use super::Engine;

/// More share no more of it (TensorRT-LLM VisualGen's table, `sim::phases`).
const MOST: u32 = 8;

impl Engine {
    /// How many of `ranks` ranks can decode the VAE together.
    #[must_use]
    pub fn decoders(self, model: &Model, ranks: u32) -> u32 {
        match self {
            Self::Xdit if model.engines.xdit.parallel_vae => ranks.min(MOST),
            Self::CacheDit => ranks,
            _ => 1,
        }
    }
}
