//! The rule: which runs say what.

use std::cell::RefCell;
use std::collections::BTreeMap;

use kernels::CostModel;
use sim::execution::Calibration;
use sim::model::Request;
use sim::plan::Exchange;
use sim::platform::{RateFactors, Reach};
use topologies::host::{Calibrates, Compilation};
use topologies::{CollectiveKind, DeviceId, Gpu};

use super::closed_form::{Terms, solve, terms};
use super::{Basis, Target, start};
use crate::interval::ComputeEvidence;
use crate::runs::host::Span;
use crate::runs::row::Metric;
use crate::runs::{Compiler, Elsewhere, Known, Run};
use crate::validate::statistics::median;

/// The order in which rates are calibrated, with the role that a file gives a run of each.
const KINDS: [(CollectiveKind, Calibrates); 4] = [
    (CollectiveKind::AllToAll, Calibrates::AllToAll),
    (CollectiveKind::RingPass, Calibrates::RingPass),
    (CollectiveKind::AllReduce, Calibrates::AllReduce),
    (CollectiveKind::AllGather, Calibrates::AllGather),
];
/// Least share of a run that a kind must have to calibrate its rate.
const LEAST_SHARE: f64 = 0.2;

/// A factor, and the run that says so.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Fitted {
    /// The factor.
    pub factor: f64,
    /// The run's position among the machine's own.
    pub run: usize,
}

/// What a machine's runs say of it whatever is asked.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct HostFactors {
    /// Launch factor.
    pub launch: Option<Fitted>,
    /// Rates over the usual ones.
    pub rates: BTreeMap<(CollectiveKind, Reach), Fitted>,
}

impl HostFactors {
    /// Whether a run calibrated launch or a rate.
    #[must_use]
    pub fn uses(&self, run: usize) -> bool {
        self.launch
            .iter()
            .chain(self.rates.values())
            .any(|fitted| fitted.run == run)
    }

    fn rates(&self) -> RateFactors {
        self.rates
            .iter()
            .map(|(key, fitted)| (*key, fitted.factor))
            .collect()
    }
}

/// A factor on GPU time.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct GpuTime {
    pub factor: f64,
    pub evidence: ComputeEvidence,
    /// The runs that say so, in words.
    pub runs: Vec<String>,
}

/// The rule on the runs of one machine.
pub(super) struct Rule<'a> {
    runs: &'a [Run],
    /// What is assumed before.
    start: &'a Calibration,
    /// Given by the machine file.
    launch_factor: Option<f64>,
    costs: &'a dyn CostModel,
    elsewhere: &'a Elsewhere,
    gpu: &'a Gpu,
    /// GPU times worked out, by launch factor and what was asked.
    known: RefCell<BTreeMap<Asked, Option<GpuTime>>>,
}

