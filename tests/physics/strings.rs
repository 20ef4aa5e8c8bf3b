//! No plan that can be written is faster than the fastest that the search finds.
//!
//! Lines are drawn at random from the language of plans, as an engine runs them: compressed rings in CompactFusion's loop,
//! which pads nothing and has one warm-up step; pipelines with 0 to 4 and any number of patches; as many ranks at the VAE as
//! the engine shares it among, or fewer.

use kernels::Tables;
use planner::launch::Engine;
use planner::search::{self, Question, setting};
use sim::legality;
use sim::model::{self, Resolution};
use sim::plan::{Plan, RingLoop};
use sim::simulate::{Detail, simulate};
use sim::testing::Numbers;
use sim::workload::Workload;
use topologies::hypothetical;

use super::residency;
use super::search::one_of;

/// Lines tried.
const LINES: usize = 2000;

/// A small question: few GPUs, a small image, few steps.
fn draw(seed: u64) -> Question {
    let mut numbers = Numbers::new(seed);
    let gpus = 2 + numbers.below(7);
    let gpu = one_of(&mut numbers, &["L20", "H100-SXM", "RTX4090", "A100-80-SXM"]);
    let link = one_of(&mut numbers, &["2GB/s", "20GB/s", "100GB/s", "nvlink4"]);
    let machine = hypothetical::machine(&format!("{gpus}x{gpu}@{link}")).expect("a machine");
    let models = ["FLUX.1-dev", "SD3-medium", "PixArt-alpha", "CogVideoX-2b"];
    let mut question = super::question(machine, |_| {});
    question.model = model::find(one_of(&mut numbers, &models)).expect("a known model");
    question.request = question.model.default;
    if question.request.frames == 1 {
        let sides = [512, 768, 1008, 1024];
        question.request.resolution = Resolution::square(one_of(&mut numbers, &sides));
    }
    question.request.steps = 5 + numbers.below(6) as u32;
    question.engine = one_of(
        &mut numbers,
        &[Engine::Xdit, Engine::Sglang, Engine::CacheDit],
    );
    question.shown = 0;
    question
}

/// A line, of which most are not legal.
fn line(numbers: &mut Numbers, gpus: u32, decoders: u32) -> String {
    let gpus = gpus as usize;
    let mut degree = |most: usize| 1 + numbers.below(most);
    let cfg = degree(2);
    let (ulysses, tensor, exchange) = (degree(gpus), degree(gpus), degree(gpus));
    let (rows, stages, patches) = (degree(3), degree(gpus), degree(16));
    let kind = one_of(
        numbers,
        &["ring", "ring", "allgather-kv", "distrifusion", "grid", ""],
    );
    let [alone, split, staged] = [0, 1, 2].map(|_| numbers.below(3) == 0);
    let mut parts = vec![format!("cfg{cfg}")];
    if !alone {
        parts.push(format!("ulysses{ulysses}"));
    }
    match kind {
        "" => {}
        "grid" => parts.push(format!("attention2d{rows}x{exchange}")),
        kind => parts.push(format!("{kind}{exchange}")),
    }
    if staged {
        parts.push(format!("pipefusion{stages}(m{patches})"));
    }
    if split {
        parts.push(format!("tp{tensor}"));
    }
    if decoders > 1 {
        parts.push(format!("vae-p{}", 1 + numbers.below(decoders as usize)));
    }
    let sent = [
        "",
        "",
        "/1bit",
        "/2bit",
        "/lowrank-int4(32)",
        "/sparse(1:8)",
    ];
    let sent = one_of(numbers, &sent);
    let warmup = if staged { numbers.below(5) } else { 1 };
    let ring_loop = match sent {
        "" => one_of(numbers, &["", " loop=fused"]),
        _ => " loop=fused",
    };
    format!("{}{sent} warmup={warmup}{ring_loop}", parts.join("+"))
}

#[test]
fn no_line_is_faster_than_the_choice() {
    let (questions, mut tried) = (20, 0);
    for seed in 0..questions {
        let question = draw(seed);
        let model = question.model;
        let workload = Workload::new(model, &question.request).expect("a possible request");
        let choice = search::plan(&question).expect("a plan").choice;
        let (_, platform, execution) = setting(&question).expect("a question");
        let costs = Tables::built_in();
        let mut numbers = Numbers::new(1000 + seed);
        let mut legal = 0;
        while legal < LINES / questions as usize {
            let decoders = question.engine.decoders(model, question.gpus);
            let line = line(&mut numbers, question.gpus, decoders);
            let plan: Plan = line.parse().expect("a plan");
            let pads = question.engine.pads(&plan);
            let gpus = question.gpus as usize;
            // Of pipelines no engine runs a ring in another loop.
            let staged = plan.pipeline.stages > 1 && plan.ring_loop == RingLoop::Fused;
            if staged || legality::check_padded(model, &workload, &plan, gpus, pads).is_err() {
                continue;
            }
            let gpu = platform.gpu(plan.placement[0]);
            let fitting = residency::fitting(&question, &workload, gpu, &plan);
            if fitting.is_empty() {
                continue;
            }
            let plan = match &fitting[..] {
                [one] => one,
                several => &several[numbers.below(several.len())],
            };
            legal += 1;
            let run = simulate(
                &workload,
                plan,
                &platform,
                &execution,
                costs,
                Detail::Folded,
            );
            let latency = run.expect("it can run").totals.latency;
            assert!(
                latency >= choice.latency,
                "seed {seed}: {plan} takes {latency}, {} {} on {}",
                choice.plan,
                choice.latency,
                question.machine.name
            );
        }
        tried += legal;
    }
    assert_eq!(tried, LINES);
}
