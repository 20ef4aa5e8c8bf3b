//! Text (and reference image) encoders: a phase before denoising.
//!
//! FLOPs are `2 x weights x tokens`: attention over a few hundred tokens is under 2 % of that and
//! left out. Embedding tables, output heads and vision towers count as memory, not as work.

use topologies::{Bytes, Flops};

use crate::workload::ELEMENT_BYTES;

/// An encoder and the tokens it reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Encoder {
    /// Its name.
    pub name: &'static str,
    /// Weights held in memory.
    pub parameters: u64,
    /// Weights that each token passes.
    pub active: u64,
    /// Tokens per prompt, padding included.
    pub tokens: u64,
}

impl Encoder {
    /// Bytes of its weights in bf16.
    #[must_use]
    pub const fn weight_bytes(&self) -> Bytes {
        Bytes::new(self.parameters * ELEMENT_BYTES)
    }

    /// FLOPs of encoding `prompts` prompts (the negative one counts).
    #[must_use]
    pub const fn flops(&self, prompts: u64) -> Flops {
        Flops::new(2 * self.active * self.tokens * prompts)
    }

    const fn new(name: &'static str, parameters: u64, active: u64, tokens: u64) -> Self {
        Self {
            name,
            parameters,
            active,
            tokens,
        }
    }
}

const M: u64 = 1_000_000;

/// T5-XXL v1.1 encoder: 24 layers of 4096, a table of 32,128 x 4096.
pub(super) const fn t5_xxl(tokens: u64) -> Encoder {
    Encoder::new("T5-XXL", 4762 * M, 4631 * M, tokens)
}

/// umT5-XXL encoder: as T5-XXL, with a table of 256,384 x 4096.
pub(super) const fn umt5_xxl(tokens: u64) -> Encoder {
    Encoder::new("umT5-XXL", 5681 * M, 4631 * M, tokens)
}

/// mT5-XL encoder: 24 layers of 2048, a table of 250,112 x 2048.
pub(super) const fn mt5_xl(tokens: u64) -> Encoder {
    Encoder::new("mT5-XL", 1670 * M, 1158 * M, tokens)
}

/// The text part of CLIP ViT-L/14.
pub(super) const CLIP_L: Encoder = Encoder::new("CLIP-L", 123 * M, 85 * M, 77);

/// The text part of OpenCLIP ViT-bigG/14.
pub(super) const CLIP_G: Encoder = Encoder::new("CLIP-G", 695 * M, 630 * M, 77);

/// The bilingual CLIP of HunyuanDiT (a 24-layer BERT of width 1024).
pub(super) const CLIP_BILINGUAL: Encoder = Encoder::new("CLIP, bilingual", 352 * M, 302 * M, 77);

/// The image part of OpenCLIP ViT-H/14: 257 tokens of the reference image.
pub(super) const CLIP_VISION_H: Encoder = Encoder::new("CLIP-H, vision", 632 * M, 630 * M, 257);

/// Llama 3 or 3.1, 8B.
pub(super) const fn llama_8b(tokens: u64) -> Encoder {
    Encoder::new("Llama-3-8B", 8030 * M, 6980 * M, tokens)
}

/// Qwen2.5-VL-7B; its vision tower (676 M) is held, and works only on reference images.
pub(super) const fn qwen_vl_7b(tokens: u64) -> Encoder {
    Encoder::new("Qwen2.5-VL-7B", 8292 * M, 6526 * M, tokens)
}

/// Qwen3-4B.
pub(super) const fn qwen3_4b(tokens: u64) -> Encoder {
    Encoder::new("Qwen3-4B", 4022 * M, 3633 * M, tokens)
}

/// Mistral Small 3, 24B.
pub(super) const fn mistral_24b(tokens: u64) -> Encoder {
    Encoder::new("Mistral-Small-24B", 24_011 * M, 22_230 * M, tokens)
}

/// Gemma 2, 2B.
pub(super) const fn gemma2_2b(tokens: u64) -> Encoder {
    Encoder::new("Gemma-2-2B", 2614 * M, 2024 * M, tokens)
}

/// Gemma 3, 12B.
pub(super) const fn gemma3_12b(tokens: u64) -> Encoder {
    Encoder::new("Gemma-3-12B", 12_187 * M, 10_760 * M, tokens)
}

/// ByT5-small encoder, for glyphs.
pub(super) const BYT5_SMALL: Encoder = Encoder::new("ByT5-small", 218 * M, 217 * M, 256);

/// Step-Video's language model. Its size is not published: 9 B is assumed from its width of 6144.
pub(super) const STEP_LLM: Encoder =
    Encoder::new("Step-LLM (size assumed)", 9000 * M, 8600 * M, 320);
