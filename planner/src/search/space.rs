//! The space of plans: every legal mix of degrees, exchanges, patches and compressors.

use std::collections::{BTreeMap, BTreeSet};

use kernels::Compressor;
use sim::plan::{Compression, Exchange, Pipeline, Plan, Precision, RingLoop};
use sim::workload::Workload;
use topologies::{DeviceId, Machine};

use super::assigned::Assigned;
use super::evaluator::Evaluator;
use super::{Question, Rejected};

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

/// Warm-ups of pipelines that can win, or that quality was published for.
const PIPELINE_WARMUPS: [u32; 3] = [0, 1, 4];

/// Patches of a pipeline for each of its stages.
const PATCHES: [u32; 3] = [1, 2, 4];

/// What the plans of a space are made of: every product that is legal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SearchedSpace {
    /// Ranks, at most.
    pub gpus: u32,
    /// Orders in which ranks take all of them.
    pub orders: usize,
    /// Patches of a pipeline for each of its stages.
    pub patches_per_stage: Vec<u32>,
    /// Warm-up steps of pipelines.
    pub pipeline_warmups: Vec<u32>,
    /// Warm-up steps of other plans that are stale or compressed.
    pub warmup: u32,
    /// Ranks that decode together, at most; plans with fewer are slower.
    pub decoders: u32,
    /// Compressors that all layers have alike, besides none.
    pub compressors: Vec<Compressor>,
    /// Whether each layer has its own too, under a budget and a trace.
    pub per_layer: bool,
    /// Precisions of products and weights.
    pub precisions: Vec<Precision>,
}

impl SearchedSpace {
    pub(super) fn of(evaluator: &Evaluator<'_>) -> Self {
        let question = evaluator.question;
        let steps = evaluator.workload.request.steps;
        Self {
            gpus: evaluator.gpus,
            orders: Orders::new(evaluator)
                .placements(evaluator.gpus as usize)
                .len(),
            patches_per_stage: PATCHES.to_vec(),
            pipeline_warmups: pipeline_warmups(steps),
            warmup: WARMUP.min(steps),
            decoders: question.engine.decoders(question.model, evaluator.gpus),
            compressors: compressors(question),
            per_layer: question.quality.is_some(),
            precisions: evaluator.precisions(),
        }
    }
}

/// Uniform plans use what the question's trace was replayed with, else what has published behaviour.
fn compressors(question: &Question) -> Vec<Compressor> {
    question.quality.as_ref().map_or_else(
        || COMPRESSORS.to_vec(),
        |quality| quality.model.compressors(),
    )
}

fn pipeline_warmups(steps: u32) -> Vec<u32> {
    let mut warmups = PIPELINE_WARMUPS.map(|warmup| warmup.min(steps)).to_vec();
    warmups.dedup();
    warmups
}

/// Every legal plan on up to `gpus` GPUs, and why the others are not, one example for each reason.
pub(super) struct Space {
    pub legal: Vec<Plan>,
    pub illegal: Vec<Rejected>,
    /// Compressors per layer, by layout, where a budget and a trace are given.
    pub assigned: Vec<Assigned>,
}

fn divisors(n: u32) -> impl Iterator<Item = u32> {
    (1..=n).filter(move |degree| n.is_multiple_of(*degree))
}

impl Space {
    /// The space of the evaluator's question.
    pub(super) fn new(evaluator: &Evaluator<'_>) -> Self {
        let gpus = evaluator.gpus;
        let orders = Orders::new(evaluator);
        let compressors = compressors(evaluator.question);
        let mut space = Self {
            legal: Vec::new(),
            illegal: Vec::new(),
            assigned: Vec::new(),
        };
        let mut reasons = BTreeSet::new();
        let precisions = evaluator.precisions();
        let plans = layouts(gpus).into_iter();
        let plans = plans.flat_map(|plan| finished(plan, evaluator));
        for plan in plans.flat_map(|plan| in_each(plan, &precisions)) {
            match evaluator.check(&plan) {
                Ok(()) => space.add_variants(evaluator, &plan, &orders, &compressors),
                Err(reason) => {
                    if reasons.insert(reason.to_string()) {
                        space.illegal.push(Rejected::new(plan.strategy(), reason));
                    }
                }
            }
        }
        space
    }

    /// The plan on every placement that differs, raw and with every compressor. Only CompactFusion compresses rings, in a
    /// loop of its own: such a ring is raw in that loop too, so that what the loop gains is not taken for compression.
    fn add_variants(
        &mut self,
        evaluator: &Evaluator<'_>,
        plan: &Plan,
        orders: &Orders<'_>,
        compressors: &[Compressor],
    ) {
        let fused = Plan {
            ring_loop: if plan.has_ring() {
                RingLoop::Fused
            } else {
                RingLoop::Engine
            },
            ..plan.clone()
        };
        // Who quantises products compresses no messages.
        let compressors = match plan.execution.precision {
            Precision::Bf16 => compressors,
            _ => &[],
        };
        let compressed = compressors.iter().map(|&compressor| {
            let compression = Compression::Uniform(compressor);
            warmed(
                Plan {
                    compression,
                    ..fused.clone()
                },
                &evaluator.workload,
            )
        });
        // Before they are placed: of GPUs that are left, the last may be counted higher than there are.
        let legal = |plan: &Plan| evaluator.check_on(plan, orders.filled.len()).is_ok();
        let compressed: Vec<Plan> = compressed.filter(legal).collect();
        let fused = (plan.has_ring() && !compressed.is_empty()).then_some(&fused);
        for placement in orders.placements(plan.ranks() as usize) {
            let variants = compressed.iter().chain(fused).chain([plan]);
            self.legal
                .extend(variants.map(|plan| plan.clone().placed(placement.clone())));
        }
    }
}

