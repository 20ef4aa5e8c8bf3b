//! Nodes of a machine file.

use crate::fault::link_name;
use crate::ids::{DeviceId, LinkId};
use crate::machine::Machine;
use crate::topology::LinkKind;
use crate::units::Bandwidth;

/// Two nodes of four H100 with a card each, below rail leaves whose spine is over-subscribed.
const TWO: &str = r#"name = "m"
nodes = 2
sockets = ["socket0", "socket1"]
[host]
name = "h"
source = "a test"
[fabric]
name = "ib"
leaves = "rails"
over_subscription = 4
[[gpus]]
model = "H100-SXM"
count = 2
attach = ["socket0", "socket1"]
[nvlink]
switch = "nvswitch"
[[socket_links]]
between = ["socket0", "socket1"]
bandwidth = "20 GB/s"
[[nics]]
name = "nic"
count = 2
attach = ["socket0", "socket1"]
network = "ib"
bandwidth = "400 Gbit/s"
efficiency = 1.0
"#;

fn read(text: &str) -> Machine {
    Machine::from_toml(text, "m.toml").unwrap_or_else(|error| panic!("{error}"))
}

fn fault(text: &str, from: &str, to: &str) -> String {
    assert!(text.contains(from), "the fixture has {from}");
    let changed = text.replacen(from, to, 1);
    Machine::from_toml(&changed, "m.toml")
        .unwrap_err()
        .to_string()
}

fn sizes(machine: &Machine) -> Vec<usize> {
    machine.nodes().iter().map(Vec::len).collect()
}

fn names(machine: &Machine, a: usize, b: usize) -> Vec<String> {
    let links = &machine.route(DeviceId::new(a), DeviceId::new(b)).links;
    links.iter().map(|link| link_name(machine, *link)).collect()
}

#[test]
fn nodes_are_made_as_the_file_describes_one() {
    let machine = read(TWO);
    assert_eq!(sizes(&machine), [4, 4]);
    assert_eq!(
        machine.interconnect(),
        "2 nodes, NVLink 450 GB/s, PCIe 64 GB/s, 4 sockets in all, network 50 GB/s a NIC"
    );
    assert_eq!(
        names(&machine, 5, 6),
        ["gpu5-node1.nvswitch", "node1.nvswitch-gpu6"]
    );
    // Of the cards at each socket's distance GPUs take one in turn, on both nodes.
    let by = |nic: usize, from: usize, to: usize| {
        let [socket, there] = [from % 4 / 2, to % 4 / 2];
        [
            format!("gpu{from}-node0.socket{socket}"),
            format!("node0.socket{socket}-node0.nic{nic}"),
            format!("node0.nic{nic}-ib.rail{nic}"),
            format!("ib.rail{nic}-node1.nic{nic}"),
            format!("node1.nic{nic}-node1.socket{there}"),
            format!("node1.socket{there}-gpu{to}"),
        ]
    };
    for (nic, from, to) in [
        (0, 0, 4),
        (1, 1, 5),
        (2, 2, 6),
        (3, 3, 7),
        (1, 1, 4),
        (2, 2, 7),
    ] {
        assert_eq!(names(&machine, from, to), by(nic, from, to));
    }
    assert_eq!(names(&machine, 6, 2).len(), 6);
    // Two ports of 50 GB/s a leaf, of which a quarter goes up.
    let links = (0..machine.links.len()).map(LinkId::new);
    let up: Vec<_> = links
        .filter(|link| link_name(&machine, *link).ends_with("-ib.spine"))
        .collect();
    assert_eq!(up.len(), 4);
    assert!(
        up.iter()
            .all(|link| machine.link(*link).capacity == Bandwidth::new(25_000_000_000))
    );
}

#[test]
fn another_network_rate_keeps_the_over_subscription() {
    let rate = Bandwidth::new(10_000_000_000);
    let machine = read(TWO)
        .with_bandwidth(Some(LinkKind::Network), rate)
        .unwrap();
    for index in 0..machine.links.len() {
        let id = LinkId::new(index);
        let name = link_name(&machine, id);
        let expected = match (name.contains("spine"), name.contains("rail")) {
            (true, _) => 5_000_000_000,
            (_, true) => 10_000_000_000,
            _ => continue,
        };
        assert_eq!(
            machine.link(id).capacity,
            Bandwidth::new(expected),
            "{name}"
        );
    }
}

