//! The chosen plan as a picture: which compressor each layer has at each step, and what other budgets
//! would cost.

use std::collections::BTreeMap;

use kernels::Compressor;
use plotters::coord::Shift;
use plotters::prelude::*;

use crate::figure::{Failure, Figure};
use planner::search::Answer;

/// A point of the lower panel: latency in seconds, deviation.
type Point = (f64, f64);

/// The picture.
pub(super) struct Choice {
    title: String,
    /// By layer, then step; none in warm-up.
    cells: Vec<Vec<Option<Option<Compressor>>>>,
    frontier: Vec<Point>,
    uniform: Vec<(String, Point)>,
    limit: Option<f64>,
}

impl Choice {
    /// The picture of an answer.
    pub(super) fn new(answer: &Answer) -> Self {
        let plan = &answer.choice.plan;
        let steps = answer.question.request.steps;
        let warmup = plan.warmup;
        let cell = |layer, step| (step >= warmup).then(|| plan.compression.at(step, layer));
        let row = |layer| (0..steps).map(|step| cell(layer, step)).collect();
        let spent = answer.spent.as_ref();
        let frontier = spent.and_then(|spent| spent.assigned.as_ref());
        let frontier = frontier.into_iter().flat_map(|assigned| &assigned.frontier);
        let uniform = spent.into_iter().flat_map(|spent| &spent.uniform);
        let name =
            |of: Option<Compressor>| of.map_or_else(|| "raw".to_owned(), |of| of.to_string());
        Self {
            title: format!(
                "{}: {} on {}",
                answer.question.model.name,
                plan.strategy(),
                answer.question.machine.name
            ),
            cells: (0..answer.layers).map(row).collect(),
            frontier: frontier
                .map(|point| (point.latency_s, point.deviation))
                .collect(),
            uniform: uniform
                .map(|one| (name(one.compressor), (one.latency_s, one.deviation)))
                .collect(),
            limit: spent.map(|spent| spent.limit),
        }
    }

    /// A colour for each compressor that occurs; raw is white.
    fn colours(&self) -> BTreeMap<Option<Compressor>, RGBColor> {
        let mut colours = BTreeMap::new();
        for compressor in self.cells.iter().flatten().flatten() {
            let next = colours.len();
            let (red, green, blue) = Palette99::COLORS[next % Palette99::COLORS.len()];
            let colour = compressor.map_or(WHITE, |_| RGBColor(red, green, blue));
            colours.entry(*compressor).or_insert(colour);
        }
        colours
    }

    fn assignment<B: DrawingBackend>(&self, area: &DrawingArea<B, Shift>) -> Result<(), Failure>
    where
        B::ErrorType: 'static,
    {
        let layers = self.cells.len() as f64;
        let steps = self.cells.first().map_or(0, Vec::len) as f64;
        let mut chart = ChartBuilder::on(area)
            .caption(
                "compressor of each layer (down) at each step; grey: warm-up, raw",
                ("sans-serif", 16),
            )
            .margin(10)
            .margin_right(150)
            .x_label_area_size(35)
            .y_label_area_size(60)
            .build_cartesian_2d(0.0..steps, layers..0.0)?;
        chart
            .configure_mesh()
            .disable_mesh()
            .x_desc("step")
            .y_desc("layer")
            .x_label_formatter(&|step| format!("{step:.0}"))
            .y_label_formatter(&|layer| format!("{layer:.0}"))
            .label_style(("sans-serif", 13))
            .draw()?;
        let colours = self.colours();
        let mut drawn = Vec::new();
        for (layer, row) in self.cells.iter().enumerate() {
            for (step, cell) in row.iter().enumerate() {
                let colour =
                    cell.map_or(RGBColor(200, 200, 200), |compressor| colours[&compressor]);
                let (x, y) = (step as f64, layer as f64);
                drawn.push(Rectangle::new(
                    [(x, y), (x + 1.0, y + 1.0)],
                    colour.filled(),
                ));
            }
        }
        chart.draw_series(drawn)?;
        let plain = chart.plotting_area().strip_coord_spec();
        let (width, _) = plain.dim_in_pixel();
        for (index, (compressor, colour)) in colours.iter().enumerate() {
            let name =
                compressor.map_or_else(|| "raw".to_owned(), |compressor| compressor.to_string());
            let (x, y) = (width as i32 + 12, 6 + 20 * index as i32);
            let root = area;
            let (left, top) = (
                plain.get_pixel_range().0.start - root.get_pixel_range().0.start,
                plain.get_pixel_range().1.start - root.get_pixel_range().1.start,
            );
            root.draw(&Rectangle::new(
                [(left + x, top + y), (left + x + 14, top + y + 14)],
                colour.filled(),
            ))?;
            root.draw(&Rectangle::new(
                [(left + x, top + y), (left + x + 14, top + y + 14)],
                BLACK.mix(0.4),
            ))?;
            root.draw(&Text::new(
                name,
                (left + x + 20, top + y),
                ("sans-serif", 14),
            ))?;
        }
        Ok(())
    }

