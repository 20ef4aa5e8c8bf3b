//! Activations made from a hash: the same on every machine.

use crate::wire::{Half, Shape};

/// What the activations of a check are like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Rows and channels of unequal size, some of them all zero; half of it is new at each step.
    Uneven,
    /// The second step equals the first: residuals of 0, or of the base's own rounding.
    Still,
    /// As large as the format holds, with opposite signs.
    Huge,
    /// Near the least numbers of the format.
    Tiny,
}

impl Kind {
    pub(super) const ALL: [Self; 4] = [Self::Uneven, Self::Still, Self::Huge, Self::Tiny];

    /// The activation of a step, bit patterns in row-major order.
    pub(super) fn activation(self, half: Half, shape: Shape, step: u64) -> Vec<u16> {
        let values: Vec<f32> = (0..shape.elements())
            .map(|n| self.value(half, shape, n, step))
            .collect();
        let mut bits = vec![0; values.len()];
        half.narrow(&values, &mut bits);
        bits
    }

    fn value(self, half: Half, shape: Shape, n: usize, step: u64) -> f32 {
        let (row, channel) = (n / shape.channels(), n % shape.channels());
        let uneven = |step: u64| {
            let noise = uniform(n as u64, step) + uniform(n as u64, step + 100) - 1.0;
            let by_row = if row % 11 == 7 {
                0.0
            } else {
                0.25 + (row % 5) as f32
            };
            let by_channel = if channel % 23 == 5 {
                0.0
            } else {
                0.1 + (channel % 7) as f32
            };
            noise * by_row * by_channel
        };
        let kept = uneven(0);
        match self {
            Self::Uneven => 0.7 * kept + 0.3 * uneven(1 + step),
            Self::Still => kept,
            Self::Huge => {
                let most = if half == Half::F16 { 65504.0 } else { 3.0e38 };
                let sign = if uniform(n as u64, step) < 0.5 {
                    -1.0
                } else {
                    1.0
                };
                sign * most
                    * if n.is_multiple_of(3) {
                        1.0
                    } else {
                        uniform(n as u64, 9)
                    }
            }
            Self::Tiny => {
                let least = if half == Half::F16 { 1e-6 } else { 1e-39 };
                uneven(step) * least
            }
        }
    }
}

/// A number in (0, 1): splitmix64.
fn uniform(n: u64, seed: u64) -> f32 {
    let z = n
        .wrapping_add(seed << 40)
        .wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    (((z ^ (z >> 31)) >> 40) as f32 + 0.5) / (1u64 << 24) as f32
}

/// Little-endian bytes of bit patterns.
pub(super) fn bytes_of(bits: &[u16]) -> Vec<u8> {
    bits.iter().flat_map(|bits| bits.to_le_bytes()).collect()
}

/// Bit patterns of little-endian bytes.
pub(super) fn bits_of(bytes: &[u8]) -> Vec<u16> {
    let pairs = bytes.chunks_exact(2);
    pairs
        .map(|pair| u16::from_le_bytes([pair[0], pair[1]]))
        .collect()
}
