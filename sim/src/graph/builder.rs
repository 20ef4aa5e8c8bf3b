//! Graphs whose streams run in order.

use topologies::DeviceId;
use traces::timeline::Stream;

use super::{Exchange, Part, Path, PathId, Task, TaskGraph, TaskId};

/// Builds a graph whose streams run in order: a task also waits for the one pushed before it on the
/// same stream of the same device.
#[derive(Clone, Debug, Default)]
pub struct GraphBuilder {
    graph: TaskGraph,
    /// Whether the compute streams of all devices are one.
    one_compute: bool,
    /// The last task of every stream, by device.
    last: Vec<[Option<TaskId>; Stream::ALL.len()]>,
    after: Vec<TaskId>,
}

/// Goes on with a graph: what is added waits for tasks that it names, and its streams begin anew.
impl From<TaskGraph> for GraphBuilder {
    fn from(graph: TaskGraph) -> Self {
        Self {
            graph,
            ..Self::default()
        }
    }
}

impl GraphBuilder {
    /// A builder without tasks.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A builder whose devices share one compute stream, in the order in which tasks are pushed.
    #[must_use]
    pub fn with_one_compute() -> Self {
        Self {
            one_compute: true,
            ..Self::default()
        }
    }

    /// Makes room for `more` times as many tasks as there are.
    pub fn reserve(&mut self, more: usize) {
        let graph = &mut self.graph;
        graph.tasks.reserve(graph.tasks.len() * more);
        let predecessors = graph.predecessors.len();
        graph.predecessors.reserve(predecessors * more);
        graph.first_predecessor.reserve(graph.tasks.len() * more);
        graph.parts.reserve(graph.parts.len() * more);
    }

    /// See [`TaskGraph::intern`].
    pub fn intern(&mut self, path: Path) -> PathId {
        self.graph.intern(path)
    }

    /// Adds a task that starts when all of `after` and the task before it on its stream have ended.
    pub fn push(&mut self, task: Task, after: &[TaskId]) -> TaskId {
        self.push_in((task.device, task.stream), task, after)
    }

    /// As [`push`](Self::push), in the order of another stream than the one that the task is shown on.
    pub fn push_in(
        &mut self,
        (device, stream): (DeviceId, Stream),
        task: Task,
        after: &[TaskId],
    ) -> TaskId {
        let device = self.owner(device, stream);
        if self.last.len() <= device {
            self.last.resize(device + 1, [None; Stream::ALL.len()]);
        }
        let last = &mut self.last[device][stream as usize];
        self.after.clear();
        self.after.extend_from_slice(after);
        self.after
            .extend(last.iter().filter(|task| !after.contains(task)));
        let id = self.graph.push(task, &self.after);
        *last = Some(id);
        id
    }

    /// Adds a task that waits for `after` only, and that no later task of its stream waits for.
    pub fn push_unordered(&mut self, task: Task, after: &[TaskId]) -> TaskId {
        self.graph.push(task, after)
    }

    /// Adds an exchange, for [`take_part`](Self::take_part).
    pub fn exchange(&mut self, exchange: Exchange) -> u32 {
        self.graph.exchanges.push(exchange);
        u32::try_from(self.graph.exchanges.len() - 1).expect("a graph has under 2^32 exchanges")
    }

    /// Says that `task` belongs to an exchange that `lead` stands for; tasks come in ascending order.
    pub fn take_part(&mut self, task: TaskId, lead: TaskId, exchange: u32) {
        let parts = &mut self.graph.parts;
        debug_assert!(
            parts.last().is_none_or(|last| last.task < task),
            "tasks are noted as they are pushed"
        );
        parts.push(Part {
            task,
            lead,
            exchange,
        });
    }

    /// The last task pushed in order on a stream.
    #[must_use]
    pub fn last(&self, device: DeviceId, stream: Stream) -> Option<TaskId> {
        let device = self.owner(device, stream);
        *self.last.get(device)?.get(stream as usize)?
    }

    /// The device whose stream orders those of `device`.
    fn owner(&self, device: DeviceId, stream: Stream) -> usize {
        match stream {
            Stream::Compute if self.one_compute => 0,
            _ => device.index(),
        }
    }

    /// The graph so far.
    #[must_use]
    pub fn graph(&self) -> &TaskGraph {
        &self.graph
    }

    /// The finished graph.
    #[must_use]
    pub fn finish(self) -> TaskGraph {
        self.graph
    }
}
