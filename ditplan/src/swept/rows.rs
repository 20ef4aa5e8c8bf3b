//! The rows of a sweep: a CSV that grows in order, and what tables and pictures read from it.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, ensure};
use planner::search::Question;
use planner::sweep::{Axis, Row};
use serde_json::{Value, json};
use sim::plan::Plan;

/// Columns behind those of the axes.
const COLUMNS: [&str; 17] = [
    "plan",
    "strategy",
    "compressor",
    "ranks",
    "latency_s",
    "latency_lo_s",
    "latency_hi_s",
    "lower_bound_s",
    "speed_up",
    "exposed_s",
    "peak_memory_gb",
    "fits",
    "output",
    "deviation",
    "considered",
    "simulated",
    "reason",
];

/// The names of the columns.
pub(super) fn header(axes: &[Axis]) -> Vec<String> {
    let fields = axes.iter().map(|axis| axis.field.to_string());
    fields.chain(COLUMNS.map(str::to_owned)).collect()
}

/// The cells of a row; a point without a plan has its reason and nothing else.
pub(super) fn cells(row: &Row) -> Vec<String> {
    let mut cells: Vec<String> = row.values.iter().map(ToString::to_string).collect();
    let found = match &row.found {
        Ok(found) => found,
        Err(reason) => {
            cells.extend(std::iter::repeat_n(String::new(), COLUMNS.len() - 1));
            cells.push(reason.clone());
            return cells;
        }
    };
    let one = &found.candidate;
    let seconds = |time: topologies::SimDuration| format!("{:.6}", time.as_secs_f64());
    let predicted = one.quality.predicted.as_ref();
    cells.extend([
        one.plan.to_string(),
        one.plan.strategy(),
        one.plan.compression.to_string(),
        one.plan.ranks().to_string(),
        seconds(one.latency),
        seconds(one.lo),
        seconds(one.hi),
        seconds(one.lower_bound),
        format!("{:.4}", found.speed_up),
        seconds(one.exposed),
        format!("{:.3}", one.peak_memory.as_f64() / 1e9),
        one.fits.to_string(),
        crate::contract::fidelity(one.fidelity).to_owned(),
        predicted.map_or_else(String::new, |it| format!("{:.6}", it.deviation)),
        found.considered.to_string(),
        found.simulated.to_string(),
        String::new(),
    ]);
    cells
}

/// What the rows answer, to be compared when a sweep goes on.
pub(super) fn question(question: &Question, axes: &[Axis], plans: &[String]) -> String {
    let asked = json!({
        "version": env!("CARGO_PKG_VERSION"),
        "model": question.model.name,
        "machine": question.machine.name,
        "gpus": question.gpus,
        "request": format!("{:?}", question.request),
        "engine": format!("{:?}", question.engine),
        "compilation": question.compilation.to_string(),
        "filter": format!("{:?}", question.filter),
        "links": question.machine.links.iter().map(|link| format!("{}", link.effective())).collect::<Vec<_>>(),
        "vary": axes.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "plans": plans,
    });
    crate::listing::pretty(&asked)
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
    /// Opens or makes the file; a torn last line is cut off.
    pub(super) fn open(path: &Path, header: &[String], asked: &str) -> Result<Self> {
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)
            .with_context(|| format!("{} cannot be written", path.display()))?;
        let mut text = String::new();
        file.read_to_string(&mut text)
            .with_context(|| format!("{} is not text: it is no sweep", path.display()))?;
        let whole = text.rfind('\n').map_or(0, |end| end + 1);
        let first = line(header)?;
        if whole == 0 {
            traces::whole::write(&beside(path), asked)?;
            file.set_len(0)?;
            file.seek(SeekFrom::Start(0))?;
            file.write_all(&first)?;
            file.sync_data()?;
            return Ok(Self { file, rows: 0 });
        }
        ensure!(
            text.as_bytes().starts_with(&first),
            "{} has other columns: it is of another sweep",
            path.display()
        );
        let known = std::fs::read_to_string(beside(path)).unwrap_or_default();
        ensure!(
            known == asked,
            "{} answers another question (see {}): give the same options, or another name",
            path.display(),
            beside(path).display()
        );
        file.set_len(whole as u64)?;
        file.seek(SeekFrom::End(0))?;
        let mut reader = csv::Reader::from_reader(&text.as_bytes()[..whole]);
        let rows = reader.records().map(|record| record.map(|_| ()));
        let rows = rows.collect::<Result<Vec<()>, _>>()?.len();
        Ok(Self { file, rows })
    }

    /// Adds rows, on the disk when this returns.
    pub(super) fn append(&mut self, rows: &[Vec<String>]) -> Result<()> {
        let lines: Vec<Vec<u8>> = rows.iter().map(|row| line(row)).collect::<Result<_>>()?;
        self.file
            .write_all(&lines.concat())
            .and_then(|()| self.file.sync_data())
            .context("the rows cannot be written: make room, then --resume")
    }
}

/// A line of CSV.
fn line(cells: &[String]) -> Result<Vec<u8>> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(cells)?;
    writer.into_inner().map_err(|error| anyhow!("{error}"))
}

