//! The cost of collectives: what the host measured, else what its system measured, else its links.
//!
//! | order | used when | from | provenance |
//! |---|---|---|---|
//! | 1 | the host has a rate of this operation | [`HostRates`]: bus bandwidth by ranks | measured, interpolated, extrapolated |
//! | 2 | all ranks are in one NVLink domain | [`NcclTable`]: measured times of its system, or of the one that resembles it | measured to datasheet |
//! | 3 | its wiring is known | the default shape of that wiring in [`HostRates`], x/÷ 2 | datasheet |
//! | 4 | otherwise | [`Group::decompose`]: NCCL's algorithm over the links, x/÷ 2 | datasheet |
//!
//! ```text
//! Answer = cost (time, interval, note)
//!        + bundle (links and weights of the decomposition, capped so that alone it takes `cost.time`)
//! ```
//! Guarantees: alone on its links, the bundle takes the cost's time (to rounding); pure.
//!
//! Not modelled: what a measured time owes to links that the machine's description lacks; under
//! contention such a bundle slows only where its described links are full.

mod decompose;
#[cfg(test)]
mod decompose_tests;
pub mod evaluate;
#[cfg(test)]
mod evaluate_tests;
mod interval;
mod predict;
mod rates;
mod series;
mod systems;
mod table;
mod transfer;

use kernels::{Miss, Provenance};
use topologies::{Bandwidth, LinkId, SimDuration};

pub use decompose::{Bundle, Decomposition, Group, Hop, HopKind, Protocol, flow_bytes};
pub use predict::{Ask, CollectiveCost, Exclude};
pub use rates::{HostRates, Wiring};
pub use systems::{Fabric, System};
pub use table::{Element, KINDS, NcclTable, Row, TableError};
pub use transfer::Anchors;

/// Half-width between two hosts of one system: H100's times against H200's (same chip and links,
/// another host) differ by 2.5 % in the median and 11 % at the 90th percentile.
const HOST_SPREAD: f64 = 0.12;

/// Where a group of ranks sits and what is known of it.
#[derive(Clone, Debug)]
pub struct Place<'a> {
    /// The group's ways and links.
    pub group: Group<'a>,
    /// The host's measured rates.
    pub rates: HostRates<'a>,
    /// The system, when all ranks are in one NVLink domain of it.
    pub nvlink_system: Option<System>,
    /// NCCL's version, where known.
    pub nccl: Option<&'a str>,
}

/// A collective's cost, and the flows that take that long.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// Time, interval, provenance when nothing else uses the links.
    pub cost: CollectiveCost,
    /// The flows.
    pub bundle: Bundle,
}

/// What `ask` costs at `place`, in the order of the module's table.
///
/// # Errors
/// [`Miss`] when the place claims an NVLink system that no table covers.
pub fn cost(place: &Place<'_>, table: &NcclTable, ask: Ask) -> Result<Answer, Miss> {
    assert_eq!(
        ask.ranks,
        place.group.ranks(),
        "the question is about the ranks of the group"
    );
    let links = place.group.decompose(ask.kind, ask.size);
    let has_rate = place.rates.measured.iter().any(|rate| rate.0 == ask.kind);
    let by_rate = || place.rates.time(ask.kind, ask.ranks, ask.size);
    let known = match &place.nvlink_system {
        _ if has_rate => by_rate(),
        Some(system) => {
            let mut cost = table.time(system, place.nccl, ask)?;
            cost.half_width = cost.half_width.max(HOST_SPREAD);
            Some(cost)
        }
        None => by_rate(),
    };
    Ok(match known {
        Some(cost) => Answer {
            bundle: fitted(links.bundle, cost.time, place.group.effective()),
            cost,
        },
        None => Answer {
            cost: CollectiveCost {
                time: links.time,
                provenance: Provenance::Datasheet,
                half_width: 1.0,
                note: format!(
                    "NCCL's {:?} protocol over the machine's links",
                    links.protocol
                ),
            },
            bundle: links.bundle,
        },
    })
}

