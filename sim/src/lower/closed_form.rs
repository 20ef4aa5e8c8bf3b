//! A plan's time in closed form: the simulated time when no message waits for another's links.
//!
//! ```text
//! block  = combine(G, C),  G = before + encode + messages + attention + after + elementwise
//! ring   = (r-1) (max(c, t) + i min(c, t) + sync + decode + merge) + c
//! step   = sum of blocks;      displaced step = max(sum of blocks, sum of gathers)
//! pipeline step = max(M t_slowest, sum over stages of (t + hop))
//! ```
//! Where ranks differ, of those whose time is the longest: no run is shorter than the work of one rank.

use std::collections::BTreeMap;

use topologies::{CollectiveKind, SimDuration};

use super::classes::Classes;
use super::pass::{BlockTimes, Mode, Pass, Passes};
use super::stages::{self, StagePasses, Stages};
use super::{LowerError, Setup};
use crate::launch;
use crate::plan::Exchange;
use crate::platform::{Message, Reach};

/// The terms of a plan's time.
#[derive(Clone, Debug, PartialEq)]
pub struct Parts {
    /// All phases: a lower bound on the simulated latency.
    pub total: SimDuration,
    /// Phases outside the denoising loop.
    pub fixed: SimDuration,
    /// GPU time of a steady forward pass (of the last phase), exposed messages included, launch gaps not.
    pub gpu: SimDuration,
    /// Launch time of a steady forward pass.
    pub launch: SimDuration,
    /// Exposed time of messages in a steady forward pass (of gathers that hide behind compute: their
    /// whole time), by kind and reach.
    pub exposed: BTreeMap<(CollectiveKind, Reach), SimDuration>,
    /// What fetching weights adds to a steady forward pass.
    pub weights: SimDuration,
    /// What encoding and decoding of a steady forward pass may be off by: their times by the half-width of their interval.
    pub codec_doubt: SimDuration,
}

/// The terms of one block.
#[derive(Clone, Debug, Default)]
pub(super) struct BlockParts {
    pub gpu: SimDuration,
    pub launch: SimDuration,
    /// GPU time and the gap that launching leaves.
    pub time: SimDuration,
    /// Messages beside compute: of displaced gathers.
    pub hidden: SimDuration,
    pub exposed: BTreeMap<(CollectiveKind, Reach), SimDuration>,
    /// Encoding and decoding.
    pub codec: SimDuration,
    /// What fetching its weights adds.
    pub weights: SimDuration,
}

impl BlockParts {
    fn decode(&mut self, time: SimDuration) {
        self.codec += time;
        self.gpu += time;
    }

    fn expose(&mut self, kind: CollectiveKind, message: &Message, time: SimDuration) {
        *self.exposed.entry((kind, message.reach)).or_default() += time;
        self.gpu += time;
    }
}

impl BlockTimes {
    /// What compute and a message that run side by side cost each other.
    pub(super) fn beside(&self, compute: SimDuration, message: SimDuration) -> SimDuration {
        compute.min(message).scaled(self.interference)
    }

    /// The launch gap before this block, and its time with the gap, without its weights' fetch.
    pub(super) fn gap_and_time(
        &self,
        exchange: Exchange,
        mode: Mode,
    ) -> (SimDuration, SimDuration) {
        let parts = self.parts(exchange, mode);
        (
            launch::gap(parts.gpu, parts.launch),
            parts.time - parts.weights,
        )
    }

