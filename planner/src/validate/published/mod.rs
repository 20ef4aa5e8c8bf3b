//! Tier 3: published end-to-end runs, calibrated by rule and predicted on the road that users walk.
//!
//! ```text
//! files ─▶ rows ─▶ runs (or unmapped, with the reason)
//!   doubts of the sources ─▶ calibration ─▶ hygiene ─▶ calibration without flagged rows ─▶ scores
//! ```
//! Each row is scored with all that is known of its host, with its project left out, and with nothing known: a new box.
//!
//! Guarantees: a row that calibrates is listed and not scored; one that is flagged says why and is scored apart, as are
//! digitised ones.

#[cfg(test)]
mod conformal;
pub mod hygiene;
pub mod levers;
pub mod memory;
pub mod score;
#[cfg(test)]
mod tests;
pub mod tiers;

use std::collections::{BTreeMap, BTreeSet};

use kernels::Tables;
use sim::execution::Calibration;

use super::reason::Reason;
use super::statistics::Score;
use super::tier::{Scored, Stratum, Unmapped};
use crate::calibrate::terms;
use crate::csv_input::{InputError, Table};
use crate::runs::Run;
use crate::runs::host::{self, Machines};
use crate::runs::row::{self, Row, Value};
use hygiene::Flags;
use levers::{LeverRow, Levers};
use memory::{MemoryReport, MemoryRow};
use score::{Part, Prediction, Unknown};
use tiers::{Hosts, Says, Source, Tier};

/// The report of all files.
#[derive(Clone, Debug, PartialEq)]
pub struct Published {
    /// All files together.
    pub together: Summary,
    /// Each file.
    pub files: Vec<FileSummary>,
}

/// The report of one file.
#[derive(Clone, Debug, PartialEq)]
pub struct FileSummary {
    /// Its name.
    pub file: String,
    /// Its report.
    pub summary: Summary,
}

/// A report over rows of one or more files.
///
/// `n` counts multi-GPU latency rows, `mapped` those of them that can be predicted; errors are over
/// the `scored` ones: printed, not flagged, not used to calibrate.
#[derive(Clone, Debug, PartialEq)]
pub struct Summary {
    /// Errors and decisions of printed, unflagged rows.
    pub part: Part,
    /// Rows that these errors are over.
    pub scored: usize,
    /// The same rows, predicted without any run of their project.
    pub project_left_out: Unknown,
    /// The same rows, predicted without any run.
    pub nothing_known: Unknown,
    /// One-GPU latency rows.
    pub one_gpu: OneGpu,
    /// Rows of other metrics, by metric.
    pub not_latency: BTreeMap<String, usize>,
    /// Unflagged rows read off a chart.
    pub digitised: Part,
    /// Flagged rows.
    pub flagged: Part,
    /// The memory model.
    pub memory: MemoryReport,
    /// Rows with quantised products or weights that move; in none of the errors above.
    pub levers: Levers,
    /// Rows that calibrated, not scored.
    pub calibration_rows: Vec<CalibrationRow>,
    /// Latency rows that cannot be predicted.
    pub unmapped: Vec<Unmapped>,
    /// Predicted rows.
    pub rows: Vec<Prediction>,
    /// Measured and predicted of the scored rows, for plots.
    pub points: Vec<(f64, f64)>,
}

/// How many rows there are and how many could be mapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counted {
    /// Rows.
    pub n: usize,
    /// Mapped.
    pub mapped: usize,
}

/// One-GPU latency rows: those that are printed and unflagged, predicted without any run.
#[derive(Clone, Debug, PartialEq)]
pub struct OneGpu {
    /// Their errors; `n` and `mapped` count all rows, as those of [`Summary`] do.
    pub score: Score,
    /// Rows that the errors are over.
    pub scored: usize,
    /// Errors by what the predictions rest on, and by strategy.
    pub strata: Vec<Stratum>,
}

/// A row that calibrated.
#[derive(Clone, Debug, PartialEq)]
pub struct CalibrationRow {
    /// File and line.
    pub row: String,
    /// What it said.
    pub says: Says,
    /// Its host.
    pub host: String,
    /// Its plan.
    pub plan: String,
    /// Its value, seconds.
    pub measured: f64,
}

