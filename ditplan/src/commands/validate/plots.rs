//! Plots of a report: predicted against measured, and error by testbed, as SVG and PNG.

use std::path::Path;

use plotters::coord::Shift;
use plotters::prelude::*;

use crate::render::figure::{self, Failure, Figure};
use planner::validate::tier::Stratum;

/// Points drawn at most: those of 235,000 rows would make an SVG of 30 MB.
const MOST_POINTS: usize = 4000;

/// What a plot shows.
#[derive(Clone, Debug, PartialEq)]
pub enum Plot<'a> {
    /// Predicted over measured, both logarithmic.
    Scatter {
        /// Heading.
        title: String,
        /// Unit of both axes.
        unit: &'static str,
        /// Measured and predicted.
        points: &'a [(f64, f64)],
    },
    /// Median and 90th percentile of the error, a bar for each stratum.
    Errors {
        /// Heading.
        title: String,
        /// The strata.
        strata: Vec<&'a Stratum>,
    },
}

impl Plot<'_> {
    /// Writes `name.svg` and `name.png` into `folder`.
    ///
    /// # Errors
    /// What the backend says when the files cannot be written.
    pub fn write(&self, folder: &Path, name: &str) -> Result<(), Failure> {
        figure::write_svg(self, &folder.join(format!("{name}.svg")))?;
        figure::write_png(self, &folder.join(format!("{name}.png")))
    }
}

impl Figure for Plot<'_> {
    fn draw<B: DrawingBackend>(&self, area: &DrawingArea<B, Shift>) -> Result<(), Failure>
    where
        B::ErrorType: 'static,
    {
        match self {
            Self::Scatter {
                title,
                unit,
                points,
            } => scatter(area, title, unit, points),
            Self::Errors { title, strata } => errors(area, title, strata),
        }
    }
}

fn scatter<B: DrawingBackend>(
    area: &DrawingArea<B, Shift>,
    title: &str,
    unit: &str,
    points: &[(f64, f64)],
) -> Result<(), Failure>
where
    B::ErrorType: 'static,
{
    let ends = points.iter().flat_map(|(a, b)| [*a, *b]);
    let (low, high) = ends.fold((f64::INFINITY, 0.0_f64), |(low, high), value| {
        (low.min(value), high.max(value))
    });
    if points.is_empty() || low <= 0.0 {
        return Ok(());
    }
    let range = low / 1.5..high * 1.5;
    let mut chart = ChartBuilder::on(area)
        .caption(title, ("sans-serif", 22))
        .margin(15)
        .x_label_area_size(45)
        .y_label_area_size(80)
        .build_cartesian_2d(range.clone().log_scale(), range.clone().log_scale())?;
    let mesh_x = format!("measured, {unit}");
    let mesh_y = format!("predicted, {unit}");
    chart
        .configure_mesh()
        .x_desc(mesh_x)
        .y_desc(mesh_y)
        .label_style(("sans-serif", 15))
        .light_line_style(WHITE)
        .draw()?;
    let every = points.len().div_ceil(MOST_POINTS);
    let dots = points.iter().step_by(every);
    chart.draw_series(dots.map(|(x, y)| Circle::new((*x, *y), 2, BLUE.mix(0.35).filled())))?;
    for (factor, style) in [
        (1.0_f64, BLACK.stroke_width(1)),
        (1.2, BLACK.mix(0.3).stroke_width(1)),
        (1.0 / 1.2, BLACK.mix(0.3).stroke_width(1)),
    ] {
        let ends = [range.start / factor.min(1.0), range.end / factor.max(1.0)];
        let line = ends.map(|x| (x, x * factor));
        chart.draw_series(LineSeries::new(line, style))?;
    }
    Ok(())
}

fn errors<B: DrawingBackend>(
    area: &DrawingArea<B, Shift>,
    title: &str,
    strata: &[&Stratum],
) -> Result<(), Failure>
where
    B::ErrorType: 'static,
{
    let worst = strata
        .iter()
        .map(|one| one.score.p90_pct)
        .fold(1.0, f64::max);
    let rows = strata.len().max(1) as f64;
    let mut chart = ChartBuilder::on(area)
        .caption(title, ("sans-serif", 22))
        .margin(15)
        .x_label_area_size(45)
        .y_label_area_size(330)
        .build_cartesian_2d(0.0..worst * 1.05, 0.0..rows)?;
    let name = |at: &f64| {
        let index = at.floor() as usize;
        let middle = (at.fract() - 0.5).abs() < 0.01;
        let found = strata.get(index).filter(|_| middle);
        found.map_or_else(String::new, |one| one.name.clone())
    };
    chart
        .configure_mesh()
        .disable_y_mesh()
        .y_labels(0)
        .y_label_formatter(&name)
        .x_desc("error, % (dark: median, light: 90th percentile)")
        .label_style(("sans-serif", 14))
        .draw()?;
    for (index, one) in strata.iter().enumerate() {
        let at = index as f64;
        for (value, color) in [
            (one.score.p90_pct, BLUE.mix(0.25)),
            (one.score.median_pct, BLUE.mix(0.8)),
        ] {
            let bar = Rectangle::new([(0.0, at + 0.15), (value, at + 0.85)], color.filled());
            chart.draw_series(std::iter::once(bar))?;
        }
        let (x, y) = chart.backend_coord(&(0.0, at + 0.5));
        let label: String = one.name.chars().take(46).collect();
        let text = format!("{label} ({})", one.score.mapped);
        let style = ("sans-serif", 13).into_text_style(area);
        let style = style.pos(plotters::style::text_anchor::Pos::new(
            plotters::style::text_anchor::HPos::Right,
            plotters::style::text_anchor::VPos::Center,
        ));
        area.draw_text(&text, &style, (x - 6, y))?;
    }
    Ok(())
}
