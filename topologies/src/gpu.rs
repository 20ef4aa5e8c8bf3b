//! GPUs: datasheet figures, each with its source.
//!
//! ```text
//! data/gpus.csv ──────┐
//!                     ├─▶ gpu_table::parse ─▶ known() ─▶ find("a100_sxm")
//! data/sustained.csv ─┘
//! ```
//!
//! Guarantees:
//! 1. Every figure that machine models need (SM count, memory, bandwidth, L2, bf16 peak) is present.
//! 2. An assumed figure says `assumption:` in [`Gpu::notes`].
//! 3. An unknown name is an error that lists the known ones; no GPU ever stands in for another.
//!
//! Not modelled: clocks under load (the sustained rates hold what is known about them), ECC, MIG.

use std::sync::OnceLock;

use thiserror::Error;

use crate::gpu_table;
use crate::suggest::nearest;
use crate::units::{Bandwidth, Bytes, FlopRate};

/// A number format that GPUs compute in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DType {
    /// bfloat16 (or IEEE half: the same rate on every GPU known here).
    Bf16,
    /// 8-bit floating point, e4m3.
    Fp8,
    /// 4-bit floating point, e2m1 with one e4m3 scale for 16 values.
    Nvfp4,
}

/// A GPU architecture: what decides which measured tables a GPU without its own may borrow from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Architecture {
    /// V100.
    Volta,
    /// T4.
    Turing,
    /// A100, A800, A10, A30.
    Ampere,
    /// L4, L20, L40, L40S, RTX 4090.
    Ada,
    /// H100, H200, H800, H20.
    Hopper,
    /// B200, GB200, RTX 5090, RTX PRO 6000.
    Blackwell,
    /// B300, GB300.
    BlackwellUltra,
    /// MI300X.
    Cdna3,
}

/// How the NVLink (or xGMI) ports of a GPU can be wired.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NvlinkForm {
    /// Through NVSwitches, or directly on the board: any GPU of the machine.
    Board,
    /// By a bridge to one other GPU.
    BridgePair,
}

/// One GPU model's figures.
#[derive(Clone, Debug, PartialEq)]
pub struct Gpu {
    /// Name as in `data/gpus.csv`, for example `L20` or `H100-SXM`.
    pub name: String,
    /// Architecture.
    pub architecture: Architecture,
    /// Form factor as the vendor names it.
    pub form_factor: String,
    /// Streaming multiprocessors (compute units on AMD).
    pub sm_count: u32,
    /// Device memory.
    pub memory: Bytes,
    /// Device memory bandwidth, datasheet.
    pub memory_bandwidth: Bandwidth,
    /// Level-2 cache.
    pub l2: Bytes,
    /// Dense bf16 / fp16 tensor peak.
    pub peak_bf16: FlopRate,
    /// Dense fp8 tensor peak, where the GPU has one.
    pub peak_fp8: Option<FlopRate>,
    /// Dense nvfp4 tensor peak, where the GPU has one.
    pub peak_fp4: Option<FlopRate>,
    /// Peak of the fp32 units, without tensor cores, where known.
    pub peak_fp32: Option<FlopRate>,
    /// Boost clock in Hz: [`peak_fp32`](Self::peak_fp32) / (2 x fp32 lanes per SM x SM count).
    pub boost_clock_hz: Option<f64>,
    /// PCIe bandwidth, one way.
    pub pcie: Bandwidth,
    /// NVLink (or xGMI) bandwidth, one way, all links together.
    pub nvlink: Option<Bandwidth>,
    /// How these links can be wired; `None` exactly where [`nvlink`](Self::nvlink) is.
    pub nvlink_form: Option<NvlinkForm>,
    /// Exponent evaluations per second (the other limit of attention), where published.
    pub exponent_rate: Option<f64>,
    /// Sustained bf16 GEMM rate, where measured or inferred from published runs.
    pub sustained_gemm: Option<FlopRate>,
    /// Sustained bf16 attention rate, where measured or inferred from published runs.
    /// Of head size 128 where [`sustained_attention_by_head`](Self::sustained_attention_by_head) has it.
    pub sustained_attention: Option<FlopRate>,
    /// Sustained bf16 attention rate by head size, ascending; empty where not known.
    pub sustained_attention_by_head: Vec<(u32, FlopRate)>,
    /// Where the sustained rates are from; empty where there are none.
    pub sustained_source: String,
    /// Rental price in US dollars per GPU-hour, where known.
    pub price_per_hour: Option<f64>,
    /// Where the datasheet figures are from.
    pub source: String,
    /// Where the price is from.
    pub price_source: String,
    /// Remarks.
    pub notes: String,
}

