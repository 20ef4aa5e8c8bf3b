//! Routes on small machines whose paths can be drawn by hand.

use super::*;
use crate::machine::Machine;

fn machine(hardware: &str) -> Machine {
    let text = format!("name = \"m\"\n{hardware}\n[host]\nname = \"h\"\nsource = \"a test\"\n");
    Machine::from_toml(&text, "test.toml").unwrap()
}

/// The names along a route, ends included.
fn stops(machine: &Machine, from: usize, to: usize) -> Vec<&str> {
    let route = machine.route(DeviceId::new(from), DeviceId::new(to));
    let name = |id: VertexId| machine.vertices[id.index()].name.as_str();
    let mut stops = vec![name(machine.link(route.links[0]).from)];
    stops.extend(route.links.iter().map(|link| name(machine.link(*link).to)));
    stops
}

const TREE: &str = r#"
sockets = ["socket0", "socket1"]
[pcie]
bandwidth = "32 GB/s"
efficiency = 0.5
latency = "1 us"
[[pcie_switches]]
name = "plx0"
attach = "socket0"
[[pcie_switches]]
name = "plx1"
attach = "socket0"
[[gpus]]
model = "L20"
count = 2
attach = ["plx0", "plx1", "socket1"]
[[socket_links]]
between = ["socket0", "socket1"]
bandwidth = "10 GB/s"
latency = "3 us"
"#;

#[test]
fn gpus_under_one_switch_do_not_use_its_up_link() {
    let machine = machine(TREE);
    assert_eq!(stops(&machine, 0, 1), ["gpu0", "plx0", "gpu1"]);
    // Two links of 1 us; 32 GB/s x 0.5.
    let (a, b) = (DeviceId::new(0), DeviceId::new(1));
    assert_eq!(machine.route(a, b).latency, SimDuration::from_us_f64(2.0));
    assert_eq!(
        machine.bandwidth(a, b),
        Some(Bandwidth::new(16_000_000_000))
    );
}

#[test]
fn gpus_under_two_switches_share_the_up_links() {
    let machine = machine(TREE);
    assert_eq!(
        stops(&machine, 0, 2),
        ["gpu0", "plx0", "socket0", "plx1", "gpu2"]
    );
    // gpu0 -> gpu2 and gpu1 -> gpu3 have the up-link of plx0 and the down-link of plx1 in common.
    let links = |a, b| {
        machine
            .route(DeviceId::new(a), DeviceId::new(b))
            .links
            .clone()
    };
    let shared = links(0, 2)
        .into_iter()
        .filter(|link| links(1, 3).contains(link));
    assert_eq!(shared.count(), 2);
}

#[test]
fn gpus_on_two_sockets_cross_the_socket_link() {
    let machine = machine(TREE);
    assert_eq!(
        stops(&machine, 0, 4),
        ["gpu0", "plx0", "socket0", "socket1", "gpu4"]
    );
    // 1 + 1 + 3 + 1 us; the socket link is the slowest.
    let (a, b) = (DeviceId::new(0), DeviceId::new(4));
    assert_eq!(machine.route(a, b).latency, SimDuration::from_us_f64(6.0));
    assert_eq!(
        machine.bandwidth(a, b),
        Some(Bandwidth::new(10_000_000_000))
    );
}

#[test]
fn nvlink_is_preferred_and_no_gpu_stands_in_the_middle() {
    let switched = machine(
        "sockets = [\"s\"]\n[[gpus]]\nmodel = \"H100-SXM\"\ncount = 4\nattach = \"s\"\n[nvlink]\nswitch = \"nvs\"",
    );
    assert_eq!(stops(&switched, 0, 3), ["gpu0", "nvs", "gpu3"]);
    // 450 GB/s x NCCL's 20.6 of 25 GB/s a link.
    let bandwidth = switched.bandwidth(DeviceId::new(0), DeviceId::new(3));
    assert_eq!(bandwidth, Some(Bandwidth::new(370_800_000_000)));

    let bridged = machine(
        "sockets = [\"s\"]\n[[gpus]]\nmodel = \"A100-80-PCIe\"\ncount = 4\nattach = \"s\"\n\
         [[nvlink_bridges]]\nbetween = [\"gpu0\", \"gpu1\"]\n[[nvlink_bridges]]\nbetween = [\"gpu1\", \"gpu2\"]",
    );
    assert_eq!(stops(&bridged, 0, 1), ["gpu0", "gpu1"]);
    // Through gpu1 would be faster, but GPUs do not forward.
    assert_eq!(stops(&bridged, 0, 2), ["gpu0", "s", "gpu2"]);
}

#[test]
fn without_peer_access_data_waits_in_the_receivers_memory() {
    let staging = "\n[staging]\nbandwidth = \"12 GB/s\"\nlatency = \"5 us\"\n";
    let off = machine(&(TREE.replace("[pcie]", "[pcie]\npeer_to_peer = \"off\"") + staging));
    assert_eq!(
        stops(&off, 0, 4),
        [
            "gpu0",
            "plx0",
            "socket0",
            "socket1",
            "socket1.memory",
            "socket1",
            "gpu4"
        ]
    );
    // 1 + 1 + 3 + 5 us in, 5 + 1 us out.
    let latency = off.route(DeviceId::new(0), DeviceId::new(4)).latency;
    assert_eq!(latency, SimDuration::from_us_f64(16.0));
    assert_eq!(
        stops(&off, 0, 1),
        [
            "gpu0",
            "plx0",
            "socket0",
            "socket0.memory",
            "socket0",
            "plx0",
            "gpu1"
        ]
    );
    let same =
        machine(&(TREE.replace("[pcie]", "[pcie]\npeer_to_peer = \"same-socket\"") + staging));
    assert_eq!(stops(&same, 0, 1), ["gpu0", "plx0", "gpu1"]);
    assert!(stops(&same, 0, 4).contains(&"socket1.memory"));
}

#[test]
fn boxes_meet_in_the_network() {
    let machine = machine(
        r#"
sockets = ["a", "b"]
networks = ["lan"]
[[gpus]]
model = "L40"
count = 1
attach = ["a", "b"]
[[nics]]
name = "nic-a"
attach = "a"
network = "lan"
bandwidth = "10 Gbit/s"
[[nics]]
name = "nic-b"
attach = "b"
network = "lan"
bandwidth = "10 Gbit/s"
"#,
    );
    assert_eq!(
        stops(&machine, 0, 1),
        ["gpu0", "a", "nic-a", "lan", "nic-b", "b", "gpu1"]
    );
    // 1.25 GB/s x 0.96.
    let bandwidth = machine.bandwidth(DeviceId::new(0), DeviceId::new(1));
    assert_eq!(bandwidth, Some(Bandwidth::new(1_200_000_000)));
}
