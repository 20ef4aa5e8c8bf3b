//! `machines`: the presets; machines from other programs' files, and into them.

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::{Args, Subcommand, ValueEnum};
#[cfg(test)]
use schemars::JsonSchema;
use serde::Serialize;
use topologies::export;
use topologies::hypothetical::network;
use topologies::import::{self, Hints};
use topologies::machine;

use crate::question::files::{bytes, text};
use crate::question::{self, Format};
use crate::render::file::written;
use crate::render::json::pretty;
use crate::render::text::{percent, rendered, table};

/// What `machines` does.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct MachinesArguments {
    #[command(subcommand)]
    command: Option<MachinesCommand>,
    #[command(flatten)]
    format: Format,
}

/// What is done with a machine.
#[derive(Debug, Subcommand)]
enum MachinesCommand {
    /// Read nvidia-smi topo -m or NCCL topology XML, and write our machine file
    Import(ImportArguments),
    /// Write a machine as NCCL topology XML or SimGrid platform XML
    Export(ExportArguments),
}

/// The question of `machines import`.
#[derive(Debug, Args)]
struct ImportArguments {
    /// What nvidia-smi topo -m, or NCCL with NCCL_TOPO_DUMP_FILE, wrote
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// What nvidia-smi -q -x wrote on the same machine: GPU names, PCIe generation and width
    #[arg(long, value_name = "FILE")]
    smi_xml: Option<PathBuf>,
    /// The model of all GPUs (`ditplan gpus` lists them)
    #[arg(long, value_name = "NAME")]
    gpu: Option<String>,
    /// How many nodes there are like the one of the file; with --fabric
    #[arg(long, value_name = "N", requires = "fabric", value_parser = clap::value_parser!(u32).range(1..))]
    nodes: Option<u32>,
    /// What joins the nodes, one port a network card: ib-400g, ethernet-100g ... (`ditplan machines` lists them)
    #[arg(long, value_name = "NAME", requires = "nodes")]
    fabric: Option<String>,
    /// Write the machine file here [default: print it]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// The question of `machines export`.
#[derive(Debug, Args)]
struct ExportArguments {
    /// A preset or a machine file
    #[arg(value_name = "MACHINE")]
    machine: String,
    /// What to write
    #[arg(long, value_enum)]
    format: ExportFormat,
    /// Write here [default: print]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// What a machine can be written as.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum ExportFormat {
    /// For NCCL_TOPO_FILE
    NcclXml,
    /// For SimGrid 3
    SimgridXml,
}

/// What `machines` prints.
pub(crate) fn answer(typed: &MachinesArguments) -> Result<String> {
    match &typed.command {
        None => Ok(presets(typed.format)),
        Some(MachinesCommand::Import(wanted)) => import(wanted),
        Some(MachinesCommand::Export(wanted)) => export(wanted),
    }
}

/// A preset machine.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub(crate) struct MachineRow {
    /// Its name, for --machine.
    pub name: String,
    /// Its GPUs in words: 4 x L20.
    pub gpus: String,
    /// Its links in words.
    pub interconnect: String,
    /// The host whose measurements it carries.
    pub host: String,
    /// Where the figures come from.
    pub source: String,
}

/// The preset machines.
fn presets(format: Format) -> String {
    let summaries = machine::summaries();
    if format.json {
        let rows = summaries.iter().map(|row| MachineRow {
            name: row.name.clone(),
            gpus: row.gpus.clone(),
            interconnect: row.interconnect.clone(),
            host: row.host.clone(),
            source: row.source.clone(),
        });
        return pretty(&rows.collect::<Vec<_>>());
    }
    let mut known = table(&["machine", "GPUs", "host", "interconnect"], &[]);
    for row in &summaries {
        known.add_row(vec![&row.name, &row.gpus, &row.host, &row.interconnect]);
    }
    let note = "The same GPUs on another host behave differently: a preset carries what was measured on its\n\
                host. Describe your own in a file and give it as --machine FILE.toml.\n\n";
    let hypothetical = "Equal GPUs around one switch, measured by nobody: COUNTxGPU@RATE or COUNTxGPU@INTERCONNECT, as\n\
                        16xL20@25GB/s or 8xH100-SXM@nvlink6; nodes of them: NODESxCOUNTxGPU@NETWORK, as\n\
                        2x8xH100-SXM@ib-400g, or COUNTxGPU@INSIDE+NETWORK. One way, a GPU:\n";
    let mut links = table(
        &["interconnect", "rate", "data", "latency", "source"],
        &[1, 2, 3],
    );
    for one in topologies::hypothetical::INTERCONNECTS {
        links.add_row([
            one.name.to_owned(),
            one.capacity.to_string(),
            percent(one.efficiency),
            one.latency.to_string(),
            one.source.to_owned(),
        ]);
    }
    rendered(&mut known) + "\n" + note + hypothetical + &rendered(&mut links)
}

fn import(typed: &ImportArguments) -> Result<String> {
    let file = typed.file.display().to_string();
    let bytes = bytes(&typed.file).with_context(|| format!("{file} cannot be read"))?;
    let smi_xml = typed.smi_xml.as_deref().map(text).transpose()?;
    let hints = Hints {
        gpu: typed.gpu.clone(),
        smi_xml,
        nodes: typed.nodes,
        fabric: typed
            .fabric
            .as_deref()
            .map(network)
            .transpose()
            .context("--fabric")?,
    };
    let found = import::machine(&bytes, &file, &hints)?;
    let Some(out) = &typed.out else {
        return Ok(found.toml);
    };
    let row = found.machine.summary();
    let page = written(&found.toml, Some(out), "Assumed", &found.assumed)?;
    Ok(format!(
        "{}: {}, {}\n{page}",
        row.name, row.gpus, row.interconnect
    ))
}

fn export(typed: &ExportArguments) -> Result<String> {
    let machine = question::machine(&typed.machine)?;
    let exported = match typed.format {
        ExportFormat::NcclXml => export::nccl_xml(&machine),
        ExportFormat::SimgridXml => export::simgrid_xml(&machine),
    };
    written(
        &exported.text,
        typed.out.as_deref(),
        "Not in the format",
        &exported.lost,
    )
}
