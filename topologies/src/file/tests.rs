//! One wrong thing at a time in a shared valid file, and the sentence it gives.

use crate::host::{Calibrates, CollectiveKind, Compilation, Guidance};
use crate::ids::DeviceId;
use crate::machine::Machine;
use crate::units::{Bandwidth, SimDuration};

mod nodes;

/// A valid machine with every section.
const VALID: &str = r#"name = "box"
sockets = ["socket0", "socket1"]
networks = ["lan"]

[host]
name = "lab"
software = "xDiT"
source = "our own nccl-tests"
launch_factor = 0.5

[[host.rate]]
kind = "all-to-all"
ranks = 4
bus_bandwidth = "14 GB/s"

[[host.run]]
calibrates = "all-to-all"
model = "FLUX.1-dev"
width = 1024
height = 1024
steps = 28
gpus = 4
strategy = "ulysses4"
latency = "9.13 s"

[pcie]
bandwidth = "32 GB/s"
efficiency = 0.8

[[pcie_switches]]
name = "plx0"
attach = "socket0"

[[gpus]]
model = "L20"
count = 2
attach = ["plx0", "socket1"]

[[socket_links]]
between = ["socket0", "socket1"]
bandwidth = "20 GB/s"

[[nics]]
name = "nic0"
attach = "socket0"
network = "lan"
bandwidth = "100 Gbit/s"
"#;

/// The error of the valid file with `from` replaced by `to`.
fn fault(from: &str, to: &str) -> String {
    assert!(VALID.contains(from), "the fixture has {from}");
    let text = VALID.replacen(from, to, 1);
    Machine::from_toml(&text, "my.toml")
        .unwrap_err()
        .to_string()
}

#[test]
fn the_valid_file_reads() {
    let machine = Machine::from_toml(VALID, "my.toml").unwrap();
    assert_eq!(machine.gpus.len(), 4);
    assert_eq!(machine.host.launch_factor, Some(0.5));
    let rate = machine.host.rate(CollectiveKind::AllToAll, 4).unwrap();
    assert_eq!(rate.bus_bandwidth, Bandwidth::new(14_000_000_000));
    assert_eq!(rate.source, "our own nccl-tests");
    let run = &machine.host.runs[0];
    assert_eq!(run.calibrates, Some(Calibrates::AllToAll));
    assert_eq!(
        (run.frames, run.batch, run.guidance),
        (1, 1, Guidance::None)
    );
    assert_eq!(
        (run.compiled, run.software.as_str()),
        (Compilation::Eager, "xDiT")
    );
    assert_eq!(run.latency, SimDuration::from_secs_f64(9.13));
    // gpu0 and gpu1 on the switch, gpu2 and gpu3 on socket1.
    let across = machine.route(DeviceId::new(0), DeviceId::new(2));
    assert_eq!(across.links.len(), 4);
}

#[test]
fn a_wrong_quantity_names_line_key_and_remedy() {
    assert_eq!(
        fault("\"32 GB/s\"", "32"),
        "my.toml, line 27: pcie.bandwidth cannot be read, \"32\" has no unit: \
         write for instance \"64 GB/s\": write number and unit in quotes"
    );
    assert!(fault("\"32 GB/s\"", "32.5").contains("\"32.5\" has no unit"));
    assert!(
        fault("\"32 GB/s\"", "\"-32 GB/s\"")
            .contains("pcie.bandwidth cannot be read, \"-32 GB/s\" is out of range")
    );
    assert!(fault("\"32 GB/s\"", "\"32 GB\"").contains("unknown unit \"GB\""));
    assert!(fault("\"32 GB/s\"", "true").contains("pcie.bandwidth is not a quantity"));
    assert_eq!(
        fault("\"20 GB/s\"", "\"0 GB/s\""),
        "my.toml, line 41: socket_links[1].bandwidth is zero, so nothing could ever arrive: \
         give a bandwidth above zero, or remove the section"
    );
    assert!(fault("efficiency = 0.8", "efficiency = 1.8").contains(
        "line 28: pcie.efficiency is out of range: write a number above 0 and at most 1"
    ));
    assert!(fault("count = 2", "count = \"2\"").contains("gpus[1].count is not a count"));
    assert!(fault("count = 2", "count = 0").contains("gpus[1].count is not a count"));
    assert!(fault("ranks = 4", "ranks = 1").contains("host.rate[1].ranks is 1"));
}

#[test]
fn an_unknown_key_proposes_the_nearest() {
    assert_eq!(
        fault("efficiency = 0.8", "eficiency = 0.8"),
        "my.toml, line 28: pcie.eficiency is not a known key: \
         did you mean efficiency? Keys here: bandwidth, efficiency, latency, peer_to_peer"
    );
    assert!(fault("[[nics]]", "[[nic]]").contains("nic is not a known key: did you mean nics?"));
    assert!(
        fault("launch_factor", "launch")
            .contains("host.launch is not a known key: did you mean launch_factor?")
    );
    assert!(fault("width = 1024", "with = 1024").contains("host.run[1].width is missing"));
}

