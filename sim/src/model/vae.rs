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

use topologies::{Bytes, Flops};

use super::request::Resolution;

/// Full-resolution activations of the widest layer that are alive at the peak.
const LIVE_ACTIVATIONS: u64 = 5;

/// Attention in the decoder's middle block, at latent resolution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MiddleAttention {
    /// None.
    None,
    /// Each latent frame by itself, of this width.
    PerFrame(u64),
    /// All latent frames together (of a tile, where tiled), of this width.
    AllFrames(u64),
}

/// Whether the decoder works on overlapping tiles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tiling {
    /// Whole frames, this many output frames at a time.
    Frames(u64),
    /// Overlapping tiles in space and time.
    Tiles {
        /// Pixels of a tile's side.
        side: u64,
        /// Pixels from one tile to the next.
        stride: u64,
        /// Output frames of a tile.
        frames: u64,
        /// Output frames from one tile to the next.
        frame_stride: u64,
    },
}

/// A VAE.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Vae {
    /// Its name.
    pub name: &'static str,
    /// Weights, encoder included.
    pub parameters: u64,
    /// FLOPs per pixel of the first latent frame.
    pub first: u64,
    /// FLOPs per pixel (of one output frame) of each further latent frame.
    pub next: u64,
    /// Attention of the middle block.
    pub attention: MiddleAttention,
    /// Pixels per latent cell along a side.
    pub spatial: u64,
    /// Channels of the widest activation at output resolution.
    pub widest: u64,
    /// Bytes per element: 4 where the decoder runs in single precision.
    pub element_bytes: u64,
    /// Whether the decoder works on tiles.
    pub tiling: Tiling,
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
        let convolutions = Flops::new(resolution.pixels() * per_pixel);
        convolutions.scaled(self.tiling_overhead(resolution, latent_frames))
            + self.attention_flops(resolution, latent_frames)
    }

    fn attention_flops(&self, resolution: Resolution, latent_frames: u64) -> Flops {
        let cells = |pixels: u64| pixels / (self.spatial * self.spatial);
        let frame = cells(resolution.pixels());
        Flops::new(match (self.attention, self.tiling) {
            (MiddleAttention::None, _) => 0,
            (MiddleAttention::PerFrame(width), _) => latent_frames * 4 * frame * frame * width,
            (MiddleAttention::AllFrames(width), Tiling::Frames(_)) => {
                4 * (frame * latent_frames) * (frame * latent_frames) * width
            }
            (MiddleAttention::AllFrames(width), Tiling::Tiles { side, .. }) => {
                // A tile of 4 + 1 latent frames attends within itself.
                4 * (frame * latent_frames) * (cells(side * side) * 5) * width
            }
        })
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
            Tiling::Tiles {
                side,
                frames: at_once,
                ..
            } => resolution.pixels().min(side * side) * frames.min(at_once + 1),
        };
        Bytes::new(LIVE_ACTIVATIONS * self.widest * self.element_bytes * pixels)
    }
}

const fn image(name: &'static str, parameters: u64, first: u64) -> Vae {
    Vae {
        name,
        parameters,
        first,
        next: first,
        attention: MiddleAttention::PerFrame(512),
        spatial: 8,
        widest: 256,
        element_bytes: 2,
        tiling: Tiling::Frames(1),
    }
}

/// Stable Diffusion's decoder, 4 latent channels: 512, 512, 256, 128 channels.
pub(super) const KL_4: Vae = image("AutoencoderKL, 4 channels", 83_653_863, 9_461_057);

/// The same with 16 latent channels (SD3, FLUX.1).
pub(super) const KL_16: Vae = image("AutoencoderKL, 16 channels", 83_819_683, 9_462_784);

/// The same with 32 latent channels (FLUX.2).
pub(super) const KL_32: Vae = image("AutoencoderKL, 32 channels", 84_046_115, 9_465_120);

/// No VAE: the model works on pixels.
pub(super) const NONE: Vae = Vae {
    attention: MiddleAttention::None,
    spatial: 1,
    widest: 1,
    ..image("none, pixels", 0, 0)
};

/// Deep-compression autoencoder, 32 x (SANA); its linear attention is in `first`.
pub(super) const DC_AE: Vae = Vae {
    attention: MiddleAttention::None,
    spatial: 32,
    ..image("DC-AE, 32x", 312_250_275, 7_980_930)
};

/// Wan 2.1: one latent frame (4 frames) at a time, in single precision.
pub(super) const WAN: Vae = Vae {
    name: "Wan 2.1 VAE",
    parameters: 126_892_531,
    first: 10_748_168,
    next: 33_779_528,
    attention: MiddleAttention::PerFrame(384),
    spatial: 8,
    widest: 192,
    element_bytes: 4,
    tiling: Tiling::Frames(4),
};

/// Wan 2.2, 16 x: the last stage works at half resolution.
pub(super) const WAN_22: Vae = Vae {
    name: "Wan 2.2 VAE, 16x",
    parameters: 704_688_668,
    first: 22_776_466,
    next: 73_576_594,
    attention: MiddleAttention::PerFrame(1024),
    spatial: 16,
    widest: 512 / 4,
    ..WAN
};

