//! The nearest cells found so far, in a heap whose top is the farthest.
//!
//! Guarantee: equally near cells go by position, so the same cells are kept whatever the order of
//! the search.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

/// A grid cell, and its position on each axis.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Neighbour {
    pub distance: f64,
    pub at: [usize; 3],
}

/// The best candidates so far, in a heap whose top is the worst.
pub(crate) struct Nearest {
    count: usize,
    /// No farther cell can enter.
    pub limit: f64,
    heap: BinaryHeap<Farther>,
}

#[derive(PartialEq)]
struct Farther(Neighbour);

impl Eq for Farther {}

impl PartialOrd for Farther {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Farther {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0
            .distance
            .total_cmp(&other.0.distance)
            .then(self.0.at.cmp(&other.0.at))
    }
}

impl Nearest {
    pub(crate) fn new(count: usize) -> Self {
        Self {
            count,
            limit: f64::INFINITY,
            heap: BinaryHeap::with_capacity(count + 1),
        }
    }

    pub(crate) fn offer(&mut self, candidate: Neighbour) {
        self.heap.push(Farther(candidate));
        if self.heap.len() > self.count {
            self.heap.pop();
        }
        if self.heap.len() == self.count
            && let Some(worst) = self.heap.peek()
        {
            self.limit = worst.0.distance;
        }
    }

    pub(crate) fn finish(self) -> Vec<Neighbour> {
        self.heap
            .into_sorted_vec()
            .into_iter()
            .map(|item| item.0)
            .collect()
    }
}
