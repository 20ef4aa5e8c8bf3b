//! Calibration by rule: what measured runs say of a machine's speed.
//!
//! | order | what | from |
//! |---|---|---|
//! | 1 | GPU time | one-GPU runs, the more alike the more weight (`gpu_time.rs`) |
//! | 2 | launch factor | the most launch-bound eager run with little communication, printed ones first, by its weight |
//! | 3 | GPU time again | with the new launch factor |
//! | 4 | rates, by kind and reach; not within NVLink hosts | the run that spends longest in that kind, if that is 20 % of it or more |
//! | 5 | each rate once more, the others in place | the same runs |
//!
//! Each is the one number that makes the predicted time of its run the measured one. Launch factor and rates are shared by
//! every plan, model and request on the machine. A run that its file gives a role (`calibrates`) plays that one alone.
//!
//! Guarantees: users, presets and validation are calibrated here and nowhere else; a run that is used is named. Not modelled:
//! drift between the runs of a machine.

mod built_in;
mod closed_form;
mod gpu_time;
mod rule;

use kernels::CostModel;
use sim::execution::Calibration;
use sim::model::{Model, Request};
use sim::platform::{Platform, Reach};
use sim::workload::Workload;
use topologies::host::Compilation;
use topologies::{CollectiveKind, DeviceId};

pub use self::closed_form::{Terms, solve, terms};
pub use self::rule::{Fitted, HostFactors, fit, kinds_of, with_rate};
use crate::interval::{ComputeEvidence, Evidence, RateEvidence};
use crate::launch::Engine;
use crate::profile;
use crate::runs::{Compiler, Known, Run};
use rule::{GpuTime, Rule};

/// What is to be predicted, as far as calibration depends on it.
#[derive(Clone, Copy, Debug)]
pub struct Target<'a> {
    /// The model.
    pub model: &'static Model,
    /// What is asked of it.
    pub request: &'a Request,
    /// What a forward pass does.
    pub workload: &'a Workload,
    /// Whether it is compiled, and by what.
    pub compiler: Compiler,
    /// Who executes it.
    pub engine: Engine,
}

impl<'a> Target<'a> {
    /// A run, as something to predict.
    #[must_use]
    pub fn of(run: &'a Run) -> Self {
        Self {
            model: run.model,
            request: &run.request,
            workload: &run.workload,
            compiler: run.compiler,
            engine: run.engine,
        }
    }
}

/// A calibration, what it rests on, and how it came about.
#[derive(Clone, Debug)]
pub struct Calibrated {
    /// The factors.
    pub calibration: Calibration,
    /// What they rest on.
    pub evidence: Evidence,
    /// One for each number.
    pub notes: Vec<Note>,
}

/// Where a number of a calibration is from.
#[derive(Clone, Debug, PartialEq)]
pub enum Note {
    /// GPU time over the kernel costs.
    GpuTime {
        /// The factor.
        factor: f64,
        /// What it rests on.
        evidence: ComputeEvidence,
        /// The titles of the runs that say so; none where it is assumed or from a profile.
        runs: Vec<String>,
        /// What the first of them has in common with what is asked.
        first: ComputeEvidence,
    },
    /// A run of the machine's file that is not used.
    Unused {
        /// The run's title.
        run: String,
        /// Why not.
        why: Unused,
    },
    /// Two one-GPU runs of what is asked that contradict each other; the interval holds both.
    Contradiction([String; 2]),
    /// Launch time over that of the reference host.
    Launch {
        /// The factor.
        factor: f64,
        /// What it rests on.
        from: LaunchSource,
    },
    /// A collective's rate over its usual one.
    Rate {
        /// Which.
        kind: CollectiveKind,
        /// Within a box, or between boxes.
        reach: Reach,
        /// The factor.
        factor: f64,
        /// The run that says so.
        run: String,
    },
}

/// Why a run of a machine's file is not used.
#[derive(Clone, Debug, PartialEq)]
pub enum Unused {
    /// On one GPU: no factor on GPU time between these makes it as long as it was measured.
    GpuTime((f64, f64)),
    /// No rate of these messages does.
    Rate(CollectiveKind),
    /// It is bound by launching, and no launch factor does.
    Launch,
    /// It is bound by launching, and the file gives the launch factor.
    Given,
    /// Its split of ranks is not stated.
    Split,
    /// Rates among GPUs joined by NVLink are measured tables, which no run moves, and launching does not bound it.
    Tables,
    /// Neither the messages nor launching take enough of it.
    Hidden,
    /// This run says better what it could say.
    Another(String),
    /// It is of the same plan for the same request as this one, which is used, and took another time.
    Contradicts(String),
}

/// What a launch factor rests on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LaunchSource {
    /// The machine file gives it.
    File,
    /// A launch-bound run.
    Run(String),
    /// A profile's blocks.
    Profile,
    /// Nothing.
    Assumed,
}

/// Standard deviation of ln GPU time where blocks of the model were measured on the GPU.
const PROFILE_SIGMA: f64 = 0.13;

