//! `trace stats`: how far activations move from step to step.

use std::path::Path;

use anyhow::{Result, bail};
use rayon::prelude::*;
#[cfg(test)]
use schemars::JsonSchema;
use serde::Serialize;
use traces::trace::{
    FLUX_STEPS, Grouping, Point, Statistic, Tensor, Trace, TraceError, curve, flux, flux_at,
    measure,
};

use super::arguments::StatsArguments;
use super::numbers;
use super::picture::Curves;
use crate::render::json::{Amount, pretty};
use crate::render::progress::progress;
use crate::render::{figure, text};

/// What `trace stats` prints; it also draws.
pub(super) fn answer(typed: &StatsArguments) -> Result<String> {
    let trace = typed.source.open()?;
    let mut rows = statistics(&trace)?;
    if let Some(layers) = numbers::optional_list(typed.layers.as_ref(), "--layers")? {
        let missing = layers
            .iter()
            .find(|id| rows.iter().all(|row| row.layer != **id));
        if let Some(id) = missing {
            let of = trace.manifest().model.layers;
            bail!(
                "--layers: there are no statistics of layer {id}: the model has layers 0 to {}",
                of - 1
            );
        }
        rows.retain(|row| layers.contains(&row.layer));
    }
    let grouping = match typed.by_layer {
        true => Grouping::ByLayer,
        false => Grouping::Together,
    };
    let points = curve(&rows, grouping);
    if points.is_empty() {
        bail!(
            "{} has no two steps that follow each other: record more steps",
            trace.directory().display()
        );
    }
    let steps = trace.manifest().sampler.steps;
    if let Some(path) = &typed.plot {
        let title = format!("{}, {steps} steps", trace.manifest().model.name);
        draw(
            &Curves::new(title, steps, &curve(&rows, Grouping::Together)),
            path,
        )?;
    }
    if typed.format.json {
        return Ok(pretty(&StatsAnswer {
            steps,
            points: points.iter().map(StatsPoint::from).collect(),
            flux: typed.against_flux.then(published),
        }));
    }
    if typed.csv {
        return as_csv(&points);
    }
    Ok(match grouping {
        Grouping::Together => by_step(&trace, &points, typed.against_flux),
        Grouping::ByLayer => by_layer(&trace, &points),
    })
}

/// The table of the trace, or what its tensors give where there is none.
fn statistics(trace: &Trace) -> Result<Vec<Statistic>, TraceError> {
    if let Some(rows) = trace.rows::<Statistic>()? {
        return Ok(rows);
    }
    let bar = progress(trace.steps().len() as u64, "norms");
    let mut rows = Vec::new();
    let mut before = None;
    for step in trace.steps() {
        let view = trace.step(step)?;
        let layers = &trace.manifest().recorded.layers;
        let measured: Vec<Result<Vec<Statistic>, TraceError>> = layers
            .par_iter()
            .flat_map_iter(|layer| Tensor::ALL.map(|tensor| (*layer, tensor)))
            .map(|(layer, tensor)| measure(&view, before.as_ref(), layer, tensor))
            .collect();
        for measured in measured {
            rows.extend(measured?);
        }
        before = Some(view);
        bar.inc(1);
    }
    bar.finish_and_clear();
    Ok(rows)
}

/// Writes the picture; the name's ending says how.
fn draw(curves: &Curves, path: &Path) -> Result<()> {
    figure::write(curves, path).map_err(|error| figure::undrawn(path, error))
}

/// The point of a tensor, or of both, at a step.
fn at(points: &[Point], step: u32, tensor: Option<Tensor>) -> Option<&Point> {
    let mut points = points.iter();
    points.find(|point| point.step == step && point.tensor == tensor)
}

/// A row for each step: K, V, both, and FLUX.
fn by_step(trace: &Trace, points: &[Point], against_flux: bool) -> String {
    let mut header = vec!["step", "K", "cosine", "V", "cosine", "K and V", "cosine"];
    if against_flux {
        header.extend(["FLUX.1-dev", "cosine"]);
    }
    let columns: Vec<usize> = (0..header.len()).collect();
    let mut table = text::table(&header, &columns);
    let steps = trace.manifest().sampler.steps;
    let both: Vec<&Point> = points
        .iter()
        .filter(|point| point.tensor.is_none())
        .collect();
    for point in &both {
        let mut cells = vec![point.step.to_string()];
        for tensor in [Some(Tensor::K), Some(Tensor::V), None] {
            let point = at(points, point.step, tensor);
            cells.push(point.map_or_else(dash, |point| format!("{:.4}", point.ratio)));
            cells.push(point.map_or_else(dash, |point| format!("{:.4}", point.cosine)));
        }
        if against_flux {
            let flux = flux_at(point.step, steps);
            cells.push(format!("{:.4}", flux.ratio()));
            cells.push(
                flux.cosine
                    .map_or_else(dash, |cosine| format!("{cosine:.4}")),
            );
        }
        table.add_row(cells);
    }
    let mut page = text::heading("Residual over activation, and cosine to the step before");
    page.push_str(&text::rendered(&mut table));
    let ratios: Vec<(u32, f64)> = both.iter().map(|point| (point.step, point.ratio)).collect();
    page.push_str(&format!("\nK and V: {}\n", shape(&ratios)));
    if against_flux {
        let published: Vec<(u32, f64)> = flux()
            .iter()
            .map(|step| (step.step, step.ratio()))
            .collect();
        let beside = match steps {
            FLUX_STEPS => "",
            _ => "; beside each step stands the one at the same part of the run",
        };
        let line = format!(
            "FLUX.1-dev: {} (CompactFusion, {FLUX_STEPS} steps{beside})",
            shape(&published)
        );
        page.push_str(&text::wrapped(&line, 2));
    }
    page
}

