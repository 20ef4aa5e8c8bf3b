//! From simulated plans to an answer: candidates with intervals, and sentences that say why.

use std::collections::BTreeMap;

use sim::outcome;
use sim::plan::{Compression, Fidelity, Plan};
use sim::simulate::{Detail, Totals};
use topologies::SimDuration;
use traces::timeline::SpanClass;

use super::bounded::{BoundedPlan, bounded};
use super::evaluator::Evaluator;
use super::shared::Shared;
use super::simulated::{Simulated, SimulatedPlan, WORTH};
use super::{Answer, Candidate, Evaluation, PlanningError, StopReason};
use crate::interval;
use crate::launch::{Launch, Run};
use crate::sweep::Found;

/// The answer from the simulated plans.
pub(super) fn compose(
    evaluator: &Evaluator<'_>,
    found: Simulated,
) -> Result<Answer, PlanningError> {
    let best = found.best(evaluator)?;
    let baseline = best.totals.critical.clone();
    let stop = found
        .next_bound
        .map_or(StopReason::Exhausted, |bound| StopReason::Proved {
            next_bound: bound,
        });
    let candidate = |one: &SimulatedPlan| {
        let mut candidate = evaluator.candidate(&one.bounded, &one.totals);
        candidate.stop_reason = stop;
        candidate.why_slower = why_slower(&one.totals, &best.totals);
        candidate
    };
    let mut plans: Vec<Candidate> = found.plans.iter().map(candidate).collect();
    plans[0].why_slower = String::new();
    let choice = plans[0].clone();
    let single = match plans.iter().find(|one| one.plan.ranks() == 1) {
        Some(single) => single.clone(),
        None => evaluator.single()?,
    };
    let mut findings = findings(&plans, &single, &baseline);
    findings.extend(per_layer(&plans));
    let spent = evaluator.spent(&choice.plan, found.assigned)?;
    Ok(Answer {
        question: evaluator.question.clone(),
        choice,
        considered: plans.len() + found.pruned,
        simulated: plans.len(),
        pruned: found.pruned,
        legal: found.dropped.legal,
        plans,
        illegal: found.dropped.illegal,
        single,
        spent,
        layers: evaluator.workload.layers.order.len(),
        provenance: evaluator.provenance(),
        findings,
    })
}

