//! A plan: how ranks share one request, as plain data that prints as one line.
//!
//! ```text
//! rank = ((((data * C + cfg) * P + stage) * O + outer) * U + ulysses) * T + tensor
//! ```
//! The tensor group is innermost and data parallelism outermost, as xDiT orders its groups
//! (docs/developer of xdit-project/xDiT); `placement[rank]` is the GPU that rank runs on.

mod compression;
mod execution;
mod precision;
mod text;

pub use compression::{Assignment, Compression, CompressionError, Phase};
pub use execution::{Components, Encoders, Execution, NoResidency, Residency, Weights};
pub use precision::{NoPrecision, Precision, SVDQ_RANK};
pub use text::PlanTextError;

use std::ops::Range;

use topologies::DeviceId;

/// What the ranks of a sequence group do beyond the Ulysses dimension.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Exchange {
    /// K and V travel round a ring, hop by hop; degree 1 is no exchange.
    Ring(u32),
    /// K and V are gathered by everyone (synchronous patch parallel).
    Gather(u32),
    /// Q is gathered along rows, K and V along columns.
    Attention2d {
        /// Ranks of a column: how many K, V parts are gathered.
        rows: u32,
        /// Ranks of a row: how many Q parts are gathered.
        columns: u32,
    },
    /// K and V of the previous step are used while this step's are gathered (DistriFusion).
    Displaced(u32),
}

impl Exchange {
    /// No exchange.
    pub const NONE: Self = Self::Ring(1);

    /// Ranks in the exchange.
    #[must_use]
    pub const fn degree(self) -> u32 {
        match self {
            Self::Ring(n) | Self::Gather(n) | Self::Displaced(n) => n,
            Self::Attention2d { rows, columns } => rows * columns,
        }
    }
}

/// The code that a ring of K and V runs in: what launching it and merging its partial outputs takes, whatever is sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RingLoop {
    /// The engine's own.
    #[default]
    Engine,
    /// CompactFusion's fused loop.
    Fused,
}

/// PipeFusion: blocks split over stages, the latent split in patches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pipeline {
    /// Stages; 1 is no pipeline.
    pub stages: u32,
    /// Patches a step is cut into; 1 when there is no pipeline.
    pub patches: u32,
}

impl Pipeline {
    /// No pipeline.
    pub const NONE: Self = Self {
        stages: 1,
        patches: 1,
    };
}

/// The blocks of each stage: as many as the first has in all but the last, which takes the rest (as xDiT splits); as even
/// as possible, the first ones larger, where that would leave a stage without any. Of more stages than blocks, which no
/// legal plan has, the last are empty.
///
/// # Panics
/// If there is no stage.
#[must_use]
pub fn stage_blocks(blocks: usize, stages: usize) -> Vec<Range<usize>> {
    assert!(stages > 0, "a plan has a stage");
    let each = blocks.div_ceil(stages);
    let (each, larger) = match each * (stages - 1) < blocks {
        true => (each, 0),
        false => (blocks / stages, blocks % stages),
    };
    let start = |stage: usize| (stage * each + stage.min(larger)).min(blocks);
    (0..stages)
        .map(|stage| start(stage)..start(stage + 1))
        .collect()
}

/// How ranks share one request.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Plan {
    /// Data parallel degree: images of a batch, split.
    pub data: u32,
    /// Classifier-free-guidance degree: 1 or 2.
    pub cfg: u32,
    /// PipeFusion.
    pub pipeline: Pipeline,
    /// What the sequence group does beyond Ulysses.
    pub exchange: Exchange,
    /// Ulysses degree.
    pub ulysses: u32,
    /// Tensor parallel degree.
    pub tensor: u32,
    /// What the K and V messages are sent as.
    pub compression: Compression,
    /// First steps that run synchronously and uncompressed.
    pub warmup: u32,
    /// Ranks that decode the VAE together; 1 decodes on one rank.
    pub vae: u32,
    /// What the ring runs in; without one it changes nothing.
    pub ring_loop: RingLoop,
    /// Where weights live, and what else is said beside the layout.
    pub execution: Execution,
    /// The GPU of each rank.
    pub placement: Vec<DeviceId>,
}

/// How far a plan's output is from the one-GPU output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fidelity {
    /// Equal up to the order of floating-point sums.
    Exact,
    /// Attention reads K and V of the previous step.
    Stale,
    /// K and V are compressed, or products quantised.
    Lossy,
}

/// Where a rank stands in every dimension of a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Coordinates {
    /// Data parallel replica.
    pub data: u32,
    /// Guidance branch.
    pub cfg: u32,
    /// Pipeline stage.
    pub stage: u32,
    /// Position in the exchange.
    pub outer: u32,
    /// Position in the Ulysses group.
    pub ulysses: u32,
    /// Position in the tensor group.
    pub tensor: u32,
}

