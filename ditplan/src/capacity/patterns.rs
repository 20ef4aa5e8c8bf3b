//! When requests come and how they are served, as it was typed.

use anyhow::{Context, Result, bail, ensure};
use planner::capacity::recorded::{Recorded, Wanted};
use planner::capacity::{Rules, slo};
use sim::serving::{Failures, Pattern, Rate, Routing, Source};

use super::{CapacityArguments, RoutingArgument};

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

/// Reads `gamma:cv=2`.
pub(super) fn pattern(text: &str) -> Result<Pattern> {
    let (name, rest) = text.split_once(':').unwrap_or((text, ""));
    let expected: &[&str] = match name {
        "poisson" => &[],
        "gamma" => &["cv"],
        "diurnal" => &["peak", "period"],
        _ => bail!(
            "--arrivals: \"{text}\" is not a pattern: write poisson, gamma:cv=2, diurnal:peak=3,period=24h or the name of a CSV \
             file"
        ),
    };
    let values = keyed("--arrivals", rest, expected)?;
    let number = |place: usize| -> Result<f64> {
        let (key, text) = (expected[place], &values[place]);
        text.parse()
            .ok()
            .with_context(|| format!("--arrivals: {key} is \"{text}\": give a number"))
    };
    Ok(match name {
        "gamma" => Pattern::Gamma { cv: number(0)? },
        "diurnal" => Pattern::Diurnal {
            peak: number(0)?,
            period: length("--arrivals", "period", &values[1])?,
        },
        _ => Pattern::Poisson,
    })
}

/// Reads `key=value` for exactly these keys, in any order.
fn keyed(option: &str, text: &str, keys: &[&str]) -> Result<Vec<String>> {
    let mut values = vec![None; keys.len()];
    for part in text.split(',').filter(|part| !part.trim().is_empty()) {
        let (key, value) = part.split_once('=').with_context(|| {
            format!(
                "{option}: \"{part}\" has no value: write {}=...",
                part.trim()
            )
        })?;
        let place = keys.iter().position(|known| *known == key.trim());
        let place = place.with_context(|| match keys {
            [] => format!(
                "{option}: \"{}\" is not known here: leave it out",
                key.trim()
            ),
            _ => format!(
                "{option}: \"{}\" is not known here: write {}",
                key.trim(),
                keys.join(", ")
            ),
        })?;
        values[place] = Some(value.trim().to_owned());
    }
    let missing = |(key, value): (&&str, Option<String>)| {
        value.with_context(|| format!("{option}: {key} is missing: write {key}=..."))
    };
    keys.iter().zip(values).map(missing).collect()
}

fn length(option: &str, key: &str, text: &str) -> Result<topologies::SimDuration> {
    slo::time(text).with_context(|| {
        format!("{option}: {key} is \"{text}\": give a time of at most 100 days with its unit, for instance 30min or 24h")
    })
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
