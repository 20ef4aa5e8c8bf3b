//! The road that users walk, for a published run: a question with what may be known, asked of `search`.
//!
//! | tier | machine | runs that the prediction rests on |
//! |---|---|---|
//! | in sample | the preset that is the host, or the label's box | those of the host, and built-in ones of other machines |
//! | project left out | the label's box | built-in runs of other projects |
//! | nothing known | the label's box | none |

use std::collections::BTreeMap;
use std::sync::Arc;

use kernels::Tables;
use rayon::prelude::*;
use topologies::host::PublishedHost;
use topologies::{CollectiveKind, Machine};

use super::hygiene::Flags;
use crate::calibrate::{
    Basis, Calibrated, HostFactors, Target, Terms, calibrate, host_factors, terms,
};
use crate::interval::ComputeEvidence;
use crate::runs::host::{self, Span};
use crate::runs::row::Metric;
use crate::runs::{Elsewhere, Known, Run};
use crate::search::{self, Candidate, Question, Shared};

/// What a prediction may rest on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Tier {
    /// All that is known of the host.
    InSample,
    /// What others measured.
    ProjectLeftOut,
    /// No run at all.
    NothingKnown,
}

/// Where runs of hosts come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// Of presets the built-in runs, of other hosts the files.
    Shipped,
    /// The files, for all hosts: what the built-in runs are drawn from.
    Files,
}

/// What a run that calibrates says of its host.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Says {
    /// GPU time.
    GpuTime,
    /// The factor of launch time.
    Launch(f64),
    /// A collective's rate, over the usual one.
    Rate(CollectiveKind, f64),
}

/// What is known of every host of some runs.
pub struct Hosts {
    hosts: BTreeMap<Key, Host>,
}

/// A host, and which of its machines.
type Key = (PublishedHost, String);

fn key(run: &Run) -> Key {
    let machine = format!("{} {}", run.machine.name, run.machine.interconnect());
    (run.host.clone(), machine)
}

/// What is known of a host, and what that says whatever is asked.
struct Host {
    known: Arc<Known>,
    factors: HostFactors,
    shared: Arc<Shared>,
}

impl Hosts {
    /// From the runs whose `flags` are empty.
    #[must_use]
    pub fn new(runs: &[Run], flags: &Flags, source: Source) -> Self {
        let mut clean: BTreeMap<&PublishedHost, Vec<&Run>> = BTreeMap::new();
        let mut machines: BTreeMap<Key, &Run> = BTreeMap::new();
        for (run, flag) in runs.iter().zip(flags) {
            machines.entry(key(run)).or_insert(run);
            if flag.is_none()
                && run.covers.is_latency()
                && run.measured().is_some()
                && run.is_plain()
            {
                clean.entry(&run.host).or_default().push(run);
            }
        }
        let host = |(key, run): (Key, &Run)| {
            let shipped = source == Source::Shipped && !run.machine.host.published.is_empty();
            let known = if shipped {
                Known::of_machine(&run.machine).expect("presets have readable runs")
            } else {
                let own = clean.get(&run.host).into_iter().flatten();
                Known {
                    own: own.map(|run| (*run).clone()).collect(),
                    // The built-in runs are drawn from the files: by nothing but these.
                    elsewhere: match source {
                        Source::Shipped => Elsewhere::All,
                        Source::Files => Elsewhere::Nothing,
                    },
                    ..Known::default()
                }
            };
            let factors = host_factors(&basis(run, &known), None);
            let known = Arc::new(known);
            (
                key,
                Host {
                    known,
                    factors,
                    shared: Arc::default(),
                },
            )
        };
        Self {
            hosts: machines.into_par_iter().map(host).collect(),
        }
    }

