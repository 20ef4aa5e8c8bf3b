//! Live runs: plans that virtual ranks executed on one GPU, against the same plans simulated.
//!
//! ```text
//! plan.json ─▶ workload, plan ─┐
//! profile ─▶ costs, copies ────┴─▶ simulated timeline ─┐
//! timeline.json, times of all repeats ─────────────────┴─▶ errors of makespan, exposure, span classes
//! ```
//! Measured is the median over the repeats of a run. An error of exposed communication is in percent of the
//! run's makespan, for it may be nothing; an error of a class in percent of the class.
//!
//! Guarantees: same files, same report; a run that is not predicted is listed with the reason; runs on a
//! processor are labelled and are no validation of a GPU.

mod model;
mod predict;
mod run;

use std::collections::BTreeMap;
use std::path::PathBuf;

use rayon::prelude::*;
use topologies::{Gpu, gpu};
use traces::timeline::SpanClass;

pub use predict::Times;
pub use run::{About, LiveError, Ran, Run, read};

use super::statistics::Score;
use super::tier::{Stratum, Unmapped};
use crate::profile::{Device, Profile, ProfileError};
use predict::Bench;

/// A run and its prediction, microseconds.
#[derive(Clone, Debug, PartialEq)]
pub struct Compared {
    /// The run's directory.
    pub run: String,
    /// The model.
    pub model: String,
    /// The plan.
    pub plan: String,
    /// eager or graph.
    pub mode: String,
    /// How many times it ran.
    pub repeats: usize,
    /// Slowest repeat over fastest, less 1, percent.
    pub repeats_spread_pct: f64,
    /// Whether exact strategies agreed with one rank.
    pub numerics_ok: bool,
    /// Median makespan.
    pub measured_us: f64,
    /// Simulated makespan.
    pub predicted_us: f64,
    /// Predicted over measured, less 1, percent.
    pub error_pct: f64,
    /// Median exposed communication.
    pub measured_exposed_us: f64,
    /// Simulated exposed communication.
    pub predicted_exposed_us: f64,
    /// Measured and simulated sum of each class.
    pub classes_us: BTreeMap<SpanClass, (f64, f64)>,
}

/// What a reader of live runs must know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Note {
    /// Some ran on a processor: they test the path and validate nothing of a GPU.
    Processor,
    /// Costs are those of this profile.
    Profile(String),
    /// Costs are the GPU's built-in tables.
    BuiltIn,
    /// So many used PyTorch's compressors, whose times are not in the tables.
    OtherCompressors(usize),
    /// So many did not compute what they should.
    WrongResults(usize),
}

/// The report of live runs.
#[derive(Clone, Debug, PartialEq)]
pub struct Live {
    /// What was compared.
    pub source: String,
    /// What a reader must know.
    pub notes: Vec<Note>,
    /// Errors of the makespan over the runs.
    pub score: Score,
    /// Errors of simpler models of the makespan.
    pub baselines: BTreeMap<&'static str, Score>,
    /// Errors of the makespan by strategy, model and mode.
    pub strata: Vec<Stratum>,
    /// Errors of exposed communication, percent of the makespan; all runs, then by strategy.
    pub exposed_communication: Vec<Stratum>,
    /// Errors of each span class, percent of the class.
    pub classes: Vec<Stratum>,
    /// Every run.
    pub runs: Vec<Compared>,
    /// Runs without a prediction.
    pub unmapped: Vec<Unmapped>,
    /// Measured and predicted makespans, for plots.
    pub points: Vec<(f64, f64)>,
}

/// Compares the runs at `paths` with simulations on costs of `profile`, else the built-in ones.
///
/// # Errors
/// [`LiveError`] for a path without a run, a wrong file, or a profile of another device.
pub fn live(paths: &[PathBuf], profile: Option<&Profile>) -> Result<Live, LiveError> {
    let runs = run::read(paths)?;
    let compared: Vec<Result<Compared, Unmapped>> = runs
        .par_iter()
        .map(|run| compare(run, profile))
        .collect::<Result<_, LiveError>>()?;
    let names: Vec<String> = paths
        .iter()
        .map(|path| path.display().to_string())
        .collect();
    Ok(report(names.join(", "), notes(&runs, profile), compared))
}

fn notes(runs: &[Run], profile: Option<&Profile>) -> Vec<Note> {
    let mut notes = Vec::new();
    if runs
        .iter()
        .any(|run| run.about.machine.device == Device::Cpu)
    {
        notes.push(Note::Processor);
    }
    notes.push(match profile {
        Some(profile) => Note::Profile(profile.title()),
        None => Note::BuiltIn,
    });
    let other = runs
        .iter()
        .filter(|run| run.about.codec.as_deref() == Some("torch"))
        .count();
    if other > 0 {
        notes.push(Note::OtherCompressors(other));
    }
    let failed = runs.iter().filter(|run| !run.about.numerics.ok).count();
    if failed > 0 {
        notes.push(Note::WrongResults(failed));
    }
    notes
}

/// The GPU that ran: the profile's, or the datasheet's.
fn device(run: &Run, profile: Option<&Profile>) -> Result<Gpu, LiveError> {
    let ran = &run.about.machine;
    match (ran.device, profile) {
        (Device::Cpu, Some(profile)) if profile.about.device == Device::Cpu => {
            Ok(profile.gpu.clone())
        }
        (Device::Cpu, _) => Err(LiveError::NoProfile {
            run: run.name.clone(),
        }),
        (Device::Cuda, profile) => {
            let found =
                gpu::find(&ran.gpu).or_else(|error| gpu::find(&ran.system).map_err(|_| error));
            let found = found.map_err(|error| ProfileError::Gpu {
                profile: run.name.clone(),
                gpu: ran.gpu.clone(),
                why: error.to_string(),
            })?;
            if let Some(profile) = profile {
                if profile.about.device == Device::Cpu {
                    let profile = profile.path.clone();
                    return Err(ProfileError::Processor { profile }.into());
                }
                profile.check(&run.name, found)?;
            }
            Ok(found.clone())
        }
    }
}

