use kernels::{AttentionKernel, Cost, CostModel, Miss, Op, Provenance};
use topologies::host::Compilation;
use topologies::{Gpu, SimTime, gpu};
use traces::timeline::SpanClass;

use super::*;
use crate::execution::{Calibration, Execution, Software};
use crate::model;
use crate::plan::Plan;
use crate::platform::Platform;
use crate::simulate::{Detail, Simulation, simulate};
use crate::workload::Workload;

/// Every operation takes 10 us, so that sums are counted by hand.
struct Ten;

impl CostModel for Ten {
    fn cost(&self, _: &Op, _: &Gpu) -> Result<Cost, Miss> {
        Ok(Cost {
            time: SimDuration::from_us_f64(10.0),
            provenance: Provenance::Measured,
            half_width: 0.0,
        })
    }
}

fn exchange(gb_per_s: u64) -> OneGpu {
    let rate = Bandwidth::new(gb_per_s * 1_000_000_000);
    let way = CopyRate {
        latency: SimDuration::ZERO,
        rate,
    };
    OneGpu {
        down: way,
        up: way,
        together: rate * 2,
        interference: 0.0,
        copies: Copies::Streams,
    }
}

/// FLUX in three steps under a plan, without launching.
fn run(plan: &str, exchange: Option<OneGpu>) -> Simulation {
    let flux = model::find("FLUX.1-dev").unwrap();
    let request = model::Request {
        steps: 3,
        ..flux.default
    };
    let workload = Workload::new(flux, &request).unwrap();
    let plan: Plan = plan.parse().unwrap();
    let h200 = gpu::find("H200-SXM").unwrap();
    let platform = match exchange {
        Some(exchange) => Platform::on_one_gpu(h200, plan.ranks(), exchange),
        None => Platform::labelled(h200, plan.ranks(), crate::platform::Fabric::Links),
    };
    let execution = Execution {
        compilation: Compilation::Eager,
        software: Software::VirtualRanks,
        attention: AttentionKernel::FlashAttention2,
        calibration: Calibration {
            compute: 1.0,
            launch: 0.0,
            ..Calibration::assumed(false)
        },
    };
    simulate(&workload, &plan, &platform, &execution, &Ten, Detail::Full).unwrap()
}

/// Starts and ends of the tasks that are chosen, in order.
fn spans(
    found: &Simulation,
    wanted: impl Fn(&crate::graph::Task) -> bool,
) -> Vec<(SimTime, SimTime)> {
    let chosen = found.graph.ids().filter(|id| wanted(found.graph.task(*id)));
    let mut spans: Vec<_> = chosen
        .map(|id| {
            (
                found.outcome.start[id.index()],
                found.outcome.end[id.index()],
            )
        })
        .filter(|(start, end)| start < end)
        .collect();
    spans.sort_unstable();
    spans
}

fn compute(found: &Simulation) -> Vec<(SimTime, SimTime)> {
    spans(found, |task| task.stream == Stream::Compute)
}

fn total(spans: &[(SimTime, SimTime)]) -> SimDuration {
    spans.iter().map(|(start, end)| end.since(*start)).sum()
}

const PLANS: [&str; 7] = [
    "none",
    "ring4",
    "ring4/1bit",
    "allgather-kv4",
    "ulysses4",
    "distrifusion4",
    "pipefusion4",
];

#[test]
fn one_rank_takes_what_it_takes_alone() {
    let alone = run("none", None).outcome.makespan();
    assert_eq!(run("none", Some(exchange(50))).outcome.makespan(), alone);
}

#[test]
fn one_piece_of_compute_runs_at_a_time_and_copies_take_turns_each_way() {
    for plan in PLANS {
        let found = run(plan, Some(exchange(50)));
        let is_copy = |down: bool| {
            let path = exchange(50).path(down);
            spans(&found, |task| {
                let carried = task.work.carries();
                carried.is_some_and(|(id, _)| found.graph.path(id).shares == path.shares)
            })
        };
        for queue in [compute(&found), is_copy(true), is_copy(false)] {
            assert!(
                queue.windows(2).all(|pair| pair[0].1 <= pair[1].0),
                "{plan}"
            );
        }
        assert!(
            found.outcome.makespan() >= total(&compute(&found)),
            "{plan}"
        );
    }
}

#[test]
fn nothing_waits_where_copies_take_almost_no_time() {
    for plan in PLANS {
        let found = run(plan, Some(exchange(1_000_000)));
        let all = total(&compute(&found)).as_secs_f64();
        let idle = found.outcome.makespan().as_secs_f64() / all - 1.0;
        assert!(idle < 0.02, "{plan}: {idle}");
    }
}

#[test]
fn a_slower_link_never_makes_a_run_shorter() {
    for plan in PLANS {
        let time = |rate| run(plan, Some(exchange(rate))).outcome.makespan();
        assert!(time(5) >= time(20) && time(20) >= time(80), "{plan}");
    }
}

#[test]
fn copies_in_turn_are_never_hidden() {
    for plan in ["ring4", "distrifusion4"] {
        let in_turn = OneGpu {
            copies: Copies::InTurn,
            ..exchange(20)
        };
        let found = run(plan, Some(in_turn));
        let busy = spans(&found, |task| {
            task.stream == Stream::Compute || task.work.carries().is_some()
        });
        assert_eq!(found.outcome.makespan(), total(&busy), "{plan}");
    }
}

#[test]
fn interference_slows_compute_beside_copies() {
    let slowed = OneGpu {
        interference: 0.5,
        ..exchange(50)
    };
    let time = |exchange, class| {
        let found = run("ring4", Some(exchange));
        total(&spans(&found, |task| task.class == class))
    };
    let attention = SpanClass::Attention;
    assert!(time(slowed.clone(), attention) > time(exchange(50), attention));
    let linear = SpanClass::Linear;
    assert_eq!(time(slowed, linear), time(exchange(50), linear));
}

#[test]
fn a_gather_sends_every_part_to_every_other_rank() {
    let found = copies(CollectiveKind::AllGather, 4, Bytes::new(4000)).unwrap();
    assert_eq!(found.len(), 12);
    assert!(
        found
            .iter()
            .all(|copy| copy.bytes == Bytes::new(1000) && copy.from != copy.to)
    );
    // Nearest neighbours first.
    let first: Vec<_> = found[..4].iter().map(|copy| (copy.from, copy.to)).collect();
    assert_eq!(first, [(0, 1), (1, 2), (2, 3), (3, 0)]);
    let ring = copies(CollectiveKind::RingPass, 3, Bytes::new(7)).unwrap();
    assert_eq!(ring.len(), 3);
    assert_eq!(copies(CollectiveKind::AllReduce, 4, Bytes::new(8)), None);
}

#[test]
fn bytes_down_are_bytes_up_and_those_of_the_plan() {
    let found = run("allgather-kv4", Some(exchange(50)));
    let moved = |down: bool| -> u64 {
        let path = exchange(50).path(down);
        let of = |task: &crate::graph::Task| {
            let (id, bytes) = task.work.carries()?;
            (found.graph.path(id).shares == path.shares).then_some(bytes.get())
        };
        found.graph.tasks().iter().filter_map(of).sum()
    };
    // 3 steps x 57 blocks x 4 ranks x 3 others x K and V of 1152 x 3072 values of 2 bytes.
    assert_eq!(moved(true), 3 * 57 * 12 * 2 * 1152 * 3072 * 2);
    assert_eq!(moved(true), moved(false));
}
