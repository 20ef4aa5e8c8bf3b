//! The compressor cell of a published row.

use kernels::Compressor;
use sim::model::Model;
use sim::plan::Compression;

use super::row::{Row, first_count};
use super::strategy::Strategy;

/// Rank of CompactFusion's low-rank messages where a row says nothing (its code's default).
const LOW_RANK: u16 = 32;

/// Adds the compressor of `row` to the plans, with its uncompressed first steps.
///
/// # Errors
/// Why the cell is no compressor.
pub fn add(strategy: &mut Strategy, row: &Row, model: &Model) -> Result<(), String> {
    let cell = row.compressor.to_lowercase();
    let Some(compressor) = read(&cell)? else {
        return Ok(());
    };
    // CompactFusion's code warms up one step, two for CogVideoX.
    let default = if model.name.starts_with("CogVideoX") {
        2
    } else {
        1
    };
    for plan in &mut strategy.plans {
        plan.compression = Compression::Uniform(compressor);
        plan.warmup = first_count(&row.warmup).unwrap_or(default);
    }
    if !row.compressor.is_empty() {
        strategy.family = format!(
            "{}/{}",
            strategy.family,
            cell.split(' ').next().unwrap_or_default()
        );
    }
    Ok(())
}

fn read(cell: &str) -> Result<Option<Compressor>, String> {
    let first = cell.split([' ', ',']).next().unwrap_or_default();
    Ok(match first {
        "" | "none" | "raw" => None,
        "1bit" => Some(Compressor::OneBit),
        "2bit" => Some(Compressor::TwoBit),
        "lowrank" if cell.contains("int4") => Some(Compressor::LowRankInt4(LOW_RANK)),
        "lowrank" => Some(Compressor::LowRank(LOW_RANK)),
        _ => match cell.parse() {
            Ok(compressor) => Some(compressor),
            Err(_) => {
                return Err(format!(
                    "the compressor \"{cell}\" is not known or not stated"
                ));
            }
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_of_published_tables_are_compressors() {
        for (cell, compressor) in [
            ("none (stale)", None),
            ("1bit residual, no error feedback", Some(Compressor::OneBit)),
            ("2bit", Some(Compressor::TwoBit)),
            ("lowrank", Some(Compressor::LowRank(32))),
            ("lowrank (rank 32 int4)", Some(Compressor::LowRankInt4(32))),
            ("lowrank(8)", Some(Compressor::LowRank(8))),
        ] {
            assert_eq!(read(cell), Ok(compressor), "{cell}");
        }
        for cell in ["1bit/2bit", "compact (unstated)", "sparse"] {
            assert!(read(cell).is_err(), "{cell}");
        }
    }
}
