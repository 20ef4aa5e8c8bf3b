//! `plan` beside the simulation of every plan there is, on random small questions.
//!
//! ```text
//! all plans: data x cfg x stages x patches x exchange x Ulysses x tensor on up to G GPUs, raw and compressed,
//!            legal and with room, on every placement that differs
//! choice     = the fastest of them
//! certificate: no plan that was not simulated takes less than the bound that stopped the search
//! ```
//! Warm-up is one step of what is not exact, an image is decoded by one rank, a video by up to eight: what the search
//! has for every plan. Stages have as many patches, twice or four times.

use std::collections::{BTreeMap, BTreeSet};

use kernels::{Compressor, Tables};
use planner::launch::{Engine, Job, Launch};
use planner::search::{self, Answer, Filter, PlanningError, Question, StopReason, setting};
use sim::execution::{Calibration, Execution, Software};
use sim::legality;
use sim::model::{self, Guidance, Request, Resolution};
use sim::plan::{Compression, Exchange, Fidelity, Pipeline, Plan, RingLoop};
use sim::platform::Platform;
use sim::simulate::{Detail, estimate, simulate};
use sim::testing::Numbers;
use sim::workload::Workload;
use topologies::host::Compilation;
use topologies::{DeviceId, Machine, SimDuration, hypothetical};

use super::{preset, question, residency};

/// Compressors with published behaviour: those that plans may use without a trace.
const COMPRESSORS: [Compressor; 4] = [
    Compressor::OneBit,
    Compressor::TwoBit,
    Compressor::LowRankInt4(32),
    Compressor::Sparse(8),
];

/// A closed form adds up rounded times of messages, and the engine rounds once: picoseconds a message, here a ten
/// millionth of the whole.
fn above(latency: SimDuration) -> u64 {
    latency.get() + latency.get() / 10_000_000
}

/// A machine, and the orders in which ranks may take its GPUs where they differ.
struct Drawn {
    machine: Machine,
    orders: Vec<Vec<usize>>,
}

/// Images and videos of every family that differs to the search: heads, rows, text, guidance, a U-Net.
const MODELS: [&str; 10] = [
    "dit-digits",
    "SD3-medium",
    "PixArt-alpha",
    "DiT-XL/2",
    "FLUX.1-schnell",
    "SANA-1600M",
    "SDXL",
    "Qwen-Image",
    "CogVideoX-2b",
    "Wan2.1-T2V-1.3B",
];

/// One of several.
pub(super) fn one_of<T: Clone>(numbers: &mut Numbers, all: &[T]) -> T {
    all[numbers.below(all.len())].clone()
}

/// GPUs around a switch that nobody has built.
fn around_a_switch(numbers: &mut Numbers) -> Drawn {
    let gpus = 2 + numbers.below(3);
    let gpu = one_of(numbers, &["L20", "H100-SXM", "RTX4090", "B200"]);
    let link = one_of(
        numbers,
        &[
            "1GB/s",
            "6GB/s",
            "40GB/s",
            "pcie5",
            "nvlink4",
            "ethernet-100g",
            "optics-scale-up",
        ],
    );
    // A network joins nodes, here of one GPU each.
    let each = if link.starts_with("ethernet") {
        "1x"
    } else {
        ""
    };
    let machine = hypothetical::machine(&format!("{gpus}x{each}{gpu}@{link}")).expect("a machine");
    let orders = vec![(0..gpus).collect()];
    Drawn { machine, orders }
}

/// Four GPUs on two sockets, of which only the links are known: what is sent at once shares them.
fn on_two_sockets(numbers: &mut Numbers) -> Drawn {
    let gpu = one_of(numbers, &["L20", "L40", "RTX4090"]);
    let between = one_of(numbers, &["5 GB/s", "16 GB/s", "60 GB/s"]);
    let peers = one_of(numbers, &["on", "same-socket", "off"]);
    let staging = if peers == "on" {
        ""
    } else {
        "[staging]\nbandwidth = \"34 GB/s\"\n"
    };
    let text = format!(
        "name = \"drawn\"\nsockets = [\"socket0\", \"socket1\"]\n[host]\nname = \"drawn\"\nsource = \"none\"\n\
         [[gpus]]\nmodel = \"{gpu}\"\ncount = 2\nattach = [\"socket0\", \"socket1\"]\n\
         [pcie]\nefficiency = 0.82\npeer_to_peer = \"{peers}\"\n\
         [[socket_links]]\nbetween = [\"socket0\", \"socket1\"]\nbandwidth = \"{between}\"\n{staging}"
    );
    let machine = Machine::from_toml(&text, "drawn.toml").expect("a machine");
    // One socket after the other, or both in turn.
    let orders = vec![vec![0, 1, 2, 3], vec![0, 2, 1, 3]];
    Drawn { machine, orders }
}

