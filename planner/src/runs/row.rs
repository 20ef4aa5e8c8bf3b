//! A row of a published table, as text, and what it measures.

use crate::csv_input::{Column, InputError, Record, Table};

/// What the value of a row is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Metric {
    /// Whole request: encoders, denoising, VAE.
    #[default]
    Latency,
    /// The denoising loop alone.
    Denoise,
    /// One step of it.
    Step,
    /// Peak memory of a GPU, in bytes.
    Memory,
    /// Anything else: a quality score, a part of the time.
    Other,
}

impl Metric {
    /// Whether the value is a time that the simulator predicts.
    #[must_use]
    pub const fn is_latency(self) -> bool {
        matches!(self, Self::Latency | Self::Denoise | Self::Step)
    }
}

/// The value of a row.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Value {
    /// Seconds, or bytes for memory.
    Number(f64),
    /// It did not fit in memory.
    OutOfMemory,
    /// The cell is empty or says that there is none.
    #[default]
    Missing,
}

/// A row of a published table.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Row {
    /// Index of its file.
    pub file: usize,
    /// Line in that file, from 1.
    pub line: u64,
    /// File and line.
    pub name: String,
    /// Who published it.
    pub source: String,
    /// In which table.
    pub table: String,
    /// Model.
    pub model: String,
    /// Height x width in pixels.
    pub resolution: String,
    /// Frames.
    pub frames: String,
    /// GPU.
    pub gpu: String,
    /// How many; 0 where the cell is empty.
    pub gpus: u32,
    /// Interconnect.
    pub interconnect: String,
    /// Strategy with degrees.
    pub strategy: String,
    /// Denoising steps.
    pub steps: String,
    /// Warm-up steps.
    pub warmup: String,
    /// Rows of a forward pass.
    pub batch: String,
    /// Whether the model was compiled.
    pub compile: String,
    /// Where the value comes from: printed, digitised, assumed, suspect.
    pub quality: String,
    /// Compressor of messages.
    pub compressor: String,
    /// Bandwidth of a GPU's emulated link, GB/s.
    pub bandwidth: Option<f64>,
    /// Levers beside the strategy, and the remarks.
    pub levers: Levers,
    /// What the value is.
    pub metric: Metric,
    /// The metric's name in the file.
    pub metric_name: String,
    /// The value.
    pub value: Value,
    /// Whether the value is of one step.
    pub per_step: bool,
}

/// Cells of levers beside the strategy, where the table has them; empty is the software's default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Levers {
    /// Which steps are skipped.
    pub cache: String,
    /// Stored number format.
    pub precision: String,
    /// Attention kernel.
    pub attention: String,
    /// What is not resident.
    pub offload: String,
    /// Remarks, which may name a lever.
    pub notes: String,
}

/// The columns of a file.
struct Columns {
    texts: [Column; 14],
    batch: Option<Column>,
    compile: Option<Column>,
    quality: Option<Column>,
    compressor: Option<Column>,
    bandwidth: Option<Column>,
    levers: [Option<Column>; 5],
}

const TEXTS: [&str; 14] = [
    "source",
    "table",
    "model",
    "resolution",
    "frames",
    "gpu",
    "n_gpus",
    "interconnect",
    "strategy",
    "steps",
    "warmup",
    "metric",
    "value",
    "unit",
];

impl Columns {
    fn of(table: &Table) -> Result<Self, InputError> {
        let mut texts = Vec::new();
        for name in TEXTS {
            texts.push(table.column(name)?);
        }
        // Tables of compressors have one column more and three fewer.
        let compressor = table.optional("compressor");
        let own = |name| match compressor {
            Some(_) => Ok(table.optional(name)),
            None => table.column(name).map(Some),
        };
        Ok(Self {
            texts: texts.try_into().expect("one column for each name"),
            batch: own("batch")?,
            compile: own("compile")?,
            quality: own("quality")?,
            compressor,
            bandwidth: table.optional("bandwidth_GBps"),
            levers: ["cache", "precision", "attention", "offload", "notes"]
                .map(|name| table.optional(name)),
        })
    }
}

/// Reads every row of `table`, which is file number `file`.
///
/// # Errors
/// [`InputError`] for a column that is missing or a cell that is not a number.
pub fn read(table: &Table, file: usize) -> Result<Vec<Row>, InputError> {
    let columns = Columns::of(table)?;
    table
        .records()
        .map(|record| read_row(table, &columns, record, file))
        .collect()
}

