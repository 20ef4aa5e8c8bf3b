//! The phases around the denoising loop: text encoding before it, VAE decoding after it.
//!
//! | family | encoding and pipeline overhead, s | decoding, s |
//! |---|---|---|
//! | image | 0.40 sqrt(e) | 0.10 min(MP, 4) e |
//! | video | - | 0.28 MP frames e |
//!
//! with e = 250 TFLOP/s over the GPU's sustained matrix rate and MP megapixels. Fitted on what
//! published end-to-end times hold beside their steps (docs/calibration.md section 6). Models
//! whose published times leave both out (PixArt, Latte) have none, a few have their own.
//!
//! Not modelled: loading weights, offloading, image encoders of image-to-video models.

use topologies::{Gpu, SimDuration};

use crate::model::{Architecture, Conditioning, Model, Request};

/// Time of the phases around the loop on one GPU.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Phases {
    /// Text encoding and the pipeline's own overhead.
    pub encode: SimDuration,
    /// VAE decoding.
    pub decode: SimDuration,
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
        let resolution = request.resolution;
        let megapixels = f64::from(resolution.width) * f64::from(resolution.height) / 1e6;
        let frames = f64::from(request.frames);
        let image = (
            0.40 * slowness.sqrt(),
            0.10 * megapixels.min(4.0) * slowness,
        );
        let (encode, decode) = match &model.architecture {
            Architecture::Cross(cross) if cross.conditioning == Conditioning::LongSkips => {
                (1.0, 0.0)
            }
            Architecture::Cross(_) if model.name.starts_with("PixArt") => (0.0, 0.0),
            // A class needs no encoder, pixels no decoder.
            Architecture::Factorised(_) | Architecture::ClassJoint(_) => (0.0, 0.0),
            Architecture::LinearAttention(_) => (1.3, 0.0),
            _ if model.name == "SD3-medium" => (0.36, 0.0),
            // Whole-video VAEs without temporal caching take longer.
            Architecture::Joint(joint) if joint.single > 0 && request.frames > 1 => {
                (0.0, 0.9 * megapixels * frames * slowness.powf(0.2))
            }
            _ if request.frames > 1 => (0.0, 0.28 * megapixels * frames * slowness),
            _ => image,
        };
        let images = f64::from(request.batch);
        Self {
            encode: SimDuration::from_secs_f64(encode),
            decode: SimDuration::from_secs_f64(decode * images),
        }
    }

    /// Decoding shared by `ranks`: the Wan VAE at 720p on GB200 takes 2.72, 1.72, 1.04, 0.83,
    /// 0.85 s on 1, 2, 4, 8, 16 (TensorRT-LLM VisualGen), which is a fifth that does not divide.
    #[must_use]
    pub fn shared_decode(&self, ranks: u32) -> SimDuration {
        let ranks = f64::from(ranks.min(8));
        self.decode.scaled(0.2 + 0.8 / ranks)
    }
}
