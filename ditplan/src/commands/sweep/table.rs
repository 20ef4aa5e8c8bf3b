//! The rows of a sweep, read back: what tables and pictures are made of.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;
use planner::sweep::Field;
use serde_json::{Value, json};
use sim::plan::Plan;

use super::rows::{self, Kind};

/// What stands where no plan was found.
pub(super) const NO_PLAN: &str = "no plan";
/// The plan `none`, in words.
const ONE_GPU: &str = "one GPU";

/// One row, read back; what is not known is NaN.
#[derive(Clone, Debug)]
pub(super) struct Line {
    pub values: Vec<String>,
    pub plan: String,
    pub strategy: String,
    pub compressor: String,
    pub ranks: u32,
    pub latency_s: f64,
    pub lo_s: f64,
    pub hi_s: f64,
    pub speed_up: f64,
    pub exposed_s: f64,
    pub memory_gb: f64,
    pub fits: bool,
    pub output: String,
    pub deviation: f64,
    pub fid: f64,
    pub cost_each_usd: f64,
    pub reason: String,
}

/// All rows of a sweep.
pub(super) struct Table {
    pub axes: Vec<String>,
    pub lines: Vec<Line>,
    /// As they were written, with their header.
    pub csv: Vec<u8>,
}

impl Table {
    /// The rows of a CSV with its header.
    pub(super) fn read(csv: Vec<u8>) -> Result<Self> {
        let mut reader = csv::Reader::from_reader(&csv[..]);
        let header = reader.headers()?;
        let axes = header.len() - rows::COLUMNS.len();
        let axes: Vec<String> = header.iter().take(axes).map(str::to_owned).collect();
        let lines = reader.records().map(|record| {
            let record = record?;
            let cells: Vec<&str> = record.iter().collect();
            Ok(Line::read(&cells, axes.len()))
        });
        let lines = lines.collect::<Result<_>>()?;
        Ok(Self { axes, lines, csv })
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
        let mut seen = BTreeSet::new();
        let values = self.lines.iter().map(|line| &line.values[axis]);
        let new = values.filter(|value| seen.insert(*value));
        new.cloned().collect()
    }

    /// Which axes one may choose along, and which are given.
    pub(super) fn chosen(&self) -> Vec<bool> {
        let field = |name: &String| name.parse::<Field>();
        let chosen = |name| field(name).is_ok_and(Field::is_choice);
        self.axes.iter().map(chosen).collect()
    }

    /// One object a row.
    pub(super) fn json(&self) -> Result<Value> {
        let mut reader = csv::Reader::from_reader(&self.csv[..]);
        let header: Vec<String> = reader.headers()?.iter().map(str::to_owned).collect();
        let row = |record: csv::StringRecord| {
            let pairs = header.iter().zip(&record).enumerate();
            let cell = |index: usize, text: &str| {
                let figure = index.checked_sub(self.axes.len());
                cell(text, figure.map(|index| rows::COLUMNS[index].1))
            };
            let fields = pairs.map(|(index, (name, text))| (name.clone(), cell(index, text)));
            Value::Object(fields.collect())
        };
        let rows = reader.records().map(|record| Ok(row(record?)));
        Ok(Value::Array(rows.collect::<Result<_>>()?))
    }
}

/// A cell as JSON; the values of axes (`None`) are counts, numbers or text with a unit.
fn cell(text: &str, kind: Option<Kind>) -> Value {
    match kind {
        _ if text.is_empty() => Value::Null,
        Some(Kind::Text) => json!(text),
        Some(Kind::Flag) => json!(text == "true"),
        Some(Kind::Count) | None if text.parse::<u64>().is_ok() => json!(text.parse::<u64>().ok()),
        _ => text
            .parse::<f64>()
            .map_or_else(|_| json!(text), |number| json!(number)),
    }
}

impl Line {
    fn read(cells: &[&str], axes: usize) -> Self {
        let (values, rest) = cells.split_at(axes);
        let at = |name: &str| {
            let place = rows::COLUMNS.iter().position(|column| column.0 == name);
            rest[place.expect("a column that is written")].to_owned()
        };
        let number = |name: &str| at(name).parse().unwrap_or(f64::NAN);
        Self {
            values: values.iter().map(|value| (*value).to_owned()).collect(),
            plan: at("plan"),
            strategy: at("strategy"),
            compressor: at("compressor"),
            ranks: at("ranks").parse().unwrap_or(0),
            latency_s: number("latency_s"),
            lo_s: number("latency_lo_s"),
            hi_s: number("latency_hi_s"),
            speed_up: number("speed_up"),
            exposed_s: number("exposed_s"),
            memory_gb: number("peak_memory_gb"),
            fits: at("fits") == "true",
            output: at("output"),
            deviation: number("deviation"),
            fid: number("fid"),
            cost_each_usd: number("cost_each_usd"),
            reason: at("reason"),
        }
    }

    /// Whether a plan was found that the GPUs have room for.
    pub(super) fn serves(&self) -> bool {
        self.fits && !self.plan.is_empty()
    }

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

    /// The plan in a sentence, where `none` would say that there is no plan.
    pub(super) fn words(&self) -> String {
        match self.strategy.as_str() {
            "none" => ONE_GPU.to_owned(),
            _ => self.label(),
        }
    }

    /// What kind of plan it is: its strategy without degrees, and whether it compresses.
    pub(super) fn kind(&self) -> String {
        let Ok(plan) = self.plan.parse::<Plan>() else {
            return NO_PLAN.to_owned();
        };
        if self.strategy == "none" {
            return ONE_GPU.to_owned();
        }
        let word =
            |part: &str| -> String { part.chars().take_while(|c| !c.is_ascii_digit()).collect() };
        let strategy: Vec<String> = self.strategy.split('+').map(word).collect();
        let mut kind = strategy.join("+");
        if !plan.compression.is_raw() {
            kind.push_str(", compressed");
        }
        kind
    }

    /// The values of the wanted axes with their names.
    pub(super) fn place(&self, axes: &[String], wanted: impl Fn(usize) -> bool) -> String {
        let pairs = axes.iter().zip(&self.values).enumerate();
        let words: Vec<String> = pairs
            .filter(|(index, _)| wanted(*index))
            .map(|(_, (name, value))| format!("{name} = {value}"))
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
