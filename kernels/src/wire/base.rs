//! What sender and receiver remember of a tensor: its base, in 16, 8 or 4 bits an element.
//!
//! | format | bytes of an N x C base |
//! |---|---|
//! | `fp16`, `bf16` | 2 N C |
//! | `int8` | N C + 2 N ceil(C/64) |
//! | `int4` | N ceil(C/2) + 2 N ceil(C/64) |
//!
//! The integer bases use the quantiser of the `int8` and `int4` messages.

use std::fmt;
use std::str::FromStr;

use topologies::Bytes;

use super::Half;
use super::integer::{EIGHT_BIT, FOUR_BIT, Integer};
use super::rows::RowFormat;
use super::shape::{Rows, STRIP_ROWS, Shape};

/// How a base is stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum BaseFormat {
    /// IEEE binary16.
    #[default]
    F16,
    /// bfloat16.
    Bf16,
    /// 8-bit integers with a scale for every 64 channels of a row.
    Int8,
    /// 4-bit integers with a scale for every 64 channels of a row.
    Int4,
}

impl BaseFormat {
    /// Every format.
    pub const ALL: [Self; 4] = [Self::F16, Self::Bf16, Self::Int8, Self::Int4];

    /// Bytes of a base of `shape`.
    #[must_use]
    pub fn bytes(self, shape: Shape) -> Bytes {
        let bytes = match self.store() {
            Kind::Half(_) => 2 * shape.elements(),
            Kind::Integer(format) => {
                shape.rows() * format.code_bytes(shape.channels())
                    + format.side_bytes(shape.channels(), shape.rows())
            }
        };
        Bytes::new(bytes as u64)
    }

    fn store(self) -> Kind {
        match self {
            Self::F16 => Kind::Half(Half::F16),
            Self::Bf16 => Kind::Half(Half::Bf16),
            Self::Int8 => Kind::Integer(EIGHT_BIT),
            Self::Int4 => Kind::Integer(FOUR_BIT),
        }
    }

    /// Whether it stores this 16-bit format exactly.
    pub(crate) fn keeps(self, half: Half) -> bool {
        matches!(
            (self, half),
            (Self::F16, Half::F16) | (Self::Bf16, Half::Bf16)
        )
    }
}

impl fmt::Display for BaseFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::F16 => "fp16",
            Self::Bf16 => "bf16",
            Self::Int8 => "int8",
            Self::Int4 => "int4",
        })
    }
}

/// A base format that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown base format \"{0}\": use fp16, bf16, int8 or int4")]
pub struct UnknownBaseFormat(pub String);

impl FromStr for BaseFormat {
    type Err = UnknownBaseFormat;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let known = Self::ALL.into_iter().find(|it| it.to_string() == text);
        known.ok_or_else(|| UnknownBaseFormat(text.to_owned()))
    }
}

#[derive(Clone, Copy)]
enum Kind {
    Half(Half),
    Integer(Integer),
}

/// The base of one tensor; zeros at first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Base {
    format: BaseFormat,
    shape: Shape,
    /// 16-bit patterns; empty for an integer format.
    halves: Vec<u16>,
    /// Integer codes, row after row.
    codes: Vec<u8>,
    /// Scales of the codes.
    scales: Vec<u8>,
}

impl Base {
    pub(crate) fn new(format: BaseFormat, shape: Shape) -> Self {
        let (halves, codes, scales) = match format.store() {
            Kind::Half(_) => (shape.elements(), 0, 0),
            Kind::Integer(it) => (
                0,
                shape.rows() * it.code_bytes(shape.channels()),
                it.side_bytes(shape.channels(), shape.rows()),
            ),
        };
        Self {
            format,
            shape,
            halves: vec![0; halves],
            codes: vec![0; codes],
            scales: vec![0; scales],
        }
    }

    /// The bit patterns of a 16-bit base.
    pub(crate) fn halves(&self) -> &[u16] {
        &self.halves
    }

    /// The values of a strip.
    pub(crate) fn read(&self, rows: Rows, out: &mut [f32]) {
        match self.format.store() {
            Kind::Half(half) => half.widen(&self.halves[self.shape.range(rows)], out),
            Kind::Integer(format) => {
                let channels = self.shape.channels();
                let (codes, scales) = ranges(format, channels, rows);
                format.decode(channels, &self.codes[codes], &self.scales[scales], out);
            }
        }
    }