/// A launch factor's bits, a model, a request and a compiler.
type Asked = (u64, &'static str, Request, Compiler);

/// The factor at which `run` takes as long as measured.
#[must_use]
pub fn fit(
    run: &Run,
    (low, high): (f64, f64),
    costs: &dyn CostModel,
    with: impl Fn(f64) -> Calibration,
) -> Option<f64> {
    solve(low, high, run.measured()?, |x| {
        Some(terms(run, &with(x), costs)?.value)
    })
}

/// Kinds of collectives within the blocks of a run's plan.
#[must_use]
pub fn kinds_of(run: &Run) -> Vec<CollectiveKind> {
    let plan = run.plan();
    let exchange = match plan.exchange {
        Exchange::Ring(_) => CollectiveKind::RingPass,
        _ => CollectiveKind::AllGather,
    };
    let used = [
        (plan.ulysses > 1, CollectiveKind::AllToAll),
        (plan.exchange.degree() > 1, exchange),
        (plan.tensor > 1, CollectiveKind::AllReduce),
    ];
    used.into_iter()
        .filter(|(holds, _)| *holds)
        .map(|(_, kind)| kind)
        .collect()
}

/// How far the shape of a run is from a target's.
fn away(run: &Run, target: &Target<'_>) -> f64 {
    let tokens = |workload: &sim::workload::Workload| {
        (workload.image_tokens() + workload.text_tokens()) as f64
    };
    let shape = (tokens(&run.workload) / tokens(target.workload)).ln().abs();
    // The whole request says less of the loop than the loop.
    shape
        + if run.covers == Metric::Latency {
            0.0
        } else {
            0.1
        }
}

fn rows(workload: &sim::workload::Workload) -> u64 {
    workload.rows * workload.forwards_per_step
}

impl<'a> Rule<'a> {
    pub(super) fn new(basis: &Basis<'a>, start: &'a Calibration) -> Self {
        Self {
            runs: &basis.known.own,
            start,
            launch_factor: basis.launch_factor,
            costs: basis.costs,
            elsewhere: &basis.known.elsewhere,
            gpu: basis.platform.gpu(DeviceId::new(0)),
            known: RefCell::default(),
        }
    }

    /// One-GPU runs of a model, from the most alike; those of one shape together.
    fn alike(&self, target: &Target<'_>) -> Vec<(ComputeEvidence, f64, Vec<&'a Run>)> {
        let mut shapes: Vec<(ComputeEvidence, f64, Vec<&'a Run>)> = Vec::new();
        let one_gpu = self.runs.iter().filter(|run| {
            run.is_one_gpu()
                && run.model == target.model
                && matches!(run.role, None | Some(Calibrates::OneGpu))
        });
        for run in one_gpu {
            let same_shape = run.request.resolution == target.request.resolution
                && run.request.frames == target.request.frames
                && rows(&run.workload) == rows(target.workload);
            let evidence = match (run.compiler == target.compiler, same_shape) {
                (true, true) => ComputeEvidence::SameShape,
                (true, false) => ComputeEvidence::OtherShape,
                (false, _) => ComputeEvidence::OtherCompilation,
            };
            let shape = |run: &Run| (run.request, run.compiler, run.covers);
            match shapes
                .iter_mut()
                .find(|(.., runs)| shape(runs[0]) == shape(run))
            {
                Some((.., runs)) => runs.push(run),
                None => shapes.push((evidence, away(run, target), vec![run])),
            }
        }
        shapes.sort_by(|a, b| a.0.cmp(&b.0).then(a.1.total_cmp(&b.1)));
        shapes
    }

    /// GPU time for a target: from the machine's own runs, else from other machines with its GPU.
    pub(super) fn gpu_time(&self, target: &Target<'_>, launch: f64) -> Option<GpuTime> {
        let asked = (
            launch.to_bits(),
            &*target.model.name,
            *target.request,
            target.compiler,
        );
        if let Some(known) = self.known.borrow().get(&asked) {
            return known.clone();
        }
        let own = self.own_gpu_time(target, launch);
        let found = own.or_else(|| {
            let runs = self.elsewhere.runs(self.gpu, target.model);
            elsewhere(&runs, target, self.costs)
        });
        self.known.borrow_mut().insert(asked, found.clone());
        found
    }

    fn own_gpu_time(&self, target: &Target<'_>, launch: f64) -> Option<GpuTime> {
        self.alike(target)
            .into_iter()
            .find_map(|(evidence, _, runs)| {
                let fitted = runs
                    .iter()
                    .filter_map(|run| Some((self.fit_gpu_time(run, launch)?, run.title())));
                let (factors, runs): (Vec<f64>, Vec<String>) = fitted.unzip();
                (!factors.is_empty()).then(|| GpuTime {
                    factor: median(factors),
                    evidence,
                    runs,
                })
            })
    }

    fn fit_gpu_time(&self, run: &Run, launch: f64) -> Option<f64> {
        let with = |compute| Calibration {
            compute,
            launch,
            ..self.start.clone()
        };
        // What encoders and the VAE are said to take would leave nothing for the loop.
        let fixed = terms(run, &with(1.0), self.costs)?.fixed;
        if run.measured()? <= 1.02 * fixed {
            return None;
        }
        fit(run, (0.2, 6.0), self.costs, with)
    }

    /// What is said of a run by what was calibrated so far, and on what its GPU time rests.
    fn so_far(&self, run: &Run, factors: &HostFactors) -> (Calibration, ComputeEvidence) {
        let launch = self
            .launch_factor
            .or(factors.launch.map(|fitted| fitted.factor));
        let launch = launch.unwrap_or(self.start.launch);
        let found = self.gpu_time(&Target::of(run), launch);
        let calibration = Calibration {
            compute: found
                .as_ref()
                .map_or(self.start.compute, |found| found.factor),
            launch,
            rates: factors.rates(),
            passes: self.start.passes.clone(),
        };
        (
            calibration,
            found.map_or(ComputeEvidence::None, |found| found.evidence),
        )
    }

    fn several(&self) -> impl Iterator<Item = (usize, &'a Run)> {
        self.runs
            .iter()
            .enumerate()
            .filter(|(_, run)| !run.is_one_gpu() && run.measured().is_some())
    }

    /// Launch factor and rates.
    pub(super) fn host(&self) -> HostFactors {
        let mut factors = HostFactors::default();
        if self.launch_factor.is_none() {
            factors.launch = self.launch();
        }
        for (kind, role) in KINDS {
            for reach in [Reach::Host, Reach::Network] {
                if let Some(fitted) = self.rate((kind, reach), role, &factors) {
                    factors.rates.insert((kind, reach), fitted);
                }
            }
        }
        self.refine(&mut factors);
        factors
    }

    fn launch(&self) -> Option<Fitted> {
        let none = HostFactors::default();
        let mut candidates: Vec<(bool, bool, f64, usize)> = Vec::new();
        for (index, run) in self.several() {
            let wanted = run.role == Some(Calibrates::Launch);
            let plain = run.compiler.compilation() == Compilation::Eager
                && run.span == Span::OneBox
                && run.is_printed_split()
                && (run.role.is_none() || wanted);
            let found = plain.then(|| terms(run, &self.so_far(run, &none).0, self.costs));
            let Some(found) = found.flatten() else {
                continue;
            };
            let messages: f64 = found.exposed.values().sum();
            let ratio = found.launch / found.gpu.max(1e-12);
            if wanted || ratio >= 0.8 && messages < 0.5 * found.gpu {
                candidates.push((!wanted, run.is_digitised(), -ratio, index));
            }
        }
        candidates.sort_by(|a, b| {
            (a.0, a.1)
                .cmp(&(b.0, b.1))
                .then(a.2.total_cmp(&b.2))
                .then(a.3.cmp(&b.3))
        });
        let &(.., run) = candidates.first()?;
        let (calibration, _) = self.so_far(&self.runs[run], &none);
        let with = |launch| Calibration {
            launch,
            ..calibration.clone()
        };
        let factor = fit(&self.runs[run], (0.15, 2.5), self.costs, with)?;
        Some(Fitted { factor, run })
    }

    fn rate(
        &self,
        key: (CollectiveKind, Reach),
        role: Calibrates,
        factors: &HostFactors,
    ) -> Option<Fitted> {
        let unused = self.several().filter(|(index, _)| !factors.uses(*index));
        let mut candidates: Vec<(Fitness, usize)> = unused
            .filter_map(|(index, run)| Some((self.fitness(run, key, role, factors)?, index)))
            .collect();
        candidates.sort_by(|a, b| a.0.compare(&b.0).then(a.1.cmp(&b.1)));
        let fits = |(_, run): (Fitness, usize)| {
            Some(Fitted {
                factor: self.fit_rate(run, key, factors)?,
                run,
            })
        };
        candidates.into_iter().find_map(fits)
    }

    fn fit_rate(
        &self,
        run: usize,
        key: (CollectiveKind, Reach),
        factors: &HostFactors,
    ) -> Option<f64> {
        let run = &self.runs[run];
        let (calibration, _) = self.so_far(run, factors);
        fit(run, (0.1, 10.0), self.costs, |x| {
            with_rate(&calibration, key, x)
        })
    }

    fn refine(&self, factors: &mut HostFactors) {
        let mut order: Vec<_> = factors
            .rates
            .iter()
            .map(|(key, fitted)| (fitted.run, *key))
            .collect();
        order.sort_unstable();
        for (run, key) in order {
            if let Some(factor) = self.fit_rate(run, key, factors) {
                factors.rates.insert(key, Fitted { factor, run });
            }
        }
    }

    /// How well `run` says the rate of `key`; `None` when it does not.
    fn fitness(
        &self,
        run: &Run,
        key: (CollectiveKind, Reach),
        role: Calibrates,
        factors: &HostFactors,
    ) -> Option<Fitness> {
        let (kind, reach) = key;
        let place = match reach {
            Reach::Host => run.span == Span::OneBox && !run.platform.is_nvlink(),
            Reach::Network => run.span == Span::Boxes,
        };
        let kinds = kinds_of(run);
        let wanted = run.role == Some(role);
        let may = run.role.is_none() || wanted;
        if !place || !may || !run.is_printed_split() || !kinds.contains(&kind) {
            return None;
        }
        let (calibration, evidence) = self.so_far(run, factors);
        let found: Terms = terms(run, &calibration, self.costs)?;
        let enough = found.share(key) >= LEAST_SHARE && found.gpu >= 1.5 * found.launch;
        let pipelined = run.plan().pipeline.stages > 1;
        (enough || wanted).then(|| Fitness {
            coarse: (
                !wanted,
                run.plan().is_stale() && !pipelined,
                kinds.len() - 1 + usize::from(pipelined),
                run.compiler.compilation() == Compilation::Compiled,
                evidence > ComputeEvidence::OtherShape,
            ),
            time: found.exposed.get(&key).copied().unwrap_or(0.0) * run.forwards(run.plan()),
        })
    }
}

/// How well a run says a rate; the best first.
struct Fitness {
    /// Whether it has no such role; hides messages; has other kinds; is compiled; is far from a one-GPU run.
    coarse: (bool, bool, usize, bool, bool),
    /// Seconds in this kind: the longer, the less anything else matters.
    time: f64,
}

impl Fitness {
    fn compare(&self, other: &Self) -> std::cmp::Ordering {
        self.coarse
            .cmp(&other.coarse)
            .then(other.time.total_cmp(&self.time))
    }
}

/// `calibration` with another factor on one rate.
#[must_use]
pub fn with_rate(
    calibration: &Calibration,
    key: (CollectiveKind, Reach),
    factor: f64,
) -> Calibration {
    let mut changed = calibration.clone();
    changed.rates.insert(key, factor);
    changed
}

/// GPU time for a target from runs of other machines with this GPU: the median over them, of compiled runs for a compiled
/// target where there are some.
fn elsewhere(runs: &[Run], target: &Target<'_>, costs: &dyn CostModel) -> Option<GpuTime> {
    let mut hosts: BTreeMap<_, Known> = BTreeMap::new();
    for run in runs {
        hosts
            .entry(&run.host)
            .or_insert_with(Known::nothing)
            .own
            .push(run.clone());
    }
    let of_host = |known: &Known| {
        let platform = &known.own[0].platform;
        let (calibration, ..) = start(platform, None);
        let basis = Basis {
            known,
            platform,
            launch_factor: None,
            costs,
        };
        let rule = Rule::new(&basis, &calibration);
        let launch = rule
            .launch()
            .map_or(calibration.launch, |fitted| fitted.factor);
        rule.gpu_time(target, launch)
    };
    let found: Vec<GpuTime> = hosts.values().filter_map(of_host).collect();
    let same = |one: &&GpuTime| one.evidence < ComputeEvidence::OtherCompilation;
    let compiled_alike = found.iter().any(|one| same(&one));
    let used: Vec<&GpuTime> = found
        .iter()
        .filter(|one| !compiled_alike || same(one))
        .collect();
    let factors: Vec<f64> = used.iter().map(|one| one.factor).collect();
    (!factors.is_empty()).then(|| GpuTime {
        factor: median(factors),
        evidence: ComputeEvidence::OtherHost,
        runs: used.iter().flat_map(|one| one.runs.clone()).collect(),
    })
}
