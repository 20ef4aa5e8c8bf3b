//! A schedule: what each layer's K and V go as, in each third of the steps.

use thiserror::Error;
use traces::trace::Phase;

use crate::plan::{Compression, Plan};
use crate::replay::{Method, PHASES};

/// What one tensor of one layer goes as in each phase; `None` is raw.
pub type Entry = [Option<Method>; PHASES];

/// Every layer's K and V.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schedule {
    /// K and V by layer.
    pub layers: Vec<[Entry; 2]>,
}

/// Something that is no schedule of a trace's phases.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ScheduleError {
    /// A compressor changes within a phase.
    #[error(
        "layer {layer} changes its compressor at step {step}, within a third of the {steps} steps: the trace's errors are known by thirds, so change at steps {thirds}"
    )]
    Within {
        /// The layer.
        layer: usize,
        /// The step.
        step: u32,
        /// Steps of the run.
        steps: u32,
        /// Where phases start.
        thirds: String,
    },
    /// The JSON of a run's assignment that cannot be read.
    #[error("assignment {text}: {what}")]
    Json {
        /// The JSON.
        text: String,
        /// What is wrong.
        what: String,
    },
}

/// First steps of the phases of a run.
#[must_use]
pub fn phase_starts(steps: u32) -> Vec<u32> {
    let first = |phase: &Phase| (0..steps).find(|&step| Phase::of(step, steps) == *phase);
    Phase::ALL.iter().filter_map(first).collect()
}

impl Schedule {
    /// The same for every layer and phase.
    #[must_use]
    pub fn uniform(of: Option<Method>, layers: u32) -> Self {
        Self {
            layers: vec![[[of; PHASES]; 2]; layers as usize],
        }
    }

    /// That of a plan over `layers` layers and `steps` steps: its compressors; stale everywhere where
    /// the plan reads the previous step's K and V.
    ///
    /// # Errors
    /// [`ScheduleError::Within`] when a compressor changes within a third.
    pub fn of_plan(plan: &Plan, layers: u32, steps: u32) -> Result<Self, ScheduleError> {
        if plan.is_stale() {
            return Ok(Self::uniform(Some(Method::Stale), layers));
        }
        Self::of_compression(&plan.compression, plan.warmup, layers, steps)
    }

    fn of_compression(
        compression: &Compression,
        warmup: u32,
        layers: u32,
        steps: u32,
    ) -> Result<Self, ScheduleError> {
        let mut schedule = Self::uniform(None, layers);
        for (layer, entries) in schedule.layers.iter_mut().enumerate() {
            let mut entry: Entry = [None; PHASES];
            let mut last = None;
            for step in warmup..steps {
                let phase = Phase::of(step, steps);
                let of = compression.at(step, layer).map(Method::Compressed);
                if last == Some(phase) && entry[phase as usize] != of {
                    let thirds: Vec<String> =
                        phase_starts(steps).iter().map(u32::to_string).collect();
                    let thirds = thirds.join(", ");
                    return Err(ScheduleError::Within {
                        layer,
                        step,
                        steps,
                        thirds,
                    });
                }
                entry[phase as usize] = of;
                last = Some(phase);
            }
            *entries = [entry; 2];
        }
        Ok(schedule)
    }

    /// That of a recorded run: `{"k": [name or three names by layer], "v": [...]}`, `v` as `k` where absent.
    ///
    /// # Errors
    /// [`ScheduleError::Json`] for anything else.
    pub fn of_json(json: &serde_json::Value) -> Result<Self, ScheduleError> {
        let wrong = |what: &str| ScheduleError::Json {
            text: json.to_string(),
            what: what.to_owned(),
        };
        let entry = |value: &serde_json::Value| -> Result<Entry, ScheduleError> {
            let names: Vec<&str> = match value {
                serde_json::Value::String(name) => vec![name.as_str(); PHASES],
                serde_json::Value::Array(names) => {
                    names.iter().filter_map(|name| name.as_str()).collect()
                }
                _ => return Err(wrong("a layer has a name or three names")),
            };
            if names.len() != PHASES {
                return Err(wrong("a layer has a name or three names"));
            }
            let mut entry = [None; PHASES];
            for (phase, name) in names.into_iter().enumerate() {
                entry[phase] = match name {
                    "raw" => None,
                    "stale" => Some(Method::Stale),
                    name => Some(Method::Compressed(
                        name.parse().map_err(|error| wrong(&format!("{error}")))?,
                    )),
                };
            }
            Ok(entry)
        };
        let tensor = |key: &str| -> Result<Option<Vec<Entry>>, ScheduleError> {
            let Some(list) = json.get(key) else {
                return Ok(None);
            };
            let list = list
                .as_array()
                .ok_or_else(|| wrong("k and v are lists of layers"))?;
            list.iter().map(entry).collect::<Result<_, _>>().map(Some)
        };
        let k = tensor("k")?.ok_or_else(|| wrong("there is no key \"k\""))?;
        let v = tensor("v")?.unwrap_or_else(|| k.clone());
        if k.len() != v.len() {
            return Err(wrong("k and v have different numbers of layers"));
        }
        Ok(Self {
            layers: k.into_iter().zip(v).map(|(k, v)| [k, v]).collect(),
        })
    }
}
