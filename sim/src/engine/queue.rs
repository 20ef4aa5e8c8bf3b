//! The event queue: earliest first, and first come first served among events of one instant.
//!
//! A radix heap (Ahuja, Mehlhorn, Orlin and Tarjan, JACM 1990): time never runs backwards, so an event waits
//! with those whose instant differs from the last one taken in the same highest binary digit.
//!
//! ```text
//!  last taken  1010 0110
//!  bucket 0    1010 0111              taken next: once its earliest is the last taken, what is left of
//!  bucket 3    1010 1xxx              the bucket moves to lower ones
//!  bucket 6    11xx xxxx
//! ```
//!
//! [`Queue::push`] takes constant time; an event moves at most 64 times until it is taken, and a few times
//! as a rule, in order: events of one instant are always in one bucket, so they need no numbers. Nothing
//! allocates once the buckets have grown.

use topologies::SimTime;

/// Pending events of type `E`.
#[derive(Debug)]
pub struct Queue<E> {
    /// The instant last taken.
    last: u64,
    /// Events of that instant, from `taken` on.
    current: Vec<E>,
    taken: usize,
    /// By the highest digit in which their instant differs from `last`.
    buckets: [Vec<(u64, E)>; 64],
    /// Which buckets are not empty.
    occupied: u64,
    /// The earliest instant in the buckets, where known.
    earliest: Option<u64>,
}

impl<E: Copy> Default for Queue<E> {
    fn default() -> Self {
        Self::new()
    }
}

impl<E: Copy> Queue<E> {
    /// An empty queue at time zero.
    #[must_use]
    pub fn new() -> Self {
        Self {
            last: 0,
            current: Vec::new(),
            taken: 0,
            buckets: std::array::from_fn(|_| Vec::new()),
            occupied: 0,
            earliest: None,
        }
    }

    /// Adds an event; among events of one instant it comes last.
    ///
    /// # Panics
    /// In debug builds, if `at` is before the last event taken.
    pub fn push(&mut self, at: SimTime, event: E) {
        let at = at.as_ps();
        debug_assert!(at >= self.last, "time does not run backwards");
        if at == self.last {
            self.current.push(event);
            return;
        }
        if self.earliest.is_some_and(|earliest| at < earliest) {
            self.earliest = Some(at);
        }
        self.put(at, event);
    }

    fn put(&mut self, at: u64, event: E) {
        let bucket = (at ^ self.last).ilog2();
        self.occupied |= 1 << bucket;
        self.buckets[bucket as usize].push((at, event));
    }

    /// Takes the first event.
    pub fn pop(&mut self) -> Option<(SimTime, E)> {
        if self.taken == self.current.len() {
            self.advance()?;
        }
        let event = self.current[self.taken];
        self.taken += 1;
        if self.taken == self.current.len() {
            self.taken = 0;
            self.current.clear();
        }
        Some((SimTime::from_ps(self.last), event))
    }

    /// The instant of the first event.
    pub fn next_at(&mut self) -> Option<SimTime> {
        if self.taken < self.current.len() {
            return Some(SimTime::from_ps(self.last));
        }
        self.find_earliest().map(SimTime::from_ps)
    }

    /// The earliest instant in the buckets.
    fn find_earliest(&mut self) -> Option<u64> {
        if self.occupied > 0 && self.earliest.is_none() {
            let lowest = &self.buckets[self.occupied.trailing_zeros() as usize];
            self.earliest = lowest.iter().map(|&(at, _)| at).min();
        }
        self.earliest
    }

    /// Makes the earliest instant the last one taken.
    fn advance(&mut self) -> Option<()> {
        self.last = self.find_earliest()?;
        self.earliest = None;
        let lowest = self.occupied.trailing_zeros();
        self.occupied &= self.occupied - 1;
        let mut bucket = std::mem::take(&mut self.buckets[lowest as usize]);
        for &(at, event) in &bucket {
            if at == self.last {
                self.current.push(event);
            } else {
                self.put(at, event);
            }
        }
        bucket.clear();
        self.buckets[lowest as usize] = bucket;
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Numbers;
    use std::collections::VecDeque;

    #[test]
    fn ties_go_by_insertion() {
        let mut queue = Queue::new();
        for (at, name) in [(5, "a"), (3, "b"), (5, "c"), (3, "d"), (5, "e")] {
            queue.push(SimTime::from_ps(at), name);
        }
        assert_eq!(queue.next_at(), Some(SimTime::from_ps(3)));
        let order: Vec<&str> = std::iter::from_fn(|| queue.pop().map(|(_, name)| name)).collect();
        assert_eq!(order, ["b", "d", "a", "c", "e"]);
        assert_eq!(queue.next_at(), None);
    }

    /// Against a list kept sorted by a stable sort, with looks ahead before earlier events come.
    #[test]
    fn events_come_in_the_order_of_a_sorted_list() {
        let mut numbers = Numbers::new(1);
        let mut queue = Queue::new();
        let mut plain: VecDeque<(SimTime, usize)> = VecDeque::new();
        let mut now = 0;
        for event in 0..50_000 {
            if numbers.below(5) < 2 {
                assert_eq!(queue.next_at(), plain.front().map(|&(at, _)| at));
            }
            if numbers.below(2) == 0 {
                let taken = queue.pop();
                assert_eq!(taken, plain.pop_front());
                now = taken.map_or(now, |(at, _)| at.as_ps());
            } else {
                let range = [3, 50, 1 << 40][numbers.below(3)];
                let at = SimTime::from_ps(now + numbers.below(range) as u64);
                queue.push(at, event);
                let place = plain.partition_point(|&(other, _)| other <= at);
                plain.insert(place, (at, event));
            }
        }
    }
}
