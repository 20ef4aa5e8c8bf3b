//! The schemas of `docs/json`: what the program prints is what they say, and they say it all.
//!
//! ```text
//! every command with --json ─▶ RUNS, in variants ─▶ its schema
//! every output, one thing changed ─▶ refused
//! ```

mod runs;
mod schema;

use std::collections::BTreeSet;
use std::fs;

use serde_json::{Value, json};

use crate::printed;
use runs::{Bench, RUNS};
use schema::{FOLDER, Schemas};

/// Runs of some schemas, each against its own.
fn check(of: impl Fn(&str) -> bool) {
    let (schemas, bench) = (Schemas::read(), Bench::new());
    for (name, line) in RUNS.iter().filter(|(name, _)| of(name)) {
        let output = bench.output(line);
        hold(&schemas, name, &output, line);
        if let Some(kind) = output["kind"].as_str() {
            assert_eq!(schemas.faults(kind, &output["report"]), [""; 0], "{line}");
        }
    }
}

/// A value is as its schema says, and with any single thing changed it is not.
fn hold(schemas: &Schemas, name: &str, value: &Value, source: &str) {
    let faults = schemas.faults(name, value);
    assert!(faults.is_empty(), "{source}\n{}", faults.join("\n"));
    for (change, changed) in changes(&shortened(value)) {
        let noticed = !schemas.is_valid(name, &changed);
        assert!(noticed, "{source}: nobody notices {change}");
    }
}

/// The same with at most one element of each list: what its first is, the others are.
fn shortened(value: &Value) -> Value {
    match value {
        Value::Array(all) if all.iter().any(Value::is_object) => {
            all.iter().take(1).map(shortened).collect()
        }
        Value::Object(all) => all
            .iter()
            .map(|(name, value)| (name.clone(), shortened(value)))
            .collect(),
        other => other.clone(),
    }
}

/// Parts whose content is another program's, or has a schema of its own.
const OPEN: [&str; 3] = ["/manifest/model/config", "/model/config", "/report"];

/// Every value replaced by one of no known type, and every object with one property more.
fn changes(value: &Value) -> Vec<(String, Value)> {
    let mut places = Vec::new();
    collect(value, "", &mut places);
    let strange = json!({ "of no": ["known", "kind"] });
    let changed = |place: &String| {
        let mut changed = value.clone();
        let at = changed.pointer_mut(place).expect("a place of this value");
        match at {
            Value::Object(all) => drop(all.insert("not there".to_owned(), strange.clone())),
            other => *other = strange.clone(),
        }
        (place.clone(), changed)
    };
    places.iter().map(changed).collect()
}

fn collect(value: &Value, path: &str, places: &mut Vec<String>) {
    if OPEN.contains(&path) {
        return;
    }
    places.push(path.to_owned());
    match value {
        Value::Object(all) => {
            for (name, value) in all {
                let name = name.replace('~', "~0").replace('/', "~1");
                collect(value, &format!("{path}/{name}"), places);
            }
        }
        Value::Array(all) => {
            for (index, value) in all.iter().enumerate().take(1) {
                collect(value, &format!("{path}/{index}"), places);
            }
        }
        _ => {}
    }
}

#[test]
fn schemas_are_well_formed_and_describe_every_property() {
    let faults = Schemas::read().shape();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn plans_are_what_their_schemas_say() {
    check(|name| {
        matches!(
            name,
            "plan" | "plan-robust" | "simulate" | "assignment" | "report"
        )
    });
}

#[test]
fn what_ifs_are_what_their_schemas_say() {
    check(|name| matches!(name, "sweep" | "sweep-tornado" | "compare"));
}

#[test]
fn measurements_are_what_their_schemas_say() {
    check(|name| matches!(name, "calibrate" | "validate"));
}

#[test]
fn fleets_are_what_their_schema_says() {
    check(|name| name == "capacity");
}

#[test]
fn traces_and_lists_are_what_their_schemas_say() {
    check(|name| {
        name.starts_with("trace") || matches!(name, "replay" | "models" | "machines" | "gpus")
    });
}

#[test]
fn files_are_what_their_schemas_say() {
    let schemas = Schemas::read();
    let bench = Bench::new();
    drop(bench.output(
        "trace kineto --json KINETO/synthetic-ulysses4.json --timeline FILES/timeline.json",
    ));
    for (name, path) in [
        ("timeline", "FILES/timeline.json"),
        ("timeline", "LIVE/toy-cross-ring2-1bit/timeline.json"),
        ("run-plan", "LIVE/toy-cross-ring2-1bit/plan.json"),
        ("run-plan", "LIVE/toy-none/plan.json"),
        ("profile", "TOY/profile.json"),
        ("trace-manifest", "TRACE/manifest.json"),
        ("trace-calibration", "TRACE/quality.json"),
    ] {
        let text = fs::read_to_string(&bench.words(path)[0]).expect("a file can be read");
        let value = serde_json::from_str(&text).expect("the file is JSON");
        hold(&schemas, name, &value, path);
    }
}

/// Commands whose help names --json, as the words that are typed.
fn commands_with_json(before: &[String], found: &mut BTreeSet<String>) {
    let mut words: Vec<&str> = before.iter().map(String::as_str).collect();
    words.push("--help");
    let help = printed(&words);
    if help
        .lines()
        .any(|line| line.trim_start().starts_with("--json"))
    {
        found.insert(before.join("-"));
    }
    let list = help.split_once("Commands:\n").map_or("", |(_, rest)| rest);
    let lines = list.lines().take_while(|line| line.starts_with("  "));
    for line in lines.filter(|line| !line.starts_with("    ")) {
        let name = line.split_whitespace().next().unwrap_or_default();
        if name != "help" {
            commands_with_json(&[before, &[name.to_owned()]].concat(), found);
        }
    }
}

#[test]
fn every_command_with_json_has_a_schema_and_runs_here() {
    let mut commands = BTreeSet::new();
    commands_with_json(&[], &mut commands);
    assert!(
        commands.contains("trace-kineto") && commands.contains("plan"),
        "{commands:?}"
    );
    let run: BTreeSet<&str> = RUNS.iter().map(|(name, _)| *name).collect();
    for command in &commands {
        assert!(
            run.contains(command.as_str()),
            "{command} --json: docs/json has no schema of it, or RUNS no run"
        );
    }
    let files = [
        "profile",
        "run-plan",
        "shared",
        "timeline",
        "trace-calibration",
        "trace-manifest",
    ];
    let index = fs::read_to_string(format!("{FOLDER}/README.md")).expect("docs/json has a README");
    for name in Schemas::read().names() {
        assert!(
            run.contains(name) || files.contains(&name),
            "{name}: no command prints it"
        );
        assert!(
            index.contains(&format!("({name}.schema.json)")),
            "README.md does not list {name}"
        );
    }
}
