//! How sure a prediction is: its 90 % interval, and the probability that one plan is faster than another.
//!
//! ```text
//! ln latency has the standard deviation sigma,   sigma^2 = sum of the squares of the loadings below
//! interval    prediction x exp(±1.645 sigma x the factors of its classes)       (`class.rs`)
//! A before B  with probability  Phi(ln(B / A) / s),   s^2 = sum of (a - b)^2 over shared loadings + own of A^2 + own of B^2
//! ```
//! | loading | sigma x how much of the latency follows it |
//! |---|---|
//! | GPU time | that of its runs ([`crate::calibrate`]; .13 from a profile's blocks) |
//! | encoders, VAE, overhead | .30 |
//! | encoding and decoding of messages | half-width of their cost (L20 .20, elsewhere .40 and more: scaled from L20) / 1.645 |
//! | fetching weights that are not resident | .35 |
//! | quantised products: a measured table; scaled from 16 bits | .10 .20 |
//! | a collective's rate (calibrated here; measured table; assumed; assumed, between hosts) | .25 .30 .60 .50 |
//! | messages between hosts, if any | .30 |
//! | launch time (calibrated here; assumed) | .15 .30 |
//! | of it that of messages: Ulysses; an engine's ring; others | .30 .15 .50 |
//! | compiled; total below 2 s | .07 .05 |
//! | own: how a plan is executed; pipeline; tensor parallel | .07 .05 .10 |
//!
//! Two plans of a question share what is uncertain of the GPU and the host; only what differs decides between them. The
//! own part is that of published pairs of plans for one request: of pairs 10 to 15 % apart nine of ten are in the
//! predicted order (docs/validation.md).

mod class;

use std::collections::{BTreeMap, BTreeSet};

use sim::launch::{self, Launched};
use sim::lower::Parts;
use sim::model::Model;
use sim::plan::Plan;
use sim::platform::Reach;
use statrs::function::erf::erf;
use topologies::host::Compilation;
use topologies::{CollectiveKind, SimDuration};

pub use self::class::{Class, Gpus, RestsOn, Sharing};
#[cfg(test)]
pub(crate) use self::class::{Factors, product};

/// What the calibrated GPU time rests on, best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ComputeEvidence {
    /// A one-GPU run of this request on this host.
    SameShape,
    /// A one-GPU run of this model on this host, of another shape.
    OtherShape,
    /// A one-GPU run of this model on this host, compiled otherwise.
    OtherCompilation,
    /// Blocks of this model, measured on this GPU.
    Profile,
    /// A one-GPU run of this model on another host with this GPU.
    OtherHost,
    /// A one-GPU run of another model on this host.
    OtherModel,
    /// One-GPU runs of other models or GPUs.
    Alike,
    /// Kernel costs alone.
    None,
}

/// What a collective's rate rests on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RateEvidence {
    /// A run on this host.
    Calibrated,
    /// A measured table.
    Table,
    /// The usual rate of its wiring, or its links.
    Assumed,
}

/// What a prediction rests on.
#[derive(Clone, Debug, PartialEq)]
pub struct Evidence {
    /// GPU time.
    pub compute: ComputeEvidence,
    /// Standard deviation of its logarithm.
    pub compute_sigma: f64,
    /// Whether the launch factor was measured on this host.
    pub launch_calibrated: bool,
    /// Rates that were calibrated on this host.
    pub calibrated: Vec<(CollectiveKind, Reach)>,
    /// What the others rest on.
    pub other_rates: RateEvidence,
}

impl Evidence {
    /// As a whole.
    #[must_use]
    pub fn rests_on(&self) -> RestsOn {
        match self.compute {
            _ if self.launch_calibrated || !self.calibrated.is_empty() => RestsOn::OwnSeveral,
            ComputeEvidence::OtherHost => RestsOn::SameGpu,
            ComputeEvidence::OtherModel | ComputeEvidence::Alike | ComputeEvidence::None => {
                RestsOn::Datasheets
            }
            _ => RestsOn::OwnOne,
        }
    }
}

