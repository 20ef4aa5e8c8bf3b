//! A testbed as a machine file: what a user would write for these hosts, with what one flow was measured to reach.
//!
//! Every host is a GPU behind a NIC; the link between two switches is a box without GPUs and a NIC on each.

use anyhow::Result;
use serde::Serialize;
use sim::collective::Protocol;
use sim::platform::Platform;
use topologies::Machine;

use crate::testbed::{Net, megabytes};

/// What one flow between two hosts was measured to do.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Calibration {
    /// Bytes of messages over bytes of the link's rate.
    pub efficiency: f64,
    /// Time of an empty message, microseconds.
    pub latency_us: f64,
}

impl Calibration {
    /// The latency of one of the two links between hosts: what the simulator adds for starting a message is in the
    /// measured time too.
    fn link_latency_us(self) -> f64 {
        (self.latency_us - Protocol::Simple.base().as_us_f64()).max(0.0) / 2.0
    }
}

/// The machine file of `net`.
pub(crate) fn toml(net: Net, calibration: Calibration) -> String {
    let Calibration { efficiency, .. } = calibration;
    let latency = calibration.link_latency_us();
    let halves = if net.core.is_some() { 2 } else { 1 };
    let list = |name: &str, count: u32| {
        let names: Vec<String> = (0..count).map(|at| format!("\"{name}{at}\"")).collect();
        names.join(", ")
    };
    let boxes = list("box", net.hosts);
    let spine = if halves == 2 { ", \"spine\"" } else { "" };
    let mut text = format!(
        "name = \"netns\"\nsockets = [{boxes}{spine}]\nnetworks = [{}]\n\n\
         [host]\nname = \"netns\"\nsource = \"tests/net\"\n\n\
         # The hosts' memory: no limit beside their NICs.\n\
         [pcie]\nbandwidth = \"32 GB/s\"\nefficiency = 1.0\nlatency = \"0 us\"\n\n\
         [[gpus]]\nmodel = \"L20\"\ncount = 1\nattach = [{boxes}]\n",
        list("switch", halves),
    );
    let mut nic = |name: &str, at: &str, network: u32, rate: u64, latency: f64| {
        text.push_str(&format!(
            "\n[[nics]]\nname = \"{name}\"\nattach = \"{at}\"\nnetwork = \"switch{network}\"\n\
             bandwidth = \"{rate} MB/s\"\nefficiency = {efficiency:.4}\nlatency = \"{latency:.3} us\"\n"
        ));
    };
    for host in 0..net.hosts {
        let switch = host / (net.hosts / halves);
        let (name, at) = (format!("nic{host}"), format!("box{host}"));
        nic(&name, &at, switch, megabytes(net.rate), latency);
    }
    if let Some(core) = net.core {
        for half in 0..2 {
            nic(&format!("up{half}"), "spine", half, megabytes(core), 0.0);
        }
    }
    text
}

/// The simulator's view of `net`.
///
/// # Errors
/// When the machine file is refused.
pub(crate) fn platform(net: Net, calibration: Calibration) -> Result<Platform> {
    let machine = Machine::from_toml(&toml(net, calibration), &format!("{net}"))?;
    Ok(Platform::of_machine(&machine)?)
}
