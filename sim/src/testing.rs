//! Task graphs for tests and benchmarks: short constructors, and random graphs from a seed.
//!
//! Guarantees: equal seeds and sizes give equal graphs on every machine (the generator is
//! SplitMix64, Steele, Lea and Flood, OOPSLA 2014). Nothing here describes a real model or machine.

use topologies::{Bandwidth, Bytes, DeviceId, LinkId, SimDuration, SimTime};
use traces::timeline::{SpanClass, Stream};

use crate::engine::Simulation;
use crate::graph::{GraphBuilder, Path, PathId, Task, TaskGraph, TaskId, Work};

/// A duration in picoseconds.
#[must_use]
pub fn ps(count: u64) -> SimDuration {
    SimDuration::new(count)
}

/// A computation of `count` picoseconds on the compute stream of a device.
#[must_use]
pub fn busy(device: usize, count: u64) -> Task {
    Task {
        device: DeviceId::new(device),
        stream: Stream::Compute,
        class: SpanClass::Linear,
        step: 0,
        layer: 0,
        work: Work::Busy(ps(count)),
    }
}

/// A transfer on the communication stream of a device.
#[must_use]
pub fn transfer(device: usize, path: PathId, bytes: u64) -> Task {
    let bytes = Bytes::new(bytes);
    Task {
        stream: Stream::Communication,
        class: SpanClass::Communication,
        work: Work::Transfer { path, bytes },
        ..busy(device, 0)
    }
}

/// A message of `count` picoseconds on the communication stream of a device.
#[must_use]
pub fn timed(device: usize, count: u64, path: PathId, bytes: u64) -> Task {
    let (time, bytes) = (ps(count), Bytes::new(bytes));
    Task {
        work: Work::Timed { time, path, bytes },
        ..transfer(device, path, 0)
    }
}

/// A join that belongs to a device.
#[must_use]
pub fn join(device: usize) -> Task {
    Task {
        class: SpanClass::Other,
        work: Work::Join,
        ..busy(device, 0)
    }
}

/// Numbers that look random and depend on the seed only.
#[derive(Clone, Debug)]
pub struct Numbers(u64);

impl Numbers {
    /// The sequence of `seed`.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number below `bound`, which is above zero.
    pub fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % bound as u64) as usize
    }
}

/// How large a random graph is.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    /// Tasks.
    pub tasks: usize,
    /// Devices; above zero.
    pub devices: usize,
    /// Links; above zero.
    pub links: usize,
    /// Paths; above zero.
    pub paths: usize,
}

impl Default for Size {
    /// 200 tasks on 4 devices with 6 links and 8 paths.
    fn default() -> Self {
        Self {
            tasks: 200,
            devices: 4,
            links: 6,
            paths: 8,
        }
    }
}

/// A graph and the capacities it runs over.
#[derive(Clone, Debug)]
pub struct Case {
    /// The graph.
    pub graph: TaskGraph,
    /// The capacity of each link.
    pub capacities: Vec<Bandwidth>,
}

/// A run that can be stopped between events, to be measured.
#[derive(Debug)]
pub struct Flight<'g>(Simulation<'g>);

impl<'g> Flight<'g> {
    /// A run of `graph` at time zero.
    ///
    /// # Panics
    /// If a path crosses a link without a capacity.
    #[must_use]
    pub fn new(graph: &'g TaskGraph, capacities: &[Bandwidth]) -> Self {
        Self(Simulation::new(graph, capacities).expect("every link has a capacity"))
    }

    /// Goes on until `transfers` more have ended, and what else happens at that instant; how many have.
    pub fn advance(&mut self, transfers: u64) -> u64 {
        self.0.advance(transfers)
    }

    /// When each task has ended; zero for those that have not.
    #[must_use]
    pub fn ends(&self) -> &[SimTime] {
        self.0.ends()
    }
}

/// A random graph: all kinds of work, bundles with weights and caps, streams in order and not.
#[must_use]
pub fn random(seed: u64, size: Size) -> Case {
    let mut numbers = Numbers::new(seed);
    let capacities = (0..size.links)
        .map(|_| Bandwidth::new(1_000_000_000 * (1 + numbers.below(100) as u64)))
        .collect();
    let mut builder = GraphBuilder::new();
    let paths: Vec<PathId> = (0..size.paths)
        .map(|_| builder.intern(random_path(&mut numbers, size.links)))
        .collect();
    let mut ids: Vec<TaskId> = Vec::with_capacity(size.tasks);
    for _ in 0..size.tasks {
        let recent = ids.len().saturating_sub(4 * size.devices);
        let after: Vec<TaskId> = (0..numbers.below(4).min(ids.len()))
            .map(|_| ids[recent + numbers.below(ids.len() - recent)])
            .collect();
        let task = random_task(&mut numbers, size.devices, &paths);
        ids.push(match numbers.below(3) {
            0 => builder.push_unordered(task, &after),
            _ => builder.push(task, &after),
        });
    }
    Case {
        graph: builder.finish(),
        capacities,
    }
}

fn random_path(numbers: &mut Numbers, links: usize) -> Path {
    let shares = (0..1 + numbers.below(3))
        .map(|_| {
            let weight = [1.0, 1.0, 2.0, 7.0, 0.5][numbers.below(5)];
            (LinkId::new(numbers.below(links)), weight)
        })
        .collect();
    let cap = Bandwidth::new(500_000_000 * (1 + numbers.below(40) as u64));
    Path {
        latency: ps(1000 * numbers.below(5000) as u64),
        shares,
        cap: (numbers.below(3) == 0).then_some(cap),
    }
}

fn random_task(numbers: &mut Numbers, devices: usize, paths: &[PathId]) -> Task {
    let device = numbers.below(devices);
    let task = match numbers.below(8) {
        0 => join(device),
        1..=3 => busy(device, numbers.below(50_000_000) as u64),
        4 => {
            let path = paths[numbers.below(paths.len())];
            timed(device, numbers.below(50_000_000) as u64, path, 4096)
        }
        _ => {
            let bytes = [0, 1, 4096, 1_000_003, 5_000_000][numbers.below(5)];
            transfer(device, paths[numbers.below(paths.len())], bytes)
        }
    };
    let class = match task.work {
        Work::Busy(_) => SpanClass::ALL[numbers.below(SpanClass::ALL.len())],
        _ => task.class,
    };
    Task { class, ..task }
}
