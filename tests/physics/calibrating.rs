//! Which of several runs of a host calibrates its launch factor and its rates, whatever their order.
//!
//! | first | then |
//! |---|---|
//! | has the role of the factor | has none; one with another role says nothing |
//! | waits for its messages | hides them (DistriFusion) |
//! | of this kind of message alone | of others too |
//! | eager | compiled |
//! | spends longer in these messages | shorter; less than a fifth of the time says nothing |

use planner::calibrate::{LaunchSource, Note, Unused};
use planner::runs::Known;
use topologies::host::{Calibrates, Compilation, MeasuredRun};
use topologies::{CollectiveKind, Machine};

use super::calibration::{calibrated, host, run};

/// A run of so many seconds, with no role.
fn free(side: u32, strategy: &str, seconds: f64) -> MeasuredRun {
    MeasuredRun {
        calibrates: None,
        ..run(Calibrates::OneGpu, side, strategy, seconds)
    }
}

fn title(machine: &Machine, at: usize) -> String {
    let known = Known::of_machine(machine).expect("readable runs");
    known.own[at].title()
}

/// The first of the runs must be the one that says the rate of `kind`, in both orders.
fn first_says(kind: CollectiveKind, runs: [MeasuredRun; 2]) {
    let [wanted, other] = runs;
    let context = format!("{} before {}", wanted.strategy, other.strategy);
    for (at, runs) in [
        (1, vec![wanted.clone(), other.clone()]),
        (2, vec![other.clone(), wanted.clone()]),
    ] {
        let all = [vec![free(1024, "none", 16.0)], runs].concat();
        let machine = host("8xl40-pcie", all);
        let found = calibrated(&machine, 1024, Compilation::Eager);
        let said = found.notes.iter().find_map(|note| match note {
            Note::Rate { kind: of, run, .. } if *of == kind => Some(run.clone()),
            _ => None,
        });
        assert_eq!(said, Some(title(&machine, at)), "{context}");
    }
}

#[test]
fn the_run_that_says_most_calibrates_a_rate() {
    use CollectiveKind::{AllGather, AllToAll, RingPass};
    let compiled = |one: MeasuredRun| MeasuredRun {
        compiled: Compilation::Compiled,
        ..one
    };
    let of = |role, one: MeasuredRun| MeasuredRun {
        calibrates: Some(role),
        ..one
    };
    let slow = |side, strategy: &str| free(side, strategy, 9.0 * f64::from(side * side) / 1e6);
    for (kind, first, second) in [
        // More tokens, more bytes.
        (AllToAll, slow(2048, "ulysses4"), slow(1024, "ulysses4")),
        (RingPass, slow(2048, "ring4"), slow(1024, "ring4")),
        // Its own kind alone, though the other is longer.
        (
            AllToAll,
            slow(1024, "ulysses4"),
            slow(2048, "ulysses4+ring2"),
        ),
        (RingPass, slow(1024, "ring4"), slow(2048, "ulysses2+ring4")),
        // It waits.
        (
            AllGather,
            slow(1024, "allgather-kv4"),
            slow(2048, "distrifusion4"),
        ),
        (
            AllToAll,
            slow(1024, "ulysses4"),
            compiled(slow(2048, "ulysses4")),
        ),
        // The file's word.
        (
            AllToAll,
            of(Calibrates::AllToAll, slow(1024, "ulysses4")),
            slow(2048, "ulysses4"),
        ),
        (
            AllToAll,
            slow(1024, "ulysses4"),
            of(Calibrates::RingPass, slow(2048, "ulysses4")),
        ),
    ] {
        first_says(kind, [first, second]);
    }
}

/// A run whose messages are less than a fifth of it says no rate, nor does one whose launches are longer than two
/// thirds of its work.
#[test]
fn a_run_of_other_things_says_no_rate() {
    for (side, strategy, seconds, says) in [
        (2048, "ulysses8", 37.7, true),
        (512, "none", 6.0, false),
        (256, "ring2", 1.2, false),
    ] {
        let runs = vec![free(1024, "none", 16.0), free(side, strategy, seconds)];
        let machine = host("8xl40-pcie", runs);
        let found = calibrated(&machine, 1024, Compilation::Eager);
        let rates = found.calibration.rates.len();
        assert_eq!(rates == 1, says, "{side} {strategy}");
    }
}

