//! Tier 1: predicted against measured kernel times, the row itself left out.
//!
//! Guarantees: a row that stands in the built-in tables never takes part in its own prediction; a
//! system without tables is predicted from its datasheet, and the method says so.

use indicatif::ProgressBar;
use kernels::{AttentionRow, Baselines, Exclude, GemmRow, Mask, Miss, Prediction, Tables};
use rayon::prelude::*;
use topologies::DType;

use super::reason::Reason;
use super::statistics::Outcome;
use super::tier::{Scored, Tier, Unmapped};
use crate::csv_input::{InputError, Table};

/// A row to predict, or why it cannot be.
struct Ask<Q> {
    name: String,
    measured_us: f64,
    question: Result<Q, Reason>,
}

/// Scores the GEMM rows of `table`, or the built-in ones.
///
/// # Errors
/// [`InputError`] for a column that is missing or a cell that is not a number.
pub fn gemm(table: Option<&Table>, progress: &ProgressBar) -> Result<Tier, InputError> {
    let tables = Tables::built_in();
    let asks = match table {
        Some(table) => read_gemm(table)?,
        None => built_in(tables.gemm_rows(), "gemm"),
    };
    let rows = score(asks, progress, |row: &GemmRow<'_>| {
        let prediction = tables.predict_gemm(row, Exclude::This)?;
        let strata = vec![format!("{} {}", row.system, dtype_name(row.dtype))];
        Ok((prediction, tables.gemm_baselines(row), strata))
    });
    Ok(Tier::of(source(table), rows))
}

/// Scores the attention rows of `table`, or the built-in ones.
///
/// # Errors
/// As [`gemm`].
pub fn attention(table: Option<&Table>, progress: &ProgressBar) -> Result<Tier, InputError> {
    let tables = Tables::built_in();
    let asks = match table {
        Some(table) => read_attention(table)?,
        None => built_in(tables.attention_rows(), "attention"),
    };
    let rows = score(asks, progress, |row: &AttentionRow<'_>| {
        let prediction = tables.predict_attention(row, Exclude::This)?;
        let mask = match row.mask {
            Mask::Causal => "causal",
            Mask::Full => "full",
        };
        let strata = vec![
            format!("{} {mask}", row.system),
            format!("{mask} heads of {}", row.head_dim),
        ];
        Ok((prediction, tables.attention_baselines(row), strata))
    });
    Ok(Tier::of(source(table), rows))
}

fn source(table: Option<&Table>) -> String {
    table.map_or_else(|| "built-in tables".to_owned(), |table| table.file.clone())
}

fn built_in<Q>(rows: impl Iterator<Item = (Q, f64)>, kind: &str) -> Vec<Ask<Q>> {
    let ask = |(index, (question, measured_us))| Ask {
        name: format!("built-in {kind} row {}", index + 1),
        measured_us,
        question: Ok(question),
    };
    rows.enumerate().map(ask).collect()
}

fn read_gemm(table: &Table) -> Result<Vec<Ask<GemmRow<'_>>>, InputError> {
    let [system, software, dtype, kernel] =
        ["system", "software", "dtype", "kernel"].map(|name| table.column(name));
    let (system, software, dtype, kernel) = (system?, software?, dtype?, kernel?);
    let (m, n, k) = (table.column("m")?, table.column("n")?, table.column("k")?);
    let latency = table.column("latency_us")?;
    let read = table.records().map(|row| {
        let (m, n, k) = (row.count(m)?, row.count(n)?, row.count(k)?);
        Ok(Ask {
            name: format!("{}:{}", table.file, row.line()),
            measured_us: row.positive(latency)?,
            question: reasonable(&[m, n, k])
                .and_then(|()| parse_dtype(row.text(dtype)))
                .map(|dtype| GemmRow {
                    system: row.text(system),
                    software: row.text(software),
                    dtype,
                    kernel: row.text(kernel),
                    m,
                    n,
                    k,
                }),
        })
    });
    read.collect()
}

fn read_attention(table: &Table) -> Result<Vec<Ask<AttentionRow<'_>>>, InputError> {
    let names = ["system", "software", "dtype", "kernel", "causal"].map(|name| table.column(name));
    let [system, software, dtype, kernel, causal] = names;
    let (system, software, dtype) = (system?, software?, dtype?);
    let (kernel, causal) = (kernel?, causal?);
    let (batch, seq_len) = (table.column("batch")?, table.column("seq_len")?);
    let (heads, head_dim) = (table.column("heads")?, table.column("head_dim")?);
    let latency = table.column("latency_us")?;
    let read = table.records().map(|row| {
        let (batch, seq_len) = (row.count(batch)?, row.count(seq_len)?);
        let (heads, head_dim) = (row.count(heads)?, row.count(head_dim)?);
        let question = match parse_dtype(row.text(dtype)) {
            Ok(DType::Bf16) => reasonable(&[batch, heads, seq_len, seq_len, head_dim])
                .and_then(|()| parse_mask(row.text(causal))),
            Ok(DType::Fp8 | DType::Nvfp4) => Err(Reason::ShortAttention),
            Err(reason) => Err(reason),
        };
        Ok(Ask {
            name: format!("{}:{}", table.file, row.line()),
            measured_us: row.positive(latency)?,
            question: question.map(|mask| AttentionRow {
                system: row.text(system),
                software: row.text(software),
                kernel: row.text(kernel),
                mask,
                batch,
                seq_len,
                heads,
                head_dim,
            }),
        })
    });
    read.collect()
}

