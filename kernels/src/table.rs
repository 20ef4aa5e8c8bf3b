//! One measured table: the residual of any shape, from the measurement itself or its neighbours.
//!
//! ```text
//! ln T(shape) = ln base(shape, GPU) + residual(shape)
//! exact cell ─▶ its residual │ inside ─▶ kriging │ beyond ─▶ mean of the 6 nearest, base moves
//! ```
//! Guarantees: an answer never uses a cell that [`Exclude`] names.

use std::sync::OnceLock;

use topologies::{DType, Gpu, gpu};

use crate::attention;
use crate::attention_kernel::AttentionKernel;
use crate::chip::Chip;
use crate::constants::{self, Constants};
use crate::field::{Estimate, Field, Point, Search};
use crate::gemm;
use crate::store::{Kind, Mask, PackedTable, StoredTable};

/// Which measurements a prediction may not use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exclude {
    /// Uses all.
    Nothing,
    /// Leaves out the shape itself.
    This,
    /// Leaves out every shape with the same coordinate on this axis, or one that differs by 1 (a twin
    /// such as m + 1): 0 is m or batch x heads, 1 is n or length, 2 is k.
    Line(usize),
    /// Leaves out the lines of every axis: the shape is then off the grid in all of them.
    Lines,
}

/// The shape of an operation that has tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Shape {
    Gemm(gemm::Shape),
    Attention(attention::Shape),
}

impl Shape {
    pub(crate) fn point(self) -> [Point; 3] {
        match self {
            Self::Gemm(shape) => shape.point(),
            Self::Attention(shape) => shape.point(),
        }
    }
}

/// A table's physical base.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Physics {
    Gemm(gemm::Base),
    Attention(attention::Base),
}

/// How a residual was found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Found {
    /// The shape is measured.
    Exact,
    /// Between measured shapes.
    Between(Estimate),
    /// Outside the range of measured shapes.
    Beyond,
}

/// A residual (natural logarithm) and how it was found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Residual {
    pub value: f64,
    pub found: Found,
}

/// A measured table, ready to answer.
pub(crate) struct Table {
    pub kind: Kind,
    pub system: String,
    pub software: String,
    pub kernel: String,
    /// The attention kernel that this name means.
    pub attention: Option<AttentionKernel>,
    pub dtype: DType,
    /// The GPU that was measured.
    pub gpu: Gpu,
    /// Its figures.
    pub chip: Chip,
    pub physics: Physics,
    /// Half-width of the interval beyond the measured shapes.
    pub beyond: f64,
    /// The cells until somebody asks, then the field.
    cells: Cells,
    grid: OnceLock<Grid>,
    /// Shapes' coordinates: (m, n, k), or ((batch, heads), length, nothing).
    axes: [Vec<(u32, u32)>; 3],
    /// Lowest and highest coordinate of each axis, first component.
    range: [(f64, f64); 3],
}

/// Where the cells come from.
enum Cells {
    Whole(StoredTable),
    Packed(PackedTable),
}

/// What was measured, ready to answer.
struct Grid {
    field: Field,
    fastest_us: f64,
}

impl Table {
    /// # Panics
    /// If the table's system has no datasheet or no constants: the builder's systems all have both.
    pub(crate) fn new(packed: PackedTable) -> Self {
        let stored = &packed.head;
        let gpu = gpu::find(&stored.system).expect("every measured system is a known GPU");
        let known = constants::of(&stored.system, stored.dtype, stored.kind);
        let known = known.expect("every measured table has fitted constants");
        Self::made(gpu.clone(), known, Cells::Packed(packed))
    }

    /// A table measured on `gpu`, with the base of a kernel that is like its own.
    pub(crate) fn on(gpu: Gpu, constants: Constants, stored: StoredTable) -> Self {
        Self::made(gpu, constants, Cells::Whole(stored))
    }

    fn made(gpu: Gpu, constants: Constants, cells: Cells) -> Self {
        let stored = match &cells {
            Cells::Whole(stored) => stored,
            Cells::Packed(packed) => &packed.head,
        };
        let axes = axes(stored);
        let points = points(stored.kind, &axes);
        let range = std::array::from_fn(|axis: usize| {
            let values = || points[axis].iter().map(|point| point[0]);
            (
                values().fold(f64::INFINITY, f64::min),
                values().fold(f64::NEG_INFINITY, f64::max),
            )
        });
        Self {
            kind: stored.kind,
            system: stored.system.clone(),
            software: stored.software.clone(),
            attention: AttentionKernel::named(&stored.kernel, gpu.architecture).ok(),
            kernel: stored.kernel.clone(),
            dtype: stored.dtype,
            chip: Chip::of(&gpu),
            gpu,
            physics: constants.physics,
            beyond: constants.beyond,
            cells,
            grid: OnceLock::new(),
            axes,
            range,
        }
    }

