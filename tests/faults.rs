//! Faults: what must hold of slow and lost GPUs and narrow links, whatever the numbers are.

use kernels::{AttentionKernel, Tables};
use planner::search::usual;
use sim::execution::{Calibration, Execution, Software};
use sim::legality;
use sim::model::{self, Request};
use sim::plan::Plan;
use sim::platform::Platform;
use sim::simulate::{Detail, estimate, simulate};
use sim::workload::Workload;
use topologies::host::Compilation;
use topologies::{Condition, Faults, Machine, SimDuration};

mod robust;

use crate::{json, printed, words};

/// FLUX.1 in five steps on a machine.
struct Bench {
    machine: Machine,
    platform: Platform,
    workload: Workload,
    execution: Execution,
}

/// Measured rates on PCIe and NVLink; usual rates; links alone, with and without a switch in the way.
const MACHINES: [&str; 8] = [
    "4xl20-pcie",
    "8xl20-pcie",
    "8xh100-sxm",
    "16xl40-ethernet",
    "4x-emulated-ethernet",
    "8xL20@25GB/s",
    "2x8xh100-sxm",
    "2x4xL40S@ethernet-100g",
];

/// Every strategy and the hybrids of them, on 4, 8 and 16 GPUs.
const PLANS: [&str; 19] = [
    "ring4",
    "ring4/1bit warmup=1",
    "ulysses4",
    "ulysses4/2bit warmup=1",
    "ulysses2+ring2",
    "ulysses2+allgather-kv2/1bit warmup=1",
    "allgather-kv4",
    "attention2d2x2",
    "distrifusion4 warmup=1",
    "pipefusion4 warmup=1",
    "pipefusion4(m8) warmup=1",
    "pipefusion2+ring2 warmup=1",
    "tp4",
    "tp2+ulysses2",
    "ring8",
    "ulysses2+ring4",
    "pipefusion4+ulysses2 warmup=1",
    "ulysses8+ring2",
    "pipefusion2+ulysses8 warmup=1",
];

/// The network does not wait for the last 2^-41 of a transfer: a few picoseconds of each message.
const ROUNDING: f64 = 1e-9;

impl Bench {
    fn new(machine: &str) -> Self {
        let machine = Machine::preset(machine).expect("a machine");
        let model = model::find("FLUX.1-dev").expect("a known model");
        let request = Request {
            steps: 5,
            ..model.default
        };
        let platform = Platform::of_machine(&machine).expect("a known system");
        Self {
            workload: Workload::new(model, &request).expect("a possible request"),
            execution: Execution {
                compilation: Compilation::Eager,
                software: Software::Other,
                attention: AttentionKernel::usual(&machine.gpus[0]),
                calibration: Calibration::assumed(platform.is_nvlink()),
            },
            machine,
            platform,
        }
    }

    fn plans(&self) -> Vec<Plan> {
        let model = model::find("FLUX.1-dev").expect("a known model");
        let gpus = self.machine.gpus.len();
        let plans = PLANS
            .iter()
            .map(|line| line.parse::<Plan>().expect("a plan"));
        let legal = |plan: &Plan| {
            plan.ranks() as usize <= gpus
                && legality::check(model, &self.workload, plan, gpus).is_ok()
        };
        plans.filter(legal).collect()
    }

    fn condition(&self, faults: &str) -> Condition {
        let faults: Faults = faults.parse().expect("faults");
        faults.on(&self.machine).expect("the machine can have them")
    }

    /// The closed form and the simulated latency of a plan.
    fn bound_and_latency(
        &self,
        plan: &Plan,
        faults: Option<&str>,
        detail: Detail,
    ) -> (SimDuration, SimDuration) {
        let condition = faults.map_or(Condition::HEALTHY, |faults| self.condition(faults));
        let (workload, platform) = (&self.workload, self.platform.clone().with(condition));
        let costs = Tables::built_in();
        let parts = estimate(workload, plan, &platform, &self.execution, costs);
        let run = simulate(workload, plan, &platform, &self.execution, costs, detail);
        (
            parts.expect("it has a cost").total,
            run.expect("it can run").totals.latency,
        )
    }

