//! Plans by faults as a table of colours: how much longer each takes than the choice without a fault.

use std::collections::BTreeSet;

use planner::search::{Robust, RobustPlan};
use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use crate::render::figure::{Failure, Figure};
use crate::render::plans;
use crate::render::text::seconds;

/// Rows of a picture at most.
const ROWS: usize = 16;
/// Width of a character of a column's name, in pixels.
const CHARACTER: i32 = 7;

/// One row: a plan and its latencies in seconds, the last the worst.
struct Row {
    name: String,
    seconds: Vec<f64>,
    shown: Vec<String>,
}

/// The picture.
pub(super) struct Weather {
    title: String,
    columns: Vec<String>,
    rows: Vec<Row>,
    fastest: f64,
}

impl Weather {
    /// The picture of an answer: the least worst cases, the choice without a fault, and what would be best if one
    /// knew.
    pub(super) fn new(found: &Robust) -> Self {
        let row = |name: String, faced: &RobustPlan| {
            let times = [faced.candidate.latency];
            let times = times.iter().chain(&faced.latencies).chain([&faced.worst]);
            let times: Vec<_> = times.copied().collect();
            Row {
                name,
                seconds: times.iter().map(|time| time.as_secs_f64()).collect(),
                shown: times.iter().map(|time| seconds(*time)).collect(),
            }
        };
        let nominal = &found.nominal;
        let named = |faced: &RobustPlan| {
            let name = plans::label(&faced.candidate.plan);
            let fastest = name == plans::label(&nominal.candidate.plan);
            if fastest { format!("{name} *") } else { name }
        };
        let listed = listed(found, ROWS);
        let mut rows: Vec<Row> = listed
            .iter()
            .map(|faced| row(named(faced), faced))
            .collect();
        let fastest = plans::label(&nominal.candidate.plan);
        if !listed
            .iter()
            .any(|faced| plans::label(&faced.candidate.plan) == fastest)
        {
            rows.push(row(named(nominal), nominal));
        }
        let known = found.columns.iter().map(|column| column.known.latency);
        let known: Vec<_> = [nominal.candidate.latency]
            .into_iter()
            .chain(known)
            .collect();
        rows.push(Row {
            name: "if one knew".to_owned(),
            seconds: known.iter().map(|time| time.as_secs_f64()).collect(),
            shown: known.iter().map(|time| seconds(*time)).collect(),
        });
        let kinds = found.columns.iter().map(|column| column.kind.name.clone());
        let columns = ["no fault".to_owned()].into_iter().chain(kinds);
        Self {
            title: format!(
                "{} on {}: seconds by fault, least worst case first (* choice without a fault)",
                plans::asked(&found.question),
                found.question.machine.name
            ),
            columns: columns.chain(["worst".to_owned()]).collect(),
            rows,
            fastest: nominal.candidate.latency.as_secs_f64(),
        }
    }

    /// White for the latency of the choice without a fault, dark orange for twice as long and beyond.
    fn colour(&self, seconds: f64) -> RGBColor {
        let share = (seconds / self.fastest - 1.0).clamp(0.0, 1.0);
        let mix = |from: f64, to: f64| (from + share * (to - from)).round() as u8;
        RGBColor(mix(255.0, 214.0), mix(255.0, 96.0), mix(255.0, 32.0))
    }
}

impl Figure for Weather {
    fn draw<B: DrawingBackend>(&self, area: &DrawingArea<B, Shift>) -> Result<(), Failure>
    where
        B::ErrorType: 'static,
    {
        let area = area.margin(8, 0, 0, 0);
        let area = area.titled(&self.title, ("sans-serif", 16))?;
        let (width, height) = area.dim_in_pixel();
        let (left, top) = (230, 50);
        let wide = (width as i32 - left - 10) / self.columns.len() as i32;
        let high = ((height as i32 - top - 40) / self.rows.len() as i32).min(96);
        let centre = Pos::new(HPos::Center, VPos::Center);
        let right = Pos::new(HPos::Right, VPos::Center);
        let style = |size: i32, pos: Pos| ("sans-serif", size).into_font().color(&BLACK).pos(pos);
        for (index, column) in self.columns.iter().enumerate() {
            let x = left + wide * index as i32 + wide / 2;
            let fits = column.len() as i32 * CHARACTER <= wide;
            let (above, below) = if fits {
                ("", &column[..])
            } else {
                halves(column)
            };
            for (line, y) in [(above, top - 32), (below, top - 15)] {
                area.draw(&Text::new(line.to_owned(), (x, y), style(13, centre)))?;
            }
        }
        for (index, row) in self.rows.iter().enumerate() {
            let y = top + high * index as i32;
            let name = shortened(&row.name, 32);
            area.draw(&Text::new(
                name,
                (left - 10, y + high / 2),
                style(13, right),
            ))?;
            for (column, (time, shown)) in row.seconds.iter().zip(&row.shown).enumerate() {
                let x = left + wide * column as i32;
                let cell = [(x, y), (x + wide - 2, y + high - 2)];
                area.draw(&Rectangle::new(cell, self.colour(*time).filled()))?;
                area.draw(&Rectangle::new(cell, BLACK.mix(0.25)))?;
                let middle = (x + wide / 2, y + high / 2);
                area.draw(&Text::new(shown.clone(), middle, style(14, centre)))?;
            }
        }
        Ok(())
    }
}

/// At most `most` characters.
fn shortened(name: &str, most: usize) -> String {
    if name.chars().count() <= most {
        return name.to_owned();
    }
    name.chars().take(most - 1).chain(['…']).collect()
}

/// The first plans, each on the best of its placements.
pub(super) fn listed(found: &Robust, most: usize) -> Vec<&RobustPlan> {
    let mut seen = BTreeSet::new();
    let new = |faced: &&RobustPlan| seen.insert(plans::label(&faced.candidate.plan));
    found.plans.iter().filter(new).take(most).collect()
}

/// A name in two parts, cut at the blank or comma nearest to its middle; all of it second where there is none.
pub(super) fn halves(name: &str) -> (&str, &str) {
    let blanks = name.match_indices([' ', ',']).map(|(at, _)| at);
    let middle = name.len() / 2;
    match blanks.min_by_key(|at| at.abs_diff(middle)) {
        Some(at) => (&name[..=at], &name[at + 1..]),
        None => ("", name),
    }
}
