//! Measured times of NCCL collectives, as embedded in the program and as read from a CSV file.
//!
//! ```text
//! ditplan-nccl-1\n
//! sizes 512 1024 ... 536870912\n
//! a100_sxm 2.27.3 2 4 8\n            one line per testbed: system, NCCL version, rank counts
//! \n
//! u16 little-endian cells, by testbed, operation, element, rank count, size
//! ```
//! A cell is `(log2(time in us) + 2) * 2048`, 0 where nothing was measured: steps of 0.034 %.
//! Operations are in the order of [`KINDS`], elements `half`, `int8`.
//!
//! Guarantees: [`NcclTable::decode`] of [`NcclTable::encode`] differs from the rows by at most
//! 0.02 %; a malformed table or CSV line is an error with its place, never skipped.
//!
//! Not modelled: RingPass, which nccl-tests' tables here do not hold (see [`super::predict`]).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::OnceLock;

use thiserror::Error;
use topologies::{Bytes, CollectiveKind, SimDuration};

use super::series::Series;

/// The operations that a table can hold, in the order of its cells.
pub const KINDS: [CollectiveKind; 4] = [
    CollectiveKind::AllGather,
    CollectiveKind::ReduceScatter,
    CollectiveKind::AllReduce,
    CollectiveKind::AllToAll,
];
const MAGIC: &str = "ditplan-nccl-1";
const BUILT_IN: &[u8] = include_bytes!("../../tables/nccl.bin");

/// What a buffer's elements are: reductions in half are 2 to 5 % faster than in int8.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Element {
    /// 16-bit floating point.
    Half,
    /// Bytes: compressed or 8-bit messages.
    Int8,
}

impl Element {
    /// The other element type.
    #[must_use]
    pub const fn twin(self) -> Self {
        match self {
            Self::Half => Self::Int8,
            Self::Int8 => Self::Half,
        }
    }
}

/// One measured time: a line of a CSV file with the columns
/// `system,nccl,op,dtype,num_gpus,size_bytes,latency_us`.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// The testbed, for example `h100_sxm`.
    pub system: String,
    /// NCCL's version, for example `2.27.3`.
    pub nccl: String,
    /// Operation (`all_gather`, `reduce_scatter`, `all_reduce`, `alltoall`, `sendrecv`).
    pub kind: CollectiveKind,
    /// Element type (`half`, `int8`).
    pub element: Element,
    /// Ranks, one GPU each.
    pub ranks: u32,
    /// nccl-tests' size column, see [`CollectiveKind`].
    pub size: Bytes,
    /// Measured time.
    pub time: SimDuration,
}

/// What is wrong with a table.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum TableError {
    /// A line of a CSV file cannot be read.
    #[error("{file}:{line}: {what}")]
    Line {
        /// The file.
        file: String,
        /// The line, from 1.
        line: usize,
        /// What is wrong and what to write.
        what: String,
    },
    /// An encoded table cannot be read.
    #[error("this is not a {MAGIC} table: {0}; build one with the example build_nccl_table")]
    Format(String),
}

/// One system with one NCCL version: a dense grid of times in us.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Testbed {
    pub(super) system: String,
    pub(super) nccl: String,
    pub(super) ranks: Vec<u32>,
    cells: Vec<Option<f64>>,
}

/// Measured times of collectives on several testbeds.
#[derive(Clone, Debug, PartialEq)]
pub struct NcclTable {
    pub(super) sizes: Vec<u64>,
    pub(super) testbeds: Vec<Testbed>,
}

/// The most cells of one kind of collective: sizes times systems and numbers of ranks.
const MOST_CELLS: usize = 1 << 20;

impl Row {
    /// Reads a CSV file with a header line; `file` is its name for errors.
    ///
    /// # Errors
    /// [`TableError::Line`] for a missing column or a value that cannot be read.
    pub fn parse_csv(text: &str, file: &str) -> Result<Vec<Self>, TableError> {
        let mut lines = text.lines().enumerate();
        let header = lines.next().map_or("", |(_, line)| line.trim());
        let expected = "system,nccl,op,dtype,num_gpus,size_bytes,latency_us";
        let fail = |line: usize, what: String| TableError::Line {
            file: file.to_owned(),
            line: line + 1,
            what,
        };
        if header != expected {
            return Err(fail(
                0,
                format!("the header must be \"{expected}\", not \"{header}\""),
            ));
        }
        let rows: Vec<Self> = lines
            .filter(|(_, line)| !line.trim().is_empty())
            .map(|(at, line)| Self::parse(line).map_err(|what| fail(at, what)))
            .collect::<Result<_, _>>()?;
        let sizes: BTreeSet<Bytes> = rows.iter().map(|row| row.size).collect();
        let beds: BTreeSet<(&str, &str, u32)> = rows
            .iter()
            .map(|row| (row.system.as_str(), row.nccl.as_str(), row.ranks))
            .collect();
        if sizes.len() * beds.len() > MOST_CELLS {
            let what = format!(
                "{} sizes on {} systems and numbers of ranks are more than a table holds: give fewer",
                sizes.len(),
                beds.len()
            );
            return Err(fail(0, what));
        }
        Ok(rows)
    }

