//! `trace slice` and `trace convert`.

use std::path::PathBuf;

use anyhow::{Result, bail};
use traces::trace::{self, Dtype, Selection, Trace};

use super::arguments::{ConvertArguments, SliceArguments};
use super::info;
use super::numbers::{optional_list, range};
use crate::render::progress::progress;

/// What `trace slice` prints; it writes the new trace.
pub(super) fn slice(typed: &SliceArguments) -> Result<String> {
    let selection = Selection {
        layers: optional_list(typed.layers.as_ref(), "--layers")?,
        steps: optional_list(typed.steps.as_ref(), "--steps")?,
        samples: optional_list(typed.samples.as_ref(), "--samples")?,
        heads: optional_list(typed.heads.as_ref(), "--heads")?,
        tokens: typed
            .tokens
            .as_ref()
            .map(|text| range(text, "--tokens"))
            .transpose()?,
    };
    let trace = typed.source.open()?;
    let steps = selection
        .steps
        .as_ref()
        .map_or(trace.steps().len(), Vec::len);
    let bar = progress(steps as u64, "slicing");
    let done = trace::slice(&trace, &selection, &typed.out, |_| bar.inc(1));
    bar.finish_and_clear();
    done?;
    written(&typed.out)
}

/// What `trace convert` prints; it writes the new trace.
pub(super) fn convert(typed: &ConvertArguments) -> Result<String> {
    let dtype = Dtype::ALL.into_iter().find(|one| one.word() == typed.dtype);
    let Some(dtype) = dtype else {
        let known = Dtype::ALL.map(Dtype::word).join(", ");
        bail!(
            "--dtype \"{}\" is not known: give one of {known}",
            typed.dtype
        );
    };
    let trace = typed.source.open()?;
    let bar = progress(trace.steps().len() as u64, "converting");
    let done = trace::convert(&trace, dtype, &typed.out, |_| bar.inc(1));
    bar.finish_and_clear();
    done?;
    written(&typed.out)
}

/// Where a new trace was written, and what it holds.
fn written(out: &PathBuf) -> Result<String> {
    let trace = Trace::open(out)?;
    Ok(format!(
        "wrote {}\n{}",
        out.display(),
        info::page(&trace, None)
    ))
}
