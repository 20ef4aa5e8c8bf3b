//! What a run means: its timeline, who was busy with what, what was exposed, and what bounds it.
//!
//! ```text
//! gpu0 compute  ▇▇▇▇▇▇▇▇      ░░▇▇▇▇▇        time of a device = compute + launch + codec + waiting
//!      codec           ▒▒                    ░ launch   ▒ codec   ─ waiting
//!      comm.             ▇▇▇▇────            exposed communication = codec + waiting
//! ```
//!
//! Guarantees:
//! 1. The four parts of [`DeviceUse`] add up to the makespan, to the picosecond.
//! 2. The tasks of a [`critical_path`] follow each other without a gap from zero to the makespan.
//!
//! Not modelled: a transfer's changing rate. [`link_use`] shows its mean over its time in the
//! network (over the whole of a timed message), so areas (bytes) are right and heights averages.

use topologies::{Bandwidth, Bytes, DeviceId, SimDuration, SimTime};
use traces::timeline::{LinkUse, Message, Source, Span, SpanClass, Stream, Timeline};

use crate::engine::Outcome;
use crate::graph::{Successors, TaskGraph, TaskId, Work};

/// How one device spent a run.
///
/// Each moment of the run counts once, for the first of these that applies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceUse {
    /// The device.
    pub device: DeviceId,
    /// A task of its compute stream runs that is not of class [`SpanClass::Launch`].
    pub compute: SimDuration,
    /// A task of class [`SpanClass::Launch`] runs, on any of its streams.
    pub launch: SimDuration,
    /// A task of its codec stream runs.
    pub codec: SimDuration,
    /// Weights are on their way to it.
    pub weights: SimDuration,
    /// None of these: it waits for messages, for others, or is done.
    pub waiting: SimDuration,
    /// The sum of the durations of its tasks by class, in the order of [`SpanClass::ALL`]; tasks
    /// that overlap count twice, and a transfer counts from its start, latency included.
    pub by_class: [SimDuration; SpanClass::ALL.len()],
}

impl DeviceUse {
    /// Exposed communication: the time within the run during which the compute stream is idle,
    /// except for launches. Work on the codec stream that nothing hides is part of it.
    #[must_use]
    pub fn exposed(&self) -> SimDuration {
        self.codec + self.waiting
    }

    /// The sum of the durations of the tasks of one class.
    #[must_use]
    pub fn busy(&self, class: SpanClass) -> SimDuration {
        self.by_class[class as usize]
    }
}

/// An interval of time.
type Interval = (SimTime, SimTime);

/// Adds an interval, to the last one where it goes on from there.
fn add(intervals: &mut Vec<Interval>, (start, end): Interval) {
    match intervals.last_mut() {
        Some(last) if last.1 == start => last.1 = end,
        _ => intervals.push((start, end)),
    }
}

/// The time covered by at least one of `intervals`; sorts them (they are a few ascending runs: a merge).
fn covered(intervals: &mut [Interval]) -> SimDuration {
    intervals.sort();
    let mut total = SimDuration::ZERO;
    let mut until = SimTime::ZERO;
    for &(start, end) in &*intervals {
        if end > until {
            total += end.since(start.max(until));
            until = end;
        }
    }
    total
}

/// How each device spent the run; one entry for each that has a task.
#[must_use]
pub fn device_use(graph: &TaskGraph, outcome: &Outcome) -> Vec<DeviceUse> {
    let end = SimTime::ZERO + outcome.makespan();
    device_use_within(graph, outcome, SimTime::ZERO, end)
}

