//! A row as the simulator's inputs: workload, plans, platform; or the reason why it is none.

use sim::execution::Software;
use sim::model::{self, Guidance, Model, Request, Resolution};
use sim::plan::Plan;
use sim::platform::Platform;
use sim::workload::Workload;
use topologies::host::Compilation;
use topologies::{Architecture, Gpu};

use super::hosts::{self, Host, Span};
use super::row::{Metric, Row, Value, first_count};
use super::strategy::{self, Split, Strategy};

/// A row that can be predicted.
#[derive(Clone, Debug)]
pub struct Case {
    /// The row.
    pub row: Row,
    /// The host.
    pub host: Host,
    /// The model.
    pub model: &'static Model,
    /// The GPU.
    pub gpu: &'static Gpu,
    /// What one forward pass does.
    pub workload: Workload,
    /// The plans.
    pub strategy: Strategy,
    /// The GPUs and what joins them.
    pub platform: Platform,
    /// Whether ranks may sit on several hosts.
    pub span: Span,
    /// Eager or compiled.
    pub compilation: Compilation,
    /// Whose pipeline.
    pub software: Software,
    /// Rows of a forward pass as the cell says, before guidance is split.
    pub rows: u32,
    /// Why the source itself casts doubt on the row.
    pub doubt: Option<String>,
}

/// Most FLOPs of a request: a day on a GPU, and far from what counters can hold.
const MOST_FLOPS: f64 = 1e19;
/// Most blocks of a known model, rounded up.
const MOST_BLOCKS: f64 = 64.0;

/// A mistyped cell must not become a request whose times no counter holds.
fn refuse_too_large(model: &Model, request: &Request, tokens: u64) -> Result<(), String> {
    let rows = f64::from(request.batch) * request.guidance.branches() as f64;
    let tokens = tokens as f64;
    let attention = 4.0 * tokens * tokens * model.hidden as f64 * MOST_BLOCKS;
    let flops = attention * rows * f64::from(request.steps);
    if flops > MOST_FLOPS {
        return Err(format!(
            "{tokens:.0} tokens for {} steps is no request that was ever run",
            request.steps
        ));
    }
    Ok(())
}

/// What rows of one request on one host share: the one-GPU row and its multi-GPU rows.
pub type Key<'a> = (
    &'a Host,
    &'static str,
    &'a str,
    &'a str,
    &'a str,
    &'a str,
    &'a str,
    &'a str,
);

/// Two GPUs of one class: the same chip at the same rate, whatever its memory and links.
#[must_use]
pub fn gpu_class(gpu: &Gpu) -> (Architecture, u32, u64) {
    (gpu.architecture, gpu.sm_count, gpu.peak_bf16.get())
}

impl Case {
    /// Reads a row.
    ///
    /// # Errors
    /// Why it cannot be mapped.
    pub fn of(row: &Row) -> Result<Self, String> {
        let model = model_of(&row.model)?;
        let gpu = gpu_of(row)?;
        let request = request(row, model)?;
        let grid = model.grid(&request).map_err(|error| error.to_string())?;
        let tokens = grid.tokens() + u64::from(request.text_tokens);
        refuse_too_large(model, &request, tokens)?;
        let workload = Workload::new(model, &request).map_err(|error| error.to_string())?;
        let host = Host::of(row);
        let software = host.software();
        let context = strategy::Context {
            gpus: row.gpus,
            rows: rows(&row.batch),
            warmup: &row.warmup,
            pipeline_warmup: u32::from(software == Software::PipeFusionLegacy),
            ulysses: &model.ulysses_degrees(),
            stages: if model.name.starts_with("HunyuanDiT") {
                4
            } else {
                16
            },
        };
        if let Span::Emulated(gigabytes) = hosts::span(row)
            && gigabytes < 0.01
        {
            return Err(format!("an emulated link of {gigabytes} GB/s"));
        }
        let mut strategy = strategy::read(strategy_cell(row), &context)?;
        super::compressor::add(&mut strategy, row, model)?;
        if row.per_step {
            for plan in &mut strategy.plans {
                plan.warmup = 0;
            }
        }
        Ok(Self {
            platform: hosts::platform(row, gpu),
            span: hosts::span(row),
            compilation: compilation(&row.compile),
            rows: rows(&row.batch),
            doubt: doubt(row),
            row: row.clone(),
            host,
            model,
            gpu,
            workload,
            strategy,
            software,
        })
    }

