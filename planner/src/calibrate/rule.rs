//! The rule: which runs say what.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;

use kernels::CostModel;
use sim::execution::Calibration;
use sim::plan::Exchange;
use sim::platform::{RateFactors, Reach};
use topologies::host::{Calibrates, Compilation};
use topologies::{CollectiveKind, DeviceId, Gpu};

use super::built_in::{said_elsewhere, without_own};
use super::closed_form::{Terms, solve, terms};
use super::gpu_time::{Estimate, Host, Observation, Pooled, Traits, chip, ln_tokens};
use super::{Basis, Target, Unused};
use crate::interval::ComputeEvidence;
use crate::runs::host::Span;
use crate::runs::{Elsewhere, Run};

/// The order in which rates are calibrated, with the role that a file gives a run of each.
const KINDS: [(CollectiveKind, Calibrates); 4] = [
    (CollectiveKind::AllToAll, Calibrates::AllToAll),
    (CollectiveKind::RingPass, Calibrates::RingPass),
    (CollectiveKind::AllReduce, Calibrates::AllReduce),
    (CollectiveKind::AllGather, Calibrates::AllGather),
];
/// Standard deviation of the logarithm of hosts' launch factors about the usual one.
const LAUNCH_SPREAD: f64 = 0.3;
/// The same of a collective's rate about the usual one of its wiring.
const RATE_SPREAD: f64 = 0.4;
/// Of the logarithm of a run's time, besides what one number says.
const RUN_SPREAD: f64 = 0.08;
/// Factors on GPU time that are sought.
const GPU_TIMES: (f64, f64) = (0.2, 6.0);
/// Least share of a run that a kind must have to calibrate its rate.
const LEAST_SHARE: f64 = 0.2;
/// Least launch time, over GPU time, of a run that calibrates launching: below it a run says nearly nothing ([`weighed`]).
const LEAST_LAUNCH: f64 = 0.5;

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
    /// What runs say of GPU time at this launch factor.
    pub(super) gpu_time: Arc<Pooled>,
    /// Runs of the machine's file that say nothing, by their position, and why.
    pub(super) unused: Vec<(usize, Unused)>,
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

/// A factor on GPU time, and the most alike run that it rests on.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct GpuTime {
    pub estimate: Estimate,
    pub evidence: ComputeEvidence,
}

impl GpuTime {
    /// For a target on a machine's GPU, from its own runs and those of others.
    pub(super) fn of(pooled: &Pooled, gpu: &Gpu, target: &Target<'_>) -> Self {
        let traits = Traits {
            architecture: gpu.architecture,
            chip: chip(gpu),
            engine: target.engine,
            compilation: target.compiler.compilation(),
            model: target.model,
            host: Host::Asked,
            ln_tokens: ln_tokens(target.workload),
        };
        let observations = pooled.observations().iter();
        let evidence = observations.map(|one| traits.evidence(&one.traits));
        Self {
            evidence: evidence.min().unwrap_or(ComputeEvidence::None),
            estimate: pooled.at(&traits),
        }
    }
}

/// Whether stages of a pipeline send each other long skips: that is not modelled, and would look like launching.
fn sends_skips(run: &Run) -> bool {
    run.plan().pipeline.stages > 1 && run.model.architecture.has_long_skips()
}

/// The rule on the runs of one machine.
pub(super) struct Rule<'a> {
    runs: &'a [Run],
    /// Whether they are of another machine: its links are others.
    carried: bool,
    /// What is assumed before.
    start: &'a Calibration,
    /// Given by the machine file.
    launch_factor: Option<f64>,
    costs: &'a dyn CostModel,
    elsewhere: &'a Elsewhere,
    gpu: &'a Gpu,
    /// What runs say of GPU time, by the bits of the launch factor.
    pooled: RefCell<BTreeMap<u64, Arc<Pooled>>>,
}

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

impl<'a> Rule<'a> {
    pub(super) fn new(basis: &Basis<'a>, start: &'a Calibration) -> Self {
        Self {
            runs: &basis.known.own,
            carried: basis.known.carried,
            start,
            launch_factor: basis.launch_factor,
            costs: basis.costs,
            elsewhere: &basis.known.elsewhere,
            gpu: basis.platform.gpu(DeviceId::new(0)),
            pooled: RefCell::default(),
        }
    }

