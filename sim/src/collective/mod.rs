//! The cost of collectives.

pub mod evaluate;
mod interval;
mod predict;
mod series;
mod systems;
mod table;
mod transfer;

pub use predict::{Ask, CollectiveCost, Exclude};
pub use systems::{Fabric, System};
pub use table::{Element, KINDS, NcclTable, Row, TableError};
pub use transfer::Anchors;
