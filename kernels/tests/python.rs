//! The Python package's compressors write the same bytes: traces/capture/tests/golden/wire.json.

use half::f16;
use kernels::Compressor;
use kernels::wire::Shape;
use serde_json::Value;

const FILE: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../traces/capture/tests/golden/wire.json"
);

fn bytes(hexadecimal: &str) -> Vec<u8> {
    let pair = |at| u8::from_str_radix(&hexadecimal[at..at + 2], 16).expect("two digits");
    (0..hexadecimal.len()).step_by(2).map(pair).collect()
}

#[test]
fn messages_of_the_python_package_are_ours() {
    let text = std::fs::read_to_string(FILE).expect("the golden file is in the repository");
    let golden: Value = serde_json::from_str(&text).expect("it is JSON");
    let entries = golden.as_array().expect("it lists entries");
    assert!(entries.len() >= 5);
    for entry in entries {
        let size = |key: &str| entry[key].as_u64().expect("a size") as usize;
        let shape = Shape::new(size("rows"), size("channels"));
        let residual = bytes(entry["residual"].as_str().expect("hexadecimal digits"));
        let residual: Vec<f32> = residual
            .chunks_exact(2)
            .map(|pair| f16::from_le_bytes([pair[0], pair[1]]).to_f32())
            .collect();
        for (name, message) in entry["messages"].as_object().expect("messages by name") {
            let compressor: Compressor = name.parse().expect("a compressor");
            let ours = compressor.encode(&residual, shape).expect("finite numbers");
            let theirs = bytes(message.as_str().expect("hexadecimal digits"));
            assert_eq!(
                ours.0,
                theirs,
                "{name}, {} x {}",
                shape.rows(),
                shape.channels()
            );
        }
    }
}
