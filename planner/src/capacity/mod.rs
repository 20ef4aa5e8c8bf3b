//! How many GPUs a rate of requests needs, and how they should be split into replicas.
//!
//! ```text
//! model, machines ─▶ offers: a plan on 1, 2, 4 ... GPUs, its service time of every shape
//!                       │
//!      bounds: load, idle latency ─▶ fewest replicas of each offer ─▶ one pool for all shapes (uniform)
//!                       │                                             │ must be beaten
//!                       └▶ pools for some shapes each ─▶ additive use of the objective ─▶ mixes, cheapest first
//!                                                                     ▼
//!                               simulated: latencies, intervals, saturation, curve, queue ─▶ Answer
//! ```
//!
//! Guarantees:
//! 1. Every fleet, at every rate, gets the same requests (common random numbers, `sim::serving`).
//! 2. A fleet is chosen only if it keeps the objective with the upper ends of its 95 % intervals.
//! 3. A number of replicas is left out without simulation only where the load or the latency of an idle
//!    replica proves that it fails; recorded streams end, so that no load proves anything there.
//! 4. The same question has the same answer at any number of threads.
//!
//! Not modelled: see docs/capacity.md.

mod answer;
mod choose;
mod fleet;
mod measure;
mod offer;
mod partition;
mod queue;
mod reason;
pub mod recorded;
pub mod slo;

use indicatif::ProgressBar;
use sim::model::{Model, Request};
use sim::serving::statistics::Estimate;
use sim::serving::{Failures, Rate, Routing, Source};
use thiserror::Error;
use topologies::Machine;

pub use self::measure::Measured;
pub use self::offer::Offer;
pub use self::reason::{Finding, Missed, NoOffer, Overloaded, Shortfall};
pub use self::slo::{Criterion, Slo, SloError, Statistic};
use crate::search;

/// What is asked.
#[derive(Clone, Debug)]
pub struct Question {
    /// What is asked for: names, shares and requests, in the order of the source's shapes.
    pub shapes: Vec<Shape>,
    /// What can be rented.
    pub markets: Vec<Market>,
    /// When requests come.
    pub source: Source,
    /// What must be kept.
    pub slo: Slo,
    /// How requests are served.
    pub rules: Rules,
    /// What is to be small.
    pub objective: Objective,
    /// Independent runs of a fleet.
    pub replications: u32,
    /// Where random numbers start.
    pub seed: u64,
    /// The largest fleet that is looked at.
    pub most_gpus: u32,
}

/// A kind of request.
#[derive(Clone, Debug, PartialEq)]
pub struct Shape {
    /// As it was written: `1280x720x81@50`.
    pub name: String,
    /// Its share of all requests.
    pub share: f64,
    /// What it asks of the model.
    pub request: Request,
}

/// A machine that can be had as often as needed.
#[derive(Clone, Debug)]
pub struct Market {
    /// The planner's question for each shape, on all GPUs of the machine.
    pub questions: Vec<search::Question>,
    /// US dollars for a GPU and hour, where known.
    pub price: Option<f64>,
    /// Where the price is from.
    pub price_source: String,
}

impl Market {
    /// The model that is served.
    #[must_use]
    pub fn model(&self) -> &'static Model {
        self.questions[0].model
    }

    /// The machine.
    #[must_use]
    pub fn machine(&self) -> &Machine {
        &self.questions[0].machine
    }
}

/// How requests are served.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rules {
    /// Who is next, and where.
    pub routing: Routing,
    /// The most requests of one shape that a replica serves together.
    pub batch: u32,
    /// How replicas fail.
    pub failures: Option<Failures>,
    /// Spare replicas of each pool.
    pub spares: u32,
}

/// What is to be small.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Objective {
    /// GPUs.
    Gpus,
    /// Dollars an hour.
    Dollars,
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Error)]
pub enum CapacityError {
    /// A price is missing.
    #[error("no price of {gpu} is known: give --price {gpu}=DOLLARS/h, or minimise GPUs")]
    NoPrice {
        /// Which GPU.
        gpu: String,
    },
    /// A shape fits nowhere.
    #[error("{shape} can be served by no plan: {reason}")]
    NoOffer {
        /// The shape.
        shape: String,
        /// What the planner says of the largest replica.
        reason: NoOffer,
    },
    /// No fleet keeps the objective.
    #[error("no fleet keeps {slo}")]
    NoFleet {
        /// The objective.
        slo: Slo,
        /// Every offer that serves all shapes, and why no number of such replicas does.
        offers: Vec<(Offer, Shortfall)>,
    },
    /// Replicas fail too often.
    #[error(transparent)]
    Pool(#[from] sim::serving::PoolError),
    /// Failures let nothing through.
    #[error(transparent)]
    Run(#[from] sim::serving::RunError),
}

/// Equal replicas for some of the shapes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PoolChoice {
    /// Which offer its replicas are: an index into [`Answer::offers`].
    pub offer: usize,
    /// The shapes it serves.
    pub shapes: Vec<usize>,
    /// Replicas that serve.
    pub replicas: u32,
    /// Replicas that stand by.
    pub spares: u32,
}

/// Pools that together serve every shape.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fleet {
    /// Its pools, by their first shapes.
    pub pools: Vec<PoolChoice>,
}

