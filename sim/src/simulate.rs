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
    /// Warm-up and the first steps of each phase after it; the rest repeat one of them. One rank stands for all
    /// where they do the same at the same time.
    Folded,
}

/// Steady steps that a folded run simulates: a pipeline has filled by the last but one.
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

/// A simulated run: what it adds up to, and its tasks.
#[derive(Clone, Debug)]
pub struct Simulation {
    /// What it adds up to.
    pub totals: Totals,
    /// The tasks.
    pub graph: TaskGraph,
    /// Their starts and ends.
    pub outcome: Outcome,
}

/// What a simulated run adds up to.
#[derive(Clone, Debug)]
pub struct Totals {
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
}

/// The closed form of `plan`: a lower bound, in microseconds of work.
///
/// # Errors
/// [`SimulationError`] when the plan cannot be lowered, or takes longer than is simulated.
pub fn estimate(
    workload: &Workload,
    plan: &Plan,
    platform: &Platform,
    execution: &Execution,
    costs: &dyn CostModel,
) -> Result<Parts, SimulationError> {
    let parts = Setup::new(workload, plan, platform, execution, costs)?.parts()?;
    if parts.total > engine::LONGEST {
        return Err(RunError::TooLong.into());
    }
    Ok(parts)
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
    let schedule = Schedule::new(&setup, detail);
    let graph = setup.tasks(&schedule.simulated, detail == Detail::Folded)?;
    let outcome = engine::run(&graph, &platform.effective)?;
    let phases = setup.phases();
    let totals = totals(&graph, &outcome, phases, &schedule.repeats, plan.vae);
    if totals.latency > engine::LONGEST {
        return Err(RunError::TooLong.into());
    }
    Ok(Simulation {
        totals,
        graph,
        outcome,
    })
}

/// Which steps are simulated, and which of them stand for others.
struct Schedule {
    simulated: Vec<u32>,
    repeats: Vec<Repeat>,
}

/// A step that stands for steps of its phase that are not simulated.
#[derive(Clone, Copy)]
struct Repeat {
    step: u32,
    more: u64,
}

impl Schedule {
    fn new(setup: &Setup<'_>, detail: Detail) -> Self {
        let steps = setup.workload.request.steps;
        let mut simulated: Vec<u32> = (0..setup.warmup().min(steps)).collect();
        let mut repeats = Vec::new();
        for (first, count) in setup.steady_phases() {
            let kept = match detail {
                Detail::Full => count,
                Detail::Folded => count.min(FOLDED_STEPS),
            };
            simulated.extend(first..first + kept);
            if count > kept {
                // The last but one: behind the last a pipeline drains.
                let (step, more) = (first + kept - 2, u64::from(count - kept));
                repeats.push(Repeat { step, more });
            }
        }
        Self { simulated, repeats }
    }
}

/// When the first tasks of later steps may start and the last of earlier ones end: a step's window.
fn window(graph: &TaskGraph, outcome: &Outcome, step: u32) -> (SimTime, SimTime) {
    let until = |last: u32| {
        let ids = graph.ids().filter(|id| graph.task(*id).step < last);
        let ends = ids.map(|id| outcome.end[id.index()]);
        ends.max().unwrap_or(SimTime::ZERO)
    };
    (until(step), until(step + 1))
}

fn totals(
    graph: &TaskGraph,
    outcome: &Outcome,
    phases: Phases,
    repeats: &[Repeat],
    vae: u32,
) -> Totals {
    let whole = outcome::device_use(graph, outcome);
    let mut denoise = outcome.makespan();
    let mut repeated = Vec::new();
    let mut windows = Vec::new();
    for repeat in repeats {
        let (from, until) = window(graph, outcome, repeat.step);
        denoise += until.since(from) * repeat.more;
        let within = outcome::device_use_within(graph, outcome, from, until);
        repeated.push((within, repeat.more));
        windows.push((from, until, repeat.more));
    }
    let most = |of: &dyn Fn(&DeviceUse) -> SimDuration| {
        let device = |(index, all): (usize, &DeviceUse)| {
            let more = repeated
                .iter()
                .map(|(within, more)| of(&within[index]) * *more);
            of(all) + more.sum::<SimDuration>()
        };
        let times = whole.iter().enumerate().map(device);
        times.max().unwrap_or_default()
    };
    let by_class = SpanClass::ALL
        .iter()
        .map(|&class| (class, most(&|device| device.busy(class))))
        .collect();
    let exposed = most(&|device| device.waiting);
    let critical = critical(graph, outcome, &windows);
    Totals {
        latency: phases.encode + denoise + phases.shared_decode(vae),
        denoise,
        phases,
        exposed,
        critical,
        by_class,
    }
}

/// The critical path's time by class, longest first: it has no gap, so the classes add up to the whole. What of
/// it lies within the window of a step that stands for others counts for them too.
fn critical(
    graph: &TaskGraph,
    outcome: &Outcome,
    windows: &[(SimTime, SimTime, u64)],
) -> Vec<(SpanClass, SimDuration)> {
    let mut by_class = BTreeMap::new();
    for id in outcome::critical_path(graph, outcome) {
        let (start, end) = (outcome.start[id.index()], outcome.end[id.index()]);
        let class = by_class
            .entry(graph.task(id).class)
            .or_insert(SimDuration::ZERO);
        *class += end.since(start);
        for &(from, until, more) in windows {
            let (from, until) = (start.max(from), end.min(until));
            if from < until {
                *class += until.since(from) * more;
            }
        }
    }
    let mut by_class: Vec<_> = by_class.into_iter().collect();
    by_class.retain(|(_, time)| *time > SimDuration::ZERO);
    by_class.sort_by_key(|(class, time)| (std::cmp::Reverse(*time), *class));
    by_class
}