/// The plan in each precision.
fn in_each(plan: Plan, precisions: &[Precision]) -> Vec<Plan> {
    let with = |&precision: &Precision| {
        let mut plan = plan.clone();
        plan.execution.precision = precision;
        plan
    };
    precisions.iter().map(with).collect()
}

/// Warm-up follows from the rest.
fn warmed(mut plan: Plan, workload: &Workload) -> Plan {
    plan.warmup = match plan.warms_up() {
        true => WARMUP.min(workload.request.steps),
        false => 0,
    };
    plan
}

/// The plan with the warm-ups and the decoding that can win.
///
/// * A pipeline's warm-up is a flag, of which 0 to 4 are used. The steps after it are alike, so latency rises or falls
///   with it throughout: 0 and 4 are its ends, and 1 is what quality was published for. Of other plans CompactFusion's
///   settings have one.
/// * Decoding on more ranks is never slower and never larger, so the engine's most are the only ones. A filter by
///   strategy names the ranks that decode: none is one.
fn finished(plan: Plan, evaluator: &Evaluator<'_>) -> Vec<Plan> {
    let question = evaluator.question;
    let steps = evaluator.workload.request.steps;
    let most = question.engine.decoders(question.model, plan.ranks());
    let decoders = match question.filter.strategy {
        Some(_) if most > 1 => vec![1, most],
        _ => vec![most],
    };
    let warmups = match plan.pipeline.stages {
        1 => vec![warmed(plan.clone(), &evaluator.workload).warmup],
        _ => pipeline_warmups(steps),
    };
    let with = |warmup: u32| {
        let plan = &plan;
        decoders.iter().map(move |&vae| Plan {
            warmup,
            vae,
            ..plan.clone()
        })
    };
    warmups.into_iter().flat_map(with).collect()
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
    let patches: &[u32] = if stages == 1 { &[1] } else { &PATCHES };
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

/// The orders in which ranks may take GPUs.
///
/// Islands are groups of GPUs that no route tells apart, so other orders within them are the same
/// by symmetry; orders that mix both ways are left out. Nodes follow one another, so that the inner dimensions of a
/// plan, which exchange most, stay inside: tensor and Ulysses groups, then rings, then pipelines, guidance, data.
struct Orders<'a> {
    /// One island after another.
    filled: Vec<DeviceId>,
    /// Round the islands of each node; none where each is a single GPU.
    round: Option<Vec<DeviceId>>,
    machine: &'a Machine,
    /// Where some GPUs or their links are slower: those last. Plans on fewer GPUs leave them out, and of
    /// pipelines they are the last stage, which has the fewest blocks.
    healthy_first: Option<Vec<DeviceId>>,
}

impl<'a> Orders<'a> {
    fn new(evaluator: &'a Evaluator<'_>) -> Self {
        let (machine, condition) = (&evaluator.question.machine, &evaluator.condition);
        // Those that may be used: the first that are left; of several nodes any, for how many is bounded by the plans.
        let several = machine.nodes().len() > 1;
        let most = if several {
            usize::MAX
        } else {
            evaluator.gpus as usize
        };
        let may: BTreeSet<DeviceId> = condition.left(machine).into_iter().take(most).collect();
        let left = |island: Vec<DeviceId>| -> Vec<DeviceId> {
            island.into_iter().filter(|gpu| may.contains(gpu)).collect()
        };
        let mut islands: Vec<Vec<DeviceId>> = machine.islands().into_iter().map(left).collect();
        islands.retain(|island| !island.is_empty());
        let islands = by_node(islands, |gpu| machine.node_of(gpu));
        let filled: Vec<DeviceId> = islands.iter().flatten().flatten().copied().collect();
        let round_of = |node: &Vec<Vec<DeviceId>>| {
            let longest = node.iter().map(Vec::len).max().unwrap_or(0);
            let at = |place| {
                node.iter()
                    .filter_map(move |island| island.get(place).copied())
            };
            (0..longest).flat_map(at).collect::<Vec<DeviceId>>()
        };
        let count: usize = islands.iter().map(Vec::len).sum();
        let round = (count < filled.len()).then(|| islands.iter().flat_map(round_of).collect());
        let health = |gpu: &DeviceId| condition.health(machine, *gpu);
        let mut healthy_first = filled.clone();
        healthy_first.sort_by(|a, b| health(b).total_cmp(&health(a)));
        Self {
            healthy_first: (healthy_first != filled).then_some(healthy_first),
            round,
            filled,
            machine,
        }
    }

    /// Placements of `ranks` ranks that differ.
    fn placements(&self, ranks: usize) -> Vec<Vec<DeviceId>> {
        let others = [&self.round, &self.healthy_first].into_iter().flatten();
        let orders = std::iter::once(&self.filled).chain(others);
        let mut all = vec![self.machine.evenly(&self.filled, ranks)];
        for placement in orders.map(|order| order[..ranks].to_vec()) {
            if !all.contains(&placement) {
                all.push(placement);
            }
        }
        all
    }
}

/// Islands of each node, in the order of their first GPUs; an island of several nodes is one of each.
fn by_node(
    islands: Vec<Vec<DeviceId>>,
    node_of: impl Fn(DeviceId) -> usize,
) -> Vec<Vec<Vec<DeviceId>>> {
    let mut nodes: BTreeMap<usize, Vec<Vec<DeviceId>>> = BTreeMap::new();
    for island in islands {
        for part in island.chunk_by(|a, b| node_of(*a) == node_of(*b)) {
            nodes
                .entry(node_of(part[0]))
                .or_default()
                .push(part.to_vec());
        }
    }
    nodes.into_values().collect()
}

#[cfg(test)]
mod tests;
