//! One rank: a process in a network namespace that runs its program when told to.
//!
//! ```text
//! driver ── Load(program) ─▶ worker ── Ready ─▶     ── Run(at) ─▶ worker ── Spans ─▶ driver
//! ```
//! Orders and answers are lines of JSON on standard input and output. Each lane of a program is a thread; it begins
//! at the time it was told, the same on all ranks.

use std::collections::BTreeMap;
use std::io::{BufRead, Write};
use std::sync::Mutex;

use anyhow::{Context, Result, anyhow};
use serde::{Deserialize, Serialize};

use crate::clock;
use crate::codec::Coder;
use crate::exchange;
use crate::mesh::{Mesh, Payload};
use crate::program::{Job, Lane, Node, Program};

/// What a worker is told.
#[derive(Serialize, Deserialize)]
pub(crate) enum Order {
    /// The next program; its connections are made.
    Load(Program),
    /// The loaded program runs, from this time on.
    Run {
        /// Counts the runs of all programs.
        number: u32,
        /// The time on the shared clock.
        at_ns: u64,
    },
}

/// A job's time on the shared clock.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Done {
    /// The task.
    pub task: u32,
    /// When it had all it waits for.
    pub start_ns: u64,
    /// When it was done.
    pub end_ns: u64,
}

/// What a worker answers.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Answer {
    /// It listens, or has loaded its program.
    Ready,
    /// The jobs of the run, and by how much coding overran its time, all together.
    Ran {
        /// The jobs.
        spans: Vec<Done>,
        /// Nanoseconds.
        overrun_ns: u64,
    },
    /// It cannot.
    Failed(String),
}

/// Runs a worker until its standard input ends.
///
/// # Errors
/// When it cannot listen, or standard output is gone.
pub(crate) fn serve(rank: u32, addresses: Vec<String>) -> Result<()> {
    // Sleeps end when they should, not up to 50 us later; threads inherit it.
    std::fs::write("/proc/self/timerslack_ns", "1").context("the timer slack cannot be set")?;
    let mut worker = Worker::new(rank, addresses)?;
    answer(&Answer::Ready)?;
    for line in std::io::stdin().lock().lines() {
        let order = serde_json::from_str(&line?)?;
        let done = worker.obey(order);
        answer(&done.unwrap_or_else(|error| Answer::Failed(format!("rank {rank}: {error:#}"))))?;
    }
    Ok(())
}

fn answer(answer: &Answer) -> Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{}", serde_json::to_string(answer)?)?;
    Ok(out.flush()?)
}

/// One rank.
pub(crate) struct Worker {
    pub rank: u32,
    ranks: u32,
    pub mesh: Mesh,
    program: Program,
    /// Where the plan compresses.
    pub coder: Mutex<Option<Coder>>,
}

/// The moment of a run.
#[derive(Clone, Copy)]
pub(crate) struct Run {
    pub number: u32,
    at_ns: u64,
}

impl Worker {
    fn new(rank: u32, addresses: Vec<String>) -> Result<Self> {
        Ok(Self {
            rank,
            ranks: u32::try_from(addresses.len())?,
            mesh: Mesh::new(rank, addresses)?,
            program: Program::default(),
            coder: Mutex::new(None),
        })
    }

    fn obey(&mut self, order: Order) -> Result<Answer> {
        match order {
            Order::Load(program) => {
                let codec = program.codec.as_ref();
                let coder = codec.map(|codec| Coder::new(codec, self.rank, self.ranks));
                *self.coder.get_mut().map_err(|_| anyhow!("a lane died"))? = coder.transpose()?;
                for node in &program.nodes {
                    for (peer, channel) in exchange::connections(&node.job, self.rank) {
                        self.mesh
                            .connect(peer, channel)
                            .with_context(|| format!("no connection to rank {peer}"))?;
                    }
                }
                self.program = program;
                Ok(Answer::Ready)
            }
            Order::Run { number, at_ns } => self.run(Run { number, at_ns }),
        }
    }

    fn run(&self, run: Run) -> Result<Answer> {
        self.mesh.shared.note(|board| {
            board.done.clear();
            let stale = |number: u64| (number >> 40) < u64::from(run.number);
            board.arrived.retain(|&(_, number), _| !stale(number));
        });
        if let Ok(mut coder) = self.coder.lock()
            && let Some(coder) = coder.as_mut()
        {
            coder.forget();
        }
        let mut lanes: BTreeMap<Lane, Vec<&Node>> = BTreeMap::new();
        for node in &self.program.nodes {
            lanes.entry(node.lane).or_default().push(node);
        }
        let ran = std::thread::scope(|scope| {
            let mut threads = Vec::new();
            for nodes in lanes.into_values() {
                threads.push(scope.spawn(move || self.lane(run, &nodes)));
            }
            let joined = threads.into_iter();
            let joined = joined.map(|lane| lane.join().map_err(|_| anyhow!("a lane died"))?);
            joined.collect::<Result<Vec<_>>>()
        })?;
        let overrun_ns = ran.iter().map(|(_, overrun)| overrun).sum();
        let spans = ran.into_iter().flat_map(|(spans, _)| spans).collect();
        Ok(Answer::Ran { spans, overrun_ns })
    }

