//! `replay`: what the compressors do to a recorded trace.

use std::path::{Path, PathBuf};
use std::sync::Mutex;

use anyhow::{Context, Result, ensure};
use clap::{Args, ValueEnum};
use kernels::Compressor;
use kernels::wire::{BaseFormat, Feedback, Order, Protocol};
use rayon::prelude::*;
use sim::replay::{Method, Replay, Replayed, Setting, Summary};
use traces::trace::{ErrorRow, Tensor, Trace};
use traces::whole;

use self::json::ReplayAnswer;
use crate::question::Format;
use crate::render::json::pretty;
use crate::render::progress::progress;
use crate::render::{figure, text};

pub(crate) mod json;
mod picture;

/// The palette when none is named.
const PALETTE: [Compressor; 9] = [
    Compressor::OneBit,
    Compressor::TwoBit,
    Compressor::TwoBitFitted,
    Compressor::Int8,
    Compressor::Int4,
    Compressor::Fp8,
    Compressor::LowRankInt4(4),
    Compressor::LowRankInt4(8),
    Compressor::Sparse(8),
];

/// The arguments of `replay`.
#[derive(Debug, Args)]
pub(crate) struct ReplayArguments {
    /// The trace's directory
    #[arg(value_name = "DIR")]
    pub directory: PathBuf,
    /// Ranks that share the sequence
    #[arg(long, value_name = "N", default_value_t = 4)]
    pub ranks: u32,
    /// Compressors, for instance 1bit,2bit,lowrank-int4(32) [default: one of each kind]
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    pub compressors: Vec<String>,
    /// What an activation is predicted by: 0 nothing, 1 the last reconstruction, 2 its trend too
    #[arg(long, value_name = "0|1|2", default_value_t = 1, value_parser = clap::value_parser!(u8).range(0..=2))]
    pub order: u8,
    /// Without error feedback: the sender's base is the activation itself
    #[arg(long)]
    pub no_feedback: bool,
    /// How a base is stored
    #[arg(long, value_enum, default_value_t = BaseArgument::Fp16)]
    pub base: BaseArgument,
    /// First steps that go raw
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub warmup: u32,
    /// One row for each layer
    #[arg(long)]
    pub by_layer: bool,
    /// Write rate and error of every layer, step, tensor and compressor as CSV
    #[arg(long, value_name = "FILE")]
    pub csv: Option<PathBuf>,
    /// Draw the error over the steps (.svg or .png)
    #[arg(long, value_name = "FILE")]
    pub plot: Option<PathBuf>,
    /// Keep the errors in the trace, for the quality model
    #[arg(long)]
    pub save: bool,
    #[command(flatten)]
    pub format: Format,
}

/// How a base is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum BaseArgument {
    /// 2 bytes an element
    Fp16,
    /// 2 bytes an element
    Bf16,
    /// 1 byte an element
    Int8,
    /// Half a byte an element
    Int4,
}

/// What `replay` prints; it also writes what it is told to.
pub(crate) fn answer(typed: &ReplayArguments) -> Result<String> {
    let mut trace = Trace::open(&typed.directory)?;
    let setting = setting(typed)?;
    let steps = trace.manifest().sampler.steps;
    ensure!(
        typed.warmup < steps,
        "--warmup is {}, but the trace has {steps} steps: nothing would be compressed",
        typed.warmup
    );
    let replayed = run(&Replay::new(&trace, setting)?)?;
    if typed.save {
        save(&mut trace, &replayed)?;
    }
    if let Some(path) = &typed.csv {
        write_steps(&replayed, path)?;
    }
    if let Some(path) = &typed.plot {
        let title = format!(
            "{}, {}, {}",
            trace.manifest().model.name,
            text::counted(steps, "step"),
            text::counted(typed.ranks, "rank")
        );
        let drawn = figure::write(&picture::Errors::new(title, &replayed), path);
        drawn.map_err(|error| figure::undrawn(path, error))?;
    }
    if typed.format.json {
        return Ok(pretty(&ReplayAnswer::new(&trace, &replayed)));
    }
    Ok(page(&trace, &replayed, typed.by_layer))
}