/// The first of the plans that could win.
pub(super) fn winner(
    evaluator: &Evaluator<'_>,
    shared: &Shared,
    found: &Simulated,
) -> Result<Found, PlanningError> {
    let best = found.best(evaluator)?;
    let candidate = evaluator.candidate(&best.bounded, &best.totals);
    let simulated = found.plans.len();
    evaluator.found(shared, candidate, simulated + found.pruned, simulated)
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
    let names: Vec<String> = evaluator.link_names();
    let provenance = evaluator.provenance();
    let timeline = outcome::timeline(
        &simulation.graph,
        &simulation.outcome,
        &names,
        provenance.join("; "),
    );
    Ok(Evaluation {
        candidate,
        single: evaluator.single()?,
        timeline,
        simulation,
        provenance,
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
        let one = self.one_gpu();
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

    /// One GPU, whether or not it fits.
    fn single(&self) -> Result<Candidate, PlanningError> {
        candidate(self, &self.one_gpu())
    }

    pub(super) fn candidate(&self, bounded: &BoundedPlan, totals: &Totals) -> Candidate {
        let BoundedPlan {
            plan,
            residency,
            memory,
            parts,
        } = bounded;
        let question = self.question;
        let factor = interval::factor(parts, plan, question.compilation, &self.calibrated.evidence);
        let latency = totals.latency;
        Candidate {
            plan: plan.clone(),
            latency,
            lo: latency.scaled(factor.recip()),
            hi: latency.scaled(factor),
            lower_bound: parts.total.min(latency),
            gap: latency.as_secs_f64() / parts.total.min(latency).as_secs_f64() - 1.0,
            stop_reason: StopReason::Exhausted,
            peak_memory: memory.total,
            fits: memory.fits.is_fit(),
            residency: *residency,
            exposed: totals.exposed,
            by_class: totals.critical.clone(),
            fidelity: plan.fidelity(),
            quality: self.quality(plan),
            why_slower: String::new(),
            launch: self.launch(plan),
        }
    }

    /// How the question's engine runs a plan.
    pub(super) fn launch(&self, plan: &Plan) -> Launch {
        let question = self.question;
        let run = Run {
            plan,
            model: question.model,
            request: &question.request,
            compilation: question.compilation,
            gpus_per_box: self.platform.gpus_per_host,
        };
        Launch::of(question.engine, &run)
    }

    fn link_names(&self) -> Vec<String> {
        let machine = &self.question.machine;
        let name = |link: &topologies::Link| {
            let end = |vertex: topologies::VertexId| machine.vertices[vertex.index()].name.clone();
            format!("{} -> {}", end(link.from), end(link.to))
        };
        machine.links.iter().map(name).collect()
    }

    pub(super) fn provenance(&self) -> Vec<String> {
        let machine = &self.question.machine;
        let mut notes = vec![format!(
            "machine: {} ({}), {}",
            machine.name, machine.host.name, machine.source
        )];
        if !self.question.faults.is_empty() {
            notes.push(format!(
                "faults: {}, for the whole run; by what assumptions: docs/faults.md",
                self.question.faults
            ));
        }
        let model = self.question.model;
        if !sim::model::known().contains(model) {
            notes.push(format!("model: {}, {}", model.name, model.source));
        }
        notes.extend(self.calibrated.notes.iter().cloned());
        let gpu = self.platform.gpu(topologies::DeviceId::new(0));
        notes.push(format!(
            "kernel costs of {}: {}",
            gpu.name,
            self.kernel_source()
        ));
        if let Some(profile) = &self.question.profile {
            let (model, compilation) = (self.question.model, self.question.compilation);
            let launch_used = !self.calibrated.evidence.launch_calibrated;
            notes.extend(profile.says(model, compilation, launch_used));
        }
        notes
    }

    fn kernel_source(&self) -> &'static str {
        use kernels::{CostModel as _, Op, Provenance};
        let width = self.workload.hidden;
        let m = self.workload.rows * self.workload.image_tokens();
        let op = Op::Gemm {
            m,
            n: width,
            k: width,
            dtype: topologies::DType::Bf16,
        };
        let gpu = self.platform.gpu(topologies::DeviceId::new(0));
        let cost = self.question.costs().cost(&op, gpu);
        match cost.map(|cost| cost.provenance) {
            Ok(Provenance::Measured | Provenance::Interpolated) => "measured tables of this GPU",
            Ok(Provenance::Extrapolated) => "measured tables of this GPU, beyond their shapes",
            Ok(Provenance::Borrowed) => "measured tables of a related GPU, moved by the datasheets",
            Ok(Provenance::Datasheet) => "sustained rates (no measured table)",
            Err(_) => "none",
        }
    }
}

fn times(classes: &[(SpanClass, SimDuration)]) -> BTreeMap<SpanClass, f64> {
    classes
        .iter()
        .map(|(class, time)| (*class, time.as_secs_f64()))
        .collect()
}

/// What a class of work is called in a sentence.
const fn in_words(class: SpanClass) -> &'static str {
    match class {
        SpanClass::Linear => "matrix products",
        SpanClass::Attention => "attention",
        SpanClass::Elementwise => "memory-bound passes",
        SpanClass::Encode => "compressing",
        SpanClass::Decode => "decompressing",
        SpanClass::Launch => "launch gaps",
        SpanClass::Communication => "waiting for messages",
        SpanClass::TextEncoder => "text encoding",
        SpanClass::Vae => "decoding the latent",
        SpanClass::Other => "compute slowed by messages beside it",
    }
}

