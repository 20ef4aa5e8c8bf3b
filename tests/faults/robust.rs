//! `plan --robust`.

use planner::search::{self, Kind, Question, Robust, robust, usual};
use sim::model::{self, Request};
use topologies::fault::Fault;
use topologies::{DeviceId, Faults, Machine, SimDuration};

use crate::{json, printed, refused};

/// The question of `plan --steps 6` on a machine, for the library.
fn question(machine: &str, gpus: u32) -> Question {
    let model = model::find("FLUX.1-dev").expect("a known model");
    let machine = Machine::preset(machine).expect("a machine");
    Question {
        request: Request {
            steps: 6,
            ..model.default
        },
        gpus,
        fastest: true,
        ..Question::new(model, machine).expect("readable runs")
    }
}

fn check_robust(found: &Robust) {
    for faced in found.plans.iter().chain([&found.nominal]) {
        let plan = &faced.candidate.plan;
        assert!(faced.worst >= faced.candidate.latency, "{plan}");
        assert!(
            faced.latencies.iter().all(|time| *time <= faced.worst),
            "{plan}"
        );
        // A plan that runs through a fault is never better than the best plan for it.
        for (latency, column) in faced.latencies.iter().zip(&found.columns) {
            assert!(
                *latency >= column.known.latency,
                "{plan}: {}",
                column.kind.name
            );
        }
        assert!(found.choice.worst <= faced.worst, "{plan}");
    }
    assert!(found.choice.worst <= found.nominal.worst);
    assert!(found.nominal.candidate.latency <= found.choice.candidate.latency);
    assert_eq!(found.fitting, found.plans.len() + found.pruned);
    let bound = found.next_bound.unwrap_or(found.choice.worst);
    assert!(bound >= found.choice.worst);
}

#[test]
fn the_robust_choice_is_no_worse_than_any_plan() {
    for (machine, gpus) in [("4xl20-pcie", 4), ("8xl20-pcie", 8), ("6xL20@25GB/s", 6)] {
        let question = question(machine, gpus);
        check_robust(&robust(&question, usual(&question.machine)).expect("plans"));
    }
}

/// One fault that is certain to be the worst: the robust plan is the plan for it.
#[test]
fn with_one_fault_that_is_known_there_is_nothing_to_regret() {
    let question = question("4xl20-pcie", 4);
    let case: Faults = "throttle=50%".parse().expect("a fault");
    let found = robust(&question, vec![Kind::of(case.clone())]).expect("plans");
    let known = Question {
        faults: case,
        ..question
    };
    let best = search::winner(&known, &search::Shared::default())
        .expect("plans")
        .candidate;
    assert_eq!(found.choice.worst, best.latency);
    assert_eq!(found.choice.regret, SimDuration::ZERO);
}

#[test]
fn the_usual_set_names_gpus_and_links_that_messages_use() {
    let kinds = usual(&Machine::preset("8xl20-pcie").expect("a preset"));
    let cases = |index: usize| {
        let all = kinds[index].cases.iter().map(ToString::to_string);
        all.collect::<Vec<_>>()
    };
    assert_eq!(cases(0).len(), 8);
    assert_eq!(cases(1).len(), 9);
    assert_eq!(cases(1)[8], "link:socket0-socket1=50%");
    assert_eq!(cases(2)[7], Fault::Lost(DeviceId::new(7)).to_string());
    assert_eq!(cases(3), ["throttle=85%"]);
    let one = usual(&Machine::preset("1xL20@25GB/s").expect("a machine"));
    assert_eq!(
        one.len(),
        2,
        "one GPU has no links to others, and none is left without it"
    );
}

