//! `capacity`: fleets that keep an objective, beside closed forms, and what must hold between answers.

use std::fs;
use std::path::PathBuf;

use serde_json::Value;
use tempfile::TempDir;

use crate::wrong_input::{complaint, says};
use crate::{ditplan, json, printed};

/// A question that takes a second: exact plans on 8 H100.
const QUESTION: [&str; 8] = [
    "capacity",
    "--machine",
    "8xh100-sxm",
    "--exact",
    "--slo",
    "p95<=6s",
    "--rate",
    "2/s",
];

/// The question with other options: those that it has already are replaced.
fn asked<'a>(others: &[&'a str]) -> Vec<&'a str> {
    let mut all: Vec<&str> = vec!["capacity", "--exact"];
    for pair in [
        ["--machine", "8xh100-sxm"],
        ["--slo", "p95<=6s"],
        ["--rate", "2/s"],
    ] {
        if !others.contains(&pair[0]) {
            all.extend(pair);
        }
    }
    all.extend(others);
    all
}

fn answer(others: &[&str]) -> Value {
    let mut all = asked(others);
    all.push("--json");
    json(&all)
}

fn number(value: &Value) -> f64 {
    value
        .as_f64()
        .unwrap_or_else(|| panic!("a number, not {value}"))
}

fn gpus(answer: &Value) -> u64 {
    answer["choice"]["gpus"].as_u64().expect("a count")
}

/// A file with this text.
fn file(name: &str, text: &str) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join(name);
    fs::write(&path, text).expect("a temporary file");
    (folder, path)
}

#[test]
fn the_page_says_the_fleet_first_and_why_others_fail() {
    let page = printed(&QUESTION);
    for part in [
        "FLUX.1-dev at 2/s (Poisson), p95<=6s",
        "Fleet: ",
        "simulated",
        "closed form",
        "keeps p95<=6s",
        "grows without end",
        "cannot be kept by any number",
        "One replica fewer",
        "not kept",
        "Where the numbers come from",
        "10 independent replications",
    ] {
        assert!(page.contains(part), "{part}\n{page}");
    }
    let lines = page.lines().take_while(|line| !line.starts_with("Launch"));
    for line in lines {
        assert!(line.chars().count() <= 100, "{line}");
    }
}

#[test]
fn the_json_agrees_with_itself_and_with_closed_forms() {
    let answer = answer(&[]);
    let choice = &answer["choice"];
    assert_eq!(choice["keeps"], true);
    let criterion = &choice["simulated"]["criteria"][0];
    assert!(number(&criterion["found_s"]["hi"]) <= number(&criterion["limit_s"]));
    let pool = &choice["pools"][0];
    let (replicas, each) = (number(&pool["replicas"]), number(&pool["gpus_per_replica"]));
    assert_eq!(number(&choice["gpus"]), replicas * each);
    // Utilisation is the load over the replicas; those who wait are rate x mean wait (Little).
    let simulated = &choice["simulated"];
    let service = number(&pool["services"][0]["service_s"][0]);
    let busy = number(&simulated["utilisation"]["value"]);
    assert!(
        (busy / (2.0 * service / replicas) - 1.0).abs() < 0.02,
        "{busy}"
    );
    let wait = number(&simulated["latency_s"]["mean"]["value"]) - service;
    let waiting = number(&simulated["waiting"]["value"]);
    assert!(
        (waiting / (2.0 * wait) - 1.0).abs() < 0.05,
        "{waiting} {wait}"
    );
    // M/D/c: Allen and Cunneen are within a few per cent of the mean latency.
    let mean = number(&simulated["latency_s"]["mean"]["value"]);
    assert!((number(&choice["closed_form"]["mean"]) / mean - 1.0).abs() < 0.02);
    // One fewer fails; the saturation rate lies between what is asked and the overload.
    assert_eq!(answer["one_fewer"][0]["fleet"]["keeps"], false);
    let (most, overload) = (
        number(&answer["saturation_per_s"]),
        number(&answer["overload_per_s"]),
    );
    assert!((2.0..overload).contains(&most), "{most} {overload}");
    // Latencies grow with the rate, and the objective is kept up to the saturation.
    let curve = answer["curve"].as_array().expect("a list");
    for pair in curve.windows(2) {
        let p95 = |point: &Value| number(&point["latency_s"]["p95"]["value"]);
        assert!(p95(&pair[0]) <= p95(&pair[1]) + 1e-6, "{pair:?}");
    }
    for point in curve {
        let keeps = point["keeps"].as_bool().expect("a word");
        let rate = number(&point["rate_per_s"]);
        // It is bisected to 0.5 %.
        assert!(keeps || most < rate, "{point}");
        assert!(!keeps || rate < most * 1.005, "{point}");
    }
    assert_eq!(answer["queue"].as_array().expect("a list").len(), 300);
}

