//! A plan on a machine, ready to be simulated.

use kernels::Tables;
use planner::calibrate::calibrate;
use sim::execution::{Execution, Software};
use sim::model;
use sim::plan::Plan;
use sim::platform::Platform;
use sim::simulate::{Detail, Simulation, simulate};
use sim::workload::Workload;
use topologies::Machine;
use topologies::host::Compilation;

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
        let mut request = model.default;
        request.steps = steps.unwrap_or(request.steps);
        let workload = Workload::new(model, &request).expect("the default request");
        let platform = Platform::of_machine(machine).expect("a known system");
        let tables = Tables::built_in();
        let eager = Compilation::Eager;
        let calibrated = calibrate(machine, &platform, &workload, eager, tables, None);
        Self {
            workload,
            plan: plan.parse().expect("a plan"),
            platform,
            execution: Execution {
                compilation: eager,
                software: Software::Other,
                calibration: calibrated.calibration,
            },
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