    /// The runs that a prediction of `run` may rest on, and what predictions on them share.
    #[must_use]
    pub fn known(&self, run: &Run, tier: Tier) -> (Arc<Known>, Arc<Shared>) {
        match tier {
            Tier::NothingKnown => (Arc::new(Known::nothing()), Arc::default()),
            Tier::ProjectLeftOut => {
                let elsewhere = Elsewhere::Without(run.project.clone());
                (
                    Arc::new(Known {
                        elsewhere,
                        ..Known::default()
                    }),
                    Arc::default(),
                )
            }
            Tier::InSample => {
                let host = &self.hosts[&key(run)];
                (Arc::clone(&host.known), Arc::clone(&host.shared))
            }
        }
    }

    /// In-sample factors for a run.
    #[must_use]
    pub fn calibrated(&self, run: &Run) -> Calibrated {
        let host = &self.hosts[&key(run)];
        calibrate(
            &basis(run, &host.known),
            &host.factors,
            &Target::of(run),
            None,
        )
    }

    /// GPU time over the kernel costs of a run, and what that rests on.
    #[must_use]
    pub fn compute_of(&self, run: &Run) -> (f64, ComputeEvidence) {
        let calibrated = self.calibrated(run);
        (calibrated.calibration.compute, calibrated.evidence.compute)
    }

    /// The closed form of a run, in sample.
    #[must_use]
    pub fn terms(&self, run: &Run) -> Option<Terms> {
        terms(run, &self.calibrated(run).calibration, Tables::built_in())
    }

    /// What a run was used for, where it calibrated its host.
    #[must_use]
    pub fn used(&self, run: &Run) -> Option<Says> {
        let Host { known, factors, .. } = self.hosts.get(&key(run))?;
        let same = |own: &Run| {
            own.host == run.host
                && own.key() == run.key()
                && own.gpus == run.gpus
                && own.strategy == run.strategy
                && own.value == run.value
        };
        let index = known.own.iter().position(same)?;
        if run.is_one_gpu() {
            return Some(Says::GpuTime);
        }
        if let Some(launch) = factors.launch.filter(|fitted| fitted.run == index) {
            return Some(Says::Launch(launch.factor));
        }
        let rate = factors.rates.iter().find(|(_, fitted)| fitted.run == index);
        rate.map(|((kind, _), fitted)| Says::Rate(*kind, fitted.factor))
    }
}

fn basis<'a>(run: &'a Run, known: &'a Known) -> Basis<'a> {
    Basis {
        known,
        platform: &run.platform,
        launch_factor: run.machine.host.launch_factor,
        costs: Tables::built_in(),
    }
}

/// The question that a user on the run's machine would ask; none where the machine is known of its own project alone.
#[must_use]
pub fn question(run: &Run, known: Arc<Known>, tier: Tier) -> Option<Question> {
    let machine: Machine = match (tier, run.span) {
        (Tier::InSample, _) | (Tier::NothingKnown | Tier::ProjectLeftOut, Span::Emulated(_)) => {
            Machine::clone(&run.machine)
        }
        (_, Span::Boxes) => return None,
        (_, Span::OneBox) => host::labelled(&run.host.interconnect, run.gpu(), run.gpus),
    };
    let asked = Question::new(run.model, machine).ok()?;
    Some(Question {
        request: run.request,
        gpus: run.gpus,
        known,
        engine: run.engine,
        attention: Some(run.attention),
        compilation: run.compiler.compilation(),
        ..asked
    })
}

/// The prediction of a run: the user's answer for the fastest of its plans, as far as the value covers it, in seconds with
/// the factor of its interval; none where there is no question, or no answer to it.
#[must_use]
pub fn predict(run: &Run, hosts: &Hosts, tier: Tier) -> Option<(Candidate, f64, f64)> {
    let (known, shared) = hosts.known(run, tier);
    let question = question(run, known, tier)?;
    let found = search::candidates(&question, &run.strategy.plans, &shared).ok()?;
    let fastest = found
        .into_iter()
        .min_by_key(|candidate| candidate.latency)?;
    let (encode, decode) = fastest.phases;
    let value = match run.covers {
        Metric::Latency => fastest.latency,
        _ => fastest.latency.saturating_sub(encode + decode),
    };
    let factor = fastest.hi.as_secs_f64() / fastest.latency.as_secs_f64();
    Some((fastest, value.as_secs_f64(), factor))
}
