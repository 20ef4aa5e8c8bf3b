//! Operations of a diffusion transformer and what they cost on a GPU.

mod cost;
mod op;
pub mod store;

pub use cost::{Cost, CostModel, Miss, Provenance};
pub use op::{Compressor, Op};
pub use store::Mask;
