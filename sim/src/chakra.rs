//! A simulated run as Chakra execution traces: one per rank, for ASTRA-sim and its like.
//!
//! ```text
//! rank 0   COMP linear ─▶ COMM_COLL all-to-all ─▶ COMP attention ─▶ COMM_SEND ─▶ ...
//! rank 1   COMP linear ─▶ COMM_COLL all-to-all ─▶ COMP attention ─▶ COMM_RECV ─▶ ...
//! ```
//! A file is a [`GlobalMetadata`], then [`Node`]s, each behind its length as a varint. Source of the schema:
//! mlcommons/chakra `schema/protobuf/et_def.proto`; the attribute names are those that its ASTRA-sim feeder reads.
//!
//! Guarantees: every dependency names an earlier node of the same file; every member of a collective has a node
//! for it; a message has one node at each end, with equal tags.
//!
//! Not written: host work without duration, memory, tensors. `comm_size` is nccl-tests' size. Durations are whole
//! microseconds in the schema, rounded to nearest: picoseconds stand in the attribute `duration_ps`.

mod schema;

use std::collections::BTreeMap;

use prost::Message;
use topologies::{CollectiveKind, DeviceId};

pub use schema::{Attribute, GlobalMetadata, Node, NodeType, Value};

use crate::engine::Outcome;
use crate::graph::{Exchange, TaskGraph, TaskId, Work};

/// The schema's version that Chakra's own converters write.
const VERSION: &str = "0.0.4";

/// The schema's numbers of collectives; a ring pass is no collective there.
const fn collective(kind: CollectiveKind) -> Option<i64> {
    match kind {
        CollectiveKind::AllReduce => Some(0),
        CollectiveKind::AllGather => Some(2),
        CollectiveKind::AllToAll => Some(6),
        CollectiveKind::ReduceScatter => Some(7),
        CollectiveKind::RingPass => None,
    }
}

/// What one file knows of a task: up to two nodes. Even numbers start, odd ones receive.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Ends {
    start: bool,
    receive: bool,
}

struct Writer<'a> {
    graph: &'a TaskGraph,
    outcome: &'a Outcome,
    /// Ranks by device.
    ranks: BTreeMap<DeviceId, i32>,
    /// What each join waits for, joins resolved.
    joins: BTreeMap<TaskId, Vec<TaskId>>,
    files: BTreeMap<i32, Vec<u8>>,
}

/// The files, by rank; `placement` has the device of each rank, `provenance` says what was simulated.
///
/// # Panics
/// If a task is on a device of no rank: plans are lowered onto the devices of their ranks.
#[must_use]
pub fn traces(
    graph: &TaskGraph,
    outcome: &Outcome,
    placement: &[DeviceId],
    provenance: &str,
) -> BTreeMap<i32, Vec<u8>> {
    let ranks = (0_i32..)
        .zip(placement)
        .map(|(rank, device)| (*device, rank));
    let mut writer = Writer {
        graph,
        outcome,
        ranks: ranks.collect(),
        joins: BTreeMap::new(),
        files: BTreeMap::new(),
    };
    let head = GlobalMetadata {
        version: VERSION.to_owned(),
        attr: vec![attribute("provenance", Value::Text(provenance.to_owned()))],
    };
    for rank in writer.ranks.values() {
        writer
            .files
            .insert(*rank, head.encode_length_delimited_to_vec());
    }
    for task in graph.ids() {
        writer.task(task);
    }
    writer.files
}

fn attribute(name: &str, value: Value) -> Attribute {
    Attribute {
        name: name.to_owned(),
        value: Some(value),
    }
}