    /// `bits - base` of a strip.
    pub(crate) fn difference(&self, rows: Rows, half: Half, bits: &[u16], out: &mut [f32]) {
        match self.format.store() {
            Kind::Half(own) => {
                half.difference(bits, own, &self.halves[self.shape.range(rows)], out);
            }
            Kind::Integer(_) => {
                self.read(rows, out);
                half.subtract(bits, out);
            }
        }
    }

    /// Mutable parts, one for each chunk of the shape.
    pub(crate) fn parts(&mut self) -> impl Iterator<Item = Part<'_>> {
        let (shape, format) = (self.shape, self.format);
        let (mut halves, mut codes, mut scales) = (
            &mut self.halves[..],
            &mut self.codes[..],
            &mut self.scales[..],
        );
        shape.chunks().map(move |rows| {
            let (mut half_count, mut code_count, mut scale_count) = (0, 0, 0);
            match format.store() {
                Kind::Half(_) => half_count = rows.count * shape.channels(),
                Kind::Integer(it) => {
                    code_count = rows.count * it.code_bytes(shape.channels());
                    scale_count = it.side_bytes(shape.channels(), rows.count);
                }
            }
            Part {
                format,
                channels: shape.channels(),
                rows,
                halves: halves.split_off_mut(..half_count).expect("rows of it"),
                codes: codes.split_off_mut(..code_count).expect("rows of it"),
                scales: scales.split_off_mut(..scale_count).expect("rows of it"),
            }
        })
    }
}

/// Where the codes and scales of some rows stand.
fn ranges(
    format: Integer,
    channels: usize,
    rows: Rows,
) -> (std::ops::Range<usize>, std::ops::Range<usize>) {
    let end = rows.first + rows.count;
    let codes = format.code_bytes(channels);
    let scales = |rows| format.side_bytes(channels, rows);
    (
        rows.first * codes..end * codes,
        scales(rows.first)..scales(end),
    )
}

/// The rows of a base that one thread changes.
pub(crate) struct Part<'a> {
    format: BaseFormat,
    channels: usize,
    pub rows: Rows,
    halves: &'a mut [u16],
    codes: &'a mut [u8],
    scales: &'a mut [u8],
}

impl Part<'_> {
    /// The same rows counted from the part's first.
    fn local(&self, rows: Rows) -> Rows {
        Rows {
            first: rows.first - self.rows.first,
            count: rows.count,
        }
    }

    fn half_range(&self, rows: Rows) -> std::ops::Range<usize> {
        let local = self.local(rows);
        local.first * self.channels..(local.first + local.count) * self.channels
    }

    /// The values of a strip.
    pub(crate) fn read(&self, rows: Rows, out: &mut [f32]) {
        match self.format.store() {
            Kind::Half(half) => half.widen(&self.halves[self.half_range(rows)], out),
            Kind::Integer(format) => {
                let (codes, scales) = ranges(format, self.channels, self.local(rows));
                format.decode(self.channels, &self.codes[codes], &self.scales[scales], out);
            }
        }
    }

    /// Stores the values of a strip, which may be overwritten.
    pub(crate) fn write(&mut self, rows: Rows, values: &mut [f32]) {
        match self.format.store() {
            Kind::Half(half) => {
                let range = self.half_range(rows);
                half.narrow(values, &mut self.halves[range]);
            }
            Kind::Integer(format) => {
                let (codes, scales) = ranges(format, self.channels, self.local(rows));
                let (codes, scales) = (&mut self.codes[codes], &mut self.scales[scales]);
                format.encode(self.channels, values, codes, scales);
            }
        }
    }

    /// The bit patterns of a 16-bit base.
    pub(crate) fn halves(&mut self) -> &mut [u16] {
        self.halves
    }

    /// Adds to a strip of a 16-bit base.
    pub(crate) fn add(&mut self, rows: Rows, change: &[f32]) -> bool {
        let Kind::Half(half) = self.format.store() else {
            return false;
        };
        let range = self.half_range(rows);
        half.add(change, &mut self.halves[range]);
        true
    }
}

/// The rows of a strip never cross a part: both are cut at even rows of the same chunk.
const _: () = assert!(STRIP_ROWS == 2);
