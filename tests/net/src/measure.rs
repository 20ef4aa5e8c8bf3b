//! Runs cases on their testbeds, several times each.

use anyhow::{Context, Result, bail};
use planner::validate::statistics::median;
use sim::platform::Platform;
use topologies::SimDuration;

use crate::cases::{self, Case, Prepared};
use crate::clock;
use crate::drawn::{self, CALIBRATED_ON, Extent};
use crate::machine::{self, Calibration};
use crate::testbed::{Net, Testbed, megabytes};
use crate::worker::{Answer, Order};

/// From giving the order to the start: long enough for eight processes to have it.
const LEAD_NS: u64 = 40_000_000;
/// Sizes of the one flow that calibrates, bytes.
const SWEEP: [u64; 8] = [
    65_536, 131_072, 262_144, 524_288, 1_048_576, 2_097_152, 4_194_304, 8_388_608,
];

/// How often and under which names cases run.
#[derive(Clone, Debug)]
pub(crate) struct Setup {
    /// Measured repeats; one more comes before them and is left out.
    pub repeats: u32,
    /// Begins the names of namespaces.
    pub token: String,
}

/// A case with what was measured and simulated of it.
#[derive(Clone, Debug)]
pub(crate) struct Measured {
    /// The case.
    pub case: Case,
    /// Each repeat, milliseconds.
    pub repeats_ms: Vec<f64>,
    /// The simulation, milliseconds.
    pub predicted_ms: f64,
    /// What simpler models say, milliseconds.
    pub baselines: Vec<(&'static str, f64)>,
    /// The longest time by which coding overran what it was given, milliseconds.
    pub overrun_ms: f64,
}

/// Repeats of one case, milliseconds, and the longest overrun.
fn repeats(testbed: &mut Testbed, prepared: &Prepared, count: u32) -> Result<(Vec<f64>, f64)> {
    let load: Vec<Order> = prepared.programs.iter().cloned().map(Order::Load).collect();
    testbed.order(&load)?;
    testbed.answers()?;
    let (mut times, mut longest) = (Vec::new(), 0.0_f64);
    for repeat in 0..=count {
        let number = testbed.next_run();
        let at_ns = clock::now_ns() + LEAD_NS;
        let orders = load.iter().map(|_| Order::Run { number, at_ns });
        testbed.order(&orders.collect::<Vec<_>>())?;
        let mut end = None;
        for answer in testbed.answers()? {
            let Answer::Ran { spans, overrun_ns } = answer else {
                bail!("a worker ran nothing");
            };
            let timed = spans.iter().filter(|span| prepared.is_timed(span.task));
            end = end.max(timed.map(|span| span.end_ns).max());
            longest = longest.max(overrun_ns as f64 / 1e6);
        }
        if repeat > 0 {
            let end = end.context("a case does something")?;
            times.push(end.saturating_sub(at_ns) as f64 / 1e6);
        }
    }
    Ok((times, longest))
}

/// What one flow reaches: bytes over time in the sweep, by least squares of the relative error.
///
/// # Errors
/// When the testbed cannot be made.
pub(crate) fn calibrate(setup: &Setup) -> Result<(Calibration, Vec<(u64, f64)>)> {
    let net = CALIBRATED_ON;
    let mut testbed = Testbed::new(net, &setup.token)?;
    // The graph's times do not matter here: nothing is simulated.
    let unknown = Calibration {
        efficiency: 1.0,
        latency_us: 0.0,
    };
    let platform = machine::platform(net, unknown)?;
    let mut points = Vec::new();
    for bytes in SWEEP {
        let prepared = Prepared::new(&cases::single(net, bytes), &platform)?;
        let (times, _) = repeats(&mut testbed, &prepared, setup.repeats.max(7))?;
        points.push((bytes, median(times)));
    }
    Ok((fit(net, &points), points))
}

/// `time = latency + bytes / (efficiency rate)`.
fn fit(net: Net, points: &[(u64, f64)]) -> Calibration {
    // Minimises the sum of ((a + b S) / T - 1)^2: two linear equations in a and b.
    let mut sums = [0.0; 5];
    for &(bytes, ms) in points {
        let (one, size) = (1.0 / ms, bytes as f64 / ms);
        for (sum, term) in sums
            .iter_mut()
            .zip([one * one, one * size, size * size, one, size])
        {
            *sum += term;
        }
    }
    let [aa, ab, bb, a1, b1] = sums;
    let det = aa * bb - ab * ab;
    let (a, b) = ((a1 * bb - b1 * ab) / det, (aa * b1 - ab * a1) / det);
    Calibration {
        efficiency: 1e3 / (b * net.rate.as_f64()),
        latency_us: a * 1e3,
    }
}

fn ms(time: SimDuration) -> f64 {
    time.as_us_f64() / 1e3
}

/// Simpler models: links as their labels say, and nobody else on them.
fn baselines(case: &Case, calibration: Calibration) -> Result<Vec<(&'static str, f64)>> {
    let label = Calibration {
        efficiency: 1.0,
        latency_us: 0.0,
    };
    let labelled = machine::platform(case.net, label)?;
    let platform = machine::platform(case.net, calibration)?;
    let alone = Case {
        flows: case.flows[..usize::from(case.is_flows())].to_vec(),
        ..case.clone()
    };
    let time = |case: &Case, platform: &Platform| -> Result<f64> {
        Ok(ms(Prepared::new(case, platform)?.simulated(platform)?))
    };
    Ok(vec![
        ("label's rate", time(case, &labelled)?),
        ("no flow but its own", time(&alone, &platform)?),
    ])
}

/// Measures and simulates every case; `tell` hears of each.
///
/// # Errors
/// When a testbed cannot be made or a worker fails.
pub(crate) fn measure(
    setup: &Setup,
    extent: Extent,
    calibration: Calibration,
    mut tell: impl FnMut(&Measured),
) -> Result<Vec<Measured>> {
    let mut all = Vec::new();
    for net in drawn::nets(extent) {
        let platform = machine::platform(net, calibration)?;
        let mut testbed = Testbed::new(net, &setup.token)
            .with_context(|| format!("{} MB/s cannot be set up", megabytes(net.rate)))?;
        for case in drawn::of(net, extent, calibration)? {
            let prepared = Prepared::new(&case, &platform)?;
            let (repeats_ms, overrun_ms) = repeats(&mut testbed, &prepared, setup.repeats)
                .with_context(|| format!("{} {} on {net}", case.kind(), case.detail()))?;
            let measured = Measured {
                predicted_ms: ms(prepared.simulated(&platform)?),
                baselines: baselines(&case, calibration)?,
                case,
                repeats_ms,
                overrun_ms,
            };
            tell(&measured);
            all.push(measured);
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fit_finds_the_line_that_made_the_points() {
        // 0.4 ms and 0.95 of the rate.
        let rate = CALIBRATED_ON.rate.as_f64() / 1e3;
        let time = |bytes: u64| 0.4 + bytes as f64 / (0.95 * rate);
        let points: Vec<_> = SWEEP.iter().map(|&bytes| (bytes, time(bytes))).collect();
        let found = fit(CALIBRATED_ON, &points);
        assert!((found.efficiency - 0.95).abs() < 1e-9, "{found:?}");
        assert!((found.latency_us - 400.0).abs() < 1e-6, "{found:?}");
    }
}
