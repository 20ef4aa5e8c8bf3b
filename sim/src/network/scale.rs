//! The whole numbers in which shares are counted.
//!
//! | what | unit | type |
//! |---|---|---|
//! | rate of one flow | 2^-s bytes/s | `u64` below 2^63 |
//! | weight of a bundle on a link | 2^-t flows | `u64` |
//! | capacity of a link, and what is taken of it | rate times weight, 2^-(s+t) bytes/s | `u128` |
//! | work of one flow | rate times picoseconds | `u128` |
//!
//! *s* is as large as the fastest path allows, so that its rate has 62 binary digits; *t* is the smallest
//! that makes all weights whole, or where none does (protocol overheads as 16/15), one that leaves room for
//! 2^20 bundles of the greatest weight. Sums and differences of whole numbers have no rounding and so no
//! order; the only roundings are levels (down, [`quotient`]), the work of a transfer (less its last 2^-44, or
//! where weights are not whole 2^-(t-1), so that levels rounded down do not miss closed forms) and finish times
//! (up, [`Scale::time`]).

use topologies::{Bandwidth, Bytes, SimDuration};

use crate::graph::Path;

/// The level of a link that is not full, the cap of a path that has none, the time of what never ends.
pub(super) const UNLIMITED: u64 = u64::MAX;
/// Picoseconds in a second.
const PS_PER_SECOND: u128 = 1_000_000_000_000;
/// Binary digits of the fastest rate.
const RATE_BITS: i32 = 62;
/// Binary digits of a weight where weights are not whole.
const WEIGHT_BITS: i32 = 42;
/// The last part of a transfer, as a power of two, that is not waited for.
const SLACK_BITS: i32 = 44;

/// The units of one network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Scale {
    rate: u32,
    weight: u32,
    slack: u32,
}

/// The exponent of the smallest power of two that is not below `value`.
fn exponent(value: f64) -> i32 {
    if value > 0.0 {
        value.log2().ceil() as i32
    } else {
        0
    }
}

impl Scale {
    /// Bytes per second and whole flows.
    #[cfg(test)]
    pub(super) const WHOLE: Self = Self {
        rate: 0,
        weight: 0,
        slack: 44,
    };

    pub(super) fn new(paths: &[Path], capacities: &[Bandwidth]) -> Self {
        let weights = || {
            paths
                .iter()
                .flat_map(|path| &path.shares)
                .map(|share| share.1)
        };
        let whole = |bits: &i32| weights().all(|weight| (weight * 2f64.powi(*bits)).fract() == 0.0);
        let heaviest = exponent(weights().fold(1.0, f64::max));
        let (weight, slack) = match (0..=8).find(whole) {
            Some(bits) => (bits, SLACK_BITS),
            None => {
                let bits = (WEIGHT_BITS - heaviest).max(0);
                (bits, (bits - 1).clamp(1, SLACK_BITS))
            }
        };
        let alone = paths.iter().map(|path| super::rate_alone(path, capacities));
        let fastest = exponent(alone.filter(|rate| rate.is_finite()).fold(1.0, f64::max));
        let widest = capacities.iter().map(|capacity| capacity.as_f64());
        let widest = exponent(widest.fold(1.0, f64::max));
        let rate = (RATE_BITS - fastest).min(126 - weight - widest).max(0);
        let [rate, weight, slack] = [rate, weight, slack].map(i32::unsigned_abs);
        Self {
            rate,
            weight,
            slack,
        }
    }

    /// All that a link lets through.
    pub(super) fn capacity(self, capacity: Bandwidth) -> u128 {
        u128::from(capacity.get()) << (self.rate + self.weight)
    }

    /// The weight of a bundle on a link; at least one unit.
    pub(super) fn weight(self, weight: f64) -> u64 {
        ((weight * 2f64.powi(self.weight.cast_signed())).round() as u64).max(1)
    }

    /// The cap of a path.
    pub(super) fn cap(self, cap: Option<Bandwidth>) -> u64 {
        cap.map_or(UNLIMITED, |cap| {
            let units = u128::from(cap.get()) << self.rate;
            u64::try_from(units).unwrap_or(UNLIMITED)
        })
    }

    /// What a flow of `bytes` has to be served. What takes more than 2^64 ps at the fastest rate is all the same.
    pub(super) fn work(self, bytes: Bytes) -> u128 {
        const MOST: u128 = 1 << 126;
        let work = u128::from(bytes.get()) * PS_PER_SECOND;
        if work.leading_zeros() > self.rate + 2 {
            (work << self.rate) - ((work << self.rate) >> self.slack)
        } else {
            MOST
        }
    }

