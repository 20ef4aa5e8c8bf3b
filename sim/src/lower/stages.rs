//! The stages of PipeFusion: what each does with a patch, and what it sends on.

use std::ops::Range;

use topologies::{Bytes, CollectiveKind, DeviceId, SimDuration};

use super::classes::Classes;
use super::closed_form::{BlockParts, PassParts};
use super::pass::{BlockTimes, Mode, Pass};
use super::{LowerError, Setup};
use crate::launch;
use crate::plan::{Coordinates, stage_blocks};
use crate::platform::{Message, Reach};
use crate::workload::ELEMENT_BYTES;

/// What one stage does with one patch (or with everything, in warm-up).
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Micro {
    pub(super) gap: SimDuration,
    pub(super) linear: SimDuration,
    pub(super) attention: SimDuration,
    pub(super) elementwise: SimDuration,
    pub(super) messages: SimDuration,
    gpu: SimDuration,
    launch: SimDuration,
}

impl Micro {
    fn time(&self) -> SimDuration {
        self.gap + self.gpu
    }

    /// Adds a block, `share` of it.
    fn add(&mut self, block: &BlockTimes, parts: &BlockParts, share: f64) {
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

pub(super) fn all_lanes(setup: &Setup<'_>) -> Vec<u32> {
    let plan = setup.plan;
    (0..plan.ranks())
        .filter(|&rank| plan.coordinates(rank).stage == 0)
        .collect()
}

/// The ranks of the pipeline that starts at rank `lane`, by stage.
pub(super) fn ranks_of(setup: &Setup<'_>, lane: u32) -> Vec<u32> {
    let at = setup.plan.coordinates(lane);
    let rank = |stage| setup.plan.rank(Coordinates { stage, ..at });
    (0..setup.plan.pipeline.stages).map(rank).collect()
}

/// The stages of a pipeline.
pub(super) struct Stages {
    pub(super) steady: Vec<Micro>,
    pub(super) warm: Vec<Micro>,
    pub(super) patches: u32,
    /// A patch's activation from each stage to the next.
    pub(super) hops: Vec<Message>,
    /// The whole activation, in warm-up.
    pub(super) warm_hops: Vec<Message>,
    /// What each takes alone.
    hop_times: Vec<SimDuration>,
    warm_hop_times: Vec<SimDuration>,
    exposed: PassParts,
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
        let patch_hops = hops(setup, &ranks, u64::from(patches))?;
        let warm_hops = hops(setup, &ranks, 1)?;
        Ok(Self {
            steady: by_stage(&passes.steady, per_micro),
            warm: by_stage(&passes.warm, SimDuration::ZERO),
            patches,
            hop_times: hop_times(setup, &ranks, &patch_hops),
            warm_hop_times: hop_times(setup, &ranks, &warm_hops),
            hops: patch_hops,
            warm_hops,
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
            weights: SimDuration::ZERO,
            codec_doubt: self
                .exposed
                .codec_doubt
                .scaled(patches as f64 / self.steady.len() as f64),
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

/// What each stage does, each by its own pass; the first also embeds, the last projects, and the first
/// pays the stage extra of the software.
fn micros(setup: &Setup<'_>, passes: &[&Pass], per_micro: SimDuration) -> Vec<Micro> {
    let order = &setup.workload.layers.order;
    let ranges = stage_blocks(order.len(), setup.plan.pipeline.stages as usize);
    let exchange = setup.plan.exchange;
    let last = ranges.len() - 1;
    let stage = |(index, range): (usize, &Range<usize>)| {
        let pass = passes[index];
        let mut micro = Micro::default();
        let mut add = |block, share| {
            let block: &BlockTimes = block;
            micro.add(block, &block.parts(exchange, Mode::Steady), share);
        };
        for kind in &order[range.clone()] {
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
        micro.close(per_micro)
    };
    ranges.iter().enumerate().map(stage).collect()
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
    let whole = setup.platform.message(kind, &group, bytes, factors)?;
    let hop = |stage: usize| {
        let ends = ends(setup, ranks, stage);
        // Over several nodes some hops stay inside.
        let message = match whole.reach {
            Reach::Network => setup.platform.message(kind, &ends, bytes, factors)?,
            Reach::Host => whole.clone(),
        };
        let longer = setup.platform.lengthened(&message, &ends);
        Ok(message.lengthened(longer))
    };
    (0..ranks.len()).map(hop).collect()
}

/// The GPUs of a stage and of the one behind it.
fn ends(setup: &Setup<'_>, ranks: &[u32], stage: usize) -> [DeviceId; 2] {
    [stage, stage + 1].map(|at| setup.plan.placement[ranks[at % ranks.len()] as usize])
}

/// What a message takes from each stage to the next. Patches pass between two stages at a time: where links decide, that
/// is one flow, not the ring's.
fn hop_times(setup: &Setup<'_>, ranks: &[u32], hops: &[Message]) -> Vec<SimDuration> {
    let time = |(stage, hop): (usize, &Message)| {
        let [from, to] = ends(setup, ranks, stage);
        let flow = setup.platform.one_flow(hop, from, to);
        flow.map_or(hop.time, |flow| flow.uncontended(&setup.platform.effective))
    };
    hops.iter().enumerate().map(time).collect()
}
