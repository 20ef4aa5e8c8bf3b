//! Hypothetical nodes: what one holds as a machine file says it, so that it is read as any file is.
//!
//! ```text
//! gpu ─ switch ─ root     a card beside each GPU on a board, below a PCIe switch of their own
//!        │
//!       card ═ network    PCIe cards: GPUs and network cards at one PCIe root
//! ```

use std::fmt::Write;

use crate::gpu::{Gpu, NvlinkForm};
use crate::import::sketch::exact;
use crate::machine::{MOST_GPUS, Machine};
use crate::topology::{LinkKind, LinkSpec};

/// GPUs of a board that its form factor names. Source: NVIDIA HGX (SXM) and OCP's universal base board (OAM):
/// eight.
const BOARD: u32 = 8;

/// What published PCIe 4 hosts leave of PCIe's rate (`machines/8xl40-pcie.toml`).
const PCIE_EFFICIENCY: f64 = 0.82;

/// How many nodes of how many GPUs.
pub(super) struct Nodes<'a> {
    nodes: u32,
    each: u32,
    gpu: &'a Gpu,
    assumed: bool,
}

impl<'a> Nodes<'a> {
    /// `count` nodes of `each`; or, where only all GPUs are counted, nodes of one board.
    pub(super) fn new(count: u32, each: Option<u32>, gpu: &'a Gpu) -> Result<Self, String> {
        let on_boards = ["SXM", "OAM"]
            .iter()
            .any(|form| gpu.form_factor.starts_with(form));
        let (nodes, each, assumed) = match each {
            Some(each) => (count, each, false),
            None if on_boards && count > BOARD && count.is_multiple_of(BOARD) => {
                (count / BOARD, BOARD, true)
            }
            None => {
                return Err(format!(
                    "{count} {} in nodes of how many? Write NODESxCOUNTxGPU, as in 2x{}x{}",
                    gpu.name,
                    count.div_ceil(2),
                    gpu.name
                ));
            }
        };
        if nodes * each > MOST_GPUS as u32 {
            return Err(format!(
                "{nodes} nodes of {each} GPUs: give a count from 1 to {MOST_GPUS} in all"
            ));
        }
        Ok(Self {
            nodes,
            each,
            gpu,
            assumed,
        })
    }

    /// The machine called `name`: `inside` joins the GPUs of a node, else what they have; `network` the nodes.
    pub(super) fn machine(
        &self,
        name: &str,
        inside: Option<(LinkSpec, String)>,
        (network, source): (LinkSpec, &str),
    ) -> Result<Machine, String> {
        let Self {
            nodes,
            each,
            gpu,
            assumed,
        } = self;
        let on_board = gpu.nvlink_form == Some(NvlinkForm::Board);
        let spec = inside.as_ref().map(|(spec, _)| *spec);
        let kind = spec.map(|spec| spec.kind);
        if kind == Some(LinkKind::Network) {
            return Err("a network joins nodes: name a link inside a node before the +, as in nvlink4+ib-400g".to_owned());
        }
        if kind == Some(LinkKind::Nvlink) && !on_board {
            return Err(format!(
                "{} has no switched NVLink: name PCIe before the +, as in pcie5+ib-400g",
                gpu.name
            ));
        }
        let quoted = |text: &str| toml::Value::String(text.to_owned()).to_string();
        let how = if *assumed {
            ", nodes of 8 assumed (a board)"
        } else {
            ""
        };
        let inside_source = inside.map_or_else(String::new, |(_, source)| format!("{source}; "));
        let mut text = format!(
            "name = {}\nabout = \"{nodes} nodes of {each} {}{how}; a card a GPU on a network that never blocks\"\n\
             source = {}\nnodes = {nodes}\nsockets = [\"root\"]\nnetworks = [\"network\"]\n\
             [host]\nname = \"hypothetical\"\nsource = \"nothing is measured\"\n",
            quoted(name),
            gpu.name,
            quoted(&format!("hypothetical{how}; {inside_source}{source}")),
        );
        let (slots, count) = match on_board {
            false => ("\"root\"".to_owned(), *each),
            true if *each == 1 => ("\"switch\"".to_owned(), 1),
            true => {
                let names: Vec<String> = (0..*each)
                    .map(|index| format!("\"switch{index}\""))
                    .collect();
                (format!("[{}]", names.join(", ")), 1)
            }
        };
        let mut say =
            |words: std::fmt::Arguments<'_>| text.write_fmt(words).expect("text takes words");
        match spec.filter(|spec| spec.kind != LinkKind::Nvlink) {
            Some(spec) => say(format_args!("[pcie]{}", figures(spec))),
            None if !on_board => say(format_args!("[pcie]\nefficiency = {PCIE_EFFICIENCY}\n")),
            None => {}
        }
        if on_board {
            let up = exact(gpu.pcie);
            say(format_args!(
                "[[pcie_switches]]\nname = \"switch\"\ncount = {each}\nattach = \"root\"\nbandwidth = {up}\n"
            ));
        }
        say(format_args!(
            "[[gpus]]\nmodel = {}\ncount = {count}\nattach = {slots}\n",
            quoted(&gpu.name)
        ));
        match spec {
            Some(spec) if spec.kind == LinkKind::Nvlink => {
                say(format_args!(
                    "[nvlink]\nswitch = \"nvswitch\"{}",
                    figures(spec)
                ));
            }
            None if on_board && *each > 1 => say(format_args!("[nvlink]\nswitch = \"nvswitch\"\n")),
            _ => {}
        }
        say(format_args!(
            "[[nics]]\nname = \"nic\"\ncount = {count}\nattach = {slots}\nnetwork = \"network\"{}",
            figures(network)
        ));
        Machine::from_toml(&text, name).map_err(|error| error.to_string())
    }
}

