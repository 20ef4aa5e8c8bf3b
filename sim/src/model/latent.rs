//! From pixels and frames to latent tokens.
//!
//! ```text
//! tokens = ceil(latent frames / temporal patch) x height / (vae x patch) x width / (vae x patch)
//! ```
//! Latent frames are `(frames - 1) / temporal + 1`, rounded down as the pipelines do, except where
//! a VAE works on chunks of frames.

use serde::Deserialize;

use super::limits;
use super::request::{RequestError, Resolution};

/// How a VAE shortens time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Temporal {
    /// Images only.
    Image,
    /// Every frame is encoded by itself.
    PerFrame,
    /// The first frame, then one latent frame per this many.
    Causal(#[serde(deserialize_with = "limits::cell")] u32),
    /// Each chunk of `frames` becomes `latents` latent frames.
    Chunks {
        /// Frames of a chunk.
        #[serde(deserialize_with = "limits::cell")]
        frames: u32,
        /// Latent frames of a chunk.
        #[serde(deserialize_with = "limits::cell")]
        latents: u32,
    },
}

/// The latent space of a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Latent {
    /// Pixels per latent cell along a side.
    #[serde(deserialize_with = "limits::cell")]
    pub spatial: u32,
    /// How time is shortened.
    pub temporal: Temporal,
    /// Channels of a latent cell.
    #[serde(deserialize_with = "limits::channels_32")]
    pub channels: u32,
    /// Latent cells per token along a side.
    #[serde(deserialize_with = "limits::patch")]
    pub patch: u32,
    /// Latent frames per token.
    #[serde(deserialize_with = "limits::patch")]
    pub temporal_patch: u32,
}

/// Tokens along each axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Grid {
    /// Latent frames after temporal patching.
    pub frames: u64,
    /// Token rows.
    pub height: u64,
    /// Token columns.
    pub width: u64,
}

impl Grid {
    /// All tokens.
    #[must_use]
    pub const fn tokens(&self) -> u64 {
        self.frames * self.height * self.width
    }
}

impl Latent {
    /// An image latent with 8 pixels per cell, the commonest.
    #[must_use]
    pub const fn image(channels: u32, patch: u32) -> Self {
        Self {
            spatial: 8,
            temporal: Temporal::Image,
            channels,
            patch,
            temporal_patch: 1,
        }
    }

    /// A causal video latent.
    #[must_use]
    pub const fn video(spatial: u32, temporal: u32, channels: u32, patch: u32) -> Self {
        Self {
            spatial,
            temporal: Temporal::Causal(temporal),
            channels,
            patch,
            temporal_patch: 1,
        }
    }

    /// Pixels per token along a side.
    #[must_use]
    pub const fn pixels_per_token(&self) -> u32 {
        self.spatial * self.patch
    }

    /// Latent values per token: the input width of the patch embedder.
    #[must_use]
    pub const fn values_per_token(&self) -> u64 {
        (self.channels * self.patch * self.patch * self.temporal_patch) as u64
    }

    /// Latent values of one image or video.
    #[must_use]
    pub const fn values(&self, resolution: Resolution, frames: u32) -> u64 {
        let cell = self.spatial as u64 * self.spatial as u64;
        resolution.pixels() / cell * self.channels as u64 * self.frames(frames) as u64
    }

    /// Latent frames of `frames` frames, at least one.
    #[must_use]
    pub const fn frames(&self, frames: u32) -> u32 {
        let latents = match self.temporal {
            Temporal::Image => 1,
            Temporal::PerFrame => frames,
            Temporal::Causal(factor) => frames.saturating_sub(1) / factor + 1,
            Temporal::Chunks {
                frames: chunk,
                latents,
            } => frames / chunk * latents,
        };
        if latents == 0 { 1 } else { latents }
    }

    /// The token grid of a frame size and a number of frames.
    ///
    /// # Errors
    /// [`RequestError::Multiple`] naming the multiple a side needs.
    pub fn grid(
        &self,
        model: &str,
        resolution: Resolution,
        frames: u32,
    ) -> Result<Grid, RequestError> {
        let multiple = self.pixels_per_token();
        let side = |side, pixels: u32| {
            if pixels > 0 && pixels.is_multiple_of(multiple) {
                return Ok(u64::from(pixels / multiple));
            }
            let lower = (pixels / multiple).max(1) * multiple;
            Err(RequestError::Multiple {
                model: model.to_owned(),
                side,
                pixels,
                multiple,
                lower,
                upper: lower + multiple,
            })
        };
        Ok(Grid {
            frames: u64::from(self.frames(frames).div_ceil(self.temporal_patch)),
            height: side("height", resolution.height)?,
            width: side("width", resolution.width)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens(latent: Latent, frames: u32, height: u32, width: u32) -> u64 {
        latent
            .grid("test", Resolution { width, height }, frames)
            .unwrap()
            .tokens()
    }

    #[test]
    fn tokens_follow_from_pixels_and_frames() {
        // 21 latent frames x 30 x 52; 33 x 45 x 80; 33 x 60 x 60.
        let wan = Latent::video(8, 4, 16, 2);
        assert_eq!(tokens(wan, 81, 480, 832), 32_760);
        assert_eq!(tokens(wan, 129, 720, 1280), 118_800);
        assert_eq!(tokens(wan, 129, 960, 960), 118_800);
        assert_eq!(tokens(Latent::image(16, 2), 1, 1024, 1024), 4096);
    }

    #[test]
    fn an_odd_latent_frame_fills_a_temporal_patch() {
        // 81 frames give 21 latent frames, padded to 22: 11 x 48 x 85 (CogVideoX 1.5).
        let latent = Latent {
            temporal_patch: 2,
            ..Latent::video(8, 4, 16, 2)
        };
        assert_eq!(tokens(latent, 81, 768, 1360), 44_880);
        assert_eq!(tokens(latent, 161, 768, 1360), 85_680);
    }

    #[test]
    fn a_size_between_multiples_names_its_neighbours() {
        let error = Latent::image(16, 2)
            .grid("FLUX.1-dev", Resolution::square(1000), 1)
            .unwrap_err();
        assert_eq!(
            error.to_string(),
            "FLUX.1-dev cannot make a height of 1000 pixels: it must be a multiple of 16 (nearest: 992 or 1008)"
        );
    }
}
