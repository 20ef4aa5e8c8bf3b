//! When requests come and how they are served, as it was typed.

use anyhow::{Context, Result, ensure};
use planner::capacity::Rules;
use planner::capacity::recorded::{Recorded, Wanted};
use sim::serving::{Failures, Pattern, Rate, Routing, Source};

use super::arguments::{CapacityArguments, RoutingArgument};
use crate::question::arrivals::{keyed, length, pattern};

/// Requests of a run where nothing else is asked.
const REQUESTS: usize = 10_000;
/// The most requests of a run.
const MOST: f64 = 2e6;

/// When requests come.
pub(super) fn source(
    typed: &CapacityArguments,
    wanted: &[(Wanted, f64)],
    record: Option<Recorded>,
) -> Result<Source> {
    let rate: Option<Rate> = typed
        .rate
        .as_deref()
        .map(str::parse)
        .transpose()
        .context("--rate")?;
    let weights = wanted.iter().map(|(_, weight)| *weight).collect();
    if let Some(record) = record {
        ensure!(
            typed.requests.is_none(),
            "--requests and --arrivals {}: the file says how many there are, leave --requests out",
            typed.arrivals
        );
        return Ok(record.source(weights, rate, typed.seed)?);
    }
    let rate =
        rate.context("--rate is missing: say how often requests come, for instance --rate 2/s")?;
    let pattern = pattern(&typed.arrivals)?;
    let mut requests = typed.requests.map_or(REQUESTS, |count| count as usize);
    if let Pattern::Diurnal { period, .. } = pattern {
        let period = rate.get() * period.as_secs_f64();
        ensure!(
            period <= MOST,
            "--arrivals: a period has {period:.0} requests at {rate}, more than {MOST:.0}: give a shorter period"
        );
        requests = match typed.requests {
            None => (period.ceil() as usize).max(100),
            Some(count) => {
                ensure!(
                    count as f64 >= 0.99 * period,
                    "--requests {count} are less than a period, which has {period:.0} at {rate}: give at least as many, or leave \
                     --requests out"
                );
                count as usize
            }
        };
    }
    Source::new(pattern, weights, requests, rate, typed.seed).context("--arrivals")
}

/// How requests are served.
pub(super) fn rules(typed: &CapacityArguments) -> Result<Rules> {
    let failures = match &typed.failures {
        Some(text) => {
            let values = keyed("--failures", text, &["mtbf", "mttr"])?;
            Some(Failures {
                mtbf: length("--failures", "mtbf", &values[0])?,
                mttr: length("--failures", "mttr", &values[1])?,
            })
        }
        None => None,
    };
    ensure!(
        failures.is_some() || typed.spares == 0,
        "--spares without --failures: nothing fails, so that nothing needs a spare; give --failures mtbf=...,mttr=..."
    );
    Ok(Rules {
        routing: match typed.routing {
            RoutingArgument::Fifo => Routing::Fifo,
            RoutingArgument::Shortest => Routing::Shortest,
            RoutingArgument::LeastLoaded => Routing::LeastLoaded,
        },
        batch: typed.batch,
        failures,
        spares: typed.spares,
    })
}
