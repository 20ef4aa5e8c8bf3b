//! A fleet with what it was found to do, as JSON.

use planner::capacity::{Answer, Judged, Measured, PoolChoice};
#[cfg(test)]
use schemars::JsonSchema;
use serde::Serialize;
use sim::serving::statistics;

use crate::render::json::{Amount, Launch};

/// A fleet with what it was found to do.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub(crate) struct Fleet {
    /// GPUs, spares included.
    pub gpus: u32,
    /// Machines rented, in the order of question.machines.
    pub machines: Vec<u32>,
    /// US dollars an hour; null where a price is not known.
    pub dollars_per_hour: Option<Amount>,
    /// Its pools.
    pub pools: Vec<Pool>,
    /// Whether every criterion is kept with the upper end of its interval.
    pub keeps: bool,
    /// Latencies in closed form; null where a part of the period is overloaded.
    pub closed_form: Option<ClosedForm>,
    /// What the simulation of the queue found.
    pub simulated: Simulated,
}

/// Equal replicas for some of the shapes.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub(crate) struct Pool {
    /// The machine its replicas run on.
    pub machine: String,
    /// GPUs of a replica.
    pub gpus_per_replica: u32,
    /// How these GPUs share a request.
    pub plan: String,
    /// Requests of one shape that a replica serves together at most.
    pub batch: usize,
    /// Replicas that serve.
    pub replicas: u32,
    /// Replicas that stand by.
    pub spares: u32,
    /// What it serves.
    pub services: Vec<Service>,
}

/// How a replica serves a shape.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub(crate) struct Service {
    /// The shape, as in question.mix.
    pub shape: String,
    /// Seconds to serve one request together with 0, 1, 2 ... others: element b - 1 is a batch of b.
    pub service_s: Vec<Amount>,
    /// Upper end of the 90 % interval of a service time, over the time.
    pub slow_factor: Amount,
    /// How a replica is launched; null where it does not serve the shape.
    pub launch: Option<Launch>,
}

/// Latencies in closed form.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub(crate) struct ClosedForm {
    /// Mean latency, seconds.
    pub mean: Amount,
    /// Median, seconds.
    pub p50: Amount,
    /// 95th percentile, seconds.
    pub p95: Amount,
    /// 99th percentile, seconds.
    pub p99: Amount,
}

/// What the simulation of the queue found.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub(crate) struct Simulated {
    /// Seconds from arrival to answer.
    pub latency_s: Latencies,
    /// The same by shape.
    pub by_shape: Vec<ByShape>,
    /// The parts of the objective.
    pub criteria: Vec<Criterion>,
    /// Share of the time that the fleet's GPUs serve, spares left out, a fraction of 1.
    pub utilisation: Estimate,
    /// Requests that wait, on average over time.
    pub waiting: Estimate,
    /// Share of the requests that failures made start again, a fraction of 1.
    pub restarted: Estimate,
    /// Requests served together, on average.
    pub requests_per_batch: Amount,
}

/// A part of the objective, and what was found.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub(crate) struct Criterion {
    /// One part of the objective, as p95<=6s.
    pub criterion: String,
    /// Its limit, seconds.
    pub limit_s: Amount,
    /// What was found, seconds.
    pub found_s: Estimate,
}

/// Latencies of one shape.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub(crate) struct ByShape {
    /// The shape.
    pub shape: String,
    /// Latencies, seconds; null where no request was of this shape.
    pub latency_s: Option<Latencies>,
}

/// Seconds from arrival to answer.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub(crate) struct Latencies {
    /// Mean latency of the requests, seconds.
    pub mean: Estimate,
    /// Median, seconds.
    pub p50: Estimate,
    /// 95th percentile, seconds.
    pub p95: Estimate,
    /// 99th percentile, seconds.
    pub p99: Estimate,
}

/// A figure of a simulation with its interval.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub(crate) struct Estimate {
    /// The figure.
    pub value: Amount,
    /// Lower end of its 95 % interval over replications.
    pub lo: f64,
    /// Upper end of its 95 % interval.
    pub hi: Amount,
}

impl Fleet {
    pub(super) fn new(answer: &Answer, found: &Judged) -> Self {
        let pools = found.fleet.pools.iter();
        let closed_form = found.closed_form.map(|four| four.map(Amount::from));
        Self {
            gpus: found.gpus,
            machines: found.machines.clone(),
            dollars_per_hour: found.dollars_per_hour.map(Amount::from),
            pools: pools.map(|pool| Pool::new(answer, pool)).collect(),
            keeps: found.measured.keeps,
            closed_form: closed_form.map(|[mean, p50, p95, p99]| ClosedForm {
                mean,
                p50,
                p95,
                p99,
            }),
            simulated: Simulated::new(answer, &found.measured),
        }
    }
}

impl Pool {
    fn new(answer: &Answer, pool: &PoolChoice) -> Self {
        let offer = &answer.offers[pool.offer];
        let services = pool.shapes.iter().map(|shape| Service {
            shape: answer.question.shapes[*shape].name.clone(),
            service_s: offer.service[*shape]
                .iter()
                .map(|time| (*time).into())
                .collect(),
            slow_factor: offer.slow[*shape].into(),
            launch: offer.launch[*shape].as_ref().map(Launch::from),
        });
        Self {
            machine: answer.question.markets[offer.market].machine().name.clone(),
            gpus_per_replica: offer.gpus,
            plan: offer.plan.to_string(),
            batch: offer.batch,
            replicas: pool.replicas,
            spares: pool.spares,
            services: services.collect(),
        }
    }
}

impl Simulated {
    fn new(answer: &Answer, found: &Measured) -> Self {
        let shapes = answer.question.shapes.iter().zip(&found.by_shape);
        let by_shape = shapes.map(|(shape, of)| ByShape {
            shape: shape.name.clone(),
            latency_s: of.as_ref().map(Latencies::from),
        });
        let criteria = answer.question.slo.criteria.iter().zip(&found.criteria);
        let criteria = criteria.map(|(wanted, found)| Criterion {
            criterion: wanted.to_string(),
            limit_s: wanted.limit.into(),
            found_s: found.into(),
        });
        Self {
            latency_s: (&found.latency).into(),
            by_shape: by_shape.collect(),
            criteria: criteria.collect(),
            utilisation: (&found.utilisation).into(),
            waiting: (&found.waiting).into(),
            restarted: (&found.restarted).into(),
            requests_per_batch: found.batch.into(),
        }
    }
}

impl From<&[statistics::Estimate; 4]> for Latencies {
    fn from(four: &[statistics::Estimate; 4]) -> Self {
        let [mean, p50, p95, p99] = four.each_ref().map(Estimate::from);
        Self {
            mean,
            p50,
            p95,
            p99,
        }
    }
}

impl From<&statistics::Estimate> for Estimate {
    fn from(found: &statistics::Estimate) -> Self {
        Self {
            value: found.value.into(),
            lo: found.lo,
            hi: found.hi.into(),
        }
    }
}