fn read_row(
    table: &Table,
    columns: &Columns,
    record: Record<'_>,
    file: usize,
) -> Result<Row, InputError> {
    let text = |index: usize| record.text(columns.texts[index]).to_owned();
    let optional = |column: Option<Column>| column.map_or("", |at| record.text(at)).to_owned();
    let (unit, steps) = (text(13), text(9));
    let metric = metric_of(record.text(columns.texts[11]), &unit, &steps);
    let value = match metric {
        Metric::Other => Value::Missing,
        _ => value_of(record, columns, metric)?,
    };
    let [cache, precision, attention, offload, notes] = columns.levers.map(optional);
    let bandwidth = match columns.bandwidth {
        Some(column) if !record.text(column).is_empty() => Some(record.positive(column)?),
        _ => None,
    };
    Ok(Row {
        file,
        line: record.line(),
        name: format!("{}:{}", table.file, record.line()),
        source: text(0),
        table: text(1),
        model: text(2),
        resolution: text(3),
        frames: text(4),
        gpu: text(5),
        gpus: count_of(record, columns.texts[6])?,
        interconnect: text(7),
        strategy: text(8),
        warmup: text(10),
        batch: optional(columns.batch),
        compile: optional(columns.compile),
        quality: optional(columns.quality),
        compressor: optional(columns.compressor),
        bandwidth,
        levers: Levers {
            cache,
            precision,
            attention,
            offload,
            notes,
        },
        metric,
        metric_name: text(11),
        value,
        per_step: unit.contains("/step") || steps.starts_with("per"),
        steps,
    })
}

fn metric_of(name: &str, unit: &str, steps: &str) -> Metric {
    let per_step = unit.contains("/step") || steps.starts_with("per");
    match name {
        "latency" | "dit_latency" | "denoise_latency" if per_step => Metric::Step,
        "latency" => Metric::Latency,
        "dit_latency" | "denoise_latency" => Metric::Denoise,
        // Without "/step" a step latency is the whole loop's, steps given.
        "step_latency" if per_step => Metric::Step,
        "step_latency" => Metric::Denoise,
        "peak_mem" | "peak_memory" => Metric::Memory,
        _ => Metric::Other,
    }
}

fn count_of(record: Record<'_>, column: Column) -> Result<u32, InputError> {
    let text = record.text(column);
    if text.is_empty() {
        return Ok(0);
    }
    let count = text.parse().ok().filter(|count| (1..=1024).contains(count));
    count.ok_or_else(|| record.not(column, "a number of GPUs from 1 to 1024"))
}

/// Longest time, in seconds, and largest memory, in bytes, that a row may have: a year; a thousand GPUs.
const MOST: f64 = 1e14;

fn value_of(record: Record<'_>, columns: &Columns, metric: Metric) -> Result<Value, InputError> {
    let [value, unit] = [columns.texts[12], columns.texts[13]];
    match record.text(value).to_lowercase().as_str() {
        "oom" | "out of memory" => return Ok(Value::OutOfMemory),
        "" | "-" | "n/a" | "na" | "unstated" | "not stated" => return Ok(Value::Missing),
        _ => {}
    }
    let units = if metric == Metric::Memory {
        MEMORY
    } else {
        TIMES
    };
    let written = record
        .text(unit)
        .split('/')
        .next()
        .unwrap_or_default()
        .trim();
    let scale = units.iter().find(|(name, _)| *name == written);
    let Some(&(_, scale)) = scale else {
        return Err(record.not(
            unit,
            "a unit: s, ms, us, min, h (of one step: s/step), or GB, GiB, MB, MiB",
        ));
    };
    let number = record.text(value).parse::<f64>().ok();
    let number = number.filter(|number| *number > 0.0 && number * scale < MOST);
    let number = number.ok_or_else(|| {
        record.not(
            value,
            "a number above 0 that is below 10^14 s or bytes, or OOM",
        )
    })?;
    Ok(Value::Number(number * scale))
}

/// Units in seconds.
const TIMES: &[(&str, f64)] = &[
    ("s", 1.0),
    ("ms", 1e-3),
    ("us", 1e-6),
    ("min", 60.0),
    ("h", 3600.0),
];

