//! Flow lists: what both simulators are given, as a task graph and as the text that `simgrid.cpp` reads.

use std::collections::BTreeMap;
use std::fmt::Write;

use sim::graph::{Path, TaskGraph, TaskId};
use sim::testing::{Numbers, ps, transfer};
use topologies::{Bandwidth, LinkId};

use crate::topology::Topology;

/// One message.
#[derive(Clone, Copy, Debug)]
pub struct Flow {
    pub from: usize,
    pub to: usize,
    pub bytes: u64,
}

/// How the flows of different chains hang together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Not at all: each starts when the one before in its chain has ended.
    Flows,
    /// A chain is what a rank sends; it goes on when it has sent and received what it does in a round.
    Rounds,
}

/// Chains of flows over a network.
#[derive(Debug)]
pub struct List {
    pub kind: Kind,
    pub topology: Topology,
    pub chains: Vec<Vec<Flow>>,
    /// How many flows end before the measurement.
    pub warm_up: u64,
    /// How many flows it lasts.
    pub measured: u64,
}

impl List {
    /// `at_once` flows of random pairs and sizes under way, each followed by another.
    pub fn random(topology: Topology, at_once: usize, measured: u64) -> Self {
        const WARM_UP: u64 = 100;
        let mut numbers = Numbers::new(at_once as u64);
        let each = 8 * (WARM_UP + measured) as usize / at_once + 8;
        let mut flow = || {
            let (from, to) = topology.pair(&mut numbers);
            let bytes = 100_000_000 + numbers.below(2_000_000_000) as u64;
            Flow { from, to, bytes }
        };
        Self {
            kind: Kind::Flows,
            topology,
            chains: (0..at_once)
                .map(|_| (0..each).map(|_| flow()).collect())
                .collect(),
            warm_up: WARM_UP,
            measured,
        }
    }

    /// A collective among the first `ranks` hosts; in round *r*, from 1, rank *i* sends to *i + step(r)*.
    pub fn rounds(topology: Topology, ranks: usize, step: impl Fn(usize) -> usize) -> Self {
        let flow = |from: usize, round: usize| Flow {
            from,
            to: (from + step(round)) % ranks,
            bytes: 1 << 20,
        };
        let chain = |from| (1..ranks).map(|round| flow(from, round)).collect();
        Self {
            kind: Kind::Rounds,
            topology,
            chains: (0..ranks).map(chain).collect(),
            warm_up: 0,
            measured: (ranks * (ranks - 1)) as u64,
        }
    }

    /// The task graph, and the task of each flow by chain.
    pub fn graph(&self) -> (TaskGraph, Vec<Vec<TaskId>>) {
        let mut graph = TaskGraph::new();
        let mut tasks: Vec<Vec<TaskId>> = vec![Vec::new(); self.chains.len()];
        let mut received: Vec<Option<TaskId>> = vec![None; self.chains.len()];
        let longest = self.chains.iter().map(Vec::len).max().unwrap_or(0);
        for round in 0..longest {
            let before = received.clone();
            for (chain, flows) in self.chains.iter().enumerate() {
                let flow = flows[round];
                let links = self.topology.route(flow.from, flow.to);
                let links: Vec<LinkId> = links.into_iter().map(LinkId::new).collect();
                let path = graph.intern(Path::single(ps(0), &links));
                let mut after: Vec<TaskId> = tasks[chain].last().copied().into_iter().collect();
                if self.kind == Kind::Rounds {
                    // The receiver takes part once it has sent and received in the round before.
                    let receiver = tasks[flow.to].get(round.wrapping_sub(1));
                    after.extend(before[chain].into_iter().chain(before[flow.to]));
                    after.extend(receiver);
                }
                let task = graph.push(transfer(0, path, flow.bytes), &after);
                if self.kind == Kind::Rounds {
                    received[flow.to] = Some(task);
                }
                tasks[chain].push(task);
            }
        }
        (graph, tasks)
    }

    pub fn capacities(&self) -> Vec<Bandwidth> {
        self.topology.capacities()
    }

    /// What `simgrid.cpp` reads.
    pub fn text(&self) -> String {
        let mut routes = BTreeMap::new();
        for flow in self.chains.iter().flatten() {
            let route = || self.topology.route(flow.from, flow.to);
            routes.entry((flow.from, flow.to)).or_insert_with(route);
        }
        let capacities = self.capacities();
        let kind = match self.kind {
            Kind::Flows => "flows",
            Kind::Rounds => "rounds",
        };
        let mut text = format!(
            "{kind} {} {} {} {} {} {}\n",
            self.topology.hosts(),
            capacities.len(),
            routes.len(),
            self.chains.len(),
            self.warm_up,
            self.measured
        );
        let mut put = |line: std::fmt::Arguments| text.write_fmt(line).expect("memory is enough");
        for capacity in capacities {
            put(format_args!("{}\n", capacity.get()));
        }
        for ((from, to), links) in routes {
            put(format_args!("{from} {to} {}", links.len()));
            links.iter().for_each(|link| put(format_args!(" {link}")));
            put(format_args!("\n"));
        }
        for chain in &self.chains {
            put(format_args!("{}", chain.len()));
            for flow in chain {
                put(format_args!(" {} {} {}", flow.from, flow.to, flow.bytes));
            }
            put(format_args!("\n"));
        }
        text
    }
}
