//! `trace check`: everything that can be known to be wrong with a trace, the first defect by name.
//!
//! ```text
//! sizes, headers, shapes (on opening) ─▶ checksums ─▶ finite numbers ─▶ statistics ─▶ tables
//! ```
//! Memory holds two mapped steps, whatever the trace's size; layers of a step are checked in parallel, and
//! the first defect in their order is told.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use indicatif::ProgressBar;
use rayon::prelude::*;
#[cfg(test)]
use schemars::JsonSchema;
use serde::Serialize;
#[cfg(test)]
use serde_json::Value;
use traces::trace::{
    ClosedLoop, ErrorRow, FileEntry, QUALITY, STATISTICS, Statistic, TIMELINE, Tensor, Trace,
    TraceError, measure,
};
use traces::{bounded, timeline};

use super::arguments::CheckArguments;
use crate::render::json::pretty;
use crate::render::progress::progress;
use crate::render::text;

/// What `trace check` prints when all is well.
pub(super) fn answer(typed: &CheckArguments) -> Result<String> {
    let trace = typed.source.open()?;
    let bytes: u64 = trace.files().map(|entry| entry.bytes.get()).sum();
    let shards = trace.manifest().shard_bytes().get();
    let bar = progress(bytes + shards, "checksums");
    let found = checked(&trace, &bar);
    bar.finish_and_clear();
    let found = found?;
    if typed.format.json {
        return Ok(pretty(&CheckAnswer::new(&trace, found)));
    }
    Ok(page(&trace, &found))
}

/// What was checked.
struct Checked {
    /// Elements of shards, all finite.
    elements: u64,
    /// Rows of the statistics that the activations confirm.
    statistics: usize,
    /// Rows of other tables.
    tables: Vec<(&'static str, usize)>,
    /// What could not be checked.
    notes: Vec<String>,
}

/// Checks a trace that was opened.
fn checked(trace: &Trace, bar: &ProgressBar) -> Result<Checked> {
    trace.verify(|bytes| bar.inc(bytes.get()))?;
    let mut notes = unlisted(trace);
    let recorded = &trace.manifest().recorded;
    let whole = recorded.heads.is_none() && recorded.tokens.is_none();
    let written = trace.rows::<Statistic>()?;
    if written.is_none() {
        notes.push(format!("there is no {STATISTICS} to compare with"));
    } else if !whole {
        notes.push(format!(
            "{STATISTICS} is of whole tensors, the shards hold parts: not compared"
        ));
    }
    let known = written.filter(|_| whole).map(by_place);
    bar.set_message("numbers, statistics");
    let statistics = numbers(trace, known.as_ref(), bar)?;
    let elements = trace.manifest().shape().elements() as u64;
    let tensors = trace.steps().len() * recorded.layers.len() * Tensor::ALL.len();
    Ok(Checked {
        elements: elements * tensors as u64,
        statistics,
        tables: tables(trace)?,
        notes,
    })
}

/// A statistic's place.
type Place = (u32, u32, u32, Tensor);

fn by_place(rows: Vec<Statistic>) -> BTreeMap<Place, Statistic> {
    let place = |row: &Statistic| (row.sample, row.step, row.layer, row.tensor);
    rows.into_iter().map(|row| (place(&row), row)).collect()
}

/// Every number is finite and every statistic is that of the numbers; how many were compared.
fn numbers(
    trace: &Trace,
    known: Option<&BTreeMap<Place, Statistic>>,
    bar: &ProgressBar,
) -> Result<usize> {
    let layers = &trace.manifest().recorded.layers;
    let tensors: Vec<(u32, Tensor)> = layers
        .iter()
        .flat_map(|layer| Tensor::ALL.map(|tensor| (*layer, tensor)))
        .collect();
    let mut compared = 0;
    let mut before = None;
    for step in trace.steps() {
        let view = trace.step(step)?;
        let rows: Vec<Result<Vec<Statistic>, TraceError>> = tensors
            .par_iter()
            .map(|(layer, tensor)| measure(&view, before.as_ref(), *layer, *tensor))
            .collect();
        for rows in rows {
            for row in rows? {
                if let Some(known) = known {
                    compare(trace, known, &row)?;
                    compared += 1;
                }
            }
        }
        let size = view.path().metadata().map_or(0, |found| found.len());
        bar.inc(size);
        before = Some(view);
    }
    Ok(compared)
}

/// The written statistic is the recomputed one.
fn compare(trace: &Trace, known: &BTreeMap<Place, Statistic>, row: &Statistic) -> Result<()> {
    let file = trace.path(STATISTICS).display().to_string();
    let place = format!(
        "of {}, layer {}, step {}, sample {}",
        row.tensor, row.layer, row.step, row.sample
    );
    let key = (row.sample, row.step, row.layer, row.tensor);
    let written = known.get(&key).with_context(|| {
        format!("{file} has no row {place}: write the table again, or record the trace again")
    })?;
    if let Some((name, found, expected)) = written.differs(row, trace.manifest().dtype) {
        return Err(TraceError::Statistics {
            file,
            what: format!("{name} {place}"),
            found,
            expected,
        }
        .into());
    }
    Ok(())
}

/// The other tables can be read; how many rows they have.
fn tables(trace: &Trace) -> Result<Vec<(&'static str, usize)>> {
    let mut tables = Vec::new();
    if let Some(rows) = trace.rows::<ErrorRow>()? {
        tables.push((traces::trace::ERRORS, rows.len()));
    }
    if let Some(rows) = trace.rows::<ClosedLoop>()? {
        tables.push((traces::trace::RUNS, rows.len()));
    }
    if let Some(quality) = trace.quality()? {
        tables.push((QUALITY, quality.sensitivities.len()));
    }
    let path = trace.path(TIMELINE);
    if path.exists() {
        let name = path.display().to_string();
        let file = bounded::plain(&path).with_context(|| name.clone())?;
        let spans = timeline::read(file, &name)?;
        tables.push((TIMELINE, spans.spans().len()));
    }
    Ok(tables)
}

/// Files beside the manifest's: nobody vouches for them.
fn unlisted(trace: &Trace) -> Vec<String> {
    let entries = std::fs::read_dir(trace.directory()).into_iter().flatten();
    let mut names: Vec<String> = entries
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| name != "manifest.json" && trace.manifest().file(name).is_none())
        .collect();
    names.sort_unstable();
    let note = |name| format!("{name} is not in the manifest: no checksum covers it");
    names.into_iter().map(note).collect()
}

