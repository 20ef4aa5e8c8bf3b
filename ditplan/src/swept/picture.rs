//! A sweep as a picture: curves over one number, who wins where over two, panels over three.

use std::collections::BTreeMap;
use std::path::Path;

use plotters::coord::Shift;
use plotters::prelude::*;

use super::scale::{COLOURS, REST, described, digits, number, short};
use super::table::{self, Line, Table};
use crate::figure::{self, Failure, Figure};

/// Panels of a picture at most.
const PANELS: usize = 6;

/// Draws the sweep into a file.
pub(super) fn write(title: &str, table: &Table, path: &Path) -> Result<(), Failure> {
    match table.axes.len() {
        1 => figure::write(&Curves { title, table }, path),
        2 | 3 => figure::write(&Phases { title, table }, path),
        axes => Err(format!("{axes} numbers vary: vary one, two or three to draw them").into()),
    }
}

/// A colour for each kind of plan, the most frequent first, with how many points it wins.
fn colours(lines: &[&Line]) -> Vec<(String, usize, RGBColor)> {
    let kinds = table::kinds(lines)
        .into_iter()
        .filter(|(kind, _)| kind != "none");
    let colour = |index: usize| COLOURS.get(index).copied().unwrap_or(REST);
    kinds
        .enumerate()
        .map(|(index, (kind, count))| (kind, count, colour(index)))
        .collect()
}

/// Who wins where: the last axis to the right, the one before it up, a panel for each value of a third.
struct Phases<'a> {
    title: &'a str,
    table: &'a Table,
}

impl Figure for Phases<'_> {
    fn draw<B: DrawingBackend>(&self, area: &DrawingArea<B, Shift>) -> Result<(), Failure>
    where
        B::ErrorType: 'static,
    {
        let area = area.titled(self.title, ("sans-serif", 18))?;
        let lines = self.table.best();
        let colours = colours(&lines);
        let (width, _) = area.dim_in_pixel();
        let (panels, legend) = area.split_horizontally(width.saturating_sub(240));
        let third = self.table.axes.len() == 3;
        let values = if third {
            self.table.distinct(0)
        } else {
            vec![String::new()]
        };
        let shown = &values[..values.len().min(PANELS)];
        let columns = if shown.len() > 3 { 2 } else { 1 };
        let parts = panels.split_evenly((shown.len().div_ceil(columns), columns));
        for (value, part) in shown.iter().zip(&parts) {
            let of = lines
                .iter()
                .filter(|line| !third || line.values[0] == *value);
            let of: Vec<&Line> = of.copied().collect();
            let caption = if third {
                format!("{} = {value}", self.table.axes[0])
            } else {
                String::new()
            };
            self.panel(part, &caption, &of, &colours)?;
        }
        let entry = |index: usize, words: String, colour: RGBColor| {
            let y = 20 + 22 * index as i32;
            legend.draw(&Rectangle::new([(4, y), (18, y + 14)], colour.filled()))?;
            legend.draw(&Text::new(words, (24, y), ("sans-serif", 12)))
        };
        for (index, (kind, count, colour)) in colours.iter().take(COLOURS.len()).enumerate() {
            entry(index, format!("{kind} ({count})"), *colour)?;
        }
        let rest: usize = colours.iter().skip(COLOURS.len()).map(|one| one.1).sum();
        if rest > 0 {
            entry(COLOURS.len(), format!("other kinds ({rest})"), REST)?;
        }
        Ok(())
    }
}

impl Phases<'_> {
    fn panel<B: DrawingBackend>(
        &self,
        area: &DrawingArea<B, Shift>,
        caption: &str,
        lines: &[&Line],
        colours: &[(String, usize, RGBColor)],
    ) -> Result<(), Failure>
    where
        B::ErrorType: 'static,
    {
        let axes = self.table.axes.len();
        let (across, up) = (self.ordered(axes - 1), self.ordered(axes - 2));
        let (right, top) = (across.len() as i32, up.len() as i32);
        let mut chart = ChartBuilder::on(area)
            .caption(caption, ("sans-serif", 14))
            .margin(8)
            .x_label_area_size(38)
            .y_label_area_size(50)
            .build_cartesian_2d((0..right).into_segmented(), (0..top).into_segmented())?;
        let label = |values: &[String], at: &SegmentValue<i32>| match at {
            SegmentValue::CenterOf(index) => values
                .get(*index as usize)
                .map(|value| short(number(value)))
                .unwrap_or_default(),
            _ => String::new(),
        };
        chart
            .configure_mesh()
            .disable_mesh()
            .x_labels(across.len().min(10))
            .y_labels(up.len().min(16))
            .x_desc(described(&self.table.axes[axes - 1]))
            .y_desc(described(&self.table.axes[axes - 2]))
            .x_label_formatter(&|at| label(&across, at))
            .y_label_formatter(&|at| label(&up, at))
            .label_style(("sans-serif", 12))
            .draw()?;
        let place =
            |values: &[String], value: &String| values.iter().position(|known| known == value);
        for line in lines {
            let kind = line.kind();
            let Some((_, _, colour)) = colours.iter().find(|one| one.0 == kind) else {
                continue;
            };
            let x = place(&across, &line.values[axes - 1]);
            let y = place(&up, &line.values[axes - 2]);
            if let (Some(x), Some(y)) = (x, y) {
                let corner = |x: usize, y: usize| {
                    (SegmentValue::Exact(x as i32), SegmentValue::Exact(y as i32))
                };
                let cell = [corner(x, y), corner(x + 1, y + 1)];
                chart.draw_series([Rectangle::new(cell, colour.filled())])?;
            }
        }
        Ok(())
    }

    /// The values of an axis, ascending.
    fn ordered(&self, axis: usize) -> Vec<String> {
        let mut values = self.table.distinct(axis);
        values.sort_by(|a, b| number(a).total_cmp(&number(b)));
        values
    }
}

