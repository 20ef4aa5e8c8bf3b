//! Answers as JSON: the machine-readable contract (README, section *JSON*).
//!
//! Durations are seconds, memory is bytes, shares are fractions; what is not known is `null`.

use kernels::Compressor;
use serde_json::{Map, Value, json};
use sim::memory::{Components, Residency, WeightSharding};
use sim::model;
use sim::plan::{Exchange, Fidelity, Plan};

use sim::quality::OwnShard;

use super::words;
use planner::search::{Answer, Candidate, Evaluation, Question, Spent, own_shard, shards};

/// JSON as it is printed: indented, with a line end.
pub(crate) fn pretty(value: &Value) -> String {
    format!("{value:#}\n")
}

/// A request, as the JSON contract writes it.
pub(crate) fn request(ask: &model::Request) -> Value {
    json!({
        "width": ask.resolution.width,
        "height": ask.resolution.height,
        "frames": ask.frames,
        "steps": ask.steps,
        "batch": ask.batch,
        "guidance": ask.guidance.to_string(),
        "text_tokens": ask.text_tokens,
    })
}

/// The answer to `plan`; `top` limits how many plans are listed.
pub(crate) fn answer(answer: &Answer, top: Option<usize>) -> Value {
    let shown = top.unwrap_or(answer.plans.len());
    let single = answer.single.latency.as_secs_f64();
    let listed = |candidate: &Candidate| plan(candidate, single);
    json!({
        "question": question(&answer.question),
        "choice": listed(&answer.choice),
        "plans": answer.plans.iter().take(shown).map(listed).collect::<Value>(),
        "single": listed(&answer.single),
        "legal": answer.legal,
        "considered": answer.considered,
        "simulated": answer.simulated,
        "pruned": answer.pruned,
        "illegal": answer
            .illegal
            .iter()
            .map(|one| json!({ "plan": one.which.to_string(), "reason": one.why.to_string() }))
            .collect::<Value>(),
        "budget": answer.spent.as_ref().map(spent),
        "findings": answer.findings.iter().map(words::finding).collect::<Value>(),
        "provenance": words::sources(&answer.provenance),
    })
}

/// The answer to `simulate`.
pub(crate) fn evaluation(asked: &Question, found: &Evaluation) -> Value {
    let single = found.single.latency.as_secs_f64();
    json!({
        "question": question(asked),
        "choice": plan(&found.candidate, single),
        "single": plan(&found.single, single),
        "provenance": words::sources(&found.provenance),
    })
}

/// What was asked.
pub(crate) fn question(asked: &Question) -> Value {
    let Question {
        model,
        request,
        machine,
        gpus,
        engine,
        compilation,
        filter,
        quality,
        profile,
        measured: _,
        shown: _,
        known: _,
        software: _,
        faults,
    } = asked;
    json!({
        "model": model.name,
        "request": self::request(request),
        "machine": machine.name,
        "host": machine.host.name,
        "interconnect": machine.interconnect(),
        "gpus": gpus,
        "faults": faults.all().iter().map(ToString::to_string).collect::<Value>(),
        "engine": words::engine(*engine),
        "compilation": compilation.to_string(),
        "strategy": filter.strategy,
        "exact_only": filter.exact_only,
        "max_fid": filter.max_fid,
        "budget": filter.budget.map(|budget| budget.to_string()),
        "trace": quality.as_ref().map(|quality| &quality.name),
        "profile": profile.as_ref().map(|profile| &profile.path),
    })
}

