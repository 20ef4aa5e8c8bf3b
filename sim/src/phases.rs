//! The phases around the denoising loop: text encoding before it, VAE decoding after it.
//!
//! ```text
//! encode = encode_s x e^encode_exponent
//! decode = decode_s_per_megapixel x megapixels x frames x e^decode_exponent     each image or video
//! ```
//! with e = 250 TFLOP/s over the GPU's sustained matrix rate. The figures stand in each model's file; they were fitted on
//! what published end-to-end times hold beside their steps (docs/calibration.md section 6).
//!
//! Not modelled: loading weights, offloading, image encoders of image-to-video models.

use topologies::{Gpu, SimDuration};

use crate::lower::Moves;
use crate::model::{Model, Request};

/// Time of the phases around the loop on one GPU.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Phases {
    /// Text encoding and the pipeline's own overhead.
    pub encode: SimDuration,
    /// VAE decoding.
    pub decode: SimDuration,
    /// Moving the VAE to the GPU, before it.
    pub moved: SimDuration,
}

/// bf16 matrix rate that `gpu` sustains, in TFLOP/s: measured or inferred, else its architecture's
/// usual share of the peak.
#[must_use]
pub fn sustained_tflops(gpu: &Gpu) -> f64 {
    use topologies::Architecture as A;
    let share = match gpu.architecture {
        A::Ampere | A::Ada => 0.80,
        A::Hopper => 0.73,
        A::Blackwell | A::BlackwellUltra => 0.62,
        A::Turing => 0.38,
        A::Volta => 0.48,
        A::Cdna3 => 0.51,
    };
    let sustained = gpu.sustained_gemm.map(|rate| rate.as_f64() / 1e12);
    sustained.unwrap_or(gpu.peak_bf16.as_f64() / 1e12 * share)
}

impl Phases {
    /// The phases of `request` on one `gpu`.
    #[must_use]
    pub fn new(model: &Model, request: &Request, gpu: &Gpu) -> Self {
        let slowness = 250.0 / sustained_tflops(gpu);
        let times = &model.phases;
        let time = match (request.frames, &times.video) {
            (2.., Some(video)) => video,
            _ => &times.image,
        };
        let resolution = request.resolution;
        let megapixels = f64::from(resolution.width) * f64::from(resolution.height) / 1e6;
        let megapixels = megapixels.min(time.decode_most_megapixels.unwrap_or(f64::INFINITY));
        let frames = f64::from(request.frames);
        let encode = time.encode_s * slowness.powf(time.encode_exponent);
        let decode = time.decode_s_per_megapixel * megapixels * frames;
        let decode = decode * slowness.powf(time.decode_exponent);
        let images = f64::from(request.batch);
        Self {
            encode: SimDuration::from_secs_f64(encode),
            decode: SimDuration::from_secs_f64(decode * images),
            moved: SimDuration::ZERO,
        }
    }

    /// With what moving components to the GPU takes.
    #[must_use]
    pub(crate) fn with_moves(self, moves: Moves) -> Self {
        Self {
            encode: self.encode + moves.before,
            moved: moves.after,
            ..self
        }
    }

    /// Decoding shared by `ranks`: the Wan VAE at 720p on GB200 takes 2.72, 1.72, 1.04, 0.83,
    /// 0.85 s on 1, 2, 4, 8, 16 (TensorRT-LLM VisualGen), which is a fifth that does not divide.
    #[must_use]
    pub fn shared_decode(&self, ranks: u32) -> SimDuration {
        let ranks = f64::from(ranks.min(8));
        self.moved + self.decode.scaled(0.2 + 0.8 / ranks)
    }
}
