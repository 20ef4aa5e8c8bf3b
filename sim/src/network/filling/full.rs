//! Full max-min filling: where a change touches most rates, all rise from nothing and stop in one sweep.
//!
//! Its *course* is kept: the paths in the order in which they stopped, and *marks*, what each link was like when
//! the sweep came to a level. Below the lowest level that a change touches, the next sweep would do the same,
//! so it goes on from the last mark not above that:
//!
//! * a transfer that leaves counts from its rate on, for until then it rose;
//! * one that enters, from the level on at which it fills a link, or its cap. At a mark it has filled no link if
//!   what is left lets all that rise come to the mark's level, beside a unit per weight of the link: had a link
//!   been full lower down, those that then rose beyond would have left less than that.
//!
//! The marks that a change leaves valid only take note of the weights that rise.

use super::buckets::Buckets;
use super::*;

/// Links for each list that the queue has per power of two: most levels lie within a few powers.
const LINKS_PER_LIST: usize = 8;

/// What a full filling leaves for the next.
#[derive(Debug, Default)]
pub(super) struct Course {
    /// Paths in the order in which they stopped.
    stopped: Vec<u32>,
    marks: Vec<Mark>,
    /// The links at each mark, and while filling.
    rooms: Vec<Room>,
    now: Vec<Room>,
    /// The links of all shares.
    crossed: Vec<u32>,
    /// While filling: which paths rise.
    rises: Vec<bool>,
    /// While filling: links, and after them the caps of paths.
    queue: Buckets,
}

/// A link in the sweep.
#[derive(Clone, Copy, Debug)]
struct Room {
    /// What fixed paths leave of it.
    left: u128,
    /// The weights of rising paths.
    rising: u64,
    /// At which it was full.
    level: u64,
}

impl Room {
    /// The level at which it will be full; later ones are not lower.
    #[inline]
    fn full_at(&self) -> Option<u64> {
        (self.rising > 0).then(|| quotient(self.left, self.rising))
    }
}

/// A level that the sweep has come to: slower paths are fixed, the others rise.
#[derive(Clone, Copy, Debug)]
struct Mark {
    level: u64,
    /// How many had stopped.
    stopped: usize,
}

impl Course {
    pub(super) fn new(links: usize, paths: usize, shares: &[Share]) -> Self {
        Self {
            crossed: shares.iter().map(|share| share.link).collect(),
            rises: vec![false; paths],
            queue: Buckets::new(links + paths, links / LINKS_PER_LIST),
            ..Self::default()
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.marks.is_empty()
    }

    pub(super) fn clear(&mut self) {
        self.stopped.clear();
        self.marks.clear();
        self.rooms.clear();
    }

    fn mark(&mut self, level: u64) {
        let stopped = self.stopped.len();
        self.marks.push(Mark { level, stopped });
        self.rooms.extend_from_slice(&self.now);
    }

    /// Stops a path, if it rises.
    #[inline]
    fn stop(&mut self, path: u32) {
        if std::mem::take(&mut self.rises[path as usize]) {
            self.stopped.push(path);
        }
    }

    /// Forgets the last mark.
    fn pop(&mut self, links: usize) {
        self.marks.pop();
        self.rooms.truncate(self.marks.len() * links);
    }
}

impl Filling {
    /// One more transfer on `path`, which had this rate if it was fixed.
    pub(super) fn enter_course(&mut self, path: u32, rate: Option<u64>) {
        let links = self.links.len();
        let shares = &self.shares[self.range(path)];
        let lowest = rate.unwrap_or(UNLIMITED).min(self.ways[path as usize].cap);
        // The first mark, at level zero, is always valid.
        while let [_, .., mark] = self.course.marks[..] {
            let rooms = &self.course.rooms[(self.course.marks.len() - 1) * links..];
            let fits = |share: &Share| {
                let room = rooms[share.link as usize];
                let need = u128::from(mark.level) * u128::from(room.rising + share.weight);
                let sure = room
                    .left
                    .checked_sub(u128::from(self.links[share.link as usize].weight));
                sure.is_some_and(|sure| sure >= need)
            };
            if mark.level <= lowest && shares.iter().all(fits) {
                break;
            }
            self.course.pop(links);
        }
        for rooms in self.course.rooms.chunks_exact_mut(links) {
            for share in shares {
                rooms[share.link as usize].rising += share.weight;
            }
        }
    }

    /// One transfer less on `path`, which had this rate if it was fixed.
    pub(super) fn leave_course(&mut self, path: u32, rate: Option<u64>) {
        let links = self.links.len();
        let lowest = rate.unwrap_or(UNLIMITED);
        while let [_, .., mark] = self.course.marks[..]
            && mark.level > lowest
        {
            self.course.pop(links);
        }
        let shares = &self.shares[self.range(path)];
        for rooms in self.course.rooms.chunks_exact_mut(links) {
            for share in shares {
                rooms[share.link as usize].rising -= share.weight;
            }
        }
    }

