//! What is run: an exchange with or without competing flows, as the simulator and the workers get it.

use std::fmt;

use anyhow::{Context, Result};
use sim::graph::{Exchange, GraphBuilder, Path, Task, TaskGraph, TaskId, Work};
use sim::platform::{Platform, RateFactors};
use sim::{collective, engine};
use topologies::{Bytes, CollectiveKind, DeviceId, SimDuration, SimTime};
use traces::timeline::{SpanClass, Stream};

use crate::dit::{self, Dit};
use crate::link::Queues;
use crate::program::{self, Codec, Program};
use crate::testbed::Net;

/// A kind of exchange.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum What {
    /// A collective of nccl-tests' size.
    Collective(CollectiveKind, u64),
    /// A pipeline of patches (PipeFusion's).
    Pipeline(Dit),
    /// Another plan.
    Dit(Dit),
    /// Nothing but flows.
    Flows,
}

/// A flow that competes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Flow {
    /// Sender.
    pub from: u32,
    /// Receiver.
    pub to: u32,
    /// Bytes.
    pub bytes: u64,
}

/// One configuration: measured several times, simulated once.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Case {
    /// Where.
    pub net: Net,
    /// What.
    pub what: What,
    /// What else starts at the same time.
    pub flows: Vec<Flow>,
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Collective(kind, _) => write!(f, "{kind}"),
            Self::Pipeline(_) => f.write_str("pipeline pass"),
            Self::Dit(_) => f.write_str("DiT schedule"),
            Self::Flows => f.write_str("flows"),
        }
    }
}

impl Case {
    /// Whether flows are all there is.
    pub(crate) fn is_flows(&self) -> bool {
        self.what == What::Flows
    }

    /// The kind that errors are reported by.
    pub(crate) fn kind(&self) -> String {
        let what = &self.what;
        let kind = match (what, self.flows.is_empty()) {
            (What::Flows, _) => "flows alone".to_owned(),
            (_, true) => what.to_string(),
            (_, false) => format!("{what} + flows"),
        };
        match self.net.queues {
            Queues::Fair => kind,
            Queues::Fifo => format!("FIFO: {kind}"),
        }
    }

    /// What is run, in a few words.
    pub(crate) fn detail(&self) -> String {
        match &self.what {
            What::Collective(_, size) => format!("{size} B"),
            What::Pipeline(dit) | What::Dit(dit) => {
                format!("{} hidden {} steps {}", dit.plan, dit.hidden, dit.steps)
            }
            What::Flows => String::new(),
        }
    }

    /// The flows, in a few words.
    pub(crate) fn flow_list(&self) -> String {
        let one = |flow: &Flow| format!("{}>{}:{}", flow.from, flow.to, flow.bytes);
        self.flows.iter().map(one).collect::<Vec<_>>().join(" ")
    }
}

/// A case as the simulator and the workers get it.
pub(crate) struct Prepared {
    /// The tasks, over the links of the machine.
    graph: TaskGraph,
    /// Whose latest end is the case's time.
    timed: Vec<TaskId>,
    /// What the ranks run.
    pub programs: Vec<Program>,
}

impl Prepared {
    /// The graph and the programs of a case.
    ///
    /// # Errors
    /// When the case cannot be lowered.
    pub(crate) fn new(case: &Case, platform: &Platform) -> Result<Self> {
        let (graph, codec) = match &case.what {
            What::Collective(kind, size) => (collective(platform, *kind, *size)?, None),
            What::Pipeline(dit) | What::Dit(dit) => dit::tasks(dit, platform)?,
            What::Flows => (TaskGraph::new(), None),
        };
        Self::with_flows(case, graph, codec, platform)
    }

    fn with_flows(
        case: &Case,
        graph: TaskGraph,
        codec: Option<Codec>,
        platform: &Platform,
    ) -> Result<Self> {
        let own: Vec<TaskId> = graph.ids().collect();
        let mut builder = GraphBuilder::from(graph);
        let flows: Result<Vec<TaskId>> = case
            .flows
            .iter()
            .map(|flow| competing(&mut builder, platform, *flow))
            .collect();
        let flows = flows?;
        let graph = builder.finish();
        let mut programs = program::programs(&graph, case.net.hosts);
        for program in &mut programs {
            program.codec.clone_from(&codec);
        }
        Ok(Self {
            timed: if own.is_empty() { flows } else { own },
            graph,
            programs,
        })
    }

    /// The simulated time.
    ///
    /// # Errors
    /// When the run cannot proceed.
    pub(crate) fn simulated(&self, platform: &Platform) -> Result<SimDuration> {
        let outcome = engine::run(&self.graph, &platform.effective)?;
        let ends = self.timed.iter().map(|task| outcome.end[task.index()]);
        let last = ends.max().context("a case does something")?;
        Ok(last.since(SimTime::ZERO))
    }

    /// Whether a task counts.
    pub(crate) fn is_timed(&self, task: u32) -> bool {
        self.timed
            .binary_search(&TaskId::new(task as usize))
            .is_ok()
    }
}

fn task(device: DeviceId, class: SpanClass, work: Work) -> Task {
    Task {
        device,
        stream: Stream::Communication,
        class,
        step: 0,
        layer: 0,
        work,
    }
}

/// One collective among all ranks.
fn collective(platform: &Platform, kind: CollectiveKind, size: u64) -> Result<TaskGraph> {
    let group: Vec<DeviceId> = (0..platform.gpus.len()).map(DeviceId::new).collect();
    let size = Bytes::new(size);
    let message = platform.message(kind, &group, size, &RateFactors::new())?;
    let bundle = platform.flows(&message, &group);
    let collective::Bundle {
        latency,
        shares,
        cap,
        bytes,
    } = bundle.context("a machine of links has flows")?;
    let mut builder = GraphBuilder::new();
    let path = builder.intern(Path {
        latency,
        shares,
        cap,
    });
    let work = Work::Transfer { path, bytes };
    let lead = builder.push(task(group[0], SpanClass::Communication, work), &[]);
    let exchange = builder.exchange(Exchange::Collective { kind, group, size });
    builder.take_part(lead, lead, exchange);
    Ok(builder.finish())
}

/// Adds a flow that starts at once.
fn competing(builder: &mut GraphBuilder, platform: &Platform, flow: Flow) -> Result<TaskId> {
    let [from, to] = [flow.from, flow.to].map(|rank| DeviceId::new(rank as usize));
    let machine = platform.machine().context("a testbed is a machine")?;
    let route = machine.route(from, to);
    let start = collective::Protocol::Simple.base();
    let path = builder.intern(Path::single(route.latency + start, &route.links));
    let size = Bytes::new(flow.bytes);
    let work = Work::Transfer { path, bytes: size };
    let id = builder.push_unordered(task(from, SpanClass::Other, work), &[]);
    let exchange = builder.exchange(Exchange::Send { to, size });
    builder.take_part(id, id, exchange);
    Ok(id)
}

/// One flow of `bytes` between two hosts.
pub(crate) fn single(net: Net, bytes: u64) -> Case {
    Case {
        net,
        what: What::Flows,
        flows: vec![Flow {
            from: 0,
            to: 1,
            bytes,
        }],
    }
}

#[cfg(test)]
#[path = "cases_tests.rs"]
mod tests;
