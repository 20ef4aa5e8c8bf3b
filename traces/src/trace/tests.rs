//! What is written is read; what is broken is named. Every broken trace differs by one thing from one
//! that is right.

use std::fs;
use std::path::{Path, PathBuf};

use half::f16;
use tempfile::TempDir;

use super::*;
use crate::testing::{manifest, synthetic, values};

/// A trace of 2 samples, 3 layers and 4 steps.
fn trace() -> (TempDir, Trace) {
    let folder = tempfile::tempdir().unwrap();
    let trace = synthetic(folder.path().join("trace"), &manifest(2, 3, 4)).unwrap();
    (folder, trace)
}

fn shard(trace: &Trace, step: u32) -> PathBuf {
    trace.path(&trace.manifest().shard_name(step as usize))
}

/// Changes the text of the manifest.
fn edit(directory: &Path, from: &str, to: &str) {
    let path = directory.join("manifest.json");
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.contains(from), "{from} in {text}");
    fs::write(path, text.replacen(from, to, 1)).unwrap();
}

/// Changes bytes of a file.
fn patch(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fs::read(path).unwrap();
    change(&mut bytes);
    fs::write(path, bytes).unwrap();
}

#[test]
fn what_is_written_is_read_to_the_bit() {
    let (_folder, trace) = trace();
    let manifest = trace.manifest();
    assert_eq!(trace.steps(), [0, 1, 2, 3]);
    assert_eq!(manifest.shape().dimensions(), [2, 16, 2, 8]);
    for step in trace.steps() {
        let view = trace.step(step).unwrap();
        for layer in 0..3 {
            for tensor in Tensor::ALL {
                let written: Vec<f16> = values(manifest, step, layer, tensor)
                    .into_iter()
                    .map(f16::from_f32)
                    .collect();
                let view = view.tensor(layer, tensor).unwrap();
                let samples = (0..2).flat_map(|sample| view.sample(sample).to_vec::<f16>());
                assert_eq!(samples.collect::<Vec<f16>>(), written);
            }
        }
    }
    trace.verify(|_| ()).unwrap();
}

#[test]
fn rows_are_those_tokens_of_that_sample() {
    let (_folder, trace) = trace();
    let view = trace.step(2).unwrap();
    let view = view.tensor(1, Tensor::V).unwrap();
    let all: Vec<f32> = values(trace.manifest(), 2, 1, Tensor::V);
    let rows = view.rows(1, 4..7);
    assert_eq!((rows.rows, rows.channels), (3, 16));
    let expected = all[(16 + 4) * 16..(16 + 7) * 16].iter();
    let expected: Vec<f32> = expected.map(|x| f16::from_f32(*x).to_f32()).collect();
    assert_eq!(rows.to_vec::<f32>(), expected);
}

#[test]
fn every_element_type_is_read_back() {
    for dtype in Dtype::ALL {
        let folder = tempfile::tempdir().unwrap();
        let mut wanted = manifest(1, 1, 1);
        wanted.dtype = dtype;
        let trace = synthetic(folder.path(), &wanted).unwrap();
        let view = trace.step(0).unwrap();
        let read: Vec<f32> = view.tensor(0, Tensor::K).unwrap().sample(0).to_vec();
        for (read, written) in read.iter().zip(values(&wanted, 0, 0, Tensor::K)) {
            let error = f64::from((read - written).abs());
            assert!(error <= dtype.rounding() * f64::from(written.abs()));
        }
    }
}

#[test]
fn subsets_are_described_and_read() {
    let folder = tempfile::tempdir().unwrap();
    let mut wanted = manifest(3, 5, 6);
    wanted.recorded = Recorded {
        layers: vec![1, 4],
        steps: vec![0, 3, 5],
        heads: Some(vec![1]),
        tokens: Some((4, 10)),
        samples: Some(vec![2]),
    };
    let trace = synthetic(folder.path(), &wanted).unwrap();
    assert_eq!(trace.manifest().shape().dimensions(), [1, 6, 1, 8]);
    assert_eq!(trace.steps(), [0, 3, 5]);
    let view = trace.step(3).unwrap();
    assert!(view.tensor(4, Tensor::K).is_ok());
    let error = view.tensor(0, Tensor::K).unwrap_err().to_string();
    assert!(
        error.contains("no layer 0: ask for one of [1, 4]"),
        "{error}"
    );
    let error = trace.step(1).unwrap_err().to_string();
    assert!(
        error.contains("no step 1: ask for one of [0, 3, 5]"),
        "{error}"
    );
}

#[test]
fn a_truncated_shard_is_refused_and_the_steps_before_it_are_read() {
    let (_folder, trace) = trace();
    patch(&shard(&trace, 2), |bytes| bytes.truncate(500));
    let error = Trace::open(trace.directory()).unwrap_err();
    assert!(matches!(&error, TraceError::Truncated { file, .. } if file.contains("kv-00003")));
    let part = Trace::open_partial(trace.directory()).unwrap();
    assert_eq!(part.steps(), [0, 1]);
    assert!(part.step(2).is_err());
    part.verify(|_| ()).unwrap();
}

