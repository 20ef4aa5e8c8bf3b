//! A module for each command; none imports another.

pub(crate) mod calibrate;
pub(crate) mod capacity;
pub(crate) mod compare;
pub(crate) mod cuda;
pub(crate) mod list;
pub(crate) mod machines;
pub(crate) mod plan;
pub(crate) mod replay;
pub(crate) mod report;
pub(crate) mod serve;
pub(crate) mod shell;
pub(crate) mod simulate;
pub(crate) mod sweep;
pub(crate) mod trace;
pub(crate) mod validate;
