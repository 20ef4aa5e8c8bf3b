//! `machines`: the presets; machines from other programs' files, and into them.

use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::{Args, Subcommand, ValueEnum};
use topologies::export;
use topologies::import::{self, Hints, LARGEST_FILE};
use traces::{bounded, whole};

use super::arguments::Format;
use super::text::{bulleted, heading};
use super::{asked, listing};

/// What `machines` does.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct MachinesArguments {
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
pub(super) fn answer(typed: &MachinesArguments) -> Result<String> {
    match &typed.command {
        None => Ok(listing::machines(typed.format)),
        Some(MachinesCommand::Import(wanted)) => import(wanted),
        Some(MachinesCommand::Export(wanted)) => export(wanted),
    }
}

/// The bytes of a file, if it is no larger than any machine's.
pub(super) fn bytes(path: &Path) -> io::Result<Vec<u8>> {
    bounded::read(path, LARGEST_FILE as u64)
}

/// A file's text and its name for errors.
pub(super) fn text(path: &Path) -> Result<(String, String)> {
    let file = path.display().to_string();
    let bytes = bytes(path).with_context(|| format!("{file} cannot be read"))?;
    Ok((import::text(&bytes, &file)?.to_owned(), file))
}

/// Writes a text to a file, and says so with what is to be said; or gives it back with that in comments.
pub(super) fn written(
    text: &str,
    out: Option<&Path>,
    title: &str,
    said: &[String],
) -> Result<String> {
    let Some(path) = out else {
        let comment = |line: &String| match text.starts_with('<') {
            // XML forbids two dashes in a comment.
            true => format!("<!-- {title}: {} -->\n", line.replace("--", "- -")),
            false => format!("# {title}: {line}\n"),
        };
        let comments: String = said.iter().map(comment).collect();
        return Ok(format!("{}\n{comments}", text.trim_end()));
    };
    whole::write(path, text).with_context(|| format!("{} cannot be written", path.display()))?;
    let said = match said.is_empty() {
        true => String::new(),
        false => heading(title) + &bulleted(said),
    };
    Ok(format!("{}\n{said}", path.display()))
}

fn import(typed: &ImportArguments) -> Result<String> {
    let file = typed.file.display().to_string();
    let bytes = bytes(&typed.file).with_context(|| format!("{file} cannot be read"))?;
    let smi_xml = typed.smi_xml.as_deref().map(text).transpose()?;
    let hints = Hints {
        gpu: typed.gpu.clone(),
        smi_xml,
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
    let machine = asked::machine(&typed.machine)?;
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
