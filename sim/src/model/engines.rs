//! How engines call a model, and what they split of it.

use std::collections::BTreeMap;

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
    /// CompactFusion: absent where it takes no settings for this model from its command line.
    pub compact_fusion: Option<CompactFusion>,
    /// How engines run it, by the word that an engine's file names (`models`).
    #[serde(default)]
    pub on: BTreeMap<String, OnEngine>,
    /// Where this comes from.
    #[serde(default, deserialize_with = "limits::some_line")]
    pub source: Option<String>,
}

/// How an engine runs a model.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OnEngine {
    /// What the engine calls it, where that is not its repository.
    #[serde(default, deserialize_with = "limits::some_word")]
    pub name: Option<String>,
    /// The engine's own script that runs it, where it is no part of the engine's program.
    #[serde(default, deserialize_with = "limits::some_word")]
    pub script: Option<String>,
    /// Why the engine does not start it, where it does not.
    #[serde(default, deserialize_with = "limits::some_line")]
    pub absent: Option<String>,
    /// Which of the model's tasks the engine is told, where it has several.
    #[serde(default, deserialize_with = "limits::some_word")]
    pub task: Option<String>,
    /// What the engine splits of it.
    #[serde(default)]
    pub splits: Vec<Split>,
    /// Whether the engine is told how many text tokens there are.
    #[serde(default)]
    pub text_length: bool,
    /// Whether ranks share the decoding of its VAE, where the engine shares any.
    #[serde(default = "shared")]
    pub parallel_vae: bool,
    /// Whether the engine quantises its products to int8.
    #[serde(default)]
    pub int8: bool,
}

/// Most VAEs can be.
const fn shared() -> bool {
    true
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
    /// Where its weights live: every rank keeps a part (FSDP).
    Weights,
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
