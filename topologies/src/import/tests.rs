use super::damage::variants;
use super::*;
use crate::ids::DeviceId;
use crate::machine::hypothetical::{INTERCONNECTS, network};
use crate::topology::{LinkKind, VertexKind};

macro_rules! sample {
    ($name:literal) => {
        include_str!(concat!("../../data/samples/", $name))
    };
}

fn read(text: &str, file: &str, gpu: Option<&str>) -> Imported {
    let hints = Hints {
        gpu: gpu.map(str::to_owned),
        smi_xml: None,
        ..Hints::default()
    };
    machine(text.as_bytes(), file, &hints).unwrap_or_else(|error| panic!("{error}"))
}

fn refused(text: &str, gpu: Option<&str>) -> String {
    let hints = Hints {
        gpu: gpu.map(str::to_owned),
        smi_xml: None,
        ..Hints::default()
    };
    machine(text.as_bytes(), "my.file", &hints)
        .unwrap_err()
        .to_string()
}

fn says(imported: &Imported, words: &[&str]) {
    for word in words {
        assert!(
            imported.assumed.iter().any(|line| line.contains(word)),
            "{word}: {:#?}",
            imported.assumed
        );
    }
}

fn count(machine: &Machine, kind: VertexKind) -> usize {
    machine
        .vertices
        .iter()
        .filter(|vertex| vertex.kind == kind)
        .count()
}

fn rate(imported: &Imported, a: usize, b: usize) -> String {
    let (a, b) = (DeviceId::new(a), DeviceId::new(b));
    imported.machine.bandwidth(a, b).unwrap().to_string()
}

fn hops(imported: &Imported, a: usize, b: usize) -> Vec<LinkKind> {
    let route = imported.machine.route(DeviceId::new(a), DeviceId::new(b));
    route
        .links
        .iter()
        .map(|link| imported.machine.link(*link).kind)
        .collect()
}

#[test]
fn bridged_pairs_are_direct_links_and_numa_domains_are_sockets() {
    let found = read(
        sample!("topo-4xa100-pcie.txt"),
        "dir/topo.txt",
        Some("A100-80-PCIe"),
    );
    assert_eq!(found.machine.name, "topo");
    assert_eq!(count(&found.machine, VertexKind::HostBridge), 4);
    assert_eq!(hops(&found, 0, 1), [LinkKind::Nvlink]);
    assert_eq!(
        hops(&found, 1, 2),
        [LinkKind::Pcie, LinkKind::Socket, LinkKind::Pcie]
    );
    // 12 links of 25 GB/s, of which NCCL's 0.8; 16 GB/s between CPUs of PCIe 4 machines.
    assert_eq!(rate(&found, 0, 1), "240 GB/s");
    assert_eq!(rate(&found, 1, 2), "16 GB/s");
    says(
        &found,
        &[
            "AMD",
            "peer-to-peer access is on",
            "an NVLink of A100-80-PCIe carries 25 GB/s",
        ],
    );
}

#[test]
fn eighteen_links_to_seven_others_are_a_switch() {
    let found = read(sample!("topo-8xb300.txt"), "topo.txt", Some("B300"));
    assert_eq!(count(&found.machine, VertexKind::NvSwitch), 1);
    assert_eq!(count(&found.machine, VertexKind::HostBridge), 2);
    assert_eq!(count(&found.machine, VertexKind::Nic), 9);
    assert_eq!(count(&found.machine, VertexKind::PcieSwitch), 8);
    assert_eq!(hops(&found, 0, 7), [LinkKind::Nvlink, LinkKind::Nvlink]);
    assert!(found.toml.contains("mlx5_bond_0"));
    says(
        &found,
        &["NVSwitches", "network card", "up-link", "Sapphire Rapids"],
    );
}