    fn one_gpu_runs(&self) -> impl Iterator<Item = (usize, &'a Run)> {
        let runs = self.runs.iter().enumerate();
        runs.filter(|(_, run)| {
            run.is_one_gpu() && matches!(run.role, None | Some(Calibrates::OneGpu))
        })
    }

    /// One-GPU runs of the machine, and what each says at this launch factor.
    fn own_gpu_times(&self, launch: f64) -> Vec<Observation> {
        let said = self.one_gpu_runs().filter_map(|(_, run)| {
            Some(Observation {
                traits: Traits::of_run(run, Host::Asked),
                ln_factor: self.fit_gpu_time(run, launch)?.ln(),
                title: run.title(),
            })
        });
        said.collect()
    }

    fn pooled(&self, launch: f64) -> Arc<Pooled> {
        let known = self.pooled.borrow().get(&launch.to_bits()).cloned();
        known.unwrap_or_else(|| {
            let pooled = match self.own_gpu_times(launch) {
                own if own.is_empty() => without_own(self.elsewhere),
                mut all => {
                    let own: Vec<_> = self.runs.iter().map(|run| &run.host).collect();
                    all.extend(said_elsewhere(self.elsewhere, &own));
                    Arc::new(Pooled::new(all))
                }
            };
            let mut known = self.pooled.borrow_mut();
            known.insert(launch.to_bits(), Arc::clone(&pooled));
            pooled
        })
    }

    fn gpu_time(&self, target: &Target<'_>, launch: f64) -> GpuTime {
        GpuTime::of(&self.pooled(launch), self.gpu, target)
    }

    pub(super) fn fit_gpu_time(&self, run: &Run, launch: f64) -> Option<f64> {
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
        fit(run, GPU_TIMES, self.costs, with)
    }

    /// What is said of a run by what was calibrated so far, and on what its GPU time rests.
    fn so_far(&self, run: &Run, factors: &HostFactors) -> (Calibration, ComputeEvidence) {
        let launch = self
            .launch_factor
            .or(factors.launch.map(|fitted| fitted.factor));
        let launch = launch.unwrap_or(self.start.launch);
        let found = self.gpu_time(&Target::of(run), launch);
        let calibration = Calibration {
            compute: found.estimate.factor,
            launch,
            rates: factors.rates(),
            passes: self.start.passes.clone(),
        };
        (calibration, found.evidence)
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
        let kinds = KINDS.into_iter().filter(|_| !self.carried);
        for (kind, role) in kinds {
            for reach in [Reach::Host, Reach::Network] {
                if let Some(fitted) = self.rate((kind, reach), role, &factors) {
                    factors.rates.insert((kind, reach), fitted);
                }
            }
        }
        self.refine(&mut factors);
        let launch = factors.launch.map(|fitted| fitted.factor);
        let launch = self.launch_factor.or(launch).unwrap_or(self.start.launch);
        factors.gpu_time = self.pooled(launch);
        let own = self.one_gpu_runs();
        let unexplained = own.filter(|(_, run)| self.fit_gpu_time(run, launch).is_none());
        let unexplained = unexplained.map(|(index, _)| (index, Unused::GpuTime(GPU_TIMES)));
        factors.unused = unexplained.collect();
        if !self.carried {
            let several = self.several().filter(|(_, run)| run.is_of_machine_file());
            let unused = several.filter_map(|(index, run)| {
                let why = (!factors.uses(index)).then(|| self.unused(run, &factors))?;
                Some((index, why))
            });
            factors.unused.extend(unused.collect::<Vec<_>>());
        }
        factors
    }

    fn launch(&self) -> Option<Fitted> {
        let none = HostFactors::default();
        let candidates = self.several().filter_map(|(index, run)| {
            let ratio = self.launch_bound(run)?;
            let wanted = run.role == Some(Calibrates::Launch);
            Some((!wanted, run.is_digitised(), -ratio, index))
        });
        let mut candidates: Vec<(bool, bool, f64, usize)> = candidates.collect();
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
        if self.runs[run].role == Some(Calibrates::Launch) {
            return Some(Fitted { factor, run });
        }
        // What is usual of hosts, moved by the run's weight.
        let slope = self.slope(&self.runs[run], factor, &with)?;
        let usual = self.start.launch;
        let factor = usual * weighed(factor / usual, slope, LAUNCH_SPREAD);
        Some(Fitted { factor, run })
    }

