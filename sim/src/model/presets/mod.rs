//! The built-in models: the rows of the published shape table, and variants of them that appear in
//! published latency tables.

mod cross;
mod image;
mod video;

use super::encoder::{CLIP_L, t5_xxl};
use super::{
    Architecture, Experts, Guidance, Joint, Latent, Model, Request, Resolution, SequenceAxis,
    UlyssesRule, vae,
};

/// All built-in models.
pub(super) const MODELS: &[Model] = &[
    image::FLUX_1_DEV,
    image::FLUX_1_SCHNELL,
    image::FLUX_2_DEV,
    image::SD3_MEDIUM,
    image::SD35_LARGE,
    image::SD35_MEDIUM,
    image::QWEN_IMAGE,
    image::QWEN_IMAGE_EDIT,
    image::HIDREAM_I1,
    image::Z_IMAGE,
    cross::PIXART_ALPHA,
    cross::PIXART_SIGMA,
    cross::HUNYUAN_DIT,
    cross::DIT_XL,
    cross::SANA,
    cross::SDXL,
    video::COGVIDEOX_2B,
    video::COGVIDEOX_5B,
    video::COGVIDEOX_15,
    video::HUNYUAN_VIDEO,
    video::SKYREELS_V1,
    video::HUNYUAN_VIDEO_15,
    video::OPEN_SORA_2,
    video::MOCHI,
    video::LATTE,
    cross::WAN_21_1B,
    cross::WAN_21_14B,
    cross::WAN_21_I2V,
    cross::WAN_22_A14B,
    cross::WAN_22_I2V,
    cross::WAN_22_5B,
    cross::LTX_2B,
    cross::LTX_13B,
    video::LTX_2,
    cross::STEP_VIDEO,
    image::DIT_DIGITS,
];

/// What most models share; every model states its own name, shape, request, encoders and source.
const BASE: Model = Model {
    name: "",
    aliases: &[],
    hidden: 3072,
    heads: 24,
    head_dim: 128,
    architecture: Architecture::Joint(Joint::FLUX),
    latent: Latent::image(16, 2),
    reference_frames: 0,
    experts: Experts::One,
    ulysses: UlyssesRule::HeadDivisors,
    sequence_axis: SequenceAxis::Tokens,
    encoders: &[t5_xxl(512), CLIP_L],
    vae: vae::KL_16,
    default: square(1024, 28, Guidance::None, 512),
    source: "",
};

/// One square image.
const fn square(side: u32, steps: u32, guidance: Guidance, text_tokens: u32) -> Request {
    Request {
        resolution: Resolution::square(side),
        frames: 1,
        steps,
        batch: 1,
        guidance,
        text_tokens,
    }
}

/// One video of `frames x height x width`.
const fn clip(
    (frames, height, width): (u32, u32, u32),
    steps: u32,
    guidance: Guidance,
    text_tokens: u32,
) -> Request {
    Request {
        resolution: Resolution { width, height },
        frames,
        steps,
        batch: 1,
        guidance,
        text_tokens,
    }
}
