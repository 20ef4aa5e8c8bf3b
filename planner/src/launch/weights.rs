//! Where a model's weights are, and how each engine calls it.

/// How xDiT starts a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum XditEntry {
    /// `xdit --model NAME`.
    Runner(&'static str),
    /// `torchrun examples/NAME --model REPOSITORY`.
    Example(&'static str),
    /// Not at all, for this reason.
    None(&'static str),
}

/// What xDiT can split of a model beside its sequence and its batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Splits {
    /// Nothing.
    Sequence,
    /// Guidance.
    Cfg,
    /// Stages.
    Stages,
    /// Guidance and stages.
    CfgAndStages,
    /// Guidance, but not the sequence.
    CfgOnly,
}

/// How a model is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Weights {
    /// The name of [`sim::model::Model`].
    pub model: &'static str,
    /// Repository on Hugging Face.
    pub repository: &'static str,
    /// How xDiT starts it.
    pub xdit: XditEntry,
    /// What xDiT splits of it.
    pub splits: Splits,
    /// Whether SGLang Diffusion has a pipeline of its own for it.
    pub sglang: bool,
    /// Whether diffusers knows where to cut its sequence (`_cp_plan`).
    pub diffusers: bool,
}

use Splits::{Cfg, CfgAndStages, CfgOnly, Sequence, Stages};
use XditEntry::{Example, None, Runner};

/// Nothing starts it.
const ABSENT: XditEntry = None("xDiT has neither a runner entry nor an example for it");
/// Its examples are of older releases.
const OLD: XditEntry = None(
    "the current xDiT has neither a runner entry nor an example for it (releases until 0.4 have an example)",
);
/// Its authors run it with xDiT's library from their own repository.
const OWN: XditEntry =
    None("it is run from its authors' own repository, which calls xDiT's library");

const fn row(
    model: &'static str,
    repository: &'static str,
    xdit: XditEntry,
    splits: Splits,
    sglang: bool,
    diffusers: bool,
) -> Weights {
    Weights {
        model,
        repository,
        xdit,
        splits,
        sglang,
        diffusers,
    }
}