    fn parse(line: &str) -> Result<Self, String> {
        let fields: Vec<&str> = line.trim().split(',').collect();
        let &[system, nccl, op, dtype, ranks, size, latency] = fields.as_slice() else {
            return Err(format!("7 fields are needed, found {}", fields.len()));
        };
        let number = |name: &str, text: &str| {
            text.parse::<f64>()
                .ok()
                .filter(|value| *value > 0.0 && *value < 1e12)
                .ok_or_else(|| format!("{name} \"{text}\" must be a positive number below 10^12"))
        };
        let ranks = number("num_gpus", ranks)? as u32;
        if ranks < 2 {
            return Err("num_gpus must be at least 2".to_owned());
        }
        Ok(Self {
            system: system.to_owned(),
            nccl: nccl.to_owned(),
            kind: kind_of(op)?,
            element: match dtype {
                "half" => Element::Half,
                "int8" => Element::Int8,
                _ => return Err(format!("dtype \"{dtype}\" must be half or int8")),
            },
            ranks,
            size: Bytes::new(number("size_bytes", size)? as u64),
            time: SimDuration::from_us_f64(number("latency_us", latency)?),
        })
    }
}

fn kind_of(op: &str) -> Result<CollectiveKind, String> {
    Ok(match op {
        "all_gather" => CollectiveKind::AllGather,
        "reduce_scatter" => CollectiveKind::ReduceScatter,
        "all_reduce" => CollectiveKind::AllReduce,
        "alltoall" => CollectiveKind::AllToAll,
        "sendrecv" => CollectiveKind::RingPass,
        _ => {
            return Err(format!(
                "op \"{op}\" must be one of all_gather, reduce_scatter, all_reduce, alltoall, sendrecv"
            ));
        }
    })
}

impl Testbed {
    fn cell(
        &self,
        sizes: usize,
        kind: CollectiveKind,
        element: Element,
        ranks: u32,
    ) -> Option<usize> {
        let kind = KINDS.iter().position(|known| *known == kind)?;
        let rank = self.ranks.iter().position(|known| *known == ranks)?;
        Some(((kind * 2 + element as usize) * self.ranks.len() + rank) * sizes)
    }
}

