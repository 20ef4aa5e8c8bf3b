//! The queue over time.

use sim::serving::Replication;

use super::measure::Bench;
use super::{CapacityError, Fleet, QueuePoint};

/// Parts of the queue over time.
const PARTS: usize = 300;

/// Who waits in the first replication, by parts of its length.
pub(super) fn waiting(bench: &Bench<'_>, fleet: &Fleet) -> Result<Vec<QueuePoint>, CapacityError> {
    let first = &bench.streams[..1];
    let mut changes: Vec<(u64, i64)> = Vec::new();
    let mut end = 0;
    for pool in &fleet.pools {
        let runs: Vec<Replication> = bench.runs(&bench.pool(pool, false)?, first)?;
        for run in &runs {
            end = end.max(run.end.as_ps());
            for one in run.served.iter().filter(|one| one.started > one.arrived) {
                changes.push((one.arrived.as_ps(), 1));
                changes.push((one.started.as_ps(), -1));
            }
        }
    }
    changes.sort_unstable();
    let mut points = Vec::with_capacity(PARTS);
    let (mut waiting, mut next, mut at) = (0_i64, 0, 0_u64);
    for part in 1..=PARTS {
        let until = (u128::from(end) * part as u128 / PARTS as u128) as u64;
        let (from, mut sum, mut most) = (at, 0_u128, waiting);
        while next < changes.len() && changes[next].0 <= until {
            let (when, change) = changes[next];
            sum += u128::from(when - at) * waiting as u128;
            (at, waiting, next) = (when, waiting + change, next + 1);
            most = most.max(waiting);
        }
        sum += u128::from(until - at) * waiting as u128;
        at = until;
        points.push(QueuePoint {
            until_s: until as f64 / 1e12,
            mean: sum as f64 / (until - from).max(1) as f64,
            most: most as u32,
        });
    }
    Ok(points)
}
