//! The search for the best plan: the question it takes and the answer it gives.

mod answer;
mod assigned;
mod bounded;
mod budget;
mod coupling;
mod evaluator;
mod fault_scenarios;
mod fault_set;
mod finding;
mod gain;
mod provenance;
mod quality;
mod rejected;
mod robust;
mod shared;
mod simulated;
mod space;
mod tied;

use std::sync::Arc;

use kernels::{AttentionKernel, Tables};
use sim::execution::Execution;
use sim::legality::Illegal;
use sim::lower::LowerError;
use sim::memory::Memory;
use sim::model::{Model, Request, RequestError};
use sim::outcome;
use sim::plan::{Fidelity, Plan, Precision};
use sim::platform::Platform;
use sim::quality::QualityError;
use sim::simulate::{Simulation, SimulationError};
use sim::workload::Workload;
use thiserror::Error;
use topologies::host::Compilation;
use topologies::{FaultError, Faults, Machine, SimDuration};
use traces::timeline::{SpanClass, Timeline};

pub use self::assigned::{Assigned, FrontierPoint};
use self::bounded::Bounded;
pub use self::budget::{
    Budget, BudgetError, CONFIDENCE, Predicted, TraceQuality, own_shard, shards,
};
use self::evaluator::Evaluator;
pub use self::fault_set::{Kind, usual};
pub use self::finding::{Finding, Lever, Pays, Timed};
pub use self::gain::Gain;
pub use self::provenance::Provenance;
pub use self::quality::{Quality, QualitySource};
pub use self::rejected::{NoPlan, Rejected, Unfit, Which};
pub use self::robust::{Column, Replan, Robust, RobustPlan, robust};
pub use self::shared::Shared;
use self::simulated::Simulated;
pub use self::space::SearchedSpace;
use self::space::Space;
pub use self::tied::CONFIDENCE as CONFIDENCE_OF_ORDER;
use crate::calibrate::Calibrated;
use crate::interval::Uncertainty;
use crate::launch::{Engine, Launch};
use crate::profile::Profile;
use crate::runs::{Known, RunError};

/// What is asked.
#[derive(Clone, Debug)]
pub struct Question {
    /// The model.
    pub model: &'static Model,
    /// What is asked of it.
    pub request: Request,
    /// Where it runs.
    pub machine: Machine,
    /// The machine as its host's runs were measured; differs from `machine` where the question asks
    /// what another interconnect would change.
    pub measured: Machine,
    /// The measured runs that predictions rest on.
    pub known: Arc<Known>,
    /// What is wrong with the machine.
    pub faults: Faults,
    /// How many of the machine's GPUs may be used, from the first on.
    pub gpus: u32,
    /// Who executes the plan.
    pub engine: Engine,
    /// Who computes attention; none for whoever the engine takes.
    pub attention: Option<AttentionKernel>,
    /// Eager or compiled.
    pub compilation: Compilation,
    /// Whether the other of both is searched too, and the faster one answered.
    pub either_compilation: bool,
    /// In which numbers products run; none for any that the engine offers.
    pub precision: Option<Precision>,
    /// Which plans may be chosen.
    pub filter: Filter,
    /// What a recorded trace of the model says of its output's quality.
    pub quality: Option<TraceQuality>,
    /// What was measured on the machine's GPU, in place of the built-in tables.
    pub profile: Option<Arc<Profile>>,
    /// Whether the plan predicted fastest is chosen, whatever else is tied with it.
    pub fastest: bool,
    /// How many plans of different kinds the answer shows; [`ALL_KINDS`] for the most promising of each.
    pub shown: usize,
}

/// The most promising plan of every kind is shown.
pub const ALL_KINDS: usize = usize::MAX;

impl Question {
    /// What xDiT does with the model's usual request on all of a machine, eagerly: a question to change.
    ///
    /// # Errors
    /// [`RunError`] for a run of the machine's file that cannot be read.
    pub fn new(model: &'static Model, machine: Machine) -> Result<Self, RunError> {
        Ok(Self {
            model,
            request: model.default,
            measured: machine.clone(),
            known: Arc::new(Known::of_machine(&machine)?),
            faults: Faults::default(),
            gpus: u32::try_from(machine.gpus.len()).expect("a machine has fewer than 2^32 GPUs"),
            machine,
            engine: Engine::Xdit,
            attention: None,
            compilation: Compilation::Eager,
            either_compilation: false,
            precision: Some(Precision::Bf16),
            filter: Filter::default(),
            quality: None,
            profile: None,
            fastest: false,
            shown: ALL_KINDS,
        })
    }

