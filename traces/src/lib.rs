//! Timelines and traces: what ran where and when, and which activations it computed.

pub mod bounded;
pub mod bundled;
pub mod testing;
pub mod timeline;
pub mod trace;
pub mod whole;
