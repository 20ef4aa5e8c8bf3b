//! Scattered measured points as the dense grids of tables.

use std::collections::BTreeMap;

use topologies::DType;

use super::{Measurements, Unmeasurable};
use crate::chip::Chip;
use crate::constants::{self, Constants};
use crate::on_gpu::nearest;
use crate::store::{Kind, Mask, StoredTable, code_of};
use crate::table::Table;
use crate::tables::Tables;

/// Coordinates and times of one table.
type Points = Vec<([u32; 3], f64)>;

pub(super) fn gemm_tables(
    measured: &Measurements,
    built_in: &Tables,
) -> Result<Vec<Table>, Unmeasurable> {
    let mut groups: BTreeMap<(DType, &str), Points> = BTreeMap::new();
    for point in &measured.gemm {
        check(&format!("a product {:?}", point.shape), point.us)?;
        let group = groups.entry((point.dtype, &point.kernel)).or_default();
        group.push((point.shape, point.us));
    }
    let table = |((dtype, kernel), points): ((DType, &str), Points)| {
        let known = constants::of(&measured.system, dtype, Kind::Gemm);
        let known = known.or_else(|| closest_product(built_in, measured, dtype));
        let lacks = || Unmeasurable::Format {
            gpu: measured.gpu.name.clone(),
            dtype,
        };
        Chip::of(&measured.gpu).peak(dtype).ok_or_else(lacks)?;
        let stored = stored(measured, Kind::Gemm, dtype, kernel, points);
        Ok(Table::on(
            measured.gpu.clone(),
            known.ok_or_else(lacks)?,
            stored,
        ))
    };
    groups.into_iter().map(table).collect()
}

pub(super) fn attention_tables(
    measured: &Measurements,
    built_in: &Tables,
) -> Result<Vec<Table>, Unmeasurable> {
    let mut groups: BTreeMap<(u32, &str), Points> = BTreeMap::new();
    for point in &measured.attention {
        check(&format!("attention of {} tokens", point.queries), point.us)?;
        if point.queries == point.keys {
            let group = groups.entry((point.head_dim, &point.kernel)).or_default();
            group.push(([point.batch, point.queries, point.heads], point.us));
        }
    }
    let table = |((head_dim, kernel), points): ((u32, &str), Points)| {
        let mask = Mask::Full;
        let kind = Kind::Attention { mask, head_dim };
        let known = constants::of(&measured.system, DType::Bf16, kind);
        let known = known.or_else(|| closest_attention(built_in, measured, head_dim));
        let lacks = || Unmeasurable::Format {
            gpu: measured.gpu.name.clone(),
            dtype: DType::Bf16,
        };
        let stored = stored(measured, kind, DType::Bf16, kernel, points);
        Ok(Table::on(
            measured.gpu.clone(),
            known.ok_or_else(lacks)?,
            stored,
        ))
    };
    groups.into_iter().map(table).collect()
}

fn check(what: &str, us: f64) -> Result<(), Unmeasurable> {
    if (0.25..536_870_912.0).contains(&us) {
        return Ok(());
    }
    Err(Unmeasurable::Time {
        what: what.to_owned(),
        us,
    })
}

/// The dense grid that scattered points span; where nothing was measured it is empty.
fn stored(
    measured: &Measurements,
    kind: Kind,
    dtype: DType,
    kernel: &str,
    points: Points,
) -> StoredTable {
    let axes: [Vec<u32>; 3] = std::array::from_fn(|axis| {
        let mut values: Vec<u32> = points.iter().map(|(shape, _)| shape[axis]).collect();
        values.sort_unstable();
        values.dedup();
        values
    });
    let mut cells = vec![0; axes.iter().map(Vec::len).product()];
    for (shape, us) in points {
        let at = |axis: usize| {
            let found = axes[axis].binary_search(&shape[axis]);
            found.expect("the axes hold every point's coordinates")
        };
        cells[(at(0) * axes[1].len() + at(1)) * axes[2].len() + at(2)] = code_of(us);
    }
    StoredTable {
        kind,
        system: measured.system.clone(),
        software: measured.software.clone(),
        kernel: kernel.to_owned(),
        dtype,
        axes,
        cells,
    }
}

/// The base of the closest relative's products, for a GPU without fitted constants.
fn closest_product(built_in: &Tables, measured: &Measurements, dtype: DType) -> Option<Constants> {
    let source = nearest(&built_in.gemm, &measured.gpu, None, |table| {
        table.dtype == dtype
    })?;
    Some(Constants::borrowed(source.table.physics, Kind::Gemm))
}

/// The base of the closest relative's attention: of this width of head, else of 64.
fn closest_attention(
    built_in: &Tables,
    measured: &Measurements,
    head_dim: u32,
) -> Option<Constants> {
    let of = |head_dim| {
        let mask = Mask::Full;
        let wanted = |table: &Table| table.kind == Kind::Attention { mask, head_dim };
        nearest(&built_in.attention, &measured.gpu, None, wanted)
    };
    let source = of(head_dim).or_else(|| of(64))?;
    let kind = source.table.kind;
    Some(Constants::borrowed(source.table.physics, kind))
}
