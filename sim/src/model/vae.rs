//! VAE decoders: a phase after denoising.
//!
//! ```text
//! FLOPs = pixels x (first + (latent frames - 1) x next) x tiling + attention of the middle block
//! peak  = 5 x widest channels x element bytes x pixels in flight
//! ```
//! `first` and `next` are counted on the decoder's graph (torch's `FlopCounterMode`, diffusers
//! 0.42, random weights), per output pixel of one frame: both grow exactly linearly with pixels and
//! latent frames.
//!
//! The factor 5 is an assumption: input and output of the widest convolution, its norm and
//! activation, and the convolution's workspace. Check: FLUX at 2048 x 2048 decodes at a published
//! peak of 41 GiB in total; 31.4 GiB of weights plus 5 x 256 channels x 2 bytes x 4.2 M pixels is
//! 41.4 GiB.
//!
//! Not modelled: feature caches between chunks of frames, and the encoder.

use serde::Deserialize;
use topologies::{Bytes, Flops};

use super::limits;
use super::request::Resolution;

/// Full-resolution activations of the widest layer that are alive at the peak.
const LIVE_ACTIVATIONS: u64 = 5;

/// Attention in the decoder's middle block, at latent resolution.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum MiddleAttention {
    /// None.
    None,
    /// Each latent frame by itself, of this width.
    PerFrame(#[serde(deserialize_with = "limits::width")] u64),
    /// All latent frames together (of a tile, where tiled), of this width.
    AllFrames(#[serde(deserialize_with = "limits::width")] u64),
}

/// Whether the decoder works on overlapping tiles.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Tiling {
    /// Whole frames, this many output frames at a time.
    Frames(#[serde(deserialize_with = "limits::frames")] u64),
    /// All frames at once.
    Whole,
    /// Overlapping tiles in space and time.
    Tiles {
        /// Pixels of a tile's side.
        #[serde(deserialize_with = "limits::side")]
        side: u64,
        /// Pixels from one tile to the next.
        #[serde(deserialize_with = "limits::side")]
        stride: u64,
        /// Output frames of a tile.
        #[serde(deserialize_with = "limits::frames")]
        frames: u64,
        /// Output frames from one tile to the next.
        #[serde(deserialize_with = "limits::frames")]
        frame_stride: u64,
    },
}

/// A VAE.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Vae {
    /// Its name.
    #[serde(deserialize_with = "limits::line")]
    pub name: String,
    /// Weights, encoder included.
    #[serde(deserialize_with = "limits::parameters")]
    pub parameters: u64,
    /// FLOPs per pixel of the first latent frame.
    #[serde(deserialize_with = "limits::pixel_flops")]
    #[serde(rename = "first_flop_per_pixel")]
    pub first: u64,
    /// FLOPs per pixel (of one output frame) of each further latent frame.
    #[serde(deserialize_with = "limits::pixel_flops")]
    #[serde(rename = "next_flop_per_pixel")]
    pub next: u64,
    /// Attention of the middle block.
    pub attention: MiddleAttention,
    /// Pixels per latent cell along a side.
    #[serde(deserialize_with = "limits::cell_64")]
    pub spatial: u64,
    /// Channels of the widest activation at output resolution.
    #[serde(deserialize_with = "limits::width")]
    pub widest: u64,
    /// Bytes per element: 4 where the decoder runs in single precision.
    #[serde(deserialize_with = "limits::element_bytes")]
    pub element_bytes: u64,
    /// Whether the decoder works on tiles.
    pub tiling: Tiling,
    /// Where the figures come from.
    #[serde(deserialize_with = "limits::line")]
    pub source: String,
}

impl Vae {
    /// Bytes of its weights.
    #[must_use]
    pub const fn weight_bytes(&self) -> Bytes {
        Bytes::new(self.parameters * self.element_bytes)
    }

    /// FLOPs of decoding one image or video of this many latent frames.
    #[must_use]
    pub fn flops(&self, resolution: Resolution, latent_frames: u64) -> Flops {
        let per_pixel = self.first + latent_frames.saturating_sub(1) * self.next;
        let convolutions = Flops::new(per_pixel) * resolution.pixels();
        convolutions.scaled(self.tiling_overhead(resolution, latent_frames))
            + self.attention_flops(resolution, latent_frames)
    }

