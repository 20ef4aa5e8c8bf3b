//! Widths of the 90 % intervals of collective times, by how the time was reached.
//!
//! w is the 90th percentile of max(predicted/measured, measured/predicted) - 1 over hold-outs of
//! the built-in table (`evaluate`), by fabric and size class; the PCIe columns are wider because
//! PCIe boxes differ. Where a rule could not be held out (PCIe datasheet, ring pass) the width is
//! that of reference/cost-models.md.
//!
//! Not modelled: asymmetry of the error.

use topologies::Bytes;

use super::systems::Fabric;

/// How a time was reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum How {
    /// The measured cell.
    Exact,
    /// The other element type's time.
    Twin,
    /// Between or beyond measured sizes.
    Sizes,
    /// Another NCCL version.
    Version,
    /// Between measured rank counts.
    RanksInside,
    /// Beyond measured rank counts.
    RanksBeyond,
    /// From other operations.
    Operation,
    /// From a system of the same architecture.
    Sister,
    /// From a system of another architecture.
    Generation,
    /// From two measured times and another system's shape.
    Anchored,
    /// From the datasheet of a PCIe card.
    PcieDatasheet,
    /// A hop of a ring from an all-to-all.
    RingPass,
}

/// Widths for NVLink (below 64 KiB, below 16 MiB, above), then for PCIe.
const fn widths(how: How) -> [f64; 6] {
    match how {
        How::Exact => [0.08, 0.06, 0.03, 0.10, 0.08, 0.06],
        How::Twin => [0.15, 0.10, 0.05, 0.15, 0.12, 0.08],
        How::Sizes => [0.15, 0.15, 0.05, 0.25, 0.25, 0.08],
        How::Version => [0.35, 0.25, 0.06, 0.35, 0.35, 0.15],
        How::RanksInside => [0.20, 0.20, 0.10, 0.25, 0.25, 0.20],
        How::RanksBeyond => [0.30, 0.30, 0.15, 0.50, 0.50, 0.50],
        How::Operation => [0.30, 0.30, 0.30, 0.35, 0.40, 0.40],
        How::Sister => [0.20, 0.20, 0.10, 1.0, 1.0, 1.0],
        How::Generation => [1.0, 0.60, 0.30, 1.0, 1.0, 1.0],
        How::Anchored => [0.20, 0.25, 0.15, 0.35, 0.45, 0.35],
        How::PcieDatasheet => [1.0, 1.0, 1.0, 1.0, 1.0, 1.0],
        How::RingPass => [0.30, 0.30, 0.25, 0.60, 0.60, 0.60],
    }
}

/// The width of a time reached in the way `how`.
pub(super) fn width(how: How, fabric: Fabric, size: Bytes) -> f64 {
    let class = match fabric {
        Fabric::NvLink(_) => 0,
        Fabric::Pcie(_) => 3,
    };
    widths(how)[class + size_class(size)]
}

/// The width of an empty cell filled from around it, whose candidates span a factor e^`spread`.
pub(super) fn filled(fabric: Fabric, broken: bool, size: Bytes, spread: f64) -> f64 {
    let class = match (fabric, broken) {
        (Fabric::NvLink(_), _) => 0,
        (Fabric::Pcie(_), false) => 3,
        (Fabric::Pcie(_), true) => 6,
    };
    let (floor, slope) = FILLED[class + size_class(size)];
    floor + slope * spread
}

/// Floor and slope on the spread, as in [`widths`], then for the broken machine.
const FILLED: [(f64, f64); 9] = [
    (0.03, 1.0),
    (0.03, 1.0),
    (0.01, 1.0),
    (0.03, 1.0),
    (0.03, 1.0),
    (0.01, 1.0),
    (0.03, 1.0),
    (0.03, 1.0),
    (0.03, 1.0),
];

const fn size_class(size: Bytes) -> usize {
    match size.get() {
        0..65_536 => 0,
        65_536..16_777_216 => 1,
        _ => 2,
    }
}
