//! Events a second: `cargo bench -p sim --bench hold`.
//!
//! The hold model (Jones, CACM 1986): the earliest event is taken and another is put in at a random distance,
//! so that as many are pending all the time. On the engine's queue and, if `NEXOSIM` names the program of
//! `benches/peers`, on nexosim. And on the engine itself:
//! as many chains of transfers over links of their own, whose events are entries into the network and exits.
//! Medians of five runs.

#![allow(clippy::disallowed_methods, reason = "a benchmark reads the clock")]

use std::hint::black_box;
use std::path::Path as File;
use std::process::Command;
use std::time::Instant;

use sim::engine::{Queue, run};
use sim::graph::{Path, TaskGraph, TaskId};
use sim::testing::{Numbers, ps, transfer};
use topologies::{Bandwidth, LinkId, SimTime};

const EVENTS: usize = 4_000_000;
/// Picoseconds between an event and the one that it causes: up to 2 ms, in whole nanoseconds.
const NANOSECONDS: usize = 2_000_000;

fn later(numbers: &mut Numbers) -> u64 {
    1000 * (1 + numbers.below(NANOSECONDS) as u64)
}

fn queue(pending: usize) {
    let mut numbers = Numbers::new(1);
    let mut queue = Queue::new();
    for event in 0..pending {
        queue.push(SimTime::from_ps(later(&mut numbers)), event as u32);
    }
    for _ in 0..EVENTS {
        let (at, event) = queue.pop().expect("a hold leaves as many");
        queue.push(at + ps(later(&mut numbers)), event);
    }
    black_box(queue.pop());
}

/// Chains of transfers on links of their own; an entry and an exit each.
fn transfers(pending: usize) -> (TaskGraph, Vec<Bandwidth>) {
    let mut numbers = Numbers::new(1);
    let mut graph = TaskGraph::new();
    let mut last: Vec<Vec<TaskId>> = vec![Vec::new(); pending];
    for index in 0..EVENTS / 8 {
        let chain = index % pending;
        let path = graph.intern(Path::single(ps(1000), &[LinkId::new(chain)]));
        let task = transfer(0, path, 1 + numbers.below(10_000_000) as u64);
        last[chain] = vec![graph.push(task, &last[chain])];
    }
    (graph, vec![Bandwidth::new(64_000_000_000); pending])
}

/// Millions of events a second.
fn rate(events: usize, mut run: impl FnMut()) -> f64 {
    let mut seconds: Vec<f64> = (0..5)
        .map(|_| {
            let began = Instant::now();
            run();
            began.elapsed().as_secs_f64()
        })
        .collect();
    seconds.sort_by(f64::total_cmp);
    events as f64 / seconds[2] / 1e6
}

fn nexosim(program: &File, pending: usize) -> Result<f64, String> {
    let events = EVENTS / 4;
    let mut seconds = Vec::new();
    for _ in 0..5 {
        let output = Command::new(program)
            .args([pending.to_string(), events.to_string()])
            .output();
        let output = output.map_err(|error| format!("{}: {error}", program.display()))?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let took: f64 = text
            .trim()
            .parse()
            .map_err(|error| format!("{error}: {text}"))?;
        seconds.push(took);
    }
    seconds.sort_by(f64::total_cmp);
    Ok(events as f64 / seconds[2] / 1e6)
}

fn main() {
    let peer = std::env::var_os("NEXOSIM");
    if peer.is_none() {
        println!("NEXOSIM is not set: no comparison (see sim/benches/run.sh)");
    }
    println!("million events/s; limits at 1024 pending: queue 10, and 4 times nexosim");
    println!("pending    queue  engine, transfers  nexosim  queue/nexosim");
    for pending in [64, 1024, 16_384] {
        let own = rate(EVENTS, || queue(pending));
        let (graph, capacities) = transfers(pending);
        let engine = rate(EVENTS / 4, || {
            black_box(run(&graph, &capacities).expect("links are open"));
        });
        print!("{pending:7} {own:8.1} {engine:18.1}");
        match peer
            .as_ref()
            .map(|program| nexosim(File::new(program), pending))
        {
            None => println!(),
            Some(Ok(rate)) => println!(" {rate:8.2} {:14.1}", own / rate),
            Some(Err(error)) => println!(" nexosim failed: {error}"),
        }
    }
}