    /// This block in closed form.
    pub(super) fn parts(&self, exchange: Exchange, mode: Mode) -> BlockParts {
        let compute = &self.compute;
        let mut parts = BlockParts {
            launch: self.launch,
            ..BlockParts::default()
        };
        parts.gpu = compute.before + self.encode + self.skew + compute.after + compute.elementwise;
        parts.codec = self.encode + self.skew;
        if let Some((inward, outward)) = &self.ulysses {
            parts.expose(CollectiveKind::AllToAll, inward, inward.time);
            parts.expose(CollectiveKind::AllToAll, outward, outward.time);
        }
        self.add_exchange(&mut parts, exchange, mode);
        for message in &self.reduce {
            parts.expose(CollectiveKind::AllReduce, message, message.time);
        }
        let alone = launch::combine(parts.gpu, parts.launch);
        parts.time = self.fetch.map_or(alone, |fetch| fetch.with(alone));
        parts.weights = parts.time - alone;
        parts
    }

    fn add_exchange(&self, parts: &mut BlockParts, exchange: Exchange, mode: Mode) {
        let chunk = self.compute.attention;
        parts.gpu += chunk * u64::from(self.chunks);
        match (exchange, self.exchange.first()) {
            (_, None) => parts.decode(self.decode),
            (Exchange::Ring(_), Some(hop)) => {
                let beside = hop.time.max(chunk) - chunk + self.beside(chunk, hop.time) + self.sync;
                let hops = u64::from(self.chunks - 1);
                parts.expose(CollectiveKind::RingPass, hop, beside * hops);
                parts.decode(self.decode * hops);
                parts.gpu += self.merge_time * hops;
            }
            (Exchange::Displaced(_), Some(gather)) if mode == Mode::Steady => {
                let key = (CollectiveKind::AllGather, gather.reach);
                parts.exposed.insert(key, gather.time);
                parts.hidden = gather.time;
                parts.gpu += self.beside(parts.gpu, gather.time);
            }
            _ => {
                for gather in &self.exchange {
                    parts.expose(CollectiveKind::AllGather, gather, gather.time);
                }
                if let Some(merge) = &self.merge {
                    parts.expose(CollectiveKind::AllToAll, merge, merge.time);
                }
                parts.decode(self.decode);
            }
        }
    }
}

/// A forward pass in closed form.
#[derive(Clone, Debug, Default)]
pub(super) struct PassParts {
    pub gpu: SimDuration,
    pub launch: SimDuration,
    pub time: SimDuration,
    pub exposed: BTreeMap<(CollectiveKind, Reach), SimDuration>,
    /// What encoding and decoding may be off by.
    pub codec_doubt: SimDuration,
    /// What fetching weights adds.
    pub weights: SimDuration,
}

impl Pass {
    /// Times of the blocks in execution order, head and tail included.
    pub(super) fn in_order<'a>(
        &'a self,
        order: &'a [usize],
    ) -> impl Iterator<Item = &'a BlockTimes> {
        let kinds = order.iter().map(|kind| &self.kinds[*kind]);
        std::iter::once(&self.head)
            .chain(kinds)
            .chain(std::iter::once(&self.tail))
    }
}

impl PassParts {
    /// The terms of the pass that these blocks make.
    pub(super) fn of<'a>(
        blocks: impl Iterator<Item = &'a BlockTimes>,
        exchange: Exchange,
        mode: Mode,
    ) -> Self {
        let mut sum = Self::default();
        let mut hidden = SimDuration::ZERO;
        for block in blocks {
            let parts = block.parts(exchange, mode);
            sum.gpu += parts.gpu;
            sum.launch += parts.launch;
            sum.time += parts.time;
            sum.codec_doubt += parts.codec.scaled(block.codec_doubt);
            sum.weights += parts.weights;
            hidden += parts.hidden;
            for (key, time) in parts.exposed {
                *sum.exposed.entry(key).or_default() += time;
            }
        }
        sum.time = sum.time.max(hidden);
        sum
    }
}

