//! Tier 1: the kernels of whole real runs, one by one and summed by run and class.
//!
//! ```text
//! row (op, shapes, types) ─▶ matrix product │ attention │ elementwise │ refused, with the reason
//!     ─▶ predicted, its own shape left out ─▶ errors of single kernels; sums by run and class
//! ```
//! A latency that fits may hide a product that is too short and a norm that is too long: here neither can.
//!
//! Guarantees: a shape that was measured on the GPU takes no part in its own prediction; sums are over the predicted
//! rows alone, and say what share of the time those are.
//!
//! Not modelled: causal masks (a profiler's table does not say), convolutions, gaps between kernels.

mod cells;
mod kinds;

use std::collections::BTreeMap;

use indicatif::ProgressBar;
use kernels::{AttentionKernel, Exclude, KernelRow, Mask, MemoryRow, Miss, Prediction, Tables};
use rayon::prelude::*;
use topologies::{Gpu, SimDuration, gpu};

use self::cells::arguments;
pub use self::kinds::Class;
use self::kinds::Question;
use super::kernels_tier::reasonable;
use super::reason::Reason;
use super::statistics::Outcome;
use super::tier::{Scored, Tier, Unmapped};
use crate::csv_input::{InputError, Record, Table};

/// Single kernels, and their sums.
#[derive(Clone, Debug, PartialEq)]
pub struct Operations {
    /// Errors of single kernels, by class and by run.
    pub single: Tier,
    /// Sums by run and class.
    pub sums: Vec<Sum>,
}

/// The kernels of one class in one run.
#[derive(Clone, Debug, PartialEq)]
pub struct Sum {
    /// The run.
    pub run: String,
    /// Its GPU.
    pub gpu: String,
    /// The class.
    pub class: Class,
    /// Rows that are predicted.
    pub rows: usize,
    /// What they took together.
    pub measured: SimDuration,
    /// What is predicted for them.
    pub predicted: SimDuration,
    /// Share of the run's time in this class; rows that are not predicted count as the run's.
    pub share: f64,
}

impl Sum {
    /// Signed error in percent.
    #[must_use]
    pub fn error_pct(&self) -> f64 {
        100.0 * (self.predicted.as_us_f64() / self.measured.as_us_f64() - 1.0)
    }
}

/// Error of a printed figure.
const ROUNDING: f64 = 0.01;
/// Most that a mean is over its median: of real runs 4 at the most.
const LONG_TAIL: f64 = 100.0;

/// Whether calls with this median can take this sum: half of them and more take the median or longer; of one or two the mean is
/// the median.
fn can_take(count: f64, median: f64, sum: f64) -> bool {
    let least = (count / 2.0).ceil() * median;
    let most = if count <= 2.0 {
        count
    } else {
        LONG_TAIL * count
    } * median;
    let least = if count <= 2.0 { most } else { least };
    (least * (1.0 - ROUNDING)..=most * (1.0 + ROUNDING)).contains(&sum)
}

