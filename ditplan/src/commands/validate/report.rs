//! A validation report for people: Markdown with plots beside it.
//!
//! Guarantees: the same report gives the same bytes; bad rows and rows without a prediction are in it.

use std::fmt::Write as _;
use std::path::Path;

mod lines;
mod live;

use self::lines::{HEAD, baselines, line, unmapped};
use super::plots::Plot;
use crate::render::figure::Failure;
use crate::render::words;
use planner::validate::operations::Sum;
use planner::validate::published::{Published, Summary};
use planner::validate::tier::{Stratum, Tier};
use planner::validate::{Report, Tiers};
use traces::whole;

/// Rows of a list of worst predictions.
const WORST: usize = 25;

/// Writes `validation.md` and its plots into `folder`, which is made if need be.
///
/// # Errors
/// What the system or the picture says; not which folder.
pub fn write(report: &Report, folder: &Path) -> Result<(), Failure> {
    std::fs::create_dir_all(folder)?;
    for (name, plot) in plots(&report.tiers) {
        plot.write(folder, &name)?;
    }
    let page = folder.join("validation.md");
    Ok(whole::write(&page, markdown(&report.tiers))?)
}

fn tiers(tiers: &Tiers) -> impl Iterator<Item = (&'static str, &'static str, &Tier)> {
    let operations = tiers.operations.as_ref().map(|found| &found.single);
    let all = [
        ("gemm", "Matrix products", &tiers.gemm),
        ("attention", "Attention", &tiers.attention),
        (
            "attention-kernels",
            "Attention by kernel, charts known",
            &tiers.attention_kernels,
        ),
        (
            "attention-kernels-left-out",
            "Attention by kernel, the kernel left out of the GPU",
            &tiers.attention_kernels_left_out,
        ),
        ("collectives", "Collectives", &tiers.collectives),
    ];
    let all = all
        .into_iter()
        .map(|(name, title, tier)| (name, title, tier.as_ref()));
    let all = all.chain([("operations", "Kernels of whole runs", operations)]);
    all.filter_map(|(name, title, tier)| Some((name, title, tier?)))
}

fn plots(report: &Tiers) -> Vec<(String, Plot<'_>)> {
    let mut plots = Vec::new();
    for (name, title, tier) in tiers(report) {
        plots.push((
            format!("{name}-predicted"),
            Plot::Scatter {
                title: format!("{title}: the row left out"),
                unit: "us",
                points: &tier.points,
            },
        ));
        plots.push((format!("{name}-errors"), errors(title, &tier.strata, "")));
    }
    if let Some(published) = &report.published {
        let strata = &published.together.part.strata;
        plots.push((
            "published-predicted".to_owned(),
            Plot::Scatter {
                title: "Published runs: printed rows, not flagged".to_owned(),
                unit: "s",
                points: &published.together.points,
            },
        ));
        plots.push((
            "published-hosts".to_owned(),
            errors("Published runs", strata, "host "),
        ));
        plots.push((
            "published-strategies".to_owned(),
            errors("Published runs", strata, "strategy "),
        ));
    }
    if let Some(live) = &report.live {
        plots.extend(live::plots(live));
    }
    plots
}

fn errors<'a>(title: &str, strata: &'a [Stratum], prefix: &str) -> Plot<'a> {
    Plot::Errors {
        title: format!(
            "{title}: error by {}",
            if prefix.is_empty() {
                "stratum"
            } else {
                prefix.trim_end()
            }
        ),
        strata: strata
            .iter()
            .filter(|one| one.name.starts_with(prefix))
            .collect(),
    }
}

