//! `plan`: the ranked table, the choice with its proof, why the others lose, and how to launch it.

use std::collections::BTreeSet;

use anyhow::{Result, ensure};
use comfy_table::Table;
use sim::memory::{Components, Residency, WeightSharding};
use sim::plan::{Compression, Fidelity, Plan};
use traces::timeline::SpanClass;

use super::arguments::{Emit, PlanArguments};
use super::text::{self, bulleted, duration, gigabytes, heading, percent, seconds, wrapped};
use super::{asked, contract, listing, robust};
use crate::figure;
use planner::search::{self, Answer, Candidate, Quality, Question};

mod budget;
mod emitted;
mod picture;

/// What `plan` prints.
pub(super) fn answer(typed: &PlanArguments) -> Result<String> {
    if let Some(engine) = typed.emit.and_then(emitted::engine) {
        let question = asked::plan_question(typed)?;
        ensure!(
            typed.question.engine.is_none() || question.engine == engine,
            "--emit names another engine than --engine: leave --engine out"
        );
        return emitted::answer(question, engine);
    }
    if typed.robust {
        return robust::answer(typed);
    }
    let question = asked::plan_question(typed)?;
    let answer = text::busy("planning", || search::plan(&question))?;
    if let Some(path) = &typed.plot {
        let picture = picture::Choice::new(&answer);
        let drawn = figure::write(&picture, path);
        drawn.map_err(|error| figure::undrawn(path, error))?;
    }
    if typed.emit == Some(Emit::Assignment) {
        return Ok(listing::pretty(&contract::assignment(&answer)));
    }
    if typed.format.json {
        return Ok(listing::pretty(&contract::answer(&answer, typed.top)));
    }
    Ok(report(&answer, typed.top.unwrap_or(asked::SHOWN)))
}

/// The answer for people.
pub(super) fn report(answer: &Answer, shown: usize) -> String {
    let rivals = rivals(&answer.plans, shown);
    let mut page = title(&answer.question);
    page.push('\n');
    page.push_str(&ranking(&rivals, &answer.single));
    let slower = distinct(&answer.plans).count() - rivals.len();
    if slower > 0 || answer.pruned > 0 {
        page.push_str("    --top shows more plans\n");
    }
    page.push_str(&residencies(rivals.iter().copied().chain([&answer.single])));
    page.push('\n');
    page.push_str(&proof(answer));
    let reasons: Vec<(String, &str)> = rivals
        .iter()
        .filter(|rival| !rival.why_slower.is_empty())
        .map(|rival| (label(&rival.plan), rival.why_slower.as_str()))
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
    section(&mut page, "Findings", &bulleted(&answer.findings));
    page.push('\n');
    page.push_str(&launches(answer));
    section(
        &mut page,
        "Where the numbers come from",
        &bulleted(&answer.provenance),
    );
    page
}

/// The plans that are shown, best first.
fn rivals(plans: &[Candidate], shown: usize) -> Vec<&Candidate> {
    distinct(plans).take(shown).collect()
}

/// Plans that differ by more than the GPUs of their ranks; the best placement stands for the others.
fn distinct(plans: &[Candidate]) -> impl Iterator<Item = &Candidate> {
    let mut seen = BTreeSet::new();
    plans
        .iter()
        .filter(move |candidate| seen.insert(candidate.plan.to_string()))
}

/// A plan's name in lists: strategy and compressor.
pub(super) fn label(plan: &Plan) -> String {
    match plan.compression {
        Compression::Raw => plan.strategy(),
        _ => format!("{}/{}", plan.strategy(), compression(plan)),
    }
}

/// What messages are sent as, in a word or two.
fn compression(plan: &Plan) -> String {
    match &plan.compression {
        Compression::Raw => "-".to_owned(),
        Compression::Uniform(compressor) => compressor.to_string(),
        Compression::Mixed(_) => "per layer".to_owned(),
    }
}

/// A blank line, a heading and its text; nothing where there is no text.
pub(super) fn section(page: &mut String, title: &str, body: &str) {
    if !body.is_empty() {
        page.push('\n');
        page.push_str(&heading(title));
        page.push_str(body);
    }
}

/// Model and request in words: `FLUX.1-dev 1024x1024, 28 steps`.
pub(super) fn asked(question: &Question) -> String {
    let Question { model, request, .. } = question;
    let mut ask = format!("{} {}", model.name, request.resolution);
    if request.frames > 1 {
        ask.push_str(&format!(" x {} frames", request.frames));
    }
    ask.push_str(&format!(", {}", text::counted(request.steps, "step")));
    if request.batch > 1 {
        ask.push_str(&format!(", batch {}", request.batch));
    }
    if model.uses_guidance() {
        ask.push_str(&format!(", guidance {}", request.guidance));
    }
    ask
}

