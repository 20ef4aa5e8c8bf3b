//! Speed of the network: `cargo bench -p sim --bench network`.
//!
//! * Flows at once: each that ends starts another of a random pair and size, so that their number stays.
//!   Time per flow that ends, the median of five runs.
//! * Collectives on the fat tree, 1 MiB messages in rounds: a ring all-gather, and an all-to-all in which
//!   rank *i* sends to *i + r* in round *r*. Time for all of it, the graph given.
//!
//! Times are the process's own time on a processor, which a shared machine changes little. With a word, only
//! rows that hold it.
//!
//! If `SIMGRID` names the program that `benches/peers/build.sh` makes, SimGrid runs the same lists, and
//! the finish times are compared: the greatest relative difference among the first ten flows of each chain.
//! (Later ones differ more: which flows meet which depends on when each ended, so that a difference in the
//! last digit grows from flow to flow, in either simulator.)

mod list;
mod topology;

use std::path::{Path, PathBuf};
use std::process::Command;

use cpu_time::ThreadTime;
use list::List;
use sim::graph::TaskId;
use sim::testing::Flight;
use topologies::SimTime;
use topology::Topology;

const REPEATS: usize = 5;
/// Flows of a chain whose finish times are compared.
const COMPARED: usize = 10;

/// What one simulator took, in seconds, for the measured flows.
struct Own {
    seconds: f64,
    /// By chain and place in it, and zero where a flow has not ended.
    ends: Vec<Vec<SimTime>>,
}

fn run(list: &List) -> Own {
    let (graph, tasks) = list.graph();
    let capacities = list.capacities();
    let mut times = Vec::new();
    let mut ends = Vec::new();
    for _ in 0..REPEATS {
        let whole = ThreadTime::now();
        let mut flight = Flight::new(&graph, &capacities);
        let left = flight.advance(list.warm_up);
        let began = if list.warm_up > 0 {
            ThreadTime::now()
        } else {
            whole
        };
        // What ends at one instant ends together.
        let measured = flight.advance((list.warm_up + list.measured).saturating_sub(left));
        let per_flow = began.elapsed().as_secs_f64() / measured as f64;
        times.push(per_flow * list.measured as f64);
        let end = |id: &TaskId| flight.ends()[id.index()];
        ends = tasks
            .iter()
            .map(|chain| chain.iter().map(end).collect())
            .collect();
    }
    times.sort_by(f64::total_cmp);
    Own {
        seconds: times[REPEATS / 2],
        ends,
    }
}

/// What SimGrid took, and the greatest relative difference of a finish time.
fn peer(program: &Path, list: &List, own: &Own) -> Result<(f64, f64), String> {
    let folder = std::env::temp_dir().join(format!("ditplan-network-{}", std::process::id()));
    std::fs::create_dir_all(&folder).map_err(|error| error.to_string())?;
    let (flows, finishes) = (folder.join("flows"), folder.join("finishes"));
    std::fs::write(&flows, list.text()).map_err(|error| error.to_string())?;
    let output = Command::new(program).arg(&flows).arg(&finishes).output();
    let output = output.map_err(|error| format!("{}: {error}", program.display()))?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    let seconds = String::from_utf8_lossy(&output.stdout).trim().parse();
    let seconds: f64 = seconds.map_err(|error| format!("SimGrid's seconds: {error}"))?;
    let text = std::fs::read_to_string(&finishes).map_err(|error| error.to_string())?;
    let mut worst = 0.0_f64;
    for line in text.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        let (chain, flow): (usize, usize) = (words[0].parse().unwrap(), words[1].parse().unwrap());
        let theirs: f64 = words[2].parse().unwrap();
        let ours = own.ends[chain][flow].since(SimTime::ZERO).as_secs_f64();
        // The last instant may hold flows that we have not come to, or they.
        if flow < COMPARED && ours > 0.0 {
            worst = worst.max((ours - theirs).abs() / theirs);
        }
    }
    std::fs::remove_dir_all(&folder).map_err(|error| error.to_string())?;
    Ok((seconds, worst))
}

/// One line of the table, if it is asked for; times in units of `per` seconds.
fn row(what: &str, list: &List, simgrid: Option<&Path>, per: f64, limit: Option<f64>) {
    let words = || {
        std::env::args()
            .skip(1)
            .filter(|word| !word.starts_with('-'))
    };
    if words().next().is_some() && !words().any(|word| what.contains(&word)) {
        return;
    }
    let own = run(list);
    let limit = limit.map_or(String::from("-"), |limit| format!("{limit}"));
    print!("{what:32} {:>10.2} {limit:>6}", own.seconds / per);
    match simgrid.map(|program| peer(program, list, &own)) {
        None => println!(),
        Some(Ok((seconds, worst))) => println!(
            " {:>12.1} {:>7.1} {worst:>9.1e}",
            seconds / per,
            seconds / own.seconds
        ),
        Some(Err(error)) => println!(" SimGrid failed: {error}"),
    }
}

fn main() {
    let simgrid = std::env::var_os("SIMGRID").map(PathBuf::from);
    let simgrid = simgrid.as_deref();
    if simgrid.is_none() {
        println!("SIMGRID is not set: no comparison (see sim/benches/run.sh)");
    }
    println!("us per flow that ends               ditplan  limit      SimGrid   ratio  differs");
    // Flows under way, flows measured, limit on the fat tree in us.
    for (at_once, measured, limit) in [(100, 20_000, 2.0), (1000, 2000, 50.0), (10_000, 150, 600.0)]
    {
        for topology in Topology::ALL {
            let list = List::random(topology, at_once, measured);
            let limit = (topology == Topology::FatTree).then_some(limit);
            let what = format!("{}, {at_once} at once", topology.name());
            row(&what, &list, simgrid, 1e-6 * measured as f64, limit);
        }
    }
    println!("ms in all, fat tree                 ditplan  limit      SimGrid   ratio  differs");
    for ranks in [8, 256] {
        let ring = List::rounds(Topology::FatTree, ranks, |_| 1);
        row(
            &format!("ring all-gather of {ranks}"),
            &ring,
            simgrid,
            1e-3,
            None,
        );
        let all = List::rounds(Topology::FatTree, ranks, |round| round);
        row(&format!("all-to-all of {ranks}"), &all, simgrid, 1e-3, None);
    }
}
