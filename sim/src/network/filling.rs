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
//! **Equal to the plain filling, to the unit** (`plain.rs`, tested on random networks). What is found at
//! levels below the sweep never changes: letting go at level *L* adds only paths that were slower than
//! any later level, cutting and stopping at *L* leaves more room. All links full at one level stop
//! together, and levels are quotients rounded down, which taking out paths at or below the level never
//! lowers; so the outcome is a function of the paths under way, in no order.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::ops::Range;

use topologies::Bandwidth;

use super::scale::{Scale, UNLIMITED, quotient};
use crate::graph::{Path, PathId};

/// A link and the paths on it.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) capacity: u128,
    /// What fixed paths take of it.
    taken: u128,
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
    pub(super) paths: Vec<OnLink>,
}

/// A path on a link.
#[derive(Clone, Copy, Debug)]
pub(super) struct OnLink {
    pub(super) path: u32,
    /// Its place in `shares`.
    share: u32,
    /// The weight of all its transfers.
    pub(super) weight: u64,
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

/// One link of a path.
#[derive(Clone, Copy, Debug)]
pub(super) struct Share {
    pub(super) link: u32,
    /// The path's place among those of the link.
    place: u32,
    /// The weight of one transfer.
    pub(super) weight: u64,
}

/// Links, the paths on them, and their rates.
#[derive(Debug)]
pub(super) struct Filling {
    pub(super) links: Vec<Link>,
    /// `first_share[p] .. first_share[p + 1]` are the shares of path `p`.
    first_share: Vec<u32>,
    shares: Vec<Share>,
    /// By path; [`UNLIMITED`] where there is none.
    caps: Vec<u64>,
    /// How many transfers are under way, by path.
    count: Vec<u32>,
    /// By path: its rate, or while it rises its cap.
    limit: Vec<u64>,
    motion: Vec<Motion>,
    /// Paths and links that this filling has touched.
    touched_paths: Vec<u32>,
    touched_links: Vec<u32>,
    /// Keys of links, and after them caps of paths. A link's entry counts if it has the link's key.
    pending: BinaryHeap<Reverse<(u64, u32)>>,
    /// What happens at the level of the sweep.
    letting_go: Vec<u32>,
    full: Vec<u32>,
    capped: Vec<u32>,
    scratch: Vec<(u64, u64)>,
}

impl Filling {
    pub(super) fn new(paths: &[Path], capacities: &[Bandwidth], scale: Scale) -> Self {
        let link = |&capacity: &Bandwidth| Link {
            capacity: scale.capacity(capacity),
            taken: 0,
            rising: 0,
            weight: 0,
            level: UNLIMITED,
            key: UNLIMITED,
            untouched: 0,
            status: Status::Idle,
            paths: Vec::new(),
        };
        let mut first_share = vec![0];
        let mut shares = Vec::new();
        for path in paths {
            shares.extend(path.shares.iter().map(|&(link, weight)| Share {
                link: u32::try_from(link.index()).expect("ids are 32 bits"),
                place: 0,
                weight: scale.weight(weight),
            }));
            first_share.push(u32::try_from(shares.len()).expect("paths are few and short"));
        }
        Self {
            links: capacities.iter().map(link).collect(),
            first_share,
            shares,
            caps: paths.iter().map(|path| scale.cap(path.cap)).collect(),
            count: vec![0; paths.len()],
            limit: vec![0; paths.len()],
            motion: vec![Motion::Fixed; paths.len()],
            touched_paths: Vec::new(),
            touched_links: Vec::new(),
            pending: BinaryHeap::new(),
            letting_go: Vec::new(),
            full: Vec::new(),
            capped: Vec::new(),
            scratch: Vec::new(),
        }
    }

    /// The positions in `shares` of a path.
    fn range(&self, path: u32) -> Range<usize> {
        self.first_share[path as usize] as usize..self.first_share[path as usize + 1] as usize
    }

    /// Whether anything, a link or a cap, limits the rate on `path`.
    pub(super) fn limits(&self, path: PathId) -> bool {
        self.first_share[path.index()] < self.first_share[path.index() + 1]
            || self.caps[path.index()] < UNLIMITED
    }

    /// The rate that the last filling found.
    pub(super) fn rate(&self, path: u32) -> u64 {
        self.limit[path as usize]
    }

