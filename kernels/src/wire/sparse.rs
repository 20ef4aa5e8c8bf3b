//! `sparse(1:M)`: of each block of M channels the value of largest magnitude, and its position.
//!
//! A message is the values (fp16) of all blocks of all rows, then their 4-bit positions. The first
//! of equal magnitudes wins; all others decode to 0.

use super::float16::{narrow_f16, widen_f16};
use super::nibbles;
use super::rows::RowFormat;

/// Blocks of at most 16 consecutive channels of a row; the last of a row may be short.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sparse {
    pub block: usize,
}

impl Sparse {
    fn blocks(self, channels: usize) -> usize {
        channels.div_ceil(self.block)
    }
}

/// The position of the value of largest magnitude.
fn largest(block: &[f32]) -> usize {
    let mut best = 0;
    for (position, value) in block.iter().enumerate() {
        if value.abs() > block[best].abs() {
            best = position;
        }
    }
    best
}

impl RowFormat for Sparse {
    fn code_bytes(&self, channels: usize) -> usize {
        2 * self.blocks(channels)
    }

    fn side_bytes(&self, channels: usize, rows: usize) -> usize {
        (rows * self.blocks(channels)).div_ceil(2)
    }

    fn encode(&self, channels: usize, residual: &mut [f32], codes: &mut [u8], side: &mut [u8]) {
        let blocks = residual
            .chunks(channels)
            .flat_map(|row| row.chunks(self.block));
        let positions = blocks.zip(codes.chunks_exact_mut(2)).map(|(block, code)| {
            let position = largest(block);
            code.copy_from_slice(&narrow_f16(block[position]).to_le_bytes());
            position as u8
        });
        nibbles::pack(positions, side);
    }

    fn decode(&self, channels: usize, codes: &[u8], side: &[u8], out: &mut [f32]) {
        out.fill(0.0);
        let blocks = out
            .chunks_mut(channels)
            .flat_map(|row| row.chunks_mut(self.block));
        for (n, (block, code)) in blocks.zip(codes.chunks_exact(2)).enumerate() {
            // A position beyond a short last block is one that no sender writes: it is dropped.
            if let Some(value) = block.get_mut(usize::from(nibbles::read(side, n))) {
                *value = widen_f16(u16::from_le_bytes([code[0], code[1]]));
            }
        }
    }
}
