//! How sure predictions are: every loading of the interval's table, both ends alike, and which of two plans is faster.

use std::collections::BTreeMap;

use planner::interval::{ComputeEvidence, Evidence, RateEvidence, Term, Uncertainty, faster};
use planner::search::{self, candidate};
use sim::launch::{self, Launched};
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
        codec_doubt: SimDuration::ZERO,
        weights: SimDuration::ZERO,
    }
}

/// What is known of a calibrated host.
fn evidence() -> Evidence {
    Evidence {
        compute: ComputeEvidence::SameShape,
        compute_sigma: 0.05,
        launch_calibrated: true,
        calibrated: Vec::new(),
        other_rates: RateEvidence::Table,
    }
}

fn check(found: &Uncertainty, sigmas: &[f64], context: &str) {
    let variance: f64 = sigmas.iter().map(|sigma| sigma * sigma).sum();
    let away = (found.sigma() / variance.sqrt() - 1.0).abs();
    assert!(away < 1e-9, "{context}: {found:?}, not {}", variance.sqrt());
    let wanted = (1.645 * variance.sqrt() * found.scale()).exp();
    assert!((found.factor() / wanted - 1.0).abs() < 1e-9, "{context}");
    assert!(
        (0.4..2.5).contains(&found.scale()),
        "{context}: {}",
        found.scale()
    );
}

/// The uncertainty of the shared case with one thing changed.
fn with(
    line: &str,
    compilation: Compilation,
    change: impl Fn(&mut Parts, &mut Evidence),
) -> Uncertainty {
    let (mut parts, mut evidence) = (parts(), evidence());
    change(&mut parts, &mut evidence);
    let model = sim::model::find("FLUX.1-dev").expect("a known model");
    Uncertainty::of(&parts, &plan(line), (model, false), compilation, &evidence)
}

/// A tenth of the GPU time encodes and decodes, sure to half of itself: .05 / 1.645 of ln latency.
#[test]
fn compression_is_as_sure_as_its_kernels() {
    let found = with("ring2/1bit", Eager, |parts, _| {
        parts.codec_doubt = parts.gpu.scaled(0.1 * 0.5);
    });
    check(&found, &[0.05, 0.07, 0.05 / 1.645], "a tenth, by half");
}

#[test]
fn gpu_time_is_as_sure_as_the_runs_it_rests_on() {
    for sigma in [0.02, 0.1, 0.2] {
        let found = with("none", Eager, |_, evidence| evidence.compute_sigma = sigma);
        check(&found, &[sigma, 0.07], &sigma.to_string());
    }
    // A quarter of the request is outside the loop: .30 of it, and three quarters of the GPU's.
    let found = with("none", Eager, |parts, _| {
        parts.fixed = SimDuration::from_secs_f64(25.0);
    });
    check(&found, &[0.25 * 0.30, 0.75 * 0.05, 0.07], "phases");
}

/// A message of a third of the step: its rate's sigma counts a third, the GPU's two; between hosts .30 more.
#[test]
fn messages_add_their_share_and_those_between_hosts_more() {
    let kind = CollectiveKind::AllToAll;
    let third = SimDuration::from_secs_f64(0.020);
    let gpu = 0.05 * 2.0 / 3.0;
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
        let sigmas = [&[gpu, 0.07], sigmas].concat();
        check(&found, &sigmas, &format!("{reach:?}, {other:?}, {known}"));
    }
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
            let sigmas = [0.05 * (1.0 - share), share * sigma, 0.07];
            check(&found, &sigmas, &format!("{launch} s, {calibrated}"));
        }
    }
}

