//! A sweep as a picture: curves over one number, who wins where over two, panels over three.

use std::collections::BTreeMap;
use std::path::Path;

use plotters::coord::Shift;
use plotters::prelude::*;

use super::scale::{COLOURS, REST, Span, described, digits, number, short};
use super::table::{self, Line, Table};
use crate::render::figure::{self, Failure, Figure};

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
        .filter(|(kind, _)| kind != table::NO_PLAN);
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
        let mut chart = ChartBuilder::on(area)
            .caption(caption, ("sans-serif", 14))
            .margin(8)
            .x_label_area_size(38)
            .y_label_area_size(70)
            .build_cartesian_2d(Span::cells(across.len()), Span::cells(up.len()))?;
        let label = |values: &[String], at: f64| {
            let value = values.get(at as usize);
            value.map_or_else(String::new, |value| short(number(value)))
        };
        chart
            .configure_mesh()
            .disable_mesh()
            .x_desc(described(&self.table.axes[axes - 1]))
            .y_desc(described(&self.table.axes[axes - 2]))
            .x_label_formatter(&|at| label(&across, *at))
            .y_label_formatter(&|at| label(&up, *at))
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
                let corner = |x: usize, y: usize| (x as f64, y as f64);
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

/// Latency over one number: a curve for each given plan, else the best plan's with its kinds marked.
struct Curves<'a> {
    title: &'a str,
    table: &'a Table,
}

/// A point of a picture.
type Point = (f64, f64);

impl Curves<'_> {
    /// Whether plans were given, so that there are several a point.
    fn is_of_given(&self) -> bool {
        self.table.best().len() < self.table.lines.len()
    }

    /// The points of each curve, from left to right: a curve a plan where there are several a point.
    fn curves(&self) -> BTreeMap<String, Vec<Point>> {
        let given = self.is_of_given();
        let mut labels = self.table.lines.iter().map(Line::label);
        let first = labels.next();
        let same = labels.all(|label| Some(label) == first);
        let mut curves: BTreeMap<String, Vec<Point>> = BTreeMap::new();
        for line in self.table.lines.iter().filter(|line| !line.plan.is_empty()) {
            let name = match (given, same) {
                (true, _) => line.plan.clone(),
                (false, true) => line.label(),
                (false, false) => "best plan".to_owned(),
            };
            let curve = curves.entry(name).or_default();
            curve.push((number(&line.values[0]), line.latency_s));
        }
        for curve in curves.values_mut() {
            curve.sort_by(|a, b| a.0.total_cmp(&b.0));
        }
        curves
    }

    /// Where the winner changes, and the new one: where drawn curves cross, else at its first point.
    fn changes(&self, across: &Span) -> Vec<(Point, String)> {
        let given = self.is_of_given();
        let mut best = self.table.best();
        best.sort_by(|a, b| number(&a.values[0]).total_cmp(&number(&b.values[0])));
        let mut changes = Vec::new();
        for pair in best.windows(2) {
            let (before, after) = (pair[0], pair[1]);
            let same = match given {
                true => before.plan == after.plan,
                false => before.kind() == after.kind(),
            };
            if !same && !after.plan.is_empty() {
                let first = (number(&after.values[0]), after.latency_s);
                let at = self.crossing(before, after, across).unwrap_or(first);
                changes.push((at, after.words()));
            }
        }
        changes
    }

    /// Where the curves of two plans cross, drawn straight from the one's last point to the other's first.
    fn crossing(&self, before: &Line, after: &Line, across: &Span) -> Option<Point> {
        let latency = |at: &Line, of: &Line| {
            let mut lines = self.table.lines.iter();
            let found = lines.find(|line| line.values == at.values && line.plan == of.plan);
            found.map(|line| line.latency_s.ln())
        };
        let falling = [latency(before, before)?, latency(after, before)?];
        let rising = [latency(before, after)?, latency(after, after)?];
        let gaps = [rising[0] - falling[0], falling[1] - rising[1]];
        if gaps[0] < 0.0 || gaps[1] < 0.0 || gaps[0] + gaps[1] == 0.0 {
            return None;
        }
        let share = gaps[0] / (gaps[0] + gaps[1]);
        let between = |from: f64, to: f64| from + share * (to - from);
        let ends = [before, after].map(|line| across.place(number(&line.values[0])));
        Some((
            across.value(between(ends[0], ends[1])),
            between(falling[0], falling[1]).exp(),
        ))
    }
}