    /// # Panics
    /// If nothing was measured, or a file with the right checksum holds cells that no builder writes.
    fn grid(&self) -> &Grid {
        self.grid.get_or_init(|| {
            let unpacked;
            let (stored, cells) = match &self.cells {
                Cells::Whole(stored) => (stored, &stored.cells),
                Cells::Packed(packed) => {
                    unpacked = packed.cells().expect("the checksum of the file was right");
                    (&packed.head, &unpacked)
                }
            };
            let least = cells.iter().copied().filter(|cell| *cell != 0).min();
            let fastest = least.and_then(crate::store::ln_us_of);
            let points = points(self.kind, &self.axes);
            let field = match self.kind {
                Kind::Gemm => Field::new(points, cells.clone(), &gemm::LAW),
                Kind::Attention { .. } => {
                    Field::new(points, regrouped(&stored.axes, cells), &attention::LAW)
                }
            };
            Grid {
                field,
                fastest_us: fastest.expect("a table has a measurement").exp(),
            }
        })
    }

    fn field(&self) -> &Field {
        &self.grid().field
    }

    /// The shortest measured time, microseconds.
    pub(crate) fn fastest_us(&self) -> f64 {
        self.grid().fastest_us
    }

    /// The base's microseconds for `shape` on `chip`; `None` where the chip has no such peak.
    pub(crate) fn base_us(&self, chip: &Chip, shape: Shape) -> Option<f64> {
        let peak = chip.peak(self.dtype)?;
        Some(self.base_at(chip, peak, shape))
    }

    /// The base's microseconds with a given tensor peak (FLOP per microsecond).
    pub(crate) fn base_at(&self, chip: &Chip, peak: f64, shape: Shape) -> f64 {
        match (self.physics, shape, self.kind) {
            (Physics::Gemm(base), Shape::Gemm(shape), _) => base.us(chip, peak, self.dtype, shape),
            (Physics::Attention(base), Shape::Attention(shape), Kind::Attention { mask, .. }) => {
                base.us(chip, peak, mask, shape)
            }
            _ => unreachable!("a table is asked for shapes of its own kind"),
        }
    }

    /// The shape measured at a cell.
    fn shape_at(&self, at: [usize; 3]) -> Shape {
        let [first, second, third] = std::array::from_fn(|axis| self.axes[axis][at[axis]]);
        match self.kind {
            Kind::Gemm => Shape::Gemm(gemm::Shape {
                m: first.0.into(),
                n: second.0.into(),
                k: third.0.into(),
            }),
            Kind::Attention { head_dim, .. } => Shape::Attention(attention::Shape {
                batch: first.0.into(),
                heads: first.1.into(),
                queries: second.0.into(),
                keys: second.0.into(),
                head_dim: head_dim.into(),
            }),
        }
    }

    /// What was measured at a cell, less the base.
    fn residual_at(&self, at: [usize; 3]) -> f64 {
        let measured = self
            .field()
            .ln_us(at)
            .expect("neighbours are measured cells");
        let base = self
            .base_us(&self.chip, self.shape_at(at))
            .expect("a measured GPU has a peak for the measured number format");
        measured - base.ln()
    }

    /// The residual of `shape`.
    pub(crate) fn residual(&self, shape: Shape, exclude: Exclude) -> Residual {
        let query = shape.point();
        let own = self.field().cell(&query);
        if let (Some(at), Exclude::Nothing) = (own, exclude)
            && self.field().ln_us(at).is_some()
        {
            return Residual {
                value: self.residual_at(at),
                found: Found::Exact,
            };
        }
        let skip = |at: [usize; 3]| match exclude {
            Exclude::Nothing => false,
            Exclude::This => Some(at) == own,
            Exclude::Line(axis) => self.shares_line(axis, at, &query),
            Exclude::Lines => (0..3).any(|axis| self.shares_line(axis, at, &query)),
        };
        let search = match exclude {
            Exclude::Line(0 | 1) | Exclude::Lines => Search::Wide,
            _ if self.field().on_axis(0, &query) && self.field().on_axis(1, &query) => {
                Search::Narrow
            }
            _ => Search::Wide,
        };
        if self.covers(shape)
            && let Some(estimate) =
                self.field()
                    .estimate(&query, search, |at| self.residual_at(at), skip)
        {
            return Residual {
                value: estimate.mean,
                found: Found::Between(estimate),
            };
        }
        let near = self.field().nearest(&query, Search::Narrow, 6, skip);
        let sum: f64 = near.iter().map(|n| self.residual_at(n.at)).sum();
        Residual {
            value: sum / near.len().max(1) as f64,
            found: Found::Beyond,
        }
    }

    /// Whether `shape` lies within the range of the measured shapes on every axis.
    pub(crate) fn covers(&self, shape: Shape) -> bool {
        let query = shape.point();
        (0..3).all(|axis| {
            let (low, high) = self.range[axis];
            (low..=high).contains(&query[axis][0])
        })
    }