#[test]
fn an_unknown_name_lists_the_known() {
    assert!(fault("\"L20\"", "\"L21\"").starts_with(
        "my.toml, line 35: gpus[1].model = \"L21\" is no known GPU: did you mean L20? Known: L20, L40"
    ));
    assert_eq!(
        fault("[\"plx0\", \"socket1\"]", "[\"plx0\", \"soket1\"]"),
        "my.toml, line 37: gpus[1].attach = \"soket1\" is no socket or PCIe switch: \
         did you mean socket1? Known: socket0, socket1, plx0"
    );
    assert!(fault("network = \"lan\"", "network = \"wan\"").contains("did you mean lan?"));
    assert!(
        fault("kind = \"all-to-all\"", "kind = \"alltoall\"").contains("is not one of all-gather")
    );
    assert!(
        fault(
            "[\"socket0\", \"socket1\"]\nbandwidth",
            "[\"socket0\"]\nbandwidth"
        )
        .contains("socket_links[1].between does not name two ends")
    );
    assert!(
        fault(
            "[\"socket0\", \"socket1\"]\nbandwidth",
            "[\"socket0\", \"socket0\"]\nbandwidth"
        )
        .contains("names one end twice")
    );
}

#[test]
fn a_missing_part_is_named() {
    assert_eq!(
        Machine::from_toml(" \n", "my.toml")
            .unwrap_err()
            .to_string(),
        "my.toml is empty: give name, sockets, [host] and at least one [[gpus]] section"
    );
    assert!(
        fault("attach = [\"plx0\", \"socket1\"]\n", "")
            .contains("line 34: gpus[1].attach is missing")
    );
    assert!(fault("name = \"box\"\n", "").contains("name is missing: add name"));
    assert!(fault("latency = \"9.13 s\"\n", "").contains("host.run[1].latency is missing"));
    assert!(
        fault("efficiency = 0.8", "peer_to_peer = \"off\"")
            .contains("staging is missing: with peer_to_peer off")
    );
    assert!(fault("gpus = 4", "gpus = 1").contains("runs on one GPU, and only they"));
    assert!(fault("\"nic0\"", "\"plx0\"").contains("names \"plx0\" a second time"));
    let gpus = &VALID[VALID.find("[[gpus]]").unwrap()..VALID.find("[[socket_links]]").unwrap()];
    assert!(fault(gpus, "").starts_with("my.toml: the machine has no GPU"));
    let link = &VALID[VALID.find("[[socket_links]]").unwrap()..VALID.find("[[nics]]").unwrap()];
    assert_eq!(
        fault(link, ""),
        "my.toml: gpu0 cannot reach gpu2: connect them by a socket link, an NVLink switch or NICs on one network"
    );
    assert!(
        fault("[pcie]", "[nvlink]\nswitch = \"nvs\"\n[pcie]")
            .contains("joins gpu0, and L20 has no switched NVLink")
    );
}

#[test]
fn broken_toml_is_named_with_its_line() {
    let error = fault("count = 2", "count = ");
    assert!(error.starts_with("my.toml, line 36: "), "{error}");
    assert!(error.ends_with("correct the TOML there"), "{error}");
}

#[test]
fn machines_have_a_largest_size() {
    let of = |count: u32, more: &str| {
        let text = format!(
            "name = \"box\"\nsockets = [\"a\", \"b\"]\n[host]\nname = \"box\"\nsource = \"none\"\n[pcie]\npeer_to_peer = \"off\"\n\
             [staging]\nbandwidth = \"34 GB/s\"\n[[socket_links]]\nbetween = [\"a\", \"b\"]\nbandwidth = \"20 GB/s\"\n\
             [[gpus]]\nmodel = \"L20\"\ncount = {count}\nattach = [\"a\", \"b\"]\n{more}"
        );
        Machine::from_toml(&text, "box.toml")
    };
    let switch = |at: u32| {
        format!("[[pcie_switches]]\nname = \"s{at}\"\nattach = \"a\"\nbandwidth = \"32 GB/s\"\n")
    };
    assert_eq!(of(512, "").unwrap().gpus.len(), 1024);
    for (found, part) in [
        (of(513, ""), "makes more than 1024 GPUs"),
        (of(u32::MAX, ""), "makes more than 1024 GPUs"),
        (
            of(1, &(0..5000).map(switch).collect::<String>()),
            "makes more than 4096",
        ),
    ] {
        let sentence = found.unwrap_err().to_string();
        assert!(sentence.contains(part), "{sentence}");
    }
}
