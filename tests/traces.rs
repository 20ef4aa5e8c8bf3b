//! `trace`: what a recorded run holds, whether it is whole, and parts of it.
//!
//! The traces here are synthetic and say so. A broken one differs by one thing from one that is right.

use std::fs;
use std::path::{Path, PathBuf};

use ::traces::testing::{manifest, put, statistics, synthetic, values};
use ::traces::trace::{Dtype, Tensor, Trace, TraceWriter};
use tempfile::TempDir;

use crate::wrong_input::{complaint, says};
use crate::{json, printed};

/// A right trace of 2 samples, 3 layers and 6 steps, with statistics.
fn right() -> (TempDir, Trace) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut trace =
        synthetic(folder.path().join("trace"), &manifest(2, 3, 6)).expect("it can be written");
    let rows = statistics(&trace).expect("it is finite");
    trace.put_rows(&rows).expect("it can be written");
    (folder, trace)
}

fn name(path: &Path) -> &str {
    path.to_str().expect("a UTF-8 path")
}

/// Changes the bytes of a shard.
fn patch(trace: &Trace, step: usize, change: impl FnOnce(&mut Vec<u8>)) {
    let path = trace.path(&trace.manifest().shard_name(step));
    let mut bytes = fs::read(&path).expect("a shard");
    change(&mut bytes);
    fs::write(path, bytes).expect("a shard");
}

/// Changes the text of the manifest.
fn edit(trace: &Trace, from: &str, to: &str) {
    let path = trace.path("manifest.json");
    let text = fs::read_to_string(&path).expect("a manifest");
    assert!(text.contains(from), "{from} is in the manifest");
    fs::write(path, text.replacen(from, to, 1)).expect("a manifest");
}

/// What `trace check` complains about.
fn check(trace: &Trace) -> String {
    complaint(&["trace", "check", name(trace.directory())])
}

#[test]
fn info_says_what_was_recorded_and_that_it_is_synthetic() {
    let (_folder, trace) = right();
    let page = printed(&["trace", "info", name(trace.directory())]);
    for words in [
        "synthetic noise, no model",
        "complete, 6 steps",
        "3 layers, 2 heads x 8, 4 text, then 12 image tokens",
        "layers 0-2; steps 0-5; all heads; all tokens; all samples",
        "float16, [2, 16, 2, 8] each",
        "6 shards",
        "stats.csv.gz",
    ] {
        assert!(page.contains(words), "{words} in\n{page}");
    }
    let answer = json(&["trace", "info", name(trace.directory()), "--json"]);
    assert_eq!(answer["manifest"]["model"]["architecture"], "synthetic");
    assert_eq!(answer["readable_steps"].as_array().map(Vec::len), Some(6));
    assert!(answer["defect"].is_null());
}

#[test]
fn a_right_trace_passes_every_check() {
    let (_folder, trace) = right();
    let page = printed(&["trace", "check", name(trace.directory())]);
    for words in [
        "is right",
        "7 files have their sizes and checksums",
        "6 of 6 steps",
        // 6 steps x 3 layers x K, V x 2 samples x 16 tokens x 2 heads x 8 channels
        "18432 numbers are finite",
        "72 rows of stats.csv.gz are what the tensors give",
    ] {
        assert!(page.contains(words), "{words} in\n{page}");
    }
    let answer = json(&["trace", "check", name(trace.directory()), "--json"]);
    assert_eq!(answer["finite_elements"], 18432);
    assert_eq!(answer["statistics_compared"], 72);
    assert_eq!(answer["notes"], serde_json::json!([]));
}

#[test]
fn a_file_that_nobody_vouches_for_is_noted() {
    let (_folder, trace) = right();
    fs::write(trace.path("notes.txt"), "mine").expect("a file");
    let page = printed(&["trace", "check", name(trace.directory())]);
    assert!(
        page.contains("note: notes.txt is not in the manifest"),
        "{page}"
    );
}

#[test]
fn a_truncated_shard_is_named_and_the_steps_before_it_are_read() {
    let (_folder, trace) = right();
    patch(&trace, 4, |bytes| bytes.truncate(bytes.len() - 3));
    says(
        &check(&trace),
        &["kv-00005-of-00006.safetensors is truncated", "--partial"],
    );
    let directory = name(trace.directory());
    let page = printed(&["trace", "check", directory, "--partial"]);
    assert!(page.contains("4 of 6 steps"), "{page}");
    let page = printed(&["trace", "info", directory]);
    assert!(page.contains("4 of 6 steps can be read"), "{page}");
}

#[test]
fn an_altered_shard_is_named() {
    let (_folder, trace) = right();
    patch(&trace, 2, |bytes| *bytes.last_mut().expect("a byte") ^= 4);
    let sentence = check(&trace);
    says(
        &sentence,
        &[
            "kv-00003-of-00006.safetensors was altered",
            "SHA-256",
            "copy it again",
        ],
    );
}