impl NcclTable {
    /// The built-in table: nine testbeds, measured by the AIConfigurator project
    /// (see `sim/tables/README.md`).
    #[must_use]
    pub fn built_in() -> &'static Self {
        static TABLE: OnceLock<NcclTable> = OnceLock::new();
        TABLE.get_or_init(|| {
            Self::decode(BUILT_IN).expect("the embedded table was built by the example")
        })
    }

    /// A table of `rows`; rows of RingPass have no place in a table and are left out.
    #[must_use]
    pub fn from_rows(rows: &[Row]) -> Self {
        let rows: Vec<&Row> = rows
            .iter()
            .filter(|row| KINDS.contains(&row.kind))
            .collect();
        let sizes: BTreeSet<u64> = rows.iter().map(|row| row.size.get()).collect();
        let sizes: Vec<u64> = sizes.into_iter().collect();
        let mut beds: BTreeMap<(String, String), BTreeSet<u32>> = BTreeMap::new();
        for row in &rows {
            let key = (row.system.clone(), row.nccl.clone());
            beds.entry(key).or_default().insert(row.ranks);
        }
        let testbeds = beds.into_iter().map(|((system, nccl), ranks)| Testbed {
            system,
            nccl,
            cells: vec![None; KINDS.len() * 2 * ranks.len() * sizes.len()],
            ranks: ranks.into_iter().collect(),
        });
        let mut table = Self {
            testbeds: testbeds.collect(),
            sizes,
        };
        for row in rows {
            *table.slot(row).expect("the grid spans every row") = Some(row.time.as_us_f64());
        }
        table
    }

    fn slot(&mut self, row: &Row) -> Option<&mut Option<f64>> {
        let at = self.sizes.iter().position(|size| *size == row.size.get())?;
        let sizes = self.sizes.len();
        let bed = self
            .testbeds
            .iter_mut()
            .find(|bed| bed.system == row.system && bed.nccl == row.nccl)?;
        let start = bed.cell(sizes, row.kind, row.element, row.ranks)?;
        bed.cells.get_mut(start + at)
    }

    /// This table without the cell of `row`, if it has one.
    #[must_use]
    pub fn without(&self, row: &Row) -> Self {
        let mut left = self.clone();
        if let Some(slot) = left.slot(row) {
            *slot = None;
        }
        left
    }

    /// Every measured time, in the order of the cells.
    #[must_use]
    pub fn rows(&self) -> Vec<Row> {
        let mut rows = Vec::new();
        for bed in &self.testbeds {
            for (kind, element, ranks) in self.keys(bed) {
                let series = self.series(bed, kind, element, ranks).expect("keys exist");
                for (size, time) in series.points() {
                    rows.push(Row {
                        system: bed.system.clone(),
                        nccl: bed.nccl.clone(),
                        kind,
                        element,
                        ranks,
                        size: Bytes::new(size as u64),
                        time: SimDuration::from_us_f64(time),
                    });
                }
            }
        }
        rows
    }

    fn keys(&self, bed: &Testbed) -> Vec<(CollectiveKind, Element, u32)> {
        let mut keys = Vec::new();
        for kind in KINDS {
            for element in [Element::Half, Element::Int8] {
                let ranks = bed.ranks.iter();
                keys.extend(
                    ranks
                        .filter(|ranks| self.series(bed, kind, element, **ranks).is_some())
                        .map(|ranks| (kind, element, *ranks)),
                );
            }
        }
        keys
    }

    /// The times of one operation by size; `None` when no size was measured.
    pub(super) fn series<'a>(
        &'a self,
        bed: &'a Testbed,
        kind: CollectiveKind,
        element: Element,
        ranks: u32,
    ) -> Option<Series<'a>> {
        let start = bed.cell(self.sizes.len(), kind, element, ranks)?;
        let times = &bed.cells[start..start + self.sizes.len()];
        times.iter().any(Option::is_some).then_some(Series {
            sizes: &self.sizes,
            times,
        })
    }

    /// The table in its embedded format.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut text = format!("{MAGIC}\nsizes");
        for size in &self.sizes {
            text.push_str(&format!(" {size}"));
        }
        for bed in &self.testbeds {
            text.push_str(&format!("\n{} {}", bed.system, bed.nccl));
            for ranks in &bed.ranks {
                text.push_str(&format!(" {ranks}"));
            }
        }
        text.push_str("\n\n");
        let cells = self.testbeds.iter().flat_map(|bed| &bed.cells);
        let codes = cells.flat_map(|cell| encode_us(*cell).to_le_bytes());
        text.into_bytes().into_iter().chain(codes).collect()
    }

    /// Reads the embedded format.
    ///
    /// # Errors
    /// [`TableError::Format`] when the header or the number of cells is wrong.
    pub fn decode(bytes: &[u8]) -> Result<Self, TableError> {
        let bad = |what: &str| TableError::Format(what.to_owned());
        let end = bytes
            .windows(2)
            .position(|pair| pair == b"\n\n")
            .ok_or_else(|| bad("no blank line ends the header"))?;
        let header =
            std::str::from_utf8(&bytes[..end]).map_err(|_| bad("the header is not text"))?;
        let mut lines = header.lines();
        if lines.next() != Some(MAGIC) {
            return Err(bad("the first line differs"));
        }
        let sizes = lines
            .next()
            .and_then(|line| line.strip_prefix("sizes "))
            .and_then(|line| line.split(' ').map(|word| word.parse().ok()).collect())
            .ok_or_else(|| bad("the second line must list the sizes"))?;
        let mut table = Self {
            sizes,
            testbeds: Vec::new(),
        };
        let mut codes = bytes[end + 2..]
            .chunks_exact(2)
            .map(|code| u16::from_le_bytes([code[0], code[1]]));
        for line in lines {
            let bed = decode_testbed(line, table.sizes.len(), &mut codes);
            table
                .testbeds
                .push(bed.ok_or_else(|| bad("a testbed line or its cells are cut off"))?);
        }
        if codes.next().is_some() {
            return Err(bad("cells follow the last testbed"));
        }
        Ok(table)
    }
}

fn decode_testbed(
    line: &str,
    sizes: usize,
    codes: &mut impl Iterator<Item = u16>,
) -> Option<Testbed> {
    let mut words = line.split(' ');
    let (system, nccl) = (words.next()?.to_owned(), words.next()?.to_owned());
    let ranks: Vec<u32> = words.map(|word| word.parse().ok()).collect::<Option<_>>()?;
    let wanted = KINDS.len() * 2 * ranks.len() * sizes;
    let cells: Vec<Option<f64>> = codes.take(wanted).map(decode_us).collect();
    (cells.len() == wanted).then_some(Testbed {
        system,
        nccl,
        ranks,
        cells,
    })
}

fn encode_us(time: Option<f64>) -> u16 {
    time.map_or(0, |us| {
        ((us.log2() + 2.0) * 2048.0).round().clamp(1.0, 65_535.0) as u16
    })
}

fn decode_us(code: u16) -> Option<f64> {
    (code > 0).then(|| (f64::from(code) / 2048.0 - 2.0).exp2())
}
