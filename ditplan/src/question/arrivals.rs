//! Patterns of arrivals and times, as they were typed.

use anyhow::{Context, Result, bail};
use planner::capacity::slo;
use sim::serving::Pattern;

/// Whether `--arrivals` is a pattern, and so no file.
pub(crate) fn is_pattern(arrivals: &str) -> bool {
    pattern(arrivals).is_ok()
}

/// Reads `gamma:cv=2`.
pub(crate) fn pattern(text: &str) -> Result<Pattern> {
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
pub(crate) fn keyed(option: &str, text: &str, keys: &[&str]) -> Result<Vec<String>> {
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

pub(crate) fn length(option: &str, key: &str, text: &str) -> Result<topologies::SimDuration> {
    slo::time(text).with_context(|| {
        format!("{option}: {key} is \"{text}\": give a time of at most 100 days with its unit, for instance 30min or 24h")
    })
}
