//! Machines of several nodes: what must hold of plans on them.

use std::collections::BTreeSet;

use planner::launch::Engine;
use planner::search::{self, Question, setting};
use sim::model;
use sim::plan::{Exchange, Plan};
use sim::platform::{RateFactors, Reach, Timing};
use sim::simulate::{Detail, simulate};
use topologies::import::{self, Hints};
use topologies::{
    Bandwidth, Bytes, CollectiveKind, DeviceId, Faults, LinkKind, Machine, SimDuration, export,
};

use crate::{json, printed, refused};

/// FLUX.1 at 1024x1024 in four steps, or another model's usual request.
fn question(model: &str, machine: Machine) -> Question {
    let mut question =
        Question::new(model::find(model).expect("a known model"), machine).expect("no runs");
    if model == "FLUX.1-dev" {
        question.request.steps = 4;
    }
    question
}

/// The simulated latency of a plan.
fn latency(question: &Question, plan: &str) -> SimDuration {
    let plan: Plan = plan.parse().expect("a plan");
    let evaluation = search::evaluate(question, &plan).expect("it can run");
    evaluation.candidate.latency
}

fn preset(name: &str) -> Machine {
    Machine::preset(name).expect("a machine")
}

/// Nodes are joined by their network and by nothing else: a slower one never helps, from 0.1 to 50 GB/s, and what
/// stays in a node does not notice.
#[test]
fn latency_falls_with_the_rate_of_the_network() {
    for plan in [
        "ulysses8+ring2",
        "pipefusion2+ulysses8 warmup=1",
        "ulysses8+allgather-kv2",
        "ulysses4+ring4",
    ] {
        let times: Vec<SimDuration> = [0.1, 0.5, 1.0, 5.0, 10.0, 25.0, 50.0]
            .into_iter()
            .map(|rate| {
                let rate = Bandwidth::new((rate * 1e9) as u64);
                let machine = preset("2x8xh100-sxm");
                let machine = machine
                    .with_bandwidth(Some(LinkKind::Network), rate)
                    .unwrap();
                let mut question = question("FLUX.1-dev", preset("2x8xh100-sxm"));
                question.machine = machine;
                latency(&question, plan)
            })
            .collect();
        assert!(
            times.windows(2).all(|pair| pair[0] > pair[1]),
            "{plan}: {times:?}"
        );
        // K and V of half of the sequence at 0.1 GB/s are not hidden by anything; a pipeline sends far less.
        let piped = plan.starts_with("pipe");
        assert!(piped || times[0] > times[6] * 3, "{plan}: {times:?}");
    }
    let typed = |rate: &str, plan: &str| {
        let found = json(&[
            "simulate",
            "--machine",
            "2x8xh100-sxm",
            "--plan",
            plan,
            "--network",
            rate,
            "--json",
        ]);
        found["plans"][0]["latency_s"]
            .as_f64()
            .or(found["choice"]["latency_s"].as_f64())
    };
    assert!(typed(".1 GB/s", "ulysses8+ring2") > typed("50 GB/s", "ulysses8+ring2"));
    assert_eq!(typed(".1 GB/s", "ulysses8"), typed("50 GB/s", "ulysses8"));
}

/// The nodes that each group of a dimension stands on, at most.
fn most_nodes(
    machine: &Machine,
    plan: &Plan,
    degree: u32,
    dimension: impl Fn(u32) -> [u32; 6],
) -> usize {
    let mut groups: std::collections::BTreeMap<[u32; 6], BTreeSet<usize>> = Default::default();
    for rank in 0..plan.ranks() {
        let node = machine.node_of(plan.placement[rank as usize]);
        groups.entry(dimension(rank)).or_default().insert(node);
    }
    assert!(degree == 1 || groups.len() < plan.ranks() as usize);
    groups.values().map(BTreeSet::len).max().unwrap_or(0)
}