#[test]
fn a_missing_shard_is_refused_and_the_steps_before_it_are_read() {
    let (_folder, trace) = trace();
    fs::remove_file(shard(&trace, 3)).unwrap();
    let error = Trace::open(trace.directory()).unwrap_err();
    assert!(matches!(error, TraceError::Missing { .. }), "{error}");
    let part = Trace::open_partial(trace.directory()).unwrap();
    assert_eq!(part.steps(), [0, 1, 2]);
}

#[test]
fn an_altered_shard_is_found_by_its_checksum() {
    let (_folder, trace) = trace();
    patch(&shard(&trace, 1), |bytes| *bytes.last_mut().unwrap() ^= 1);
    let trace = Trace::open(trace.directory()).unwrap();
    let error = trace.verify(|_| ()).unwrap_err();
    assert!(matches!(&error, TraceError::Altered { file, .. } if file.contains("kv-00002")));
    patch(&shard(&trace, 1), |bytes| bytes.push(0));
    let error = Trace::open(trace.directory()).unwrap_err();
    assert!(matches!(error, TraceError::Altered { .. }), "{error}");
}

#[test]
fn a_writer_that_dies_leaves_a_partial_trace() {
    let folder = tempfile::tempdir().unwrap();
    let wanted = manifest(1, 2, 4);
    let mut writer = TraceWriter::create(folder.path(), wanted.clone()).unwrap();
    let failure = || TraceError::Exists {
        directory: String::new(),
    };
    for step in 0..2 {
        writer
            .step(|layer, tensor, out| {
                let values = values(&wanted, step, layer, tensor);
                crate::testing::put(wanted.dtype, &values, out);
                Ok(())
            })
            .unwrap();
    }
    writer.step(|_, _, _| Err(failure())).unwrap_err();
    drop(writer);
    let error = Trace::open(folder.path()).unwrap_err().to_string();
    assert!(error.contains("partial trace, 2 of 4 steps") && error.contains("--partial"));
    let part = Trace::open_partial(folder.path()).unwrap();
    assert_eq!(part.steps(), [0, 1]);
    let files = fs::read_dir(folder.path()).unwrap().count();
    assert_eq!(files, 3, "the step that failed leaves no file");
}

#[test]
fn a_partial_trace_without_a_step_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    drop(TraceWriter::create(folder.path(), manifest(1, 1, 2)).unwrap());
    let error = Trace::open_partial(folder.path()).unwrap_err();
    assert!(matches!(error, TraceError::NoSteps { .. }), "{error}");
}

#[test]
fn another_type_or_shape_than_the_manifest_says_is_named_with_the_tensor() {
    let (_folder, trace) = trace();
    edit(trace.directory(), "\"float16\"", "\"bfloat16\"");
    let error = Trace::open(trace.directory()).unwrap_err().to_string();
    assert!(
        error.contains("layers.0.k: F16 where the manifest says bfloat16"),
        "{error}"
    );
    edit(trace.directory(), "\"bfloat16\"", "\"float16\"");
    edit(
        trace.directory(),
        "\"image_tokens\": 12",
        "\"image_tokens\": 11",
    );
    let error = Trace::open(trace.directory()).unwrap_err().to_string();
    assert!(
        error.contains("[2, 16, 2, 8] where the manifest says [2, 15, 2, 8]"),
        "{error}"
    );
}

#[test]
fn a_shard_of_another_step_or_layer_is_refused() {
    let (_folder, trace) = trace();
    for (from, to, what) in [
        (
            r#""step":"0""#,
            r#""step":"1""#,
            "it is marked 1, not step 0",
        ),
        ("layers.2.v", "layers.9.v", "tensor layers.2.v is not in it"),
    ] {
        patch(&shard(&trace, 0), |bytes| {
            let at = bytes
                .windows(from.len())
                .position(|part| part == from.as_bytes());
            let at = at.unwrap();
            bytes[at..at + to.len()].copy_from_slice(to.as_bytes());
        });
        let error = Trace::open(trace.directory()).unwrap_err().to_string();
        assert!(error.contains(what), "{error}");
        patch(&shard(&trace, 0), |bytes| {
            let at = bytes
                .windows(to.len())
                .position(|part| part == to.as_bytes());
            let at = at.unwrap();
            bytes[at..at + to.len()].copy_from_slice(from.as_bytes());
        });
    }
    assert!(Trace::open(trace.directory()).is_ok());
}