    /// How long `work` takes at `rate`, rounded up; `None` if beyond all time.
    #[inline]
    pub(super) fn time(work: u128, rate: u64) -> Option<SimDuration> {
        if rate == 0 {
            return None;
        }
        let time = work.div_ceil(u128::from(rate));
        u64::try_from(time).ok().map(SimDuration::new)
    }

    /// Bytes per second.
    #[cfg(test)]
    pub(super) fn bytes_per_second(self, rate: u64) -> f64 {
        rate as f64 * 2f64.powi(-self.rate.cast_signed())
    }
}

/// The level at which `load` fills `room`, rounded down, and less than [`UNLIMITED`].
#[inline]
pub(super) fn quotient(room: u128, load: u64) -> u64 {
    // The usual case: dividing 64 bits is several times faster.
    if let Ok(room) = u64::try_from(room) {
        (room / load).min(UNLIMITED - 1)
    } else if (room >> 64) as u64 >= load {
        UNLIMITED - 1
    } else {
        ((room / u128::from(load)) as u64).min(UNLIMITED - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use topologies::LinkId;

    fn path(weight: f64, cap: Option<u64>) -> Path {
        Path {
            latency: SimDuration::ZERO,
            shares: vec![(LinkId::new(0), weight)],
            cap: cap.map(Bandwidth::new),
        }
    }

    fn scale(weight: f64) -> Scale {
        Scale::new(&[path(weight, None)], &[Bandwidth::new(1 << 40)])
    }

    #[test]
    fn the_fastest_rate_has_62_binary_digits_and_whole_weights_none_behind_the_point() {
        let whole = scale(1.0);
        assert_eq!((whole.rate, whole.weight), (22, 0));
        let halves = scale(2.5);
        assert_eq!((halves.weight, halves.weight(2.5)), (1, 5));
        // 2^40 / 0.5 is faster by one digit.
        assert_eq!((scale(0.5).rate, scale(0.5).weight(0.5)), (21, 1));
        // 16/15 is never whole.
        assert_eq!(scale(16.0 / 15.0).weight, 41);
        assert_eq!(scale(16.0 / 15.0).slack, 40);
    }

    #[test]
    fn a_slow_path_beside_a_wide_link_still_fits() {
        let slow = path(1.0, Some(1));
        let scale = Scale::new(&[slow], &[Bandwidth::new(u64::MAX)]);
        assert_eq!(
            (scale.rate, scale.cap(Some(Bandwidth::new(1)))),
            (62, 1 << 62)
        );
        assert_eq!(
            scale.capacity(Bandwidth::new(u64::MAX)) >> 62,
            u128::from(u64::MAX)
        );
    }

    #[test]
    fn times_round_up() {
        let ps = |work: u128, rate| Scale::time(work, rate).map(|time| time.get());
        assert_eq!(ps(0, 7), Some(0));
        assert_eq!(ps(1, 7), Some(1));
        assert_eq!(ps(14, 7), Some(2));
        assert_eq!(ps(15, 7), Some(3));
        assert_eq!(ps(1, 0), None);
        assert_eq!(ps(u128::from(u64::MAX) + 1, 1), None);
    }

    #[test]
    fn a_level_rounded_down_does_not_miss_a_closed_form() {
        // 7 bytes over a third of 1 byte/ps take 21 ps, though the third is rounded down.
        let link = [Bandwidth::new(1_000_000_000_000)];
        let scale = Scale::new(&[path(1.0, None)], &link);
        let third = quotient(scale.capacity(link[0]), 3);
        let time = Scale::time(scale.work(Bytes::new(7)), third);
        assert_eq!(time, Some(SimDuration::new(21)));
    }

    #[test]
    fn work_beyond_all_time_is_all_the_same() {
        let scale = scale(1.0);
        let most = scale.work(Bytes::new(u64::MAX));
        assert_eq!(Scale::time(most, 1 << 62), None);
        let some = scale.work(Bytes::new(1 << 40));
        let time = Scale::time(some, 1 << 62).map(|time| time.get());
        assert_eq!(time, Some(1_000_000_000_000));
    }

    #[test]
    fn a_quotient_that_does_not_fit_limits_nothing() {
        assert_eq!(quotient(10, 3), 3);
        assert_eq!(quotient(1 << 80, 1), UNLIMITED - 1);
        assert_eq!(quotient(u128::from(UNLIMITED), 1), UNLIMITED - 1);
    }
}
