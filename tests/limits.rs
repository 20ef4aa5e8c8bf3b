//! Hostile inputs: each is refused in a sentence, in bounded memory and time (docs/limits.md).

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use flate2::{Compression, write::GzEncoder};
use tempfile::TempDir;

/// What a refused input may take, in kB of address space; threads' stacks and the program itself count.
const MEMORY_KB: u32 = 1_000_000;
/// And for how many hundredths of a second: far above what it takes, far below for ever.
const PATIENCE: u32 = 12_000;

/// What the program says of an input that it refuses, held to memory and time.
fn refusal(arguments: &[&str]) -> String {
    let limited = format!("ulimit -v {MEMORY_KB}; exec \"$0\" \"$@\"");
    let mut child = Command::new("sh")
        .args(["-c", &limited, env!("CARGO_BIN_EXE_ditplan")])
        .args(arguments)
        .env("MALLOC_ARENA_MAX", "2")
        .env("RAYON_NUM_THREADS", "2")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("a shell");
    let ended = (0..PATIENCE).any(|_| {
        std::thread::sleep(Duration::from_millis(10));
        child.try_wait().expect("its status").is_some()
    });
    if !ended {
        child.kill().expect("it ends");
    }
    let output = child.wait_with_output().expect("its output");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{arguments:?}: {said}");
    assert!(said.len() < 4000, "{arguments:?}: {said:.200}");
    said
}

fn folder() -> (TempDir, impl Fn(&str) -> PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().to_owned();
    (folder, move |name: &str| path.join(name))
}

fn name(path: &Path) -> &str {
    path.to_str().expect("a name")
}

/// A gzipped file: a start, and a part so many times.
fn packed(path: &Path, start: &str, part: &str, times: usize, end: &str) {
    let file = File::create(path).expect("a file");
    let mut out = GzEncoder::new(file, Compression::fast());
    out.write_all(start.as_bytes()).expect("written");
    for _ in 0..times {
        out.write_all(part.as_bytes()).expect("written");
    }
    out.write_all(end.as_bytes()).expect("written");
    out.finish().expect("written");
}

/// Every option that reads a file, with the words around it; the file stands at `FILE`.
const READERS: [&[&str]; 15] = [
    &["capacity", "--slo", "p95<=60s", "--arrivals", "FILE"],
    &["plan", "--machine", "FILE"],
    &["plan", "--model", "FILE"],
    &["plan", "--trace", "FILE"],
    &["plan", "--profile", "FILE"],
    &["plan", "--robust", "--faults", "FILE"],
    &["validate", "--published", "FILE"],
    &["validate", "--gemm", "FILE"],
    &["validate", "--attention", "FILE"],
    &["validate", "--nccl", "FILE"],
    &["validate", "--operations", "FILE"],
    &["validate", "--timeline", "FILE"],
    &["trace", "kineto", "FILE"],
    &["machines", "import", "FILE"],
    &["calibrate", "--nccl-tests", "FILE"],
];

fn of(reader: &[&str], file: &Path) -> String {
    let words: Vec<&str> = reader
        .iter()
        .map(|word| if *word == "FILE" { name(file) } else { word })
        .collect();
    refusal(&words)
}

#[test]
fn pipes_and_devices_are_not_waited_for() {
    let (_folder, at) = folder();
    let pipe = at("pipe");
    let made = Command::new("mkfifo").arg(&pipe).status();
    assert!(made.expect("mkfifo runs").success());
    for reader in READERS {
        for file in [pipe.as_path(), Path::new("/dev/zero")] {
            of(reader, file);
        }
    }
}

#[test]
fn one_long_line_is_not_held() {
    let (_folder, at) = folder();
    let zeros = at("zeros.csv");
    let file = File::create(&zeros).expect("a file");
    file.set_len(2_000_000_000).expect("room for nothing");
    for reader in READERS {
        of(reader, &zeros);
    }
    let said = of(READERS[0], &zeros);
    assert!(said.contains("more than 1048576 bytes in line 1"), "{said}");
}

#[test]
fn what_unpacks_to_much_is_refused() {
    let (_folder, at) = folder();
    let rows = at("rows.csv.gz");
    let header = "source,table,model,resolution,frames,gpu,n_gpus,interconnect,strategy,steps,warmup,batch,compile,\
                  metric,value,unit,notes,quality\n";
    packed(&rows, header, &"\n".repeat(1 << 20), 300, "");
    let said = of(&["validate", "--published", "FILE"], &rows);
    assert!(said.contains("more than 16777216 bytes"), "{said}");
    packed(&rows, "m,n\n", &"1,1\n".repeat(1 << 20), 10, "");
    let said = of(&["validate", "--gemm", "FILE"], &rows);
    assert!(said.contains("more than 1000000 lines"), "{said}");
    // 100 MB of a list that nobody asked for.
    let trace = at("trace.json.gz");
    let start = r#"{"traceEvents":[{"ph":"X","cat":"kernel","args":{"device":["#;
    packed(&trace, start, &"0,".repeat(1 << 19), 100, "0]}}]}");
    let said = of(&["trace", "kineto", "FILE"], &trace);
    assert!(said.contains("event 0: has no ts"), "{said}");
    packed(
        &trace,
        r#"{"traceEvents":[{"ph":""#,
        &"x".repeat(1 << 20),
        3,
        r#""}]}"#,
    );
    let said = of(&["trace", "kineto", "FILE"], &trace);
    assert!(said.contains("a text of more than 1048576 bytes"), "{said}");
}

#[test]
fn a_table_of_runs_has_a_largest_number_of_rows() {
    let (_folder, at) = folder();
    let table = at("runs.csv");
    let mut text = "source,table,model,resolution,frames,gpu,n_gpus,interconnect,strategy,steps,warmup,batch,compile,\
                    metric,value,unit,notes,quality\n"
        .to_owned();
    for row in 0..5_000 {
        text += &format!(
            "s{row},t,FLUX.1-dev,1024x1024,1,L20,8,PCIe4,ulysses8,28,,1,no,latency,9,s,,printed\n"
        );
    }
    fs::write(&table, text).expect("a file");
    let said = of(&["validate", "--published", "FILE"], &table);
    assert!(
        said.contains("runs.csv: it has more than 5000 lines"),
        "{said}"
    );
}

#[test]
fn a_topology_of_many_attributes_is_refused() {
    let (_folder, at) = folder();
    let topology = at("topology.xml");
    let attributes: String = (0..100_000)
        .map(|index| format!("a{index}=\"\" "))
        .collect();
    fs::write(
        &topology,
        format!("<system version=\"1\"><cpu {attributes}/></system>"),
    )
    .expect("a file");
    let said = of(&["machines", "import", "FILE"], &topology);
    assert!(said.contains("more than 256 attributes"), "{said}");
}
