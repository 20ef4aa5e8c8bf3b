//! Which measured GPU speaks for one without tables, and how far to trust it.
//!
//! | relation | example | residual taken | what moves the base |
//! |---|---|---|---|
//! | own | H100 SXM | all | - |
//! | same chip | H800 for H100 | all | - |
//! | sister | GB200, B300 for B200; H200 for H100 | all | peak, bandwidth, L2 |
//! | family | L4 for L40S, RTX 5090 for RTX PRO 6000 | half | all figures |
//! | generation | Hopper for an unmeasured data-centre GPU | half | all figures |
//! | foreign | MI300X, T4, V100; workstation for data centre | none | all figures |
//!
//! Half the residual beats all of it across generations (Hopper to B200, median and p90): bf16 10.4,
//! 22.8 against 10.9, 23.9 %; fp8 8.4, 28.9 against 9.9, 35.5 %. None of it is as good as half.
//!
//! A sister keeps its source's multiprocessor count: datasheets of the newest chips give the full
//! chip's, and the peak already carries the difference.

use topologies::{Architecture, DType, Gpu};

use crate::chip::Chip;

/// How a GPU is related to a measured one, closest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kinship {
    Own,
    SameChip,
    Sister,
    Family,
    Generation,
    Foreign,
}

impl Kinship {
    /// The relation of `target` to the measured `source`.
    pub(crate) fn of(source: &Gpu, target: &Gpu) -> Self {
        let same = Chip::of(source) == Chip::of(target);
        if same && source.name == target.name {
            return Self::Own;
        }
        let near = |a: f64, b: f64| (a / b).max(b / a) < 1.15;
        let (from, to) = (Chip::of(source), Chip::of(target));
        let relative = chip_line(source) == chip_line(target);
        match relative {
            true if same => Self::SameChip,
            true if near(from.sm, to.sm) && near(from.bf16, to.bf16) => Self::Sister,
            true => Self::Family,
            false if tabled_line(source) && tabled_line(target) => Self::Generation,
            false => Self::Foreign,
        }
    }

    /// Whether a sustained rate of the GPU itself says more than this relative.
    ///
    /// Not across generations: Hopper's tables predict B200 to 10 / 23 %, its sustained rate with
    /// Hopper's overheads to 13 / 28 %.
    pub(crate) fn yields_to_sustained(self) -> bool {
        matches!(self, Self::Family | Self::Foreign)
    }

    /// The share of the source's residual that is kept.
    pub(crate) fn residual_share(self) -> f64 {
        match self {
            Self::Own | Self::SameChip | Self::Sister => 1.0,
            Self::Family | Self::Generation => 0.5,
            Self::Foreign => 0.0,
        }
    }

    /// Half-width of a borrowed matrix product's interval.
    pub(crate) fn gemm_half_width(self, dtype: DType) -> f64 {
        let short = dtype != DType::Bf16;
        match self {
            Self::Own => 0.0,
            Self::SameChip => 0.12,
            Self::Sister if short => 0.25,
            Self::Sister => 0.16,
            Self::Family => 0.40,
            Self::Generation if short => 0.60,
            Self::Generation => 0.30,
            Self::Foreign => 0.60,
        }
    }

    /// Half-width of a borrowed attention's interval.
    pub(crate) fn attention_half_width(self) -> f64 {
        match self {
            Self::Own => 0.0,
            Self::SameChip => 0.08,
            Self::Sister => 0.15,
            Self::Family => 0.40,
            Self::Generation => 0.45,
            Self::Foreign => 0.60,
        }
    }

    /// `target`'s figures as a base fitted on `source` should see them.
    pub(crate) fn chip(self, source: &Chip, target: &Chip, dtype: DType) -> Chip {
        match self {
            Self::Own | Self::SameChip => *source,
            // Measured fp8 times are not limited by bandwidth: between H100 and H200 a plain copy
            // (4.4 % median) beats scaling it.
            Self::Sister if dtype == DType::Fp8 => Chip {
                bandwidth: source.bandwidth,
                l2: source.l2,
                sm: source.sm,
                ..*target
            },
            Self::Sister => Chip {
                sm: source.sm,
                ..*target
            },
            Self::Family | Self::Generation | Self::Foreign => *target,
        }
    }
}

/// Chips that share a design: an architecture, data-centre and workstation lines apart.
pub(crate) fn chip_line(gpu: &Gpu) -> (Architecture, bool) {
    let architecture = match gpu.architecture {
        Architecture::BlackwellUltra => Architecture::Blackwell,
        other => other,
    };
    (architecture, data_centre(gpu))
}

/// Data-centre GPUs whose generations resemble each other: Ampere, Hopper, Blackwell.
fn tabled_line(gpu: &Gpu) -> bool {
    let apart = matches!(gpu.architecture, Architecture::Volta | Architecture::Cdna3);
    data_centre(gpu) && !apart
}

/// Whether the GPU has stacked memory: above 900 GB/s and not a GDDR card (the fastest has 1,792).
pub(crate) fn data_centre(gpu: &Gpu) -> bool {
    match gpu.architecture {
        Architecture::Ada | Architecture::Turing => false,
        Architecture::Ampere => gpu.memory_bandwidth.get() > 900_000_000_000,
        Architecture::Blackwell => gpu.memory_bandwidth.get() > 3_000_000_000_000,
        Architecture::Volta
        | Architecture::Hopper
        | Architecture::BlackwellUltra
        | Architecture::Cdna3 => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use topologies::gpu;

    fn kin(source: &str, target: &str) -> Kinship {
        Kinship::of(gpu::find(source).unwrap(), gpu::find(target).unwrap())
    }

    #[test]
    fn relations_of_known_gpus() {
        assert_eq!(kin("H100-SXM", "H100-SXM"), Kinship::Own);
        assert_eq!(kin("H100-SXM", "H800-SXM"), Kinship::SameChip);
        assert_eq!(kin("H100-SXM", "H200-SXM"), Kinship::Sister);
        assert_eq!(kin("B200", "GB200"), Kinship::Sister);
        assert_eq!(kin("B200", "B300"), Kinship::Sister);
        assert_eq!(kin("H100-SXM", "H100-PCIe"), Kinship::Family);
        assert_eq!(kin("B200", "RTX5090"), Kinship::Foreign);
        assert_eq!(kin("RTX PRO 6000 Server", "RTX5090"), Kinship::Family);
        assert_eq!(kin("H100-SXM", "B200"), Kinship::Generation);
        assert_eq!(kin("L40S", "H100-SXM"), Kinship::Foreign);
        assert_eq!(kin("H100-SXM", "MI300X"), Kinship::Foreign);
    }

    #[test]
    fn a_what_if_gpu_is_not_its_namesake() {
        let known = gpu::find("H100-SXM").unwrap();
        let mut faster = known.clone();
        faster.memory_bandwidth = faster.memory_bandwidth * 2;
        assert_eq!(Kinship::of(known, &faster), Kinship::Sister);
    }
}