/// What is known before any run: what is assumed, or what a profile of the GPU says.
fn start(
    platform: &Platform,
    profile: Option<&profile::Host>,
) -> (Calibration, Evidence, LaunchSource) {
    let nvlink = platform.is_nvlink();
    let server = platform.is_of_servers();
    let mut calibration = Calibration::assumed(server);
    let mut evidence = Evidence {
        compute: ComputeEvidence::None,
        compute_sigma: 0.0,
        launch_calibrated: false,
        calibrated: Vec::new(),
        other_rates: if nvlink {
            RateEvidence::Table
        } else {
            RateEvidence::Assumed
        },
    };
    let mut launch = LaunchSource::Assumed;
    if let Some(profile) = profile {
        calibration.passes.clone_from(&profile.passes);
        if profile.blocks_measured {
            calibration.compute = 1.0;
            evidence.compute = ComputeEvidence::Profile;
            evidence.compute_sigma = PROFILE_SIGMA;
        }
        if let Some(factor) = profile.launch {
            calibration.launch = factor;
            launch = LaunchSource::Profile;
        }
    }
    (calibration, evidence, launch)
}

/// What a machine is calibrated from.
#[derive(Clone, Copy)]
pub struct Basis<'a> {
    /// The runs.
    pub known: &'a Known,
    /// The machine as its runs were measured.
    pub platform: &'a Platform,
    /// The launch factor that the machine file gives.
    pub launch_factor: Option<f64>,
    /// What operations cost.
    pub costs: &'a dyn CostModel,
}

/// What the runs of a machine say of it whatever is asked: launch factor and rates, with the runs that say so.
#[must_use]
pub fn host_factors(basis: &Basis<'_>, profile: Option<&profile::Host>) -> HostFactors {
    let (calibration, ..) = start(basis.platform, profile);
    Rule::new(basis, &calibration).host()
}

/// What is known of a machine, asked for `target`; where no run says anything, what a profile of the GPU does.
#[must_use]
pub fn calibrate(
    basis: &Basis<'_>,
    host: &HostFactors,
    target: &Target<'_>,
    profile: Option<&profile::Host>,
) -> Calibrated {
    let Basis {
        known,
        platform,
        launch_factor,
        ..
    } = *basis;
    let (mut calibration, mut evidence, mut launch) = start(platform, profile);
    let mut notes = Vec::new();
    if let Some(factor) = launch_factor {
        calibration.launch = factor;
        launch = LaunchSource::File;
    } else if let Some(fitted) = &host.launch {
        calibration.launch = fitted.factor;
        launch = LaunchSource::Run(known.own[fitted.run].title());
    }
    evidence.launch_calibrated = matches!(launch, LaunchSource::File | LaunchSource::Run(_));
    notes.push(Note::Launch {
        factor: calibration.launch,
        from: launch,
    });
    let (mut runs, mut first) = (Vec::new(), evidence.compute);
    let mut contradiction = None;
    // Blocks of the model on this very GPU say more than runs of others.
    if evidence.compute != ComputeEvidence::Profile || has_own(known, target) {
        let gpu = platform.gpu(DeviceId::new(0));
        let found = GpuTime::of(&host.gpu_time, gpu, target);
        calibration.compute = found.estimate.factor;
        evidence.compute = found.evidence;
        evidence.compute_sigma = found.estimate.sigma;
        runs = found.estimate.runs;
        first = found.estimate.first;
        contradiction = found.estimate.contradiction;
    }
    notes.push(Note::GpuTime {
        factor: calibration.compute,
        evidence: evidence.compute,
        runs,
        first,
    });
    notes.extend(contradiction.map(Note::Contradiction));
    let unused = host.unused.iter().map(|(run, why)| (&known.own[*run], why));
    // What a run on several GPUs says holds for every model.
    let unused = unused.filter(|(run, _)| !run.is_one_gpu() || run.model == target.model);
    notes.extend(unused.map(|(run, why)| Note::Unused {
        run: run.title(),
        why: why.clone(),
    }));
    for (&(kind, reach), fitted) in &host.rates {
        calibration.rates.insert((kind, reach), fitted.factor);
        evidence.calibrated.push((kind, reach));
        let run = known.own[fitted.run].title();
        notes.push(Note::Rate {
            kind,
            reach,
            factor: fitted.factor,
            run,
        });
    }
    Calibrated {
        calibration,
        evidence,
        notes,
    }
}

/// Whether the machine has a one-GPU run of the target's model.
fn has_own(known: &Known, target: &Target<'_>) -> bool {
    let mut own = known.own.iter();
    own.any(|run| run.is_one_gpu() && run.model == target.model)
}

/// Eager or compiled, as a compiler.
#[must_use]
pub const fn compiler(compilation: Compilation) -> Compiler {
    match compilation {
        Compilation::Eager => Compiler::None,
        Compilation::Compiled => Compiler::Torch,
    }
}
