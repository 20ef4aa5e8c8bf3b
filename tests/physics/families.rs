//! Every family of models under every strategy: ranks share the work of one GPU, and closed form and tasks agree.

use sim::legality;
use sim::model::{self, Guidance};
use sim::plan::Plan;
use sim::workload::Tokens;
use topologies::SimDuration;

use super::{Done, Rig, done, plan, preset};

const LINES: [&str; 12] = [
    "none",
    "cfg2",
    "ulysses2",
    "ring2",
    "ulysses2+ring2",
    "allgather-kv2",
    "attention2d2x2",
    "tp2",
    "ring2+tp2",
    "ring2/1bit warmup=1",
    "ulysses2/2bit warmup=1",
    "allgather-kv2/1bit warmup=1",
];

/// The strategies that are legal for a model in two steps, with what the first GPU does in the second.
fn legal(rig: &Rig) -> Vec<(&'static str, Plan)> {
    let allowed =
        |plan: &Plan| legality::check(&rig.workload.model, &rig.workload, plan, 4).is_ok();
    let plans = LINES.map(|line| (line, plan(line)));
    plans
        .into_iter()
        .filter(|(_, plan)| allowed(plan))
        .collect()
}

fn of_each_model(check: impl Fn(&str, &mut Rig)) {
    for machine in ["4xl20-pcie", "8xh100-sxm"] {
        for model in model::known() {
            let mut rig = Rig::new(&preset(machine), &model.name, |request| request.steps = 2);
            check(&format!("{} on {machine}", model.name), &mut rig);
        }
    }
}

/// Two ranks do half of the attention each, four a quarter, whatever is cut, and none does more than one GPU.
#[test]
fn ranks_share_the_attention_of_every_model() {
    of_each_model(|context, rig| {
        let work = |plan: &Plan| done(&rig.run(plan).graph, 1, 0);
        let whole = work(&plan("none"));
        for (line, plan) in legal(rig) {
            let ranks = u64::from(plan.ranks());
            let parts = u64::from(plan.sequence()) * u64::from(plan.tensor);
            // Text that is keys alone is whole on every rank, which halves the queries all the same.
            let mut calls = rig.workload.blocks().flat_map(|block| &block.attention);
            let joint = calls.any(|call| call.keys == Tokens::Joint);
            let text = !joint || rig.workload.text_splits(u64::from(plan.sequence()));
            let heads = rig.workload.model.heads.is_multiple_of(2);
            if !text || !heads || line.contains("tp") && parts > 2 {
                continue;
            }
            let own = work(&plan);
            assert_eq!(ranks * own.attention, whole.attention, "{context}: {line}");
            assert!(own.linear <= whole.linear, "{context}: {line}");
        }
    });
}

/// Where all ranks do the same and messages take a known time, tasks take the closed form, to the rounding of blocks.
#[test]
fn closed_form_and_tasks_agree_for_every_model() {
    of_each_model(|context, rig| {
        for launch in [0.0, 1.0] {
            rig.execution.calibration.launch = launch;
            for (line, plan) in legal(rig) {
                let run = rig.run(&plan).totals;
                let closed = rig.closed_form(&plan);
                let [found, expected] = [run.latency, closed.total].map(SimDuration::as_secs_f64);
                let away = (found / expected - 1.0).abs();
                assert!(away < 1e-6, "{context}: {line}: {found} s, {expected} s");
                let exposed: SimDuration = closed.exposed.values().copied().sum();
                assert!(exposed <= closed.gpu && closed.fixed <= closed.total);
            }
        }
    });
}

/// A guided request on one rank for each branch is half of the work; one that is not guided has nothing to split.
#[test]
fn branches_of_guidance_are_halves() {
    of_each_model(|context, rig| {
        let two = plan("cfg2");
        let is_legal = legality::check(&rig.workload.model, &rig.workload, &two, 4).is_ok();
        let guidance = rig.workload.request.guidance;
        let branches = matches!(guidance, Guidance::Batched | Guidance::Sequential);
        assert_eq!(is_legal, branches, "{context}");
        if is_legal {
            let work = |plan: &Plan| done(&rig.run(plan).graph, 1, 1 % plan.ranks() as usize);
            let (whole, half): (Done, Done) = (work(&plan("none")), work(&two));
            let of = |done: &Done| (done.linear, done.attention, done.elementwise);
            let (linear, attention, elementwise) = of(&half);
            assert_eq!(attention * 2, whole.attention, "{context}");
            assert!(
                linear * 2 >= whole.linear && linear < whole.linear,
                "{context}"
            );
            assert!(elementwise * 2 >= whole.elementwise, "{context}");
        }
    });
}
