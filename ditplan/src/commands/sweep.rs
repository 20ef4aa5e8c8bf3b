//! `sweep`: the answer at many values of some of the question's numbers, as rows and pictures.
//!
//! ```text
//! typed ─▶ Sweep ─▶ Workers ─▶ lines of CSV, in order ─▶ file ─▶ Table ─▶ text | JSON | picture | Parquet
//! ```

mod arguments;
mod file;
mod frontier;
pub(crate) mod json;
#[cfg(feature = "parquet")]
mod parquet;
mod picture;
mod report;
mod rows;
mod scale;
mod speed_up;
mod table;
pub(crate) mod tornado;

use std::collections::BTreeSet;

use anyhow::{Context, Result, bail, ensure};
use indicatif::{ProgressBar, ProgressStyle};
use planner::search::{Filter, Question, Shared};
use planner::sweep::{Field, Sweep};
use sim::plan::Plan;

use self::arguments::Show;
pub(crate) use self::arguments::SweepArguments;
pub use self::file::digest;
use self::json::SweepAnswer;
pub use self::rows::lines;
use self::table::Table;
use crate::question;
use crate::question::prices::prices;
use crate::render::figure;
use crate::render::json::pretty;
use crate::render::text::{counted, heading, wrapped};

/// Who works out the points of a sweep.
pub trait Workers {
    /// The points from `first` on, as [`lines`] has them, given to `each` in order and a few at a time.
    ///
    /// # Errors
    /// What `each` returns; nothing is given to it after that.
    fn work(
        &self,
        sweep: &Sweep,
        first: usize,
        each: &mut dyn FnMut(Vec<u8>) -> Result<()>,
    ) -> Result<()>;
}

/// The threads of this process.
#[derive(Clone, Copy, Debug)]
pub struct Threads;

impl Workers for Threads {
    fn work(
        &self,
        sweep: &Sweep,
        first: usize,
        each: &mut dyn FnMut(Vec<u8>) -> Result<()>,
    ) -> Result<()> {
        let shared = Shared::default();
        sweep
            .chunks(first)
            .try_for_each(|points| each(lines(sweep, points, &shared)))
    }
}

/// What `sweep` prints; it also writes the rows and the picture.
pub(crate) fn answer(typed: &SweepArguments, workers: &dyn Workers) -> Result<String> {
    if let Some(share) = typed.tornado {
        return tornado::answer(typed, &question(typed)?, share);
    }
    let sweep = sweep(typed)?;
    check(typed, &sweep)?;
    let table = table(typed, &sweep, workers)?;
    let title = title(&sweep);
    if let Some(path) = &typed.plot {
        let drawn = match typed.show {
            Show::Winners => picture::write(&title, &table, path),
            Show::Frontier => frontier::write(&title, &table, path),
            Show::SpeedUp => speed_up::write(&title, &table, path),
        };
        drawn.map_err(|error| figure::undrawn(path, error))?;
    }
    #[cfg(feature = "parquet")]
    if let Some(path) = &typed.parquet {
        parquet::write(&sweep, &table, path)
            .with_context(|| format!("--parquet {}", path.display()))?;
    }
    if typed.format.json {
        return Ok(pretty(&SweepAnswer {
            question: file::question(&sweep),
            axes: table.axes.clone(),
            rows: table.json()?,
        }));
    }
    let shown = match typed.show {
        Show::Winners => report::report(&table),
        Show::Frontier => frontier::report(&table),
        Show::SpeedUp => speed_up::report(&table),
    };
    let mut page = heading(&title) + &wrapped(&place(&sweep), 0) + "\n" + &shown;
    for (what, path) in [
        ("Rows", &typed.out),
        ("Parquet", &typed.parquet),
        ("Picture", &typed.plot),
    ] {
        if let Some(path) = path {
            page.push_str(&format!("\n{what}: {}\n", path.display()));
        }
    }
    Ok(page)
}

/// Refuses, before hours of work, what could not be shown after it.
fn check(typed: &SweepArguments, sweep: &Sweep) -> Result<()> {
    let varies = |field: Field| sweep.axes.iter().any(|axis| axis.field == field);
    let gpu = &sweep.question.machine.gpus[0];
    match typed.show {
        Show::Winners => {}
        Show::Frontier => ensure!(
            typed.plot.is_none() || gpu.price_per_hour.is_some() || varies(Field::Price),
            "--show frontier: no price of {0} is known, so there is no cost to draw: give --price {0}=DOLLARS/h",
            gpu.name
        ),
        Show::SpeedUp => {
            let sizes: BTreeSet<u32> = sweep.plans.iter().map(Plan::ranks).collect();
            ensure!(
                sizes.len() > 1 || sizes.is_empty() && varies(Field::Gpus),
                "--show speed-up needs several numbers of GPUs: --vary gpus=1,2,4,8, or several --plan of different sizes"
            );
        }
    }
    if varies(Field::Psnr) {
        ensure!(
            sweep.plans.is_empty(),
            "--vary psnr asks the planner for plans that keep it: leave out --plan"
        );
        ensure!(
            sweep.question.quality.is_some(),
            "--vary psnr needs a recorded trace of {}: give --trace DIR (ditplan_capture records one)",
            sweep.question.model.name
        );
    }
    let fixed = &typed.question;
    for (field, given) in [
        (Field::Gpus, fixed.gpus.is_some()),
        (Field::Size, fixed.size.is_some()),
        (Field::Frames, fixed.frames.is_some()),
        (Field::Steps, fixed.steps.is_some()),
        (Field::TextTokens, fixed.text_tokens.is_some()),
        (Field::Psnr, typed.budget.is_some()),
    ] {
        ensure!(
            !(given && varies(field)),
            "--vary {field} varies what another option fixes: give one of them"
        );
    }
    ensure!(
        typed.parquet.is_none() || cfg!(feature = "parquet"),
        "--parquet: this program was built without it: build it by `cargo build --release -p ditplan --features \
         parquet`, or take --out FILE.csv"
    );
    Ok(())
}

