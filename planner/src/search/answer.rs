//! From simulated plans to an answer: candidates with intervals, and what their comparison shows.

use sim::plan::{Fidelity, Plan};
use sim::simulate::{Detail, Totals};

use super::bounded::{BoundedPlan, bounded};
use super::evaluator::Evaluator;
use super::finding::{findings, why_slower};
use super::shared::Shared;
use super::simulated::{Simulated, SimulatedPlan};
use super::space::SearchedSpace;
use super::{Answer, Candidate, Evaluation, PlanningError, StopReason};
use crate::interval;
use crate::launch::{Job, Launch, Refusal};
use crate::sweep::Found;

/// The answer from the simulated plans.
pub(super) fn compose(
    evaluator: &Evaluator<'_>,
    found: Simulated,
) -> Result<Answer, PlanningError> {
    let best = found.best(evaluator)?;
    let first_waiting = found.waiting.first();
    let stop = first_waiting.map_or(StopReason::Exhausted, |bounded| StopReason::Proved {
        next_bound: bounded.parts.total,
    });
    let fastest = &found.plans[0];
    let fastest = (fastest.latency(), evaluator.uncertainty(&fastest.bounded));
    let candidate = |one: &SimulatedPlan| {
        let mut candidate = evaluator.candidate(&one.bounded, &one.totals);
        candidate.stop_reason = stop;
        candidate.why_slower = why_slower(&one.totals.critical, &best.totals.critical);
        let own = (candidate.latency, &candidate.uncertainty);
        candidate.behind = interval::faster((fastest.0, &fastest.1), own);
        candidate
    };
    let mut plans: Vec<Candidate> = found.plans.iter().map(candidate).collect();
    plans[0].behind = 0.0;
    plans[found.choice].why_slower = Vec::new();
    let choice = plans[found.choice].clone();
    let single = match plans.iter().find(|one| one.plan.ranks() == 1) {
        Some(single) => single.clone(),
        None => evaluator.single()?,
    };
    let findings = findings(&plans, &single, &best.totals.critical);
    let spent = evaluator.spent(&choice.plan, found.assigned)?;
    let provenance = evaluator.provenance(plans.iter().chain([&single]).map(|one| &one.plan));
    Ok(Answer {
        question: evaluator.question.clone(),
        choice,
        considered: plans.len() + found.waiting.len(),
        simulated: plans.len(),
        pruned: found.waiting.len(),
        tied_by_bound: found.tied_by_bound,
        legal: found.dropped.legal,
        plans,
        illegal: found.dropped.illegal,
        single,
        spent,
        layers: evaluator.workload.layers.order.len(),
        space: SearchedSpace::of(evaluator),
        provenance,
        findings,
    })
}

/// The chosen one of the plans that could be.
pub(super) fn winner(
    evaluator: &Evaluator<'_>,
    shared: &Shared,
    found: &Simulated,
) -> Result<Found, PlanningError> {
    let best = found.best(evaluator)?;
    let candidate = evaluator.candidate(&best.bounded, &best.totals);
    let simulated = found.plans.len();
    evaluator.found(
        shared,
        candidate,
        simulated + found.waiting.len(),
        simulated,
    )
}

/// One given plan.
pub(super) fn judgement(
    evaluator: &Evaluator<'_>,
    shared: &Shared,
    plan: &Plan,
) -> Result<Found, PlanningError> {
    evaluator.found(shared, candidate(evaluator, plan)?, 1, 1)
}

/// One plan, its steady steps folded.
pub(super) fn candidate(
    evaluator: &Evaluator<'_>,
    plan: &Plan,
) -> Result<Candidate, PlanningError> {
    let totals = evaluator.simulate(plan)?;
    Ok(evaluator.candidate(&bounded(evaluator, plan)?, &totals))
}

