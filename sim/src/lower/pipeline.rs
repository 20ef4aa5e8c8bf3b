//! Tasks of PipeFusion: stages hold consecutive blocks, patches of a step pass through them.
//!
//! ```text
//! stage 0  p0 p1 p2 p3 p0 p1 p2 p3        a patch's next step starts on stage 0 when the last
//! stage 1     p0 p1 p2 p3 p0 p1 p2 p3     stage has finished that patch
//! ```
//! Warm-up steps send the whole latent through the stages, one after another. A message is one flow from stage to
//! stage: where only links are known, it shares them with whatever else uses them.

use topologies::{Bytes, CollectiveKind, DeviceId, SimDuration};
use traces::timeline::{SpanClass, Stream};

use super::closed_form::{BlockParts, PassParts};
use super::pass::{Mode, Pass};
use super::weaver::{Spot, Weaver};
use super::{LowerError, Setup};
use crate::graph::{TaskGraph, TaskId};
use crate::launch;
use crate::plan::Coordinates;
use crate::platform::Message;
use crate::workload::ELEMENT_BYTES;

/// What the first use of a pipeline's shapes costs per stage on PCIe: two rounds of shape exchange
/// and communicator set-up (docs/calibration.md section 5).
const FIRST_USE: SimDuration = SimDuration::new(60_000_000_000);

/// What one stage does with one patch (or with everything, in warm-up).
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Micro {
    gap: SimDuration,
    linear: SimDuration,
    attention: SimDuration,
    elementwise: SimDuration,
    messages: SimDuration,
    gpu: SimDuration,
    launch: SimDuration,
}

impl Micro {
    fn time(&self) -> SimDuration {
        self.gap + self.gpu
    }

    /// Adds a block, `share` of it.
    fn add(&mut self, block: &super::pass::BlockTimes, parts: &BlockParts, share: f64) {
        let compute = &block.compute;
        let exposed: SimDuration = parts.exposed.values().copied().sum();
        self.linear += (compute.before + compute.after).scaled(share);
        self.attention += (compute.attention * u64::from(block.chunks)).scaled(share);
        self.elementwise += compute.elementwise.scaled(share);
        self.messages += exposed.scaled(share);
        self.launch += parts.launch.scaled(share);
    }

    fn close(mut self, launch: SimDuration) -> Self {
        self.launch += launch;
        self.gpu = self.linear + self.attention + self.elementwise + self.messages;
        self.gap = launch::gap(self.gpu, self.launch);
        self
    }
}

/// The stages of a pipeline.
pub(super) struct Stages {
    steady: Vec<Micro>,
    warm: Vec<Micro>,
    patches: u32,
    /// A patch's activation to the next stage.
    hop: Message,
    /// The whole activation, in warm-up.
    warm_hop: Message,
    /// What each takes from every stage of the first pipeline to the next, alone.
    hop_times: Vec<SimDuration>,
    warm_hop_times: Vec<SimDuration>,
    exposed: PassParts,
}

/// How many blocks each stage has: as many as the first, the last takes the rest; as even as
/// possible where that would leave a stage empty.
fn blocks_by_stage(blocks: usize, stages: usize) -> Vec<usize> {
    let most = blocks.div_ceil(stages);
    if most * (stages - 1) < blocks {
        let mut counts = vec![most; stages];
        counts[stages - 1] = blocks - most * (stages - 1);
        return counts;
    }
    (0..stages)
        .map(|stage| blocks / stages + usize::from(stage < blocks % stages))
        .collect()
}

