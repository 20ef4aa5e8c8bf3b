//! Requests that wait: a queue for each shape, in the order of arrival.

use std::collections::VecDeque;

use super::pool::{Pool, Routing};

/// Requests that wait, by shape.
///
/// Invariant: each queue ascends.
#[derive(Clone, Debug)]
pub(super) struct Waiting {
    queues: Vec<VecDeque<u32>>,
}

impl Waiting {
    pub fn new(shapes: usize) -> Self {
        Self {
            queues: vec![VecDeque::new(); shapes],
        }
    }

    /// Takes in a request: at its place by arrival, as those come back that a failure threw out.
    pub fn push(&mut self, shape: usize, request: u32) {
        let queue = &mut self.queues[shape];
        if queue.back().is_none_or(|last| *last < request) {
            queue.push_back(request);
        } else {
            let place = queue.partition_point(|other| *other < request);
            queue.insert(place, request);
        }
    }

    /// Whose turn it is, with as many more of the same shape as a batch takes, into `batch`; gives back
    /// their shape.
    pub fn take(&mut self, pool: &Pool, batch: &mut Vec<u32>) -> Option<usize> {
        let heads = self.queues.iter().enumerate();
        let heads = heads.filter_map(|(shape, queue)| Some((shape, *queue.front()?)));
        let next = match pool.routing() {
            Routing::Fifo | Routing::LeastLoaded => heads.min_by_key(|(_, request)| *request),
            Routing::Shortest => {
                heads.min_by_key(|(shape, request)| (pool.time(*shape, 1), *request))
            }
        };
        let (shape, _) = next?;
        let queue = &mut self.queues[shape];
        let count = queue.len().min(pool.largest_batch(shape));
        batch.clear();
        batch.extend(queue.drain(..count));
        Some(shape)
    }

    /// Everyone, in the order of arrival.
    pub fn drain(&mut self) -> Vec<(usize, u32)> {
        let queues = self.queues.iter_mut().enumerate();
        let mut all: Vec<(usize, u32)> = queues
            .flat_map(|(shape, queue)| queue.drain(..).map(move |request| (shape, request)))
            .collect();
        all.sort_by_key(|(_, request)| *request);
        all
    }
}
