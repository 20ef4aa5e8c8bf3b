//! Every command in use, as one list: its answer and its files are the same bytes at any number of threads, in
//! repeated runs, and from two builds.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::words;

/// The repository.
pub(crate) const HERE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

/// One use of each command; `OUT` stands for an empty directory. A command that writes files writes each kind here.
pub(crate) const USES: &[&str] = &[
    "plan --json --top 5",
    "plan --model dit-digits --machine 4x-emulated-ethernet --batch 64 --strategy ring4 \
        --budget psnr>=50 --plot OUT/choice.svg",
    "simulate --plan ring4/1bit --steps 4 --timeline OUT/t.json --chakra OUT/chakra",
    "sweep --machine 4xL20@25GB/s --plan ulysses2 --plan ring4/1bit --vary \
        link.bandwidth=1GB/s..900GB/s:12:log --vary steps=20..28:3 --resume --out OUT/rows.csv \
        --plot OUT/rows.png",
    "sweep --tornado --steps 4 --exact --plot OUT/tornado.svg",
    "calibrate --summary tests/data/profile-cpu-toy",
    "validate --timeline tests/data/live-cpu-toy --profile tests/data/profile-cpu-toy \
        --report OUT/report",
    "compare ring4 ring4/1bit --json",
    "report --out OUT/page.html simulate --plan ulysses4 --steps 4",
    "replay traces/capture/tests/data/tiny.trace --ranks 2 --csv OUT/steps.csv --plot \
        OUT/errors.svg --json",
    "capacity --machine 8xh100-sxm --exact --rate 0.2/s --slo p95<=20s --requests 2000 --plot \
        OUT/load.svg --json",
    "trace info traces/capture/tests/data/tiny.trace --json",
    "trace check traces/capture/tests/data/tiny.trace --json",
    "trace stats traces/capture/tests/data/tiny.trace --plot OUT/norms.svg",
    "trace quality traces/data/dit-digits/28steps --json",
    "trace slice traces/capture/tests/data/tiny.trace --steps 0,1 --out OUT/part.trace",
    "trace convert traces/capture/tests/data/tiny.trace --dtype float32 --out OUT/wide.trace",
    "trace kineto traces/data/kineto/kineto-v100.json --timeline OUT/spans.json",
    "models --json",
    "models show SDXL",
    "machines --json",
    "machines import topologies/data/samples/topo-4xa100-pcie.txt --gpu A100-PCIE-80GB --out \
        OUT/box.toml",
    "machines export 8xh100-sxm --format nccl-xml --out OUT/box.xml",
    "calibrate --nccl-tests topologies/data/samples/nccl-tests-4xv100.txt --machine \
        topologies/machines/8xh100-sxm.toml --csv OUT/nccl.csv --out OUT/rates.toml",
    "gpus --json",
    "completions bash",
    "man --out OUT/man",
];

/// Commands without an answer that could be compared, and why.
const OTHERS: &[(&str, &str)] = &[
    (
        "serve",
        "ends when it is ended; tests/pages.rs and tests/load.rs ask it",
    ),
    ("cuda check", "needs a GPU"),
    ("cuda sweep", "needs a GPU"),
    ("cuda ptx", "needs NVIDIA's compiler"),
];

/// What a run leaves: standard output under an empty name, files by their path in `OUT`.
pub(crate) type Left = BTreeMap<PathBuf, Vec<u8>>;

/// The files of a directory and all below it; hidden ones, which nothing reads, are left out.
pub(crate) fn files(directory: &Path) -> Left {
    let mut found = Left::new();
    let mut open = vec![directory.to_owned()];
    while let Some(next) = open.pop() {
        for entry in fs::read_dir(&next).into_iter().flatten() {
            let path = entry.expect("an entry").path();
            let name = path.file_name().expect("a name").to_string_lossy();
            if path.is_dir() {
                open.push(path);
            } else if !name.starts_with('.') {
                let inside = path.strip_prefix(directory).expect("inside").to_owned();
                found.insert(inside, fs::read(&path).expect("bytes"));
            }
        }
    }
    found
}

