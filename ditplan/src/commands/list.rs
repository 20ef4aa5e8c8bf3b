//! What is known: models, machines, GPUs.

use anyhow::Result;
use clap::{Args, Subcommand};
use serde_json::{Value, json};
use sim::model;
use topologies::{Gpu, gpu};

use crate::question::Format;
use crate::render::json;
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
        let rows = summaries().map(|(model, row)| {
            json!({
                "name": row.name,
                "aliases": model.aliases,
                "kind": row.kind,
                "blocks": row.blocks,
                "hidden": row.hidden,
                "heads": row.heads,
                "parameters": row.parameters,
                "weight_bytes": row.weight_bytes.get(),
                "image_tokens": row.image_tokens,
                "text_tokens": row.text_tokens,
                "linear_tflop": row.linear.as_f64() / 1e12,
                "attention_tflop": row.attention.as_f64() / 1e12,
                "ulysses_degrees": row.ulysses_degrees,
                "default": json::request(&model.default),
                "source": row.source,
            })
        });
        return json::pretty(&Value::Array(rows.collect()));
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
        return json::pretty(&gpu::known().iter().map(gpu_row).collect());
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

/// One GPU in JSON.
fn gpu_row(gpu: &Gpu) -> Value {
    let known = |text: &String| (!text.is_empty()).then(|| text.clone());
    json!({
        "name": gpu.name,
        "architecture": format!("{:?}", gpu.architecture),
        "form_factor": gpu.form_factor,
        "sm_count": gpu.sm_count,
        "memory_bytes": gpu.memory.get(),
        "memory_bandwidth_bytes_per_s": gpu.memory_bandwidth.get(),
        "l2_bytes": gpu.l2.get(),
        "peak_bf16_flop_per_s": gpu.peak_bf16.get(),
        "peak_fp8_flop_per_s": gpu.peak_fp8.map(|rate| rate.get()),
        "pcie_bytes_per_s": gpu.pcie.get(),
        "nvlink_bytes_per_s": gpu.nvlink.map(|rate| rate.get()),
        "sustained_gemm_flop_per_s": gpu.sustained_gemm.map(|rate| rate.get()),
        "sustained_attention_flop_per_s": gpu.sustained_attention.map(|rate| rate.get()),
        "price_per_gpu_hour_usd": gpu.price_per_hour,
        "source": gpu.source,
        "sustained_source": known(&gpu.sustained_source),
        "price_source": known(&gpu.price_source),
        "notes": known(&gpu.notes),
    })
}
