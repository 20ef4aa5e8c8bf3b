//! `sweep`: what-if over bandwidth, GPUs and resolution.

use std::fs;
use std::path::Path;
use std::process::{Command as Process, Stdio};
use std::thread::sleep;
use std::time::Duration;

use serde_json::Value;

use super::{json, printed, refused};

/// The field of every row, in order.
fn column(report: &Value, field: &str) -> Vec<Value> {
    let rows = report["rows"].as_array().expect("rows");
    rows.iter().map(|row| row[field].clone()).collect()
}

#[test]
fn the_landmarks_of_bandwidth_are_where_they_were_published() {
    // CompactFusion: pipelines on slow Ethernet, compression on PCIe-like rates, nothing to gain beyond.
    let report = json(&[
        "sweep",
        "--machine",
        "4xL20@25GB/s",
        "--vary",
        "link.bandwidth=0.5GB/s,5GB/s,900GB/s",
        "--json",
    ]);
    let plans: Vec<String> = column(&report, "plan")
        .iter()
        .map(|plan| plan.as_str().expect("a plan").to_owned())
        .collect();
    assert!(plans[0].starts_with("pipefusion4"), "{plans:?}");
    assert!(plans[1].contains('/'), "{plans:?}");
    assert!(!plans[2].contains('/'), "{plans:?}");
    let times: Vec<f64> = column(&report, "latency_s")
        .iter()
        .map(|time| time.as_f64().expect("a time"))
        .collect();
    assert!(times[0] > times[1] && times[1] > times[2], "{times:?}");
}

#[test]
fn more_bandwidth_never_slows_a_plan_even_where_rates_were_measured() {
    for (machine, field) in [
        ("4xl20-pcie", "pcie.bandwidth"),
        ("8xh100-sxm", "nvlink.bandwidth"),
    ] {
        let vary = format!("{field}=8GB/s..800GB/s:5:log");
        let report = json(&[
            "sweep",
            "--machine",
            machine,
            "--vary",
            &vary,
            "--plan",
            "ulysses4",
            "--json",
        ]);
        let times: Vec<f64> = column(&report, "latency_s")
            .iter()
            .map(|time| time.as_f64().expect("a time"))
            .collect();
        assert!(
            times.windows(2).all(|pair| pair[0] > pair[1]),
            "{machine}: {times:?}"
        );
    }
}

#[test]
fn a_sweep_finds_what_plan_finds() {
    let planned = json(&["plan", "--machine", "4xl20-pcie", "--gpus", "2", "--json"]);
    let swept = json(&[
        "sweep",
        "--machine",
        "4xl20-pcie",
        "--vary",
        "gpus=2,4",
        "--json",
    ]);
    let row = &swept["rows"][0];
    assert_eq!(row["plan"], planned["choice"]["plan"]);
    let (swept, planned) = (&row["latency_s"], &planned["choice"]["latency_s"]);
    let difference = swept.as_f64().expect("a time") - planned.as_f64().expect("a time");
    assert!(difference.abs() < 1e-6, "{swept} {planned}");
}

#[test]
fn points_without_a_plan_say_why() {
    let report = json(&[
        "sweep",
        "--machine",
        "4xl20-pcie",
        "--vary",
        "size=1024x1024,1000x1000",
        "--json",
    ]);
    assert!(report["rows"][0]["reason"].is_null());
    let reason = report["rows"][1]["reason"].as_str().expect("a reason");
    assert!(reason.contains("1000"), "{reason}");
}

fn arguments(out: &Path) -> Vec<String> {
    let mut arguments: Vec<String> = [
        "sweep",
        "--machine",
        "4xL20@25GB/s",
        "--plan",
        "ulysses2",
        "--plan",
        "ring4/1bit",
        "--vary",
        "link.bandwidth=1GB/s..900GB/s:40:log",
        "--vary",
        "steps=20..28:9",
        "--resume",
        "--out",
    ]
    .map(str::to_owned)
    .to_vec();
    arguments.push(out.display().to_string());
    arguments
}