/// `bundle` with its latency, cap and weights changed so that alone it takes `time`.
///
/// The latency stays where it leaves half of the time for the bytes. Weights shrink where the
/// measured rate is above what the links are described to carry.
fn fitted(bundle: Bundle, time: SimDuration, effective: &[Bandwidth]) -> Bundle {
    let latency = bundle.latency.min(time.scaled(0.5));
    let seconds = time.saturating_sub(latency).as_secs_f64();
    let rate = (bundle.bytes.as_f64() / seconds.max(1e-12)).max(1.0);
    let load = |(link, weight): &(LinkId, f64)| weight * rate / effective[link.index()].as_f64();
    let fullest = bundle.shares.iter().map(load).fold(0.0, f64::max);
    let shrink = if fullest > 1.0 { fullest.recip() } else { 1.0 };
    let shares = bundle
        .shares
        .iter()
        .map(|(link, weight)| (*link, weight * shrink));
    Bundle {
        latency,
        shares: shares.collect(),
        cap: Some(Bandwidth::new(rate as u64)),
        bytes: bundle.bytes,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use topologies::{Bytes, CollectiveKind};

    const GB: u64 = 1_000_000_000;

    fn place<'a>(
        effective: &'a [Bandwidth],
        rates: HostRates<'a>,
        system: Option<System>,
    ) -> Place<'a> {
        let group = Group::new(4, effective, |from, to| Hop {
            links: vec![LinkId::new(from), LinkId::new(4 + to)],
            latency: SimDuration::ZERO,
            kind: HopKind::NvLink,
        });
        Place {
            group,
            rates,
            nvlink_system: system,
            nccl: None,
        }
    }

    fn ask(size: u64) -> Ask {
        Ask {
            kind: CollectiveKind::AllToAll,
            element: Element::Half,
            ranks: 4,
            size: Bytes::new(size),
        }
    }

    #[test]
    fn host_rates_come_before_the_table_and_the_table_before_links() {
        let effective = vec![Bandwidth::new(400 * GB); 8];
        let table = NcclTable::built_in();
        let measured = [(CollectiveKind::AllToAll, 4, Bandwidth::new(100 * GB))];
        let none = HostRates {
            measured: &[],
            wiring: Wiring::Other,
            pcie: Bandwidth::new(32 * GB),
        };
        let own = HostRates {
            measured: &measured,
            wiring: Wiring::Other,
            pcie: Bandwidth::new(32 * GB),
        };
        let h100 = || Some(System::named("h100_sxm").unwrap());
        let answer = |place| cost(&place, table, ask(GB)).unwrap();
        assert!(
            (answer(place(&effective, own, h100()))
                .cost
                .time
                .as_secs_f64()
                - 0.0075)
                .abs()
                < 1e-4
        );
        // H100 moves 0.75 GB at about 300 GB/s.
        let tabled = answer(place(&effective, none, h100()));
        assert!(
            (0.0022..0.0028).contains(&tabled.cost.time.as_secs_f64()),
            "{tabled:?}"
        );
        assert_eq!(
            answer(place(&effective, none, None)).cost.provenance,
            Provenance::Datasheet
        );
    }

    #[test]
    fn alone_the_bundle_takes_the_time_of_the_cost() {
        // Links faster and slower than what was measured: the cap binds, or the weights shrink.
        for rate in [50, 5000] {
            let effective = vec![Bandwidth::new(rate * GB); 8];
            let none = HostRates {
                measured: &[],
                wiring: Wiring::Other,
                pcie: Bandwidth::new(32 * GB),
            };
            let here = place(&effective, none, Some(System::named("h200").unwrap()));
            for power in [9, 16, 22, 30] {
                let answer = cost(&here, NcclTable::built_in(), ask(1 << power)).unwrap();
                let alone = answer.bundle.uncontended(&effective).as_us_f64();
                let error = alone / answer.cost.time.as_us_f64() - 1.0;
                assert!(error.abs() < 0.01, "{rate} {power}: {error}");
            }
        }
    }
}