fn compare(run: &Run, profile: Option<&Profile>) -> Result<Result<Compared, Unmapped>, LiveError> {
    let gpu = device(run, profile)?;
    let bench = Bench { profile, gpu: &gpu };
    let about = &run.about;
    Ok(match bench.times(run)? {
        Err(reason) => Err(Unmapped {
            row: run.name.clone(),
            reason,
        }),
        Ok(predicted) => {
            let measured = about.makespan();
            let median = super::statistics::median;
            let class = |class: &SpanClass| {
                let measured = about.classes_us.get(class).cloned();
                let predicted = predicted.classes.get(class).copied();
                (
                    *class,
                    (measured.map_or(0.0, median), predicted.unwrap_or(0.0)),
                )
            };
            Ok(Compared {
                run: run.name.clone(),
                model: about.model.clone(),
                plan: about.plan.clone(),
                mode: about.mode.clone(),
                repeats: about.makespan_us.len(),
                repeats_spread_pct: about.spread_pct(),
                numerics_ok: about.numerics.ok,
                measured_us: measured,
                predicted_us: predicted.makespan,
                error_pct: 100.0 * (predicted.makespan / measured - 1.0),
                measured_exposed_us: about.exposed(),
                predicted_exposed_us: predicted.exposed,
                classes_us: SpanClass::ALL
                    .iter()
                    .map(class)
                    .filter(|(_, (measured, predicted))| *measured > 0.0 || *predicted > 0.0)
                    .collect(),
            })
        }
    })
}

/// The plan's strategy without its degree and settings: `ring/1bit`.
fn strategy(plan: &str) -> String {
    let layout = plan.split_whitespace().next().unwrap_or(plan);
    let (name, compressor) = layout
        .split_once('/')
        .map_or((layout, None), |(a, b)| (a, Some(b)));
    let name = name.split('(').next().unwrap_or(name);
    let name = name.trim_end_matches(|c: char| c.is_ascii_digit());
    compressor.map_or_else(
        || name.to_owned(),
        |compressor| format!("{name}/{compressor}"),
    )
}

fn stratum<'a>(
    name: String,
    runs: impl Iterator<Item = &'a Compared> + Clone,
    pair: impl Fn(&Compared) -> Option<(f64, f64)>,
) -> Stratum {
    let pairs: Vec<(f64, f64)> = runs.clone().filter_map(pair).collect();
    Stratum {
        name,
        score: Score::of_pairs(runs.count(), pairs.into_iter()),
        baselines: BTreeMap::new(),
    }
}

fn report(source: String, notes: Vec<Note>, compared: Vec<Result<Compared, Unmapped>>) -> Live {
    let n = compared.len();
    let (mut runs, mut unmapped) = (Vec::new(), Vec::new());
    for one in compared {
        match one {
            Ok(run) => runs.push(run),
            Err(row) => unmapped.push(row),
        }
    }
    let makespan = |run: &Compared| Some((run.measured_us, run.predicted_us));
    let exposed = |run: &Compared| {
        let off = run.predicted_exposed_us - run.measured_exposed_us;
        Some((run.measured_us, run.measured_us + off))
    };
    let of = |key: &dyn Fn(&Compared) -> String| {
        let mut names: Vec<String> = runs.iter().map(key).collect();
        names.sort();
        names.dedup();
        names
    };
    let within = |key: &dyn Fn(&Compared) -> String,
                  pair: &dyn Fn(&Compared) -> Option<(f64, f64)>| {
        let one = |name: String| {
            let chosen: Vec<&Compared> = runs.iter().filter(|run| key(run) == name).collect();
            stratum(name, chosen.into_iter(), pair)
        };
        of(key).into_iter().map(one).collect::<Vec<_>>()
    };
    let by_strategy = |run: &Compared| format!("strategy {}", strategy(&run.plan));
    let mut strata = within(&by_strategy, &makespan);
    strata.extend(within(&|run| format!("model {}", run.model), &makespan));
    strata.extend(within(&|run| format!("mode {}", run.mode), &makespan));
    let mut exposure = vec![stratum("all".to_owned(), runs.iter(), exposed)];
    exposure.extend(within(&by_strategy, &exposed));
    let class = |class: &SpanClass| {
        let pair = |run: &Compared| {
            run.classes_us
                .get(class)
                .copied()
                .filter(|pair| pair.0 > 0.0)
        };
        stratum(class.to_string(), runs.iter(), pair)
    };
    let classes = SpanClass::ALL
        .iter()
        .map(class)
        .filter(|one| one.score.mapped > 0);
    let in_turn = |run: &Compared| {
        (
            run.measured_us,
            run.classes_us.values().map(|pair| pair.1).sum(),
        )
    };
    let nothing_hidden = Score::of_pairs(n, runs.iter().map(in_turn));
    Live {
        score: Score::of_pairs(n, runs.iter().filter_map(makespan)),
        baselines: BTreeMap::from([("nothing overlaps", nothing_hidden)]),
        source,
        notes,
        strata,
        exposed_communication: exposure,
        classes: classes.collect(),
        points: runs.iter().filter_map(makespan).collect(),
        runs,
        unmapped,
    }
}

#[cfg(test)]
mod tests;