/// The question in a line.
pub(super) fn title(question: &Question) -> String {
    let machine = &question.machine;
    let ask = asked(question);
    let has = machine.gpus.len();
    let gpus = if question.gpus as usize == has {
        machine.summary().gpus
    } else {
        format!(
            "{} of {}",
            text::counted(question.gpus, "GPU"),
            machine.summary().gpus
        )
    };
    let place = format!(
        "{gpus} ({}: {}), {}, {}",
        machine.name,
        machine.interconnect(),
        question.engine,
        question.compilation
    );
    let place = match question.faults.is_empty() {
        true => place,
        false => format!("{place}; wrong with it: {}", question.faults),
    };
    heading(&ask) + &wrapped(&place, 0)
}

/// The plans, best first, and one GPU.
fn ranking(rivals: &[&Candidate], single: &Candidate) -> String {
    let header = [
        "#",
        "plan",
        "compressor",
        "latency, s (90 %)",
        "speed-up",
        "exposed",
        "memory",
        output_header(single),
    ];
    let mut table = text::table(&header, &[0, 3, 4, 5, 6]);
    text::tighten(&mut table, 2);
    for (place, rival) in rivals.iter().enumerate() {
        row(
            &mut table,
            Some(place + 1),
            &rival.plan.strategy(),
            rival,
            single,
        );
    }
    let has_single = rivals.iter().any(|rival| rival.plan.ranks() == 1);
    if !has_single {
        row(&mut table, Some(0), "one GPU", single, single);
    }
    text::rendered(&mut table)
}

/// What the column of outputs shows: what a trace predicts, else what was published.
pub(super) fn output_header(single: &Candidate) -> &'static str {
    match single.quality.predicted {
        Some(_) => "output",
        None => "output FID/LPIPS",
    }
}

/// One plan's figures, after its place where the table has one (0: not ranked).
pub(super) fn row(
    table: &mut Table,
    place: Option<usize>,
    name: &str,
    found: &Candidate,
    single: &Candidate,
) {
    let speedup = single.latency.as_secs_f64() / found.latency.as_secs_f64();
    let memory = gigabytes(found.peak_memory);
    let place = place.map(|place| match place {
        0 => String::new(),
        place => place.to_string(),
    });
    let figures = [
        name.to_owned(),
        compression(&found.plan),
        interval(found),
        format!("{speedup:.2}x"),
        duration(found.exposed),
        match (found.fits, residency(found)) {
            (true, "") => memory,
            (true, mark) => format!("{memory} {mark}"),
            (false, _) => format!("{memory} OOM"),
        },
        output(found),
    ];
    table.add_row(place.into_iter().chain(figures));
}

/// How a plan's weights are kept so that it fits, as a mark in tables; empty where all are on every GPU.
fn residency(found: &Candidate) -> &'static str {
    let Residency {
        components,
        weights,
        ..
    } = found.residency;
    match (weights, components) {
        (WeightSharding::Whole, Components::Together) => "",
        (WeightSharding::Whole, Components::InTurn) => "t",
        (_, Components::Together) => "s",
        (_, Components::InTurn) => "s,t",
    }
}

/// What the marks of a table's plans mean.
pub(super) fn residencies<'a>(shown: impl Iterator<Item = &'a Candidate>) -> String {
    let marks: BTreeSet<&str> = shown
        .map(residency)
        .flat_map(|mark| mark.split(','))
        .collect();
    let meaning = [
        (
            "s",
            "fits only with its weights sharded over the ranks (FSDP); gathering them is not in the latency",
        ),
        (
            "t",
            "fits only with encoders, transformer and VAE moved to the GPU in turn; that is not in the latency",
        ),
    ];
    let said = meaning.into_iter().filter(|(mark, _)| marks.contains(mark));
    said.map(|(mark, text)| wrapped(&format!("    {mark}  {text}"), 7))
        .collect()
}

/// `7.46 (7.05-7.90)`.
fn interval(found: &Candidate) -> String {
    format!(
        "{} ({}-{})",
        seconds(found.latency),
        seconds(found.lo),
        seconds(found.hi)
    )
}

