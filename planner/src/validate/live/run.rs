//! A measured run of virtual ranks: `plan.json` and `timeline.json` as `ditplan_capture.virtual` writes them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use thiserror::Error;
use traces::bounded::{self, LARGEST_DESCRIPTION};
use traces::timeline::{self, ReadError, Source, SpanClass, Timeline};

use super::super::statistics::median;
use crate::profile::{Device, ProfileError};

/// Sizes beyond these are mistyped, not run: ranks, steps, blocks, tokens.
const MOST: [u64; 4] = [64, 10_000, 1000, 10_000_000];

/// Why measured runs cannot be compared.
#[derive(Debug, Error)]
pub enum LiveError {
    /// No run where one was looked for.
    #[error(
        "{path} holds no run: give a directory with plan.json and timeline.json, as `python -m ditplan_capture.virtual` writes it, or one of such directories"
    )]
    NoRun {
        /// The path given.
        path: String,
    },
    /// A file that cannot be read, or is not what it should be.
    #[error("{file}: {what}: run `python -m ditplan_capture.virtual` again")]
    File {
        /// The file.
        file: String,
        /// What is wrong.
        what: String,
    },
    /// A timeline that cannot be read.
    #[error(transparent)]
    Timeline(#[from] ReadError),
    /// The profile is not of the GPU that ran.
    #[error(transparent)]
    Profile(#[from] ProfileError),
    /// A run on a processor without a processor's profile.
    #[error(
        "{run} ran on a processor (cpu), of which nothing is built in: give a profile of it, `--profile DIR` from `ditplan calibrate --device cpu --toy --out DIR`"
    )]
    NoProfile {
        /// The run.
        run: String,
    },
}

/// The machine that ran.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Ran {
    /// The device's own name.
    pub gpu: String,
    /// GPU or processor.
    pub device: Device,
    /// The short name of the tables.
    pub system: String,
}

/// `plan.json`: what ran, and the times of all repeats in microseconds.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct About {
    /// The model.
    pub model: String,
    /// The kind of each block: double, single, joint, cross or digits.
    pub kinds: Vec<String>,
    /// Image tokens.
    pub tokens: u64,
    /// Text tokens.
    pub text_tokens: u32,
    /// Attention heads.
    pub heads: u64,
    /// Width of a head.
    pub head_dim: u64,
    /// Samples in a forward pass.
    pub batch: u32,
    /// Steps.
    pub steps: u32,
    /// The plan's line.
    pub plan: String,
    /// Ranks.
    pub ranks: u32,
    /// Makespan of each repeat.
    pub makespan_us: Vec<f64>,
    /// Time in which a copy runs and no compute does, of each repeat.
    pub exposed_communication_us: Vec<f64>,
    /// Sum of the spans of each class, of each repeat.
    pub classes_us: BTreeMap<SpanClass, Vec<f64>>,
    /// eager, or graph: nothing is launched while it runs.
    pub mode: String,
    /// Number format of activations.
    pub dtype: String,
    /// flash, cudnn or math.
    pub attention: String,
    /// Whose compressors ran, where the plan has one.
    pub codec: Option<String>,
    /// Where.
    pub machine: Ran,
    /// Agreement with one rank.
    pub numerics: Numerics,
}

/// Whether the run computed what it should.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Numerics {
    /// Exact strategies agree to rounding, others are finite.
    pub ok: bool,
}

/// A run: what it was, and the timeline of the repeat with the median makespan.
#[derive(Clone, Debug)]
pub struct Run {
    /// The directory's name.
    pub name: String,
    /// What ran.
    pub about: About,
    /// Its timeline.
    pub timeline: Timeline,
}

impl Run {
    /// The run in a directory.
    fn read(directory: &Path) -> Result<Self, LiveError> {
        let about = About::read(&directory.join("plan.json"))?;
        let path = directory.join("timeline.json");
        let file = path.display().to_string();
        let wrong = |what: String| LiveError::File {
            file: file.clone(),
            what,
        };
        let opened = bounded::plain(&path).map_err(|error| wrong(error.to_string()))?;
        let timeline = timeline::read(opened, &file)?;
        if timeline.source() != Source::Measured {
            return Err(wrong("its source is not \"measured\"".into()));
        }
        if timeline.spans().is_empty() {
            return Err(wrong("it has no spans".into()));
        }
        let name = directory.file_name().unwrap_or(directory.as_os_str());
        Ok(Self {
            name: name.to_string_lossy().into_owned(),
            about,
            timeline,
        })
    }
}