/// More multiplications than this in one call are a mistyped cell, not a measurement.
const MOST_WORK: f64 = 1e17;

/// Refuses shapes whose time no counter holds.
pub(super) fn reasonable(sides: &[u64]) -> Result<(), Reason> {
    let work: f64 = sides.iter().map(|side| *side as f64).product();
    if work > MOST_WORK {
        return Err(Reason::Multiplications(work));
    }
    Ok(())
}

fn parse_dtype(text: &str) -> Result<DType, Reason> {
    match text {
        "bfloat16" | "bf16" | "float16" | "fp16" | "half" => Ok(DType::Bf16),
        "fp8" | "float8" | "fp8_e4m3" => Ok(DType::Fp8),
        "nvfp4" => Ok(DType::Nvfp4),
        _ => Err(Reason::KernelFormat(text.to_owned())),
    }
}

pub(super) fn parse_mask(text: &str) -> Result<Mask, Reason> {
    match text.to_lowercase().as_str() {
        "true" | "1" => Ok(Mask::Causal),
        "false" | "0" => Ok(Mask::Full),
        _ => Err(Reason::Mask(text.to_owned())),
    }
}

fn dtype_name(dtype: DType) -> &'static str {
    match dtype {
        DType::Bf16 => "bf16",
        DType::Fp8 => "fp8",
        DType::Nvfp4 => "nvfp4",
    }
}

type Answer = (Prediction, Result<Baselines, Miss>, Vec<String>);

/// Predicts every row on all cores; the result is in the order of the rows.
fn score<Q: Sync>(
    asks: Vec<Ask<Q>>,
    progress: &ProgressBar,
    predict: impl Fn(&Q) -> Result<Answer, Miss> + Sync,
) -> Vec<Result<Scored, Unmapped>> {
    progress.set_length(asks.len() as u64);
    progress.set_position(0);
    asks.par_iter()
        .map(|ask| {
            progress.inc(1);
            let unmapped = |reason: Reason| Unmapped {
                row: ask.name.clone(),
                reason,
            };
            let question = ask.question.as_ref().map_err(|why| unmapped(why.clone()))?;
            let answer = predict(question).map_err(|miss| unmapped(Reason::Miss(miss)))?;
            Ok(scored(ask.measured_us, answer))
        })
        .collect()
}

fn scored(measured: f64, (prediction, baselines, strata): Answer) -> Scored {
    let predicted = prediction.latency.as_us_f64();
    let baselines = baselines.ok();
    let provenance = format!("{:?}", prediction.provenance).to_lowercase();
    Scored {
        outcome: Outcome {
            measured,
            predicted,
            lo: predicted * (1.0 - prediction.half_width).max(0.0),
            hi: predicted * (1.0 + prediction.half_width),
        },
        strata,
        baselines: vec![
            (
                "roofline",
                baselines.map(|known| known.roofline.as_us_f64()),
            ),
            (
                "log-log interpolation",
                baselines.and_then(|known| known.log_log.map(|time| time.as_us_f64())),
            ),
        ],
        how: format!("{provenance}: {}", prediction.note),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GEMM: &str = "system,software,dtype,kernel,m,n,k,latency_us\n\
        h100_sxm,x 1,bfloat16,some,4096,4096,4096,250\n";

    fn tier(text: &str) -> Result<Tier, InputError> {
        let table = Table::from_bytes(text.as_bytes(), "g.csv")?;
        gemm(Some(&table), &ProgressBar::hidden())
    }

    #[test]
    fn a_system_without_tables_is_predicted_and_says_how() {
        for system in ["h800_sxm", "b300_sxm"] {
            let tier = tier(&GEMM.replace("h100_sxm", system)).unwrap();
            assert_eq!((tier.score.n, tier.score.mapped), (1, 1));
            let how = &tier.methods[0].how;
            assert!(
                how.starts_with("borrowed") || how.starts_with("datasheet"),
                "{how}"
            );
        }
    }

    #[test]
    fn an_unknown_system_is_listed_with_the_reason() {
        let tier = tier(&GEMM.replace("h100_sxm", "tpu7")).unwrap();
        assert_eq!((tier.score.n, tier.score.mapped), (1, 0));
        assert_eq!(tier.unmapped[0].row, "g.csv:2");
        let Reason::Miss(miss) = &tier.unmapped[0].reason else {
            panic!("{:?}", tier.unmapped);
        };
        assert!(miss.to_string().contains("tpu7"));
    }

    #[test]
    fn one_wrong_cell_is_an_error_with_its_place() {
        for (from, to, column) in [
            ("250", "slow", "latency_us"),
            (",4096,4096,4096", ",x,1,1", "m"),
        ] {
            let error = tier(&GEMM.replace(from, to)).unwrap_err().to_string();
            assert!(
                error.contains(&format!("line 2, column \"{column}\"")),
                "{error}"
            );
        }
        let error = tier(&GEMM.replace("kernel", "krnl"))
            .unwrap_err()
            .to_string();
        assert!(error.contains("column \"kernel\" is missing"), "{error}");
    }

    #[test]
    fn a_built_in_row_is_not_its_own_prediction() {
        let tables = Tables::built_in();
        let (row, us) = tables.gemm_rows().nth(1234).unwrap();
        let left_out = tables.predict_gemm(&row, Exclude::This).unwrap();
        let known = tables.predict_gemm(&row, Exclude::Nothing).unwrap();
        assert!((known.latency.as_us_f64() / us - 1.0).abs() < 1e-3);
        assert_ne!(left_out.latency, known.latency);
    }
}
