//! Answers as JSON: the machine-readable contract (docs/json).
//!
//! Durations are seconds, memory is bytes, shares are fractions; what is not known is `null`. Each answer is a struct, from
//! whose docs its schema comes (`crate::schemas`).

mod errors;
mod plan;
mod question;
mod values;

use serde::Serialize;
use serde_json::Value;

pub(crate) use errors::{Baselines, Score, baselines, known};
pub(crate) use plan::{Fidelity, Launch, Plan};
pub(crate) use question::{Execution, Question, Request};
pub(crate) use values::{Amount, ByClass, Word};

/// JSON as it is printed: indented, sorted by name, with a line end.
pub(crate) fn pretty(answer: &impl Serialize) -> String {
    format!("{:#}\n", value(answer))
}

/// An answer as a value; a number that is not finite is `null`.
pub(crate) fn value(answer: &impl Serialize) -> Value {
    serde_json::to_value(answer).expect("names of properties are text")
}
