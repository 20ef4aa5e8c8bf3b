//! The shares themselves: what each link carries, and progressive filling of what has changed.
//!
//! A *path* stands for all transfers under way on it, which have one rate. Between fillings every rate is
//! final (*fixed*) and every full link knows its *level*. A change touches some links; filling then sweeps
//! levels upwards, and at each level
//!
//! ```text
//!  1. a touched link that was full at this level and is not any more lets go of the paths that it alone
//!     held: they rise on, which touches their other links;
//!  2. touched links that are full at this level stop the paths that rise on them, and cut those that
//!     were faster, which touches the full links that these leave.
//! ```
//!
//! A link's `key` is a level below which nothing happens to it: its old level, or the level at which the
//! paths that rise on it would fill it. A link whose key has come is evaluated exactly, over its paths.
//! Links that no change reaches are never looked at.
//!
//! Where a change touches most paths anyway, all rise together, which needs no evaluation (`full.rs`).
//!
//! **Equal to the plain filling, to the unit** (`plain.rs`, tested on random networks). What is found at
//! levels below the sweep never changes: letting go at level *L* adds only paths that were slower than
//! any later level, cutting and stopping at *L* leaves more room. All links full at one level stop
//! together, and levels are quotients rounded down, which taking out paths at or below the level never
//! lowers; so the outcome is a function of the paths under way, in no order.

use std::ops::Range;

use topologies::Bandwidth;

use super::scale::{Scale, UNLIMITED, quotient};
use crate::graph::{Path, PathId};
use full::Course;
use pending::Pending;

/// A filling that looks at more paths than this many times all of them, link by link, is more work than a full one.
const LOOKS_PER_CROSSING: usize = 1;
/// Full fillings before another is tried that is not: at first, and at most after many tries.
const FULL_FILLINGS: Range<u32> = 32..1024;
/// So many entries of a queue are looked through faster than taken out one by one.
const FEW: usize = 64;
/// Marks of a full filling, if links are few.
const MARKS: usize = 8;

/// A link, on one line of the cache.
#[derive(Debug)]
#[repr(align(64))]
struct Link {
    /// What fixed paths leave of its capacity; while filling, paths that are still to be cut may take more.
    room: i128,
    /// The weights of rising paths.
    rising: u64,
    /// The weights of all paths.
    weight: u64,
    /// The rate that no path on it exceeds, if it is full; else [`UNLIMITED`].
    level: u64,
    /// While filling: nothing happens to it below this level.
    key: u64,
    /// While filling: how many of its paths are as they were before.
    untouched: u32,
    status: Status,
}

/// A path on a link.
#[derive(Clone, Copy, Debug)]
pub(super) struct OnLink {
    pub(super) path: u32,
    /// Its place in `shares`.
    share: u32,
}

/// What filling does with a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Status {
    Idle,
    Touched,
    /// Full at a level that the sweep has reached.
    Full,
}

/// What filling does with a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Motion {
    Fixed,
    Rising,
    /// Fixed again, at a rate found by this filling.
    Stopped,
}

/// A path and the transfers under way on it.
#[derive(Clone, Copy, Debug)]
struct Way {
    /// Its shares are `shares[first .. end]`.
    first: u32,
    end: u32,
    /// Transfers under way.
    count: u32,
    motion: Motion,
    /// Its rate, or while it rises its cap.
    limit: u64,
    /// [`UNLIMITED`] where there is none.
    cap: u64,
}

/// One link of a path.
#[derive(Clone, Copy, Debug)]
struct Share {
    link: u32,
    /// The path's place among those of the link.
    place: u32,
    /// The weight of one transfer.
    weight: u64,
}