#[test]
fn nodes_that_differ_have_sections_of_their_own() {
    let machine = read(
        r#"name = "m"
networks = ["lan"]
[host]
name = "h"
source = "a test"
[[node]]
count = 2
sockets = ["root"]
[[node.gpus]]
model = "L20"
count = 2
attach = "root"
[[node.nics]]
name = "nic"
attach = "root"
network = "lan"
bandwidth = "100 Gbit/s"
[[node]]
sockets = ["root"]
[[node.gpus]]
model = "A100-80-SXM"
count = 3
attach = "root"
[[node.nvlink_bridges]]
between = ["gpu0", "gpu2"]
bandwidth = "100 GB/s"
[[node.nics]]
name = "nic"
attach = "root"
network = "lan"
bandwidth = "25 Gbit/s"
"#,
    );
    assert_eq!(sizes(&machine), [2, 2, 3]);
    assert_eq!(machine.gpus[4].name, "A100-80-SXM");
    assert_eq!(names(&machine, 4, 6), ["gpu4-gpu6"]);
    let rate = |a, b| {
        machine
            .bandwidth(DeviceId::new(a), DeviceId::new(b))
            .unwrap()
    };
    assert_eq!(rate(0, 2), Bandwidth::new(12_000_000_000));
    assert_eq!(rate(0, 4), Bandwidth::new(3_000_000_000));
}

#[test]
fn one_node_is_named_as_before() {
    let one = TWO.replace("nodes = 2\n", "");
    assert_eq!(names(&read(&one), 0, 3), ["gpu0-nvswitch", "nvswitch-gpu3"]);
}

#[test]
fn mistakes_about_nodes_are_named() {
    for (from, to, part) in [
        (
            "nodes = 2",
            "nodes = 4000000000",
            "nodes makes more than 1024 nodes",
        ),
        ("nodes = 2", "nodes = 0", "nodes is not a count"),
        ("nodes = 2", "nodes = 600", "makes more than 1024 GPUs"),
        (
            "[[gpus]]\nmodel",
            "[[node]]\n[[gpus]]\nmodel",
            "nodes stands beside [[node]]",
        ),
        (
            "\"rails\"",
            "\"racks\"",
            "fabric.leaves = \"racks\" is not one of rails, nodes",
        ),
        (
            "over_subscription = 4",
            "over_subscription = 0.5",
            "fabric.over_subscription is below 1",
        ),
        ("leaves = \"rails\"\n", "", "fabric.leaves is missing"),
        (
            "network = \"ib\"",
            "network = \"eth\"",
            "nics[1].network = \"eth\" is no network",
        ),
        (
            "count = 2\nattach = [\"socket0\", \"socket1\"]\nnetwork",
            "count = 4000000000\nattach = [\"socket0\", \"socket1\"]\nnetwork",
            "nics[1].count makes more than 4096 parts",
        ),
        (
            "[[nics]]",
            "[[network_links]]\nbetween = [\"ib\", \"ib\"]\nbandwidth = \"1 GB/s\"\n[[nics]]",
            "names one end twice",
        ),
        (
            "[[nics]]\nname = \"nic\"\ncount = 2\nattach = [\"socket0\", \"socket1\"]\nnetwork = \"ib\"\nbandwidth = \"400 Gbit/s\"\nefficiency = 1.0\n",
            "",
            "cannot reach",
        ),
    ] {
        let message = fault(TWO, from, to);
        assert!(message.contains(part), "{message}");
    }
    let empty = "name = \"m\"\n[host]\nname = \"h\"\nsource = \"s\"\n[[node]]\ncount = 2\nsockets = [\"a\"]\n";
    let message = Machine::from_toml(empty, "m.toml").unwrap_err().to_string();
    assert!(message.contains("node[1].gpus is missing"), "{message}");
}