fn markdown(report: &Tiers) -> String {
    let mut page = String::from("# Validation\n\nErrors are predicted / measured - 1.\n");
    for (name, title, tier) in tiers(report) {
        let _ = write!(
            page,
            "\n## {title}\n\nOn {}; a row never takes part in its own prediction.\n\n{HEAD}",
            tier.source
        );
        line(&mut page, "ditplan", &tier.score);
        baselines(&mut page, &tier.baselines);
        for one in &tier.strata {
            line(&mut page, &one.name, &one.score);
        }
        page.push_str("\nHow the predictions were reached:\n\n");
        for method in tier.methods.iter().take(40) {
            let _ = writeln!(page, "* {}: {}", method.n, method.how);
        }
        unmapped(&mut page, &tier.unmapped);
        let _ = write!(
            page,
            "\n![predicted against measured]({name}-predicted.svg)\n![errors]({name}-errors.svg)\n"
        );
    }
    if let Some(operations) = &report.operations {
        sums(&mut page, &operations.sums);
    }
    if let Some(published) = &report.published {
        published_section(&mut page, published);
    }
    if let Some(live) = &report.live {
        live::section(&mut page, live);
    }
    page
}

fn sums(page: &mut String, all: &[Sum]) {
    page.push_str("\n### Sums by run and class\n\n| run | class | rows | measured ms | predicted ms | error | of the run |\n|---|---|---|---|---|---|---|\n");
    for sum in all {
        let _ = writeln!(
            page,
            "| {} on {} | {} | {} | {:.1} | {:.1} | {:+.1} % | {:.0} % |",
            sum.run.replace('|', "\\|"),
            sum.gpu,
            sum.class.name(),
            sum.rows,
            sum.measured.as_us_f64() / 1e3,
            sum.predicted.as_us_f64() / 1e3,
            sum.error_pct(),
            100.0 * sum.share
        );
    }
}

fn published_section(page: &mut String, published: &Published) {
    let all = &published.together;
    let _ = write!(
        page,
        "\n## Published runs\n\nRows: multi-GPU latencies. Errors: printed rows that are neither flagged nor used to calibrate ({}).\n\n{HEAD}",
        all.scored
    );
    line(page, "ditplan", &all.part.score);
    baselines(page, &all.part.baselines);
    line(page, "digitised rows", &all.digitised.score);
    line(page, "flagged rows", &all.flagged.score);
    for file in published.files.iter().filter(|_| published.files.len() > 1) {
        line(page, &file.file, &file.summary.part.score);
    }
    for one in &all.part.strata {
        line(page, &one.name, &one.score);
    }
    if all.part.choices.groups > 0 {
        let _ = writeln!(
            page,
            "\nDecisions, over {} groups of plans for one request: the plan predicted fastest is {:.2} % slower than the best on average; Kendall's tau {:.2}.",
            all.part.choices.groups, all.part.choices.top1_regret_pct, all.part.choices.kendall_tau
        );
    }
    page.push_str("\n![predicted against measured](published-predicted.svg)\n![by host](published-hosts.svg)\n![by strategy](published-strategies.svg)\n");
    memory(page, all);
    levers(page, all);
    calibration(page, all);
    worst(page, all);
    unmapped(page, &all.unmapped);
}

fn memory(page: &mut String, all: &Summary) {
    let memory = &all.memory;
    let _ = write!(page, "\n### Peak memory\n\n{HEAD}");
    line(page, "ditplan", &memory.score);
    let _ = writeln!(
        page,
        "\nRan out and predicted to: {}; ran out and predicted to fit: {}; ran and predicted to run out: {}.",
        memory.oom_right, memory.oom_wrong, memory.ran_but_predicted_oom
    );
}

fn levers(page: &mut String, all: &Summary) {
    let levers = &all.levers;
    if levers.rows.is_empty() {
        return;
    }
    let _ = write!(
        page,
        "\n### Quantised products, weights that move\n\nIn none of the errors above.\n\n{HEAD}"
    );
    line(page, "ditplan", &levers.score);
    for one in &levers.strata {
        line(page, &one.name, &one.score);
    }
    line(page, "gain over the same run without", &levers.gains);
    let _ = writeln!(
        page,
        "\nOf {} rows with such a run {} gain or lose by 3 % or more, {} of them as predicted.",
        levers.gains.mapped, levers.signed, levers.sign_right
    );
}

