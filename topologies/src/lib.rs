//! Hardware: GPUs, links, routes and measured hosts, and the units everything is measured in.

pub mod export;
pub mod fault;
mod file;
pub mod gpu;
pub mod gpu_table;
pub mod host;
mod ids;
pub mod import;
pub mod machine;
pub mod suggest;
pub mod topology;
pub mod units;

pub use fault::{Condition, Fault, FaultError, Faults, SpeedFactor};
pub use gpu::{Architecture, DType, Gpu};
pub use host::{CollectiveKind, CollectiveRate, Host, MeasuredRun, PublishedHost};
pub use ids::{DeviceId, LinkId};
pub use machine::{Machine, MachineError, hypothetical};
pub use topology::{Link, LinkKind, PeerToPeer, Route, VertexId};
pub use units::{Bandwidth, Bytes, FlopRate, Flops, SimDuration, SimTime, UnitError};
