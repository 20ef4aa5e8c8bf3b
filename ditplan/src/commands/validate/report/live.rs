//! The part of a report that is about runs of virtual ranks.

use std::fmt::Write as _;

use super::super::plots::Plot;
use super::lines::{HEAD, baselines, line, unmapped};
use crate::render::words;
use planner::validate::live::Live;

/// Predicted against measured makespans, and errors by stratum and class.
pub(super) fn plots(live: &Live) -> Vec<(String, Plot<'_>)> {
    let errors = |title: &str, strata| Plot::Errors {
        title: format!("Live runs: {title}"),
        strata,
    };
    vec![
        (
            "live-predicted".to_owned(),
            Plot::Scatter {
                title: "Live runs: makespan".to_owned(),
                unit: "us",
                points: &live.points,
            },
        ),
        (
            "live-errors".to_owned(),
            errors("error of the makespan", live.strata.iter().collect()),
        ),
        (
            "live-classes".to_owned(),
            errors("error by span class", live.classes.iter().collect()),
        ),
    ]
}

/// Tables of makespan, exposed communication and classes, and every run.
pub(super) fn section(page: &mut String, live: &Live) {
    let _ = write!(
        page,
        "\n## Live runs\n\nMakespans of plans that virtual ranks ran on one GPU ({}); measured is the median over repeats.\n\n",
        live.source
    );
    for note in &live.notes {
        let _ = writeln!(page, "* {}", words::note(note));
    }
    let _ = write!(page, "\n{HEAD}");
    line(page, "ditplan", &live.score);
    baselines(page, &live.baselines);
    for one in &live.strata {
        line(page, &one.name, &one.score);
    }
    for (title, strata) in [
        (
            "Exposed communication, error in % of the makespan",
            &live.exposed_communication,
        ),
        ("Sums of span classes", &live.classes),
    ] {
        let _ = write!(page, "\n### {title}\n\n{HEAD}");
        for one in strata {
            line(page, &one.name, &one.score);
        }
    }
    page.push_str("\n### Every run\n\n| run | plan | mode | repeats | spread % | measured us | predicted us | error % |\n|---|---|---|---|---|---|---|---|\n");
    for run in &live.runs {
        let _ = writeln!(
            page,
            "| {} | {} | {} | {} | {:.1} | {:.0} | {:.0} | {:+.1} |",
            run.run,
            run.plan,
            run.mode,
            run.repeats,
            run.repeats_spread_pct,
            run.measured_us,
            run.predicted_us,
            run.error_pct
        );
    }
    unmapped(page, &live.unmapped);
    page.push_str("\n![predicted against measured](live-predicted.svg)\n![errors](live-errors.svg)\n![by class](live-classes.svg)\n");
}
