//! What a plan keeps in one GPU's memory: weights, activations, caches, and whether it fits.
//!
//! ```text
//!            encode              denoise                          decode
//! all run    transformer + encoders + VAE weights (or one of them, when moved in turn), runtime
//! phase      -                   activations + gathers + caches   VAE activations (+ caches)
//! peak = the phase with the most, on the rank with the most
//! ```
//! With A one activation (rows x tokens on the rank x width x 2 bytes), f the feed-forward width
//! over the residual width, T the tensor degree, a block's activations at their peak are
//! ```text
//! separate feed-forward   (4 + 2f/T) A    residual, norm, modulated input, output; two of width f
//! fused output (FLUX)     (3 + (5 + 2f)/T) A    also Q, K, V, attention and their join
//! ```
//! Checks on counted allocations (xDiT's and PipeFusion's charts, one GPU): PixArt 12.1 and 12.4 A
//! against 12, SD3 13.1 against 12, FLUX 16.1 against 16.
//!
//! A single-precision residual stream doubles the parts that are not divided by T.
//!
//! A GPU's memory is the vendor's figure in units of 10^9 bytes; drivers report 0 to 7 % more (A100-80
//! 85.9, L20 48.3, RTX 4090 25.8), which stands for the allocator's fragmentation.
//!
//! Not modelled: fragmentation itself, loading peaks, reference images, LoRA weights, and
//! leaks of single implementations (diffusers' ring keeps 22 GB more than its Ulysses).

mod shares;
mod stored;
#[cfg(test)]
mod tests;

pub use stored::{Decoding, Precision, Stored};

use topologies::{Bytes, Gpu};

use crate::plan::{self, Components, Plan, Residency, Weights};
use crate::workload::Workload;
use shares::Share;

/// CUDA context, kernels' code and cuBLAS workspaces. Assumption: 0.6 GB, what `nvidia-smi` shows
/// for a process that has run one GEMM on an Ampere or Hopper GPU.
const CONTEXT: Bytes = Bytes::new(600_000_000);

/// NCCL buffers of one communicator. Assumption: 16 channels of three protocol buffers of about
/// 10 MB in sum (4 MB Simple, 4.7 MB LL128, 0.25 MB LL; NCCL_BUFFSIZE, NCCL_NCHANNELS), in and out.
const COMMUNICATOR: Bytes = Bytes::new(300_000_000);

/// What a GPU does when its memory is fullest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Encoding the prompt.
    Encode,
    /// The denoising loop.
    Denoise,
    /// Decoding the latent.
    Decode,
}

/// What stands in a GPU's memory at its peak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    /// The rank with the most.
    pub rank: u32,
    /// When.
    pub phase: Phase,
    /// Weights of the transformer.
    pub weights: Bytes,
    /// Weights of the encoders.
    pub encoders: Bytes,
    /// Activations and transient gathers of one block.
    pub activations: Bytes,
    /// K and V kept from step to step by stale strategies.
    pub kv_cache: Bytes,
    /// Residual bases of a compressor.
    pub bases: Bytes,
    /// Weights and, while decoding, activations of the VAE.
    pub vae: Bytes,
    /// CUDA context and NCCL buffers: on the device, not in PyTorch's counters.
    pub runtime: Bytes,
    /// Sum of the above.
    pub total: Bytes,
    /// Whether the total is at most the GPU's memory.
    pub fits: Fit,
}

/// Whether a plan fits a GPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fit {
    /// With this much to spare.
    Fits(Bytes),
    /// This much is missing.
    Exceeds(Bytes),
}

impl Fit {
    /// Whether it fits.
    #[must_use]
    pub const fn is_fit(self) -> bool {
        matches!(self, Self::Fits(_))
    }
}

impl Memory {
    /// What PyTorch's `max_memory_allocated` would count: the total without the runtime.
    #[must_use]
    pub fn allocated(&self) -> Bytes {
        Bytes::new(self.total.get() - self.runtime.get())
    }
}

/// The peak of the rank that needs the most. Two transformers that take turns are both resident, but for components in turn.
///
/// # Panics
/// If the plan is not legal for the workload: check it first.
#[must_use]
pub fn peak(workload: &Workload, plan: &Plan, gpu: &Gpu, stored: &Stored) -> Memory {
    (0..plan.pipeline.stages)
        .map(|stage| {
            let rank = plan.rank(crate::plan::Coordinates {
                data: 0,
                cfg: 0,
                stage,
                outer: 0,
                ulysses: 0,
                tensor: 0,
            });
            peak_of(workload, plan, gpu, stored, rank)
        })
        .reduce(|most, next| if next.total > most.total { next } else { most })
        .expect("a legal plan has at least one stage")
}

/// The peak of one rank. Ranks of a stage are alike.
///
/// # Panics
/// As [`peak`], and if there is no such rank.
#[must_use]
pub fn peak_of(workload: &Workload, plan: &Plan, gpu: &Gpu, stored: &Stored, rank: u32) -> Memory {
    assert!(
        rank < plan.ranks(),
        "a rank's memory is asked of a rank of the plan"
    );
    let experts = match plan.execution.residency.components {
        Components::Together => workload.model.experts.count(),
        Components::InTurn => 1,
    };
    let running = Share::new(workload, plan, stored, rank, experts).worst(gpu);
    if !stored.quantised_there || !plan.execution.precision.is_lossy() {
        return running;
    }
    let mut loaded = plan.clone();
    loaded.execution.precision = plan::Precision::Bf16;
    let loading = Share::new(workload, &loaded, stored, rank, experts).phase(Phase::Encode, gpu);
    if loading.total > running.total {
        loading
    } else {
        running
    }
}

/// How many of the transformer's blocks can stay on the GPU beside the others' copies, with the memory that takes; `None`
/// where not even none of them fits.
///
/// # Panics
/// As [`peak`].
#[must_use]
pub fn most_resident(
    workload: &Workload,
    plan: &Plan,
    gpu: &Gpu,
    residency: Residency,
    ahead: u32,
) -> Option<(Residency, Memory)> {
    let of = |resident: u32| {
        let transformer = Weights::Layerwise { resident, ahead };
        let residency = Residency {
            transformer,
            ..residency
        };
        let plan = plan.clone().with_residency(residency);
        let memory = peak(workload, &plan, gpu, &Stored::default());
        memory.fits.is_fit().then_some((residency, memory))
    };
    let blocks = u32::try_from(workload.layers.order.len()).expect("a model has few blocks");
    // What fits with more blocks fits with fewer: the first that does not ends the range.
    let fitting: Vec<u32> = (0..blocks).collect();
    let most = fitting.partition_point(|&resident| of(resident).is_some());
    most.checked_sub(1).and_then(|most| of(fitting[most]))
}
