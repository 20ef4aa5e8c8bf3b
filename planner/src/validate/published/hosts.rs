//! Which host a row ran on, and what joins its GPUs.
//!
//! A host is one machine in one project's hands: calibration is shared by all rows of a host and by
//! nothing else.

use sim::collective::{System, Wiring};
use sim::execution::Software;
use sim::platform::{Fabric, Platform};
use topologies::{Bandwidth, CollectiveKind, Gpu, gpu};

use super::row::Row;

/// A machine in one project's hands.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Host {
    /// The project.
    pub project: String,
    /// The GPU cell.
    pub gpu: String,
    /// The interconnect cell, up to the first `+`; with the bandwidth of an emulated network.
    pub interconnect: String,
}

/// Whether ranks of a row may sit on several hosts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Span {
    /// One host.
    OneHost,
    /// Several hosts.
    Several,
    /// Every GPU behind an emulated network link of this many GB/s.
    Emulated(f64),
}

/// The GPU of a cell: exact name or alias, brackets removed; of `A800/A100` the one with the
/// faster links.
///
/// # Errors
/// Why no GPU is meant.
pub fn gpu_of(cell: &str) -> Result<&'static Gpu, String> {
    let unknown = ["not ", "unstated", "not_", "?"];
    if cell.is_empty() || unknown.iter().any(|word| cell.contains(word)) {
        return Err(format!("the GPU is not stated (\"{cell}\")"));
    }
    named_gpu(cell).ok_or_else(|| format!("no figures for the GPU \"{cell}\""))
}

/// The GPU that a cell names, whatever it says about it.
#[must_use]
pub fn named_gpu(cell: &str) -> Option<&'static Gpu> {
    let plain = cell.split('(').next().unwrap_or_default().trim();
    let whole = [cell, plain]
        .into_iter()
        .find_map(|name| gpu::find(name).ok());
    let parts = plain.split('/').filter_map(|name| gpu::find(name).ok());
    let rate = |gpu: &&Gpu| gpu.nvlink.map_or(0, Bandwidth::get);
    whole.or_else(|| parts.max_by_key(rate))
}

/// Who published the row: text before `@` or a blank; an issue or request is a user's own machine.
fn project(source: &str) -> String {
    for (prefix, name) in [("xdit-project", "xDiT"), ("PipeFusion/", "PipeFusion")] {
        if source.starts_with(prefix) {
            return name.to_owned();
        }
    }
    let mut words = source.split_whitespace();
    if let (Some("xDiT"), Some(kind @ ("issue" | "PR")), Some(number)) =
        (words.next(), words.next(), words.next())
    {
        let number = number.trim_end_matches(|c: char| !c.is_ascii_digit());
        return format!("xDiT {kind} {number}");
    }
    // CompactFusion's runs are quoted on its review page and by second sources.
    let quoted = ["OpenReview", "secondary:"];
    if source.to_lowercase().contains("compact") || quoted.iter().any(|who| source.starts_with(who))
    {
        return "CompactFusion".to_owned();
    }
    let end = source.find(['@', ' ', '\t']).unwrap_or(source.len());
    source[..end].to_owned()
}

impl Host {
    /// The host of a row.
    #[must_use]
    pub fn of(row: &Row) -> Self {
        let local = row
            .interconnect
            .split('+')
            .next()
            .unwrap_or_default()
            .trim();
        let interconnect = match row.bandwidth {
            Some(bandwidth) => format!("{local} {bandwidth} GB/s"),
            None => local.to_owned(),
        };
        Self {
            project: project(&row.source),
            gpu: row.gpu.clone(),
            interconnect,
        }
    }

    /// Whose pipeline it runs.
    #[must_use]
    pub fn software(&self) -> Software {
        if self.project == "PipeFusion" {
            Software::PipeFusionLegacy
        } else {
            Software::Other
        }
    }
}

impl std::fmt::Display for Host {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} | {} | {}", self.project, self.gpu, self.interconnect)
    }
}

/// Whether the ranks of a row may sit on several hosts.
#[must_use]
pub fn span(row: &Row) -> Span {
    let cell = row.interconnect.to_lowercase();
    if let (Some(bandwidth), true) = (row.bandwidth, cell.contains("ethernet")) {
        return Span::Emulated(bandwidth);
    }
    let several = ["ethernet", "inter-node", "infiniband", "between nodes"];
    if several.iter().any(|word| cell.contains(word)) {
        Span::Several
    } else {
        Span::OneHost
    }
}

/// The GPUs of a row and what joins them.
#[must_use]
pub fn platform(row: &Row, gpu: &Gpu) -> Platform {
    let cell = row
        .interconnect
        .split('+')
        .next()
        .unwrap_or_default()
        .trim();
    let nvlink_word = ["NVL", "HCCS", "xGMI"]
        .iter()
        .any(|word| cell.starts_with(word));
    let nvlink = nvlink_word || (cell.is_empty() && gpu.form_factor.contains("SXM"));
    let lower = cell.to_lowercase();
    let fabric = if nvlink {
        Fabric::NvLink(System::of(gpu))
    } else if lower.contains("2 sockets") || lower.contains("dual") {
        Fabric::Pcie(Wiring::DualSocketPcie)
    } else {
        Fabric::Pcie(Wiring::SinglePcie)
    };
    let count = row.gpus.max(1);
    let mut platform = Platform::labelled(gpu, count, fabric);
    platform.gpus_per_host = match span(row) {
        Span::OneHost => count,
        Span::Several => count.div_ceil(count.div_ceil(8)),
        Span::Emulated(_) => 1,
    };
    if let Span::Emulated(gigabytes) = span(row) {
        let rate = Bandwidth::new((gigabytes * 1e9) as u64);
        let kinds = CollectiveKind::ALL.iter();
        platform.timed = kinds.map(|kind| (*kind, count, rate)).collect();
    }
    platform
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gpu_cells_are_gpus_or_a_reason() {
        for (cell, name) in [
            ("A800/A100", "A100-80-SXM"),
            ("H100/H800", "H100-SXM"),
            ("H100-80-SXM (lmsys host, presumed)", "H100-SXM"),
            ("L20 (assumed)", "L20"),
            ("A100-80", "A100-80-SXM"),
            ("A800-80-SXM", "A800-80-SXM"),
        ] {
            assert_eq!(gpu_of(cell).unwrap().name, name, "{cell}");
        }
        for cell in [
            "L40/A100 (not printed)",
            "GPU not stated",
            "",
            "RTX3090",
            "80GB GPU x4 (H800?)",
        ] {
            assert!(gpu_of(cell).is_err(), "{cell}");
        }
    }

    #[test]
    fn projects_are_who_published() {
        for (source, name) in [
            ("xdit-project/xdit_assets@e051d26 performance/flux", "xDiT"),
            ("xDiT issue #416 comment", "xDiT issue #416"),
            ("PipeFusion/PipeFusion@6d0d12b x", "PipeFusion"),
            ("vipshop/cache-dit PR#645", "vipshop/cache-dit"),
            (
                "huggingface/diffusers@58eb52c docs",
                "huggingface/diffusers",
            ),
        ] {
            assert_eq!(project(source), name);
        }
    }
}
