//! Calibration by rule: each factor makes its own run come out as measured, and comes from the run that is nearest.

use std::sync::Arc;

use kernels::Tables;
use planner::calibrate::Calibrated;
use planner::interval::ComputeEvidence;
use planner::launch::Engine;
use planner::runs::Known;
use planner::search::{self, Question};
use sim::execution::{Execution, Software};
use sim::model::{self, Request, Resolution};
use sim::platform::{Platform, Reach};
use sim::simulate::estimate;
use sim::workload::Workload;
use topologies::host::{Calibrates, Compilation, Covers, Guidance, MeasuredRun};
use topologies::{CollectiveKind, Machine, SimDuration};

use super::{plan, preset};

const MODEL: &str = "FLUX.1-dev";

/// A square image of FLUX.1.
fn square(side: u32) -> Workload {
    let model = model::find(MODEL).expect("a known model");
    let request = Request {
        resolution: Resolution::square(side),
        ..model.default
    };
    Workload::new(model, &request).expect("a possible request")
}

/// A run of FLUX.1 that took so many seconds.
pub(super) fn run(calibrates: Calibrates, side: u32, strategy: &str, seconds: f64) -> MeasuredRun {
    MeasuredRun {
        place: "a test".to_owned(),
        calibrates: Some(calibrates),
        attention: None,
        covers: Covers::All,
        model: MODEL.to_owned(),
        width: side,
        height: side,
        frames: 1,
        steps: 28,
        batch: 1,
        guidance: Guidance::None,
        text_tokens: None,
        gpus: plan(strategy).ranks(),
        strategy: strategy.to_owned(),
        compiled: Compilation::Eager,
        software: "xDiT".to_owned(),
        latency: SimDuration::from_secs_f64(seconds),
        source: "made up for this test".to_owned(),
    }
}

/// A preset whose host has these runs and nothing else that was measured.
pub(super) fn host(name: &str, runs: Vec<MeasuredRun>) -> Machine {
    let mut machine = preset(name);
    machine.host.launch_factor = None;
    machine.host.published.clear();
    machine.host.runs = runs;
    machine
}

pub(super) fn calibrated(machine: &Machine, side: u32, compilation: Compilation) -> Calibrated {
    let model = model::find(MODEL).expect("a known model");
    let mut question = Question::new(model, machine.clone()).expect("readable runs");
    question.request.resolution = Resolution::square(side);
    question.compilation = compilation;
    // Runs of other machines stay out of it.
    let own = question.known.own.clone();
    question.known = Arc::new(Known {
        own,
        ..Known::nothing()
    });
    let found = search::calibrated(&question).expect("a question");
    Calibrated::clone(&found)
}

/// What a run takes with a calibration, in closed form, seconds.
fn predicted(machine: &Machine, found: &Calibrated, side: u32, strategy: &str) -> f64 {
    let execution = Execution {
        compilation: Compilation::Eager,
        software: Software::Other,
        attention: Engine::Xdit.attention(&machine.gpus[0]),
        calibration: found.calibration.clone(),
    };
    let platform = Platform::of_machine(machine).expect("a known system");
    let (workload, plan) = (square(side), plan(strategy));
    let parts = estimate(&workload, &plan, &platform, &execution, Tables::built_in());
    parts.expect("it has a cost").total.as_secs_f64()
}

/// FLUX.1 at 1024 pixels is 2.09e15 multiplications and additions of 28 steps: 11.5 s at the 181e12 of an L40, 2.9 s of four,
/// and boards reach up to 1.15 times that.
#[test]
fn a_run_that_takes_more_than_the_peak_of_its_gpus_is_refused() {
    for (seconds, strategy, holds) in [
        (14.0, "none", true),
        (9.5, "none", false),
        (3.5, "ulysses4", true),
        (2.4, "ulysses4", false),
    ] {
        let role = if strategy == "none" {
            Calibrates::OneGpu
        } else {
            Calibrates::AllToAll
        };
        let machine = host("8xl40-pcie", vec![run(role, 1024, strategy, seconds)]);
        let found = Known::of_machine(&machine);
        match found {
            Ok(_) => assert!(holds, "{strategy}, {seconds} s"),
            Err(error) => {
                let error = error.to_string();
                assert!(!holds, "{strategy}, {seconds} s: {error}");
                assert!(
                    error.contains("host.run.latency") && error.contains("times the peak"),
                    "{error}"
                );
            }
        }
    }
}

