//! A link between two namespaces: a veth pair whose ends each send at most its rate.
//!
//! ```text
//! fair   connection ─▶ queue ─┐                    fifo   connections ─▶ queue ─▶ HTB, the link's rate
//!        connection ─▶ queue ─┴▶ HTB, in turns             acknowledgements wait behind data
//!        acknowledgements ─▶ first
//! ```
//! *Fair* is what `fq`, the usual queue of Linux hosts, does, which this kernel may lack; here switches do so too.
//! Connections have no more under way than a queue holds, so that nothing is lost. *Fifo* is a switch's plain queue:
//! TCP then shares by losing packets.

use std::fmt::Write as _;
use std::io::Write as _;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use topologies::Bandwidth;

use crate::mesh::CHANNELS;
use crate::testbed::tool;

/// What waits where before a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Queues {
    /// A queue for each connection, served in turns; acknowledgements first.
    Fair,
    /// One queue.
    Fifo,
}

/// What the queue of a connection holds: twice what one may have under way.
const FAIR_BYTES: u32 = 1_048_576;
/// What the only queue holds: 6.5 ms at 40 MB/s.
const FIFO_BYTES: u32 = 262_144;
/// What a link passes at once after a pause, as time at its rate: timers that fire later than that lose bytes.
const BURST_US: u64 = 500;
/// Largest packet that a host gives its link: six segments of Ethernet.
const PACKET_BYTES: u32 = 9000;
/// The class of acknowledgements.
const FIRST: u32 = 2;
/// The first class of a connection.
const CONNECTIONS: u32 = 16;

/// One end of a link.
pub(crate) struct End<'a> {
    space: &'a str,
    device: String,
    /// Hosts whose packets leave here, and the hosts that they go to.
    from: &'a [u32],
    to: &'a [u32],
}

impl<'a> End<'a> {
    /// The end `device` in a namespace, over which packets from some hosts to others leave.
    pub(crate) fn new(space: &'a str, device: &str, from: &'a [u32], to: &'a [u32]) -> Self {
        let device = device.to_owned();
        Self {
            space,
            device,
            from,
            to,
        }
    }
}

/// The class of a connection: three bits each of sender, receiver and channel.
const fn class(from: u32, to: u32, channel: u32) -> u32 {
    CONNECTIONS + (from << 6 | to << 3 | channel)
}

/// A classic BPF program that returns a packet's class, as tc reads it: instructions of four numbers.
///
/// Of Ethernet and IPv4 without options: type at 12, length at 16, the last bytes of the addresses (host + 1) at 29
/// and 33, the port of the receiver at 36. Packets up to 64 bytes are acknowledgements; what is no IPv4 goes with them.
fn classifier() -> String {
    let handle = 1 << 16;
    let [
        load_half,
        load_byte,
        and,
        shift,
        or_x,
        to_x,
        add,
        sub,
        ret_k,
        ret_a,
    ] = [0x28, 0x30, 0x54, 0x64, 0x4c, 0x07, 0x04, 0x14, 0x06, 0x16];
    let (jump_equal, jump_greater) = (0x15, 0x25);
    let host = |at: u32, bits: u32| {
        [
            (load_byte, 0, 0, at),
            (sub, 0, 0, 1),
            (and, 0, 0, 7),
            (shift, 0, 0, bits),
        ]
    };
    let mut program = vec![
        (load_half, 0, 0, 12),
        (jump_equal, 1, 0, 0x800),
        (ret_k, 0, 0, handle + FIRST),
        (load_half, 0, 0, 16),
        (jump_greater, 1, 0, 64),
        (ret_k, 0, 0, handle + FIRST),
    ];
    program.extend(host(29, 6));
    program.push((to_x, 0, 0, 0));
    program.extend(host(33, 3));
    program.extend([(or_x, 0, 0, 0), (to_x, 0, 0, 0)]);
    program.extend([
        (load_half, 0, 0, 36),
        (and, 0, 0, CHANNELS - 1),
        (or_x, 0, 0, 0),
    ]);
    program.extend([(add, 0, 0, handle + CONNECTIONS), (ret_a, 0, 0, 0)]);
    let mut text = format!("{}", program.len());
    for (code, yes, no, value) in program {
        // Writing to a string cannot fail.
        let _ = write!(text, ",{code} {yes} {no} {value}");
    }
    text
}

/// Joins two namespaces.
///
/// # Errors
/// What ip or tc say.
pub(crate) fn wire(ends: &[End<'_>; 2], rate: Bandwidth, queues: Queues) -> Result<()> {
    let [a, b] = ends;
    let peer = format!("peer name {} netns {}", b.device, b.space);
    tool(
        "ip",
        &format!("-n {} link add {} type veth {peer}", a.space, a.device),
    )?;
    for end in ends {
        let size = format!("gso_max_size {PACKET_BYTES}");
        tool(
            "ip",
            &format!("-n {} link set {} {size} up", end.space, end.device),
        )?;
        shape(end, rate, queues).with_context(|| format!("{} of {}", end.device, end.space))?;
    }
    Ok(())
}

fn shape(end: &End<'_>, rate: Bandwidth, queues: Queues) -> Result<()> {
    let device = &end.device;
    let bits = rate.get() * 8;
    let burst = (rate.get() * BURST_US / 1_000_000).max(u64::from(PACKET_BYTES));
    let whole = format!("rate {bits}bit ceil {bits}bit burst {burst} cburst {burst}");
    // A leaf's own rate is next to nothing: it takes turns in borrowing the link's.
    let leaf = format!("rate 8kbit ceil 10gbit burst 1 cburst {FAIR_BYTES} quantum {PACKET_BYTES}");
    let mut lines = vec![
        format!("qdisc add dev {device} root handle 1: htb default {FIRST}"),
        format!("class add dev {device} parent 1: classid 1:1 htb {whole}"),
    ];
    let mut add = |class: u32, priority: u32, bytes: u32| {
        lines.push(format!(
            "class add dev {device} parent 1:1 classid 1:{class:x} htb {leaf} prio {priority}"
        ));
        lines.push(format!(
            "qdisc add dev {device} parent 1:{class:x} bfifo limit {bytes}"
        ));
    };
    match queues {
        Queues::Fifo => add(FIRST, 0, FIFO_BYTES),
        Queues::Fair => {
            add(FIRST, 0, FAIR_BYTES);
            for &from in end.from {
                for &to in end.to.iter().filter(|&&to| to != from) {
                    (0..CHANNELS).for_each(|channel| add(class(from, to, channel), 1, FAIR_BYTES));
                }
            }
            lines.push(format!(
                "filter add dev {device} parent 1: protocol all prio 1 bpf bytecode \"{}\"",
                classifier()
            ));
        }
    }
    batch(end.space, &lines)
}

/// Gives tc many lines at once.
fn batch(space: &str, lines: &[String]) -> Result<()> {
    let mut tc = Command::new("tc")
        .args(["-n", space, "-batch", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .context("tc cannot be run")?;
    let mut input = tc.stdin.take().context("tc has no input")?;
    input.write_all((lines.join("\n") + "\n").as_bytes())?;
    drop(input);
    let done = tc.wait_with_output()?;
    let said = String::from_utf8_lossy(&done.stderr);
    ensure!(done.status.success(), "tc: {}", said.trim());
    Ok(())
}
