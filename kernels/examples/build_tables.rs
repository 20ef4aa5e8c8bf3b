//! Writes `kernels/tables/{gemm,attention}.bin` from measured CSV files.
//!
//! ```text
//! cargo run -p kernels --release --example build_tables -- gemm.csv.gz attention.csv.gz .. kernels/tables
//! ```
//! The folder comes last; what a file holds, its columns say. A GEMM file has the columns system, software, dtype, kernel, m, n, k, latency_us; an attention
//! file system, software, dtype, kernel, causal, batch, seq_len, heads, head_dim, latency_us.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use flate2::read::GzDecoder;
use kernels::store::{Kind, Mask, StoredTable, code_of, encode};
use topologies::DType;

type Key = (String, Kind, DType, String, String);
type Rows = BTreeMap<Key, Vec<([u32; 3], f64)>>;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [sources @ .., target] = arguments.as_slice() else {
        return Err("usage: build_tables FILE.csv.gz .. TARGET_FOLDER".into());
    };
    let mut rows = Rows::new();
    for source in sources {
        for (key, more) in read(source)? {
            rows.entry(key).or_default().extend(more);
        }
    }
    let tables: Vec<StoredTable> = rows.into_iter().map(grid).collect();
    let (gemm, attention): (Vec<_>, Vec<_>) = tables
        .into_iter()
        .partition(|table| table.kind == Kind::Gemm);
    for (tables, name) in [(gemm, "gemm.bin"), (attention, "attention.bin")] {
        let bytes = encode(&tables);
        let file = Path::new(target).join(name);
        std::fs::write(&file, &bytes)?;
        println!(
            "{}: {} tables, {} bytes",
            file.display(),
            tables.len(),
            bytes.len()
        );
    }
    Ok(())
}

fn read(source: &str) -> Result<Rows, Box<dyn Error>> {
    let file = File::open(source)?;
    let plain: Box<dyn Read> = match source.strip_suffix(".gz") {
        Some(_) => Box::new(GzDecoder::new(file)),
        None => Box::new(file),
    };
    let mut reader = csv::Reader::from_reader(plain);
    let headers = reader.headers()?.clone();
    let mut rows = Rows::new();
    for record in reader.records() {
        let record = record?;
        let field = |name: &str| -> Result<&str, Box<dyn Error>> {
            headers
                .iter()
                .position(|header| header == name)
                .and_then(|index| record.get(index))
                .ok_or_else(|| format!("{source} has no column {name}").into())
        };
        let number = |name: &str| -> Result<u32, Box<dyn Error>> { Ok(field(name)?.parse()?) };
        let dtype = match field("dtype")? {
            "bfloat16" => DType::Bf16,
            "fp8" => DType::Fp8,
            "nvfp4" => DType::Nvfp4,
            other => return Err(format!("{source}: unknown dtype {other}").into()),
        };
        let (kind, shape) = if field("m").is_ok() {
            (Kind::Gemm, [number("m")?, number("n")?, number("k")?])
        } else {
            let mask = match field("causal")? {
                "True" => Mask::Causal,
                _ => Mask::Full,
            };
            let head_dim = number("head_dim")?;
            let shape = [number("batch")?, number("seq_len")?, number("heads")?];
            (Kind::Attention { mask, head_dim }, shape)
        };
        let key = (
            field("system")?.to_owned(),
            kind,
            dtype,
            field("software")?.to_owned(),
            field("kernel")?.to_owned(),
        );
        let latency: f64 = field("latency_us")?.parse()?;
        rows.entry(key).or_default().push((shape, latency));
    }
    Ok(rows)
}

fn grid(
    ((system, kind, dtype, software, kernel), rows): (Key, Vec<([u32; 3], f64)>),
) -> StoredTable {
    let axis = |which: usize| -> Vec<u32> {
        let values: BTreeSet<u32> = rows.iter().map(|(shape, _)| shape[which]).collect();
        values.into_iter().collect()
    };
    let axes = [axis(0), axis(1), axis(2)];
    let mut cells = vec![0; axes.iter().map(Vec::len).product()];
    for (shape, latency) in rows {
        let at = |which: usize| {
            axes[which]
                .binary_search(&shape[which])
                .expect("the axes hold every row's coordinates")
        };
        cells[(at(0) * axes[1].len() + at(1)) * axes[2].len() + at(2)] = code_of(latency);
    }
    StoredTable {
        kind,
        system,
        software,
        kernel,
        dtype,
        axes,
        cells,
    }
}