/// On two nodes of eight H100 the fastest plans keep Ulysses and tensor parallelism inside a node; rings, pipelines,
/// gathers of K and V or guidance join the two.
#[test]
fn the_chattiest_dimension_stays_inside_a_node() {
    let machine = preset("2x8xh100-sxm");
    for (model, side, frames) in [
        ("FLUX.1-dev", 4096, 1),
        ("HunyuanVideo", 0, 0),
        ("Wan2.1-T2V-14B", 0, 0),
    ] {
        let mut question = question(model, machine.clone());
        question.fastest = true;
        question.filter.exact_only = true;
        if frames > 0 {
            question.request.resolution = sim::model::Resolution::square(side);
        }
        let answer = search::plan(&question).expect("a plan");
        let engine = answer.fastest_launchable().expect("a plan that xDiT runs");
        for plan in [&answer.choice.plan, &engine.plan] {
            assert_eq!(plan.ranks(), 16, "{model}: {plan}");
            let at = |rank: u32| plan.coordinates(rank);
            let ulysses = most_nodes(&machine, plan, plan.ulysses, |rank| {
                let at = at(rank);
                [at.data, at.cfg, at.stage, at.outer, at.tensor, 0]
            });
            let tensor = most_nodes(&machine, plan, plan.tensor, |rank| {
                let at = at(rank);
                [at.data, at.cfg, at.stage, at.outer, at.ulysses, 1]
            });
            assert_eq!((ulysses, tensor), (1, 1), "{model}: {plan}");
            assert!(plan.ulysses >= 8, "{model}: {plan}");
        }
        // What the engine runs between the nodes.
        let between = matches!(engine.plan.exchange, Exchange::Ring(2))
            || engine.plan.pipeline.stages == 2
            || engine.plan.cfg == 2;
        assert!(between, "{model}: {}", engine.plan);
        let command = engine.launch.command.as_ref().expect("a command");
        assert!(command.contains("nnodes"), "{command}");
    }
}

/// Of more ranks than a node holds equally many stand on each node, as launchers start them.
#[test]
fn commands_for_two_nodes_are_whole() {
    let found = json(&[
        "plan",
        "--machine",
        "2x8xH100-SXM@ib-400g",
        "--exact",
        "--strategy",
        "ulysses6+ring2",
        "--json",
    ]);
    let placement: Vec<u64> = found["choice"]["placement"]
        .as_array()
        .expect("a placement")
        .iter()
        .filter_map(|gpu| gpu.as_u64())
        .collect();
    assert_eq!(placement, [0, 1, 2, 3, 4, 5, 8, 9, 10, 11, 12, 13]);
    for (engine, words) in [
        (
            Engine::Xdit,
            "--nnodes 2 --nproc_per_node 8 --node_rank $NODE_RANK --master_addr $HEAD",
        ),
        (
            Engine::Sglang,
            "--num-gpus 16 --nnodes 2 --node-rank $NODE_RANK --dist-init-addr $HEAD:29500",
        ),
    ] {
        let mut question = question("FLUX.1-dev", preset("2x8xh100-sxm"));
        question.engine = engine;
        let plan: Plan = "ulysses8+ring2".parse().unwrap();
        let command = search::candidate(&question, &plan)
            .unwrap()
            .launch
            .command
            .unwrap();
        assert!(command.replace(" \\\n  ", " ").contains(words), "{command}");
    }
}

/// Eight rings of two at one card a node share it; eight cards carry one each.
#[test]
fn groups_share_the_cards_of_their_nodes() {
    let kind = CollectiveKind::RingPass;
    for (name, share) in [("2x8xl40s", 8.0), ("2x8xL40S@ethernet-100g", 1.0)] {
        let (_, platform, _) = setting(&question("FLUX.1-dev", preset(name))).unwrap();
        let group = |at: usize| [DeviceId::new(at), DeviceId::new(8 + at)];
        let size = Bytes::new(1 << 30);
        let message = platform
            .message(kind, &group(0), size, &RateFactors::new())
            .unwrap();
        assert_eq!(
            (message.reach, message.timing),
            (Reach::Network, Timing::Shared)
        );
        let flows: Vec<_> = (0..8)
            .map(|at| platform.flows(&message, &group(at)).unwrap())
            .collect();
        let mut load = std::collections::BTreeMap::new();
        for flow in &flows {
            for (link, weight) in &flow.shares {
                *load.entry(*link).or_insert(0.0) += weight * flow.bytes.as_f64();
            }
        }
        let machine = platform.machine().unwrap();
        let cards = load
            .iter()
            .filter(|(link, _)| machine.link(**link).kind == LinkKind::Network);
        let most = cards.map(|(_, load)| *load).fold(0.0, f64::max);
        assert_eq!(most / size.as_f64(), share, "{name}");
        // 12 GB/s of a card of 100 Gbit/s, alone.
        let alone = 1e6 * size.as_f64() / 12e9;
        assert!(
            (message.time.as_us_f64() / alone - 1.0).abs() < 1e-3,
            "{name}: {:?}",
            message.time
        );
    }
    // So a ring between the nodes is slower there, by more than the cards alone say of one.
    let time =
        |name: &str| latency(&question("FLUX.1-dev", preset(name)), "ulysses8+ring2").as_secs_f64();
    assert!(time("2x8xl40s") > 1.5 * time("2x8xL40S@ethernet-100g"));
}

