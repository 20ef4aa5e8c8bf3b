//! What is known: models, machines, GPUs.

use anyhow::Result;
use clap::{Args, Subcommand};
#[cfg(test)]
use schemars::JsonSchema;
use serde::Serialize;
use sim::model;
use topologies::{Gpu, gpu};

use crate::question::Format;
use crate::render::json::{self, Amount, Request};
use crate::render::text::{gigabytes, rendered, table};

/// What `models` does.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct ModelsArguments {
    #[command(subcommand)]
    command: Option<ModelsCommand>,
    #[command(flatten)]
    format: Format,
}

/// What is done with a model.
#[derive(Debug, Subcommand)]
enum ModelsCommand {
    /// Print a model's file: one to start from, for --model FILE.toml
    Show {
        /// A known model
        name: String,
    },
}

/// The list, or one file.
pub(crate) fn answer(typed: &ModelsArguments) -> Result<String> {
    match &typed.command {
        None => Ok(models(typed.format)),
        Some(ModelsCommand::Show { name }) => Ok(model::source_text(name)?),
    }
}

/// The known models at their default requests.
fn models(format: Format) -> String {
    let summaries = || model::known().iter().map(|model| (model, model.summary()));
    if format.json {
        let rows = summaries().map(|(model, row)| ModelRow {
            name: row.name.to_owned(),
            aliases: model.aliases.iter().map(ToString::to_string).collect(),
            kind: row.kind.to_string(),
            blocks: row.blocks,
            hidden: row.hidden,
            heads: row.heads,
            parameters: row.parameters,
            weight_bytes: row.weight_bytes.get(),
            image_tokens: row.image_tokens,
            text_tokens: row.text_tokens,
            linear_tflop: (row.linear.as_f64() / 1e12).into(),
            attention_tflop: (row.attention.as_f64() / 1e12).into(),
            ulysses_degrees: row.ulysses_degrees,
            default: (&model.default).into(),
            source: row.source.to_owned(),
        });
        return json::pretty(&rows.collect::<Vec<_>>());
    }
    let header = [
        "model", "blocks", "heads", "weights", "size", "steps", "guidance", "tokens", "TFLOP",
    ];
    let mut table = table(&header, &[1, 2, 3, 4, 5, 7, 8]);
    for (model, row) in summaries() {
        let ask = model.default;
        let frames = match ask.frames {
            1 => String::new(),
            frames => format!(" x{frames}"),
        };
        table.add_row(vec![
            row.name,
            row.blocks.to_string(),
            row.heads.to_string(),
            gigabytes(row.weight_bytes),
            format!("{}{frames}", ask.resolution),
            ask.steps.to_string(),
            ask.guidance.to_string(),
            (row.image_tokens + row.text_tokens).to_string(),
            format!("{:.1}", (row.linear + row.attention).as_f64() / 1e12),
        ]);
    }
    let note =
        "TFLOP: one row of one forward pass. Other names, kinds, shapes and sources: --json.\n";
    rendered(&mut table) + "\n" + note
}

/// The known GPUs.
pub(crate) fn gpus(format: Format) -> String {
    if format.json {
        return json::pretty(&gpu::known().iter().map(GpuRow::from).collect::<Vec<_>>());
    }
    let header = [
        "GPU",
        "architecture",
        "memory",
        "bandwidth",
        "bf16 dense",
        "PCIe",
        "NVLink",
    ];
    let mut table = table(&header, &[2, 3, 4, 5, 6]);
    for gpu in gpu::known() {
        table.add_row(vec![
            gpu.name.clone(),
            format!("{:?}", gpu.architecture),
            gpu.memory.to_string(),
            gpu.memory_bandwidth.to_string(),
            gpu.peak_bf16.to_string(),
            gpu.pcie.to_string(),
            gpu.nvlink
                .map_or_else(|| "-".to_owned(), |rate| rate.to_string()),
        ]);
    }
    rendered(&mut table)
        + "\nDatasheet figures; PCIe and NVLink one way. Sustained rates and sources: --json.\n"
}

