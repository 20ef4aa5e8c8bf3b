//! `manifest.json`: what was recorded, where and how, and which files hold it.
//!
//! The rules that tie the keys to each other stand in [`super::validate`].

use std::collections::BTreeMap;
use std::ops::Range;

use serde::{Deserialize, Serialize};
use topologies::Bytes;

use super::{Checksum, Dtype, Shape};

/// The word in every manifest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Format {
    /// An activation trace.
    #[serde(rename = "ditplan-trace")]
    Trace,
}

/// The version written, and the only one read.
pub const VERSION: u32 = 1;

/// What a trace holds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Always the same word.
    pub format: Format,
    /// The version of the format: 1.
    pub version: u32,
    /// Whether the recording ended.
    pub state: State,
    /// The model that ran.
    pub model: ModelInfo,
    /// The sampler that called it.
    pub sampler: Sampler,
    /// The images or videos that were sampled, in the order of the tensors' first dimension.
    pub samples: Vec<Sample>,
    /// Which part of the run the shards hold.
    pub recorded: Recorded,
    /// The type of the tensors' elements.
    pub dtype: Dtype,
    /// What computed them.
    pub device: Device,
    /// Versions of the libraries that ran.
    pub libraries: BTreeMap<String, String>,
    /// Environment variables that matter (`NCCL_*`, `CUDA_*`, ...).
    pub environment: BTreeMap<String, String>,
    /// What recording cost.
    pub capture: Capture,
    /// The files, with sizes and checksums.
    pub files: Vec<FileEntry>,
    /// The day of the recording, `2026-11-23`, or a moment in ISO 8601.
    pub created: String,
    /// The licence of the activations.
    #[serde(default)]
    pub license: Option<String>,
}

/// Whether a recording ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Every recorded step has its shard.
    Complete,
    /// The run goes on, or died.
    Partial,
}

/// A model, as far as its K and V go.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelInfo {
    /// Its name.
    pub name: String,
    /// Its class or family; `synthetic` where no model ran.
    pub architecture: String,
    /// Attention layers.
    pub layers: u32,
    /// Heads of K and V.
    pub heads: u32,
    /// Channels of a head.
    pub head_dim: u32,
    /// Image or video tokens.
    pub image_tokens: u32,
    /// Text or condition tokens of the sequence.
    pub text_tokens: u32,
    /// Where the text stands in the sequence.
    pub token_order: TokenOrder,
    /// A name for each layer.
    pub layer_names: Vec<String>,
    /// The model's own configuration, as it is.
    pub config: serde_json::Value,
}

/// Where text tokens stand in the sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TokenOrder {
    /// Text, then image.
    TextFirst,
    /// Image, then text.
    ImageFirst,
    /// No text in the sequence.
    ImageOnly,
}

/// The sampler.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sampler {
    /// Its name.
    pub name: String,
    /// Denoising steps.
    pub steps: u32,
    /// Noise levels, one more than steps; the first is noise.
    pub sigmas: Vec<f64>,
    /// How far the output moves for an error, by the noise level at which it has entered; where absent,
    /// alike at all levels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub response: Option<Response>,
}

/// Squared output deviation for an error that has entered at a noise level (the end of its step), per
/// squared size of error and step; only its shape matters. `ditplan_capture.step_response` measures it by noise
/// injected at one step at a time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Response {
    /// Noise levels, descending or ascending.
    pub levels: Vec<f64>,
    /// At these; linear between them, constant beyond.
    pub weights: Vec<f64>,
    /// How it was measured.
    pub source: String,
}

impl Response {
    /// The weight of an error that has entered at `level`.
    ///
    /// # Panics
    /// If it has no points, which a manifest that was read has not.
    #[must_use]
    pub fn at(&self, level: f64) -> f64 {
        let mut points: Vec<_> = self.levels.iter().zip(&self.weights).collect();
        points.sort_by(|a, b| a.0.total_cmp(b.0));
        let above = points.partition_point(|(at, _)| **at < level);
        if above == 0 || above == points.len() {
            return *points[above.min(points.len() - 1)].1;
        }
        let ((x, a), (y, b)) = (points[above - 1], points[above]);
        a + (b - a) * (level - x) / (y - x)
    }

    /// The first rule that is broken.
    pub(super) fn check(&self) -> Result<(), String> {
        let (levels, weights) = (self.levels.len(), self.weights.len());
        if levels == 0 || levels != weights {
            return Err(format!(
                "{levels} levels and {weights} weights, not as many and at least one"
            ));
        }
        let mut sorted = self.levels.clone();
        sorted.sort_by(f64::total_cmp);
        if !sorted.iter().all(|level| level.is_finite()) || sorted.windows(2).any(|w| w[0] == w[1])
        {
            return Err("levels are finite and each stands once".to_owned());
        }
        match self.weights.iter().find(|w| !(w.is_finite() && **w > 0.0)) {
            Some(wrong) => Err(format!("weight {wrong} is not a positive number")),
            None => Ok(()),
        }
    }
}

/// One sampled image or video.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sample {
    /// SHA-256 of the prompt's UTF-8 text, where there was one.
    #[serde(default)]
    pub prompt_sha256: Option<Checksum>,
    /// What people call it.
    #[serde(default)]
    pub label: Option<Label>,
    /// The seed of its noise, where known.
    #[serde(default)]
    pub seed: Option<u64>,
    /// The guidance scale, where there is one.
    #[serde(default)]
    pub guidance: Option<f64>,
}

/// What a sample is called: a class or words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Label {
    /// A class of the training data.
    Class(u64),
    /// Words.
    Words(String),
}

impl std::fmt::Display for Label {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Class(class) => write!(f, "{class}"),
            Self::Words(words) => f.write_str(words),
        }
    }
}

