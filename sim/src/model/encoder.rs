//! Text (and reference image) encoders: a phase before denoising.
//!
//! FLOPs are `2 x weights x tokens`: attention over a few hundred tokens is under 2 % of that and
//! left out. Embedding tables, output heads and vision towers count as memory, not as work.

use serde::Deserialize;
use topologies::{Bytes, Flops};

use super::limits;
use crate::workload::ELEMENT_BYTES;

/// An encoder and the tokens it reads.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Encoder {
    /// Its name.
    #[serde(deserialize_with = "limits::line")]
    pub name: String,
    /// Weights held in memory.
    #[serde(deserialize_with = "limits::parameters")]
    pub parameters: u64,
    /// Weights that each token passes.
    #[serde(deserialize_with = "limits::parameters")]
    pub active: u64,
    /// Tokens per prompt, padding included.
    #[serde(deserialize_with = "limits::any_tokens")]
    pub tokens: u64,
    /// What of it stays in single precision where the rest is in fp16.
    #[serde(default)]
    pub fp16: Fp16,
    /// Where the figures come from.
    #[serde(deserialize_with = "limits::line")]
    pub source: String,
}

/// How an encoder is held in fp16.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fp16 {
    /// All of it.
    #[default]
    Whole,
    /// The outputs of its feed-forward parts stay in single precision: T5 overflows there.
    OutputsInSinglePrecision,
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
}
