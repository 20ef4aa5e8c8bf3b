//! A compressor per layer for one layout: the inner choice.
//!
//! ```text
//! class = layer     option = what its K and V go as (in each third of the steps, if asked)
//! cost = time of its block, closed form      weight = energy of its error, quality model
//! budget = (limit / confidence factor)^2
//! ```

use kernels::Compressor;
use sim::lower::Setup;
use sim::plan::{Assignment, Compression, Phase, Plan};
use sim::quality::{Entry, phase_starts};
use sim::replay::Method;

use super::budget::{CONFIDENCE, TraceQuality, own_shard, shards};
use super::evaluator::Evaluator;
use super::space::Space;
use super::{Granularity, NoPlan, PlanningError, Rejected, Spent, Uniform};
use crate::assign::{self, Certificate, Coupled, Instance, Item};

/// The best assignment of a layout, and its proof.
#[derive(Clone, Debug)]
pub struct Assigned {
    /// The plan with the assignment.
    pub plan: Plan,
    /// First steps that go raw.
    pub warmup: u32,
    /// How far from the cheapest assignment it can be, in the closed form's time.
    pub certificate: Certificate,
    /// Time and error of other budgets, on the same layout.
    pub frontier: Vec<FrontierPoint>,
    /// The option of each layer.
    pub(super) chosen: Vec<usize>,
    /// The same with simulated costs, where the assignment was chosen.
    pub coupled: Option<Coupled>,
}

/// An assignment of the frontier.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FrontierPoint {
    /// Latency in the closed form, seconds.
    pub latency_s: f64,
    /// Predicted deviation of the output.
    pub deviation: f64,
}

/// What the classes of a layout are made of.
pub(super) struct Classes {
    pub(super) options: Vec<[Option<Compressor>; 3]>,
    pub(super) instance: Instance,
    /// Seconds that no choice changes.
    rest_s: f64,
    starts: Vec<u32>,
}

/// Steps after warm-up in each third.
fn phase_steps(steps: u32, warmup: u32) -> [f64; 3] {
    let starts = phase_starts(steps);
    let mut counts = [0.0; 3];
    for step in warmup..steps {
        counts[starts.partition_point(|start| *start <= step) - 1] += 1.0;
    }
    counts
}

