//! The rows of a sweep as CSV: which columns there are, and what stands in them.

use std::ops::Range;

use planner::search::Shared;
use planner::sweep::{Axis, Found, Row, Sweep};

use crate::render::json::Fidelity;

/// What a column holds; an empty cell is not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Words.
    Text,
    /// A number.
    Real,
    /// A whole number.
    Count,
    /// `true` or `false`.
    Flag,
}

/// Columns behind those of the axes.
pub(super) const COLUMNS: [(&str, Kind); 20] = [
    ("plan", Kind::Text),
    ("strategy", Kind::Text),
    ("compressor", Kind::Text),
    ("ranks", Kind::Count),
    ("latency_s", Kind::Real),
    ("latency_lo_s", Kind::Real),
    ("latency_hi_s", Kind::Real),
    ("lower_bound_s", Kind::Real),
    ("speed_up", Kind::Real),
    ("exposed_s", Kind::Real),
    ("peak_memory_gb", Kind::Real),
    ("fits", Kind::Flag),
    ("output", Kind::Text),
    ("deviation", Kind::Real),
    ("psnr_db", Kind::Real),
    ("fid", Kind::Real),
    ("cost_each_usd", Kind::Real),
    ("considered", Kind::Count),
    ("simulated", Kind::Count),
    ("reason", Kind::Text),
];

/// The names of the columns.
pub(super) fn header(axes: &[Axis]) -> Vec<String> {
    let fields = axes.iter().map(|axis| axis.field.to_string());
    fields
        .chain(COLUMNS.map(|(name, _)| name.to_owned()))
        .collect()
}

/// The rows of some points, in order, as lines of CSV; what `shared` holds is not worked out again.
#[must_use]
pub fn lines(sweep: &Sweep, points: Range<usize>, shared: &Shared) -> Vec<u8> {
    let rows = sweep.rows(points, shared);
    rows.iter().flat_map(|row| line(&cells(row))).collect()
}

/// A line of CSV.
pub(super) fn line(cells: &[String]) -> Vec<u8> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    let written = writer.write_record(cells);
    written.expect("memory takes every record");
    writer.into_inner().expect("memory can be flushed")
}

/// The cells of a row; a point without a plan has its reason and nothing else.
fn cells(row: &Row) -> Vec<String> {
    let mut cells: Vec<String> = row.values.iter().map(ToString::to_string).collect();
    match &row.found {
        Ok(found) => cells.extend(figures(found)),
        Err(reason) => {
            cells.extend(std::iter::repeat_n(String::new(), COLUMNS.len() - 1));
            // A row is a line: whoever goes on with the file counts them.
            cells.push(reason.replace(['\n', '\r'], " "));
        }
    }
    cells
}

fn figures(found: &Found) -> [String; COLUMNS.len()] {
    let one = &found.candidate;
    let seconds = |time: topologies::SimDuration| format!("{:.6}", time.as_secs_f64());
    let known = |number: Option<f64>, digits: usize| {
        number.map_or_else(String::new, |number| format!("{number:.digits$}"))
    };
    let predicted = one.quality.predicted.as_ref();
    [
        one.plan.to_string(),
        one.plan.strategy(),
        one.plan.compression.to_string(),
        one.plan.ranks().to_string(),
        seconds(one.latency),
        seconds(one.lo),
        seconds(one.hi),
        seconds(one.lower_bound),
        format!("{:.4}", found.speed_up),
        seconds(one.exposed),
        format!("{:.3}", one.memory.total.as_f64() / 1e9),
        one.memory.fits.is_fit().to_string(),
        Fidelity::from(one.fidelity).word().to_owned(),
        known(predicted.map(|it| it.deviation), 6),
        known(predicted.and_then(|it| it.psnr_db), 2),
        known(one.quality.fid, 2),
        known(found.cost_each_usd, 8),
        found.considered.to_string(),
        found.simulated.to_string(),
        String::new(),
    ]
}
