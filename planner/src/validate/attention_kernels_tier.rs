//! Tier 1: attention by kernel and GPU, with the charts known and with each GPU's kernel left out.
//!
//! ```text
//! row ─▶ charts and tables, the row itself left out           ─▶ charts known
//!     └▶ all but those of its kernel on its GPU, any width    ─▶ kernel left out
//! ```
//! Guarantees: a row never takes part in its own prediction. Held in both: the numbers of the physical
//! base (docs/calibration.md).

use std::collections::BTreeMap;

use indicatif::ProgressBar;
use kernels::{AttentionKernel, KernelRow, Mask, Miss, Prediction, Tables};
use rayon::prelude::*;
use topologies::{Gpu, gpu};

use super::kernels_tier::{parse_mask, reasonable};
use super::reason::Reason;
use super::statistics::Outcome;
use super::tier::{Scored, Tier, Unmapped};
use crate::csv_input::{InputError, Record, Table};

/// Attention by kernel, scored twice.
#[derive(Clone, Debug, PartialEq)]
pub struct AttentionKernels {
    /// Only the row is left out.
    pub known: Tier,
    /// All of its kernel on its GPU is left out.
    pub left_out: Tier,
}

/// A row to predict, or why it cannot be.
struct Ask {
    name: String,
    question: Result<(KernelRow<'static>, f64), Reason>,
}

/// Scores the rows of `table` (the columns of the charts that ship), or those charts.
///
/// # Errors
/// [`InputError`] for a column that is missing or a cell that is not a number.
pub fn attention_kernels(
    table: Option<&Table>,
    progress: &ProgressBar,
) -> Result<AttentionKernels, InputError> {
    let asks = match table {
        Some(table) => read(table)?,
        None => built_in(),
    };
    progress.set_length(2 * asks.len() as u64);
    progress.set_position(0);
    let source = table.map_or_else(|| "built-in charts".to_owned(), |table| table.file.clone());
    let without = without(&asks);
    let score = |predict: &(dyn Fn(&KernelRow<'_>) -> Result<Prediction, Miss> + Sync)| {
        let one = |ask: &Ask| {
            progress.inc(1);
            let unmapped = |reason: Reason| Unmapped {
                row: ask.name.clone(),
                reason,
            };
            let (row, us) = ask.question.clone().map_err(unmapped)?;
            let prediction = predict(&row).map_err(|miss| unmapped(Reason::Miss(miss)))?;
            Ok(scored(&row, us, &prediction))
        };
        Tier::of(source.clone(), asks.par_iter().map(one).collect())
    };
    let known = Tables::built_in();
    Ok(AttentionKernels {
        known: score(&|row| known.predict_kernel(row)),
        left_out: score(&|row| without[&key(row)].predict_kernel(row)),
    })
}

type Key = (String, AttentionKernel);

fn key(row: &KernelRow<'_>) -> Key {
    (row.gpu.name.clone(), row.kernel)
}

/// For each kernel of each GPU, the tables and charts but for it.
fn without(asks: &[Ask]) -> BTreeMap<Key, Tables> {
    let rows = asks.iter().filter_map(|ask| ask.question.as_ref().ok());
    let all: BTreeMap<Key, &Gpu> = rows.map(|(row, _)| (key(row), row.gpu)).collect();
    let all = all.into_par_iter().map(|((name, kernel), gpu)| {
        let tables = Tables::without_attention(gpu, kernel);
        ((name, kernel), tables)
    });
    all.collect()
}

fn scored(row: &KernelRow<'_>, measured: f64, prediction: &Prediction) -> Scored {
    let predicted = prediction.latency.as_us_f64();
    let provenance = format!("{:?}", prediction.provenance).to_lowercase();
    Scored {
        outcome: Outcome {
            measured,
            predicted,
            lo: predicted * (1.0 - prediction.half_width).max(0.0),
            hi: predicted * (1.0 + prediction.half_width),
        },
        strata: vec![
            format!("{} {}", row.gpu.name, row.kernel),
            format!("kernel {}", row.kernel),
        ],
        baselines: vec![("roofline", Some(Tables::kernel_roofline(row).as_us_f64()))],
        how: format!("{provenance}: {}", prediction.note),
    }
}

fn built_in() -> Vec<Ask> {
    let rows = Tables::built_in().kernel_rows().enumerate();
    let ask = |(index, row)| Ask {
        name: format!("built-in chart row {}", index + 1),
        question: Ok(row),
    };
    rows.map(ask).collect()
}

fn read(table: &Table) -> Result<Vec<Ask>, InputError> {
    let text = ["gpu", "kernel", "causal"].map(|name| table.column(name));
    let [gpu, kernel, causal] = text;
    let (gpu, kernel, causal) = (gpu?, kernel?, causal?);
    let sides = ["batch", "heads", "seq_q", "seq_kv", "head_dim"].map(|name| table.column(name));
    let [batch, heads, queries, keys, head_dim] = sides;
    let sides = [batch?, heads?, queries?, keys?, head_dim?];
    // A table may have one of the two alone.
    let (rate, time) = match (table.optional("tflops"), table.optional("time_ms")) {
        (Some(one), None) | (None, Some(one)) => (one, one),
        _ => (table.column("tflops")?, table.column("time_ms")?),
    };
    let timed = table.optional("time_ms").is_some();
    let read = |record: Record<'_>| {
        let mut shape = [0; 5];
        for (value, column) in shape.iter_mut().zip(sides) {
            *value = record.count(column)?;
        }
        // Where one of the two is empty, the other is given.
        let stated = timed && (!record.text(time).is_empty() || record.text(rate).is_empty());
        let value = record.positive(if stated { time } else { rate })?;
        let names = [record.text(gpu), record.text(kernel), record.text(causal)];
        let question = row(names, shape).map(|row| {
            let us = match stated {
                true => 1e3 * value,
                false => row.flops() / (1e6 * value),
            };
            (row, us)
        });
        Ok(Ask {
            name: format!("{}:{}", table.file, record.line()),
            question,
        })
    };
    table.records().map(read).collect()
}

fn row([name, kernel, causal]: [&str; 3], shape: [u64; 5]) -> Result<KernelRow<'static>, Reason> {
    let gpu = gpu::find(name).map_err(Reason::Gpu)?;
    let kernel = AttentionKernel::named(kernel, gpu.architecture);
    let [batch, heads, queries, keys, head_dim] = shape;
    reasonable(&shape)?;
    Ok(KernelRow {
        gpu,
        kernel: kernel.map_err(Reason::Kernel)?,
        mask: match parse_mask(causal)? {
            Mask::Causal if queries != keys => {
                return Err(Reason::CausalOverOthers);
            }
            mask => mask,
        },
        batch,
        heads,
        queries,
        keys,
        head_dim,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &str = "gpu,kernel,causal,batch,heads,seq_q,seq_kv,head_dim,tflops,time_ms\n";

    fn tier(rows: &str) -> Result<AttentionKernels, InputError> {
        let table = Table::from_bytes(format!("{HEADER}{rows}").as_bytes(), "k.csv")?;
        attention_kernels(Some(&table), &ProgressBar::hidden())
    }

    #[test]
    fn a_time_or_a_rate_is_enough() {
        let both = tier(
            "L20,FlashAttn2,False,4,32,4096,4096,128,,9.9956\n\
             L20,FlashAttn2,False,4,32,4096,4096,128,110,\n",
        )
        .unwrap();
        let [one, other] = both.known.points[..] else {
            panic!("two rows");
        };
        assert!((one.0 / other.0 - 1.0).abs() < 1e-3, "{one:?} {other:?}");
    }

    #[test]
    fn what_is_wrong_is_named() {
        let error = tier("L20,FlashAttn2,False,4,32,x,4096,128,110,\n").unwrap_err();
        let text = error.to_string();
        assert!(text.contains("k.csv, line 2, column \"seq_q\""), "{text}");
        let error = tier("L20,FlashAttn2,False,4,32,64,4096,128,,\n").unwrap_err();
        assert!(error.to_string().contains("\"time_ms\""), "{error}");
        let odd = tier(
            "L21,fa2,False,4,32,64,64,128,1,\nL20,warp,False,4,32,64,64,128,1,\n\
             L20,fa3,False,4,32,64,64,128,1,\n",
        );
        let reasons = odd.unwrap().known.unmapped;
        assert!(
            matches!(
                [&reasons[0].reason, &reasons[1].reason, &reasons[2].reason],
                [Reason::Gpu(_), Reason::Kernel(_), Reason::Miss(_)]
            ),
            "{reasons:?}"
        );
    }

    /// The published charts: known, and each kernel of each GPU left out.
    #[test]
    fn the_charts_are_predicted() {
        let all = attention_kernels(None, &ProgressBar::hidden()).unwrap();
        let (known, out) = (&all.known.score, &all.left_out.score);
        assert_eq!((known.n, known.mapped), (377, 377));
        assert!(known.median_pct < 4.0 && known.p90_pct < 10.0, "{known:?}");
        assert!(out.median_pct < 8.0 && out.p90_pct < 20.0, "{out:?}");
        assert!(
            out.coverage_pct.is_some_and(|share| share > 87.0),
            "{out:?}"
        );
    }
}
