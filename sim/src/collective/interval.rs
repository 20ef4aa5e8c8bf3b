//! Widths of the 90 % intervals of collective times, by how the time was reached.
//!
//! w is the 90th percentile of max(predicted/measured, measured/predicted) - 1 over hold-outs of
//! the built-in table (`evaluate`), by fabric and size class; the PCIe columns are wider because
//! PCIe boxes differ. The widths are thus fitted to the rows that their coverage is reported on.
//! Where a rule could not be held out: PCIe datasheet x/÷ 2 (docs/calibration.md section 11); ring pass,
//! the gap to Vidur's lines (A100 8 us + 230 GB/s, H100 5 us + 350 GB/s), up to 2.3 times at 1 MiB;
//! sister system, two thirds wider than H100 against H200, the one pair that was measured.
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
    /// From a system of the same NVLink generation.
    Sister,
    /// From a system of another NVLink generation.
    Generation,
    /// From two measured times and another system's shape.
    Anchored,
    /// From the datasheet of a PCIe card.
    PcieDatasheet,
    /// A hop of a ring from an all-to-all.
    RingPass,
}

/// Whose errors a width is taken from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Family {
    /// NVLink systems.
    NvLink,
    /// PCIe systems.
    Pcie,
    /// The one machine with faulty links.
    Broken,
}

impl Family {
    /// The family of links of this kind.
    pub(super) const fn of(fabric: Fabric) -> Self {
        match fabric {
            Fabric::NvLink(_) => Self::NvLink,
            Fabric::Pcie(_) => Self::Pcie,
        }
    }
}

/// Widths for NVLink (below 64 KiB, below 16 MiB, above), PCIe, the broken machine.
const fn widths(how: How) -> [f64; 9] {
    match how {
        How::Exact => [0.08, 0.06, 0.03, 0.10, 0.08, 0.06, 0.20, 0.10, 0.15],
        How::Twin => [0.15, 0.10, 0.05, 0.15, 0.12, 0.08, 0.30, 0.20, 0.20],
        How::Sizes => [0.14, 0.15, 0.08, 0.15, 0.23, 0.04, 0.22, 0.26, 0.06],
        How::Version => [0.32, 0.33, 0.06, 0.43, 0.40, 0.20, 0.50, 0.50, 0.50],
        How::RanksInside => [0.16, 0.22, 0.22, 0.25, 0.25, 0.25, 0.40, 0.40, 0.40],
        How::RanksBeyond => [0.20, 0.30, 0.30, 0.35, 0.50, 0.55, 0.50, 3.5, 3.5],
        How::Operation => [0.22, 0.27, 0.13, 0.30, 0.36, 0.25, 0.50, 0.30, 0.36],
        How::Sister => [0.30, 0.30, 0.15, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0],
        How::Generation => [0.80, 0.75, 0.40, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0],
        How::Anchored => [0.22, 0.20, 0.13, 0.45, 0.43, 0.36, 0.75, 0.45, 0.45],
        How::PcieDatasheet => [1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0],
        How::RingPass => [0.50, 1.0, 0.45, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0],
    }
}

/// The width of a time reached in the way `how`.
pub(super) const fn width(how: How, family: Family, size: Bytes) -> f64 {
    widths(how)[family as usize * 3 + size_class(size)]
}

/// The width of an empty cell filled from around it, whose candidates span a factor e^`spread`.
pub(super) fn filled(family: Family, size: Bytes, spread: f64) -> f64 {
    let (floor, slope) = FILLED[family as usize * 3 + size_class(size)];
    floor + slope * spread
}

/// Floor and slope on the spread, in the order of [`widths`].
const FILLED: [(f64, f64); 9] = [
    (0.03, 0.9),
    (0.02, 0.8),
    (0.005, 0.6),
    (0.035, 0.9),
    (0.015, 0.7),
    (0.006, 0.6),
    (0.06, 1.0),
    (0.025, 0.9),
    (0.012, 0.8),
];

const fn size_class(size: Bytes) -> usize {
    match size.get() {
        0..65_536 => 0,
        65_536..16_777_216 => 1,
        _ => 2,
    }
}
