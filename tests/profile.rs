//! Profiles of one's own GPU: measured, summed up, used by plans, compared with live runs.
//!
//! `data/profile-cpu-toy` and `data/live-cpu-toy` were recorded on a processor (`--device cpu --toy`); figures of
//! an H200 here are made up.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tempfile::TempDir;

use super::{ditplan, json, printed, refused, words};

fn data(name: &str) -> String {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/data");
    tests.join(name).display().to_string()
}

/// A profile of an H200 whose times are made up: products at a third of the usual rate.
pub(crate) fn made_up() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let about = r#"{"format": 1, "gpu": "NVIDIA H200", "device": "cuda", "system": "h200_sxm", "torch": "2.0",
        "date": "2026-01-01T00:00Z", "parts": {"gemm": "complete"}, "notes": [], "command": "x"}"#;
    let mut gemm =
        String::from("system,software,dtype,kernel,m,n,k,latency_us,repeats,p10_us,p90_us\n");
    for m in [64, 128, 256, 512, 1024, 2048, 4096, 4608] {
        for n in [3072, 9216, 12_288, 18_432] {
            for k in [3072, 12_288, 15_360] {
                let us = 10.0 + 2.0 * f64::from(m) * f64::from(n) * f64::from(k) / 2e8;
                gemm += &format!(
                    "h200_sxm,torch 2.0,bfloat16,torch_linear,{m},{n},{k},{us:.3},20,{us:.3},{us:.3}\n"
                );
            }
        }
    }
    let attention = "system,software,dtype,kernel,causal,batch,seq_len,heads,head_dim,latency_us,repeats,p10_us,p90_us\n\
        h200_sxm,torch 2.0,bfloat16,torch_sdpa_flash,False,1,4608,24,128,600.0,20,590.0,610.0\n";
    for (name, text) in [
        ("profile.json", about),
        ("gemm.csv", &gemm),
        ("attention.csv", attention),
    ] {
        fs::write(folder.path().join(name), text).unwrap();
    }
    folder
}

fn path(folder: &TempDir) -> &str {
    folder.path().to_str().unwrap()
}

/// The provenance sentences of an answer.
fn provenance(answer: &Value) -> String {
    let sentences = answer["provenance"].as_array().unwrap().iter();
    sentences
        .filter_map(Value::as_str)
        .collect::<Vec<_>>()
        .join("\n")
}

#[test]
fn a_profile_replaces_the_tables_of_its_gpu_and_the_answer_says_so() {
    let folder = made_up();
    let asked = words("simulate --plan ring4 --machine 8xh200-sxm --json");
    let (usual, own) = (
        json(&asked),
        json(&[&asked[..], &["--profile", path(&folder)]].concat()),
    );
    let latency = |answer: &Value| answer["choice"]["latency_s"].as_f64().unwrap();
    assert!(
        latency(&own) > 1.3 * latency(&usual),
        "{} {}",
        latency(&own),
        latency(&usual)
    );
    assert_eq!(own["question"]["profile"], path(&folder));
    assert!(usual["question"]["profile"].is_null());
    let said = provenance(&own);
    for part in [
        "NVIDIA H200, torch 2.0",
        "96 measured matrix products",
        "heads of 128",
        "in place of",
    ] {
        assert!(said.contains(part), "{part}\n{said}");
    }
    let page = printed(&[
        "plan",
        "--machine",
        "8xh200-sxm",
        "--exact",
        "--profile",
        path(&folder),
    ]);
    assert!(page.contains("96 measured matrix products"), "{page}");
}

#[test]
fn a_sweep_takes_the_profile_to_every_point() {
    let folder = made_up();
    let asked = words("sweep --vary steps=4,8 --plan ring2 --machine 8xh200-sxm --json");
    let (usual, own) = (
        json(&asked),
        json(&[&asked[..], &["--profile", path(&folder)]].concat()),
    );
    assert_ne!(usual, own);
}

