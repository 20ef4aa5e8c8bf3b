//! Task graphs: what has to happen, in which order, and on which device.
//!
//! ```text
//!  gpu0  compute  [linear]──▶[attention]─────────▶[linear]
//!                     │                              ▲
//!        comm.        └──▶[transfer: path, bytes]────┘      an arrow = "after"
//! ```
//!
//! Guarantees:
//! 1. A task comes after its predecessors in the graph, so a graph has no cycle and its identifiers
//!    are a topological order.
//! 2. Equal paths are stored once; a path names each link once.
//! 3. A stream runs its tasks in order only where edges say so; [`GraphBuilder`] adds those edges.
//!
//! Not modelled: choosing among ready tasks (a stream's order is decided when the graph is made),
//! and tasks that slow each other down other than through links.

use std::collections::BTreeMap;

use topologies::{Bandwidth, Bytes, CollectiveKind, DeviceId, LinkId, SimDuration, define_id};
use traces::timeline::{SpanClass, Stream};

define_id!(
    /// A task of a graph.
    TaskId,
    "task"
);
define_id!(
    /// An interned [`Path`] of a graph.
    PathId,
    "path"
);

/// What a task does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// Occupies its stream for a known time.
    Busy(SimDuration),
    /// Moves `bytes` over *each* flow of the bundle that `path` describes.
    Transfer {
        /// The bundle's path.
        path: PathId,
        /// Bytes of one flow of the bundle.
        bytes: Bytes,
    },
    /// Occupies its stream for a known time, within which it moves `bytes` over *each* flow of a
    /// bundle: a message of measured time. It takes nothing from others on those links, for the
    /// measurement already holds what they cost each other.
    Timed {
        /// How long it takes; the path's latency is part of it.
        time: SimDuration,
        /// The bundle's path.
        path: PathId,
        /// Bytes of one flow of the bundle.
        bytes: Bytes,
    },
    /// Takes no time: a meeting point of several predecessors.
    Join,
}

impl Work {
    /// How long it takes, where that is known before the run: not of a transfer.
    #[must_use]
    pub const fn time(self) -> Option<SimDuration> {
        match self {
            Self::Busy(time) | Self::Timed { time, .. } => Some(time),
            Self::Join => Some(SimDuration::ZERO),
            Self::Transfer { .. } => None,
        }
    }

    /// The bundle that a message moves, and the bytes of one of its flows.
    #[must_use]
    pub const fn carries(self) -> Option<(PathId, Bytes)> {
        match self {
            Self::Transfer { path, bytes } | Self::Timed { path, bytes, .. } => Some((path, bytes)),
            Self::Busy(_) | Self::Join => None,
        }
    }
}

/// One task: where it runs, what it is called in reports, and what it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Task {
    /// The device; for a transfer, the sender (of a bundle, the one whose track shows it).
    pub device: DeviceId,
    /// The stream of that device.
    pub stream: Stream,
    /// What kind of work the timeline shows.
    pub class: SpanClass,
    /// Denoising step, from 0.
    pub step: u32,
    /// Layer, from 0.
    pub layer: u32,
    /// The work itself.
    pub work: Work,
}

/// What a message is to those who take part: what exports to other simulators need and the engine does not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Exchange {
    /// A collective among these devices, in the order of their ranks.
    Collective {
        /// Which.
        kind: CollectiveKind,
        /// Who takes part.
        group: Vec<DeviceId>,
        /// nccl-tests' size, of all that follow one another together.
        size: Bytes,
    },
    /// A message from one device to another.
    Send {
        /// The receiver.
        to: DeviceId,
        /// What it carries.
        size: Bytes,
    },
}

/// A task's part in an exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Part {
    task: TaskId,
    lead: TaskId,
    exchange: u32,
}

