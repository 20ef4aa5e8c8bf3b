//! Reads the GPU tables: `gpus.csv` and `sustained.csv` (see `data/README.md` for the cells).
//!
//! Guarantees: a faulty table is refused with file, row, column and remedy; rows start at 2,
//! as an editor counts lines below the header.

use thiserror::Error;

use crate::gpu::{Architecture, Gpu, NvlinkForm};
use crate::units::{Bandwidth, Bytes, FlopRate};

/// A fault in a GPU table.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum TableError {
    /// The file has no rows.
    #[error("{file} has no rows: give a header line and one line per GPU")]
    Empty {
        /// The file.
        file: String,
    },
    /// The file is not CSV.
    #[error("{file} is not a CSV table: {reason}")]
    Csv {
        /// The file.
        file: String,
        /// What the CSV reader says.
        reason: String,
    },
    /// A column is missing from the header.
    #[error("{file} has no column \"{column}\": add it to the header line")]
    Column {
        /// The file.
        file: String,
        /// The missing column.
        column: &'static str,
    },
    /// A cell is empty that must not be.
    #[error("{file}, row {row}, column {column}: empty, but every GPU needs this figure")]
    Missing {
        /// The file.
        file: String,
        /// Line of the file.
        row: usize,
        /// The column.
        column: &'static str,
    },
    /// A cell cannot be read.
    #[error("{file}, row {row}, column {column}: \"{text}\" {fault}; {remedy}")]
    Cell {
        /// The file.
        file: String,
        /// Line of the file.
        row: usize,
        /// The column.
        column: &'static str,
        /// What the cell says.
        text: String,
        /// What is wrong with it.
        fault: &'static str,
        /// What to write instead.
        remedy: &'static str,
    },
}

/// The first number of a cell, the midpoint where it is a range; `None` for "" and "none".
fn figure(text: &str) -> Result<Option<f64>, &'static str> {
    let text = text.trim().trim_start_matches('~');
    if text.is_empty() || text.starts_with("none") {
        return Ok(None);
    }
    let (first, rest) = leading_number(text).ok_or("does not start with a number")?;
    let (value, rest) = match rest.strip_prefix('-').and_then(leading_number) {
        Some((last, rest)) => (f64::midpoint(first, last), rest),
        None => (first, rest),
    };
    if rest.starts_with(|c: char| c.is_alphanumeric()) {
        return Err("has something glued to its number");
    }
    if value < 0.0 {
        return Err("is negative");
    }
    Ok(Some(value))
}

/// Splits a decimal number, possibly signed, off the front of `text`.
fn leading_number(text: &str) -> Option<(f64, &str)> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let sign = text.len() - digits.len();
    let end = digits
        .find(|c: char| !(c.is_ascii_digit() || c == '.'))
        .unwrap_or(digits.len());
    let (number, rest) = text.split_at(sign + end);
    Some((number.parse().ok()?, rest))
}

/// A CSV file with its header, for errors that name file, row and column.
struct Table {
    file: String,
    header: Vec<String>,
    rows: Vec<csv::StringRecord>,
}

/// One row of a [`Table`].
struct Row<'a> {
    table: &'a Table,
    record: &'a csv::StringRecord,
    line: usize,
}

impl Table {
    fn read(text: &str, file: &str) -> Result<Self, TableError> {
        let csv_fault = |error: csv::Error| TableError::Csv {
            file: file.to_owned(),
            reason: error.to_string(),
        };
        let mut reader = csv::Reader::from_reader(text.as_bytes());
        let header = reader.headers().map_err(csv_fault)?;
        let header: Vec<String> = header.iter().map(|name| name.trim().to_owned()).collect();
        let rows: Vec<_> = reader
            .records()
            .collect::<Result<_, _>>()
            .map_err(csv_fault)?;
        if rows.is_empty() {
            return Err(TableError::Empty {
                file: file.to_owned(),
            });
        }
        Ok(Self {
            file: file.to_owned(),
            header,
            rows,
        })
    }

    fn rows(&self) -> impl Iterator<Item = Row<'_>> {
        self.rows.iter().enumerate().map(|(index, record)| Row {
            table: self,
            record,
            line: index + 2,
        })
    }
}

