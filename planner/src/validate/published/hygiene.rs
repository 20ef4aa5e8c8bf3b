//! Rows that cannot be what they say, found before anything is scored.
//!
//! | rule | a row is flagged when |
//! |---|---|
//! | 1 | its table's one-GPU row is more than 1/0.6 faster than the cost model |
//! | 2 | it is faster than 1.15 x T1/N |
//! | 3 | NVLink, one kind of collective: its excess time implies less than 15 % of the link |
//! | 4 | PCIe, one kind: its table implies a rate 2.5 x away from the host's table that fits the label |
//! | 5 | 3 or 4 flag two Ulysses rows of its table: the table contradicts its label |
//! | 6 | twice the GPUs gain nothing where the prediction gains |
//!
//! Rows that the source itself doubts are flagged before. Not found: a wrong row that is plausible.

use std::collections::BTreeMap;

use kernels::Tables;
use sim::model::Resolution;
use sim::platform::Reach;
use topologies::CollectiveKind;
use topologies::host::PublishedHost;

use super::tiers::Hosts;
use crate::calibrate::{fit, kinds_of, with_rate};
use crate::interval::ComputeEvidence;
use crate::runs::host::Span;
use crate::runs::{Doubt, Key, Run};
use crate::validate::statistics::median;

/// GPU time below this share of the cost model's is not believed.
const FASTEST: f64 = 0.6;

/// Why a row is not scored.
#[derive(Clone, Debug, PartialEq)]
pub enum Flag {
    /// Its source doubts it.
    Doubt(Doubt),
    /// A one-GPU row of its table is this many times as fast as the GPU sustains.
    TooFast(f64),
    /// It is this many times as fast as T1/N.
    SuperLinear(f64),
    /// Its excess time implies this fraction of NVLink's rate.
    SlowLink(f64),
    /// It implies this many times the rate that rows of its host imply which fit the label.
    FarRate {
        /// Of which collective.
        kind: CollectiveKind,
        /// How many.
        times: f64,
    },
    /// Rows of its table imply links that contradict its label.
    Contradicted,
    /// More GPUs gain nothing where the prediction gains.
    NoGain {
        /// The fewer GPUs.
        few: u32,
        /// The row's.
        many: u32,
        /// Its time over that of the fewer.
        measured: f64,
        /// The same, predicted.
        predicted: f64,
    },
}

/// Flags by index of the case.
pub type Flags = Vec<Option<Flag>>;

/// What the sources themselves doubt.
#[must_use]
pub fn doubts(cases: &[Run]) -> Flags {
    cases
        .iter()
        .map(|case| case.doubt.clone().map(Flag::Doubt))
        .collect()
}

/// Flags by the rules, `hosts` calibrated on what the sources do not doubt.
#[must_use]
pub fn flag(cases: &[Run], hosts: &Hosts) -> Flags {
    let mut flags = doubts(cases);
    too_fast(cases, hosts, &mut flags);
    super_linear(cases, &mut flags);
    implied_links(cases, hosts, &mut flags);
    contradictions(cases, &mut flags);
    no_gain(cases, hosts, &mut flags);
    flags
}

/// Unflagged latency cases.
fn clean<'a>(cases: &'a [Run], flags: &Flags) -> Vec<(usize, &'a Run, f64)> {
    let indexed = cases.iter().enumerate();
    indexed
        .filter(|(index, case)| flags[*index].is_none() && case.covers.is_latency())
        .filter_map(|(index, case)| Some((index, case, case.measured()?)))
        .collect()
}

fn too_fast(cases: &[Run], hosts: &Hosts, flags: &mut Flags) {
    let mut tables: BTreeMap<(&PublishedHost, &str, &str), f64> = BTreeMap::new();
    for (_, case, _) in clean(cases, flags) {
        let (factor, grade) = hosts.compute_of(case);
        if case.is_one_gpu() && grade == ComputeEvidence::SameShape && factor < FASTEST {
            tables.insert((&case.host, &*case.model.name, &case.table), factor);
        }
    }
    for (index, case, _) in clean(cases, flags) {
        let key = (&case.host, &*case.model.name, case.table.as_str());
        if let Some(factor) = tables.get(&key) {
            flags[index] = Some(Flag::TooFast(1.0 / factor));
        }
    }
}

fn super_linear(cases: &[Run], flags: &mut Flags) {
    let clean = clean(cases, flags);
    let single = one_gpu_times(&clean);
    for &(index, case, measured) in &clean {
        let Some(&one) = single.get(&case.key()).filter(|_| !case.is_one_gpu()) else {
            continue;
        };
        let over = one / f64::from(case.gpus) / measured;
        if over > 1.15 {
            flags[index] = Some(Flag::SuperLinear(over));
        }
    }
}

/// The first one-GPU time of every request.
#[must_use]
pub fn one_gpu_times<'a>(clean: &[(usize, &'a Run, f64)]) -> BTreeMap<Key<'a>, f64> {
    let mut times = BTreeMap::new();
    for (_, case, measured) in clean.iter().filter(|(_, case, _)| case.is_one_gpu()) {
        times.entry(case.key()).or_insert(*measured);
    }
    times
}