/// The way of a bundle of equal flows through the links.
///
/// All flows of the bundle progress at one rate *r*; on link *l* together they consume
/// `weight_l * r`, where the weight is how many of the flows cross that link.
#[derive(Clone, Debug, PartialEq)]
pub struct Path {
    /// Time before the first byte moves.
    pub latency: SimDuration,
    /// The links crossed, each with its weight (finite, above zero).
    pub shares: Vec<(LinkId, f64)>,
    /// What one flow reaches at most, whatever the links allow (protocol, channels).
    pub cap: Option<Bandwidth>,
}

impl Path {
    /// One flow over `links`, without a cap.
    #[must_use]
    pub fn single(latency: SimDuration, links: &[LinkId]) -> Self {
        let shares = links.iter().map(|&link| (link, 1.0)).collect();
        Self {
            latency,
            shares,
            cap: None,
        }
    }

    /// Sorted by link, with the weights of a link that is named twice added.
    fn canonical(mut self) -> Self {
        for &(link, weight) in &self.shares {
            assert!(
                weight.is_finite() && weight > 0.0,
                "the weight of {link} is a number above zero, not {weight}"
            );
        }
        assert!(
            self.cap != Some(Bandwidth::ZERO),
            "a cap of zero never lets a byte through; leave the cap out instead"
        );
        self.shares.sort_by_key(|&(link, _)| link);
        self.shares.dedup_by(|next, kept| {
            let same = next.0 == kept.0;
            if same {
                kept.1 += next.1;
            }
            same
        });
        self
    }

    fn key(&self) -> PathKey {
        let shares = self.shares.iter().map(|&(l, w)| (l, w.to_bits())).collect();
        (self.latency, self.cap, shares)
    }
}

/// What makes two paths equal, in an ordered form.
type PathKey = (SimDuration, Option<Bandwidth>, Vec<(LinkId, u64)>);

/// Tasks, the order among them, and the paths they use.
#[derive(Clone, Debug)]
pub struct TaskGraph {
    tasks: Vec<Task>,
    /// `first_predecessor[t] .. first_predecessor[t + 1]` is the range of task `t`.
    first_predecessor: Vec<u32>,
    predecessors: Vec<TaskId>,
    paths: Vec<Path>,
    path_ids: BTreeMap<PathKey, PathId>,
    exchanges: Vec<Exchange>,
    /// Ascending by task.
    parts: Vec<Part>,
    has_transfers: bool,
}

impl Default for TaskGraph {
    fn default() -> Self {
        Self::new()
    }
}

impl TaskGraph {
    /// A graph without tasks.
    #[must_use]
    pub fn new() -> Self {
        Self::with_capacity(0, 0)
    }

    /// A graph without tasks that has room for `tasks` tasks and `edges` predecessors.
    #[must_use]
    pub fn with_capacity(tasks: usize, edges: usize) -> Self {
        let mut first_predecessor = Vec::with_capacity(tasks + 1);
        first_predecessor.push(0);
        Self {
            tasks: Vec::with_capacity(tasks),
            first_predecessor,
            predecessors: Vec::with_capacity(edges),
            paths: Vec::new(),
            path_ids: BTreeMap::new(),
            exchanges: Vec::new(),
            parts: Vec::new(),
            has_transfers: false,
        }
    }

    /// The identifier of `path`, which is stored if no equal one is.
    ///
    /// # Panics
    /// If a weight is not a finite number above zero, or the cap is zero.
    pub fn intern(&mut self, path: Path) -> PathId {
        let path = path.canonical();
        let next = PathId::new(self.paths.len());
        let id = *self.path_ids.entry(path.key()).or_insert(next);
        if id == next {
            self.paths.push(path);
        }
        id
    }

