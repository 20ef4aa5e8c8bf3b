//! The chosen fleet as a picture: latency percentiles against the rate, and the queue over time.

use planner::capacity::{Answer, CurvePoint, QueuePoint};
use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use crate::render::figure::{Failure, Figure};
use crate::render::text::counted;

/// The percentiles, slowest first, and their colours.
const LINES: [(&str, usize, RGBColor); 3] = [
    ("p99", 3, RGBColor(178, 24, 43)),
    ("p95", 2, RGBColor(217, 130, 20)),
    ("p50", 1, RGBColor(33, 102, 172)),
];

/// The picture.
pub(super) struct Load {
    title: String,
    curve: Vec<CurvePoint>,
    queue: Vec<QueuePoint>,
    asked: f64,
    saturation: f64,
    /// Limits that hold for all shapes.
    limits: Vec<(String, f64)>,
}

impl Load {
    /// The picture of an answer.
    pub(super) fn new(answer: &Answer) -> Self {
        let asked = &answer.question;
        let criteria = asked.slo.criteria.iter().filter(|one| one.shape.is_none());
        Self {
            title: format!(
                "{}, {} ({})",
                asked.markets[0].model().name,
                counted(answer.choice.gpus, "GPU"),
                asked.slo
            ),
            curve: answer.curve.clone(),
            queue: answer.queue.clone(),
            asked: asked.rate().get(),
            saturation: answer.saturation.get(),
            limits: criteria
                .map(|one| (one.to_string(), one.limit.as_secs_f64()))
                .collect(),
        }
    }

    fn latencies<B: DrawingBackend>(&self, area: &DrawingArea<B, Shift>) -> Result<(), Failure>
    where
        B::ErrorType: 'static,
    {
        let right = self.curve.last().map_or(1.0, |point| point.rate.get());
        let limit = self.limits.iter().map(|limit| limit.1).fold(0.0, f64::max);
        // Beyond the saturation latencies grow without end: what matters is around the limit.
        let before = self
            .curve
            .iter()
            .filter(|point| point.rate.get() <= self.saturation * 1.0001);
        let highest = before
            .map(|point| point.latency[3].hi)
            .fold(limit, f64::max);
        let top = 1.25 * highest;
        let mut chart = ChartBuilder::on(area)
            .caption(
                "latency against the rate of requests; shaded: 95 % intervals",
                ("sans-serif", 16),
            )
            .margin(10)
            .margin_right(60)
            .x_label_area_size(38)
            .y_label_area_size(60)
            .build_cartesian_2d(0.0..right * 1.02, 0.0..top)?;
        chart
            .configure_mesh()
            .x_desc("requests per second")
            .y_desc("latency, s")
            .light_line_style(WHITE)
            .label_style(("sans-serif", 13))
            .draw()?;
        for (rate, colour) in [(self.asked, BLACK), (self.saturation, RGBColor(90, 90, 90))] {
            let line = [(rate, 0.0), (rate, top)];
            chart.draw_series(DashedLineSeries::new(line, 4, 4, colour.stroke_width(1)))?;
        }
        for (name, limit) in &self.limits {
            let line = [(0.0, *limit), (right * 1.02, *limit)];
            chart.draw_series(LineSeries::new(line, BLACK.mix(0.6).stroke_width(1)))?;
            let style = ("sans-serif", 13).into_text_style(area);
            let style = style.pos(Pos::new(HPos::Left, VPos::Bottom));
            chart.draw_series([Text::new(name.clone(), (right * 0.01, *limit), style)])?;
        }
        for (name, place, colour) in LINES {
            let at = |point: &CurvePoint| (point.rate.get(), point.latency[place]);
            let below = self.curve.iter().map(at);
            let lower = below
                .clone()
                .map(|(rate, of)| (rate, of.lo.clamp(0.0, top)));
            let upper = below.clone().map(|(rate, of)| (rate, of.hi.min(top)));
            let band: Vec<(f64, f64)> = lower.chain(upper.rev()).collect();
            chart.draw_series([Polygon::new(band, colour.mix(0.2))])?;
            let line: Vec<(f64, f64)> = below.map(|(rate, of)| (rate, of.value)).collect();
            let line: Vec<(f64, f64)> = clipped(&line, top);
            chart.draw_series(LineSeries::new(
                line.iter().copied(),
                colour.stroke_width(2),
            ))?;
            if let Some(&(rate, latency)) = line.last() {
                let style = ("sans-serif", 14).into_text_style(area).color(&colour);
                let (x, y) = chart.backend_coord(&(rate, latency));
                let side = if latency >= top {
                    (x + 4, y)
                } else {
                    (x + 4, y - 7)
                };
                area.draw_text(name, &style, relative(area, side))?;
            }
        }
        let style = ("sans-serif", 13).into_text_style(area);
        // At the foot, where no latency is; one on each side, as the lines may be close.
        let words = [
            (self.asked, "asked", HPos::Right, -4),
            (self.saturation, "saturation", HPos::Left, 4),
        ];
        for (rate, word, side, beside) in words {
            let style = style.pos(Pos::new(side, VPos::Center));
            let (x, y) = chart.backend_coord(&(rate, top * 0.04));
            area.draw_text(word, &style, relative(area, (x + beside, y)))?;
        }
        Ok(())
    }

