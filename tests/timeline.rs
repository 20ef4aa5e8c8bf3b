//! The timeline that `simulate` writes.

use std::collections::BTreeMap;
use std::fs;

use serde_json::Value;

use crate::printed;

#[test]
fn a_timeline_has_a_track_for_each_gpu_and_is_valid_json() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("out.json");
    let name = path.to_str().expect("a UTF-8 path");
    let page = printed(&["simulate", "--plan", "ring4/1bit", "--timeline", name]);
    assert!(page.contains("ui.perfetto.dev"), "{page}");
    let text = fs::read_to_string(&path).expect("the file was written");
    let timeline: Value = serde_json::from_str(&text).expect("it is JSON");
    let events = timeline["traceEvents"].as_array().expect("a list");
    let mut tracks: Vec<u64> = events
        .iter()
        .filter(|event| event["ph"] == "X")
        .filter_map(|event| event["pid"].as_u64())
        .collect();
    tracks.sort_unstable();
    tracks.dedup();
    assert_eq!(tracks.len(), 4, "one process for each GPU");
}

#[test]
fn a_timeline_has_an_arrow_for_each_message_and_a_counter_for_each_link() {
    for (plan, machine) in [
        ("ring4", "4xl20-pcie"),
        ("ulysses4", "4xl20-pcie"),
        ("pipefusion4", "4xl20-pcie"),
        ("ulysses4", "8xh100-sxm"),
        ("ring4", "4x-emulated-ethernet"),
    ] {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("out.json");
        let name = path.to_str().expect("a UTF-8 path");
        let words = ["simulate", "--steps", "3", "--plan", plan];
        printed(&[&words[..], &["--machine", machine, "--timeline", name]].concat());
        let text = fs::read_to_string(&path).expect("the file was written");
        let timeline: Value = serde_json::from_str(&text).expect("it is JSON");
        let events = timeline["traceEvents"].as_array().expect("a list");
        check_arrows(events);
        check_counters(events);
    }
}

fn of_phase<'a>(events: &'a [Value], phase: &str) -> impl Iterator<Item = &'a Value> {
    events.iter().filter(move |event| event["ph"] == phase)
}

/// Every arrow has one start and one end, on two GPUs, and never points back in time.
fn check_arrows(events: &[Value]) {
    let ends = |phase: &str| -> BTreeMap<u64, (u64, f64)> {
        let ends = of_phase(events, phase).map(|event| {
            let whole = |key: &str| event[key].as_u64().expect("a number");
            let at = event["ts"].as_f64().expect("a number");
            (whole("id"), (whole("pid"), at))
        });
        ends.collect()
    };
    let (starts, ends) = (ends("s"), ends("f"));
    assert!(!starts.is_empty(), "there are arrows");
    assert_eq!(
        starts.len(),
        of_phase(events, "s").count(),
        "one start each"
    );
    assert!(starts.keys().eq(ends.keys()), "one end each");
    for (id, (sender, start)) in starts {
        let (receiver, end) = ends[&id];
        assert!(sender != receiver && start <= end, "arrow {id}");
    }
}

/// Every counter rises above zero or stays there, and ends at zero.
fn check_counters(events: &[Value]) {
    let mut last = BTreeMap::new();
    let mut highest = 0.0_f64;
    for event in of_phase(events, "C") {
        let rate = event["args"]["bytes_per_s"].as_f64().expect("a rate");
        highest = highest.max(rate);
        last.insert(event["name"].as_str().expect("a name"), rate);
    }
    assert!(highest > 0.0, "some link carries something");
    assert!(last.values().all(|&rate| rate == 0.0), "{last:?}");
}