/// Twenty times as long as its kernels take: another thing was measured, and the answer says that it is not used.
#[test]
fn a_run_that_nothing_explains_is_told() {
    for (seconds, is_used) in [(16.0, true), (320.0, false)] {
        let machine = host("8xl40-pcie", vec![free(1024, "none", seconds)]);
        let found = calibrated(&machine, 1024, Compilation::Eager);
        let unexplained = |note: &Note| matches!(note, Note::Unused { .. });
        assert_eq!(found.notes.iter().any(unexplained), !is_used, "{seconds} s");
    }
}

/// Every run on several GPUs of a machine file that says nothing is told, with the reason.
#[test]
fn a_run_on_several_gpus_that_says_nothing_is_told() {
    let why = |name: &str, runs: &[MeasuredRun]| {
        let machine = host(name, [&[free(1024, "none", 16.0)], runs].concat());
        let found = calibrated(&machine, 1024, Compilation::Eager);
        let told = found.notes.into_iter().filter_map(|note| match note {
            Note::Unused { run, why } => Some((run, why)),
            _ => None,
        });
        let told: Vec<_> = told.collect();
        let at =
            (1..=runs.len()).filter(|at| told.iter().any(|(run, _)| *run == title(&machine, *at)));
        (
            at.collect::<Vec<_>>(),
            told.into_iter().map(|(_, why)| why).collect::<Vec<_>>(),
        )
    };
    let [good, twice, far] = [9.0, 18.0, 4000.0].map(|seconds| free(1024, "ulysses4", seconds));
    assert_eq!(
        why("8xl40-pcie", std::slice::from_ref(&good)),
        (vec![], vec![])
    );
    // The second contradicts the first, and another size says what is said already.
    let (at, told) = why("8xl40-pcie", &[good.clone(), twice]);
    assert_eq!(at, [2]);
    assert!(matches!(&told[..], [Unused::Contradicts(_)]), "{told:?}");
    let (at, told) = why("8xl40-pcie", &[free(2048, "ulysses4", 36.0), good.clone()]);
    assert_eq!(at, [2]);
    assert!(matches!(&told[..], [Unused::Another(_)]), "{told:?}");
    // No rate makes it so long; its messages are little; NVLink has tables.
    let (_, told) = why("8xl40-pcie", &[far]);
    assert_eq!(told, [Unused::Rate(CollectiveKind::AllToAll)]);
    let (_, told) = why("8xl40-pcie", &[free(2048, "pipefusion2", 40.0)]);
    assert_eq!(told, [Unused::Hidden]);
    let (_, told) = why("8xh100-sxm", &[free(2048, "ulysses4", 8.0)]);
    assert_eq!(told, [Unused::Tables]);
    let unprinted = MeasuredRun {
        strategy: "sp4".to_owned(),
        ..free(1024, "ulysses4", 9.0)
    };
    let (_, told) = why("8xl40-pcie", &[unprinted]);
    assert_eq!(told, [Unused::Split]);
}

/// Two runs of one thing that contradict each other are told, and the interval holds both; two that agree are not.
#[test]
fn the_interval_holds_runs_that_contradict_each_other() {
    use planner::search::{Question, candidate};
    for (one, other, contradict) in [(16.0, 17.0, false), (12.0, 24.0, true), (24.0, 12.0, true)] {
        let machine = host(
            "8xl40-pcie",
            vec![free(1024, "none", one), free(1024, "none", other)],
        );
        let model = sim::model::find("FLUX.1-dev").expect("a known model");
        let run = &machine.host.runs[0];
        let mut question = Question::new(model, machine.clone()).expect("readable runs");
        question.request.resolution = sim::model::Resolution::square(1024);
        question.request.steps = run.steps;
        let found = candidate(&question, &"none".parse().expect("a plan")).expect("it can run");
        for seconds in [one, other] {
            let (lo, hi) = (found.lo.as_secs_f64(), found.hi.as_secs_f64());
            assert!((lo..=hi).contains(&seconds), "{seconds} in {lo} to {hi}");
        }
        let notes = calibrated(&machine, 1024, Compilation::Eager).notes;
        let told = notes
            .iter()
            .any(|note| matches!(note, Note::Contradiction(_)));
        assert_eq!(told, contradict, "{one} and {other}");
    }
}

