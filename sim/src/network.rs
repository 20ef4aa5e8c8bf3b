//! The network: weighted max-min fair shares of links among transfers under way.
//!
//! A transfer is a *bundle* *i* of equal flows at one rate *r_i* (bytes/s of one flow). On link *l*
//! it consumes *w_il r_i*, the weight being how many of its flows cross *l*. The rates are the
//! max-min fair ones: no flow's rate can rise without lowering that of one that has no more,
//!
//! ```text
//!   for every link l:      sum_i w_il r_i <= C_l
//!   for every bundle i:    r_i <= cap_i
//!   every bundle has a bottleneck: its cap, or a full link on which no rate exceeds its own.
//! ```
//!
//! **Progressive filling** finds them: raise all rates together; the next level at which one must
//! stop is `min(min_l room_l / load_l, min_i cap_i)`, where `room_l` is what the stopped bundles
//! leave of *C_l* and `load_l` the weights of the others. Those on the full links stop at that level
//! (those whose cap is lower, at their cap); repeat with the rest. Each round stops at least one
//! bundle, and stopping one below a link's level only raises that level, so levels ascend and
//! the bottleneck condition holds (Bertsekas and Gallager, *Data Networks*, 1992, section 6.5.2).
//!
//! A change of one transfer changes few rates: `filling.rs` finds those, and they are to the unit what
//! filling everything anew would find. Transfers on one path have one rate, and are one *class*: what each
//! has been served since the class began is one number, and a transfer ends when that reaches its target.
//!
//! **Rounding.** Everything is whole numbers (`scale.rs`): a rate is rounded down to 2^-62 of the fastest
//! path's, what is served is exact, and a finish time rounds *up* to the picosecond. A transfer does not wait
//! for the last 2^-44 of its bytes (2^-40 or so where weights have no finite binary form), so that rates rounded
//! down do not make closed forms a picosecond longer. Nothing accumulates over changes of rate, and nothing
//! depends on the order of changes at one instant.
//!
//! Not modelled: packets, windows and slow start (a changed share applies at once), headers (in
//! the link's efficiency), and congestion that makes a link lose capacity.

mod filling;
mod finishes;
mod scale;

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use topologies::{Bandwidth, Bytes, LinkId, SimDuration, SimTime};

use crate::graph::{Path, PathId, TaskId};
use filling::Filling;
#[cfg(test)]
pub(crate) use filling::plain::Plain;
use finishes::Finishes;
use scale::Scale;

/// Picoseconds in a second: amounts are bytes times this, so that amount / rate is in ps.
const PS_PER_SECOND: f64 = 1e12;

/// The transfers under way on one path, on one line of the cache.
#[derive(Clone, Debug)]
#[repr(align(64))]
struct Class {
    /// What each transfer that was there all the time has been served until `since`.
    served: u128,
    /// Of each transfer, from `since` on.
    rate: u64,
    since: SimTime,
    /// How many there are.
    count: u32,
    /// The first to end, if there is one, and what will then have been served.
    task: TaskId,
    target: u128,
}

/// Those on one path that end later, by what will then have been served.
type Later = BinaryHeap<Reverse<(u128, TaskId)>>;

/// The transfers under way and their shares.
#[derive(Debug)]
pub(crate) struct Network {
    scale: Scale,
    filling: Filling,
    /// By path.
    classes: Vec<Class>,
    later: Vec<Later>,
    finishes: Finishes,
    /// Whether a transfer has entered or left since the last solve.
    changed: bool,
    solves: u64,
    events: u64,
}

/// What a bundle with the network to itself gets, in bytes/s: `min(cap, min_l C_l / w_l)`.
fn rate_alone(path: &Path, capacities: &[Bandwidth]) -> f64 {
    let links = path.shares.iter();
    let rates = links.map(|&(link, weight)| capacities[link.index()].as_f64() / weight);
    let cap = path.cap.map_or(f64::INFINITY, Bandwidth::as_f64);
    rates.fold(cap, f64::min)
}

/// How long a transfer takes with the network to itself, in picoseconds, not rounded; infinite over
/// a link of capacity zero.
pub(crate) fn ps_alone(path: &Path, bytes: Bytes, capacities: &[Bandwidth]) -> f64 {
    if bytes == Bytes::ZERO {
        return 0.0;
    }
    bytes.as_f64() * PS_PER_SECOND / rate_alone(path, capacities)
}

/// Picoseconds as a duration: up, except within 2^-48 of a whole (see the module's "Rounding").
pub(crate) fn round_up(ps: f64) -> SimDuration {
    const SLACK: f64 = 1.0 / (1u64 << 48) as f64;
    let whole = ps as u64;
    let beyond = ps - whole as f64;
    SimDuration::new(whole + u64::from(beyond > ps * SLACK))
}

impl Network {
    pub(crate) fn new(paths: &[Path], capacities: &[Bandwidth]) -> Self {
        let scale = Scale::new(paths, capacities);
        let empty = Class {
            served: 0,
            rate: 0,
            since: SimTime::ZERO,
            count: 0,
            task: TaskId::new(0),
            target: 0,
        };
        Self {
            scale,
            filling: Filling::new(paths, capacities, scale),
            classes: vec![empty; paths.len()],
            later: vec![Later::new(); paths.len()],
            finishes: Finishes::new(paths.len()),
            changed: false,
            solves: 0,
            events: 0,
        }
    }

