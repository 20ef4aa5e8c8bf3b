//! Which cases are run on which testbeds, in sizes drawn from a seed.

use anyhow::Result;
use sim::testing::Numbers;
use topologies::{Bandwidth, CollectiveKind, SimDuration};

use crate::cases::{Case, Flow, Prepared, What};
use crate::dit::Dit;
use crate::link::Queues;
use crate::machine::{self, Calibration};
use crate::testbed::Net;

/// How much is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Extent {
    /// A few cases on two testbeds.
    Quick,
    /// Everything.
    Full,
}

pub(crate) const fn net(hosts: u32, rate: u64, core: Option<u64>, queues: Queues) -> Net {
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