#[test]
fn robust_answers_as_table_json_and_picture() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("faults.txt");
    std::fs::write(
        &file,
        "# what we saw\ngpu1=80%\n\ngpu0-link=50%,throttle=90%  # a hot day\n",
    )
    .expect("a file");
    let picture = folder.path().join("robust.svg");
    let file = file.to_str().expect("a name");
    let asked = [
        "plan",
        "--robust",
        "--steps",
        "6",
        "--faults",
        file,
        "--faults",
        "gpu3=lost",
    ];
    let plotted = [&asked[..], &["--plot", picture.to_str().expect("a name")]].concat();
    let page = printed(&plotted);
    let found = json(&[&asked[..], &["--json"]].concat());
    let names = found["faults"].as_array().expect("kinds").iter();
    let names: Vec<_> = names
        .map(|kind| kind["name"].as_str().expect("a name"))
        .collect();
    assert_eq!(
        names,
        ["gpu1=80%", "gpu0-link=50%,throttle=90%", "gpu3=lost"]
    );
    let choice = found["choice"]["plan"]["plan"].as_str().expect("a plan");
    for part in [
        &format!("Most robust: {choice}"),
        "if one knew",
        "When it is lost",
        " s on gpu0-",
    ] {
        assert!(page.contains(part), "{part}\n{page}");
    }
    for line in page.lines().take_while(|line| !line.starts_with("Launch")) {
        assert!(line.chars().count() <= 100, "{line}");
    }
    let svg = std::fs::read_to_string(picture).expect("a picture");
    assert!(svg.contains("no fault") && svg.contains("if one knew"));
}

#[test]
fn mistakes_are_told() {
    let with = |option: &'static str, faults: &'static str| {
        refused(&["plan", "--machine", "8xl20-pcie", option, faults])
    };
    for (faults, part) in [
        ("gpu9=80%", "8xl20-pcie has the GPUs gpu0 to gpu7"),
        ("gpu1=180%", "180% is not a percentage from 1 to 100"),
        ("gpu1=0%", "0% is not a percentage from 1 to 100"),
        ("link:gpu1-sock=50%", "did you mean gpu1-socket0?"),
        ("slow", "write gpu3=80%"),
    ] {
        let sentence = with("--fault", faults);
        assert!(
            sentence.contains("--fault") && sentence.contains(part),
            "{sentence}"
        );
    }
    let all: Vec<String> = (0..8).map(|gpu| format!("gpu{gpu}=lost")).collect();
    let sentence = refused(&["plan", "--machine", "8xl20-pcie", "--fault", &all.join(",")]);
    assert!(
        sentence.contains("no GPU of 8xl20-pcie is left"),
        "{sentence}"
    );
    let asked = ["simulate", "--plan", "ring4", "--fault", "gpu1=lost"];
    let sentence = refused(&asked);
    assert!(
        sentence.contains("4 ranks") && sentence.contains("3 GPUs"),
        "{sentence}"
    );
    let sentence = refused(&["plan", "--robust", "--faults", "gpu8=lost"]);
    assert!(
        sentence.contains("--faults") && sentence.contains("gpu0 to gpu3"),
        "{sentence}"
    );
    let sentence = refused(&["report", "--out", "x.html", "plan", "--robust"]);
    assert!(sentence.contains("--plot"), "{sentence}");
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("faults.txt");
    std::fs::write(&file, "# nothing\ngpu0=wrong\n").expect("a file");
    let sentence = refused(&[
        "plan",
        "--robust",
        "--faults",
        file.to_str().expect("a name"),
    ]);
    assert!(sentence.contains("line 2"), "{sentence}");
}

/// A fault that is known and a plan that runs through it give the same latency, asked either way.
#[test]
fn robust_rows_are_what_simulate_says() {
    let question = question("8xl20-pcie", 8);
    let found = robust(&question, usual(&question.machine)).expect("plans");
    let faced = &found.choice;
    for (index, column) in found.columns.iter().enumerate() {
        let case = column.kind.cases[faced.worst_cases[index]].clone();
        if case
            .all()
            .iter()
            .any(|fault| matches!(fault, Fault::Lost(_)))
        {
            continue;
        }
        let asked = Question {
            faults: case,
            ..question.clone()
        };
        let alone = search::candidate(&asked, &faced.candidate.plan).expect("a legal plan");
        assert_eq!(
            alone.latency, faced.latencies[index],
            "{}",
            column.kind.name
        );
    }
}
