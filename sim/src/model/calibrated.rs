//! What published end-to-end runs say about a model beside its shapes: the phases around the loop, and launching.

use serde::Deserialize;

use super::limits;

/// What is done before and after the denoising loop.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PhaseTimes {
    /// For an image.
    pub image: PhaseTime,
    /// For a video; as an image where absent.
    pub video: Option<PhaseTime>,
    /// Where they come from.
    #[serde(deserialize_with = "limits::line")]
    pub source: String,
}

/// Encoding and decoding, with e = 250 TFLOP/s over the bf16 matrix rate that the GPU sustains:
/// `encode_s x e^encode_exponent` and `decode_s_per_megapixel x megapixels x frames x e^decode_exponent`.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PhaseTime {
    /// Text encoding and the pipeline's own overhead, seconds.
    #[serde(deserialize_with = "limits::amount")]
    pub encode_s: f64,
    /// How it follows a slower GPU: 1 in proportion, 0 not at all.
    #[serde(default, deserialize_with = "limits::share")]
    pub encode_exponent: f64,
    /// Decoding a million pixels of one frame, seconds.
    #[serde(deserialize_with = "limits::amount")]
    pub decode_s_per_megapixel: f64,
    /// How it follows a slower GPU.
    #[serde(default, deserialize_with = "limits::share")]
    pub decode_exponent: f64,
    /// Megapixels of a frame beyond which decoding takes no longer.
    #[serde(default, deserialize_with = "limits::some_amount")]
    pub decode_most_megapixels: Option<f64>,
}

/// How much the kernels between products and attention take.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Elementwise {
    /// Passes over a block's activation, over the usual number.
    #[serde(deserialize_with = "limits::factor")]
    pub passes: f64,
    /// Where it comes from.
    #[serde(deserialize_with = "limits::line")]
    pub source: String,
}

impl Default for Elementwise {
    fn default() -> Self {
        Self {
            passes: 1.0,
            source: "the usual number".to_owned(),
        }
    }
}

/// What the CPU of a host of launch factor 1 needs to launch a block.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LaunchTimes {
    /// One block for an image, eager, milliseconds.
    #[serde(deserialize_with = "limits::amount")]
    pub block_ms: f64,
    /// The same for a video; as for an image where absent.
    #[serde(default, deserialize_with = "limits::some_amount")]
    pub video_block_ms: Option<f64>,
    /// What compiling leaves of it.
    #[serde(deserialize_with = "limits::share")]
    pub compiled_share: f64,
    /// What compiling leaves of it in a pipeline.
    #[serde(deserialize_with = "limits::share")]
    pub compiled_pipeline_share: f64,
    /// Where they come from.
    #[serde(deserialize_with = "limits::line")]
    pub source: String,
}