/// A run of another model on this machine is not one of another machine.
#[test]
fn a_run_of_another_model_is_of_this_machine() {
    use planner::interval::ComputeEvidence;
    let other = MeasuredRun {
        model: "SD3-medium".to_owned(),
        ..free(1024, "none", 6.0)
    };
    let found = calibrated(&host("8xl40-pcie", vec![other]), 1024, Compilation::Eager);
    assert_eq!(found.evidence.compute, ComputeEvidence::OtherModel);
    let said = found.notes.iter().any(|note| {
        matches!(note, Note::GpuTime { first, runs, .. }
            if *first == ComputeEvidence::OtherModel && runs.len() == 1)
    });
    assert!(said, "{:?}", found.notes);
}

/// The most launch-bound eager run says the launch factor; a compiled one, one with another role and one of long
/// steps say nothing.
#[test]
fn the_most_launch_bound_run_calibrates_launching() {
    let says = |runs: &[MeasuredRun]| {
        let machine = host("8xh100-sxm", runs.to_vec());
        let found = calibrated(&machine, 512, Compilation::Eager);
        found.notes.iter().find_map(|note| match note {
            Note::Launch {
                from: LaunchSource::Run(run),
                ..
            } => (0..runs.len()).find(|at| title(&machine, *at) == *run),
            _ => None,
        })
    };
    let one = || free(1024, "none", 8.0);
    let (small, large) = (free(256, "ulysses2", 2.5), free(512, "ulysses2", 2.9));
    let other = |role, one: &MeasuredRun| MeasuredRun {
        calibrates: Some(role),
        ..one.clone()
    };
    let compiled = MeasuredRun {
        compiled: Compilation::Compiled,
        ..small.clone()
    };
    assert_eq!(says(&[one()]), None);
    assert_eq!(says(&[one(), small.clone()]), Some(1));
    assert_eq!(says(&[one(), small.clone(), large.clone()]), Some(1));
    assert_eq!(says(&[one(), large.clone(), small.clone()]), Some(2));
    assert_eq!(says(&[one(), compiled]), None);
    assert_eq!(says(&[one(), other(Calibrates::AllToAll, &small)]), None);
    assert_eq!(
        says(&[one(), small, other(Calibrates::Launch, &large)]),
        Some(2)
    );
    assert_eq!(says(&[one(), free(4096, "ulysses2", 100.0)]), None);
}

/// A machine without runs is calibrated by those of others: its GPU time is no longer what the kernels say, and the runs
/// that move it most are named.
#[test]
fn a_machine_without_runs_rests_on_those_of_others() {
    use planner::interval::ComputeEvidence;
    use planner::search::{Question, calibrated};
    for (name, model, evidence) in [
        ("4xL20@pcie4", "FLUX.1-dev", ComputeEvidence::OtherHost),
        (
            "4xH100-SXM@nvlink4",
            "FLUX.1-dev",
            ComputeEvidence::OtherHost,
        ),
        ("2xT4@pcie4", "FLUX.1-dev", ComputeEvidence::Alike),
    ] {
        let machine = topologies::hypothetical::machine(name).expect("a machine");
        let model = sim::model::find(model).expect("a known model");
        let question = Question::new(model, machine).expect("readable runs");
        let found = calibrated(&question).expect("a question");
        assert_eq!(found.evidence.compute, evidence, "{name}");
        assert!(found.calibration.compute != 1.0, "{name}");
        let sigma = found.evidence.compute_sigma;
        assert!((0.05..0.4).contains(&sigma), "{name}: {sigma}");
        assert!(!found.evidence.launch_calibrated, "{name}");
        let named = found.notes.iter().any(|note| {
            matches!(note, Note::GpuTime { factor, runs, .. }
                if *factor == found.calibration.compute
                    && runs.is_empty() == (evidence == ComputeEvidence::Alike))
        });
        assert!(named, "{name}: {:?}", found.notes);
    }
}
