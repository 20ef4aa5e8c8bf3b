//! The time of a collective from measured tables, and how that answer was reached.
//!
//! | order | answer | provenance |
//! |---|---|---|
//! | 1 | the cell itself | measured |
//! | 2 | the cell is empty: median of its twin element's time, its own ratio to the twin at the sizes around, and its ratio to the sister operation | interpolated |
//! | 3 | a size off the grid: linear in size; beyond it the last point's bandwidth | interpolated, extrapolated |
//! | 4 | the nearest NCCL version of the same system that has the operation | borrowed |
//! | 5 | more ranks than any of its tables, where a sister's (same NVLink generation) holds more: the sister | borrowed |
//! | 5 | other rank counts: latency linear in n (all-to-all beyond the table: held), size part by the bus factor, log-log in n between measured counts, held beyond | interpolated, extrapolated |
//! | 6 | an operation that this testbed lacks: all-gather's time, times the ratio of the two on the system that resembles it most; else by rule: reduce-scatter = all-gather; all-to-all = all-gather's size part + 1.5 latencies of two ranks; all-reduce = all-gather + reduce-scatter - 0.6 latency | borrowed |
//! | 7 | another system ([`super::systems`]): size part by the ratio of link rates | borrowed, datasheet |
//!
//! A ring pass is not in the tables: *S* to the successor costs what an all-to-all of 2 *S* on two
//! ranks costs, as both send *S* one way over the same link in each direction.
//!
//! Guarantees: pure; every substitute is named in `note`; `half_width` w means that nine of ten
//! measured times lie in [time/(1+w), time·(1+w)].
//!
//! Not modelled: the bimodal small all-to-all (6.6 or 18 us on one host), tree and NVLS switches
//! on rank counts that were not measured, traffic of other groups.

use kernels::{Miss, Provenance};
use topologies::{Architecture, Bandwidth, Bytes, CollectiveKind, SimDuration};

use super::interval::{self, Family, How};
use super::series::{Position, Series};
use super::systems::{Fabric, System};
use super::table::{Element, NcclTable, Row, Testbed};

/// What a collective costs when nothing else uses its links.
#[derive(Clone, Debug, PartialEq)]
pub struct CollectiveCost {
    /// From the first rank's call to the last rank's end.
    pub time: SimDuration,
    /// Where the time came from.
    pub provenance: Provenance,
    /// Half-width w of the 90 % interval [time/(1+w), time·(1+w)].
    pub half_width: f64,
    /// How the answer was reached, with every substitute; empty for a measured time.
    pub note: String,
}

/// A collective to predict.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ask {
    /// Operation.
    pub kind: CollectiveKind,
    /// Element type.
    pub element: Element,
    /// Ranks in the group.
    pub ranks: u32,
    /// nccl-tests' size, see [`CollectiveKind`].
    pub size: Bytes,
}

/// Whether the measured time of the row itself may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exclude {
    /// Predict as if this row had not been measured.
    This,
    /// Use the whole table.
    Nothing,
}

/// An answer in the making.
#[derive(Clone, Debug)]
pub(super) struct Estimate {
    pub(super) us: f64,
    pub(super) width: f64,
    pub(super) provenance: Provenance,
    pub(super) notes: Vec<String>,
}

impl Estimate {
    pub(super) fn new(us: f64, provenance: Provenance, width: f64) -> Self {
        Self {
            us,
            width,
            provenance,
            notes: Vec::new(),
        }
    }

    /// The same answer with a worse origin: the wider interval, the worse provenance, one more note.
    pub(super) fn noted(mut self, provenance: Provenance, width: f64, note: String) -> Self {
        self.provenance = self.provenance.max(provenance);
        self.width = self.width.max(width);
        self.notes.push(note);
        self
    }

    /// The same answer moved once more: independent errors add in squares.
    pub(super) fn moved(self, provenance: Provenance, width: f64, note: String) -> Self {
        let width = self.width.hypot(width);
        self.noted(provenance, width, note)
    }

    pub(super) fn cost(self) -> CollectiveCost {
        CollectiveCost {
            time: SimDuration::from_us_f64(self.us),
            provenance: self.provenance,
            half_width: self.width,
            note: self.notes.join("; "),
        }
    }
}