fn page(trace: &Trace, found: &Checked) -> String {
    let (steps, all) = (trace.steps().len(), trace.manifest().recorded.steps.len());
    let mut page = text::heading(&format!("{} is right", trace.directory().display()));
    let files = trace.files().count();
    let mut lines = vec![
        format!("{files} files have their sizes and checksums"),
        format!("{steps} of {all} steps have every tensor, with its shape and type"),
        format!("{} numbers are finite", found.elements),
    ];
    if found.statistics > 0 {
        lines.push(format!(
            "{} rows of {STATISTICS} are what the tensors give",
            found.statistics
        ));
    }
    for (name, rows) in &found.tables {
        lines.push(format!("{name} can be read, {rows} rows"));
    }
    lines.extend(found.notes.iter().map(|note| format!("note: {note}")));
    page.push_str(&text::bulleted(&lines));
    page
}

/// What was found right; a defect is an error instead (exit code 2).
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub(crate) struct CheckAnswer {
    /// The trace's directory.
    pub directory: String,
    /// Files whose sizes and checksums are right.
    #[cfg_attr(test, schemars(with = "Vec<Value>", extend("items" = {"$ref": "shared.schema.json#/$defs/file_entry"})))]
    pub files: Vec<FileEntry>,
    /// Steps that have every tensor.
    pub steps: Vec<u32>,
    /// Steps that the manifest announces.
    pub recorded_steps: Vec<u32>,
    /// Elements of the shards, all finite.
    pub finite_elements: u64,
    /// Rows of stats.csv.gz that the tensors confirm.
    pub statistics_compared: usize,
    /// Rows of the other tables, by file.
    pub table_rows: BTreeMap<&'static str, usize>,
    /// What could not be checked, one sentence each.
    pub notes: Vec<String>,
}

impl CheckAnswer {
    fn new(trace: &Trace, found: Checked) -> Self {
        Self {
            directory: trace.directory().display().to_string(),
            files: trace.files().cloned().collect(),
            steps: trace.steps(),
            recorded_steps: trace.manifest().recorded.steps.clone(),
            finite_elements: found.elements,
            statistics_compared: found.statistics,
            table_rows: found.tables.into_iter().collect(),
            notes: found.notes,
        }
    }
}
