//! Replay: the real compressors, with their bases and error feedback, over a recorded trace.
//!
//! ```text
//! trace ─▶ slot (layer, K or V, sample) ─▶ shard of each rank ─▶ Loopback, step by step
//!                                                                  e_t = reconstruction - truth
//!   P_p = sum over steps t of phase p of dsigma_t e_t      Gram(p c, q c') = <P_p^c, P_q^c'>
//! ```
//! Errors that keep their direction for many steps add up in the output, fresh ones average out: so the
//! vectors are summed over steps before they are squared, and the sums of every compressor and phase
//! are kept as a Gram matrix, from which the error of any schedule of compressors follows.
//!
//! Guarantees: equal traces and settings give equal results at any number of threads (slots are
//! independent, and collected in order); memory per slot is that of one shard: 4 bytes an element for
//! every compressor and phase.
//!
//! Not modelled: that a compressed run leaves the recorded trajectory (the sensitivities of
//! [`crate::quality`] are measured on runs that do); what a base carries over where the compressor
//! changes between phases.

mod slot;
mod table;

use std::ops::Range;

use kernels::Compressor;
use kernels::wire::{Half, Protocol, WireError};
use thiserror::Error;
use topologies::Bytes;
use traces::trace::{Dtype, StepView, Tensor, Trace, TraceError};

pub use slot::{Measured, Slot, StepError};
pub use table::{Replayed, Step, Summary};

/// What is replayed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// Ranks that share the sequence.
    pub ranks: u32,
    /// The compressors; the previous step's K and V ("stale") are always replayed beside them.
    pub compressors: Vec<Compressor>,
    /// Base, feedback and warm-up.
    pub protocol: Protocol,
}

/// What a receiver works with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Method {
    /// The reconstruction of a compressed message.
    Compressed(Compressor),
    /// K and V of the step before (DistriFusion, PipeFusion).
    Stale,
}

impl std::fmt::Display for Method {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Compressed(compressor) => compressor.fmt(f),
            Self::Stale => f.write_str("stale"),
        }
    }
}

/// Why a trace cannot be replayed.
#[derive(Debug, Error)]
pub enum ReplayError {
    /// The trace does not hold what a replay needs.
    #[error(
        "{trace} holds {what}: a replay needs whole activations of every step, so record or slice it without that"
    )]
    Subset {
        /// The trace.
        trace: String,
        /// Which part.
        what: String,
    },
    /// The image does not divide.
    #[error("{image} image tokens do not divide over {ranks} ranks: choose one of {choices}")]
    Ranks {
        /// Image tokens.
        image: u32,
        /// Ranks asked for.
        ranks: u32,
        /// Numbers of ranks that divide it, up to 64.
        choices: String,
    },
    /// The trace cannot be read.
    #[error(transparent)]
    Trace(#[from] TraceError),
    /// An activation that no compressor takes.
    #[error("sample {sample}: {error}")]
    Activation {
        /// The sample.
        sample: u32,
        /// What is wrong, with layer, step and index.
        error: WireError,
    },
}

/// One piece of work: all steps of a layer's K or V of one sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SlotId {
    /// The layer.
    pub layer: u32,
    /// K or V.
    pub tensor: Tensor,
    /// The sample, as a position in the shards.
    pub sample: usize,
}

/// A trace that is ready to be replayed.
#[derive(Debug)]
pub struct Replay {
    setting: Setting,
    steps: Vec<StepView>,
    weights: Vec<f64>,
    layers: Vec<u32>,
    samples: Vec<u32>,
    /// The token ranges of each rank.
    shards: Vec<Vec<Range<usize>>>,
    channels: usize,
    half: Half,
}

