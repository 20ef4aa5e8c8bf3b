//! How long an answer takes: `cargo bench -p planner --bench plan`.
//!
//! * `in_full`: one FLUX.1-dev image (1024x1024, 28 steps) on 8 GPUs, every task and flow of every
//!   step, calibration left out. `links` is the L40 box without what was measured on it, so that
//!   its messages are flows that share links.
//! * `folded`: the same as the search asks for it; `closed_form`: its lower bound.
//! * `plan`: a whole answer, machine file to launch commands, on all cores.
//! * `hold`: the yardstick, a plain `BinaryHeap` that pops the earliest of 1000 events and pushes one
//!   later, 100,000 times. Compare items/s (tasks/s) within one run.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use divan::counter::ItemsCount;
use divan::{Bencher, black_box};
use kernels::Tables;
use planner::launch::Engine;
use planner::search::{Filter, Question, plan};
use sim::model;
use sim::simulate::{Detail, estimate};
use sim::testing::Numbers;
use topologies::Machine;
use topologies::host::Compilation;

mod stand;

use stand::Stand;

fn main() {
    divan::main();
}

/// Plan, then machine.
const CASES: [&str; 6] = [
    "ring8 8xl40-pcie",
    "ulysses8 8xl40-pcie",
    "ring8 8xh100-sxm",
    "ulysses8 8xh100-sxm",
    "ring8 links",
    "ulysses8 links",
];

/// Model, then machine.
const QUESTIONS: [&str; 3] = [
    "FLUX.1-dev 8xl20-pcie",
    "FLUX.1-dev 8xh100-sxm",
    "Wan2.1-T2V-14B 8xh100-sxm",
];

fn halves(case: &str) -> (&str, &str) {
    case.split_once(' ').expect("a case is two words")
}

/// A preset, or the L40 box with nothing but its links known.
fn machine(name: &str) -> Machine {
    if name != "links" {
        return Machine::preset(name).expect("a preset");
    }
    let mut machine = machine("8xl40-pcie");
    machine.host.runs.clear();
    machine.host.rates.clear();
    machine
}

fn stand(case: &str) -> Stand {
    let (plan, name) = halves(case);
    Stand::new("FLUX.1-dev", plan, &machine(name), None)
}

#[divan::bench(args = CASES)]
fn in_full(bencher: Bencher, case: &str) {
    let stand = stand(case);
    let tasks = stand.run(Detail::Full).graph.len();
    let counted = bencher.counter(ItemsCount::new(tasks));
    counted.bench(|| black_box(&stand).run(Detail::Full));
}

#[divan::bench(args = CASES)]
fn folded(bencher: Bencher, case: &str) {
    let stand = stand(case);
    bencher.bench(|| black_box(&stand).run(Detail::Folded));
}

#[divan::bench(args = CASES)]
fn closed_form(bencher: Bencher, case: &str) {
    let stand = stand(case);
    bencher.bench(|| {
        estimate(
            &stand.workload,
            black_box(&stand.plan),
            &stand.platform,
            &stand.execution,
            Tables::built_in(),
        )
    });
}

/// Kernel costs are remembered after the first sample: see the slowest column for a first answer.
#[divan::bench(args = QUESTIONS, sample_count = 10)]
fn whole_plan(bencher: Bencher, case: &str) {
    let (model, name) = halves(case);
    let model = model::find(model).expect("a preset");
    bencher
        .with_inputs(|| Question {
            model,
            request: model.default,
            machine: machine(name),
            measured: machine(name),
            faults: topologies::Faults::default(),
            gpus: 8,
            engine: Engine::Xdit,
            compilation: Compilation::Eager,
            filter: Filter::default(),
            quality: None,
            profile: None,
            shown: 10,
        })
        .bench_values(|question| plan(&question).map(|answer| answer.simulated));
}

#[divan::bench]
fn hold(bencher: Bencher) {
    const EVENTS: u64 = 100_000;
    bencher.counter(ItemsCount::new(EVENTS)).bench(|| {
        let mut numbers = Numbers::new(1);
        let mut heap: BinaryHeap<Reverse<(u64, u64)>> = (0..1000)
            .map(|n| Reverse((numbers.below(1000) as u64, n)))
            .collect();
        for number in 0..EVENTS {
            let Reverse((at, _)) = heap.pop().expect("a hold leaves as many events");
            heap.push(Reverse((at + numbers.below(1000) as u64, number + 1000)));
        }
        heap.len()
    });
}
