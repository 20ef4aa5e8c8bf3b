//! `sweep`: the answer at many values of some of the question's numbers, as rows and pictures.

mod picture;
mod rows;
mod tornado;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use planner::search::{Budget, Filter};
use planner::sweep::{Axis, Sweep};

use self::rows::{Line, Table};
use super::arguments::{Format, QuestionArguments};
use super::text::{self, bulleted, heading};
use super::{asked, choice, figure, listing};

/// What is varied, and over which question.
#[derive(Debug, Args)]
pub(super) struct SweepArguments {
    #[command(flatten)]
    pub question: QuestionArguments,
    /// A number to vary: FIELD=A,B,C or FIELD=FROM..TO:COUNT or FIELD=FROM..TO:COUNT:log, for instance
    /// "link.bandwidth=1GB/s..900GB/s:30:log"; may be repeated, the last varies fastest. Fields: gpus, size,
    /// frames, steps, batch, text-tokens, {link|pcie|socket|nvlink|network}.{bandwidth|latency}, gpu.compute,
    /// gpu.memory-bandwidth, psnr
    #[arg(long, value_name = "FIELD=VALUES", required_unless_present = "tornado")]
    pub vary: Vec<Axis>,
    /// Compare these plans at each point instead of letting the planner choose; may be repeated
    #[arg(long, value_name = "PLAN")]
    pub plan: Vec<String>,
    /// Consider only plans whose output equals the one-GPU output
    #[arg(long)]
    pub exact: bool,
    /// Consider only plans whose output keeps this, as for `plan`
    #[arg(long, value_name = "BUDGET")]
    pub budget: Option<Budget>,
    /// Write the rows here, a few at a time, so that a sweep that stops can go on
    #[arg(long, value_name = "FILE.csv")]
    pub out: Option<PathBuf>,
    /// Go on behind the last row of --out
    #[arg(long, requires = "out")]
    pub resume: bool,
    /// Draw it (.svg or .png): curves with their crossovers over one number, who wins where over two
    #[arg(long, value_name = "FILE")]
    pub plot: Option<PathBuf>,
    /// Instead: move each input by this share, plan again, and rank the inputs by their effect
    #[arg(long, value_name = "SHARE", num_args = 0..=1, default_missing_value = "0.2", conflicts_with_all = ["vary", "plan", "out"])]
    pub tornado: Option<f64>,
    #[command(flatten)]
    pub format: Format,
}

/// What `sweep` prints; it also writes the rows and the picture.
pub(super) fn answer(typed: &SweepArguments) -> Result<String> {
    let filter = Filter {
        exact_only: typed.exact,
        budget: typed.budget,
        ..Filter::default()
    };
    let question = asked::question(&typed.question, filter)?;
    if let Some(share) = typed.tornado {
        return tornado::answer(typed, &question, share);
    }
    for (index, axis) in typed.vary.iter().enumerate() {
        let twice = typed.vary[..index]
            .iter()
            .any(|other| other.field == axis.field);
        ensure!(
            !twice,
            "--vary {} is given twice: put all its values in one",
            axis.field
        );
    }
    let plans = typed.plan.iter().map(|line| asked::plan(line, &question));
    let sweep = Sweep {
        plans: plans.collect::<Result<_>>()?,
        axes: typed.vary.clone(),
        question,
    };
    let table = table(typed, &sweep)?;
    let title = choice::title(&sweep.question);
    if let Some(path) = &typed.plot {
        let drawn = picture::write(&choice::asked(&sweep.question), &table, path);
        drawn.map_err(|error| figure::undrawn(path, error))?;
    }
    if typed.format.json {
        return Ok(listing::pretty(&table.json(&sweep.question)));
    }
    let mut page = title + "\n" + &report(&table);
    for (what, path) in [("Rows", &typed.out), ("Picture", &typed.plot)] {
        if let Some(path) = path {
            page.push_str(&format!("\n{what}: {}\n", path.display()));
        }
    }
    Ok(page)
}

/// Every row, from the file as far as it has them.
fn table(typed: &SweepArguments, sweep: &Sweep) -> Result<Table> {
    let header = rows::header(&sweep.axes);
    let points = sweep.points();
    let progress = progress(points);
    let table = match &typed.out {
        None => {
            let mut lines = Vec::new();
            sweep.run(0, |found| {
                progress.inc(found.len() as u64);
                lines.extend(found.iter().map(rows::cells));
                anyhow::Ok(())
            })?;
            Table::new(header, lines)
        }
        Some(path) => {
            let asked = rows::question(&sweep.question, &sweep.axes, &typed.plan);
            let mut file = open(path, typed.resume, &header, &asked)?;
            ensure!(
                file.rows <= points,
                "{} has {} rows, this sweep {points} points: it is of another sweep",
                path.display(),
                file.rows
            );
            progress.inc(file.rows as u64);
            sweep.run(file.rows, |found| {
                progress.inc(found.len() as u64);
                let lines: Vec<Vec<String>> = found.iter().map(rows::cells).collect();
                file.append(&lines)
            })?;
            rows::read(path)?
        }
    };
    progress.finish_and_clear();
    Ok(table)
}

fn open(path: &Path, resume: bool, header: &[String], asked: &str) -> Result<rows::Appender> {
    if path.exists() && !resume {
        bail!(
            "{} is there already: --resume goes on with it, or choose another name",
            path.display()
        );
    }
    rows::Appender::open(path, header, asked).with_context(|| format!("--out {}", path.display()))
}

