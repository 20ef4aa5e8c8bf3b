//! Simulated queues against closed forms, identities and theorems.

use proptest::prelude::*;
use topologies::{SimDuration, SimTime};

use super::closed_form::Queue;
use super::statistics::{Estimate, percentile};
use super::*;

fn secs(seconds: f64) -> SimDuration {
    SimDuration::from_secs_f64(seconds)
}

fn rate(per_second: f64) -> Rate {
    Rate::per_second(per_second).unwrap()
}

fn source(pattern: Pattern, weights: &[f64], requests: usize, per_second: f64) -> Source {
    Source::new(pattern, weights.to_vec(), requests, rate(per_second), 7).unwrap()
}

fn pool(replicas: u32, times: &[f64], routing: Routing) -> Pool {
    let service = times.iter().map(|time| vec![secs(*time)]).collect();
    Pool::new(replicas, service, routing).unwrap()
}

fn served(pool: &Pool, source: &Source, per_second: f64, replication: u32) -> Replication {
    let stream = source.stream(rate(per_second), replication);
    run(pool, &stream, 7, replication).unwrap()
}

/// Mean wait over replications with its 95 % interval, warm-up left out.
fn mean_wait(pool: &Pool, source: &Source, replications: u32) -> Estimate {
    let one = |replication| {
        let stream = source.stream(source.rate(), replication);
        let run = run(pool, &stream, 7, replication).unwrap();
        let measured = &run.served[stream.warmup..];
        let sum: f64 = measured.iter().map(|one| one.wait().as_secs_f64()).sum();
        sum / measured.len() as f64
    };
    Estimate::of(&(0..replications).map(one).collect::<Vec<_>>())
}

/// Asserts that a closed form is inside the interval widened to 3/2 of it, and the interval narrow.
fn agrees(simulated: Estimate, exact: f64) {
    let half = simulated.hi - simulated.value;
    assert!(
        (simulated.value - exact).abs() < 1.5 * half && half < 0.08 * exact,
        "{simulated:?} against {exact}"
    );
}

/// Exponential service of mean 1 as 200 equally likely times: the mean of each two-hundredth of the law.
fn exponential_times() -> Vec<f64> {
    let tail = |share: f64| {
        if share > 0.0 {
            share - share * share.ln()
        } else {
            0.0
        }
    };
    let part = |n: u32| {
        let (low, high) = (1.0 - f64::from(n) / 200.0, 1.0 - f64::from(n + 1) / 200.0);
        200.0 * (tail(low) - tail(high))
    };
    (0..200).map(part).collect()
}

#[test]
fn one_server_with_constant_service_is_m_d_1() {
    // W = rho s / (2 (1 - rho)) = 0.7 / 0.6.
    let source = source(Pattern::Poisson, &[1.0], 20_000, 0.7);
    let wait = mean_wait(&pool(1, &[1.0], Routing::Fifo), &source, 20);
    agrees(wait, 0.7 / 0.6);
}

#[test]
fn one_server_with_exponential_service_is_m_m_1() {
    // W = rho s / (1 - rho) = 0.6 / 0.4. The 200 parts have cs2 = 0.997.
    let times = exponential_times();
    let source = source(Pattern::Poisson, &[1.0; 200], 20_000, 0.6);
    let wait = mean_wait(&pool(1, &times, Routing::Fifo), &source, 20);
    agrees(wait, 1.5);
}

#[test]
fn many_servers_with_exponential_service_are_m_m_c() {
    // W = C(5, 4) s / (5 (1 - 0.8)) = 0.55411 s.
    let times = exponential_times();
    let source = source(Pattern::Poisson, &[1.0; 200], 20_000, 4.0);
    let wait = mean_wait(&pool(5, &times, Routing::Fifo), &source, 20);
    agrees(wait, 0.554_11);
}

#[test]
fn many_servers_with_a_mix_are_near_allen_and_cunneen() {
    for (cv, per_second) in [(1.0_f64, 2.6), (1.5, 2.9)] {
        let pattern = Pattern::Gamma { cv };
        let source = source(pattern, &[0.7, 0.3], 20_000, per_second);
        let pool = pool(4, &[0.8, 2.4], Routing::Fifo);
        let wait = mean_wait(&pool, &source, 10);
        let queue = Queue {
            rate: per_second,
            servers: 4.0,
            arrival_scv: source.arrival_scv(),
            services: vec![(0.7, 0.8), (0.3, 2.4)],
            phases: vec![1.0],
        };
        let approximate = queue.mean_wait_s().unwrap();
        let off = approximate / wait.value - 1.0;
        // The form is exact as the load goes to 1 and worse below: 36 % too little for cv 2 at a load of 0.7.
        assert!(
            off.abs() < if cv > 1.0 { 0.2 } else { 0.1 },
            "{off} {wait:?}"
        );
    }
}

