//! Models with cross-attention, DiT, SANA and SDXL.

use super::super::encoder::{
    CLIP_BILINGUAL, CLIP_G, CLIP_L, CLIP_VISION_H, STEP_LLM, gemma2_2b, mt5_xl, t5_xxl, umt5_xxl,
};
use super::super::{
    Architecture, Conditioning, Cross, CrossSplit, Experts, Guidance, Latent, LinearAttention,
    Model, PatchEmbedder, Reference, Resample, SizeEmbedding, Stage, Temporal, UNet, UlyssesRule,
    vae,
};
use super::{BASE, clip, square};

const fn caption(text_width: u64) -> Conditioning {
    Conditioning::Caption {
        text_width,
        size: SizeEmbedding::Absent,
        reference: None,
    }
}

const PIXART: Cross = Cross {
    layers: 28,
    feed_forward: 4608,
    patch: PatchEmbedder::Convolution,
    extra_channels: 0,
    out_channels: 8,
    conditioning: caption(4096),
    cross_split: CrossSplit::Replicated,
};

pub(super) const PIXART_ALPHA: Model = Model {
    name: "PixArt-alpha",
    hidden: 1152,
    heads: 16,
    head_dim: 72,
    architecture: Architecture::Cross(Cross {
        conditioning: Conditioning::Caption {
            text_width: 4096,
            size: SizeEmbedding::Embedded,
            reference: None,
        },
        ..PIXART
    }),
    latent: Latent::image(4, 2),
    encoders: &[t5_xxl(120)],
    vae: vae::KL_4,
    default: square(1024, 20, Guidance::Batched, 120),
    source: "huggingface/diffusers@58eb52c models/transformers/pixart_transformer_2d.py",
    ..BASE
};

pub(super) const PIXART_SIGMA: Model = Model {
    name: "PixArt-Sigma",
    architecture: Architecture::Cross(PIXART),
    encoders: &[t5_xxl(300)],
    default: square(1024, 20, Guidance::Batched, 300),
    source: "huggingface/diffusers@58eb52c models/transformers/pixart_transformer_2d.py; PixArt-alpha/PixArt-sigma",
    ..PIXART_ALPHA
};

pub(super) const HUNYUAN_DIT: Model = Model {
    name: "HunyuanDiT-v1.2",
    aliases: &["HunyuanDiT"],
    hidden: 1408,
    head_dim: 88,
    architecture: Architecture::Cross(Cross {
        layers: 40,
        feed_forward: 6144,
        conditioning: Conditioning::LongSkips,
        cross_split: CrossSplit::Heads,
        ..PIXART
    }),
    encoders: &[CLIP_BILINGUAL, mt5_xl(256)],
    default: square(1024, 50, Guidance::Batched, 333),
    source: "Tencent/HunyuanDiT hydit/modules/models.py; huggingface/diffusers@58eb52c models/transformers/hunyuan_transformer_2d.py",
    ..PIXART_ALPHA
};

pub(super) const DIT_XL: Model = Model {
    name: "DiT-XL/2",
    architecture: Architecture::Cross(Cross {
        conditioning: Conditioning::Class,
        ..PIXART
    }),
    encoders: &[],
    default: square(256, 250, Guidance::Batched, 0),
    source: "facebookresearch/DiT models.py",
    ..PIXART_ALPHA
};

pub(super) const SANA: Model = Model {
    name: "SANA-1600M",
    aliases: &["SANA-1600M-4K", "SANA"],
    hidden: 2240,
    heads: 70,
    head_dim: 32,
    architecture: Architecture::LinearAttention(LinearAttention {
        layers: 20,
        feed_forward: 5600,
        cross_heads: 20,
        text_width: 2304,
    }),
    latent: Latent {
        spatial: 32,
        ..Latent::image(32, 1)
    },
    ulysses: UlyssesRule::AtMost(2),
    encoders: &[gemma2_2b(300)],
    vae: vae::DC_AE,
    default: square(1024, 20, Guidance::Batched, 300),
    source: "huggingface/diffusers@58eb52c models/transformers/sana_transformer.py; xDiT sana.md",
    ..BASE
};

