//! Times moved to a rank count, an operation or a system that was not measured.
//!
//! ```text
//! T(S) = L + B(S)·g(n)      L: time of small messages, g: bus factor ((n-1)/n; all-reduce twice that)
//! ranks    L linear in n, B log-log in n inside, held beyond
//! system   L of a table of the same architecture, B·(source link / target link)
//! measured T(S) = K·T_source(S·R/K), K and R the ratios to the source at a small and a large size
//! ```
//! Errors by hold-out: see [`super::evaluate`].
//!
//! Not modelled: NVLS, trees and PAT algorithms that NCCL may choose at other rank counts.

use kernels::Provenance;
use topologies::{Bytes, CollectiveKind, SimDuration};

use super::interval::{self, Family, How};
use super::predict::{Ask, BROKEN, CollectiveCost, Estimate};
use super::systems::{Fabric, System};
use super::table::{NcclTable, Testbed};

/// Latency and size part of one measured rank count, in us.
#[derive(Clone, Copy, Debug)]
struct Split {
    ranks: f64,
    latency: f64,
    /// Size part over the bus factor.
    size: f64,
}

/// Two measured times of one operation, on the rank count in question, on a machine without a table.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Anchors {
    /// The operation that was measured.
    pub kind: CollectiveKind,
    /// A small message (512 B): sets the latency.
    pub small: (Bytes, SimDuration),
    /// A large message (512 MiB): sets the bandwidth.
    pub large: (Bytes, SimDuration),
}

impl NcclTable {
    /// Step 5: this operation on this testbed, from its other rank counts.
    pub(super) fn across_ranks(&self, bed: &Testbed, ask: Ask) -> Option<Estimate> {
        let splits: Vec<Split> = bed
            .ranks
            .iter()
            .filter_map(|ranks| {
                self.split(
                    bed,
                    Ask {
                        ranks: *ranks,
                        ..ask
                    },
                )
            })
            .collect();
        let n = f64::from(ask.ranks);
        let (below, above): (Vec<Split>, Vec<Split>) =
            splits.iter().partition(|split| split.ranks < n);
        let factor = ask.kind.bus_factor(ask.ranks);
        let (latency, size, provenance, how) = match (below.as_slice(), above.as_slice()) {
            (&[.., lo], &[hi, ..]) => {
                let (latency, size) = between(lo, hi, n);
                (latency, size, Provenance::Interpolated, How::RanksInside)
            }
            (&[.., far, near], []) | ([], &[near, far, ..]) => {
                let latency = beyond(near, far, n, ask.kind);
                (
                    latency,
                    near.size,
                    Provenance::Extrapolated,
                    How::RanksBeyond,
                )
            }
            (&[only], []) | ([], &[only]) => (
                only.latency,
                only.size,
                Provenance::Extrapolated,
                How::RanksBeyond,
            ),
            ([], []) => return None,
        };
        let nearest = splits.iter().map(|split| (n / split.ranks).log2().abs());
        let octaves = nearest.fold(f64::INFINITY, f64::min).max(1.0);
        let width = interval::width(how, bed.family(), ask.size) * octaves;
        let known: Vec<String> = splits.iter().map(|split| split.ranks.to_string()).collect();
        let estimate = Estimate::new(latency + size * factor, provenance, width);
        let note = format!("{} ranks from the measured {}", ask.ranks, known.join(", "));
        Some(estimate.noted(provenance, width, note))
    }

    fn split(&self, bed: &Testbed, ask: Ask) -> Option<Split> {
        let time = self.in_bed(bed, ask)?.us;
        let latency = self.latency(bed, ask)?.min(time);
        Some(Split {
            ranks: f64::from(ask.ranks),
            latency,
            size: (time - latency) / ask.kind.bus_factor(ask.ranks),
        })
    }

    fn latency(&self, bed: &Testbed, ask: Ask) -> Option<f64> {
        let own = self.series(bed, ask.kind, ask.element, ask.ranks);
        let series = own.or_else(|| self.series(bed, ask.kind, ask.element.twin(), ask.ranks));
        series.map(|series| series.latency())
    }