/// How each device spent the run between two moments; tasks count for their part between them.
#[must_use]
pub fn device_use_within(
    graph: &TaskGraph,
    outcome: &Outcome,
    from: SimTime,
    until: SimTime,
) -> Vec<DeviceUse> {
    let devices = graph.tasks().iter().map(|task| task.device.index() + 1);
    let devices = devices.max().unwrap_or(0);
    let mut by_class = vec![[SimDuration::ZERO; SpanClass::ALL.len()]; devices];
    let mut used = vec![false; devices];
    let mut compute = vec![Vec::new(); devices];
    let mut launch = compute.clone();
    let mut codec = compute.clone();
    let mut weights = compute.clone();
    for (index, task) in graph.tasks().iter().enumerate() {
        let start = outcome.start[index].clamp(from, until);
        let end = outcome.end[index].clamp(from, until);
        let device = task.device.index();
        used[device] = true;
        if start == end {
            continue;
        }
        by_class[device][task.class as usize] += end.since(start);
        match (task.class, task.stream) {
            (SpanClass::Launch, _) => add(&mut launch[device], (start, end)),
            (_, Stream::Compute) => add(&mut compute[device], (start, end)),
            (_, Stream::Codec) => add(&mut codec[device], (start, end)),
            (_, Stream::Weights) => add(&mut weights[device], (start, end)),
            (_, Stream::Communication | Stream::Host) => {}
        }
    }
    let window = until.since(from);
    let one = |device: usize| {
        let mut intervals = std::mem::take(&mut compute[device]);
        let computing = covered(&mut intervals);
        intervals.append(&mut launch[device]);
        let launching = covered(&mut intervals);
        intervals.append(&mut codec[device]);
        let coding = covered(&mut intervals);
        intervals.append(&mut weights[device]);
        let fetching = covered(&mut intervals);
        DeviceUse {
            device: DeviceId::new(device),
            compute: computing,
            launch: launching - computing,
            codec: coding - launching,
            weights: fetching - coding,
            waiting: window - fetching,
            by_class: by_class[device],
        }
    };
    (0..devices)
        .filter(|&device| used[device])
        .map(one)
        .collect()
}

/// The bytes that each of the first `links` links carries: `sum weight * bytes`, rounded to nearest.
///
/// # Panics
/// If a path crosses a link beyond them; the engine has refused such a graph.
#[must_use]
pub fn bytes_per_link(graph: &TaskGraph, links: usize) -> Vec<Bytes> {
    let mut sums = vec![0.0; links];
    for task in graph.tasks() {
        if let Some((path, bytes)) = task.work.carries() {
            for &(link, weight) in &graph.path(path).shares {
                sums[link.index()] += weight * bytes.as_f64();
            }
        }
    }
    let bytes = |sum: f64| Bytes::new(sum.round() as u64);
    sums.into_iter().map(bytes).collect()
}

/// What each link carries over time; link *i* is called `names[i]`.
///
/// # Panics
/// If a path crosses a link without a name.
#[must_use]
pub fn link_use(graph: &TaskGraph, outcome: &Outcome, names: &[String]) -> Vec<LinkUse> {
    let mut changes: Vec<Vec<(SimTime, f64, i64)>> = vec![Vec::new(); names.len()];
    for (index, task) in graph.tasks().iter().enumerate() {
        let Some((path, bytes)) = task.work.carries() else {
            continue;
        };
        let path = graph.path(path);
        let latency = match task.work {
            Work::Transfer { .. } => path.latency,
            _ => SimDuration::ZERO,
        };
        let (entered, left) = (outcome.start[index] + latency, outcome.end[index]);
        if entered == left {
            continue;
        }
        let mean = bytes.as_f64() / left.since(entered).as_secs_f64();
        for &(link, weight) in &path.shares {
            changes[link.index()].push((entered, weight * mean, 1));
            changes[link.index()].push((left, -weight * mean, -1));
        }
    }
    let named = names.iter().zip(&mut changes).enumerate();
    named
        .map(|(index, (name, changes))| LinkUse {
            link: topologies::LinkId::new(index),
            name: name.clone(),
            samples: rates(changes),
        })
        .collect()
}

/// Sums changes (moment, rate, transfers) into the rate from each moment on.
fn rates(changes: &mut [(SimTime, f64, i64)]) -> Vec<(SimTime, Bandwidth)> {
    changes.sort_by_key(|&(at, ..)| at);
    let mut samples: Vec<(SimTime, Bandwidth)> = Vec::new();
    let (mut rate, mut transfers) = (0.0, 0);
    for instant in changes.chunk_by(|a, b| a.0 == b.0) {
        rate += instant.iter().map(|change| change.1).sum::<f64>();
        transfers += instant.iter().map(|change| change.2).sum::<i64>();
        if transfers == 0 {
            rate = 0.0;
        }
        samples.push((instant[0].0, Bandwidth::new(rate.round() as u64)));
    }
    samples
}