/// Units in bytes.
const MEMORY: &[(&str, f64)] = &[
    ("GB", 1e9),
    ("MB", 1e6),
    ("GiB", (1_u64 << 30) as f64),
    ("MiB", (1_u64 << 20) as f64),
];

/// The whole number that a cell starts with, and what follows it: `28 (repo example)`. None for `-4`, `1e3`, `2.5`.
#[must_use]
pub fn first_count(text: &str) -> Option<(u32, &str)> {
    let text = text.trim();
    let end = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let rest = &text[end..];
    let ends = rest.is_empty() || rest.starts_with([' ', '\t', '(', ',']);
    Some((text[..end].parse().ok().filter(|_| ends)?, rest.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) const VALID: &str = "source,table,model,resolution,frames,gpu,n_gpus,interconnect,strategy,steps,warmup,batch,compile,metric,value,unit,notes,quality\n\
        xdit-project/x@1,t,FLUX.1-dev,1024x1024,1,L20,4,PCIe4,ulysses4,28,,1,no,latency,8.28,s,,printed\n";

    fn rows(text: &str) -> Result<Vec<Row>, InputError> {
        read(&Table::from_bytes(text.as_bytes(), "p.csv")?, 0)
    }

    #[test]
    fn counts_are_whole_numbers_that_a_cell_starts_with() {
        for (text, count) in [
            ("28 (repo example)", Some(28)),
            ("1 (PipeFusion), 4 (DistriFusion)", Some(1)),
            ("50", Some(50)),
            ("-4", None),
            ("1e3", None),
            ("2.5", None),
            ("per step", None),
        ] {
            assert_eq!(first_count(text).map(|found| found.0), count, "{text}");
        }
    }

    #[test]
    fn units_become_seconds_and_bytes() {
        let value = |from: &str, to: &str| rows(&VALID.replace(from, to)).unwrap()[0].value;
        assert_eq!(value("", ""), Value::Number(8.28));
        assert_eq!(value("8.28,s", "250,ms/step"), Value::Number(0.25));
        assert_eq!(value("8.28,s", "1e3,s"), Value::Number(1000.0));
        assert_eq!(value("8.28,s", "2,h"), Value::Number(7200.0));
        assert_eq!(
            value("latency,8.28,s", "peak_mem,2,GiB"),
            Value::Number(2_147_483_648.0)
        );
        assert_eq!(value("8.28", "OOM"), Value::OutOfMemory);
        assert_eq!(value("latency,8.28", "FID,x"), Value::Missing);
    }

    #[test]
    fn one_wrong_thing_is_one_error_with_its_place() {
        for (from, to, says) in [
            (
                "8.28",
                "fast",
                "line 2, column \"value\": \"fast\" is not a number above 0 that is below 10^14 s or bytes, or OOM",
            ),
            (",4,", ",many,", "column \"n_gpus\": \"many\""),
            (
                ",4,",
                ",1025,",
                "\"1025\" is not a number of GPUs from 1 to 1024",
            ),
            ("8.28,s", "1,234.5,s", "line 2: 19 fields"),
            (
                "8.28",
                "-1",
                "column \"value\": \"-1\" is not a number above 0",
            ),
            ("8.28", "1e308", "column \"value\": \"1e308\""),
            (
                ",s,",
                ",fortnights,",
                "column \"unit\": \"fortnights\" is not a unit",
            ),
            (",4,", ",4 GPUs,", "column \"n_gpus\""),
            (
                "interconnect",
                "wires",
                "column \"interconnect\" is missing",
            ),
            ("batch", "rows", "column \"batch\" is missing"),
        ] {
            let error = rows(&VALID.replace(from, to)).unwrap_err().to_string();
            assert!(error.contains(says), "{error}");
        }
    }

    #[test]
    fn a_table_of_compressors_needs_no_batch() {
        let text = VALID
            .replace("batch,compile,", "compressor,bandwidth_GBps,")
            .replace(",1,no,latency", ",1bit,0.5,latency")
            .replace(",quality", ",other");
        let row = &rows(&text).unwrap()[0];
        assert_eq!(
            (row.compressor.as_str(), row.bandwidth),
            ("1bit", Some(0.5))
        );
    }
}