    fn latency(&self, plan: &Plan, faults: &str) -> SimDuration {
        self.bound_and_latency(plan, Some(faults), Detail::Folded).1
    }
}

/// A fault of every kind, of the first and of another GPU, and several at once.
fn cases(machine: &Machine) -> Vec<String> {
    let mut cases: Vec<String> = [
        "gpu0=80%",
        "gpu3=80%",
        "gpu2-link=50%",
        "throttle=85%",
        "gpu1=60%,gpu2-link=25%,throttle=90%",
    ]
    .map(str::to_owned)
    .into();
    let shared = usual(machine).into_iter().flat_map(|kind| kind.cases);
    let shared = shared.map(|case| case.to_string());
    cases.extend(shared.filter(|case| case.starts_with("link:")).take(2));
    cases
}

#[test]
fn a_fault_never_makes_a_plan_faster_and_the_closed_form_stays_a_bound() {
    for name in MACHINES {
        let bench = Bench::new(name);
        for plan in bench.plans() {
            let (bound, sound) = bench.bound_and_latency(&plan, None, Detail::Folded);
            for case in cases(&bench.machine) {
                let with = bench.bound_and_latency(&plan, Some(&case), Detail::Folded);
                assert!(
                    with.0 >= bound && with.1 >= sound && with.0 <= with.1.scaled(1.0 + ROUNDING),
                    "{plan} on {name} with {case}: bound {bound:?} -> {:?}, latency {sound:?} -> {:?}",
                    with.0,
                    with.1
                );
            }
        }
    }
}

/// Everything that a GPU at 80 % does takes at most 1/0.8 as long, and nothing else takes longer.
#[test]
fn a_straggler_costs_at_most_what_it_is_slower() {
    for name in ["4xl20-pcie", "8xh100-sxm"] {
        let bench = Bench::new(name);
        for plan in bench.plans() {
            let sound = bench.bound_and_latency(&plan, None, Detail::Folded).1;
            let slow = bench.latency(&plan, "gpu2=80%");
            let most = sound.scaled(1.0 / 0.8) + SimDuration::from_us_f64(1.0);
            assert!(sound < slow && slow <= most, "{plan} on {name}");
        }
    }
}

#[test]
fn a_folded_run_with_a_fault_takes_as_long_as_the_full_run() {
    let bench = Bench::new("8xh100-sxm");
    for line in [
        "ulysses2+ring4",
        "pipefusion4+ulysses2 warmup=1",
        "distrifusion4 warmup=1",
    ] {
        let plan: Plan = line.parse().expect("a plan");
        for case in ["gpu1=80%", "gpu2-link=50%"] {
            let [folded, full] = [Detail::Folded, Detail::Full]
                .map(|detail| bench.bound_and_latency(&plan, Some(case), detail).1);
            assert_eq!(folded, full, "{line} with {case}");
        }
    }
}

#[test]
fn which_of_equal_gpus_is_slow_changes_nothing() {
    for name in ["4xl20-pcie", "8xh100-sxm", "8xL20@25GB/s"] {
        let bench = Bench::new(name);
        assert_eq!(bench.machine.islands().len(), 1, "{name}");
        for plan in bench.plans() {
            let stage = |rank: u32| plan.coordinates(rank).stage;
            let latency = |rank: u32, fault: &str| {
                let gpu = plan.placement[rank as usize];
                bench.latency(&plan, &format!("{gpu}{fault}"))
            };
            for fault in ["=80%", "-link=50%"] {
                for first in (0..plan.ranks()).filter(|rank| *rank == 0 || stage(*rank) > 0) {
                    let mut others = (0..plan.ranks()).filter(|rank| stage(*rank) == stage(first));
                    let last = others.next_back().expect("the rank itself");
                    let (one, other) = (latency(first, fault), latency(last, fault));
                    assert_eq!(one, other, "{plan} on {name}: ranks {first}, {last}{fault}");
                }
            }
        }
    }
}