/// Standard deviation of the logarithm of what fetching weights adds: FLUX.1 on L20 with 4 to 16 GiB resident, diffusers' group
/// offloading, SGLang's Qwen-Image on H100 and FLUX.1 on RTX 5090 scatter by a third around it.
const WEIGHTS_SIGMA: f64 = 0.35;

/// Standard deviation of the logarithm of a quantised plan's time over that in 16 bits: published speed-ups by fp8 scatter by a
/// tenth around those predicted; twice that where products are scaled from 16 bits.
const PRECISION_SIGMA: f64 = 0.10;

/// Standard normal quantile of a two-sided 90 % interval.
pub const SPREAD: f64 = 1.645;

/// What predictions of one machine have in common, or a plan alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Term {
    /// GPU time over the kernel costs.
    GpuTime,
    /// Encoders, VAE, the pipeline's overhead.
    Phases,
    /// Launch time.
    Launch,
    /// Launch time of a kind of messages.
    Messages(Launched),
    /// Encoding and decoding of messages.
    Codec,
    /// Fetching weights.
    Weights,
    /// Quantised products over 16-bit ones.
    Precision,
    /// A collective's rate.
    Rate(CollectiveKind, Reach),
    /// That messages go between hosts.
    Between,
    /// That the model is compiled.
    Compiled,
    /// That the request is short.
    Short,
}

impl Term {
    /// Whether it is of what joins GPUs.
    #[must_use]
    pub const fn is_of_links(self) -> bool {
        matches!(self, Self::Rate(..) | Self::Between)
    }
}

/// How much a prediction follows what is uncertain: standard deviations of ln latency.
#[derive(Clone, Debug, PartialEq)]
pub struct Uncertainty {
    /// Of what plans on one machine share.
    pub shared: BTreeMap<Term, f64>,
    /// Of the plan alone.
    pub own: f64,
    /// What decides how much wider or narrower the interval is than these say.
    pub classes: [Class; 3],
}

impl Uncertainty {
    /// Of a plan's prediction.
    #[must_use]
    pub fn of(
        parts: &Parts,
        plan: &Plan,
        (model, video): (&Model, bool),
        compilation: Compilation,
        evidence: &Evidence,
    ) -> Self {
        let [total, fixed, gpu, launch] =
            [parts.total, parts.fixed, parts.gpu, parts.launch].map(SimDuration::as_secs_f64);
        let outside = fixed / total.max(1e-12);
        let looped = 1.0 - outside;
        let squares = gpu.powi(2) + launch.powi(2);
        let of_gpu = looped * gpu.powi(2) / squares.max(1e-24);
        let launch_sigma = if evidence.launch_calibrated {
            0.15
        } else {
            0.30
        };
        let mut shared = BTreeMap::from([
            (Term::Phases, 0.30 * outside),
            (Term::Launch, launch_sigma * (looped - of_gpu)),
        ]);
        // All-reduces: two of a block.
        let messages = launch::messages_ms(plan, if plan.tensor > 1 { 2 } else { 0 }, true);
        let launched =
            launch::base_ms(model, video) + messages.iter().map(|one| one.1).sum::<f64>();
        for (of, ms) in messages {
            let share = ms / launched;
            shared.insert(Term::Messages(of), of.sigma() * share * (looped - of_gpu));
        }
        let mut waiting = 0.0;
        for (key, exposed) in &parts.exposed {
            let share = (exposed.as_secs_f64() / gpu.max(launch)).min(1.0);
            waiting += exposed.as_secs_f64() / gpu.max(1e-12);
            shared.insert(
                Term::Rate(key.0, key.1),
                looped * share * rate_sigma(*key, evidence),
            );
            if key.1 == Reach::Network {
                shared.insert(Term::Between, 0.30);
            }
        }
        let computing = of_gpu * (1.0 - waiting).clamp(0.0, 1.0);
        shared.insert(Term::GpuTime, evidence.compute_sigma * computing);
        let codec = parts.codec_doubt.as_secs_f64() / SPREAD;
        if codec > 0.0 {
            shared.insert(Term::Codec, looped * (codec / gpu.max(launch)).min(1.0));
        }
        let weights = parts.weights.as_secs_f64();
        if weights > 0.0 {
            let share = weights / (weights + gpu.hypot(launch));
            shared.insert(Term::Weights, looped * share * WEIGHTS_SIGMA);
        }
        let precision = plan.execution.precision;
        if precision.is_lossy() {
            let sigma = match precision.products() {
                Some(_) => PRECISION_SIGMA,
                None => 2.0 * PRECISION_SIGMA,
            };
            shared.insert(Term::Precision, looped * sigma);
        }
        if compilation == Compilation::Compiled {
            shared.insert(Term::Compiled, 0.07);
        }
        if total < 2.0 {
            shared.insert(Term::Short, 0.05);
        }
        let present = |holds: bool, sigma: f64| if holds { sigma } else { 0.0 };
        let own = 0.07_f64
            .hypot(present(plan.pipeline.stages > 1, 0.05))
            .hypot(present(plan.tensor > 1, 0.10));
        Self {
            shared,
            own,
            classes: Class::of(plan, evidence.rests_on()),
        }
    }