    /// Adds a task that starts when all of `after` have ended.
    ///
    /// # Panics
    /// If a predecessor or the path is not of this graph.
    pub fn push(&mut self, task: Task, after: &[TaskId]) -> TaskId {
        let id = TaskId::new(self.tasks.len());
        for &predecessor in after {
            assert!(
                predecessor < id,
                "{id} comes after tasks that exist already, not after {predecessor}"
            );
        }
        if let Some((path, _)) = task.work.carries() {
            assert!(
                path.index() < self.paths.len(),
                "{id} uses {path}, which is not of this graph"
            );
        }
        self.predecessors.extend_from_slice(after);
        let end = u32::try_from(self.predecessors.len()).expect("a graph has under 2^32 edges");
        self.first_predecessor.push(end);
        self.has_transfers |= task.work.time().is_none();
        self.tasks.push(task);
        id
    }

    /// The exchange that a task belongs to, and the task that stands for all of it.
    #[must_use]
    pub fn exchange(&self, task: TaskId) -> Option<(&Exchange, TaskId)> {
        let at = self
            .parts
            .binary_search_by_key(&task, |part| part.task)
            .ok()?;
        let part = self.parts[at];
        Some((&self.exchanges[part.exchange as usize], part.lead))
    }

    /// Whether a task is a [`Work::Transfer`].
    #[must_use]
    pub const fn has_transfers(&self) -> bool {
        self.has_transfers
    }

    /// How many tasks there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.tasks.len()
    }

    /// Whether there is no task.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.tasks.is_empty()
    }

    /// All identifiers, in topological order.
    pub fn ids(&self) -> impl DoubleEndedIterator<Item = TaskId> + use<> {
        (0..self.tasks.len()).map(TaskId::new)
    }

    /// All tasks, by identifier.
    #[must_use]
    pub fn tasks(&self) -> &[Task] {
        &self.tasks
    }

    /// One task.
    #[must_use]
    pub fn task(&self, id: TaskId) -> &Task {
        &self.tasks[id.index()]
    }

    /// The tasks that `id` waits for.
    #[must_use]
    pub fn predecessors(&self, id: TaskId) -> &[TaskId] {
        let first = self.first_predecessor[id.index()] as usize;
        let end = self.first_predecessor[id.index() + 1] as usize;
        &self.predecessors[first..end]
    }

    /// All paths, by identifier.
    #[must_use]
    pub fn paths(&self) -> &[Path] {
        &self.paths
    }

    /// One path.
    #[must_use]
    pub fn path(&self, id: PathId) -> &Path {
        &self.paths[id.index()]
    }

    /// The predecessor lists turned around, in time proportional to the graph.
    #[must_use]
    pub fn successors(&self) -> Successors {
        let mut first = vec![0u32; self.tasks.len() + 2];
        for predecessor in &self.predecessors {
            first[predecessor.index() + 2] += 1;
        }
        for index in 2..first.len() {
            first[index] += first[index - 1];
        }
        let mut tasks = vec![TaskId::new(0); self.predecessors.len()];
        for id in self.ids() {
            for predecessor in self.predecessors(id) {
                let slot = &mut first[predecessor.index() + 1];
                tasks[*slot as usize] = id;
                *slot += 1;
            }
        }
        Successors { first, tasks }
    }
}

/// Who waits for a task: the predecessor lists of a [`TaskGraph`], turned around.
#[derive(Clone, Debug)]
pub struct Successors {
    first: Vec<u32>,
    tasks: Vec<TaskId>,
}

impl Successors {
    /// The tasks that wait for `id`, in ascending order.
    #[must_use]
    pub fn of(&self, id: TaskId) -> &[TaskId] {
        &self.tasks[self.range(id)]
    }

    /// The positions, for [`Successors::at`], of the tasks that wait for `id`.
    pub(crate) fn range(&self, id: TaskId) -> std::ops::Range<usize> {
        self.first[id.index()] as usize..self.first[id.index() + 1] as usize
    }

    /// The task at a position.
    pub(crate) fn at(&self, position: usize) -> TaskId {
        self.tasks[position]
    }
}

mod builder;

pub use builder::GraphBuilder;

#[cfg(test)]
mod tests;
