//! Answers as people and programs read them.

pub(crate) mod figure;
pub(crate) mod file;
pub(crate) mod json;
pub(crate) mod page;
pub(crate) mod plans;
pub(crate) mod progress;
#[cfg(test)]
pub(crate) mod sample;
pub(crate) mod text;
pub(crate) mod words;
