//! A validation report for people: a table of errors for each tier.

use std::collections::BTreeMap;

use planner::validate::live::Live;
use planner::validate::operations::Sum;
use planner::validate::published::{OneGpu, Published};
use planner::validate::statistics::Score;
use planner::validate::tier::{Stratum, Tier, Unmapped};
use planner::validate::{Report, Tiers};
use topologies::SimDuration;

use crate::render::text;
use crate::render::words;

/// A table per tier: the predictions, the baselines, the strata.
pub(super) fn page(report: &Report) -> String {
    let Tiers {
        gemm,
        attention,
        attention_kernels,
        attention_kernels_left_out,
        collectives,
        operations,
        published,
        one_gpu,
        live,
    } = &report.tiers;
    let measured =
        |title, tier: &Option<Tier>| Some(section(title, &self::measured(tier.as_ref()?)));
    let sections = [
        one_gpu
            .as_ref()
            .map(|tier| section("one GPU, nothing known", &self::one_gpu(tier))),
        measured("matrix products", gemm),
        measured("attention", attention),
        measured("attention by kernel, charts known", attention_kernels),
        measured(
            "attention by kernel, the kernel left out of the GPU",
            attention_kernels_left_out,
        ),
        measured("collectives", collectives),
        operations.as_ref().map(|tier| {
            section("kernels of whole runs", &self::measured(&tier.single)) + &sums(&tier.sums)
        }),
        published
            .as_ref()
            .map(|tier| section("published runs", &self::published(tier))),
        live.as_ref()
            .map(|tier| section("live runs, makespan", &self::live(tier))),
    ];
    sections
        .into_iter()
        .flatten()
        .collect::<Vec<_>>()
        .join("\n")
}

fn section(title: &str, body: &str) -> String {
    text::heading(&format!("{title}, error in %")) + body
}

/// What the kernels of each class took and are predicted to take, by run.
fn sums(all: &[Sum]) -> String {
    let header = [
        "run",
        "class",
        "rows",
        "measured",
        "predicted",
        "error",
        "of the run",
    ];
    let mut table = text::table(&header, &[2, 3, 4, 5, 6]);
    for sum in all {
        let ms = |time: SimDuration| format!("{:.1} ms", time.as_us_f64() / 1e3);
        table.add_row([
            format!("{} on {}", sum.run, sum.gpu),
            sum.class.name().to_owned(),
            sum.rows.to_string(),
            ms(sum.measured),
            ms(sum.predicted),
            format!("{:+.1} %", sum.error_pct()),
            format!("{:.0} %", 100.0 * sum.share),
        ]);
    }
    "\n".to_owned() + &text::heading("sums by run and class") + &text::rendered(&mut table)
}

type Lines<'a> = Vec<(String, &'a Score)>;

/// Rows from which on a class has a line of its own where less than all is known.
const CLASS: usize = 20;

/// A line for each name and its errors.
fn table(lines: Lines<'_>) -> String {
    let header = [
        "rows",
        "mapped",
        "median",
        "p90",
        "mean",
        "max",
        "bias",
        "inside 90 %",
        "width",
        "",
    ];
    let mut table = text::table(&header, &[0, 1, 2, 3, 4, 5, 6, 7, 8]);
    let dash = || "-".to_owned();
    let finite = |number: Option<f64>| number.filter(|number| number.is_finite());
    for (name, of) in lines {
        let counts = [of.n, of.mapped].map(|count| count.to_string());
        let sizes = [
            of.median_pct,
            of.p90_pct,
            of.mape_pct,
            of.max_pct,
            of.bias_pct,
        ]
        .map(Some);
        let percent = sizes.into_iter().chain([of.coverage_pct]);
        let percent =
            percent.map(|one| finite(one).map_or_else(dash, |number| format!("{number:.1}")));
        let width = finite(of.width).map_or_else(dash, |factor| format!("x/÷ {factor:.2}"));
        table.add_row(counts.into_iter().chain(percent).chain([width, name]));
    }
    text::rendered(&mut table)
}

fn strata(all: &[Stratum]) -> Lines<'_> {
    all.iter()
        .map(|one| (one.name.clone(), &one.score))
        .collect()
}

/// The classes with enough rows, named after what is known.
fn classes<'a>(known: &str, all: &'a [Stratum]) -> Lines<'a> {
    let large = all.iter().filter(|one| one.score.mapped >= CLASS);
    large
        .map(|one| (format!("{known}, {}", one.name), &one.score))
        .collect()
}

fn baselines<'a>(all: &'a BTreeMap<&'static str, Score>) -> Lines<'a> {
    let named = |(name, score)| (format!("baseline {name}"), score);
    all.iter().map(named).collect()
}

/// A score, its baselines and its strata.
fn scored<'a>(
    name: &str,
    score: &'a Score,
    known: &'a BTreeMap<&'static str, Score>,
    parts: &'a [Stratum],
) -> Lines<'a> {
    let mut lines = vec![(name.to_owned(), score)];
    lines.extend(baselines(known));
    lines.extend(strata(parts));
    lines
}

