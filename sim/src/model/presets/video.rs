//! Video models with joint, factorised or dual-stream attention.

use super::super::encoder::{BYT5_SMALL, CLIP_L, gemma3_12b, llama_8b, qwen_vl_7b, t5_xxl};
use super::super::{
    Architecture, Asymmetric, DualStream, Factorised, Guidance, GuidanceEmbedding, Joint, Latent,
    Model, PatchEmbedder, SecondText, SequenceAxis, Shared, Temporal, TextStem, vae,
};
use super::{BASE, clip};

/// The stack cuts the latent by height: 480 pixels are 30 token rows.
pub(super) const COGVIDEOX_2B: Model = Model {
    name: "CogVideoX-2b",
    hidden: 1920,
    heads: 30,
    head_dim: 64,
    architecture: Architecture::Shared(Shared {
        layers: 30,
        feed_forward: 7680,
        text_width: 4096,
        time_width: 512,
        patch: PatchEmbedder::Convolution,
    }),
    latent: Latent::video(8, 4, 16, 2),
    sequence_axis: SequenceAxis::Rows,
    encoders: &[t5_xxl(226)],
    vae: vae::COGVIDEOX,
    default: clip((49, 480, 720), 50, Guidance::Batched, 226),
    source: "huggingface/diffusers@58eb52c models/transformers/cogvideox_transformer_3d.py; zai-org/CogVideo",
    ..BASE
};

const COGVIDEOX_5B_BLOCKS: Shared = Shared {
    layers: 42,
    feed_forward: 12_288,
    text_width: 4096,
    time_width: 512,
    patch: PatchEmbedder::Convolution,
};

pub(super) const COGVIDEOX_5B: Model = Model {
    name: "CogVideoX-5b",
    aliases: &["ConsisID"],
    hidden: 3072,
    heads: 48,
    architecture: Architecture::Shared(COGVIDEOX_5B_BLOCKS),
    ..COGVIDEOX_2B
};

pub(super) const COGVIDEOX_15: Model = Model {
    name: "CogVideoX1.5-5B",
    aliases: &[],
    architecture: Architecture::Shared(Shared {
        patch: PatchEmbedder::Linear,
        ..COGVIDEOX_5B_BLOCKS
    }),
    latent: Latent {
        temporal_patch: 2,
        ..Latent::video(8, 4, 16, 2)
    },
    default: clip((81, 768, 1360), 50, Guidance::Batched, 226),
    ..COGVIDEOX_5B
};

const HUNYUAN_VIDEO_BLOCKS: Joint = Joint {
    double: 20,
    single: 40,
    patch: PatchEmbedder::Convolution,
    text: TextStem::Refiner {
        from: 4096,
        blocks: 2,
        second: None,
    },
    ..Joint::FLUX
};

pub(super) const HUNYUAN_VIDEO: Model = Model {
    name: "HunyuanVideo",
    architecture: Architecture::Joint(HUNYUAN_VIDEO_BLOCKS),
    latent: Latent::video(8, 4, 16, 2),
    encoders: &[llama_8b(351), CLIP_L],
    vae: vae::HUNYUAN_VIDEO,
    default: clip((129, 720, 1280), 50, Guidance::None, 256),
    source: "huggingface/diffusers@58eb52c models/transformers/transformer_hunyuan_video.py; Tencent/HunyuanVideo hyvideo/modules/models.py",
    ..BASE
};

/// HunyuanVideo's transformer with real guidance.
pub(super) const SKYREELS_V1: Model = Model {
    name: "SkyReels-V1",
    aliases: &["SkyReels-V1 (HunyuanVideo 13B)"],
    default: clip((97, 544, 960), 30, Guidance::Batched, 256),
    source: "SkyworkAI/SkyReels-V1; HunyuanVideo's shapes",
    ..HUNYUAN_VIDEO
};

