//! Fits the constants of measured tables: one command for a new GPU's table.
//!
//! ```text
//! cargo run -p kernels --release --example build_tables -- gemm.csv.gz attention.csv.gz kernels/tables
//! cargo run -p kernels --release --example fit_table -- kernels/tables [SYSTEM ..]
//! ```
//! Of the tables in the folder those without constants are fitted, or those of the systems named, whatever they have.
//! Their lines are written into the folder's `gemm_constants.csv` and `attention_constants.csv`, with the errors of the
//! base alone and of every row left out.

use std::collections::BTreeSet;
use std::error::Error;
use std::path::Path;
use std::{env, fs};

use kernels::fit::Fit;
use kernels::store::{Kind, Mask, StoredTable, decode};
use topologies::{DType, gpu};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [folder, systems @ ..] = arguments.as_slice() else {
        return Err("usage: fit_table FOLDER [SYSTEM ..]".into());
    };
    for kind in ["gemm", "attention"] {
        let tables = Path::new(folder).join(format!("{kind}.bin"));
        let constants = Path::new(folder).join(format!("{kind}_constants.csv"));
        let tables = decode(&fs::read(&tables)?, &tables.display().to_string())?;
        let text = fs::read_to_string(&constants)?;
        fs::write(&constants, fitted(&text, &tables, systems)?)?;
    }
    Ok(())
}

/// The file of constants with the lines of `tables` that were asked for, or that it lacks.
fn fitted(
    text: &str,
    tables: &[StoredTable],
    systems: &[String],
) -> Result<String, Box<dyn Error>> {
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let mut done = BTreeSet::new();
    for table in tables.iter().filter(|table| has_constants(table)) {
        let start = key(table);
        let known = lines.iter().position(|line| line.starts_with(&start));
        let asked = known.is_none() || systems.contains(&table.system);
        // Of several kernels with one line the first by name speaks.
        if !asked || !done.insert(start) {
            continue;
        }
        let gpu = gpu::find(&table.system)?;
        let fit = Fit::of(table, gpu);
        let fit = fit.ok_or_else(|| {
            let format = table.dtype;
            format!(
                "{} has no {format:?} peak: give it in topologies/data/gpus.csv",
                gpu.name
            )
        })?;
        let line = fit.line();
        println!("{line}");
        match known {
            Some(at) => lines[at] = line,
            None => lines.push(line),
        }
    }
    Ok(lines.join("\n") + "\n")
}

/// Whether a table has a line of its own: causal attention has one for heads of 128, which others share.
fn has_constants(table: &StoredTable) -> bool {
    match table.kind {
        Kind::Attention {
            mask: Mask::Causal,
            head_dim,
        } => head_dim == 128,
        Kind::Attention { .. } | Kind::Gemm => true,
    }
}

/// What the line of a table starts with.
fn key(table: &StoredTable) -> String {
    let system = &table.system;
    match table.kind {
        Kind::Gemm => {
            let dtype = match table.dtype {
                DType::Bf16 => "bf16",
                DType::Fp8 => "fp8",
                DType::Nvfp4 => "nvfp4",
            };
            format!("{system},{dtype},")
        }
        Kind::Attention { mask, head_dim } => {
            let mask = match mask {
                Mask::Full => "full",
                Mask::Causal => "causal",
            };
            format!("{system},{mask},{head_dim},")
        }
    }
}