impl NcclTable {
    /// The time of `ask` on `system`, whose NCCL version is `version` (the newest measured, if
    /// not given).
    ///
    /// # Errors
    /// [`Miss::NoFigure`] when no table covers the system or anything like it.
    pub fn time(
        &self,
        system: &System,
        version: Option<&str>,
        ask: Ask,
    ) -> Result<CollectiveCost, Miss> {
        assert!(ask.ranks >= 2, "a collective has at least two ranks");
        if ask.kind == CollectiveKind::RingPass {
            return self.ring_pass(system, version, ask);
        }
        let estimate = self
            .on_larger_sister(system, version, ask)
            .or_else(|| self.on_system(&system.name, version, ask))
            .or_else(|| self.by_datasheet(system, version, ask));
        estimate.map(Estimate::cost).ok_or_else(|| Miss::NoFigure {
            gpu: system.name.clone(),
            what: format!("{:?} on {} ranks", ask.kind, ask.ranks),
            remedy: "give the host's measured bus bandwidth (one nccl-tests or rccl-tests run)"
                .to_owned(),
        })
    }

    /// The time of `row` as this table predicts it.
    ///
    /// # Errors
    /// [`Miss::NoFigure`] when the row's system is unknown.
    pub fn predict(&self, row: &Row, exclude: Exclude) -> Result<CollectiveCost, Miss> {
        let ask = row.ask();
        let system = self.system(&row.system)?;
        match exclude {
            Exclude::Nothing => self.time(&system, Some(&row.nccl), ask),
            Exclude::This => self.without(row).time(&system, Some(&row.nccl), ask),
        }
    }

    /// A system by name; one with a table of its own need not be among the known ones.
    fn system(&self, name: &str) -> Result<System, Miss> {
        System::named(name).or_else(|miss| {
            let own = self.testbeds.iter().find(|bed| bed.system == name);
            own.map(|bed| System {
                name: bed.system.clone(),
                architecture: Architecture::Ada,
                fabric: fabric_of(name),
            })
            .ok_or(miss)
        })
    }

    fn ring_pass(
        &self,
        system: &System,
        version: Option<&str>,
        ask: Ask,
    ) -> Result<CollectiveCost, Miss> {
        let pair = Ask {
            kind: CollectiveKind::AllToAll,
            ranks: 2,
            size: ask.size * 2,
            ..ask
        };
        let mut cost = self.time(system, version, pair)?;
        cost.provenance = cost.provenance.max(Provenance::Borrowed);
        cost.half_width = cost.half_width.max(interval::width(
            How::RingPass,
            Family::of(system.fabric),
            ask.size,
        ));
        let note = "a hop of S is taken as an all-to-all of 2 S on two ranks";
        cost.note = if cost.note.is_empty() {
            note.to_owned()
        } else {
            format!("{note}; {}", cost.note)
        };
        Ok(cost)
    }

    /// Testbeds of a system, nearest version first; the newest when no version is given.
    pub(super) fn beds(&self, system: &str, version: Option<&str>) -> Vec<&Testbed> {
        let mut beds: Vec<&Testbed> = self
            .testbeds
            .iter()
            .filter(|bed| bed.system == system)
            .collect();
        beds.sort_by_key(|bed| {
            version.map_or_else(
                || u64::MAX - ordinal(&bed.nccl),
                |wanted| ordinal(&bed.nccl).abs_diff(ordinal(wanted)),
            )
        });
        beds
    }

    /// Steps 1 to 6 of the module's table.
    fn on_system(&self, system: &str, version: Option<&str>, ask: Ask) -> Option<Estimate> {
        let beds = self.beds(system, version);
        let each = |answer: &dyn Fn(&Testbed) -> Option<Estimate>| {
            beds.iter().find_map(|bed| {
                let estimate = answer(bed)?;
                Some(match version {
                    Some(wanted) if wanted != bed.nccl => {
                        let family = bed.family();
                        let width = interval::width(How::Version, family, ask.size);
                        let note =
                            format!("NCCL {} is not in the table: {} is used", wanted, bed.nccl);
                        estimate.moved(Provenance::Borrowed, width, note)
                    }
                    _ => estimate,
                })
            })
        };
        let estimate = each(&|bed| self.in_bed(bed, ask))
            .or_else(|| each(&|bed| self.across_ranks(bed, ask)))
            .or_else(|| each(&|bed| self.by_ratio(bed, ask)))
            .or_else(|| each(&|bed| self.across_ops(bed, ask)))?;
        let broken = system == BROKEN && estimate.provenance != Provenance::Measured;
        Some(if broken {
            let note = "this table is of one machine with faulty links".to_owned();
            estimate.noted(Provenance::Interpolated, 0.0, note)
        } else {
            estimate
        })
    }

