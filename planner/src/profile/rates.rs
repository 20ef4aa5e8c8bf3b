//! Rates that a profile's points come to: memory, copies, launching, interference.

use kernels::MemoryRate;

use super::points::{Point, What};
use crate::validate::statistics::median;

/// Operations that one kernel does in one pass: their bytes are all that is moved.
const ONE_KERNEL: [&str; 4] = ["copy", "add", "gelu", "layernorm"];
/// Points down to this share of the largest count for a rate: smaller ones stay in a cache.
const LARGE: f64 = 0.25;

/// The median rate of large operations of one kernel, and the shortest operation.
#[must_use]
pub fn memory(points: &[Point]) -> Option<MemoryRate> {
    let of = |point: &Point| match &point.what {
        What::Memory { op, bytes } if ONE_KERNEL.contains(&op.as_str()) => {
            Some((*bytes as f64, point.us))
        }
        _ => None,
    };
    let moved: Vec<(f64, f64)> = points.iter().filter_map(of).collect();
    let largest = moved.iter().map(|one| one.0).fold(0.0, f64::max);
    let large = moved.iter().filter(|one| one.0 >= LARGE * largest);
    let rates: Vec<f64> = large.map(|(bytes, us)| bytes / us).collect();
    (!rates.is_empty()).then(|| MemoryRate {
        bytes_per_us: median(rates),
        floor_us: moved.iter().map(|one| one.1).fold(f64::INFINITY, f64::min),
    })
}

/// A copy of `bytes` takes `latency + bytes / rate`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CopyRate {
    /// Microseconds before the first byte.
    pub latency_us: f64,
    /// Bytes per microsecond of the largest copy.
    pub bytes_per_us: f64,
}

/// The rate of copies from and to pinned memory: of the largest, and what the smallest takes beyond it.
#[must_use]
pub fn copy(points: &[Point], direction: &str) -> Option<CopyRate> {
    let of = |point: &Point| match &point.what {
        What::Copy {
            direction: found,
            pinned: true,
            bytes,
        } if found == direction => Some((*bytes as f64, point.us)),
        _ => None,
    };
    let copies: Vec<(f64, f64)> = points.iter().filter_map(of).collect();
    let largest = copies.iter().max_by(|a, b| a.0.total_cmp(&b.0))?;
    let smallest = copies.iter().min_by(|a, b| a.0.total_cmp(&b.0))?;
    let bytes_per_us = largest.0 / largest.1;
    Some(CopyRate {
        latency_us: (smallest.1 - smallest.0 / bytes_per_us).max(0.0),
        bytes_per_us,
    })
}

/// Microseconds of the host for one more kernel of an eager chain.
#[must_use]
pub fn eager_launch_us(points: &[Point]) -> Option<f64> {
    let of = |point: &Point| match &point.what {
        What::Launch { mode, kernels } if mode == "eager" => Some((*kernels as f64, point.us)),
        _ => None,
    };
    let mut chains: Vec<(f64, f64)> = points.iter().filter_map(of).collect();
    chains.sort_by(|a, b| a.0.total_cmp(&b.0));
    match chains.as_slice() {
        [.., (few, before), (many, after)] if after > before => {
            Some((after - before) / (many - few))
        }
        [.., (many, us)] => Some(us / many),
        [] => None,
    }
}

/// The part by which compute is longer beside copies both ways, mean of products and attention.
#[must_use]
pub fn interference(points: &[Point]) -> Option<f64> {
    let time = |wanted: (&str, &str)| {
        points.iter().find_map(|point| match &point.what {
            What::Interference { compute, copy } if (compute.as_str(), copy.as_str()) == wanted => {
                Some(point.us)
            }
            _ => None,
        })
    };
    let longer =
        |compute| Some((time((compute, "both"))? / time((compute, "none"))? - 1.0).max(0.0));
    let found: Vec<f64> = ["gemm", "attention"]
        .into_iter()
        .filter_map(longer)
        .collect();
    (!found.is_empty()).then(|| found.iter().sum::<f64>() / found.len() as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(what: What, us: f64) -> Point {
        let spread = None;
        Point { what, us, spread }
    }

    #[test]
    fn the_rate_of_memory_is_that_of_large_operations_of_one_kernel() {
        let of = |op: &str, bytes: u64, us| {
            point(
                What::Memory {
                    op: op.into(),
                    bytes,
                },
                us,
            )
        };
        // 400, 300 and 500 B/us of the large ones; rope needs several kernels, 1000 bytes lie in a cache.
        let points = [
            of("copy", 400_000, 1000.0),
            of("gelu", 300_000, 1000.0),
            of("add", 500_000, 1000.0),
            of("rope", 500_000, 9000.0),
            of("copy", 1000, 1.5),
        ];
        let found = memory(&points).unwrap();
        assert_eq!((found.bytes_per_us, found.floor_us), (400.0, 1.5));
        assert_eq!(memory(&points[3..4]), None);
    }

    #[test]
    fn a_copy_has_the_rate_of_the_largest_and_the_latency_of_the_smallest() {
        let of = |direction: &str, pinned, bytes, us| {
            let direction = direction.to_owned();
            point(
                What::Copy {
                    direction,
                    pinned,
                    bytes,
                },
                us,
            )
        };
        let points = [
            of("h2d", true, 1000, 12.0),
            of("h2d", true, 1_000_000, 2000.0),
            of("h2d", false, 4_000_000, 99.0),
        ];
        // 1,000,000 bytes in 2000 us; 1000 bytes take 2 us of the 12 at that rate.
        let found = copy(&points, "h2d").unwrap();
        assert_eq!((found.latency_us, found.bytes_per_us), (10.0, 500.0));
        assert_eq!(copy(&points, "d2h"), None);
    }

    #[test]
    fn launching_is_what_a_longer_chain_takes_more() {
        let of = |kernels, us| {
            point(
                What::Launch {
                    mode: "eager".into(),
                    kernels,
                },
                us,
            )
        };
        assert_eq!(
            eager_launch_us(&[of(100, 600.0), of(1100, 5600.0)]),
            Some(5.0)
        );
        assert_eq!(eager_launch_us(&[of(10, 60.0)]), Some(6.0));
    }

    #[test]
    fn interference_is_the_mean_slow_down_beside_both_copies() {
        let of = |compute: &str, copy: &str, us| {
            let (compute, copy) = (compute.to_owned(), copy.to_owned());
            point(What::Interference { compute, copy }, us)
        };
        let points = [
            of("gemm", "none", 100.0),
            of("gemm", "both", 110.0),
            of("attention", "none", 100.0),
            of("attention", "both", 130.0),
        ];
        assert!((interference(&points).unwrap() - 0.2).abs() < 1e-12);
    }
}
