//! A plan on a machine, ready to be simulated.

use kernels::Tables;
use planner::search::{Question, setting};
use sim::execution::Execution;
use sim::model;
use sim::plan::Plan;
use sim::platform::Platform;
use sim::simulate::{Detail, Simulation, simulate};
use sim::workload::Workload;
use topologies::Machine;

/// Everything that `simulate` needs.
pub struct Stand {
    pub workload: Workload,
    pub plan: Plan,
    pub platform: Platform,
    pub execution: Execution,
}

impl Stand {
    /// A plan for a model's default request, or that with another number of steps.
    pub fn new(model: &str, plan: &str, machine: &Machine, steps: Option<u32>) -> Self {
        let model = model::find(model).expect("a preset");
        let mut question = Question::new(model, machine.clone()).expect("readable runs");
        question.request.steps = steps.unwrap_or(question.request.steps);
        let (workload, platform, execution) = setting(&question).expect("the usual request");
        Self {
            workload,
            plan: plan.parse().expect("a plan"),
            platform,
            execution,
        }
    }

    pub fn run(&self, detail: Detail) -> Simulation {
        let Self {
            workload,
            plan,
            platform,
            execution,
        } = self;
        simulate(
            workload,
            plan,
            platform,
            execution,
            Tables::built_in(),
            detail,
        )
        .expect("a legal plan")
    }
}