/// The one kind of collective of a row, if it has one and nothing else shapes its time.
fn only_kind(case: &Run) -> Option<CollectiveKind> {
    let alone = !case.is_one_gpu() && case.is_printed_split() && !case.plan().pipeline.stages > 1;
    match (alone, kinds_of(case).as_slice()) {
        (true, [kind]) => Some(*kind),
        _ => None,
    }
}

/// What a PCIe row implies of a rate.
struct Implied<'a> {
    index: usize,
    case: &'a Run,
    ln_factor: f64,
}

fn implied_links(cases: &[Run], hosts: &Hosts, flags: &mut Flags) {
    let mut implied: BTreeMap<(&PublishedHost, CollectiveKind), Vec<Implied<'_>>> = BTreeMap::new();
    for (index, case, measured) in clean(cases, flags) {
        let (Some(kind), Some(terms)) = (only_kind(case), hosts.terms(case)) else {
            continue;
        };
        let key = (kind, Reach::Host);
        let known = hosts.compute_of(case).1 <= ComputeEvidence::OtherCompilation;
        if !known || case.span != Span::OneBox {
            continue;
        }
        if case.platform.is_nvlink() {
            let inside =
                terms.exposed.get(&key).copied().unwrap_or(0.0) * case.forwards(case.plan());
            let excess = measured - (terms.value - inside);
            if excess > 0.3 * measured && inside / excess < 0.15 {
                flags[index] = Some(Flag::SlowLink(inside / excess));
            }
        } else if terms.share(key) >= 0.3 {
            let calibration = hosts.calibrated(case).calibration;
            let factor = fit(case, (0.02, 50.0), Tables::built_in(), |x| {
                with_rate(&calibration, key, x)
            });
            if let Some(factor) = factor.filter(|factor| (0.03..30.0).contains(factor)) {
                let ln_factor = factor.ln();
                implied
                    .entry((&case.host, kind))
                    .or_default()
                    .push(Implied {
                        index,
                        case,
                        ln_factor,
                    });
            }
        }
    }
    for ((_, kind), rows) in implied {
        flag_far_tables(kind, &rows, flags);
    }
}

/// Of the tables of one host, the one nearest to the label's default is believed.
fn flag_far_tables(kind: CollectiveKind, rows: &[Implied<'_>], flags: &mut Flags) {
    let mut tables: BTreeMap<(&str, Resolution, &str), Vec<f64>> = BTreeMap::new();
    for row in rows {
        let key = (
            &*row.case.model.name,
            row.case.request.resolution,
            row.case.table.as_str(),
        );
        tables.entry(key).or_default().push(row.ln_factor);
    }
    let medians = tables.into_values().map(median);
    let believed = medians
        .min_by(|a, b| a.abs().total_cmp(&b.abs()))
        .unwrap_or(0.0);
    for row in rows {
        let away = row.ln_factor - believed;
        if away.abs() > 2.5_f64.ln() {
            flags[row.index] = Some(Flag::FarRate {
                kind,
                times: away.exp(),
            });
        }
    }
}

fn contradictions(cases: &[Run], flags: &mut Flags) {
    let key = |case: &'_ Run| (case.host.clone(), &case.model.name, case.table.clone());
    let mut counts = BTreeMap::new();
    for (case, flag) in cases.iter().zip(flags.iter()) {
        let implied = matches!(flag, Some(Flag::SlowLink(_) | Flag::FarRate { .. }));
        if implied && case.plan().ulysses > 1 {
            *counts.entry(key(case)).or_insert(0) += 1;
        }
    }
    for (case, flag) in cases.iter().zip(flags.iter_mut()) {
        if flag.is_none()
            && case.covers.is_latency()
            && counts.get(&key(case)).is_some_and(|count| *count >= 2)
        {
            *flag = Some(Flag::Contradicted);
        }
    }
}

fn no_gain(cases: &[Run], hosts: &Hosts, flags: &mut Flags) {
    let mut groups: BTreeMap<_, Vec<(usize, &Run, f64, f64)>> = BTreeMap::new();
    for (index, case, measured) in clean(cases, flags) {
        if case.is_one_gpu() {
            continue;
        }
        let patches = case.plan().pipeline;
        let patches = if patches.patches == patches.stages {
            0
        } else {
            patches.patches
        };
        let group = (
            case.key(),
            case.strategy.family.as_str(),
            case.table.as_str(),
            patches,
        );
        if let Some(terms) = hosts.terms(case) {
            groups
                .entry(group)
                .or_default()
                .push((index, case, measured, terms.value));
        }
    }
    for mut rows in groups.into_values() {
        rows.sort_by_key(|row| row.1.gpus);
        for few in &rows {
            for many in &rows {
                let (more, slower) = (
                    f64::from(many.1.gpus) / f64::from(few.1.gpus),
                    many.2 / few.2,
                );
                let predicted = many.3 / few.3;
                let gains = predicted < 0.6 * slower && few.2 > 0.75 * few.3;
                if flags[many.0].is_none() && more >= 1.9 && slower > 0.87 && gains {
                    flags[many.0] = Some(Flag::NoGain {
                        few: few.1.gpus,
                        many: many.1.gpus,
                        measured: slower,
                        predicted,
                    });
                }
            }
        }
    }
}
