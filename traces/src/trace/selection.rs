//! Parts of a trace, and traces of another element type, as new traces.
//!
//! Tables, the calibration and the timeline describe the run, not the shards: they are carried over as
//! they are. Only [`convert`] renews statistics, of what the shards hold whole.
//!
//! Guarantees: one tensor is in memory at a time; what is written passes every check of [`Trace::open`]
//! and [`measure`](super::measure).

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::Path;

use half::{bf16, f16};

use super::view::{Rows, StepView, Tensor, TensorView};
use super::{
    Dtype, ERRORS, Element, Manifest, QUALITY, RUNS, Recorded, STATISTICS, Statistic, TIMELINE,
    Trace, TraceError, TraceWriter, measure,
};

#[cfg(test)]
mod tests;

/// What to keep, in the numbers of the model and the run; `None` keeps everything that was recorded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// Layers, ascending.
    pub layers: Option<Vec<u32>>,
    /// Steps, ascending.
    pub steps: Option<Vec<u32>>,
    /// Samples, ascending.
    pub samples: Option<Vec<u32>>,
    /// Heads, ascending.
    pub heads: Option<Vec<u32>>,
    /// Tokens of the sequence.
    pub tokens: Option<Range<u32>>,
}

/// Writes part of a trace as a new one; `done` hears of every step.
///
/// # Errors
/// [`TraceError::NotRecorded`] if the trace does not have what is to be kept, or what is wrong with
/// either directory.
pub fn slice(
    trace: &Trace,
    selection: &Selection,
    out: impl AsRef<Path>,
    mut done: impl FnMut(u32),
) -> Result<(), TraceError> {
    let manifest = selected(trace, selection)?;
    let cut = Cut::new(trace.manifest(), &manifest);
    let mut writer = TraceWriter::create(out, manifest)?;
    for step in writer.manifest().recorded.steps.clone() {
        let view = trace.step(step)?;
        writer.step(|layer, tensor, bytes| {
            cut.copy(view.tensor(layer, tensor)?, bytes);
            Ok(())
        })?;
        done(step);
    }
    carry(trace, &mut writer, None)?;
    writer.finish()
}

/// Writes a trace with elements of another type as a new one; `done` hears of every step.
///
/// # Errors
/// [`TraceError::NonFinite`] if an element is not finite, or is too large for the type; or what is wrong
/// with either directory.
pub fn convert(
    trace: &Trace,
    dtype: Dtype,
    out: impl AsRef<Path>,
    mut done: impl FnMut(u32),
) -> Result<(), TraceError> {
    let mut manifest = selected(trace, &Selection::default())?;
    manifest.dtype = dtype;
    let mut writer = TraceWriter::create(&out, manifest)?;
    for step in writer.manifest().recorded.steps.clone() {
        let view = trace.step(step)?;
        let place = trace.manifest().recorded_samples();
        writer.step(|layer, tensor, bytes| {
            let tensor = view.tensor(layer, tensor)?;
            for (place, &sample) in place.iter().enumerate() {
                let rows = tensor.sample(place);
                match dtype {
                    Dtype::Float16 => rounded::<f16>(rows, bytes),
                    Dtype::Bfloat16 => rounded::<bf16>(rows, bytes),
                    Dtype::Float32 => rounded::<f32>(rows, bytes),
                }
                .map_err(|(index, value)| unrepresentable(&view, tensor, sample, index, value))?;
            }
            Ok(())
        })?;
        done(step);
    }
    let statistics = renewed(trace, out.as_ref())?;
    carry(trace, &mut writer, statistics)?;
    writer.finish()
}

/// The manifest of a part of a trace.
fn selected(trace: &Trace, selection: &Selection) -> Result<Manifest, TraceError> {
    let mut manifest = trace.manifest().clone();
    let file = trace.directory().display().to_string();
    let recorded = manifest.recorded.clone();
    let list = |what, wanted: &Option<Vec<u32>>, known: Vec<u32>| {
        let missing = wanted.iter().flatten().find(|id| !known.contains(id));
        match missing {
            Some(id) => Err(TraceError::NotRecorded {
                file: file.clone(),
                what: format!("{what} {id}"),
                known: format!("{known:?}"),
            }),
            None => Ok(wanted.clone()),
        }
    };
    let layers = list("layer", &selection.layers, recorded.layers.clone())?;
    let steps = list("step", &selection.steps, trace.steps())?;
    let samples = list("sample", &selection.samples, manifest.recorded_samples())?;
    let heads = list("head", &selection.heads, manifest.recorded_heads())?;
    let all = manifest.recorded_tokens();
    let tokens = match &selection.tokens {
        None => recorded.tokens,
        Some(wanted)
            if wanted.start < wanted.end && all.start <= wanted.start && wanted.end <= all.end =>
        {
            Some((wanted.start, wanted.end))
        }
        Some(wanted) => {
            return Err(TraceError::NotRecorded {
                file,
                what: format!("tokens {}..{}", wanted.start, wanted.end),
                known: format!("the tokens of {}..{}", all.start, all.end),
            });
        }
    };
    manifest.recorded = Recorded {
        layers: layers.unwrap_or(recorded.layers),
        steps: steps.unwrap_or_else(|| trace.steps()),
        heads: heads.or(recorded.heads),
        tokens,
        samples: samples.or(recorded.samples),
    };
    Ok(manifest)
}

