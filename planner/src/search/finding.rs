//! What a comparison of plans shows, as numbers: what levers gain, and where the time goes.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use sim::plan::{Compression, Fidelity, Plan};
use topologies::SimDuration;
use traces::timeline::SpanClass;

use super::Candidate;
use super::gain::Gain;
use super::simulated::WORTH;
use super::tied::CONFIDENCE;
use crate::interval::faster;

/// Differences of at most this are not told: half of a hundredth of a second.
const TOLD: SimDuration = SimDuration::new(5_000_000_000);

/// Time of a kind of work.
type ByClass = (SpanClass, SimDuration);

/// A plan with its latency.
#[derive(Clone, Debug, PartialEq)]
pub struct Timed {
    /// The plan.
    pub plan: Plan,
    /// Its simulated latency.
    pub latency: SimDuration,
}

/// What makes a plan inexact.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lever {
    /// Compressed messages.
    Compression,
    /// Keys and values of the step before.
    Staleness,
}

/// Whether a lever is faster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pays {
    /// With [`CONFIDENCE`] or more.
    Yes,
    /// The evidence does not tell.
    Tie,
    /// The plan without it is, with as much.
    No,
}

impl Pays {
    fn of(probability: f64) -> Self {
        if probability >= CONFIDENCE {
            Self::Yes
        } else if probability <= 1.0 - CONFIDENCE {
            Self::No
        } else {
            Self::Tie
        }
    }
}

/// What the comparison of plans shows.
#[derive(Clone, Debug, PartialEq)]
pub enum Finding {
    /// The fastest plan with a lever, against the fastest without: uncompressed, or exact.
    Lever {
        /// Which.
        lever: Lever,
        /// Whether it is faster.
        pays: Pays,
        /// The probability that it is.
        probability: f64,
        /// The fastest plan with it.
        with: Timed,
        /// The fastest plan without it.
        without: Timed,
    },
    /// What the fastest compressed plan saves, where a part of it is its ring's loop.
    Gain(Box<Gain>),
    /// The choice eager and the choice compiled; what compiling takes at the first start is not in it.
    Compiling {
        /// Eager.
        eager: Timed,
        /// Compiled.
        compiled: Timed,
    },
    /// No plan is faster than one GPU.
    OneGpuIsFastest,
    /// What most of the chosen plan's critical path is.
    CriticalPath {
        /// The kind of work.
        class: SpanClass,
        /// Its fraction of the path.
        share: f64,
    },
    /// The fastest plan with a compressor per layer, against the fastest with one everywhere that keeps the budget too.
    PerLayer {
        /// Latency of the uniform plan over that of the other; more than 1.
        gain: f64,
        /// Whether that is enough to hold up in closed loop, so that layers have compressors of their own.
        holds: bool,
        /// The uniform plan.
        uniform: Timed,
    },
}

impl Timed {
    pub(super) fn of(candidate: &Candidate) -> Self {
        Self {
            plan: candidate.plan.clone(),
            latency: candidate.latency,
        }
    }

    /// How many times as fast this is as `other`.
    #[must_use]
    pub fn gain_over(&self, other: &Self) -> f64 {
        other.latency.as_secs_f64() / self.latency.as_secs_f64()
    }
}

/// The two kinds of work that a critical path has most more of than the best plan's, and how much more.
pub(super) fn why_slower(own: &[ByClass], best: &[ByClass]) -> Vec<ByClass> {
    let of_best: BTreeMap<SpanClass, SimDuration> = best.iter().copied().collect();
    let more = |(class, time): &ByClass| {
        let of_best = of_best.get(class).copied().unwrap_or(SimDuration::ZERO);
        (*class, time.saturating_sub(of_best))
    };
    let mut more: Vec<ByClass> = own.iter().map(more).collect();
    more.retain(|(_, extra)| *extra > TOLD);
    more.sort_by_key(|(class, extra)| (Reverse(*extra), *class));
    more.truncate(2);
    more
}

