//! Relative error over the steps, a line for each compressor: K left, V right.

use std::collections::BTreeMap;

use plotters::coord::Shift;
use plotters::prelude::*;
use sim::replay::Replayed;
use traces::trace::Tensor;

use crate::render::figure::{Failure, Figure};

/// A compressor's relative error by step.
type Line = (String, Vec<(i32, f64)>);

/// Pixels across that the names of the lines take.
const LEGEND: u32 = 150;

/// The picture.
pub(super) struct Errors {
    title: String,
    panels: [Vec<Line>; 2],
}

impl Errors {
    /// The errors of a replayed trace, over all layers and samples.
    pub(super) fn new(title: String, replayed: &Replayed) -> Self {
        let panel = |tensor: Tensor| -> Vec<Line> {
            let mut lines = Vec::new();
            for method in replayed.methods() {
                let mut sums: BTreeMap<u32, (f64, u32)> = BTreeMap::new();
                for step in replayed.steps() {
                    if step.method == method && step.tensor == tensor && step.energy.error > 0.0 {
                        let sum = sums.entry(step.step).or_default();
                        sum.0 += step.relative_error().powi(2);
                        sum.1 += 1;
                    }
                }
                let rms = |(step, (sum, count)): (u32, (f64, u32))| {
                    (step as i32, (sum / f64::from(count)).sqrt())
                };
                lines.push((method.to_string(), sums.into_iter().map(rms).collect()));
            }
            lines
        };
        Self {
            title,
            panels: Tensor::ALL.map(panel),
        }
    }
}

impl Figure for Errors {
    fn draw<B: DrawingBackend>(&self, area: &DrawingArea<B, Shift>) -> Result<(), Failure>
    where
        B::ErrorType: 'static,
    {
        let area = area.titled(&self.title, ("sans-serif", 22))?;
        let values = || self.panels.iter().flatten().flat_map(|line| &line.1);
        let last = values().map(|at| at.0).fold(1, i32::max);
        let low = values().map(|at| at.1).fold(f64::INFINITY, f64::min);
        let high = values().map(|at| at.1).fold(0.0, f64::max);
        let (low, high) = if low < high {
            (low * 0.7, high * 1.4)
        } else {
            (1e-4, 1.0)
        };
        let longest = (-low.log10().floor()).clamp(2.0, 12.0) as u32;
        let (width, _) = area.dim_in_pixel();
        let (panels, legend) = area.split_horizontally(width.saturating_sub(LEGEND));
        for (panel, (lines, name)) in panels
            .split_evenly((1, 2))
            .iter()
            .zip(self.panels.iter().zip(["K", "V"]))
        {
            let mut chart = ChartBuilder::on(panel)
                .caption(name, ("sans-serif", 18))
                .margin(10)
                .x_label_area_size(40)
                .y_label_area_size(44 + 8 * longest)
                .build_cartesian_2d(0..last, (low..high).log_scale())?;
            chart
                .configure_mesh()
                .x_desc("step")
                .y_desc("||e|| / ||x||")
                .x_label_formatter(&|step| step.to_string())
                .y_label_formatter(&|value| {
                    // No more digits than the decade needs.
                    let decade = (100.0 * value).log10() + 1e-9;
                    let decimals = (-decade.floor()).max(0.0) as usize;
                    format!("{:.decimals$} %", 100.0 * value)
                })
                .label_style(("sans-serif", 13))
                .light_line_style(WHITE)
                .draw()?;
            for (index, (_, points)) in lines.iter().enumerate() {
                let style = Palette99::pick(index).stroke_width(2);
                chart.draw_series(LineSeries::new(points.iter().copied(), style))?;
            }
            if lines.iter().all(|line| line.1.is_empty()) {
                let middle = (0, (low * high).sqrt());
                let words = Text::new("every error is 0", (12, 0), ("sans-serif", 14));
                chart.draw_series([EmptyElement::at(middle) + words])?;
            }
        }
        for (index, (label, _)) in self.panels[0].iter().enumerate() {
            let y = 40 + 20 * index as i32;
            let style = Palette99::pick(index).stroke_width(2);
            legend.draw(&PathElement::new([(4, y + 7), (22, y + 7)], style))?;
            legend.draw(&Text::new(label.clone(), (28, y), ("sans-serif", 13)))?;
        }
        Ok(())
    }
}
