//! The measured tables as bytes: what `examples/build_tables.rs` writes and the program embeds.
//!
//! ```text
//! file  = "DPKT" version:u16 tables:u16 table* checksum:u64        (little-endian throughout)
//! table = kind:u8 dtype:u8 mask:u8 0:u8 head_dim:u32
//!         system software kernel: (length:u8 bytes)
//!         axis x 3: length:u16 value:u32*
//!         length:u32 bits of the cells of each (i, j, k), k fastest (`store/cells.rs`)
//! cell  = round((log2(microseconds) + 2) * 2048), 0 = not measured
//! ```
//! A GEMM table's axes are (m, n, k), an attention table's (batch, sequence length, heads).
//!
//! Guarantees: a cell is within 0.017 % of the measured time; the checksum (FNV-1a, 64 bits) covers
//! every byte before it, so a damaged or truncated table is refused by name, never half-used.

mod cells;

use thiserror::Error;
use topologies::DType;

/// Which keys an attention kernel looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Mask {
    /// All of them: what diffusion transformers run.
    Full,
    /// Those up to the query's own position.
    Causal,
}

/// What a table measures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Matrix products.
    Gemm,
    /// Attention with one mask and one width of head.
    Attention {
        /// The mask.
        mask: Mask,
        /// Width of a head.
        head_dim: u32,
    },
}

/// One measured table: a dense grid of times.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredTable {
    /// What it measures.
    pub kind: Kind,
    /// The GPU, by the name of the measuring project, for example `h100_sxm`.
    pub system: String,
    /// The software that ran the kernel, for example `vllm 0.24.0`.
    pub software: String,
    /// The kernel's name.
    pub kernel: String,
    /// Number format.
    pub dtype: DType,
    /// Ascending coordinates of each axis.
    pub axes: [Vec<u32>; 3],
    /// Coded times, third axis fastest; 0 where nothing was measured.
    pub cells: Vec<u16>,
}

/// Why bytes are not a table file.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum DamagedTable {
    /// Not a table file, or of another format version.
    #[error(
        "{file} is not a kernel table of format version {VERSION}: rebuild it with `cargo run -p kernels --release --example build_tables`"
    )]
    Format {
        /// The file.
        file: String,
    },
    /// The contents do not match their checksum.
    #[error(
        "{file} is damaged (its checksum does not match): restore it from the repository or rebuild it with `cargo run -p kernels --release --example build_tables`"
    )]
    Checksum {
        /// The file.
        file: String,
    },
    /// The file ends early or names a value that does not exist.
    #[error("{file} is damaged at byte {offset}: {what}")]
    Contents {
        /// The file.
        file: String,
        /// Where.
        offset: usize,
        /// What is wrong there.
        what: &'static str,
    },
}

/// The format's version.
pub const VERSION: u16 = 2;
const MAGIC: &[u8; 4] = b"DPKT";
/// More than any table: what a damaged file could ask memory for.
const MOST_CELLS: usize = 1 << 24;
const CODE_PER_OCTAVE: f64 = 2048.0;
const CODE_OFFSET: f64 = 2.0;

/// The code of a time in microseconds.
///
/// # Panics
/// If the time is outside the code's range of 0.25 us to 2^30 us: the builder checks its rows.
#[must_use]
pub fn code_of(us: f64) -> u16 {
    let code = ((us.log2() + CODE_OFFSET) * CODE_PER_OCTAVE).round();
    assert!(
        (1.0..=65535.0).contains(&code),
        "a measured time lies between 0.25 us and 2^30 us, not {us} us"
    );
    code as u16
}

/// Natural logarithm of the microseconds that `code` stands for, or `None` where not measured.
#[must_use]
pub fn ln_us_of(code: u16) -> Option<f64> {
    (code != 0).then(|| (f64::from(code) / CODE_PER_OCTAVE - CODE_OFFSET) * std::f64::consts::LN_2)
}

