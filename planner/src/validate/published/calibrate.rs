//! Calibration by rule: which published rows say how fast a host is, and what they say.
//!
//! | order | what | from |
//! |---|---|---|
//! | 1 | GPU time, by host, model and shape | every one-GPU row; the median of several |
//! | 2 | launch factor, by host | the most launch-bound eager row with little communication, printed ones first |
//! | 3 | as 1, with the new launch factors | |
//! | 4 | rates, by host, kind and reach; not within NVLink hosts | the row that spends longest in that kind, if that is 20 % of it or more |
//! | 5 | each rate once more, the others in place | the same rows |
//!
//! Guarantees: a row that is used is listed, and is not scored; rates are shared by all models,
//! shapes and group sizes of the host. Not modelled: drift between the rows of a host.

use std::collections::BTreeMap;

use rayon::prelude::*;
use sim::execution::Calibration;
use sim::platform::{RateFactors, Reach};
use topologies::CollectiveKind;
use topologies::host::Compilation;

use super::case::{Case, compile_word, gpu_class};
use super::hosts::{Host, Span};
use super::predict::{Effort, Terms, predict};
use crate::calibrate::solve;
use crate::interval::{ComputeEvidence, Evidence, RateEvidence};
use crate::validate::statistics::median;

/// The order in which rates are calibrated.
pub const KINDS: [CollectiveKind; 4] = [
    CollectiveKind::AllToAll,
    CollectiveKind::RingPass,
    CollectiveKind::AllReduce,
    CollectiveKind::AllGather,
];
/// Least share of a row that a kind must have to calibrate its rate.
const LEAST_SHARE: f64 = 0.2;

/// What a row was used for.
#[derive(Clone, Debug, PartialEq)]
pub enum Use {
    /// GPU time over the cost model's.
    Compute(f64),
    /// Launch factor.
    Launch(f64),
    /// Rate over the default, of a kind and reach.
    Rate(CollectiveKind, Reach, f64),
}

impl std::fmt::Display for Use {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Compute(x) => write!(f, "GPU time x {x:.2}"),
            Self::Launch(x) => write!(f, "launch factor {x:.2}"),
            Self::Rate(kind, Reach::Host, x) => write!(f, "{kind} rate x {x:.2}"),
            Self::Rate(kind, Reach::Network, x) => write!(f, "{kind} rate between hosts x {x:.2}"),
        }
    }
}

/// GPU time that one or more one-GPU rows of a shape say.
#[derive(Clone, Debug)]
struct Compute<'a> {
    case: &'a Case,
    factors: Vec<f64>,
}

impl Compute<'_> {
    fn factor(&self) -> f64 {
        median(self.factors.clone())
    }
}

/// The calibration of every host.
#[derive(Clone, Debug, Default)]
pub struct Hosts<'a> {
    compute: Vec<Compute<'a>>,
    launch: BTreeMap<&'a Host, f64>,
    rates: BTreeMap<&'a Host, RateFactors>,
    /// Rows that were used, by index of the case.
    pub used: BTreeMap<usize, Use>,
}

/// Calibrates on the cases whose `flags` are empty.
#[must_use]
pub fn calibrate<'a>(cases: &'a [Case], flags: &[Option<String>]) -> Hosts<'a> {
    let clean: Vec<(usize, &Case)> = cases
        .iter()
        .enumerate()
        .filter(|(index, case)| flags[*index].is_none() && case.row.metric.is_latency())
        .filter(|(_, case)| case.measured().is_some())
        .collect();
    let (one_gpu, several): (Vec<_>, Vec<_>) =
        clean.into_iter().partition(|(_, case)| case.is_one_gpu());
    let mut hosts = Hosts::default();
    hosts.calibrate_compute(&one_gpu);
    hosts.calibrate_launch(&several);
    hosts.calibrate_compute(&one_gpu);
    hosts.calibrate_rates(&several);
    hosts
}

