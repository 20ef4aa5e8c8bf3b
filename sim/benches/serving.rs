//! Speed of the queue simulation: `cargo bench -p sim --bench serving`.
//!
//! 16 replicas at 85 % load, two shapes; the stream is made beforehand. Compare requests/s.

use divan::counter::ItemsCount;
use divan::{Bencher, black_box};
use sim::serving::{Failures, Pattern, Pool, Rate, Routing, Source, run};
use topologies::SimDuration;

fn main() {
    divan::main();
}

const REQUESTS: [usize; 2] = [10_000, 100_000];

fn source(requests: usize) -> Source {
    // Mean service 0.7 x 4 + 0.3 x 10 = 5.8 s: 16 replicas carry 2.76 a second.
    let rate = Rate::per_second(0.85 * 16.0 / 5.8).expect("a positive rate");
    Source::new(Pattern::Poisson, vec![0.7, 0.3], requests, rate, 1).expect("a mix")
}

fn pool(routing: Routing) -> Pool {
    let times = [4.0, 10.0].map(|time| vec![SimDuration::from_secs_f64(time)]);
    Pool::new(16, times.to_vec(), routing).expect("a pool")
}

fn simulate(bencher: Bencher, requests: usize, pool: &Pool) {
    let source = source(requests);
    let stream = source.stream(source.rate(), 0);
    let counted = bencher.counter(ItemsCount::new(requests));
    counted.bench(|| run(black_box(pool), &stream, 1, 0).expect("all are served"));
}

/// The requests alone.
#[divan::bench(args = REQUESTS)]
fn stream(bencher: Bencher, requests: usize) {
    let source = source(requests);
    let counted = bencher.counter(ItemsCount::new(requests));
    counted.bench(|| source.stream(black_box(source.rate()), 0));
}

#[divan::bench(args = REQUESTS)]
fn fifo(bencher: Bencher, requests: usize) {
    simulate(bencher, requests, &pool(Routing::Fifo));
}

#[divan::bench(args = REQUESTS)]
fn least_loaded(bencher: Bencher, requests: usize) {
    simulate(bencher, requests, &pool(Routing::LeastLoaded));
}

#[divan::bench(args = REQUESTS)]
fn fifo_with_failures(bencher: Bencher, requests: usize) {
    let hours = |count: f64| SimDuration::from_secs_f64(count * 3600.0);
    let failures = Failures {
        mtbf: hours(10.0),
        mttr: hours(0.2),
    };
    let pool = pool(Routing::Fifo).with_failures(failures, 2);
    simulate(bencher, requests, &pool.expect("services are short"));
}
