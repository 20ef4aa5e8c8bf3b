//! `simulate`: one plan in full, and its timeline in a file.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::{Args, ValueHint};
#[cfg(test)]
use schemars::JsonSchema;
use serde::Serialize;
use sim::chakra;
use traces::timeline::{self, Timeline};
use traces::whole;

use crate::question::{self, Format, QuestionArguments};
use crate::render::json::{self, Plan};
use crate::render::plans;
use crate::render::text::{self, bulleted, heading, wrapped};
use crate::render::words;
use planner::search::{self, Evaluation, Filter, Question};

/// The question of `simulate`.
#[derive(Debug, Args)]
pub(crate) struct SimulateArguments {
    /// The plan, for instance "ring4/1bit" or "cfg2+ulysses2+pipefusion2(m4) warmup=2"
    #[arg(long, value_name = "PLAN", value_hint = ValueHint::Other)]
    pub plan: String,
    #[command(flatten)]
    pub question: QuestionArguments,
    /// Write what ran where and when, for Perfetto or chrome://tracing
    #[arg(long, value_name = "FILE")]
    pub timeline: Option<PathBuf>,
    /// Write Chakra execution traces here, DIR/ditplan.RANK.et, for ASTRA-sim
    #[arg(long, value_name = "DIR")]
    pub chakra: Option<PathBuf>,
    #[command(flatten)]
    pub format: Format,
}

/// One plan, simulated in full.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub(crate) struct SimulateAnswer {
    /// What was asked, with every default filled in.
    pub question: json::Question,
    /// How plans are executed.
    pub execution: json::Execution,
    /// The plan that was asked for.
    pub choice: Plan,
    /// One GPU.
    pub single: Plan,
    /// Where the numbers come from, one sentence each; for people.
    pub provenance: Vec<String>,
}

impl SimulateAnswer {
    fn new(asked: &Question, found: &Evaluation) -> Self {
        let single = found.single.latency.as_secs_f64();
        Self {
            question: asked.into(),
            execution: asked.into(),
            choice: Plan::new(&found.candidate, single),
            single: Plan::new(&found.single, single),
            provenance: words::sources(&found.provenance),
        }
    }
}

/// What `simulate` prints; it also writes the timeline.
pub(crate) fn answer(typed: &SimulateArguments) -> Result<String> {
    let question = question::question(&typed.question, Filter::default())?;
    let plan = question::plan(&typed.plan, &question)?;
    let found = search::evaluate(&question, &plan)?;
    if let Some(path) = &typed.timeline {
        let timeline = words::timeline(&found);
        whole::write_with(path, |out| timeline::write_chrome(&timeline, out))
            .with_context(|| format!("the timeline cannot be written to {}", path.display()))?;
    }
    if let Some(folder) = &typed.chakra {
        write_chakra(&found, folder)
            .with_context(|| format!("the traces cannot be written to {}", folder.display()))?;
    }
    if typed.format.json {
        return Ok(json::pretty(&SimulateAnswer::new(&question, &found)));
    }
    Ok(report(&question, &found, typed.timeline.as_deref()))
}

/// What ran where and when under the plan that was typed.
pub(crate) fn timeline(typed: &SimulateArguments) -> Result<Timeline> {
    let question = question::question(&typed.question, Filter::default())?;
    let plan = question::plan(&typed.plan, &question)?;
    Ok(words::timeline(&search::evaluate(&question, &plan)?))
}

/// Writes a Chakra trace for every rank.
fn write_chakra(found: &Evaluation, folder: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(folder)?;
    let run = &found.simulation;
    let placement = &found.candidate.plan.placement;
    let sources = words::sources(&found.provenance).join("; ");
    for (rank, trace) in chakra::traces(&run.graph, &run.outcome, placement, &sources) {
        whole::write(&folder.join(format!("ditplan.{rank}.et")), trace)?;
    }
    Ok(())
}

/// That the plan's GPUs have no room for it, and what would.
fn does_not_fit(question: &Question, found: &Evaluation) -> String {
    let gpu = &question.machine.gpus[0];
    let (needs, has) = (found.candidate.memory.total, gpu.memory);
    let short = format!(
        "This does not run: it needs {needs} and a {} has {has}.",
        gpu.name
    );
    match &found.fitting {
        Some(fitting) => format!(
            "{short} What fits with {}: --plan \"{fitting}\".",
            question.engine
        ),
        None => format!(
            "{short} No residency that {} offers fits: take more GPUs, larger ones, or --precision fp8.",
            question.engine
        ),
    }
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
        plans::output_header([candidate, &found.single].into_iter()),
    ];
    let mut table = text::table(&header, &[2, 3, 4, 5]);
    let strategy = candidate.plan.strategy();
    plans::row(&mut table, None, &strategy, candidate, &found.single);
    if candidate.plan.ranks() > 1 {
        plans::row(&mut table, None, "one GPU", &found.single, &found.single);
    }
    let mut page = plans::title(question) + "\n" + &text::rendered(&mut table);
    page.push_str(&plans::residencies([candidate, &found.single].into_iter()));
    if !candidate.memory.fits.is_fit() {
        page.push_str(&wrapped(&does_not_fit(question, found), 0));
    }
    page.push('\n');
    page.push_str(&heading(&candidate.plan.to_string()));
    for (name, text) in [
        ("proof", plans::bound(candidate)),
        ("time", plans::breakdown(candidate)),
        ("output", plans::quality(candidate)),
        ("memory", plans::memory_parts(candidate)),
    ] {
        page.push_str(&wrapped(&format!("  {name:<8}{text}"), 10));
    }
    page.push('\n');
    page.push_str(&plans::launch(candidate));
    let sources = bulleted(&words::sources(&found.provenance));
    text::section(&mut page, "Where the numbers come from", &sources);
    if let Some(path) = timeline {
        page.push_str(&format!(
            "\nTimeline: {}; open it at https://ui.perfetto.dev or chrome://tracing\n",
            path.display()
        ));
    }
    page
}