fn setting(typed: &ReplayArguments) -> Result<Setting> {
    let named = typed
        .compressors
        .iter()
        .map(|name| Ok(name.parse::<Compressor>()?));
    let named = named.collect::<Result<Vec<_>>>()?;
    Ok(Setting {
        ranks: typed.ranks,
        compressors: if named.is_empty() {
            PALETTE.to_vec()
        } else {
            named
        },
        protocol: Protocol {
            order: match typed.order {
                0 => Order::Zero,
                1 => Order::First,
                _ => Order::Second,
            },
            feedback: if typed.no_feedback {
                Feedback::Off
            } else {
                Feedback::On
            },
            warmup: typed.warmup,
            base: match typed.base {
                BaseArgument::Fp16 => BaseFormat::F16,
                BaseArgument::Bf16 => BaseFormat::Bf16,
                BaseArgument::Int8 => BaseFormat::Int8,
                BaseArgument::Int4 => BaseFormat::Int4,
            },
            ..Protocol::default()
        },
    })
}

/// Memory that slots under way may take together.
const MOST_BYTES: u64 = 4 << 30;

/// Replays every slot, on as many threads as memory allows, collected in order.
fn run(replay: &Replay) -> Result<Replayed> {
    let slots = replay.slots();
    let bar = Mutex::new(progress(slots.len() as u64, "replaying"));
    let fit = MOST_BYTES / replay.slot_bytes().get().max(1);
    let at_once = usize::try_from(fit).unwrap_or(usize::MAX).max(1);
    let mut done = Vec::with_capacity(slots.len());
    for batch in slots.chunks(at_once.min(slots.len().max(1))) {
        let one = |id: &sim::replay::SlotId| {
            let slot = replay.slot(*id);
            bar.lock()
                .expect("no thread panics with the bar in hand")
                .inc(1);
            slot
        };
        let batch: Vec<_> = batch.par_iter().map(one).collect();
        for slot in batch {
            done.push(slot?);
        }
    }
    bar.into_inner()
        .expect("all threads are done")
        .finish_and_clear();
    Ok(replay.collect(done))
}

/// Puts the errors beside those of other numbers of ranks.
fn save(trace: &mut Trace, replayed: &Replayed) -> Result<()> {
    let usual = Protocol::default();
    ensure!(
        replayed.setting.protocol == usual,
        "--save keeps errors of the usual protocol only (order 1, feedback, one raw step, fp16 base): leave the \
         other options out, or --save"
    );
    let mut rows = trace.rows::<ErrorRow>()?.unwrap_or_default();
    rows.retain(|row| row.ranks != replayed.setting.ranks);
    rows.extend(replayed.rows());
    rows.sort_by_key(|row| row.ranks);
    Ok(trace.put_rows(&rows)?)
}

/// One line a layer, step, tensor and method: energies summed over samples and shards.
fn write_steps(replayed: &Replayed, path: &Path) -> Result<()> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record([
        "compressor",
        "layer",
        "tensor",
        "step",
        "message_bytes",
        "relative_residual",
        "relative_error",
    ])?;
    for step in replayed.steps() {
        writer.write_record([
            step.method.to_string(),
            step.layer.to_string(),
            step.tensor.letter().to_owned(),
            step.step.to_string(),
            step.bytes.get().to_string(),
            format!("{:.6e}", step.relative_residual()),
            format!("{:.6e}", step.relative_error()),
        ])?;
    }
    let text = writer
        .into_inner()
        .map_err(csv::IntoInnerError::into_error)?;
    whole::write(path, text).with_context(|| format!("--csv {} cannot be written", path.display()))
}