#[test]
fn gamma_arrivals_have_their_mean_and_variation() {
    let source = source(Pattern::Gamma { cv: 2.0 }, &[1.0], 100_000, 3.0);
    let arrivals = source.stream(rate(3.0), 0).arrivals;
    let recorded = Source::new(
        Pattern::Recorded(arrivals.clone()),
        vec![1.0],
        arrivals.len(),
        rate(3.0),
        0,
    );
    let scv = recorded.unwrap().arrival_scv();
    assert!((scv - 4.0).abs() < 0.2, "{scv}");
    let mean = arrivals
        .last()
        .unwrap()
        .at
        .since(SimTime::ZERO)
        .as_secs_f64()
        / 1e5;
    assert!((mean * 3.0 - 1.0).abs() < 0.03, "{mean}");
}

#[test]
fn a_day_has_its_peak_over_its_trough() {
    let pattern = Pattern::Diurnal {
        peak: 3.0,
        period: secs(1000.0),
    };
    let source = source(pattern, &[1.0], 100_000, 100.0);
    let arrivals = source.stream(rate(100.0), 0).arrivals;
    let mut hours = [0_u32; 20];
    for one in &arrivals {
        let at = one.at.since(SimTime::ZERO).as_secs_f64();
        hours[(at / 50.0) as usize] += 1;
    }
    let ratio = f64::from(hours[9] + hours[10]) / f64::from(hours[0] + hours[19]);
    assert!((ratio - 3.0).abs() < 0.25, "{hours:?}");
    assert!((arrivals.len() as f64 / 1e5 - 1.0).abs() < 0.02);
    assert_eq!(source.phases().len(), 24);
}

#[test]
fn a_mix_has_its_weights() {
    let source = source(Pattern::Poisson, &[7.0, 3.0], 50_000, 1.0);
    let stream = source.stream(rate(1.0), 0);
    let second = stream.arrivals.iter().filter(|one| one.shape == 1).count();
    assert!((second as f64 / 5e4 - 0.3).abs() < 0.01, "{second}");
}

#[test]
fn a_higher_rate_is_the_same_stream_closer_together() {
    for pattern in [Pattern::Poisson, Pattern::Gamma { cv: 0.5 }] {
        let source = source(pattern, &[1.0, 1.0], 1000, 1.0);
        let (slow, fast) = (source.stream(rate(1.0), 3), source.stream(rate(2.0), 3));
        for (slow, fast) in slow.arrivals.iter().zip(&fast.arrivals) {
            assert_eq!(slow.shape, fast.shape);
            assert!(slow.at.as_ps().abs_diff(2 * fast.at.as_ps()) <= 2);
        }
    }
}

#[test]
fn replications_differ_and_repeat() {
    let source = source(Pattern::Poisson, &[1.0], 100, 1.0);
    assert_eq!(source.stream(rate(1.0), 1), source.stream(rate(1.0), 1));
    assert_ne!(source.stream(rate(1.0), 1), source.stream(rate(1.0), 2));
}

#[test]
fn shortest_first_shortens_the_mean_and_least_loaded_lengthens_it() {
    let source = source(Pattern::Poisson, &[0.8, 0.2], 20_000, 1.5);
    let wait = |routing| mean_wait(&pool(3, &[1.0, 5.0], routing), &source, 5).value;
    let fifo = wait(Routing::Fifo);
    assert!(wait(Routing::Shortest) < 0.8 * fifo);
    // Work known in advance, joined where least is left: the same order of starts as one queue, but for
    // moments at which two have equally little.
    assert!((wait(Routing::LeastLoaded) / fifo - 1.0).abs() < 0.02);
}

#[test]
fn batches_carry_a_load_that_single_services_cannot() {
    let source = source(Pattern::Poisson, &[1.0], 5000, 1.5);
    let batched = vec![vec![secs(1.0), secs(1.2), secs(1.4), secs(1.6)]];
    let batched = Pool::new(1, batched, Routing::Fifo).unwrap();
    let run = served(&batched, &source, 1.5, 0);
    let worst = run.served.iter().map(Served::latency).max().unwrap();
    assert!(worst < secs(10.0), "{worst:?}");
    assert!(run.batches < 5000);
    let least = batched.least_work_s(0).unwrap();
    assert!((least - 0.4).abs() < 1e-12, "{least}");
}

