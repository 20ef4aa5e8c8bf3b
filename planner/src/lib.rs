//! From a question to an answer: which plan, how fast, and how sure.

pub mod assign;
pub mod calibrate;
pub mod capacity;
pub mod csv_input;
pub mod interval;
pub mod launch;
pub mod profile;
pub mod runs;
pub mod search;
pub mod sweep;
pub mod validate;
