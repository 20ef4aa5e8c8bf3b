//! The event queue: earliest first, and first come first served among events of one instant.
//!
//! A binary heap ordered by (time, insertion number). [`Queue::push`] and [`Queue::pop`] take time
//! logarithmic in the number of pending events; neither allocates once the heap has grown.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use topologies::SimTime;

/// Pending events of type `E`.
#[derive(Debug)]
pub(crate) struct Queue<E> {
    heap: BinaryHeap<Entry<E>>,
    pushed: u64,
}

#[derive(Debug)]
struct Entry<E> {
    at: SimTime,
    number: u64,
    event: E,
}

impl<E> Ord for Entry<E> {
    /// Reversed, because the standard heap gives its greatest entry first.
    fn cmp(&self, other: &Self) -> Ordering {
        (other.at, other.number).cmp(&(self.at, self.number))
    }
}

impl<E> PartialOrd for Entry<E> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<E> PartialEq for Entry<E> {
    fn eq(&self, other: &Self) -> bool {
        self.number == other.number
    }
}

impl<E> Eq for Entry<E> {}

impl<E> Queue<E> {
    pub(crate) fn new() -> Self {
        Self {
            heap: BinaryHeap::new(),
            pushed: 0,
        }
    }

    /// Adds an event; among events of one instant it comes last.
    pub(crate) fn push(&mut self, at: SimTime, event: E) {
        let number = self.pushed;
        self.pushed += 1;
        self.heap.push(Entry { at, number, event });
    }

    /// Takes the first event.
    pub(crate) fn pop(&mut self) -> Option<(SimTime, E)> {
        self.heap.pop().map(|Entry { at, event, .. }| (at, event))
    }

    /// The instant of the first event.
    pub(crate) fn next_at(&self) -> Option<SimTime> {
        self.heap.peek().map(|entry| entry.at)
    }

    /// How many events have ever been added.
    pub(crate) fn pushed(&self) -> u64 {
        self.pushed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ties_go_by_insertion_number() {
        let mut queue = Queue::new();
        for (at, name) in [(5, "a"), (3, "b"), (5, "c"), (3, "d"), (5, "e")] {
            queue.push(SimTime::from_ps(at), name);
        }
        assert_eq!(queue.next_at(), Some(SimTime::from_ps(3)));
        let order: Vec<&str> = std::iter::from_fn(|| queue.pop().map(|(_, name)| name)).collect();
        assert_eq!(order, ["b", "d", "a", "c", "e"]);
        assert_eq!(queue.pushed(), 5);
    }
}
