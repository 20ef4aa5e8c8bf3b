//! Machines from what other programs write: `nvidia-smi topo -m`, NCCL topology XML.
//!
//! ```text
//! nvidia-smi topo -m ──┐
//! nvidia-smi -q -x ────┼─▶ Sketch ─▶ our TOML ─▶ Machine, and what was assumed
//! NCCL topology XML ───┘
//! ```
//!
//! Guarantees:
//! 1. The machine is what our own reader makes of the TOML that comes with it.
//! 2. Whatever the file does not say is in [`Imported::assumed`], one sentence each.
//! 3. A damaged file is an [`ImportError`] with file, line and remedy, never a panic: files up to
//!    [`LARGEST_FILE`], [`MOST_GPUS`] GPUs, XML of [`MOST_ELEMENTS`] elements nested [`DEEPEST`] deep, each of
//!    [`MOST_ATTRIBUTES`] attributes, without namespaces.
//!
//! Not read: CPU affinities, GPU clocks, MIG slices, what a machine was measured to do.

mod nccl_tests;
mod nccl_xml;
pub(crate) mod pci;
pub(crate) mod sketch;
mod smi;
mod smi_query;
mod xml;

use thiserror::Error;

use crate::machine::hypothetical::Interconnect;
use crate::machine::{Machine, MachineError};

pub use nccl_tests::{LogError, NcclLog, NcclRow, nccl_tests};

/// Bytes of the largest file that is read.
pub const LARGEST_FILE: usize = 4 << 20;
/// GPUs of the largest machine that is imported.
pub const MOST_GPUS: usize = 128;
/// Elements of the largest XML file that is read.
pub const MOST_ELEMENTS: u32 = 200_000;
/// Attributes of an XML element, at most: each is compared with all.
pub const MOST_ATTRIBUTES: usize = 256;
/// How deep XML elements may be nested.
pub const DEEPEST: usize = 64;

/// Why a file is no machine.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ImportError {
    /// A line of the file is at fault.
    #[error("{file}, line {line}: {fault}: {remedy}")]
    Line {
        /// The file.
        file: String,
        /// The line, from 1.
        line: usize,
        /// What is wrong.
        fault: String,
        /// What to do.
        remedy: String,
    },
    /// The file as a whole is at fault.
    #[error("{file} {fault}: {remedy}")]
    File {
        /// The file.
        file: String,
        /// What is wrong.
        fault: String,
        /// What to do.
        remedy: String,
    },
    /// The parts do not make a machine, or the file is our own TOML and wrong.
    #[error(transparent)]
    Machine(#[from] MachineError),
}

/// What a file may leave out and the caller knows.
#[derive(Clone, Debug, Default)]
pub struct Hints {
    /// The GPU model of every GPU.
    pub gpu: Option<String>,
    /// Text and file name of `nvidia-smi -q -x` of the same machine.
    pub smi_xml: Option<(String, String)>,
    /// How many nodes there are like the one that the file describes; with `fabric` only.
    pub nodes: Option<u32>,
    /// What every network card is a port of.
    pub fabric: Option<&'static Interconnect>,
}

/// A machine from a file.
#[derive(Clone, Debug, PartialEq)]
pub struct Imported {
    /// The machine.
    pub machine: Machine,
    /// Our file of it.
    pub toml: String,
    /// What the file did not say; empty for our own files.
    pub assumed: Vec<String>,
}

/// What a file is, by its content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Toml,
    SmiTopology,
    SmiQuery,
    NcclXml,
}

fn kind(text: &str) -> Kind {
    if text.trim_start().starts_with('<') {
        if text.contains("<nvidia_smi_log") {
            return Kind::SmiQuery;
        }
        return Kind::NcclXml;
    }
    if smi::is_topology(text) {
        return Kind::SmiTopology;
    }
    Kind::Toml
}

/// The text of a file: UTF-8, with or without a byte order mark.
///
/// # Errors
/// [`ImportError::File`] for a larger file than [`LARGEST_FILE`] or another encoding.
pub fn text<'a>(bytes: &'a [u8], file: &str) -> Result<&'a str, ImportError> {
    let fault = |fault: String, remedy: &str| ImportError::File {
        file: file.to_owned(),
        fault,
        remedy: remedy.to_owned(),
    };
    if bytes.len() > LARGEST_FILE {
        let size = format!("has {} bytes, more than {LARGEST_FILE}", bytes.len());
        return Err(fault(size, "cut it to the part about this machine"));
    }
    if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
        return Err(fault("is UTF-16".to_owned(), "save it as UTF-8"));
    }
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    std::str::from_utf8(bytes).map_err(|error| {
        let what = format!("is not UTF-8 text (byte {})", error.valid_up_to());
        fault(what, "save the program's output as UTF-8")
    })
}

/// Reads a machine from any file that is known here; `file` is named in errors.
///
/// ```
/// use topologies::import::{self, Hints};
///
/// let table = "\tGPU0\tGPU1\tCPU Affinity\tNUMA Affinity\n\
///              GPU0\t X \tPIX\t0-47\t0\n\
///              GPU1\tPIX\t X \t0-47\t0\n";
/// let hints = Hints { gpu: Some("L40S".to_owned()), ..Hints::default() };
/// let imported = import::machine(table.as_bytes(), "topo.txt", &hints)?;
/// assert_eq!(imported.machine.interconnect(), "PCIe 32 GB/s, 1 socket");
/// assert!(imported.assumed.iter().any(|line| line.contains("peer-to-peer")));
/// # Ok::<(), topologies::import::ImportError>(())
/// ```
///
/// # Errors
/// [`ImportError`], one sentence.
pub fn machine(bytes: &[u8], file: &str, hints: &Hints) -> Result<Imported, ImportError> {
    let text = text(bytes, file)?;
    match kind(text) {
        Kind::SmiTopology => smi::read(text, file, hints),
        Kind::NcclXml => nccl_xml::read(text, file, hints),
        Kind::SmiQuery => Err(ImportError::File {
            file: file.to_owned(),
            fault: "is nvidia-smi -q -x, which does not say how GPUs are connected".to_owned(),
            remedy: "give the file of nvidia-smi topo -m, and this one with --smi-xml".to_owned(),
        }),
        Kind::Toml if hints.nodes.is_some() || hints.fabric.is_some() => Err(ImportError::File {
            file: file.to_owned(),
            fault: "is our own machine file, which says its nodes itself".to_owned(),
            remedy: "write nodes = 2 and [[nics]] into it, and leave out --nodes and --fabric"
                .to_owned(),
        }),
        Kind::Toml => Ok(Imported {
            machine: Machine::from_toml(text, file)?,
            toml: text.to_owned(),
            assumed: Vec::new(),
        }),
    }
}

#[cfg(test)]
mod damage;
#[cfg(test)]
mod tests;
