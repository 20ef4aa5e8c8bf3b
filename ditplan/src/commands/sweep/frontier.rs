//! `--show frontier`: the plans than which none is faster, cheaper and better at once.
//!
//! One chooses plan, GPUs, batch and budget (`Field::is_choice`); whatever else varies is given, and has a frontier for
//! each of its values. Quality is the predicted deviation of the output where a trace predicts one, else the published
//! FID; exact plans have 0 of either. A plan of unknown quality counts as the worst: it is there only where it is
//! faster or cheaper than all plans of known quality.

use std::path::Path;

use planner::sweep;
use plotters::coord::Shift;
use plotters::prelude::*;

use super::report::{SHOWN, cents};
use super::scale::{COLOURS, REST, Span, digits, short};
use super::table::{self, Line, Table};
use crate::render::figure::{self, Failure, Figure};
use crate::render::text::{self, bulleted, heading};

/// Panels of a picture at most.
const PANELS: usize = 6;

/// How far an output is from the one-GPU output.
#[derive(Clone, Copy)]
enum Measure {
    Deviation,
    Fid,
}

impl Measure {
    fn of(lines: &[&Line]) -> Self {
        let predicted = |line: &&Line| !line.deviation.is_nan();
        match lines.iter().any(predicted) {
            true => Self::Deviation,
            false => Self::Fid,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Deviation => "deviation, %",
            Self::Fid => "FID",
        }
    }

    fn quality(self, line: &Line) -> f64 {
        match self {
            _ if line.output == "exact" => 0.0,
            Self::Deviation => 100.0 * line.deviation,
            Self::Fid => line.fid,
        }
    }

    fn shown(self, line: &Line) -> String {
        let quality = self.quality(line);
        match line.output.as_str() {
            "exact" => "exact".to_owned(),
            output if quality.is_nan() => format!("{output}, not known"),
            output => format!("{output}, {}", short(quality)),
        }
    }
}

/// The frontier of what was given: its place, all lines that serve, and which of them are on the frontier.
struct Given<'a> {
    place: String,
    lines: Vec<&'a Line>,
    on: Vec<bool>,
}

impl Given<'_> {
    /// The frontier's lines, fastest first.
    fn frontier(&self) -> Vec<&Line> {
        let lines = self.lines.iter().zip(&self.on);
        let mut lines: Vec<&Line> = lines
            .filter(|(_, on)| **on)
            .map(|(line, _)| *line)
            .collect();
        lines.sort_by(|a, b| a.latency_s.total_cmp(&b.latency_s));
        lines
    }
}

/// A frontier for each combination of given values, in the order they occur.
fn given(table: &Table, measure: Measure) -> Vec<Given<'_>> {
    let chosen = table.chosen();
    let mut all: Vec<Given<'_>> = Vec::new();
    for line in table.lines.iter().filter(|line| line.serves()) {
        let place = line.place(&table.axes, |axis| !chosen[axis]);
        match all.iter_mut().find(|given| given.place == place) {
            Some(given) => given.lines.push(line),
            None => all.push(Given {
                place,
                lines: vec![line],
                on: Vec::new(),
            }),
        }
    }
    for given in &mut all {
        let figures = |line: &&Line| [line.latency_s, line.cost_each_usd, measure.quality(line)];
        let figures: Vec<[f64; 3]> = given.lines.iter().map(figures).collect();
        given.on = sweep::frontier(&figures);
    }
    all
}

fn serving(table: &Table) -> Vec<&Line> {
    table.lines.iter().filter(|line| line.serves()).collect()
}

/// The frontier for people.
pub(super) fn report(table: &Table) -> String {
    let lines = serving(table);
    let measure = Measure::of(&lines);
    let all = given(table, measure);
    let mut header: Vec<&str> = table.axes.iter().map(String::as_str).collect();
    let first = header.len() + 1;
    header.extend(["plan", "latency, s", "cost, cents", measure.name(), "GPUs"]);
    let mut shown = text::table(&header, &[first, first + 1, first + 3]);
    let frontier: Vec<&Line> = all.iter().flat_map(Given::frontier).collect();
    for line in frontier.iter().take(SHOWN) {
        let mut cells = line.values.clone();
        cells.extend([
            line.label(),
            format!("{:.3}", line.latency_s),
            cents(line.cost_each_usd),
            measure.shown(line),
            line.ranks.to_string(),
        ]);
        shown.add_row(cells);
    }
    let mut page = text::rendered(&mut shown);
    if frontier.len() > SHOWN {
        let more = frontier.len() - SHOWN;
        page.push_str(&format!("    {more} more: --vary less\n"));
    }
    let mut notes = vec![format!(
        "{} of {} plans that fit are on the frontier: none is faster, cheaper and better at once",
        frontier.len(),
        lines.len()
    )];
    if lines.iter().all(|line| line.cost_each_usd.is_nan()) {
        notes.push("no price of the GPU is known: --price GPU=DOLLARS/h gives one".to_owned());
    }
    if lines.iter().any(|line| measure.quality(line).is_nan()) {
        notes.push(
            "an output that is not known counts as the worst: a trace predicts it (docs/quality.md)"
                .to_owned(),
        );
    }
    page.push_str(&format!("\n{}{}", heading("Findings"), bulleted(&notes)));
    page
}