#[test]
fn fleets_grow_with_the_rate_and_shrink_with_the_limit() {
    let needs = |rate: &str, slo: &str| {
        gpus(&answer(&[
            "--rate",
            rate,
            "--slo",
            slo,
            "--requests",
            "3000",
        ]))
    };
    let by_rate: Vec<u64> = ["0.5/s", "1/s", "2/s", "4/s"]
        .map(|rate| needs(rate, "p95<=8s"))
        .to_vec();
    assert!(
        by_rate.windows(2).all(|pair| pair[0] <= pair[1]),
        "{by_rate:?}"
    );
    let by_limit: Vec<u64> = ["p95<=4s", "p95<=6s", "p95<=8s", "p95<=12s"]
        .map(|slo| needs("1/s", slo))
        .to_vec();
    assert!(
        by_limit.windows(2).all(|pair| pair[0] >= pair[1]),
        "{by_limit:?}"
    );
    assert!(by_rate[0] < by_rate[3] && by_limit[0] > by_limit[3]);
}

#[test]
fn pools_of_their_own_beat_equal_replicas_on_a_mixed_load() {
    let answer = answer(&["--mix", "1024x1024:0.7,2048x2048:0.3", "--slo", "p95<=12s"]);
    let pools = answer["choice"]["pools"].as_array().expect("a list");
    assert_eq!(pools.len(), 2, "{pools:?}");
    let uniform = answer["uniform"]["gpus"].as_u64().expect("a uniform fleet");
    assert!(gpus(&answer) < uniform, "{} {uniform}", gpus(&answer));
    let fewer = answer["one_fewer"].as_array().expect("a list");
    assert!(
        fewer.iter().all(|one| one["fleet"]["keeps"] != true),
        "{fewer:?}"
    );
}

#[test]
fn the_answer_is_the_same_at_any_number_of_threads_and_differs_by_seed() {
    let with = |threads: &str, seed: &str| {
        let mut all = asked(&[
            "--seed",
            seed,
            "--requests",
            "2000",
            "--failures",
            "mtbf=2h,mttr=10min",
        ]);
        all.push("--json");
        let output = ditplan(&all)
            .env("RAYON_NUM_THREADS", threads)
            .assert()
            .success();
        String::from_utf8(output.get_output().stdout.clone()).expect("UTF-8")
    };
    let one = with("1", "1");
    assert_eq!(one, with("4", "1"));
    assert_ne!(one, with("4", "2"));
}

#[test]
fn every_pattern_routing_batch_and_failure_has_an_answer() {
    let few = ["--requests", "2000", "--slo", "p95<=15s"];
    for others in [
        &["--arrivals", "gamma:cv=2"][..],
        &["--routing", "shortest"],
        &["--routing", "least-loaded"],
        &["--batch", "2"],
        &["--failures", "mtbf=5h,mttr=30min", "--spares", "1"],
        &["--arrivals", "diurnal:peak=3,period=15min"],
        &["--objective", "dollars", "--price", "H100-SXM=2.5/h"],
    ] {
        let answer = answer(&[&few[..], others].concat());
        assert_eq!(answer["choice"]["keeps"], true, "{others:?}");
    }
}

#[test]
fn dollars_are_the_users_prices() {
    let answer = answer(&[
        "--objective",
        "dollars",
        "--price",
        "H100-SXM=2.5/h",
        "--requests",
        "2000",
    ]);
    let dollars = number(&answer["choice"]["dollars_per_hour"]);
    assert!((dollars - 2.5 * gpus(&answer) as f64).abs() < 1e-9);
}

#[test]
fn a_record_is_replayed_as_it_is() {
    let line = |n: u32| {
        let size = if n.is_multiple_of(3) {
            "512x512"
        } else {
            "1024x1024"
        };
        format!("{},{size}\n", f64::from(n) * 0.75)
    };
    let text = "time,size\n".to_owned() + &(0..400).map(line).collect::<String>();
    let (_folder, path) = file("day.csv", &text);
    let path = path.to_str().expect("a UTF-8 path");
    let answer = json(&[
        "capacity",
        "--machine",
        "8xh100-sxm",
        "--exact",
        "--slo",
        "p95<=7s",
        "--arrivals",
        path,
        "--json",
    ]);
    assert_eq!(answer["question"]["requests"], 400);
    assert!((number(&answer["question"]["rate_per_s"]) - 1.0 / 0.75).abs() < 1e-9);
    assert_eq!(
        answer["question"]["mix"].as_array().expect("a list").len(),
        2
    );
    let p95 = &answer["choice"]["simulated"]["latency_s"]["p95"];
    assert_eq!(p95["lo"], p95["hi"]);
}

