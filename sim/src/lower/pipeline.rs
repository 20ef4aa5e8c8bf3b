//! Tasks of PipeFusion: stages hold consecutive blocks, patches of a step pass through them.
//!
//! ```text
//! stage 0  p0 p1 p2 p3 p0 p1 p2 p3        a patch's next step starts on stage 0 when the last
//! stage 1     p0 p1 p2 p3 p0 p1 p2 p3     stage has finished that patch
//! ```
//! Warm-up steps send the whole latent through the stages, one after another.

use topologies::{Bytes, CollectiveKind, DeviceId, SimDuration};
use traces::timeline::{SpanClass, Stream};

use super::classes::Classes;
use super::closed_form::{BlockParts, PassParts};
use super::pass::{Mode, Pass};
use super::weaver::{Spot, Weaver};
use super::{LowerError, Setup};
use crate::graph::{TaskGraph, TaskId};
use crate::launch;
use crate::plan::Coordinates;
use crate::platform::{Message, Timing};
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

/// The passes of each class of ranks: of a patch, and of everything in warm-up.
pub(super) struct StagePasses<'a> {
    classes: &'a Classes,
    steady: Vec<Pass>,
    warm: Vec<Pass>,
}

impl<'a> StagePasses<'a> {
    pub(super) fn new(setup: &Setup<'_>, classes: &'a Classes) -> Result<Self, LowerError> {
        let patches = u64::from(setup.plan.pipeline.patches);
        let of = |patches, mode| {
            let pass = |&lead: &u32| setup.of(lead).pass(patches, mode, None);
            classes.leads.iter().map(pass).collect::<Result<_, _>>()
        };
        Ok(Self {
            classes,
            steady: of(patches, Mode::Steady)?,
            warm: of(1, Mode::Synchronous)?,
        })
    }
}

/// The ranks of stage 0 whose pipelines differ: the first one where all ranks are alike.
pub(super) fn lanes(setup: &Setup<'_>, classes: &Classes) -> Vec<u32> {
    let all = all_lanes(setup);
    let kept = if classes.leads.len() == 1 {
        1
    } else {
        all.len()
    };
    all[..kept].to_vec()
}

fn all_lanes(setup: &Setup<'_>) -> Vec<u32> {
    let plan = setup.plan;
    (0..plan.ranks())
        .filter(|&rank| plan.coordinates(rank).stage == 0)
        .collect()
}

/// The ranks of the pipeline that starts at rank `lane`, by stage.
fn ranks_of(setup: &Setup<'_>, lane: u32) -> Vec<u32> {
    let at = setup.plan.coordinates(lane);
    let rank = |stage| setup.plan.rank(Coordinates { stage, ..at });
    (0..setup.plan.pipeline.stages).map(rank).collect()
}

