//! Measured bus bandwidths of one host: the answer that beats every other.
//!
//! ```text
//! time = latency + S·bus factor / bus bandwidth
//! ```
//! | rank count | bus bandwidth |
//! |---|---|
//! | measured | as measured, ±25 % |
//! | between or beyond, one or more others measured | the shape of its wiring through the measured points (log-log in n); for hosts of another wiring log-log between, held beyond |
//! | nothing measured, the wiring known | the default shape of that wiring, x/÷ 2 |
//!
//! The default shapes were inferred from published end-to-end runs (xDiT's and PipeFusion's
//! dual-socket L40 and L20 boxes, cache-dit's and CompactFusion's L20 boxes): on two sockets all-to-all
//! collapses from 21 GB/s on 2 ranks to 0.97 on 8, a ring hop does not. Between hosts the published
//! L40 runs imply 0.9 to 2 GB/s (10 GbE).
//! Rates are of the group's own ranks, not of the world: a group of 2 keeps its rate beside others.
//!
//! Guarantees: a measured rank count is answered by its own rate.
//!
//! Not modelled: size (no dependence between 2 and 300 MB was found), load by other groups.

use kernels::Provenance;
use topologies::{Bandwidth, Bytes, CollectiveKind, SimDuration};

use super::decompose::{HopKind, Protocol};
use super::predict::CollectiveCost;

/// How a host's GPUs are wired, for what was not measured on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Wiring {
    /// PCIe, the GPUs on two sockets.
    DualSocketPcie,
    /// PCIe, all GPUs below one socket or switch.
    SinglePcie,
    /// PCIe without peer-to-peer copies: messages go through host memory.
    ConsumerPcie,
    /// Several hosts; the group spans more than one.
    Network,
    /// Anything else: nothing is assumed.
    Other,
}

/// Bus bandwidths of one host.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct HostRates<'a> {
    /// Operation, ranks, nccl-tests' bus bandwidth; any order, at most one per pair.
    pub measured: &'a [(CollectiveKind, u32, Bandwidth)],
    /// Wiring.
    pub wiring: Wiring,
    /// One-way PCIe bandwidth of the GPUs; the default shapes are of 32 GB/s.
    pub pcie: Bandwidth,
}

/// A bus bandwidth and how it was reached.
struct Rate {
    bytes_per_second: f64,
    provenance: Provenance,
    half_width: f64,
    note: &'static str,
}

/// The default shape of a wiring: (ranks, GB/s) at PCIe 4, source in the module's table.
const fn default_shape(wiring: Wiring, kind: CollectiveKind) -> &'static [(f64, f64)] {
    use CollectiveKind::{AllGather, AllReduce, AllToAll, ReduceScatter, RingPass};
    match (wiring, kind) {
        (Wiring::Other, _) => &[],
        (Wiring::Network, AllToAll) => &[(2.0, 0.9)],
        (Wiring::Network, RingPass) => &[(2.0, 1.2)],
        (Wiring::Network, AllReduce) => &[(2.0, 2.0)],
        (Wiring::Network, AllGather | ReduceScatter) => &[(2.0, 0.5)],
        (Wiring::DualSocketPcie, AllToAll) => &[
            (2.0, 21.0),
            (3.0, 13.6),
            (4.0, 3.35),
            (8.0, 0.97),
            (16.0, 0.5),
        ],
        (Wiring::DualSocketPcie, RingPass) => {
            &[(2.0, 22.0), (4.0, 22.0), (8.0, 18.0), (16.0, 14.0)]
        }
        (Wiring::DualSocketPcie, AllReduce) => {
            &[(2.0, 25.0), (4.0, 21.0), (8.0, 20.0), (16.0, 10.0)]
        }
        (Wiring::DualSocketPcie, AllGather | ReduceScatter) => {
            &[(2.0, 5.0), (4.0, 6.0), (8.0, 3.0), (16.0, 1.0)]
        }
        (Wiring::SinglePcie | Wiring::ConsumerPcie, AllToAll) => {
            &[(2.0, 22.0), (4.0, 14.0), (8.0, 10.0), (16.0, 6.0)]
        }
        (Wiring::SinglePcie | Wiring::ConsumerPcie, RingPass) => {
            &[(2.0, 24.0), (4.0, 22.0), (8.0, 18.0), (16.0, 14.0)]
        }
        (Wiring::SinglePcie | Wiring::ConsumerPcie, AllReduce) => {
            &[(2.0, 24.0), (4.0, 22.0), (8.0, 20.0), (16.0, 12.0)]
        }
        (Wiring::SinglePcie | Wiring::ConsumerPcie, AllGather | ReduceScatter) => {
            &[(2.0, 9.0), (4.0, 9.0), (8.0, 6.0), (16.0, 4.0)]
        }
    }
}