    /// Steps 1 to 3: this operation on this testbed and rank count.
    pub(super) fn in_bed(&self, bed: &Testbed, ask: Ask) -> Option<Estimate> {
        let family = bed.family();
        let Some(series) = self.series(bed, ask.kind, ask.element, ask.ranks) else {
            let twin = self.series(bed, ask.kind, ask.element.twin(), ask.ranks)?;
            let width = interval::width(How::Twin, family, ask.size);
            let estimate = Estimate::new(
                twin.linear(ask.size.as_f64()).0,
                Provenance::Interpolated,
                width,
            );
            return Some(estimate.noted(
                Provenance::Interpolated,
                width,
                "the other element type's time".to_owned(),
            ));
        };
        if let Some(filled) = self.fill(bed, series, ask) {
            return Some(filled);
        }
        let (us, position) = series.linear(ask.size.as_f64());
        let (provenance, how, note) = match position {
            Position::On => (Provenance::Measured, How::Exact, None),
            Position::Between => (Provenance::Interpolated, How::Sizes, Some("linear in size")),
            Position::Beyond => (
                Provenance::Extrapolated,
                How::Sizes,
                Some("beyond the largest measured size: its bandwidth is held"),
            ),
        };
        let mut estimate = Estimate::new(us, provenance, interval::width(how, family, ask.size));
        estimate.notes.extend(note.map(str::to_owned));
        Some(estimate)
    }

    /// Step 2: an empty cell of the grid, from what was measured around it.
    fn fill(&self, bed: &Testbed, series: Series<'_>, ask: Ask) -> Option<Estimate> {
        let at = self.sizes.iter().position(|size| *size == ask.size.get())?;
        if series.times[at].is_some() {
            return None;
        }
        let twin = self.series(bed, ask.kind, ask.element.twin(), ask.ranks)?;
        let copy = twin.times[at]?;
        let mut candidates = vec![copy];
        candidates.extend(series.shaped_like(twin, at, 2));
        let sister = self.series(bed, sister(ask.kind), ask.element, ask.ranks);
        candidates.extend(sister.and_then(|sister| series.shaped_like(sister, at, 1)));
        candidates.sort_by(f64::total_cmp);
        let spread = (candidates[candidates.len() - 1] / candidates[0]).ln();
        let middle = match candidates.as_slice() {
            [_, middle, _] => *middle,
            other => other[0] * (other[other.len() - 1] / other[0]).sqrt(),
        };
        let width = interval::filled(bed.family(), ask.size, spread);
        let estimate = Estimate::new(middle, Provenance::Interpolated, width);
        Some(estimate.noted(
            Provenance::Interpolated,
            width,
            "between the sizes around, the other element type and the sister operation".to_owned(),
        ))
    }
}

/// The table of one machine with faulty links; it stands for nothing but itself.
pub(super) const BROKEN: &str = "l40s";

/// The operation whose time over size looks most alike.
const fn sister(kind: CollectiveKind) -> CollectiveKind {
    match kind {
        CollectiveKind::AllGather | CollectiveKind::AllReduce => CollectiveKind::ReduceScatter,
        CollectiveKind::ReduceScatter | CollectiveKind::AllToAll | CollectiveKind::RingPass => {
            CollectiveKind::AllGather
        }
    }
}

/// A version as a number: differences of the minor version outweigh those of the patch.
fn ordinal(version: &str) -> u64 {
    let mut parts = version
        .split('.')
        .map(|part| part.parse::<u64>().unwrap_or(0));
    let mut next = || parts.next().unwrap_or(0).min(999);
    next() * 1_000_000 + next() * 1000 + next()
}

/// The links of a testbed; an unknown one is taken as PCIe, whose intervals are the wider ones.
pub(super) fn fabric_of(system: &str) -> Fabric {
    System::named(system).map_or(Fabric::Pcie(Bandwidth::new(32_000_000_000)), |system| {
        system.fabric
    })
}

impl Testbed {
    /// Whose errors the widths of this testbed are taken from.
    pub(super) fn family(&self) -> Family {
        if self.system == BROKEN {
            Family::Broken
        } else {
            Family::of(fabric_of(&self.system))
        }
    }
}

impl Row {
    /// What this row measured.
    #[must_use]
    pub fn ask(&self) -> Ask {
        Ask {
            kind: self.kind,
            element: self.element,
            ranks: self.ranks,
            size: self.size,
        }
    }
}