/// Half of the step is launching. Of a block's .45 ms and its own, the all-to-alls have their share, sure to .30 of it; of
/// gathers nothing was measured, and of two plans that gather both err alike.
#[test]
fn launching_messages_is_as_sure_as_pairs_of_plans_say() {
    let base = launch::base_ms(
        sim::model::find("FLUX.1-dev").expect("a known model"),
        false,
    );
    let launched = |line: &str| {
        with(line, Eager, |parts, _| {
            parts.launch = SimDuration::from_secs_f64(0.060);
        })
    };
    for (line, of, ms, sigma) in [
        ("ulysses4", Launched::Ulysses, 0.45, 0.30),
        ("ring4", Launched::Ring, 0.4 + 3.0 * 0.25, 0.15),
        ("allgather-kv4", Launched::Gather, 0.2, 0.50),
        ("distrifusion4", Launched::AsyncGather, 0.1, 0.50),
    ] {
        let found = launched(line).shared[&Term::Messages(of)];
        let wanted = sigma * 0.5 * ms / (base + ms);
        assert!((found - wanted).abs() < 1e-9, "{line}: {found}, {wanted}");
    }
    let [gather, ulysses] = ["allgather-kv4", "ulysses4"].map(launched);
    let alike = gather.of_difference(&gather, |_| true);
    let apart = gather.of_difference(&ulysses, |_| true);
    assert!(apart > alike, "{apart}, {alike}");
    // Two machines share nothing of it.
    let strange = gather.of_difference(&ulysses, |_| false);
    assert!(strange > apart, "{strange}, {apart}");
}

#[test]
fn compiling_pipelines_tensor_ranks_and_short_runs_add_their_own() {
    let nothing = |_: &mut Parts, _: &mut Evidence| {};
    let usual = [0.05, 0.07];
    let and = |more: &[f64]| [&usual[..], more].concat();
    check(&with("none", Compiled, nothing), &and(&[0.07]), "compiled");
    check(
        &with("pipefusion2", Eager, nothing),
        &and(&[0.05]),
        "pipeline",
    );
    check(&with("tp2", Eager, nothing), &and(&[0.10]), "tensor");
    let seconds = |seconds| {
        with("none", Eager, |parts, _| {
            parts.total = SimDuration::from_secs_f64(seconds)
        })
    };
    check(&seconds(1.99), &and(&[0.05]), "below 2 s");
    check(&seconds(2.01), &usual, "above 2 s");
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
        // No interval is narrower than what is a plan's own, by its class.
        assert!(
            hi / middle > (1.645_f64 * 0.0699 * found.uncertainty.scale()).exp(),
            "{line}: {middle} s, {hi} s"
        );
    }
}

/// What two plans share does not decide between them; what differs does.
#[test]
fn only_what_differs_decides_between_plans() {
    let second = |seconds| SimDuration::from_secs_f64(seconds);
    let sure = with("ulysses4", Eager, |_, evidence| {
        evidence.compute_sigma = 0.0
    });
    let unsure = with("ring4", Eager, |_, evidence| evidence.compute_sigma = 0.5);
    // Own parts of .07 each: a gain of 1.645 x .07 x sqrt 2 is 95 % likely, whatever both share.
    let gain = (1.645 * 0.07 * std::f64::consts::SQRT_2).exp();
    for both in [&sure, &unsure] {
        let likely = faster((second(10.0), both), (second(10.0 * gain), both));
        assert!((likely - 0.95).abs() < 1e-4, "{likely}");
        assert!((faster((second(10.0), both), (second(10.0), both)) - 0.5).abs() < 1e-12);
    }
    let other = faster((second(10.0), &sure), (second(10.0 * gain), &unsure));
    assert!(other < 0.7, "{other}");
    // One of two is faster.
    let back = faster((second(10.0 * gain), &unsure), (second(10.0), &sure));
    assert!((other + back - 1.0).abs() < 1e-9);
}

/// The choice is tied with the fastest, and none of the tied plans that were simulated goes before it.
#[test]
fn the_choice_is_the_first_of_the_tied() {
    for machine in ["8xh100-sxm", "4xl20-pcie", "8xa100-sxm", "8xl40-pcie"] {
        let asked = question(preset(machine), |question| question.fastest = false);
        let answer = search::plan(&asked).expect("a plan");
        let order = |one: &search::Candidate| {
            let refused = one.launch.command.is_err();
            (refused, one.fidelity, one.plan.ranks())
        };
        assert!(answer.choice.is_tied(), "{machine}");
        for tied in answer.tied() {
            assert!(
                order(&answer.choice) <= order(tied),
                "{machine}: {} before {}",
                tied.plan,
                answer.choice.plan
            );
        }
        let fastest = question(preset(machine), |question| question.fastest = true);
        let point = search::plan(&fastest).expect("a plan").choice;
        assert_eq!(point.latency, answer.plans[0].latency, "{machine}");
    }
}