    /// One more transfer on `path`, which rises from nothing.
    pub(super) fn enter(&mut self, path: u32) {
        let index = path as usize;
        let before = self.count[index];
        self.count[index] += 1;
        let fixed = self.motion[index] == Motion::Fixed;
        let old = self.limit[index];
        if fixed {
            self.motion[index] = Motion::Rising;
            self.limit[index] = self.caps[index];
            self.touched_paths.push(path);
        }
        for position in self.range(path) {
            let share = &mut self.shares[position];
            let link = &mut self.links[share.link as usize];
            if link.status == Status::Idle {
                link.touch(share.link, &mut self.touched_links);
            }
            let weights = share.weight * u64::from(before);
            if before == 0 {
                share.place = link.paths.len() as u32;
                link.paths.push(OnLink {
                    path,
                    share: position as u32,
                    weight: 0,
                });
            } else if fixed {
                link.untouched -= 1;
                link.taken -= u128::from(weights) * u128::from(old);
            }
            if fixed {
                link.rising += weights;
            }
            link.rising += share.weight;
            link.weight = link.weight.checked_add(share.weight).expect(
                "the weights of the bundles at once on a link stay below 2^20 times the greatest",
            );
            link.paths[share.place as usize].weight += share.weight;
        }
    }

    /// One transfer less on `path`; true if that was the last.
    pub(super) fn leave(&mut self, path: u32) -> bool {
        let index = path as usize;
        self.count[index] -= 1;
        let last = self.count[index] == 0;
        let rising = self.motion[index] == Motion::Rising;
        let rate = u128::from(self.limit[index]);
        for position in self.range(path) {
            let share = self.shares[position];
            let link = &mut self.links[share.link as usize];
            link.weight -= share.weight;
            link.paths[share.place as usize].weight -= share.weight;
            if rising {
                link.rising -= share.weight;
            } else {
                link.taken -= u128::from(share.weight) * rate;
                if link.level < UNLIMITED && link.status == Status::Idle {
                    link.touch(share.link, &mut self.touched_links);
                }
            }
            if last {
                link.untouched = link.untouched.saturating_sub(1);
                link.paths.swap_remove(share.place as usize);
                if let Some(moved) = link.paths.get(share.place as usize) {
                    self.shares[moved.share as usize].place = share.place;
                }
            }
        }
        if last {
            self.limit[index] = 0;
        }
        last
    }

    /// Finds the rates of all paths that the changes since the last filling touch.
    pub(super) fn fill(&mut self) {
        let links = &mut self.links;
        self.pending
            .extend(self.touched_links.iter().filter_map(|&index| {
                let link = &mut links[index as usize];
                link.key = link.level.min(link.bound());
                (link.key < UNLIMITED).then_some(Reverse((link.key, index)))
            }));
        for &path in &self.touched_paths {
            let cap = self.caps[path as usize];
            if cap < UNLIMITED {
                let entry = self.links.len() as u32 + path;
                self.pending.push(Reverse((cap, entry)));
            }
        }
        while let Some(&Reverse((level, _))) = self.pending.peek() {
            while self.collect(level) {
                self.let_go(level);
            }
            self.stop(level);
        }
        for link in self.touched_links.drain(..) {
            self.links[link as usize].status = Status::Idle;
        }
    }

    /// The paths whose rate or number of transfers may have changed by the last filling.
    pub(super) fn changed(&self) -> &[u32] {
        &self.touched_paths
    }

    /// Ends a filling, once its changes have been read.
    pub(super) fn settle(&mut self) {
        for path in self.touched_paths.drain(..) {
            self.motion[path as usize] = Motion::Fixed;
        }
    }

    /// Takes what happens at `level` out of the heap; true if links let go of paths.
    fn collect(&mut self, level: u64) -> bool {
        while let Some(&Reverse((key, entry))) = self.pending.peek()
            && key == level
        {
            self.pending.pop();
            let index = entry as usize;
            let Some(link) = self.links.get(index) else {
                let path = entry - self.links.len() as u32;
                if self.motion[path as usize] == Motion::Rising {
                    self.capped.push(path);
                }
                continue;
            };
            if link.status != Status::Touched || link.key != level {
                continue;
            }
            let full_at = self.evaluate(index, level);
            let link = &mut self.links[index];
            let next = full_at.min(link.level);
            if next > level {
                link.key = next;
                if next < UNLIMITED {
                    self.pending.push(Reverse((next, entry)));
                }
            } else if full_at == level {
                link.level = level;
                link.status = Status::Full;
                self.full.push(entry);
            } else {
                link.level = UNLIMITED;
                self.letting_go.push(entry);
            }
        }
        !self.letting_go.is_empty()
    }

    /// The level at which a link will be full, given that nothing happens to it below `level`.
    fn evaluate(&mut self, index: usize, level: u64) -> u64 {
        let link = &self.links[index];
        if link.untouched == 0 {
            return link.bound();
        }
        if link.rising == 0 && link.taken + u128::from(link.weight) <= link.capacity {
            return UNLIMITED;
        }
        let (mut room, mut load) = (link.capacity, 0);
        self.scratch.clear();
        for on in &link.paths {
            let limit = self.limit[on.path as usize];
            if limit < level {
                room -= u128::from(on.weight) * u128::from(limit);
            } else {
                load += on.weight;
                self.scratch.push((limit, on.weight));
            }
        }
        // Paths that are slower than the level leave room to the others, which raises it.
        while load > 0 {
            let full_at = quotient(room, load);
            let before = self.scratch.len();
            self.scratch.retain(|&(limit, weight)| {
                let slower = limit < full_at;
                if slower {
                    room -= u128::from(weight) * u128::from(limit);
                    load -= weight;
                }
                !slower
            });
            if self.scratch.len() == before {
                return full_at;
            }
        }
        UNLIMITED
    }