#[test]
fn a_sweep_killed_again_and_again_ends_as_one_that_was_not() {
    let folder = tempfile::tempdir().expect("a folder");
    let (whole, torn) = (
        folder.path().join("whole.csv"),
        folder.path().join("torn.csv"),
    );
    let whole_arguments = arguments(&whole);
    printed(
        &whole_arguments
            .iter()
            .map(String::as_str)
            .collect::<Vec<_>>(),
    );
    let mut kills = 0;
    for round in 0..10_u64 {
        let mut child = Process::new(env!("CARGO_BIN_EXE_ditplan"))
            .args(arguments(&torn))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("the program starts");
        sleep(Duration::from_millis(60 + 37 * (round * round % 7)));
        kills += usize::from(child.try_wait().expect("a child").is_none());
        child.kill().expect("the program ends");
        child.wait().expect("the program ended");
    }
    assert!(kills > 0, "every run was over before it could be killed");
    let torn_arguments = arguments(&torn);
    printed(
        &torn_arguments
            .iter()
            .map(String::as_str)
            .collect::<Vec<_>>(),
    );
    let read = |path: &Path| fs::read(path).expect("rows");
    assert_eq!(read(&whole), read(&torn));
    assert_eq!(
        read(&whole).iter().filter(|byte| **byte == b'\n').count(),
        1 + 2 * 40 * 9
    );
}

#[test]
fn a_torn_line_is_written_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let out = folder.path().join("rows.csv");
    let arguments = arguments(&out);
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    printed(&arguments);
    let whole = fs::read(&out).expect("rows");
    fs::write(&out, &whole[..whole.len() - 31]).expect("a torn file");
    printed(&arguments);
    assert_eq!(fs::read(&out).expect("rows"), whole);
}

#[test]
fn pictures_are_drawn() {
    let folder = tempfile::tempdir().expect("a folder");
    let base = ["sweep", "--machine", "4xL20@25GB/s"];
    for (name, more) in [
        (
            "curves.svg",
            vec![
                "--vary",
                "link.bandwidth=1GB/s,100GB/s",
                "--plan",
                "ring4",
                "--plan",
                "ring4/1bit",
            ],
        ),
        (
            "phases.png",
            vec![
                "--vary",
                "gpus=2,4",
                "--vary",
                "link.bandwidth=1GB/s,100GB/s",
            ],
        ),
        ("tornado.svg", vec!["--tornado", "0.1"]),
    ] {
        let path = folder.path().join(name);
        let path = path.to_str().expect("a name");
        printed(&[&base[..], &more, &["--plot", path]].concat());
        assert!(
            fs::metadata(path).expect("a picture").len() > 2000,
            "{name}"
        );
    }
}

#[test]
fn mistakes_are_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let other = folder.path().join("other.csv");
    fs::write(&other, "a,b\n1,2\n").expect("a file");
    let other = other.to_str().expect("a name");
    for (arguments, part) in [
        (vec!["--vary", "gpus=2", "--vary", "gpus=4"], "twice"),
        (vec!["--vary", "gpus=2", "--out", other], "--resume"),
        (
            vec!["--vary", "gpus=2", "--out", other, "--resume"],
            "another sweep",
        ),
        (vec!["--tornado", "2"], "between 0 and 1"),
        (
            vec!["--vary", "gpus=1,2", "--plot", "picture.gif"],
            ".svg or .png",
        ),
        (
            vec!["--vary", "gpus=1,2", "--plan", "ring64"],
            "needs 64 GPUs",
        ),
    ] {
        let sentence = refused(&[&["sweep", "--machine", "4xL20@25GB/s"][..], &arguments].concat());
        assert!(sentence.contains(part), "{arguments:?}: {sentence}");
    }
}