/// A row of the file.
struct Ask {
    name: String,
    run: String,
    gpu: String,
    median_us: f64,
    count: f64,
    sum_us: f64,
    question: Result<(&'static Gpu, Question), Reason>,
}

/// Scores the rows of `table`: run, gpu, op, `input_dims`, `input_types`, count, `median_us`, `sum_us`.
///
/// # Errors
/// [`InputError`] for a column that is missing or a cell that is not a number.
pub fn operations(table: &Table, progress: &ProgressBar) -> Result<Operations, InputError> {
    let asks = read(table)?;
    progress.set_length(asks.len() as u64);
    progress.set_position(0);
    let tables = Tables::built_in();
    let rows: Vec<Result<Scored, Unmapped>> = asks
        .par_iter()
        .map(|ask| {
            progress.inc(1);
            let unmapped = |reason: Reason| Unmapped {
                row: ask.name.clone(),
                reason,
            };
            let (gpu, question) = ask.question.clone().map_err(unmapped)?;
            let prediction = predict(tables, gpu, question);
            let prediction = prediction.map_err(|miss| unmapped(Reason::Miss(miss)))?;
            Ok(scored(ask, gpu, question, &prediction))
        })
        .collect();
    let sums = sums(&asks, &rows);
    Ok(Operations {
        single: Tier::of(table.file.clone(), rows),
        sums,
    })
}

fn read(table: &Table) -> Result<Vec<Ask>, InputError> {
    let (run, gpu, op) = (
        table.column("run")?,
        table.column("gpu")?,
        table.column("op")?,
    );
    let (dims, types) = (table.column("input_dims")?, table.column("input_types")?);
    let (count, median) = (table.column("count")?, table.column("median_us")?);
    let sum = table.column("sum_us")?;
    let read = |record: Record<'_>| {
        let question = gpu::find(record.text(gpu)).map_err(Reason::Gpu);
        let question = question.and_then(|gpu| {
            let cells = (record.text(dims), record.text(types));
            let arguments = arguments(cells.0, cells.1).ok_or(Reason::Shapes)?;
            let question = kinds::question(record.text(op), gpu, &arguments)?;
            match question {
                Question::Product { shape, .. } => reasonable(&shape)?,
                Question::Attention { shape, .. } => reasonable(&shape)?,
                Question::Memory { bytes, .. } => reasonable(&[bytes])?,
            }
            Ok((gpu, question))
        });
        let median_us = record.positive(median)?;
        let count = record.count(count)? as f64;
        let sum_us = record.positive(sum)?;
        let contradicted = Reason::Sum {
            count,
            median_us,
            sum_us,
        };
        Ok(Ask {
            name: format!("{}:{}", table.file, record.line()),
            run: record.text(run).to_owned(),
            gpu: record.text(gpu).to_owned(),
            median_us,
            count,
            sum_us,
            question: match can_take(count, median_us, sum_us) {
                true => question,
                false => Err(contradicted),
            },
        })
    };
    table.records().map(read).collect()
}

fn predict(tables: &Tables, gpu: &Gpu, question: Question) -> Result<Prediction, Miss> {
    match question {
        Question::Product { dtype, shape } => {
            tables.predict_product(gpu, dtype, shape, Exclude::This)
        }
        Question::Attention { kernel, shape } => tables.predict_kernel(&row(gpu, kernel, shape)),
        Question::Memory { kind, bytes } => {
            Ok(Tables::predict_memory(&MemoryRow { gpu, kind, bytes }))
        }
    }
}

/// Attention of `[batch, heads, queries, keys, width of a head]` without a mask.
fn row(gpu: &Gpu, kernel: AttentionKernel, shape: [u64; 5]) -> KernelRow<'_> {
    let [batch, heads, queries, keys, head_dim] = shape;
    KernelRow {
        gpu,
        kernel,
        mask: Mask::Full,
        batch,
        heads,
        queries,
        keys,
        head_dim,
    }
}

fn roofline(gpu: &Gpu, question: Question) -> Option<f64> {
    let time = match question {
        Question::Product { dtype, shape } => Tables::product_roofline(gpu, dtype, shape)?,
        Question::Attention { kernel, shape } => Tables::kernel_roofline(&row(gpu, kernel, shape)),
        Question::Memory { bytes, .. } => {
            let bytes_per_us = gpu.memory_bandwidth.as_f64() / 1e6;
            SimDuration::from_us_f64(bytes as f64 / bytes_per_us)
        }
    };
    Some(time.as_us_f64())
}

fn scored(ask: &Ask, gpu: &Gpu, question: Question, prediction: &Prediction) -> Scored {
    let predicted = prediction.latency.as_us_f64();
    let provenance = format!("{:?}", prediction.provenance).to_lowercase();
    let class = question.class().name();
    Scored {
        outcome: Outcome {
            measured: ask.median_us,
            predicted,
            lo: predicted * (1.0 - prediction.half_width).max(0.0),
            hi: predicted * (1.0 + prediction.half_width),
        },
        strata: vec![
            class.to_owned(),
            format!("{} on {}, {class}", ask.run, ask.gpu),
        ],
        baselines: vec![("roofline", roofline(gpu, question))],
        how: format!("{class}: {provenance}, {}", prediction.note),
    }
}