/// Which samples, tokens and heads of a recorded tensor are kept, as positions in it.
struct Cut {
    samples: Vec<usize>,
    tokens: Range<usize>,
    heads: Vec<usize>,
}

impl Cut {
    fn new(from: &Manifest, to: &Manifest) -> Self {
        let place = |known: Vec<u32>, wanted: Vec<u32>| -> Vec<usize> {
            let wanted = wanted.into_iter();
            let place = |id| known.iter().position(|known| *known == id);
            wanted
                .map(|id| place(id).expect("only what was recorded is selected"))
                .collect()
        };
        let (all, tokens) = (from.recorded_tokens(), to.recorded_tokens());
        Self {
            samples: place(from.recorded_samples(), to.recorded_samples()),
            tokens: (tokens.start - all.start) as usize..(tokens.end - all.start) as usize,
            heads: place(from.recorded_heads(), to.recorded_heads()),
        }
    }

    /// Puts the kept elements of a tensor behind `out`.
    fn copy(&self, tensor: TensorView<'_>, out: &mut Vec<u8>) {
        let head = tensor.shape.head_dim * tensor.dtype.size();
        let whole = self.heads.len() == tensor.shape.heads;
        for &sample in &self.samples {
            let rows = tensor.rows(sample, self.tokens.clone());
            if whole {
                out.extend_from_slice(rows.bytes);
                continue;
            }
            for row in rows.bytes.chunks_exact(head * tensor.shape.heads) {
                for &at in &self.heads {
                    out.extend_from_slice(&row[at * head..(at + 1) * head]);
                }
            }
        }
    }
}

/// Puts rows behind `out` as another type; the index and the value of the first element that is not
/// finite in either.
fn rounded<E: Element>(rows: Rows<'_>, out: &mut Vec<u8>) -> Result<(), (usize, f32)> {
    let values: Vec<f32> = rows.to_vec();
    let narrow: Vec<E> = rows.to_vec();
    let mut back = vec![0.0; narrow.len()];
    E::widen(&narrow, &mut back);
    if let Some(index) = back.iter().position(|value| !value.is_finite()) {
        return Err((index, values[index]));
    }
    E::put(&narrow, out);
    Ok(())
}

/// The error of an element that cannot be converted.
fn unrepresentable(
    view: &StepView,
    tensor: TensorView<'_>,
    sample: u32,
    index: usize,
    value: f32,
) -> TraceError {
    TraceError::NonFinite {
        file: view.path().display().to_string(),
        value,
        tensor: tensor.tensor,
        layer: tensor.layer,
        step: tensor.step,
        sample,
        index,
        remedy: if value.is_finite() {
            ", or convert to a type that holds it"
        } else {
            ""
        },
    }
}

/// Copies the files that are no shards; statistics only where there are none in their place.
fn carry(
    trace: &Trace,
    writer: &mut TraceWriter,
    statistics: Option<Vec<Statistic>>,
) -> Result<(), TraceError> {
    let listed = trace.files().filter(|entry| entry.step.is_none());
    let listed = listed.map(|entry| entry.name.as_str());
    let known = [STATISTICS, ERRORS, RUNS, QUALITY, TIMELINE];
    let names: BTreeSet<&str> = listed.chain(known).collect();
    for name in names {
        match &statistics {
            Some(rows) if name == STATISTICS => writer.put_rows(rows)?,
            _ => {
                if let Some(bytes) = trace.bytes(name)? {
                    writer.put(name, &bytes)?;
                }
            }
        }
    }
    Ok(())
}

/// Statistics of the converted tensors under `out`, all of whose steps are written; none where there were none, or shards
/// hold parts of tensors.
fn renewed(trace: &Trace, out: &Path) -> Result<Option<Vec<Statistic>>, TraceError> {
    let recorded = &trace.manifest().recorded;
    let whole = recorded.heads.is_none() && recorded.tokens.is_none();
    let Some(mut rows) = trace.rows::<Statistic>()?.filter(|_| whole) else {
        return Ok(None);
    };
    let converted = Trace::open_partial(out)?;
    let layers = recorded.layers.clone();
    let mut renewed = BTreeMap::new();
    let mut before = None;
    for step in converted.steps() {
        let view = converted.step(step)?;
        for &layer in &layers {
            for tensor in Tensor::ALL {
                for row in measure(&view, before.as_ref(), layer, tensor)? {
                    renewed.insert((row.sample, step, layer, tensor), row);
                }
            }
        }
        before = Some(view);
    }
    for row in &mut rows {
        if let Some(new) = renewed.get(&(row.sample, row.step, row.layer, row.tensor)) {
            row.norm = new.norm;
            row.residual_norm = new.residual_norm.or(row.residual_norm);
            row.cosine = new.cosine.or(row.cosine);
        }
    }
    Ok(Some(rows))
}