/// `lossy 7.08/0.260`: how far from the one-GPU output, with the published FID and LPIPS.
fn output(found: &Candidate) -> String {
    let word = contract::fidelity(found.fidelity);
    let Quality {
        fid,
        lpips,
        predicted,
        ..
    } = found.quality;
    if let Some(predicted) = predicted.filter(|_| found.fidelity != Fidelity::Exact) {
        let shown = predicted
            .psnr_db
            .map_or_else(|| share(predicted.deviation), |db| format!("{db:.1} dB"));
        return format!("{word} {shown}");
    }
    match (fid, lpips) {
        _ if found.fidelity == Fidelity::Exact => word.to_owned(),
        (None, None) => word.to_owned(),
        (Some(fid), None) => format!("{word} {fid:.2}"),
        (None, Some(lpips)) => format!("{word} -/{lpips:.3}"),
        (Some(fid), Some(lpips)) => format!("{word} {fid:.2}/{lpips:.3}"),
    }
}

/// A relative deviation in percent.
fn share(deviation: f64) -> String {
    format!("{:.2} %", 100.0 * deviation)
}

/// How far the simulated schedule is from the least time of its plan.
pub(super) fn bound(candidate: &Candidate) -> String {
    let least = format!(
        "No schedule of this plan is faster than {} s",
        seconds(candidate.lower_bound)
    );
    // Less than the printed digits show.
    if candidate.gap < 5e-4 {
        return least + ", and the simulated one takes no longer.";
    }
    format!(
        "{least}: the simulated one takes {} more.",
        percent(candidate.gap)
    )
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
        "Best: {}, {} s",
        choice.plan,
        seconds(choice.latency)
    ));
    let bound = bound(choice);
    let counts = format!(
        "{legal} legal plans, {considered} fit and may be chosen, {simulated} simulated, {pruned} dropped \
         because their lower bounds exceed it; {}.",
        choice.stop_reason
    );
    let time = breakdown(choice);
    for (name, text) in [
        ("proof", bound),
        ("search", counts),
        ("time", time),
        ("output", quality(choice)),
    ] {
        lines.push_str(&wrapped(&format!("  {name:<8}{text}"), 10));
    }
    if let Some((plan, reason)) = illegal.first() {
        let others = match illegal.len() - 1 {
            0 => String::new(),
            others => format!(" {others} more plans are not legal."),
        };
        let text = format!("{plan}: {reason}.{others}");
        lines.push_str(&wrapped(&format!("  {:<8}{text}", "illegal"), 10));
    }
    lines
}

/// Where the time goes on the critical path of the steps, largest first, and outside the steps.
pub(super) fn breakdown(found: &Candidate) -> String {
    let mut parts = found.by_class.clone();
    parts.retain(|(_, time)| time.get() > 0);
    parts.sort_by_key(|(class, time)| (std::cmp::Reverse(*time), *class));
    let words = parts.iter().map(|(class, time)| match class {
        SpanClass::Communication => format!("messages {}", duration(*time)),
        class => format!("{class} {}", duration(*time)),
    });
    let mut words: Vec<String> = words.collect();
    let steps: topologies::SimDuration = parts.iter().map(|(_, time)| *time).sum();
    let around = found.latency.saturating_sub(steps);
    if around.get() > 0 {
        words.push(format!("text encoders and VAE {}", duration(around)));
    }
    words.join(", ") + "."
}

/// What is known of the output.
pub(super) fn quality(found: &Candidate) -> String {
    let word = contract::fidelity(found.fidelity);
    let Quality {
        fid,
        lpips,
        predicted,
        source,
    } = &found.quality;
    let mut words = vec![word.to_owned()];
    if let Some(predicted) = predicted.filter(|_| found.fidelity != Fidelity::Exact) {
        words.push(format!(
            "deviation {} (19 of 20 runs at most {})",
            share(predicted.deviation),
            share(predicted.upper)
        ));
        words.extend(predicted.psnr_db.map(|db| format!("PSNR {db:.1} dB")));
    }
    words.extend(fid.map(|fid| format!("FID {fid:.2}")));
    words.extend(lpips.map(|lpips| format!("LPIPS {lpips:.3}")));
    match source.as_str() {
        "" => format!("{}.", words.join(", ")),
        source => format!("{} ({source}).", words.join(", ")),
    }
}

/// The launch command, or why there is none.
pub(super) fn launch(found: &Candidate) -> String {
    let engine = found.launch.engine;
    match &found.launch.command {
        // Not indented: it is to be copied, and a script within it may not be.
        Ok(command) => heading(&format!("Launch ({engine})")) + command + "\n",
        Err(reason) => {
            let text = format!("  {engine} cannot run {}: {reason}.", label(&found.plan));
            heading("Launch") + &wrapped(&text, 2)
        }
    }
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
    use super::super::sample;
    use super::*;

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

    #[test]
    fn what_is_left_out_is_counted() {
        let page = report(&sample::answer(), 1);
        assert!(page.contains("--top shows more plans"), "{page}");
    }
}