/// A machine that was measured, whose GPUs are all alike.
fn measured(numbers: &mut Numbers) -> Drawn {
    let name = one_of(
        numbers,
        &["4xl20-cachedit", "4xh20-nvlink", "4xrtx4090", "4xa100-pcie"],
    );
    let orders = vec![(0..4).collect()];
    Drawn {
        machine: preset(name),
        orders,
    }
}

fn draw(seed: u64) -> (Question, Vec<Vec<usize>>) {
    let mut numbers = Numbers::new(seed);
    let Drawn { machine, orders } = match seed % 3 {
        0 => around_a_switch(&mut numbers),
        1 => on_two_sockets(&mut numbers),
        _ => measured(&mut numbers),
    };
    let model = model::find(one_of(&mut numbers, &MODELS)).expect("a known model");
    let Resolution { width, height } = model.default.resolution;
    let part = one_of(&mut numbers, &[1, 2]);
    let request = Request {
        resolution: Resolution {
            width: width / part / 16 * 16,
            height: height / part / 16 * 16,
        },
        frames: model.default.frames.min(9),
        steps: 1 + numbers.below(6) as u32,
        batch: one_of(&mut numbers, &[1, 1, 1, 2]),
        guidance: one_of(&mut numbers, &[Guidance::None, model.default.guidance]),
        ..model.default
    };
    let asked = question(machine, |question| {
        (question.model, question.request) = (model, request);
    });
    let any = Filter::default();
    let filters = [
        any.clone(),
        any.clone(),
        Filter {
            exact_only: true,
            ..any.clone()
        },
        Filter {
            launchable: true,
            ..any.clone()
        },
        Filter {
            strategy: Some("ring2".to_owned()),
            ..any
        },
    ];
    let question = Question {
        compilation: one_of(&mut numbers, &[Compilation::Eager, Compilation::Compiled]),
        engine: one_of(
            &mut numbers,
            &[Engine::Xdit, Engine::Sglang, Engine::CacheDit],
        ),
        filter: one_of(&mut numbers, &filters),
        fastest: true,
        ..asked
    };
    (question, orders)
}

/// Everything that a split of the sequence may be beside Ulysses.
fn exchanges(most: u32) -> Vec<Exchange> {
    let mut all = vec![Exchange::NONE];
    for n in 2..=most {
        all.extend([
            Exchange::Ring(n),
            Exchange::Gather(n),
            Exchange::Displaced(n),
        ]);
        for rows in 2..n {
            let columns = n / rows;
            if rows * columns == n && columns > 1 {
                all.push(Exchange::Attention2d { rows, columns });
            }
        }
    }
    all
}

/// Every mix of degrees of at most `gpus` ranks, placed in order.
fn mixes(gpus: u32) -> Vec<Plan> {
    let mut all = Vec::new();
    for data in 1..=gpus {
        for cfg in 1..=2 {
            for stages in 1..=gpus {
                for patches in if stages == 1 {
                    vec![1]
                } else {
                    vec![stages, 2 * stages, 4 * stages]
                } {
                    for exchange in exchanges(gpus) {
                        for ulysses in 1..=gpus {
                            for tensor in 1..=gpus {
                                let plan = Plan {
                                    data,
                                    cfg,
                                    pipeline: Pipeline { stages, patches },
                                    exchange,
                                    ulysses,
                                    tensor,
                                    ..Plan::single(DeviceId::new(0))
                                };
                                if plan.ranks() <= gpus {
                                    let ranks = 0..plan.ranks() as usize;
                                    all.push(plan.placed(ranks.map(DeviceId::new).collect()));
                                }
                            }
                        }
                    }
                }
            }
        }
    }
    all
}