/// What staging through host memory leaves of a PCIe rate: 4090 boxes of the published runs reach
/// 5 GB/s in an all-to-all of 8 and 8.5 GB/s a ring hop (docs/calibration.md section 4).
const STAGED_SHARE: f64 = 0.4;

impl Wiring {
    /// What remains of a PCIe 4 rate on links of `pcie`, one way; a network's rate stands.
    fn link_ratio(self, pcie: Bandwidth) -> f64 {
        let generation = pcie.as_f64() / 32e9;
        match self {
            Self::DualSocketPcie | Self::SinglePcie => generation,
            Self::ConsumerPcie => generation * STAGED_SHARE,
            Self::Network | Self::Other => 1.0,
        }
    }
}

/// Log-log through `points` (sorted by ranks), the end ones held beyond; `None` without points.
fn log_log(points: &[(f64, f64)], n: f64) -> Option<f64> {
    let below = points.iter().rev().find(|point| point.0 <= n);
    let above = points.iter().find(|point| point.0 >= n);
    match (below, above) {
        (Some(&(n0, r0)), Some(&(n1, r1))) if n1 > n0 => {
            Some(r0 * (r1 / r0).powf((n / n0).ln() / (n1 / n0).ln()))
        }
        (Some(point), _) | (None, Some(point)) => Some(point.1),
        (None, None) => None,
    }
}

impl HostRates<'_> {
    /// The time of `kind` of `size` on `ranks` ranks of this host; `None` when nothing that was
    /// measured or assumed of it says.
    #[must_use]
    pub fn time(&self, kind: CollectiveKind, ranks: u32, size: Bytes) -> Option<CollectiveCost> {
        let rate = self.rate(kind, ranks)?;
        let seconds = size.as_f64() * kind.bus_factor(ranks) / rate.bytes_per_second;
        let time = small_message(kind, ranks) + SimDuration::from_secs_f64(seconds);
        Some(CollectiveCost {
            time,
            provenance: rate.provenance,
            half_width: rate.half_width,
            note: rate.note.to_owned(),
        })
    }

    fn rate(&self, kind: CollectiveKind, ranks: u32) -> Option<Rate> {
        let n = f64::from(ranks);
        let of_kind = self.measured.iter().filter(|rate| rate.0 == kind);
        let mut points: Vec<(f64, f64)> = of_kind
            .map(|rate| (f64::from(rate.1), rate.2.as_f64()))
            .collect();
        points.sort_by(|a, b| a.0.total_cmp(&b.0));
        if let Some(point) = points.iter().find(|point| point.0 == n) {
            return Some(Rate {
                bytes_per_second: point.1,
                provenance: Provenance::Measured,
                half_width: 0.25,
                note: "the host's measured rate",
            });
        }
        let inside = points.first().is_some_and(|first| first.0 < n)
            && points.last().is_some_and(|last| last.0 > n);
        let (provenance, half_width) = match (points.is_empty(), inside, self.wiring) {
            (true, _, Wiring::Other) => return None,
            (true, ..) => (Provenance::Datasheet, 1.0),
            (false, true, _) => (Provenance::Interpolated, 0.4),
            (false, false, _) => (Provenance::Extrapolated, 0.6),
        };
        let (bytes_per_second, note) = self.shaped(kind, &points, n)?;
        Some(Rate {
            bytes_per_second,
            provenance,
            half_width,
            note,
        })
    }

    /// A rate for a rank count that was not measured, from `points` and the wiring.
    fn shaped(
        &self,
        kind: CollectiveKind,
        points: &[(f64, f64)],
        n: f64,
    ) -> Option<(f64, &'static str)> {
        if self.wiring == Wiring::Other {
            let note = "log-log in ranks between the host's measured rates, held beyond";
            return log_log(points, n).map(|rate| (rate, note));
        }
        let default = default_shape(self.wiring, kind);
        let ratio = self.wiring.link_ratio(self.pcie) * 1e9;
        let shape = |n| log_log(default, n).expect("every known wiring has points") * ratio;
        let ratios: Vec<(f64, f64)> = points
            .iter()
            .map(|(n, rate)| (*n, rate / shape(*n)))
            .collect();
        Some(match log_log(&ratios, n) {
            Some(ratio) => (
                shape(n) * ratio,
                "the host's measured rates, shaped like boxes of its wiring",
            ),
            None => (
                shape(n),
                "the default of boxes of its wiring: one nccl-tests run on this one is needed",
            ),
        })
    }
}

