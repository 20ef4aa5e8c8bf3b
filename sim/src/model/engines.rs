//! How engines call a model, and what they split of it.

use serde::Deserialize;

use super::limits;

/// What engines know of a model.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Engines {
    /// Repository of its weights on Hugging Face.
    #[serde(default, deserialize_with = "limits::some_word")]
    pub repository: Option<String>,
    /// Why no engine runs it, where none does.
    #[serde(default, deserialize_with = "limits::some_line")]
    pub absent: Option<String>,
    /// Images that a request begins with, beside its prompt.
    #[serde(default)]
    pub images: u8,
    /// xDiT.
    #[serde(default)]
    pub xdit: Xdit,
    /// CompactFusion: absent where it takes no settings for this model from its command line.
    pub compact_fusion: Option<CompactFusion>,
    /// Whether SGLang Diffusion has a pipeline of its own for it.
    #[serde(default)]
    pub sglang: bool,
    /// Whether diffusers knows where to cut its sequence (`_cp_plan`).
    #[serde(default)]
    pub diffusers: bool,
    /// Why diffusers, and cache-dit with it, does not start it, where they do not.
    #[serde(default, deserialize_with = "limits::some_line")]
    pub diffusers_absent: Option<String>,
    /// What cache-dit splits of it.
    #[serde(default)]
    pub cache_dit: Vec<Split>,
    /// Where this comes from.
    #[serde(default, deserialize_with = "limits::some_line")]
    pub source: Option<String>,
}

/// What an engine can split of a model, beside its batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Split {
    /// Its sequence.
    Sequence,
    /// The branches of its guidance.
    Guidance,
    /// Its blocks, as stages of a pipeline.
    Stages,
    /// Its layers.
    Tensor,
}

/// How xDiT runs a model.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Xdit {
    /// How it starts it.
    pub start: XditStart,
    /// Which of the model's tasks its runner is told, where it has several.
    #[serde(default, deserialize_with = "limits::some_word")]
    pub task: Option<String>,
    /// What it splits of it.
    #[serde(default)]
    pub splits: Vec<Split>,
    /// Whether it is told how many text tokens there are.
    #[serde(default)]
    pub text_length: bool,
    /// Whether its ranks share the decoding of the VAE.
    #[serde(default = "shared")]
    pub parallel_vae: bool,
}

impl Default for Xdit {
    fn default() -> Self {
        Self {
            start: XditStart::Absent(
                "xDiT has neither a runner entry nor an example for it".into(),
            ),
            task: None,
            splits: Vec::new(),
            text_length: false,
            parallel_vae: true,
        }
    }
}

/// Most of its runners do.
const fn shared() -> bool {
    true
}

/// How xDiT starts a model.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum XditStart {
    /// `xdit --model NAME`.
    Runner(#[serde(deserialize_with = "limits::word")] String),
    /// `torchrun examples/NAME --model REPOSITORY`.
    Example(#[serde(deserialize_with = "limits::word")] String),
    /// Not at all, for this reason.
    Absent(#[serde(deserialize_with = "limits::line")] String),
}

/// How CompactFusion runs a model.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CompactFusion {
    /// The name of its settings.
    #[serde(deserialize_with = "limits::word")]
    pub settings: String,
    /// Its example.
    #[serde(deserialize_with = "limits::word")]
    pub example: String,
}