/// A fleet with what it was found to do.
#[derive(Clone, Debug)]
pub struct Judged {
    /// The fleet.
    pub fleet: Fleet,
    /// GPUs, spares included.
    pub gpus: u32,
    /// Machines, by market: replicas do not span two.
    pub machines: Vec<u32>,
    /// Dollars an hour, where all prices are known.
    pub dollars_per_hour: Option<f64>,
    /// What the simulation found.
    pub measured: Measured,
    /// Mean, p50, p95 and p99 in closed form, in seconds; none where a phase is overloaded.
    pub closed_form: Option<[f64; 4]>,
}

/// What became of one way to serve.
#[derive(Clone, Debug)]
pub enum Verdict {
    /// The fewest replicas that keep the objective.
    Keeps(Box<Judged>),
    /// No number of replicas does.
    Fails(Shortfall),
}

/// What a fleet was found to do, or the proof that it is overloaded.
pub type Tried = Result<Judged, Overloaded>;

/// One way to serve that was looked at beside the choice: equal replicas for all shapes.
#[derive(Clone, Debug)]
pub struct Alternative {
    /// The offer that it is made of.
    pub offer: usize,
    /// Its smallest fleet.
    pub verdict: Verdict,
    /// What the GPUs (or dollars) of the choice would do as such replicas; none for the choice itself.
    pub at_choice: Option<Tried>,
}

/// Latencies at another rate.
#[derive(Clone, Debug)]
pub struct CurvePoint {
    /// The rate.
    pub rate: Rate,
    /// Mean, p50, p95 and p99 in seconds.
    pub latency: [Estimate; 4],
    /// Whether the objective is kept.
    pub keeps: bool,
}

/// The queue in a part of a run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct QueuePoint {
    /// The end of that part, in seconds from the start.
    pub until_s: f64,
    /// Requests that wait, on average over it.
    pub mean: f64,
    /// The most that wait.
    pub most: u32,
}

/// The answer to a question.
#[derive(Clone, Debug)]
pub struct Answer {
    /// What was asked.
    pub question: Question,
    /// The replicas that could be had.
    pub offers: Vec<Offer>,
    /// The cheapest fleet that keeps the objective.
    pub choice: Judged,
    /// Equal replicas for all shapes, by size: fewest GPUs first.
    pub alternatives: Vec<Alternative>,
    /// The cheapest of them, where one keeps the objective.
    pub uniform: Option<Judged>,
    /// The choice with one replica fewer in each of its pools that has more: what then fails.
    pub one_fewer: Vec<(usize, Tried)>,
    /// Mixes that were simulated because they could have been cheaper.
    pub mixes: usize,
    /// The largest rate at which the choice keeps the objective, to 0.5 %.
    pub saturation: Rate,
    /// The rate at which its queue grows without end: no fleet like it carries more.
    pub overload: Rate,
    /// The choice, were every service as long as the upper end of the 90 % interval of its prediction.
    pub slow: Option<Judged>,
    /// Latencies against the rate.
    pub curve: Vec<CurvePoint>,
    /// The queue over time, in the first replication.
    pub queue: Vec<QueuePoint>,
    /// What the comparison shows.
    pub findings: Vec<Finding>,
    /// Where the numbers come from.
    pub provenance: Vec<Provenance>,
}

/// Where a number of an answer comes from.
#[derive(Clone, Debug, PartialEq)]
pub enum Provenance {
    /// One run of recorded requests: exact for them.
    Recorded,
    /// Replications of random requests.
    Replications {
        /// How many.
        count: usize,
        /// Requests measured in each.
        measured: usize,
        /// Requests before those.
        warmup: usize,
        /// The seed.
        seed: u64,
    },
    /// A GPU's price.
    Price {
        /// The GPU.
        gpu: String,
        /// For one of them.
        dollars_per_hour: f64,
        /// Where it is from.
        source: String,
    },
    /// What the plans of replicas rest on.
    Planner(search::Provenance),
}

/// The cheapest fleet for a question.
///
/// # Errors
/// A [`CapacityError`] when no fleet can serve it.
pub fn capacity(question: &Question, progress: &ProgressBar) -> Result<Answer, CapacityError> {
    question.check_prices()?;
    let menu = offer::Menu::new(question, progress)?;
    let bench = measure::Bench::new(question, &menu);
    let uniform = choose::uniform(&bench, progress)?;
    let mixed = partition::cheaper(&bench, uniform.best(), progress)?;
    answer::compose(&bench, uniform, mixed, progress)
}

impl Question {
    fn check_prices(&self) -> Result<(), CapacityError> {
        let mut unpriced = self.markets.iter().filter(|market| market.price.is_none());
        match unpriced.next() {
            Some(market) if self.objective == Objective::Dollars => Err(CapacityError::NoPrice {
                gpu: market.machine().gpus[0].name.clone(),
            }),
            _ => Ok(()),
        }
    }

    /// How often requests come.
    #[must_use]
    pub const fn rate(&self) -> Rate {
        self.source.rate()
    }
}
