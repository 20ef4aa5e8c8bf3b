//! `ditplan` whose sweeps run on the ranks of an MPI run: `mpirun -n 8 ditplan-mpi sweep --vary ... --out rows.csv --resume`.
//!
//! ```text
//! rank 0: what `ditplan` does ─▶ points, a chunk at a time ──▶ ranks 1.. and a thread of rank 0 ─▶ lines
//!         file ◀── in the order of the points ◀────────────────────────────────────────────────────┘
//! ```
//! Guarantees:
//! 1. The file is the same bytes as `ditplan` writes, whatever the number of ranks.
//! 2. A rank or the run may be killed at any time: the lines that were written stay, `--resume` goes on behind them, and
//!    at most [`dealer::AHEAD`] chunks a rank are worked out again.
//! 3. A rank whose question differs (another machine file, another program) ends the run before a line of its is written.
//!
//! Other commands run on rank 0 alone. Not here: a run that goes on without a rank that died, which Open MPI ends.

mod dealer;

use std::process::ExitCode;
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use ditplan::Workers;
use mpi::Threading;
use mpi::topology::SimpleCommunicator;
use mpi::traits::*;
use planner::search::Shared;
use planner::sweep::Sweep;

use dealer::Dealer;

/// How long to look away from messages; MPI itself waits at full speed.
const PAUSE: Duration = Duration::from_micros(500);

fn main() -> ExitCode {
    let Some((universe, _)) = mpi::initialize_with_threading(Threading::Funneled) else {
        eprintln!("error: MPI was started already");
        return ExitCode::FAILURE;
    };
    let world = universe.world();
    if world.rank() > 0 {
        if let Err(error) = serve(&world) {
            eprintln!("error: rank {}: {error:#}", world.rank());
            world.abort(2);
        }
        return ExitCode::SUCCESS;
    }
    let code = ditplan::run(&Ranks(&world));
    for rank in 1..world.size() {
        world.process_at_rank(rank).send::<[u8]>(&[]);
    }
    code
}

/// The ranks of this run.
struct Ranks<'a>(&'a SimpleCommunicator);

impl Workers for Ranks<'_> {
    fn work(
        &self,
        sweep: &Sweep,
        first: usize,
        each: &mut dyn FnMut(Vec<u8>) -> Result<()>,
    ) -> Result<()> {
        Dealer::new(self.0, sweep, first).run(each)
    }
}

/// Works out chunks until rank 0 sends an empty one.
fn serve(world: &SimpleCommunicator) -> Result<()> {
    let zero = world.process_at_rank(0);
    let asked = ditplan::sweep().map(|sweep| sweep.map(|sweep| (ditplan::digest(&sweep), sweep)));
    let shared = Shared::default();
    loop {
        while zero.immediate_probe().is_none() {
            sleep(PAUSE);
        }
        let order = Order::read(&zero.receive_vec::<u8>().0)?;
        let Some(order) = order else {
            return Ok(());
        };
        let (digest, sweep) = match &asked {
            Ok(asked) => asked
                .as_ref()
                .context("rank 0 sweeps, this rank does not")?,
            Err(error) => anyhow::bail!("{error:#}"),
        };
        ensure!(
            order.digest == *digest,
            "its question differs from rank 0's: give all ranks the same program and the same files"
        );
        let mut answer = (order.from as u64).to_le_bytes().to_vec();
        answer.extend(ditplan::lines(sweep, order.from..order.until, &shared));
        zero.send(&answer[..]);
    }
}

/// Points to work out, and of which question.
struct Order {
    from: usize,
    until: usize,
    digest: String,
}

impl Order {
    fn write(&self) -> Vec<u8> {
        format!("{} {} {}", self.from, self.until, self.digest).into_bytes()
    }

    /// None where nothing is left.
    fn read(text: &[u8]) -> Result<Option<Self>> {
        if text.is_empty() {
            return Ok(None);
        }
        let text = String::from_utf8_lossy(text);
        let mut words = text.split(' ');
        let mut word = || words.next().context("an order has three words");
        Ok(Some(Self {
            from: word()?.parse()?,
            until: word()?.parse()?,
            digest: word()?.to_owned(),
        }))
    }
}