    /// Lets the paths rise that only the links in `letting_go` held at `level`.
    fn let_go(&mut self, level: u64) {
        while let Some(index) = self.letting_go.pop() {
            self.links[index as usize].key = UNLIMITED;
            for position in 0..self.links[index as usize].paths.len() {
                let path = self.links[index as usize].paths[position].path;
                if self.limit[path as usize] == level
                    && self.motion[path as usize] == Motion::Fixed
                    && !self.is_held(path, level)
                {
                    self.raise(path, level);
                }
            }
            self.lower_key(index, level);
        }
    }

    /// Whether a cap or a full link holds a path at `level`.
    fn is_held(&self, path: u32, level: u64) -> bool {
        let shares = &self.shares[self.range(path)];
        let full = |share: &Share| self.links[share.link as usize].level == level;
        self.caps[path as usize] == level || shares.iter().any(full)
    }

    /// Lets a path that was fixed at `level` rise on.
    fn raise(&mut self, path: u32, level: u64) {
        let index = path as usize;
        self.motion[index] = Motion::Rising;
        self.limit[index] = self.caps[index];
        self.touched_paths.push(path);
        if self.caps[index] < UNLIMITED {
            let entry = self.links.len() as u32 + path;
            self.pending.push(Reverse((self.caps[index], entry)));
        }
        for position in self.range(path) {
            let Share {
                link: at, weight, ..
            } = self.shares[position];
            let link = &mut self.links[at as usize];
            if link.status == Status::Idle {
                link.touch(at, &mut self.touched_links);
            }
            let weight = weight * u64::from(self.count[index]);
            link.untouched -= 1;
            link.taken -= u128::from(weight) * u128::from(level);
            link.rising += weight;
            self.lower_key(at, level);
        }
    }

    /// Sees to it that a link on which a path rises from `level` is looked at in time.
    fn lower_key(&mut self, index: u32, level: u64) {
        let link = &mut self.links[index as usize];
        let key = link.level.min(link.bound()).max(level);
        if key < link.key {
            link.key = key;
            self.pending.push(Reverse((key, index)));
        }
    }

    /// Stops at `level` the paths whose cap it is, and all faster ones on the links full at it.
    fn stop(&mut self, level: u64) {
        while let Some(path) = self.capped.pop() {
            if self.motion[path as usize] == Motion::Rising {
                self.fix(path, level);
            }
        }
        while let Some(index) = self.full.pop() {
            for position in 0..self.links[index as usize].paths.len() {
                let path = self.links[index as usize].paths[position].path;
                if self.limit[path as usize] > level || self.motion[path as usize] == Motion::Rising
                {
                    self.fix(path, level);
                }
            }
        }
    }

    /// Stops a path that rises, or cuts one that was faster, at `level`.
    fn fix(&mut self, path: u32, level: u64) {
        let index = path as usize;
        let old = self.limit[index];
        let rising = self.motion[index] == Motion::Rising;
        if !rising {
            self.touched_paths.push(path);
        }
        self.motion[index] = Motion::Stopped;
        self.limit[index] = level;
        for position in self.range(path) {
            let Share {
                link: at, weight, ..
            } = self.shares[position];
            let link = &mut self.links[at as usize];
            let weight = weight * u64::from(self.count[index]);
            if rising {
                link.rising -= weight;
                link.taken += u128::from(weight) * u128::from(level);
                continue;
            }
            link.taken -= u128::from(weight) * u128::from(old - level);
            if link.status == Status::Idle && link.level < UNLIMITED {
                link.touch(at, &mut self.touched_links);
                link.key = link.level;
                self.pending.push(Reverse((link.key, at)));
            }
            link.untouched = link.untouched.saturating_sub(1);
        }
    }
}

impl Link {
    /// Notes that filling has to look at this link.
    fn touch(&mut self, index: u32, touched: &mut Vec<u32>) {
        self.status = Status::Touched;
        self.key = UNLIMITED;
        self.untouched = self.paths.len() as u32;
        touched.push(index);
    }

    /// A level below which the link is not full; the very one if no path is as it was before.
    fn bound(&self) -> u64 {
        if self.rising == 0 {
            return UNLIMITED;
        }
        // Paths that are still to be cut may take more than there is. Rounded levels may leave a unit
        // for each path.
        let room = self.capacity.saturating_sub(self.taken);
        let unsure = if self.untouched == 0 { 0 } else { self.weight };
        quotient(room.saturating_sub(u128::from(unsure)), self.rising)
    }
}

#[cfg(test)]
pub(crate) mod plain;
