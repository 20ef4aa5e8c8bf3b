//! `validate`: how far the predictions are from measurements.

mod plots;
mod report;

use std::path::PathBuf;

use anyhow::{Context, Result, anyhow};
use clap::Args;
use serde_json::Value;

use crate::question::Format;
use crate::render::progress::progress;
use crate::render::{json, text};
use planner::validate::{self, Inputs};

/// What `validate` reads.
#[derive(Debug, Args)]
pub(crate) struct ValidateArguments {
    /// Measured GEMM times (CSV or CSV.gz with the columns of the built-in table).
    #[arg(long, value_name = "FILE")]
    pub gemm: Option<PathBuf>,
    /// Measured attention times.
    #[arg(long, value_name = "FILE")]
    pub attention: Option<PathBuf>,
    /// Measured attention times by kernel (docs/validation.md).
    #[arg(long, value_name = "FILE")]
    pub attention_kernels: Option<PathBuf>,
    /// Measured NCCL times.
    #[arg(long, value_name = "FILE")]
    pub nccl: Option<PathBuf>,
    /// Published end-to-end latencies; may be repeated: calibration rows are looked for in all files.
    #[arg(long, value_name = "FILE")]
    pub published: Vec<PathBuf>,
    /// A run of virtual ranks (the directory with its timeline.json and plan.json, or a directory of
    /// runs); may be repeated.
    #[arg(long, value_name = "DIR")]
    pub timeline: Vec<PathBuf>,
    /// What `ditplan calibrate` measured on the GPU of these runs [default: the built-in tables].
    #[arg(long, value_name = "DIR", requires = "timeline")]
    pub profile: Option<PathBuf>,
    /// Also write a report here: validation.md with its plots.
    #[arg(long, value_name = "FOLDER")]
    pub report: Option<PathBuf>,
    #[command(flatten)]
    pub format: Format,
}

/// What `validate` prints.
pub(crate) fn answer(typed: &ValidateArguments) -> Result<String> {
    let progress = progress(0, "");
    let report = validate::validate(&typed.inputs(), &progress);
    progress.finish_and_clear();
    let report = report?;
    if let Some(folder) = &typed.report {
        report::write(&report, folder).map_err(|error| {
            anyhow!(
                "{} cannot be written ({error}): choose a folder that you may write to",
                folder.display()
            )
        })?;
    }
    let json = serde_json::to_value(report).context("the report is not JSON")?;
    if typed.format.json {
        return Ok(json::pretty(&json));
    }
    Ok(report_for_people(&json))
}

impl ValidateArguments {
    fn inputs(&self) -> Inputs {
        Inputs {
            gemm: self.gemm.clone(),
            attention: self.attention.clone(),
            attention_kernels: self.attention_kernels.clone(),
            nccl: self.nccl.clone(),
            published: self.published.clone(),
            timelines: self.timeline.clone(),
            profile: self.profile.clone(),
        }
    }
}

/// The tiers in the order they are reported.
const TIERS: [(&str, &str); 8] = [
    ("one_gpu", "one GPU, nothing known"),
    ("gemm", "matrix products"),
    ("attention", "attention"),
    ("attention_kernels", "attention by kernel, charts known"),
    (
        "attention_kernels_left_out",
        "attention by kernel, the kernel left out of the GPU",
    ),
    ("collectives", "collectives"),
    ("published", "published runs"),
    ("live", "live runs, makespan"),
];

/// A table per tier: the predictions, the baselines, the strata.
fn report_for_people(report: &Value) -> String {
    let mut page = String::new();
    for (key, name) in TIERS {
        let tier = &report["tiers"][key];
        if tier.is_null() {
            continue;
        }
        if !page.is_empty() {
            page.push('\n');
        }
        page.push_str(&text::heading(&format!("{name}, error in %")));
        page.push_str(&tier_table(tier));
        page.push_str(&decisions(tier));
        page.push_str(&live(tier));
    }
    page
}

/// What only live runs have: errors of exposed communication and of span classes, and notes.
fn live(tier: &Value) -> String {
    let mut page = String::new();
    for (key, title) in [
        (
            "exposed_communication",
            "live runs, exposed communication, error in % of the makespan",
        ),
        ("classes", "live runs, sums of span classes, error in %"),
    ] {
        if let Some(list) = tier[key].as_array().filter(|list| !list.is_empty()) {
            page.push('\n');
            page.push_str(&text::heading(title));
            page.push_str(&error_table(list.iter().map(|one| (name(one), one))));
        }
    }
    for note in tier["notes"].as_array().into_iter().flatten() {
        let note = note.as_str().unwrap_or_default();
        page.push_str(&text::wrapped(&format!("  {note}"), 4));
    }
    page
}