#[test]
fn a_profile_of_another_gpu_or_of_a_processor_is_refused() {
    let folder = made_up();
    for command in [
        &["plan"][..],
        &["simulate", "--plan", "ring4"],
        &["sweep", "--vary", "steps=4"],
    ] {
        let with = |profile: &str| refused(&[command, &["--profile", profile]].concat());
        let other = with(path(&folder));
        assert!(
            other.contains("is a profile of H200-SXM, but") && other.contains("has L20"),
            "{other}"
        );
        let processor = with(&data("profile-cpu-toy"));
        assert!(processor.contains("device cpu"), "{processor}");
        let absent = with("no-such-folder");
        assert!(absent.contains("ditplan calibrate --out DIR"), "{absent}");
    }
    let gemm = folder.path().join("gemm.csv");
    let text = fs::read_to_string(&gemm).unwrap();
    let asked = [
        "plan",
        "--machine",
        "8xh200-sxm",
        "--profile",
        path(&folder),
    ];
    for (wrong, said) in [
        (
            text.replacen("latency_us", "time", 1),
            "column \"latency_us\" is missing",
        ),
        (
            text.replacen(",20,", ",-20,", 1).replacen(
                "bfloat16,torch_linear,64,3072,3072,",
                "bfloat16,torch_linear,64,3072,3072,-",
                1,
            ),
            "line 2",
        ),
        (text[..text.len() - 20].to_owned(), "the line is cut short"),
        (
            text.replace("h200_sxm", "a100_sxm"),
            "a profile holds one GPU",
        ),
    ] {
        fs::write(&gemm, wrong).unwrap();
        let sentence = refused(&asked);
        assert!(
            sentence.contains(said) && sentence.contains("gemm.csv"),
            "{sentence}"
        );
    }
}

#[test]
fn the_files_of_a_profile_are_validated_as_they_are() {
    let folder = made_up();
    for (flag, tier, file, rows) in [
        ("--gemm", "gemm", "gemm.csv", 96),
        ("--attention", "attention", "attention.csv", 1),
    ] {
        let file = folder.path().join(file).display().to_string();
        let report = json(&["validate", flag, &file, "--json"]);
        let tier = &report["tiers"][tier];
        assert_eq!(
            (tier["n"].as_u64(), tier["mapped"].as_u64()),
            (Some(rows), Some(rows))
        );
    }
    // A processor's rows are listed with the reason.
    let file = format!("{}/gemm.csv", data("profile-cpu-toy"));
    let report = json(&["validate", "--gemm", &file, "--json"]);
    assert_eq!(report["tiers"]["gemm"]["mapped"], 0);
    let reason = report["tiers"]["gemm"]["unmapped"][0]["reason"]
        .as_str()
        .unwrap();
    assert!(reason.contains("float32"), "{reason}");
}

#[test]
fn live_runs_are_compared_with_the_same_plans_simulated() {
    let (runs, profile) = (data("live-cpu-toy"), data("profile-cpu-toy"));
    let asked = ["validate", "--timeline", &runs, "--profile", &profile];
    let live = &json(&[&asked[..], &["--json"]].concat())["tiers"]["live"];
    assert_eq!(
        (live["n"].as_u64(), live["mapped"].as_u64()),
        (Some(7), Some(7))
    );
    for key in ["median_pct", "p90_pct"] {
        assert!(live[key].as_f64().unwrap().is_finite(), "{live}");
    }
    assert_eq!(live["exposed_communication"][0]["name"], "all");
    assert!(live["runs"][0]["classes_us"]["linear"].is_array());
    let folder = tempfile::tempdir().unwrap();
    let page = printed(&[&asked[..], &["--report", path(&folder)]].concat());
    for part in [
        "live runs, makespan",
        "exposed communication",
        "strategy ring",
        "processor (cpu)",
        "toy profile",
    ] {
        assert!(page.contains(part), "{part}\n{page}");
    }
    let report = fs::read_to_string(folder.path().join("validation.md")).unwrap();
    assert!(
        report.contains("## Live runs") && report.contains("| toy-ring2 | ring2 | eager | 3 |"),
        "{report}"
    );
    assert!(folder.path().join("live-classes.svg").is_file());
}

#[test]
fn one_run_may_be_named_by_its_file_and_several_in_turn() {
    let profile = data("profile-cpu-toy");
    let (file, folder) = (
        data("live-cpu-toy/toy-ring2/timeline.json"),
        data("live-cpu-toy/toy-none"),
    );
    let report = json(&[
        "validate",
        "--timeline",
        &file,
        "--timeline",
        &folder,
        "--profile",
        &profile,
        "--json",
    ]);
    assert_eq!(report["tiers"]["live"]["n"], 2);
}

