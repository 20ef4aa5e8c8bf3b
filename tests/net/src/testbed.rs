//! Hosts as network namespaces, joined by shaped links.
//!
//! ```text
//! star   host0 ══╗             tree   host0 ══╗               ╔══ host2      ══ a veth pair whose two ends
//!        host1 ══╬ bridge             host1 ══╬ bridge ══ bridge ╬══ host3        send at most the link's rate
//!        host2 ══╝                            ╝     core        ╝                  (see `link`)
//! ```
//! Guarantees: every namespace, device and queue is in namespaces of this testbed's own name; dropping it removes
//! them all and ends the workers in them. Nothing of the host's own network is touched.
//!
//! Not there: delay other than that of queues.

use std::fmt;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use topologies::Bandwidth;

use crate::link::{self, End, Queues};
use crate::worker::{Answer, Order};

/// Longest that any answer may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// Hosts and the links between them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Net {
    /// How many hosts.
    pub hosts: u32,
    /// Of every host's link, each way.
    pub rate: Bandwidth,
    /// Of the link between the two halves of the hosts; all hosts are on one switch without.
    pub core: Option<Bandwidth>,
    /// What waits where.
    pub queues: Queues,
}

/// A bandwidth in whole MB/s.
pub(crate) fn megabytes(rate: Bandwidth) -> u64 {
    rate.get() / 1_000_000
}

impl fmt::Display for Net {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}x{}MB/s", self.hosts, megabytes(self.rate))?;
        if let Some(core) = self.core {
            write!(f, " core {}MB/s", megabytes(core))?;
        }
        match self.queues {
            Queues::Fair => Ok(()),
            Queues::Fifo => f.write_str(" FIFO"),
        }
    }
}

/// Namespaces with workers in them.
pub(crate) struct Testbed {
    token: String,
    names: Vec<String>,
    workers: Vec<Worker>,
    runs: u32,
}

/// A worker process and its lines.
struct Worker {
    process: Child,
    orders: ChildStdin,
    answers: Receiver<String>,
}

pub(crate) fn tool(program: &str, arguments: &str) -> Result<()> {
    let words = arguments.split_whitespace();
    let done = Command::new(program)
        .args(words)
        .output()
        .with_context(|| format!("{program} cannot be run"))?;
    if done.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&done.stderr);
    bail!("{program} {arguments}: {}", said.trim())
}

impl Testbed {
    /// Sets up `net`; `token` begins the names of its namespaces.
    ///
    /// # Errors
    /// What ip or tc say.
    pub(crate) fn new(net: Net, token: &str) -> Result<Self> {
        let mut testbed = Self {
            token: token.to_owned(),
            names: Vec::new(),
            workers: Vec::new(),
            runs: 0,
        };
        testbed.build(net)?;
        testbed.start(net.hosts)?;
        Ok(testbed)
    }

    fn namespace(&mut self, part: &str) -> Result<String> {
        let name = format!("{}-{part}", self.token);
        tool("ip", &format!("netns add {name}"))?;
        self.names.push(name.clone());
        tool("ip", &format!("-n {name} link set lo up"))?;
        Ok(name)
    }

    fn build(&mut self, net: Net) -> Result<()> {
        let halves = if net.core.is_some() { 2 } else { 1 };
        ensure!(
            net.hosts.is_multiple_of(halves),
            "the two halves of {net} have equally many hosts"
        );
        let all: Vec<u32> = (0..net.hosts).collect();
        let mut switches = Vec::new();
        for half in 0..halves {
            let switch = self.namespace(&format!("s{half}"))?;
            tool("ip", &format!("-n {switch} link add br0 type bridge"))?;
            tool("ip", &format!("-n {switch} link set br0 up"))?;
            switches.push(switch);
        }
        for host in 0..net.hosts {
            let name = self.namespace(&format!("h{host}"))?;
            let switch = &switches[(host / (net.hosts / halves)) as usize];
            let own = [host];
            let ends = [
                End::new(&name, "eth0", &own, &all),
                End::new(switch, &format!("p{host}"), &all, &own),
            ];
            link::wire(&ends, net.rate, net.queues)?;
            tool("ip", &format!("-n {switch} link set p{host} master br0"))?;
            let address = format!("-n {name} addr add {}/24 dev eth0", address(host));
            tool("ip", &address)?;
            tune(&name)?;
        }
        if let (Some(core), [one, other]) = (net.core, switches.as_slice()) {
            let (left, right) = all.split_at(all.len() / 2);
            let ends = [
                End::new(one, "core", left, right),
                End::new(other, "core", right, left),
            ];
            link::wire(&ends, core, net.queues)?;
            for switch in [one, other] {
                tool("ip", &format!("-n {switch} link set core master br0"))?;
            }
        }
        Ok(())
    }

