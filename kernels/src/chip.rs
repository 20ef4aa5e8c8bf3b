//! The figures of a GPU that the physical bases use, in microseconds.

use topologies::{DType, Gpu};

/// A GPU's figures per microsecond.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Chip {
    /// Streaming multiprocessors.
    pub sm: f64,
    /// Dense bf16 peak, FLOP per microsecond.
    pub bf16: f64,
    /// Dense fp8 peak, FLOP per microsecond.
    pub fp8: Option<f64>,
    /// Dense nvfp4 peak, FLOP per microsecond.
    pub fp4: Option<f64>,
    /// Memory bandwidth, bytes per microsecond.
    pub bandwidth: f64,
    /// Level-2 cache, bytes.
    pub l2: f64,
    /// Exponent evaluations per microsecond, where published.
    pub exponent: Option<f64>,
}

impl Chip {
    /// From datasheet figures: multiprocessors, bf16 and fp8 TFLOP/s, GB/s, MB.
    #[cfg(test)]
    pub(crate) const fn datasheet(sm: f64, bf16: f64, fp8: Option<f64>, bw: f64, l2: f64) -> Self {
        let fp8 = match fp8 {
            Some(rate) => Some(rate * 1e6),
            None => None,
        };
        Self {
            sm,
            bf16: bf16 * 1e6,
            fp8,
            fp4: None,
            bandwidth: bw * 1e3,
            l2: l2 * 1e6,
            exponent: None,
        }
    }

    pub(crate) fn of(gpu: &Gpu) -> Self {
        Self {
            sm: f64::from(gpu.sm_count),
            bf16: gpu.peak_bf16.as_f64() / 1e6,
            fp8: gpu.peak_fp8.map(|rate| rate.as_f64() / 1e6),
            fp4: gpu.peak_fp4.map(|rate| rate.as_f64() / 1e6),
            bandwidth: gpu.memory_bandwidth.as_f64() / 1e6,
            l2: gpu.l2.as_f64(),
            exponent: gpu.exponent_rate.map(|rate| rate / 1e6),
        }
    }

    /// The peak for a number format, FLOP per microsecond.
    pub(crate) fn peak(&self, dtype: DType) -> Option<f64> {
        match dtype {
            DType::Bf16 => Some(self.bf16),
            DType::Fp8 => self.fp8,
            DType::Nvfp4 => self.fp4,
        }
    }
}
