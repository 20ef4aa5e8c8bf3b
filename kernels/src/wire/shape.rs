//! The matrix of a message, and the fixed chunks of rows that threads share.
//!
//! Chunks depend on the shape alone, so results are the same at any number of threads.

use std::sync::Mutex;

use rayon::prelude::*;

use super::Half;

/// Rows (tokens of one sample's shard) and channels (heads x head width); both at least 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Shape {
    rows: usize,
    channels: usize,
}

/// Elements of a chunk: its fp32 residual just fits a core's second-level cache.
const CHUNK_ELEMENTS: usize = 1 << 16;
/// Most rows of a chunk.
const CHUNK_ROWS: usize = 128;
/// Rows that are worked on at a time, in the first-level cache. Two, so that a strip's half bytes
/// end on a byte.
pub(crate) const STRIP_ROWS: usize = 2;

/// Consecutive rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rows {
    pub first: usize,
    pub count: usize,
}

impl Rows {
    /// Each row.
    pub(crate) fn singles(self) -> impl Iterator<Item = Self> {
        (self.first..self.first + self.count).map(|first| Self { first, count: 1 })
    }

    /// Strips of [`STRIP_ROWS`] rows; the last may be shorter.
    pub(crate) fn strips(self) -> impl Iterator<Item = Self> {
        (0..self.count).step_by(STRIP_ROWS).map(move |offset| Self {
            first: self.first + offset,
            count: STRIP_ROWS.min(self.count - offset),
        })
    }
}

impl Shape {
    /// A shape of `rows x channels`.
    ///
    /// # Panics
    /// If one of them is 0: an empty message is not sent.
    #[must_use]
    pub fn new(rows: usize, channels: usize) -> Self {
        assert!(
            rows > 0 && channels > 0,
            "a message has rows and channels, got {rows} x {channels}"
        );
        Self { rows, channels }
    }

    /// Tokens.
    #[must_use]
    pub fn rows(self) -> usize {
        self.rows
    }

    /// Channels of a token.
    #[must_use]
    pub fn channels(self) -> usize {
        self.channels
    }

    /// Rows times channels.
    #[must_use]
    pub fn elements(self) -> usize {
        self.rows * self.channels
    }

    /// Rows of a chunk: even, so that a chunk's half bytes end on a byte.
    pub(crate) fn chunk_rows(self) -> usize {
        (CHUNK_ELEMENTS / self.channels).clamp(STRIP_ROWS, CHUNK_ROWS) & !1
    }

    /// The chunks, in order.
    pub(crate) fn chunks(self) -> impl Iterator<Item = Rows> {
        let step = self.chunk_rows();
        (0..self.rows).step_by(step).map(move |first| Rows {
            first,
            count: step.min(self.rows - first),
        })
    }

    /// Room for the fp32 values of a strip.
    pub(crate) fn strip_buffer(self) -> Vec<f32> {
        vec![0.0; STRIP_ROWS * self.channels]
    }

    /// The elements of `rows` in row-major order.
    pub(crate) fn range(self, rows: Rows) -> std::ops::Range<usize> {
        rows.first * self.channels..(rows.first + rows.count) * self.channels
    }
}

/// The results of `work` on each task, in the order of the tasks; in parallel if there are several.
pub(crate) fn in_order<T: Send, R: Send>(
    tasks: impl Iterator<Item = T>,
    work: impl Fn(T) -> R + Sync,
) -> Vec<R> {
    const ONCE: &str = "each task is done once";
    let slots: Vec<Mutex<(Option<T>, Option<R>)>> =
        tasks.map(|task| Mutex::new((Some(task), None))).collect();
    each(slots.len(), &|n| {
        let mut slot = slots[n].try_lock().expect(ONCE);
        let task = slot.0.take().expect(ONCE);
        slot.1 = Some(work(task));
    });
    let results = slots.into_iter().map(|slot| slot.into_inner());
    results
        .map(|slot| slot.expect(ONCE).1.expect(ONCE))
        .collect()
}

/// Calls `work` for 0 to `count`: one function for every kind of task, since rayon's are long to
/// compile.
fn each(count: usize, work: &(dyn Fn(usize) + Sync)) {
    if count < 2 {
        (0..count).for_each(work);
    } else {
        (0..count).into_par_iter().for_each(work);
    }
}

/// An activation: a matrix of 16-bit floats, row after row.
#[derive(Clone, Copy, Debug)]
pub struct Matrix<'a> {
    shape: Shape,
    half: Half,
    bits: &'a [u16],
}

impl<'a> Matrix<'a> {
    /// A matrix over bit patterns of `half`.
    ///
    /// # Panics
    /// If there are not `shape.elements()` of them.
    #[must_use]
    pub fn new(shape: Shape, half: Half, bits: &'a [u16]) -> Self {
        assert_eq!(
            bits.len(),
            shape.elements(),
            "a {} x {} matrix has one bit pattern for each element",
            shape.rows,
            shape.channels
        );
        Self { shape, half, bits }
    }

    /// Rows and channels.
    #[must_use]
    pub fn shape(self) -> Shape {
        self.shape
    }

    /// The number format.
    #[must_use]
    pub fn half(self) -> Half {
        self.half
    }

    /// The bit patterns, row after row.
    #[must_use]
    pub fn bits(self) -> &'a [u16] {
        self.bits
    }

    /// The values, row after row.
    pub fn widen(self, out: &mut [f32]) {
        self.half.widen(self.bits, out);
    }

    /// The place of the first Inf or NaN, counted row after row.
    #[must_use]
    pub fn first_non_finite(self) -> Option<usize> {
        in_order(self.shape.chunks(), |rows| {
            let range = self.shape.range(rows);
            let start = range.start;
            self.half
                .first_non_finite(&self.bits[range])
                .map(|offset| start + offset)
        })
        .into_iter()
        .find_map(|found| found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_and_strips_cover_the_rows_once() {
        for (rows, channels) in [(1, 1), (7, 3), (1088, 3072), (129, 500), (3, 100_000)] {
            let shape = Shape::new(rows, channels);
            let mut next = 0;
            for chunk in shape.chunks() {
                assert_eq!(chunk.first % STRIP_ROWS, 0);
                for strip in chunk.strips() {
                    assert_eq!(strip.first, next);
                    next += strip.count;
                }
            }
            assert_eq!(next, rows);
        }
    }
}