impl<'a> Row<'a> {
    fn text(&self, column: &'static str) -> Result<&'a str, TableError> {
        let position = self.table.header.iter().position(|name| name == column);
        let position = position.ok_or_else(|| TableError::Column {
            file: self.table.file.clone(),
            column,
        })?;
        Ok(self.record.get(position).unwrap_or_default().trim())
    }

    fn fault(
        &self,
        column: &'static str,
        text: &str,
        fault: &'static str,
        remedy: &'static str,
    ) -> TableError {
        TableError::Cell {
            file: self.table.file.clone(),
            row: self.line,
            column,
            text: text.to_owned(),
            fault,
            remedy,
        }
    }

    fn number(&self, column: &'static str) -> Result<Option<f64>, TableError> {
        let text = self.text(column)?;
        figure(text).map_err(|fault| {
            self.fault(
                column,
                text,
                fault,
                "write a number that is not negative, or \"none\"",
            )
        })
    }

    fn positive(&self, column: &'static str) -> Result<f64, TableError> {
        match self.number(column)? {
            Some(value) if value > 0.0 => Ok(value),
            Some(_) => Err(self.fault(
                column,
                self.text(column)?,
                "is zero",
                "write the datasheet's figure, which is above zero",
            )),
            None => Err(TableError::Missing {
                file: self.table.file.clone(),
                row: self.line,
                column,
            }),
        }
    }

    fn tflops(&self, column: &'static str) -> Result<Option<FlopRate>, TableError> {
        Ok(self.number(column)?.map(tera))
    }

    fn name(&self) -> Result<&'a str, TableError> {
        match self.text("gpu")? {
            "" => Err(TableError::Missing {
                file: self.table.file.clone(),
                row: self.line,
                column: "gpu",
            }),
            name => Ok(name),
        }
    }
}

fn tera(tflops: f64) -> FlopRate {
    FlopRate::new((tflops * 1e12).round() as u64)
}

fn giga(gigabytes: f64) -> u64 {
    (gigabytes * 1e9).round() as u64
}

fn architecture(row: &Row<'_>) -> Result<Architecture, TableError> {
    match row.text("arch")? {
        "Volta" => Ok(Architecture::Volta),
        "Turing" => Ok(Architecture::Turing),
        "Ampere" => Ok(Architecture::Ampere),
        "Ada" => Ok(Architecture::Ada),
        "Hopper" => Ok(Architecture::Hopper),
        "Blackwell" => Ok(Architecture::Blackwell),
        "Blackwell Ultra" => Ok(Architecture::BlackwellUltra),
        "CDNA3" => Ok(Architecture::Cdna3),
        other => Err(row.fault(
            "arch",
            other,
            "is no known architecture",
            "use Volta, Turing, Ampere, Ada, Hopper, Blackwell, Blackwell Ultra or CDNA3",
        )),
    }
}

/// fp32 lanes per SM. Source: NVIDIA's architecture whitepapers; A10 (GA102) differs from A100 (GA100).
fn fp32_lanes(name: &str, architecture: Architecture) -> f64 {
    match architecture {
        Architecture::Volta | Architecture::Turing => 64.0,
        Architecture::Ampere if name == "A10" => 128.0,
        Architecture::Ampere => 64.0,
        Architecture::Ada
        | Architecture::Hopper
        | Architecture::Blackwell
        | Architecture::BlackwellUltra
        | Architecture::Cdna3 => 128.0,
    }
}

fn nvlink(row: &Row<'_>) -> Result<Option<(Bandwidth, NvlinkForm)>, TableError> {
    let column = "nvlink_uni_GBs";
    let text = row.text(column)?;
    let (number, form) = match text.strip_prefix("bridge pairs") {
        Some(rest) => (rest, NvlinkForm::BridgePair),
        None => (text, NvlinkForm::Board),
    };
    let value = figure(number).map_err(|fault| {
        let remedy = "write GB/s one way, \"bridge pairs <GB/s>\", or \"none\"";
        row.fault(column, text, fault, remedy)
    })?;
    Ok(value.map(|value| (Bandwidth::new(giga(value)), form)))
}

