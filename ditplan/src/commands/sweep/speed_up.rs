//! `--show speed-up`: speed-up and efficiency over GPUs, against the ideal.
//!
//! Speed-up is one GPU's latency over the plan's, ideal is N on N GPUs, efficiency is speed-up over N. Where the planner
//! chooses, N is the GPUs it may use; of given plans, those the plan uses. A curve holds what else is equal: the values
//! of all other axes, and of given plans their kind.

use std::path::Path;

use plotters::coord::Shift;
use plotters::prelude::*;

use super::scale::{COLOURS, REST, short};
use super::table::{Line, Table};
use crate::render::figure::{self, Failure, Figure};
use crate::render::text::{self, percent};

/// Curves of a picture at most.
const MOST: usize = COLOURS.len();

/// GPUs, and the line that is fastest on them.
type Point<'a> = (u32, &'a Line);

/// The curves: what is equal along each, and its points by GPUs.
fn curves(table: &Table) -> Vec<(String, Vec<Point<'_>>)> {
    let gpus = table.axes.iter().position(|axis| axis == "gpus");
    let best = table.best();
    // Several lines a point: plans were given.
    let given = best.len() < table.lines.len();
    let mut curves: Vec<(String, Vec<Point<'_>>)> = Vec::new();
    for line in table.lines.iter().filter(|line| line.serves()) {
        let mut name = line.place(&table.axes, |axis| Some(axis) != gpus);
        if given {
            let comma = if name.is_empty() { "" } else { ", " };
            name = format!("{}{comma}{name}", line.kind());
        }
        let count = match gpus {
            Some(axis) if !given => line.values[axis].parse().unwrap_or(line.ranks),
            _ => line.ranks,
        };
        let index = match curves.iter().position(|curve| curve.0 == name) {
            Some(index) => index,
            None => {
                curves.push((name, Vec::new()));
                curves.len() - 1
            }
        };
        let points = &mut curves[index].1;
        match points.iter_mut().find(|point| point.0 == count) {
            Some(point) if point.1.speed_up >= line.speed_up => {}
            Some(point) => point.1 = line,
            None => points.push((count, line)),
        }
    }
    for (_, points) in &mut curves {
        points.sort_by_key(|point| point.0);
    }
    curves
}

/// Speed-up and efficiency for people.
pub(super) fn report(table: &Table) -> String {
    let mut page = String::new();
    for (name, points) in curves(table).iter().take(MOST) {
        let mut shown = text::table(
            &["GPUs", "plan", "latency, s", "speed-up", "efficiency"],
            &[0, 2, 3, 4],
        );
        for (gpus, line) in points {
            shown.add_row([
                gpus.to_string(),
                line.label(),
                format!("{:.3}", line.latency_s),
                format!("{:.2}x", line.speed_up),
                percent(line.speed_up / f64::from(*gpus)),
            ]);
        }
        if !name.is_empty() {
            page.push_str(&format!("{name}\n"));
        }
        page.push_str(&text::rendered(&mut shown));
    }
    page
}

/// Draws speed-up and efficiency over GPUs.
pub(super) fn write(title: &str, table: &Table, path: &Path) -> Result<(), Failure> {
    let curves = curves(table);
    if curves.is_empty() {
        return Err("no point has a plan that fits".into());
    }
    if curves.len() > MOST {
        return Err(format!("{} curves: draw at most {MOST}", curves.len()).into());
    }
    figure::write(&SpeedUp { title, curves }, path)
}

struct SpeedUp<'a> {
    title: &'a str,
    curves: Vec<(String, Vec<Point<'a>>)>,
}

impl Figure for SpeedUp<'_> {
    fn draw<B: DrawingBackend>(&self, area: &DrawingArea<B, Shift>) -> Result<(), Failure>
    where
        B::ErrorType: 'static,
    {
        let area = area.titled(self.title, ("sans-serif", 18))?;
        let (_, height) = area.dim_in_pixel();
        let (upper, lower) = area.split_vertically(height * 3 / 5);
        let points = self.curves.iter().flat_map(|curve| &curve.1);
        let most = points.clone().map(|point| point.0).max().unwrap_or(1);
        let fastest = points.map(|point| point.1.speed_up).fold(1.0, f64::max);
        let ideal: Vec<(f64, f64)> = vec![(0.0, 0.0), (f64::from(most), f64::from(most))];
        let speed_up = |point: &Point<'_>| point.1.speed_up;
        let top = f64::from(most).max(fastest) * 1.05;
        self.panel(&upper, "speed-up", top, &ideal, Legend::Drawn, &speed_up)?;
        let ideal: Vec<(f64, f64)> = vec![(0.0, 100.0), (f64::from(most), 100.0)];
        let efficiency = |point: &Point<'_>| 100.0 * point.1.speed_up / f64::from(point.0);
        self.panel(
            &lower,
            "efficiency, %",
            115.0,
            &ideal,
            Legend::Above,
            &efficiency,
        )
    }
}

/// Whether a panel names its curves.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Legend {
    Drawn,
    /// The panel above does.
    Above,
}

impl SpeedUp<'_> {
    fn panel<B: DrawingBackend>(
        &self,
        area: &DrawingArea<B, Shift>,
        what: &str,
        top: f64,
        ideal: &[(f64, f64)],
        legend: Legend,
        of: &dyn Fn(&Point<'_>) -> f64,
    ) -> Result<(), Failure>
    where
        B::ErrorType: 'static,
    {
        let most = ideal[1].0;
        let mut chart = ChartBuilder::on(area)
            .margin(10)
            .x_label_area_size(38)
            .y_label_area_size(58)
            .build_cartesian_2d(0.0..most * 1.05, 0.0..top)?;
        chart
            .configure_mesh()
            .x_desc("GPUs")
            .y_desc(what)
            .x_labels(9)
            .y_labels(8)
            .x_label_formatter(&|value| short(*value))
            .y_label_formatter(&|value| short(*value))
            .light_line_style(WHITE)
            .label_style(("sans-serif", 13))
            .draw()?;
        let grey = BLACK.mix(0.45);
        let line = DashedLineSeries::new(ideal.iter().copied(), 6, 4, grey.stroke_width(1));
        chart
            .draw_series(line)?
            .label("ideal")
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], grey.stroke_width(1)));
        for (index, (name, points)) in self.curves.iter().enumerate() {
            let colour = COLOURS.get(index).copied().unwrap_or(REST);
            let at = |point: &Point<'_>| (f64::from(point.0), of(point));
            let curve = LineSeries::new(points.iter().map(at), colour.stroke_width(2));
            let name = if name.is_empty() { "best plan" } else { name };
            chart.draw_series(curve)?.label(name).legend(move |(x, y)| {
                PathElement::new([(x, y), (x + 18, y)], colour.stroke_width(2))
            });
            let dots = points
                .iter()
                .map(|point| Circle::new(at(point), 4, colour.filled()));
            chart.draw_series(dots)?;
        }
        if legend == Legend::Drawn {
            chart
                .configure_series_labels()
                .position(SeriesLabelPosition::UpperLeft)
                .background_style(WHITE.mix(0.85))
                .border_style(BLACK.mix(0.3))
                .label_font(("sans-serif", 13))
                .draw()?;
        }
        Ok(())
    }
}