    /// How much longer launching takes than the GPU in a run that may say the launch factor; `None` where it may not.
    fn launch_bound(&self, run: &Run) -> Option<f64> {
        let wanted = run.role == Some(Calibrates::Launch);
        let plain = run.compiler.compilation() == Compilation::Eager
            && run.span == Span::OneBox
            && run.is_printed_split()
            && (run.role.is_none() && !sends_skips(run) || wanted);
        let (calibration, _) = plain.then(|| self.so_far(run, &HostFactors::default()))?;
        let found = terms(run, &calibration, self.costs)?;
        let messages: f64 = found.exposed.values().sum();
        let ratio = found.launch / found.gpu.max(1e-12);
        (wanted || ratio >= LEAST_LAUNCH && messages < 0.5 * found.gpu).then_some(ratio)
    }

    /// Why a run on several GPUs says nothing.
    fn unused(&self, run: &Run, factors: &HostFactors) -> Unused {
        let used = |fitted: &Fitted| &self.runs[fitted.run];
        let mut others = factors.launch.iter().chain(factors.rates.values());
        if let Some(other) = others.find(|fitted| contradict(run, used(fitted))) {
            return Unused::Contradicts(used(other).title());
        }
        if !run.is_printed_split() {
            return Unused::Split;
        }
        for (kind, role) in KINDS {
            for reach in [Reach::Host, Reach::Network] {
                let key = (kind, reach);
                if self.fitness(run, key, role, factors).is_some() {
                    let other = factors.rates.get(&key).map(|fitted| used(fitted).title());
                    return other.map_or(Unused::Rate(kind), Unused::Another);
                }
            }
        }
        match (self.launch_bound(run), self.launch_factor, &factors.launch) {
            (Some(_), Some(_), _) => Unused::Given,
            (Some(_), None, Some(fitted)) => Unused::Another(used(fitted).title()),
            (Some(_), None, None) => Unused::Launch,
            (None, ..) if run.platform.is_nvlink() => Unused::Tables,
            (None, ..) => Unused::Hidden,
        }
    }

    /// By how much of 1 % a run grows where what `with` sets does by 1 %.
    fn slope(&self, run: &Run, at: f64, with: &impl Fn(f64) -> Calibration) -> Option<f64> {
        let value = |x| Some(terms(run, &with(x), self.costs)?.value);
        Some((value(1.05 * at)? / value(at)?).ln() / 1.05_f64.ln())
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
        let with = |x| with_rate(&calibration, key, x);
        let factor = fit(run, (0.1, 20.0), self.costs, with)?;
        if run.role.is_some() {
            return Some(factor);
        }
        let slope = self.slope(run, factor, &with)?;
        Some(weighed(factor, slope, RATE_SPREAD))
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

/// Whether two runs of one plan for one request differ by more than runs do.
fn contradict(run: &Run, other: &Run) -> bool {
    let same = run.key() == other.key() && run.strategy.plans == other.strategy.plans;
    let times = run.measured().zip(other.measured());
    same && times.is_some_and(|(one, another)| (one / another).ln().abs() > 2.0 * RUN_SPREAD)
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

/// The factor that a run says, drawn to 1 by what it does not settle: `slope` is how the run's time follows the factor.
fn weighed(factor: f64, slope: f64, spread: f64) -> f64 {
    let noise = (RUN_SPREAD / slope.abs().max(1e-6)).powi(2);
    (factor.ln() * spread.powi(2) / (spread.powi(2) + noise)).exp()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_moves_a_factor_by_its_weight() {
        // Spread .4 against noise .08 / .2 = .4: half of the way, in logarithms.
        assert!((weighed(4.0, -0.2, 0.4) - 2.0).abs() < 1e-9);
        // A run that follows the factor is met, one that does not says nothing.
        assert!((weighed(4.0, 1.0, 4.0) - 4.0).abs() < 0.01);
        assert!((weighed(4.0, 0.0, 0.4) - 1.0).abs() < 1e-6);
    }
}
