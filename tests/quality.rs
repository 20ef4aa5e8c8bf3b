//! A compressor per layer under a quality budget, from the repository's own trace.

use std::fs;

use serde_json::Value;

use crate::wrong_input::{complaint, says};
use crate::{json, refused, words};

/// The repository's trace of dit-digits, 28 steps.
const TRACE: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../traces/data/dit-digits/28steps"
);

/// A ring over a slow network, where messages decide.
fn budgeted(budget: &str, more: &[&str]) -> Value {
    let mut arguments = vec![
        "plan",
        "--model",
        "dit-digits",
        "--machine",
        "4x-emulated-ethernet",
        "--batch",
        "64",
        "--strategy",
        "ring4",
        "--json",
        "--budget",
        budget,
    ];
    arguments.extend(more);
    json(&arguments)
}

#[test]
fn a_budget_is_kept_by_the_bound_and_a_looser_one_is_no_slower() {
    let mut last = f64::INFINITY;
    for (db, budget) in [(60.0, "psnr>=60"), (50.0, "psnr>=50"), (40.0, "psnr>=40")] {
        let answer = budgeted(budget, &[]);
        let choice = &answer["choice"];
        if let Some(lowest) = choice["quality"]["psnr_lo_db"].as_f64() {
            assert!(lowest >= db - 1e-6, "{budget}: {lowest}");
        }
        let latency = choice["latency_s"].as_f64().unwrap();
        assert!(latency <= last, "{budget}");
        last = latency;
    }
}

#[test]
fn compressors_per_layer_beat_one_everywhere_with_a_proof() {
    let answer = budgeted("psnr>=50", &[]);
    let (choice, spent) = (&answer["choice"], &answer["budget"]);
    assert!(
        choice["compressor"].as_str().unwrap().starts_with("mixed("),
        "{choice}"
    );
    assert!(spent["per_layer"]["gap"].as_f64().unwrap() <= 1e-3);
    let uniform = spent["uniform"].as_array().unwrap();
    let kept = uniform.iter().filter(|one| one["keeps"] == true);
    let best = kept
        .map(|one| one["latency_s"].as_f64().unwrap())
        .fold(f64::INFINITY, f64::min);
    assert!(choice["latency_s"].as_f64().unwrap() * 1.05 < best);
    // Less error is more time, all along the frontier.
    let frontier = spent["per_layer"]["frontier"].as_array().unwrap();
    let figure = |point: &Value, key: &str| point[key].as_f64().unwrap();
    for pair in frontier.windows(2) {
        assert!(figure(&pair[0], "latency_s") >= figure(&pair[1], "latency_s"));
        assert!(figure(&pair[0], "rel_l2") <= figure(&pair[1], "rel_l2"));
    }
}

/// Points of the frontier that are one compressor everywhere have the time of its closed form and its error; raw is
/// one, and no compressor everywhere is below the frontier.
#[test]
fn the_frontier_holds_what_one_compressor_does() {
    let answer = budgeted("psnr>=50", &[]);
    let spent = &answer["budget"];
    let frontier = spent["per_layer"]["frontier"].as_array().unwrap();
    let figure = |of: &Value, key: &str| of[key].as_f64().unwrap();
    let mut met = Vec::new();
    for one in spent["uniform"].as_array().unwrap() {
        let (latency, deviation) = (figure(one, "latency_s"), figure(one, "rel_l2"));
        let of_error = |point: &&Value| (figure(point, "rel_l2") - deviation).abs() <= 1e-12;
        if let Some(point) = frontier.iter().find(of_error) {
            assert!(
                (figure(point, "latency_s") / latency - 1.0).abs() < 1e-6,
                "{one}"
            );
            met.push(one["compressor"].as_str().unwrap());
        }
        let below = frontier.windows(2).any(|pair| {
            let inside =
                (figure(&pair[0], "rel_l2")..figure(&pair[1], "rel_l2")).contains(&deviation);
            inside && latency < figure(&pair[1], "latency_s") * (1.0 - 1e-9)
        });
        assert!(!below, "{one}");
        let limit = figure(spent, "rel_l2_limit");
        assert_eq!(one["keeps"], deviation <= limit * (1.0 + 1e-9), "{one}");
    }
    assert!(met.contains(&"raw") && met.len() > 1, "{met:?}");
    let source = answer["choice"]["quality"]["source"].as_str().unwrap();
    assert!(source.contains("predicted from"), "{source}");
}

#[test]
fn phases_are_no_slower_than_layers() {
    let layers = budgeted("psnr>=50", &[]);
    let phases = budgeted("psnr>=50", &["--per", "phase"]);
    let latency = |answer: &Value| answer["choice"]["latency_s"].as_f64().unwrap();
    assert!(latency(&phases) <= latency(&layers) * (1.0 + 1e-9));
}

#[test]
fn a_small_gain_stays_uniform_and_says_so() {
    let answer = json(&words(
        "plan --model dit-digits --batch 64 --strategy ring4 --json --budget psnr>=60",
    ));
    let compressor = answer["choice"]["compressor"].as_str().unwrap();
    assert!(!compressor.starts_with("mixed("), "{compressor}");
    let findings = answer["findings"].to_string();
    assert!(findings.contains("less than the 5 %"), "{findings}");
}