const fn stage(channels: u64, scale: u64, inputs: &'static [u64]) -> Stage {
    Stage {
        channels,
        scale,
        inputs,
        depth: 0,
        transformers: 0,
        resample: Resample::None,
    }
}

/// Five, ten and twenty heads of 64 at the three resolutions; `hidden` and `heads` are the first's
/// and the last's. Image tokens are latent cells: a quarter and a sixteenth of them reach attention.
pub(super) const SDXL: Model = Model {
    name: "SDXL",
    hidden: 320,
    heads: 20,
    head_dim: 64,
    architecture: Architecture::UNet(UNet {
        stages: &[
            stage(320, 1, &[320, 320]),
            Stage {
                depth: 2,
                transformers: 2,
                resample: Resample::From(320),
                ..stage(640, 2, &[320, 640])
            },
            Stage {
                depth: 10,
                transformers: 2,
                resample: Resample::From(640),
                ..stage(1280, 4, &[640, 1280])
            },
            Stage {
                depth: 10,
                transformers: 1,
                ..stage(1280, 4, &[1280, 1280])
            },
            Stage {
                depth: 10,
                transformers: 3,
                ..stage(1280, 4, &[2560, 2560, 1920])
            },
            Stage {
                depth: 2,
                transformers: 3,
                resample: Resample::From(1280),
                ..stage(640, 2, &[1920, 1280, 960])
            },
            Stage {
                resample: Resample::From(640),
                ..stage(320, 1, &[960, 640, 640])
            },
        ],
        time_width: 1280,
        pooled_width: 2816,
        text_width: 2048,
    }),
    latent: Latent::image(4, 1),
    ulysses: UlyssesRule::AtMost(1),
    encoders: &[CLIP_L, CLIP_G],
    vae: vae::KL_4,
    default: square(1024, 50, Guidance::Batched, 77),
    source: "Stability-AI/generative-models configs/inference/sd_xl_base.yaml; diffusers UNet2DConditionModel",
    ..BASE
};

const WAN: Cross = Cross {
    layers: 40,
    feed_forward: 13_824,
    out_channels: 16,
    cross_split: CrossSplit::Heads,
    ..PIXART
};

pub(super) const WAN_21_1B: Model = Model {
    name: "Wan2.1-T2V-1.3B",
    aliases: &["Wan2.1-T2V-1.3B (50 steps)"],
    hidden: 1536,
    heads: 12,
    architecture: Architecture::Cross(Cross {
        layers: 30,
        feed_forward: 8960,
        ..WAN
    }),
    default: clip((81, 480, 832), 50, Guidance::Sequential, 512),
    source: "Wan-Video/Wan2.1 wan/configs/wan_t2v_1_3B.py; huggingface/diffusers@58eb52c models/transformers/transformer_wan.py",
    ..WAN_21_14B
};

pub(super) const WAN_21_14B: Model = Model {
    name: "Wan2.1-T2V-14B",
    hidden: 5120,
    heads: 40,
    architecture: Architecture::Cross(WAN),
    latent: Latent::video(8, 4, 16, 2),
    encoders: &[umt5_xxl(512)],
    vae: vae::WAN,
    default: clip((81, 720, 1280), 50, Guidance::Sequential, 512),
    source: "Wan-Video/Wan2.1 wan/configs/wan_t2v_14B.py",
    ..BASE
};

/// The first frame and its mask come as 20 more channels, and as 257 CLIP tokens.
pub(super) const WAN_21_I2V: Model = Model {
    name: "Wan2.1-I2V-14B",
    aliases: &["Wan2.1-I2V-14B-480P", "Wan2.1-I2V-14B-720P"],
    architecture: Architecture::Cross(Cross {
        extra_channels: 20,
        conditioning: Conditioning::Caption {
            text_width: 4096,
            size: SizeEmbedding::Absent,
            reference: Some(Reference {
                tokens: 257,
                width: 1280,
            }),
        },
        ..WAN
    }),
    encoders: &[umt5_xxl(512), CLIP_VISION_H],
    default: clip((81, 720, 1280), 40, Guidance::Sequential, 512),
    source: "Wan-Video/Wan2.1 wan/configs/wan_i2v_14B.py",
    ..WAN_21_14B
};