    /// Finds all rates anew, from the last mark on; leaves a mark after as many crossings of paths and links.
    pub(super) fn fill_fully(&mut self, mark_every: usize) {
        self.rise();
        let mut unmarked = 0;
        while let Some(level) = self.next_level() {
            if unmarked >= mark_every {
                self.course.mark(level);
                unmarked = 0;
            }
            let before = self.course.stopped.len();
            for entry in self.due.drain(..) {
                if let Some(room) = self.course.now.get_mut(entry as usize) {
                    room.level = level;
                    let on = &self.on[entry as usize];
                    on.iter().for_each(|on| self.course.stop(on.path));
                } else {
                    self.course.stop(entry - self.links.len() as u32);
                }
            }
            unmarked += self.take_shares(before, level);
        }
        for (link, room) in self.links.iter_mut().zip(&self.course.now) {
            (link.room, link.rising, link.level) = (room.left.cast_signed(), 0, room.level);
        }
    }

    /// Lets all paths rise that have not stopped at the last mark, and queues their links and caps.
    fn rise(&mut self) {
        self.pending.clear();
        self.letting_go.clear();
        self.rising = 0;
        for index in self.touched_links.drain(..) {
            self.links[index as usize].status = Status::Idle;
        }
        if self.course.is_empty() {
            let rooms = self.links.iter().zip(&self.capacities);
            self.course.now.clear();
            self.course.now.extend(rooms.map(|(link, capacity)| Room {
                left: capacity.cast_unsigned(),
                rising: link.weight,
                level: UNLIMITED,
            }));
            self.course.mark(0);
            let under_way =
                (0..self.ways.len() as u32).filter(|&path| self.ways[path as usize].count > 0);
            self.touched_paths.clear();
            self.touched_paths.extend(under_way);
        }
        let mark = self.course.marks[self.course.marks.len() - 1];
        let rooms = &self.course.rooms[(self.course.marks.len() - 1) * self.links.len()..];
        self.course.now.clear();
        self.course.now.extend_from_slice(rooms);
        let queue = &mut self.course.queue;
        for (link, room) in (0..).zip(rooms) {
            if let Some(level) = room.full_at() {
                queue.put(link, level);
            }
        }
        // Of these every rate is reported, of those that stop anew what differs.
        for path in self.touched_paths.drain(..) {
            let way = &mut self.ways[path as usize];
            (way.limit, way.motion) = (UNLIMITED, Motion::Fixed);
            self.course.stopped.push(path);
        }
        for path in self.course.stopped.drain(mark.stopped..) {
            let way = &self.ways[path as usize];
            let rises = &mut self.course.rises[path as usize];
            if way.count == 0 || std::mem::replace(rises, true) {
                continue;
            }
            if way.cap < UNLIMITED {
                queue.put(self.links.len() as u32 + path, way.cap);
            }
        }
    }

    /// The next level at which paths stop, on links that are full at it or by their caps; these are `due`.
    fn next_level(&mut self) -> Option<u64> {
        let Course {
            now, rises, queue, ..
        } = &mut self.course;
        let ways = &self.ways;
        let due_at = |entry: u32| match now.get(entry as usize) {
            Some(room) => room.full_at(),
            None => {
                let path = entry as usize - now.len();
                rises[path].then(|| ways[path].cap)
            }
        };
        queue.take(due_at, &mut self.due)
    }

    /// Takes from the links what the paths need that stopped at `level`; how many links they cross.
    fn take_shares(&mut self, before: usize, level: u64) -> usize {
        let Course {
            stopped,
            crossed,
            now,
            ..
        } = &mut self.course;
        let mut crossings = 0;
        for &path in &stopped[before..] {
            let way = &mut self.ways[path as usize];
            if way.limit != level {
                way.limit = level;
                self.touched_paths.push(path);
            }
            let range = way.first as usize..way.end as usize;
            crossings += range.len();
            let count = u64::from(way.count);
            let mut pass = |link: u32, weight: u64| {
                let room = &mut now[link as usize];
                let weight = weight * count;
                room.rising -= weight;
                room.left -= u128::from(weight) * u128::from(level);
            };
            match self.weight {
                Some(weight) => crossed[range].iter().for_each(|&link| pass(link, weight)),
                None => self.shares[range]
                    .iter()
                    .for_each(|share| pass(share.link, share.weight)),
            }
        }
        crossings
    }
}
