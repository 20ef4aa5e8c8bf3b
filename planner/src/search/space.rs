//! The space of plans: every legal mix of degrees, exchanges, patches and compressors.

use std::collections::BTreeSet;

use kernels::Compressor;
use sim::legality;
use sim::model::Model;
use sim::plan::{Compression, Exchange, Fidelity, Pipeline, Plan};
use sim::workload::Workload;
use topologies::{DeviceId, Machine};

use super::bench::Bench;

/// Compressors that a uniform plan may use without a trace: those with published behaviour.
const COMPRESSORS: [Compressor; 4] = [
    Compressor::OneBit,
    Compressor::TwoBit,
    Compressor::LowRankInt4(32),
    Compressor::Sparse(8),
];

/// Steps of a stale or compressed plan that run synchronously and raw first, as in CompactFusion's
/// published runs of all methods.
const WARMUP: u32 = 1;

/// Every legal plan on up to `gpus` GPUs, and why the others are not, one example for each reason.
pub(super) struct Space {
    pub legal: Vec<Plan>,
    pub illegal: Vec<(String, String)>,
}

fn divisors(n: u32) -> impl Iterator<Item = u32> {
    (1..=n).filter(move |degree| n.is_multiple_of(*degree))
}

impl Space {
    /// The space of the bench's question: uniform plans use what its trace was replayed with, else what
    /// has published behaviour.
    pub(super) fn new(bench: &Bench<'_>) -> Self {
        let question = bench.question;
        let (model, machine, gpus) = (question.model, &question.machine, question.gpus);
        let workload = &bench.workload;
        let compressors = question.quality.as_ref().map_or_else(
            || COMPRESSORS.to_vec(),
            |quality| quality.model.compressors(),
        );
        let mut space = Self {
            legal: Vec::new(),
            illegal: Vec::new(),
        };
        let mut reasons = BTreeSet::new();
        for plan in layouts(gpus) {
            let plan = finished(plan, workload);
            match legality::check(model, workload, &plan, gpus as usize) {
                Ok(()) => space.add_variants(model, workload, &plan, machine, &compressors),
                Err(reason) => {
                    let reason = reason.to_string();
                    if reasons.insert(reason.clone()) {
                        space.illegal.push((plan.strategy(), reason));
                    }
                }
            }
        }
        space
    }

    /// The plan on every placement that differs, raw and with every compressor.
    fn add_variants(
        &mut self,
        model: &Model,
        workload: &Workload,
        plan: &Plan,
        machine: &Machine,
        compressors: &[Compressor],
    ) {
        for placement in placements(machine, plan.ranks() as usize) {
            let placed = plan.clone().placed(placement);
            let compressed = compressors.iter().map(|&compressor| {
                let plan = Plan {
                    compression: Compression::Uniform(compressor),
                    ..placed.clone()
                };
                finished(plan, workload)
            });
            let compressed = compressed
                .filter(|plan| legality::check(model, workload, plan, machine.gpus.len()).is_ok());
            self.legal.extend(compressed);
            self.legal.push(placed);
        }
    }
}

/// Warm-up and VAE degree follow from the rest.
fn finished(mut plan: Plan, workload: &Workload) -> Plan {
    plan.warmup = if plan.fidelity() == Fidelity::Exact {
        0
    } else {
        WARMUP.min(workload.request.steps)
    };
    // Decoding a video takes tens of seconds and is shared; an image's is not worth the engine's care.
    plan.vae = if workload.request.frames > 1 {
        plan.ranks().min(8)
    } else {
        1
    };
    plan
}

/// All degrees whose product is at most `gpus`, legal or not; one GPU included.
fn layouts(gpus: u32) -> Vec<Plan> {
    let mut plans = Vec::new();
    for ranks in 1..=gpus {
        for cfg in divisors(ranks).filter(|&cfg| cfg <= 2) {
            for data in divisors(ranks / cfg) {
                for tensor in divisors(ranks / cfg / data) {
                    for stages in divisors(ranks / cfg / data / tensor) {
                        let sequence = ranks / cfg / data / tensor / stages;
                        let base = Plan {
                            data,
                            cfg,
                            tensor,
                            ..Plan::single(DeviceId::new(0))
                        };
                        plans.extend(shaped(&base, stages, sequence));
                    }
                }
            }
        }
    }
    for plan in &mut plans {
        plan.placement = (0..plan.ranks() as usize).map(DeviceId::new).collect();
    }
    plans
}

/// Patches and exchanges of one split.
fn shaped(base: &Plan, stages: u32, sequence: u32) -> Vec<Plan> {
    let patches: &[u32] = if stages == 1 { &[1] } else { &[1, 2, 4] };
    let mut plans = Vec::new();
    for ulysses in divisors(sequence) {
        for exchange in exchanges(sequence / ulysses) {
            for times in patches {
                let pipeline = Pipeline {
                    stages,
                    patches: stages * times,
                };
                let pipeline = if stages == 1 {
                    Pipeline::NONE
                } else {
                    pipeline
                };
                plans.push(Plan {
                    ulysses,
                    exchange,
                    pipeline,
                    ..base.clone()
                });
            }
        }
    }
    plans
}

fn exchanges(degree: u32) -> Vec<Exchange> {
    if degree == 1 {
        return vec![Exchange::NONE];
    }
    let grids = divisors(degree).filter(|&rows| rows > 1 && rows < degree);
    let grids = grids.map(|rows| Exchange::Attention2d {
        rows,
        columns: degree / rows,
    });
    let mut all = vec![
        Exchange::Ring(degree),
        Exchange::Gather(degree),
        Exchange::Displaced(degree),
    ];
    all.extend(grids);
    all
}

/// Placements that can differ: ranks fill one island after another, or go round the islands.
///
/// Islands are groups of GPUs that no route tells apart, so other orders within them are the same
/// by symmetry; orders that mix both ways are left out.
fn placements(machine: &Machine, ranks: usize) -> Vec<Vec<DeviceId>> {
    let islands = machine.islands();
    let filled: Vec<DeviceId> = islands.iter().flatten().copied().take(ranks).collect();
    let longest = islands.iter().map(Vec::len).max().unwrap_or(0);
    let round =
        (0..longest).flat_map(|place| islands.iter().filter_map(move |island| island.get(place)));
    let round: Vec<DeviceId> = round.copied().take(ranks).collect();
    if round == filled || islands.len() == machine.gpus.len() {
        vec![filled]
    } else {
        vec![filled, round]
    }
}
