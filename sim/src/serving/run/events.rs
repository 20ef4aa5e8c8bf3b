//! The state of a pool, and what each event does to it.

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap};

use rand_distr::{Distribution, Exp1, StandardUniform};
use rand_pcg::Pcg64;
use topologies::{SimDuration, SimTime};

use super::{Replication, RunError, Served};
use crate::serving::pool::{Failures, Pool, Routing};
use crate::serving::source::{Arrival, generator, purpose};
use crate::serving::waiting::Waiting;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    /// The service that a replica started as its n-th ends.
    Done { replica: usize, service: u64 },
    /// A replica fails.
    Failure { replica: usize },
    /// A replica is repaired.
    Repair { replica: usize },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Free,
    Busy,
    Spare,
    Failed,
}

struct Replica {
    state: State,
    /// What it serves.
    batch: Vec<u32>,
    started: SimTime,
    services: u64,
    busy: SimDuration,
    /// Its own queue, where each has one, and when that and what it serves would be done.
    waiting: Waiting,
    drained: SimTime,
    life: Pcg64,
}

pub(super) struct Simulation<'a> {
    pool: &'a Pool,
    arrivals: &'a [Arrival],
    replicas: Vec<Replica>,
    free: BTreeSet<usize>,
    spare: BTreeSet<usize>,
    serving: u32,
    waiting: Waiting,
    events: BinaryHeap<Reverse<(SimTime, u64, Event)>>,
    set: u64,
    now: SimTime,
    started: Vec<SimTime>,
    finished: Vec<SimTime>,
    present: u32,
    /// Requests served.
    pub(super) done: usize,
    in_pool: u128,
    restarts: u64,
    batches: u64,
}

impl<'a> Simulation<'a> {
    pub(super) fn new(
        pool: &'a Pool,
        arrivals: &'a [Arrival],
        seed: u64,
        replication: u32,
    ) -> Self {
        let (active, all) = (pool.replicas(), pool.replicas() + pool.spares());
        let replica = |index: u32| Replica {
            state: if index < active {
                State::Free
            } else {
                State::Spare
            },
            batch: Vec::new(),
            started: SimTime::ZERO,
            services: 0,
            busy: SimDuration::ZERO,
            waiting: Waiting::new(pool.shapes()),
            drained: SimTime::ZERO,
            life: generator(seed, replication, purpose::FAILURES + u128::from(index)),
        };
        let mut simulation = Self {
            pool,
            arrivals,
            replicas: (0..all).map(replica).collect(),
            free: (0..active as usize).collect(),
            spare: (active as usize..all as usize).collect(),
            serving: active,
            waiting: Waiting::new(pool.shapes()),
            events: BinaryHeap::new(),
            set: 0,
            now: SimTime::ZERO,
            started: vec![SimTime::ZERO; arrivals.len()],
            finished: vec![SimTime::ZERO; arrivals.len()],
            present: 0,
            done: 0,
            in_pool: 0,
            restarts: 0,
            batches: 0,
        };
        if let Some(failures) = pool.failures() {
            simulation.begin_failures(failures);
        }
        simulation
    }

    /// Failures are under way when the run starts: each replica is up with the probability that it has in
    /// the long run, and exponential times have no memory.
    fn begin_failures(&mut self, failures: Failures) {
        let all = self.replicas.len();
        let mut up = Vec::with_capacity(all);
        for replica in 0..all {
            let life = &mut self.replicas[replica].life;
            let chance: f64 = StandardUniform.sample(life);
            if chance < failures.availability() {
                self.set_failure(replica, failures);
                up.push(replica);
            } else {
                let life: f64 = Exp1.sample(life);
                self.replicas[replica].state = State::Failed;
                let back = self.now + failures.mttr.scaled(life);
                self.set(back, Event::Repair { replica });
            }
        }
        let active = up.len().min(self.pool.replicas() as usize);
        let (serving, spare) = up.split_at(active);
        for &replica in serving {
            self.replicas[replica].state = State::Free;
        }
        for &replica in spare {
            self.replicas[replica].state = State::Spare;
        }
        self.free = serving.iter().copied().collect();
        self.spare = spare.iter().copied().collect();
        self.serving = u32::try_from(active).expect("fewer than the pool has");
    }

    fn set(&mut self, at: SimTime, event: Event) {
        self.set += 1;
        self.events.push(Reverse((at, self.set, event)));
    }

    fn set_failure(&mut self, replica: usize, failures: Failures) {
        let life: f64 = Exp1.sample(&mut self.replicas[replica].life);
        let after = failures.mtbf.scaled(life);
        self.set(self.now + after, Event::Failure { replica });
    }

    fn advance(&mut self, to: SimTime) {
        let passed = to.since(self.now).get();
        self.in_pool += u128::from(passed) * u128::from(self.present);
        self.now = to;
    }

    /// The next event, where one is due by `limit`; says whether there was one.
    pub(super) fn step(&mut self, limit: Option<SimTime>) -> bool {
        let due = |at: SimTime| limit.is_none_or(|limit| at <= limit);
        let Some(Reverse((at, ..))) = self.events.peek() else {
            return false;
        };
        if !due(*at) {
            return false;
        }
        let Some(Reverse((at, _, event))) = self.events.pop() else {
            return false;
        };
        match event {
            Event::Done { replica, service } => {
                if self.replicas[replica].services == service
                    && self.replicas[replica].state == State::Busy
                {
                    self.advance(at);
                    self.complete(replica);
                }
            }
            Event::Failure { replica } => {
                self.advance(at);
                self.fail(replica);
            }
            Event::Repair { replica } => {
                self.advance(at);
                self.repair(replica);
            }
        }
        true
    }