/// The closed form stays a bound where groups of one dimension lie on the nodes differently, and with faults.
#[test]
fn uneven_groups_keep_their_bound() {
    for machine in ["2x8xh100-sxm", "2x4xL40S@ethernet-100g", "3x2xL20@ib-200g"] {
        let question = question("FLUX.1-dev", preset(machine));
        let (workload, platform, execution) = setting(&question).unwrap();
        for plan in [
            "ulysses6+ring2",
            "ring6",
            "ulysses2+ring3",
            "tp2+ring3",
            "ulysses3+ring2",
            "pipefusion3+ulysses2 warmup=1",
            "attention2d2x3",
            "allgather-kv6/2bit warmup=1",
        ] {
            let plan: Plan = plan.parse().unwrap();
            if plan.ranks() as usize > question.machine.gpus.len() {
                continue;
            }
            let parts =
                sim::simulate::estimate(&workload, &plan, &platform, &execution, question.costs())
                    .unwrap();
            let run = simulate(
                &workload,
                &plan,
                &platform,
                &execution,
                question.costs(),
                Detail::Full,
            )
            .unwrap();
            let (bound, latency) = (parts.total.as_secs_f64(), run.totals.latency.as_secs_f64());
            assert!(
                bound <= latency * (1.0 + 1e-7),
                "{plan} on {machine}: {bound} > {latency}"
            );
        }
    }
}

/// A slow node, slow cards, a card that is gone and a node that is gone: none helps, and each is felt.
#[test]
fn nodes_and_cards_may_be_slow_or_gone() {
    let sound = question("FLUX.1-dev", preset("2x8xh100-sxm"));
    let plan = "ulysses8+ring2";
    let with = |text: &str| {
        let faults: Faults = text.parse().unwrap();
        let mut question = sound.clone();
        question.machine = faults.rewired(question.machine).unwrap();
        question.faults = faults.checked(&question.machine).unwrap();
        latency(&question, plan)
    };
    let whole = latency(&sound, plan);
    for case in [
        "node1=80%",
        "node1-link=1%",
        "link:node0.nic3-infiniband.rail3=1%",
    ] {
        assert!(with(case) > whole, "{case}");
    }
    // GPU 3 takes a neighbour's card: two flows there.
    let gone = with("link:node0.nic3-infiniband.rail3=lost");
    assert!(gone > whole, "{gone:?} {whole:?}");
    let left = json(&[
        "plan",
        "--machine",
        "2x8xh100-sxm",
        "--fault",
        "node0=lost",
        "--exact",
        "--steps",
        "4",
        "--json",
    ]);
    let placement = left["choice"]["placement"].as_array().expect("a placement");
    assert!(
        placement.iter().all(|gpu| gpu.as_u64() >= Some(8)),
        "{placement:?}"
    );
    let said = refused(&["plan", "--machine", "2x8xh100-sxm", "--fault", "node2=lost"]);
    assert!(said.contains("node0 to node1"), "{said}");
}

/// A machine that was written for NCCL and read again answers as it did.
#[test]
fn an_exported_machine_answers_the_same() {
    for name in ["2x8xh100-sxm", "2x8xl40s", "2x4xH100-SXM@nvlink6+ib-800g"] {
        let machine = preset(name);
        let text = export::nccl_xml(&machine).text;
        let mut back = import::machine(text.as_bytes(), "x.xml", &Hints::default())
            .unwrap()
            .machine;
        // What a host was measured to do is not in the format.
        back.host = machine.host.clone();
        let times = |machine: &Machine| {
            let question = question("FLUX.1-dev", machine.clone());
            [
                "ulysses4+ring2",
                "pipefusion2+ulysses4 warmup=1",
                "allgather-kv8",
            ]
            .map(|plan| latency(&question, plan))
        };
        assert_eq!(times(&back), times(&machine), "{name}");
    }
    let page = printed(&[
        "machines",
        "export",
        "2x8xh100-sxm",
        "--format",
        "simgrid-xml",
    ]);
    assert_eq!(page.matches("<host ").count(), 16);
}
