//! What collectives cost: on a host that was timed, in a measured table, and over links.
//!
//! | what is known | the time is from |
//! |---|---|
//! | rates of the host, or its wiring | [`HostRates`]: bus bandwidth by ranks |
//! | NVLink between all ranks | [`NcclTable`]: measured times of the system, or of the one that resembles it |
//! | the links alone | [`Group::decompose`]: NCCL's algorithm over them, as flows |
//! | one of the first two inside each of several nodes | [`Group::across`]: that stage, and flows over the network beside it |
//!
//! [`crate::platform::Platform::message`] asks them in that order.

mod decompose;
#[cfg(test)]
mod decompose_tests;
pub mod evaluate;
#[cfg(test)]
mod evaluate_tests;
mod interval;
mod nodes;
mod predict;
mod rates;
mod series;
mod systems;
mod table;
mod transfer;

pub use decompose::{Bundle, Decomposition, Group, Hop, HopKind, Protocol, flow_bytes};
pub(crate) use nodes::cap;
pub use nodes::{Algorithm, Inside, Staged, size_inside};
pub use predict::{Ask, CollectiveCost, Exclude};
pub use rates::{HostRates, Wiring};
pub use systems::{Fabric, System};
pub use table::{Element, KINDS, NcclTable, Row, TableError};
pub use transfer::Anchors;