#[test]
fn a_missing_shard_is_named() {
    let (_folder, trace) = right();
    let shard = trace.path(&trace.manifest().shard_name(3));
    fs::remove_file(shard).expect("a shard");
    says(
        &check(&trace),
        &["kv-00004-of-00006.safetensors is missing", "copy it"],
    );
}

#[test]
fn an_unknown_version_is_named() {
    let (_folder, trace) = right();
    edit(&trace, "\"version\": 1", "\"version\": 2");
    says(
        &check(&trace),
        &[
            "manifest.json",
            "version 2",
            "reads ditplan-trace version 1",
        ],
    );
}

#[test]
fn another_element_type_is_named_with_its_tensor() {
    let (_folder, trace) = right();
    edit(&trace, "\"float16\"", "\"bfloat16\"");
    says(
        &check(&trace),
        &[
            "kv-00001-of-00006.safetensors",
            "layers.0.k",
            "F16 where the manifest says bfloat16",
        ],
    );
}

#[test]
fn a_key_that_is_wrong_is_named() {
    let (_folder, trace) = right();
    edit(
        &trace,
        "\"token_order\": \"text-first\"",
        "\"token_order\": \"text-last\"",
    );
    says(
        &check(&trace),
        &[
            "manifest.json, key \"model.token_order\"",
            "text-last",
            "correct it",
        ],
    );
}

#[test]
fn a_directory_that_is_no_trace_is_named() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let nowhere = folder.path().join("nowhere");
    for directory in [folder.path(), nowhere.as_path()] {
        let sentence = complaint(&["trace", "info", name(directory)]);
        says(
            &sentence,
            &[name(directory), "is not a trace", "manifest.json"],
        );
    }
}

/// Writes `steps` steps of a trace of 4, with one number of its own in step 1, layer 2, V.
fn half_written(steps: u32, number: Option<f32>) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("trace");
    let wanted = manifest(2, 3, 4);
    let mut writer = TraceWriter::create(&path, wanted.clone()).expect("it can be written");
    for step in 0..steps {
        writer
            .step(|layer, tensor, out| {
                let mut values = values(&wanted, step, layer, tensor);
                if let Some(number) = number.filter(|_| (step, layer, tensor) == (1, 2, Tensor::V))
                {
                    values[wanted.shape().sample() + 37] = number;
                }
                put(Dtype::Float16, &values, out);
                Ok(())
            })
            .expect("it can be written");
    }
    if steps == 4 {
        writer.finish().expect("it can be written");
    }
    (folder, path)
}

#[test]
fn a_half_written_trace_is_partial_and_can_be_read_when_asked_to() {
    let (_folder, path) = half_written(3, None);
    let sentence = complaint(&["trace", "check", name(&path)]);
    says(
        &sentence,
        &["is a partial trace, 3 of 4 steps", "--partial"],
    );
    let page = printed(&["trace", "stats", name(&path), "--partial"]);
    assert!(page.contains("K and V"), "{page}");
    let answer = json(&["trace", "check", name(&path), "--partial", "--json"]);
    assert_eq!(answer["steps"], serde_json::json!([0, 1, 2]));
    let notes = answer["notes"].to_string();
    assert!(notes.contains("there is no stats.csv.gz"), "{notes}");
}

#[test]
fn not_a_number_is_named_with_layer_step_and_index() {
    for (number, word) in [(f32::NAN, "NaN"), (f32::NEG_INFINITY, "-inf")] {
        let (_folder, path) = half_written(4, Some(number));
        let sentence = complaint(&["trace", "check", name(&path)]);
        let place = format!("{word} in V of layer 2, step 1, sample 1, element 37");
        says(
            &sentence,
            &[
                "kv-00002-of-00004.safetensors",
                &place,
                "record the trace again",
            ],
        );
    }
}

#[test]
fn statistics_that_the_tensors_do_not_give_are_named() {
    let (_folder, mut trace) = right();
    let mut rows = statistics(&trace).expect("it is finite");
    let row = rows
        .iter_mut()
        .find(|row| (row.sample, row.step, row.layer) == (1, 4, 2))
        .expect("a row");
    row.norm *= 1.1;
    trace.put_rows(&rows).expect("it can be written");
    let place = "norm of K, layer 2, step 4, sample 1";
    says(
        &check(&trace),
        &["stats.csv.gz", place, "where the activations give"],
    );
}