    pub(super) fn arrive(&mut self, request: u32, arrival: &Arrival) {
        self.advance(arrival.at);
        self.present += 1;
        self.admit(arrival.shape, request);
    }

    /// Into a queue, and on to a free replica.
    fn admit(&mut self, shape: usize, request: u32) {
        if self.pool.routing() != Routing::LeastLoaded {
            self.waiting.push(shape, request);
            if let Some(&replica) = self.free.first() {
                self.start(replica);
            }
            return;
        }
        let up = self.replicas.iter().enumerate();
        let up = up.filter(|(_, one)| matches!(one.state, State::Free | State::Busy));
        let least = up.min_by_key(|(index, one)| (one.drained.max(self.now), *index));
        let Some((chosen, _)) = least else {
            // Nobody is up: the first who is repaired takes them all over.
            self.waiting.push(shape, request);
            return;
        };
        let time = self.pool.time(shape, 1);
        let replica = &mut self.replicas[chosen];
        replica.drained = replica.drained.max(self.now) + time;
        replica.waiting.push(shape, request);
        if replica.state == State::Free {
            self.start(chosen);
        }
    }

    /// Lets a free replica take whose turn it is.
    fn start(&mut self, index: usize) {
        let replica = &mut self.replicas[index];
        let queue = match self.pool.routing() {
            Routing::LeastLoaded => &mut replica.waiting,
            Routing::Fifo | Routing::Shortest => &mut self.waiting,
        };
        let Some(shape) = queue.take(self.pool, &mut replica.batch) else {
            return;
        };
        replica.state = State::Busy;
        replica.started = self.now;
        replica.services += 1;
        for &request in &replica.batch {
            self.started[request as usize] = self.now;
        }
        let (service, count) = (replica.services, replica.batch.len());
        self.free.remove(&index);
        self.batches += 1;
        let end = self.now + self.pool.time(shape, count);
        self.set(
            end,
            Event::Done {
                replica: index,
                service,
            },
        );
    }

    fn complete(&mut self, index: usize) {
        let replica = &mut self.replicas[index];
        replica.busy += self.now.since(replica.started);
        for request in replica.batch.drain(..) {
            self.finished[request as usize] = self.now;
            self.done += 1;
            self.present -= 1;
        }
        replica.state = State::Free;
        self.free.insert(index);
        self.start(index);
    }

    fn fail(&mut self, index: usize) {
        let failures = self.pool.failures().expect("only such pools fail");
        let replica = &mut self.replicas[index];
        let was = std::mem::replace(&mut replica.state, State::Failed);
        let lost = std::mem::take(&mut replica.batch);
        let own = replica.waiting.drain();
        if was == State::Busy {
            replica.busy += self.now.since(replica.started);
        }
        let life: f64 = Exp1.sample(&mut replica.life);
        self.set(
            self.now + failures.mttr.scaled(life),
            Event::Repair { replica: index },
        );
        self.free.remove(&index);
        self.spare.remove(&index);
        let mut spare = None;
        if matches!(was, State::Free | State::Busy) {
            self.serving -= 1;
            spare = self.spare.pop_first();
        }
        self.restarts += lost.len() as u64;
        let shape = |request: u32| self.arrivals[request as usize].shape;
        let lost: Vec<(usize, u32)> = lost.into_iter().map(|one| (shape(one), one)).collect();
        // A spare with a queue of its own must be there to be joined; one that takes from the common queue
        // must find the lost requests in it.
        let joined = self.pool.routing() == Routing::LeastLoaded;
        if let Some(spare) = spare.filter(|_| joined) {
            self.activate(spare);
        }
        for (shape, request) in lost.into_iter().chain(own) {
            self.admit(shape, request);
        }
        if let Some(spare) = spare.filter(|_| !joined) {
            self.activate(spare);
        }
    }

    fn repair(&mut self, index: usize) {
        let failures = self.pool.failures().expect("only such pools fail");
        self.set_failure(index, failures);
        if self.serving < self.pool.replicas() {
            self.activate(index);
        } else {
            self.replicas[index].state = State::Spare;
            self.spare.insert(index);
        }
    }

    /// Puts a replica that is up into service.
    fn activate(&mut self, index: usize) {
        self.serving += 1;
        self.free.insert(index);
        let replica = &mut self.replicas[index];
        replica.state = State::Free;
        replica.drained = self.now;
        if self.pool.routing() == Routing::LeastLoaded {
            for (shape, request) in self.waiting.drain() {
                self.admit(shape, request);
            }
        } else {
            self.start(index);
        }
    }

    pub(super) fn check(&self) -> Result<(), RunError> {
        if self.restarts > 1000 + 100 * self.done as u64 {
            return Err(RunError {
                restarts: self.restarts,
                served: self.done,
            });
        }
        Ok(())
    }

    pub(super) fn finish(self) -> Replication {
        let own = |(_, arrival): &(u32, &Arrival)| self.pool.serves(arrival.shape);
        let served = (0_u32..).zip(self.arrivals).filter(own);
        let served = served.map(|(request, arrival)| Served {
            request,
            shape: arrival.shape,
            arrived: arrival.at,
            started: self.started[request as usize],
            finished: self.finished[request as usize],
        });
        Replication {
            served: served.collect(),
            busy: self.replicas.iter().map(|one| one.busy).collect(),
            end: self.now,
            in_pool: self.in_pool,
            restarts: self.restarts,
            batches: self.batches,
        }
    }
}