impl Writer<'_> {
    fn rank(&self, device: DeviceId) -> i32 {
        *self
            .ranks
            .get(&device)
            .expect("every task is on the device of a rank")
    }

    fn task(&mut self, task: TaskId) {
        if self.graph.task(task).work == Work::Join {
            let waits = self.waits(task);
            self.joins.insert(task, waits);
            return;
        }
        match self.graph.exchange(task) {
            Some((_, lead)) if lead != task => {}
            Some((exchange, _)) => {
                let exchange = exchange.clone();
                match &exchange {
                    Exchange::Collective { kind, group, .. } => match collective(*kind) {
                        Some(number) => self.collective(task, &exchange, number),
                        None => {
                            for (at, from) in group.iter().enumerate() {
                                self.message(task, &exchange, *from, group[(at + 1) % group.len()]);
                            }
                        }
                    },
                    Exchange::Send { to, .. } => {
                        self.message(task, &exchange, self.graph.task(task).device, *to);
                    }
                }
            }
            None => {
                let device = self.graph.task(task).device;
                let class = self.graph.task(task).class.word();
                let attributes = vec![attribute("is_cpu_op", Value::Bool(false))];
                self.node(task, device, NodeType::Comp, false, class, attributes);
            }
        }
    }

    /// What a task waits for, joins resolved, each once.
    fn waits(&self, task: TaskId) -> Vec<TaskId> {
        let mut all = Vec::new();
        for before in self.graph.predecessors(task) {
            match self.joins.get(before) {
                Some(resolved) => all.extend_from_slice(resolved),
                None => all.push(*before),
            }
        }
        all.sort_unstable();
        all.dedup();
        all
    }

    /// The nodes of a task in the file of `device`.
    fn ends(&self, task: TaskId, device: DeviceId) -> Ends {
        let own = self.graph.task(task).device == device;
        match self.graph.exchange(task) {
            None => Ends {
                start: own,
                receive: false,
            },
            Some((Exchange::Collective { kind, group, .. }, _)) => {
                let member = group.contains(&device);
                Ends {
                    start: member,
                    receive: member && collective(*kind).is_none(),
                }
            }
            Some((Exchange::Send { to, .. }, _)) => Ends {
                start: own,
                receive: *to == device,
            },
        }
    }

    fn collective(&mut self, task: TaskId, exchange: &Exchange, number: i64) {
        let Exchange::Collective { kind, group, size } = exchange else {
            unreachable!("called for collectives");
        };
        let ranks: Vec<String> = group
            .iter()
            .map(|device| self.rank(*device).to_string())
            .collect();
        for device in group {
            let attributes = vec![
                attribute("is_cpu_op", Value::Bool(false)),
                attribute("comm_type", Value::Int64(number)),
                attribute(
                    "comm_size",
                    Value::Int64(i64::try_from(size.get()).unwrap_or(i64::MAX)),
                ),
                attribute("pg_name", Value::Text(ranks.join(","))),
            ];
            self.node(
                task,
                *device,
                NodeType::CommColl,
                false,
                &kind.to_string(),
                attributes,
            );
        }
    }

    fn message(&mut self, task: TaskId, exchange: &Exchange, from: DeviceId, to: DeviceId) {
        let (Exchange::Collective { size, .. } | Exchange::Send { size, .. }) = exchange;
        let attributes = vec![
            attribute("is_cpu_op", Value::Bool(false)),
            attribute("comm_src", Value::Int32(self.rank(from))),
            attribute("comm_dst", Value::Int32(self.rank(to))),
            attribute("comm_tag", Value::Int32(task.index() as i32)),
            attribute(
                "comm_size",
                Value::Int64(i64::try_from(size.get()).unwrap_or(i64::MAX)),
            ),
        ];
        self.node(
            task,
            from,
            NodeType::CommSend,
            false,
            "send",
            attributes.clone(),
        );
        self.node(task, to, NodeType::CommRecv, true, "receive", attributes);
    }

    /// Writes a node into the file of `device`.
    fn node(
        &mut self,
        task: TaskId,
        device: DeviceId,
        what: NodeType,
        receives: bool,
        name: &str,
        mut attr: Vec<Attribute>,
    ) {
        let number = |task: TaskId, receives: bool| task.index() as u64 * 2 + u64::from(receives);
        let mut deps = Vec::new();
        for before in self.waits(task) {
            let ends = self.ends(before, device);
            let lead = self.graph.exchange(before).map_or(before, |(_, lead)| lead);
            deps.extend(ends.start.then(|| number(lead, false)));
            deps.extend(ends.receive.then(|| number(lead, true)));
        }
        deps.sort_unstable();
        deps.dedup();
        let (start, end) = (
            self.outcome.start[task.index()],
            self.outcome.end[task.index()],
        );
        let spot = self.graph.task(task);
        attr.push(attribute(
            "duration_ps",
            Value::Uint64(end.since(start).get()),
        ));
        attr.push(attribute("step", Value::Uint64(u64::from(spot.step))));
        attr.push(attribute("layer", Value::Uint64(u64::from(spot.layer))));
        let micros = |ps: u64| (ps + 500_000) / 1_000_000;
        let node = Node {
            id: number(task, receives),
            name: name.to_owned(),
            r#type: what as i32,
            ctrl_deps: Vec::new(),
            data_deps: deps,
            start_time_micros: micros(start.as_ps()),
            duration_micros: micros(end.since(start).get()),
            attr,
        };
        let rank = self.rank(device);
        let file = self.files.get_mut(&rank).expect("every rank has a file");
        node.encode_length_delimited(file)
            .expect("a vector takes any length");
    }
}

/// A file read back.
///
/// # Errors
/// A sentence, for bytes that are no such file.
pub fn decode(mut bytes: &[u8]) -> Result<(GlobalMetadata, Vec<Node>), String> {
    let fault = |error: prost::DecodeError| format!("no Chakra trace: {error}");
    let head = GlobalMetadata::decode_length_delimited(&mut bytes).map_err(fault)?;
    let mut nodes = Vec::new();
    while !bytes.is_empty() {
        nodes.push(Node::decode_length_delimited(&mut bytes).map_err(fault)?);
    }
    Ok((head, nodes))
}
