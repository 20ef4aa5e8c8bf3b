//! The answer as JSON (docs/capacity.md, section *JSON*): seconds, requests per second, fractions of 1.

use planner::capacity::{Alternative, Answer, Judged, Measured, Objective, PoolChoice, Verdict};
use serde_json::{Value, json};
use sim::serving::Pattern;
use sim::serving::statistics::Estimate;

use crate::render::{json, words};

/// The answer to `capacity`.
pub(super) fn answer(answer: &Answer) -> Value {
    let judged = |one: &Judged| judged(answer, one);
    json!({
        "question": question(answer),
        "choice": judged(&answer.choice),
        "uniform": answer.uniform.as_ref().map(judged),
        "alternatives": answer.alternatives.iter().map(|one| alternative(answer, one)).collect::<Value>(),
        "one_fewer": answer.one_fewer.iter().map(|(pool, one)| json!({
            "pool": pool,
            "fleet": one.as_ref().ok().map(judged),
            "reason": one.as_ref().err(),
        })).collect::<Value>(),
        "mixes_simulated": answer.mixes,
        "saturation_per_s": answer.saturation.get(),
        "overload_per_s": answer.overload.get(),
        "slow_services": answer.slow.as_ref().map(judged),
        "curve": answer.curve.iter().map(|point| json!({
            "rate_per_s": point.rate.get(),
            "latency_s": latency(&point.latency),
            "keeps": point.keeps,
        })).collect::<Value>(),
        "queue": answer.queue.iter().map(|point| json!({
            "until_s": point.until_s, "mean": point.mean, "most": point.most,
        })).collect::<Value>(),
        "findings": answer.findings,
        "provenance": words::fleet_sources(&answer.provenance),
    })
}

fn question(answer: &Answer) -> Value {
    let asked = &answer.question;
    let rules = &asked.rules;
    let arrivals = match asked.source.pattern() {
        Pattern::Poisson => json!({ "pattern": "poisson" }),
        Pattern::Gamma { cv } => json!({ "pattern": "gamma", "cv": cv }),
        Pattern::Diurnal { peak, period } => json!({
            "pattern": "diurnal", "peak": peak, "period_s": period.as_secs_f64(),
        }),
        Pattern::Recorded(_) => json!({ "pattern": "recorded" }),
    };
    json!({
        "model": asked.markets[0].model().name,
        "machines": asked.markets.iter().map(|market| json!({
            "machine": market.machine().name,
            "gpus": market.questions[0].gpus,
            "gpu": market.machine().gpus[0].name,
            "price_per_gpu_hour_usd": market.price,
        })).collect::<Value>(),
        "rate_per_s": asked.rate().get(),
        "slo": asked.slo.to_string(),
        "mix": asked.shapes.iter().map(|shape| json!({
            "shape": shape.name, "share": shape.share, "request": json::request(&shape.request),
        })).collect::<Value>(),
        "arrivals": arrivals,
        "routing": rules.routing.to_string(),
        "batch": rules.batch,
        "failures": rules.failures.map(|failures| json!({
            "mtbf_s": failures.mtbf.as_secs_f64(), "mttr_s": failures.mttr.as_secs_f64(),
        })),
        "spares": rules.spares,
        "requests": asked.source.requests(),
        "replications": asked.replications,
        "seed": asked.seed,
        "objective": match asked.objective {
            Objective::Gpus => "gpus",
            Objective::Dollars => "dollars",
        },
        "max_gpus": asked.most_gpus,
        "engine": words::engine(asked.markets[0].questions[0].engine),
    })
}

fn alternative(answer: &Answer, one: &Alternative) -> Value {
    let (fleet, reason) = match &one.verdict {
        Verdict::Keeps(found) => (Some(judged(answer, found)), None),
        Verdict::Impossible(reason) | Verdict::Fails(reason) => (None, Some(reason)),
    };
    let at_choice = one.at_choice.as_ref();
    let offer = &answer.offers[one.offer];
    json!({
        "gpus_per_replica": offer.gpus,
        "plan": offer.plan.to_string(),
        "batch": offer.batch,
        "machine": answer.question.markets[offer.market].machine().name,
        "fleet": fleet,
        "reason": reason,
        "at_cost_of_choice": at_choice.map(|found| json!({
            "fleet": found.as_ref().ok().map(|found| judged(answer, found)),
            "reason": found.as_ref().err(),
        })),
    })
}

fn judged(answer: &Answer, found: &Judged) -> Value {
    json!({
        "gpus": found.gpus,
        "machines": found.machines,
        "dollars_per_hour": found.dollars_per_hour,
        "pools": found.fleet.pools.iter().map(|one| pool(answer, one)).collect::<Value>(),
        "keeps": found.measured.keeps,
        "closed_form": found.closed_form.map(|[mean, p50, p95, p99]| json!({
            "mean": mean, "p50": p50, "p95": p95, "p99": p99,
        })),
        "simulated": measured(answer, &found.measured),
    })
}

fn pool(answer: &Answer, pool: &PoolChoice) -> Value {
    let offer = &answer.offers[pool.offer];
    let services = pool.shapes.iter().map(|shape| {
        let times = offer.service[*shape].iter().map(|time| time.as_secs_f64());
        json!({
            "shape": answer.question.shapes[*shape].name,
            "service_s": times.collect::<Vec<_>>(),
            "slow_factor": offer.slow[*shape],
            "launch": offer.launch[*shape].as_ref().map(|launch| json!({
                "engine": words::engine(launch.engine),
                "command": words::command(launch).ok(),
                "reason": words::command(launch).err(),
            })),
        })
    });
    json!({
        "machine": answer.question.markets[offer.market].machine().name,
        "gpus_per_replica": offer.gpus,
        "plan": offer.plan.to_string(),
        "batch": offer.batch,
        "replicas": pool.replicas,
        "spares": pool.spares,
        "services": services.collect::<Value>(),
    })
}

fn measured(answer: &Answer, found: &Measured) -> Value {
    let shapes = answer.question.shapes.iter().zip(&found.by_shape);
    let criteria = answer.question.slo.criteria.iter().zip(&found.criteria);
    json!({
        "latency_s": latency(&found.latency),
        "by_shape": shapes.map(|(shape, of)| json!({
            "shape": shape.name, "latency_s": of.as_ref().map(latency),
        })).collect::<Value>(),
        "criteria": criteria.map(|(wanted, found)| json!({
            "criterion": wanted.to_string(), "limit_s": wanted.limit.as_secs_f64(), "found_s": estimate(found),
        })).collect::<Value>(),
        "utilisation": estimate(&found.utilisation),
        "waiting": estimate(&found.waiting),
        "restarted": estimate(&found.restarted),
        "requests_per_batch": found.batch,
    })
}

fn latency([mean, p50, p95, p99]: &[Estimate; 4]) -> Value {
    json!({
        "mean": estimate(mean), "p50": estimate(p50), "p95": estimate(p95), "p99": estimate(p99),
    })
}

fn estimate(found: &Estimate) -> Value {
    json!({ "value": found.value, "lo": found.lo, "hi": found.hi })
}
