//! The chosen plan as a picture: which compressor each layer has at each step, and what other budgets
//! would cost.

use std::collections::BTreeMap;

use kernels::Compressor;
use plotters::coord::Shift;
use plotters::prelude::*;

use crate::render::figure::{Failure, Figure};
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
            .y_label_area_size(84)
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
        let named: Vec<&(String, Point)> =
            self.uniform.iter().filter(|one| one.1.1 > 0.0).collect();
        let corner = chart.plotting_area().strip_coord_spec();
        let corner = corner.get_base_pixel();
        let limit = self
            .limit
            .filter(|limit| (low * 0.6..high * 1.6).contains(limit));
        let line = limit.map(|limit| chart.backend_coord(&(left, limit)).1 - corner.1);
        let mut words = Vec::new();
        for (name, point) in &named {
            chart.draw_series([Circle::new(*point, 4, RED.filled())])?;
            let (x, y) = chart.backend_coord(point);
            let (width, _) =
                area.estimate_text_size(name, &("sans-serif", 13).into_text_style(area))?;
            words.push(((x - corner.0, y - corner.1), width as i32));
        }
        for ((name, point), shift) in named.into_iter().zip(beside(&words, line)) {
            chart.draw_series([
                EmptyElement::at(*point) + Text::new(name.clone(), shift, ("sans-serif", 13))
            ])?;
        }
        if let Some(limit) = limit {
            let ends = [(left - wide, limit), (right + 2.0 * wide, limit)];
            chart.draw_series(LineSeries::new(ends, BLACK.mix(0.5)))?;
            // Right, where compressors so lossy are not so slow.
            chart.draw_series([
                EmptyElement::at(ends[1]) + Text::new("budget", (-50, -16), ("sans-serif", 13))
            ])?;
        }
        Ok(())
    }
}

/// How far from each point the upper left corner of its words is, so that no words lie over others, over
/// another point or over a line across: to the right if there is room, else to the left, a little higher or lower. Points and widths
/// are in pixels, from the left end of the axis.
fn beside(words: &[((i32, i32), i32)], line: Option<i32>) -> Vec<(i32, i32)> {
    const HEIGHT: i32 = 13;
    const HIGHER: [i32; 13] = [-6, -2, -10, 2, -14, 6, -18, 10, -22, 14, -26, 18, -30];
    let mut taken: Vec<(i32, i32, i32)> = Vec::new();
    let dots = words.iter().map(|((x, y), _)| (x - 4, y - 4, 8));
    let dots: Vec<(i32, i32, i32)> = dots.collect();
    let mut shifts = Vec::new();
    for (index, &((x, y), width)) in words.iter().enumerate() {
        let both = |dy: &i32| [(8, *dy), (-8 - width, *dy)];
        let places: Vec<(i32, i32)> = HIGHER.iter().flat_map(both).collect();
        let over = |place: &(i32, i32), height: i32, other: &(i32, i32, i32)| {
            let (left, top) = (x + place.0, y + place.1);
            let across = left < other.0 + other.2 && other.0 < left + width;
            across && top < other.1 + height && other.1 < top + HEIGHT
        };
        let free = |place: &&(i32, i32)| {
            let mut others = dots.iter().enumerate().filter(|(at, _)| *at != index);
            let top = y + place.1;
            x + place.0 >= 0
                && !line.is_some_and(|line| (top..top + HEIGHT).contains(&line))
                && !taken.iter().any(|other| over(place, HEIGHT, other))
                && !others.any(|(_, other)| over(place, 8, other))
        };
        let shift = places.iter().find(free).copied().unwrap_or(places[0]);
        taken.push((x + shift.0, y + shift.1, width));
        shifts.push(shift);
    }
    shifts
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_words_lie_over_others() {
        let words = [
            ((70, 30), 80),
            ((84, 40), 25),
            ((86, 47), 85),
            ((86, 53), 60),
        ];
        let shifts = beside(&words, Some(51));
        let boxes: Vec<(i32, i32, i32)> = words
            .iter()
            .zip(&shifts)
            .map(|(((x, y), width), (dx, dy))| (x + dx, y + dy, *width))
            .collect();
        for (index, one) in boxes.iter().enumerate() {
            assert!(
                one.0 >= 0 && !(one.1..one.1 + 13).contains(&51),
                "{boxes:?}"
            );
            for other in &boxes[..index] {
                let across = one.0 < other.0 + other.2 && other.0 < one.0 + one.2;
                assert!(!across || (one.1 - other.1).abs() >= 13, "{boxes:?}");
            }
        }
    }
}
