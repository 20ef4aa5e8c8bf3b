//! From the cheapest fleets to an answer: what else was looked at, where the choice saturates, why.

use indicatif::ProgressBar;
use rayon::prelude::*;
use sim::serving::Rate;

use super::choose::{Uniform, missed};
use super::measure::{Bench, Measured, streams};
use super::partition::Mixed;
use super::{
    Alternative, Answer, CapacityError, CurvePoint, Finding, Fleet, Judged, Overloaded, Provenance,
    Shortfall, Tried, Verdict, queue,
};

/// Points of the curve of latencies against the rate.
const POINTS: u32 = 14;

/// The answer from what was found.
pub(super) fn compose(
    bench: &Bench<'_>,
    uniform: Uniform,
    mixed: Mixed,
    progress: &ProgressBar,
) -> Result<Answer, CapacityError> {
    let best = uniform.best().cloned();
    let Some(choice) = mixed.best.clone().or_else(|| best.clone()) else {
        return Err(no_fleet(bench, uniform));
    };
    progress.set_message("saturation");
    progress.set_length(4);
    progress.set_position(0);
    let overload = overload(bench, &choice.fleet);
    let saturation = saturation(bench, &choice.fleet, overload)?;
    progress.inc(1);
    let curve = curve(bench, &choice.fleet, saturation, overload)?;
    progress.inc(1);
    let slow = bench.measure_on(&choice.fleet, &bench.streams, true);
    let slow = slow
        .ok()
        .map(|measured| bench.judged(choice.fleet.clone(), measured));
    let one_fewer = one_fewer(bench, &choice)?;
    progress.inc(1);
    let alternatives = alternatives(bench, uniform, &choice)?;
    let mut answer = Answer {
        question: bench.question.clone(),
        offers: bench.menu.offers.clone(),
        queue: queue::waiting(bench, &choice.fleet)?,
        alternatives,
        uniform: best,
        one_fewer,
        mixes: mixed.simulated,
        saturation,
        overload,
        slow,
        curve,
        findings: Vec::new(),
        provenance: provenance(bench),
        choice,
    };
    answer.findings = findings(bench, &answer, &mixed);
    Ok(answer)
}

/// What stands in the way of every fleet.
fn no_fleet(bench: &Bench<'_>, uniform: Uniform) -> CapacityError {
    let offers = uniform.by_offer.into_iter();
    let offers = offers.filter_map(|(offer, verdict)| match verdict {
        Verdict::Fails(why) => Some((bench.menu.offers[offer].clone(), why)),
        Verdict::Keeps(_) => None,
    });
    CapacityError::NoFleet {
        slo: bench.question.slo.clone(),
        offers: offers.collect(),
    }
}

/// The rate at which the load of some pool is as large as the replicas that it has up on average.
fn overload(bench: &Bench<'_>, fleet: &Fleet) -> Rate {
    let factor = |pool: &super::PoolChoice| {
        bench.queue(pool).1.servers / bench.load(pool.offer, &pool.shapes)
    };
    let least = fleet.pools.iter().map(factor).fold(f64::INFINITY, f64::min);
    bench.question.rate().times(least)
}

fn at_rate(bench: &Bench<'_>, fleet: &Fleet, rate: Rate) -> Result<Measured, CapacityError> {
    bench.measure_on(fleet, &streams(bench.question, rate), false)
}

/// The largest rate that keeps the objective: bisected to 0.5 %, between the rate that is asked and twice
/// the overload at most.
fn saturation(bench: &Bench<'_>, fleet: &Fleet, overload: Rate) -> Result<Rate, CapacityError> {
    let asked = bench.question.rate();
    let random = bench.question.source.is_random();
    // A recorded stream ends: the queue at its end may be served in time even so.
    let most = if random {
        overload.get()
    } else {
        4.0 * overload.get()
    };
    let (mut low, mut high) = (1.0, (most / asked.get()).max(1.0));
    while high / low > 1.005 {
        let middle = (low * high).sqrt();
        if at_rate(bench, fleet, asked.times(middle))?.keeps {
            low = middle;
        } else {
            high = middle;
        }
    }
    Ok(asked.times(low))
}

/// Latencies from a tenth of the saturation rate to a little less than the overload.
fn curve(
    bench: &Bench<'_>,
    fleet: &Fleet,
    saturation: Rate,
    overload: Rate,
) -> Result<Vec<CurvePoint>, CapacityError> {
    let end = (1.08 * saturation.get())
        .min(0.995 * overload.get())
        .max(saturation.get());
    let asked = bench.question.rate().get();
    let mut rates: Vec<f64> = (1..=POINTS)
        .map(|point| end * f64::from(point) / f64::from(POINTS))
        .chain([asked, saturation.get()])
        .collect();
    rates.sort_by(f64::total_cmp);
    rates.dedup_by(|a, b| (*a / *b - 1.0).abs() < 1e-9);
    let point = |rate: &f64| {
        let rate = bench.question.rate().times(rate / asked);
        let Measured { latency, keeps, .. } = at_rate(bench, fleet, rate)?;
        Ok(CurvePoint {
            rate,
            latency,
            keeps,
        })
    };
    rates.par_iter().map(point).collect()
}

