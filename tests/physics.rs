//! Tests that hold the physics to arithmetic of their own: closed forms, conservation laws, exhaustive comparisons.
//!
//! The expected numbers are worked out here, from the strategies' definitions (arXiv 2411.01738 for xDiT's, its
//! references for the others), never by the code that is tested. README.md beside this file lists, for each of the
//! mistakes that these tests were made for, which of them fails.

mod answer;
mod calibrating;
mod calibration;
mod emission;
mod families;
mod flux;
mod interval;
mod legality;
mod lowering;
mod memory;
mod queue;
mod residency;
mod resolution;
mod search;
mod stale;
mod strings;
mod times;
mod weights;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};

use kernels::{AttentionKernel, Cost, CostModel, Miss, Op, Provenance};
use planner::search::Question;
use sim::execution::{Calibration, Execution, Software};
use sim::graph::{Exchange, TaskGraph, Work};
use sim::lower::Parts;
use sim::model::{self, Request};
use sim::plan::Plan;
use sim::platform::{Platform, RateFactors};
use sim::simulate::{Detail, Simulation, estimate, simulate};
use sim::workload::{BlockKind, Workload};
use topologies::host::Compilation;
use topologies::{CollectiveKind, DeviceId, Gpu, Machine, SimDuration};
use traces::timeline::{SpanClass, Stream};

/// Costs that count: `unit` picoseconds for a FLOP, for a byte of a memory-bound pass, for a value that a compressor
/// encodes or decodes. With a unit of one, a task's time is the work in it. Keeps which operations it was asked for.
struct Counted {
    unit: u64,
    asked: Mutex<BTreeSet<Op>>,
}

impl CostModel for Counted {
    fn cost(&self, op: &Op, _gpu: &Gpu) -> Result<Cost, Miss> {
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        asked.insert(*op);
        let work = match *op {
            Op::Gemm { m, n, k, .. } => 2 * m * n * k,
            Op::Attention {
                batch,
                heads,
                queries,
                keys,
                head_dim,
                ..
            } => 4 * batch * heads * queries * keys * head_dim,
            Op::MemoryBound { bytes, .. } => bytes,
            Op::Encode { rows, channels, .. } | Op::Decode { rows, channels, .. } => {
                rows * channels
            }
        };
        Ok(Cost {
            time: SimDuration::new(self.unit * work),
            provenance: Provenance::Measured,
            half_width: 0.0,
        })
    }
}

/// A request to a model on a machine where launching takes no time and work takes what [`Counted`] says.
struct Rig {
    platform: Platform,
    workload: Workload,
    execution: Execution,
    costs: Counted,
}

impl Rig {
    fn new(machine: &Machine, model: &str, change: impl Fn(&mut Request)) -> Self {
        let model = model::find(model).expect("a known model");
        let mut request = model.default;
        change(&mut request);
        Self {
            platform: Platform::of_machine(machine).expect("a known system"),
            workload: Workload::new(model, &request).expect("a possible request"),
            execution: Execution {
                compilation: Compilation::Eager,
                software: Software::Other,
                attention: AttentionKernel::usual(&machine.gpus[0]),
                calibration: Calibration {
                    compute: 1.0,
                    launch: 0.0,
                    rates: RateFactors::new(),
                    // As many on every GPU; how many there are otherwise, `times.rs` says.
                    passes: BlockKind::ALL
                        .map(|kind| (kind, flux::PASSES as f64))
                        .into(),
                },
            },
            costs: Counted {
                unit: 1,
                asked: Mutex::default(),
            },
        }
    }

    /// FLUX.1 at 1024 x 1024 in three steps.
    fn flux(machine: &str) -> Self {
        Self::new(&preset(machine), "FLUX.1-dev", |request| request.steps = 3)
    }