/// A plan with what it was found to do; `single` is the one-GPU latency in seconds.
pub(crate) fn plan(candidate: &Candidate, single: f64) -> Value {
    let latency = candidate.latency.as_secs_f64();
    let by_class: Map<String, Value> = candidate
        .by_class
        .iter()
        .map(|(class, time)| (class.to_string(), time.as_secs_f64().into()))
        .collect();
    json!({
        "plan": candidate.plan.to_string(),
        "strategy": candidate.plan.strategy(),
        "degrees": degrees(&candidate.plan),
        "compressor": (!candidate.plan.compression.is_raw()).then(|| candidate.plan.compression.to_string()),
        "warmup": candidate.plan.warmup,
        "placement": candidate.plan.placement.iter().map(|gpu| gpu.index()).collect::<Vec<_>>(),
        "latency_s": latency,
        "latency_lo_s": candidate.lo.as_secs_f64(),
        "latency_hi_s": candidate.hi.as_secs_f64(),
        "speedup": single / latency,
        "lower_bound_s": candidate.lower_bound.as_secs_f64(),
        "gap": candidate.gap,
        "stop_reason": words::stop_reason(candidate.stop_reason),
        "peak_memory_bytes": candidate.peak_memory.get(),
        "fits": candidate.fits,
        "residency": residency(candidate),
        "exposed_communication_s": candidate.exposed.as_secs_f64(),
        "time_by_class_s": by_class,
        "quality": {
            "fidelity": fidelity(candidate.fidelity),
            "fid": candidate.quality.fid,
            "lpips": candidate.quality.lpips,
            "rel_l2": candidate.quality.predicted.map(|predicted| predicted.deviation),
            "rel_l2_upper": candidate.quality.predicted.map(|predicted| predicted.upper),
            "psnr_db": candidate.quality.predicted.and_then(|predicted| predicted.psnr_db),
            "psnr_lo_db": candidate.quality.predicted.and_then(|predicted| predicted.psnr_lo_db),
            "source": words::quality(&candidate.quality.source),
        },
        "why_slower": words::why_slower(&candidate.why_slower),
        "launch": {
            "engine": words::engine(candidate.launch.engine),
            "command": words::command(&candidate.launch).ok(),
            "reason": words::command(&candidate.launch).err(),
        },
    })
}

/// Where a plan's weights are, so that it fits.
fn residency(candidate: &Candidate) -> Value {
    let Residency {
        components,
        weights,
        ..
    } = candidate.residency;
    json!({
        "components": match components {
            Components::Together => "together",
            Components::InTurn => "in-turn",
        },
        "weights": match weights {
            WeightSharding::Whole => "whole",
            WeightSharding::Sharded => "sharded",
            WeightSharding::HostBlocks => "host-blocks",
        },
        "in_latency": candidate.residency == Residency::default(),
    })
}

/// How a budget was spent on the chosen layout.
fn spent(spent: &Spent) -> Value {
    let name = |compressor: Option<Compressor>| {
        compressor.map_or_else(|| "raw".to_owned(), |compressor| compressor.to_string())
    };
    json!({
        "budget": spent.budget.to_string(),
        "confidence_factor": spent.factor,
        "rel_l2_limit": spent.limit,
        "per_layer": spent.assigned.as_ref().map(|assigned| json!({
            "plan": assigned.plan.to_string(),
            "multiplier_s": assigned.certificate.multiplier,
            "gap": assigned.certificate.gap,
            "coupled": assigned.coupled.as_ref().map(|rounds| json!({
                "assignments": rounds.history.len(),
                "end": rounds.end.word(),
                "latency_s": rounds.best().latency,
                "gain_s": rounds.history[0].latency - rounds.best().latency,
            })),
            "frontier": assigned.frontier.iter().map(|point| json!({
                "latency_s": point.latency_s, "rel_l2": point.deviation,
            })).collect::<Value>(),
        })),
        "uniform": spent.uniform.iter().map(|one| json!({
            "compressor": name(one.compressor), "latency_s": one.latency_s,
            "rel_l2": one.deviation, "keeps": one.keeps,
        })).collect::<Value>(),
    })
}

