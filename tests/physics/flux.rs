//! FLUX.1 at 1024 x 1024 by hand: 19 double and 38 single blocks over 4096 image and 512 text tokens of 3072 channels.
//!
//! Matrix products, FLOPs: 24 d^2 a token and block; beside them, whatever the split of the sequence, 24 d^2 a double
//! block and 6 d^2 a single one for modulation. Attention: 4 S^2 d a block.

use super::Done;

pub(super) const D: u64 = 3072;
pub(super) const IMAGE: u64 = 4096;
pub(super) const TEXT: u64 = 512;
pub(super) const S: u64 = IMAGE + TEXT;
pub(super) const DOUBLE: u64 = 19;
pub(super) const SINGLE: u64 = 38;
pub(super) const K: u64 = DOUBLE + SINGLE;
/// Bytes of a full activation.
pub(super) const A: u64 = S * D * 2;
/// Memory-bound passes over a block's activation (docs/calibration.md section 2).
pub(super) const PASSES: u64 = 91;
/// Passes of merging a partial output of a raw ring, in single precision (the same place).
pub(super) const MERGE_PASSES: u64 = 7;

/// FLOPs of `blocks` blocks' products over tokens.
pub(super) fn on_tokens(blocks: u64, tokens: u64) -> u64 {
    blocks * 24 * D * D * tokens
}

/// FLOPs of the modulation of double and single blocks.
pub(super) fn modulation(double: u64, single: u64) -> u64 {
    double * 24 * D * D + single * 6 * D * D
}

/// FLOPs before the first block: patches of 64 values, text of 4096; time, guidance and pooled text.
pub(super) fn head(image: u64, text: u64) -> u64 {
    2 * D * (64 * image + 4096 * text) + 2 * 2 * (256 * D + D * D) + 2 * (768 * D + D * D)
}

/// FLOPs after the last block: modulation, and 64 values a token.
pub(super) fn tail(image: u64) -> u64 {
    2 * (2 * D * D + 64 * D * image)
}

/// What one GPU does alone in a step.
pub(super) fn whole() -> Done {
    Done {
        linear: on_tokens(K, S) + modulation(DOUBLE, SINGLE) + head(IMAGE, TEXT) + tail(IMAGE),
        attention: K * 4 * S * S * D,
        elementwise: K * PASSES * A,
        attentions: K,
        ..Done::default()
    }
}

/// What a rank does whose part of the sequence is one of `n`.
pub(super) fn shard(n: u64) -> Done {
    Done {
        linear: on_tokens(K, S / n)
            + modulation(DOUBLE, SINGLE)
            + head(IMAGE / n, TEXT / n)
            + tail(IMAGE / n),
        attention: whole().attention / n,
        elementwise: whole().elementwise / n,
        ..whole()
    }
}
