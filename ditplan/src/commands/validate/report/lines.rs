//! Lines of a report: errors, and rows without a prediction.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::render::words;
use planner::validate::statistics::Score;
use planner::validate::tier::Unmapped;

/// The head of a table of errors.
pub(super) const HEAD: &str = "| | rows | mapped | median % | p90 % | mean % | max % | bias % | inside 90 % |\n|---|---|---|---|---|---|---|---|---|\n";

pub(super) fn line(page: &mut String, name: &str, score: &Score) {
    let number = |value: f64| {
        if value.is_finite() {
            format!("{value:.1}")
        } else {
            "-".to_owned()
        }
    };
    let inside = score.coverage_pct.map_or_else(|| "-".to_owned(), number);
    let errors = [
        score.median_pct,
        score.p90_pct,
        score.mape_pct,
        score.max_pct,
        score.bias_pct,
    ]
    .map(number);
    let name = name.replace('|', "\\|");
    let _ = writeln!(
        page,
        "| {name} | {} | {} | {} | {inside} |",
        score.n,
        score.mapped,
        errors.join(" | ")
    );
}

pub(super) fn baselines(page: &mut String, baselines: &BTreeMap<&'static str, Score>) {
    for (name, score) in baselines {
        line(page, &format!("baseline: {name}"), score);
    }
}

pub(super) fn unmapped(page: &mut String, rows: &[Unmapped]) {
    let mut reasons: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for row in rows {
        let reason = words::reason(&row.reason);
        reasons.entry(reason).or_default().push(&row.row);
    }
    if !reasons.is_empty() {
        page.push_str("\n### Rows without a prediction\n\n");
    }
    for (reason, rows) in reasons {
        let _ = writeln!(page, "* {}: {reason} ({} ...)", rows.len(), rows[0]);
    }
}