    /// Step 6: an operation that this testbed lacks, as all-gather here times the ratio of the two
    /// on the testbed that resembles it most. NVLink only: PCIe boxes do not share that ratio.
    pub(super) fn by_ratio(&self, bed: &Testbed, ask: Ask) -> Option<Estimate> {
        let reference = match ask.kind {
            CollectiveKind::AllGather => CollectiveKind::ReduceScatter,
            _ => CollectiveKind::AllGather,
        };
        let system = System::named(&bed.system).ok()?;
        let source = self.source_of(&system)?;
        if bed.family() != Family::NvLink {
            return None;
        }
        let basis = Ask {
            kind: reference,
            ..ask
        };
        let here = self
            .in_bed(bed, basis)
            .or_else(|| self.across_ranks(bed, basis))?;
        let there = self.beds(source, Some(&bed.nccl));
        let time = |ask| there.iter().find_map(|bed| self.in_bed(bed, ask));
        let us = here.us * time(ask)?.us / time(basis)?.us;
        let width = interval::width(How::Operation, bed.family(), ask.size);
        let note = format!("{reference:?} here times the ratio of the two on {source}");
        Some(Estimate::new(us, Provenance::Borrowed, width).noted(
            Provenance::Borrowed,
            width,
            note,
        ))
    }

    /// Step 6: this operation from others of the same testbed.
    pub(super) fn across_ops(&self, bed: &Testbed, ask: Ask) -> Option<Estimate> {
        let other = |kind, ranks| {
            let ask = Ask { kind, ranks, ..ask };
            self.in_bed(bed, ask)
                .or_else(|| self.across_ranks(bed, ask))
        };
        let latency = |kind, ranks| {
            let smallest = Bytes::new(*self.sizes.first()?);
            let ask = Ask {
                kind,
                ranks,
                size: smallest,
                ..ask
            };
            self.latency(bed, ask)
                .or_else(|| self.across_ranks(bed, ask).map(|small| small.us))
        };
        let gather = other(CollectiveKind::AllGather, ask.ranks);
        let scatter = other(CollectiveKind::ReduceScatter, ask.ranks);
        let (us, note) = match ask.kind {
            CollectiveKind::AllGather => (scatter?.us, "taken from reduce-scatter"),
            CollectiveKind::ReduceScatter => (gather?.us, "taken from all-gather"),
            CollectiveKind::AllToAll => {
                let small = latency(CollectiveKind::AllGather, ask.ranks)?;
                let pair = latency(CollectiveKind::AllGather, 2)?;
                let size = (gather?.us - small).max(0.0);
                (
                    size + 1.5 * pair,
                    "all-gather's size part and 1.5 times its latency on 2 ranks",
                )
            }
            CollectiveKind::AllReduce => {
                let (gather, scatter) = match (gather, scatter) {
                    (Some(gather), Some(scatter)) => (gather.us, scatter.us),
                    (Some(one), None) | (None, Some(one)) => (one.us, one.us),
                    (None, None) => return None,
                };
                let small = latency(CollectiveKind::AllGather, ask.ranks)
                    .or_else(|| latency(CollectiveKind::ReduceScatter, ask.ranks))?;
                (
                    gather + scatter - 0.6 * small,
                    "all-gather and reduce-scatter less 0.6 of a latency",
                )
            }
            CollectiveKind::RingPass => return None,
        };
        let width = interval::width(How::Operation, bed.family(), ask.size);
        let estimate = Estimate::new(us, Provenance::Borrowed, width);
        Some(estimate.noted(Provenance::Borrowed, width, note.to_owned()))
    }

    /// Step 5: more ranks than were measured on this system, told by a sister of which more were: H100 and H200 tell
    /// each other's 8 ranks to 3.3 / 17 % (median, p90), their own 2 and 4 to 8 to 12 % in the mean.
    pub(super) fn on_larger_sister(
        &self,
        system: &System,
        version: Option<&str>,
        ask: Ask,
    ) -> Option<Estimate> {
        let most = |name: &str| {
            let beds = self.beds(name, None).into_iter();
            beds.flat_map(|bed| bed.ranks.iter().copied()).max()
        };
        let own = most(&system.name)?;
        let source = self.source_of(system)?;
        let sister = System::named(source).ok()?.same_generation(system);
        let nvlink = matches!(system.fabric, Fabric::NvLink(_));
        if ask.ranks <= own || !nvlink || !sister || most(source)? <= own {
            return None;
        }
        self.by_datasheet(system, version, ask)
    }

