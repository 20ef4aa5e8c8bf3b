//! A plan, simulated: the one short way from a workload and a plan to a latency.

use std::collections::BTreeMap;

use kernels::CostModel;
use thiserror::Error;
use topologies::{SimDuration, SimTime};
use traces::timeline::SpanClass;

use crate::engine::{self, Outcome, RunError};
use crate::execution::Execution;
use crate::graph::TaskGraph;
use crate::lower::{LowerError, Parts, Setup};
use crate::outcome::{self, DeviceUse};
use crate::phases::Phases;
use crate::plan::Plan;
use crate::platform::Platform;
use crate::workload::Workload;

/// How much of the run is simulated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detail {
    /// Every step.
    Full,
    /// Warm-up and the first steady steps; the rest repeat the last of them.
    Folded,
}

/// Steady steps that a folded run simulates: a pipeline has filled by then.
const FOLDED_STEPS: u32 = 4;

/// Why a plan cannot be simulated.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum SimulationError {
    /// It cannot be lowered.
    #[error(transparent)]
    Lower(#[from] LowerError),
    /// The run cannot proceed.
    #[error(transparent)]
    Run(#[from] RunError),
}

/// A simulated run.
#[derive(Clone, Debug)]
pub struct Simulation {
    /// Phases before the loop, the loop, phases after it.
    pub latency: SimDuration,
    /// The denoising loop.
    pub denoise: SimDuration,
    /// The phases around it.
    pub phases: Phases,
    /// Time within the loop that the device waiting longest waits for messages.
    pub exposed: SimDuration,
    /// What the critical path of the loop is made of, longest first.
    pub critical: Vec<(SpanClass, SimDuration)>,
    /// Durations of tasks by class, of the busiest device of each.
    pub by_class: BTreeMap<SpanClass, SimDuration>,
    /// The tasks.
    pub graph: TaskGraph,
    /// Their starts and ends.
    pub outcome: Outcome,
}

/// The closed form of `plan`: a lower bound, in microseconds of work.
///
/// # Errors
/// [`LowerError`] when the plan cannot be lowered.
pub fn estimate(
    workload: &Workload,
    plan: &Plan,
    platform: &Platform,
    execution: &Execution,
    costs: &dyn CostModel,
) -> Result<Parts, LowerError> {
    Setup::new(workload, plan, platform, execution, costs)?.parts()
}

/// Simulates `plan`: lowered to tasks, run by the engine, summed up.
///
/// # Errors
/// [`SimulationError`] when the plan cannot be lowered or the run cannot proceed.
pub fn simulate(
    workload: &Workload,
    plan: &Plan,
    platform: &Platform,
    execution: &Execution,
    costs: &dyn CostModel,
    detail: Detail,
) -> Result<Simulation, SimulationError> {
    let setup = Setup::new(workload, plan, platform, execution, costs)?;
    let steps = workload.request.steps;
    let simulated = match detail {
        Detail::Full => steps,
        Detail::Folded => steps.min(setup.warmup() + FOLDED_STEPS),
    };
    let graph = setup.tasks(simulated)?;
    let outcome = engine::run(&graph, &platform.effective)?;
    let gpu = platform.gpu(plan.placement[0]);
    let phases = Phases::new(setup.model, &workload.request, gpu);
    Ok(summary(
        graph,
        outcome,
        phases,
        Repeats::new(steps, simulated),
        plan.vae,
    ))
}

/// How often the last simulated step stands for one that was not simulated.
struct Repeats {
    last: u32,
    more: u64,
}

impl Repeats {
    fn new(steps: u32, simulated: u32) -> Self {
        Self {
            last: simulated - 1,
            more: u64::from(steps - simulated),
        }
    }

    /// `whole` plus the last step's part, repeated.
    fn extend(&self, whole: SimDuration, before_last: SimDuration) -> SimDuration {
        whole + whole.saturating_sub(before_last) * self.more
    }
}

fn summary(
    graph: TaskGraph,
    outcome: Outcome,
    phases: Phases,
    repeats: Repeats,
    vae: u32,
) -> Simulation {
    let end = outcome.makespan();
    let before = graph.ids().filter(|id| graph.task(*id).step < repeats.last);
    let before = before
        .map(|id| outcome.end[id.index()])
        .max()
        .unwrap_or(SimTime::ZERO);
    let denoise = repeats.extend(end, before.since(SimTime::ZERO));
    let whole = outcome::device_use(&graph, &outcome);
    let last = outcome::device_use_within(&graph, &outcome, before, SimTime::ZERO + end);
    let most = |of: &dyn Fn(&DeviceUse) -> SimDuration| {
        let pairs = whole.iter().zip(&last);
        let times = pairs.map(|(all, last)| of(all) + of(last) * repeats.more);
        times.max().unwrap_or_default()
    };
    let by_class = SpanClass::ALL
        .iter()
        .map(|&class| (class, most(&|device| device.busy(class))))
        .collect();
    let exposed = most(&|device| device.waiting);
    let critical = critical(&graph, &outcome, &repeats);
    Simulation {
        latency: phases.encode + denoise + phases.shared_decode(vae),
        denoise,
        phases,
        exposed,
        critical,
        by_class,
        graph,
        outcome,
    }
}

/// The critical path's time by class, longest first; its part in the last step counts for the steps
/// that repeat it.
fn critical(
    graph: &TaskGraph,
    outcome: &Outcome,
    repeats: &Repeats,
) -> Vec<(SpanClass, SimDuration)> {
    let mut by_class = BTreeMap::new();
    for id in outcome::critical_path(graph, outcome) {
        let task = graph.task(id);
        let time = outcome.end[id.index()].since(outcome.start[id.index()]);
        let times = if task.step == repeats.last {
            1 + repeats.more
        } else {
            1
        };
        *by_class.entry(task.class).or_insert(SimDuration::ZERO) += time * times;
    }
    let mut by_class: Vec<_> = by_class.into_iter().collect();
    by_class.retain(|(_, time)| *time > SimDuration::ZERO);
    by_class.sort_by_key(|(class, time)| (std::cmp::Reverse(*time), *class));
    by_class
}