#[track_caller]
fn comes_out(found: f64, measured: f64) {
    assert!(
        (found / measured - 1.0).abs() < 1e-6,
        "{found} s, measured {measured} s"
    );
}

/// Order 1, 2, 3 of the rule: the launch factor changes what is left for the GPU, so GPU time is solved again.
#[test]
fn the_one_gpu_run_comes_out_as_measured_after_the_launch_factor_is_known() {
    for (name, one, bound) in [("8xh100-sxm", 4.0, 2.5), ("8xl40-pcie", 7.0, 4.5)] {
        let alone = vec![run(Calibrates::OneGpu, 512, "none", one)];
        let launch = run(Calibrates::Launch, 256, "ulysses2", bound);
        let both = [&alone[..], &[launch]].concat();
        let [alone, both] = [alone, both].map(|runs| {
            let machine = host(name, runs);
            let found = calibrated(&machine, 512, Compilation::Eager);
            // By the weight of a run of the machine itself: to 2 %.
            let again = predicted(&machine, &found, 512, "none") / one;
            assert!((again - 1.0).abs() < 0.02, "{name}: {again}");
            found
        });
        assert!(both.evidence.launch_calibrated && !alone.evidence.launch_calibrated);
        let (before, after) = (alone.calibration, both.calibration);
        let moved = |after: f64, before: f64| (after / before - 1.0).abs();
        let context = format!("{name}: {before:?}, then {after:?}");
        assert!(moved(after.launch, before.launch) > 0.05, "{context}");
        assert!(moved(after.compute, before.compute) > 0.01, "{context}");
    }
}

/// The run of this shape is met; between shapes GPU time moves smoothly from one run's to the next.
#[test]
fn runs_of_other_shapes_say_the_less_the_farther_they_are() {
    // Factors of about .8, 1.4, 1.1 and 1.7 of the kernel costs: each tells its run from the others.
    let runs = [(512, 3.0), (1024, 16.0), (2048, 60.0), (3072, 300.0)]
        .map(|(side, seconds)| run(Calibrates::OneGpu, side, "none", seconds));
    let machine = host("8xl40-pcie", runs.to_vec());
    let of = |side| calibrated(&machine, side, Compilation::Eager);
    let alone = |at: usize, side| {
        let alone = host("8xl40-pcie", vec![runs[at].clone()]);
        calibrated(&alone, side, Compilation::Eager)
            .calibration
            .compute
    };
    for (at, side) in [(0, 512), (1, 1024), (2, 2048), (3, 3072)] {
        let found = of(side);
        assert_eq!(found.evidence.compute, ComputeEvidence::SameShape, "{side}");
        let near = found.calibration.compute / alone(at, side);
        assert!((near - 1.0).abs() < 0.1, "{side}: {near}");
        assert!(found.evidence.compute_sigma < 0.06, "{side}");
    }
    let sides: Vec<u32> = (0..=40).map(|step| 512 + 64 * step).collect();
    for pair in sides.windows(2) {
        let [before, after] = [of(pair[0]), of(pair[1])];
        let moved = after.calibration.compute / before.calibration.compute;
        assert!((0.85..1.18).contains(&moved), "{}: {moved}", pair[1]);
        let grade = after.evidence.compute;
        assert!(grade <= ComputeEvidence::OtherShape, "{}", pair[1]);
    }
}

