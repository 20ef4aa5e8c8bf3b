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
//! Where a change touches most paths anyway, all rise together, which needs no evaluation (`whole.rs`).
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
use pending::Pending;
use whole::Course;

/// A filling that looks at more paths than this many times all of them, link by link, is more work than a whole one.
const LOOKS_PER_CROSSING: usize = 1;
/// Whole fillings before another is tried that is not: at first, and at most after many tries.
const WHOLE_FILLINGS: Range<u32> = 32..1024;
/// So many entries of a queue are looked through faster than taken out one by one.
const FEW: usize = 64;
/// Marks of a whole filling, if links are few.
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
    /// How many fillings more are whole ones, and how many after the next try of another.
    whole: u32,
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
            whole: 0,
            patience: WHOLE_FILLINGS.start,
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
        if self.whole == 0 {
            self.course.clear();
            if self.fill_touched() {
                self.patience = WHOLE_FILLINGS.start;
                return;
            }
            self.whole = self.patience;
            self.patience = (2 * self.patience).min(WHOLE_FILLINGS.end);
        }
        self.whole -= 1;
        let marks = (self.crossings / MARKS).max(self.links.len());
        self.fill_whole(marks);
    }

    /// From what the changes touch; false if that is more work than a whole filling, which then must follow.
    fn fill_touched(&mut self) -> bool {
        self.looks = 0;
        let links = &mut self.links;
        self.pending
            .extend(self.touched_links.iter().filter_map(|&index| {
                let link = &mut links[index as usize];
                link.key = link.level.min(link.bound());
                (link.key < UNLIMITED).then_some((link.key, index))
            }));
        for &path in &self.touched_paths {
            let cap = self.ways[path as usize].cap;
            if cap < UNLIMITED {
                let entry = self.links.len() as u32 + path;
                self.pending.push((cap, entry));
            }
        }
        while let Some((level, _)) = self.pending.first() {
            if self.looks > LOOKS_PER_CROSSING * self.crossings {
                return false;
            }
            while self.collect(level) {
                self.let_go(level);
            }
            self.stop(level);
            if self.rising == 0 && self.pending.len() <= FEW {
                self.drop_idle();
            }
        }
        for link in self.touched_links.drain(..) {
            self.links[link as usize].status = Status::Idle;
        }
        true
    }

    /// While nothing rises, forgets the links that are not, and will not be, full or overfull.
    fn drop_idle(&mut self) {
        let links = &mut self.links;
        self.pending.retain(|(key, entry)| {
            let link = links.get_mut(entry as usize);
            let current = link.filter(|link| link.status == Status::Touched && link.key == key);
            let Some(link) = current else { return false };
            let matters = link.level < UNLIMITED || link.room < i128::from(link.weight);
            if !matters {
                link.key = UNLIMITED;
            }
            matters
        });
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

    /// Takes what happens at `level` out of the heap; true if links let go of paths.
    fn collect(&mut self, level: u64) -> bool {
        while let Some((key, entry)) = self.pending.first()
            && key == level
        {
            self.pending.take_first();
            let index = entry as usize;
            let Some(link) = self.links.get(index) else {
                let path = entry - self.links.len() as u32;
                if self.ways[path as usize].motion == Motion::Rising {
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
                    self.pending.push((next, entry));
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
        if link.rising == 0 && link.room >= i128::from(link.weight) {
            return UNLIMITED;
        }
        let (mut room, mut load) = (self.capacities[index], 0);
        self.looks += self.on[index].len();
        self.scratch.clear();
        for on in &self.on[index] {
            let limit = self.ways[on.path as usize].limit;
            let weight = self.weight_of(on);
            if limit < level {
                room -= product(weight, limit);
            } else {
                load += weight;
                self.scratch.push((limit, weight));
            }
        }
        // Paths that are slower than the level leave room to the others, which raises it.
        while load > 0 {
            let full_at = quotient(room.cast_unsigned(), load);
            let before = self.scratch.len();
            self.scratch.retain(|&(limit, weight)| {
                let slower = limit < full_at;
                if slower {
                    room -= product(weight, limit);
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
            for position in 0..self.on[index as usize].len() {
                let path = self.on[index as usize][position].path;
                let way = &self.ways[path as usize];
                if way.limit == level && way.motion == Motion::Fixed && !self.is_held(path, level) {
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
        self.ways[path as usize].cap == level || shares.iter().any(full)
    }

    /// Lets a path that was fixed at `level` rise on.
    fn raise(&mut self, path: u32, level: u64) {
        let range = self.range(path);
        self.looks += range.len();
        let way = &mut self.ways[path as usize];
        way.motion = Motion::Rising;
        way.limit = way.cap;
        self.rising += 1;
        let count = u64::from(way.count);
        self.touched_paths.push(path);
        if way.cap < UNLIMITED {
            let entry = self.links.len() as u32 + path;
            self.pending.push((way.cap, entry));
        }
        for position in range {
            let Share {
                link: at, weight, ..
            } = self.shares[position];
            let link = &mut self.links[at as usize];
            if link.status == Status::Idle {
                link.touch(at, self.on[at as usize].len(), &mut self.touched_links);
            }
            let weight = weight * count;
            link.untouched -= 1;
            link.room += product(weight, level);
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
            self.pending.push((key, index));
        }
    }

    /// Stops at `level` the paths whose cap it is, and all faster ones on the links full at it.
    fn stop(&mut self, level: u64) {
        while let Some(path) = self.capped.pop() {
            if self.ways[path as usize].motion == Motion::Rising {
                self.fix(path, level);
            }
        }
        while let Some(index) = self.full.pop() {
            for position in 0..self.on[index as usize].len() {
                let path = self.on[index as usize][position].path;
                let way = &self.ways[path as usize];
                if way.limit > level || way.motion == Motion::Rising {
                    self.fix(path, level);
                }
            }
        }
    }

    /// Stops a path that rises, or cuts one that was faster, at `level`.
    fn fix(&mut self, path: u32, level: u64) {
        let range = self.range(path);
        self.looks += range.len();
        let way = &mut self.ways[path as usize];
        let (old, count) = (way.limit, u64::from(way.count));
        let rising = way.motion == Motion::Rising;
        if !rising {
            self.touched_paths.push(path);
        }
        self.rising -= usize::from(rising && count > 0);
        way.motion = Motion::Stopped;
        way.limit = level;
        for position in range {
            let Share {
                link: at, weight, ..
            } = self.shares[position];
            let link = &mut self.links[at as usize];
            let weight = weight * count;
            if rising {
                link.rising -= weight;
                link.room -= product(weight, level);
                continue;
            }
            link.room += product(weight, old - level);
            if link.status == Status::Idle && link.level < UNLIMITED {
                link.touch(at, self.on[at as usize].len(), &mut self.touched_links);
                link.key = link.level;
                self.pending.push((link.key, at));
            }
            link.untouched = link.untouched.saturating_sub(1);
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
mod pending;
mod whole;

#[cfg(test)]
pub(crate) mod plain;