/// The program as used here, its files going to `out`.
pub(crate) fn used(program: &Path, line: &str, out: &Path) -> Command {
    let out = out.to_str().expect("a UTF-8 path");
    let mut command = Command::new(program);
    command
        .current_dir(HERE)
        .args(words(line).iter().map(|word| word.replace("OUT", out)));
    command
}

/// Runs a use to its end in an emptied `out`.
fn left(program: &Path, line: &str, out: &Path, threads: u32) -> Left {
    let _ = fs::remove_dir_all(out);
    fs::create_dir_all(out).expect("a directory");
    let mut command = used(program, line, out);
    let ran = command
        .env("RAYON_NUM_THREADS", threads.to_string())
        .output();
    let ran = ran.expect("the program starts");
    let said = String::from_utf8_lossy(&ran.stderr);
    assert!(ran.status.success(), "{line}: {said}");
    let mut left = files(out);
    left.insert(PathBuf::new(), ran.stdout);
    left
}

fn same(one: &Left, other: &Left, line: &str, what: &str) {
    let names = |left: &Left| left.keys().cloned().collect::<BTreeSet<_>>();
    assert_eq!(names(one), names(other), "{line}, {what}");
    for (name, bytes) in one {
        assert!(
            bytes == &other[name],
            "{line}, {what}: \"{}\" (empty: standard output) differs",
            name.display()
        );
    }
}

pub(crate) fn program() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_ditplan"))
}

/// The commands of the program, as its manual has them: `trace check`.
fn commands() -> BTreeSet<String> {
    let folder = tempfile::tempdir().expect("a folder");
    let pages = left(program(), "man --out OUT", folder.path(), 1);
    let names = pages.keys().filter_map(|page| page.file_stem()?.to_str());
    let commands = names.filter_map(|name| name.strip_prefix("ditplan-"));
    let all: BTreeSet<String> = commands.map(str::to_owned).collect();
    // "trace-check" is "trace check"; a command with commands of its own has no answer, or is in the list itself.
    let parents = all.clone();
    let spaced = all.into_iter().map(|name| {
        let parent = parents
            .iter()
            .find(|parent| name.starts_with(&format!("{parent}-")));
        match parent {
            Some(parent) => format!("{parent} {}", &name[parent.len() + 1..]),
            None => name,
        }
    });
    let spaced: BTreeSet<String> = spaced.collect();
    let is_parent = |name: &String| {
        spaced
            .iter()
            .any(|other| other.starts_with(&format!("{name} ")))
    };
    let leaves = spaced.iter().filter(|name| !is_parent(name));
    leaves
        .filter(|name| !name.split(' ').any(|word| word == "help"))
        .cloned()
        .collect()
}

#[test]
fn every_command_is_used() {
    let used = |name: &String| {
        USES.iter()
            .any(|line| words(line).starts_with(&words(name)))
            || OTHERS.iter().any(|(other, _)| other == name)
    };
    let all = commands();
    assert!(
        all.contains("trace check") && all.contains("plan"),
        "{all:?}"
    );
    let unused: Vec<&String> = all.iter().filter(|name| !used(name)).collect();
    assert!(unused.is_empty(), "add a use of {unused:?} to USES");
}

#[test]
fn answers_are_the_same_bytes_at_any_number_of_threads_and_again() {
    let folder = tempfile::tempdir().expect("a folder");
    for line in USES {
        let first = left(program(), line, folder.path(), 1);
        assert!(first.values().all(|bytes| !bytes.is_empty()), "{line}");
        for threads in [2, 4, 16, 1] {
            let again = left(program(), line, folder.path(), threads);
            same(&first, &again, line, &format!("{threads} threads"));
        }
    }
}

#[test]
fn two_builds_answer_alike() {
    let Some(other) = std::env::var_os("DITPLAN_OTHER_BUILD") else {
        eprintln!("SKIPPED: two builds compared: tests/builds.sh makes the other one.");
        return;
    };
    let folder = tempfile::tempdir().expect("a folder");
    for line in USES {
        let one = left(program(), line, folder.path(), 2);
        let other = left(Path::new(&other), line, folder.path(), 2);
        same(&one, &other, line, "the other build");
    }
    eprintln!(
        "{} uses of commands answer alike from two builds",
        USES.len()
    );
}
