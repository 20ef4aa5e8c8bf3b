//! What `capacity --json` prints (docs/capacity.md, section *JSON*): seconds, requests per second, fractions of 1.

mod fleet;

use planner::capacity::{self, Answer, Judged, Objective, Tried, Verdict};
#[cfg(test)]
use schemars::JsonSchema;
use serde::Serialize;
use sim::serving::{Pattern, Routing};

use self::fleet::{Fleet, Latencies};
use crate::render::json::{Amount, Request, Word};
use crate::render::words;

/// The smallest fleet that keeps an objective (docs/capacity.md).
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub(crate) struct CapacityAnswer {
    /// What was asked.
    pub question: CapacityQuestion,
    /// The cheapest fleet that keeps the objective.
    pub choice: Fleet,
    /// The cheapest fleet of equal replicas for all shapes; null where none keeps the objective.
    pub uniform: Option<Fleet>,
    /// Equal replicas for all shapes, by size.
    pub alternatives: Vec<Alternative>,
    /// The choice with one replica fewer in one of its pools.
    pub one_fewer: Vec<OneFewer>,
    /// Fleets of several pools that were simulated.
    pub mixes_simulated: usize,
    /// The largest rate that keeps the objective, requests per second, to 0.5 %.
    pub saturation_per_s: Amount,
    /// The rate from which the queue grows without end, requests per second.
    pub overload_per_s: Amount,
    /// The choice with every service at the upper end of its 90 % interval; null where that is overloaded.
    pub slow_services: Option<Fleet>,
    /// Latency against the rate, for the choice.
    pub curve: Vec<Curve>,
    /// Requests that wait, in equal parts of the first replication.
    pub queue: Vec<Queue>,
    /// What the comparison shows, one sentence each; for people.
    pub findings: Vec<String>,
    /// Where the numbers come from, one sentence each; for people.
    pub provenance: Vec<String>,
}

/// Requests that wait in a part of a run.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub(crate) struct Queue {
    /// The end of the part, seconds from the start.
    pub until_s: Amount,
    /// Requests that wait, on average over the part.
    pub mean: Amount,
    /// The most that wait.
    pub most: u32,
}

/// Latency at one rate.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub(crate) struct Curve {
    /// Requests per second.
    pub rate_per_s: Amount,
    /// Seconds from arrival to answer.
    pub latency_s: Latencies,
    /// Whether the objective is kept.
    pub keeps: bool,
}

/// The choice with one replica fewer in a pool.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub(crate) struct OneFewer {
    /// The pool, an index into choice.pools.
    pub pool: usize,
    /// What it was found to do; null where it is overloaded.
    pub fleet: Option<Fleet>,
    /// Why it cannot serve; null where it can.
    pub reason: Option<String>,
}

/// Equal replicas for all shapes.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub(crate) struct Alternative {
    /// GPUs of a replica.
    pub gpus_per_replica: u32,
    /// How these GPUs share a request.
    pub plan: String,
    /// Requests of one shape that a replica serves together at most.
    pub batch: usize,
    /// The machine.
    pub machine: String,
    /// The fewest such replicas that keep the objective; null where none do.
    pub fleet: Option<Fleet>,
    /// Why none do; null where some do.
    pub reason: Option<String>,
    /// What the GPUs (or dollars) of the choice would do as such replicas; null for the choice itself.
    pub at_cost_of_choice: Option<AtCostOfChoice>,
}

/// What the GPUs (or dollars) of the choice would do as such replicas.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub(crate) struct AtCostOfChoice {
    /// What it was found to do; null where it is overloaded.
    pub fleet: Option<Fleet>,
    /// Why it cannot serve; null where it can.
    pub reason: Option<String>,
}

/// What was asked.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub(crate) struct CapacityQuestion {
    /// The model.
    pub model: String,
    /// What can be rented, each as often as needed.
    pub machines: Vec<Machine>,
    /// Requests per second.
    pub rate_per_s: Amount,
    /// What must be kept, as p95<=6s.
    pub slo: String,
    /// What is asked for.
    pub mix: Vec<Mix>,
    /// When requests come.
    pub arrivals: Arrivals,
    /// Who is served next. fifo: who came first; shortest: who takes least time; least-loaded: a queue for each
    /// replica.
    pub routing: Word<Routing>,
    /// Requests of one shape that a replica serves together at most.
    pub batch: u32,
    /// How replicas fail; null: not at all.
    pub failures: Option<Failures>,
    /// Spare replicas of each pool.
    pub spares: u32,
    /// Requests of a replication.
    pub requests: usize,
    /// Independent runs of a fleet.
    pub replications: u32,
    /// Where random numbers start.
    pub seed: u64,
    /// What is to be small.
    #[cfg_attr(test, schemars(extend("enum" = ["gpus", "dollars"])))]
    pub objective: &'static str,
    /// The largest fleet that is looked at, GPUs.
    pub max_gpus: u32,
    /// Who executes the plan, as the file of the engine calls it.
    pub engine: String,
}

/// How replicas fail.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub(crate) struct Failures {
    /// Mean time from a repair to the next failure, seconds.
    pub mtbf_s: Amount,
    /// Mean time of a repair, seconds.
    pub mttr_s: Amount,
}