    /// Whether a cell lies on the line of `query` on an axis, or on that of a twin.
    fn shares_line(&self, axis: usize, at: [usize; 3], query: &[Point; 3]) -> bool {
        let (first, second) = self.axes[axis][at[axis]];
        let cell = match (self.kind, axis) {
            (Kind::Attention { .. }, 0) => f64::from(first) * f64::from(second),
            (Kind::Attention { .. }, 2) => return false,
            _ => f64::from(first),
        };
        (cell - query[axis][0].exp2()).abs() < 1.5
    }

    /// Octaves that `shape` lies outside the measured range, on its worst axis.
    pub(crate) fn octaves_beyond(&self, shape: Shape) -> f64 {
        let query = shape.point();
        (0..3)
            .map(|axis| {
                let (low, high) = self.range[axis];
                (low - query[axis][0]).max(query[axis][0] - high).max(0.0)
            })
            .fold(0.0, f64::max)
    }

    /// Whether the table has so few shapes (A100: 5,567) that gaps hide more.
    pub(crate) fn is_sparse(&self) -> bool {
        self.axes[0].len() < 20
    }

    /// Interpolation of ln T in the logarithms of the sizes, in microseconds: the naive baseline.
    ///
    /// Off the grid trilinear between the corners that are measured. A measured shape is left out:
    /// the mean of the straight lines through its neighbours on each axis. `None` beyond the grid.
    pub(crate) fn log_log_us(&self, shape: Shape) -> Option<f64> {
        let query = shape.point();
        let own = self
            .field()
            .cell(&query)
            .filter(|at| self.field().ln_us(*at).is_some());
        let around = |axis: usize| self.field().bracket(axis, query[axis][0], own.is_some());
        let mean = match own {
            None => self.field().weighted([around(0), around(1), around(2)]),
            Some(at) => {
                let line = |axis: usize| {
                    let mut brackets = at.map(|index| vec![(index, 1.0)]);
                    brackets[axis] = around(axis);
                    let alone = brackets[axis].len() < 2;
                    (!alone).then(|| self.field().weighted(brackets)).flatten()
                };
                let lines: Vec<f64> = (0..3).filter_map(line).collect();
                (!lines.is_empty()).then(|| lines.iter().sum::<f64>() / lines.len() as f64)
            }
        };
        mean.map(f64::exp)
    }

    /// Every measured shape and its microseconds.
    pub(crate) fn measured(&self) -> impl Iterator<Item = (Shape, f64)> {
        self.field()
            .measured()
            .map(|(at, ln)| (self.shape_at(at), ln.exp()))
    }

    /// The mask of an attention table.
    pub(crate) fn mask(&self) -> Mask {
        match self.kind {
            Kind::Attention { mask, .. } => mask,
            Kind::Gemm => Mask::Full,
        }
    }
}

/// Coordinates of each axis: (m, 0), (n, 0), (k, 0); or (batch, heads), (length, 0), nothing.
fn axes(stored: &StoredTable) -> [Vec<(u32, u32)>; 3] {
    let single = |axis: &Vec<u32>| axis.iter().map(|value| (*value, 0)).collect();
    match stored.kind {
        Kind::Gemm => std::array::from_fn(|at| single(&stored.axes[at])),
        Kind::Attention { .. } => {
            let [batches, lengths, heads] = &stored.axes;
            let of = |batch: &u32| {
                let batch = *batch;
                heads.iter().map(move |head| (batch, *head))
            };
            let pairs = batches.iter().flat_map(of).collect();
            [pairs, single(lengths), vec![(0, 0)]]
        }
    }
}

/// The axes in octaves.
fn points(kind: Kind, axes: &[Vec<(u32, u32)>; 3]) -> [Vec<Point>; 3] {
    let octaves = |value: u32| f64::from(value).log2();
    let single =
        |axis: &[(u32, u32)]| -> Vec<Point> { axis.iter().map(|v| [octaves(v.0), 0.0]).collect() };
    match kind {
        Kind::Gemm => std::array::from_fn(|at| single(&axes[at])),
        Kind::Attention { .. } => {
            let pair = |(batch, head): &(u32, u32)| {
                let both = (f64::from(*batch) * f64::from(*head)).log2();
                [both, octaves(*batch)]
            };
            let pairs = axes[0].iter().map(pair).collect();
            [pairs, single(&axes[1]), vec![[0.0, 0.0]]]
        }
    }
}

/// Cells of (batch, length, heads) as those of ((batch, heads), length, nothing).
fn regrouped([batches, lengths, heads]: &[Vec<u32>; 3], cells: &[u16]) -> Vec<u16> {
    let mut grouped = Vec::with_capacity(cells.len());
    for b in 0..batches.len() {
        for h in 0..heads.len() {
            let column =
                (0..lengths.len()).map(|s| cells[(b * lengths.len() + s) * heads.len() + h]);
            grouped.extend(column);
        }
    }
    grouped
}