/// One plan in full.
pub(super) fn evaluation(
    evaluator: &Evaluator<'_>,
    plan: &Plan,
) -> Result<Evaluation, PlanningError> {
    let simulation = evaluator.run(plan, Detail::Full)?;
    let candidate = evaluator.candidate(&bounded(evaluator, plan)?, &simulation.totals);
    let fitting = match candidate.memory.fits.is_fit() {
        true => None,
        false => Some(evaluator.fitted(plan.clone())?).filter(|other| other != plan),
    };
    Ok(Evaluation {
        candidate,
        fitting,
        single: evaluator.single()?,
        links: evaluator.link_names(),
        simulation,
        provenance: evaluator.provenance([plan].into_iter()),
    })
}

impl Evaluator<'_> {
    fn found(
        &self,
        shared: &Shared,
        candidate: Candidate,
        considered: usize,
        simulated: usize,
    ) -> Result<Found, PlanningError> {
        let one = self.fitted(self.one_gpu())?;
        let gpu = self.platform.gpu(one.placement[0]).name.clone();
        let single = shared.single.get((self.question.request, gpu), || {
            Ok::<_, PlanningError>(self.simulate(&one)?.latency)
        })?;
        Ok(Found {
            speed_up: single.as_secs_f64() / candidate.latency.as_secs_f64(),
            cost_each_usd: self.cost_each(&candidate),
            candidate,
            considered,
            simulated,
        })
    }

    /// US dollars for one image or video: the plan's GPUs for as long as the request takes.
    fn cost_each(&self, candidate: &Candidate) -> Option<f64> {
        let placement = candidate.plan.placement.iter();
        let prices = placement.map(|gpu| self.platform.gpu(*gpu).price_per_hour);
        let per_hour: f64 = prices.sum::<Option<f64>>()?;
        let batch = f64::from(self.question.request.batch);
        Some(per_hour * candidate.latency.as_secs_f64() / 3600.0 / batch)
    }

    /// One GPU: where it fits, with the residency that it needs; as it is where none helps.
    fn single(&self) -> Result<Candidate, PlanningError> {
        candidate(self, &self.fitted(self.one_gpu())?)
    }

    pub(super) fn candidate(&self, bounded: &BoundedPlan, totals: &Totals) -> Candidate {
        let BoundedPlan {
            plan,
            memory,
            parts,
        } = bounded;
        let uncertainty = self.uncertainty(bounded);
        let factor = uncertainty.factor();
        let latency = totals.latency;
        Candidate {
            plan: plan.clone(),
            latency,
            lo: latency.scaled(factor.recip()),
            hi: latency.scaled(factor),
            lower_bound: parts.total,
            gap: (latency.as_secs_f64() / parts.total.as_secs_f64() - 1.0).max(0.0),
            stop_reason: StopReason::Exhausted,
            memory: *memory,
            phases: (totals.phases.encode, totals.phases.shared_decode(plan.vae)),
            exposed: totals.exposed,
            by_class: totals.critical.clone(),
            fidelity: match self.execution.attention.is_lossy() {
                true => Fidelity::Lossy,
                false => plan.fidelity(),
            },
            quality: self.quality(plan),
            why_slower: Vec::new(),
            launch: self.launch(plan),
            uncertainty,
            behind: 0.0,
        }
    }

    /// How the question's engine runs a plan.
    pub(super) fn launch(&self, plan: &Plan) -> Launch {
        let question = self.question;
        let first = self.platform.gpus_per_host as usize;
        let unequal = question
            .machine
            .nodes()
            .iter()
            .any(|node| node.len() != first);
        if unequal && plan.placement.iter().any(|gpu| gpu.index() >= first) {
            return Launch {
                engine: question.engine,
                command: Err(Refusal::UnequalBoxes),
            };
        }
        let job = Job {
            plan,
            model: question.model,
            request: &question.request,
            compilation: question.compilation,
            gpus_per_box: self.platform.gpus_per_host,
        };
        Launch::of(question.engine, &job)
    }

    fn link_names(&self) -> Vec<String> {
        let machine = &self.question.machine;
        let name = |link: &topologies::Link| {
            let end = |vertex: topologies::VertexId| machine.vertices[vertex.index()].name.clone();
            format!("{} -> {}", end(link.from), end(link.to))
        };
        machine.links.iter().map(name).collect()
    }
}
