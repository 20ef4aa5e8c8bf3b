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
//! Rates change only within a *connected component*: bundles joined by shared links. A change marks
//! its links; [`Network::solve`] walks from them, so other components keep rates and finish times.
//!
//! **Rounding.** Rates and remaining amounts are `f64`; time is integer picoseconds. What remains is
//! brought up to date only when a rate changes, from the exact elapsed time, and never goes below
//! zero. A finish time rounds *up* to the picosecond; a quotient within 2^-48 (relative) of a whole
//! picosecond counts as that whole, so closed forms hold to the digit. After *k* changes of rate a
//! finish time is thus at most 1 ps late, and early by no more than *k* 2^-50 of its duration.
//!
//! Not modelled: packets, windows and slow start (a changed share applies at once), headers (in
//! the link's efficiency), and congestion that makes a link lose capacity.

mod filling;

use topologies::{Bandwidth, Bytes, LinkId, SimDuration, SimTime};

use crate::graph::{Path, PathId, TaskId};

/// Picoseconds in a second: amounts are stored as bytes times this, so that amount / rate is in ps.
const PS_PER_SECOND: f64 = 1e12;
/// The finish time of a flow that does not move.
const NEVER: SimTime = SimTime::from_ps(u64::MAX);

/// The place of a transfer under way; reused after it has left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Slot(u32);

/// One link and the bundles on it.
#[derive(Debug)]
struct Link {
    capacity: f64,
    /// While solving: what the bundles that have stopped leave.
    room: f64,
    /// While solving: the weights of the bundles that have not stopped.
    load: f64,
    /// While solving: how many bundles have not stopped.
    open: u32,
    bundles: Vec<u32>,
}

/// One transfer under way.
#[derive(Clone, Copy, Debug)]
struct Bundle {
    task: TaskId,
    path: PathId,
    /// What is left of each flow at `since`, in bytes times picoseconds per second.
    remaining: f64,
    /// Bytes per second of each flow; zero before the first solve.
    rate: f64,
    /// The rate being found by the solve in progress; negative while it has not stopped.
    next_rate: f64,
    since: SimTime,
    finish: SimTime,
    /// The walk that last saw this bundle.
    seen: u32,
    /// Whether `finish` has been given to the queue.
    announced: bool,
}