/// The question that the axes change.
fn question(typed: &SweepArguments) -> Result<Question> {
    let filter = Filter {
        exact_only: typed.exact,
        budget: typed.budget,
        ..Filter::default()
    };
    let mut question = question::question(&typed.question, filter)?;
    question.fastest = typed.fastest;
    for (name, price) in prices(&typed.price)? {
        let mut found = false;
        for gpu in question
            .machine
            .gpus
            .iter_mut()
            .filter(|gpu| gpu.name == name)
        {
            (gpu.price_per_hour, found) = (Some(price), true);
            "--price".clone_into(&mut gpu.price_source);
        }
        ensure!(
            found,
            "--price is for {name}, which {} does not have: give the price of {}",
            question.machine.name,
            question.machine.gpus[0].name
        );
    }
    Ok(question)
}

/// The sweep that was typed.
pub(crate) fn sweep(typed: &SweepArguments) -> Result<Sweep> {
    let question = question(typed)?;
    for (index, axis) in typed.vary.iter().enumerate() {
        let mut before = typed.vary[..index].iter();
        ensure!(
            before.all(|other| other.field != axis.field),
            "--vary {} is given twice: put all its values in one",
            axis.field
        );
    }
    let plans = typed
        .plan
        .iter()
        .map(|line| question::plan(line, &question));
    Ok(Sweep {
        plans: plans.collect::<Result<_>>()?,
        axes: typed.vary.clone(),
        question,
    })
}

/// Every row, from the file as far as it has them.
fn table(typed: &SweepArguments, sweep: &Sweep, workers: &dyn Workers) -> Result<Table> {
    let progress = progress(sweep.points());
    let count = |lines: &[u8]| {
        let rows = lines.iter().filter(|byte| **byte == b'\n').count();
        progress.inc(rows as u64);
    };
    let csv = match &typed.out {
        None => {
            let mut csv = rows::line(&rows::header(&sweep.axes));
            workers.work(sweep, 0, &mut |lines| {
                count(&lines);
                csv.extend(lines);
                Ok(())
            })?;
            csv
        }
        Some(path) => {
            if path.exists() && !typed.resume {
                bail!(
                    "{} is there already: --resume goes on with it, or choose another name",
                    path.display()
                );
            }
            let mut file = file::Appender::open(path, sweep)
                .with_context(|| format!("--out {}", path.display()))?;
            progress.inc(file.rows as u64);
            workers.work(sweep, file.rows, &mut |lines| {
                count(&lines);
                file.append(&lines)
            })?;
            std::fs::read(path).with_context(|| format!("{} cannot be read", path.display()))?
        }
    };
    progress.finish_and_clear();
    Table::read(csv)
}

/// A bar on standard error; invisible where that is not a terminal.
fn progress(points: usize) -> ProgressBar {
    let style = ProgressStyle::with_template("{pos}/{len} points {wide_bar} {eta} left");
    let style = style.unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(points as u64).with_style(style)
}

/// Model, request and GPUs in words, without what varies: `FLUX.1-dev, 28 steps on up to 16 x L20`.
fn title(sweep: &Sweep) -> String {
    let Question { model, request, .. } = &sweep.question;
    let varies = |field: Field| sweep.axes.iter().any(|axis| axis.field == field);
    let mut words = model.name.to_owned();
    if !varies(Field::Size) {
        words.push_str(&format!(" {}", request.resolution));
    }
    if !varies(Field::Frames) && request.frames > 1 {
        words.push_str(&format!(" x {} frames", request.frames));
    }
    if !varies(Field::Steps) {
        words.push_str(&format!(", {}", counted(request.steps, "step")));
    }
    if !varies(Field::Batch) && request.batch > 1 {
        words.push_str(&format!(", batch {}", request.batch));
    }
    if model.uses_guidance() {
        words.push_str(&format!(", guidance {}", request.guidance));
    }
    format!("{words} on {}", gpus(sweep))
}

/// `4 of 8 x L20`, `up to 16 x L20`.
fn gpus(sweep: &Sweep) -> String {
    let Question { machine, gpus, .. } = &sweep.question;
    let all = machine.summary().gpus;
    let mut axes = sweep.axes.iter();
    match axes.find(|axis| axis.field == Field::Gpus) {
        Some(_) => format!("up to {all}"),
        None if *gpus as usize == machine.gpus.len() => all,
        None => format!("{gpus} of {all}"),
    }
}

/// Where it runs, and what varies.
fn place(sweep: &Sweep) -> String {
    let question = &sweep.question;
    let machine = &question.machine;
    let vary = sweep.axes.iter().map(|axis| match axis.values[..] {
        [one] => format!("{} = {one}", axis.field),
        _ => format!("{} ({} values)", axis.field, axis.values.len()),
    });
    format!(
        "{}, {}, {}; varied: {}",
        machine.name,
        question.engine,
        question.compilation,
        vary.collect::<Vec<_>>().join(", ")
    )
}