    /// The measured value, in seconds or bytes; `None` for out of memory.
    #[must_use]
    pub fn measured(&self) -> Option<f64> {
        match self.row.value {
            Value::Number(value) => Some(value),
            Value::OutOfMemory | Value::Missing => None,
        }
    }

    /// Whether the row used one GPU.
    #[must_use]
    pub fn is_one_gpu(&self) -> bool {
        self.row.gpus == 1
    }

    /// Whether the cell prints how ranks are split.
    #[must_use]
    pub fn is_printed_split(&self) -> bool {
        self.strategy.split == Split::Printed
    }

    /// Whether a plan of the row has pipeline stages.
    #[must_use]
    pub fn is_pipelined(&self) -> bool {
        self.is_printed_split() && self.plan().pipeline.stages > 1
    }

    /// The plan, or the first of them.
    #[must_use]
    pub fn plan(&self) -> &Plan {
        &self.strategy.plans[0]
    }

    /// Tokens that attend to each other in one row.
    #[must_use]
    pub fn tokens(&self) -> u64 {
        self.workload.image_tokens() + self.workload.text_tokens()
    }

    /// Forward passes that the value covers.
    #[must_use]
    pub fn forwards(&self, plan: &Plan) -> f64 {
        let per_step = self
            .workload
            .forwards_per_step
            .div_ceil(u64::from(plan.cfg));
        per_step as f64 * f64::from(self.workload.request.steps)
    }

    /// What rows of the same request on the same host have in common.
    #[must_use]
    pub fn key(&self) -> Key<'_> {
        let row = &self.row;
        let compile = compile_word(&row.compile);
        let (metric, steps) = (row.metric_name.as_str(), row.steps.as_str());
        (
            &self.host,
            &self.model.name,
            &row.resolution,
            &row.frames,
            compile,
            metric,
            steps,
            &row.batch,
        )
    }
}

/// The compile cell as rows are grouped by it.
#[must_use]
pub fn compile_word(cell: &str) -> &str {
    match cell {
        "onediff" => "onediff",
        _ if cell.starts_with("yes") => "yes",
        _ => "no",
    }
}

fn compilation(cell: &str) -> Compilation {
    match compile_word(cell) {
        "no" => Compilation::Eager,
        _ => Compilation::Compiled,
    }
}

/// The strategy cell. Offloading whole components changes the time, but a peak of memory in a way that
/// the memory model knows.
fn strategy_cell(row: &Row) -> &str {
    let offload = row.strategy.strip_suffix("+model offload");
    match offload {
        Some(rest) if row.metric == Metric::Memory => rest,
        _ => &row.strategy,
    }
}

/// Why the source itself casts doubt on the row.
fn doubt(row: &Row) -> Option<String> {
    let steps = row.steps.trim_start_matches(|c: char| c.is_ascii_digit());
    let bracket = steps.len() < row.steps.len() && steps.trim_start().starts_with('(');
    if matches!(row.quality.as_str(), "suspect" | "assumed") {
        Some(format!("the source marks it {}", row.quality))
    } else if row.strategy.contains("(before") {
        Some("a state of the code that the source itself replaced".to_owned())
    } else if bracket {
        Some(format!("the steps are an assumption: {}", row.steps))
    } else if row.compile.starts_with("yes(s") {
        Some("compile time is suspected in the value".to_owned())
    } else {
        None
    }
}

fn model_of(cell: &str) -> Result<&'static Model, String> {
    let plain = cell.split(" (").next().unwrap_or_default().trim();
    let found = model::find(cell).or_else(|error| model::find(plain).map_err(|_| error));
    match found {
        Ok(model) if matches!(model.architecture, model::Architecture::UNet(_)) => {
            Err(format!("{} is a U-Net", model.name))
        }
        Ok(model) => Ok(model),
        Err(error) => Err(format!(
            "no model is called \"{cell}\" (nearest: {})",
            error.nearest
        )),
    }
}