impl Stages {
    pub(super) fn new(setup: &Setup<'_>) -> Result<Self, LowerError> {
        let patches = setup.plan.pipeline.patches;
        let steady = setup.pass(0, u64::from(patches), Mode::Steady, None)?;
        let warm = setup.pass(0, 1, Mode::Synchronous, None)?;
        let per_micro = SimDuration::from_us_f64(
            1000.0 * launch::message_ms::MICRO_STEP * setup.launch_factor(),
        );
        let order = &setup.workload.layers.order;
        let (whole, patch) = (hop(setup, 1)?, hop(setup, u64::from(patches))?);
        Ok(Self {
            steady: micros(setup, &steady, per_micro),
            warm: micros(setup, &warm, SimDuration::ZERO),
            patches,
            hop_times: hop_times(setup, &patch),
            warm_hop_times: hop_times(setup, &whole),
            hop: patch,
            warm_hop: whole,
            exposed: PassParts::of(steady.in_order(order), setup.plan.exchange, Mode::Steady),
        })
    }

    /// A steady forward pass: the slowest stage works all the time, or the pipe is too short.
    pub(super) fn steady_parts(&self) -> PassParts {
        let slowest = self
            .steady
            .iter()
            .max_by_key(|micro| micro.time())
            .expect("a pipeline has stages");
        let patches = u64::from(self.patches);
        let through: SimDuration = self
            .steady
            .iter()
            .zip(&self.hop_times)
            .map(|(micro, hop)| micro.time() + *hop)
            .sum();
        let mut exposed = self.exposed.exposed.clone();
        for time in exposed.values_mut() {
            *time = time.scaled(patches as f64 / self.steady.len() as f64);
        }
        PassParts {
            gpu: slowest.gpu * patches,
            launch: slowest.launch * patches,
            time: (slowest.time() * patches).max(through),
            exposed,
        }
    }

    /// A warm-up forward pass: one stage after another.
    pub(super) fn warm_time(&self) -> SimDuration {
        self.warm
            .iter()
            .zip(&self.warm_hop_times)
            .map(|(micro, hop)| micro.time() + *hop)
            .sum()
    }
}

/// What each stage does; the first also embeds, the last projects, and the first pays the stage
/// extra of the software.
fn micros(setup: &Setup<'_>, pass: &Pass, per_micro: SimDuration) -> Vec<Micro> {
    let order = &setup.workload.layers.order;
    let counts = blocks_by_stage(order.len(), setup.plan.pipeline.stages as usize);
    let exchange = setup.plan.exchange;
    let mut next = 0;
    let last = counts.len() - 1;
    let stage = |(index, count): (usize, &usize)| {
        let mut micro = Micro::default();
        let mut add = |block, share| {
            let block: &super::pass::BlockTimes = block;
            micro.add(block, &block.parts(exchange, Mode::Steady), share);
        };
        for kind in &order[next..next + count] {
            add(&pass.kinds[*kind], 1.0);
        }
        if index == 0 {
            add(&pass.head, 1.0);
            if per_micro > SimDuration::ZERO {
                add(
                    &pass.kinds[order[0]],
                    setup.execution.software.stage_extra(),
                );
            }
        }
        if index == last {
            add(&pass.tail, 1.0);
        }
        next += count;
        micro.close(per_micro)
    };
    counts.iter().enumerate().map(stage).collect()
}

/// A patch's activation on its way to the next stage.
fn hop(setup: &Setup<'_>, patches: u64) -> Result<Message, LowerError> {
    let plan = setup.plan;
    let own = setup
        .workload
        .image_tokens()
        .div_ceil(patches * u64::from(plan.sequence()));
    let bytes = Bytes::new(setup.rows() * own * setup.workload.hidden * ELEMENT_BYTES);
    let factors = &setup.execution.calibration.rates;
    let group = first_pipeline(setup);
    let kind = CollectiveKind::RingPass;
    Ok(setup.platform.message(kind, &group, bytes, factors)?)
}

/// The GPUs of the first pipeline, by stage.
fn first_pipeline(setup: &Setup<'_>) -> Vec<DeviceId> {
    let stages = setup.plan.pipeline.stages;
    setup.group(0, stages, |at: &mut Coordinates, position| {
        at.stage = position
    })
}

