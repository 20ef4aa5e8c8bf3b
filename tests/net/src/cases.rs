//! What is run: kinds of exchange with and without competing flows, over several testbeds, in sizes drawn from a seed.

use std::fmt;

use anyhow::{Context, Result};
use sim::graph::{Exchange, GraphBuilder, Path, Task, TaskGraph, TaskId, Work};
use sim::platform::{Platform, RateFactors};
use sim::testing::Numbers;
use sim::{collective, engine};
use topologies::{Bandwidth, Bytes, CollectiveKind, DeviceId, SimDuration, SimTime};
use traces::timeline::{SpanClass, Stream};

use crate::dit::{self, Dit};
use crate::link::Queues;
use crate::machine::{self, Calibration};
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

/// How much is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Extent {
    /// A few cases on two testbeds.
    Quick,
    /// Everything.
    Full,
}

const fn net(hosts: u32, rate: u64, core: Option<u64>, queues: Queues) -> Net {
    const MB: u64 = 1_000_000;
    Net {
        hosts,
        rate: Bandwidth::new(rate * MB),
        core: match core {
            Some(core) => Some(Bandwidth::new(core * MB)),
            None => None,
        },
        queues,
    }
}

/// Where one flow is measured for the calibration.
pub(crate) const CALIBRATED_ON: Net = net(2, 20, None, Queues::Fair);

/// The testbeds: rates low enough that two busy cores carry them.
pub(crate) fn nets(extent: Extent) -> Vec<Net> {
    use Queues::{Fair, Fifo};
    let all = [
        net(4, 20, None, Fair),
        net(8, 10, None, Fair),
        net(8, 10, Some(20), Fair),
        net(2, 40, None, Fair),
        net(2, 20, None, Fair),
        net(4, 10, None, Fair),
        net(8, 5, None, Fair),
        net(4, 20, Some(20), Fair),
        net(4, 20, None, Fifo),
        net(8, 10, Some(20), Fifo),
    ];
    match extent {
        Extent::Quick => vec![all[0], all[2]],
        Extent::Full => all.to_vec(),
    }
}

/// The cases of a testbed.
///
/// # Errors
/// When one cannot be lowered: flows take their size from the time without them.
pub(crate) fn of(net: Net, extent: Extent, calibration: Calibration) -> Result<Vec<Case>> {
    let seed = u64::from(net.hosts) * 1_000 + net.rate.get() / 1_000_000;
    let mut draw = Numbers::new(seed + net.core.map_or(0, |_| 500));
    let rounds = match (extent, net.queues) {
        (Extent::Quick, _) | (_, Queues::Fifo) => 1,
        (Extent::Full, Queues::Fair) => 2,
    };
    let platform = machine::platform(net, calibration)?;
    let mut cases = Vec::new();
    for _ in 0..rounds {
        for flows in [0, 1 + draw.below(2)] {
            for kind in 0..5 {
                let what = what(kind, net, &mut draw);
                let mut case = Case {
                    net,
                    what,
                    flows: Vec::new(),
                };
                let alone = Prepared::new(&case, &platform)?.simulated(&platform)?;
                case.flows = flows_of(flows, net, alone, &mut draw);
                cases.push(case);
            }
        }
        let time = SimDuration::from_us_f64(250_000.0);
        cases.push(Case {
            net,
            what: What::Flows,
            flows: flows_of(2 + draw.below(5), net, time, &mut draw),
        });
    }
    Ok(cases)
}

/// Flows between drawn pairs, of 0.3 to 1.2 times the bytes that a link carries in `time`.
fn flows_of(count: usize, net: Net, time: SimDuration, draw: &mut Numbers) -> Vec<Flow> {
    let hosts = net.hosts as usize;
    let mut flow = || {
        let from = draw.below(hosts);
        let to = (from + 1 + draw.below(hosts - 1)) % hosts;
        let share = (30 + draw.below(91)) as f64 / 100.0;
        Flow {
            from: from as u32,
            to: to as u32,
            bytes: (net.rate.as_f64() * time.as_secs_f64() * share) as u64,
        }
    };
    (0..count).map(|_| flow()).collect()
}

/// One of the five kinds in a drawn size.
fn what(kind: usize, net: Net, draw: &mut Numbers) -> What {
    let ms = [15, 40, 100, 200, 400][draw.below(5)];
    let hosts = u64::from(net.hosts);
    let bytes = net.rate.get() / 1000 * ms;
    // Of an all-gather or an all-to-all, a rank sends (n-1)/n.
    let shared = (bytes / (hosts - 1)).next_multiple_of(16) * hosts;
    match kind {
        0 => What::Collective(CollectiveKind::AllGather, shared),
        1 => What::Collective(CollectiveKind::RingPass, bytes),
        2 => What::Collective(CollectiveKind::AllToAll, shared),
        3 => What::Pipeline(pipeline(net, draw)),
        _ => What::Dit(dit(net, draw)),
    }
}

/// A pipeline whose patches take 4 to 12 ms from stage to stage.
fn pipeline(net: Net, draw: &mut Numbers) -> Dit {
    let patches = [2, 4, 8][draw.below(3)];
    let ms = [4, 8, 12][draw.below(3)];
    // A patch has 1,024 / patches tokens of `hidden` 16-bit values.
    let hidden = (net.rate.get() / 1000 * ms * patches / 2048).next_multiple_of(64);
    Dit {
        plan: format!("pipefusion{}(m{patches}) warmup=1", net.hosts),
        hidden,
        steps: 3,
        // Matrix products grow with the square of the width.
        pace: (hidden as f64 / 512.0).powi(2),
    }
}

fn dit(net: Net, draw: &mut Numbers) -> Dit {
    let n = net.hosts;
    let mut plans = vec![
        format!("ring{n}"),
        format!("ring{n}/1bit warmup=1"),
        format!("allgather-kv{n}/2bit warmup=1"),
        format!("ulysses{n}"),
        format!("allgather-kv{n}"),
        format!("distrifusion{n} warmup=1"),
        format!("ring{n}/int8 warmup=1"),
    ];
    if n >= 4 {
        plans.push(format!("ulysses2+ring{}", n / 2));
        plans.push(format!("ulysses{}+allgather-kv2", n / 2));
    }
    Dit {
        plan: plans[draw.below(plans.len())].clone(),
        hidden: [256, 512, 768][draw.below(3)],
        steps: 3,
        pace: [0.5, 1.0, 2.0][draw.below(3)],
    }
}

#[cfg(test)]
#[path = "cases_tests.rs"]
mod tests;