/// The GPU of a row. Behind an emulated network it may be unstated: its one-GPU row calibrates it.
fn gpu_of(row: &Row) -> Result<&'static Gpu, String> {
    let found = hosts::gpu_of(&row.gpu);
    if row.metric == Metric::Memory {
        // A peak is the same on either of two GPUs: `L40/A100 (not printed)`.
        return found.or_else(|why| hosts::named_gpu(&row.gpu).ok_or(why));
    }
    match (found, hosts::span(row)) {
        (Err(_), Span::Emulated(_)) => hosts::gpu_of("L20"),
        (found, _) => found,
    }
}

/// Rows of one forward pass as the cell says: its first number.
fn rows(batch: &str) -> u32 {
    first_count(batch).unwrap_or(1).clamp(1, 4096)
}

fn request(row: &Row, model: &Model) -> Result<Request, String> {
    let video = model.default.frames > 1;
    let default_shape = model.name.starts_with("Step-Video") && row.resolution.is_empty();
    let resolution = if default_shape {
        model.default.resolution
    } else {
        resolution(&row.resolution, model)?
    };
    let frames = match first_count(&row.frames) {
        _ if !video => 1,
        Some(frames) => frames.max(1),
        None if default_shape => model.default.frames,
        None => return Err("the frames of the video are not stated".to_owned()),
    };
    let steps = if row.per_step {
        1
    } else {
        let stated = first_count(&row.steps).filter(|steps| (1..=10_000).contains(steps));
        match stated {
            Some(steps) => steps,
            None if row.metric == Metric::Memory => model.default.steps,
            None => return Err("the steps are not stated".to_owned()),
        }
    };
    // Tables of compressors have no batch column: they run the model's default guidance.
    let (batch, guidance) = if row.batch.is_empty() {
        (1, model.default.guidance)
    } else {
        guidance(&row.batch, model)
    };
    Ok(Request {
        resolution,
        frames,
        steps,
        batch,
        guidance,
        text_tokens: text_tokens(row, model),
    })
}

/// Text tokens of a run. CompactFusion's FLUX example runs 256, not the model's 512: its published
/// message of 1088 rows a rank is (4096 + 256) / 4.
fn text_tokens(row: &Row, model: &Model) -> u32 {
    let compact = row.source.contains("CompactFusion") || !row.compressor.is_empty();
    if compact && model.name == "FLUX.1-dev" {
        256
    } else {
        model.default.text_tokens
    }
}

/// Images and guidance of a batch cell: `2 (CFG)` is one image with two rows.
fn guidance(batch: &str, model: &Model) -> (u32, Guidance) {
    let rows = rows(batch);
    let guided = batch.contains("CFG") || model.uses_guidance();
    if batch.contains("sequential") {
        ((rows / 2).max(1), Guidance::Sequential)
    } else if guided && rows.is_multiple_of(2) {
        (rows / 2, Guidance::Batched)
    } else {
        (rows, Guidance::None)
    }
}

/// `720x1280 (S=4096)`: height x width, cut to whole tokens as the pipelines do.
fn resolution(cell: &str, model: &Model) -> Result<Resolution, String> {
    let not_stated = || "the resolution is not stated".to_owned();
    let digits = |text: &str| -> Option<u32> {
        let end = text
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(text.len());
        text[..end]
            .parse()
            .ok()
            .filter(|side| (1..=65_536).contains(side))
    };
    let (height, width) = cell.split_once('x').ok_or_else(not_stated)?;
    let (height, width) = (digits(height.trim()), digits(width.trim()));
    let (Some(height), Some(width)) = (height, width) else {
        return Err(not_stated());
    };
    let multiple = model.latent.pixels_per_token();
    let cut = |side: u32| (side / multiple).max(1) * multiple;
    Ok(Resolution {
        width: cut(width),
        height: cut(height),
    })
}