    fn attention_flops(&self, resolution: Resolution, latent_frames: u64) -> Flops {
        let cells = |pixels: u64| pixels / (self.spatial * self.spatial);
        let frame = cells(resolution.pixels());
        let all = frame * latent_frames;
        let (queries, keys, width) = match (self.attention, self.tiling) {
            (MiddleAttention::None, _) => return Flops::ZERO,
            (MiddleAttention::PerFrame(width), _) => (all, frame, width),
            (MiddleAttention::AllFrames(width), Tiling::Frames(_) | Tiling::Whole) => {
                (all, all, width)
            }
            // A tile of 4 + 1 latent frames attends within itself.
            (MiddleAttention::AllFrames(width), Tiling::Tiles { side, .. }) => {
                (all, cells(side * side) * 5, width)
            }
        };
        Flops::new(4 * queries) * keys * width
    }

    /// How much more is decoded than asked because tiles overlap: at least 1.
    fn tiling_overhead(&self, resolution: Resolution, latent_frames: u64) -> f64 {
        let Tiling::Tiles {
            side,
            stride,
            frames,
            frame_stride,
        } = self.tiling
        else {
            return 1.0;
        };
        let along = |pixels: u32| {
            if u64::from(pixels) > side {
                side as f64 / stride as f64
            } else {
                1.0
            }
        };
        let time = if latent_frames > 5 {
            frames as f64 / frame_stride as f64
        } else {
            1.0
        };
        along(resolution.width) * along(resolution.height) * time
    }

    /// Peak activation memory of decoding one image or video of `frames` output frames.
    #[must_use]
    pub fn peak_bytes(&self, resolution: Resolution, frames: u64) -> Bytes {
        let pixels = match self.tiling {
            Tiling::Frames(at_once) => resolution.pixels() * frames.min(at_once),
            Tiling::Whole => resolution.pixels() * frames,
            Tiling::Tiles {
                side,
                frames: at_once,
                ..
            } => resolution.pixels().min(side * side) * frames.min(at_once + 1),
        };
        Bytes::new(LIVE_ACTIVATIONS * self.widest * self.element_bytes) * pixels
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(model: &str) -> Vae {
        crate::model::find(model).unwrap().vae.clone()
    }

    const P720: Resolution = Resolution {
        width: 1280,
        height: 720,
    };

    #[test]
    fn an_image_decoder_costs_ten_teraflop_per_megapixel() {
        // Counted at 1024 x 1024: 9.9224 convolutions and projections + 0.5498 attention.
        let flops = of("FLUX.1-dev").flops(Resolution::square(1024), 1).as_f64() / 1e12;
        assert!((flops - 10.4722).abs() < 1e-3, "{flops}");
    }

    #[test]
    fn a_chunked_video_decoder_matches_its_count() {
        // Counted at 480 x 832 and 6 latent frames: 71.743 + 0.359 TFLOP.
        let size = Resolution {
            width: 832,
            height: 480,
        };
        let flops = of("Wan2.1-T2V-14B").flops(size, 6).as_f64() / 1e12;
        assert!((flops - 72.102).abs() < 0.01, "{flops}");
    }

    #[test]
    fn published_decodes_imply_plausible_rates() {
        // Wan 720p, 81 frames: 2.72 s on a GB200, 26.3 s on an H20 (single precision, 44 TFLOP/s).
        let flops = of("Wan2.1-T2V-14B").flops(P720, 21).as_f64() / 1e12;
        assert!((150.0..300.0).contains(&(flops / 2.72)), "{flops}");
        assert!((20.0..44.0).contains(&(flops / 26.3)), "{flops}");
    }

    #[test]
    fn flux_at_2048_peaks_as_published() {
        // 41 GiB in total, of which 31.4 GiB are weights (12 + 4.9 + 0.1 billion in bf16).
        let peak = of("FLUX.1-dev")
            .peak_bytes(Resolution::square(2048), 1)
            .as_f64()
            / f64::from(1 << 30);
        assert!((peak + 31.4 - 41.0).abs() < 0.5, "{peak}");
    }

    #[test]
    fn tiles_bound_the_peak_and_cost_overlap() {
        let tiled = of("HunyuanVideo");
        let whole = Vae {
            tiling: Tiling::Whole,
            attention: MiddleAttention::None,
            ..tiled.clone()
        };
        assert!(tiled.peak_bytes(P720, 129) < whole.peak_bytes(P720, 129));
        assert!(tiled.flops(P720, 33) > whole.flops(P720, 33).scaled(2.0));
    }
}
