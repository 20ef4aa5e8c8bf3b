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
        assert_eq!(routes(&back), routes(&machine), "{name}");
        assert_eq!(back.islands(), machine.islands(), "{name}");
        // And again: the second file says the same as the first.
        let again = nccl_xml(&back).text;
        let twice = import::machine(again.as_bytes(), "x.xml", &Hints::default())
            .unwrap()
            .machine;
        assert_eq!(routes(&twice), routes(&machine), "{name}");
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
