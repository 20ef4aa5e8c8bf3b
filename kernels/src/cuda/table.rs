//! `compressors.csv`: one line a measured compressor, direction and shape.
//!
//! ```text
//! compressor,direction,kernel,dtype,base,rows,channels,
//! bytes_moved,latency_us,repeats,p10_us,p90_us,gb_per_s,share_of_copy
//! ```
//! The first seven columns are the key. `kernel` is `ditplan` for ours and `original` for another's.

use thiserror::Error;

/// The columns.
const HEADER: &str = "compressor,direction,kernel,dtype,base,rows,channels,bytes_moved,latency_us,repeats,\
                      p10_us,p90_us,gb_per_s,share_of_copy";

/// Which side of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Direction {
    /// Activation to message.
    Encode,
    /// Message to base.
    Decode,
}

impl Direction {
    /// As the table has it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Encode => "encode",
            Self::Decode => "decode",
        }
    }
}

/// One line.
#[derive(Clone, Debug, PartialEq)]
pub struct Measured {
    /// Compressor, as it is written everywhere.
    pub compressor: String,
    /// Encode or decode.
    pub direction: Direction,
    /// Whose kernels.
    pub kernel: String,
    /// `fp16` or `bf16`.
    pub dtype: String,
    /// The base's format.
    pub base: String,
    /// N.
    pub rows: usize,
    /// C.
    pub channels: usize,
    /// Bytes that must be read and written.
    pub bytes_moved: u64,
    /// Median, microseconds.
    pub latency_us: f64,
    /// Times measured.
    pub repeats: usize,
    /// 10th percentile.
    pub p10_us: f64,
    /// 90th percentile.
    pub p90_us: f64,
    /// Rate of a large device-to-device copy in the same run, read and written, GB/s.
    pub copy_gb_per_s: f64,
}

/// A table that another program wrote wrongly.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("line {line} of {name} is not a line of compressors.csv: {reason}")]
pub struct UnreadableTable {
    /// The file.
    pub name: String,
    /// Counted from 1.
    pub line: usize,
    /// What is wrong.
    pub reason: String,
}

impl Measured {
    /// What two lines have in common that measure the same.
    pub(super) fn key(&self) -> (&str, Direction, &str, &str, usize, usize) {
        let Self {
            compressor,
            direction,
            dtype,
            base,
            rows,
            channels,
            ..
        } = self;
        (compressor, *direction, dtype, base, *rows, *channels)
    }

    /// Bytes over the median.
    #[must_use]
    pub fn gb_per_s(&self) -> f64 {
        self.bytes_moved as f64 / self.latency_us / 1e3
    }

    /// Of the rate of a copy.
    #[must_use]
    pub fn share_of_copy(&self) -> f64 {
        self.gb_per_s() / self.copy_gb_per_s
    }

    /// The line with its end.
    #[must_use]
    pub fn line(&self) -> String {
        // A name with a comma would be quoted; none has one.
        format!(
            "{},{},{},{},{},{},{},{},{:.3},{},{:.3},{:.3},{:.1},{:.4}\n",
            self.compressor,
            self.direction.name(),
            self.kernel,
            self.dtype,
            self.base,
            self.rows,
            self.channels,
            self.bytes_moved,
            self.latency_us,
            self.repeats,
            self.p10_us,
            self.p90_us,
            self.gb_per_s(),
            self.share_of_copy()
        )
    }

    fn read(line: &str) -> Result<Self, String> {
        let cells: Vec<&str> = line.trim_end().split(',').collect();
        let columns: Vec<&str> = HEADER.split(',').collect();
        if cells.len() != columns.len() {
            return Err(format!("{} columns, not {}", cells.len(), columns.len()));
        }
        let number = |n: usize| -> Result<f64, String> {
            let value: Option<f64> = cells[n].parse().ok();
            let sound = value.filter(|value| value.is_finite() && *value >= 0.0);
            sound.ok_or_else(|| format!("{} is \"{}\"", columns[n], cells[n]))
        };
        let direction = match cells[1] {
            "encode" => Direction::Encode,
            "decode" => Direction::Decode,
            other => return Err(format!("direction is \"{other}\"")),
        };
        let (rate, share) = (number(12)?, number(13)?);
        Ok(Self {
            compressor: cells[0].to_owned(),
            direction,
            kernel: cells[2].to_owned(),
            dtype: cells[3].to_owned(),
            base: cells[4].to_owned(),
            rows: number(5)? as usize,
            channels: number(6)? as usize,
            bytes_moved: number(7)? as u64,
            latency_us: number(8)?,
            repeats: number(9)? as usize,
            p10_us: number(10)?,
            p90_us: number(11)?,
            copy_gb_per_s: if share > 0.0 { rate / share } else { 0.0 },
        })
    }
}

/// The text of a table.
#[must_use]
pub fn write(lines: &[Measured]) -> String {
    let lines = lines.iter().map(Measured::line);
    std::iter::once(format!("{HEADER}\n"))
        .chain(lines)
        .collect()
}

/// The lines of a table's text.
///
/// # Errors
/// The first line that is none.
pub fn read(name: &str, text: &str) -> Result<Vec<Measured>, UnreadableTable> {
    let wrong = |line: usize, reason: String| UnreadableTable {
        name: name.to_owned(),
        line: line + 1,
        reason,
    };
    let mut lines = text.lines().enumerate();
    match lines.next() {
        Some((_, header)) if header.trim_end() == HEADER => {}
        _ => return Err(wrong(0, format!("the header must be {HEADER}"))),
    }
    let lines = lines.filter(|(_, line)| !line.trim().is_empty());
    lines
        .map(|(n, line)| Measured::read(line).map_err(|reason| wrong(n, reason)))
        .collect()
}

/// For each line that another table has too: the line, and how many times longer the other takes.
#[must_use]
pub fn ratios<'a>(ours: &'a [Measured], theirs: &[Measured]) -> Vec<(&'a Measured, f64)> {
    let same = |line: &Measured| theirs.iter().find(|other| other.key() == line.key());
    let pairs = ours.iter().filter_map(|line| Some((line, same(line)?)));
    pairs
        .map(|(line, other)| (line, other.latency_us / line.latency_us))
        .collect()
}