/// PCI numbers come again in each host: an NVSwitch each, the cards between.
#[test]
fn hosts_of_a_dump_are_nodes() {
    let found = read(sample!("two-nodes.xml"), "two.xml", None);
    let nodes: Vec<usize> = found.machine.nodes().iter().map(Vec::len).collect();
    assert_eq!(nodes, [2, 2]);
    assert_eq!(count(&found.machine, VertexKind::NvSwitch), 2);
    assert_eq!(hops(&found, 0, 1), [LinkKind::Nvlink; 2]);
    assert_eq!(hops(&found, 2, 3), [LinkKind::Nvlink; 2]);
    use LinkKind::{Network, Pcie};
    assert_eq!(
        hops(&found, 1, 2),
        [Pcie, Pcie, Network, Network, Pcie, Pcie]
    );
    // 400 Gbit/s, of which NCCL's 0.96; the slot's 64 GB/s are 48 too.
    assert_eq!(rate(&found, 1, 2), "48 GB/s");
    assert!(found.toml.contains("\nnodes = 2\n"), "{}", found.toml);
    says(&found, &["all network cards are on one network"]);
    let refused = machine(
        sample!("two-nodes.xml").as_bytes(),
        "two.xml",
        &Hints {
            nodes: Some(2),
            fabric: Some(&INTERCONNECTS[0]),
            ..Hints::default()
        },
    );
    let refused = refused.unwrap_err().to_string();
    assert!(
        refused.contains("2 hosts (host_hash) are 2 nodes"),
        "{refused}"
    );
}

#[test]
fn a_table_of_one_node_is_taken_several_times() {
    let with = |nodes, fabric: Option<&str>, table: &str, gpu: &str| {
        let hints = Hints {
            gpu: Some(gpu.to_owned()),
            nodes,
            fabric: fabric.map(|name| network(name).unwrap()),
            ..Hints::default()
        };
        machine(table.as_bytes(), "topo.txt", &hints)
    };
    let found = with(Some(2), Some("ib-400g"), sample!("topo-8xb300.txt"), "B300").unwrap();
    let nodes: Vec<usize> = found.machine.nodes().iter().map(Vec::len).collect();
    assert_eq!(nodes, [8, 8]);
    assert_eq!(count(&found.machine, VertexKind::Nic), 18);
    assert_eq!(rate(&found, 3, 11), "48 GB/s");
    says(
        &found,
        &["2 nodes as this one; every network card is a port of ib-400g"],
    );
    assert!(!found.assumed.iter().any(|line| line.contains("200 Gbit/s")));
    // A table without cards: one beside each GPU.
    let found = with(
        Some(3),
        Some("ethernet-100g"),
        sample!("topo-4xa100-pcie.txt"),
        "A100-80-PCIe",
    )
    .unwrap();
    assert_eq!(count(&found.machine, VertexKind::Nic), 12);
    assert_eq!(rate(&found, 0, 4), "12 GB/s");
    let lone = |nodes, fabric| {
        with(nodes, fabric, sample!("topo-8xb300.txt"), "B300")
            .unwrap_err()
            .to_string()
    };
    assert!(lone(Some(2), None).contains("--fabric"));
    assert!(lone(None, Some("ib-400g")).contains("--nodes"));
    assert!(lone(Some(100), Some("ib-400g")).contains("has 800 GPUs"));
}

#[test]
fn pairs_below_switches_share_their_up_links() {
    let found = read(sample!("topo-8x-pix.txt"), "topo.txt", Some("L40S"));
    assert_eq!(count(&found.machine, VertexKind::PcieSwitch), 4);
    assert_eq!(count(&found.machine, VertexKind::HostBridge), 2);
    assert_eq!(hops(&found, 0, 1).len(), 2);
    assert_eq!(hops(&found, 0, 2).len(), 4);
    assert_eq!(hops(&found, 0, 7).len(), 5);
    says(&found, &["CPU affinity"]);
}

