//! How a plan is executed: compiled or not, by which software, and what was calibrated.

use std::collections::BTreeMap;

use kernels::AttentionKernel;
use topologies::host::Compilation;

use crate::platform::{HostMemory, RateFactors};
use crate::workload::BlockKind;

/// What was measured on the host, as factors on this crate's own figures.
#[derive(Clone, Debug, PartialEq)]
pub struct Calibration {
    /// GPU time over the cost model's.
    pub compute: f64,
    /// Launch time over that of xDiT's A100 host.
    pub launch: f64,
    /// Rates of collectives over the platform's own.
    pub rates: RateFactors,
    /// Memory-bound passes over a block's activation, by kind of block, where blocks were measured; others
    /// take the published fit's.
    pub passes: BTreeMap<BlockKind, f64>,
}

impl Calibration {
    /// What is assumed of a host without measurements.
    #[must_use]
    pub fn assumed(nvlink: bool) -> Self {
        Self {
            compute: 1.0,
            launch: Self::assumed_launch(nvlink),
            rates: RateFactors::new(),
            passes: BTreeMap::new(),
        }
    }

    /// The launch factor of a host without a launch-bound run: seen were 0.6 to 1.2 on NVLink
    /// servers and 0.5 to 0.65 on PCIe hosts (docs/calibration.md section 3).
    #[must_use]
    pub const fn assumed_launch(nvlink: bool) -> f64 {
        if nvlink { 1.0 } else { 0.5 }
    }
}

/// Software whose pipeline differs from the others'.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Software {
    /// The legacy code of the PipeFusion paper.
    PipeFusionLegacy,
    /// SGLang Diffusion: norms, modulation and rotary embeddings in kernels of its own.
    Sglang,
    /// xDiT and everything else.
    Other,
    /// `ditplan_capture.virtual`: ranks that share one GPU, nothing but blocks and messages.
    VirtualRanks,
}

impl Software {
    /// From which memory components are moved to the GPU for their phase, and how often each crosses the link in one request:
    /// SGLang keeps pinned copies and drops the GPU's, diffusers' hooks move modules there and back.
    #[must_use]
    pub const fn moves(self) -> (HostMemory, u64) {
        match self {
            Self::Sglang => (HostMemory::Pinned, 1),
            Self::PipeFusionLegacy | Self::Other | Self::VirtualRanks => (HostMemory::Pageable, 2),
        }
    }

    /// Whether it quantises activations in a kernel of its own, compiled or not.
    #[must_use]
    pub const fn fuses_quantising(self) -> bool {
        matches!(self, Self::Sglang)
    }

    /// What the slowest stage does beside its blocks, in blocks (docs/calibration.md section 5).
    #[must_use]
    pub const fn stage_extra(self) -> f64 {
        match self {
            Self::PipeFusionLegacy => 0.9,
            Self::Sglang | Self::Other => 0.3,
            Self::VirtualRanks => 0.0,
        }
    }

    /// Kernels that a block launches, over those of eager PyTorch.
    ///
    /// SGLang's fused kernels: 66 passes are 22 kernels beside 12 of products and attention, eager PyTorch's 185 are 62
    /// (docs/calibration.md section 3).
    #[must_use]
    pub const fn launched_share(self, compilation: Compilation) -> f64 {
        match (self, compilation) {
            (Self::Sglang, Compilation::Eager) => 0.46,
            _ => 1.0,
        }
    }
}

/// How a plan is executed.
#[derive(Clone, Debug, PartialEq)]
pub struct Execution {
    /// Eager or compiled.
    pub compilation: Compilation,
    /// Whose pipeline.
    pub software: Software,
    /// Who computes attention.
    pub attention: AttentionKernel,
    /// What was calibrated.
    pub calibration: Calibration,
}