    fn start(&mut self, hosts: u32) -> Result<()> {
        let program = std::env::current_exe().context("this program's own path")?;
        let addresses: Vec<String> = (0..hosts).map(address).collect();
        for host in 0..hosts {
            let mut process = Command::new("ip")
                .args(["netns", "exec", &format!("{}-h{host}", self.token)])
                .arg(&program)
                .args(["worker", &host.to_string()])
                .args(&addresses)
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()
                .context("a worker cannot be started")?;
            let orders = process.stdin.take().context("a worker has no input")?;
            let output = process.stdout.take().context("a worker has no output")?;
            let (sender, answers) = channel();
            std::thread::spawn(move || {
                let lines = BufReader::new(output).lines().map_while(Result::ok);
                lines.map(|line| sender.send(line)).all(|sent| sent.is_ok())
            });
            self.workers.push(Worker {
                process,
                orders,
                answers,
            });
        }
        self.answers().map(drop)
    }

    /// Gives each rank an order.
    ///
    /// # Errors
    /// When a worker is gone.
    pub(crate) fn order(&mut self, orders: &[Order]) -> Result<()> {
        for (worker, order) in self.workers.iter_mut().zip(orders) {
            writeln!(worker.orders, "{}", serde_json::to_string(order)?)?;
        }
        Ok(())
    }

    /// The answer of each rank.
    ///
    /// # Errors
    /// When a worker failed, or did not answer in time.
    pub(crate) fn answers(&mut self) -> Result<Vec<Answer>> {
        let mut answers = Vec::new();
        for (rank, worker) in self.workers.iter().enumerate() {
            let line = worker.answers.recv_timeout(PATIENCE);
            let line = line.with_context(|| format!("rank {rank} does not answer"))?;
            match serde_json::from_str(&line)? {
                Answer::Failed(why) => bail!(why),
                answer => answers.push(answer),
            }
        }
        Ok(answers)
    }

    /// The number of the next run.
    pub(crate) fn next_run(&mut self) -> u32 {
        self.runs += 1;
        self.runs
    }
}

impl Drop for Testbed {
    fn drop(&mut self) {
        for worker in &mut self.workers {
            // What has ended already cannot be ended: that is no fault.
            let _ = worker.process.kill();
            let _ = worker.process.wait();
        }
        for name in &self.names {
            if let Err(error) = tool("ip", &format!("netns del {name}")) {
                eprintln!("{error:#}");
            }
        }
    }
}

fn address(host: u32) -> String {
    format!("10.77.0.{}", host + 1)
}

/// What hosts of a cluster are set to: windows do not shrink between bursts, a lost tail is sent again after 10 ms,
/// not 200, and no connection has more under way than a queue holds.
fn tune(space: &str) -> Result<()> {
    let settings = [
        "tcp_slow_start_after_idle=0",
        "tcp_rto_min_us=10000",
        "tcp_rmem=4096,131072,524288",
    ];
    for setting in settings {
        let done = Command::new("ip")
            .args(["netns", "exec", space, "sysctl", "-q", "-w"])
            .arg(format!("net.ipv4.{}", setting.replace(',', " ")))
            .status()?;
        ensure!(done.success(), "sysctl {setting} is refused");
    }
    Ok(())
}