#[test]
fn nvidia_smi_q_gives_names_and_links() {
    let table = "\tGPU0\tGPU1\tCPU Affinity\tNUMA Affinity\nGPU0\t X \tPHB\t0-31\t0\nGPU1\tPHB\t X \t0-31\t0\n";
    let hints = Hints {
        gpu: None,
        smi_xml: Some((sample!("smi-2xl4.xml").to_owned(), "smi.xml".to_owned())),
        ..Hints::default()
    };
    let found = machine(table.as_bytes(), "topo.txt", &hints).unwrap();
    assert_eq!(found.machine.gpus[1].name, "L4");
    // x8 of PCIe 4, 75 %.
    assert_eq!(rate(&found, 0, 1), "12 GB/s");
    assert!(!found.assumed.iter().any(|line| line.contains("full one")));
    let named =
        format!("GPU 0: NVIDIA L20 (UUID: GPU-1)\nGPU 1: NVIDIA L20 (UUID: GPU-2)\n{table}");
    assert_eq!(read(&named, "topo.txt", None).machine.gpus[0].name, "L20");
    let error = refused(sample!("smi-2xl4.xml"), None);
    assert!(error.contains("--smi-xml"), "{error}");
}

#[test]
fn a_dump_of_a_virtual_machine_reads() {
    let found = read(sample!("nccl-h100-vm.xml"), "topo.xml", None);
    assert_eq!(found.machine.gpus.len(), 4);
    assert_eq!(found.machine.gpus[0].name, "H100-SXM");
    assert_eq!(count(&found.machine, VertexKind::Nic), 4);
    assert_eq!(count(&found.machine, VertexKind::PcieSwitch), 4);
    // 18 links of 25 GB/s, of which NCCL's 0.824.
    assert_eq!(rate(&found, 0, 3), "370.8 GB/s");
    says(&found, &["virtual machine", "22 GB/s", "Sapphire"]);
}

#[test]
fn a_dump_of_bare_metal_reads() {
    let found = read(sample!("nccl-h200.xml"), "topo.xml", None);
    assert_eq!(found.machine.gpus.len(), 3);
    assert_eq!(found.machine.gpus[2].name, "H200-SXM");
    assert_eq!(hops(&found, 0, 2), [LinkKind::Nvlink, LinkKind::Nvlink]);
}

#[test]
fn a_file_without_gpu_elements_needs_their_name() {
    let error = refused(sample!("nccl-ndv4.xml"), None);
    assert!(
        error.starts_with("my.file, line 4: nothing says which GPU gpu0 is"),
        "{error}"
    );
    let found = read(sample!("nccl-ndv4.xml"), "topo.xml", Some("A100-40-SXM"));
    assert_eq!(found.machine.gpus.len(), 8);
    // Two GPUs below each switch; without NVLink in the file, they meet over PCIe.
    assert_eq!(hops(&found, 0, 1).len(), 2);
    assert_eq!(rate(&found, 0, 7), "16 GB/s");
    says(&found, &["8 network cards"]);
}

#[test]
fn our_own_file_needs_no_assumption() {
    let text = include_str!("../../machines/4xl20-pcie.toml");
    let found = read(text, "x.txt", None);
    assert_eq!(found.machine, Machine::preset("4xl20-pcie").unwrap());
    assert!(found.assumed.is_empty());
}

#[test]
fn faults_name_line_and_remedy() {
    let table = sample!("topo-8x-pix.txt");
    for (from, to, words) in [
        ("GPU7    SYS", "GPU9    SYS", "GPU7 has no row"),
        ("PIX      X ", "PIX", "is no class of connection"),
        ("PHB", "PHX", "\"PHX\" is no class of connection"),
        ("GPU1    PIX", "GPU1    PHB", "differently there and back"),
        ("GPU3 ", "GPU2 ", "second row"),
    ] {
        let at = table.find('\n').unwrap();
        let text = format!("{}{}", &table[..at], table[at..].replacen(from, to, 1));
        let error = refused(&text, Some("L20"));
        assert!(
            error.starts_with("my.file, line ") && error.contains(words),
            "{error}"
        );
    }
    assert!(refused(table, None).contains("does not say which GPUs"));
    assert!(refused(table, Some("L21")).contains("for instance L20"));
    assert!(refused(sample!("topo-8xb300.txt"), Some("L20")).contains("L20 has none"));
    let xml = sample!("nccl-h200.xml");
    for (from, to, words) in [
        ("</system>", "", "the XML is broken"),
        (
            "<system version=\"1\">",
            "<system version=\"2\">",
            "version \"2\" is not known",
        ),
        ("count=\"5\"", "count=\"500\"", "no number of NVLinks"),
        (
            "count=\"5\"",
            "count=\"6\"",
            "of NVLinks to NVSwitches where another has",
        ),
        ("32.0 GT/s PCIe", "31.0 GT/s PCIe", "is no PCIe link"),
        ("link_width=\"16\"", "link_width=\"x16\"", "is no count"),
        ("speed=\"400000\"", "speed=\"fast\"", "is no count"),
        ("0x2335", "0xbeef", "PCI device 0xbeef"),
    ] {
        let error = refused(&xml.replacen(from, to, 1), None);
        assert!(error.contains(words), "{error}");
    }
}