    /// What the prediction rests on.
    #[must_use]
    pub fn rests_on(&self) -> RestsOn {
        let evidence = self.classes.iter().find_map(|class| match class {
            Class::Evidence(of) => Some(*of),
            Class::Strategy(_) | Class::Gpus(_) => None,
        });
        evidence.unwrap_or_default()
    }

    /// Standard deviation of ln latency.
    #[must_use]
    pub fn sigma(&self) -> f64 {
        let shared = self.shared.values().map(|sigma| sigma * sigma);
        (shared.sum::<f64>() + self.own * self.own).sqrt()
    }

    /// The factor `f >= 1` of the 90 % interval `[prediction / f, prediction x f]`.
    #[must_use]
    pub fn factor(&self) -> f64 {
        (SPREAD * self.sigma() * self.scale()).exp()
    }

    /// By how much the half-width of the interval is that of the terms: the factors of its classes.
    #[must_use]
    pub fn scale(&self) -> f64 {
        class::factor(self.classes)
    }

    /// Standard deviation of the difference of two plans' ln latency, where they share the terms that `shares` picks.
    #[must_use]
    pub fn of_difference(&self, other: &Self, shares: impl Fn(Term) -> bool) -> f64 {
        let terms = self.shared.keys().chain(other.shared.keys());
        let terms: BTreeSet<Term> = terms.copied().collect();
        let of = |one: &Self, term| one.shared.get(&term).copied().unwrap_or(0.0);
        let squares = terms.into_iter().map(|term| {
            let [one, another] = [of(self, term), of(other, term)];
            match shares(term) {
                true => (one - another).powi(2),
                false => one.powi(2) + another.powi(2),
            }
        });
        let squares: f64 = squares.sum();
        (squares + self.own * self.own + other.own * other.own).sqrt()
    }
}

/// The probability that the first of two plans of a question is the faster one.
#[must_use]
pub fn faster(first: (SimDuration, &Uncertainty), second: (SimDuration, &Uncertainty)) -> f64 {
    faster_sharing(first, second, |_| true)
}

/// The same of two plans that share the terms that `shares` picks.
#[must_use]
pub fn faster_sharing(
    first: (SimDuration, &Uncertainty),
    second: (SimDuration, &Uncertainty),
    shares: impl Fn(Term) -> bool,
) -> f64 {
    let gain = (second.0.as_secs_f64() / first.0.as_secs_f64()).ln();
    let sigma = first.1.of_difference(second.1, shares).max(1e-12);
    0.5 + 0.5 * erf(gain / sigma / std::f64::consts::SQRT_2)
}

fn rate_sigma(key: (CollectiveKind, Reach), evidence: &Evidence) -> f64 {
    match (
        evidence.calibrated.contains(&key),
        key.1,
        evidence.other_rates,
    ) {
        (true, ..) => 0.25,
        (false, Reach::Network, _) => 0.50,
        (false, Reach::Host, RateEvidence::Calibrated) => 0.25,
        (false, Reach::Host, RateEvidence::Table) => 0.30,
        (false, Reach::Host, RateEvidence::Assumed) => 0.60,
    }
}
