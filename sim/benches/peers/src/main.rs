//! The hold model on nexosim, one thread: `peers PENDING EVENTS` prints the seconds it took.
//!
//! One model schedules itself: an event that comes schedules the next, at a random distance, so that as
//! many are pending all the time.

use std::time::{Duration, Instant};

use nexosim::model::{Context, Model, schedulable};
use nexosim::simulation::{Mailbox, SimInit};
use nexosim::time::MonotonicTime;
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
struct Hold {
    pending: u64,
    left: u64,
    state: u64,
}

#[Model]
impl Hold {
    /// The next number of SplitMix64, as in `sim::testing::Numbers`.
    fn delay(&mut self) -> Duration {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        Duration::from_nanos(1 + (z ^ (z >> 31)) % 2_000_000)
    }

    #[nexosim(init)]
    async fn init(&mut self, cx: &Context<Self>) {
        for _ in 0..self.pending {
            let delay = self.delay();
            cx.schedule_event(delay, schedulable!(Self::hold), ())
                .expect("a delay is positive");
        }
    }

    #[nexosim(schedulable)]
    async fn hold(&mut self, _: (), cx: &Context<Self>) {
        if self.left > 0 {
            self.left -= 1;
            let delay = self.delay();
            cx.schedule_event(delay, schedulable!(Self::hold), ())
                .expect("a delay is positive");
        }
    }
}

fn main() {
    let numbers: Vec<u64> = std::env::args()
        .skip(1)
        .map(|word| word.parse().expect("a number"))
        .collect();
    let [pending, events] = numbers[..] else {
        panic!("peers PENDING EVENTS");
    };
    let hold = Hold {
        pending,
        left: events - pending,
        state: 1,
    };
    let mut simulation = SimInit::with_num_threads(1)
        .add_model(hold, Mailbox::new(), "hold")
        .init(MonotonicTime::EPOCH)
        .expect("a model");
    let began = Instant::now();
    simulation.run().expect("events end");
    println!("{}", began.elapsed().as_secs_f64());
}