/// When requests come.
#[derive(Debug, Default, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub(crate) struct Arrivals {
    /// poisson; gamma: of a coefficient of variation; diurnal: a rate that goes up and down; recorded: from a file.
    #[cfg_attr(test, schemars(extend("enum" = ["poisson", "gamma", "diurnal", "recorded"])))]
    pub pattern: &'static str,
    /// Coefficient of variation of the times between requests; gamma only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cv: Option<Amount>,
    /// Largest over smallest rate of a period; diurnal only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peak: Option<f64>,
    /// A period, seconds; diurnal only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub period_s: Option<Amount>,
}

/// A shape and its share.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub(crate) struct Mix {
    /// As it was written: 1024x1024, 1280x720x81@50.
    pub shape: String,
    /// Its share of the requests, a fraction of 1.
    pub share: Amount,
    /// What is asked of the model.
    pub request: Request,
}

/// A machine that can be rented.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub(crate) struct Machine {
    /// The machine.
    pub machine: String,
    /// GPUs it has.
    pub gpus: u32,
    /// Their name.
    pub gpu: String,
    /// US dollars for a GPU and hour; null where not known.
    pub price_per_gpu_hour_usd: Option<Amount>,
}

impl CapacityAnswer {
    /// The answer.
    pub(super) fn new(answer: &Answer) -> Self {
        let fleet = |judged: &Judged| Fleet::new(answer, judged);
        let alternatives = answer.alternatives.iter();
        let curve = answer.curve.iter().map(|point| Curve {
            rate_per_s: point.rate.get().into(),
            latency_s: (&point.latency).into(),
            keeps: point.keeps,
        });
        let queue = answer.queue.iter().map(|part| Queue {
            until_s: part.until_s.into(),
            mean: part.mean.into(),
            most: part.most,
        });
        let one_fewer = answer.one_fewer.iter().map(|(pool, tried)| OneFewer {
            pool: *pool,
            fleet: tried.as_ref().ok().map(fleet),
            reason: tried.as_ref().err().map(words::overloaded),
        });
        Self {
            question: (&answer.question).into(),
            choice: fleet(&answer.choice),
            uniform: answer.uniform.as_ref().map(fleet),
            alternatives: alternatives
                .map(|one| Alternative::new(answer, one))
                .collect(),
            one_fewer: one_fewer.collect(),
            mixes_simulated: answer.mixes,
            saturation_per_s: answer.saturation.get().into(),
            overload_per_s: answer.overload.get().into(),
            slow_services: answer.slow.as_ref().map(fleet),
            curve: curve.collect(),
            queue: queue.collect(),
            findings: words::fleet_findings(&answer.findings, answer.question.objective),
            provenance: words::fleet_sources(&answer.provenance),
        }
    }
}

impl From<&capacity::Question> for CapacityQuestion {
    fn from(asked: &capacity::Question) -> Self {
        let rules = &asked.rules;
        let machines = asked.markets.iter().map(|market| Machine {
            machine: market.machine().name.clone(),
            gpus: market.questions[0].gpus,
            gpu: market.machine().gpus[0].name.clone(),
            price_per_gpu_hour_usd: market.price.map(Amount::from),
        });
        let mix = asked.shapes.iter().map(|shape| Mix {
            shape: shape.name.clone(),
            share: shape.share.into(),
            request: (&shape.request).into(),
        });
        Self {
            model: asked.markets[0].model().name.to_owned(),
            machines: machines.collect(),
            rate_per_s: asked.rate().get().into(),
            slo: asked.slo.to_string(),
            mix: mix.collect(),
            arrivals: asked.source.pattern().into(),
            routing: Word(rules.routing),
            batch: rules.batch,
            failures: rules.failures.map(|failures| Failures {
                mtbf_s: failures.mtbf.into(),
                mttr_s: failures.mttr.into(),
            }),
            spares: rules.spares,
            requests: asked.source.requests(),
            replications: asked.replications,
            seed: asked.seed,
            objective: match asked.objective {
                Objective::Gpus => "gpus",
                Objective::Dollars => "dollars",
            },
            max_gpus: asked.most_gpus,
            engine: asked.markets[0].questions[0].engine.to_string(),
        }
    }
}

impl From<&Pattern> for Arrivals {
    fn from(pattern: &Pattern) -> Self {
        let none = Self::default();
        match pattern {
            Pattern::Poisson => Self {
                pattern: "poisson",
                ..none
            },
            Pattern::Gamma { cv } => Self {
                pattern: "gamma",
                cv: Some((*cv).into()),
                ..none
            },
            Pattern::Diurnal { peak, period } => Self {
                pattern: "diurnal",
                peak: Some(*peak),
                period_s: Some((*period).into()),
                ..none
            },
            Pattern::Recorded(_) => Self {
                pattern: "recorded",
                ..none
            },
        }
    }
}

impl Alternative {
    fn new(answer: &Answer, one: &capacity::Alternative) -> Self {
        let (fleet, reason) = match &one.verdict {
            Verdict::Keeps(found) => (Some(Fleet::new(answer, found)), None),
            Verdict::Fails(why) => (None, Some(words::shortfall(why))),
        };
        let offer = &answer.offers[one.offer];
        let at_cost = |tried: &Tried| AtCostOfChoice {
            fleet: tried.as_ref().ok().map(|found| Fleet::new(answer, found)),
            reason: tried.as_ref().err().map(words::overloaded),
        };
        Self {
            gpus_per_replica: offer.gpus,
            plan: offer.plan.to_string(),
            batch: offer.batch,
            machine: answer.question.markets[offer.market].machine().name.clone(),
            fleet,
            reason,
            at_cost_of_choice: one.at_choice.as_ref().map(at_cost),
        }
    }
}