/// Ticks of a logarithmic axis: 1, 2 and 5 of each decade; over few decades, more of them.
fn ticks(low: f64, high: f64) -> Vec<f64> {
    let steps: &[f64] = match (high / low).log10() {
        decades if decades < 0.5 => &[
            1.0, 1.2, 1.4, 1.6, 1.8, 2.0, 2.5, 3.0, 3.5, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0,
        ],
        decades if decades < 3.0 => &[1.0, 2.0, 5.0],
        _ => &[1.0],
    };
    let decades = low.log10().floor() as i32..=high.log10().ceil() as i32;
    let all = decades.flat_map(|decade| steps.iter().map(move |step| step * 10f64.powi(decade)));
    all.filter(|tick| (low..=high).contains(tick)).collect()
}

/// Latency over one number: a curve for each given plan, else the best plan's with its kinds marked.
struct Curves<'a> {
    title: &'a str,
    table: &'a Table,
}

impl Curves<'_> {
    /// The points of each curve, from left to right: a curve a plan where there are several a point.
    fn curves(&self, several: bool) -> BTreeMap<String, Vec<(f64, f64)>> {
        let mut labels = self.table.lines.iter().map(Line::label);
        let first = labels.next();
        let named = several || labels.all(|label| Some(label) == first);
        let mut curves: BTreeMap<String, Vec<(f64, f64)>> = BTreeMap::new();
        for line in self.table.lines.iter().filter(|line| !line.plan.is_empty()) {
            let name = if named {
                line.label()
            } else {
                "best plan".to_owned()
            };
            let curve = curves.entry(name).or_default();
            curve.push((number(&line.values[0]), line.latency_s));
        }
        for curve in curves.values_mut() {
            curve.sort_by(|a, b| a.0.total_cmp(&b.0));
        }
        curves
    }
}

impl Figure for Curves<'_> {
    fn draw<B: DrawingBackend>(&self, area: &DrawingArea<B, Shift>) -> Result<(), Failure>
    where
        B::ErrorType: 'static,
    {
        let best = self.table.best();
        let curves = self.curves(best.len() < self.table.lines.len());
        let points: Vec<(f64, f64)> = curves.values().flatten().copied().collect();
        let fold = |of: &dyn Fn(&(f64, f64)) -> f64| {
            points
                .iter()
                .map(of)
                .fold((f64::INFINITY, 0.0_f64), |(low, high), x| {
                    (low.min(x), high.max(x))
                })
        };
        let ((left, right), (low, high)) = (fold(&|point| point.0), fold(&|point| point.1));
        if left >= right {
            return Err("one point has no curve: give two values at least".into());
        }
        let mut chart = ChartBuilder::on(area)
            .caption(self.title, ("sans-serif", 18))
            .margin(12)
            .x_label_area_size(45)
            .y_label_area_size(60)
            .build_cartesian_2d(
                (left..right)
                    .log_scale()
                    .with_key_points(ticks(left, right)),
                (low * 0.85..high * 1.25)
                    .log_scale()
                    .with_key_points(ticks(low * 0.85, high * 1.25)),
            )?;
        chart
            .configure_mesh()
            .x_desc(described(&self.table.axes[0]))
            .y_desc("latency, s")
            .x_label_formatter(&|value| digits(*value))
            .y_label_formatter(&|value| digits(*value))
            .light_line_style(WHITE)
            .label_style(("sans-serif", 14))
            .draw()?;
        for (index, (name, curve)) in curves.into_iter().enumerate() {
            let colour = Palette99::pick(index).to_rgba();
            chart
                .draw_series(LineSeries::new(curve, colour.stroke_width(2)))?
                .label(name)
                .legend(move |(x, y)| {
                    PathElement::new([(x, y), (x + 18, y)], colour.stroke_width(2))
                });
        }
        for pair in best.windows(2) {
            let (before, after) = (pair[0], pair[1]);
            if before.kind() == after.kind() || after.plan.is_empty() {
                continue;
            }
            let at = (number(&after.values[0]), after.latency_s);
            chart.draw_series([Circle::new(at, 4, BLACK.filled())])?;
            chart.draw_series([
                EmptyElement::at(at) + Text::new(after.label(), (6, -16), ("sans-serif", 12))
            ])?;
        }
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::UpperRight)
            .background_style(WHITE.mix(0.85))
            .border_style(BLACK.mix(0.3))
            .label_font(("sans-serif", 13))
            .draw()?;
        Ok(())
    }
}