/// HunyuanVideo: tiles of 256 pixels and 16 frames that overlap by a quarter.
pub(super) const HUNYUAN_VIDEO: Vae = Vae {
    name: "HunyuanVideo VAE",
    parameters: 246_478_803,
    first: 28_060_680,
    next: 67_313_416,
    attention: MiddleAttention::AllFrames(512),
    spatial: 8,
    widest: 256,
    element_bytes: 2,
    tiling: Tiling::Tiles {
        side: 256,
        stride: 192,
        frames: 16,
        frame_stride: 12,
    },
};

/// HunyuanVideo 1.5, 16 x, tiled as its predecessor.
pub(super) const HUNYUAN_VIDEO_15: Vae = Vae {
    name: "HunyuanVideo-1.5 VAE, 16x",
    parameters: 1_260_634_115,
    first: 32_353_280,
    next: 99_655_424,
    attention: MiddleAttention::AllFrames(1024),
    spatial: 16,
    ..HUNYUAN_VIDEO
};

/// CogVideoX: two latent frames at a time.
pub(super) const COGVIDEOX: Vae = Vae {
    name: "CogVideoX VAE",
    parameters: 215_583_907,
    first: 21_694_464,
    next: 74_153_728,
    attention: MiddleAttention::None,
    spatial: 8,
    widest: 256,
    element_bytes: 2,
    tiling: Tiling::Frames(8),
};

/// Mochi: the first latent frame costs as much as the others.
pub(super) const MOCHI: Vae = Vae {
    name: "Mochi VAE",
    parameters: 459_748_611,
    first: 94_831_392,
    next: 94_831_392,
    widest: 128,
    tiling: Tiling::Frames(12),
    ..COGVIDEOX
};

/// LTX-Video 0.9.1, 32 x: the last stage works at a quarter of the resolution, whole video at once.
pub(super) const LTX: Vae = Vae {
    name: "LTX-Video VAE, 32x",
    parameters: 419_193_649,
    first: 1_740_416,
    next: 6_921_600,
    spatial: 32,
    widest: 128 / 16,
    tiling: Tiling::Frames(u64::MAX),
    ..COGVIDEOX
};

/// LTX-Video 0.9.7.
pub(super) const LTX_097: Vae = Vae {
    name: "LTX-Video 0.9.7 VAE, 32x",
    parameters: 1_246_913_522,
    first: 2_903_226,
    next: 10_015_488,
    ..LTX
};

/// LTX-2 (video part).
pub(super) const LTX_2: Vae = Vae {
    name: "LTX-2 VAE, 32x",
    parameters: 1_222_479_601,
    first: 2_903_040,
    next: 10_015_488,
    ..LTX
};

/// Step-Video, 16 x with 17 frames in 3 latents. Its graph is not in diffusers: half a billion weights
/// and Wan 2.2's cost per latent frame are assumed.
pub(super) const STEP_VIDEO: Vae = Vae {
    name: "Step-Video VAE, 16x (Wan 2.2's cost assumed)",
    parameters: 500_000_000,
    first: WAN_22.next,
    attention: MiddleAttention::None,
    element_bytes: 2,
    tiling: Tiling::Frames(17),
    ..WAN_22
};

#[cfg(test)]
mod tests {
    use super::*;

    const P720: Resolution = Resolution {
        width: 1280,
        height: 720,
    };

    #[test]
    fn an_image_decoder_costs_ten_teraflop_per_megapixel() {
        // Counted at 1024 x 1024: 9.9224 convolutions and projections + 0.5498 attention.
        let flops = KL_16.flops(Resolution::square(1024), 1).as_f64() / 1e12;
        assert!((flops - 10.4722).abs() < 1e-3, "{flops}");
    }

    #[test]
    fn a_chunked_video_decoder_matches_its_count() {
        // Counted at 480 x 832 and 6 latent frames: 71.743 + 0.359 TFLOP.
        let size = Resolution {
            width: 832,
            height: 480,
        };
        let flops = WAN.flops(size, 6).as_f64() / 1e12;
        assert!((flops - 72.102).abs() < 0.01, "{flops}");
    }

    #[test]
    fn published_decodes_imply_plausible_rates() {
        // Wan 720p, 81 frames: 2.72 s on a GB200, 26.3 s on an H20 (single precision, 44 TFLOP/s).
        let flops = WAN.flops(P720, 21).as_f64() / 1e12;
        assert!((150.0..300.0).contains(&(flops / 2.72)), "{flops}");
        assert!((20.0..44.0).contains(&(flops / 26.3)), "{flops}");
    }

    #[test]
    fn flux_at_2048_peaks_as_published() {
        // 41 GiB in total, of which 31.4 GiB are weights (12 + 4.9 + 0.1 billion in bf16).
        let peak = KL_16.peak_bytes(Resolution::square(2048), 1).as_f64() / f64::from(1 << 30);
        assert!((peak + 31.4 - 41.0).abs() < 0.5, "{peak}");
    }

    #[test]
    fn tiles_bound_the_peak_and_cost_overlap() {
        let whole = Vae {
            tiling: Tiling::Frames(u64::MAX),
            attention: MiddleAttention::None,
            ..HUNYUAN_VIDEO
        };
        assert!(HUNYUAN_VIDEO.peak_bytes(P720, 129) < whole.peak_bytes(P720, 129));
        assert!(HUNYUAN_VIDEO.flops(P720, 33) > whole.flops(P720, 33).scaled(2.0));
    }
}