impl Replay {
    /// Maps the trace and cuts its sequence into shards: image and text apart, as FLUX's ranks do;
    /// text that does not divide is on every rank and not sent.
    ///
    /// # Errors
    /// [`ReplayError::Subset`], [`ReplayError::Ranks`] or [`ReplayError::Trace`].
    pub fn new(trace: &Trace, setting: Setting) -> Result<Self, ReplayError> {
        let manifest = trace.manifest();
        let name = trace.directory().display().to_string();
        let subset = |what: &str| ReplayError::Subset {
            trace: name.clone(),
            what: what.to_owned(),
        };
        let recorded = &manifest.recorded;
        if recorded.tokens.is_some() {
            return Err(subset("a part of the tokens"));
        }
        if recorded.heads.is_some() {
            return Err(subset("a part of the heads"));
        }
        let steps = trace.steps();
        if steps.is_empty() || !steps.iter().copied().eq(0..manifest.sampler.steps) {
            return Err(subset("a part of the steps"));
        }
        let model = &manifest.model;
        if setting.ranks == 0 || !model.image_tokens.is_multiple_of(setting.ranks) {
            let image = model.image_tokens;
            let divide = (1..=64_u32.min(image)).filter(|ranks| image.is_multiple_of(*ranks));
            let choices: Vec<String> = divide.map(|ranks| ranks.to_string()).collect();
            let choices = choices.join(", ");
            let ranks = setting.ranks;
            return Err(ReplayError::Ranks {
                image,
                ranks,
                choices,
            });
        }
        let views = steps.iter().map(|&step| trace.step(step));
        Ok(Self {
            shards: shards(&model.text(), &model.image(), setting.ranks),
            steps: views.collect::<Result<_, _>>()?,
            weights: steps
                .iter()
                .map(|&step| manifest.sampler.weight(step))
                .collect(),
            layers: recorded.layers.clone(),
            samples: manifest.recorded_samples(),
            channels: manifest.shape().channels(),
            half: match manifest.dtype {
                Dtype::Bfloat16 => Half::Bf16,
                Dtype::Float16 | Dtype::Float32 => Half::F16,
            },
            setting,
        })
    }

    /// What is replayed.
    #[must_use]
    pub fn setting(&self) -> &Setting {
        &self.setting
    }

    /// Everything there is to replay, in the order of the results.
    #[must_use]
    pub fn slots(&self) -> Vec<SlotId> {
        let mut slots = Vec::new();
        for &layer in &self.layers {
            for tensor in Tensor::ALL {
                let of = |sample| SlotId {
                    layer,
                    tensor,
                    sample,
                };
                slots.extend((0..self.samples.len()).map(of));
            }
        }
        slots
    }

    /// Memory that replaying one slot takes.
    #[must_use]
    pub fn slot_bytes(&self) -> Bytes {
        let sums = self.methods().len() * PHASES;
        Bytes::new((self.shard_elements() * 4 * (sums + 8)) as u64)
    }

    /// Compressors and staleness, in the order of the results.
    fn methods(&self) -> Vec<Method> {
        let compressors = self.setting.compressors.iter().copied();
        compressors
            .map(Method::Compressed)
            .chain([Method::Stale])
            .collect()
    }

    fn shard_elements(&self) -> usize {
        self.shard_rows() * self.channels
    }

    fn shard_rows(&self) -> usize {
        self.shards[0].iter().map(Range::len).sum()
    }
}

/// Phases of a run: [`traces::trace::Phase`].
pub(crate) const PHASES: usize = traces::trace::Phase::ALL.len();

/// The token ranges that each rank sends.
fn shards(text: &Range<u32>, image: &Range<u32>, ranks: u32) -> Vec<Vec<Range<usize>>> {
    let part = |of: &Range<u32>, rank: u32| {
        let length = of.len() as u32 / ranks;
        let start = of.start + rank * length;
        start as usize..(start + length) as usize
    };
    let splits = !text.is_empty() && (text.len() as u32).is_multiple_of(ranks);
    let of_rank = |rank| {
        let mut ranges = Vec::new();
        if splits {
            ranges.push(part(text, rank));
        }
        ranges.push(part(image, rank));
        ranges.sort_by_key(|range: &Range<usize>| range.start);
        ranges
    };
    (0..ranks).map(of_rank).collect()
}

#[cfg(test)]
mod tests;
