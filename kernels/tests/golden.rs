//! The committed vectors for other implementations are what this code makes.

#[allow(dead_code, reason = "its main writes the file")]
#[path = "../examples/golden_vectors.rs"]
mod golden_vectors;

#[test]
fn the_committed_vectors_are_made_by_this_code() {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../traces/capture/tests/golden/codecs.json"
    );
    let committed = std::fs::read_to_string(path).expect("it is committed");
    assert!(
        committed == golden_vectors::text(),
        "the wire formats changed: if that is meant, run `cargo run -p kernels --example golden_vectors` and say so in \
         CHANGELOG.md"
    );
}