    /// Who computes attention.
    #[must_use]
    pub fn attention_kernel(&self) -> AttentionKernel {
        let engine = || self.engine.attention(&self.machine.gpus[0]);
        self.attention.unwrap_or_else(engine)
    }

    /// What operations cost.
    #[must_use]
    pub fn costs(&self) -> &Tables {
        let own = self.profile.as_ref().map(|profile| profile.tables());
        own.unwrap_or_else(|| Tables::built_in())
    }
}

/// Which plans may be chosen.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Filter {
    /// Only plans of this strategy, as it is written in tables: `ring4`.
    pub strategy: Option<String>,
    /// Only plans whose output equals the one-GPU output.
    pub exact_only: bool,
    /// Only plans with a published FID of at most this.
    pub max_fid: Option<f64>,
    /// Only plans whose output keeps this.
    pub budget: Option<Budget>,
    /// What a compressor is chosen for, where a budget and a trace are given.
    pub granularity: Granularity,
    /// Only plans that the engine has a command for.
    pub launchable: bool,
}

/// What a compressor is chosen for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Granularity {
    /// Each layer.
    #[default]
    Layer,
    /// Each layer, in each third of the steps.
    LayerAndPhase,
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Error)]
pub enum PlanningError {
    /// The model cannot make such an image or video.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// More GPUs than the machine has, or none.
    #[error("{asked} GPUs were asked for, but {machine} has {has}: ask for 1 to {has}")]
    Gpus {
        /// How many were asked for.
        asked: u32,
        /// The machine.
        machine: String,
        /// How many it has.
        has: usize,
    },
    /// The machine cannot have this fault.
    #[error(transparent)]
    Fault(#[from] FaultError),
    /// The plan is not legal.
    #[error(transparent)]
    Illegal(#[from] Illegal),
    /// The plan is not legal, in steps of which the model's pipeline skips the last.
    #[error(
        "{why}: of the {asked} steps asked for, the pipeline of {model} skips the last {idle} (idle_steps of its file)"
    )]
    IdleSteps {
        /// Why it is not legal.
        why: Illegal,
        /// Steps asked for.
        asked: u32,
        /// The model.
        model: String,
        /// Those that it skips.
        idle: u32,
    },
    /// Something has no cost.
    #[error(transparent)]
    Simulation(#[from] SimulationError),
    /// The trace says nothing about a plan.
    #[error(transparent)]
    Quality(#[from] QualityError),
    /// No plan fits and passes the filter.
    #[error("no plan serves this: {reason}")]
    NoPlan {
        /// What stands in the way, and what would help.
        reason: NoPlan,
    },
}

impl From<kernels::Miss> for PlanningError {
    fn from(miss: kernels::Miss) -> Self {
        Self::Simulation(SimulationError::Lower(miss.into()))
    }
}

impl From<LowerError> for PlanningError {
    fn from(error: LowerError) -> Self {
        Self::Simulation(error.into())
    }
}

/// Why the search stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopReason {
    /// No plan left can be faster: the lowest of their bounds exceeds the choice.
    Proved {
        /// That bound.
        next_bound: SimDuration,
    },
    /// Every plan that passes the filter was simulated.
    Exhausted,
}

/// A plan with what it was found to do.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// The plan.
    pub plan: Plan,
    /// Simulated latency of the request.
    pub latency: SimDuration,
    /// Lower end of its 90 % interval.
    pub lo: SimDuration,
    /// Upper end of its 90 % interval.
    pub hi: SimDuration,
    /// No schedule of this plan can be faster.
    pub lower_bound: SimDuration,
    /// Latency over lower bound, less one.
    pub gap: f64,
    /// Why the search stopped.
    pub stop_reason: StopReason,
    /// What stands in the memory of the fullest GPU at its peak, and whether that fits.
    pub memory: Memory,
    /// The phases before and after the denoising loop, in the latency.
    pub phases: (SimDuration, SimDuration),
    /// Time that a GPU waits for messages with nothing to compute.
    pub exposed: SimDuration,
    /// Time by kind of work, on the critical path.
    pub by_class: Vec<(SpanClass, SimDuration)>,
    /// Exact, stale or lossy.
    pub fidelity: Fidelity,
    /// Published and predicted quality.
    pub quality: Quality,
    /// Why it loses against the choice: the two kinds of work that its critical path has most more of, by how much; empty
    /// for the choice.
    pub why_slower: Vec<(SpanClass, SimDuration)>,
    /// The command that runs it.
    pub launch: Launch,
    /// How sure the latency is, and of what.
    pub uncertainty: Uncertainty,
    /// Probability that the plan predicted fastest is faster than this; 0 for that plan, and where nothing was compared.
    pub behind: f64,
}