/// Every legal plan, compressed and not, on every order of the GPUs that puts its ranks elsewhere. Rings that can be
/// compressed run in CompactFusion's loop, raw too.
fn legal(question: &Question, workload: &Workload, orders: &[Vec<usize>]) -> Vec<Plan> {
    let (model, gpus) = (question.model, question.gpus);
    let compressions = COMPRESSORS.map(Compression::Uniform);
    let mut all = Vec::new();
    for mix in mixes(gpus) {
        let compressed = compressions.iter().map(|compression| (compression, true));
        let raw = [(&Compression::Raw, false), (&Compression::Raw, true)];
        let is_legal = |plan: &Plan| {
            let pads = question.engine.pads(plan);
            legality::check_padded(model, workload, plan, gpus as usize, pads).is_ok()
        };
        for (compression, fused) in compressed.chain(raw) {
            let mut plan = mix.clone();
            if fused && plan.has_ring() {
                plan.ring_loop = RingLoop::Fused;
                plan.compression = compressions[0].clone();
                if !is_legal(&plan) {
                    continue;
                }
            } else if fused && compression.is_raw() {
                continue;
            }
            plan.compression = compression.clone();
            let warmups = match (plan.pipeline.stages, plan.fidelity()) {
                (1, fidelity) => BTreeSet::from([u32::from(fidelity != Fidelity::Exact)]),
                _ => [0, 1, 4]
                    .map(|warmup| warmup.min(workload.request.steps))
                    .into(),
            };
            if !is_legal(&plan) {
                continue;
            }
            let placed = placements(&plan, orders);
            // Some engines share the VAE, and a filter may ask for one rank.
            let engine = question.engine;
            let shared = |word: &str| {
                let entry = question.model.engines.on.get(word);
                entry.is_none_or(|entry| entry.parallel_vae)
            };
            let most = match engine {
                Engine::Xdit if shared("xdit") => plan.ranks(),
                Engine::CacheDit if shared("cache-dit") => plan.ranks(),
                _ => 1,
            };
            let degrees = match question.filter.strategy {
                Some(_) => BTreeSet::from([1, most]),
                None => BTreeSet::from([most]),
            };
            for (vae, warmup) in degrees
                .iter()
                .flat_map(|vae| warmups.iter().map(move |warmup| (*vae, *warmup)))
            {
                all.extend(placed.iter().map(|plan| Plan {
                    vae,
                    warmup,
                    ..plan.clone()
                }));
            }
        }
    }
    all
}

/// A plan on every order of the GPUs that puts its ranks elsewhere.
fn placements(plan: &Plan, orders: &[Vec<usize>]) -> Vec<Plan> {
    let mut seen: Vec<&[usize]> = Vec::new();
    let mut all = Vec::new();
    for order in orders {
        let order = &order[..plan.ranks() as usize];
        if !seen.contains(&order) {
            seen.push(order);
            let placement = order.iter().copied().map(DeviceId::new).collect();
            all.push(plan.clone().placed(placement));
        }
    }
    all
}

/// Latencies of all of these plans that fit; none is below its bound.
fn latencies(question: &Question, workload: &Workload, plans: &[Plan]) -> Vec<(SimDuration, Plan)> {
    let (machine, costs) = (&question.machine, Tables::built_in());
    let (_, platform, execution) = setting(question).expect("a question");
    let latency = |plan: &Plan| {
        let run = simulate(workload, plan, &platform, &execution, costs, Detail::Folded);
        let latency = run.expect("it can run").totals.latency;
        let bound = estimate(workload, plan, &platform, &execution, costs);
        let bound = bound.expect("it has a cost").total.get();
        assert!(
            bound <= above(latency),
            "{plan} on {}: {} ps, below its bound of {bound} ps",
            machine.name,
            latency.get()
        );
        (latency, plan.clone())
    };
    let fitting =
        |plan| residency::fitting(question, workload, platform.gpu(DeviceId::new(0)), plan);
    plans
        .iter()
        .flat_map(fitting)
        .map(|plan| latency(&plan))
        .collect()
}

/// Whether the question lets a plan be chosen.
fn is_allowed(question: &Question, plan: &Plan, gpus_per_box: u32) -> bool {
    let filter = &question.filter;
    let job = Job {
        plan,
        model: question.model,
        request: &question.request,
        compilation: question.compilation,
        gpus_per_box,
    };
    let launched = || Launch::of(question.engine, &job).command.is_ok();
    (!filter.exact_only || plan.fidelity() == Fidelity::Exact)
        && (!filter.launchable || launched())
        && filter
            .strategy
            .as_ref()
            .is_none_or(|wanted| *wanted == plan.strategy())
}