#[test]
fn live_runs_that_cannot_be_compared_are_one_sentence() {
    let runs = data("live-cpu-toy");
    assert!(refused(&["validate", "--timeline", &runs]).contains("give a profile of it"));
    assert!(refused(&["validate", "--timeline", "no-such-folder"]).contains("holds no run"));
    let folder = made_up();
    let sentence = refused(&["validate", "--timeline", &runs, "--profile", path(&folder)]);
    assert!(sentence.contains("processor (cpu)"), "{sentence}");
}

#[test]
fn a_profile_is_summed_up() {
    let page = printed(&["calibrate", "--summary", &data("profile-cpu-toy")]);
    for part in [
        "matrix products",
        "copies",
        "toy profile",
        "processor (cpu)",
    ] {
        assert!(page.contains(part), "{part}\n{page}");
    }
    let folder = made_up();
    let summary = json(&["calibrate", "--summary", path(&folder), "--json"]);
    assert_eq!(summary["parts"][0]["points"], 96);
    assert!(
        summary["parts"][0]["built_in"]["median_pct"]
            .as_f64()
            .unwrap()
            > 50.0
    );
    assert!(refused(&["calibrate", "--summary", "no-such-folder"]).contains("profile.json"));
}

/// A stand-in for Python: `-c` (the check) ends with `check`; else `then` runs, with OUT the third argument's next.
#[cfg(unix)]
fn python(folder: &TempDir, check: i32, then: &str) -> PathBuf {
    use std::os::unix::fs::PermissionsExt;
    let path = folder.path().join("python");
    let script = format!("#!/bin/sh\nif [ \"$1\" = -c ]; then exit {check}; fi\nOUT=$4\n{then}\n");
    fs::write(&path, script).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path
}

#[cfg(unix)]
#[test]
fn calibrating_runs_the_python_side_and_sums_up() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("profile");
    let copy = format!(
        "echo points >&2; cp -r '{}' \"$OUT\"; echo \"$@\" > '{}/given'",
        data("profile-cpu-toy"),
        path(&folder)
    );
    let python = python(&folder, 0, &copy);
    let asked = [
        "calibrate",
        "--out",
        out.to_str().unwrap(),
        "--python",
        python.to_str().unwrap(),
    ];
    let output = ditplan(&asked)
        .args(words(
            "--device cpu --toy --parts gemm,copies --budget-s 5 --json",
        ))
        .assert()
        .success()
        .get_output()
        .clone();
    let summary: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(summary["processor"], true);
    assert!(
        String::from_utf8_lossy(&output.stderr).contains("points"),
        "progress is passed on"
    );
    let given = fs::read_to_string(folder.path().join("given")).unwrap();
    let wanted = "--device cpu --parts gemm,copies --budget-s 5 --toy";
    assert!(
        given.starts_with("-m ditplan_capture.calibrate --out") && given.contains(wanted),
        "{given}"
    );
}

#[cfg(unix)]
#[test]
fn calibrating_without_python_or_its_module_says_how_to_get_them() {
    let folder = tempfile::tempdir().unwrap();
    let sentence = |python: &str| refused(&["calibrate", "--out", "x", "--python", python]);
    assert!(sentence("no-such-python").contains("pip install ./traces/capture"));
    let lacking = python(&folder, 3, "");
    assert!(sentence(lacking.to_str().unwrap()).contains("no ditplan_capture"));
    let broken = python(&folder, 1, "");
    assert!(sentence(broken.to_str().unwrap()).contains("does not run Python"));
    let failed = python(&folder, 0, "exit 2");
    assert!(sentence(failed.to_str().unwrap()).contains("exit code 2"));
    let stopped = python(&folder, 0, "exit 130");
    let asked = [
        "calibrate",
        "--out",
        "x",
        "--python",
        stopped.to_str().unwrap(),
    ];
    let output = crate::ditplan(&asked)
        .assert()
        .code(130)
        .get_output()
        .clone();
    assert!(String::from_utf8_lossy(&output.stderr).contains("keeps what was measured"));
}