/// Links, the paths on them, and their rates.
#[derive(Debug)]
pub(super) struct Filling {
    links: Vec<Link>,
    /// By link.
    capacities: Vec<i128>,
    on: Vec<Vec<OnLink>>,
    /// By path.
    ways: Vec<Way>,
    shares: Vec<Share>,
    /// The weight of all shares, if it is one.
    weight: Option<u64>,
    /// How many shares the paths have that have transfers under way.
    crossings: usize,
    /// How often this filling has looked at a path on a link.
    looks: usize,
    /// How many fillings more are full ones, and how many after the next try of another.
    full_left: u32,
    patience: u32,
    course: Course,
    /// How many paths rise.
    rising: usize,
    /// Paths and links that this filling has touched.
    touched_paths: Vec<u32>,
    touched_links: Vec<u32>,
    /// Keys of links, and after them caps of paths. A link's entry counts if it has the link's key.
    pending: Pending,
    /// What happens at the level of the sweep.
    letting_go: Vec<u32>,
    full: Vec<u32>,
    capped: Vec<u32>,
    due: Vec<u32>,
    scratch: Vec<(u64, u64)>,
}

impl Filling {
    pub(super) fn new(paths: &[Path], capacities: &[Bandwidth], scale: Scale) -> Self {
        let capacity = |&capacity: &Bandwidth| scale.capacity(capacity).cast_signed();
        let capacities: Vec<i128> = capacities.iter().map(capacity).collect();
        let link = |&room: &i128| Link {
            room,
            rising: 0,
            weight: 0,
            level: UNLIMITED,
            key: UNLIMITED,
            untouched: 0,
            status: Status::Idle,
        };
        let links: Vec<Link> = capacities.iter().map(link).collect();
        let mut ways = Vec::with_capacity(paths.len());
        let mut shares = Vec::new();
        let number = |count: usize| u32::try_from(count).expect("paths are few and short");
        for path in paths {
            let first = number(shares.len());
            shares.extend(path.shares.iter().map(|&(link, weight)| Share {
                link: number(link.index()),
                place: 0,
                weight: scale.weight(weight),
            }));
            ways.push(Way {
                first,
                end: number(shares.len()),
                count: 0,
                motion: Motion::Fixed,
                limit: 0,
                cap: scale.cap(path.cap),
            });
        }
        let weight = shares.first().map(|share| share.weight);
        let weight = weight.filter(|&weight| shares.iter().all(|share| share.weight == weight));
        Self {
            course: Course::new(links.len(), paths.len(), &shares),
            weight,
            on: vec![Vec::new(); links.len()],
            links,
            capacities,
            ways,
            shares,
            crossings: 0,
            looks: 0,
            full_left: 0,
            patience: FULL_FILLINGS.start,
            rising: 0,
            touched_paths: Vec::new(),
            touched_links: Vec::new(),
            pending: Pending::default(),
            letting_go: Vec::new(),
            full: Vec::new(),
            capped: Vec::new(),
            due: Vec::new(),
            scratch: Vec::new(),
        }
    }

    /// The positions in `shares` of a path.
    fn range(&self, path: u32) -> Range<usize> {
        let way = &self.ways[path as usize];
        way.first as usize..way.end as usize
    }

    /// The weight of all transfers of a path on a link.
    fn weight_of(&self, on: &OnLink) -> u64 {
        let of_one = self.weight;
        let of_one = of_one.unwrap_or_else(|| self.shares[on.share as usize].weight);
        of_one * u64::from(self.ways[on.path as usize].count)
    }

    /// Whether anything, a link or a cap, limits the rate on `path`.
    pub(super) fn limits(&self, path: PathId) -> bool {
        let way = &self.ways[path.index()];
        way.first < way.end || way.cap < UNLIMITED
    }

    /// The links of capacity zero, and for each the paths on it.
    pub(super) fn closed(&self) -> impl Iterator<Item = (usize, impl Iterator<Item = u32>)> {
        let closed = (0..self.links.len()).filter(|&link| self.capacities[link] == 0);
        closed.map(|link| (link, self.on[link].iter().map(|on| on.path)))
    }

    /// The rate that the last filling found.
    pub(super) fn rate(&self, path: u32) -> u64 {
        self.ways[path as usize].limit
    }