/// All ranks wait for a straggler, but a pipeline only where its stage is the slowest: with the fewest
/// blocks (the last stage) it costs less.
#[test]
fn a_pipeline_feels_a_slow_stage_by_what_it_holds() {
    let bench = Bench::new("4xl20-pcie");
    let plan: Plan = "pipefusion4 warmup=1".parse().expect("a plan");
    let first = bench.latency(&plan, "gpu0=80%");
    let last = bench.latency(&plan, "gpu3=80%");
    assert!(last < first, "{last:?} against {first:?}");
}

/// A GPU that no rank is placed on waits for nothing.
#[test]
fn which_gpu_is_lost_changes_no_time() {
    let times = |lost: &str| {
        let machine = ["simulate", "--machine", "8xl20-pcie", "--plan", "ring4"];
        let answer = json(&[&machine[..], &["--fault", lost, "--json"]].concat());
        let of = |plan: &str| {
            let plan = &answer[plan];
            (
                plan["latency_s"].as_f64().expect("a time"),
                plan["exposed_communication_s"].as_f64().expect("a time"),
            )
        };
        (of("choice"), of("single"))
    };
    let last = times("gpu7=lost");
    assert_eq!(times("gpu0=lost"), last);
    assert!(last.0.1 < last.0.0 / 2.0 && last.1.1 == 0.0, "{last:?}");
}

#[test]
fn a_fault_of_100_percent_changes_nothing_to_the_byte() {
    let none = "gpu3=100%,gpu1-link=100%,throttle=100%,link:gpu0-socket0=100%";
    for question in [
        &["plan"][..],
        &["plan", "--json"],
        &["simulate", "--plan", "ring4/2bit warmup=1", "--json"],
    ] {
        let with = [question, &["--fault", none]].concat();
        assert_eq!(printed(question), printed(&with));
    }
}

#[test]
fn a_machine_that_lost_a_gpu_is_the_machine_without_it() {
    let ask = |machine: &str, fault: &[&str]| {
        let asked = ["plan", "--json", "--steps", "6", "--machine", machine];
        json(&[&asked[..], fault].concat())
    };
    let lost = ask("5xL20@25GB/s", &["--fault", "gpu2=lost"]);
    let without = ask("4xL20@25GB/s", &[]);
    let figures = |answer: &serde_json::Value| {
        let plans = answer["plans"].as_array().expect("plans").iter();
        let figure = |plan: &serde_json::Value| (plan["plan"].clone(), plan["latency_s"].clone());
        (
            answer["considered"].clone(),
            plans.map(figure).collect::<Vec<_>>(),
        )
    };
    assert_eq!(figures(&lost), figures(&without));
    let used = lost["plans"].as_array().expect("plans").iter();
    let mut used = used.flat_map(|plan| plan["placement"].as_array().expect("GPUs"));
    assert!(used.all(|gpu| *gpu != 2), "a lost GPU is used");
}

#[test]
fn a_plan_is_simulated_on_the_gpus_that_are_left() {
    let asked = words("simulate --json --plan ulysses4 --machine 8xh100-sxm");
    let found = json(&[&asked[..], &["--fault", "gpu0=lost,gpu2=lost"]].concat());
    let expected = serde_json::json!([1, 3, 4, 5]);
    assert_eq!(found["choice"]["placement"], expected);
}

/// With the slow GPU left out, plans on fewer GPUs are as fast as without the fault.
#[test]
fn a_known_straggler_is_left_out_where_that_pays() {
    let asked = words("plan --json --exact --strategy ulysses2 --machine 4xl20-pcie");
    let sound = json(&asked);
    let slow = json(&[&asked[..], &["--fault", "gpu0=30%"]].concat());
    assert_eq!(sound["choice"]["latency_s"], slow["choice"]["latency_s"]);
    let used = slow["choice"]["placement"].as_array().expect("GPUs");
    assert!(used.iter().all(|gpu| *gpu != 0), "{used:?}");
}
