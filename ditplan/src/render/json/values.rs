//! What figures and words are in JSON.

use std::collections::BTreeMap;
use std::fmt::Display;

use serde::{Serialize, Serializer};
use topologies::SimDuration;
use traces::timeline::SpanClass;

/// A number that is not negative; of a time, seconds.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(transparent)]
pub(crate) struct Amount(f64);

impl From<f64> for Amount {
    fn from(number: f64) -> Self {
        Self(number)
    }
}

impl From<SimDuration> for Amount {
    fn from(time: SimDuration) -> Self {
        Self(time.as_secs_f64())
    }
}

/// A word of a closed list, as people read it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Word<T>(pub T);

impl<T: Display> Serialize for Word<T> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(&self.0)
    }
}

/// Times by kind of work.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub(crate) struct ByClass<T = Amount>(BTreeMap<SpanClass, T>);

impl<T, U: Into<T>> FromIterator<(SpanClass, U)> for ByClass<T> {
    fn from_iter<I: IntoIterator<Item = (SpanClass, U)>>(times: I) -> Self {
        let times = times.into_iter();
        Self(times.map(|(class, time)| (class, time.into())).collect())
    }
}
