//! How far two rows of charts share what the physical base misses.
//!
//! ```text
//! covariance = same GPU (or chip)             its real clock and power
//!            + same kernel, same chip line    what the two numbers of its class miss
//!            + same kernel, same GPU          both, by width and mask
//!            + same mask, by length           waves, and how a kernel orders its CTAs
//! ```
//! Variances are of natural logarithms. Chosen so that intervals hold on charts left out:
//! docs/validation.md has the shares.

use crate::charts::Case;
use crate::kinship::{self, Kinship};

/// Two measurements of one thing: rounding of printed labels, clocks from run to run.
pub(super) const NUGGET: f64 = 0.02 * 0.02;
const GPU: f64 = 0.13 * 0.13;
/// Of another GPU with the same chip.
const TWIN: f64 = 0.3;
const LINE: f64 = 0.08 * 0.08;
const BOTH: f64 = 0.10 * 0.10;
/// What other widths of head, other masks share of the last two.
const WIDTH: f64 = 0.6;
const MASK: f64 = 0.5;
/// Attention of 512 tokens; this part falls with the length.
const SHORT: f64 = 0.10 * 0.10;

/// The covariance of two rows' residuals.
pub(super) fn covariance(a: &Case<'_>, b: &Case<'_>) -> f64 {
    let kernel = a.kernel == b.kernel;
    let gpu = a.gpu.name == b.gpu.name;
    let width = if a.shape.head_dim == b.shape.head_dim {
        1.0
    } else {
        WIDTH
    };
    let mask = if a.mask == b.mask { 1.0 } else { MASK };
    let mut sum = 0.0;
    if gpu {
        sum += GPU;
    } else if Kinship::of(a.gpu, b.gpu) <= Kinship::SameChip {
        sum += GPU * TWIN;
    }
    if kernel && kinship::chip_line(a.gpu) == kinship::chip_line(b.gpu) {
        sum += LINE * width;
    }
    if kernel && gpu {
        sum += BOTH * width * mask;
    }
    if a.mask == b.mask {
        let octaves = |case: &Case<'_>| (case.shape.keys.max(512) as f64 / 512.0).log2();
        let (one, other) = (octaves(a), octaves(b));
        let like = if kernel { 1.0 } else { 0.3 } * if gpu { 1.0 } else { 0.5 };
        sum += SHORT * like * (-(one - other).abs() - 0.35 * (one + other)).exp();
    }
    sum
}

/// Half-width of the 90 % interval of a time whose logarithm has this variance, and the nugget's.
pub(super) fn half_width(variance: f64) -> f64 {
    // A printed label is one run: another's tails are wider than the nugget that weighs them.
    let variance = variance + 2.5 * NUGGET;
    (1.645 * variance.sqrt()).exp_m1().min(0.9)
}
