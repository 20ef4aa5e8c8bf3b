//! The jobs: what is prepared, and what is measured.

use kernels::Compressor;
use kernels::wire::Protocol;
use planner::launch::Engine;
use planner::search::{Filter, Question, Shared, plan};
use planner::sweep::Sweep;
use rayon::prelude::*;
use sim::engine::run;
use sim::graph::{Path, PathId, TaskGraph, TaskId};
use sim::model;
use sim::replay::{Replay, Setting};
use sim::serving::{Pattern, Pool, Rate, Routing, Source};
use sim::simulate::Detail;
use sim::testing::{ps, transfer};
use topologies::host::Compilation;
use topologies::{Bandwidth, Faults, LinkId, Machine, SimDuration};

use crate::stand::Stand;

/// What is measured; it returns a remark.
type Work = Box<dyn Fn() -> String>;

/// What must not be exceeded at one size.
#[derive(Clone, Copy)]
pub struct Limit {
    pub size: u64,
    pub seconds: f64,
    pub mb: Option<u32>,
}

/// A job at several sizes.
pub struct Job {
    pub name: &'static str,
    pub sizes: &'static [u64],
    pub limits: &'static [Limit],
    pub prepare: fn(u64) -> Work,
}

const fn limit(size: u64, seconds: f64) -> Limit {
    Limit {
        size,
        seconds,
        mb: None,
    }
}

const STEPS: &[u64] = &[7, 14, 28];

#[rustfmt::skip]
pub const JOBS: &[Job] = &[
    Job { name: "FLUX image, ulysses8, full; steps", sizes: STEPS, limits: &[limit(28, 0.05)], prepare: |steps| flux("ulysses8", steps, Detail::Full) },
    Job { name: "FLUX image, ulysses8, folded; steps", sizes: STEPS, limits: &[limit(28, 0.005)], prepare: |steps| flux("ulysses8", steps, Detail::Folded) },
    Job { name: "FLUX image, ring8, full; steps", sizes: STEPS, limits: &[limit(28, 0.05)], prepare: |steps| flux("ring8", steps, Detail::Full) },
    Job { name: "FLUX image, ring8, folded; steps", sizes: STEPS, limits: &[limit(28, 0.005)], prepare: |steps| flux("ring8", steps, Detail::Folded) },
    Job { name: "Wan 720p video, 16 GPUs, full; steps", sizes: &[12, 25, 50], limits: &[], prepare: |steps| wan(steps, Detail::Full) },
    Job { name: "Wan 720p video, 16 GPUs, folded; steps", sizes: &[12, 25, 50], limits: &[], prepare: |steps| wan(steps, Detail::Folded) },
    Job { name: "all-reduce of 1 MiB, ranks folded; GPUs", sizes: &[256, 512, 1024], limits: &[Limit { size: 1024, seconds: 2.0, mb: Some(150) }], prepare: |ranks| all_reduce(ranks as usize, Ranks::Folded) },
    Job { name: "all-reduce of 1 MiB, every message; GPUs", sizes: &[256, 512, 1024], limits: &[Limit { size: 1024, seconds: 2.0, mb: Some(150) }], prepare: |ranks| all_reduce(ranks as usize, Ranks::Each) },
    Job { name: "a day of serving; requests", sizes: &[10_000, 100_000, 1_000_000], limits: &[limit(100_000, 2.0)], prepare: serving },
    Job { name: "plan FLUX, one island; GPUs", sizes: &[8, 64, 512], limits: &[limit(8, 1.0), limit(64, 10.0)], prepare: planned },
    Job { name: "sweep over bandwidth, 8 L20; points", sizes: &[8, 32], limits: &[], prepare: swept },
    Job { name: "replay of a trace, 4 compressors; MB", sizes: &[16, 64], limits: &[], prepare: replayed },
];

fn flux(plan: &str, steps: u64, detail: Detail) -> Work {
    let machine = Machine::preset("8xh100-sxm").expect("a preset");
    let stand = Stand::new("FLUX.1-dev", plan, &machine, Some(steps as u32));
    Box::new(move || format!("{} tasks", stand.run(detail).graph.len()))
}

/// Two islands of eight.
fn wan(steps: u64, detail: Detail) -> Work {
    let machine = Machine::preset("16xH100-SXM@nvlink4").expect("a machine");
    let plan = "ulysses8+ring2";
    let stand = Stand::new("Wan2.1-T2V-14B", plan, &machine, Some(steps as u32));
    Box::new(move || format!("{} tasks", stand.run(detail).graph.len()))
}

#[derive(Clone, Copy)]
enum Ranks {
    Each,
    /// A round is one bundle of equal flows.
    Folded,
}

