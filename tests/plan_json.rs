//! The JSON contract of `plan` and `simulate`.

use serde_json::Value;

use crate::{json, printed};

/// Fields of every plan.
const PLAN_FIELDS: [&str; 14] = [
    "plan",
    "strategy",
    "degrees",
    "compressor",
    "latency_s",
    "latency_lo_s",
    "latency_hi_s",
    "lower_bound_s",
    "gap",
    "stop_reason",
    "peak_memory_bytes",
    "exposed_communication_s",
    "quality",
    "launch",
];

/// Asserts that a plan's fields are there and agree with each other.
fn check(plan: &Value) {
    for field in PLAN_FIELDS {
        assert!(plan.get(field).is_some(), "{field} is missing in {plan:#}");
    }
    let figure = |field: &str| plan[field].as_f64().expect("a number");
    let (low, middle, high) = (
        figure("latency_lo_s"),
        figure("latency_s"),
        figure("latency_hi_s"),
    );
    assert!(0.0 < low && low <= middle && middle <= high, "{plan:#}");
    assert!(figure("lower_bound_s") <= middle * (1.0 + 1e-9), "{plan:#}");
    assert!(figure("exposed_communication_s") <= middle, "{plan:#}");
    assert!(figure("peak_memory_bytes") > 1e9, "{plan:#}");
    let launch = &plan["launch"];
    assert!(
        launch["command"].is_string() != launch["reason"].is_string(),
        "{launch}"
    );
    let fidelity = plan["quality"]["fidelity"].as_str().expect("a word");
    assert!(
        ["exact", "stale", "lossy"].contains(&fidelity),
        "{fidelity}"
    );
    assert_eq!(plan["compressor"].is_string(), fidelity == "lossy");
    let residency = &plan["residency"];
    let plain = [
        &residency["components"],
        &residency["encoders"],
        &residency["transformer"],
    ];
    let resident = plain == ["together", "whole", "resident"];
    assert_eq!(residency["line"] == "resident", resident, "{plan:#}");
    assert_eq!(plan["precision"], "bf16");
}

#[test]
fn the_default_question_has_an_answer_with_a_proof() {
    let answer = json(&["plan", "--json"]);
    assert_eq!(answer["question"]["model"], "FLUX.1-dev");
    assert_eq!(answer["question"]["machine"], "4xl20-pcie");
    check(&answer["choice"]);
    let plans = answer["plans"].as_array().expect("a list");
    plans.iter().for_each(check);
    let latency = |plan: &Value| plan["latency_s"].as_f64().expect("a number");
    assert!(
        plans
            .windows(2)
            .all(|pair| latency(&pair[0]) <= latency(&pair[1]))
    );
    assert_eq!(plans[0]["plan"], answer["fastest"]["plan"]);
    let tied = answer["tied"].as_array().expect("a list");
    assert!(
        tied.iter()
            .any(|one| one["plan"] == answer["choice"]["plan"])
    );
    assert!(
        tied.iter()
            .all(|one| one["behind"].as_f64().expect("a number") < 0.9)
    );
    let point = json(&["plan", "--fastest", "--json"]);
    assert_eq!(point["choice"]["plan"], answer["fastest"]["plan"]);
    assert_eq!(answer["fastest_exact"]["quality"]["fidelity"], "exact");
    let count = |field: &str| answer[field].as_u64().expect("a count");
    assert_eq!(count("considered"), count("simulated") + count("pruned"));
    assert!(count("considered") <= count("legal"));
    assert!(!answer["provenance"].as_array().expect("a list").is_empty());
}

#[test]
fn exact_leaves_no_stale_and_no_lossy_plan() {
    let answer = json(&["plan", "--exact", "--json"]);
    for plan in answer["plans"].as_array().expect("a list") {
        assert_eq!(plan["quality"]["fidelity"], "exact", "{plan:#}");
    }
}

#[test]
fn a_quality_budget_is_kept() {
    let answer = json(&["plan", "--max-fid", "5", "--json"]);
    for plan in answer["plans"].as_array().expect("a list") {
        let quality = &plan["quality"];
        let is_within = quality["fid"].as_f64().is_some_and(|fid| fid <= 5.0);
        assert!(is_within || quality["fidelity"] == "exact", "{plan:#}");
    }
}

#[test]
fn the_same_question_has_the_same_answer() {
    let first = printed(&["plan", "--json"]);
    assert_eq!(first, printed(&["plan", "--json"]));
}

#[test]
fn one_plan_simulates_as_it_stands_in_the_table() {
    let answer = json(&["plan", "--json"]);
    let choice = &answer["choice"];
    let line = choice["plan"].as_str().expect("a plan");
    let simulated = json(&["simulate", "--plan", line, "--json"]);
    check(&simulated["choice"]);
    let (searched, alone) = (
        choice["latency_s"].as_f64().expect("a number"),
        simulated["choice"]["latency_s"].as_f64().expect("a number"),
    );
    assert!(
        (searched - alone).abs() <= 1e-3 * searched,
        "{searched} {alone}"
    );
}