/// What the comparison shows: whether compression and staleness pay, whether parallelism does, where the time of the best
/// plan goes (`critical`), and what compressors per layer gain. Plans come fastest first.
pub(super) fn findings(
    plans: &[Candidate],
    single: &Candidate,
    critical: &[ByClass],
) -> Vec<Finding> {
    let best = |wanted: &dyn Fn(&Candidate) -> bool| plans.iter().find(|plan| wanted(plan));
    let raw = best(&|plan| plan.plan.compression.is_raw());
    let exact = best(&|plan| plan.plan.fidelity() == Fidelity::Exact);
    let lossy = best(&|plan| plan.plan.fidelity() == Fidelity::Lossy);
    let stale = best(&|plan| plan.plan.fidelity() == Fidelity::Stale);
    let mut found = Vec::new();
    if let (Some(raw), Some(lossy)) = (raw, lossy) {
        found.push(lever(Lever::Compression, lossy, raw));
    }
    let gain = Gain::among(plans).filter(|gain| gain.by_loop() > TOLD);
    found.extend(gain.map(|gain| Finding::Gain(Box::new(gain))));
    if let (Some(exact), Some(stale)) = (exact, stale) {
        found.push(lever(Lever::Staleness, stale, exact));
    }
    if plans
        .first()
        .is_some_and(|first| first.latency >= single.latency)
    {
        found.push(Finding::OneGpuIsFastest);
    }
    if let Some((class, time)) = critical.first() {
        let all: f64 = critical.iter().map(|(_, time)| time.as_secs_f64()).sum();
        found.push(Finding::CriticalPath {
            class: *class,
            share: time.as_secs_f64() / all,
        });
    }
    found.extend(per_layer(plans));
    found
}

fn lever(lever: Lever, with: &Candidate, without: &Candidate) -> Finding {
    let probability = faster(
        (with.latency, &with.uncertainty),
        (without.latency, &without.uncertainty),
    );
    Finding::Lever {
        lever,
        pays: Pays::of(probability),
        probability,
        with: Timed::of(with),
        without: Timed::of(without),
    }
}

/// What compressors per layer gain over one everywhere, within the same budget.
fn per_layer(plans: &[Candidate]) -> Option<Finding> {
    let is_mixed = |plan: &&Candidate| matches!(plan.plan.compression, Compression::Mixed(_));
    let mixed = Timed::of(plans.iter().find(is_mixed)?);
    let uniform = Timed::of(plans.iter().find(|plan| !is_mixed(plan))?);
    let gain = mixed.gain_over(&uniform);
    (gain > 1.0).then_some(Finding::PerLayer {
        gain,
        holds: gain >= WORTH,
        uniform,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_two_largest_differences_say_why() {
        let of = |linear, attention, launch, encode| {
            [
                (SpanClass::Linear, linear),
                (SpanClass::Attention, attention),
                (SpanClass::Launch, launch),
                (SpanClass::Encode, encode),
            ]
            .map(|(class, ms)| (class, SimDuration::from_secs_f64(f64::from(ms) / 1e3)))
        };
        // More by 100, 300 and 200 ms; less by 100 ms.
        let (own, best) = (of(200, 300, 700, 0), of(100, 0, 500, 100));
        let more = why_slower(&own, &best);
        let ms = |ms: u32| SimDuration::from_secs_f64(f64::from(ms) / 1e3);
        assert_eq!(
            more,
            [
                (SpanClass::Attention, ms(300)),
                (SpanClass::Launch, ms(200))
            ]
        );
        // What the best plan has none of counts as a whole; 5 ms are not told, 6 ms are.
        let best = [
            (SpanClass::Linear, ms(195)),
            (SpanClass::Attention, ms(294)),
        ];
        let more = why_slower(&of(200, 300, 0, 0), &best);
        assert_eq!(more, [(SpanClass::Attention, ms(6))]);
        assert!(why_slower(&own, &own).is_empty());
    }
}