/// Cases with their indices.
type Indexed<'a> = [(usize, &'a Case)];

impl<'a> Hosts<'a> {
    /// GPU time over the cost model's for `case`, and from how far it is taken.
    #[must_use]
    pub fn compute_of(&self, case: &Case) -> (f64, ComputeEvidence) {
        let graded = self.compute.iter().filter_map(|known| {
            let (grade, away) = likeness(known.case, case)?;
            Some((grade, away, known.factor()))
        });
        let best = graded.min_by(|a, b| a.0.cmp(&b.0).then(a.1.total_cmp(&b.1)));
        best.map_or(
            (Calibration::DEFAULT_COMPUTE, ComputeEvidence::None),
            |(grade, _, factor)| (factor, grade),
        )
    }

    fn launch_of(&self, case: &Case) -> f64 {
        let assumed = Calibration::assumed_launch(case.platform.is_nvlink());
        self.launch.get(&case.host).copied().unwrap_or(assumed)
    }

    /// What the simulator is told of the host of `case`.
    #[must_use]
    pub fn calibration(&self, case: &Case) -> Calibration {
        Calibration {
            compute: self.compute_of(case).0,
            launch: self.launch_of(case),
            rates: self.rates.get(&case.host).cloned().unwrap_or_default(),
            passes: BTreeMap::new(),
        }
    }

    /// What a prediction of `case` rests on.
    #[must_use]
    pub fn evidence(&self, case: &Case) -> Evidence {
        let known = self.rates.get(&case.host);
        let mut calibrated: Vec<_> = known.into_iter().flatten().map(|(key, _)| *key).collect();
        if let Span::Emulated(_) = case.span {
            calibrated.extend(KINDS.map(|kind| (kind, Reach::Network)));
        }
        Evidence {
            compute: self.compute_of(case).1,
            launch_calibrated: self.launch.contains_key(&case.host),
            calibrated,
            other_rates: if case.platform.is_nvlink() {
                RateEvidence::Table
            } else {
                RateEvidence::Assumed
            },
        }
    }

    /// Whether the rate of `kind` was calibrated on the host of `case`.
    #[must_use]
    pub fn rate_of(&self, case: &Case, key: (CollectiveKind, Reach)) -> Option<f64> {
        self.rates.get(&case.host)?.get(&key).copied()
    }

    /// The closed form of `case`.
    #[must_use]
    pub fn estimate(&self, case: &Case) -> Option<Terms> {
        predict(case, &self.calibration(case), Effort::Estimate).ok()
    }

    fn calibrate_compute(&mut self, one_gpu: &Indexed<'a>) {
        self.used.retain(|_, used| !matches!(used, Use::Compute(_)));
        let fit = |(index, case): &(usize, &'a Case)| {
            let launch = self.launch_of(case);
            let measured = case.measured()?;
            let with = |compute| Calibration {
                compute,
                launch,
                rates: RateFactors::new(),
                passes: BTreeMap::new(),
            };
            let first = predict(case, &with(1.0), Effort::Estimate).ok()?;
            if measured <= 1.02 * first.fixed {
                return None;
            }
            let factor = solve(0.2, 6.0, measured, |x| {
                Some(predict(case, &with(x), Effort::Estimate).ok()?.value)
            })?;
            Some((*index, *case, factor))
        };
        let fitted: Vec<_> = one_gpu.par_iter().filter_map(fit).collect();
        self.compute.clear();
        for (index, case, factor) in fitted {
            self.used.insert(index, Use::Compute(factor));
            match self
                .compute
                .iter_mut()
                .find(|known| is_same_shape(known.case, case))
            {
                Some(known) => known.factors.push(factor),
                None => self.compute.push(Compute {
                    case,
                    factors: vec![factor],
                }),
            }
        }
    }

