//! `plan`: the ranked table, the choice with its proof, why the others lose, and how to launch it.

use std::collections::BTreeSet;

use anyhow::{Result, ensure};
use sim::plan::Fidelity;
use traces::timeline::Timeline;

use self::arguments::Emit;
pub(crate) use self::arguments::PlanArguments;
use self::json::{Assignment, PlanAnswer};
pub(crate) use self::question::plan_question;
use crate::question::SHOWN;
use crate::render::figure;
use crate::render::json::pretty;
use crate::render::plans::{
    bound, breakdown, label, launch, layout, memory_parts, output_header, quality, residencies,
    row, title,
};
use crate::render::text::{self, bulleted, heading, seconds, section, wrapped};
use crate::render::words;
use planner::search::{self, Answer, Candidate, Rejected};

mod arguments;
mod budget;
mod emit;
mod explain;
pub(crate) mod json;
mod picture;
mod question;
pub(crate) mod robust;

/// What `plan` prints.
pub(crate) fn answer(typed: &PlanArguments) -> Result<String> {
    if let Some(emit) = typed.emit.filter(|emit| *emit != Emit::Assignment) {
        let question = plan_question(typed)?;
        let engine = emit::engine(emit, question.engine).unwrap_or(question.engine);
        ensure!(
            typed.question.engine.is_none() || question.engine == engine,
            "--emit names another engine than --engine: leave --engine out"
        );
        return emit::answer(question, engine);
    }
    if typed.robust {
        return robust::answer(typed);
    }
    let question = plan_question(typed)?;
    let answer = text::busy("planning", || search::plan(&question))?;
    if let Some(path) = &typed.plot {
        let picture = picture::Choice::new(&answer);
        let drawn = figure::write(&picture, path);
        drawn.map_err(|error| figure::undrawn(path, error))?;
    }
    if typed.emit == Some(Emit::Assignment) {
        return Ok(pretty(&Assignment::from(&answer)));
    }
    if typed.format.json {
        return Ok(pretty(&PlanAnswer::new(&answer, typed.top)));
    }
    let mut page = report(&answer, typed.top.unwrap_or(SHOWN));
    if typed.explain {
        page.push_str(&explain::report(&answer));
    }
    Ok(page)
}

/// What ran where and when under the plan that was chosen, from the JSON that [`answer`] printed.
pub(crate) fn timeline(typed: &PlanArguments, json: &str) -> Result<Timeline> {
    let question = plan_question(typed)?;
    let printed: serde_json::Value = serde_json::from_str(json)?;
    let line = printed["choice"]["plan"].as_str().unwrap_or_default();
    let plan = crate::question::plan(line, &question)?;
    Ok(words::timeline(&search::evaluate(&question, &plan)?))
}

/// The answer for people.
pub(crate) fn report(answer: &Answer, shown: usize) -> String {
    let placed = rivals(answer, shown);
    let mut page = title(&answer.question);
    page.push('\n');
    page.push_str(&ranking(answer, &placed));
    let rivals: Vec<&Candidate> = placed.into_iter().map(|(_, rival)| rival).collect();
    let slower = distinct(&answer.plans).count() - rivals.len();
    if slower > 0 || answer.pruned > 0 {
        page.push_str("    --top shows more plans\n");
    }
    if rivals.iter().any(|rival| rival.plan.vae > 1) {
        page.push_str("    the ranks of each plan, at most 8, decode the VAE together (+vae-pN)\n");
    }
    page.push_str(&residencies(rivals.iter().copied().chain([&answer.single])));
    page.push('\n');
    page.push_str(&proof(answer));
    let reasons: Vec<(String, String)> = rivals
        .iter()
        .filter(|rival| !rival.why_slower.is_empty())
        .map(|rival| (label(&rival.plan), words::why_slower(&rival.why_slower)))
        .collect();
    section(&mut page, "Why the others lose", &text::named(&reasons));
    section(
        &mut page,
        "Budget",
        &answer
            .spent
            .as_ref()
            .map(budget::report)
            .unwrap_or_default(),
    );
    let findings: Vec<String> = answer.findings.iter().map(words::finding).collect();
    section(&mut page, "Findings", &bulleted(&findings));
    page.push('\n');
    page.push_str(&launches(answer));
    section(
        &mut page,
        "Where the numbers come from",
        &bulleted(&words::sources(&answer.provenance)),
    );
    page
}

