//! What plans of a question are bounded and simulated with: its workload, platform, calibration and costs.

use std::sync::Arc;

use sim::execution::Execution;
use sim::legality::{self, Illegal};
use sim::lower::Parts;
use sim::plan::{Plan, Precision};
use sim::platform::Platform;
use sim::simulate::{Detail, Simulation, Totals, estimate, simulate};
use sim::workload::Workload;
use topologies::{Condition, DeviceId};

use super::shared::Shared;
use super::{PlanningError, Question};
use crate::calibrate::{self, Basis, Calibrated, Target};

/// The question's workload, platform, calibration and costs.
#[derive(Clone)]
pub(super) struct Evaluator<'a> {
    pub question: &'a Question,
    /// What is wrong with the machine.
    pub condition: Condition,
    /// How many GPUs may be used: as asked for, as far as they are left.
    pub gpus: u32,
    pub workload: Workload,
    pub platform: Platform,
    pub execution: Execution,
    pub calibrated: Arc<Calibrated>,
}

impl<'a> Evaluator<'a> {
    pub(super) fn new(question: &'a Question) -> Result<Self, PlanningError> {
        Self::sharing(question, &Shared::default())
    }

    /// As [`new`](Self::new), with what other questions worked out already.
    pub(super) fn sharing(question: &'a Question, shared: &Shared) -> Result<Self, PlanningError> {
        let has = question.machine.gpus.len();
        if question.gpus == 0 || question.gpus as usize > has {
            let machine = question.machine.name.clone();
            return Err(PlanningError::Gpus {
                asked: question.gpus,
                machine,
                has,
            });
        }
        let workload = Workload::new(question.model, &question.request)?;
        let condition = question.faults.on(&question.machine)?;
        let platform = Platform::what_if(&question.machine, &question.measured)?;
        let steps = sim::model::Request {
            steps: 0,
            ..question.request
        };
        let (compilation, engine) = (question.compilation, question.engine);
        let key = (&*question.model.name, steps, compilation, engine);
        let calibrated = shared
            .calibrated
            .get(key, || calibrated(question, &workload, shared))?;
        let execution = Execution {
            compilation: question.compilation,
            software: question.engine.software(),
            attention: question.attention_kernel(),
            calibration: calibrated.calibration.clone(),
        };
        let evaluator = Self {
            question,
            condition: Condition::HEALTHY,
            gpus: question.gpus,
            workload,
            platform,
            execution,
            calibrated,
        };
        Ok(evaluator.under(condition))
    }

    /// The same in another condition of the machine.
    pub(super) fn under(&self, condition: Condition) -> Self {
        let left = condition.left(&self.question.machine).len();
        let left = u32::try_from(left).expect("a machine has fewer than 2^32 GPUs");
        Self {
            gpus: self.question.gpus.min(left),
            platform: self.platform.clone().with(condition.clone()),
            condition,
            ..self.clone()
        }
    }

    /// One GPU: the first of the healthiest.
    pub(super) fn one_gpu(&self) -> Plan {
        let machine = &self.question.machine;
        let health = |gpu: &DeviceId| self.condition.health(machine, *gpu);
        let left = self.condition.left(machine).into_iter();
        let best = left.reduce(|best, gpu| {
            if health(&gpu) > health(&best) {
                gpu
            } else {
                best
            }
        });
        Plan::single(best.expect("a condition leaves a GPU"))
    }

    /// The plan where its GPUs are left and it says which; else on the first ones that are, equally many of each node.
    pub(super) fn placed(&self, plan: &Plan) -> Plan {
        let lost = |gpu: &DeviceId| self.condition.lost.contains(gpu);
        if !plan.is_in_order() && !plan.placement.iter().any(lost) {
            return plan.clone();
        }
        let machine = &self.question.machine;
        let left = self.condition.left(machine);
        plan.clone()
            .placed(machine.evenly(&left, plan.ranks() as usize))
    }

    /// Whether a plan is legal for the question, which says how many GPUs it may take; the machine has those it names.
    pub(super) fn check(&self, plan: &Plan) -> Result<(), Illegal> {
        let gpus = match plan.ranks() <= self.gpus {
            true => self.question.machine.gpus.len(),
            false => self.gpus as usize,
        };
        self.check_on(plan, gpus)
    }

    /// The same, in the words of the question: of steps that the model's pipeline skips, too.
    pub(super) fn admit(&self, plan: &Plan) -> Result<(), PlanningError> {
        let Question { model, request, .. } = self.question;
        self.check(plan).map_err(|why| match why {
            Illegal::Warmup { .. } if model.idle_steps > 0 => PlanningError::IdleSteps {
                why,
                asked: request.steps,
                model: model.name.clone(),
                idle: model.idle_steps,
            },
            why => why.into(),
        })
    }

    /// Whether a plan is legal for the question on some GPUs, where its engine pads what does not divide.
    pub(super) fn check_on(&self, plan: &Plan, gpus: usize) -> Result<(), Illegal> {
        let (precision, gpu) = (plan.execution.precision, &self.platform.gpus[0]);
        if !precision.runs_on(gpu) {
            let gpu = gpu.name.clone();
            return Err(Illegal::Precision { precision, gpu });
        }
        let (model, pads) = (self.question.model, self.question.engine.pads(plan));
        legality::check_padded(model, &self.workload, plan, gpus, pads).map(drop)
    }

    /// The precisions that are searched: those that were asked for; of any, those that the engine offers on this GPU.
    pub(super) fn precisions(&self) -> Vec<Precision> {
        match self.question.precision {
            Some(precision) => vec![precision],
            None => {
                let offered = self.question.engine.precisions().into_iter();
                let gpu = &self.platform.gpus[0];
                offered.filter(|precision| precision.runs_on(gpu)).collect()
            }
        }
    }

    pub(super) fn parts(&self, plan: &Plan) -> Result<Parts, PlanningError> {
        Ok(estimate(
            &self.workload,
            plan,
            &self.platform,
            &self.execution,
            self.question.costs(),
        )?)
    }

    /// What a plan takes, its steady steps folded.
    pub(super) fn simulate(&self, plan: &Plan) -> Result<Totals, PlanningError> {
        Ok(self.run(plan, Detail::Folded)?.totals)
    }

    /// A plan's tasks and what they take.
    pub(super) fn run(&self, plan: &Plan, detail: Detail) -> Result<Simulation, PlanningError> {
        let costs = self.question.costs();
        Ok(simulate(
            &self.workload,
            plan,
            &self.platform,
            &self.execution,
            costs,
            detail,
        )?)
    }
}

/// What the host's runs (or a profile) say of a workload.
fn calibrated(
    question: &Question,
    workload: &Workload,
    shared: &Shared,
) -> Result<Arc<Calibrated>, PlanningError> {
    let profile = question.profile.as_ref();
    let profile = profile.map(|profile| profile.host(question.model, question.compilation));
    let target = Target {
        model: question.model,
        request: &question.request,
        workload,
        compiler: calibrate::compiler(question.compilation),
        engine: question.engine,
    };
    let platform = Platform::of_machine(&question.measured)?;
    let basis = Basis {
        known: &question.known,
        platform: &platform,
        launch_factor: question.measured.host.launch_factor,
        costs: question.costs(),
    };
    let profile = profile.as_ref();
    let factors = || Ok::<_, PlanningError>(Arc::new(calibrate::host_factors(&basis, profile)));
    let host = shared.host.get((), factors)?;
    Ok(Arc::new(calibrate::calibrate(
        &basis, &host, &target, profile,
    )))
}