impl Gpu {
    /// The same GPU with its arithmetic `compute` times as fast and its memory `memory` times: what a
    /// faster one would do. Its name says so, since measured tables are no longer its own.
    #[must_use]
    pub fn scaled(&self, compute: f64, memory: f64) -> Self {
        if compute == 1.0 && memory == 1.0 {
            return self.clone();
        }
        let rate = |rate: Option<FlopRate>| rate.map(|rate| rate.scaled(compute));
        let by_head = self.sustained_attention_by_head.iter();
        Self {
            name: format!("{} (compute x{compute}, memory x{memory})", self.name),
            peak_bf16: self.peak_bf16.scaled(compute),
            peak_fp8: rate(self.peak_fp8),
            peak_fp4: rate(self.peak_fp4),
            peak_fp32: rate(self.peak_fp32),
            boost_clock_hz: self.boost_clock_hz.map(|clock| clock * compute),
            exponent_rate: self.exponent_rate.map(|rate| rate * compute),
            sustained_gemm: rate(self.sustained_gemm),
            sustained_attention: rate(self.sustained_attention),
            sustained_attention_by_head: by_head
                .map(|(head_dim, rate)| (*head_dim, rate.scaled(compute)))
                .collect(),
            memory_bandwidth: self.memory_bandwidth.scaled(memory),
            ..self.clone()
        }
    }
}

/// A GPU name that is neither known nor an alias of a known one.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("unknown GPU \"{name}\": did you mean {nearest}? Known: {}", known.join(", "))]
pub struct UnknownName {
    /// What was asked for.
    pub name: String,
    /// The known name that is spelled most alike.
    pub nearest: String,
    /// All known names.
    pub known: Vec<String>,
}

/// Other spellings, normalised as by [`normalised`], and the name they mean.
///
/// From published tables, driver names (`nvidia-smi -L`) and the system names of the kernel tables.
const ALIASES: &[(&str, &str)] = &[
    ("a100", "A100-80-SXM"),
    ("a100sxm", "A100-80-SXM"),
    ("a10080", "A100-80-SXM"),
    ("a100sxm480gb", "A100-80-SXM"),
    ("a100sxm440gb", "A100-40-SXM"),
    ("a10040", "A100-40-SXM"),
    ("a100pcie", "A100-80-PCIe"),
    ("a10080gbpcie", "A100-80-PCIe"),
    ("a100pcie80gb", "A100-80-PCIe"),
    ("a100pcie40gb", "A100-40-PCIe"),
    ("a800", "A800-80-SXM"),
    ("a800sxm", "A800-80-SXM"),
    ("a800sxm480gb", "A800-80-SXM"),
    ("h100", "H100-SXM"),
    ("h10080", "H100-SXM"),
    ("h10080sxm", "H100-SXM"),
    ("h10080gbhbm3", "H100-SXM"),
    ("h800", "H800-SXM"),
    ("h200", "H200-SXM"),
    ("h200141", "H200-SXM"),
    ("h20sxm", "H20"),
    ("b200sxm", "B200"),
    ("b300sxm", "B300"),
    ("gb200nvl72", "GB200"),
    ("gb300nvl72", "GB300"),
    ("4090", "RTX4090"),
    ("5090", "RTX5090"),
    ("rtxpro6000", "RTX PRO 6000 Server"),
    ("rtxpro6000blackwellserveredition", "RTX PRO 6000 Server"),
    ("v100", "V100-32-SXM"),
    ("v100sxm232gb", "V100-32-SXM"),
];

