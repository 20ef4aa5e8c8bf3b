//! Half-widths of 90 % intervals for a GPU's own tables.
use crate::table::{Found, Residual, Table};

pub(crate) fn half_width(_table: &Table, residual: &Residual, _shape: crate::table::Shape) -> f64 {
    match residual.found {
        Found::Exact => 0.06,
        Found::Between(estimate) => estimate.scatter,
        Found::Beyond => 0.15,
    }
}