/// FNV-1a over `bytes`.
pub(crate) fn fnv1a(bytes: impl IntoIterator<Item = u8>) -> u64 {
    bytes.into_iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

/// The bytes of a table file.
#[must_use]
pub fn encode(tables: &[StoredTable]) -> Vec<u8> {
    let mut out = Vec::new();
    out.extend_from_slice(MAGIC);
    out.extend_from_slice(&VERSION.to_le_bytes());
    out.extend_from_slice(&(tables.len() as u16).to_le_bytes());
    for table in tables {
        encode_table(table, &mut out);
    }
    let checksum = fnv1a(out.iter().copied());
    out.extend_from_slice(&checksum.to_le_bytes());
    out
}

fn encode_table(table: &StoredTable, out: &mut Vec<u8>) {
    let (kind, mask, head_dim) = match table.kind {
        Kind::Gemm => (0, 0, 0),
        Kind::Attention { mask, head_dim } => (1, u8::from(mask == Mask::Causal), head_dim),
    };
    let dtype = match table.dtype {
        DType::Bf16 => 0,
        DType::Fp8 => 1,
        DType::Nvfp4 => 2,
    };
    out.extend_from_slice(&[kind, dtype, mask, 0]);
    out.extend_from_slice(&head_dim.to_le_bytes());
    for text in [&table.system, &table.software, &table.kernel] {
        let length = u8::try_from(text.len()).expect("names are shorter than 256 bytes");
        out.push(length);
        out.extend_from_slice(text.as_bytes());
    }
    for axis in &table.axes {
        out.extend_from_slice(&(axis.len() as u16).to_le_bytes());
        for value in axis {
            out.extend_from_slice(&value.to_le_bytes());
        }
    }
    let packed = cells::pack(&table.cells, sides(&table.axes));
    out.extend_from_slice(&(packed.len() as u32).to_le_bytes());
    out.extend_from_slice(&packed);
}

fn sides(axes: &[Vec<u32>; 3]) -> [usize; 3] {
    [axes[0].len(), axes[1].len(), axes[2].len()]
}

/// A table whose cells are still bits: most runs ask a few tables of many.
#[derive(Clone, Debug)]
pub(crate) struct PackedTable {
    /// The table without its cells.
    pub head: StoredTable,
    bits: Vec<u8>,
}

impl PackedTable {
    /// The cells; `None` for bits that no builder writes.
    pub(crate) fn cells(&self) -> Option<Vec<u16>> {
        cells::unpack(&self.bits, sides(&self.head.axes))
    }
}

/// The tables of a file's bytes; `file` names it in errors.
///
/// # Errors
/// [`DamagedTable`] for bytes that [`encode`] did not write.
pub fn decode(bytes: &[u8], file: &str) -> Result<Vec<StoredTable>, DamagedTable> {
    let whole = |table: PackedTable| {
        let cells = table.cells().ok_or_else(|| DamagedTable::Contents {
            file: file.to_owned(),
            offset: 0,
            what: "the cells of a table are not those of any builder",
        })?;
        Ok(StoredTable {
            cells,
            ..table.head
        })
    };
    decode_packed(bytes, file)?.into_iter().map(whole).collect()
}

/// As [`decode`], the cells still packed.
pub(crate) fn decode_packed(bytes: &[u8], file: &str) -> Result<Vec<PackedTable>, DamagedTable> {
    let file = file.to_owned();
    if bytes.len() < 16 || &bytes[..4] != MAGIC || bytes[4..6] != VERSION.to_le_bytes() {
        return Err(DamagedTable::Format { file });
    }
    let (body, checksum) = bytes.split_at(bytes.len() - 8);
    if fnv1a(body.iter().copied()).to_le_bytes() != checksum {
        return Err(DamagedTable::Checksum { file });
    }
    let mut reader = Reader {
        bytes: body,
        at: 6,
        file,
    };
    let count = reader.u16()?;
    let tables = (0..count)
        .map(|_| reader.table())
        .collect::<Result<Vec<_>, _>>()?;
    if reader.at != body.len() {
        return Err(reader.damaged("bytes after the last table"));
    }
    Ok(tables)
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    file: String,
}

impl<'a> Reader<'a> {
    fn damaged(&self, what: &'static str) -> DamagedTable {
        DamagedTable::Contents {
            file: self.file.clone(),
            offset: self.at,
            what,
        }
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], DamagedTable> {
        let end = self.at + count;
        let taken = self
            .bytes
            .get(self.at..end)
            .ok_or_else(|| self.damaged("the file ends early"))?;
        self.at = end;
        Ok(taken)
    }

    fn u16(&mut self) -> Result<u16, DamagedTable> {
        let bytes = self.take(2)?;
        Ok(u16::from_le_bytes([bytes[0], bytes[1]]))
    }

    fn u32(&mut self) -> Result<u32, DamagedTable> {
        let bytes = self.take(4)?;
        Ok(u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
    }

    fn text(&mut self) -> Result<String, DamagedTable> {
        let length = usize::from(self.take(1)?[0]);
        let bytes = self.take(length)?.to_vec();
        String::from_utf8(bytes).map_err(|_| self.damaged("a name is not text"))
    }

    fn axis(&mut self) -> Result<Vec<u32>, DamagedTable> {
        let length = self.u16()?;
        let values = (0..length)
            .map(|_| self.u32())
            .collect::<Result<Vec<_>, _>>()?;
        if values.is_empty() || !values.is_sorted_by(|a, b| a < b) {
            return Err(self.damaged("an axis is not ascending"));
        }
        Ok(values)
    }

    fn table(&mut self) -> Result<PackedTable, DamagedTable> {
        let head = self.take(4)?;
        let (kind, dtype, mask) = (head[0], head[1], head[2]);
        let head_dim = self.u32()?;
        let dtype = match dtype {
            0 => DType::Bf16,
            1 => DType::Fp8,
            2 => DType::Nvfp4,
            _ => return Err(self.damaged("an unknown number format")),
        };
        let kind = match (kind, mask) {
            (0, 0) => Kind::Gemm,
            (1, 0) => Kind::Attention {
                mask: Mask::Full,
                head_dim,
            },
            (1, 1) => Kind::Attention {
                mask: Mask::Causal,
                head_dim,
            },
            _ => return Err(self.damaged("an unknown kind of table")),
        };
        let (system, software, kernel) = (self.text()?, self.text()?, self.text()?);
        let axes = [self.axis()?, self.axis()?, self.axis()?];
        if axes.iter().map(Vec::len).product::<usize>() > MOST_CELLS {
            return Err(self.damaged("a grid larger than any table"));
        }
        let length = self.u32()? as usize;
        let bits = self.take(length)?.to_vec();
        let head = StoredTable {
            kind,
            system,
            software,
            kernel,
            dtype,
            axes,
            cells: Vec::new(),
        };
        Ok(PackedTable { head, bits })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Vec<StoredTable> {
        vec![StoredTable {
            kind: Kind::Attention {
                mask: Mask::Full,
                head_dim: 64,
            },
            system: "h100_sxm".into(),
            software: "vllm".into(),
            kernel: "fa3".into(),
            dtype: DType::Bf16,
            axes: [vec![1, 2], vec![64, 128], vec![8]],
            cells: vec![code_of(5.0), 0, code_of(7.5), code_of(10.0)],
        }]
    }

    #[test]
    fn a_table_reads_back_what_was_written() {
        let bytes = encode(&sample());
        assert_eq!(decode(&bytes, "attention.bin"), Ok(sample()));
    }

    #[test]
    fn a_code_is_within_a_sixtieth_of_a_percent() {
        // Half a step is 1/4096 of an octave: 2^(1/4096) = 1.000169.
        for us in [0.3, 1.8, 47.11, 620_655.5] {
            let back = ln_us_of(code_of(us)).unwrap().exp();
            assert!((back / us - 1.0).abs() < 1.7e-4, "{us} became {back}");
        }
        assert_eq!(ln_us_of(0), None);
    }

    #[test]
    fn one_flipped_bit_is_named() {
        let mut bytes = encode(&sample());
        bytes[40] ^= 1;
        let error = decode(&bytes, "attention.bin").unwrap_err();
        assert!(matches!(error, DamagedTable::Checksum { .. }));
        assert!(error.to_string().contains("attention.bin is damaged"));
    }

    #[test]
    fn a_truncated_or_foreign_file_is_refused() {
        let bytes = encode(&sample());
        assert!(decode(&bytes[..bytes.len() - 2], "a").is_err());
        assert!(matches!(
            decode(b"PK\x03\x04 something else", "a"),
            Err(DamagedTable::Format { .. })
        ));
    }
}