    /// Step 7: a system without a table, from the datasheet of its links.
    pub(super) fn by_datasheet(
        &self,
        system: &System,
        version: Option<&str>,
        ask: Ask,
    ) -> Option<Estimate> {
        let source = self.source_of(system)?;
        let sheet = System::named(source).ok()?;
        let ratio = sheet.link_rate() / system.link_rate();
        let (mut estimate, latency) = self.on_testbed(source, version, ask)?;
        let own = system
            .latency_source()
            .filter(|name| *name != source && *name != BROKEN);
        let small = own
            .and_then(|name| self.on_testbed(name, version, ask))
            .map_or(latency, |(_, small)| small);
        estimate.us = small + (estimate.us - latency).max(0.0) * ratio;
        let how = match (system.fabric, system.same_generation(&sheet)) {
            (Fabric::Pcie(_), _) => How::PcieDatasheet,
            (Fabric::NvLink(_), true) => How::Sister,
            (Fabric::NvLink(_), false) => How::Generation,
        };
        let provenance = match how {
            How::Sister => Provenance::Borrowed,
            _ => Provenance::Datasheet,
        };
        let advice = match system.fabric {
            Fabric::Pcie(_) => ": PCIe boxes differ, one nccl-tests run on this one is needed",
            Fabric::NvLink(_) => "",
        };
        let note = format!(
            "{} has no table of {} ranks: {source} with its size part x {ratio:.2}{advice}",
            system.name, ask.ranks
        );
        Some(estimate.moved(
            provenance,
            interval::width(how, Family::of(system.fabric), ask.size),
            note,
        ))
    }

    /// Time on a testbed with a table, and its latency at that rank count.
    fn on_testbed(&self, system: &str, version: Option<&str>, ask: Ask) -> Option<(Estimate, f64)> {
        let answer = |ask: Ask| {
            let mut beds = self.beds(system, version).into_iter();
            beds.find_map(|bed| {
                self.in_bed(bed, ask)
                    .or_else(|| self.across_ranks(bed, ask))
                    .or_else(|| self.across_ops(bed, ask))
            })
        };
        let smallest = Bytes::new(*self.sizes.first()?);
        let estimate = answer(ask)?;
        let latency = answer(Ask {
            size: smallest,
            ..ask
        })?
        .us
        .min(estimate.us);
        Some((estimate, latency))
    }

    /// The time of `ask` on a machine of which two times were measured, shaped like the testbed
    /// that resembles `target` most. `None` when no such testbed has the operation.
    #[must_use]
    pub fn anchored(&self, target: &System, anchors: Anchors, ask: Ask) -> Option<CollectiveCost> {
        let source = self.source_of(target)?;
        let at = |kind, size: f64| {
            let size = Bytes::new(size.max(1.0) as u64);
            let estimate = self.on_testbed(source, None, Ask { kind, size, ..ask });
            estimate.map(|(estimate, _)| estimate.us)
        };
        let ratio = |(size, time): (Bytes, SimDuration)| {
            Some(time.as_us_f64() / at(anchors.kind, size.as_f64())?)
        };
        let (small, large) = (ratio(anchors.small)?, ratio(anchors.large)?);
        let us = small * at(ask.kind, ask.size.as_f64() * large / small)?;
        let width = interval::width(How::Anchored, Family::of(target.fabric), ask.size);
        let estimate = Estimate::new(us, Provenance::Borrowed, width);
        let note = format!("two measured sizes, shaped like {source}");
        Some(estimate.noted(Provenance::Borrowed, width, note).cost())
    }

    /// The testbed to take times from for a system, other than its own.
    fn source_of(&self, system: &System) -> Option<&'static str> {
        let mut sources = system.sources().iter().copied();
        sources.find(|name| *name != system.name && !self.beds(name, None).is_empty())
    }
}

/// Latency linear in n, size part log-log in n, between two measured counts.
fn between(lo: Split, hi: Split, n: f64) -> (f64, f64) {
    let latency = lo.latency + (hi.latency - lo.latency) * (n - lo.ranks) / (hi.ranks - lo.ranks);
    let share = (n / lo.ranks).ln() / (hi.ranks / lo.ranks).ln();
    let size = if lo.size > 0.0 && hi.size > 0.0 {
        lo.size * (hi.size / lo.size).powf(share)
    } else {
        lo.size + (hi.size - lo.size) * share
    };
    (latency, size)
}

/// Latency beyond the measured counts: on the line through the nearest two, for all-to-all held;
/// never below half the nearest one's.
fn beyond(near: Split, far: Split, n: f64, kind: CollectiveKind) -> f64 {
    if kind == CollectiveKind::AllToAll {
        return near.latency;
    }
    let slope = (near.latency - far.latency) / (near.ranks - far.ranks);
    let slope = slope.max(0.0);
    (near.latency + slope * (n - near.ranks)).max(near.latency * 0.5)
}
