//! GPU time over the kernel costs, from one-GPU runs: the more a run is like what is asked, the more it says.
//!
//! ```text
//! y = ln(factor at which a run takes as long as it was measured)  ~  N(0, K + noise^2)
//! K = sum of sigma^2 over what two runs share:   architecture, chip, engine and compilation (also with the architecture),
//!     model (also with the chip), host, and host and model, which fades with the size: x exp(-|difference of ln tokens| / 1.5)
//! answer = k' (K + noise^2)^-1 y,   variance = k(asked, asked) - k' (K + noise^2)^-1 k
//! ```
//! The sigmas maximise the likelihood of the built-in runs. A run far from what the others say counts less: its noise is
//! multiplied by (|residual| / .14)^2 where that is above 1 (an outlier, a tail heavier than normal), four times over.
//!
//! Guarantees: smooth in the size that is asked; without runs the answer is 1 with the prior's variance. Not modelled:
//! that a host's versions of an engine differ.

use kernels::solve;
use sim::model::Model;
use sim::workload::Workload;
use topologies::host::{Compilation, PublishedHost};
use topologies::{Architecture, Gpu};

use crate::launch::Engine;
use crate::runs::Run;

/// Variance of what two runs share, and of one run alone.
mod sigma {
    pub const ARCHITECTURE: f64 = 0.052;
    pub const CHIP: f64 = 0.024;
    pub const ENGINE: f64 = 0.025;
    pub const ENGINE_ON_ARCHITECTURE: f64 = 0.040;
    pub const MODEL: f64 = 0.088;
    pub const MODEL_ON_CHIP: f64 = 0.021;
    pub const HOST: f64 = 0.090;
    pub const MODEL_ON_HOST: f64 = 0.050;
    /// Of a run elsewhere: which state of the software, which clocks, what else the value holds.
    pub const NOISE: f64 = 0.070;
    /// Of a run on the asked machine, whose like is asked.
    pub const OWN_NOISE: f64 = 0.020;
}
/// Difference of ln tokens over which runs of a model on a host lose most of what they share.
const FADES: f64 = 1.5;
/// What an eager and a compiled run of a model on a host share of what two alike do.
const OTHERWISE_COMPILED: f64 = 0.7;

/// Whose machine: the asked one, or another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Host {
    Asked,
    Other(PublishedHost),
}

/// What runs may have in common.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Traits {
    pub architecture: Architecture,
    pub chip: (u32, u64),
    pub engine: Engine,
    pub compilation: Compilation,
    pub model: &'static Model,
    pub host: Host,
    pub ln_tokens: f64,
}

/// Two GPUs of one class: the same chip at the same rate, whatever its memory and links.
pub(super) fn chip(gpu: &Gpu) -> (u32, u64) {
    (gpu.sm_count, gpu.peak_bf16.get())
}

/// Tokens of a forward pass, as a logarithm.
pub(super) fn ln_tokens(workload: &Workload) -> f64 {
    let tokens = workload.image_tokens() + workload.text_tokens();
    ((tokens * workload.rows.max(1)) as f64).ln()
}

impl Traits {
    pub fn of_run(run: &Run, host: Host) -> Self {
        Self {
            architecture: run.gpu().architecture,
            chip: chip(run.gpu()),
            engine: run.engine,
            compilation: run.compiler.compilation(),
            model: run.model,
            host,
            ln_tokens: ln_tokens(&run.workload),
        }
    }

