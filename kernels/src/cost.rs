//! The one interface to costs: an operation on a GPU, its time, and where the number came from.

use thiserror::Error;
use topologies::{Gpu, SimDuration};

use crate::op::Op;

/// Where a cost came from, best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Provenance {
    /// This shape was measured on this GPU.
    Measured,
    /// Between shapes measured on this GPU.
    Interpolated,
    /// Beyond the shapes measured on this GPU: the residual is held, the physical base moves.
    Extrapolated,
    /// Borrowed from the tables of a related GPU, moved by the two datasheets.
    Borrowed,
    /// From the datasheet and sustained rates alone.
    Datasheet,
}

/// What an operation costs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cost {
    /// Time on the GPU, launch gaps excluded.
    pub time: SimDuration,
    /// Where the time came from.
    pub provenance: Provenance,
    /// Half-width of the 90 % interval, as a fraction of `time`.
    pub half_width: f64,
}

/// Why an operation has no cost.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Miss {
    /// The GPU's figures do not cover this operation.
    #[error("{gpu} has no figure for {what}: {remedy}")]
    NoFigure {
        /// The GPU.
        gpu: String,
        /// What is missing.
        what: String,
        /// What to do.
        remedy: String,
    },
}

/// Gives the cost of an operation on a GPU.
///
/// Implementations are pure: equal arguments give equal answers, in any order and from any thread.
pub trait CostModel: Sync {
    /// The cost of `op` on `gpu`.
    ///
    /// # Errors
    /// A [`Miss`] when nothing known covers it; never a silent default.
    fn cost(&self, op: &Op, gpu: &Gpu) -> Result<Cost, Miss>;
}