/// Every GPU with figures, in the order of `data/gpus.csv`.
///
/// # Panics
/// Never in a released build: the embedded tables are parsed by the tests.
pub fn known() -> &'static [Gpu] {
    static KNOWN: OnceLock<Vec<Gpu>> = OnceLock::new();
    KNOWN.get_or_init(|| {
        gpu_table::built_in().expect("the embedded GPU tables are parsed by this crate's tests")
    })
}

/// Lower case, without blanks, dashes, underscores and vendor prefixes.
fn normalised(name: &str) -> String {
    let bare: String = name
        .chars()
        .filter(|c| !matches!(c, ' ' | '-' | '_'))
        .flat_map(char::to_lowercase)
        .collect();
    let without_vendor = bare.strip_prefix("nvidia").unwrap_or(&bare);
    let without_brand = ["geforce", "tesla"]
        .iter()
        .find_map(|brand| without_vendor.strip_prefix(brand));
    without_brand.unwrap_or(without_vendor).to_owned()
}

/// The GPU called `name`; case, blanks, dashes and underscores do not matter.
///
/// # Errors
/// [`UnknownName`], with the known names and the nearest of them.
pub fn find(name: &str) -> Result<&'static Gpu, UnknownName> {
    let wanted = normalised(name);
    let target = ALIASES
        .iter()
        .find(|(alias, _)| *alias == wanted)
        .map_or(wanted, |(_, target)| normalised(target));
    known()
        .iter()
        .find(|gpu| normalised(&gpu.name) == target)
        .ok_or_else(|| UnknownName {
            name: name.to_owned(),
            nearest: nearest(name, known().iter().map(|gpu| gpu.name.as_str()))
                .expect("at least one GPU is known")
                .to_owned(),
            known: known().iter().map(|gpu| gpu.name.clone()).collect(),
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spelling_does_not_matter() {
        for (written, meant) in [
            ("l20", "L20"),
            ("NVIDIA L20", "L20"),
            ("RTX 4090", "RTX4090"),
            ("NVIDIA GeForce RTX 4090", "RTX4090"),
            ("A100-80-SXM", "A100-80-SXM"),
            ("H100-80-SXM", "H100-SXM"),
            ("H100-80", "H100-SXM"),
            ("A800", "A800-80-SXM"),
            ("NVIDIA H100 80GB HBM3", "H100-SXM"),
            ("NVIDIA A100-SXM4-80GB", "A100-80-SXM"),
        ] {
            assert_eq!(find(written).unwrap().name, meant, "{written}");
        }
    }

    #[test]
    fn every_system_of_the_kernel_tables_is_a_known_gpu() {
        for (system, meant) in [
            ("a100_sxm", "A100-80-SXM"),
            ("h100_sxm", "H100-SXM"),
            ("h200_sxm", "H200-SXM"),
            ("b200_sxm", "B200"),
            ("b300_sxm", "B300"),
            ("gb200", "GB200"),
            ("l40s", "L40S"),
            ("rtx_pro_6000_server", "RTX PRO 6000 Server"),
        ] {
            assert_eq!(find(system).unwrap().name, meant, "{system}");
        }
    }

    #[test]
    fn every_alias_means_a_known_gpu_and_every_name_means_itself() {
        for (alias, target) in ALIASES {
            assert_eq!(find(alias).unwrap().name, *target);
            assert_eq!(normalised(alias), *alias);
        }
        for gpu in known() {
            assert_eq!(find(&gpu.name).unwrap().name, gpu.name);
        }
    }

    #[test]
    fn an_unknown_name_lists_the_known_and_the_nearest() {
        let error = find("L21").unwrap_err();
        assert_eq!(error.nearest, "L20");
        assert_eq!(error.known.len(), known().len());
        assert!(
            error
                .to_string()
                .starts_with("unknown GPU \"L21\": did you mean L20? Known: L20, L40")
        );
    }
}
