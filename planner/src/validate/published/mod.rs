//! Tier 3: published end-to-end runs, calibrated by rule and predicted.
//!
//! ```text
//! files ─▶ rows ─▶ cases (or unmapped, with the reason)
//!   doubts of the sources ─▶ calibration ─▶ hygiene ─▶ calibration without flagged rows ─▶ scores
//! ```
//! Guarantees: rows of all files calibrate each other; a row that calibrates is listed and not
//! scored; one that is flagged says why and is scored apart, as are digitised ones.

pub mod calibrate;
pub mod case;
mod compressor;
pub mod hosts;
pub mod hygiene;
pub mod memory;
pub mod predict;
pub mod row;
pub mod score;
pub mod strategy;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use rayon::prelude::*;
use serde::Serialize;

use super::csv_input::{InputError, Table};
use super::tier::Unmapped;
use calibrate::Hosts;
use case::Case;
use hosts::Host;
use hygiene::Flags;
use memory::{MemoryReport, MemoryRow};
use row::{Row, Value};
use score::{Part, Prediction};
use sim::execution::Calibration;

/// The report of all files.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Published {
    /// All files together.
    #[serde(flatten)]
    pub together: Summary,
    /// Each file.
    pub files: Vec<FileSummary>,
}

/// The report of one file.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FileSummary {
    /// Its name.
    pub file: String,
    /// Its report.
    #[serde(flatten)]
    pub summary: Summary,
}

/// A report over rows of one or more files.
///
/// `n` counts multi-GPU latency rows, `mapped` those of them that can be predicted; errors are over
/// the `scored` ones: printed, not flagged, not used to calibrate.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Summary {
    /// Errors and decisions of printed, unflagged rows.
    #[serde(flatten)]
    pub part: Part,
    /// Rows that these errors are over.
    pub scored: usize,
    /// One-GPU latency rows.
    pub one_gpu: Counted,
    /// Rows of other metrics, by metric.
    pub not_latency: BTreeMap<String, usize>,
    /// Unflagged rows read off a chart.
    pub digitised: Part,
    /// Flagged rows.
    pub flagged: Part,
    /// The memory model.
    pub memory: MemoryReport,
    /// Rows that calibrated, not scored.
    pub calibration_rows: Vec<CalibrationRow>,
    /// Latency rows that cannot be predicted.
    pub unmapped: Vec<Unmapped>,
    /// Predicted rows.
    pub rows: Vec<Prediction>,
    /// Measured and predicted of the scored rows, for plots; not part of the JSON.
    #[serde(skip)]
    pub points: Vec<(f64, f64)>,
}

/// How many rows there are and how many could be mapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Counted {
    /// Rows.
    pub n: usize,
    /// Mapped.
    pub mapped: usize,
}

/// A row that calibrated.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CalibrationRow {
    /// File and line.
    pub row: String,
    /// What it said.
    pub says: String,
    /// Its host.
    pub host: String,
    /// Its plan.
    pub plan: String,
    /// Its value, seconds.
    #[serde(rename = "measured_s")]
    pub measured: f64,
}

/// Everything known about the rows once they are predicted.
struct Judged<'a> {
    rows: &'a [Row],
    cases: &'a [Case],
    unmapped: &'a [(usize, Unmapped)],
    hosts: &'a Hosts<'a>,
    predictions: &'a [Prediction],
    memory: &'a [(usize, Result<MemoryRow, Unmapped>)],
}

/// Reads, calibrates, flags and predicts all rows of `tables`.
///
/// # Errors
/// [`InputError`] naming file, line and column of what cannot be read.
pub fn published(tables: &[Table]) -> Result<Published, InputError> {
    let mut rows = Vec::new();
    for (file, table) in tables.iter().enumerate() {
        rows.extend(row::read(table, file)?);
    }
    let (cases, unmapped) = cases(&rows);
    let doubts = hygiene::doubts(&cases);
    let flags: Flags = hygiene::flag(&cases, &calibrate::calibrate(&cases, &doubts));
    let hosts = calibrate::calibrate(&cases, &flags);
    let judged = Judged {
        rows: &rows,
        cases: &cases,
        unmapped: &unmapped,
        hosts: &hosts,
        predictions: &score::predictions(&cases, &hosts, &flags),
        memory: &memory_rows(&rows),
    };
    let files = tables.iter().enumerate().map(|(file, table)| FileSummary {
        file: table.file.clone(),
        summary: judged.summary(|of| of == file),
    });
    Ok(Published {
        together: judged.summary(|_| true),
        files: files.collect(),
    })
}

/// Latency rows as cases, or the reason why not.
fn cases(rows: &[Row]) -> (Vec<Case>, Vec<(usize, Unmapped)>) {
    let latencies: Vec<&Row> = rows.iter().filter(|row| row.metric.is_latency()).collect();
    let read = latencies.par_iter().map(|row| case_of(row));
    let mut cases = Vec::new();
    let mut unmapped = Vec::new();
    for (row, case) in latencies.iter().zip(read.collect::<Vec<_>>()) {
        match case {
            Ok(case) => cases.push(case),
            Err(reason) => {
                let row_name = row.name.clone();
                unmapped.push((
                    row.file,
                    Unmapped {
                        row: row_name,
                        reason,
                    },
                ));
            }
        }
    }
    join_hosts(&mut cases);
    (cases, unmapped)
}