/// Compares an answer with all plans that may be chosen; returns whether the search left any out.
fn check(answer: &Answer, allowed: &[(SimDuration, Plan)], context: &str) -> bool {
    let best = allowed.iter().min().expect("one at least");
    let choice = (answer.choice.latency, answer.choice.plan.clone());
    assert_eq!(choice, *best, "{context}");
    let shown: BTreeMap<&Plan, SimDuration> = answer
        .plans
        .iter()
        .map(|candidate| (&candidate.plan, candidate.latency))
        .collect();
    for (latency, plan) in allowed {
        let found = shown.get(plan).unwrap_or(latency);
        assert_eq!(found, latency, "{context}: {plan}");
    }
    let sorted = answer.plans.is_sorted_by_key(|candidate| candidate.latency);
    assert!(sorted && shown.len() == answer.simulated, "{context}");
    assert_eq!(
        answer.simulated + answer.pruned,
        answer.considered,
        "{context}"
    );
    let StopReason::Proved { next_bound } = answer.choice.stop_reason else {
        assert_eq!(
            shown.len(),
            allowed.len(),
            "{context}: every plan was simulated"
        );
        return false;
    };
    for (latency, plan) in allowed {
        assert!(
            shown.contains_key(plan) || above(*latency) >= next_bound.get(),
            "{context}: {plan} takes {latency}, not {next_bound}"
        );
    }
    assert!(next_bound > answer.choice.latency, "{context}");
    true
}

#[test]
fn the_choice_is_the_fastest_of_all_plans() {
    let (mut pruned, mut refused) = (0, 0);
    for seed in 0..72 {
        let (question, orders) = draw(seed);
        let workload =
            Workload::new(question.model, &question.request).expect("a possible request");
        let plans = legal(&question, &workload, &orders);
        let mut all = latencies(&question, &workload, &plans);
        let single = all.iter().find(|(_, plan)| plan.ranks() == 1).cloned();
        let platform = Platform::of_machine(&question.machine).expect("a known system");
        all.retain(|(_, plan)| is_allowed(&question, plan, platform.gpus_per_host));
        let context = format!(
            "seed {seed}: {} in {} steps on {}, {:?}",
            question.model.name, question.request.steps, question.machine.name, question.filter
        );
        let answer = match search::plan(&question) {
            Ok(answer) => answer,
            Err(error) => {
                let none = matches!(error, PlanningError::NoPlan { .. });
                assert!(none && all.is_empty(), "{context}: {error}");
                refused += 1;
                continue;
            }
        };
        assert_eq!(
            (answer.legal, answer.considered),
            (plans.len(), all.len()),
            "{context}"
        );
        pruned += usize::from(check(&answer, &all, &context));
        let one = (answer.single.latency, answer.single.plan);
        assert!(
            single.is_none_or(|single| single == one),
            "{context}: {one:?}"
        );
    }
    assert!(
        pruned > 30 && refused < 10,
        "{pruned} times were bounds tried, {refused} refused"
    );
}

/// One message of raw Q and compressed K and V: closed form and tasks time each part by its own protocol.
#[test]
fn compressed_all_to_alls_are_not_below_their_bound() {
    for (machine, side) in [("2xL20@pcie4", 512), ("2xH100-SXM@optics-scale-up", 1024)] {
        let machine = hypothetical::machine(machine).expect("a machine");
        let asked = question(machine, |question| {
            question.request.resolution = Resolution::square(side);
            question.request.steps = 3;
        });
        let plan: Plan = "ulysses2/2bit warmup=1".parse().expect("a plan");
        let platform = Platform::of_machine(&asked.machine).expect("a known system");
        let workload = Workload::new(asked.model, &asked.request).expect("a possible request");
        let execution = Execution {
            compilation: asked.compilation,
            software: Software::Other,
            attention: asked.attention_kernel(),
            calibration: Calibration::assumed(platform.is_nvlink()),
        };
        let costs = Tables::built_in();
        let bound = estimate(&workload, &plan, &platform, &execution, costs);
        let run = simulate(&workload, &plan, &platform, &execution, costs, Detail::Full);
        let bound = bound.expect("it has a cost").total;
        let latency = run.expect("it can run").totals.latency;
        assert!(
            bound.get() <= above(latency),
            "{latency}, below its bound of {bound}"
        );
    }
}
