//! What `replay --json` prints.

#[cfg(test)]
use schemars::JsonSchema;
use serde::Serialize;
use sim::replay::{self, Replayed};
use traces::trace::Trace;

use crate::render::json::Amount;

/// What the compressors do to a recorded trace.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub(crate) struct ReplayAnswer {
    /// The trace's directory.
    pub trace: String,
    /// The model that was recorded.
    pub model: String,
    /// Ranks that share the sequence.
    pub ranks: u32,
    /// All layers together; `layer` is null.
    pub summary: Vec<Summary>,
    /// Each recorded layer.
    pub layers: Vec<Summary>,
}

/// What a compressor does to one tensor.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub(crate) struct Summary {
    /// The layer, from 0; null for all together.
    pub layer: Option<u32>,
    /// The compressor; stale is K and V of the step before, uncompressed.
    pub compressor: String,
    /// K or V.
    #[cfg_attr(test, schemars(extend("enum" = ["k", "v"])))]
    pub tensor: &'static str,
    /// Raw over compressed bytes of a message after warm-up.
    pub ratio: Amount,
    /// The share of the residual's energy that a message carries, a fraction of 1.
    pub contraction: f64,
    /// Reconstruction error relative to the activation, root mean square over steps, layers and samples.
    pub error: Amount,
    /// Error summed over steps as vectors, weighted with the step sizes, then squared; the root of its mean.
    pub coherent: Amount,
    /// Coherent over incoherent energy: how much errors keep their direction; 1 where they are fresh in each step.
    pub persistence: Amount,
}

impl ReplayAnswer {
    /// The errors of a trace's replay.
    pub(super) fn new(trace: &Trace, replayed: &Replayed) -> Self {
        let layers = trace.manifest().recorded.layers.iter();
        let layers = layers.flat_map(|&layer| {
            let own = replayed.summaries(|of| of == layer);
            let own = own.iter().map(|one| Summary::new(Some(layer), one));
            own.collect::<Vec<_>>()
        });
        let summary = replayed.summaries(|_| true);
        Self {
            trace: trace.directory().display().to_string(),
            model: trace.manifest().model.name.clone(),
            ranks: replayed.setting.ranks,
            summary: summary.iter().map(|one| Summary::new(None, one)).collect(),
            layers: layers.collect(),
        }
    }
}

impl Summary {
    fn new(layer: Option<u32>, one: &replay::Summary) -> Self {
        Self {
            layer,
            compressor: one.method.to_string(),
            tensor: one.tensor.letter(),
            ratio: one.ratio.into(),
            contraction: one.contraction,
            error: one.error.into(),
            coherent: one.coherent.into(),
            persistence: one.persistence.into(),
        }
    }
}
