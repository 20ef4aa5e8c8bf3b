//! Cells as bits: what their neighbours do not foretell.
//!
//! ```text
//! foretold = middle of a + b - c over the three faces towards lower coordinates (a, b: neighbours on two axes,
//!            c: the one on both), as far as all three are measured; else one neighbour; else the last cell
//! measured:1 zigzag(cell - foretold): Rice code, its parameter log2 of the mean of the last sixteen or so
//! ```
//! Times fall or rise by the same factor along a line of shapes, so most cells need nine bits of sixteen.
//!
//! Guarantee: [`unpack`] of [`pack`] gives the same cells to the bit.

/// What foretells a cell: positions relative to it.
struct Grid {
    sides: [usize; 3],
}

/// A Rice code adapts to the sizes that it met.
struct Rice {
    /// Sixteen times the mean.
    mean: u32,
}

/// A quotient of this many ones is followed by the whole value.
const ESCAPE: u32 = 20;

impl Rice {
    const fn new() -> Self {
        Self { mean: 16 * 64 }
    }

    fn parameter(&self) -> u32 {
        (self.mean / 16).max(1).ilog2()
    }

    fn meet(&mut self, value: u32) {
        self.mean = self.mean - self.mean / 16 + value;
    }
}

impl Grid {
    fn foretold(&self, cells: &[u16], at: [usize; 3], last: u16) -> i32 {
        let strides = [self.sides[1] * self.sides[2], self.sides[2], 1];
        let here = at[0] * strides[0] + at[1] * strides[1] + at[2];
        let cell = |back: &[usize]| -> Option<i32> {
            let mut place = here;
            for axis in back {
                if at[*axis] == 0 {
                    return None;
                }
                place -= strides[*axis];
            }
            (cells[place] != 0).then(|| i32::from(cells[place]))
        };
        let near = [cell(&[0]), cell(&[1]), cell(&[2])];
        let mut faces = [0; 3];
        let mut count = 0;
        for (one, other) in [(0, 2), (1, 2), (0, 1)] {
            if let (Some(a), Some(b)) = (near[one], near[other])
                && let Some(c) = cell(&[one, other])
            {
                faces[count] = a + b - c;
                count += 1;
            }
        }
        faces[..count].sort_unstable();
        match count {
            0 => near.into_iter().flatten().last().unwrap_or(last.into()),
            1 => faces[0],
            2 => i32::midpoint(faces[0], faces[1]),
            _ => faces[1],
        }
    }
}

#[derive(Default)]
struct Writer {
    bytes: Vec<u8>,
    free: u32,
}

impl Writer {
    fn bit(&mut self, bit: bool) {
        if self.free == 0 {
            self.bytes.push(0);
            self.free = 8;
        }
        self.free -= 1;
        if let Some(last) = self.bytes.last_mut() {
            *last |= u8::from(bit) << self.free;
        }
    }

    fn bits(&mut self, value: u32, count: u32) {
        for place in (0..count).rev() {
            self.bit(value >> place & 1 == 1);
        }
    }
}

struct Bits<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Bits<'_> {
    fn bit(&mut self) -> Option<bool> {
        let byte = self.bytes.get(self.at / 8)?;
        let bit = byte >> (7 - self.at % 8) & 1 == 1;
        self.at += 1;
        Some(bit)
    }

    fn bits(&mut self, count: u32) -> Option<u32> {
        (0..count).try_fold(0, |value, _| Some(value << 1 | u32::from(self.bit()?)))
    }
}

/// The cells of a grid as bits.
pub(super) fn pack(cells: &[u16], sides: [usize; 3]) -> Vec<u8> {
    let grid = Grid { sides };
    let (mut rice, mut last, mut out) = (Rice::new(), 0, Writer::default());
    for (place, cell) in cells.iter().enumerate() {
        out.bit(*cell != 0);
        if *cell == 0 {
            continue;
        }
        let at = position(place, sides);
        let miss = i32::from(*cell) - grid.foretold(cells, at, last);
        let value = (miss << 1 ^ miss >> 31) as u32;
        let low = rice.parameter();
        let ones = (value >> low).min(ESCAPE);
        (0..ones).for_each(|_| out.bit(true));
        if ones == ESCAPE {
            out.bits(value, 18);
        } else {
            out.bit(false);
            out.bits(value & ((1 << low) - 1), low);
        }
        rice.meet(value);
        last = *cell;
    }
    out.bytes
}

/// The cells that [`pack`] made bits of; `None` where the bits end early or leave the range of cells.
pub(super) fn unpack(bytes: &[u8], sides: [usize; 3]) -> Option<Vec<u16>> {
    let grid = Grid { sides };
    let mut cells = vec![0_u16; sides.iter().product()];
    let (mut rice, mut last, mut bits) = (Rice::new(), 0, Bits { bytes, at: 0 });
    for place in 0..cells.len() {
        if !bits.bit()? {
            continue;
        }
        let mut ones = 0;
        while ones < ESCAPE && bits.bit()? {
            ones += 1;
        }
        let low = rice.parameter();
        let value = if ones == ESCAPE {
            bits.bits(18)?
        } else {
            ones << low | bits.bits(low)?
        };
        let miss = (value >> 1) as i32 ^ -((value & 1) as i32);
        let cell = grid.foretold(&cells, position(place, sides), last) + miss;
        last = u16::try_from(cell).ok().filter(|cell| *cell != 0)?;
        cells[place] = last;
        rice.meet(value);
    }
    Some(cells)
}

fn position(place: usize, [_, second, third]: [usize; 3]) -> [usize; 3] {
    [
        place / (second * third),
        place / third % second,
        place % third,
    ]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn unpacking_gives_what_was_packed(cells in proptest::collection::vec(
            prop_oneof![Just(0_u16), 1..=u16::MAX, 20_000_u16..20_100], 24)) {
            let sides = [2, 3, 4];
            prop_assert_eq!(unpack(&pack(&cells, sides), sides), Some(cells));
        }
    }

    #[test]
    fn bits_that_end_early_are_no_cells() {
        let cells: Vec<u16> = (0..60).map(|cell| 20_000 + 37 * cell % 900).collect();
        let packed = pack(&cells, [3, 4, 5]);
        assert_eq!(unpack(&packed[..packed.len() - 2], [3, 4, 5]), None);
    }

    #[test]
    fn a_plane_needs_two_bits_a_cell() {
        // ln T = a + b i + c j + d k is foretold exactly behind the edges: one bit for measured, one or two of Rice.
        let sides = [20, 20, 20];
        let cells: Vec<u16> = (0..8000)
            .map(|place| position(place, sides))
            .map(|[i, j, k]| (10_000 + 700 * i + 300 * j + 90 * k) as u16)
            .collect();
        assert!(pack(&cells, sides).len() < 8000 * 3 / 8);
    }
}
