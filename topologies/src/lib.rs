//! Hardware: GPUs, links, routes and measured hosts, and the units everything is measured in.

pub mod gpu;
pub mod gpu_table;
pub mod host;
mod ids;
mod suggest;
pub mod units;

pub use gpu::{Architecture, DType, Gpu};
pub use host::CollectiveKind;
pub use ids::{DeviceId, LinkId};
pub use units::{Bandwidth, Bytes, FlopRate, Flops, SimDuration, SimTime, UnitError};