/// Everything known about the rows once they are predicted.
struct Judged<'a> {
    rows: &'a [Row],
    runs: &'a [Run],
    unmapped: &'a [(usize, Unmapped)],
    flags: &'a Flags,
    hosts: &'a Hosts,
    predictions: &'a [Prediction],
    left_out: &'a [(usize, Scored)],
    nothing: &'a [(usize, Scored)],
    one_gpu: &'a [(usize, Scored)],
    memory: &'a [(usize, Result<MemoryRow, Unmapped>)],
    levers: &'a [LeverRow],
}

/// Reads, calibrates, flags and predicts all rows of `tables`.
///
/// # Errors
/// [`InputError`] naming file, line and column of what cannot be read.
pub fn published(tables: &[Table]) -> Result<Published, InputError> {
    let read = Read::of(tables)?;
    let (flags, hosts) = read.hosts(Source::Shipped);
    let predictions = score::predictions(&read.runs, &hosts, &flags);
    let scored = predictions.iter().filter(|row| row.is_scored());
    let scored: Vec<usize> = scored.map(|row| row.run).collect();
    let alone = score::alone(&read.runs, &flags);
    let without = |which: &[usize], tier| score::outcomes(&read.runs, which, &hosts, tier);
    let judged = Judged {
        rows: &read.rows,
        runs: &read.runs,
        unmapped: &read.unmapped,
        flags: &flags,
        hosts: &hosts,
        predictions: &predictions,
        left_out: &without(&scored, Tier::ProjectLeftOut),
        nothing: &without(&scored, Tier::NothingKnown),
        one_gpu: &without(&alone, Tier::NothingKnown),
        memory: &memory_rows(&read.rows),
        levers: &levers::rows(&read.runs, &hosts, &flags),
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

/// The rows of some files, those of latencies as runs.
struct Read {
    rows: Vec<Row>,
    runs: Vec<Run>,
    unmapped: Vec<(usize, Unmapped)>,
}

impl Read {
    fn of(tables: &[Table]) -> Result<Self, InputError> {
        let mut rows = Vec::new();
        for (file, table) in tables.iter().enumerate() {
            rows.extend(row::read(table, file)?);
        }
        host::join(&mut rows);
        let mut machines = Machines::default();
        let (mut runs, mut unmapped) = (Vec::new(), Vec::new());
        for row in rows.iter().filter(|row| row.metric.is_latency()) {
            match predictable(row, &mut machines) {
                Ok(run) => runs.push(run),
                Err(reason) => unmapped.push((
                    row.file,
                    Unmapped {
                        row: row.name.clone(),
                        reason,
                    },
                )),
            }
        }
        Ok(Self {
            rows,
            runs,
            unmapped,
        })
    }

    /// Why runs are not scored, and what is known of their hosts.
    fn hosts(&self, source: Source) -> (Flags, Hosts) {
        let doubts = hygiene::doubts(&self.runs);
        // Whether rows contradict each other is asked of the files.
        let first = Hosts::new(&self.runs, &doubts, Source::Files);
        let flags = hygiene::flag(&self.runs, &first);
        let hosts = Hosts::new(&self.runs, &flags, source);
        (flags, hosts)
    }
}

/// A run that the simulator has costs for.
fn predictable(row: &Row, machines: &mut Machines) -> Result<Run, Reason> {
    match row.value {
        Value::OutOfMemory => return Err(Reason::OutOfMemory),
        Value::Missing => return Err(Reason::NoValue),
        Value::Number(_) => {}
    }
    let run = Run::of_row(row, machines)?;
    run.check().map_err(Reason::Illegal)?;
    if let Some(times) = run.beyond_peak() {
        return Err(Reason::BeyondPeak(times));
    }
    let assumed = Calibration::assumed(run.platform.is_of_servers());
    match terms(&run, &assumed, Tables::built_in()) {
        Some(_) => Ok(run),
        None => Err(Reason::NoCost),
    }
}

fn memory_rows(rows: &[Row]) -> Vec<(usize, Result<MemoryRow, Unmapped>)> {
    let mut machines = Machines::default();
    let concerned = rows
        .iter()
        .filter(|row| memory::concerns(row.metric, row.value));
    let one = |row: &Row| {
        let run = Run::of_row(row, &mut machines).map_err(Reason::NoRun);
        let predicted = run
            .and_then(|run| memory::row(&run))
            .map_err(|reason| Unmapped {
                row: row.name.clone(),
                reason,
            });
        (row.file, predicted)
    };
    concerned.map(one).collect()
}

/// The rows of `tables` that calibrate their hosts: what the built-in runs are drawn from.
///
/// # Errors
/// As [`published`].
pub fn calibrating(tables: &[Table]) -> Result<Vec<Row>, InputError> {
    let read = Read::of(tables)?;
    let (flags, hosts) = read.hosts(Source::Files);
    let used = read.runs.iter().zip(&flags);
    let used = used.filter(|(run, flag)| flag.is_none() && hosts.used(run).is_some());
    let used: BTreeSet<(usize, u64)> = used.map(|(run, _)| (run.file, run.line)).collect();
    let is_used = |row: &Row| row.metric.is_latency() && used.contains(&(row.file, row.line));
    Ok(read.rows.into_iter().filter(is_used).collect())
}

impl Judged<'_> {
    fn summary(&self, wanted: impl Fn(usize) -> bool) -> Summary {
        let of_run = |run: usize| wanted(self.runs[run].file);
        let here: Vec<&Prediction> = self
            .predictions
            .iter()
            .filter(|row| of_run(row.run))
            .collect();
        let pick = |choose: &dyn Fn(&Prediction) -> bool| -> Vec<&Prediction> {
            here.iter().copied().filter(|row| choose(row)).collect()
        };
        let digitised = |row: &Prediction| row.quality == "digitised";
        let printed = pick(&Prediction::is_scored);
        let charted = pick(&|row| row.flag.is_none() && digitised(row));
        let flagged = pick(&|row| row.flag.is_some());
        let several = self.counted(&wanted, |gpus| gpus != 1);
        let mut part = score::part(self.runs, &printed, several.n);
        part.score.mapped = several.mapped;
        let unknown = |outcomes: &[(usize, Scored)]| {
            let here = outcomes.iter().filter(|(run, _)| of_run(*run));
            Unknown::of(self.runs, &here.collect::<Vec<_>>())
        };
        Summary {
            points: printed
                .iter()
                .map(|row| (row.measured, row.predicted))
                .collect(),
            part,
            scored: printed.len(),
            project_left_out: unknown(self.left_out),
            nothing_known: unknown(self.nothing),
            one_gpu: self.one_gpu(&wanted),
            not_latency: self.not_latency(&wanted),
            digitised: score::part(self.runs, &charted, charted.len()),
            flagged: score::part(self.runs, &flagged, flagged.len()),
            memory: self.memory(&wanted),
            levers: {
                let here = self.levers.iter().filter(|row| wanted(row.file));
                levers::report(here.cloned().collect())
            },
            calibration_rows: self.calibration_rows(of_run),
            unmapped: self
                .unmapped
                .iter()
                .filter(|row| wanted(row.0))
                .map(|row| row.1.clone())
                .collect(),
            rows: here.into_iter().cloned().collect(),
        }
    }

    fn one_gpu(&self, wanted: impl Fn(usize) -> bool) -> OneGpu {
        let counted = self.counted(&wanted, |gpus| gpus == 1);
        let here = self.one_gpu.iter();
        let here = here.filter(|(run, _)| wanted(self.runs[*run].file));
        let found = Unknown::of(self.runs, &here.collect::<Vec<_>>());
        OneGpu {
            scored: found.score.mapped,
            score: Score {
                n: counted.n,
                mapped: counted.mapped,
                ..found.score
            },
            strata: found.strata,
        }
    }

    /// Latency rows whose number of GPUs `has`.
    fn counted(&self, wanted: impl Fn(usize) -> bool, has: impl Fn(u32) -> bool) -> Counted {
        let rows = self.rows.iter().filter(|row| row.metric.is_latency());
        let count = |(file, gpus): &(usize, u32)| wanted(*file) && has(*gpus);
        let mapped = self.runs.iter().map(|run| (run.file, run.gpus));
        Counted {
            n: rows.map(|row| (row.file, row.gpus)).filter(count).count(),
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
        let row = |(index, run): (usize, &Run)| {
            let clean = wanted(index) && self.flags[index].is_none();
            Some(CalibrationRow {
                row: run.name.clone(),
                says: clean.then(|| self.hosts.used(run)).flatten()?,
                host: run.host.to_string(),
                plan: run.plan().to_string(),
                measured: run.measured()?,
            })
        };
        self.runs.iter().enumerate().filter_map(row).collect()
    }
}