/// Text: 1000 tokens of Qwen2.5-VL and 256 of ByT5. The latent comes with a conditioning frame of
/// 32 channels and a mask.
pub(super) const HUNYUAN_VIDEO_15: Model = Model {
    name: "HunyuanVideo-1.5",
    hidden: 2048,
    heads: 16,
    architecture: Architecture::Joint(Joint {
        double: 54,
        single: 0,
        feed_forward: 8192,
        extra_channels: 33,
        text: TextStem::Refiner {
            from: 3584,
            blocks: 2,
            second: Some(SecondText {
                first: 1000,
                tokens: 256,
                from: 1472,
            }),
        },
        pooled_width: None,
        guidance: GuidanceEmbedding::Absent,
        ..HUNYUAN_VIDEO_BLOCKS
    }),
    latent: Latent::video(16, 4, 32, 1),
    encoders: &[qwen_vl_7b(1108), BYT5_SMALL],
    vae: vae::HUNYUAN_VIDEO_15,
    default: clip((121, 720, 1280), 50, Guidance::Sequential, 1256),
    source: "huggingface/diffusers@58eb52c models/transformers/transformer_hunyuan_video15.py; Tencent-Hunyuan/HunyuanVideo-1.5",
    ..BASE
};

pub(super) const OPEN_SORA_2: Model = Model {
    name: "Open-Sora 2.0",
    aliases: &["Open-Sora 2.0 (11B)"],
    architecture: Architecture::Joint(Joint {
        guidance: GuidanceEmbedding::Absent,
        ..Joint::FLUX
    }),
    latent: Latent::video(8, 4, 16, 2),
    vae: vae::HUNYUAN_VIDEO,
    default: clip((129, 768, 768), 50, Guidance::Batched, 512),
    source: "hpcaitech/Open-Sora configs/diffusion/inference",
    ..BASE
};

pub(super) const MOCHI: Model = Model {
    name: "Mochi-1",
    architecture: Architecture::Asymmetric(Asymmetric {
        layers: 48,
        text_hidden: 1536,
        feed_forward: 8192,
        text_feed_forward: 4096,
        text_width: 4096,
    }),
    latent: Latent::video(8, 6, 12, 2),
    encoders: &[t5_xxl(256)],
    vae: vae::MOCHI,
    default: clip((163, 480, 848), 64, Guidance::Batched, 256),
    source: "huggingface/diffusers@58eb52c models/transformers/transformer_mochi.py; genmoai/mochi",
    ..BASE
};

pub(super) const LATTE: Model = Model {
    name: "Latte-1",
    aliases: &["Latte"],
    hidden: 1152,
    heads: 16,
    head_dim: 72,
    architecture: Architecture::Factorised(Factorised {
        pairs: 28,
        feed_forward: 4608,
        text_width: 4096,
        out_channels: 8,
    }),
    latent: Latent {
        temporal: Temporal::PerFrame,
        ..Latent::image(4, 2)
    },
    encoders: &[t5_xxl(120)],
    vae: vae::KL_4,
    default: clip((16, 512, 512), 50, Guidance::Batched, 120),
    source: "huggingface/diffusers@58eb52c models/transformers/latte_transformer_3d.py; Vchitect/Latte",
    ..BASE
};

pub(super) const LTX_2: Model = Model {
    name: "LTX-2",
    aliases: &["LTX-2 (19B)"],
    hidden: 4096,
    heads: 32,
    architecture: Architecture::DualStream(DualStream {
        layers: 48,
        feed_forward: 16_384,
        audio_hidden: 2048,
        audio_feed_forward: 8192,
        audio_channels: 128,
        text_width: 3840,
        audio_rate: 25,
        frame_rate: 24,
    }),
    latent: Latent::video(32, 8, 128, 1),
    encoders: &[gemma3_12b(1024)],
    vae: vae::LTX_2,
    default: clip((121, 512, 768), 30, Guidance::Batched, 1024),
    source: "huggingface/diffusers@58eb52c models/transformers/transformer_ltx2.py",
    ..BASE
};
