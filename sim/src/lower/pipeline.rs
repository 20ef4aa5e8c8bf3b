//! Tasks of PipeFusion: stages hold consecutive blocks, patches of a step pass through them.
//!
//! ```text
//! stage 0  p0 p1 p2 p3 p0 p1 p2 p3        a patch's next step starts on stage 0 when the last
//! stage 1     p0 p1 p2 p3 p0 p1 p2 p3     stage has finished that patch
//! ```
//! Warm-up steps send the whole latent through the stages, one after another. A message is one flow from stage to
//! stage: where only links are known, it shares them with whatever else uses them.

use topologies::SimDuration;
use traces::timeline::{SpanClass, Stream};

use super::classes::Classes;
use super::emitter::{Spot, TaskEmitter};
use super::stages::{Micro, StagePasses, Stages, all_lanes, lanes, ranks_of};
use super::{LowerError, Setup};
use crate::graph::{TaskGraph, TaskId};
use crate::platform::Message;

/// What the first use of a pipeline's shapes costs per stage on PCIe: two rounds of shape exchange
/// and communicator set-up (docs/calibration.md section 5).
const FIRST_USE: SimDuration = SimDuration::new(60_000_000_000);

/// The tasks of `steps` steps.
pub(super) fn tasks(setup: &Setup<'_>, steps: u32) -> Result<TaskGraph, LowerError> {
    let classes = Classes::new(setup);
    let passes = StagePasses::new(setup, &classes)?;
    let differing = lanes(setup, &classes);
    let stages = |&lane: &u32| Stages::new(setup, lane, &passes);
    let stages: Vec<Stages> = differing.iter().map(stages).collect::<Result<_, _>>()?;
    let mut emitter = TaskEmitter::new(*setup);
    let warmup = setup.warmup().min(steps);
    for (index, lane) in all_lanes(setup).into_iter().enumerate() {
        let stages = &stages[index.min(stages.len() - 1)];
        emit_lane(&mut emitter, stages, lane, warmup, steps);
    }
    Ok(emitter.builder.finish())
}

/// The pipeline that starts at rank `lane` of stage 0.
fn emit_lane(emitter: &mut TaskEmitter<'_>, stages: &Stages, lane: u32, warmup: u32, steps: u32) {
    let setup = emitter.setup;
    let ranks = ranks_of(&setup, lane);
    let mut back: Option<TaskId> = None;
    for step in 0..warmup {
        for _ in 0..setup.forwards() {
            let apart = setup.platform.one_gpu.is_none();
            let extra = if step == 0 && apart && !setup.platform.is_nvlink() {
                FIRST_USE
            } else {
                SimDuration::ZERO
            };
            let micro = |stage: usize| (stages.warm[stage], extra);
            back = emit_patch(emitter, &ranks, micro, &stages.warm_hops, step, back);
        }
    }
    let patches = stages.patches as usize;
    let forwards = setup.forwards() as usize;
    let micros = (steps - warmup) as usize * forwards * patches;
    let mut sent: Vec<Option<TaskId>> = vec![back; patches];
    sent.resize(patches + micros, None);
    for (stage, micro) in slots(ranks.len(), patches, micros) {
        // The micro-step of the same patch before, or this one's on the stage before.
        let from = if stage == 0 { micro } else { micro + patches };
        let step = u32::try_from(micro / (forwards * patches)).expect("few steps");
        let work = (stages.steady[stage], SimDuration::ZERO);
        let arrived = sent[from];
        sent[micro + patches] = emit_stage(
            emitter,
            &ranks,
            (stage, work),
            &stages.hops[stage],
            warmup + step,
            arrived,
        );
    }
}

/// Micro-steps of `stages` stages as (stage, micro-step), slot by slot, later stages first: what a
/// micro-step waits for was sent a slot before. Stages that share a GPU run in this order.
fn slots(stages: usize, patches: usize, micros: usize) -> Vec<(usize, usize)> {
    let mut at = vec![vec![0; micros]; stages];
    for micro in 0..micros {
        for stage in 0..stages {
            let before = |found: Option<usize>| found.map_or(0, |slot: usize| slot + 1);
            let own = before(micro.checked_sub(1).map(|last| at[stage][last]));
            let other = match stage {
                0 => before(micro.checked_sub(patches).map(|last| at[stages - 1][last])),
                _ => before(Some(at[stage - 1][micro])),
            };
            at[stage][micro] = own.max(other);
        }
    }
    let all = (0..stages).flat_map(|stage| (0..micros).map(move |micro| (stage, micro)));
    let mut order: Vec<(usize, usize)> = all.collect();
    order.sort_by_key(|&(stage, micro)| (at[stage][micro], std::cmp::Reverse(stage)));
    order
}

/// Everything through all stages; returns its arrival back at the first.
fn emit_patch(
    emitter: &mut TaskEmitter<'_>,
    ranks: &[u32],
    micro: impl Fn(usize) -> (Micro, SimDuration),
    hops: &[Message],
    step: u32,
    returned: Option<TaskId>,
) -> Option<TaskId> {
    (0..ranks.len()).fold(returned, |arrived, stage| {
        let hop = &hops[stage];
        emit_stage(emitter, ranks, (stage, micro(stage)), hop, step, arrived)
    })
}

/// One stage's work on a patch that has `arrived`; returns its arrival at the next stage.
fn emit_stage(
    emitter: &mut TaskEmitter<'_>,
    ranks: &[u32],
    (stage, (work, extra)): (usize, (Micro, SimDuration)),
    hop: &Message,
    step: u32,
    arrived: Option<TaskId>,
) -> Option<TaskId> {
    let rank = ranks[stage];
    emitter.spot = Spot {
        step,
        layer: u32::try_from(stage).expect("few stages"),
    };
    let arrived: Vec<TaskId> = arrived.into_iter().collect();
    emitter.compute(rank, SpanClass::Launch, work.gap + extra, &arrived);
    emitter.compute(rank, SpanClass::Linear, work.linear, &[]);
    emitter.compute(rank, SpanClass::Attention, work.attention, &[]);
    emitter.compute(rank, SpanClass::Elementwise, work.elementwise, &[]);
    if work.messages > SimDuration::ZERO {
        // Messages inside a stage block it: their time passes on the compute stream's clock.
        let after: Vec<TaskId> = emitter.computed(rank).into_iter().collect();
        let class = SpanClass::Communication;
        let done = emitter.busy(rank, Stream::Communication, class, work.messages, &after);
        let done: Vec<TaskId> = done.into_iter().collect();
        emitter.compute(rank, class, SimDuration::ZERO, &done);
    }
    let next = ranks[(stage + 1) % ranks.len()];
    Some(emitter.send(rank, next, hop))
}

#[cfg(test)]
mod tests {
    use super::slots;

    #[test]
    fn later_stages_come_first_and_what_is_waited_for_before() {
        // Two stages, two patches, two steps: stage 1 works a slot behind stage 0.
        let order = slots(2, 2, 4);
        let expected = [
            (0, 0),
            (1, 0),
            (0, 1),
            (1, 1),
            (0, 2),
            (1, 2),
            (0, 3),
            (1, 3),
        ];
        assert_eq!(order, expected);
        let place = |wanted| order.iter().position(|found| *found == wanted).unwrap();
        for micro in 2..4 {
            assert!(place((0, micro)) > place((1, micro - 2)), "{micro}");
        }
    }
}