/// The transfers under way and their shares.
#[derive(Debug)]
pub(crate) struct Network {
    links: Vec<Link>,
    /// The walk that last saw each link.
    link_seen: Vec<u32>,
    /// `first_share[p] .. first_share[p + 1]` are the shares of path `p`.
    first_share: Vec<u32>,
    shares: Vec<(u32, f64)>,
    /// Bytes per second, infinite where a path has no cap.
    caps: Vec<f64>,
    bundles: Vec<Bundle>,
    free: Vec<u32>,
    /// Links whose bundles changed since the last solve, and bundles that cross no link.
    changed_links: Vec<u32>,
    changed_alone: Vec<u32>,
    /// The component being solved.
    component_links: Vec<u32>,
    component: Vec<u32>,
    walk: u32,
    solves: u64,
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
        let link = |capacity: &Bandwidth| Link {
            capacity: capacity.as_f64(),
            room: 0.0,
            load: 0.0,
            open: 0,
            bundles: Vec::new(),
        };
        let mut first_share = vec![0];
        let mut shares = Vec::new();
        for path in paths {
            let index = |link: LinkId| u32::try_from(link.index()).expect("ids are 32 bits");
            shares.extend(path.shares.iter().map(|&(link, w)| (index(link), w)));
            first_share.push(u32::try_from(shares.len()).expect("paths are few and short"));
        }
        let cap = |path: &Path| path.cap.map_or(f64::INFINITY, Bandwidth::as_f64);
        Self {
            links: capacities.iter().map(link).collect(),
            link_seen: vec![0; capacities.len()],
            first_share,
            shares,
            caps: paths.iter().map(cap).collect(),
            bundles: Vec::new(),
            free: Vec::new(),
            changed_links: Vec::new(),
            changed_alone: Vec::new(),
            component_links: Vec::new(),
            component: Vec::new(),
            walk: 0,
            solves: 0,
        }
    }

    /// The positions in `shares` of a path.
    fn share_range(&self, path: PathId) -> std::ops::Range<usize> {
        self.first_share[path.index()] as usize..self.first_share[path.index() + 1] as usize
    }

    /// Whether anything, a link or a cap, limits the rate on `path`.
    pub(crate) fn limits(&self, path: PathId) -> bool {
        !self.share_range(path).is_empty() || self.caps[path.index()].is_finite()
    }

    /// How many components have been solved.
    pub(crate) fn solves(&self) -> u64 {
        self.solves
    }

    /// A transfer begins to take its share; its rate is found by the next [`Network::solve`].
    pub(crate) fn enter(&mut self, task: TaskId, path: PathId, bytes: Bytes) {
        let bundle = Bundle {
            task,
            path,
            remaining: bytes.as_f64() * PS_PER_SECOND,
            rate: 0.0,
            next_rate: 0.0,
            since: SimTime::ZERO,
            finish: NEVER,
            seen: 0,
            announced: false,
        };
        let slot = self.free.pop().unwrap_or_else(|| {
            self.bundles.push(bundle);
            u32::try_from(self.bundles.len() - 1).expect("transfers under way are few")
        });
        self.bundles[slot as usize] = bundle;
        let range = self.share_range(path);
        if range.is_empty() {
            self.changed_alone.push(slot);
        }
        for &(link, _) in &self.shares[range] {
            self.links[link as usize].bundles.push(slot);
            self.changed_links.push(link);
        }
    }

    /// A foreseen finish has come. False if it is out of date: the transfer's rate has changed.
    pub(crate) fn leave(&mut self, Slot(slot): Slot, task: TaskId, now: SimTime) -> bool {
        let bundle = &mut self.bundles[slot as usize];
        if bundle.task != task || bundle.finish != now {
            return false;
        }
        bundle.finish = NEVER;
        let path = bundle.path;
        let range = self.share_range(path);
        for &(link, _) in &self.shares[range] {
            let bundles = &mut self.links[link as usize].bundles;
            let position = bundles.iter().position(|&other| other == slot);
            bundles.swap_remove(position.expect("a bundle is on every link of its path"));
            self.changed_links.push(link);
        }
        self.free.push(slot);
        true
    }

    /// Finds the rates of all components that have changed, and tells `announce` which transfers
    /// of each are the next to finish, and when.
    pub(crate) fn solve(&mut self, now: SimTime, mut announce: impl FnMut(SimTime, Slot, TaskId)) {
        while let Some(slot) = self.changed_alone.pop() {
            let bundle = &mut self.bundles[slot as usize];
            bundle.next_rate = self.caps[bundle.path.index()];
            self.component.clear();
            self.component.push(slot);
            self.apply(now, &mut announce);
        }
        if self.changed_links.is_empty() {
            return;
        }
        self.walk += 1;
        while let Some(link) = self.changed_links.pop() {
            if self.link_seen[link as usize] != self.walk {
                self.collect(link);
                self.fill();
                self.apply(now, &mut announce);
            }
        }
    }

    /// Collects the component of `link`.
    fn collect(&mut self, link: u32) {
        self.component.clear();
        self.component_links.clear();
        self.component_links.push(link);
        self.link_seen[link as usize] = self.walk;
        let mut next = 0;
        while let Some(&link) = self.component_links.get(next) {
            next += 1;
            for &slot in &self.links[link as usize].bundles {
                let bundle = &mut self.bundles[slot as usize];
                if bundle.seen == self.walk {
                    continue;
                }
                bundle.seen = self.walk;
                self.component.push(slot);
                let first = self.first_share[bundle.path.index()] as usize;
                let end = self.first_share[bundle.path.index() + 1] as usize;
                for &(other, _) in &self.shares[first..end] {
                    let seen = &mut self.link_seen[other as usize];
                    if *seen != self.walk {
                        *seen = self.walk;
                        self.component_links.push(other);
                    }
                }
            }
        }
    }

    /// Gives the component its new rates, and announces those that finish first.
    fn apply(&mut self, now: SimTime, announce: &mut impl FnMut(SimTime, Slot, TaskId)) {
        self.solves += u64::from(!self.component.is_empty());
        let mut first = NEVER;
        for &slot in &self.component {
            let bundle = &mut self.bundles[slot as usize];
            if bundle.next_rate != bundle.rate {
                bundle.change_rate(now);
            }
            first = first.min(bundle.finish);
        }
        if first == NEVER {
            return;
        }
        for &slot in &self.component {
            let bundle = &mut self.bundles[slot as usize];
            if bundle.finish == first && !bundle.announced {
                bundle.announced = true;
                announce(first, Slot(slot), bundle.task);
            }
        }
    }

    /// The transfer with the smallest identifier that is still under way, and the link of capacity
    /// zero that it waits for.
    pub(crate) fn stalled(&self) -> Option<(TaskId, LinkId)> {
        let full = self
            .links
            .iter()
            .enumerate()
            .filter(|(_, l)| l.capacity == 0.0);
        let waits = full.flat_map(|(index, link)| {
            let tasks = link
                .bundles
                .iter()
                .map(|&slot| self.bundles[slot as usize].task);
            tasks.map(move |task| (task, LinkId::new(index)))
        });
        waits.min()
    }
}

impl Bundle {
    /// Brings what remains up to date at the old rate, then takes `next_rate`.
    fn change_rate(&mut self, now: SimTime) {
        let moved = self.rate * now.since(self.since).as_f64();
        self.remaining = (self.remaining - moved).max(0.0);
        self.rate = self.next_rate;
        self.since = now;
        self.finish = if self.rate > 0.0 {
            now + round_up(self.remaining / self.rate)
        } else {
            NEVER
        };
        self.announced = false;
    }
}

#[cfg(test)]
mod theorems;

#[cfg(test)]
mod tests;
