//! Where `unsafe` may stand: two modules, each use with its reason; everything else forbids it.

use std::fs;
use std::path::{Path, PathBuf};

/// The modules with `unsafe`, and what for.
const UNSAFE: [(&str, &str); 2] = [
    (
        "kernels/src/cuda/device.rs",
        "CUDA: launches, and loading its libraries",
    ),
    ("traces/src/trace/mapping.rs", "a file in memory"),
];
/// Crates whose lint is `deny`, so that those modules can allow it; in the others it is `forbid`.
const DENY: [&str; 2] = ["kernels", "traces"];

fn here() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Every Rust file of a directory and below, but for what was built there.
fn sources(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).into_iter().flatten() {
        let path = entry.expect("an entry").path();
        if path.ends_with("target") {
            continue;
        }
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            found.push(path);
        }
    }
}

/// The members of the workspace, as its file lists them.
fn members() -> Vec<String> {
    let text = fs::read_to_string(here().join("Cargo.toml")).expect("the workspace");
    let line = text
        .lines()
        .find(|line| line.starts_with("members"))
        .expect("members");
    line.split('"')
        .skip(1)
        .step_by(2)
        .map(str::to_owned)
        .collect()
}

#[test]
fn unsafe_stands_in_two_modules_with_its_reasons() {
    let mut files = Vec::new();
    for member in members() {
        sources(&here().join(&member), &mut files);
    }
    assert!(files.len() > 200, "{} files", files.len());
    let mut found = Vec::new();
    for path in files {
        let text = fs::read_to_string(&path).expect("text");
        let lines: Vec<&str> = text.lines().collect();
        let code = |line: &str| line.split("//").next().unwrap_or_default().to_owned();
        let uses = |line: &&str| {
            let code = code(line);
            code.contains("unsafe {") || code.contains("unsafe fn") || code.contains("unsafe impl")
        };
        let name = path
            .strip_prefix(here())
            .expect("inside")
            .display()
            .to_string();
        for (index, _) in lines.iter().enumerate().filter(|(_, line)| uses(line)) {
            let before = &lines[index.saturating_sub(6)..index];
            assert!(
                before.iter().any(|line| line.contains("// SAFETY:")),
                "{name}:{}",
                index + 1
            );
        }
        if lines.iter().any(uses) || text.contains("allow(unsafe_code)") {
            found.push(name);
        }
    }
    found.sort();
    assert_eq!(found, UNSAFE.map(|(file, _)| file.to_owned()));
}

#[test]
fn every_crate_forbids_unsafe_or_denies_it() {
    let workspace = fs::read_to_string(here().join("Cargo.toml")).expect("the workspace");
    assert!(workspace.contains("unsafe_code = \"forbid\""));
    for member in members() {
        let text = fs::read_to_string(here().join(&member).join("Cargo.toml")).expect("a crate");
        let wanted = match DENY.contains(&member.as_str()) {
            true => "[lints.rust]\nunsafe_code = \"deny\"",
            false => "[lints]\nworkspace = true",
        };
        assert!(text.contains(wanted), "{member}");
    }
}