impl About {
    fn read(path: &Path) -> Result<Self, LiveError> {
        let wrong = |what: String| LiveError::File {
            file: path.display().to_string(),
            what,
        };
        let text =
            bounded::read(path, LARGEST_DESCRIPTION).map_err(|error| wrong(error.to_string()))?;
        let about: Self =
            serde_json::from_slice(&text).map_err(|error| wrong(error.to_string()))?;
        about.check().map_err(wrong)?;
        Ok(about)
    }

    fn check(&self) -> Result<(), String> {
        let sizes = [
            ("ranks", self.ranks.into()),
            ("steps", self.steps.into()),
            ("kinds", self.kinds.len() as u64),
            ("tokens", self.tokens),
        ];
        for ((name, size), most) in sizes.into_iter().zip(MOST) {
            if size == 0 || size > most {
                return Err(format!("{name} must be from 1 to {most}, not {size}"));
            }
        }
        for (name, count) in [("heads", self.heads), ("head_dim", self.head_dim)] {
            if count == 0 || count > 1024 {
                return Err(format!("{name} must be from 1 to 1024, not {count}"));
            }
        }
        if self.batch == 0 || self.batch > 1024 {
            return Err(format!("batch must be from 1 to 1024, not {}", self.batch));
        }
        let repeats = self.makespan_us.len();
        let lists = self
            .classes_us
            .values()
            .chain([&self.exposed_communication_us]);
        let sound = |list: &Vec<f64>| list.iter().all(|us| us.is_finite() && *us >= 0.0);
        if repeats == 0
            || !self
                .makespan_us
                .iter()
                .all(|us| us.is_finite() && *us > 0.0)
        {
            return Err("makespan_us must have one positive time a repeat".into());
        }
        if !lists.clone().all(sound) || self.exposed_communication_us.len() != repeats {
            return Err("times of repeats must be numbers of at least 0, one a repeat".into());
        }
        if !["eager", "graph"].contains(&self.mode.as_str()) {
            return Err(format!("mode must be eager or graph, not {}", self.mode));
        }
        Ok(())
    }

    /// Median makespan over the repeats, microseconds.
    #[must_use]
    pub fn makespan(&self) -> f64 {
        median(self.makespan_us.clone())
    }

    /// Median exposed communication over the repeats, microseconds.
    #[must_use]
    pub fn exposed(&self) -> f64 {
        median(self.exposed_communication_us.clone())
    }

    /// The largest makespan of a repeat over the smallest, less 1, percent.
    #[must_use]
    pub fn spread_pct(&self) -> f64 {
        let most = self.makespan_us.iter().copied().fold(0.0, f64::max);
        let least = self
            .makespan_us
            .iter()
            .copied()
            .fold(f64::INFINITY, f64::min);
        100.0 * (most / least - 1.0)
    }
}

/// The runs at the paths given, each a run's directory, its `timeline.json`, or a directory of runs.
///
/// # Errors
/// [`LiveError`] for a path without a run, or a file that is wrong.
pub fn read(paths: &[PathBuf]) -> Result<Vec<Run>, LiveError> {
    let mut runs = Vec::new();
    for path in paths {
        for directory in directories(path)? {
            runs.push(Run::read(&directory)?);
        }
    }
    Ok(runs)
}

fn directories(path: &Path) -> Result<Vec<PathBuf>, LiveError> {
    let none = || LiveError::NoRun {
        path: path.display().to_string(),
    };
    if path.is_file() {
        return Ok(vec![
            path.parent().map_or_else(PathBuf::new, Path::to_owned),
        ]);
    }
    let is_run = |directory: &Path| directory.join("plan.json").is_file();
    if is_run(path) {
        return Ok(vec![path.to_owned()]);
    }
    let entries = std::fs::read_dir(path).map_err(|_| none())?;
    let mut found: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|entry| is_run(entry))
        .collect();
    found.sort();
    if found.is_empty() {
        return Err(none());
    }
    Ok(found)
}