    fn covariance(&self, other: &Self) -> f64 {
        let share = |holds: bool, sigma: f64| if holds { sigma * sigma } else { 0.0 };
        let architecture = self.architecture == other.architecture;
        let on_chip = architecture && self.chip == other.chip;
        let compiled = self.compilation == other.compilation;
        let executed = self.engine == other.engine && compiled;
        let model = std::ptr::eq(self.model, other.model) || self.model == other.model;
        let host = self.host == other.host;
        let apart = (self.ln_tokens - other.ln_tokens).abs();
        let alike = (-apart / FADES).exp() * if compiled { 1.0 } else { OTHERWISE_COMPILED };
        share(architecture, sigma::ARCHITECTURE)
            + share(on_chip, sigma::CHIP)
            + share(executed, sigma::ENGINE)
            + share(executed && architecture, sigma::ENGINE_ON_ARCHITECTURE)
            + share(model, sigma::MODEL)
            + share(model && on_chip, sigma::MODEL_ON_CHIP)
            + share(host, sigma::HOST)
            + share(host && model, sigma::MODEL_ON_HOST) * alike
    }
}

/// What a run says.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Observation {
    pub traits: Traits,
    /// ln of the factor at which it takes as long as measured.
    pub ln_factor: f64,
    /// The run, in words.
    pub title: String,
}

impl Observation {
    fn noise(&self) -> f64 {
        match self.traits.host {
            Host::Asked => sigma::OWN_NOISE,
            Host::Other(_) => sigma::NOISE,
        }
    }
}

/// A factor on GPU time.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Estimate {
    pub factor: f64,
    /// Standard deviation of its logarithm.
    pub sigma: f64,
    /// The runs that move it most, the first most; none that moves it by less than a tenth of what it says.
    pub runs: Vec<String>,
}

/// Observations, ready to be asked.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Pooled {
    observations: Vec<Observation>,
    /// Upper triangle U with U'U = K + noise.
    factor: Vec<f64>,
    /// (K + noise)^-1 y.
    solved: Vec<f64>,
}

impl Pooled {
    pub fn observations(&self) -> &[Observation] {
        &self.observations
    }

    fn runs(&self, weights: &[f64]) -> Vec<String> {
        let said = weights.iter().zip(&self.observations);
        let mut said: Vec<_> = said.filter(|(weight, _)| **weight >= 0.1).collect();
        said.sort_by(|a, b| b.0.total_cmp(a.0));
        said.into_iter().map(|(_, one)| one.title.clone()).collect()
    }

    pub fn new(observations: Vec<Observation>) -> Self {
        let n = observations.len();
        let pairs = (0..n * n).map(|at| {
            let (one, other) = (&observations[at / n], &observations[at % n]);
            one.traits.covariance(&other.traits)
        });
        let covariance: Vec<f64> = pairs.collect();
        let values: Vec<f64> = observations.iter().map(|one| one.ln_factor).collect();
        let noise: Vec<f64> = observations.iter().map(Observation::noise).collect();
        let mut heavier = vec![1.0; n];
        let (mut factor, mut solved) = (Vec::new(), Vec::new());
        for _ in 0..4 {
            factor.clone_from(&covariance);
            for (i, more) in heavier.iter().enumerate() {
                factor[i * n + i] += noise[i] * noise[i] * more;
            }
            solve::factor(&mut factor, n);
            solved = solve::solve(&factor, values.clone());
            for ((more, a), noise) in heavier.iter_mut().zip(&solved).zip(&noise) {
                let residual = (noise * noise * *more * a).abs();
                *more = (residual / (2.0 * sigma::NOISE)).powi(2).max(1.0);
            }
        }
        Self {
            observations,
            factor,
            solved,
        }
    }

    pub fn at(&self, asked: &Traits) -> Estimate {
        let towards: Vec<f64> = self
            .observations
            .iter()
            .map(|one| asked.covariance(&one.traits))
            .collect();
        let ln_factor: f64 = towards.iter().zip(&self.solved).map(|(k, a)| k * a).sum();
        let mut half = towards.clone();
        solve::forward(&self.factor, &mut half);
        let explained: f64 = half.iter().map(|z| z * z).sum();
        let variance = (asked.covariance(asked) - explained).max(0.0);
        Estimate {
            factor: ln_factor.exp(),
            sigma: variance.sqrt(),
            runs: self.runs(&solve::solve(&self.factor, towards)),
        }
    }
}
