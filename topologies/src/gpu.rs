//! GPUs: datasheet figures, each with its source.

use crate::units::{Bandwidth, Bytes, FlopRate};

/// A number format that GPUs compute in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DType {
    /// bfloat16 (or IEEE half: the same rate on every GPU known here).
    Bf16,
    /// 8-bit floating point, e4m3.
    Fp8,
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
    /// PCIe bandwidth, one way.
    pub pcie: Bandwidth,
    /// NVLink (or xGMI) bandwidth, one way, all links together.
    pub nvlink: Option<Bandwidth>,
    /// Exponent evaluations per second (the other limit of attention), where published.
    pub exponent_rate: Option<f64>,
    /// Sustained bf16 GEMM rate, where measured or inferred from published runs.
    pub sustained_gemm: Option<FlopRate>,
    /// Sustained bf16 attention rate, where measured or inferred from published runs.
    pub sustained_attention: Option<FlopRate>,
    /// Rental price in US dollars per GPU-hour, where known.
    pub price_per_hour: Option<f64>,
    /// Where the datasheet figures are from.
    pub source: String,
    /// Where the price is from.
    pub price_source: String,
    /// Remarks.
    pub notes: String,
}
