//! `plan --robust`: plans by faults, the plan with the least worst case, and what it costs.

use std::path::Path;

use anyhow::{Context, Result};
use planner::search::{self, Column, Kind, Question, Replan, Robust, RobustPlan, usual};
use topologies::{Faults, SimDuration};

use self::json::RobustAnswer;
use self::picture::{halves, listed};
use super::arguments::PlanArguments;
use super::question::plan_question;
use crate::question::files;
use crate::render::json::pretty;
use crate::render::text::{self, heading, named, percent, seconds, wrapped};
use crate::render::{figure, plans, words};

pub(crate) mod json;
mod picture;

/// How many plans are shown to people.
const SHOWN: usize = 8;

/// What `plan --robust` prints.
pub(super) fn answer(typed: &PlanArguments) -> Result<String> {
    let question = plan_question(typed)?;
    let kinds = kinds(&typed.faults, &question)?;
    let found = text::busy("planning", || search::robust(&question, kinds))?;
    if let Some(path) = &typed.plot {
        let drawn = figure::write(&picture::Weather::new(&found), path);
        drawn.map_err(|error| figure::undrawn(path, error))?;
    }
    if typed.format.json {
        let shown = typed.top.unwrap_or(found.plans.len());
        return Ok(pretty(&RobustAnswer::new(&found, shown)));
    }
    Ok(report(&found, typed.top.unwrap_or(SHOWN)))
}

/// The faults that may happen: what was typed, each a case or a file of cases; else the usual ones.
fn kinds(typed: &[String], question: &Question) -> Result<Vec<Kind>> {
    if typed.is_empty() {
        return Ok(usual(&question.machine));
    }
    let mut kinds = Vec::new();
    for text in typed {
        anyhow::ensure!(
            Path::new(text).is_file() || text.contains('='),
            "--faults {text}: there is no such file, and it is no fault such as gpu3=80%"
        );
        let lines = match Path::new(text).is_file() {
            true => lines(text)?,
            false => vec![(String::new(), text.clone())],
        };
        for (place, line) in lines {
            let named = || format!("--faults{place}");
            let faults: Faults = line.parse().with_context(named)?;
            faults.on(&question.machine).with_context(named)?;
            kinds.push(Kind::of(faults));
        }
    }
    anyhow::ensure!(!kinds.is_empty(), "--faults {}: no case in it", typed[0]);
    Ok(kinds)
}

/// The cases of a file, each with its place; empty lines and what follows a # are left out.
fn lines(file: &str) -> Result<Vec<(String, String)>> {
    let bytes =
        files::bytes(Path::new(file)).with_context(|| format!("--faults {file} cannot be read"))?;
    let text = topologies::import::text(&bytes, file)?;
    let bare = |line: &str| line.split('#').next().unwrap_or_default().trim().to_owned();
    let all = text.lines().enumerate();
    let all = all.map(|(index, line)| (format!(" {file}, line {}", index + 1), bare(line)));
    Ok(all.filter(|(_, line)| !line.is_empty()).collect())
}

/// The answer for people.
fn report(found: &Robust, shown: usize) -> String {
    let mut page = plans::title(&found.question) + "\n" + &table(found, shown);
    let hidden = found.plans.len().saturating_sub(shown);
    if hidden > 0 {
        page.push_str(&format!(
            "  {hidden} more plans simulated: --top shows them\n"
        ));
    }
    page.push('\n');
    page.push_str(&verdict(found));
    let known: Vec<(String, String)> = found.columns.iter().map(known).collect();
    section(&mut page, "Best if one knew", &known);
    let replans: Vec<(String, String)> = found.replans.iter().map(replanned).collect();
    section(&mut page, "When it is lost", &replans);
    page.push('\n');
    page.push_str(&plans::launch(&found.choice.candidate));
    let sources = text::bulleted(&words::sources(&found.provenance));
    text::section(&mut page, "Where the numbers come from", &sources);
    page
}

fn section(page: &mut String, title: &str, lines: &[(String, String)]) {
    text::section(page, title, &named(lines));
}

/// Plans by faults: the least worst cases, the choice, that without a fault, and what would be best if one knew.
fn table(found: &Robust, shown: usize) -> String {
    let kinds = found.columns.iter().map(|column| {
        let (above, below) = halves(&column.kind.name);
        format!("{above}\n{below}").trim().to_owned()
    });
    let fixed = |words: [&str; 2]| words.map(str::to_owned);
    let header: Vec<String> = fixed(["plan", "no\nfault, s"])
        .into_iter()
        .chain(kinds)
        .chain(fixed(["worst", "regret"]))
        .collect();
    let header: Vec<&str> = header.iter().map(String::as_str).collect();
    let numbers: Vec<usize> = (1..header.len()).collect();
    let mut table = text::table(&header, &numbers);
    let mut row = |name: String, faced: &RobustPlan| {
        let times = [faced.candidate.latency];
        let times = times.iter().chain(&faced.latencies);
        let times = times.chain([&faced.worst, &faced.regret]);
        table.add_row([name].into_iter().chain(times.map(|time| seconds(*time))));
    };
    let listed = listed(found, shown.max(1));
    for faced in &listed {
        row(plans::label(&faced.candidate.plan), faced);
    }
    let usual = plans::label(&found.nominal.candidate.plan);
    let is_listed = |name: &str| {
        let mut labels = listed
            .iter()
            .map(|faced| plans::label(&faced.candidate.plan));
        labels.any(|label| label == name)
    };
    let choice = plans::label(&found.choice.candidate.plan);
    if !is_listed(&choice) {
        row(format!("{choice} (choice)"), &found.choice);
    }
    if !is_listed(&usual) && usual != choice {
        row(format!("{usual} (no fault)"), &found.nominal);
    }
    let known = found.columns.iter().map(|column| column.known.latency);
    let known = known.map(seconds);
    let fastest = seconds(found.nominal.candidate.latency);
    table.add_row(
        ["if one knew".to_owned(), fastest]
            .into_iter()
            .chain(known)
            .chain([String::new(), String::new()]),
    );
    text::rendered(&mut table)
}

