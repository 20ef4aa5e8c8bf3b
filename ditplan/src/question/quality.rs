//! `--trace` and `--budget`: what a recorded trace says of the model's output.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Result, bail, ensure};
use sim::model::{self, Model, Request};
use sim::quality::QualityModel;
use traces::bundled;
use traces::trace::{Calibrated, Trace};

use planner::search::{Budget, TraceQuality};

/// What the trace that was named, or else the one that comes with the program, says of `model`.
pub(crate) fn of(
    typed: Option<&Path>,
    budget: Option<Budget>,
    model: &Model,
    request: &Request,
) -> Result<Option<TraceQuality>> {
    let measured = matches!(budget, Some(Budget::Psnr(_) | Budget::RelativeL2(_)));
    let Some(directory) = typed else {
        let own =
            bundled::of(&model.name).filter(|own| own.manifest.sampler.steps == request.steps);
        if own.is_none() && measured {
            bail!(
                "--budget needs a recorded trace of {} in {} steps: give --trace DIR (ditplan_capture records one), or a \
                 budget on published figures (fid<=..., lpips<=...)",
                model.name,
                request.steps
            );
        }
        return own.map(|own| checked(own, model, request)).transpose();
    };
    let trace = Trace::open(directory)?;
    let calibrated = trace.calibrated()?;
    checked(calibrated, model, request).map(Some)
}

/// The quality model, if the trace is one of this model and request.
fn checked(calibrated: Calibrated, model: &Model, request: &Request) -> Result<TraceQuality> {
    let Calibrated {
        name,
        manifest,
        quality,
        errors,
    } = calibrated;
    let of = &manifest.model;
    let same = model::find(&of.name).is_ok_and(|known| known.name == model.name);
    ensure!(
        same,
        "{name} was recorded from {}, but the plan is for {}: give a trace of that model",
        of.name,
        model.name
    );
    let steps = manifest.sampler.steps;
    ensure!(
        steps == request.steps,
        "{name} has {steps} steps, but the plan has {}: ask for --steps {steps}, or give a trace of {} steps",
        request.steps,
        request.steps
    );
    let workload = model.workload(request)?;
    let (image, text) = (u64::from(of.image_tokens), u64::from(of.text_tokens));
    ensure!(
        (image, text) == (workload.tokens.image, workload.tokens.text),
        "{name} was recorded at {image} image and {text} text tokens, but the plan has {} and {}: record one at this size",
        workload.tokens.image,
        workload.tokens.text
    );
    ensure!(
        of.layers as usize == workload.layers.order.len(),
        "{name} has {} attention layers, but {} has {}: record every layer",
        of.layers,
        model.name,
        workload.layers.order.len()
    );
    let quality = QualityModel::new(quality, &errors, of.layers)?;
    Ok(TraceQuality {
        name,
        model: Arc::new(quality),
        steps,
    })
}