/// A method's figures; nothing is sent for what is stale, so it has no ratio and no contraction.
fn cells(summary: &Summary) -> Vec<String> {
    let dash = || "-".to_owned();
    let [ratio, contraction, published] = match summary.method {
        Method::Stale => [dash(), dash(), dash()],
        Method::Compressed(compressor) => {
            let published = compressor.published_contraction();
            [
                format!("{:.1}", summary.ratio),
                format!("{:.3}", summary.contraction),
                published.map_or_else(dash, |figure| format!("{figure:.2}")),
            ]
        }
    };
    vec![
        summary.method.to_string(),
        summary.tensor.letter().to_uppercase(),
        ratio,
        contraction,
        published,
        format!("{:.2} %", 100.0 * summary.error),
        format!("{:.3} %", 100.0 * summary.coherent),
        format!("{:.1}", summary.persistence),
    ]
}

const HEADER: [&str; 8] = [
    "compressor",
    "tensor",
    "ratio",
    "contraction",
    "published",
    "error a step",
    "error of the sum",
    "persistence",
];

fn page(trace: &Trace, replayed: &Replayed, by_layer: bool) -> String {
    let manifest = trace.manifest();
    let setting = &replayed.setting;
    let mut page = format!(
        "{}, {}, {}, {} ({})\n\n",
        manifest.model.name,
        text::counted(manifest.sampler.steps, "step"),
        text::counted(setting.ranks, "rank"),
        text::counted(manifest.recorded_samples().len() as u64, "sample"),
        manifest.device.name
    );
    let mut header = HEADER.to_vec();
    if by_layer {
        header.insert(0, "layer");
    }
    let numbers: Vec<usize> = (0..header.len())
        .filter(|column| header[*column] != "compressor" && header[*column] != "tensor")
        .collect();
    let mut table = text::table(&header, &numbers);
    if by_layer {
        for &layer in &manifest.recorded.layers {
            for summary in replayed.summaries(|of| of == layer) {
                let mut row = vec![layer.to_string()];
                row.extend(cells(&summary));
                table.add_row(row);
            }
        }
    } else {
        for summary in replayed.summaries(|_| true) {
            table.add_row(cells(&summary));
        }
    }
    page.push_str(&text::rendered(&mut table));
    page.push('\n');
    let notes = [
        "ratio: raw over compressed bytes of a message; contraction: the share of the residual's energy that a message \
         carries; published: CompactFusion's, on FLUX and CogVideoX.".to_owned(),
        "error a step: ||e_t|| / ||x_t||, root mean square; error of the sum: errors times the sampler's step sizes, \
         summed over the steps before they are squared; persistence: that energy over the sum of squares (1: fresh \
         errors every step, more: they keep their direction).".to_owned(),
        stale_note(replayed),
    ];
    page.push_str(&text::bulleted(&notes));
    page
}

/// Stale strategies: what part of K and V they read from the step before.
fn stale_note(replayed: &Replayed) -> String {
    let stale = replayed
        .summaries(|_| true)
        .into_iter()
        .filter(|one| one.method == Method::Stale);
    let error = |tensor: Tensor, share: f64| {
        let one = stale.clone().find(|one| one.tensor == tensor);
        one.map_or(0.0, |one| 100.0 * one.coherent * share.sqrt())
    };
    let ranks = f64::from(replayed.setting.ranks);
    // Of M patches, patch m reads the M - m that come after it from the step before.
    let (displaced, pipeline) = ((ranks - 1.0) / ranks, (ranks - 1.0) / (2.0 * ranks));
    format!(
        "stale: K and V of the step before, everywhere. DistriFusion reads (N-1)/N of them so (error of the sum K {:.3} %, \
         V {:.3} %), PipeFusion with N patches (N-1)/2N (K {:.3} %, V {:.3} %).",
        error(Tensor::K, displaced),
        error(Tensor::V, displaced),
        error(Tensor::K, pipeline),
        error(Tensor::V, pipeline)
    )
}