/// A one-GPU row without an interconnect ran on the host of its project and GPU, if there is one.
fn join_hosts(cases: &mut [Case]) {
    let mut known: BTreeMap<(String, String), Vec<Host>> = BTreeMap::new();
    for host in cases.iter().map(|case| &case.host) {
        let hosts = known
            .entry((host.project.clone(), host.gpu.clone()))
            .or_default();
        if !host.interconnect.is_empty() && !hosts.contains(host) {
            hosts.push(host.clone());
        }
    }
    let alone = cases
        .iter_mut()
        .filter(|case| case.is_one_gpu() && case.host.interconnect.is_empty());
    for case in alone {
        let key = (case.host.project.clone(), case.host.gpu.clone());
        if let Some([host]) = known.get(&key).map(Vec::as_slice) {
            case.host = host.clone();
        }
    }
}

/// A case that the simulator has costs for.
fn case_of(row: &Row) -> Result<Case, String> {
    if row.value == Value::OutOfMemory {
        return Err("it ran out of memory: scored by the memory model".to_owned());
    }
    if row.value == Value::Missing {
        return Err("there is no value".to_owned());
    }
    if row.gpus == 0 {
        return Err("the number of GPUs is not stated".to_owned());
    }
    let case = Case::of(row)?;
    let assumed = Calibration::assumed(case.platform.is_nvlink());
    predict::predict(&case, &assumed, predict::Effort::Estimate)?;
    Ok(case)
}

fn memory_rows(rows: &[Row]) -> Vec<(usize, Result<MemoryRow, Unmapped>)> {
    let concerned = rows
        .iter()
        .filter(|row| memory::concerns(row.metric, row.value));
    let one = |row: &Row| {
        let predicted = if row.gpus == 0 {
            Err("the number of GPUs is not stated".to_owned())
        } else {
            Case::of(row).and_then(|case| memory::row(&case))
        };
        predicted.map_err(|reason| Unmapped {
            row: row.name.clone(),
            reason,
        })
    };
    concerned.map(|row| (row.file, one(row))).collect()
}

impl Judged<'_> {
    fn summary(&self, wanted: impl Fn(usize) -> bool) -> Summary {
        let of_case = |case: usize| wanted(self.cases[case].row.file);
        let here: Vec<&Prediction> = self
            .predictions
            .iter()
            .filter(|row| of_case(row.case))
            .collect();
        let pick = |choose: &dyn Fn(&Prediction) -> bool| -> Vec<&Prediction> {
            here.iter().copied().filter(|row| choose(row)).collect()
        };
        let digitised = |row: &Prediction| row.quality == "digitised";
        let printed = pick(&|row| row.flag.is_none() && !digitised(row));
        let charted = pick(&|row| row.flag.is_none() && digitised(row));
        let flagged = pick(&|row| row.flag.is_some());
        let several = self.counted(&wanted, |gpus| gpus != 1);
        let mut part = score::part(self.cases, &printed, several.n);
        part.score.mapped = several.mapped;
        Summary {
            points: printed
                .iter()
                .map(|row| (row.measured, row.predicted))
                .collect(),
            part,
            scored: printed.len(),
            one_gpu: self.counted(&wanted, |gpus| gpus == 1),
            not_latency: self.not_latency(&wanted),
            digitised: score::part(self.cases, &charted, charted.len()),
            flagged: score::part(self.cases, &flagged, flagged.len()),
            memory: self.memory(&wanted),
            calibration_rows: self.calibration_rows(of_case),
            unmapped: self
                .unmapped
                .iter()
                .filter(|row| wanted(row.0))
                .map(|row| row.1.clone())
                .collect(),
            rows: here.into_iter().cloned().collect(),
        }
    }

    /// Latency rows whose number of GPUs `has`.
    fn counted(&self, wanted: impl Fn(usize) -> bool, has: impl Fn(u32) -> bool) -> Counted {
        let rows = self.rows.iter().filter(|row| row.metric.is_latency());
        let mapped = self.cases.iter().map(|case| &case.row);
        let count = |row: &&Row| wanted(row.file) && has(row.gpus);
        Counted {
            n: rows.filter(count).count(),
            mapped: mapped.filter(count).count(),
        }
    }

    fn not_latency(&self, wanted: impl Fn(usize) -> bool) -> BTreeMap<String, usize> {
        let mut counts = BTreeMap::new();
        let others = self
            .rows
            .iter()
            .filter(|row| !row.metric.is_latency() && wanted(row.file));
        for row in others {
            *counts.entry(row.metric_name.clone()).or_default() += 1;
        }
        counts
    }

    fn memory(&self, wanted: impl Fn(usize) -> bool) -> MemoryReport {
        let (mut rows, mut unmapped) = (Vec::new(), Vec::new());
        for (_, row) in self.memory.iter().filter(|row| wanted(row.0)) {
            match row {
                Ok(row) => rows.push(row.clone()),
                Err(row) => unmapped.push(row.clone()),
            }
        }
        memory::report(rows, unmapped)
    }

    fn calibration_rows(&self, wanted: impl Fn(usize) -> bool) -> Vec<CalibrationRow> {
        let used = self.hosts.used.iter().filter(|(index, _)| wanted(**index));
        let row = |(index, used): (&usize, &calibrate::Use)| {
            let case = &self.cases[*index];
            CalibrationRow {
                row: case.row.name.clone(),
                says: used.to_string(),
                host: case.host.to_string(),
                plan: case.plan().to_string(),
                measured: case.measured().unwrap_or(f64::NAN),
            }
        };
        used.map(row).collect()
    }
}