impl Evaluator<'_> {
    /// The space with, for every layout that can be compressed, its best assignment under the budget; as it is without
    /// a budget and a trace.
    ///
    /// # Errors
    /// [`PlanningError`] when something has no cost.
    pub(super) fn assigned(&self, mut space: Space) -> Result<Space, PlanningError> {
        let Some((quality, limit)) = self.judge() else {
            return Ok(space);
        };
        let mut layouts: Vec<Plan> = Vec::new();
        for plan in space.legal.iter().filter(|plan| !plan.compression.is_raw()) {
            let last = layouts.last();
            let same = last.is_some_and(|last| {
                last.strategy() == plan.strategy() && last.placement == plan.placement
            });
            if !same {
                layouts.push(plan.clone());
            }
        }
        let mut assigned = Vec::new();
        for layout in layouts {
            match self.assign(&layout, quality, limit) {
                Ok(found) => assigned.extend(found),
                // Other numbers of ranks may be known.
                Err(PlanningError::Quality(error)) => {
                    space.illegal.push(Rejected::new(layout.strategy(), error));
                }
                Err(error) => return Err(error),
            }
        }
        let mixed = assigned.iter().map(|one| &one.plan);
        let mixed = mixed.filter(|plan| matches!(plan.compression, Compression::Mixed(_)));
        space.legal.extend(mixed.cloned());
        space.assigned = assigned;
        Ok(space)
    }

    /// The trace's quality model and the largest deviation that the budget allows.
    pub(super) fn judge(&self) -> Option<(&TraceQuality, f64)> {
        let quality = self.question.quality.as_ref()?;
        Some((quality, quality.limit(self.question.filter.budget?)?))
    }

    /// How the budget was spent on the layout of the chosen plan.
    ///
    /// # Errors
    /// [`PlanningError`] when something has no cost.
    pub(super) fn spent(
        &self,
        choice: &Plan,
        assigned: Vec<Assigned>,
    ) -> Result<Option<Spent>, PlanningError> {
        let (Some((quality, limit)), Some(budget)) = (self.judge(), self.question.filter.budget)
        else {
            return Ok(None);
        };
        let factor = quality.model.factor(CONFIDENCE)?;
        let alike = |one: &Assigned| {
            one.plan.strategy() == choice.strategy() && one.plan.placement == choice.placement
        };
        let assigned = assigned.into_iter().find(alike);
        let mut uniform = Vec::new();
        if let Some(assigned) = &assigned {
            let palette = quality.model.compressors().into_iter().map(Some);
            for compressor in std::iter::once(None).chain(palette) {
                let compression = compressor.map_or(Compression::Raw, Compression::Uniform);
                let warmup = if compressor.is_some() {
                    assigned.warmup
                } else {
                    0
                };
                let plan = Plan {
                    compression,
                    warmup,
                    ..choice.clone()
                };
                let predicted = quality.predict(&plan)?;
                uniform.push(Uniform {
                    compressor,
                    latency_s: self.parts(&plan)?.total.as_secs_f64(),
                    deviation: predicted.deviation,
                    keeps: predicted.upper <= limit * (1.0 + 1e-9),
                });
            }
        }
        let limit = limit / factor;
        Ok(Some(Spent {
            budget,
            factor,
            limit,
            assigned,
            uniform,
        }))
    }

    /// The fastest assignment of `layout` (a plan with any compressor) whose predicted error keeps
    /// `limit` with the usual confidence; none where even raw messages do not.
    ///
    /// # Errors
    /// [`PlanningError`] when the trace does not know this layout, or something has no cost.
    pub(super) fn assign(
        &self,
        layout: &Plan,
        quality: &TraceQuality,
        limit: f64,
    ) -> Result<Option<Assigned>, PlanningError> {
        let factor = quality.model.factor(CONFIDENCE)?;
        let budget = (limit / factor).powi(2);
        let granularity = self.question.filter.granularity;
        let classes = self.classes(layout, quality, budget, granularity)?;
        let Ok(solution) = assign::solve(&classes.instance) else {
            return Ok(None);
        };
        let frontier = assign::frontier(&classes.instance).points.into_iter();
        let point = |point: assign::Point| FrontierPoint {
            latency_s: classes.rest_s + point.cost,
            deviation: point.weight.sqrt(),
        };
        Ok(Some(Assigned {
            plan: classes.plan(layout, &solution.chosen),
            warmup: layout.warmup,
            certificate: solution.certificate,
            frontier: frontier.map(point).collect(),
            chosen: solution.chosen,
            coupled: None,
        }))
    }

    pub(super) fn classes(
        &self,
        layout: &Plan,
        quality: &TraceQuality,
        budget: f64,
        granularity: Granularity,
    ) -> Result<Classes, PlanningError> {
        let (workload, steps) = (&self.workload, self.workload.request.steps);
        let mut palette: Vec<Option<Compressor>> = vec![None];
        palette.extend(quality.model.compressors().into_iter().map(Some));
        let setup = Setup::new(
            workload,
            layout,
            &self.platform,
            &self.execution,
            self.question.costs(),
        )?;
        let times = setup.layer_times(&palette)?;
        let counts = phase_steps(steps, layout.warmup);
        let forwards = f64::from(workload.forwards_per_step.div_ceil(u64::from(layout.cfg)) as u32);
        let options = granularity.options(palette.len());
        let (ranks, own) = (shards(layout), own_shard(layout));
        let mut classes = Vec::with_capacity(times.len());
        for (layer, times) in times.iter().enumerate() {
            let layer = u32::try_from(layer).expect("a model has few layers");
            let item = |option: &[usize; 3]| -> Result<Item, PlanningError> {
                let entry: Entry = option.map(|at| palette[at].map(Method::Compressed));
                let seconds = option.iter().zip(counts);
                let seconds = seconds.map(|(&at, count)| times[at].as_secs_f64() * count);
                Ok(Item {
                    cost: forwards * seconds.sum::<f64>(),
                    weight: quality.model.energy(layer, ranks, own, [entry; 2])?,
                })
            };
            classes.push(options.iter().map(item).collect::<Result<Vec<_>, _>>()?);
        }
        let instance = Instance::new(classes, budget).map_err(|fault| PlanningError::NoPlan {
            reason: NoPlan::Energies(fault),
        })?;
        let raw = vec![0; instance.classes().len()];
        let plain = Plan {
            compression: all_raw(raw.len()),
            ..layout.clone()
        };
        let whole = self.parts(&plain)?.total.as_secs_f64();
        Ok(Classes {
            rest_s: whole - instance.total(&raw).cost,
            options: options
                .iter()
                .map(|option| option.map(|at| palette[at]))
                .collect(),
            instance,
            starts: phase_starts(steps),
        })
    }
}

/// A compressed plan that sends every layer raw: what the assignment's raw option is.
fn all_raw(layers: usize) -> Compression {
    let phase = Phase {
        start: 0,
        layers: vec![None; layers],
    };
    Compression::Mixed(
        Assignment::new(vec![phase]).expect("one phase from step 0 is an assignment"),
    )
}

impl Classes {
    /// The layout with the chosen options; uniform or raw where they are alike.
    pub(super) fn plan(&self, layout: &Plan, chosen: &[usize]) -> Plan {
        let phase = |(index, &start): (usize, &u32)| Phase {
            start,
            layers: chosen
                .iter()
                .map(|&option| self.options[option][index])
                .collect(),
        };
        let phases = self.starts.iter().enumerate().map(phase).collect();
        let assignment = Assignment::new(phases).expect("thirds start at step 0 and rise");
        let compression = match assignment.phases() {
            [Phase { layers, .. }] if layers.iter().all(|of| *of == layers[0]) => {
                layers[0].map_or(Compression::Raw, Compression::Uniform)
            }
            _ => Compression::Mixed(assignment),
        };
        let warmup = if compression.is_raw() && !layout.is_stale() {
            0
        } else {
            layout.warmup
        };
        Plan {
            compression,
            warmup,
            ..layout.clone()
        }
    }
}

impl Granularity {
    /// Options of a layer, as positions in a palette of this size, for each third of the steps.
    fn options(self, palette: usize) -> Vec<[usize; 3]> {
        match self {
            Self::Layer => (0..palette).map(|at| [at; 3]).collect(),
            Self::LayerAndPhase => {
                let mut options = Vec::with_capacity(palette.pow(3));
                for early in 0..palette {
                    for mid in 0..palette {
                        options.extend((0..palette).map(|late| [early, mid, late]));
                    }
                }
                options
            }
        }
    }
}

#[cfg(test)]
mod tests;