/// 2(n - 1) rounds in which each rank passes an n-th of the buffer to the next one.
fn ring(ranks: usize, how: Ranks) -> TaskGraph {
    let bytes = (1_u64 << 20).div_ceil(ranks as u64);
    let rounds = 2 * (ranks - 1);
    let link = LinkId::new;
    let mut graph;
    match how {
        Ranks::Folded => {
            graph = TaskGraph::with_capacity(rounds, rounds);
            let links: Vec<LinkId> = (0..ranks).map(link).collect();
            let path = graph.intern(Path::single(ps(1000), &links));
            let mut last: Vec<TaskId> = Vec::new();
            for _ in 0..rounds {
                last = vec![graph.push(transfer(0, path, bytes), &last)];
            }
        }
        Ranks::Each => {
            graph = TaskGraph::with_capacity(rounds * ranks, rounds * ranks);
            let paths: Vec<PathId> = (0..ranks)
                .map(|rank| graph.intern(Path::single(ps(1000), &[link(rank)])))
                .collect();
            // What a rank received in one round it passes on in the next.
            let mut held: Vec<Option<TaskId>> = vec![None; ranks];
            for _ in 0..rounds {
                for (rank, held) in held.iter_mut().enumerate() {
                    let task = transfer(rank, paths[rank], bytes);
                    *held = Some(graph.push(task, held.as_slice()));
                }
                held.rotate_right(1);
            }
        }
    }
    graph
}

fn all_reduce(ranks: usize, how: Ranks) -> Work {
    Box::new(move || {
        let graph = ring(ranks, how);
        let capacities = vec![Bandwidth::new(50_000_000_000); ranks];
        let outcome = run(&graph, &capacities).expect("links are open");
        format!("{} messages, {}", graph.len(), outcome.makespan())
    })
}

/// 16 replicas at 85 % load, two shapes; the stream is part of it.
fn serving(requests: u64) -> Work {
    let rate = Rate::per_second(0.85 * 16.0 / 5.8).expect("a positive rate");
    let times = [4.0, 10.0].map(|time| vec![SimDuration::from_secs_f64(time)]);
    let pool = Pool::new(16, times.to_vec(), Routing::Fifo).expect("a pool");
    Box::new(move || {
        let mix = vec![0.7, 0.3];
        let source = Source::new(Pattern::Poisson, mix, requests as usize, rate, 1);
        let stream = source.expect("a mix").stream(rate, 0);
        sim::serving::run(&pool, &stream, 1, 0).expect("all are served");
        String::new()
    })
}

fn question(machine: Machine, gpus: u32) -> Question {
    let model = model::find("FLUX.1-dev").expect("a preset");
    Question {
        model,
        request: model.default,
        machine: machine.clone(),
        measured: machine,
        faults: Faults::default(),
        gpus,
        engine: Engine::Xdit,
        compilation: Compilation::Eager,
        filter: Filter::default(),
        quality: None,
        profile: None,
        shown: 10,
    }
}

fn planned(gpus: u64) -> Work {
    let machine = Machine::preset(&format!("{gpus}xH100-SXM@nvlink4")).expect("a machine");
    let question = question(machine, gpus as u32);
    Box::new(move || {
        let answer = plan(&question).expect("a plan");
        let seen = answer.simulated + answer.pruned;
        assert_eq!(
            seen, answer.considered,
            "every plan is simulated or has a bound"
        );
        let best = &answer.choice.plan;
        format!(
            "{seen} plans: {} simulated, {} proved slower; {best}",
            answer.simulated, answer.pruned
        )
    })
}

fn swept(points: u64) -> Work {
    let machine = Machine::preset("8xL20@25GB/s").expect("a machine");
    let axis = format!("link.bandwidth=1GB/s..900GB/s:{points}:log");
    let sweep = Sweep {
        question: question(machine, 8),
        axes: vec![axis.parse().expect("an axis")],
        plans: Vec::new(),
    };
    Box::new(move || {
        let began = std::time::Instant::now();
        let shared = Shared::default();
        let chunks = sweep.chunks(0);
        let rows: usize = chunks.map(|points| sweep.rows(points, &shared).len()).sum();
        format!(
            "{:.1} points/s",
            rows as f64 / began.elapsed().as_secs_f64()
        )
    })
}

/// A synthetic trace, about as many MB as asked for; its written form is a scratch folder's.
fn replayed(megabytes: u64) -> Work {
    let mut manifest = traces::testing::manifest(1, 4, 8);
    // 4 layers, 8 steps, K and V, 512 channels of 2 bytes: 64 kB a token.
    (manifest.model.heads, manifest.model.head_dim) = (8, 64);
    manifest.model.image_tokens = 16 * megabytes as u32 - 4;
    let folder = tempfile::tempdir().expect("a scratch folder");
    let directory = folder.path().join("trace");
    let trace = traces::testing::synthetic(&directory, &manifest).expect("a trace");
    let files = std::fs::read_dir(&directory).expect("a trace").flatten();
    let bytes: u64 = files
        .filter_map(|file| Some(file.metadata().ok()?.len()))
        .sum();
    let compressors = ["1bit", "2bit", "int8", "sparse(1:8)"];
    let compressors = compressors.map(|name| name.parse::<Compressor>().expect("a compressor"));
    let setting = Setting {
        ranks: 4,
        compressors: compressors.to_vec(),
        protocol: Protocol {
            warmup: 1,
            ..Protocol::default()
        },
    };
    let replay = Replay::new(&trace, setting).expect("a whole trace");
    Box::new(move || {
        let _kept = &folder;
        let began = std::time::Instant::now();
        let slots = replay.slots();
        let done = slots.par_iter().map(|id| replay.slot(*id));
        let done: Vec<_> = done.collect::<Result<_, _>>().expect("activations");
        std::hint::black_box(replay.collect(done));
        let rate = bytes as f64 / began.elapsed().as_secs_f64() / 1e9;
        format!("{rate:.3} GB/s of trace")
    })
}
