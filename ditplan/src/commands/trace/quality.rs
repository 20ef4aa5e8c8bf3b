//! `trace quality`: predicted output errors beside those of closed-loop runs that did not fit.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::{Result, ensure};
#[cfg(test)]
use schemars::JsonSchema;
use serde::Serialize;
use sim::quality::{OwnShard, QualityModel, Schedule};
use traces::trace::{ClosedLoop, ErrorRow, RunStrategy, Split, Trace};

use super::arguments::QualityArguments;
use crate::render::json::{Amount, pretty};
use crate::render::text;
use planner::search::CONFIDENCE;
use planner::validate::statistics::{decision, median};

/// Runs of a kind: why, on which prompts, ranks and steps.
type Kind = (Split, String, String, u32, u32);

/// A run's predicted and measured deviation.
#[derive(Clone, Copy, Debug)]
struct Pair {
    predicted: f64,
    measured: f64,
}

/// How the predictions of one kind of runs came out.
struct Group {
    kind: Kind,
    pairs: Vec<Pair>,
    /// Runs beyond the bound that 19 of 20 should keep.
    over: usize,
}

/// Pairs whose measured deviations differ by more than this should be told apart.
const APART: f64 = 1.3;

/// What `trace quality` prints.
pub(super) fn answer(typed: &QualityArguments) -> Result<String> {
    let trace = Trace::open(&typed.directory)?;
    let calibrated = trace.calibrated()?;
    let runs = trace.rows::<ClosedLoop>()?.unwrap_or_default();
    ensure!(
        runs.iter().any(|run| run.split != Split::Fit),
        "{} has no runs.csv.gz with runs that did not fit: run ditplan_capture's campaign on it",
        typed.directory.display()
    );
    let layers = calibrated.manifest.model.layers;
    let mut models = BTreeMap::new();
    let steps = calibrated.manifest.sampler.steps;
    let model = QualityModel::new(calibrated.quality.clone(), &calibrated.errors, layers)?;
    models.insert(steps, Arc::new(model));
    for directory in &typed.steps_of {
        let other = Trace::open(directory)?;
        let (fitted, here) = (&calibrated.manifest.sampler, &other.manifest().sampler);
        ensure!(
            fitted.response == here.response,
            "{0}/manifest.json, key \"sampler.response\": not that of {1}, with which the quality model was fitted: run \
             `python -m ditplan_capture.step_response {0} --of {1}`, then `ditplan replay {0} --save`",
            directory.display(),
            typed.directory.display()
        );
        let errors = other.rows::<ErrorRow>()?.unwrap_or_default();
        let steps = other.manifest().sampler.steps;
        let model = QualityModel::new(calibrated.quality.clone(), &errors, layers)?;
        models.insert(steps, Arc::new(model));
    }
    let (groups, unknown) = groups(&runs, &models)?;
    Ok(if typed.format.json {
        pretty(&QualityAnswer {
            groups: groups.iter().map(GroupErrors::from).collect(),
            not_predicted: unknown,
        })
    } else {
        page(&groups, unknown)
    })
}

/// The runs that did not fit, by kind; and how many cannot be predicted (other protocols, steps or ranks).
fn groups(
    runs: &[ClosedLoop],
    models: &BTreeMap<u32, Arc<QualityModel>>,
) -> Result<(Vec<Group>, usize)> {
    let mut groups: BTreeMap<Kind, (Vec<Pair>, usize)> = BTreeMap::new();
    let mut unknown = 0;
    for run in runs.iter().filter(|run| run.split != Split::Fit) {
        let usual = run.assignment.get("rules").is_none();
        let predicted = match models.get(&run.steps) {
            Some(model) if usual => {
                let own = match run.strategy {
                    RunStrategy::Gather => OwnShard::Lossy,
                    RunStrategy::Ring | RunStrategy::Stale => OwnShard::Exact,
                };
                let schedule = Schedule::of_json(&run.assignment)?;
                let predicted = model.predict(&schedule, run.ranks, own).ok();
                predicted.map(|predicted| (predicted.deviation, model.factor(CONFIDENCE)))
            }
            _ => None,
        };
        let Some((predicted, factor)) = predicted else {
            unknown += 1;
            continue;
        };
        let kind = (
            run.split,
            run.purpose.to_string(),
            run.prompts.clone(),
            run.ranks,
            run.steps,
        );
        let group = groups.entry(kind).or_default();
        group.0.push(Pair {
            predicted,
            measured: run.deviation,
        });
        group.1 += usize::from(run.deviation > predicted * factor?);
    }
    let groups = groups
        .into_iter()
        .map(|(kind, (pairs, over))| Group { kind, pairs, over });
    Ok((groups.collect(), unknown))
}

impl Group {
    /// |predicted - measured| / measured, ascending.
    fn errors(&self) -> Vec<f64> {
        let error = |pair: &Pair| (pair.predicted / pair.measured - 1.0).abs();
        let mut errors: Vec<f64> = self.pairs.iter().map(error).collect();
        errors.sort_by(f64::total_cmp);
        errors
    }

    fn median(&self) -> f64 {
        median(self.errors())
    }