    /// Whether anything, a link or a cap, limits the rate on `path`.
    pub(crate) fn limits(&self, path: PathId) -> bool {
        self.filling.limits(path)
    }

    /// How many solves there have been that touched a transfer.
    pub(crate) fn solves(&self) -> u64 {
        self.solves
    }

    /// How many transfers have entered and left.
    pub(crate) fn events(&self) -> u64 {
        self.events
    }

    /// A transfer begins to take its share; its rate is found by the next [`Network::solve`].
    pub(crate) fn enter(&mut self, now: SimTime, task: TaskId, path: PathId, bytes: Bytes) {
        let class = &mut self.classes[path.index()];
        if class.count == 0 {
            (class.rate, class.since, class.served) = (0, now, 0);
        }
        let target = class.served_at(now) + self.scale.work(bytes);
        class.push(target, task, &mut self.later[path.index()]);
        if let Some(at) = class.finish() {
            self.finishes.set(path.index() as u32, at);
        }
        self.filling.enter(path.index() as u32);
        self.changed = true;
        self.events += 1;
    }

    /// When the next transfer ends, at the rates of the last solve.
    pub(crate) fn next_at(&self) -> Option<SimTime> {
        self.finishes.first().map(|(at, _)| at)
    }

    /// Takes out a transfer that ends `now`.
    pub(crate) fn leave(&mut self, now: SimTime) -> Option<TaskId> {
        let (at, path) = self.finishes.first()?;
        if at != now {
            return None;
        }
        let class = &mut self.classes[path as usize];
        let task = class.pop(&mut self.later[path as usize]);
        let next = class.finish();
        self.filling.leave(path);
        match next {
            Some(next) => self.finishes.set(path, next),
            None => self.finishes.remove(path),
        }
        self.changed = true;
        self.events += 1;
        Some(task)
    }

    /// Finds the rates that the changes since the last call touch, and when transfers end at them.
    pub(crate) fn solve(&mut self, now: SimTime) {
        if !std::mem::take(&mut self.changed) {
            return;
        }
        self.filling.fill();
        self.solves += u64::from(!self.filling.changed().is_empty());
        let (filling, classes) = (&self.filling, &mut self.classes);
        let many = filling.changed().len() > self.finishes.len() / 4;
        let changes = filling.changed().iter().filter_map(|&path| {
            let class = &mut classes[path as usize];
            let changes = class.change_rate(filling.rate(path), now);
            changes.then(|| (path, class.finish()))
        });
        // A few changes sink or rise one by one.
        if many {
            self.finishes.rebuild(changes);
        } else {
            for (path, at) in changes {
                match at {
                    Some(at) => self.finishes.set(path, at),
                    None => self.finishes.remove(path),
                }
            }
        }
        self.filling.settle();
    }

    /// The transfer with the smallest identifier that is still under way, and the link of capacity
    /// zero that it waits for.
    pub(crate) fn stalled(&self) -> Option<(TaskId, LinkId)> {
        let waits = self.filling.closed().flat_map(|(link, paths)| {
            let tasks = paths.flat_map(|path| self.tasks(path as usize));
            tasks.map(move |task| (task, LinkId::new(link)))
        });
        waits.min()
    }

    /// The transfers under way on a path.
    fn tasks(&self, path: usize) -> impl Iterator<Item = TaskId> {
        let class = &self.classes[path];
        let later = self.later[path].iter().map(|&Reverse((_, task))| task);
        (class.count > 0)
            .then_some(class.task)
            .into_iter()
            .chain(later)
    }
}

impl Class {
    fn push(&mut self, target: u128, task: TaskId, later: &mut Later) {
        let mut new = (target, task);
        if self.count == 0 {
            (self.target, self.task) = new;
        } else {
            let first = (self.target, self.task);
            if new < first {
                (self.target, self.task) = new;
                new = first;
            }
            later.push(Reverse(new));
        }
        self.count += 1;
    }

    /// Takes the first to end; there is one.
    fn pop(&mut self, later: &mut Later) -> TaskId {
        let task = self.task;
        self.count -= 1;
        if self.count > 0 {
            let Reverse(next) = later.pop().expect("as many as are counted");
            (self.target, self.task) = next;
        }
        task
    }

    /// What each transfer has been served until `now`, which is not before `since`.
    fn served_at(&self, now: SimTime) -> u128 {
        self.served + u128::from(self.rate) * u128::from(now.since(self.since).get())
    }

    /// From `now` on; whether it was another before.
    fn change_rate(&mut self, rate: u64, now: SimTime) -> bool {
        let changes = rate != self.rate;
        if changes {
            self.served = self.served_at(now);
            self.since = now;
            self.rate = rate;
        }
        changes
    }

    /// When its first transfer ends, at its rate; `None` if none is under way or none ever ends.
    fn finish(&self) -> Option<SimTime> {
        if self.count == 0 {
            return None;
        }
        let time = Scale::time(self.target.saturating_sub(self.served), self.rate)?;
        let at = self.since.as_ps().checked_add(time.get())?;
        Some(SimTime::from_ps(at))
    }
}

#[cfg(test)]
mod theorems;

#[cfg(test)]
mod tests;
