//! The timeline that `simulate` writes.

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
#[ignore = "needs messages and link use in the timeline"]
fn a_timeline_has_an_arrow_for_each_message_and_a_counter_for_each_link() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("out.json");
    let name = path.to_str().expect("a UTF-8 path");
    printed(&["simulate", "--plan", "ring4", "--timeline", name]);
    let text = fs::read_to_string(&path).expect("the file was written");
    let timeline: Value = serde_json::from_str(&text).expect("it is JSON");
    let events = timeline["traceEvents"].as_array().expect("a list");
    for phase in ["s", "f", "C"] {
        assert!(events.iter().any(|event| event["ph"] == phase), "{phase}");
    }
}
