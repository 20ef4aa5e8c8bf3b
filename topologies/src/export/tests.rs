use std::collections::BTreeMap;

use super::*;
use crate::import::{self, Hints};
use crate::machine::presets;
use crate::topology::LinkKind;
use crate::units::{Bandwidth, SimDuration};

/// Kinds, rates and latencies of the links between every two GPUs.
fn routes(machine: &Machine) -> Vec<Vec<(LinkKind, Bandwidth, SimDuration)>> {
    let pairs = machine
        .devices()
        .flat_map(|a| machine.devices().map(move |b| (a, b)));
    let figures = |link: &Link| (link.kind, link.effective(), link.latency);
    pairs
        .map(|(a, b)| {
            machine
                .route(a, b)
                .links
                .iter()
                .map(|id| figures(machine.link(*id)))
                .collect()
        })
        .collect()
}

#[test]
fn every_preset_comes_back_from_nccl_xml_with_its_routes_and_rates() {
    for name in presets() {
        let machine = Machine::preset(name).unwrap();
        let exported = nccl_xml(&machine);
        let back = import::machine(exported.text.as_bytes(), "x.xml", &Hints::default());
        let back = back
            .unwrap_or_else(|error| panic!("{name}: {error}\n{}", exported.text))
            .machine;
        assert_eq!((&back.name, &back.gpus), (&machine.name, &machine.gpus));
        assert_eq!(back.peer_to_peer, machine.peer_to_peer, "{name}");
        assert!(routes(&back) == routes(&machine), "{name}");
        assert_eq!(back.islands(), machine.islands(), "{name}");
        // And again: the second file says the same as the first.
        let again = nccl_xml(&back).text;
        let twice = import::machine(again.as_bytes(), "x.xml", &Hints::default())
            .unwrap()
            .machine;
        assert_eq!(routes(&twice), routes(&machine), "{name}");
    }
}

/// Leaves by node, unequal nodes, a rack of trays beside another: what presets have none of.
#[test]
fn nodes_come_back_from_nccl_xml() {
    let leaves = include_str!("../../machines/2x8xh100-sxm.toml").replace(
        "leaves = \"rails\"",
        "leaves = \"nodes\"\nover_subscription = 3",
    );
    let unequal = "name = \"m\"\nnetworks = [\"lan\"]\n[host]\nname = \"h\"\nsource = \"s\"\n\
        [[node]]\nsockets = [\"a\", \"b\"]\n[[node.socket_links]]\nbetween = [\"a\", \"b\"]\nbandwidth = \"9 GB/s\"\n\
        [[node.gpus]]\nmodel = \"L20\"\ncount = 2\nattach = [\"a\", \"b\"]\n\
        [[node.nics]]\nname = \"nic\"\nattach = \"a\"\nnetwork = \"lan\"\nbandwidth = \"25 Gbit/s\"\n\
        [[node]]\nsockets = [\"a\"]\n[[node.gpus]]\nmodel = \"A100-80-SXM\"\ncount = 2\nattach = \"a\"\n\
        [node.nvlink]\nswitch = \"nvswitch\"\n\
        [[node.nics]]\nname = \"nic\"\nattach = \"a\"\nnetwork = \"lan\"\nbandwidth = \"100 Gbit/s\"\n";
    let trays: Vec<String> = (0..18)
        .flat_map(|tray| [0, 1].map(|cpu| format!("\"tray{tray:02}.cpu{cpu}\"")))
        .collect();
    let racks = include_str!("../../machines/gb200-nvl72.toml")
        .replace("sockets = [", "nodes = 2\nnetworks = [\"ib\"]\nsockets = [")
        + &format!(
            "[[nics]]\nname = \"nic\"\nattach = [{}]\nnetwork = \"ib\"\nbandwidth = \"50 GB/s\"\n",
            trays.join(", ")
        );
    let faster = leaves.replace(
        "switch = \"nvswitch\"",
        "switch = \"nvswitch\"\nbandwidth = \"1800 GB/s\"\nefficiency = 0.7\nlatency = \"2 us\"",
    );
    for (text, sizes) in [
        (faster.as_str(), [8, 8]),
        (leaves.as_str(), [8, 8]),
        (unequal, [4, 2]),
        (&racks, [72, 72]),
    ] {
        // Two racks hold more GPUs than are imported.
        let text = text.replace("count = 2\nattach = [\n", "count = 1\nattach = [\n");
        let sizes = sizes.map(|size| if size == 72 { 36 } else { size });
        let machine = Machine::from_toml(&text, "m.toml").unwrap();
        let exported = nccl_xml(&machine).text;
        let back = import::machine(exported.as_bytes(), "x", &Hints::default()).unwrap();
        let of = |machine: &Machine| machine.nodes().iter().map(Vec::len).collect::<Vec<_>>();
        assert_eq!(of(&machine), sizes);
        assert_eq!(of(&back.machine), sizes);
        assert!(
            routes(&back.machine) == routes(&machine),
            "{}\n{exported}",
            back.toml
        );
        // Our own file of it is the same machine too.
        let file = Machine::from_toml(&back.toml, "m.toml").unwrap();
        assert!(routes(&file) == routes(&machine));
    }
}