fn gpu(row: &Row<'_>) -> Result<Gpu, TableError> {
    let name = row.name()?;
    let architecture = architecture(row)?;
    let sm_count = row.positive("sm_count")?;
    let nvlink = nvlink(row)?;
    let peak_fp32 = row.tflops("fp32_tflops")?;
    let lanes = fp32_lanes(name, architecture);
    let sustained_gemm = row.tflops("measured_gemm_bf16_tflops")?;
    let sustained_attention = row.tflops("measured_attn_bf16_tflops")?;
    let measured = sustained_gemm.is_some() || sustained_attention.is_some();
    Ok(Gpu {
        name: name.to_owned(),
        architecture,
        form_factor: row.text("form_factor")?.to_owned(),
        sm_count: sm_count as u32,
        memory: Bytes::new(giga(row.positive("mem_gb")?)),
        memory_bandwidth: Bandwidth::new(giga(row.positive("mem_bw_GBs")?)),
        l2: Bytes::new((row.positive("l2_MB")? * 1e6) as u64),
        peak_bf16: tera(row.positive("bf16_dense_tflops")?),
        peak_fp8: row.tflops("fp8_dense_tflops")?,
        peak_fp4: row.tflops("fp4_dense_tflops")?,
        peak_fp32,
        boost_clock_hz: peak_fp32.map(|peak| peak.as_f64() / (2.0 * lanes * sm_count)),
        pcie: Bandwidth::new(giga(row.positive("pcie_uni_GBs")?)),
        nvlink: nvlink.map(|(bandwidth, _)| bandwidth),
        nvlink_form: nvlink.map(|(_, form)| form),
        exponent_rate: row.number("exponents_T")?.map(|tera| tera * 1e12),
        sustained_gemm,
        sustained_attention,
        sustained_attention_by_head: Vec::new(),
        sustained_source: if measured {
            "measured columns of gpus.csv"
        } else {
            ""
        }
        .to_owned(),
        price_per_hour: row.number("cloud_usd_per_gpu_h")?,
        source: row.text("spec_source")?.to_owned(),
        price_source: row.text("price_source")?.to_owned(),
        notes: row.text("notes")?.to_owned(),
    })
}

/// Reads a table of the schema of `data/gpus.csv`; `file` is named in errors.
///
/// # Errors
/// [`TableError`]: an empty file, a missing column, an unreadable, missing or negative figure.
pub fn parse(text: &str, file: &str) -> Result<Vec<Gpu>, TableError> {
    Table::read(text, file)?
        .rows()
        .map(|row| gpu(&row))
        .collect()
}

/// Puts the rates of a table of the schema of `data/sustained.csv` into `gpus`.
///
/// # Errors
/// [`TableError`], also for a GPU that is not among `gpus`.
fn apply_sustained(gpus: &mut [Gpu], text: &str, file: &str) -> Result<(), TableError> {
    const ATTENTION: [(u32, &str); 4] = [
        (64, "attention_64_tflops"),
        (72, "attention_72_tflops"),
        (88, "attention_88_tflops"),
        (128, "attention_128_tflops"),
    ];
    for row in Table::read(text, file)?.rows() {
        let name = row.name()?;
        let gpu = gpus
            .iter_mut()
            .find(|gpu| gpu.name == name)
            .ok_or_else(|| {
                row.fault("gpu", name, "is not in gpus.csv", "use a name of that file")
            })?;
        gpu.sustained_gemm = Some(tera(row.positive("gemm_tflops")?));
        gpu.sustained_attention_by_head = ATTENTION
            .iter()
            .map(|(head, column)| Ok((*head, tera(row.positive(column)?))))
            .collect::<Result<_, TableError>>()?;
        gpu.sustained_attention = gpu
            .sustained_attention_by_head
            .last()
            .map(|(_, rate)| *rate);
        gpu.sustained_source = row.text("source")?.to_owned();
    }
    Ok(())
}

/// The embedded tables.
pub(crate) fn built_in() -> Result<Vec<Gpu>, TableError> {
    let mut gpus = parse(include_str!("../data/gpus.csv"), "topologies/data/gpus.csv")?;
    let sustained = include_str!("../data/sustained.csv");
    apply_sustained(&mut gpus, sustained, "topologies/data/sustained.csv")?;
    Ok(gpus)
}

#[cfg(test)]
mod tests;