/// The spans of all tasks but joins, in the order of the graph, with the messages between devices
/// and what the links (called `names`) carry. `provenance` says in words what was simulated.
#[must_use]
pub fn timeline(
    graph: &TaskGraph,
    outcome: &Outcome,
    names: &[String],
    provenance: String,
) -> Timeline {
    let mut spans = Vec::with_capacity(graph.len());
    let mut span_of = vec![None; graph.len()];
    for (index, task) in graph.tasks().iter().enumerate() {
        if task.work == Work::Join {
            continue;
        }
        let bytes = task.work.carries().map_or(Bytes::ZERO, |(_, bytes)| bytes);
        span_of[index] = Some(spans.len());
        spans.push(Span {
            device: task.device,
            stream: task.stream,
            class: task.class,
            step: task.step,
            layer: task.layer,
            start: outcome.start[index],
            end: outcome.end[index],
            bytes,
        });
    }
    Timeline::new(Source::Simulated, provenance, spans)
        .and_then(|timeline| timeline.with_messages(messages(graph, &span_of)))
        .and_then(|timeline| timeline.with_links(link_use(graph, outcome, names)))
        .expect("the engine's times never run backwards")
}

/// From each transfer and timed message to the tasks of other devices that wait for it, directly or through joins.
fn messages(graph: &TaskGraph, span_of: &[Option<usize>]) -> Vec<Message> {
    let successors = graph.successors();
    let mut messages = Vec::new();
    let mut receivers = Vec::new();
    for id in graph.ids() {
        if graph.task(id).work.carries().is_none() {
            continue;
        }
        let sender = span_of[id.index()].expect("a message has a span");
        receivers.clear();
        receivers_of(graph, &successors, id, &mut receivers);
        let spans = receivers.iter().filter_map(|task| span_of[task.index()]);
        messages.extend(spans.map(|receiver| Message { sender, receiver }));
    }
    messages
}

/// Adds the tasks of other devices that wait for `sender`, each once and in ascending order.
fn receivers_of(
    graph: &TaskGraph,
    successors: &Successors,
    sender: TaskId,
    receivers: &mut Vec<TaskId>,
) {
    let mut joins = vec![sender];
    let mut next = 0;
    while let Some(&from) = joins.get(next) {
        next += 1;
        for &task in successors.of(from) {
            if graph.task(task).work == Work::Join {
                if !joins.contains(&task) {
                    joins.push(task);
                }
            } else if graph.task(task).device != graph.task(sender).device {
                receivers.push(task);
            }
        }
    }
    receivers.sort_unstable();
    receivers.dedup();
}

/// The chain of tasks that made the run as long as it is, first to last.
///
/// It is found backwards, from the task that ended last to the predecessor whose end released it;
/// among equals, the one with the smallest identifier. Joins are left out.
#[must_use]
pub fn critical_path(graph: &TaskGraph, outcome: &Outcome) -> Vec<TaskId> {
    let latest = |&id: &TaskId| (outcome.end[id.index()], std::cmp::Reverse(id));
    let mut path = Vec::new();
    let last = outcome.end.iter().max();
    let last = last.and_then(|last| outcome.end.iter().position(|end| end == last));
    let mut next = last.map(TaskId::new);
    while let Some(id) = next {
        if graph.task(id).work != Work::Join {
            path.push(id);
        }
        next = graph.predecessors(id).iter().copied().max_by_key(latest);
    }
    path.reverse();
    path
}

/// How the makespan divides among classes along the [`critical_path`], most first; classes that
/// have no part in it are left out. A transfer counts with its latency and with the time that
/// sharing costs it.
#[must_use]
pub fn critical_path_by_class(
    graph: &TaskGraph,
    outcome: &Outcome,
) -> Vec<(SpanClass, SimDuration)> {
    let mut times = [SimDuration::ZERO; SpanClass::ALL.len()];
    for id in critical_path(graph, outcome) {
        let time = outcome.end[id.index()].since(outcome.start[id.index()]);
        times[graph.task(id).class as usize] += time;
    }
    let classes = SpanClass::ALL.iter().copied().zip(times);
    let mut classes: Vec<_> = classes.filter(|&(_, t)| t > SimDuration::ZERO).collect();
    classes.sort_by_key(|&(class, time)| (std::cmp::Reverse(time), class));
    classes
}

#[cfg(test)]
mod tests;