/// Latency of a PCIe ring with LL (6.6 + hops of 1 us; the measured RTX PRO 6000 host: 6.0, 9.4
/// and 14.7 us on 2, 4 and 8 ranks).
fn small_message(kind: CollectiveKind, ranks: u32) -> SimDuration {
    let hop = Protocol::Ll.hop(HopKind::Pcie).expect("LL runs over PCIe");
    let hops = u64::from(match kind {
        CollectiveKind::AllGather | CollectiveKind::ReduceScatter => ranks - 1,
        CollectiveKind::AllReduce => 2 * (ranks - 1),
        CollectiveKind::AllToAll | CollectiveKind::RingPass => 1,
    });
    Protocol::Ll.base() + hop * hops
}

#[cfg(test)]
mod tests {
    use super::*;

    const GB: u64 = 1_000_000_000;
    const A2A: CollectiveKind = CollectiveKind::AllToAll;

    #[test]
    fn a_measured_rank_count_is_answered_by_its_own_rate() {
        // 8 GB · 7/8 / 1 GB/s = 7 s, plus 7.6 us.
        let measured = [
            (A2A, 8, Bandwidth::new(GB)),
            (A2A, 2, Bandwidth::new(20 * GB)),
        ];
        let rates = HostRates {
            measured: &measured,
            wiring: Wiring::DualSocketPcie,
            pcie: Bandwidth::new(32 * GB),
        };
        let cost = rates.time(A2A, 8, Bytes::new(8 * GB)).unwrap();
        assert_eq!(cost.provenance, Provenance::Measured);
        assert!((cost.time.as_us_f64() - 7_000_007.6).abs() < 0.01);
    }

    #[test]
    fn one_measured_rate_carries_the_collapse_to_other_rank_counts() {
        // 42 GB/s on two ranks is twice the default, so four get 6.7.
        let measured = [(A2A, 2, Bandwidth::new(42 * GB))];
        let rates = HostRates {
            measured: &measured,
            wiring: Wiring::DualSocketPcie,
            pcie: Bandwidth::new(32 * GB),
        };
        let cost = rates.time(A2A, 4, Bytes::new(GB)).unwrap();
        assert!((cost.time.as_us_f64() - (7.6 + 0.75e6 / 6.7)).abs() < 0.1);
        assert_eq!(cost.provenance, Provenance::Extrapolated);
    }

    #[test]
    fn a_host_of_unknown_wiring_without_rates_has_no_answer() {
        let none = HostRates {
            measured: &[],
            wiring: Wiring::Other,
            pcie: Bandwidth::new(32 * GB),
        };
        assert_eq!(none.time(A2A, 4, Bytes::new(GB)), None);
        let default = HostRates {
            measured: &[],
            wiring: Wiring::DualSocketPcie,
            pcie: Bandwidth::new(32 * GB),
        };
        assert_eq!(
            default.time(A2A, 8, Bytes::new(GB)).unwrap().half_width,
            1.0
        );
    }
}
