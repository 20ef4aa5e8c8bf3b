//! The 90 % interval: every term of its table, and both ends alike.

use std::collections::BTreeMap;

use planner::interval::{ComputeEvidence, Evidence, RateEvidence, factor};
use planner::search::candidate;
use sim::lower::Parts;
use sim::platform::Reach;
use topologies::host::Compilation::{self, Compiled, Eager};
use topologies::{CollectiveKind, SimDuration};

use super::{plan, preset, question};

/// A request of 100 s: steps of 60 ms on the GPU, launched in no time, nothing exposed.
fn parts() -> Parts {
    Parts {
        total: SimDuration::from_secs_f64(100.0),
        fixed: SimDuration::ZERO,
        gpu: SimDuration::from_secs_f64(0.060),
        launch: SimDuration::ZERO,
        exposed: BTreeMap::new(),
    }
}

/// What is known of a calibrated host.
fn evidence() -> Evidence {
    Evidence {
        compute: ComputeEvidence::SameShape,
        launch_calibrated: true,
        calibrated: Vec::new(),
        other_rates: RateEvidence::Table,
    }
}

/// The factor of these standard deviations: z = 1.645, scaled by 1.08.
fn expected(sigmas: &[f64]) -> f64 {
    let variance: f64 = sigmas.iter().map(|sigma| sigma * sigma).sum();
    (1.645 * 1.08 * variance.sqrt()).exp()
}

fn check(found: f64, sigmas: &[f64], context: &str) {
    let wanted = expected(sigmas);
    assert!(
        (found / wanted - 1.0).abs() < 1e-9,
        "{context}: {found}, not {wanted}"
    );
}

/// The factor of the shared case with one thing changed.
fn with(line: &str, compilation: Compilation, change: impl Fn(&mut Parts, &mut Evidence)) -> f64 {
    let (mut parts, mut evidence) = (parts(), evidence());
    change(&mut parts, &mut evidence);
    factor(&parts, &plan(line), compilation, &evidence)
}

#[test]
fn gpu_time_is_as_sure_as_the_run_it_rests_on() {
    for (compute, sigma) in [
        (ComputeEvidence::SameShape, 0.075),
        (ComputeEvidence::OtherShape, 0.12),
        (ComputeEvidence::OtherCompilation, 0.13),
        (ComputeEvidence::OtherHost, 0.13),
        (ComputeEvidence::None, 0.33),
    ] {
        let found = with("none", Eager, |_, evidence| evidence.compute = compute);
        check(found, &[sigma], &format!("{compute:?}"));
    }
}

/// A message of a third of the step: its rate's sigma counts a third; between hosts .30 more, whatever its share.
#[test]
fn messages_add_their_share_and_those_between_hosts_more() {
    let kind = CollectiveKind::AllToAll;
    let third = SimDuration::from_secs_f64(0.020);
    for (reach, known, other, sigmas) in [
        (Reach::Host, true, RateEvidence::Assumed, &[0.25 / 3.0][..]),
        (Reach::Host, false, RateEvidence::Calibrated, &[0.25 / 3.0]),
        (Reach::Host, false, RateEvidence::Table, &[0.30 / 3.0]),
        (Reach::Host, false, RateEvidence::Assumed, &[0.60 / 3.0]),
        (
            Reach::Network,
            true,
            RateEvidence::Assumed,
            &[0.25 / 3.0, 0.30],
        ),
        (
            Reach::Network,
            false,
            RateEvidence::Table,
            &[0.50 / 3.0, 0.30],
        ),
    ] {
        let found = with("ulysses4", Eager, |parts, evidence| {
            parts.exposed.insert((kind, reach), third);
            evidence.other_rates = other;
            evidence.calibrated.extend(known.then_some((kind, reach)));
        });
        let sigmas = [&[0.075], sigmas].concat();
        check(found, &sigmas, &format!("{reach:?}, {other:?}, {known}"));
    }
    let two = with("ulysses2+ring2", Eager, |parts, _| {
        parts.exposed.insert((kind, Reach::Host), third);
        parts
            .exposed
            .insert((CollectiveKind::RingPass, Reach::Network), third);
    });
    check(two, &[0.075, 0.30 / 3.0, 0.50 / 3.0, 0.30], "two messages");
}

/// Where C is the launch time and G the GPU's, launching has C^2 / (C^2 + G^2) of the step.
#[test]
fn launching_counts_by_its_share_of_the_squares() {
    for (launch, share) in [(0.060, 0.5), (0.020, 0.1), (0.180, 0.9)] {
        for (calibrated, sigma) in [(true, 0.15), (false, 0.30)] {
            let found = with("none", Eager, |parts, evidence| {
                parts.launch = SimDuration::from_secs_f64(launch);
                evidence.launch_calibrated = calibrated;
            });
            check(
                found,
                &[0.075, share * sigma],
                &format!("{launch} s, {calibrated}"),
            );
        }
    }
}

#[test]
fn compiling_pipelines_tensor_ranks_and_short_runs_add_their_own() {
    let nothing = |_: &mut Parts, _: &mut Evidence| {};
    check(with("none", Compiled, nothing), &[0.075, 0.07], "compiled");
    check(
        with("pipefusion2", Eager, nothing),
        &[0.075, 0.05],
        "pipeline",
    );
    check(with("tp2", Eager, nothing), &[0.075, 0.10], "tensor");
    let seconds = |seconds| {
        with("none", Eager, |parts, _| {
            parts.total = SimDuration::from_secs_f64(seconds)
        })
    };
    check(seconds(1.99), &[0.075, 0.05], "below 2 s");
    check(seconds(2.01), &[0.075], "above 2 s");
    let all = with("pipefusion2+tp2", Compiled, |parts, _| {
        parts.total = SimDuration::from_secs_f64(1.0);
    });
    check(all, &[0.075, 0.07, 0.05, 0.10, 0.05], "all of them");
}

/// Both ends are the factor away: their product is the square of the latency, whatever the plan rests on.
#[test]
fn both_ends_are_equally_far() {
    for (machine, line) in [
        ("4xl20-pcie", "none"),
        ("4xl20-pcie", "ring4/1bit warmup=1"),
        ("8xh100-sxm", "ulysses8"),
        ("8xh100-sxm", "tp2+pipefusion4 warmup=1"),
        ("16xl40-ethernet", "ulysses2+ring8"),
    ] {
        let asked = question(preset(machine), |_| {});
        let found = candidate(&asked, &plan(line)).expect("it can run");
        let [lo, middle, hi] = [found.lo, found.latency, found.hi].map(SimDuration::as_secs_f64);
        assert!(lo < middle && middle < hi, "{line}");
        let away = (lo * hi / (middle * middle) - 1.0).abs();
        assert!(away < 1e-9, "{line}: {lo} s, {middle} s, {hi} s");
        // No interval is narrower than that of a run of this very request.
        assert!(
            hi / middle > expected(&[0.0749]),
            "{line}: {middle} s, {hi} s"
        );
    }
}