/// A known model.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub(crate) struct ModelRow {
    /// Its name.
    pub name: String,
    /// Other names that are understood.
    pub aliases: Vec<String>,
    /// Its family.
    pub kind: String,
    /// Transformer blocks.
    pub blocks: usize,
    /// Width of the residual stream.
    pub hidden: u64,
    /// Attention heads.
    pub heads: u64,
    /// Weights of the transformer, all experts.
    pub parameters: u64,
    /// These weights in bf16, bytes.
    pub weight_bytes: u64,
    /// Image or video tokens at the default request.
    pub image_tokens: u64,
    /// Text tokens of the sequence at the default request.
    pub text_tokens: u64,
    /// Linears and convolutions of one row of one forward pass at the default request, 1e12 floating-point
    /// operations.
    pub linear_tflop: Amount,
    /// Attention of the same, 1e12 floating-point operations.
    pub attention_tflop: Amount,
    /// Degrees that Ulysses may have.
    pub ulysses_degrees: Vec<u64>,
    /// The default request.
    pub default: Request,
    /// Where the shapes come from.
    pub source: String,
}

/// A known GPU.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub(crate) struct GpuRow {
    /// Its name, for machine files and hypothetical machines.
    pub name: String,
    /// Its architecture.
    #[cfg_attr(test, schemars(extend("enum" = ["Volta", "Turing", "Ampere", "Ada", "Hopper", "Blackwell", "BlackwellUltra", "Cdna3"])))]
    pub architecture: String,
    /// Form factor as the vendor names it.
    pub form_factor: String,
    /// Streaming multiprocessors (compute units on AMD).
    pub sm_count: u32,
    /// Device memory, bytes.
    pub memory_bytes: u64,
    /// Device memory bandwidth, datasheet, bytes per second.
    pub memory_bandwidth_bytes_per_s: u64,
    /// Level-2 cache, bytes.
    pub l2_bytes: u64,
    /// Dense bf16 peak, datasheet, floating-point operations per second.
    pub peak_bf16_flop_per_s: u64,
    /// Dense fp8 peak, datasheet; null where it has none, floating-point operations per second.
    pub peak_fp8_flop_per_s: Option<u64>,
    /// Dense nvfp4 peak, datasheet; null where it has none, floating-point operations per second.
    pub peak_fp4_flop_per_s: Option<u64>,
    /// PCIe bandwidth, one way, bytes per second.
    pub pcie_bytes_per_s: u64,
    /// NVLink (or xGMI) bandwidth, one way, all links together; null where it has none, bytes per second.
    pub nvlink_bytes_per_s: Option<u64>,
    /// Sustained bf16 matrix products; null where not known, floating-point operations per second.
    pub sustained_gemm_flop_per_s: Option<u64>,
    /// Sustained bf16 attention; null where not known, floating-point operations per second.
    pub sustained_attention_flop_per_s: Option<u64>,
    /// Rental price, US dollars per GPU and hour; null where not known.
    pub price_per_gpu_hour_usd: Option<Amount>,
    /// Where the datasheet figures are from.
    pub source: String,
    /// Where the sustained rates are from; null where there are none.
    pub sustained_source: Option<String>,
    /// Where the price is from; null where there is none.
    pub price_source: Option<String>,
    /// Remarks; null where there are none.
    pub notes: Option<String>,
}

impl From<&Gpu> for GpuRow {
    fn from(gpu: &Gpu) -> Self {
        let known = |text: &String| (!text.is_empty()).then(|| text.clone());
        Self {
            name: gpu.name.clone(),
            architecture: format!("{:?}", gpu.architecture),
            form_factor: gpu.form_factor.clone(),
            sm_count: gpu.sm_count,
            memory_bytes: gpu.memory.get(),
            memory_bandwidth_bytes_per_s: gpu.memory_bandwidth.get(),
            l2_bytes: gpu.l2.get(),
            peak_bf16_flop_per_s: gpu.peak_bf16.get(),
            peak_fp8_flop_per_s: gpu.peak_fp8.map(|rate| rate.get()),
            peak_fp4_flop_per_s: gpu.peak_fp4.map(|rate| rate.get()),
            pcie_bytes_per_s: gpu.pcie.get(),
            nvlink_bytes_per_s: gpu.nvlink.map(|rate| rate.get()),
            sustained_gemm_flop_per_s: gpu.sustained_gemm.map(|rate| rate.get()),
            sustained_attention_flop_per_s: gpu.sustained_attention.map(|rate| rate.get()),
            price_per_gpu_hour_usd: gpu.price_per_hour.map(Amount::from),
            source: gpu.source.clone(),
            sustained_source: known(&gpu.sustained_source),
            price_source: known(&gpu.price_source),
            notes: known(&gpu.notes),
        }
    }
}