/// The answer to a question.
#[derive(Clone, Debug)]
pub struct Answer {
    /// What was asked.
    pub question: Question,
    /// The chosen plan: of those that are tied with the fastest, the first in the order of [`tied`](self); the fastest where the
    /// question asks for it.
    pub choice: Candidate,
    /// All plans simulated, fastest first.
    pub plans: Vec<Candidate>,
    /// How the budget was spent, where there is one and a trace to judge by.
    pub spent: Option<Spent>,
    /// Layers of the model.
    pub layers: usize,
    /// What was searched.
    pub space: SearchedSpace,
    /// Legal plans, whether or not the filter lets them pass and they fit.
    pub legal: usize,
    /// Those that may be chosen: simulated or dropped by their bounds.
    pub considered: usize,
    /// Plans simulated.
    pub simulated: usize,
    /// Plans dropped by their lower bound.
    pub pruned: usize,
    /// Those of them that their bounds do not tell from the fastest, and that would not be chosen.
    pub tied_by_bound: usize,
    /// Plans that are not legal, do not fit or cannot be judged.
    pub illegal: Vec<Rejected>,
    /// One GPU.
    pub single: Candidate,
    /// Where the numbers come from.
    pub provenance: Vec<Provenance>,
    /// What the comparison shows.
    pub findings: Vec<Finding>,
}

/// How a quality budget was spent on the chosen layout.
#[derive(Clone, Debug)]
pub struct Spent {
    /// The budget.
    pub budget: Budget,
    /// The factor between a predicted error and what 19 of 20 runs keep.
    pub factor: f64,
    /// The largest predicted deviation that keeps the budget.
    pub limit: f64,
    /// The best assignment per layer of the chosen layout, whether or not it was chosen.
    pub assigned: Option<Assigned>,
    /// One compressor everywhere, on the same layout: raw first.
    pub uniform: Vec<Uniform>,
}

/// What one compressor everywhere costs and errs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Uniform {
    /// The compressor; none is raw.
    pub compressor: Option<kernels::Compressor>,
    /// Latency in the closed form, seconds.
    pub latency_s: f64,
    /// Predicted deviation of the output.
    pub deviation: f64,
    /// Whether it keeps the budget.
    pub keeps: bool,
}

/// One plan, simulated in full.
#[derive(Clone, Debug)]
pub struct Evaluation {
    /// What it was found to do.
    pub candidate: Candidate,
    /// Where it does not fit: the same plan with the residency that its engine offers, that fits and is the fastest.
    pub fitting: Option<Plan>,
    /// One GPU.
    pub single: Candidate,
    /// The tasks and their times.
    pub simulation: Simulation,
    /// The names of the machine's links, in their order.
    pub links: Vec<String>,
    /// Where the numbers come from.
    pub provenance: Vec<Provenance>,
}

impl Evaluation {
    /// What ran where and when; `provenance` says in words what was simulated.
    #[must_use]
    pub fn timeline(&self, provenance: String) -> Timeline {
        let Simulation { graph, outcome, .. } = &self.simulation;
        outcome::timeline(graph, outcome, &self.links, provenance)
    }
}

/// The best plan for a question.
///
/// ```text
/// Question ─▶ Space ─▶ Bounded ─▶ Simulated ─▶ Answer
///   legal plans; compressors per layer ─▶ filter, memory, lower bounds ─▶ as far as the answer needs ─▶ figures, findings
/// ```
///
/// # Errors
/// A [`PlanningError`] when no plan can serve it.
pub fn plan(question: &Question) -> Result<Answer, PlanningError> {
    if question.either_compilation {
        return compiled_or_not(question);
    }
    let evaluator = Evaluator::new(question)?;
    let space = evaluator.assigned(Space::new(&evaluator))?;
    let bounded = Bounded::new(&evaluator, space)?;
    let simulated = Simulated::new(&evaluator, bounded, question.shown)?;
    let simulated = evaluator.couple(simulated)?;
    let simulated = evaluator.settle(simulated)?;
    answer::compose(&evaluator, simulated)
}

/// The question eager and compiled.
fn each_compilation(question: &Question) -> [Question; 2] {
    [Compilation::Eager, Compilation::Compiled].map(|compilation| Question {
        compilation,
        either_compilation: false,
        ..question.clone()
    })
}

