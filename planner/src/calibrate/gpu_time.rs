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

use crate::interval::ComputeEvidence;
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
/// Difference of ln GPU time beyond which two runs of one thing on one machine contradict each other.
const CONTRADICTION: f64 = 0.15;

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

    /// What a run has in common with what is asked.
    pub fn evidence(&self, of: &Self) -> ComputeEvidence {
        match (&of.host, of.model == self.model) {
            (Host::Asked, false) => ComputeEvidence::OtherModel,
            (Host::Asked, true) if of.compilation != self.compilation => {
                ComputeEvidence::OtherCompilation
            }
            (Host::Asked, true) if of.ln_tokens == self.ln_tokens => ComputeEvidence::SameShape,
            (Host::Asked, true) => ComputeEvidence::OtherShape,
            (Host::Other(_), true) if of.chip == self.chip => ComputeEvidence::OtherHost,
            (Host::Other(_), _) => ComputeEvidence::Alike,
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
    /// What the first of them has in common with what is asked.
    pub first: ComputeEvidence,
    /// Two runs of what is asked that contradict each other: no uncertainty of one factor explains both.
    pub contradiction: Option<[String; 2]>,
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

    /// The runs of at least a tenth of the weight, the heaviest first.
    fn runs(&self, weights: &[f64]) -> Vec<&Observation> {
        let said = weights.iter().zip(&self.observations);
        let mut said: Vec<_> = said.filter(|(weight, _)| **weight >= 0.1).collect();
        said.sort_by(|a, b| b.0.total_cmp(a.0));
        said.into_iter().map(|(_, one)| one).collect()
    }

    /// The fastest and the slowest run of what is asked on the asked machine, where they contradict each other.
    fn contradiction(&self, asked: &Traits) -> Option<[&Observation; 2]> {
        let alike = |one: &&Observation| {
            asked.evidence(&one.traits) == ComputeEvidence::SameShape
                && one.traits.engine == asked.engine
        };
        let runs = || self.observations.iter().filter(alike);
        let fastest = runs().min_by(|a, b| a.ln_factor.total_cmp(&b.ln_factor))?;
        let slowest = runs().max_by(|a, b| a.ln_factor.total_cmp(&b.ln_factor))?;
        let apart = slowest.ln_factor - fastest.ln_factor;
        (apart > CONTRADICTION).then_some([fastest, slowest])
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
        let weights = solve::solve(&self.factor, towards);
        let runs = self.runs(&weights);
        let first = runs.first().map(|one| asked.evidence(&one.traits));
        let contradiction = self.contradiction(asked);
        // As far as the farther of two runs that contradict each other: a standard deviation, so that both are inside.
        let far = contradiction.iter().flatten();
        let far = far.map(|one| (one.ln_factor - ln_factor).abs());
        Estimate {
            factor: ln_factor.exp(),
            sigma: far.fold(variance.sqrt(), f64::max),
            first: first.unwrap_or(ComputeEvidence::None),
            runs: runs.into_iter().map(|one| one.title.clone()).collect(),
            contradiction: contradiction.map(|both| both.map(|one| one.title.clone())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use topologies::gpu;

    fn traits() -> Traits {
        let gpu = gpu::find("L20").expect("a known GPU");
        Traits {
            architecture: gpu.architecture,
            chip: chip(gpu),
            engine: Engine::Xdit,
            compilation: Compilation::Eager,
            model: sim::model::find("FLUX.1-dev").expect("a known model"),
            host: Host::Asked,
            ln_tokens: 8.0,
        }
    }

    fn squares(sigmas: &[f64]) -> f64 {
        sigmas.iter().map(|sigma| sigma * sigma).sum()
    }

    /// Two runs that differ in one thing share the rest of the table.
    #[test]
    fn runs_share_what_the_table_says() {
        use sigma::{
            ARCHITECTURE, CHIP, ENGINE, ENGINE_ON_ARCHITECTURE, HOST, MODEL, MODEL_ON_CHIP,
            MODEL_ON_HOST,
        };
        let fading = |of: f64| MODEL_ON_HOST * of.sqrt();
        let others = [ARCHITECTURE, CHIP, MODEL, MODEL_ON_CHIP, HOST];
        let executed = [ENGINE, ENGINE_ON_ARCHITECTURE];
        let with = |change: &dyn Fn(&mut Traits)| {
            let mut other = traits();
            change(&mut other);
            traits().covariance(&other)
        };
        let other_gpu = gpu::find("H100-SXM").expect("a known GPU");
        let all = squares(&others) + squares(&executed);
        for (found, expected, what) in [
            (with(&|_| {}), all + squares(&[fading(1.0)]), "nothing"),
            (
                with(&|one| one.ln_tokens = 9.5),
                all + squares(&[fading((-1.0_f64).exp())]),
                "more tokens",
            ),
            (
                with(&|one| one.ln_tokens = 6.5),
                all + squares(&[fading((-1.0_f64).exp())]),
                "fewer tokens",
            ),
            (
                with(&|one| one.compilation = Compilation::Compiled),
                squares(&others) + squares(&[fading(OTHERWISE_COMPILED)]),
                "compiled",
            ),
            (
                with(&|one| one.engine = Engine::Sglang),
                squares(&others) + squares(&[fading(1.0)]),
                "another engine",
            ),
            (
                with(&|one| one.model = sim::model::find("SD3-medium").expect("known")),
                all - squares(&[MODEL, MODEL_ON_CHIP]),
                "another model",
            ),
            (
                with(&|one| {
                    one.host = Host::Other(PublishedHost {
                        owner: "someone".to_owned(),
                        gpu: "L20".to_owned(),
                        interconnect: "PCIe".to_owned(),
                    });
                }),
                all - squares(&[HOST]),
                "another host",
            ),
            (
                with(&|one| one.chip = (1, 1)),
                all - squares(&[CHIP, MODEL_ON_CHIP]) + squares(&[fading(1.0)]),
                "another chip",
            ),
            (
                with(&|one| {
                    (one.architecture, one.chip) = (other_gpu.architecture, chip(other_gpu));
                }),
                squares(&[ENGINE, MODEL, HOST, fading(1.0)]),
                "another architecture",
            ),
        ] {
            assert!(
                (found - expected).abs() < 1e-12,
                "{what}: {found}, not {expected}"
            );
        }
    }

    /// Of one run y with the noise s that shares k of itself: the answer is k y / (k + s^2), the variance k s^2 / (k + s^2).
    #[test]
    fn one_run_is_met_by_its_weight() {
        let k = traits().covariance(&traits());
        let one = |ln_factor: f64| Observation {
            traits: traits(),
            ln_factor,
            title: "a run".to_owned(),
        };
        let noise = squares(&[sigma::OWN_NOISE]);
        for ln_factor in [-0.3, 0.0, 0.2] {
            let found = Pooled::new(vec![one(ln_factor)]).at(&traits());
            let expected = k * ln_factor / (k + noise);
            assert!((found.factor.ln() - expected).abs() < 1e-9, "{found:?}");
            let variance = k * noise / (k + noise);
            assert!((found.sigma.powi(2) - variance).abs() < 1e-9, "{found:?}");
            assert_eq!(found.runs, ["a run"]);
        }
        let nothing = Pooled::new(Vec::new()).at(&traits());
        assert_eq!((nothing.factor, nothing.runs.len()), (1.0, 0));
        assert!((nothing.sigma.powi(2) - k).abs() < 1e-12);
    }

    /// The more alike is named first, what moves the answer by less than a tenth not at all; an outlier counts less.
    #[test]
    fn the_most_alike_run_says_most() {
        let of = |title: &str, ln_tokens: f64, ln_factor: f64| Observation {
            traits: Traits {
                ln_tokens,
                ..traits()
            },
            ln_factor,
            title: title.to_owned(),
        };
        let near = || of("near", 8.1, 0.1);
        let far = || of("far", 12.0, 0.1);
        for all in [vec![near(), far()], vec![far(), near()]] {
            let found = Pooled::new(all).at(&traits());
            assert_eq!(found.runs[0], "near", "{found:?}");
        }
        let outlier = |ln_factor| Pooled::new(vec![near(), far(), of("odd", 8.0, ln_factor)]);
        let says = |ln_factor| outlier(ln_factor).at(&traits()).factor.ln();
        // Ten times as far from the others is less than ten times the pull.
        let (a_little, much) = (says(0.2) - says(0.1), says(1.1) - says(0.1));
        assert!(a_little > 0.0 && much < 5.0 * a_little, "{a_little} {much}");
    }

    #[test]
    fn tokens_are_counted_over_all_rows() {
        let model = sim::model::find("PixArt-alpha").expect("a known model");
        for (batch, rows) in [(1, 2), (4, 8)] {
            let request = sim::model::Request {
                batch,
                ..model.default
            };
            let workload = model.workload(&request).expect("a possible request");
            let tokens = (workload.image_tokens() + workload.text_tokens()) * rows;
            assert!((ln_tokens(&workload) - (tokens as f64).ln()).abs() < 1e-12);
        }
    }
}
