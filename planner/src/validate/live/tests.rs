use std::path::Path;

use super::super::reason::Reason;
use super::*;
use crate::profile::Accept;

/// Runs that `ditplan_capture.virtual --device cpu` wrote, and a profile of the same processor.
fn recorded() -> (PathBuf, Profile) {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/data");
    let profile = Profile::read(&data.join("profile-cpu-toy"), Accept::Any).unwrap();
    (data.join("live-cpu-toy"), profile)
}

/// A copy of one recorded run, with one thing changed in its plan.json.
fn changed(from: &str, to: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let source = recorded().0.join("toy-ring2");
    for name in ["plan.json", "timeline.json"] {
        let text = std::fs::read_to_string(source.join(name)).unwrap();
        let text = if name == "plan.json" {
            assert!(text.contains(from), "{from}");
            text.replacen(from, to, 1)
        } else {
            text
        };
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    folder
}

fn report_of(path: &Path) -> Result<Live, LiveError> {
    live(&[path.to_owned()], Some(&recorded().1))
}

#[test]
fn every_recorded_run_is_compared_and_labelled() {
    let (runs, _) = recorded();
    let report = report_of(&runs).unwrap();
    assert_eq!(
        (report.score.n, report.score.mapped),
        (7, 7),
        "{:?}",
        report.unmapped
    );
    assert_eq!(report.notes[0], Note::Processor);
    let strategies: Vec<&str> = report.strata.iter().map(|one| one.name.as_str()).collect();
    for name in [
        "strategy none",
        "strategy ring/1bit",
        "strategy pipefusion",
        "model toy",
        "mode eager",
    ] {
        assert!(strategies.contains(&name), "{name}: {strategies:?}");
    }
    for class in [
        "linear",
        "attention",
        "elementwise",
        "communication",
        "encode",
    ] {
        assert!(
            report.classes.iter().any(|one| one.name == class),
            "{class}"
        );
    }
    for run in &report.runs {
        assert!(run.predicted_us > 0.0 && run.measured_us > 0.0 && run.repeats == 3);
        // A processor copies in turn: all of it is exposed, simulated or measured.
        let (measured, predicted) = run
            .classes_us
            .get(&SpanClass::Communication)
            .copied()
            .unwrap_or_default();
        assert!(
            (predicted - run.predicted_exposed_us).abs() < 1.0,
            "{run:?}"
        );
        assert!(
            (measured - run.measured_exposed_us).abs() < 0.05 * measured + 1.0,
            "{run:?}"
        );
    }
}

#[test]
fn what_the_timeline_comes_to_is_what_plan_json_says() {
    for run in run::read(&[recorded().0]).unwrap() {
        let times = Times::of(&run.timeline);
        let median = run.about.makespan();
        assert!((times.makespan / median - 1.0).abs() < 1e-3, "{}", run.name);
        let sum: f64 = times.classes.values().sum();
        assert!(
            sum <= times.makespan * 1.001,
            "a processor does one thing at a time"
        );
    }
}

#[test]
fn bytes_simulated_are_bytes_measured() {
    // Two bytes an element are simulated, four (float32) were sent; raw messages only.
    let (runs, profile) = recorded();
    for name in ["toy-ring2", "toy-allgather-kv2", "toy-ulysses2"] {
        let run = &run::read(&[runs.join(name)]).unwrap()[0];
        let sent: u64 = run
            .timeline
            .messages()
            .iter()
            .map(|message| run.timeline.spans()[message.sender].bytes.get())
            .sum();
        let bench = Bench {
            profile: Some(&profile),
            gpu: &profile.gpu,
        };
        let simulated = bench.bytes_down(&run.about).unwrap();
        assert_eq!(2 * simulated, sent, "{name}");
    }
}

#[test]
fn a_run_that_is_not_known_is_listed_with_its_reason() {
    type Is = fn(&Reason) -> bool;
    let cases: [(&str, &str, Is); 6] = [
        (
            "\"model\": \"toy\"",
            "\"model\": \"Pangaea\"",
            |reason| matches!(reason, Reason::UnknownModel(error) if error.name == "Pangaea"),
        ),
        (
            "\"model\": \"toy\"",
            "\"model\": \"FLUX.1-dev\"",
            |reason| {
                matches!(
                    reason,
                    Reason::Heads {
                        has: (24, 128),
                        ran: (4, 16),
                        ..
                    }
                )
            },
        ),
        (
            "\"double\"",
            "\"cross\"",
            |reason| matches!(reason, Reason::Kinds { kinds, .. } if kinds[0] == "cross"),
        ),
        ("\"plan\": \"ring2\"", "\"plan\": \"helix2\"", |reason| {
            matches!(reason, Reason::Plan(_))
        }),
        ("\"ranks\": 2", "\"ranks\": 3", |reason| {
            matches!(reason, Reason::Ranks { has: 2, ran: 3, .. })
        }),
        ("\"plan\": \"ring2\"", "\"plan\": \"tp2\"", |reason| {
            matches!(reason, Reason::Simulation(_))
        }),
    ];
    for (from, to, is) in cases {
        let report = report_of(changed(from, to).path()).unwrap();
        assert_eq!((report.score.n, report.score.mapped), (1, 0), "{to}");
        let reason = &report.unmapped[0].reason;
        assert!(is(reason), "{to}: {reason:?}");
    }
}

#[test]
fn a_wrong_file_is_named() {
    for (from, to, said) in [
        ("\"steps\": 2", "\"steps\": 0", "steps must be from 1"),
        ("\"batch\": 1", "\"batch\": 0", "batch must be from 1"),
        (
            "\"mode\": \"eager\"",
            "\"mode\": \"lazy\"",
            "eager or graph",
        ),
        (
            "\"makespan_us\": [",
            "\"makespan_us\": [-1.0,",
            "positive time",
        ),
        ("\"heads\"", "\"hands\"", "missing field `heads`"),
        ("{", "[", "line 2"),
    ] {
        let error = report_of(changed(from, to).path()).unwrap_err().to_string();
        assert!(
            error.contains(said) && error.contains("plan.json"),
            "{to}: {error}"
        );
    }
    let folder = changed("toy", "toy");
    let timeline = folder.path().join("timeline.json");
    let text = std::fs::read_to_string(&timeline).unwrap();
    for (wrong, said) in [
        (text.replacen("measured", "simulated", 1), "source is not"),
        (text[..text.len() / 2].to_owned(), "not a timeline"),
    ] {
        std::fs::write(&timeline, wrong).unwrap();
        let error = report_of(folder.path()).unwrap_err().to_string();
        assert!(error.contains(said), "{error}");
    }
    std::fs::remove_file(folder.path().join("plan.json")).unwrap();
    assert!(
        report_of(folder.path())
            .unwrap_err()
            .to_string()
            .contains("holds no run")
    );
}

#[test]
fn a_processors_run_needs_a_processors_profile_and_a_gpus_its_own() {
    let (runs, _) = recorded();
    let error = live(&[runs], None).unwrap_err().to_string();
    assert!(
        error.contains("processor (cpu)") && error.contains("--profile"),
        "{error}"
    );
    let folder = changed("\"device\": \"cpu\"", "\"device\": \"cuda\"");
    let error = report_of(folder.path()).unwrap_err().to_string();
    assert!(error.contains("no datasheet is known"), "{error}");
}

#[test]
fn strategies_have_names_without_degrees() {
    for (plan, name) in [
        ("ring4/1bit warmup=2", "ring/1bit"),
        ("pipefusion4(m8)", "pipefusion"),
        ("ring4/sparse(1:8)", "ring/sparse(1:8)"),
        ("none", "none"),
    ] {
        assert_eq!(strategy(plan), name);
    }
}