impl Figure for Curves<'_> {
    fn draw<B: DrawingBackend>(&self, area: &DrawingArea<B, Shift>) -> Result<(), Failure>
    where
        B::ErrorType: 'static,
    {
        let curves = self.curves();
        let points: Vec<Point> = curves.values().flatten().copied().collect();
        let across = Span::log(points.iter().map(|point| point.0));
        let latencies = points.iter().map(|point| point.1);
        let up = Span::log(latencies.flat_map(|latency| [latency * 0.85, latency * 1.25]));
        if !across.is_wide() {
            return Err("one point has no curve: give two values at least".into());
        }
        let mut chart = ChartBuilder::on(area)
            .caption(self.title, ("sans-serif", 18))
            .margin(12)
            .margin_right(24)
            .x_label_area_size(45)
            .y_label_area_size(up.room())
            .build_cartesian_2d(across, up)?;
        chart
            .configure_mesh()
            .x_desc(described(&self.table.axes[0]))
            .y_desc("latency, s")
            .x_label_formatter(&|value| digits(*value))
            .y_label_formatter(&|value| digits(*value))
            .light_line_style(WHITE)
            .label_style(("sans-serif", 14))
            .draw()?;
        let mut falls = 0;
        for (index, (name, curve)) in curves.into_iter().enumerate() {
            let colour = Palette99::pick(index).to_rgba();
            if let [first, .., last] = curve[..] {
                falls += if last.1 <= first.1 { 1 } else { -1 };
            }
            chart
                .draw_series(LineSeries::new(curve, colour.stroke_width(2)))?
                .label(name)
                .legend(move |(x, y)| {
                    PathElement::new([(x, y), (x + 18, y)], colour.stroke_width(2))
                });
        }
        let right = chart.plotting_area().get_x_axis_pixel_range().end;
        for (at, name) in self.changes(&across) {
            let style = ("sans-serif", 12).into_text_style(area);
            let (width, _) = area.estimate_text_size(&name, &style)?;
            // Left of the point where there is no room to its right, on the side where the curve is not.
            let (x, _) = chart.backend_coord(&at);
            let shift = match (x + 6 + width as i32 > right, falls >= 0) {
                (false, _) => (6, -16),
                (true, true) => (-6 - width as i32, 4),
                (true, false) => (-6 - width as i32, -16),
            };
            chart.draw_series([Circle::new(at, 4, BLACK.filled())])?;
            chart.draw_series([EmptyElement::at(at) + Text::new(name, shift, style)])?;
        }
        // In the corner that the curves leave free.
        let corner = match falls >= 0 {
            true => SeriesLabelPosition::UpperRight,
            false => SeriesLabelPosition::UpperLeft,
        };
        chart
            .configure_series_labels()
            .position(corner)
            .background_style(WHITE.mix(0.85))
            .border_style(BLACK.mix(0.3))
            .label_font(("sans-serif", 13))
            .draw()?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::sweep::rows;

    /// A sweep of given plans over one rate in GB/s: rate, plan, latency.
    fn table(points: &[(u32, &str, f64)]) -> Table {
        let names = rows::COLUMNS.map(|(name, _)| name.to_owned());
        let header = [&["link.bandwidth".to_owned()], &names[..]].concat();
        let mut csv = rows::line(&header);
        for (rate, plan, latency) in points {
            let cells = rows::COLUMNS.map(|(name, _)| match name {
                "plan" | "strategy" => (*plan).to_owned(),
                "compressor" => "raw".to_owned(),
                "latency_s" => latency.to_string(),
                "fits" => "true".to_owned(),
                _ => String::new(),
            });
            csv.extend(rows::line(
                &[&[format!("{rate} GB/s")], &cells[..]].concat(),
            ));
        }
        Table::read(csv).expect("rows")
    }

    #[test]
    fn crossovers_are_marked_where_the_drawn_curves_cross() {
        // In logarithms one falls from ln 4 to ln 1, the other stays at ln 2: they meet half way, at 2 GB/s.
        let crossing = [
            (1, "ring4", 2.0),
            (1, "ulysses4", 4.0),
            (4, "ring4", 2.0),
            (4, "ulysses4", 1.0),
        ];
        let table = table(&crossing);
        let curves = Curves {
            title: "",
            table: &table,
        };
        let across = Span::log([1.0, 4.0].into_iter());
        let changes = curves.changes(&across);
        let [((x, y), name)] = &changes[..] else {
            panic!("one change: {changes:?}");
        };
        assert!((x - 2.0).abs() < 1e-9 && (y - 2.0).abs() < 1e-9, "{x} {y}");
        assert_eq!(name, "ulysses4");
    }

    #[test]
    fn one_gpu_is_a_kind_of_its_own() {
        let table = table(&[(1, "none", 2.0), (4, "ring4", 1.0)]);
        let kinds = colours(&table.best()).into_iter().map(|one| one.0);
        assert_eq!(kinds.collect::<Vec<_>>(), ["one GPU", "ring"]);
    }
}
