//! `simulate`: one plan in full, and its timeline in a file.

use std::path::Path;

use anyhow::{Context, Result};
use sim::chakra;
use traces::timeline;
use traces::whole;

use super::arguments::SimulateArguments;
use super::text::{self, bulleted, heading, wrapped};
use super::{asked, choice, contract, listing};
use planner::search::{self, Evaluation, Filter, Question};

/// What `simulate` prints; it also writes the timeline.
pub(super) fn answer(typed: &SimulateArguments) -> Result<String> {
    let question = asked::question(&typed.question, Filter::default())?;
    let plan = asked::plan(&typed.plan, &question)?;
    let found = search::evaluate(&question, &plan)?;
    if let Some(path) = &typed.timeline {
        whole::write_with(path, |out| timeline::write_chrome(&found.timeline, out))
            .with_context(|| format!("the timeline cannot be written to {}", path.display()))?;
    }
    if let Some(folder) = &typed.chakra {
        write_chakra(&found, folder)
            .with_context(|| format!("the traces cannot be written to {}", folder.display()))?;
    }
    if typed.format.json {
        return Ok(listing::pretty(&contract::evaluation(&question, &found)));
    }
    Ok(report(&question, &found, typed.timeline.as_deref()))
}

/// Writes a Chakra trace for every rank.
fn write_chakra(found: &Evaluation, folder: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(folder)?;
    let run = &found.simulation;
    let placement = &found.candidate.plan.placement;
    let provenance = found.timeline.provenance();
    for (rank, trace) in chakra::traces(&run.graph, &run.outcome, placement, provenance) {
        whole::write(&folder.join(format!("ditplan.{rank}.et")), trace)?;
    }
    Ok(())
}

/// The evaluation for people.
fn report(question: &Question, found: &Evaluation, timeline: Option<&Path>) -> String {
    let candidate = &found.candidate;
    let header = [
        "plan",
        "compressor",
        "latency, s (90 %)",
        "speed-up",
        "exposed",
        "memory",
        choice::output_header(&found.single),
    ];
    let mut table = text::table(&header, &[2, 3, 4, 5]);
    let strategy = candidate.plan.strategy();
    choice::row(&mut table, None, &strategy, candidate, &found.single);
    if candidate.plan.ranks() > 1 {
        choice::row(&mut table, None, "one GPU", &found.single, &found.single);
    }
    let mut page = choice::title(question) + "\n" + &text::rendered(&mut table);
    page.push_str(&choice::residencies([candidate, &found.single].into_iter()));
    page.push('\n');
    page.push_str(&heading(&candidate.plan.to_string()));
    for (name, text) in [
        ("proof", choice::bound(candidate)),
        ("time", choice::breakdown(candidate)),
        ("output", choice::quality(candidate)),
    ] {
        page.push_str(&wrapped(&format!("  {name:<8}{text}"), 10));
    }
    page.push('\n');
    page.push_str(&choice::launch(candidate));
    let sources = bulleted(&found.provenance);
    choice::section(&mut page, "Where the numbers come from", &sources);
    if let Some(path) = timeline {
        page.push_str(&format!(
            "\nTimeline: {}; open it at https://ui.perfetto.dev or chrome://tracing\n",
            path.display()
        ));
    }
    page
}