/// The choice: its worst case, its price, and why no other plan is better.
fn verdict(found: &Robust) -> String {
    let (robust, nominal) = (&found.choice, &found.nominal);
    let title = format!(
        "Most robust: {}, {} s at worst",
        robust.candidate.plan,
        seconds(robust.worst)
    );
    let dropped = match found.next_bound {
        None => "every plan was simulated".to_owned(),
        Some(bound) => format!(
            "{} dropped by their bounds: at worst none of them takes less than {} s",
            found.pruned,
            seconds(bound)
        ),
    };
    let search = format!(
        "{} legal plans, {} fit and pass, {} simulated in {} runs, {dropped}.",
        found.considered,
        found.fitting,
        found.plans.len(),
        found.runs
    );
    let mut lines = heading(&title);
    let mut said = vec![("worst", worst(found, robust))];
    let least = &found.plans[0];
    if least.candidate.plan != robust.candidate.plan {
        said.push(("least", worst(found, least) + " The evidence cannot tell its worst case from the choice's, which goes before it as in `plan`."));
    }
    said.extend([
        ("price", price(robust, nominal)),
        ("usual", worst(found, nominal)),
        ("search", search),
    ]);
    for (name, text) in said {
        lines.push_str(&wrapped(&format!("  {name:<8}{text}"), 10));
    }
    lines
}

/// The worst case of a plan in words.
fn worst(found: &Robust, faced: &RobustPlan) -> String {
    let kinds = faced.latencies.iter().zip(&faced.worst_cases);
    let at = kinds.zip(&found.columns);
    let hit = at
        .filter(|((latency, _), _)| **latency == faced.worst)
        .map(|((_, index), column)| column.kind.cases[*index].to_string())
        .next();
    let case = hit.map_or_else(
        || "without any fault".to_owned(),
        |case| format!("with {case}"),
    );
    let name = plans::label(&faced.candidate.plan);
    format!(
        "{name} takes {} s {case}, {} s more than the best plan for some fault.",
        seconds(faced.worst),
        seconds(faced.regret)
    )
}

/// What the robust plan costs when nothing is wrong, and what it saves when something is.
fn price(robust: &RobustPlan, nominal: &RobustPlan) -> String {
    if robust.candidate.plan == nominal.candidate.plan {
        return "none: it is also the choice when nothing is wrong.".to_owned();
    }
    let than = |a: SimDuration, b: SimDuration, words: [&str; 2]| {
        let more = a.as_secs_f64() / b.as_secs_f64() - 1.0;
        format!("{} {}", percent(more.abs()), words[usize::from(more < 0.0)])
    };
    format!(
        "{} when nothing is wrong, against {}, whose worst case is {}.",
        than(
            robust.candidate.latency,
            nominal.candidate.latency,
            ["more", "less"]
        ),
        plans::label(&nominal.candidate.plan),
        than(nominal.worst, robust.worst, ["longer", "shorter"])
    )
}

fn known(column: &Column) -> (String, String) {
    let Column { kind, known, case } = column;
    let text = format!(
        "{}, {} s on {}",
        plans::label(&known.plan),
        seconds(known.latency),
        gpus(&known.plan.placement)
    );
    let name = if kind.cases.len() > 1 {
        format!("{} ({case})", kind.name)
    } else {
        kind.name.clone()
    };
    (name, text)
}

fn replanned(replan: &Replan) -> (String, String) {
    let name = match replan.alike {
        1 => replan.case.to_string(),
        alike => format!("{} and {} like it", replan.case, alike - 1),
    };
    let candidate = &replan.candidate;
    let text = format!(
        "{}, {} s on {}",
        candidate.plan,
        seconds(candidate.latency),
        gpus(&candidate.plan.placement)
    );
    (name, text)
}

/// GPUs in words: `gpu1-gpu4, gpu6`.
fn gpus(placement: &[topologies::DeviceId]) -> String {
    let mut all: Vec<usize> = placement.iter().map(|gpu| gpu.index()).collect();
    all.sort_unstable();
    let runs = all.chunk_by(|a, b| a + 1 == *b);
    let words = runs.map(|run| match run {
        [one] => format!("gpu{one}"),
        run => format!("gpu{}-gpu{}", run[0], run[run.len() - 1]),
    });
    words.collect::<Vec<_>>().join(", ")
}
