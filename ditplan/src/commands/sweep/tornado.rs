//! `sweep --tornado`: which inputs move the answer most.

use anyhow::{Result, ensure};
use planner::search::Question;
use planner::sweep::{Field, Swing, tornado};
use plotters::coord::Shift;
use plotters::prelude::*;
#[cfg(test)]
use schemars::JsonSchema;
use serde::Serialize;

use super::arguments::SweepArguments;
use crate::render::figure::{self, Failure, Figure};
use crate::render::json::{self, Amount, Word};
use crate::render::plans;
use crate::render::text::{self, percent};

/// How much each input moves the answer.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub(crate) struct TornadoAnswer {
    /// How far each input is moved, a fraction of 1.
    pub share: Amount,
    /// Latency of the best plan with nothing moved, seconds.
    pub latency_s: Amount,
    /// The inputs, the one that moves the latency most first; those that cannot move are left out.
    pub inputs: Vec<Input>,
}

/// How much one input moves the answer.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub(crate) struct Input {
    /// The input.
    pub field: Word<Field>,
    /// Its values lower, as asked and higher, as text with units; factors are times.
    pub values: [String; 3],
    /// Latency of the best plan at the lower and at the higher value, seconds.
    pub latency_s: [Amount; 2],
    /// The best plan at the lower and at the higher value.
    pub plans: [String; 2],
}

/// What `sweep --tornado` prints; it also draws it.
pub(super) fn answer(typed: &SweepArguments, question: &Question, share: f64) -> Result<String> {
    ensure!(
        share > 0.0 && share < 1.0,
        "--tornado {share}: give a share between 0 and 1, as 0.2 for 20 %"
    );
    let (base, swings) = tornado(question, share)?;
    let title = plans::title(question);
    if let Some(path) = &typed.plot {
        let picture = Tornado {
            title: plans::asked(question),
            base,
            swings: &swings,
        };
        let drawn = figure::write(&picture, path);
        drawn.map_err(|error| figure::undrawn(path, error))?;
    }
    if typed.format.json {
        let inputs = swings.iter().map(|swing| Input {
            field: Word(swing.field),
            values: swing.values.clone(),
            latency_s: swing.latency_s.map(Amount::from),
            plans: swing.plans.clone(),
        });
        let all = TornadoAnswer {
            share: share.into(),
            latency_s: base.into(),
            inputs: inputs.collect(),
        };
        return Ok(json::pretty(&all));
    }
    let header = [
        "input",
        "from",
        "to",
        "latency, s",
        "change",
        "plan at the low end, at the high end",
    ];
    let mut table = text::table(&header, &[3, 4]);
    for swing in &swings {
        let [low, high] = swing.latency_s;
        let plans = match &swing.plans {
            [one, other] if one == other => one.clone(),
            [one, other] => format!("{one}, {other}"),
        };
        table.add_row([
            swing.field.to_string(),
            swing.values[0].clone(),
            swing.values[2].clone(),
            format!("{low:.3} to {high:.3}"),
            format!(
                "{} / {}",
                percent(low / base - 1.0),
                percent(high / base - 1.0)
            ),
            plans,
        ]);
    }
    Ok(format!(
        "{title}\n{}\nThe best plan takes {base:.3} s; each input {} lower and higher, planned again.\n",
        text::rendered(&mut table),
        percent(share)
    ))
}

struct Tornado<'a> {
    title: String,
    base: f64,
    swings: &'a [Swing],
}

impl Figure for Tornado<'_> {
    fn draw<B: DrawingBackend>(&self, area: &DrawingArea<B, Shift>) -> Result<(), Failure>
    where
        B::ErrorType: 'static,
    {
        let ends = self.swings.iter().flat_map(|swing| swing.latency_s);
        let low = ends.clone().fold(self.base, f64::min);
        let high = ends.fold(self.base, f64::max);
        let margin = (high - low).max(self.base * 0.01) * 0.08;
        let rows = self.swings.len() as f64;
        let mut chart = ChartBuilder::on(area)
            .caption(&self.title, ("sans-serif", 18))
            .margin(12)
            .x_label_area_size(45)
            .y_label_area_size(180)
            .build_cartesian_2d(low - margin..high + margin, rows..0.0)?;
        let name = |row: f64| {
            let index = row.floor().max(0.0) as usize;
            self.swings
                .get(index)
                .map(|swing| swing.field.to_string())
                .unwrap_or_default()
        };
        chart
            .configure_mesh()
            .disable_y_mesh()
            .y_labels(0)
            .x_desc("latency of the best plan, s (blue: input lower, orange: higher)")
            .label_style(("sans-serif", 14))
            .light_line_style(WHITE)
            .draw()?;
        for (index, swing) in self.swings.iter().enumerate() {
            let (top, bottom) = (index as f64 + 0.15, index as f64 + 0.85);
            for (latency, colour) in swing
                .latency_s
                .iter()
                .zip([RGBColor(66, 114, 196), RGBColor(230, 126, 34)])
            {
                let bar = Rectangle::new(
                    [(self.base, top), (*latency, bottom)],
                    colour.mix(0.85).filled(),
                );
                chart.draw_series([bar])?;
            }
            let (x, y) = chart.backend_coord(&(low - margin, index as f64 + 0.5));
            let (left, top) = area.get_base_pixel();
            let style = TextStyle::from(("sans-serif", 14).into_font()).pos(
                plotters::style::text_anchor::Pos::new(
                    plotters::style::text_anchor::HPos::Right,
                    plotters::style::text_anchor::VPos::Center,
                ),
            );
            area.draw(&Text::new(
                name(index as f64),
                (x - left - 8, y - top),
                style,
            ))?;
        }
        chart.draw_series(LineSeries::new(
            [(self.base, 0.0), (self.base, rows)],
            BLACK.stroke_width(1),
        ))?;
        Ok(())
    }
}