/// Which part of the run the shards hold. `None` is everything.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recorded {
    /// Layers, ascending.
    pub layers: Vec<u32>,
    /// Steps, ascending.
    pub steps: Vec<u32>,
    /// Heads, ascending.
    #[serde(default)]
    pub heads: Option<Vec<u32>>,
    /// First token of the sequence, and the one behind the last.
    #[serde(default)]
    pub tokens: Option<(u32, u32)>,
    /// Positions in `samples`, ascending.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub samples: Option<Vec<u32>>,
}

/// What computed the activations.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Device {
    /// CPU or GPU.
    pub kind: DeviceKind,
    /// Its name.
    pub name: String,
    /// The driver's version, where there is a driver.
    #[serde(default)]
    pub driver: Option<String>,
}

/// CPU or GPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DeviceKind {
    /// A CPU.
    Cpu,
    /// An NVIDIA GPU.
    Cuda,
}

/// What recording cost.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Capture {
    /// The recorded run, in seconds; unknown until it ends.
    #[serde(default)]
    pub wall_s: Option<f64>,
    /// The same run without recording, in seconds, where it was measured.
    #[serde(default)]
    pub plain_wall_s: Option<f64>,
    /// What recording added, in per cent.
    #[serde(default)]
    pub overhead_pct: Option<f64>,
    /// The most host memory that copies took.
    #[serde(default)]
    pub peak_buffer_bytes: Option<u64>,
}

/// A file of the trace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileEntry {
    /// Its name in the directory.
    pub name: String,
    /// Its size.
    #[serde(with = "bytes")]
    pub bytes: Bytes,
    /// Its SHA-256.
    pub sha256: Checksum,
    /// The step it holds, if it is a shard.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<u32>,
}

/// Sizes are whole numbers in the file.
mod bytes {
    use serde::{Deserialize, Deserializer, Serializer};
    use topologies::Bytes;

    pub fn serialize<S: Serializer>(bytes: &Bytes, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_u64(bytes.get())
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Bytes, D::Error> {
        u64::deserialize(from).map(Bytes::new)
    }
}

impl Manifest {
    /// The shape of every tensor of the shards.
    #[must_use]
    pub fn shape(&self) -> Shape {
        let heads = self.recorded.heads.as_ref();
        Shape {
            samples: self.recorded_samples().len(),
            tokens: self.recorded_tokens().len(),
            heads: heads.map_or(self.model.heads as usize, Vec::len),
            head_dim: self.model.head_dim as usize,
        }
    }

    /// The tokens of the sequence that the shards hold.
    #[must_use]
    pub fn recorded_tokens(&self) -> Range<u32> {
        match self.recorded.tokens {
            Some((start, stop)) => start..stop,
            None => 0..self.model.sequence(),
        }
    }

    /// The samples that the shards hold, as positions in `samples`.
    #[must_use]
    pub fn recorded_samples(&self) -> Vec<u32> {
        let all = 0..self.samples.len() as u32;
        let some = self.recorded.samples.clone();
        some.unwrap_or_else(|| all.collect())
    }

    /// The heads that the shards hold.
    #[must_use]
    pub fn recorded_heads(&self) -> Vec<u32> {
        let some = self.recorded.heads.clone();
        some.unwrap_or_else(|| (0..self.model.heads).collect())
    }

    /// The entry of a file.
    #[must_use]
    pub fn file(&self, name: &str) -> Option<&FileEntry> {
        self.files.iter().find(|entry| entry.name == name)
    }

    /// The name of the shard of the recorded step at `position`.
    #[must_use]
    pub fn shard_name(&self, position: usize) -> String {
        let of = self.recorded.steps.len();
        format!("kv-{:05}-of-{of:05}.safetensors", position + 1)
    }

    /// The size of the shards that there are.
    #[must_use]
    pub fn shard_bytes(&self) -> Bytes {
        let shards = self.files.iter().filter(|entry| entry.step.is_some());
        shards.map(|entry| entry.bytes).sum()
    }
}

impl ModelInfo {
    /// Tokens of the sequence.
    #[must_use]
    pub fn sequence(&self) -> u32 {
        match self.token_order {
            TokenOrder::ImageOnly => self.image_tokens,
            TokenOrder::TextFirst | TokenOrder::ImageFirst => self.image_tokens + self.text_tokens,
        }
    }

    /// Where the text stands in the sequence.
    #[must_use]
    pub fn text(&self) -> Range<u32> {
        match self.token_order {
            TokenOrder::TextFirst => 0..self.text_tokens,
            TokenOrder::ImageFirst => self.image_tokens..self.sequence(),
            TokenOrder::ImageOnly => 0..0,
        }
    }

    /// Where the image stands in the sequence.
    #[must_use]
    pub fn image(&self) -> Range<u32> {
        match self.token_order {
            TokenOrder::TextFirst => self.text_tokens..self.sequence(),
            TokenOrder::ImageFirst | TokenOrder::ImageOnly => 0..self.image_tokens,
        }
    }

    /// Channels of a row of K or V.
    #[must_use]
    pub fn channels(&self) -> u32 {
        self.heads * self.head_dim
    }
}

impl Sampler {
    /// The weight of a step's error in the output: how far the noise level moves, |sigma_t - sigma_(t+1)|,
    /// times the root of the response at the end of the step.
    ///
    /// # Panics
    /// If the sampler has no such step.
    #[must_use]
    pub fn weight(&self, step: u32) -> f64 {
        let step = step as usize;
        assert!(
            step < self.steps as usize,
            "a step of this sampler is asked for"
        );
        let end = self.sigmas[step + 1];
        let response = self
            .response
            .as_ref()
            .map_or(1.0, |response| response.at(end));
        (self.sigmas[step] - end).abs() * response.sqrt()
    }
}
