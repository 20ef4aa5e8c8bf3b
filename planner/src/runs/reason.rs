//! Why a published row is no run.

use sim::model::RequestError;
use sim::plan::PlanTextError;
use thiserror::Error;
use topologies::topology::TopologyError;

/// Why a published row is no run: a cell that is not read, or that says what is not simulated.
#[derive(Clone, Debug, PartialEq)]
pub enum NoRun {
    /// No model is called as the cell says.
    UnknownModel {
        /// The cell.
        cell: String,
        /// The most similar known name.
        nearest: &'static str,
    },
    /// The model is a U-Net.
    UNet(&'static str),
    /// A cell that is not what its column holds.
    Odd {
        /// The column.
        column: &'static str,
        /// The cell.
        cell: String,
        /// What to write.
        wanted: &'static str,
    },
    /// A lever that is not simulated, with its cell.
    Lever(Lever, String),
    /// How many GPUs is not stated.
    GpusNotStated,
    /// The GPU is not stated; what the cell says instead.
    GpuNotStated(String),
    /// Of this GPU there are no figures.
    UnknownGpu(String),
    /// An emulated link of so few GB/s is none.
    EmulatedLink(f64),
    /// What joins its boxes is not stated.
    BoxesNotJoined,
    /// The machine cannot have such links.
    Links(TopologyError),
    /// Messages on the machine have no cost.
    NoPlatform(kernels::Miss),
    /// The size is not stated.
    ResolutionNotStated,
    /// The frames of the video are not stated.
    FramesNotStated,
    /// The steps are not stated.
    StepsNotStated,
    /// The steps, in these words, are of stages of different sizes.
    Stages(String),
    /// The cell of the batch is not read.
    Batch(String),
    /// More work than was ever run.
    TooLarge {
        /// Tokens of an image with its text.
        tokens: f64,
        /// Steps.
        steps: u32,
    },
    /// The model cannot serve the request.
    Request(RequestError),
    /// The strategy or the compressor is no plan.
    Cell(CellError),
}

/// Levers that have a column of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lever {
    /// Skips steps.
    Cache,
    /// Weights in another number format.
    Precision,
    /// Another attention kernel.
    Attention,
    /// Weights that are not resident.
    Offload,
    /// What the remarks say.
    Notes,
}

/// Why a strategy or compressor is no plan: of a row a reason, of a machine file an error.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum CellError {
    /// A word for what no plan says.
    #[error("{0}")]
    NotSimulated(&'static str),
    /// A degree that is not that of the row.
    #[error("{name}{degree} on {gpus} GPUs")]
    Degree {
        /// Of what.
        name: &'static str,
        /// How many.
        degree: u32,
        /// GPUs of the row.
        gpus: u32,
    },
    /// What the cell says is not read as a plan.
    #[error("\"{cell}\": {error}")]
    NoPlan {
        /// The cell.
        cell: String,
        /// Why not.
        error: PlanTextError,
    },
    /// Other ranks than GPUs.
    #[error("the degrees of \"{cell}\" do not multiply to {gpus} GPUs")]
    Ranks {
        /// The cell.
        cell: String,
        /// GPUs of the row.
        gpus: u32,
    },
    /// None of the splits that the cell stands for is legal.
    #[error("no legal layout for {0}")]
    NoLayout(&'static str),
    /// A word without a degree.
    #[error("\"{0}\" is not a strategy with a degree")]
    Token(String),
    /// Nothing in the cell splits the GPUs.
    #[error("\"{cell}\" on {gpus} GPUs: the split is not stated")]
    NoSplit {
        /// The cell.
        cell: String,
        /// GPUs of the row.
        gpus: u32,
    },
    /// The cell is no compressor.
    #[error("the compressor \"{0}\" is not known or not stated")]
    Compressor(String),
}

impl From<RequestError> for NoRun {
    fn from(error: RequestError) -> Self {
        Self::Request(error)
    }
}

impl From<CellError> for NoRun {
    fn from(error: CellError) -> Self {
        Self::Cell(error)
    }
}