/// The plans that are shown with their places, best first: the first ones and the choice.
fn rivals(answer: &Answer, shown: usize) -> Vec<(usize, &Candidate)> {
    let plans = distinct(&answer.plans).enumerate();
    let named = plans.filter(|(place, one)| *place < shown || is_choice(answer, one));
    named.map(|(place, one)| (place + 1, one)).collect()
}

/// Whether a plan is the choice, on whichever GPUs.
fn is_choice(answer: &Answer, one: &Candidate) -> bool {
    one.plan.to_string() == answer.choice.plan.to_string()
}

/// Plans that differ by more than the GPUs of their ranks; the best placement stands for the others.
fn distinct(plans: &[Candidate]) -> impl Iterator<Item = &Candidate> {
    let mut seen = BTreeSet::new();
    plans
        .iter()
        .filter(move |candidate| seen.insert(candidate.plan.to_string()))
}

/// The plans, fastest first, and one GPU.
fn ranking(answer: &Answer, rivals: &[(usize, &Candidate)]) -> String {
    let single = &answer.single;
    let header = [
        "#",
        "plan",
        "compressor",
        "latency, s (90 %)",
        "speed-up",
        "exposed",
        "memory",
        output_header(rivals.iter().map(|(_, rival)| *rival)),
    ];
    let mut table = text::table(&header, &[0, 3, 4, 5, 6]);
    text::tighten(&mut table, 1);
    text::tighten(&mut table, 2);
    for (place, rival) in rivals {
        let mark = if is_choice(answer, rival) {
            "*"
        } else if rival.is_tied() && *place > 1 {
            "="
        } else {
            " "
        };
        let place = format!("{place}{mark}");
        row(&mut table, Some(place), &layout(&rival.plan), rival, single);
    }
    let has_single = rivals.iter().any(|(_, rival)| rival.plan.ranks() == 1);
    if !has_single {
        row(&mut table, Some(String::new()), "one GPU", single, single);
    }
    let mut page = text::rendered(&mut table);
    if rivals.iter().skip(1).any(|(_, rival)| rival.is_tied()) {
        page.push_str(&wrapped(
            "    *  the choice; =  the evidence cannot tell it from the fastest (less than 90 % likely to be slower)",
            7,
        ));
    }
    page
}

/// The choice with its certificate.
fn proof(answer: &Answer) -> String {
    let Answer {
        choice,
        legal,
        considered,
        simulated,
        pruned,
        illegal,
        ..
    } = answer;
    let mut lines = heading(&format!(
        "Choice: {}, {} s",
        choice.plan,
        seconds(choice.latency)
    ));
    let bound = bound(choice);
    let counts = format!(
        "{legal} legal plans, {considered} fit and may be chosen, {simulated} simulated, {pruned} dropped by \
         their lower bounds; {}.",
        words::stop_reason(choice.stop_reason)
    );
    let mut said = verdict(answer);
    said.extend([
        ("bound", bound),
        ("search", counts),
        ("time", breakdown(choice)),
        ("output", quality(choice)),
        ("memory", memory_parts(choice)),
    ]);
    for (name, text) in said {
        lines.push_str(&wrapped(&format!("  {name:<8}{text}"), 10));
    }
    if let Some(Rejected { which, why }) = illegal.first() {
        let others = match illegal.len() - 1 {
            0 => String::new(),
            others => format!(" {others} more plans are not legal."),
        };
        let text = format!("{which}: {why}.{others}");
        lines.push_str(&wrapped(&format!("  {:<8}{text}", "illegal"), 10));
    }
    lines
}

/// Where the engine has no command for the fastest exact plan: the fastest exact one that it has.
fn runnable(answer: &Answer, exact: &Candidate) -> String {
    if exact.launch.command.is_ok() {
        return String::new();
    }
    let mut plans = answer.plans.iter();
    let runs = plans.find(|one| one.fidelity == Fidelity::Exact && one.launch.command.is_ok());
    let other = runs.map(|one| {
        format!(
            "; the fastest with one is {}, {} s",
            one.plan,
            seconds(one.latency)
        )
    });
    let engine = exact.launch.engine;
    format!(
        ", for which {engine} has no command{}",
        other.unwrap_or_default()
    )
}

