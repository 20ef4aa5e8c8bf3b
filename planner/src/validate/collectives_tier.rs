//! Tier 2: predicted against measured NCCL times, the row itself left out.
//!
//! Guarantees: as in tier 1. A version of NCCL or a system that the built-in table lacks is predicted
//! from the nearest one, and the method says so.

use indicatif::ProgressBar;
use rayon::prelude::*;
use sim::collective::evaluate::Baseline;
use sim::collective::{CollectiveCost, Element, Exclude, NcclTable, Row};
use topologies::{Bytes, CollectiveKind, SimDuration};

use super::reason::Reason;
use super::statistics::Outcome;
use super::tier::{Scored, Tier, Unmapped};
use crate::csv_input::{InputError, Record, Table};

struct Ask {
    name: String,
    row: Result<Row, Reason>,
}

/// Scores the NCCL rows of `table`, or the built-in ones.
///
/// # Errors
/// [`InputError`] for a column that is missing or a cell that is not a number.
pub fn collectives(table: Option<&Table>, progress: &ProgressBar) -> Result<Tier, InputError> {
    let known = NcclTable::built_in();
    let asks = match table {
        Some(table) => read(table)?,
        None => built_in(known),
    };
    progress.set_length(asks.len() as u64);
    progress.set_position(0);
    let rows = asks.par_iter().map(|ask| {
        progress.inc(1);
        let unmapped = |reason: Reason| Unmapped {
            row: ask.name.clone(),
            reason,
        };
        let row = ask.row.as_ref().map_err(|why| unmapped(why.clone()))?;
        let cost = known.predict(row, Exclude::This);
        let cost = cost.map_err(|miss| unmapped(Reason::Miss(miss)))?;
        Ok(scored(known, row, &cost))
    });
    let rows = rows.collect();
    let source = table.map_or_else(|| "built-in table".to_owned(), |table| table.file.clone());
    Ok(Tier::of(source, rows))
}

fn built_in(known: &NcclTable) -> Vec<Ask> {
    let rows = known.rows().into_iter().enumerate();
    rows.map(|(index, row)| Ask {
        name: format!("built-in collective row {}", index + 1),
        row: Ok(row),
    })
    .collect()
}

fn read(table: &Table) -> Result<Vec<Ask>, InputError> {
    let [system, nccl, op, dtype] =
        ["system", "nccl", "op", "dtype"].map(|name| table.column(name));
    let (system, nccl, op, dtype) = (system?, nccl?, op?, dtype?);
    let (ranks, size) = (table.column("num_gpus")?, table.column("size_bytes")?);
    let latency = table.column("latency_us")?;
    let one = |record: Record<'_>| {
        let count = record.count(ranks)?;
        let ranks = u32::try_from(count)
            .ok()
            .filter(|ranks| (2..=4096).contains(ranks));
        let ranks = ranks.ok_or_else(|| record.not(ranks_column(table), "2 to 4096 GPUs"))?;
        let size = Bytes::new(record.positive(size)?.ceil() as u64);
        let time = SimDuration::from_us_f64(record.positive(latency)?);
        let row = kind_of(record.text(op)).and_then(|kind| {
            Ok(Row {
                system: record.text(system).to_owned(),
                nccl: record.text(nccl).to_owned(),
                kind,
                element: element_of(record.text(dtype))?,
                ranks,
                size,
                time,
            })
        });
        Ok(Ask {
            name: format!("{}:{}", table.file, record.line()),
            row,
        })
    };
    table.records().map(one).collect()
}

fn ranks_column(table: &Table) -> crate::csv_input::Column {
    table
        .optional("num_gpus")
        .expect("the column was found before its cells were read")
}

fn kind_of(op: &str) -> Result<CollectiveKind, Reason> {
    Ok(match op.to_lowercase().as_str() {
        "all_gather" | "allgather" => CollectiveKind::AllGather,
        "reduce_scatter" => CollectiveKind::ReduceScatter,
        "all_reduce" | "allreduce" => CollectiveKind::AllReduce,
        "alltoall" | "all_to_all" => CollectiveKind::AllToAll,
        "sendrecv" | "ring_pass" => CollectiveKind::RingPass,
        _ => return Err(Reason::Collective(op.to_owned())),
    })
}

fn element_of(dtype: &str) -> Result<Element, Reason> {
    match dtype {
        "half" | "float16" | "fp16" | "bfloat16" => Ok(Element::Half),
        "int8" | "uint8" => Ok(Element::Int8),
        _ => Err(Reason::MessageFormat(dtype.to_owned())),
    }
}

fn scored(known: &NcclTable, row: &Row, cost: &CollectiveCost) -> Scored {
    let predicted = cost.time.as_us_f64();
    let baseline = |which| known.baseline(row, which).map(SimDuration::as_us_f64);
    let provenance = format!("{:?}", cost.provenance).to_lowercase();
    Scored {
        outcome: Outcome {
            measured: row.time.as_us_f64(),
            predicted,
            lo: predicted / (1.0 + cost.half_width),
            hi: predicted * (1.0 + cost.half_width),
        },
        strata: vec![
            format!("{} NCCL {}", row.system, row.nccl),
            row.kind.to_string(),
            format!("{} ranks", row.ranks),
        ],
        baselines: vec![
            ("alpha-beta line", baseline(Baseline::AlphaBeta)),
            ("log-log interpolation", baseline(Baseline::LogLog)),
        ],
        how: format!("{provenance}: {}", cost.note),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NCCL: &str = "system,nccl,op,dtype,num_gpus,size_bytes,latency_us\n\
        h100_sxm,2.30.1,all_gather,half,4,1048576,40\n";

    fn tier(text: &str) -> Result<Tier, InputError> {
        let table = Table::from_bytes(text.as_bytes(), "n.csv")?;
        collectives(Some(&table), &ProgressBar::hidden())
    }

    #[test]
    fn another_version_and_another_system_are_predicted_and_say_how() {
        let version = tier(NCCL).unwrap();
        assert_eq!(version.score.mapped, 1);
        assert!(
            version.methods[0].how.contains("2.30.1"),
            "{:?}",
            version.methods
        );
        for system in ["gb200", "b300_sxm"] {
            let tier = tier(&NCCL.replace("h100_sxm", system)).unwrap();
            assert_eq!(tier.score.mapped, 1);
            assert!(
                tier.methods[0].how.starts_with("borrowed")
                    || tier.methods[0].how.starts_with("datasheet")
            );
        }
    }

    #[test]
    fn what_is_not_modelled_is_listed_and_what_is_wrong_is_an_error() {
        assert_eq!(
            tier(&NCCL.replace("all_gather", "broadcast"))
                .unwrap()
                .score
                .mapped,
            0
        );
        let error = tier(&NCCL.replace(",4,", ",1,")).unwrap_err().to_string();
        assert!(error.contains("column \"num_gpus\": \"1\""), "{error}");
        let error = tier(&NCCL.replace("size_bytes", "bytes"))
            .unwrap_err()
            .to_string();
        assert!(error.contains("\"size_bytes\" is missing"), "{error}");
    }
}
