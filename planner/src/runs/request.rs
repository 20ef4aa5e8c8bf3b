//! What a row or a machine file's run asks of a model.

use kernels::AttentionKernel;
use sim::model::{self, Architecture, Guidance, Model, Request, Resolution};
use topologies::Gpu;
use topologies::host::MeasuredRun;

use super::reason::{Lever, NoRun};
use super::row::{Levers, Metric, Row, first_count};
use super::source::{Batch, Facts};

/// Most FLOPs of a request: a day on a GPU, and far from what counters can hold.
const MOST_FLOPS: f64 = 1e19;
/// Most blocks of a known model, rounded up.
const MOST_BLOCKS: f64 = 64.0;

/// The model of a cell: a name, with or without its brackets.
pub(super) fn model_of(cell: &str) -> Result<&'static Model, NoRun> {
    let plain = cell.split(" (").next().unwrap_or_default().trim();
    let found = model::find(cell).or_else(|error| model::find(plain).map_err(|_| error));
    match found {
        Ok(model) if matches!(model.architecture, Architecture::UNet(_)) => {
            Err(NoRun::UNet(&model.name))
        }
        Ok(model) => Ok(model),
        Err(error) => Err(NoRun::UnknownModel {
            cell: cell.to_owned(),
            nearest: error.nearest,
        }),
    }
}

/// Most steps of a request, and most frames.
const MOST_COUNT: u32 = 10_000;

/// Refuses a row whose cells are not what their columns hold.
pub(super) fn refuse_odd_cells(row: &Row) -> Result<(), NoRun> {
    let counted = |cell: &str, least| {
        let unstated = matches!(cell, "" | "-" | "unstated" | "not stated");
        unstated
            || first_count(cell).is_some_and(|(count, _)| (least..=MOST_COUNT).contains(&count))
    };
    // Steps may be words (`per step`, `default`); what starts as a number is one.
    let steps = !row
        .steps
        .starts_with(|c: char| c.is_ascii_digit() || c == '-')
        || counted(&row.steps, 1);
    // What follows in brackets is a remark.
    let compile = row.compile.split('(').next().unwrap_or_default().trim();
    for (fits, column, cell, wanted) in [
        (
            counted(&row.frames, 1),
            "frames",
            &row.frames,
            "frames of a video from 1 to 10000, or nothing",
        ),
        (steps, "steps", &row.steps, "steps from 1 to 10000"),
        (
            counted(&row.warmup, 0),
            "warmup",
            &row.warmup,
            "warm-up steps from 0 to 10000, or nothing",
        ),
        (
            matches!(compile, "" | "no" | "yes" | "onediff"),
            "compile",
            &row.compile,
            "yes, no or onediff",
        ),
        (
            matches!(
                row.quality.as_str(),
                "" | "printed" | "digitised" | "assumed" | "suspect"
            ),
            "quality",
            &row.quality,
            "printed, digitised, assumed or suspect",
        ),
    ] {
        if !fits {
            return Err(NoRun::Odd {
                column,
                cell: cell.clone(),
                wanted,
            });
        }
    }
    Ok(())
}

/// Words of remarks that say a lever which is not simulated.
const NOTED: [&str; 5] = [
    "offload on",
    "+ offload",
    "fp8 weights",
    "int8 weights",
    "sageattn",
];

/// Refuses a row with a lever that is not simulated.
pub(super) fn refuse_levers(row: &Row) -> Result<(), NoRun> {
    let Levers { cache, notes, .. } = &row.levers;
    let is_time = row.metric != Metric::Memory;
    if is_time && !cache.is_empty() {
        return Err(NoRun::Lever(Lever::Cache, cache.clone()));
    }
    let remarks = notes.to_lowercase();
    if is_time && NOTED.iter().any(|word| remarks.contains(*word)) {
        return Err(NoRun::Lever(Lever::Notes, notes.clone()));
    }
    Ok(())
}

/// The attention kernel of a row: as its cell says, else as its source does, else its engine's.
pub(super) fn attention(row: &Row, facts: &Facts, gpu: &Gpu) -> Result<AttentionKernel, NoRun> {
    let cell = row.levers.attention.as_str();
    let stated = cell.strip_prefix("engine default").unwrap_or(cell).trim();
    let engine = facts.engine().attention(gpu);
    if stated.is_empty() || row.metric == Metric::Memory {
        let named = facts.attention.as_deref();
        let named = named.and_then(|name| AttentionKernel::named(name, gpu.architecture).ok());
        return Ok(named.filter(|kernel| kernel.runs_on(gpu)).unwrap_or(engine));
    }
    let kernel = AttentionKernel::named(stated, gpu.architecture);
    kernel
        .ok()
        .filter(|kernel| kernel.runs_on(gpu))
        .ok_or_else(|| NoRun::Lever(Lever::Attention, cell.to_owned()))
}

