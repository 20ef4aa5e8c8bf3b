//! Image models with joint attention.

use super::super::encoder::{CLIP_G, CLIP_L, llama_8b, mistral_24b, qwen_vl_7b, qwen3_4b, t5_xxl};
use super::super::{
    Activation, Architecture, ClassJoint, Guidance, GuidanceEmbedding, Joint, LastText, Latent,
    Mixture, Model, Modulation, PatchEmbedder, SingleStream, TextStem, vae,
};
use super::{BASE, square};

pub(super) const FLUX_1_DEV: Model = Model {
    name: "FLUX.1-dev",
    aliases: &["FLUX.1-dev (inferred)", "FLUX"],
    source: "huggingface/diffusers@58eb52c models/transformers/transformer_flux.py; black-forest-labs/flux util.py",
    ..BASE
};

/// Diffusers gives it 512 text tokens unless told; its authors use 256.
pub(super) const FLUX_1_SCHNELL: Model = Model {
    name: "FLUX.1-schnell",
    aliases: &[],
    architecture: Architecture::Joint(Joint {
        guidance: GuidanceEmbedding::Absent,
        ..Joint::FLUX
    }),
    encoders: &[t5_xxl(256), CLIP_L],
    default: square(1024, 4, Guidance::None, 256),
    ..FLUX_1_DEV
};

pub(super) const FLUX_2_DEV: Model = Model {
    name: "FLUX.2-dev",
    hidden: 6144,
    heads: 48,
    architecture: Architecture::Joint(Joint {
        double: 8,
        single: 48,
        feed_forward: 18_432,
        activation: Activation::Gated,
        text: TextStem::Linear(15_360),
        pooled_width: None,
        modulation: Modulation::Shared,
        ..Joint::FLUX
    }),
    latent: Latent::image(32, 2),
    encoders: &[mistral_24b(512)],
    vae: vae::KL_32,
    default: square(1024, 50, Guidance::None, 512),
    source: "huggingface/diffusers@58eb52c models/transformers/transformer_flux2.py; black-forest-labs/flux2",
    ..BASE
};

const SD3: Joint = Joint {
    double: 24,
    single: 0,
    feed_forward: 6144,
    patch: PatchEmbedder::Convolution,
    pooled_width: Some(2048),
    guidance: GuidanceEmbedding::Absent,
    last_text: LastText::Dropped,
    ..Joint::FLUX
};

pub(super) const SD3_MEDIUM: Model = Model {
    name: "SD3-medium",
    aliases: &["SD3"],
    hidden: 1536,
    head_dim: 64,
    architecture: Architecture::Joint(SD3),
    encoders: &[CLIP_L, CLIP_G, t5_xxl(256)],
    default: square(1024, 28, Guidance::Batched, 333),
    source: "huggingface/diffusers@58eb52c models/transformers/transformer_sd3.py; Stability-AI/sd3.5",
    ..BASE
};

pub(super) const SD35_LARGE: Model = Model {
    name: "SD3.5-large",
    aliases: &[],
    hidden: 2432,
    heads: 38,
    architecture: Architecture::Joint(Joint {
        double: 38,
        feed_forward: 9728,
        ..SD3
    }),
    ..SD3_MEDIUM
};

pub(super) const SD35_MEDIUM: Model = Model {
    name: "SD3.5-medium",
    aliases: &[],
    architecture: Architecture::Joint(Joint {
        dual_attention: 13,
        ..SD3
    }),
    ..SD3_MEDIUM
};

/// Prompts are padded to their own length, at most 512 tokens: 256 is the table's assumption.
pub(super) const QWEN_IMAGE: Model = Model {
    name: "Qwen-Image",
    architecture: Architecture::Joint(Joint {
        double: 60,
        single: 0,
        text: TextStem::Linear(3584),
        pooled_width: None,
        guidance: GuidanceEmbedding::Absent,
        ..Joint::FLUX
    }),
    encoders: &[qwen_vl_7b(256)],
    vae: vae::WAN,
    default: square(1024, 50, Guidance::Sequential, 256),
    source: "huggingface/diffusers@58eb52c models/transformers/transformer_qwenimage.py; QwenLM/Qwen-Image",
    ..BASE
};

/// One reference image of the same size joins the sequence.
pub(super) const QWEN_IMAGE_EDIT: Model = Model {
    name: "Qwen-Image-Edit",
    reference_frames: 1,
    ..QWEN_IMAGE
};

pub(super) const HIDREAM_I1: Model = Model {
    name: "HiDream-I1",
    aliases: &["HiDream-I1-Full", "HiDream-I1-Dev", "HiDream-I1-Fast"],
    hidden: 2560,
    heads: 20,
    architecture: Architecture::Mixture(Mixture {
        double: 16,
        single: 32,
        feed_forward: 6912,
        shared_feed_forward: 3584,
        experts: 4,
        active: 2,
        text_width: 4096,
        pooled_width: 2048,
    }),
    encoders: &[CLIP_L, CLIP_G, t5_xxl(128), llama_8b(128)],
    default: square(1024, 50, Guidance::Batched, 384),
    source: "huggingface/diffusers@58eb52c models/transformers/transformer_hidream_image.py; HiDream-ai/HiDream-I1",
    ..BASE
};

/// Nine steps make eight forward passes in its pipeline; the prompt's length is 256 as the table's.
pub(super) const Z_IMAGE: Model = Model {
    name: "Z-Image-Turbo",
    aliases: &["Z-Image(-Turbo)", "Z-Image"],
    hidden: 3840,
    heads: 30,
    architecture: Architecture::SingleStream(SingleStream {
        layers: 30,
        refiners: 2,
        feed_forward: 10_240,
        text_width: 2560,
        time_width: 256,
    }),
    encoders: &[qwen3_4b(256)],
    default: square(1024, 9, Guidance::None, 256),
    source: "huggingface/diffusers@58eb52c models/transformers/transformer_z_image.py; Tongyi-MAI/Z-Image",
    ..BASE
};

/// The small model whose trace comes with the repository: digits in pixel space, 32 x 32.
pub(super) const DIT_DIGITS: Model = Model {
    name: "dit-digits",
    hidden: 128,
    heads: 4,
    head_dim: 32,
    architecture: Architecture::ClassJoint(ClassJoint {
        layers: 8,
        feed_forward: 384,
        classes: 11,
    }),
    latent: Latent {
        spatial: 1,
        ..Latent::image(1, 2)
    },
    encoders: &[],
    vae: vae::NONE,
    default: square(32, 28, Guidance::None, 8),
    source: "traces/capture/ditplan_capture/dit.py",
    ..BASE
};
