//! `compare`: two plans or two machines, and what would turn the tables. And what shells read.

use super::{json, printed, refused};

#[test]
fn the_difference_is_explained_and_undone() {
    let report = json(&[
        "compare",
        "ulysses4",
        "pipefusion4 warmup=1",
        "--machine",
        "4xL20@2GB/s",
        "--json",
    ]);
    assert_eq!(report["slower"], 0);
    let latency = |index: usize| {
        report["sides"][index]["latency_s"]
            .as_f64()
            .expect("a time")
    };
    let classes = report["classes"].as_array().expect("classes");
    for index in 0..2 {
        let parts = classes
            .iter()
            .map(|class| class["time_s"][index].as_f64().expect("a time"));
        let sum: f64 = parts.sum();
        // Text encoder and VAE are no part of the steps' critical path: about a second.
        let rest = latency(index) - sum;
        assert!((0.0..1.5).contains(&rest), "{sum} {}", latency(index));
    }
    // The named bandwidth indeed makes both equal.
    let turns = report["turns"].as_array().expect("turns");
    let turn = turns
        .iter()
        .find(|turn| turn["field"] == "nvlink.bandwidth")
        .expect("a bandwidth");
    let rate = format!(
        "nvlink.bandwidth={}GB/s",
        turn["to"].as_f64().expect("a rate")
    );
    let swept = json(&[
        "sweep",
        "--machine",
        "4xL20@2GB/s",
        "--vary",
        &rate,
        "--plan",
        "ulysses4",
        "--plan",
        "pipefusion4 warmup=1",
        "--json",
    ]);
    let time = |row: usize| swept["rows"][row]["latency_s"].as_f64().expect("a time");
    assert!(
        (time(0) / time(1) - 1.0).abs() < 0.01,
        "{} {}",
        time(0),
        time(1)
    );
}

#[test]
fn machines_are_compared_by_their_best_plans() {
    let page = printed(&["compare", "4xl20-pcie", "4xh20-nvlink"]);
    assert!(
        page.contains("What would have to change") && page.contains("communication"),
        "{page}"
    );
    let sentence = refused(&["compare", "ring4", "8xh100-sxm"]);
    assert!(
        sentence.contains("two plans, or two machines"),
        "{sentence}"
    );
}

#[test]
fn shells_and_manuals_know_every_command() {
    for shell in ["bash", "zsh", "fish"] {
        let script = printed(&["completions", shell]);
        assert!(
            script.contains("ditplan") && script.contains("sweep"),
            "{shell}"
        );
    }
    assert!(printed(&["man"]).contains("compare"));
    let folder = tempfile::tempdir().expect("a folder");
    let out = folder.path().to_str().expect("a name");
    printed(&["man", "--out", out]);
    assert!(folder.path().join("ditplan-sweep.1").exists());
}