    fn run(&self, plan: &Plan) -> Simulation {
        let (workload, platform) = (&self.workload, &self.platform);
        let (execution, costs) = (&self.execution, &self.costs);
        simulate(workload, plan, platform, execution, costs, Detail::Full).expect("it can run")
    }

    fn closed_form(&self, plan: &Plan) -> Parts {
        let (workload, platform) = (&self.workload, &self.platform);
        estimate(workload, plan, platform, &self.execution, &self.costs).expect("it has a cost")
    }
}

fn preset(name: &str) -> Machine {
    Machine::preset(name).expect("a preset")
}

/// FLUX.1-dev on all GPUs of a machine, by xDiT, eager, any plan.
fn question(machine: Machine, change: impl Fn(&mut Question)) -> Question {
    let model = model::find("FLUX.1-dev").expect("a known model");
    let mut question = Question::new(model, machine).expect("readable runs");
    question.fastest = true;
    change(&mut question);
    question
}

fn plan(line: &str) -> Plan {
    line.parse().expect("a plan")
}

/// What one GPU does in one step, in the units of [`Counted`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Done {
    linear: u64,
    attention: u64,
    elementwise: u64,
    encoded: u64,
    decoded: u64,
    /// Tasks of attention.
    attentions: u64,
    /// Picoseconds of waiting on the communication stream that no message accounts for.
    waited: u64,
}

/// What a GPU does in a step.
fn done(graph: &TaskGraph, step: u32, gpu: usize) -> Done {
    let mut sum = Done::default();
    for id in graph.ids() {
        let task = graph.task(id);
        let Work::Busy(time) = task.work else {
            continue;
        };
        if task.step != step || task.device != DeviceId::new(gpu) || graph.exchange(id).is_some() {
            continue;
        }
        let time = time.get();
        match (task.stream, task.class) {
            (Stream::Communication, _) => sum.waited += time,
            (_, SpanClass::Linear) => sum.linear += time,
            (_, SpanClass::Attention) => {
                sum.attention += time;
                sum.attentions += 1;
            }
            (_, SpanClass::Elementwise) => sum.elementwise += time,
            (_, SpanClass::Encode) => sum.encoded += time,
            (_, SpanClass::Decode) => sum.decoded += time,
            _ => {}
        }
    }
    sum
}

/// Messages that one GPU takes part in: by kind (none: sent to one other) and ranks, how many tasks they are and
/// the bytes of their nccl-tests' sizes together.
type Messages = BTreeMap<(Option<CollectiveKind>, usize), (u64, u64)>;

/// The messages of a GPU in a step.
fn messages(graph: &TaskGraph, step: u32, gpu: usize) -> Messages {
    let gpu = DeviceId::new(gpu);
    let mut all = Messages::new();
    for id in graph.ids().filter(|id| graph.task(*id).step == step) {
        let (key, size) = match graph.exchange(id) {
            Some((Exchange::Collective { kind, group, size }, lead))
                if lead == id && group.contains(&gpu) =>
            {
                ((Some(*kind), group.len()), size.get())
            }
            Some((Exchange::Send { size, .. }, _)) if graph.task(id).device == gpu => {
                ((None, 2), size.get())
            }
            _ => continue,
        };
        let sum = all.entry(key).or_default();
        sum.0 += 1;
        sum.1 += size;
    }
    all
}

/// Bytes that a rank sends for messages of these sizes: of a gather or an all-to-all (n-1)/n of the size, of an
/// all-reduce twice that, of a hop or a send the size.
fn wire(messages: &Messages) -> u64 {
    let sent = |(&(kind, ranks), &(_, size)): (&(Option<CollectiveKind>, usize), &(u64, u64))| {
        let ranks = ranks as u64;
        match kind {
            None | Some(CollectiveKind::RingPass) => size,
            Some(CollectiveKind::AllReduce) => 2 * (ranks - 1) * size / ranks,
            Some(_) => (ranks - 1) * size / ranks,
        }
    };
    messages.iter().map(sent).sum()
}
