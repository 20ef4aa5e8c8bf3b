//! Why a measured row has no prediction.

use kernels::{Miss, UnknownKernel};
use sim::legality::Illegal;
use sim::model::{RequestError, UnknownModel};
use sim::plan::PlanTextError;
use sim::simulate::SimulationError;

use topologies::gpu::UnknownName;

use crate::runs::NoRun;

/// Why a measured row has no prediction.
#[derive(Clone, Debug, PartialEq)]
pub enum Reason {
    /// It is no run.
    NoRun(NoRun),
    /// It ran out of memory: scored by the memory model.
    OutOfMemory,
    /// There is no value.
    NoValue,
    /// Its plan may not run.
    Illegal(Illegal),
    /// Its value takes this many times the peak of its GPUs.
    BeyondPeak(f64),
    /// Nothing measured or assumed covers its operations or messages.
    NoCost,
    /// How its ranks are split is not stated, so that memory is not known.
    SplitNotStated,
    /// Nothing known covers the operation or message.
    Miss(Miss),
    /// More multiplications in one call than were ever measured.
    Multiplications(f64),
    /// The number format of a kernel, in these words, is not modelled.
    KernelFormat(String),
    /// The number format of a message, in these words, is not modelled.
    MessageFormat(String),
    /// Attention in fp8 or nvfp4 is not modelled.
    ShortAttention,
    /// The cell of the mask is neither true nor false.
    Mask(String),
    /// The GPU of a chart is not known.
    Gpu(UnknownName),
    /// The attention kernel of a chart is not known.
    Kernel(UnknownKernel),
    /// Causal attention over other keys than its queries.
    CausalOverOthers,
    /// What a profiler calls an operation is not known.
    Operation(String),
    /// An operation of this name has other operands.
    Operands(String),
    /// Nothing predicts operations of this kind.
    NotModelled(&'static str),
    /// So many calls with this median cannot take this sum.
    Sum {
        /// Calls.
        count: f64,
        /// Their median, microseconds.
        median_us: f64,
        /// What they take together, microseconds.
        sum_us: f64,
    },
    /// The cells of shapes and types are no tuples.
    Shapes,
    /// The collective, in this word, is not modelled.
    Collective(String),
    /// A live run's model is not known.
    UnknownModel(UnknownModel),
    /// Virtual ranks do not run the blocks of this model.
    Blocks(String),
    /// The model has no blocks of the kinds that ran.
    Kinds {
        /// The model.
        model: String,
        /// The kinds, in order.
        kinds: Vec<String>,
    },
    /// The model has other heads than those that ran.
    Heads {
        /// The model.
        model: String,
        /// Its heads, and their width.
        has: (u64, u64),
        /// Those of the run.
        ran: (u64, u64),
    },
    /// The model cannot serve the request.
    Request(RequestError),
    /// The plan of a live run is not read.
    Plan(PlanTextError),
    /// The plan of a live run is of other ranks than ran.
    Ranks {
        /// The plan.
        plan: String,
        /// Its ranks.
        has: u32,
        /// Ranks that ran.
        ran: u32,
    },
    /// The plan cannot be simulated.
    Simulation(SimulationError),
}

impl From<NoRun> for Reason {
    fn from(reason: NoRun) -> Self {
        Self::NoRun(reason)
    }
}