impl Plan {
    /// One GPU, everything on it.
    #[must_use]
    pub fn single(device: DeviceId) -> Self {
        Self {
            data: 1,
            cfg: 1,
            pipeline: Pipeline::NONE,
            exchange: Exchange::NONE,
            ulysses: 1,
            tensor: 1,
            compression: Compression::Raw,
            warmup: 0,
            vae: 1,
            ring_loop: RingLoop::Engine,
            execution: Execution::default(),
            placement: vec![device],
        }
    }

    /// How many ranks the degrees multiply to.
    #[must_use]
    pub const fn ranks(&self) -> u32 {
        self.data * self.cfg * self.pipeline.stages * self.sequence() * self.tensor
    }

    /// How many parts the sequence is cut into: exchange times Ulysses.
    #[must_use]
    pub const fn sequence(&self) -> u32 {
        self.exchange.degree() * self.ulysses
    }

    /// The rank at given coordinates.
    #[must_use]
    pub const fn rank(&self, at: Coordinates) -> u32 {
        let group = (at.data * self.cfg + at.cfg) * self.pipeline.stages + at.stage;
        ((group * self.exchange.degree() + at.outer) * self.ulysses + at.ulysses) * self.tensor
            + at.tensor
    }

    /// The coordinates of a rank.
    #[must_use]
    pub const fn coordinates(&self, rank: u32) -> Coordinates {
        let (rest, tensor) = (rank / self.tensor, rank % self.tensor);
        let (rest, ulysses) = (rest / self.ulysses, rest % self.ulysses);
        let outer_degree = self.exchange.degree();
        let (rest, outer) = (rest / outer_degree, rest % outer_degree);
        let (rest, stage) = (rest / self.pipeline.stages, rest % self.pipeline.stages);
        let (data, cfg) = (rest / self.cfg, rest % self.cfg);
        Coordinates {
            data,
            cfg,
            stage,
            outer,
            ulysses,
            tensor,
        }
    }

    /// Exact, stale or lossy; a stale and compressed plan is lossy.
    #[must_use]
    pub const fn fidelity(&self) -> Fidelity {
        if !self.compression.is_raw() || self.execution.precision.is_lossy() {
            Fidelity::Lossy
        } else if self.is_stale() {
            Fidelity::Stale
        } else {
            Fidelity::Exact
        }
    }

    /// Ranks that hold the same weights of the transformer.
    #[must_use]
    pub const fn replicas(&self) -> u32 {
        self.data * self.cfg * self.sequence()
    }

    /// The same plan with its weights elsewhere.
    #[must_use]
    pub const fn with_residency(mut self, residency: Residency) -> Self {
        self.execution.residency = residency;
        self
    }

    /// Whether its first steps differ from the others: it is stale or compressed.
    #[must_use]
    pub const fn warms_up(&self) -> bool {
        !self.compression.is_raw() || self.is_stale()
    }

    /// Whether K and V travel round a ring of several ranks.
    #[must_use]
    pub const fn has_ring(&self) -> bool {
        matches!(self.exchange, Exchange::Ring(n) if n > 1)
    }

    /// Whether attention reads K and V of the previous step after warm-up.
    #[must_use]
    pub const fn is_stale(&self) -> bool {
        self.pipeline.stages > 1 || matches!(self.exchange, Exchange::Displaced(n) if n > 1)
    }

    /// Whether its ranks take the first GPUs in order, as where nothing says which.
    #[must_use]
    pub fn is_in_order(&self) -> bool {
        let first = (0..self.placement.len()).map(DeviceId::new);
        first.eq(self.placement.iter().copied())
    }

    /// The same plan on other GPUs, in rank order.
    ///
    /// # Panics
    /// If there is not one GPU for each rank.
    #[must_use]
    pub fn placed(mut self, placement: Vec<DeviceId>) -> Self {
        assert_eq!(
            placement.len(),
            self.ranks() as usize,
            "a placement names one GPU for each rank"
        );
        self.placement = placement;
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn coordinates_and_ranks_are_inverse() {
        let plan = Plan {
            data: 2,
            cfg: 2,
            pipeline: Pipeline {
                stages: 3,
                patches: 3,
            },
            exchange: Exchange::Ring(2),
            ulysses: 4,
            tensor: 2,
            ..Plan::single(DeviceId::new(0))
        };
        assert_eq!(plan.ranks(), 2 * 2 * 3 * 2 * 4 * 2);
        for rank in 0..plan.ranks() {
            assert_eq!(plan.rank(plan.coordinates(rank)), rank);
        }
    }
}
