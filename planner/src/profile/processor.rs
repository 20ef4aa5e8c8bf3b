//! A processor in the place of a GPU, to try profiles out where there is none.

use std::collections::BTreeMap;

use topologies::{Bandwidth, FlopRate, Gpu, gpu};

use super::points::{Part, Point, What};
use super::{About, ProfileError, rates};

/// The processor as a GPU of one multiprocessor: its fastest measured product is its peak, its measured
/// rates of memory and copies are its bandwidths. Fields that no cost uses are those of the first GPU known.
pub(super) fn gpu(
    path: &str,
    about: &About,
    points: &BTreeMap<Part, Vec<Point>>,
) -> Result<Gpu, ProfileError> {
    let nothing = || ProfileError::Nothing {
        profile: path.to_owned(),
    };
    let flops_per_us = |point: &Point| match &point.what {
        What::Gemm(gemm) => Some(2.0 * gemm.shape.map(f64::from).iter().product::<f64>() / gemm.us),
        _ => None,
    };
    let peak = points[&Part::Gemm]
        .iter()
        .filter_map(flops_per_us)
        .fold(0.0, f64::max);
    let memory = rates::memory(&points[&Part::Memory]).ok_or_else(nothing)?;
    let copy = rates::copy(&points[&Part::Copies], "h2d").ok_or_else(nothing)?;
    if peak == 0.0 {
        return Err(nothing());
    }
    let per_second = |per_us: f64| Bandwidth::new((per_us * 1e6) as u64);
    Ok(Gpu {
        name: about.gpu.clone(),
        form_factor: "processor".into(),
        sm_count: 1,
        memory_bandwidth: per_second(memory.bytes_per_us),
        peak_bf16: FlopRate::new((peak * 1e6) as u64),
        peak_fp8: None,
        peak_fp4: None,
        peak_fp32: None,
        boost_clock_hz: None,
        pcie: per_second(copy.bytes_per_us),
        nvlink: None,
        nvlink_form: None,
        exponent_rate: None,
        sustained_gemm: None,
        sustained_attention: None,
        sustained_attention_by_head: Vec::new(),
        sustained_source: String::new(),
        price_per_hour: None,
        source: format!("measured: {path}"),
        price_source: String::new(),
        notes: "a processor in the place of a GPU, to try the path out".into(),
        ..gpu::known()[0].clone()
    })
}