/// One run far from what its likes say does not move what others rest on: an outlier counts less.
#[test]
fn an_outlier_moves_nothing_else() {
    let usual = |side, seconds| run(Calibrates::OneGpu, side, "none", seconds);
    let good = vec![usual(1024, 11.0), usual(2048, 60.0)];
    let wrong = [&good[..], &[usual(1536, 130.0)]].concat();
    let of = |runs: Vec<MeasuredRun>| {
        let found = calibrated(&host("8xl40-pcie", runs), 1024, Compilation::Eager);
        found.calibration.compute
    };
    let moved = of(wrong) / of(good);
    assert!((moved - 1.0).abs() < 0.05, "{moved}");
}

/// A run that was compiled as asked says more than one that was not; without any, the kernel costs stand.
#[test]
fn compiled_runs_calibrate_compiled_questions() {
    let eager = run(Calibrates::OneGpu, 1024, "none", 16.0);
    let compiled = MeasuredRun {
        compiled: Compilation::Compiled,
        ..run(Calibrates::OneGpu, 512, "none", 3.0)
    };
    let of = |runs: &[&MeasuredRun], compilation| {
        let runs = runs.iter().map(|&run| run.clone()).collect();
        let found = calibrated(&host("8xl40-pcie", runs), 1024, compilation);
        (found.calibration.compute, found.evidence.compute)
    };
    let alone = of(&[&compiled], Compilation::Compiled);
    let both = of(&[&eager, &compiled], Compilation::Compiled);
    assert_eq!(alone.1, ComputeEvidence::OtherShape);
    assert_eq!(both.1, ComputeEvidence::OtherShape);
    let other = of(&[&eager], Compilation::Compiled);
    assert_eq!(other.1, ComputeEvidence::OtherCompilation);
    assert_ne!(alone.0, other.0);
    assert_eq!(of(&[], Compilation::Eager), (1.0, ComputeEvidence::None));
}

/// One run of each kind gives the rate of its collective, on hosts whose rates are assumed.
#[test]
fn a_run_of_each_collective_comes_out_as_measured() {
    use CollectiveKind::{AllGather, AllReduce, AllToAll, RingPass};
    let one = run(Calibrates::OneGpu, 1024, "none", 16.0);
    for (calibrates, kind, strategy) in [
        (Calibrates::AllToAll, AllToAll, "ulysses4"),
        (Calibrates::RingPass, RingPass, "ring4"),
        (Calibrates::AllReduce, AllReduce, "tp4"),
        (Calibrates::AllGather, AllGather, "allgather-kv4"),
    ] {
        let runs = vec![one.clone(), run(calibrates, 1024, strategy, 9.0)];
        let pcie = host("8xl40-pcie", runs.clone());
        let found = calibrated(&pcie, 1024, Compilation::Eager);
        comes_out(predicted(&pcie, &found, 1024, strategy), 9.0);
        assert_eq!(
            found.evidence.calibrated,
            [(kind, Reach::Host)],
            "{strategy}"
        );
        assert_eq!(found.calibration.rates.len(), 1, "{strategy}");
        // NVLink's are measured tables.
        let nvlink = calibrated(&host("8xh100-sxm", runs), 1024, Compilation::Eager);
        assert!(nvlink.calibration.rates.is_empty(), "{strategy}");
    }
}

/// What the machine's file says of launching is taken, whatever the runs would say.
#[test]
fn a_given_launch_factor_stands() {
    let mut machine = host(
        "8xh100-sxm",
        vec![
            run(Calibrates::OneGpu, 512, "none", 4.0),
            run(Calibrates::Launch, 256, "none", 2.5),
        ],
    );
    machine.host.launch_factor = Some(0.7);
    let found = calibrated(&machine, 512, Compilation::Eager);
    assert_eq!(found.calibration.launch, 0.7);
    assert!(found.evidence.launch_calibrated);
    let again = predicted(&machine, &found, 512, "none") / 4.0;
    assert!((again - 1.0).abs() < 0.02, "{again}");
}