#[test]
fn sizes_and_depths_are_limited() {
    let deep = format!(
        "<system version=\"1\">{}",
        "<pci class=\"0x06\">".repeat(200)
    );
    assert!(refused(&deep, None).contains("nested more than 64 deep"));
    for (inner, part) in [
        ("<a/".repeat(1_000_000), "nested more than 64 deep"),
        ("</a".repeat(1_000_000), "the XML is broken"),
        (
            format!(
                "<a {}/>",
                (0..100_000)
                    .map(|at| format!("b{at}=\"\" "))
                    .collect::<String>()
            ),
            "line 2: an element has more than 256 attributes",
        ),
        ("<a xmlns:b=\"c\"/>".to_owned(), "there are namespaces"),
    ] {
        let sentence = refused(&format!("<system version=\"1\">\n{inner}</system>"), None);
        assert!(sentence.contains(part), "{sentence}");
    }
    let huge = vec![b' '; LARGEST_FILE + 1];
    let error = machine(&huge, "big", &Hints::default())
        .unwrap_err()
        .to_string();
    assert!(error.contains("more than 4194304"), "{error}");
    let names: Vec<String> = (0..200).map(|index| format!("GPU{index}")).collect();
    assert!(refused(&names.join(" "), Some("L20")).contains("has 200 GPUs"));
    let gpus = "<pci class=\"0x030200\" device=\"0x2330\"/>".repeat(500);
    assert!(refused(&format!("<system><cpu>{gpus}</cpu></system>"), None).contains("has 500 GPUs"));
    let laughs = "<!DOCTYPE a [<!ENTITY a \"&a;&a;\">]><system>&a;</system>";
    assert!(refused(laughs, None).contains("the XML is broken"));
}

#[test]
fn damaged_files_are_refused_or_read_and_never_panic() {
    let samples = [
        sample!("topo-4xa100-pcie.txt"),
        sample!("topo-8xb300.txt"),
        sample!("topo-8x-pix.txt"),
        sample!("nccl-h100-vm.xml"),
        sample!("nccl-h200.xml"),
        sample!("nccl-ndv4.xml"),
    ];
    for sample in samples {
        let (mut faults, variants) = (0, variants(sample));
        for variant in &variants {
            let hints = Hints {
                gpu: Some("A100-40-SXM".to_owned()),
                smi_xml: None,
                ..Hints::default()
            };
            match machine(variant, "my.file", &hints) {
                Ok(found) => assert!(!found.machine.gpus.is_empty()),
                Err(error) => {
                    faults += 1;
                    let text = error.to_string();
                    assert!(text.contains("my.file") && text.contains(": "), "{text}");
                    assert!(text.len() < 2000, "{text}");
                }
            }
        }
        assert!(
            variants.len() >= 20 && faults >= 10,
            "{faults} of {}",
            variants.len()
        );
    }
    for variant in variants(sample!("smi-2xl4.xml")) {
        let table = "\tGPU0\tGPU1\tCPU Affinity\nGPU0\t X \tPHB\t0-31\nGPU1\tPHB\t X \t0-31\n";
        let smi_xml = String::from_utf8(variant)
            .ok()
            .map(|text| (text, "smi.xml".to_owned()));
        let _ = machine(
            table.as_bytes(),
            "topo.txt",
            &Hints {
                gpu: Some("L4".to_owned()),
                smi_xml,
                ..Hints::default()
            },
        );
    }
}