    /// One more transfer on `path`, which rises from nothing.
    pub(super) fn enter(&mut self, path: u32) {
        let range = self.range(path);
        let way = &mut self.ways[path as usize];
        let (before, old) = (way.count, way.limit);
        way.count += 1;
        let fixed = way.motion == Motion::Fixed;
        if fixed {
            way.motion = Motion::Rising;
            way.limit = way.cap;
            self.touched_paths.push(path);
        }
        if before == 0 {
            self.crossings += range.len();
        }
        self.rising += usize::from(fixed || before == 0);
        for position in range.clone() {
            let share = &mut self.shares[position];
            let link = &mut self.links[share.link as usize];
            let on = &mut self.on[share.link as usize];
            if link.status == Status::Idle {
                link.touch(share.link, on.len(), &mut self.touched_links);
            }
            let weights = share.weight * u64::from(before);
            if before == 0 {
                share.place = on.len() as u32;
                on.push(OnLink {
                    path,
                    share: position as u32,
                });
            } else if fixed {
                link.untouched -= 1;
                link.room += product(weights, old);
            }
            if fixed {
                link.rising += weights;
            }
            link.rising += share.weight;
            link.weight = link.weight.checked_add(share.weight).expect(
                "the weights of the bundles at once on a link stay below 2^20 times the greatest",
            );
        }
        if !self.course.is_empty() {
            self.enter_course(path, (before > 0 && fixed).then_some(old));
        }
    }

    /// One transfer less on `path`; true if that was the last.
    pub(super) fn leave(&mut self, path: u32) -> bool {
        let range = self.range(path);
        let way = &mut self.ways[path as usize];
        way.count -= 1;
        let last = way.count == 0;
        let rising = way.motion == Motion::Rising;
        let rate = way.limit;
        if last {
            self.rising -= usize::from(rising);
            way.limit = 0;
            self.crossings -= range.len();
        }
        if !self.course.is_empty() {
            self.leave_course(path, (!rising).then_some(rate));
        }
        for position in range {
            let share = self.shares[position];
            let link = &mut self.links[share.link as usize];
            let on = &mut self.on[share.link as usize];
            link.weight -= share.weight;
            if rising {
                link.rising -= share.weight;
            } else {
                link.room += product(share.weight, rate);
                if link.level < UNLIMITED && link.status == Status::Idle {
                    link.touch(share.link, on.len(), &mut self.touched_links);
                }
            }
            if last {
                link.untouched = link.untouched.saturating_sub(1);
                on.swap_remove(share.place as usize);
                if let Some(moved) = on.get(share.place as usize) {
                    self.shares[moved.share as usize].place = share.place;
                }
            }
        }
        last
    }

    /// Finds the rates of all paths that the changes since the last filling touch.
    pub(super) fn fill(&mut self) {
        if self.full_left == 0 {
            self.course.clear();
            if self.fill_incrementally() {
                self.patience = FULL_FILLINGS.start;
                return;
            }
            self.full_left = self.patience;
            self.patience = (2 * self.patience).min(FULL_FILLINGS.end);
        }
        self.full_left -= 1;
        let marks = (self.crossings / MARKS).max(self.links.len());
        self.fill_fully(marks);
    }

    /// The paths whose rate or number of transfers may have changed by the last filling.
    pub(super) fn changed(&self) -> &[u32] {
        &self.touched_paths
    }

    /// Ends a filling, once its changes have been read.
    pub(super) fn settle(&mut self) {
        for path in self.touched_paths.drain(..) {
            self.ways[path as usize].motion = Motion::Fixed;
        }
    }
}

impl Link {
    /// Notes that filling has to look at this link.
    fn touch(&mut self, index: u32, paths: usize, touched: &mut Vec<u32>) {
        self.status = Status::Touched;
        self.key = UNLIMITED;
        self.untouched = paths as u32;
        touched.push(index);
    }

    /// A level below which the link is not full; the very one if no path is as it was before.
    fn bound(&self) -> u64 {
        if self.rising == 0 {
            return UNLIMITED;
        }
        // Paths that are still to be cut may take more than there is. Rounded levels may leave a unit
        // for each path.
        let unsure = if self.untouched == 0 { 0 } else { self.weight };
        let room = self.room - i128::from(unsure);
        quotient(u128::try_from(room).unwrap_or(0), self.rising)
    }
}

/// What a weight takes at a rate; less than any capacity.
fn product(weight: u64, rate: u64) -> i128 {
    (u128::from(weight) * u128::from(rate)).cast_signed()
}

mod buckets;
mod full;
mod incremental;
mod pending;

#[cfg(test)]
pub(crate) mod plain;