/// The chosen plan's compressors in the form that `ditplan_capture.execute` takes.
pub(crate) fn assignment(answer: &Answer) -> Value {
    let plan = &answer.choice.plan;
    let starts = plan.compression.phase_starts();
    let layers = answer.layers;
    let of = |layer: usize| {
        let name = |start: &u32| {
            let compressor = plan.compression.at(*start, layer);
            compressor.map_or_else(|| "raw".to_owned(), |compressor| compressor.to_string())
        };
        json!({ "layer": layer, "compressors": starts.iter().map(name).collect::<Value>() })
    };
    let strategy = match own_shard(plan) {
        _ if plan.is_stale() => "stale",
        OwnShard::Exact => "ring",
        OwnShard::Lossy => "gather",
    };
    json!({
        "model": answer.question.model.name,
        "ranks": shards(plan),
        "strategy": strategy,
        "warmup": plan.warmup,
        "phases": starts,
        "layers": (0..layers).map(of).collect::<Value>(),
    })
}

/// Every degree of a plan; 1 where that dimension is not used.
fn degrees(plan: &Plan) -> Value {
    let mut degrees = json!({
        "data": plan.data,
        "cfg": plan.cfg,
        "ulysses": plan.ulysses,
        "ring": 1,
        "allgather_kv": 1,
        "distrifusion": 1,
        "attention2d_rows": 1,
        "attention2d_columns": 1,
        "pipefusion": plan.pipeline.stages,
        "patches": plan.pipeline.patches,
        "tensor": plan.tensor,
        "vae": plan.vae,
    });
    match plan.exchange {
        Exchange::Ring(n) => degrees["ring"] = n.into(),
        Exchange::Gather(n) => degrees["allgather_kv"] = n.into(),
        Exchange::Displaced(n) => degrees["distrifusion"] = n.into(),
        Exchange::Attention2d { rows, columns } => {
            degrees["attention2d_rows"] = rows.into();
            degrees["attention2d_columns"] = columns.into();
        }
    }
    degrees
}

/// The word for how far a plan's output is from the one-GPU output.
pub(crate) const fn fidelity(fidelity: Fidelity) -> &'static str {
    match fidelity {
        Fidelity::Exact => "exact",
        Fidelity::Stale => "stale",
        Fidelity::Lossy => "lossy",
    }
}

#[cfg(test)]
mod tests {
    use super::super::sample;
    use super::*;

    #[test]
    fn the_contract_holds_every_promised_field() {
        let json = answer(&sample::answer(), None);
        for field in [
            "question",
            "choice",
            "plans",
            "considered",
            "simulated",
            "pruned",
            "provenance",
        ] {
            assert!(!json[field].is_null(), "{field}");
        }
        let plans = json["plans"].as_array().unwrap();
        assert_eq!(plans.len(), sample::answer().plans.len());
        for plan in plans.iter().chain([&json["choice"]]) {
            for field in [
                "plan",
                "strategy",
                "degrees",
                "latency_s",
                "latency_lo_s",
                "latency_hi_s",
                "lower_bound_s",
                "gap",
                "stop_reason",
                "peak_memory_bytes",
                "exposed_communication_s",
                "quality",
                "launch",
            ] {
                assert!(!plan[field].is_null(), "{field}");
            }
            assert!(plan.as_object().unwrap().contains_key("compressor"));
        }
    }

    #[test]
    fn the_degrees_multiply_to_the_ranks() {
        for line in [
            "cfg2+ulysses2+ring2",
            "attention2d2x4",
            "dp2+tp2+pipefusion4(m8)",
            "distrifusion4",
        ] {
            let plan: Plan = line.parse().unwrap();
            let json = degrees(&plan);
            let product: u64 = json
                .as_object()
                .unwrap()
                .iter()
                .filter(|(name, _)| !matches!(name.as_str(), "patches" | "vae"))
                .map(|(_, degree)| degree.as_u64().unwrap())
                .product();
            assert_eq!(product, u64::from(plan.ranks()), "{line}");
        }
    }

    #[test]
    fn top_limits_the_list_and_nothing_else() {
        let whole = answer(&sample::answer(), None);
        let one = answer(&sample::answer(), Some(1));
        assert_eq!(one["plans"].as_array().unwrap().len(), 1);
        assert_eq!(one["considered"], whole["considered"]);
        assert_eq!(one["choice"], whole["choice"]);
    }
}
