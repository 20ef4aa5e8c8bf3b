//! Synthetic traces for tests: numbers of a hash, not of a model, and their manifest says so.
//!
//! ```text
//! x_t = b + swing(t) * d        b, d uniform in [-1, 1) for each element
//! swing(t) = 0.4 * (1 - 1.9 t / T)^2      so that residuals are large at both ends, as a model's are
//! ```
//! Guarantees: equal manifests give equal traces on every machine (the generator is SplitMix64, Steele,
//! Lea and Flood, OOPSLA 2014).

use std::collections::BTreeMap;
use std::path::Path;

use half::{bf16, f16};

use crate::trace::{
    Capture, Device, DeviceKind, Dtype, Element, Format, Label, Manifest, ModelInfo, Recorded,
    Sample, Sampler, State, Statistic, Tensor, TokenOrder, Trace, TraceError, TraceWriter, measure,
};

/// A manifest of `samples` samples, `layers` layers and `steps` steps; 4 text and 12 image tokens, 2
/// heads of 8 channels, everything recorded as f16. Change what a test needs changed.
#[must_use]
pub fn manifest(samples: u32, layers: u32, steps: u32) -> Manifest {
    Manifest {
        format: Format::Trace,
        version: 1,
        state: State::Complete,
        model: ModelInfo {
            name: "synthetic noise, no model".to_owned(),
            architecture: "synthetic".to_owned(),
            layers,
            heads: 2,
            head_dim: 8,
            image_tokens: 12,
            text_tokens: 4,
            token_order: TokenOrder::TextFirst,
            layer_names: (0..layers).map(|layer| format!("block.{layer}")).collect(),
            config: serde_json::json!({}),
        },
        sampler: Sampler {
            name: "none".to_owned(),
            steps,
            sigmas: (0..=steps)
                .map(|step| 1.0 - f64::from(step) / f64::from(steps))
                .collect(),
            response: None,
        },
        samples: (0..samples).map(sample).collect(),
        recorded: Recorded {
            layers: (0..layers).collect(),
            steps: (0..steps).collect(),
            heads: None,
            tokens: None,
            samples: None,
        },
        dtype: Dtype::Float16,
        device: Device {
            kind: DeviceKind::Cpu,
            name: "none: computed by traces::testing".to_owned(),
            driver: None,
        },
        libraries: BTreeMap::new(),
        environment: BTreeMap::new(),
        capture: Capture::default(),
        files: Vec::new(),
        created: "2026-11-23".to_owned(),
        license: None,
    }
}

fn sample(class: u32) -> Sample {
    Sample {
        prompt_sha256: None,
        label: Some(Label::Class(u64::from(class))),
        seed: Some(u64::from(class)),
        guidance: None,
    }
}

/// Writes the synthetic trace of a manifest, and opens it.
///
/// # Errors
/// Those of [`TraceWriter`].
pub fn synthetic(directory: impl AsRef<Path>, manifest: &Manifest) -> Result<Trace, TraceError> {
    let mut writer = TraceWriter::create(&directory, manifest.clone())?;
    for &step in &manifest.recorded.steps {
        writer.step(|layer, tensor, out| {
            let values = values(manifest, step, layer, tensor);
            put(manifest.dtype, &values, out);
            Ok(())
        })?;
    }
    writer.finish()?;
    Trace::open(directory)
}

/// The synthetic activations of one tensor, in its order.
#[must_use]
pub fn values(manifest: &Manifest, step: u32, layer: u32, tensor: Tensor) -> Vec<f32> {
    let (model, recorded) = (&manifest.model, manifest.recorded_tokens());
    let phase = 1.0 - 1.9 * f64::from(step) / f64::from(manifest.sampler.steps);
    let swing = 0.4 * phase * phase;
    let mut values = Vec::with_capacity(manifest.shape().elements());
    for sample in manifest.recorded_samples() {
        for token in recorded.clone() {
            for head in manifest.recorded_heads() {
                for channel in 0..model.head_dim {
                    let slot = u64::from(layer * 2 + u32::from(tensor == Tensor::V));
                    let place = [sample, token, head, channel].map(u64::from);
                    let seed = place.iter().fold(hash(slot), |seed, at| hash(seed ^ at));
                    let (base, drift) = (uniform(seed), uniform(hash(seed)));
                    values.push((base + swing * drift) as f32);
                }
            }
        }
    }
    values
}

/// The statistics of everything a trace holds, as a recorder writes them: by sample, step, layer, tensor.
///
/// # Errors
/// Those of [`measure`].
pub fn statistics(trace: &Trace) -> Result<Vec<Statistic>, TraceError> {
    let mut rows = Vec::new();
    let mut before = None;
    for step in trace.steps() {
        let view = trace.step(step)?;
        for &layer in &trace.manifest().recorded.layers {
            for tensor in Tensor::ALL {
                rows.extend(measure(&view, before.as_ref(), layer, tensor)?);
            }
        }
        before = Some(view);
    }
    rows.sort_by_key(|row| (row.sample, row.step, row.layer, row.tensor));
    Ok(rows)
}

/// f32 values as little-endian bytes of another type.
pub fn put(dtype: Dtype, values: &[f32], out: &mut Vec<u8>) {
    fn narrowed<E: Element>(values: &[f32], out: &mut Vec<u8>) {
        let mut narrow = vec![E::default(); values.len()];
        E::narrow(values, &mut narrow);
        E::put(&narrow, out);
    }
    match dtype {
        Dtype::Float16 => narrowed::<f16>(values, out),
        Dtype::Bfloat16 => narrowed::<bf16>(values, out),
        Dtype::Float32 => f32::put(values, out),
    }
}

/// SplitMix64 of one state.
fn hash(state: u64) -> u64 {
    let z = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// In [-1, 1).
fn uniform(bits: u64) -> f64 {
    (hash(bits) >> 11) as f64 / (1_u64 << 52) as f64 - 1.0
}