/// Sources: the registered names and capabilities of xDiT 175e0bf (`xfuser/model_executor/models/
/// runner_models`, `examples`, the table of its README), SGLang's compatibility matrix at 0201bc8,
/// the `_cp_plan`s of diffusers 58eb52c.
#[rustfmt::skip]
const WEIGHTS: &[Weights] = &[
    row("FLUX.1-dev", "black-forest-labs/FLUX.1-dev", Runner("FLUX.1-dev"), Stages, true, true),
    row("FLUX.1-schnell", "black-forest-labs/FLUX.1-schnell", OLD, Stages, false, true),
    row("FLUX.2-dev", "black-forest-labs/FLUX.2-dev", Runner("FLUX.2-dev"), Stages, true, true),
    row("SD3-medium", "stabilityai/stable-diffusion-3-medium-diffusers", OLD, CfgAndStages, false, false),
    row("SD3.5-large", "stabilityai/stable-diffusion-3.5-large", Runner("SD3.5"), CfgAndStages, false, false),
    row("SD3.5-medium", "stabilityai/stable-diffusion-3.5-medium", ABSENT, CfgAndStages, false, false),
    row("Qwen-Image", "Qwen/Qwen-Image", Runner("Qwen-Image"), Sequence, true, true),
    row("Qwen-Image-Edit", "Qwen/Qwen-Image-Edit", Runner("Qwen-Image-Edit"), Sequence, true, true),
    row("HiDream-I1", "HiDream-ai/HiDream-I1-Full", ABSENT, Sequence, false, false),
    row("Z-Image-Turbo", "Tongyi-MAI/Z-Image-Turbo", Runner("Z-Image-Turbo"), Sequence, true, false),
    row("PixArt-alpha", "PixArt-alpha/PixArt-XL-2-1024-MS", Example("pixartalpha_example.py"), CfgAndStages, false, false),
    row("PixArt-Sigma", "PixArt-alpha/PixArt-Sigma-XL-2-1024-MS", Example("pixartsigma_example.py"), CfgAndStages, false, false),
    row("HunyuanDiT-v1.2", "Tencent-Hunyuan/HunyuanDiT-v1.2-Diffusers", Example("hunyuandit_example.py"), CfgAndStages, false, false),
    row("DiT-XL/2", "facebook/DiT-XL-2-512", ABSENT, Sequence, false, false),
    row("SANA-1600M", "Efficient-Large-Model/Sana_1600M_1024px_diffusers", Example("sana_example.py"), CfgAndStages, false, false),
    row("SDXL", "stabilityai/stable-diffusion-xl-base-1.0", Example("sdxl_example.py"), CfgOnly, false, false),
    row("CogVideoX-2b", "zai-org/CogVideoX-2b", Example("cogvideox_example.py"), Cfg, false, false),
    row("CogVideoX-5b", "zai-org/CogVideoX-5b", Example("cogvideox_example.py"), Cfg, false, false),
    row("CogVideoX1.5-5B", "zai-org/CogVideoX1.5-5B", Example("cogvideox_example.py"), Cfg, false, false),
    row("HunyuanVideo", "hunyuanvideo-community/HunyuanVideo", Runner("HunyuanVideo"), Sequence, true, false),
    row("SkyReels-V1", "Skywork/SkyReels-V1-Hunyuan-T2V", OWN, Sequence, false, false),
    row("HunyuanVideo-1.5", "tencent/HunyuanVideo-1.5", Runner("Hunyuanvideo-1.5"), Sequence, false, false),
    row("Open-Sora 2.0", "hpcai-tech/Open-Sora-v2", ABSENT, Sequence, false, false),
    row("Mochi-1", "genmo/mochi-1-preview", OWN, Cfg, false, false),
    row("Latte-1", "maxin-cn/Latte-1", Example("latte_example.py"), Sequence, false, false),
    row("LTX-2", "Lightricks/LTX-2", Runner("LTX-2"), Sequence, false, true),
    row("LTX-Video-2B", "Lightricks/LTX-Video", ABSENT, Sequence, false, true),
    row("LTX-Video-13B", "Lightricks/LTX-Video-0.9.7-dev", ABSENT, Cfg, false, true),
    row("Wan2.1-T2V-1.3B", "Wan-AI/Wan2.1-T2V-1.3B-Diffusers", ABSENT, Sequence, true, true),
    row("Wan2.1-T2V-14B", "Wan-AI/Wan2.1-T2V-14B-Diffusers", Runner("Wan2.1-T2V"), Sequence, true, true),
    row("Wan2.1-I2V-14B", "Wan-AI/Wan2.1-I2V-14B-720P-Diffusers", Runner("Wan2.1-I2V"), Cfg, true, true),
    row("Wan2.2-T2V-A14B", "Wan-AI/Wan2.2-T2V-A14B-Diffusers", Runner("Wan2.2-T2V"), Sequence, true, true),
    row("Wan2.2-I2V-A14B", "Wan-AI/Wan2.2-I2V-A14B-Diffusers", Runner("Wan2.2-I2V"), Cfg, true, true),
    row("Wan2.2-TI2V-5B", "Wan-AI/Wan2.2-TI2V-5B-Diffusers", Runner("Wan2.2-TI2V"), Sequence, true, true),
    row("Step-Video-T2V", "stepfun-ai/stepvideo-t2v", OWN, Sequence, false, false),
];

/// How a model is called.
///
/// # Errors
/// A sentence, for a model that nobody has entered here.
pub(super) fn of(model: &str) -> Result<&'static Weights, String> {
    if model == "dit-digits" {
        return Err(
            "its weights are the repository's own, and no engine knows it: ditplan_capture executes its plans"
                .to_owned(),
        );
    }
    WEIGHTS
        .iter()
        .find(|weights| weights.model == model)
        .ok_or_else(|| format!("no published weights are known for {model}"))
}