fn calibration(page: &mut String, all: &Summary) {
    page.push_str("\n### Rows that calibrate, not scored\n\n| row | host | plan | measured s | says |\n|---|---|---|---|---|\n");
    for row in &all.calibration_rows {
        let host = row.host.replace('|', "\\|");
        let _ = writeln!(
            page,
            "| {} | {host} | {} | {} | {} |",
            row.row,
            row.plan,
            row.measured,
            words::says(row.says)
        );
    }
}

fn worst(page: &mut String, all: &Summary) {
    let size = |row: &&planner::validate::published::score::Prediction| {
        (row.predicted / row.measured).ln().abs()
    };
    let mut rows: Vec<_> = all.rows.iter().filter(|row| row.flag.is_none()).collect();
    rows.sort_by(|a, b| size(b).total_cmp(&size(a)));
    page.push_str("\n### Worst predictions\n\n| row | plan | measured s | predicted s | 90 % interval |\n|---|---|---|---|---|\n");
    for row in rows.iter().take(WORST) {
        let _ = writeln!(
            page,
            "| {} | {} | {:.3} | {:.3} | {:.3} to {:.3} |",
            row.row, row.plan, row.measured, row.predicted, row.lo, row.hi
        );
    }
    page.push_str("\n### Flagged rows\n\n| row | plan | measured s | predicted s | why |\n|---|---|---|---|---|\n");
    for row in &all.rows {
        let Some(flag) = &row.flag else { continue };
        let _ = writeln!(
            page,
            "| {} | {} | {:.3} | {:.3} | {} |",
            row.row,
            row.plan,
            row.measured,
            row.predicted,
            words::flag(flag)
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use indicatif::ProgressBar;
    use planner::csv_input::Table;

    /// The kernels of whole runs are drawn as the other tiers are, and their sums are in the page.
    #[test]
    fn operations_have_figures_and_sums() {
        let text = "run,gpu,op,input_dims,input_types,count,median_us,sum_us\n\
            a,H100-SXM,aten::mm,\"((4096, 4096), (4096, 4096))\",\"('c10::BFloat16', 'c10::BFloat16')\",10,200,2000\n";
        let table = Table::from_bytes(text.as_bytes(), "o.csv").unwrap();
        let found = planner::validate::operations::operations(&table, &ProgressBar::hidden());
        let report = Report {
            tiers: Tiers {
                operations: Some(found.unwrap()),
                ..Tiers::default()
            },
        };
        let folder = tempfile::tempdir().unwrap();
        write(&report, folder.path()).unwrap();
        let page = std::fs::read_to_string(folder.path().join("validation.md")).unwrap();
        assert!(
            page.contains("| a on H100-SXM | matrix products | 1 | 2.0 |"),
            "{page}"
        );
        for file in ["operations-predicted.svg", "operations-errors.png"] {
            assert!(page.contains("operations-predicted.svg"));
            let size = folder.path().join(file).metadata().unwrap().len();
            assert!(size > 1000, "{file}");
        }
    }

    #[test]
    fn a_report_has_its_page_and_its_plots() {
        let text = "system,nccl,op,dtype,num_gpus,size_bytes,latency_us\n\
            h100_sxm,2.30.1,all_gather,half,4,1048576,40\n\
            h100_sxm,2.30.1,broadcast,half,4,1048576,40\n";
        let table = Table::from_bytes(text.as_bytes(), "n.csv").unwrap();
        let tier =
            planner::validate::collectives_tier::collectives(Some(&table), &ProgressBar::hidden());
        let report = Report {
            tiers: Tiers {
                collectives: Some(tier.unwrap()),
                ..Tiers::default()
            },
        };
        let folder = tempfile::tempdir().unwrap();
        write(&report, folder.path()).unwrap();
        let page = std::fs::read_to_string(folder.path().join("validation.md")).unwrap();
        assert!(
            page.contains("| ditplan | 2 | 1 |") && page.contains("broadcast"),
            "{page}"
        );
        for file in ["collectives-predicted.svg", "collectives-errors.png"] {
            assert!(
                folder.path().join(file).metadata().unwrap().len() > 1000,
                "{file}"
            );
        }
        let blocked = folder.path().join("validation.md").join("below");
        assert!(write(&report, &blocked).is_err());
    }
}
