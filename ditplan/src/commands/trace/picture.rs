//! Residual over activation across the steps: K, V, and FLUX.1-dev as published.

use plotters::coord::Shift;
use plotters::prelude::*;
use traces::trace::{FLUX_STEPS, Point, Tensor, flux};

use crate::render::figure::{Failure, Figure};

/// A named line of (part of the run, ratio).
struct Curve {
    name: &'static str,
    color: RGBColor,
    points: Vec<(f64, f64)>,
}

/// The picture; steps are shown as parts of the run, so that runs of other lengths lie over each other.
pub(super) struct Curves {
    title: String,
    curves: Vec<Curve>,
}

impl Curves {
    /// The curves of a trace of `steps` steps, and the published one.
    pub(super) fn new(title: String, steps: u32, points: &[Point]) -> Self {
        let of = |tensor: Tensor| -> Vec<(f64, f64)> {
            let own = points.iter().filter(|point| point.tensor == Some(tensor));
            own.map(|point| (f64::from(point.step) / f64::from(steps), point.ratio))
                .collect()
        };
        let published = flux().iter();
        let published =
            published.map(|step| (f64::from(step.step) / f64::from(FLUX_STEPS), step.ratio()));
        Self {
            title,
            curves: vec![
                Curve {
                    name: "K",
                    color: BLUE,
                    points: of(Tensor::K),
                },
                Curve {
                    name: "V",
                    color: RED,
                    points: of(Tensor::V),
                },
                Curve {
                    name: "FLUX.1-dev, published",
                    color: BLACK,
                    points: published.collect(),
                },
            ],
        }
    }
}

impl Figure for Curves {
    fn draw<B: DrawingBackend>(&self, area: &DrawingArea<B, Shift>) -> Result<(), Failure>
    where
        B::ErrorType: 'static,
    {
        let ratios = self.curves.iter().flat_map(|curve| &curve.points);
        let highest = ratios.map(|(_, ratio)| *ratio).fold(0.0, f64::max);
        let mut chart = ChartBuilder::on(area)
            .caption(&self.title, ("sans-serif", 22))
            .margin(15)
            .x_label_area_size(45)
            .y_label_area_size(70)
            .build_cartesian_2d(0.0..1.0, 0.0..highest * 1.1)?;
        chart
            .configure_mesh()
            .x_desc("step / steps")
            .y_desc("residual / activation")
            .label_style(("sans-serif", 15))
            .light_line_style(WHITE)
            .draw()?;
        for curve in &self.curves {
            let style = curve.color.stroke_width(2);
            chart
                .draw_series(LineSeries::new(curve.points.iter().copied(), style))?
                .label(curve.name)
                .legend(move |(x, y)| PathElement::new([(x, y), (x + 20, y)], style));
            let dots = curve.points.iter();
            chart.draw_series(dots.map(|at| Circle::new(*at, 3, curve.color.filled())))?;
        }
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::UpperMiddle)
            .label_font(("sans-serif", 15))
            .background_style(WHITE)
            .border_style(BLACK.mix(0.3))
            .draw()?;
        Ok(())
    }
}