/// Draws latency against cost: every plan, the frontier, its quality beside it.
pub(super) fn write(title: &str, table: &Table, path: &Path) -> Result<(), Failure> {
    let lines = serving(table);
    if lines.is_empty() {
        return Err("no point has a plan that fits".into());
    }
    let measure = Measure::of(&lines);
    let picture = Frontiers {
        title,
        measure,
        all: given(table, measure),
        kinds: table::kinds(&lines),
    };
    if picture.all.len() > PANELS {
        return Err(format!(
            "{} frontiers, one for each combination of values that are given: draw at most {PANELS}",
            picture.all.len()
        )
        .into());
    }
    figure::write(&picture, path)
}

struct Frontiers<'a> {
    title: &'a str,
    measure: Measure,
    all: Vec<Given<'a>>,
    kinds: Vec<(String, usize)>,
}

impl Figure for Frontiers<'_> {
    fn draw<B: DrawingBackend>(&self, area: &DrawingArea<B, Shift>) -> Result<(), Failure>
    where
        B::ErrorType: 'static,
    {
        let area = area.titled(self.title, ("sans-serif", 18))?;
        let (width, _) = area.dim_in_pixel();
        let (panels, legend) = area.split_horizontally(width.saturating_sub(230));
        let columns = if self.all.len() > 3 { 2 } else { 1 };
        let parts = panels.split_evenly((self.all.len().div_ceil(columns), columns));
        for (given, part) in self.all.iter().zip(&parts) {
            self.panel(part, given)?;
        }
        self.legend(&legend)
    }
}

impl Frontiers<'_> {
    fn colour(&self, line: &Line) -> RGBColor {
        let kind = line.kind();
        let place = self.kinds.iter().position(|known| known.0 == kind);
        let colour = place.and_then(|index| COLOURS.get(index));
        colour.copied().unwrap_or(REST)
    }

    fn panel<B: DrawingBackend>(
        &self,
        area: &DrawingArea<B, Shift>,
        given: &Given<'_>,
    ) -> Result<(), Failure>
    where
        B::ErrorType: 'static,
    {
        let at = |line: &Line| (line.latency_s, 100.0 * line.cost_each_usd);
        let most = |of: &dyn Fn(&Line) -> f64| {
            let all = given.lines.iter().map(|line| of(line));
            all.filter(|figure| figure.is_finite()).fold(0.0, f64::max)
        };
        let across = Span::even(most(&|line| at(line).0) * 1.25);
        let up = Span::even(most(&|line| at(line).1) * 1.1);
        let mut chart = ChartBuilder::on(area)
            .caption(&given.place, ("sans-serif", 14))
            .margin(8)
            .x_label_area_size(38)
            .y_label_area_size(up.room())
            .build_cartesian_2d(across, up)?;
        chart
            .configure_mesh()
            .x_desc("latency, s")
            .y_desc("cost of one image or video, US cents")
            .x_label_formatter(&|value| digits(*value))
            .y_label_formatter(&|value| digits(*value))
            .light_line_style(WHITE)
            .label_style(("sans-serif", 12))
            .draw()?;
        for (line, on) in given.lines.iter().zip(&given.on) {
            let colour = self.colour(line);
            let style = if *on {
                colour.filled()
            } else {
                colour.mix(0.25).filled()
            };
            let size = if *on { 5 } else { 3 };
            chart.draw_series([Circle::new(at(line), size, style)])?;
        }
        let mut taken: Vec<(i32, i32)> = Vec::new();
        for line in given.frontier() {
            let (x, y) = chart.backend_coord(&at(line));
            let free = |shift: &&i32| {
                let near = |other: &(i32, i32)| {
                    (other.0 - x).abs() < 170 && (other.1 - y - **shift).abs() < 12
                };
                !taken.iter().any(near)
            };
            // Beside its dot, else a little higher or lower; a crowd of equals is not labelled.
            let Some(shift) = [-6, -18, 6, -30, 18].iter().find(free) else {
                continue;
            };
            taken.push((x, y + shift));
            let words = format!("{}: {}", line.words(), self.measure.shown(line));
            let text = Text::new(words, (8, *shift), ("sans-serif", 11));
            chart.draw_series([EmptyElement::at(at(line)) + text])?;
        }
        Ok(())
    }

    fn legend<B: DrawingBackend>(&self, legend: &DrawingArea<B, Shift>) -> Result<(), Failure>
    where
        B::ErrorType: 'static,
    {
        let kinds = self.kinds.iter().take(COLOURS.len()).zip(COLOURS);
        let mut y = 20;
        for ((kind, _), colour) in kinds {
            legend.draw(&Circle::new((11, y + 7), 5, colour.filled()))?;
            legend.draw(&Text::new(kind.clone(), (24, y), ("sans-serif", 12)))?;
            y += 22;
        }
        if self.kinds.len() > COLOURS.len() {
            legend.draw(&Circle::new((11, y + 7), 5, REST.filled()))?;
            legend.draw(&Text::new("other kinds", (24, y), ("sans-serif", 12)))?;
            y += 22;
        }
        let words = [
            "full: on the frontier".to_owned(),
            "pale: another is faster,".to_owned(),
            "cheaper and better".to_owned(),
            format!("label: plan, {}", self.measure.name()),
        ];
        for words in words {
            y += 18;
            legend.draw(&Text::new(words, (4, y), ("sans-serif", 12)))?;
        }
        Ok(())
    }
}
