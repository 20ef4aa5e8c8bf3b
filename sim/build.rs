//! Lists the model files, so that a file in `sim/models` is all that a built-in model needs.

use std::path::Path;
use std::{env, fs};

fn main() {
    let folder = Path::new(&env::var("CARGO_MANIFEST_DIR").expect("cargo says where it builds"))
        .join("models");
    println!("cargo::rerun-if-changed={}", folder.display());
    let entries = fs::read_dir(&folder).expect("sim/models is a folder");
    let names = entries.map(|entry| {
        entry
            .expect("sim/models can be read")
            .file_name()
            .into_string()
    });
    let mut names: Vec<String> = names.map(|name| name.expect("names are ASCII")).collect();
    names.retain(|name| name.ends_with(".toml"));
    names.sort_by(|a, b| a.trim_end_matches(".toml").cmp(b.trim_end_matches(".toml")));
    let line = |name: &String| format!("    ({name:?}, include_str!({:?})),\n", folder.join(name));
    let list: String = names.iter().map(line).collect();
    let code =
        format!("/// Names and texts.\npub(super) const FILES: &[(&str, &str)] = &[\n{list}];\n");
    let out = env::var("OUT_DIR").expect("cargo says where to write");
    fs::write(Path::new(&out).join("models.rs"), code).expect("the build folder can be written");
}
