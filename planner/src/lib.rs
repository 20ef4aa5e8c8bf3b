//! From a question to an answer: which plan, how fast, and how sure.

pub mod assign;
pub mod calibrate;
pub mod capacity;
pub mod interval;
pub mod launch;
pub mod profile;
pub mod search;
pub mod sweep;
pub mod validate;