fn dash() -> String {
    "-".to_owned()
}

/// A curve of (step, ratio) in words: its ends, its lowest point, its mean.
fn shape(curve: &[(u32, f64)]) -> String {
    let [(_, first), .., (_, last)] = curve else {
        return curve
            .iter()
            .map(|(step, ratio)| format!("{ratio:.3} at step {step}"))
            .collect();
    };
    let (step, low) = lowest(curve);
    let mean = curve.iter().map(|(_, ratio)| ratio).sum::<f64>() / curve.len() as f64;
    let u = if low < 0.8 * first && low < 0.8 * last {
        "U-shaped"
    } else {
        "not U-shaped"
    };
    format!("{u}, {first:.3} at first, {low:.3} at step {step}, {last:.3} at last, mean {mean:.3}")
}

/// The step of the lowest ratio, and the ratio.
fn lowest(curve: &[(u32, f64)]) -> (u32, f64) {
    let lowest = curve.iter().min_by(|a, b| a.1.total_cmp(&b.1));
    *lowest.expect("a curve has points")
}

/// A row for each layer: K and V.
fn by_layer(trace: &Trace, points: &[Point]) -> String {
    let header = [
        "layer", "K first", "lowest", "last", "mean", "cosine", "V first", "lowest", "last",
        "mean", "cosine", "name",
    ];
    let mut table = text::table(&header, &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
    let names = &trace.manifest().model.layer_names;
    let mut layers: Vec<u32> = points.iter().filter_map(|point| point.layer).collect();
    layers.sort_unstable();
    layers.dedup();
    for layer in layers {
        let mut cells = vec![layer.to_string()];
        for tensor in Tensor::ALL {
            let own = points.iter();
            let own =
                own.filter(|point| point.layer == Some(layer) && point.tensor == Some(tensor));
            let own: Vec<&Point> = own.collect();
            let curve: Vec<(u32, f64)> =
                own.iter().map(|point| (point.step, point.ratio)).collect();
            let ([(_, first), ..], [.., (_, last)]) = (&curve[..], &curve[..]) else {
                cells.extend((0..5).map(|_| dash()));
                continue;
            };
            let count = curve.len() as f64;
            let mean = curve.iter().map(|(_, ratio)| ratio).sum::<f64>() / count;
            let cosine = own.iter().map(|point| point.cosine).sum::<f64>() / count;
            let figures = [*first, lowest(&curve).1, *last, mean, cosine];
            cells.extend(figures.iter().map(|figure| format!("{figure:.3}")));
        }
        cells.push(names.get(layer as usize).cloned().unwrap_or_default());
        table.add_row(cells);
    }
    let heading = "Residual over activation by layer, and mean cosine to the step before";
    text::heading(heading) + &text::rendered(&mut table)
}

/// How far activations move from step to step.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub(crate) struct StatsAnswer {
    /// Denoising steps of the sampler.
    pub steps: u32,
    /// By step, layer and tensor.
    pub points: Vec<StatsPoint>,
    /// What was published for FLUX.1-dev (CompactFusion); with --against-flux only.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schemars(with = "Vec<FluxStep>"))]
    pub flux: Option<Vec<FluxStep>>,
}

/// Means over some tensors at one step.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub(crate) struct StatsPoint {
    /// The step, from 1: the first has none before it.
    pub step: u32,
    /// The layer; null for all together (without --by-layer).
    pub layer: Option<u32>,
    /// k, v; null for both together.
    #[cfg_attr(test, schemars(extend("enum" = ["k", "v", null])))]
    pub tensor: Option<&'static str>,
    /// How many tensors of samples it is the mean of.
    pub tensors: u32,
    /// Mean L2 norm.
    pub norm: Amount,
    /// Mean L2 norm of the change since the step before.
    pub residual_norm: Amount,
    /// residual_norm / norm.
    pub ratio: Amount,
    /// Mean cosine to the step before.
    pub cosine: f64,
}

/// A step of FLUX.1-dev as published.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub(crate) struct FluxStep {
    /// The step, from 1.
    pub step: u32,
    /// Mean L2 norm.
    pub norm: Amount,
    /// Mean L2 norm of the change since the step before.
    pub residual_norm: Amount,
    /// residual_norm / norm.
    pub ratio: Amount,
    /// Mean cosine to the step before; null where not published.
    pub cosine: Option<f64>,
}

impl From<&Point> for StatsPoint {
    fn from(point: &Point) -> Self {
        Self {
            step: point.step,
            layer: point.layer,
            tensor: point.tensor.map(Tensor::letter),
            tensors: point.tensors,
            norm: point.norm.into(),
            residual_norm: point.residual_norm.into(),
            ratio: point.ratio.into(),
            cosine: point.cosine,
        }
    }
}

/// What was published for FLUX.1-dev.
fn published() -> Vec<FluxStep> {
    let steps = flux().iter().map(|step| FluxStep {
        step: step.step,
        norm: step.norm.into(),
        residual_norm: step.residual_norm.into(),
        ratio: step.ratio().into(),
        cosine: step.cosine,
    });
    steps.collect()
}

fn as_csv(points: &[Point]) -> Result<String> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    for point in points {
        writer.serialize(point)?;
    }
    Ok(String::from_utf8(writer.into_inner()?)?)
}