#[test]
fn an_imported_dump_comes_back_too() {
    for (text, gpu) in [
        (include_str!("../../data/samples/nccl-h100-vm.xml"), None),
        (
            include_str!("../../data/samples/topo-4xa100-pcie.txt"),
            Some("A100-80-PCIe"),
        ),
        (
            include_str!("../../data/samples/topo-8x-pix.txt"),
            Some("L40S"),
        ),
    ] {
        let hints = Hints {
            gpu: gpu.map(str::to_owned),
            smi_xml: None,
            ..Hints::default()
        };
        let machine = import::machine(text.as_bytes(), "x", &hints)
            .unwrap()
            .machine;
        let text = nccl_xml(&machine).text;
        let back = import::machine(text.as_bytes(), "x", &Hints::default())
            .unwrap()
            .machine;
        assert_eq!(routes(&back), routes(&machine));
    }
}

#[test]
fn what_nccl_has_no_place_for_is_said() {
    let lost = nccl_xml(&Machine::preset("4xrtx4090").unwrap()).lost;
    assert!(
        lost.iter().any(|line| line.contains("peer-to-peer")),
        "{lost:?}"
    );
    let lost = nccl_xml(&Machine::preset("16xl40-ethernet").unwrap()).lost;
    assert!(
        lost.iter().any(|line| line.contains("links between CPUs")),
        "{lost:?}"
    );
}

#[test]
fn a_simgrid_platform_has_the_routes_and_rates() {
    for name in presets() {
        let machine = Machine::preset(name).unwrap();
        let text = simgrid_xml(&machine).text;
        let options = roxmltree::ParsingOptions {
            allow_dtd: true,
            ..Default::default()
        };
        let document = roxmltree::Document::parse_with_options(&text, options).unwrap();
        let zone = document.root_element().first_element_child().unwrap();
        let named =
            |name: &'static str| zone.children().filter(move |node| node.has_tag_name(name));
        assert_eq!(named("host").count(), machine.gpus.len());
        let links: BTreeMap<&str, (&str, &str)> = named("link")
            .map(|link| {
                (
                    link.attribute("id").unwrap(),
                    (
                        link.attribute("bandwidth").unwrap(),
                        link.attribute("latency").unwrap(),
                    ),
                )
            })
            .collect();
        let mut routes = named("route");
        for a in machine.devices() {
            for b in machine.devices().filter(|b| *b != a) {
                let route = routes.next().unwrap();
                assert_eq!(route.attribute("src"), Some(a.to_string().as_str()));
                assert_eq!(route.attribute("dst"), Some(b.to_string().as_str()));
                let found = route
                    .children()
                    .map(|node| links[node.attribute("id").unwrap()]);
                let found: Vec<(String, String)> =
                    found.map(|(a, b)| (a.to_owned(), b.to_owned())).collect();
                let wanted = machine.route(a, b).links.iter().map(|id| machine.link(*id));
                let wanted: Vec<(String, String)> = wanted
                    .map(|link| {
                        (
                            format!("{}Bps", link.effective().get()),
                            format!("{}ps", link.latency.get()),
                        )
                    })
                    .collect();
                assert_eq!(found, wanted, "{name} {a} {b}");
            }
        }
    }
}