/// One row, read back.
#[derive(Clone, Debug, Default)]
pub(super) struct Line {
    pub values: Vec<String>,
    pub plan: String,
    pub strategy: String,
    pub compressor: String,
    pub latency_s: f64,
    pub lo_s: f64,
    pub hi_s: f64,
    pub speed_up: f64,
    pub exposed_s: f64,
    pub memory_gb: f64,
    pub fits: bool,
    pub reason: String,
}

/// All rows of a sweep.
pub(super) struct Table {
    pub axes: Vec<String>,
    pub lines: Vec<Line>,
    header: Vec<String>,
    cells: Vec<Vec<String>>,
}

/// The rows of a file.
pub(super) fn read(path: &Path) -> Result<Table> {
    let mut reader = csv::Reader::from_path(path)?;
    let header = reader.headers()?.iter().map(str::to_owned).collect();
    let owned = |record: csv::StringRecord| record.iter().map(str::to_owned).collect();
    let cells = reader.records().map(|record| record.map(owned));
    Ok(Table::new(header, cells.collect::<Result<_, _>>()?))
}

impl Table {
    pub(super) fn new(header: Vec<String>, cells: Vec<Vec<String>>) -> Self {
        let axes = header.len() - COLUMNS.len();
        let number = |text: &String| text.parse().unwrap_or(f64::NAN);
        let line = |cells: &Vec<String>| {
            let (values, rest) = cells.split_at(axes);
            Line {
                values: values.to_vec(),
                plan: rest[0].clone(),
                strategy: rest[1].clone(),
                compressor: rest[2].clone(),
                latency_s: number(&rest[4]),
                lo_s: number(&rest[5]),
                hi_s: number(&rest[6]),
                speed_up: number(&rest[8]),
                exposed_s: number(&rest[9]),
                memory_gb: number(&rest[10]),
                fits: rest[11] == "true",
                reason: rest[16].clone(),
            }
        };
        Self {
            axes: header[..axes].to_vec(),
            lines: cells.iter().map(line).collect(),
            header,
            cells,
        }
    }

    /// The fastest line of each point that fits; the first where none does.
    pub(super) fn best(&self) -> Vec<&Line> {
        let mut best: Vec<&Line> = Vec::new();
        for line in &self.lines {
            match best.last_mut() {
                Some(last) if last.values == line.values => {
                    if line.beats(last) {
                        *last = line;
                    }
                }
                _ => best.push(line),
            }
        }
        best
    }

    /// The values of an axis in the order they occur.
    pub(super) fn distinct(&self, axis: usize) -> Vec<String> {
        let mut values: Vec<String> = Vec::new();
        for line in &self.lines {
            if !values.contains(&line.values[axis]) {
                values.push(line.values[axis].clone());
            }
        }
        values
    }

    /// One object a row.
    pub(super) fn json(&self, question: &Question) -> Value {
        let cell = |text: &String| match text.parse::<f64>() {
            Ok(number) if number.is_finite() => json!(number),
            _ if text.is_empty() => Value::Null,
            _ => json!(text),
        };
        let row = |cells: &Vec<String>| {
            let pairs = self.header.iter().zip(cells);
            Value::Object(
                pairs
                    .map(|(name, text)| (name.clone(), cell(text)))
                    .collect(),
            )
        };
        json!({ "question": crate::contract::question(question), "axes": self.axes, "rows": self.cells.iter().map(row).collect::<Vec<_>>() })
    }
}

impl Line {
    fn beats(&self, other: &Self) -> bool {
        !self.plan.is_empty()
            && (other.plan.is_empty()
                || (self.fits, other.latency_s) > (other.fits, self.latency_s))
    }

    /// Strategy and compressor.
    pub(super) fn label(&self) -> String {
        match self.compressor.as_str() {
            "raw" => self.strategy.clone(),
            _ => self.plan.split(' ').next().unwrap_or_default().to_owned(),
        }
    }

    /// What kind of plan it is: its strategy without degrees, and whether it compresses.
    pub(super) fn kind(&self) -> String {
        let Ok(plan) = self.plan.parse::<Plan>() else {
            return "none".to_owned();
        };
        let word =
            |part: &str| -> String { part.chars().take_while(|c| !c.is_ascii_digit()).collect() };
        let strategy: Vec<String> = self.strategy.split('+').map(word).collect();
        let mut kind = strategy.join("+");
        if !plan.compression.is_raw() {
            kind.push_str(", compressed");
        }
        kind
    }

    /// Its values with their names.
    pub(super) fn place(&self, axes: &[String]) -> String {
        self.place_of(axes)
    }

    /// The values of the first axes with their names.
    pub(super) fn place_of(&self, axes: &[String]) -> String {
        let pairs = axes.iter().zip(&self.values);
        let words: Vec<String> = pairs
            .map(|(name, value)| format!("{name} = {value}"))
            .collect();
        words.join(", ")
    }
}

/// How many lines each kind of plan has, most first.
pub(super) fn kinds(lines: &[&Line]) -> Vec<(String, usize)> {
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for line in lines {
        *counts.entry(line.kind()).or_default() += 1;
    }
    let mut counts: Vec<(String, usize)> = counts.into_iter().collect();
    counts.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(&b.0)));
    counts
}