fn measured(tier: &Tier) -> String {
    let lines = scored("ditplan", &tier.score, &tier.baselines, &tier.strata);
    table(lines) + &inside(tier.score.coverage_pct) + &unmapped(&tier.unmapped)
}

fn one_gpu(tier: &OneGpu) -> String {
    let mut lines = vec![("ditplan".to_owned(), &tier.score)];
    lines.extend(classes("nothing known", &tier.strata));
    table(lines) + &inside(tier.score.coverage_pct)
}

/// Published runs: coverage, decisions, calibration, and what could not be mapped.
fn published(tier: &Published) -> String {
    let all = &tier.together;
    let part = &all.part;
    let known = [
        ("nothing known", &all.nothing_known),
        ("project left out", &all.project_left_out),
    ];
    let mut lines: Lines<'_> = known
        .iter()
        .map(|(name, of)| ((*name).to_owned(), &of.score))
        .collect();
    lines.extend(scored(
        "in sample",
        &part.score,
        &part.baselines,
        &part.strata,
    ));
    for (name, of) in known {
        lines.extend(classes(name, &of.strata));
    }
    let files = tier.files.iter();
    lines.extend(files.map(|one| (one.file.clone(), &one.summary.part.score)));
    table(lines)
        + &inside(part.score.coverage_pct)
        + &figure(
            Some(part.choices.top1_regret_pct),
            "% slower than the best plan of its group is the plan chosen, on average",
        )
        + &figure(
            Some(part.choices.kendall_tau),
            "is Kendall's tau of the plans of a group",
        )
        + &figure(
            Some(all.project_left_out.choices.top1_regret_pct),
            "% slower is the plan chosen with the project left out",
        )
        + &figure(
            Some(all.project_left_out.choices.kendall_tau),
            "is Kendall's tau with the project left out",
        )
        + &format!(
            "  {} rows calibrate and are not scored\n",
            all.calibration_rows.len()
        )
        + &unmapped(&all.unmapped)
}

/// Live runs: besides the makespan, errors of exposed communication and of span classes, and notes.
fn live(tier: &Live) -> String {
    let lines = scored("ditplan", &tier.score, &tier.baselines, &tier.strata);
    let mut page = table(lines) + &inside(tier.score.coverage_pct) + &unmapped(&tier.unmapped);
    for (title, parts) in [
        (
            "live runs, exposed communication, error in % of the makespan",
            &tier.exposed_communication,
        ),
        ("live runs, sums of span classes, error in %", &tier.classes),
    ] {
        if !parts.is_empty() {
            page.push('\n');
            page.push_str(&text::heading(title));
            page.push_str(&table(strata(parts)));
        }
    }
    let notes = tier.notes.iter();
    page.extend(notes.map(|note| text::wrapped(&format!("  {}", words::note(note)), 4)));
    page
}

fn inside(share: Option<f64>) -> String {
    figure(share, "% of rows are inside their 90 % interval")
}

/// A figure in a line of its own, where it is known.
fn figure(number: Option<f64>, words: &str) -> String {
    let known = number.filter(|number| number.is_finite());
    known.map_or_else(String::new, |number| format!("  {number:.2} {words}\n"))
}

/// Every reason once, with how many rows it has, in the order of first appearance.
fn unmapped(rows: &[Unmapped]) -> String {
    if rows.is_empty() {
        return String::new();
    }
    let mut counts: Vec<(String, usize)> = Vec::new();
    for reason in rows.iter().map(|row| words::reason(&row.reason)) {
        match counts.iter_mut().find(|(known, _)| *known == reason) {
            Some((_, count)) => *count += 1,
            None => counts.push((reason, 1)),
        }
    }
    let mut lines = format!("  {} rows are not predicted:\n", rows.len());
    let line = |(reason, count)| text::wrapped(&format!("  - {count}: {reason}"), 4);
    lines.extend(counts.into_iter().map(line));
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use planner::validate::reason::Reason;
    use planner::validate::tier::Scored;

    #[test]
    fn every_tier_that_ran_has_a_table() {
        let outcome = planner::validate::statistics::Outcome {
            measured: 4.0,
            predicted: 3.98,
            lo: 3.0,
            hi: 5.0,
        };
        let scored = Scored {
            outcome,
            strata: vec!["h100_sxm bf16".to_owned()],
            baselines: vec![("roofline", Some(2.0))],
            how: String::new(),
        };
        let no_row = |row: u32| {
            Err(Unmapped {
                row: row.to_string(),
                reason: Reason::ShortAttention,
            })
        };
        let attention = Tier::of("here".to_owned(), vec![Ok(scored), no_row(3), no_row(5)]);
        let tiers = Tiers {
            gemm: Some(Tier::of("here".to_owned(), Vec::new())),
            attention: Some(attention),
            ..Tiers::default()
        };
        let page = page(&Report { tiers });
        for part in [
            "matrix products",
            "attention, error in %",
            "baseline roofline",
            "h100_sxm bf16",
            "100.00 % of rows",
            "2: attention in fp8",
            "-0.5",
        ] {
            assert!(page.contains(part), "{part}\n{page}");
        }
        assert!(!page.contains("collectives"), "{page}");
        assert!(
            page.lines().all(|line| line.chars().count() <= 110),
            "{page}"
        );
    }
}
