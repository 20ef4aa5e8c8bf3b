//! The file of a sweep: CSV that only grows, and beside it the question that its rows answer.
//!
//! ```text
//! rows.csv                 header, then whole lines in the order of the points
//! rows.csv.question.json   what is asked, readable, and a digest of all that a row depends on
//! ```
//! Guarantees:
//! 1. What [`Appender::append`] returned from is on the disk: a kill loses only what was still being worked out.
//! 2. Half a line at the end is cut off before the file grows again.
//! 3. Nothing is written into a file that is not this sweep's.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use planner::search;
use planner::sweep::Sweep;
#[cfg(test)]
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;
use sha2::{Digest, Sha256};
use traces::bounded::{self, LARGEST_DESCRIPTION, MEASURED};

use super::rows;
use crate::render::json::{self, Amount};
use crate::render::words;

/// What was asked, what the machine is, and what the rows rest on.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub(crate) struct SweepQuestion {
    /// The version of ditplan that answered.
    pub version: String,
    /// The bandwidth of each of the machine's links, one way, with its unit: 25 GB/s.
    pub links: Vec<String>,
    /// What an hour of a GPU costs, US dollars; null where no price is known.
    pub price_per_gpu_hour_usd: Option<Amount>,
    /// Where the price comes from; empty without one.
    pub price_source: String,
    /// What varies, as --vary reads it: gpus=1,2.
    pub vary: Vec<String>,
    /// The plans that were given; empty where the best was searched.
    pub plans: Vec<String>,
    /// A digest of every figure that the rows rest on: rows of another one are not resumed.
    pub digest: String,
    /// Where the numbers come from, one sentence each; for people.
    pub provenance: Vec<String>,
    /// What was asked.
    #[serde(flatten)]
    pub asked: json::Question,
}

/// What the rows of a sweep answer.
pub(super) fn question(sweep: &Sweep) -> SweepQuestion {
    let Sweep {
        question,
        axes,
        plans,
    } = sweep;
    let machine = &question.machine;
    let links = machine.links.iter();
    let gpu = &machine.gpus[0];
    // Where none is given, the planner may choose one that compresses, or moves weights, at some point.
    let may_be = [ANY_PLAN.parse().expect("a plan")];
    let swept = if plans.is_empty() { &may_be[..] } else { plans };
    SweepQuestion {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        links: links.map(|link| link.effective().to_string()).collect(),
        price_per_gpu_hour_usd: gpu.price_per_hour.map(Amount::from),
        price_source: gpu.price_source.clone(),
        vary: axes.iter().map(ToString::to_string).collect(),
        plans: plans.iter().map(ToString::to_string).collect(),
        digest: digest(sweep),
        provenance: match search::provenance(question, swept.iter()) {
            Ok(sources) => words::sources(&sources),
            Err(error) => vec![error.to_string()],
        },
        asked: question.into(),
    }
}

/// A plan with all that the search adds by itself.
const ANY_PLAN: &str = "ring2/1bit residency=fsdp";

/// A digest of all that a row depends on, beside its point: every figure of the machine, its host, the profile and
/// the trace.
#[must_use]
pub fn digest(sweep: &Sweep) -> String {
    let mut hash = Sha256::new();
    hash.update(format!("{} {sweep:?}", env!("CARGO_PKG_VERSION")));
    // A profile prints its name only; of files that can no longer be read the digest differs, and the rows are refused.
    let profile = sweep.question.profile.iter();
    let folders = profile.filter_map(|profile| std::fs::read_dir(&profile.path).ok());
    let mut files: Vec<PathBuf> = folders
        .flatten()
        .flatten()
        .map(|file| file.path())
        .collect();
    files.sort();
    for file in files {
        hash.update(bounded::read(&file, MEASURED.bytes).unwrap_or_default());
    }
    let bytes = hash.finalize();
    bytes[..16]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// A CSV that only grows.
pub(super) struct Appender {
    file: File,
    /// Rows that were there already.
    pub rows: usize,
}

/// The file beside the rows that says what they answer.
fn beside(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".question.json");
    PathBuf::from(name)
}

impl Appender {
    /// Opens or makes the file of a sweep; a torn last line is cut off.
    pub(super) fn open(path: &Path, sweep: &Sweep) -> Result<Self> {
        if path.exists() {
            bounded::plain(path)?;
        }
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)
            .with_context(|| format!("{} cannot be written", path.display()))?;
        let mut text = Vec::new();
        file.read_to_end(&mut text)
            .with_context(|| format!("{} cannot be read", path.display()))?;
        let header = rows::line(&rows::header(&sweep.axes));
        let asked = json::value(&question(sweep));
        if header.starts_with(&text) && text.len() < header.len() {
            write_question(path, &asked)?;
            file.set_len(0)?;
            file.seek(SeekFrom::Start(0))?;
            file.write_all(&header)?;
            file.sync_all()?;
            return Ok(Self { file, rows: 0 });
        }
        ensure!(
            text.starts_with(&header),
            "{} has other columns: it is of another sweep, or no sweep; choose another name",
            path.display()
        );
        same_question(path, &asked)?;
        let lines = text.iter().filter(|byte| **byte == b'\n').count();
        let whole = text.iter().rposition(|byte| *byte == b'\n');
        let whole = whole.map_or(0, |end| end + 1);
        file.set_len(whole as u64)?;
        file.seek(SeekFrom::End(0))?;
        let (rows, points) = (lines - 1, sweep.points());
        ensure!(
            rows <= points,
            "{} has {rows} rows, this sweep {points} points: it is of another sweep",
            path.display(),
        );
        Ok(Self { file, rows })
    }

    /// Adds lines, on the disk when this returns.
    pub(super) fn append(&mut self, lines: &[u8]) -> Result<()> {
        self.file
            .write_all(lines)
            .and_then(|()| self.file.sync_data())
            .context("the rows cannot be written: make room, then --resume")
    }
}

/// Writes the question; it is on the disk before the first row is.
fn write_question(path: &Path, asked: &Value) -> Result<()> {
    let beside = beside(path);
    let text = json::pretty(asked);
    traces::whole::write(&beside, text)
        .with_context(|| format!("{} cannot be written", beside.display()))
}

/// Refuses rows of another question, and says in what it differs.
fn same_question(path: &Path, asked: &Value) -> Result<()> {
    let beside = beside(path);
    let text = bounded::read(&beside, LARGEST_DESCRIPTION).with_context(|| {
        format!(
            "{} is missing or unreadable, so nobody knows what the rows answer: choose another name",
            beside.display()
        )
    })?;
    let known: Value = serde_json::from_slice(&text).with_context(|| {
        format!(
            "{} is damaged, so nobody knows what the rows answer: choose another name",
            beside.display()
        )
    })?;
    if known["digest"] == asked["digest"] {
        return Ok(());
    }
    let fields = asked.as_object().into_iter().flatten();
    let differs =
        fields.filter(|(name, value)| *name != "digest" && known[name.as_str()] != **value);
    let differs: Vec<&str> = differs.map(|(name, _)| name.as_str()).collect();
    bail!(
        "{} answers another question: {} (see {}); give the same options, or another name",
        path.display(),
        match differs[..] {
            [] => "figures of its machine, profile or trace were others".to_owned(),
            _ => format!("it differs in {}", differs.join(", ")),
        },
        beside.display()
    )
}