    fn calibrate_launch(&mut self, several: &Indexed<'a>) {
        let mut candidates: Vec<(&Host, bool, f64, usize, &'a Case)> = Vec::new();
        for &(index, case) in several {
            let plain = case.compilation == Compilation::Eager
                && case.span == Span::OneHost
                && case.is_printed_split();
            let Some(terms) = self.estimate(case).filter(|_| plain) else {
                continue;
            };
            let messages: f64 = terms.exposed.values().sum();
            let ratio = terms.launch / terms.gpu.max(1e-12);
            if ratio >= 0.8 && messages < 0.5 * terms.gpu {
                let digitised = case.row.quality != "printed";
                candidates.push((&case.host, digitised, -ratio, index, case));
            }
        }
        candidates.sort_by(|a, b| {
            let order = (a.0, a.1).cmp(&(b.0, b.1));
            order.then(a.2.total_cmp(&b.2)).then(a.3.cmp(&b.3))
        });
        candidates.dedup_by(|later, first| later.0 == first.0);
        for (host, _, _, index, case) in candidates {
            let calibration = self.calibration(case);
            let factor = fit(case, (0.15, 2.5), |x| Calibration {
                launch: x,
                ..calibration.clone()
            });
            if let Some(factor) = factor {
                self.launch.insert(host, factor);
                self.used.insert(index, Use::Launch(factor));
            }
        }
    }

    fn calibrate_rates(&mut self, several: &Indexed<'a>) {
        let mut hosts: Vec<&Host> = several.iter().map(|(_, case)| &case.host).collect();
        hosts.sort();
        hosts.dedup();
        for &host in &hosts {
            for kind in KINDS {
                for reach in [Reach::Host, Reach::Network] {
                    self.calibrate_rate(host, (kind, reach), several);
                }
            }
        }
        self.refine_rates(several);
    }

    fn calibrate_rate(
        &mut self,
        host: &'a Host,
        key: (CollectiveKind, Reach),
        several: &Indexed<'a>,
    ) {
        let of_host = several.iter().filter(|(_, case)| case.host == *host);
        let mut candidates: Vec<_> = of_host
            .filter(|(index, _)| !self.used.contains_key(index))
            .filter_map(|&(index, case)| Some((self.fitness(case, key)?, index, case)))
            .collect();
        candidates.sort_by(|a, b| a.0.compare(&b.0).then(a.1.cmp(&b.1)));
        for (_, index, case) in candidates {
            if let Some(factor) = self.fit_rate(case, key) {
                self.rates.entry(host).or_default().insert(key, factor);
                self.used.insert(index, Use::Rate(key.0, key.1, factor));
                return;
            }
        }
    }

    fn fit_rate(&self, case: &Case, key: (CollectiveKind, Reach)) -> Option<f64> {
        let calibration = self.calibration(case);
        fit(case, (0.1, 10.0), |x| with_rate(&calibration, key, x))
    }

    fn refine_rates(&mut self, several: &Indexed<'a>) {
        let used: Vec<(usize, CollectiveKind, Reach)> = self
            .used
            .iter()
            .filter_map(|(index, used)| match used {
                Use::Rate(kind, reach, _) => Some((*index, *kind, *reach)),
                Use::Compute(_) | Use::Launch(_) => None,
            })
            .collect();
        for &(index, case) in several {
            let Some(&(_, kind, reach)) = used.iter().find(|used| used.0 == index) else {
                continue;
            };
            if let Some(factor) = self.fit_rate(case, (kind, reach)) {
                self.rates
                    .entry(&case.host)
                    .or_default()
                    .insert((kind, reach), factor);
                self.used.insert(index, Use::Rate(kind, reach, factor));
            }
        }
    }

    /// How well `case` says the rate of `key`; `None` when it does not.
    fn fitness(&self, case: &Case, key: (CollectiveKind, Reach)) -> Option<Fitness> {
        let (kind, reach) = key;
        let place = match reach {
            Reach::Host => case.span == Span::OneHost && !case.platform.is_nvlink(),
            Reach::Network => case.span == Span::Several,
        };
        if !place || !case.is_printed_split() {
            return None;
        }
        let kinds = kinds_of(case);
        let terms = self.estimate(case).filter(|_| kinds.contains(&kind))?;
        let enough = terms.share(key) >= LEAST_SHARE && terms.gpu >= 1.5 * terms.launch;
        enough.then(|| Fitness {
            others: kinds.len() - 1 + usize::from(case.is_pipelined()),
            compiled: case.compilation == Compilation::Compiled,
            far: self.compute_of(case).1 > ComputeEvidence::OtherShape,
            time: terms.exposed[&key] * case.forwards(case.plan()),
        })
    }
}

/// How well a row says a rate; the best first.
struct Fitness {
    others: usize,
    compiled: bool,
    far: bool,
    /// Seconds in this kind: the longer, the less anything else matters.
    time: f64,
}

impl Fitness {
    fn compare(&self, other: &Self) -> std::cmp::Ordering {
        let coarse = |one: &Self| (one.others, one.compiled, one.far);
        coarse(self)
            .cmp(&coarse(other))
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

/// The `x` in `range` at which `case` takes as long as measured.
#[must_use]
pub fn fit(case: &Case, range: (f64, f64), with: impl Fn(f64) -> Calibration) -> Option<f64> {
    solve(range.0, range.1, case.measured()?, |x| {
        Some(predict(case, &with(x), Effort::Estimate).ok()?.value)
    })
}

/// Kinds of collectives within the blocks of a row's plan.
#[must_use]
pub fn kinds_of(case: &Case) -> Vec<CollectiveKind> {
    use sim::plan::Exchange;
    let plan = case.plan();
    let mut kinds = Vec::new();
    if plan.ulysses > 1 {
        kinds.push(CollectiveKind::AllToAll);
    }
    if plan.exchange.degree() > 1 {
        kinds.push(match plan.exchange {
            Exchange::Ring(_) => CollectiveKind::RingPass,
            _ => CollectiveKind::AllGather,
        });
    }
    if plan.tensor > 1 {
        kinds.push(CollectiveKind::AllReduce);
    }
    kinds
}

fn is_same_shape(a: &Case, b: &Case) -> bool {
    let shape = |case: &Case| (case.tokens(), case.rows, case.workload.forwards_per_step);
    let words = |case: &'_ Case| {
        let row = &case.row;
        [&row.resolution, &row.frames, &row.metric_name].map(String::clone)
    };
    let compile = |case: &Case| compile_word(&case.row.compile).to_owned();
    (&a.host, &a.model.name, compile(a), words(a), shape(a))
        == (&b.host, &b.model.name, compile(b), words(b), shape(b))
}

/// How alike a one-GPU row is to `case`, and how far its shape is; `None` when it says nothing.
fn likeness(known: &Case, case: &Case) -> Option<(ComputeEvidence, f64)> {
    if known.model.name != case.model.name {
        return None;
    }
    let same_host = known.host == case.host;
    if !same_host && gpu_class(known.gpu) != gpu_class(case.gpu) {
        return None;
    }
    let same_compile = compile_word(&known.row.compile) == compile_word(&case.row.compile);
    let same_shape = known.row.resolution == case.row.resolution
        && known.row.frames == case.row.frames
        && known.rows == case.rows;
    let grade = match (same_host, same_compile, same_shape) {
        (true, true, true) => ComputeEvidence::SameShape,
        (true, true, false) => ComputeEvidence::OtherShape,
        (true, false, _) => ComputeEvidence::OtherCompilation,
        (false, ..) => ComputeEvidence::OtherHost,
    };
    let mut away = (known.tokens() as f64 / case.tokens() as f64).ln().abs();
    if known.row.metric_name != case.row.metric_name {
        away += 0.1;
    }
    if !same_host && !same_compile {
        away += 5.0;
    }
    Some((grade, away))
}