    /// Geometric mean of measured over predicted.
    fn bias(&self) -> f64 {
        let logs = self
            .pairs
            .iter()
            .map(|pair| (pair.measured / pair.predicted).ln());
        (logs.sum::<f64>() / self.pairs.len() as f64).exp()
    }

    fn tau(&self) -> f64 {
        let pairs: Vec<_> = self
            .pairs
            .iter()
            .map(|pair| (pair.measured, pair.predicted))
            .collect();
        decision(&pairs)
            .and_then(|decision| decision.kendall_tau)
            .unwrap_or(f64::NAN)
    }

    /// The share of clearly different pairs that are in the right order.
    fn ordered(&self) -> f64 {
        let (mut right, mut all) = (0, 0);
        for a in &self.pairs {
            for b in &self.pairs {
                if a.measured > APART * b.measured {
                    all += 1;
                    right += usize::from(a.predicted > b.predicted);
                }
            }
        }
        if all == 0 {
            1.0
        } else {
            right as f64 / all as f64
        }
    }
}

const fn word(split: Split) -> &'static str {
    match split {
        Split::Fit => "fit",
        Split::Test => "test",
        Split::Transfer => "transfer",
    }
}

fn page(groups: &[Group], unknown: usize) -> String {
    let header = [
        "split",
        "runs of",
        "prompts",
        "ranks",
        "steps",
        "runs",
        "median error",
        "worst",
        "bias",
        "tau",
        "ordered",
        "over",
    ];
    let mut table = text::table(&header, &[3, 4, 5, 6, 7, 8, 9, 10, 11]);
    for group in groups {
        let (split, purpose, prompts, ranks, steps) = &group.kind;
        let worst = group.errors().last().copied().unwrap_or(0.0);
        table.add_row([
            word(*split).to_owned(),
            purpose.clone(),
            prompts.clone(),
            ranks.to_string(),
            steps.to_string(),
            group.pairs.len().to_string(),
            text::percent(group.median()),
            text::percent(worst),
            format!("{:.2}", group.bias()),
            format!("{:.2}", group.tau()),
            text::percent(group.ordered()),
            format!("{} of {}", group.over, group.pairs.len()),
        ]);
    }
    let mut page = text::heading("Predicted output error beside closed-loop runs that did not fit");
    page.push_str(&text::rendered(&mut table));
    page.push('\n');
    let mut notes = vec![
        "error: of the relative L2 deviation of the output, geometric mean over samples; bias: measured over predicted."
            .to_owned(),
        "ordered: pairs that differ by more than 1.3x, in the right order; over: beyond the bound that 19 of 20 keep."
            .to_owned(),
    ];
    if unknown > 0 {
        notes.push(format!(
            "{unknown} more runs have another protocol, or steps and ranks that no errors.csv.gz is for: --steps-of DIR names traces of \
             other numbers of steps"
        ));
    }
    page.push_str(&text::bulleted(&notes));
    page
}

/// Predicted output errors beside those of closed-loop runs that did not fit.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub(crate) struct QualityAnswer {
    /// Runs of one kind.
    pub groups: Vec<GroupErrors>,
    /// Runs of other protocols, steps or ranks, which are not predicted.
    pub not_predicted: usize,
}

/// Errors of the runs of one kind.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub(crate) struct GroupErrors {
    /// test: like those that fitted; transfer: other steps or ranks.
    #[cfg_attr(test, schemars(extend("enum" = ["test", "transfer"])))]
    pub split: &'static str,
    /// Why they were made: single, uniform, mixed, phase, kv, or a word of its own.
    pub purpose: String,
    /// The set of prompts: A, B, ...
    pub prompts: String,
    /// Ranks that shared the sequence.
    pub ranks: u32,
    /// Denoising steps.
    pub steps: u32,
    /// Runs.
    pub n: usize,
    /// Median size of the error of the predicted relative L2 deviation, percent.
    pub median_pct: Amount,
    /// The largest, percent.
    pub max_pct: Amount,
    /// Geometric mean of measured over predicted; 1 is none.
    pub bias: Amount,
    /// Kendall's tau of predicted against measured order; null where all are measured equal.
    pub kendall_tau: Option<f64>,
    /// Pairs that differ by more than 1.3x and are predicted in the right order, percent.
    pub ordered_pct: Amount,
    /// Runs beyond the bound that 19 of 20 should keep.
    pub over_bound: usize,
}

impl From<&Group> for GroupErrors {
    fn from(group: &Group) -> Self {
        let (split, purpose, prompts, ranks, steps) = &group.kind;
        let worst = group.errors().last().copied().unwrap_or(0.0);
        Self {
            split: word(*split),
            purpose: purpose.clone(),
            prompts: prompts.clone(),
            ranks: *ranks,
            steps: *steps,
            n: group.pairs.len(),
            median_pct: (100.0 * group.median()).into(),
            max_pct: (100.0 * worst).into(),
            bias: group.bias().into(),
            kendall_tau: Some(group.tau()).filter(|tau| !tau.is_nan()),
            ordered_pct: (100.0 * group.ordered()).into(),
            over_bound: group.over,
        }
    }
}