/// What a stratum or a file is called.
fn name(part: &Value) -> String {
    let name = part["name"].as_str().or(part["file"].as_str());
    name.unwrap_or_default().to_owned()
}

/// The columns of an error table and their fields in the JSON contract.
const COLUMNS: [(&str, &str); 9] = [
    ("rows", "n"),
    ("mapped", "mapped"),
    ("median", "median_pct"),
    ("p90", "p90_pct"),
    ("mean", "mape_pct"),
    ("max", "max_pct"),
    ("bias", "bias_pct"),
    ("inside 90 %", "coverage_pct"),
    ("width", "width"),
];

/// One tier's errors.
fn tier_table(tier: &Value) -> String {
    let mut rows = Vec::new();
    for (key, title) in [
        ("nothing_known", "nothing known"),
        ("project_left_out", "project left out"),
    ] {
        if tier[key].is_object() {
            rows.push((title.to_owned(), &tier[key]));
        }
    }
    let own = if rows.is_empty() {
        "ditplan"
    } else {
        "in sample"
    };
    rows.push((own.to_owned(), tier));
    for (name, errors) in tier["baselines"].as_object().into_iter().flatten() {
        rows.push((format!("baseline {name}"), errors));
    }
    for list in ["strata", "files"] {
        let parts = tier[list].as_array().into_iter().flatten();
        rows.extend(parts.map(|part| (name(part), part)));
    }
    error_table(rows.into_iter())
}

/// A line for each name and its errors.
fn error_table<'a>(rows: impl Iterator<Item = (String, &'a Value)>) -> String {
    let header: Vec<&str> = COLUMNS
        .iter()
        .map(|(title, _)| *title)
        .chain([""])
        .collect();
    let figures: Vec<usize> = (0..COLUMNS.len()).collect();
    let mut table = text::table(&header, &figures);
    for (name, errors) in rows {
        let figures = COLUMNS
            .iter()
            .map(|(_, field)| match (*field, errors[field].as_f64()) {
                ("width", Some(factor)) => format!("x/÷ {factor:.2}"),
                _ => figure(&errors[field]),
            });
        table.add_row(figures.chain([name]));
    }
    text::rendered(&mut table)
}

/// A count as it is, a percentage with one decimal.
fn figure(value: &Value) -> String {
    match (value.as_u64(), value.as_f64()) {
        (Some(count), _) => count.to_string(),
        (None, Some(number)) => format!("{number:.1}"),
        (None, None) => "-".to_owned(),
    }
}

/// What only published runs have: coverage, decisions, calibration, and what could not be mapped.
fn decisions(tier: &Value) -> String {
    let mut lines = String::new();
    for (field, words) in [
        ("coverage_pct", "% of rows are inside their 90 % interval"),
        (
            "top1_regret_pct",
            "% slower than the best plan of its group is the plan chosen, on average",
        ),
        ("kendall_tau", "is Kendall's tau of the plans of a group"),
    ] {
        if let Some(value) = tier[field].as_f64() {
            lines.push_str(&format!("  {value:.2} {words}\n"));
        }
    }
    if let Some(rows) = tier["calibration_rows"].as_array() {
        lines.push_str(&format!(
            "  {} rows calibrate and are not scored\n",
            rows.len()
        ));
    }
    if let Some(unmapped) = tier["unmapped"].as_array().filter(|rows| !rows.is_empty()) {
        lines.push_str(&format!("  {} rows are not predicted:\n", unmapped.len()));
        for reason in reasons(unmapped) {
            lines.push_str(&text::wrapped(&format!("  - {reason}"), 4));
        }
    }
    lines
}

/// Every reason once, with how many rows it has, in the order of first appearance.
fn reasons(unmapped: &[Value]) -> Vec<String> {
    let mut counts: Vec<(&str, usize)> = Vec::new();
    for row in unmapped {
        let reason = row["reason"].as_str().unwrap_or("no reason is given");
        match counts.iter_mut().find(|(known, _)| *known == reason) {
            Some((_, count)) => *count += 1,
            None => counts.push((reason, 1)),
        }
    }
    counts
        .iter()
        .map(|(reason, count)| format!("{count}: {reason}"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn every_tier_that_ran_has_a_table() {
        let errors = json!({
            "n": 10, "mapped": 9, "median_pct": 1.25, "p90_pct": 5.0, "mape_pct": 2.0,
            "max_pct": 9.0, "bias_pct": -0.5,
        });
        let mut published = errors.clone();
        published["baselines"] = json!({ "divide by N": errors });
        published["unmapped"] = json!([
            { "row": 3, "reason": "no such GPU" }, { "row": 5, "reason": "no such GPU" },
        ]);
        let page =
            report_for_people(&json!({ "tiers": { "gemm": errors, "published": published } }));
        for part in [
            "matrix products",
            "published runs",
            "baseline divide by N",
            "2: no such GPU",
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
