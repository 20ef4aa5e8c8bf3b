//! What questions that differ in a sweep's fields alone have in common, worked out once.
//!
//! | figure | depends on |
//! |---|---|
//! | launch factor and rates | the machine as it was measured, whatever links are asked about |
//! | calibration | those, and the model, the request but for its steps, the compilation |
//! | latency of one GPU | the request and the GPU, not the links |
//!
//! Guarantee: an answer with shared figures is the answer without (`tests/sweep.rs` compares them). Two threads may
//! work out the same figure at once; both find the same.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use sim::model::Request;
use topologies::SimDuration;
use topologies::host::Compilation;

use crate::calibrate::{Calibrated, HostFactors};
use crate::launch::Engine;

/// Figures kept of each kind; more make room by being forgotten all at once.
const MOST: usize = 4096;

/// Figures that several questions share. All questions given to one must have the measured machine, the known runs and the
/// profile of the first: changes of it by [`Field::set`], or other models and requests.
///
/// [`Field::set`]: crate::sweep::Field::set
#[derive(Debug, Default)]
pub struct Shared {
    pub(super) host: Memo<(), Arc<HostFactors>>,
    /// By model, request without its steps, compilation and engine.
    pub(super) calibrated: Memo<(&'static str, Request, Compilation, Engine), Arc<Calibrated>>,
    /// By request and by the GPU's name, which says how it was changed.
    pub(super) single: Memo<(Request, String), SimDuration>,
}

/// Values by what they depend on.
#[derive(Debug)]
pub(super) struct Memo<K, V>(Mutex<BTreeMap<K, V>>);

impl<K, V> Default for Memo<K, V> {
    fn default() -> Self {
        Self(Mutex::new(BTreeMap::new()))
    }
}

impl<K: Ord, V: Clone> Memo<K, V> {
    /// The value of `key`, made where it is not known. It is made without the lock: a thread that waited for another's
    /// work might be the one that the other waits for.
    pub(super) fn get<E>(&self, key: K, make: impl FnOnce() -> Result<V, E>) -> Result<V, E> {
        let known = || self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(value) = known().get(&key) {
            return Ok(value.clone());
        }
        let value = make()?;
        let mut known = known();
        if known.len() >= MOST {
            known.clear();
        }
        known.insert(key, value.clone());
        Ok(value)
    }
}
