//! What the comparison of fleets shows, and why one does not do.

use sim::serving::statistics::Estimate;
use thiserror::Error;

use super::Criterion;
use crate::search;

/// Why a size of replica serves nothing.
#[derive(Clone, Debug, PartialEq, Error)]
pub enum NoOffer {
    /// Fewer GPUs are as fast.
    #[error("no plan on {gpus} GPUs beats {strategy}")]
    Idle {
        /// GPUs of the size.
        gpus: u32,
        /// What is fastest there.
        strategy: String,
    },
    /// There is no plan.
    #[error(transparent)]
    NoPlan(Box<search::PlanningError>),
}

/// Why no number of equal replicas keeps the objective.
#[derive(Clone, Debug, PartialEq)]
pub enum Shortfall {
    /// Proved: replicas are too slow even where nobody waits.
    TooSlow {
        /// What is not kept.
        criterion: Criterion,
        /// The slowest shape that it is about.
        shape: String,
        /// How long that takes without waiting, in seconds.
        alone_s: f64,
    },
    /// The load alone takes more GPUs than are looked at.
    Load {
        /// How many at least.
        gpus: u64,
        /// The largest fleet that is looked at.
        most: u32,
    },
    /// The largest fleet of use misses something.
    Misses {
        /// Its GPUs.
        gpus: u32,
        /// What it misses.
        missed: Vec<Missed>,
    },
}

/// A criterion that a fleet does not surely keep.
#[derive(Clone, Debug, PartialEq)]
pub struct Missed {
    /// What is wanted.
    pub criterion: Criterion,
    /// What was found, in seconds.
    pub found: Estimate,
}

/// The proof that a pool is overloaded.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Overloaded {
    /// Its replicas.
    pub replicas: u32,
    /// Replicas that its requests keep busy.
    pub load: f64,
}

/// What the comparison of fleets shows; costs are in what the objective counts.
#[derive(Clone, Debug, PartialEq)]
pub enum Finding {
    /// Pools of their own for different shapes are cheaper than equal replicas.
    PoolsPay {
        /// What the choice costs.
        pools: f64,
        /// What the best fleet of equal replicas costs.
        equal: f64,
    },
    /// No fleet of equal replicas keeps the objective.
    OnlyPools,
    /// Equal replicas are the cheapest.
    EqualReplicas {
        /// Fleets of pools that would cost less, none of which keeps the objective.
        simulated: usize,
        /// Whether more were left out.
        cut: bool,
    },
    /// One replica fewer would keep the objective too.
    FewerKeep,
    /// With services as long as the upper ends of their intervals the objective is kept.
    SlowKeeps,
    /// With these it is missed.
    SlowMisses(Vec<Missed>),
    /// With these the queue grows without end.
    SlowOverloaded,
    /// The 95th percentiles of the closed form and of the simulation, in seconds.
    ClosedForm {
        /// In closed form.
        closed_s: f64,
        /// Simulated.
        simulated_s: f64,
    },
}