#[test]
fn the_picture_is_drawn() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for name in ["load.svg", "load.png"] {
        let path = folder.path().join(name);
        printed(&asked(&[
            "--requests",
            "1000",
            "--plot",
            path.to_str().expect("a UTF-8 path"),
        ]));
        assert!(path.metadata().expect("a picture").len() > 5000, "{name}");
    }
}

#[test]
fn every_mistake_names_the_option_and_the_remedy() {
    for (others, words) in [
        (&["--rate", "2"][..], &["--rate", "\"2/s\""][..]),
        (&["--rate", "0/s"], &["--rate", "positive"]),
        (&["--slo", "p95>=6s"], &["--slo", "p95<=6s"]),
        (
            &["--slo", "2048x2048:p95<=6s"],
            &["--slo", "nobody asks for", "1024x1024"],
        ),
        (
            &["--slo", "p95<=10ms"],
            &["p95<=10ms", "cannot be kept", "loosen"],
        ),
        (&["--rate", "500/s"], &["--max-gpus", "1024"]),
        (
            &["--mix", "1024:0.7"],
            &["--mix", "is not a shape", "1280x720x81@50"],
        ),
        (&["--mix", "1024x1024:0"], &["--mix", "weight"]),
        (&["--mix", "1024x1024:1,1024x1024:2"], &["--mix", "twice"]),
        (&["--mix", "1000x1001:1"], &["multiple"]),
        (
            &["--arrivals", "weekly"],
            &["--arrivals", "poisson", "gamma:cv=2"],
        ),
        (&["--arrivals", "gamma"], &["--arrivals", "cv is missing"]),
        (&["--arrivals", "gamma:cv=x"], &["cv", "number"]),
        (
            &["--arrivals", "gamma:cv=900"],
            &["--arrivals", "cv", "0.05 to 20"],
        ),
        (
            &["--arrivals", "gamma:peak=3"],
            &["peak", "not known", "cv"],
        ),
        (
            &["--arrivals", "diurnal:peak=3,period=24"],
            &["period", "24h"],
        ),
        (
            &[
                "--arrivals",
                "diurnal:peak=3,period=24h",
                "--requests",
                "500",
            ],
            &["--requests", "period"],
        ),
        (
            &["--arrivals", "nowhere.csv"],
            &["nowhere.csv", "cannot be read"],
        ),
        (
            &["--failures", "mtbf=200h"],
            &["--failures", "mttr is missing"],
        ),
        (&["--failures", "mtbf=1s,mttr=1s"], &["fail every 1 s"]),
        (&["--spares", "1"], &["--spares", "--failures"]),
        (&["--price", "H100-SXM=2.5"], &["--price", "H100-SXM=2.5/h"]),
        (
            &["--price", "L20=2.5/h"],
            &["--price", "L20", "no --machine has"],
        ),
        (
            &["--machine", "4xl20-pcie", "--objective", "dollars"],
            &["price of L20", "--price L20="],
        ),
        (
            &["--plot", "load.gif", "--requests", "200"],
            &["--plot", ".svg or .png"],
        ),
    ] {
        says(&complaint(&asked(others)), words);
    }
    says(
        &complaint(&["capacity", "--slo", "p95<=6s"]),
        &["--rate is missing", "2/s"],
    );
}

#[test]
fn a_damaged_record_is_refused_by_line_and_column() {
    for (text, words) in [
        ("", &["time", "missing"][..]),
        ("time,size\n", &["no requests"]),
        (
            "when,size\n1,1024x1024\n",
            &["line 1", "when", "time, size"],
        ),
        ("time\n1\n", &["line 1", "size is missing"]),
        (
            "time,size\n1,1024x1024\nsoon,1024x1024\n",
            &["line 3", "time", "12.5"],
        ),
        ("time,size\n2,1024x1024\n1,1024x1024\n", &["line 3", "sort"]),
        (
            "time,size\n1,1024\n2,1024x1024\n",
            &["line 2", "size", "1280x720"],
        ),
        (
            "time,size,frames\n1,1024x1024,many\n",
            &["line 2", "frames", "whole number"],
        ),
        ("time,size\n1,1024x1024\n1,1024x1024\n", &["0 s", "longer"]),
        ("time,size\n1,1024x1024,5\n", &["CSV"]),
    ] {
        let (_folder, path) = file("day.csv", text);
        let path = path.to_str().expect("a UTF-8 path");
        let sentence = complaint(&["capacity", "--slo", "p95<=6s", "--arrivals", path]);
        says(&sentence, words);
        says(&sentence, &["day.csv"]);
    }
}