/// What a message takes from each stage of the first pipeline to the next. Patches pass between two stages at a
/// time: where links decide, that is one flow, not the ring's.
fn hop_times(setup: &Setup<'_>, message: &Message) -> Vec<SimDuration> {
    let group = first_pipeline(setup);
    let next = group.iter().cycle().skip(1);
    let time = |(&from, &to): (&DeviceId, &DeviceId)| {
        let flow = setup.platform.one_flow(message, from, to);
        let effective = &setup.platform.effective;
        flow.map_or(message.time, |flow| flow.uncontended(effective))
    };
    group.iter().zip(next).map(time).collect()
}

/// The tasks of `steps` steps.
pub(super) fn tasks(setup: &Setup<'_>, steps: u32) -> Result<TaskGraph, LowerError> {
    let stages = Stages::new(setup)?;
    let mut weaver = Weaver::new(*setup);
    let warmup = setup.warmup().min(steps);
    let plan = setup.plan;
    let lanes: Vec<u32> = (0..plan.ranks())
        .filter(|&rank| plan.coordinates(rank).stage == 0)
        .collect();
    for lane in lanes {
        weave_lane(&mut weaver, &stages, lane, warmup, steps);
    }
    Ok(weaver.builder.finish())
}

/// The pipeline that starts at rank `lane` of stage 0.
fn weave_lane(weaver: &mut Weaver<'_>, stages: &Stages, lane: u32, warmup: u32, steps: u32) {
    let setup = weaver.setup;
    let rank = |stage: usize| {
        let at = setup.plan.coordinates(lane);
        setup.plan.rank(Coordinates {
            stage: u32::try_from(stage).expect("few stages"),
            ..at
        })
    };
    let ranks: Vec<u32> = (0..stages.steady.len()).map(rank).collect();
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
            back = weave_patch(weaver, &ranks, micro, &stages.warm_hop, step, back);
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
        sent[micro + patches] = weave_stage(
            weaver,
            &ranks,
            (stage, work),
            &stages.hop,
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
fn weave_patch(
    weaver: &mut Weaver<'_>,
    ranks: &[u32],
    micro: impl Fn(usize) -> (Micro, SimDuration),
    hop: &Message,
    step: u32,
    returned: Option<TaskId>,
) -> Option<TaskId> {
    (0..ranks.len()).fold(returned, |arrived, stage| {
        weave_stage(weaver, ranks, (stage, micro(stage)), hop, step, arrived)
    })
}

/// One stage's work on a patch that has `arrived`; returns its arrival at the next stage.
fn weave_stage(
    weaver: &mut Weaver<'_>,
    ranks: &[u32],
    (stage, (work, extra)): (usize, (Micro, SimDuration)),
    hop: &Message,
    step: u32,
    arrived: Option<TaskId>,
) -> Option<TaskId> {
    let rank = ranks[stage];
    weaver.spot = Spot {
        step,
        layer: u32::try_from(stage).expect("few stages"),
    };
    let arrived: Vec<TaskId> = arrived.into_iter().collect();
    weaver.compute(rank, SpanClass::Launch, work.gap + extra, &arrived);
    weaver.compute(rank, SpanClass::Linear, work.linear, &[]);
    weaver.compute(rank, SpanClass::Attention, work.attention, &[]);
    weaver.compute(rank, SpanClass::Elementwise, work.elementwise, &[]);
    if work.messages > SimDuration::ZERO {
        // Messages inside a stage block it: their time passes on the compute stream's clock.
        let after: Vec<TaskId> = weaver.computed(rank).into_iter().collect();
        let class = SpanClass::Communication;
        let done = weaver.busy(rank, Stream::Communication, class, work.messages, &after);
        let done: Vec<TaskId> = done.into_iter().collect();
        weaver.compute(rank, class, SimDuration::ZERO, &done);
    }
    let next = ranks[(stage + 1) % ranks.len()];
    Some(weaver.send(rank, next, hop))
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