/// A bar on standard error; invisible where that is not a terminal.
fn progress(points: usize) -> ProgressBar {
    let style = ProgressStyle::with_template("{pos}/{len} points {wide_bar} {eta} left");
    let style = style.unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(points as u64).with_style(style)
}

/// The sweep for people: who wins where, the crossovers, what cannot be served.
fn report(table: &Table) -> String {
    let lines = table.best();
    let mut page = String::new();
    if table.axes.len() == 2 {
        page.push_str(&grid(table, &lines));
    } else {
        page.push_str(&listed(table, &lines));
    }
    let mut notes = crossovers(table, &lines);
    let refused: Vec<&Line> = table
        .lines
        .iter()
        .filter(|line| line.plan.is_empty())
        .collect();
    if let Some(first) = refused.first() {
        notes.push(format!(
            "{} of {} points have no plan, the first ({}): {}",
            refused.len(),
            table.lines.len(),
            first.place(&table.axes),
            first.reason
        ));
    }
    if !notes.is_empty() {
        page.push_str(&format!("\n{}{}", heading("Findings"), bulleted(&notes)));
    }
    page
}

/// Rows that a table for people may have.
const SHOWN: usize = 40;

/// One line a point; fewer columns where many numbers vary.
fn listed(table: &Table, lines: &[&Line]) -> String {
    type Column = (&'static str, fn(&Line) -> String);
    const COLUMNS: [Column; 5] = [
        ("latency, s", |line| format!("{:.3}", line.latency_s)),
        ("speed-up", |line| format!("{:.2}", line.speed_up)),
        ("90 %, s", |line| {
            format!("{:.3} to {:.3}", line.lo_s, line.hi_s)
        }),
        ("exposed, s", |line| format!("{:.3}", line.exposed_s)),
        ("memory, GB", |line| format!("{:.1}", line.memory_gb)),
    ];
    let columns = &COLUMNS[..COLUMNS.len().min(7 - table.axes.len().clamp(2, 5))];
    let mut header: Vec<&str> = table.axes.iter().map(String::as_str).collect();
    header.push("plan");
    let numbers: Vec<usize> = (header.len()..header.len() + columns.len()).collect();
    header.extend(columns.iter().map(|column| column.0));
    let mut shown = text::table(&header, &numbers);
    for line in lines.iter().take(SHOWN) {
        let mut cells = line.values.clone();
        if line.plan.is_empty() {
            cells.push("none".to_owned());
        } else {
            cells.push(line.label());
            cells.extend(columns.iter().map(|column| column.1(line)));
        }
        shown.add_row(cells);
    }
    let mut page = text::rendered(&mut shown);
    if lines.len() > SHOWN {
        let more = lines.len() - SHOWN;
        page.push_str(&format!(
            "    {more} more points: --out FILE.csv or --json has them\n\n{}",
            winners(lines)
        ));
    }
    page
}

/// Who wins where over two numbers: the one with more values down, the other across.
fn grid(table: &Table, lines: &[&Line]) -> String {
    const MOST: usize = 4;
    let (one, other) = (table.distinct(0), table.distinct(1));
    let (down, across) = if one.len() < other.len() {
        (1, 0)
    } else {
        (0, 1)
    };
    let (rows, columns) = if down == 0 {
        (one, other)
    } else {
        (other, one)
    };
    if columns.len() > MOST {
        return winners(lines);
    }
    let mut header = vec![format!("{}, {}", table.axes[down], table.axes[across])];
    header.extend(columns.iter().cloned());
    let header: Vec<&str> = header.iter().map(String::as_str).collect();
    let mut shown = text::table(&header, &[]);
    for row in rows {
        let mut cells = vec![row.clone()];
        cells.extend(columns.iter().map(|column| {
            let at = |line: &&&Line| line.values[down] == row && line.values[across] == *column;
            match lines.iter().find(at) {
                Some(line) if !line.plan.is_empty() => {
                    format!("{} {:.2} s", line.label(), line.latency_s)
                }
                _ => "none".to_owned(),
            }
        }));
        shown.add_row(cells);
    }
    text::rendered(&mut shown)
}

/// How often each kind of plan wins.
fn winners(lines: &[&Line]) -> String {
    let mut shown = text::table(&["wins", "of", "kind of plan"], &[0, 1]);
    for (kind, count) in rows::kinds(lines) {
        shown.add_row([count.to_string(), lines.len().to_string(), kind]);
    }
    text::rendered(&mut shown)
}

/// Where the winner changes along the last number, for the first few values of the others.
fn crossovers(table: &Table, lines: &[&Line]) -> Vec<String> {
    const MOST: usize = 8;
    let Some(last) = table.axes.len().checked_sub(1) else {
        return Vec::new();
    };
    let mut notes = Vec::new();
    for pair in lines.windows(2) {
        let (before, after) = (pair[0], pair[1]);
        let same_row = before.values[..last] == after.values[..last];
        if same_row
            && before.kind() != after.kind()
            && !after.plan.is_empty()
            && !before.plan.is_empty()
        {
            let rest = match last {
                0 => String::new(),
                _ => format!(" ({})", after.place_of(&table.axes[..last])),
            };
            notes.push(format!(
                "between {} = {} and {}, {} gives way to {}{rest}",
                table.axes[last],
                before.values[last],
                after.values[last],
                before.label(),
                after.label()
            ));
        }
    }
    if notes.len() > MOST {
        let more = notes.len() - MOST;
        notes.truncate(MOST);
        notes.push(format!(
            "{more} more changes of the winner: --plot draws the borders"
        ));
    }
    notes
}
