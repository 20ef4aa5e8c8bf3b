//! Builds the embedded NCCL table from CSV files of the schema of `sim::collective::Row`:
//! `cargo run -p sim --example build_nccl_table -- nccl.csv nccl_2.csv sim/tables/nccl.bin`.

use std::error::Error;
use std::fs;

use sim::collective::{NcclTable, Row};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [inputs @ .., output] = arguments.as_slice() else {
        return Err("usage: build_nccl_table INPUT.csv .. OUTPUT.bin".into());
    };
    let mut rows = Vec::new();
    for input in inputs {
        rows.extend(Row::parse_csv(&fs::read_to_string(input)?, input)?);
    }
    let encoded = NcclTable::from_rows(&rows).encode();
    fs::write(output, &encoded)?;
    println!("{} rows in {} bytes", rows.len(), encoded.len());
    Ok(())
}
