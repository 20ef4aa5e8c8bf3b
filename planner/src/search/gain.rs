//! What the fastest compressed plan gains over the fastest raw one, the loop of its ring told apart from compression.

use sim::plan::{Plan, RingLoop};
use topologies::SimDuration;

use super::{Candidate, Timed};

/// What the fastest compressed plan gains: by the ring loop that it runs in, and by what it sends.
///
/// ```text
/// raw - with = (raw - same_loop) + (same_loop - with)
///               by the loop         by compression
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Gain {
    /// The fastest compressed plan.
    pub with: Timed,
    /// The fastest raw plan with the engine's own loop.
    pub raw: Timed,
    /// The fastest raw plan that may use the loop of the compressed one as well.
    pub same_loop: Timed,
}

impl Gain {
    /// The gain among simulated plans, which come fastest first; none where no plan is compressed, or none raw.
    #[must_use]
    pub fn among(plans: &[Candidate]) -> Option<Self> {
        let fastest = |wanted: &dyn Fn(&Plan) -> bool| {
            let found = plans.iter().find(|one| wanted(&one.plan))?;
            Some(Timed {
                plan: found.plan.clone(),
                latency: found.latency,
            })
        };
        let with = fastest(&|plan| !plan.compression.is_raw())?;
        let raw = |ring_loop| {
            move |plan: &Plan| {
                plan.compression.is_raw() && [RingLoop::Engine, ring_loop].contains(&plan.ring_loop)
            }
        };
        Some(Self {
            raw: fastest(&raw(RingLoop::Engine))?,
            same_loop: fastest(&raw(with.plan.ring_loop))?,
            with,
        })
    }

    /// What the loop saves.
    #[must_use]
    pub fn by_loop(&self) -> SimDuration {
        self.raw.latency.saturating_sub(self.same_loop.latency)
    }

    /// What compression saves, in seconds; negative where it costs.
    #[must_use]
    pub fn by_compression_s(&self) -> f64 {
        self.same_loop.latency.as_secs_f64() - self.with.latency.as_secs_f64()
    }
}
