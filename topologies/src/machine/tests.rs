//! What holds for every preset machine.

use super::*;

fn all() -> Vec<Machine> {
    presets()
        .map(|name| Machine::preset(name).unwrap())
        .collect()
}

#[test]
fn every_preset_loads_under_its_own_name_with_sources() {
    for (machine, name) in all().iter().zip(presets()) {
        assert_eq!(machine.name, name);
        assert!(
            !machine.source.is_empty() && !machine.about.is_empty(),
            "{name}"
        );
        assert!(!machine.host.source.is_empty(), "{name}");
        for rate in &machine.host.rates {
            assert!(!rate.source.is_empty() && rate.ranks >= 2, "{name}");
        }
    }
    assert!(presets().any(|name| name == DEFAULT_PRESET));
}

#[test]
fn every_link_carries_something_and_has_its_mirror() {
    for machine in all() {
        for (index, link) in machine.links.iter().enumerate() {
            assert!(link.effective() > Bandwidth::ZERO, "{}", machine.name);
            let back = machine.link(link.reverse);
            assert_eq!((back.from, back.to), (link.to, link.from));
            assert_eq!(back.reverse, LinkId::new(index));
        }
    }
}

#[test]
fn routes_are_connected_and_symmetric_and_avoid_gpus() {
    for machine in all() {
        for a in machine.devices() {
            assert_eq!(machine.route(a, a), &Route::default());
            for b in machine.devices().filter(|b| *b != a) {
                let (there, back) = (machine.route(a, b), machine.route(b, a));
                assert_eq!(there.latency, back.latency, "{}: {a} {b}", machine.name);
                assert_eq!(machine.bandwidth(a, b), machine.bandwidth(b, a));
                if machine.peer_to_peer == PeerToPeer::On {
                    let mirrored: Vec<LinkId> = back
                        .links
                        .iter()
                        .rev()
                        .map(|l| machine.link(*l).reverse)
                        .collect();
                    assert_eq!(there.links, mirrored);
                }
                for pair in there.links.windows(2) {
                    let (first, second) = (machine.link(pair[0]), machine.link(pair[1]));
                    assert_eq!(first.to, second.from);
                    let middle = machine.vertices[first.to.index()].kind;
                    assert!(!matches!(middle, VertexKind::Gpu(_)));
                }
            }
        }
    }
}

#[test]
fn islands_are_the_sockets_of_a_pcie_box_and_all_gpus_behind_a_switch() {
    let sizes = |name: &str| -> Vec<usize> {
        let machine = Machine::preset(name).unwrap();
        machine.islands().iter().map(Vec::len).collect()
    };
    assert_eq!(sizes("4xl20-pcie"), [4]);
    assert_eq!(sizes("8xl40-pcie"), [4, 4]);
    assert_eq!(sizes("16xl40-ethernet"), [4, 4, 4, 4]);
    assert_eq!(sizes("8xh100-sxm"), [8]);
    assert_eq!(sizes("gb200-nvl72"), [72]);
    assert_eq!(sizes("4x-emulated-ethernet"), [4]);
    assert_eq!(sizes("4xrtx4090"), [4]);
}

#[test]
fn another_bandwidth_changes_only_the_links_of_that_kind() {
    let machine = Machine::preset("4x-emulated-ethernet").unwrap();
    let (a, b) = (DeviceId::new(0), DeviceId::new(3));
    assert_eq!(machine.bandwidth(a, b), Some(Bandwidth::new(1_000_000_000)));
    let faster = machine
        .clone()
        .with_bandwidth(Some(LinkKind::Network), Bandwidth::new(2_000_000_000));
    let faster = faster.unwrap();
    assert_eq!(faster.bandwidth(a, b), Some(Bandwidth::new(2_000_000_000)));
    assert_eq!(faster.route(a, b), machine.route(a, b));
    let none = machine.with_bandwidth(Some(LinkKind::Network), Bandwidth::ZERO);
    assert!(matches!(none, Err(TopologyError::ZeroCapacity { .. })));
}

#[test]
fn an_unknown_preset_proposes_the_nearest() {
    let error = Machine::preset("8xh100").unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("unknown machine \"8xh100\": did you mean 8xh100-sxm? Known: 4xl20-pcie")
    );
    assert!(Machine::preset("8xH100-SXM").is_ok());
}

#[test]
fn a_summary_says_gpus_and_interconnect_in_words() {
    let lines = summaries();
    assert_eq!(lines.len(), presets().count());
    let line = |name: &str| lines.iter().find(|line| line.name == name).unwrap();
    assert_eq!(line("8xl40-pcie").gpus, "8 x L40");
    assert_eq!(line("8xl40-pcie").interconnect, "PCIe 32 GB/s, 2 sockets");
    assert_eq!(
        line("8xh100-sxm").interconnect,
        "NVLink 450 GB/s, PCIe 64 GB/s, 2 sockets"
    );
    assert_eq!(
        line("4xrtx4090").interconnect,
        "PCIe 32 GB/s, 1 socket, no peer-to-peer"
    );
}