/// The terms of a plan: of the ranks (of a pipeline: of the lane) that take longest.
pub(super) fn parts(setup: &Setup<'_>) -> Result<Parts, LowerError> {
    let classes = Classes::new(setup);
    let fixed = {
        let phases = setup.phases();
        phases.encode + phases.shared_decode(setup.plan.vae)
    };
    let each: Vec<Parts> = if setup.plan.pipeline.stages > 1 {
        let lanes = stages::lanes(setup, &classes);
        let passes = StagePasses::new(setup, &classes)?;
        let lane = |&lane: &u32| {
            let stages = Stages::new(setup, lane, &passes)?;
            Ok(pipeline_parts(setup, &stages, fixed))
        };
        lanes.iter().map(lane).collect::<Result<_, LowerError>>()?
    } else {
        let class = |&lead: &u32| rank_parts(&setup.of(lead), fixed);
        let leads = classes.leads.iter();
        leads.map(class).collect::<Result<_, LowerError>>()?
    };
    let slowest = each.into_iter().reduce(|slowest, other| {
        if other.total > slowest.total {
            other
        } else {
            slowest
        }
    });
    Ok(slowest.expect("a plan has ranks"))
}

fn with_denoising(fixed: SimDuration, denoise: SimDuration, last: PassParts) -> Parts {
    Parts {
        total: fixed + denoise,
        fixed,
        gpu: last.gpu,
        launch: last.launch,
        exposed: last.exposed,
        codec_doubt: last.codec_doubt,
        weights: last.weights,
    }
}

fn pipeline_parts(setup: &Setup<'_>, stages: &Stages, fixed: SimDuration) -> Parts {
    let steps = setup.workload.request.steps;
    let forwards = u64::from(setup.forwards());
    let warmup = setup.warmup().min(steps);
    let steady = stages.steady_parts();
    let denoise = stages.warm_time() * (forwards * u64::from(warmup))
        + steady.time * (forwards * u64::from(steps - warmup));
    with_denoising(fixed, denoise, steady)
}

fn rank_parts(setup: &Setup<'_>, fixed: SimDuration) -> Result<Parts, LowerError> {
    let exchange = setup.plan.exchange;
    let forwards = u64::from(setup.forwards());
    let warmup = setup.warmup().min(setup.workload.request.steps);
    let passes = Passes::new(setup)?;
    let parts = |step, mode| PassParts::of(passes.blocks(setup, step, mode), exchange, mode);
    let mut denoise = parts(0, Mode::Synchronous).time * (forwards * u64::from(warmup));
    let mut last = PassParts::default();
    for (first, steps) in steady_phases(setup) {
        last = parts(first, Mode::Steady);
        denoise += last.time * (forwards * u64::from(steps));
    }
    Ok(with_denoising(fixed, denoise, last))
}

/// The phases that steady steps fall in: a step of each, and how many there are. One phase at least,
/// of no steps where all are warm-up.
pub(super) fn steady_phases(setup: &Setup<'_>) -> Vec<(u32, u32)> {
    let steps = setup.workload.request.steps;
    let warmup = setup.warmup().min(steps);
    let starts = setup.plan.compression.phase_starts();
    let ends = starts.iter().skip(1).copied().chain([u32::MAX]);
    let within = starts.iter().zip(ends).map(|(&start, end)| {
        let (first, end) = (start.max(warmup), end.min(steps));
        (first, end.saturating_sub(first))
    });
    let phases: Vec<_> = within.filter(|&(_, steps)| steps > 0).collect();
    if phases.is_empty() {
        vec![(warmup, 0)]
    } else {
        phases
    }
}

/// Time of one steady forward pass by layer and option.
pub(super) fn layer_times(
    setup: &Setup<'_>,
    options: &[Option<kernels::Compressor>],
) -> Result<Vec<Vec<SimDuration>>, LowerError> {
    let exchange = setup.plan.exchange;
    let order = &setup.workload.layers.order;
    let mut times = vec![Vec::with_capacity(options.len()); order.len()];
    for &option in options {
        let pass = setup.pass(1, Mode::Steady, option)?;
        for (layer, kind) in order.iter().enumerate() {
            let parts = pass.kinds[*kind].parts(exchange, Mode::Steady);
            times[layer].push(parts.time);
        }
    }
    Ok(times)
}
