//! Timelines and traces: what ran where and when.

pub mod timeline;