/// The request of a row.
pub(super) fn of_row(row: &Row, model: &Model, facts: &Facts) -> Result<Request, NoRun> {
    let usual = facts.usual_shape == Some(true) && row.resolution.is_empty();
    let resolution = if usual {
        model.default.resolution
    } else {
        resolution(&row.resolution, model)?
    };
    let frames = match first_count(&row.frames) {
        _ if model.default.frames <= 1 => 1,
        Some((frames, _)) => frames.max(1),
        None if usual => model.default.frames,
        None => return Err(NoRun::FramesNotStated),
    };
    let stated = first_count(&row.steps);
    let steps = match stated {
        _ if row.per_step => 1,
        Some((_, rest)) if rest.contains("stages") => {
            return Err(NoRun::Stages(row.steps.clone()));
        }
        Some((steps, _)) => steps,
        None if row.metric == Metric::Memory => model.default.steps,
        None => return Err(NoRun::StepsNotStated),
    };
    let (batch, guidance) = match (facts.batch, first_count(&row.batch)) {
        (Some(Batch::Images), Some((images, _))) => (images, model.default.guidance),
        _ => guidance(&row.batch, model)?,
    };
    let request = Request {
        resolution,
        frames,
        steps,
        batch,
        guidance,
        text_tokens: facts.text_tokens.unwrap_or(model.default.text_tokens),
    };
    refuse_too_large(model, &request)?;
    Ok(request)
}

/// The request of a machine file's run.
pub(super) fn of_machine(run: &MeasuredRun, model: &Model) -> Request {
    Request {
        resolution: Resolution {
            width: run.width,
            height: run.height,
        },
        frames: run.frames,
        steps: run.steps,
        batch: run.batch,
        guidance: match run.guidance {
            topologies::host::Guidance::None => Guidance::None,
            topologies::host::Guidance::Batched => Guidance::Batched,
            topologies::host::Guidance::Sequential => Guidance::Sequential,
            topologies::host::Guidance::Triple => Guidance::Triple,
        },
        text_tokens: run.text_tokens.unwrap_or(model.default.text_tokens),
    }
}

/// A mistyped cell must not become a request whose times no counter holds.
fn refuse_too_large(model: &Model, request: &Request) -> Result<(), NoRun> {
    let grid = model.grid(request)?;
    let tokens = (grid.tokens() + u64::from(request.text_tokens)) as f64;
    let rows = f64::from(request.batch) * request.guidance.branches() as f64;
    let attention = 4.0 * tokens * tokens * model.hidden as f64 * MOST_BLOCKS;
    if attention * rows * f64::from(request.steps) > MOST_FLOPS {
        let steps = request.steps;
        return Err(NoRun::TooLarge { tokens, steps });
    }
    Ok(())
}

/// Images and guidance of a batch cell: `2 (CFG)` is one image with two rows. Tables of compressors have no such column:
/// they run the model's usual guidance.
fn guidance(cell: &str, model: &Model) -> Result<(u32, Guidance), NoRun> {
    if cell.is_empty() {
        return Ok((1, model.default.guidance));
    }
    let not_known = || NoRun::Batch(cell.to_owned());
    let (rows, rest) = first_count(cell)
        .filter(|(rows, _)| (1..=4096).contains(rows))
        .ok_or_else(not_known)?;
    if !rest.is_empty() && !rest.contains("CFG") {
        return Err(not_known());
    }
    let guided = rest.contains("CFG") || model.uses_guidance();
    Ok(if rest.contains("sequential") {
        ((rows / 2).max(1), Guidance::Sequential)
    } else if guided && rows.is_multiple_of(2) {
        (rows / 2, Guidance::Batched)
    } else {
        (rows, Guidance::None)
    })
}

/// `720x1280 (S=4096)`: height x width, cut to whole tokens as the pipelines do.
fn resolution(cell: &str, model: &Model) -> Result<Resolution, NoRun> {
    let (height, width) = cell.split_once('x').ok_or(NoRun::ResolutionNotStated)?;
    let side = |text: &str| {
        let count = first_count(text).map(|(count, _)| count);
        count
            .filter(|side| (1..=65_536).contains(side))
            .ok_or(NoRun::ResolutionNotStated)
    };
    let multiple = model.latent.pixels_per_token();
    let cut = |side: u32| (side / multiple).max(1) * multiple;
    Ok(Resolution {
        width: cut(side(width)?),
        height: cut(side(height)?),
    })
}
