//! When each path's first transfer ends: a heap whose entries can be changed and taken out.
//!
//! A heap of four children per parent, ordered by (time, path), with each path's place in it: a change
//! costs time logarithmic in the number of entries, many changes together [`Finishes::rebuild`] in
//! proportion to it.

use topologies::SimTime;

/// A path that is not in the heap.
const ABSENT: u32 = u32::MAX;
/// Children per parent.
const ARITY: usize = 4;

/// A time and, in the last [`PATH_BITS`], a path: compared as one number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Entry(u128);

const PATH_BITS: u32 = u32::BITS;

impl Entry {
    fn new(at: SimTime, path: u32) -> Self {
        Self(u128::from(at.as_ps()) << PATH_BITS | u128::from(path))
    }

    fn at(self) -> SimTime {
        SimTime::from_ps((self.0 >> PATH_BITS) as u64)
    }

    fn path(self) -> u32 {
        self.0 as u32
    }
}

/// The heap.
#[derive(Debug)]
pub(super) struct Finishes {
    heap: Vec<Entry>,
    /// By path.
    place: Vec<u32>,
}

impl Finishes {
    /// An empty heap for `paths` paths.
    pub(super) fn new(paths: usize) -> Self {
        Self {
            heap: Vec::new(),
            place: vec![ABSENT; paths],
        }
    }

    /// The earliest entry.
    pub(super) fn first(&self) -> Option<(SimTime, u32)> {
        let first = self.heap.first();
        first.map(|entry| (entry.at(), entry.path()))
    }

    pub(super) fn len(&self) -> usize {
        self.heap.len()
    }

    /// Gives `path` an entry, or changes it.
    pub(super) fn set(&mut self, path: u32, at: SimTime) {
        let mut place = self.place[path as usize] as usize;
        if place == ABSENT as usize {
            place = self.heap.len();
            self.heap.push(Entry::new(at, path));
        }
        self.heap[place] = Entry::new(at, path);
        self.rise(place);
        self.sink(self.place[path as usize] as usize);
    }

    /// Takes `path` out, if it is in.
    pub(super) fn remove(&mut self, path: u32) {
        let place = std::mem::replace(&mut self.place[path as usize], ABSENT) as usize;
        if place == ABSENT as usize {
            return;
        }
        self.heap.swap_remove(place);
        if let Some(&moved) = self.heap.get(place) {
            self.rise(place);
            self.sink(self.place[moved.path() as usize] as usize);
        }
    }

    /// As [`set`](Self::set) or, for what never ends, [`remove`](Self::remove) of each.
    pub(super) fn rebuild(&mut self, changes: impl Iterator<Item = (u32, Option<SimTime>)>) {
        for (path, at) in changes {
            let place = self.place[path as usize];
            match at {
                Some(at) if place == ABSENT => {
                    self.place[path as usize] = self.heap.len() as u32;
                    self.heap.push(Entry::new(at, path));
                }
                Some(at) => self.heap[place as usize] = Entry::new(at, path),
                None if place == ABSENT => {}
                None => {
                    self.heap.swap_remove(place as usize);
                    self.place[path as usize] = ABSENT;
                    if let Some(moved) = self.heap.get(place as usize) {
                        self.place[moved.path() as usize] = place;
                    }
                }
            }
        }
        for place in (0..self.heap.len().div_ceil(ARITY)).rev() {
            self.sink(place);
        }
    }

    /// Moves an entry towards the root until its parent is earlier.
    fn rise(&mut self, mut place: usize) {
        let entry = self.heap[place];
        while place > 0 {
            let parent = (place - 1) / ARITY;
            if self.heap[parent] <= entry {
                break;
            }
            self.put(place, self.heap[parent]);
            place = parent;
        }
        self.put(place, entry);
    }

    /// Moves an entry away from the root until its children are later.
    fn sink(&mut self, mut place: usize) {
        let (entry, before) = (self.heap[place], place);
        loop {
            let first = place * ARITY + 1;
            let end = (first + ARITY).min(self.heap.len());
            let (mut child, mut least) = (place, entry);
            for other in first..end {
                if self.heap[other] < least {
                    (child, least) = (other, self.heap[other]);
                }
            }
            if child == place {
                break;
            }
            self.put(place, least);
            place = child;
        }
        if place != before {
            self.put(place, entry);
        }
    }

    fn put(&mut self, place: usize, entry: Entry) {
        self.heap[place] = entry;
        self.place[entry.path() as usize] = place as u32;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Numbers;
    use std::collections::BTreeMap;

    /// Against a sorted map, over random changes.
    #[test]
    fn the_first_entry_is_the_earliest() {
        const PATHS: usize = 50;
        let mut numbers = Numbers::new(1);
        let mut heap = Finishes::new(PATHS);
        let mut plain: BTreeMap<u32, SimTime> = BTreeMap::new();
        for _ in 0..20_000 {
            let path = numbers.below(PATHS) as u32;
            let at = SimTime::from_ps(numbers.below(40) as u64);
            match numbers.below(20) {
                0 => {
                    let ends = |path: u32| (!path.is_multiple_of(3)).then_some(at);
                    heap.rebuild((path..PATHS as u32).map(|path| (path, ends(path))));
                    plain.retain(|&other, _| other < path);
                    let kept = (path..PATHS as u32).filter_map(|path| Some((path, ends(path)?)));
                    plain.extend(kept);
                }
                1..8 => {
                    heap.remove(path);
                    plain.remove(&path);
                }
                _ => {
                    heap.set(path, at);
                    plain.insert(path, at);
                }
            }
            let first = plain.iter().map(|(&path, &at)| (at, path)).min();
            assert_eq!((heap.first(), heap.len()), (first, plain.len()));
        }
    }
}
