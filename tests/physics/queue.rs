//! The queue of recorded requests, beside one counted by hand: first come, first served, by one replica.

use std::fs;

use serde_json::Value;

use crate::json;

/// Whole picoseconds of a number of seconds.
fn ps(value: &Value) -> i128 {
    (value.as_f64().expect("a number") * 1e12).round() as i128
}

/// From when until when each request waits, where a service takes `service`.
fn waits(arrivals: &[i128], service: i128) -> Vec<(i128, i128)> {
    let mut free = 0;
    let wait = |&arrived: &i128| {
        let started = arrived.max(free);
        free = started + service;
        (arrived, started)
    };
    arrivals.iter().map(wait).collect()
}

#[test]
fn most_and_mean_of_the_queue_are_those_of_the_requests_that_wait() {
    // A burst of twelve, single requests that still find some waiting, one long after.
    let seconds = [0; 12].into_iter().chain([3, 20, 21, 50, 51, 52, 900]);
    let arrivals: Vec<i128> = seconds.map(|second| second * 1_000_000_000_000).collect();
    let line = |at: &i128| format!("{},1024x1024\n", at / 1_000_000_000_000);
    let text = "time,size\n".to_owned() + &arrivals.iter().map(line).collect::<String>();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("day.csv");
    fs::write(&path, text).expect("a temporary file");
    let path = path.to_str().expect("a UTF-8 path");
    let machine = "1xH100-SXM@nvlink4";
    let slo = "p95<=1000s";
    let answer = json(&[
        "capacity",
        "--machine",
        machine,
        "--slo",
        slo,
        "--arrivals",
        path,
        "--json",
    ]);
    let pool = &answer["choice"]["pools"][0];
    assert_eq!(pool["replicas"], 1, "{pool}");
    let waits = waits(&arrivals, ps(&pool["services"][0]["service_s"][0]));
    let within = |at: i128| {
        waits
            .iter()
            .filter(|wait| wait.0 <= at && at < wait.1)
            .count()
    };
    let points = answer["queue"].as_array().expect("a list");
    let mut from = 0;
    let mut peak = 0;
    for point in points {
        let until = ps(&point["until_s"]);
        let inside = arrivals
            .iter()
            .copied()
            .filter(|at| (from..=until).contains(at));
        let most = inside.chain([from]).map(within).max();
        assert_eq!(
            point["most"].as_u64().map(|most| most as usize),
            most,
            "{point}"
        );
        let overlap = |wait: &(i128, i128)| (wait.1.min(until) - wait.0.max(from)).max(0);
        let mean = waits.iter().map(overlap).sum::<i128>() as f64 / (until - from) as f64;
        let found = point["mean"].as_f64().expect("a number");
        assert!((found - mean).abs() < 1e-6, "{point}: {mean}");
        peak = peak.max(most.unwrap_or(0));
        from = until;
    }
    assert_eq!(peak, 12, "eleven of the burst, and the one of 3 s");
}
