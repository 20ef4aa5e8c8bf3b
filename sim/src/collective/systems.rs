//! The links of systems that tables name, and which measured testbed an unmeasured one resembles.
//!
//! | system without a table | source | size part of the time |
//! |---|---|---|
//! | same chip, other memory (H100, H200, H20) | H200, H100 | link ratio (1) |
//! | export variant (A800, H800) | A100, H100 | link ratio (NVLink 200 GB/s) |
//! | next generation on NVLink | nearest architecture | link ratio |
//! | PCIe | RTX PRO 6000 | PCIe ratio, interval x/÷ 2 |
//!
//! Latency is kept from a table of the same architecture: it comes from the chip's clock, the
//! driver and the host, not from a datasheet.
//!
//! Not modelled: how a PCIe box is wired. One nccl-tests run on it beats every rule here.

use topologies::{Architecture, Bandwidth, Gpu};

use kernels::Miss;

/// What the ranks of a system are joined by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fabric {
    /// NVLink between every pair, this fast one way per GPU.
    NvLink(Bandwidth),
    /// PCIe, this fast one way per GPU.
    Pcie(Bandwidth),
}

/// What is needed to know about a system to predict its collectives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct System {
    /// Name, as in the tables where it has one: `h100_sxm`.
    pub name: String,
    /// The chip's architecture.
    pub architecture: Architecture,
    /// Links.
    pub fabric: Fabric,
}

const GB: u64 = 1_000_000_000;
const fn nvlink(rate: u64) -> Fabric {
    Fabric::NvLink(Bandwidth::new(rate * GB))
}
const fn pcie(rate: u64) -> Fabric {
    Fabric::Pcie(Bandwidth::new(rate * GB))
}

/// Names without punctuation, longest spelling first where one contains another; one-way GB/s.
/// Source: data/gpus.csv, whose rows name theirs.
const KNOWN: &[(&str, Architecture, Fabric)] = &[
    ("a10040pcie", Architecture::Ampere, pcie(32)),
    ("a10080pcie", Architecture::Ampere, pcie(32)),
    ("a100pcie", Architecture::Ampere, pcie(32)),
    ("a100", Architecture::Ampere, nvlink(300)),
    ("a800pcie", Architecture::Ampere, pcie(32)),
    ("a800", Architecture::Ampere, nvlink(200)),
    ("a10", Architecture::Ampere, pcie(32)),
    ("a30", Architecture::Ampere, pcie(32)),
    ("h100pcie", Architecture::Hopper, pcie(64)),
    ("h100nvl", Architecture::Hopper, pcie(64)),
    ("h100", Architecture::Hopper, nvlink(450)),
    ("h200", Architecture::Hopper, nvlink(450)),
    ("gh200", Architecture::Hopper, nvlink(450)),
    ("h800pcie", Architecture::Hopper, pcie(64)),
    ("h800", Architecture::Hopper, nvlink(200)),
    ("h20", Architecture::Hopper, nvlink(450)),
    ("gb200", Architecture::Blackwell, nvlink(900)),
    ("gb300", Architecture::BlackwellUltra, nvlink(900)),
    ("b200", Architecture::Blackwell, nvlink(900)),
    ("b300", Architecture::BlackwellUltra, nvlink(900)),
    ("rtxpro6000", Architecture::Blackwell, pcie(64)),
    ("rtx5090", Architecture::Blackwell, pcie(64)),
    ("rtx4090", Architecture::Ada, pcie(32)),
    ("l40s", Architecture::Ada, pcie(32)),
    ("l40", Architecture::Ada, pcie(32)),
    ("l20", Architecture::Ada, pcie(32)),
    ("l4", Architecture::Ada, pcie(32)),
    ("t4", Architecture::Turing, pcie(16)),
    ("v100", Architecture::Volta, nvlink(150)),
];

impl System {
    /// The system that a table or a user names: `gb200`, `A100-PCIe`, `h100_sxm`.
    ///
    /// # Errors
    /// [`Miss::NoFigure`] listing the known names.
    pub fn named(name: &str) -> Result<Self, Miss> {
        let lower = name.to_lowercase();
        let plain: String = lower.chars().filter(char::is_ascii_alphanumeric).collect();
        let plain = plain.strip_prefix("nvidia").unwrap_or(&plain);
        let found = KNOWN.iter().find(|(known, ..)| {
            plain.strip_prefix(known).is_some_and(|rest| {
                ["", "sxm", "pcie", "nvl", "server", "hgx", "dgx", "40", "80"]
                    .iter()
                    .any(|suffix| {
                        rest.starts_with(suffix) && (!suffix.is_empty() || rest.is_empty())
                    })
            })
        });
        let Some(&(_, architecture, fabric)) = found else {
            let names: Vec<&str> = KNOWN.iter().map(|(known, ..)| *known).collect();
            return Err(Miss::NoFigure {
                gpu: name.to_owned(),
                what: "its links".to_owned(),
                remedy: format!(
                    "give the host's measured bus bandwidths (one nccl-tests run), or use one of {}",
                    names.join(", ")
                ),
            });
        };
        Ok(Self {
            name: name.to_owned(),
            architecture,
            fabric,
        })
    }