/// The answer that is faster, eager or compiled, with what compiling gains.
fn compiled_or_not(question: &Question) -> Result<Answer, PlanningError> {
    let [eager, compiled] = each_compilation(question).map(|question| plan(&question));
    let (eager, compiled) = match (eager, compiled) {
        (Ok(eager), Ok(compiled)) => (eager, compiled),
        (one, other) => return one.or(other),
    };
    let finding = Finding::Compiling {
        eager: Timed::of(&eager.choice),
        compiled: Timed::of(&compiled.choice),
    };
    let mut faster = if compiled.choice.latency < eager.choice.latency {
        compiled
    } else {
        eager
    };
    faster.findings.push(finding);
    Ok(faster)
}

/// The choice of [`plan`] alone, without the plans that cannot be chosen.
///
/// # Errors
/// A [`PlanningError`] when no plan can serve it.
pub fn winner(question: &Question, shared: &Shared) -> Result<crate::sweep::Found, PlanningError> {
    if question.either_compilation {
        let [eager, compiled] = each_compilation(question).map(|one| winner(&one, shared));
        return match (eager, compiled) {
            (Ok(eager), Ok(compiled)) if compiled.candidate.latency < eager.candidate.latency => {
                Ok(compiled)
            }
            (Ok(eager), _) => Ok(eager),
            (Err(_), other) => other,
        };
    }
    let evaluator = Evaluator::sharing(question, shared)?;
    let space = evaluator.assigned(Space::new(&evaluator))?;
    let bounded = Bounded::new(&evaluator, space)?;
    let simulated = evaluator.settle(Simulated::contenders(&evaluator, bounded)?)?;
    answer::winner(&evaluator, shared, &simulated)
}

/// One given plan, its steady steps folded.
///
/// # Errors
/// A [`PlanningError`] when the plan is not legal for the question.
pub fn judge(
    question: &Question,
    plan: &Plan,
    shared: &Shared,
) -> Result<crate::sweep::Found, PlanningError> {
    let evaluator = Evaluator::sharing(question, shared)?;
    evaluator.admit(plan)?;
    let plan = evaluator.placed(plan);
    answer::judgement(&evaluator, shared, &plan)
}

/// What measured runs say of a question, and what that rests on.
///
/// # Errors
/// A [`PlanningError`] when the question cannot be served at all.
pub fn calibrated(question: &Question) -> Result<Arc<Calibrated>, PlanningError> {
    Ok(Evaluator::new(question)?.calibrated)
}

/// What `sim` needs to simulate a plan of a question: one forward pass, the GPUs with their links, and how they execute.
///
/// # Errors
/// A [`PlanningError`] when the question cannot be served at all.
pub fn setting(question: &Question) -> Result<(Workload, Platform, Execution), PlanningError> {
    let Evaluator {
        workload,
        platform,
        execution,
        ..
    } = Evaluator::new(question)?;
    Ok((workload, platform, execution))
}

/// One given plan, simulated in full.
///
/// # Errors
/// A [`PlanningError`] when the plan is not legal for the question.
pub fn evaluate(question: &Question, plan: &Plan) -> Result<Evaluation, PlanningError> {
    let (evaluator, plan) = legal(question, plan)?;
    answer::evaluation(&evaluator, &plan)
}

/// Given plans without their timelines, and without one GPU beside them.
///
/// # Errors
/// A [`PlanningError`] when a plan is not legal for the question.
pub fn candidates(
    question: &Question,
    plans: &[Plan],
    shared: &Shared,
) -> Result<Vec<Candidate>, PlanningError> {
    let evaluator = Evaluator::sharing(question, shared)?;
    let one = |plan: &Plan| {
        evaluator.admit(plan)?;
        answer::candidate(&evaluator, &evaluator.placed(plan))
    };
    plans.iter().map(one).collect()
}

/// One given plan, as [`candidates`] are found.
///
/// # Errors
/// A [`PlanningError`] when the plan is not legal for the question.
pub fn candidate(question: &Question, plan: &Plan) -> Result<Candidate, PlanningError> {
    let mut found = candidates(question, std::slice::from_ref(plan), &Shared::default())?;
    Ok(found.remove(0))
}

/// The evaluator of a question that a plan is legal for, and the plan on GPUs that are left.
fn legal<'a>(question: &'a Question, plan: &Plan) -> Result<(Evaluator<'a>, Plan), PlanningError> {
    let evaluator = Evaluator::new(question)?;
    evaluator.admit(plan)?;
    let plan = evaluator.placed(plan);
    Ok((evaluator, plan))
}

/// Where the numbers of a question with these plans come from.
///
/// # Errors
/// A [`PlanningError`] when the question cannot be served at all.
pub fn provenance<'p>(
    question: &Question,
    plans: impl Iterator<Item = &'p Plan> + Clone,
) -> Result<Vec<Provenance>, PlanningError> {
    Ok(Evaluator::new(question)?.provenance(plans))
}