pub(super) const WAN_22_A14B: Model = Model {
    name: "Wan2.2-T2V-A14B",
    aliases: &["Wan2.2 (A14B)", "Wan2.2 T2V example", "Wan2.2-A14B"],
    experts: Experts::TwoByTimestep,
    default: clip((81, 720, 1280), 40, Guidance::Sequential, 512),
    source: "Wan-Video/Wan2.2 wan/configs/wan_t2v_A14B.py",
    ..WAN_21_14B
};

pub(super) const WAN_22_I2V: Model = Model {
    name: "Wan2.2-I2V-A14B",
    aliases: &[],
    architecture: Architecture::Cross(Cross {
        extra_channels: 20,
        ..WAN
    }),
    source: "Wan-Video/Wan2.2 wan/configs/wan_i2v_A14B.py",
    ..WAN_22_A14B
};

pub(super) const WAN_22_5B: Model = Model {
    name: "Wan2.2-TI2V-5B",
    aliases: &["Wan2.2-TI2V-5B (T2V)", "Wan2.2-TI2V-5B (I2V)"],
    hidden: 3072,
    heads: 24,
    architecture: Architecture::Cross(Cross {
        layers: 30,
        feed_forward: 14_336,
        out_channels: 48,
        ..WAN
    }),
    latent: Latent::video(16, 4, 48, 2),
    vae: vae::WAN_22,
    default: clip((121, 704, 1280), 50, Guidance::Sequential, 512),
    source: "Wan-Video/Wan2.2 wan/configs/wan_ti2v_5B.py",
    ..WAN_21_14B
};

pub(super) const LTX_2B: Model = Model {
    name: "LTX-Video-2B",
    aliases: &["LTX-Video"],
    hidden: 2048,
    heads: 32,
    head_dim: 64,
    architecture: Architecture::Cross(Cross {
        feed_forward: 8192,
        patch: PatchEmbedder::Linear,
        out_channels: 128,
        cross_split: CrossSplit::Heads,
        ..PIXART
    }),
    latent: Latent::video(32, 8, 128, 1),
    encoders: &[t5_xxl(128)],
    vae: vae::LTX,
    default: clip((161, 512, 704), 50, Guidance::Batched, 128),
    source: "huggingface/diffusers@58eb52c models/transformers/transformer_ltx.py; Lightricks/LTX-Video",
    ..BASE
};

pub(super) const LTX_13B: Model = Model {
    name: "LTX-Video-13B",
    aliases: &["LTX-Video-0.9.7-13B"],
    hidden: 4096,
    head_dim: 128,
    architecture: Architecture::Cross(Cross {
        layers: 48,
        feed_forward: 16_384,
        patch: PatchEmbedder::Linear,
        out_channels: 128,
        cross_split: CrossSplit::Heads,
        ..PIXART
    }),
    vae: vae::LTX_097,
    default: clip((121, 704, 1216), 30, Guidance::Batched, 128),
    source: "Lightricks/LTX-Video configs; huggingface/diffusers@58eb52c models/transformers/transformer_ltx.py",
    ..LTX_2B
};

/// 17 frames become 3 latent frames. Both text encoders' tokens join: 320 + 77.
pub(super) const STEP_VIDEO: Model = Model {
    name: "Step-Video-T2V",
    aliases: &["Step-Video-T2V-30B"],
    hidden: 6144,
    heads: 48,
    architecture: Architecture::Cross(Cross {
        layers: 48,
        feed_forward: 24_576,
        out_channels: 64,
        conditioning: caption(6144),
        ..WAN
    }),
    latent: Latent {
        temporal: Temporal::Chunks {
            frames: 17,
            latents: 3,
        },
        ..Latent::video(16, 4, 64, 1)
    },
    encoders: &[STEP_LLM, CLIP_BILINGUAL],
    vae: vae::STEP_VIDEO,
    default: clip((204, 544, 992), 50, Guidance::Batched, 397),
    source: "stepfun-ai/Step-Video-T2V stepvideo/modules; xDiT PR#454",
    ..BASE
};