    /// The system of a GPU, by its datasheet. NVLink bridges between pairs of PCIe cards do not
    /// join a whole group, so a `PCIe` form factor counts as PCIe.
    #[must_use]
    pub fn of(gpu: &Gpu) -> Self {
        let bridged = gpu.form_factor.to_lowercase().starts_with("pcie");
        let fabric = match gpu.nvlink {
            Some(rate) if !bridged => Fabric::NvLink(rate),
            _ => Fabric::Pcie(gpu.pcie),
        };
        Self {
            name: table_name(&gpu.name),
            architecture: gpu.architecture,
            fabric,
        }
    }

    /// Whether a measured table says what its collectives take.
    #[must_use]
    pub fn has_table(&self) -> bool {
        !self.sources().is_empty()
    }

    /// Names of testbeds to take times from, best first; without this system's own.
    pub(super) fn sources(&self) -> &'static [&'static str] {
        match (self.fabric, self.architecture) {
            (Fabric::Pcie(_), _) => &["rtx_pro_6000_server", "h200_sxm"],
            (Fabric::NvLink(_), Architecture::Volta | Architecture::Ampere) => {
                &["a100_sxm", "h100_sxm", "h200_sxm"]
            }
            (
                Fabric::NvLink(_),
                Architecture::Hopper | Architecture::Ada | Architecture::Turing,
            ) => &["h200_sxm", "h100_sxm", "a100_sxm", "b200_sxm"],
            (Fabric::NvLink(_), Architecture::Blackwell | Architecture::BlackwellUltra) => {
                &["b200_sxm", "gb200", "gb300", "h200_sxm", "h100_sxm"]
            }
            (Fabric::NvLink(_), Architecture::Cdna3) => &[],
        }
    }

    /// Testbeds of the same architecture, whose latency a source of another one is corrected by.
    pub(super) fn latency_source(&self) -> Option<&'static str> {
        match self.architecture {
            Architecture::Ampere => Some("a100_sxm"),
            Architecture::Ada => Some("l40s"),
            Architecture::Hopper => Some("h200_sxm"),
            Architecture::Blackwell | Architecture::BlackwellUltra => match self.fabric {
                Fabric::NvLink(_) => Some("b200_sxm"),
                Fabric::Pcie(_) => Some("rtx_pro_6000_server"),
            },
            Architecture::Volta | Architecture::Turing | Architecture::Cdna3 => None,
        }
    }

    /// Whether both have the same generation of NVLink switches, so that only link rates differ.
    pub(super) fn same_generation(&self, other: &Self) -> bool {
        let generation = |system: &Self| match system.architecture {
            Architecture::BlackwellUltra => Architecture::Blackwell,
            architecture => architecture,
        };
        generation(self) == generation(other)
    }

    /// One-way link rate per GPU in bytes per second.
    pub(super) fn link_rate(&self) -> f64 {
        match self.fabric {
            Fabric::NvLink(rate) | Fabric::Pcie(rate) => rate.as_f64(),
        }
    }
}

/// The tables' spelling of a GPU's name, or the name itself.
fn table_name(gpu: &str) -> String {
    let table = match gpu {
        "A100-80-SXM" | "A100-40-SXM" => "a100_sxm",
        "H100-SXM" => "h100_sxm",
        "H200-SXM" => "h200_sxm",
        "B200" => "b200_sxm",
        "GB200" => "gb200",
        "GB300" => "gb300",
        "L40S" => "l40s",
        "RTX PRO 6000 Server" => "rtx_pro_6000_server",
        other => other,
    };
    table.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_in_any_spelling_and_never_by_a_shorter_relative() {
        assert_eq!(System::named("b300_sxm").unwrap().fabric, nvlink(900));
        assert_eq!(System::named("A100-PCIe").unwrap().fabric, pcie(32));
        assert_eq!(System::named("A100-80-PCIe").unwrap().fabric, pcie(32));
        assert_eq!(
            System::named("l40s").unwrap().architecture,
            Architecture::Ada
        );
        assert_eq!(System::named("h20").unwrap().fabric, nvlink(450));
        assert!(System::named("h2000").is_err());
    }

    #[test]
    fn an_unknown_system_is_refused_with_the_known_names() {
        let error = System::named("x900").unwrap_err().to_string();
        assert!(
            error.contains("nccl-tests") && error.contains("gb200"),
            "{error}"
        );
    }
}
