//! `capacity`: the cheapest fleet that serves a rate of requests in time.

use anyhow::Result;
use indicatif::{ProgressBar, ProgressStyle};

pub(crate) use self::arguments::CapacityArguments;
use self::json::CapacityAnswer;
use crate::render::figure;
use crate::render::json::pretty;
use crate::render::words;

mod arguments;
pub(crate) mod json;
mod patterns;
mod picture;
mod question;
mod report;

/// What `capacity` prints.
pub(crate) fn answer(typed: &CapacityArguments) -> Result<String> {
    let question = question::question(typed)?;
    let progress = progress();
    let answer = planner::capacity::capacity(&question, &progress);
    progress.finish_and_clear();
    let answer = answer.map_err(words::no_fleet)?;
    if let Some(path) = &typed.plot {
        let drawn = figure::write(&picture::Load::new(&answer), path);
        drawn.map_err(|error| figure::undrawn(path, error))?;
    }
    if typed.format.json {
        return Ok(pretty(&CapacityAnswer::new(&answer)));
    }
    Ok(report::page(&answer))
}

/// A bar on standard error; invisible where that is not a terminal.
fn progress() -> ProgressBar {
    let style = ProgressStyle::with_template("{msg:24} {wide_bar} {pos}/{len}");
    ProgressBar::new(0).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}