/// The two classes of work that a plan's critical path has most more of than the best plan's.
fn why_slower(totals: &Totals, best: &Totals) -> String {
    let own = times(&totals.critical);
    let other = times(&best.critical);
    let mut more: Vec<(f64, SpanClass)> = own
        .iter()
        .map(|(class, time)| (time - other.get(class).copied().unwrap_or(0.0), *class))
        .filter(|(seconds, _)| *seconds > 0.005)
        .collect();
    more.sort_by(|a, b| b.0.total_cmp(&a.0));
    let say = |(seconds, class): &(f64, SpanClass)| format!("+{seconds:.2} s {}", in_words(*class));
    more.iter().take(2).map(say).collect::<Vec<_>>().join(", ")
}

/// What the comparison shows: whether compression and staleness pay, and whether parallelism does.
fn findings(
    plans: &[Candidate],
    single: &Candidate,
    critical: &[(SpanClass, SimDuration)],
) -> Vec<String> {
    let best = |wanted: &dyn Fn(&Candidate) -> bool| plans.iter().find(|plan| wanted(plan));
    let say = |plan: &Candidate| format!("{} ({:.2} s)", plan.plan, plan.latency.as_secs_f64());
    let raw = best(&|plan| plan.plan.compression.is_raw());
    let exact = best(&|plan| plan.fidelity == Fidelity::Exact);
    let lossy = best(&|plan| plan.fidelity == Fidelity::Lossy);
    let stale = best(&|plan| plan.fidelity == Fidelity::Stale);
    let mut found = Vec::new();
    if let (Some(raw), Some(lossy)) = (raw, lossy) {
        found.push(pays("compression", raw, lossy, "uncompressed", &say));
    }
    if let (Some(exact), Some(stale)) = (exact, stale) {
        found.push(pays("staleness", exact, stale, "exact", &say));
    }
    if plans
        .first()
        .is_some_and(|first| first.latency >= single.latency)
    {
        found.push("more GPUs do not pay here: no plan is faster than one GPU".to_owned());
    }
    if let Some((class, time)) = critical.first() {
        let share =
            100.0 * time.as_secs_f64() / critical.iter().map(|c| c.1.as_secs_f64()).sum::<f64>();
        found.push(format!(
            "{share:.0} % of the chosen plan's critical path is {}",
            in_words(*class)
        ));
    }
    found
}

/// What compressors per layer gain over one everywhere, within the same budget.
fn per_layer(plans: &[Candidate]) -> Option<String> {
    let is_mixed = |plan: &&Candidate| matches!(plan.plan.compression, Compression::Mixed(_));
    let mixed = plans.iter().find(is_mixed)?;
    let uniform = plans.iter().find(|plan| !is_mixed(plan))?;
    let gain = uniform.latency.as_secs_f64() / mixed.latency.as_secs_f64();
    if gain <= 1.0 {
        return None;
    }
    let percent = 100.0 * (gain - 1.0);
    let say = format!("{} ({:.3} s)", uniform.plan, uniform.latency.as_secs_f64());
    Some(if gain >= WORTH {
        format!(
            "a compressor per layer gains {percent:.1} % over the best uniform plan that keeps the budget, {say}"
        )
    } else {
        format!(
            "a compressor per layer would gain {percent:.1} %, less than the 5 % that hold up in closed loop: {say} stays"
        )
    })
}

/// Whether a lossy or stale plan gains over the best plan without it.
fn pays(
    what: &str,
    without: &Candidate,
    with: &Candidate,
    word: &str,
    say: &dyn Fn(&Candidate) -> String,
) -> String {
    let gain = without.latency.as_secs_f64() / with.latency.as_secs_f64();
    if gain <= 1.0 {
        return format!(
            "{what} does not pay here: {} against {} {word}",
            say(with),
            say(without)
        );
    }
    if gain < 1.05 {
        return format!(
            "{what} hardly pays here: {} gains {:.1} % over {} {word}, less than the predictions are sure of",
            say(with),
            100.0 * (gain - 1.0),
            say(without)
        );
    }
    format!(
        "{what} pays here: {} is {gain:.2}x faster than {} {word}",
        say(with),
        say(without)
    )
}