/// Sums by run and class, in order of the runs' names.
fn sums(asks: &[Ask], rows: &[Result<Scored, Unmapped>]) -> Vec<Sum> {
    let mut whole: BTreeMap<(&str, &str), f64> = BTreeMap::new();
    let mut groups: BTreeMap<(&str, &str, Class), (usize, f64, f64)> = BTreeMap::new();
    for (ask, row) in asks.iter().zip(rows) {
        let run = (ask.run.as_str(), ask.gpu.as_str());
        *whole.entry(run).or_default() += ask.sum_us;
        if let (Ok((_, question)), Ok(row)) = (&ask.question, row) {
            let group = groups.entry((run.0, run.1, question.class())).or_default();
            group.0 += 1;
            group.1 += ask.sum_us;
            group.2 += ask.count * row.outcome.predicted;
        }
    }
    let sum = |((run, gpu, class), (rows, measured, predicted)): (_, (usize, f64, f64))| Sum {
        share: measured / whole[&(run, gpu)],
        run: run.to_owned(),
        gpu: gpu.to_owned(),
        class,
        rows,
        measured: SimDuration::from_us_f64(measured),
        predicted: SimDuration::from_us_f64(predicted),
    };
    groups.into_iter().map(sum).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &str = "run,gpu,op,input_dims,input_types,count,median_us,sum_us";

    fn scored(rows: &[&str]) -> Result<Operations, InputError> {
        let text = format!("{HEADER}\n{}\n", rows.join("\n"));
        let table = Table::from_bytes(text.as_bytes(), "ops.csv")?;
        operations(&table, &ProgressBar::hidden())
    }

    const PRODUCT: &str = "a,H100-SXM,aten::mm,\"((4096, 4096), (4096, 4096))\",\"('c10::BFloat16', 'c10::BFloat16')\",10,200,2000";
    const CONVOLUTION: &str =
        "a,H100-SXM,aten::convolution,\"((1, 3, 8, 8),)\",\"('float',)\",1,50,50";

    #[test]
    fn sums_are_of_predicted_rows_and_say_their_share() {
        let found = scored(&[PRODUCT, CONVOLUTION]).unwrap();
        assert_eq!((found.single.score.n, found.single.score.mapped), (2, 1));
        let [sum] = found.sums.as_slice() else {
            panic!("{:?}", found.sums);
        };
        assert_eq!((sum.class, sum.rows), (Class::Product, 1));
        // 2000 of 2050 us; ten times what one takes.
        assert!((sum.share - 2000.0 / 2050.0).abs() < 1e-9);
        let single = found.single.points[0].1;
        assert!((sum.predicted.as_us_f64() - 10.0 * single).abs() < 1e-3);
        assert_eq!(found.single.unmapped[0].row, "ops.csv:3");
        assert_eq!(
            found.single.unmapped[0].reason,
            Reason::NotModelled("convolutions")
        );
    }

    #[test]
    fn rows_that_cannot_be_are_refused_with_the_reason() {
        let broken = PRODUCT.replace("((4096, 4096), (4096, 4096))", "((4096,");
        let other = PRODUCT.replace("H100-SXM", "TPU7");
        let integer = PRODUCT.replace("c10::BFloat16", "int");
        let found = scored(&[&broken, &other, &integer]).unwrap();
        let reasons: Vec<&Reason> = found
            .single
            .unmapped
            .iter()
            .map(|row| &row.reason)
            .collect();
        assert!(
            matches!(
                reasons.as_slice(),
                [Reason::Shapes, Reason::Gpu(_), Reason::KernelFormat(_)]
            ),
            "{reasons:?}"
        );
    }

    /// Of ten calls six and more take the median of 200 us or longer; one call is its median.
    #[test]
    fn a_sum_that_its_calls_cannot_take_is_refused() {
        for (count, sum, holds) in [
            ("10", "1000", true),
            ("10", "2000", true),
            ("10", "980", false),
            ("10", "200", false),
            ("10", "300000", false),
            ("1", "200", true),
            ("1", "210", false),
        ] {
            let row = PRODUCT.replace(",10,200,2000", &format!(",{count},200,{sum}"));
            let found = scored(&[&row]).unwrap().single;
            assert_eq!(found.score.mapped == 1, holds, "{count} calls, {sum} us");
            let refused = found.unmapped.first().map(|row| &row.reason);
            assert!(
                holds || matches!(refused, Some(Reason::Sum { .. })),
                "{refused:?}"
            );
        }
    }

    #[test]
    fn one_wrong_cell_is_an_error_with_its_place() {
        for (from, to, column) in [(",10,", ",few,", "count"), (",200,", ",-1,", "median_us")] {
            let error = scored(&[&PRODUCT.replace(from, to)])
                .unwrap_err()
                .to_string();
            assert!(
                error.contains(&format!("line 2, column \"{column}\"")),
                "{error}"
            );
        }
    }
}
