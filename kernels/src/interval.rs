//! Half-widths of 90 % intervals for a GPU's own tables.
//!
//! ```text
//! between: sqrt((2 scatter + .005)^2 + c^2 max(spread^2 - s0^2, 0))
//! ```
//! `scatter` is how far the neighbours contradict each other, so a jumpy region (B200 fp8, L40S
//! bf16) widens its own interval; `spread` is the kriging deviation, s0 that of a shape whose
//! neighbours on all axes are measured. Calibrated by hold-out over all rows:
//!
//! | rows held out | GEMM bf16 | fp8 | attention full | causal |
//! |---|---|---|---|---|
//! | the row | 94 % inside | 95 | 94 | 96 |
//! | its m, or batch x heads | 96 | 91 | 97 | 96 |
//! | its n, or length | 95 | 94 | 91 | 92 |
//! | its m, n and k, or both | 96 | 92 | 97 | 94 |
//!
//! Beyond the table: the p90 of held-out larger sizes, and 5 points for each octave past two.
//!
//! Not modelled: one-sided errors (kernel switches make times longer more often than shorter).

use crate::store::{Kind, Mask};
use crate::table::{Found, Residual, Shape, Table};

/// Noise of one measurement: two GPUs with one chip differ by this much in one row of ten.
const GEMM_NOISE: f64 = 0.06;
const ATTENTION_NOISE: f64 = 0.04;
/// What an octave beyond the second adds.
const PER_OCTAVE: f64 = 0.05;

/// Half-width of the interval around a time that `table` gives for its own GPU.
pub(crate) fn half_width(table: &Table, residual: &Residual, shape: Shape) -> f64 {
    match residual.found {
        Found::Exact => match table.kind {
            Kind::Gemm => GEMM_NOISE,
            Kind::Attention { .. } => ATTENTION_NOISE,
        },
        Found::Between(estimate) => {
            let (usual, per_spread) = match table.kind {
                Kind::Gemm if table.is_sparse() => (0.32, 0.15),
                Kind::Gemm => (0.32, 0.115),
                Kind::Attention { mask, .. } => match mask {
                    Mask::Full => (0.13, 0.28),
                    Mask::Causal => (0.13, 0.38),
                },
            };
            let unusual = (estimate.spread.powi(2) - f64::powi(usual, 2)).max(0.0);
            let near = 2.0 * estimate.scatter + 0.005;
            near.hypot(per_spread * unusual.sqrt()).min(0.9)
        }
        Found::Beyond => {
            let octaves = table.octaves_beyond(shape);
            (table.beyond + PER_OCTAVE * (octaves - 2.0).max(0.0)).min(0.9)
        }
    }
}