#[test]
fn an_assignment_is_written_for_the_hook() {
    let assignment = json(&words(
        "plan --model dit-digits --machine 4x-emulated-ethernet --batch 64 --strategy ring4 \
        --budget psnr>=50 --emit assignment",
    ));
    assert_eq!(assignment["ranks"], 4);
    assert_eq!(assignment["strategy"], "ring");
    assert_eq!(assignment["layers"].as_array().unwrap().len(), 8);
    assert_eq!(assignment["phases"][0], 0);
}

#[test]
fn replaying_the_committed_layers_gives_their_committed_errors() {
    let replayed = json(&["replay", TRACE, "--compressors", "1bit,int4", "--json"]);
    let row = |compressor: &str, tensor: &str| {
        let rows = replayed["summary"].as_array().unwrap();
        let own = |row: &&Value| row["compressor"] == compressor && row["tensor"] == tensor;
        rows.iter().find(own).unwrap().clone()
    };
    // Near the published .58 on FLUX; int4's errors are fresh at every step, those of 1 bit persist.
    let one = row("1bit", "k");
    assert!(
        (0.45..0.70).contains(&one["contraction"].as_f64().unwrap()),
        "{one}"
    );
    assert!(one["persistence"].as_f64().unwrap() > 3.0);
    assert!(row("int4", "v")["persistence"].as_f64().unwrap() < 1.5);
}

#[test]
fn predictions_come_out_on_runs_that_did_not_fit() {
    let [eight, four] = [8, 4].map(|steps| TRACE.replace("28steps", &format!("{steps}steps")));
    let quality = json(&[
        "trace",
        "quality",
        TRACE,
        "--steps-of",
        &eight,
        "--steps-of",
        &four,
        "--json",
    ]);
    // What is asked for (docs/quality.md); D are runs drawn and made after the model was settled.
    for (prompts, ranks, steps, median) in [
        ("B", 4, 28, 10.0),
        ("D", 4, 28, 10.0),
        ("B", 4, 8, 10.0),
        ("D", 4, 8, 10.0),
        ("B", 2, 28, 15.0),
        ("B", 8, 28, 15.0),
        ("D", 8, 28, 15.0),
    ] {
        let groups = quality["groups"].as_array().unwrap();
        let wanted = |group: &&Value| {
            group["purpose"] == "mixed"
                && group["prompts"] == prompts
                && group["ranks"] == ranks
                && group["steps"] == steps
        };
        let group = groups.iter().find(wanted).unwrap();
        assert!(group["median_pct"].as_f64().unwrap() <= median, "{group}");
        assert!(group["ordered_pct"].as_f64().unwrap() >= 95.0, "{group}");
        assert_eq!(group["over_bound"], 0, "{group}");
    }
}

#[test]
fn a_trace_of_fewer_steps_must_weigh_errors_alike() {
    let folder = tempfile::tempdir().unwrap();
    let eight = TRACE.replace("28steps", "8steps");
    for file in fs::read_dir(&eight).unwrap() {
        let file = file.unwrap().path();
        fs::copy(&file, folder.path().join(file.file_name().unwrap())).unwrap();
    }
    let manifest = folder.path().join("manifest.json");
    let text = fs::read_to_string(&manifest).unwrap();
    let changed = text.replacen("0.92857", "0.92858", 1);
    assert_ne!(text, changed);
    fs::write(&manifest, changed).unwrap();
    let path = folder.path().to_str().unwrap();
    let sentence = refused(&["trace", "quality", TRACE, "--steps-of", path]);
    for word in ["sampler.response", "step_response", "--save"] {
        assert!(sentence.contains(word), "{sentence}");
    }
}

#[test]
fn what_a_trace_cannot_say_is_refused() {
    for (arguments, said) in [
        (vec!["plan", "--budget", "psnr>=30"], "--trace DIR"),
        (vec!["plan", "--budget", "psnr<=30"], "psnr>=30"),
        (vec!["plan", "--trace", TRACE], "FLUX.1-dev"),
        (
            words("plan --model dit-digits --steps 8 --budget psnr>=30"),
            "recorded trace",
        ),
        (
            vec![
                "plan",
                "--model",
                "dit-digits",
                "--trace",
                TRACE,
                "--steps",
                "8",
            ],
            "--steps 28",
        ),
        (
            vec![
                "plan",
                "--model",
                "dit-digits",
                "--trace",
                TRACE,
                "--size",
                "64x64",
            ],
            "tokens",
        ),
        (vec!["replay", TRACE, "--ranks", "3"], "divide"),
        (vec!["replay", TRACE, "--compressors", "3bit"], "3bit"),
        (vec!["replay", TRACE, "--warmup", "28"], "28 steps"),
        (vec!["replay", "nowhere"], "not a trace"),
        (vec!["plan", "--strategy", "spiral4"], "spiral4"),
    ] {
        says(&complaint(&arguments), &[said]);
    }
}