/// The keys of a link.
fn figures(spec: LinkSpec) -> String {
    let (rate, efficiency, latency) = (exact(spec.capacity), spec.efficiency, spec.latency.get());
    format!("\nbandwidth = {rate}\nefficiency = {efficiency:?}\nlatency = \"{latency} ps\"\n")
}

#[cfg(test)]
mod tests {
    use super::super::machine;
    use crate::ids::DeviceId;
    use crate::machine::Machine;
    use crate::topology::LinkKind;

    fn kinds(machine: &Machine, a: usize, b: usize) -> Vec<LinkKind> {
        let route = machine.route(DeviceId::new(a), DeviceId::new(b));
        let kind = |link: &crate::LinkId| machine.link(*link).kind;
        route.links.iter().map(kind).collect()
    }

    #[test]
    fn nodes_have_their_link_inside_and_a_card_a_gpu() {
        use LinkKind::{Network, Nvlink, Pcie};
        for text in ["2x8xH100-SXM@ib-400g", "16xH100-SXM@nvlink4+ib-400g"] {
            let found = machine(text).unwrap();
            assert_eq!((found.gpus.len(), found.name.as_str()), (16, text));
            let sizes: Vec<usize> = found.nodes().iter().map(Vec::len).collect();
            assert_eq!(sizes, [8, 8], "{text}");
            assert_eq!(kinds(&found, 0, 7), [Nvlink, Nvlink], "{text}");
            let across = [Pcie, Pcie, Network, Network, Pcie, Pcie];
            assert_eq!(kinds(&found, 0, 8), across, "{text}");
            // Each pair has cards of its own.
            let nic = |a: usize| found.route(DeviceId::new(a), DeviceId::new(8 + a)).links[2];
            assert!((1..8).all(|a| nic(a) != nic(0)), "{text}");
            assert_eq!(
                found.source.contains("nodes of 8 assumed"),
                text.starts_with("16")
            );
        }
        let inside = machine("2x4xH100-SXM@nvlink6+ethernet-800g").unwrap();
        let rate = inside
            .bandwidth(DeviceId::new(0), DeviceId::new(3))
            .unwrap();
        assert_eq!(
            rate,
            "1800 GB/s"
                .parse::<crate::Bandwidth>()
                .unwrap()
                .scaled(0.802)
        );
        let cards = machine("3x2xL20@ethernet-100g").unwrap();
        assert_eq!(kinds(&cards, 0, 1), [Pcie, Pcie]);
        assert_eq!(
            kinds(&cards, 1, 5),
            [Pcie, Pcie, Network, Network, Pcie, Pcie]
        );
        // At one root, too, each GPU takes a card of its own.
        let out = |a: usize| cards.route(DeviceId::new(a), DeviceId::new(5)).links[2];
        assert_ne!(out(0), out(1));
        assert_eq!(machine("2x72xGB200@ib-800g").unwrap().nodes().len(), 2);
        assert_eq!(machine("16x1xH100-SXM@ib-400g").unwrap().nodes().len(), 16);
    }
}