#[test]
fn statistics_are_printed_drawn_and_compared_with_flux() {
    let (folder, trace) = right();
    let directory = name(trace.directory());
    let page = printed(&["trace", "stats", directory, "--against-flux"]);
    for words in [
        "step",
        "K and V",
        "FLUX.1-dev: U-shaped, 0.462 at first",
        "mean 0.205",
    ] {
        assert!(page.contains(words), "{words} in\n{page}");
    }
    assert!(
        page.lines().all(|line| line.chars().count() <= 100),
        "{page}"
    );
    let page = printed(&["trace", "stats", directory, "--by-layer", "--layers", "0,2"]);
    assert!(
        page.contains("block.2") && !page.contains("block.1"),
        "{page}"
    );
    assert!(
        page.lines().all(|line| line.chars().count() <= 100),
        "{page}"
    );
    for ending in ["svg", "png"] {
        let picture = folder.path().join(format!("curve.{ending}"));
        printed(&["trace", "stats", directory, "--plot", name(&picture)]);
        assert!(fs::metadata(picture).expect("a picture").len() > 1000);
    }
}

#[test]
fn statistics_as_json_and_csv_are_those_of_the_table() {
    let (_folder, trace) = right();
    let directory = name(trace.directory());
    let answer = json(&["trace", "stats", directory, "--json", "--against-flux"]);
    let points = answer["points"].as_array().expect("a list");
    // Steps 1 to 5; K, V and both.
    assert_eq!(points.len(), 15);
    assert_eq!(answer["flux"].as_array().map(Vec::len), Some(27));
    let both = &points[0];
    assert!(both["tensor"].is_null() && both["tensors"] == 12);
    let ratio = both["residual_norm"].as_f64().expect("a number")
        / both["norm"].as_f64().expect("a number");
    assert!((both["ratio"].as_f64().expect("a number") - ratio).abs() < 1e-12);
    let table = printed(&["trace", "stats", directory, "--csv", "--by-layer"]);
    assert_eq!(table.lines().count(), 1 + 5 * 3 * 3);
    assert!(table.starts_with("step,layer,tensor,tensors,norm,residual_norm,ratio,cosine"));
}

#[test]
fn a_slice_is_a_trace_that_passes_every_check() {
    let (folder, trace) = right();
    let out = folder.path().join("slice");
    let page = printed(&[
        "trace",
        "slice",
        name(trace.directory()),
        "--out",
        name(&out),
        "--layers",
        "0,2",
        "--steps",
        "1-3",
        "--samples",
        "1",
        "--heads",
        "1",
        "--tokens",
        "4..10",
    ]);
    let words = "layers 0, 2; steps 1-3; heads 1; tokens 4..10; samples 1";
    assert!(page.contains(words), "{page}");
    let page = printed(&["trace", "check", name(&out)]);
    assert!(
        page.contains("3 of 3 steps") && page.contains("not compared"),
        "{page}"
    );
    let layers = folder.path().join("layers");
    let layer = ["--out", name(&layers), "--layers", "1"];
    printed(&[&["trace", "slice", name(trace.directory())][..], &layer].concat());
    let answer = json(&["trace", "check", name(&layers), "--json"]);
    assert_eq!(answer["statistics_compared"], 24);
}

#[test]
fn a_converted_trace_passes_every_check_and_comes_back() {
    let (folder, trace) = right();
    let [wide, back] = ["wide", "back"].map(|name| folder.path().join(name));
    for (from, to, dtype) in [
        (trace.directory(), &wide, "float32"),
        (wide.as_path(), &back, "float16"),
    ] {
        printed(&[
            "trace",
            "convert",
            name(from),
            "--out",
            name(to),
            "--dtype",
            dtype,
        ]);
        let answer = json(&["trace", "check", name(to), "--json"]);
        assert_eq!(answer["statistics_compared"], 72);
    }
    let back = Trace::open(back).expect("it was written");
    assert_eq!(back.manifest().files[..6], trace.manifest().files[..6]);
}

#[test]
fn what_cannot_be_kept_or_written_is_named() {
    let (folder, trace) = right();
    let out = folder.path().join("out");
    let slice = |more: &[&str]| {
        let start = [
            "trace",
            "slice",
            name(trace.directory()),
            "--out",
            name(&out),
        ];
        complaint(&[&start[..], more].concat())
    };
    says(
        &slice(&["--layers", "0,7"]),
        &["has no layer 7", "[0, 1, 2]"],
    );
    says(
        &slice(&["--layers", "2-1"]),
        &["--layers \"2-1\"", "0,3,5-7"],
    );
    says(&slice(&["--tokens", "9"]), &["--tokens \"9\"", "8..72"]);
    says(
        &slice(&["--tokens", "9..99"]),
        &["no tokens 9..99", "0..16"],
    );
    let convert = |out: &Path, dtype: &str| {
        let directory = name(trace.directory());
        complaint(&[
            "trace",
            "convert",
            directory,
            "--out",
            name(out),
            "--dtype",
            dtype,
        ])
    };
    says(
        &convert(&out, "fp8"),
        &["--dtype \"fp8\"", "float16, bfloat16, float32"],
    );
    let taken = trace.directory();
    says(
        &convert(taken, "float32"),
        &["is not empty", "give a new directory"],
    );
    let plot = complaint(&["trace", "stats", name(taken), "--plot", "curve.pdf"]);
    says(&plot, &["--plot curve.pdf", ".svg or .png"]);
}