#[test]
fn failures_take_what_they_should() {
    let failures = Failures {
        mtbf: secs(50.0),
        mttr: secs(10.0),
    };
    let source = source(Pattern::Poisson, &[1.0], 20_000, 2.0);
    let bare = pool(4, &[1.0], Routing::Fifo);
    let failing = bare.clone().with_failures(failures, 0).unwrap();
    let spared = bare.clone().with_failures(failures, 2).unwrap();
    let [never, failing_wait, spared_wait] =
        [&bare, &failing, &spared].map(|pool| mean_wait(pool, &source, 4).value);
    assert!(never < spared_wait && spared_wait < failing_wait);
    let run = served(&failing, &source, 2.0, 0);
    // Busy time over services done, exp(1/50) in the mean of Gaver's formula: 50 (e^0.02 - 1) = 1.0101.
    let busy: f64 = run.busy.iter().map(|time| time.as_secs_f64()).sum();
    assert!((busy / 20_000.0 - 1.0101).abs() < 0.003, "{busy}");
    assert!(run.restarts > 100);
}

#[test]
fn a_pool_without_sense_is_refused() {
    let time = || vec![vec![secs(1.0)]];
    assert_eq!(Pool::new(0, time(), Routing::Fifo), Err(PoolError::Empty));
    assert_eq!(
        Pool::new(1, vec![vec![]], Routing::Fifo),
        Err(PoolError::NoShape)
    );
    let none = Pool::new(1, vec![vec![SimDuration::ZERO]], Routing::Fifo);
    assert_eq!(none, Err(PoolError::NoTime { shape: 0 }));
    let often = Failures {
        mtbf: secs(0.1),
        mttr: secs(1.0),
    };
    let refused = pool(1, &[1.0], Routing::Fifo).with_failures(often, 0);
    assert!(matches!(refused, Err(PoolError::FailsTooOften { .. })));
}

fn routings() -> impl Strategy<Value = Routing> {
    prop_oneof![
        Just(Routing::Fifo),
        Just(Routing::Shortest),
        Just(Routing::LeastLoaded)
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Conservation: all that arrive are served once, none before it came, and not faster than its service.
    /// Little's law as an identity: requests in the pool, integrated, are the latencies, summed. The busy
    /// time is that of the services.
    #[test]
    fn counts_add_up(
        routing in routings(), replicas in 1_u32..6, per_second in 0.2_f64..6.0, most in 1_usize..5,
        fails in any::<bool>(), spares in 0_u32..3,
    ) {
        let source = source(Pattern::Gamma { cv: 1.5 }, &[0.6, 0.3, 0.1], 600, per_second);
        let batch = |alone: f64| (0..most).map(|more| secs(alone * (1.0 + 0.6 * more as f64))).collect();
        let service: Vec<Vec<SimDuration>> = vec![batch(0.5), batch(1.5), vec![]];
        let mut pool = Pool::new(replicas, service, routing).unwrap();
        if fails {
            pool = pool.with_failures(Failures { mtbf: secs(20.0), mttr: secs(5.0) }, spares).unwrap();
        }
        let stream = source.stream(rate(per_second), 0);
        let run = run(&pool, &stream, 1, 0).unwrap();
        let own = stream.arrivals.iter().filter(|one| one.shape < 2).count();
        prop_assert_eq!(run.served.len(), own);
        let mut sum = 0_u128;
        for one in &run.served {
            prop_assert!(one.arrived <= one.started);
            prop_assert!(one.finished.since(one.started) >= pool.time(one.shape, 1));
            sum += u128::from(one.latency().get());
        }
        prop_assert_eq!(run.in_pool, sum);
        if !fails && most == 1 {
            let works: SimDuration = run.served.iter().map(|one| pool.time(one.shape, 1)).sum();
            prop_assert_eq!(run.busy.iter().copied().sum::<SimDuration>(), works);
        }
        prop_assert!(run.busy.iter().all(|busy| SimTime::ZERO + *busy <= run.end));
    }

    /// First come, first served: with more replicas, or at a lower rate, no percentile grows.
    #[test]
    fn more_replicas_and_lower_rates_serve_sooner(
        replicas in 1_u32..6, per_second in 0.5_f64..5.0, slower in 0.3_f64..1.0,
    ) {
        let source = source(Pattern::Poisson, &[0.7, 0.3], 400, per_second);
        let latencies = |replicas, per_second| {
            let run = served(&pool(replicas, &[0.5, 1.5], Routing::Fifo), &source, per_second, 0);
            run.served.iter().map(|one| one.latency().as_secs_f64()).collect::<Vec<_>>()
        };
        let usual = latencies(replicas, per_second);
        let others = [latencies(replicas + 1, per_second), latencies(replicas, per_second * slower)];
        for other in others {
            // Arrival times are rounded to picoseconds, each at its rate.
            prop_assert!(usual.iter().zip(&other).all(|(usual, other)| *other <= usual + 1e-9));
        }
    }

    #[test]
    fn percentiles_ascend(mut values in proptest::collection::vec(0.0_f64..1e3, 1..50)) {
        values.sort_by(f64::total_cmp);
        let at = |share| percentile(&values, share);
        prop_assert!(at(0.5) <= at(0.9) && at(0.9) <= at(0.99) && at(0.99) <= at(1.0));
    }
}
