//! `nvidia-smi -q -x`: GPU names, PCIe generation and width.
//!
//! The *maximum* generation and width are read (an idle GPU lowers its current ones); they already hold
//! what the slot allows. Where `max_host_link_gen` is lower, that is taken.

use super::{ImportError, pci, xml};
use crate::units::Bandwidth;

/// A GPU as nvidia-smi describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Described {
    /// Product name.
    pub name: String,
    /// PCIe bandwidth, one way, where generation and width are given.
    pub bandwidth: Option<Bandwidth>,
}

/// The GPUs, in the order of the file, which is that of `topo -m`.
pub(super) fn read(text: &str, file: &str) -> Result<Vec<Described>, ImportError> {
    let document = xml::parse(text, file)?;
    let root = document.root_element();
    if !root.has_tag_name("nvidia_smi_log") {
        let fault = format!("<{}> is not <nvidia_smi_log>", root.tag_name().name());
        let remedy = "write the file with nvidia-smi -q -x";
        return Err(xml::fault(file, root, fault, remedy));
    }
    let gpus = xml::children(root, "gpu").map(|gpu| {
        let name = xml::text_at(gpu, &["product_name"]).unwrap_or_default();
        if name.is_empty() {
            let remedy = "give the name with --gpu instead";
            return Err(xml::fault(
                file,
                gpu,
                "the GPU has no <product_name>",
                remedy,
            ));
        }
        Ok(Described {
            name: name.to_owned(),
            bandwidth: bandwidth(gpu),
        })
    });
    let gpus = gpus.collect::<Result<Vec<_>, _>>()?;
    if gpus.is_empty() {
        let remedy = "write the file with nvidia-smi -q -x on the machine itself";
        return Err(xml::fault(file, root, "no GPU is listed", remedy));
    }
    Ok(gpus)
}

fn bandwidth(gpu: roxmltree::Node<'_, '_>) -> Option<Bandwidth> {
    let number = |path: [&'static str; 4]| -> Option<u32> {
        xml::text_at(gpu, &path)?.trim_end_matches('x').parse().ok()
    };
    let generation = number(["pci", "pci_gpu_link_info", "pcie_gen", "max_link_gen"])?;
    let host = number(["pci", "pci_gpu_link_info", "pcie_gen", "max_host_link_gen"]);
    let width = number(["pci", "pci_gpu_link_info", "link_widths", "max_link_width"])?;
    pci::generation(host.map_or(generation, |host| host.min(generation)), width)
}