/// The choice with one replica fewer in a pool, for every pool that has another.
fn one_fewer(bench: &Bench<'_>, choice: &Judged) -> Result<Vec<(usize, Tried)>, CapacityError> {
    let mut all = Vec::new();
    for place in 0..choice.fleet.pools.len() {
        let mut fleet = choice.fleet.clone();
        let pool = &mut fleet.pools[place];
        if pool.replicas == 1 {
            continue;
        }
        pool.replicas -= 1;
        all.push((place, judged_or_overloaded(bench, fleet)?));
    }
    Ok(all)
}

/// A fleet's figures, or the proof that it is overloaded.
fn judged_or_overloaded(bench: &Bench<'_>, fleet: Fleet) -> Result<Tried, CapacityError> {
    for pool in &fleet.pools {
        if pool.replicas == 0 || pool.replicas < bench.fewest(pool.offer, &pool.shapes) {
            return Ok(Err(Overloaded {
                replicas: pool.replicas,
                load: bench.load(pool.offer, &pool.shapes),
            }));
        }
    }
    bench.judge(fleet).map(Ok)
}

/// The uniform fleets, each beside what the choice's money would buy of it.
fn alternatives(
    bench: &Bench<'_>,
    uniform: Uniform,
    choice: &Judged,
) -> Result<Vec<Alternative>, CapacityError> {
    let budget = bench.fleet_cost(&choice.fleet);
    let all = uniform.by_offer.into_iter().map(|(offer, verdict)| {
        let own = matches!(&verdict, Verdict::Keeps(judged) if judged.fleet == choice.fleet);
        let proved = matches!(verdict, Verdict::Fails(Shortfall::TooSlow { .. }));
        let at_choice = if own || proved {
            None
        } else {
            let shapes: Vec<usize> = (0..bench.question.shapes.len()).collect();
            let affords = (budget / bench.replica_cost(offer) + 1e-9).floor() as u32;
            let spares = bench.pool_of(offer, &shapes, 1).spares;
            let pools = vec![bench.pool_of(offer, &shapes, affords.saturating_sub(spares))];
            Some(judged_or_overloaded(bench, Fleet { pools })?)
        };
        Ok(Alternative {
            offer,
            verdict,
            at_choice,
        })
    });
    all.collect()
}

fn findings(bench: &Bench<'_>, answer: &Answer, mixed: &Mixed) -> Vec<Finding> {
    let mut found = Vec::new();
    let cost = |judged: &Judged| bench.fleet_cost(&judged.fleet);
    let choice = &answer.choice;
    match (&mixed.best, &answer.uniform) {
        (Some(_), Some(uniform)) => found.push(Finding::PoolsPay {
            pools: cost(choice),
            equal: cost(uniform),
        }),
        (Some(_), None) => found.push(Finding::OnlyPools),
        (None, _) if bench.question.shapes.len() > 1 => found.push(Finding::EqualReplicas {
            simulated: mixed.simulated,
            cut: mixed.cut,
        }),
        _ => {}
    }
    let keeps = |tried: &&(usize, Tried)| tried.1.as_ref().is_ok_and(|one| one.measured.keeps);
    let fewer = answer.one_fewer.iter().filter(keeps);
    found.extend(fewer.map(|_| Finding::FewerKeep));
    found.push(match &answer.slow {
        Some(slow) if slow.measured.keeps => Finding::SlowKeeps,
        Some(slow) => Finding::SlowMisses(missed(bench, slow)),
        None => Finding::SlowOverloaded,
    });
    found.extend(choice.closed_form.map(|closed| Finding::ClosedForm {
        closed_s: closed[2],
        simulated_s: choice.measured.latency[2].value,
    }));
    found
}

fn provenance(bench: &Bench<'_>) -> Vec<Provenance> {
    let question = bench.question;
    let first = &bench.streams[0];
    let mut all = vec![match bench.streams.len() {
        1 => Provenance::Recorded,
        count => Provenance::Replications {
            count,
            measured: first.arrivals.len() - first.warmup,
            warmup: first.warmup,
            seed: question.seed,
        },
    }];
    for market in &question.markets {
        all.extend(market.price.map(|dollars_per_hour| Provenance::Price {
            gpu: market.machine().gpus[0].name.clone(),
            dollars_per_hour,
            source: market.price_source.clone(),
        }));
    }
    let planned = bench.menu.provenance.iter().cloned();
    all.extend(planned.map(Provenance::Planner));
    all
}