#[test]
fn a_faulty_manifest_is_told_with_its_key() {
    for (from, to, words) in [
        (
            "\"version\": 1",
            "\"version\": 7",
            &["version 7", "reads ditplan-trace version 1"][..],
        ),
        ("ditplan-trace", "other", &["format \"other\""]),
        (
            "\"heads\": 2",
            "\"heads\": \"two\"",
            &["key \"model.heads\"", "expected u32"],
        ),
        (
            "\"layers\": 3",
            "\"layerz\": 3",
            &["unknown field `layerz`"],
        ),
        (
            "\"head_dim\": 8",
            "\"head_dim\": 0",
            &["key \"model.head_dim\"", "between 1"],
        ),
        (
            "\"sigmas\": [",
            "\"sigmas\": [9.0,",
            &["key \"sampler.sigmas\"", "one more"],
        ),
        (
            "\"sigmas\": [",
            "\"response\": {\"levels\": [1], \"weights\": [], \"source\": \"\"}, \"sigmas\": [",
            &["key \"sampler.response\"", "1 levels and 0 weights"],
        ),
        (
            "\"steps\": [\n      0,",
            "\"steps\": [\n      5,",
            &["key \"recorded.steps\""],
        ),
        ("\"bytes\": ", "\"bytes\": -", &["key \"files[0].bytes\""]),
        (
            "\"sha256\": \"",
            "\"sha256\": \"x",
            &["key \"files[0].sha256\"", "hexadecimal"],
        ),
        (
            "\"name\": \"kv-00001",
            "\"name\": \"../kv-00001",
            &["key \"files\"", "plain name"],
        ),
        (
            "\"step\": 1",
            "\"step\": 2",
            &["key \"files\"", "shards of steps [0, 2, 2, 3]"],
        ),
    ] {
        let (_folder, trace) = trace();
        edit(trace.directory(), from, to);
        let error = Trace::open(trace.directory()).unwrap_err().to_string();
        for word in words.iter().chain([&"manifest.json", &": "]) {
            assert!(error.contains(word), "{word} in: {error}");
        }
    }
}

#[test]
fn a_manifest_cut_in_the_middle_and_a_directory_without_one_are_refused() {
    let (folder, trace) = trace();
    patch(&trace.path("manifest.json"), |bytes| bytes.truncate(400));
    let error = Trace::open(trace.directory()).unwrap_err();
    assert!(matches!(error, TraceError::Key { .. }), "{error}");
    let error = Trace::open(folder.path()).unwrap_err();
    assert!(matches!(error, TraceError::NotATrace { .. }), "{error}");
}

#[test]
fn a_trace_is_never_written_over_another() {
    let (_folder, trace) = trace();
    let error = synthetic(trace.directory(), &manifest(1, 1, 1)).unwrap_err();
    assert!(matches!(error, TraceError::Exists { .. }), "{error}");
}

#[test]
fn a_file_put_into_a_trace_is_checked_like_the_others() {
    let (_folder, mut trace) = trace();
    trace.put("notes.txt", b"first").unwrap();
    trace.put("notes.txt", b"second").unwrap();
    let again = Trace::open(trace.directory()).unwrap();
    assert_eq!(again.manifest(), trace.manifest());
    again.verify(|_| ()).unwrap();
    fs::write(again.path("notes.txt"), b"thirds").unwrap();
    assert!(again.verify(|_| ()).is_err());
}

#[test]
fn not_a_number_is_found_where_it_stands() {
    let (_folder, trace) = trace();
    let at = {
        let view = trace.step(1).unwrap();
        let view = view.tensor(2, Tensor::V).unwrap();
        assert!(view.sample(1).non_finite().is_none());
        let file = fs::read(shard(&trace, 1)).unwrap();
        file.len() - view.bytes.len() / 2 + 2 * 37
    };
    patch(&shard(&trace, 1), |bytes| bytes[at + 1] = 0x7e);
    let view = trace.step(1).unwrap();
    let view = view.tensor(2, Tensor::V).unwrap();
    assert!(view.sample(0).non_finite().is_none());
    let found = view.sample(1).non_finite().unwrap();
    assert_eq!(found.index, 37);
    assert!(found.value.is_nan());
}

/// What `ditplan_capture` writes; the statistics in it are PyTorch's, in several gzip members.
#[test]
fn a_trace_of_the_capture_package_is_read_and_its_statistics_hold() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/capture/tests/data/tiny.trace");
    let trace = Trace::open(path).unwrap();
    trace.verify(|_| ()).unwrap();
    let manifest = trace.manifest();
    assert_eq!(
        (manifest.model.text(), manifest.model.image()),
        (0..8, 8..24)
    );
    assert_eq!(trace.steps(), [0, 1, 2]);
    let written: Vec<Statistic> = trace.rows().unwrap().expect("statistics are there");
    assert_eq!(written.len(), 2 * 3 * 2 * 2);
    let mut before = None;
    for step in trace.steps() {
        let view = trace.step(step).unwrap();
        for (layer, tensor) in (0..2).flat_map(|layer| Tensor::ALL.map(|tensor| (layer, tensor))) {
            for row in measure(&view, before.as_ref(), layer, tensor).unwrap() {
                let key = |other: &&Statistic| {
                    let key = |row: &Statistic| (row.sample, row.step, row.layer, row.tensor);
                    key(other) == key(&row)
                };
                let found = written.iter().find(key).expect("every tensor has a row");
                assert_eq!(found.differs(&row, manifest.dtype), None);
            }
        }
        before = Some(view);
    }
}