/// What the choice is tied with, and the fastest plans of the kinds that people ask for.
fn verdict(answer: &Answer) -> Vec<(&'static str, String)> {
    let named = |one: &Candidate| format!("{}, {} s", one.plan, seconds(one.latency));
    let is_choice = |one: &&Candidate| is_choice(answer, one);
    let mut said = Vec::new();
    let others = answer.tied().count() - 1 + answer.tied_by_bound;
    if others > 0 {
        let how = if answer.question.fastest {
            "--fastest: the one predicted fastest"
        } else {
            "of those at most a quarter slower the first that runs on the engine, is exact, keeps its weights on the GPU, takes fewer GPUs, has \
             fewer dimensions, is faster"
        };
        said.push((
            "tie",
            format!(
                "the evidence cannot tell {} from the fastest with 90 % confidence; {how}.",
                text::counted(u32::try_from(others).unwrap_or(u32::MAX), "other plan")
            ),
        ));
    }
    let fastest = &answer.plans[0];
    if !is_choice(&fastest) {
        let likely = words::share(answer.choice.behind);
        let than = format!(
            "{}; {likely} likely to be faster than the choice.",
            named(fastest)
        );
        said.push(("fastest", than));
    }
    if let Some(exact) = answer.fastest_exact().filter(|one| !is_choice(one)) {
        said.push((
            "exact",
            format!(
                "the fastest exact plan is {}{}.",
                named(exact),
                runnable(answer, exact)
            ),
        ));
    }
    let all_run = answer.question.filter.launchable;
    let runs = answer.fastest_launchable().filter(|_| !all_run);
    if let Some(runs) = runs.filter(|one| !is_choice(one)) {
        let engine = runs.launch.engine;
        said.push((
            "engine",
            format!("the fastest plan that {engine} can run is {}.", named(runs)),
        ));
    }
    said
}

/// How to launch the choice; and the fastest plan with a command, where the choice has none.
fn launches(answer: &Answer) -> String {
    let mut text = launch(&answer.choice);
    if answer.choice.launch.command.is_err() {
        let mut plans = answer.plans.iter();
        if let Some(other) = plans.find(|plan| plan.launch.command.is_ok()) {
            let (engine, name) = (other.launch.engine, label(&other.plan));
            let latency = seconds(other.latency);
            text.push_str(&format!(
                "  The fastest plan that {engine} can run is {name}, {latency} s.\n\n"
            ));
            text.push_str(&launch(other));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::sample;

    #[test]
    fn a_report_fits_a_hundred_columns_and_says_everything() {
        let page = anstream::adapter::strip_str(&report(&sample::answer(), 10)).to_string();
        for line in page.lines() {
            assert!(line.chars().count() <= 100, "{line}");
            assert_eq!(line, line.trim_end());
        }
        for part in [
            "FLUX.1-dev 1024x1024, 28 steps",
            "4 x L20 (4xl20-pcie",
            "one GPU",
            "7.46 (7.05-7.90)",
            "lossy 7.08/0.260",
            "lossy, FID 7.08, LPIPS 0.260",
            "No schedule of this plan is faster than 6.94 s",
            "Why the others lose",
            "Launch (xDiT)",
            "COMPACT_TEST_METHOD=binary",
            "Where the numbers come from",
        ] {
            assert!(page.contains(part), "{part}\n{page}");
        }
    }

    /// `--top 1` still shows what is launched.
    #[test]
    fn the_choice_is_always_listed() {
        let mut answer = sample::answer();
        let last = answer.plans.len() - 1;
        answer.choice = answer.plans[last].clone();
        let page = anstream::adapter::strip_str(&report(&answer, 1)).to_string();
        let marked = page
            .lines()
            .find(|line| line.trim_start().starts_with(&format!("{}*", last + 1)));
        let name = layout(&answer.choice.plan);
        assert!(
            last > 0 && marked.is_some_and(|line| line.contains(&name)),
            "{page}"
        );
    }

    #[test]
    fn what_is_left_out_is_counted() {
        let page = report(&sample::answer(), 1);
        assert!(page.contains("--top shows more plans"), "{page}");
    }
}
