//! One memory-bound kernel: what it takes by kind and GPU, as single kernels were measured.
//!
//! ```text
//! T = floor + bytes / (bandwidth x s),   s = share + (cached - share) / (1 + (bytes / 0.6 L2)^4)
//! ```
//! `tables/memory.csv` has a line for each measured (GPU, kind) with its source. A kind that was not measured on a GPU
//! takes the GPU's pointwise line, a GPU without lines those of its closest relative; both say so and widen the interval.
//!
//! Plans price memory-bound passes of a block together ([`crate::memory`]); this is what `validate --operations` asks.
//!
//! Not modelled: strides, uneven reductions, what an earlier kernel left in level 2.

use std::fmt;
use std::sync::OnceLock;

use topologies::{Gpu, SimDuration, gpu};

use crate::cost::Provenance;
use crate::kinship::Kinship;
use crate::predict::Prediction;

/// How a memory-bound kernel walks through its operands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MemoryKind {
    /// Each value once, a few operations on it: sums, products, copies.
    Pointwise,
    /// Each value once, an exponent or an error function of it: GELU, tanh.
    Function,
    /// Into one of its operands, or with one that is repeated.
    InPlace,
    /// Sums over an axis: norms, softmax, means.
    Reduction,
}

impl MemoryKind {
    const ALL: [Self; 4] = [
        Self::Pointwise,
        Self::Function,
        Self::InPlace,
        Self::Reduction,
    ];

    /// What files call it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pointwise => "pointwise",
            Self::Function => "function",
            Self::InPlace => "in-place",
            Self::Reduction => "reduction",
        }
    }

    /// The kind that a file calls `name`.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

impl fmt::Display for MemoryKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A memory-bound kernel.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MemoryRow<'a> {
    /// The GPU.
    pub gpu: &'a Gpu,
    /// The kind.
    pub kind: MemoryKind,
    /// Bytes read and written.
    pub bytes: u64,
}

/// A line of the file.
#[derive(Clone, Copy)]
struct Line {
    gpu: &'static Gpu,
    kind: MemoryKind,
    /// Microseconds of the smallest kernel.
    floor: f64,
    /// Share of the sheet's bandwidth from memory.
    share: f64,
    /// The same where level 2 holds the operands.
    cached: f64,
    half_width: f64,
}

/// Half-width added where the kind or the GPU was not measured.
const OTHER: f64 = 0.40;

fn lines() -> impl Iterator<Item = Line> {
    static LINES: OnceLock<Vec<Line>> = OnceLock::new();
    LINES.get_or_init(read).iter().copied()
}

fn read() -> Vec<Line> {
    let lines = include_str!("../tables/memory.csv").lines().skip(1);
    let line = |line: &str| {
        let cells: Vec<&str> = line.split(',').collect();
        let [floor, share, cached, half_width] = std::array::from_fn(|at| {
            let number = cells[at + 2].parse();
            number.expect("a test reads the memory lines that ship")
        });
        Line {
            gpu: gpu::find(cells[0]).expect("a test reads the memory lines that ship"),
            kind: MemoryKind::named(cells[1]).expect("a test reads the memory lines that ship"),
            floor,
            share,
            cached,
            half_width,
        }
    };
    lines.map(line).collect()
}

/// Microseconds of the smallest kernel on a GPU: its own pointwise line's, else its closest relative's.
pub(crate) fn floor_us(gpu: &Gpu) -> f64 {
    closest(gpu, MemoryKind::Pointwise).0.floor
}

/// The line that speaks for a kind on a GPU, and how the two GPUs are related.
fn closest(gpu: &Gpu, kind: MemoryKind) -> (Line, Kinship) {
    let related = lines().filter(|line| line.kind == kind || line.kind == MemoryKind::Pointwise);
    let related = related.map(|line| (line, Kinship::of(line.gpu, gpu)));
    let least = related.min_by_key(|(line, kinship)| (*kinship, line.kind != kind));
    least.expect("the file has pointwise lines")
}

/// What a memory-bound kernel takes.
pub(crate) fn predict(row: &MemoryRow) -> Prediction {
    let (line, kinship) = closest(row.gpu, row.kind);
    let bytes = row.bytes as f64;
    let held = (line.cached - line.share) / (1.0 + (bytes / (0.6 * row.gpu.l2.as_f64())).powi(4));
    let rate = row.gpu.memory_bandwidth.as_f64() / 1e6 * (line.share + held);
    let own = kinship <= Kinship::SameChip;
    let known = line.kind == row.kind;
    let mut half_width = line.half_width;
    for unknown in [!own, !known] {
        half_width = if unknown {
            half_width.hypot(OTHER)
        } else {
            half_width
        };
    }
    let whose = match own {
        true => "measured kernels".to_owned(),
        false => format!("{kinship:?} of {}", line.gpu.name),
    };
    let note = match known {
        true => format!("{whose}, {}", row.kind),
        false => format!("{whose}, {} is not measured: pointwise", row.kind),
    };
    Prediction {
        latency: SimDuration::from_us_f64(line.floor + bytes / rate),
        half_width: half_width.min(0.9),
        provenance: match (own, known) {
            (true, true) => Provenance::Interpolated,
            _ => Provenance::Borrowed,
        },
        note,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(gpu: &str, kind: MemoryKind, bytes: u64) -> Prediction {
        let gpu = gpu::find(gpu).unwrap();
        predict(&MemoryRow { gpu, kind, bytes })
    }

    #[test]
    fn every_line_is_read_and_stays_within_its_sheet() {
        for line in lines() {
            assert!(line.share <= 0.92, "{} {}", line.gpu.name, line.kind);
            assert!((1.0..10.0).contains(&line.floor) && line.cached >= line.share);
        }
    }

    #[test]
    fn a_kind_or_gpu_that_was_not_measured_says_so_and_is_wider() {
        let own = ask("MI300X", MemoryKind::Reduction, 1 << 26);
        assert_eq!(own.provenance, Provenance::Interpolated);
        let kind = ask("H100-SXM", MemoryKind::Function, 1 << 26);
        assert!(
            kind.note.contains("function is not measured"),
            "{}",
            kind.note
        );
        let gpu = ask("RTX4090", MemoryKind::Pointwise, 1 << 26);
        assert!(gpu.note.contains("of L40S"), "{}", gpu.note);
        assert!(kind.half_width > 0.45 && gpu.half_width > 0.45);
    }

    #[test]
    fn large_kernels_stream_at_their_share() {
        // 2.68 GB at .90 x 3.35 TB/s: 890 us and the floor.
        let large = ask("H100-SXM", MemoryKind::Pointwise, 2_680_000_000);
        assert!((large.latency.as_us_f64() - 890.7).abs() < 0.2);
    }
}