/// The stages of a pipeline.
pub(super) struct Stages {
    steady: Vec<Micro>,
    warm: Vec<Micro>,
    patches: u32,
    /// A patch's activation from each stage to the next.
    hops: Vec<Message>,
    /// The whole activation, in warm-up.
    warm_hops: Vec<Message>,
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
    /// The stages of the pipeline that starts at rank `lane`.
    pub(super) fn new(
        setup: &Setup<'_>,
        lane: u32,
        passes: &StagePasses<'_>,
    ) -> Result<Self, LowerError> {
        let patches = setup.plan.pipeline.patches;
        let per_micro = SimDuration::from_us_f64(
            1000.0 * launch::message_ms::MICRO_STEP * setup.launch_factor(),
        );
        let order = &setup.workload.layers.order;
        let ranks = ranks_of(setup, lane);
        let by_stage = |of_class: &'_ [Pass], per_micro| {
            let pass = |&rank: &u32| &of_class[passes.classes.of(rank)];
            micros(
                setup,
                &ranks.iter().map(pass).collect::<Vec<_>>(),
                per_micro,
            )
        };
        let first = &passes.steady[passes.classes.of(lane)];
        Ok(Self {
            steady: by_stage(&passes.steady, per_micro),
            warm: by_stage(&passes.warm, SimDuration::ZERO),
            patches,
            hops: hops(setup, &ranks, u64::from(patches))?,
            warm_hops: hops(setup, &ranks, 1)?,
            exposed: PassParts::of(first.in_order(order), setup.plan.exchange, Mode::Steady),
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
            .zip(&self.hops)
            .map(|(micro, hop)| micro.time() + hop.time)
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
            .zip(&self.warm_hops)
            .map(|(micro, hop)| micro.time() + hop.time)
            .sum()
    }
}

/// What each stage does, each by its own pass; the first also embeds, the last projects, and the first
/// pays the stage extra of the software.
fn micros(setup: &Setup<'_>, passes: &[&Pass], per_micro: SimDuration) -> Vec<Micro> {
    let order = &setup.workload.layers.order;
    let counts = blocks_by_stage(order.len(), setup.plan.pipeline.stages as usize);
    let exchange = setup.plan.exchange;
    let mut next = 0;
    let last = counts.len() - 1;
    let stage = |(index, count): (usize, &usize)| {
        let pass = passes[index];
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

/// A patch's activation on its way from each stage to the next.
fn hops(setup: &Setup<'_>, ranks: &[u32], patches: u64) -> Result<Vec<Message>, LowerError> {
    let plan = setup.plan;
    let own = setup
        .workload
        .image_tokens()
        .div_ceil(patches * u64::from(plan.sequence()));
    let bytes = Bytes::new(setup.rows() * own * setup.workload.hidden * ELEMENT_BYTES);
    let stages = plan.pipeline.stages;
    let group: Vec<DeviceId> = setup.group_of(0, stages, |at: &mut Coordinates, position| {
        at.stage = position
    });
    let factors = &setup.execution.calibration.rates;
    let kind = CollectiveKind::RingPass;
    let mut message = setup.platform.message(kind, &group, bytes, factors)?;
    // Patches pass between two stages at a time: the flows of a whole ring do not run at once.
    message.timing = Timing::Fixed;
    let device = |stage: usize| plan.placement[ranks[stage % ranks.len()] as usize];
    let hop = |stage: usize| {
        let ends = [device(stage), device(stage + 1)];
        let longer = setup.platform.lengthened(kind, &ends, bytes);
        message.clone().lengthened(longer)
    };
    Ok((0..ranks.len()).map(hop).collect())
}

/// The tasks of `steps` steps.
pub(super) fn tasks(setup: &Setup<'_>, steps: u32) -> Result<TaskGraph, LowerError> {
    let classes = Classes::new(setup);
    let passes = StagePasses::new(setup, &classes)?;
    let differing = lanes(setup, &classes);
    let stages = |&lane: &u32| Stages::new(setup, lane, &passes);
    let stages: Vec<Stages> = differing.iter().map(stages).collect::<Result<_, _>>()?;
    let mut weaver = Weaver::new(*setup);
    let warmup = setup.warmup().min(steps);
    for (index, lane) in all_lanes(setup).into_iter().enumerate() {
        let stages = &stages[index.min(stages.len() - 1)];
        weave_lane(&mut weaver, stages, lane, warmup, steps);
    }
    Ok(weaver.builder.finish())
}

/// The pipeline that starts at rank `lane` of stage 0.
fn weave_lane(weaver: &mut Weaver<'_>, stages: &Stages, lane: u32, warmup: u32, steps: u32) {
    let setup = weaver.setup;
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
            back = weave_patch(weaver, &ranks, micro, &stages.warm_hops, step, back);
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
fn weave_patch(
    weaver: &mut Weaver<'_>,
    ranks: &[u32],
    micro: impl Fn(usize) -> (Micro, SimDuration),
    hops: &[Message],
    step: u32,
    returned: Option<TaskId>,
) -> Option<TaskId> {
    (0..ranks.len()).fold(returned, |arrived, stage| {
        let hop = &hops[stage];
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
