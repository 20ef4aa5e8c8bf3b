//! What a mapped step shows: tensors and rows of them, without a copy.

use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::mapping::Mapping;
use super::shard::Layout;
use super::{Dtype, Element, TraceError, element};

/// K or V.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Tensor {
    /// Keys, after normalisation and rotary embedding.
    #[serde(rename = "k")]
    K,
    /// Values.
    #[serde(rename = "v")]
    V,
}

impl Tensor {
    /// Both.
    pub const ALL: [Self; 2] = [Self::K, Self::V];

    /// Its letter in files.
    #[must_use]
    pub const fn letter(self) -> &'static str {
        match self {
            Self::K => "k",
            Self::V => "v",
        }
    }

    /// Its name in a shard: `layers.{layer}.k`.
    #[must_use]
    pub fn name(self, layer: u32) -> String {
        format!("layers.{layer}.{}", self.letter())
    }
}

impl fmt::Display for Tensor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::K => "K",
            Self::V => "V",
        })
    }
}

/// The dimensions of a tensor, outermost first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Samples.
    pub samples: usize,
    /// Tokens.
    pub tokens: usize,
    /// Heads.
    pub heads: usize,
    /// Channels of a head.
    pub head_dim: usize,
}

impl Shape {
    /// Channels of a row.
    #[must_use]
    pub fn channels(self) -> usize {
        self.heads * self.head_dim
    }

    /// Elements of one sample.
    #[must_use]
    pub fn sample(self) -> usize {
        self.tokens * self.channels()
    }

    /// Elements of all samples.
    #[must_use]
    pub fn elements(self) -> usize {
        self.samples * self.sample()
    }

    /// As safetensors writes it.
    #[must_use]
    pub fn dimensions(self) -> [usize; 4] {
        [self.samples, self.tokens, self.heads, self.head_dim]
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.dimensions())
    }
}

/// One step of a trace, mapped until dropped.
#[derive(Debug)]
pub struct StepView {
    pub(super) path: PathBuf,
    pub(super) step: u32,
    pub(super) samples: Vec<u32>,
    pub(super) shape: Shape,
    pub(super) dtype: Dtype,
    pub(super) mapping: Mapping,
    pub(super) layout: Layout,
}

impl StepView {
    /// The step.
    #[must_use]
    pub fn step(&self) -> u32 {
        self.step
    }

    /// The samples of its tensors, as the manifest counts them.
    #[must_use]
    pub fn samples(&self) -> &[u32] {
        &self.samples
    }

    /// The shard.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A tensor of the step.
    ///
    /// # Errors
    /// [`TraceError::NotRecorded`] if the trace does not have this layer.
    pub fn tensor(&self, layer: u32, tensor: Tensor) -> Result<TensorView<'_>, TraceError> {
        let range = self.layout.get(layer, tensor);
        let range = range.ok_or_else(|| TraceError::NotRecorded {
            file: self.path.display().to_string(),
            what: format!("layer {layer}"),
            known: format!("{:?}", self.layout.layers()),
        })?;
        Ok(TensorView {
            step: self.step,
            layer,
            tensor,
            shape: self.shape,
            dtype: self.dtype,
            bytes: &self.mapping[range],
        })
    }
}

/// One tensor of one step.
#[derive(Clone, Copy, Debug)]
pub struct TensorView<'a> {
    /// The step.
    pub step: u32,
    /// The layer.
    pub layer: u32,
    /// K or V.
    pub tensor: Tensor,
    /// Its shape.
    pub shape: Shape,
    /// The type of its elements.
    pub dtype: Dtype,
    /// Its elements, little-endian, row-major.
    pub bytes: &'a [u8],
}

impl<'a> TensorView<'a> {
    /// Rows of one sample: `tokens` counts from the first recorded token.
    ///
    /// # Panics
    /// If the trace does not hold that sample or those tokens.
    #[must_use]
    pub fn rows(self, sample: usize, tokens: Range<usize>) -> Rows<'a> {
        let Shape {
            samples,
            tokens: all,
            ..
        } = self.shape;
        assert!(
            sample < samples && tokens.start <= tokens.end && tokens.end <= all,
            "rows of a recorded sample and of recorded tokens are asked for"
        );
        let row = self.shape.channels() * self.dtype.size();
        let start = sample * all;
        Rows {
            rows: tokens.len(),
            channels: self.shape.channels(),
            dtype: self.dtype,
            bytes: &self.bytes[(start + tokens.start) * row..(start + tokens.end) * row],
        }
    }

    /// All rows of one sample.
    ///
    /// # Panics
    /// If the trace does not hold that sample.
    #[must_use]
    pub fn sample(self, sample: usize) -> Rows<'a> {
        self.rows(sample, 0..self.shape.tokens)
    }
}

/// Consecutive rows of a tensor: `rows` x `channels` elements.
#[derive(Clone, Copy, Debug)]
pub struct Rows<'a> {
    /// Tokens.
    pub rows: usize,
    /// Elements of a token: heads x head_dim.
    pub channels: usize,
    /// The type of the elements.
    pub dtype: Dtype,
    /// The elements, little-endian.
    pub bytes: &'a [u8],
}

/// A NaN or an infinity, and where it stands.
#[derive(Clone, Copy, Debug)]
pub struct NonFinite {
    /// The element, from 0.
    pub index: usize,
    /// What it is.
    pub value: f32,
}

impl Rows<'_> {
    /// Elements.
    #[must_use]
    pub fn elements(&self) -> usize {
        self.rows * self.channels
    }

    /// Reads all elements into `out`, converted where its type is another: through f32, rounded to
    /// nearest even.
    ///
    /// # Panics
    /// If `out` does not hold exactly as many elements.
    pub fn read<E: Element>(&self, out: &mut [E]) {
        element::read(self.dtype, self.bytes, out);
    }

    /// As [`read`](Self::read), from element `start` on, as many as `out` holds.
    ///
    /// # Panics
    /// If there are not as many.
    pub fn block<E: Element>(&self, start: usize, out: &mut [E]) {
        let size = self.dtype.size();
        let bytes = &self.bytes[start * size..(start + out.len()) * size];
        element::read(self.dtype, bytes, out);
    }

    /// All elements in a vector of their own.
    #[must_use]
    pub fn to_vec<E: Element>(&self) -> Vec<E> {
        let mut out = vec![E::default(); self.elements()];
        self.read(&mut out);
        out
    }

    /// The first element that is not finite.
    #[must_use]
    pub fn non_finite(&self) -> Option<NonFinite> {
        const BLOCK: usize = 4096;
        let mut block = [0.0_f32; BLOCK];
        for start in (0..self.elements()).step_by(BLOCK) {
            let block = &mut block[..BLOCK.min(self.elements() - start)];
            self.block(start, block);
            if let Some(at) = block.iter().position(|value| !value.is_finite()) {
                return Some(NonFinite {
                    index: start + at,
                    value: block[at],
                });
            }
        }
        None
    }
}
