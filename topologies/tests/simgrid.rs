//! An exported platform is one to SimGrid itself: it loads, and a flow alone takes as long as our route says.
//!
//! Needs g++ and SimGrid (Debian: libsimgrid-dev); skipped with a line on standard error where they are missing.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use topologies::{Machine, export};

const BYTES: f64 = 1e8;

/// The loader, compiled; `None` where this machine cannot.
fn loader(folder: &Path) -> Option<PathBuf> {
    let program = folder.join("simgrid_loads");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/simgrid_loads.cpp");
    let mut compile = Command::new("g++");
    compile.args(["-std=c++17", "-O1"]).arg(&source);
    compile.arg("-o").arg(&program).arg("-lsimgrid");
    let done = compile.output().ok()?;
    let said = String::from_utf8_lossy(&done.stderr);
    let missing = said.contains("simgrid/s4u.hpp: No such file");
    assert!(done.status.success() || missing, "{said}");
    done.status.success().then_some(program)
}

/// Seconds from GPU to GPU, as SimGrid simulates them without its TCP corrections.
fn simulated(loader: &Path, platform: &Path) -> BTreeMap<(String, String), f64> {
    let mut run = Command::new(loader);
    run.arg(platform).arg(BYTES.to_string());
    run.args([
        "--cfg=network/model:CM02",
        "--cfg=network/crosstraffic:0",
        "--log=root.thres:error",
    ]);
    let done = run.output().expect("the loader was compiled");
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{}: {said}", platform.display());
    let text = String::from_utf8(done.stdout).expect("names and numbers");
    let line = |line: &str| {
        let mut words = line.split(' ').map(str::to_owned);
        let mut word = || words.next().expect("three words a line");
        let ends = (word(), word());
        (ends, word().parse().expect("seconds"))
    };
    text.lines().map(line).collect()
}

#[test]
fn simgrid_loads_an_exported_machine_and_agrees_about_every_route() {
    let folder = tempfile::tempdir().unwrap();
    let Some(loader) = loader(folder.path()) else {
        let why = "SKIPPED: exported platforms in SimGrid, which needs g++ and libsimgrid-dev";
        writeln!(io::stderr(), "{why}").unwrap();
        return;
    };
    for name in ["8xl40-pcie", "8xh100-sxm", "16xl40-ethernet", "4xrtx4090"] {
        let machine = Machine::preset(name).unwrap();
        let platform = folder.path().join(format!("{name}.xml"));
        fs::write(&platform, export::simgrid_xml(&machine).text).unwrap();
        let seconds = simulated(&loader, &platform);
        let gpus = machine.gpus.len();
        assert_eq!(seconds.len(), gpus * (gpus - 1), "{name}");
        for from in machine.devices() {
            for to in machine.devices().filter(|to| *to != from) {
                let route = machine.route(from, to);
                let links = route.links.iter().map(|link| &machine.links[link.index()]);
                let slowest = links.map(|link| link.effective().as_f64());
                let slowest = slowest.fold(f64::INFINITY, f64::min);
                let ours = route.latency.as_secs_f64() + BYTES / slowest;
                let theirs = seconds[&(from.to_string(), to.to_string())];
                let error = (theirs / ours - 1.0).abs();
                assert!(
                    error < 1e-9,
                    "{name}, {from} to {to}: {theirs} s, ours {ours} s"
                );
            }
        }
    }
}