    fn waiting<B: DrawingBackend>(&self, area: &DrawingArea<B, Shift>) -> Result<(), Failure>
    where
        B::ErrorType: 'static,
    {
        let end = self.queue.last().map_or(1.0, |point| point.until_s);
        let (unit, length) = match end {
            172_800.0.. => ("days", 86_400.0),
            7200.0.. => ("hours", 3600.0),
            300.0.. => ("minutes", 60.0),
            _ => ("seconds", 1.0),
        };
        let most = self.queue.iter().map(|point| point.most).max().unwrap_or(0);
        let top = f64::from(most.max(1)) * 1.1;
        let mut chart = ChartBuilder::on(area)
            .caption(
                "requests that wait, first replication; light: the most, dark: the mean of each 300th",
                ("sans-serif", 16),
            )
            .margin(10)
            .margin_right(60)
            .x_label_area_size(38)
            .y_label_area_size(60)
            .build_cartesian_2d(0.0..end / length, 0.0..top)?;
        chart
            .configure_mesh()
            .x_desc(unit)
            .y_desc("waiting")
            .y_label_formatter(&|count| format!("{count:.0}"))
            .light_line_style(WHITE)
            .label_style(("sans-serif", 13))
            .draw()?;
        let mut from = 0.0;
        for point in &self.queue {
            let until = point.until_s / length;
            for (height, colour) in [
                (f64::from(point.most), BLUE.mix(0.25)),
                (point.mean, BLUE.mix(0.9)),
            ] {
                let bar = Rectangle::new([(from, 0.0), (until, height)], colour.filled());
                chart.draw_series(std::iter::once(bar))?;
            }
            from = until;
        }
        Ok(())
    }
}

/// A point of the root in the coordinates of a part of it.
fn relative<B: DrawingBackend>(area: &DrawingArea<B, Shift>, point: (i32, i32)) -> (i32, i32) {
    let (columns, rows) = area.get_pixel_range();
    (point.0 - columns.start, point.1 - rows.start)
}

/// A line up to where it leaves the chart at the top.
fn clipped(line: &[(f64, f64)], top: f64) -> Vec<(f64, f64)> {
    let mut kept: Vec<(f64, f64)> = Vec::new();
    for &(x, y) in line {
        if y <= top {
            kept.push((x, y));
            continue;
        }
        if let Some(&(before, from)) = kept.last() {
            kept.push((before + (x - before) * (top - from) / (y - from), top));
        }
        break;
    }
    kept
}

impl Figure for Load {
    fn draw<B: DrawingBackend>(&self, area: &DrawingArea<B, Shift>) -> Result<(), Failure>
    where
        B::ErrorType: 'static,
    {
        let area = area.titled(&self.title, ("sans-serif", 20))?;
        let (upper, lower) = area.split_vertically(400);
        self.latencies(&upper)?;
        self.waiting(&lower)
    }
}