    fn trade<B: DrawingBackend>(&self, area: &DrawingArea<B, Shift>) -> Result<(), Failure>
    where
        B::ErrorType: 'static,
    {
        let points: Vec<Point> = self
            .frontier
            .iter()
            .copied()
            .chain(self.uniform.iter().map(|one| one.1))
            .collect();
        let positive = || points.iter().filter(|point| point.1 > 0.0);
        let fold = |of: &dyn Fn(&Point) -> f64| {
            positive()
                .map(of)
                .fold((f64::INFINITY, 0.0_f64), |(low, high), value| {
                    (low.min(value), high.max(value))
                })
        };
        let ((left, right), (low, high)) = (fold(&|point| point.0), fold(&|point| point.1));
        if !(left < right && low < high) {
            return Ok(());
        }
        let wide = (right - left) * 0.12;
        let mut chart = ChartBuilder::on(area)
            .caption("latency and output error: best per layer (line), one compressor everywhere (points)", ("sans-serif", 16))
            .margin(10)
            .x_label_area_size(40)
            .y_label_area_size(60)
            .build_cartesian_2d(left - wide..right + 2.0 * wide, (low * 0.6..high * 1.6).log_scale())?;
        chart
            .configure_mesh()
            .x_desc("latency, s")
            .y_desc("deviation")
            .y_label_formatter(&|value| format!("{:.3} %", 100.0 * value))
            .label_style(("sans-serif", 13))
            .light_line_style(WHITE)
            .draw()?;
        let line = self.frontier.iter().copied().filter(|point| point.1 > 0.0);
        chart.draw_series(LineSeries::new(line, BLUE.stroke_width(2)))?;
        for (name, point) in self.uniform.iter().filter(|one| one.1.1 > 0.0) {
            chart.draw_series([Circle::new(*point, 4, RED.filled())])?;
            chart.draw_series([
                EmptyElement::at(*point) + Text::new(name.clone(), (7, -6), ("sans-serif", 13))
            ])?;
        }
        if let Some(limit) = self
            .limit
            .filter(|limit| (low * 0.6..high * 1.6).contains(limit))
        {
            let ends = [(left - wide, limit), (right + 2.0 * wide, limit)];
            chart.draw_series(LineSeries::new(ends, BLACK.mix(0.5)))?;
            chart.draw_series([
                EmptyElement::at(ends[0]) + Text::new("budget", (4, -16), ("sans-serif", 13))
            ])?;
        }
        Ok(())
    }
}

impl Figure for Choice {
    fn draw<B: DrawingBackend>(&self, area: &DrawingArea<B, Shift>) -> Result<(), Failure>
    where
        B::ErrorType: 'static,
    {
        let area = area.titled(&self.title, ("sans-serif", 20))?;
        if self.uniform.is_empty() {
            return self.assignment(&area);
        }
        let (upper, lower) = area.split_vertically((45).percent_height());
        self.assignment(&upper)?;
        self.trade(&lower)
    }
}