    fn lane(&self, run: Run, nodes: &[&Node]) -> Result<(Vec<Done>, u64)> {
        let (mut spans, mut overrun) = (Vec::new(), 0);
        for node in nodes {
            clock::sleep_until(run.at_ns);
            self.mesh.shared.wait(|board| {
                let all = node.after.iter().all(|task| board.done.contains(task));
                all.then_some(())
            });
            let start_ns = clock::now_ns();
            let end_ns = self.job(run, node, start_ns, &mut overrun)?;
            self.mesh.shared.note(|board| {
                board.done.insert(node.task);
            });
            spans.push(Done {
                task: node.task,
                start_ns,
                end_ns,
            });
        }
        Ok((spans, overrun))
    }

    /// Does a job; when it was done.
    fn job(&self, run: Run, node: &Node, start: u64, overrun: &mut u64) -> Result<u64> {
        let number = u64::from(run.number) << 40 | u64::from(node.task) << 8;
        match &node.job {
            Job::Busy { ns } => clock::sleep_until(start + ns),
            Job::Encode { ns } => {
                self.coding(Coder::encode)?;
                *overrun += clock::now_ns().saturating_sub(start + ns);
                clock::sleep_until(start + ns);
            }
            Job::Decode { ns } => {
                self.coding(|coder| coder.decode())?;
                *overrun += clock::now_ns().saturating_sub(start + ns);
                clock::sleep_until(start + ns);
            }
            Job::Collective { kind, group, size } => {
                return exchange::collective(self, *kind, group, *size, number);
            }
            Job::Send { to, bytes, channel } => {
                let payload = Payload::Filler(*bytes);
                self.mesh.send(*to, *channel, number, payload);
            }
            Job::Receive { from } => return Ok(self.mesh.receive(*from, number).at_ns),
        }
        Ok(clock::now_ns())
    }

    /// Works with the coder, which only programs with one ask for.
    fn coding<T>(&self, work: impl FnOnce(&mut Coder) -> Result<T>) -> Result<T> {
        let mut coder = self.coder.lock().map_err(|_| anyhow!("a lane died"))?;
        work(
            coder
                .as_mut()
                .context("the program compresses without a codec")?,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cases::What;
    use crate::drawn::{Extent, nets, of};
    use crate::machine::Calibration;

    /// Programs of four ranks over the loopback device, all in this process.
    fn run(programs: &[Program], subnet: u8) -> Vec<Result<Answer>> {
        let addresses: Vec<String> = (1..=programs.len())
            .map(|host| format!("127.77.{subnet}.{host}"))
            .collect();
        let workers = (0..)
            .zip(programs)
            .map(|(rank, _)| Worker::new(rank, addresses.clone()).unwrap());
        let mut workers: Vec<Worker> = workers.collect();
        for (worker, program) in workers.iter_mut().zip(programs) {
            worker.obey(Order::Load(program.clone())).unwrap();
        }
        let at_ns = clock::now_ns() + 1_000_000;
        std::thread::scope(|scope| {
            let mut threads = Vec::new();
            for worker in &mut workers {
                let order = Order::Run { number: 1, at_ns };
                threads.push(scope.spawn(move || worker.obey(order)));
            }
            threads
                .into_iter()
                .map(|thread| thread.join().unwrap())
                .collect()
        })
    }

    /// Every kind of case that four hosts have runs to its end, each job once; compressed messages arrive as sent.
    #[test]
    fn cases_run_over_the_loopback_device() {
        let calibration = Calibration {
            efficiency: 0.95,
            latency_us: 100.0,
        };
        let net = nets(Extent::Full)[0];
        let platform = crate::machine::platform(net, calibration).unwrap();
        let cases = of(net, Extent::Full, calibration).unwrap();
        let mut compressed = 0;
        for (subnet, case) in (0..).zip(&cases[..11]) {
            if let What::Dit(_) = case.what {
                compressed += 1;
            }
            let prepared = crate::cases::Prepared::new(case, &platform).unwrap();
            for (answer, program) in run(&prepared.programs, subnet)
                .into_iter()
                .zip(&prepared.programs)
            {
                let Answer::Ran { spans, .. } = answer.unwrap() else {
                    panic!("{case:?}");
                };
                assert_eq!(spans.len(), program.nodes.len(), "{case:?}");
            }
        }
        assert!(compressed > 0);
    }
}
