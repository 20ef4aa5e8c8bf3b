//! What `plan --json` and `plan --emit assignment` print.

use kernels::Compressor;
use planner::search::{
    self, Answer, Candidate, Finding, Lever, Pays, SearchedSpace, own_shard, shards,
};
#[cfg(test)]
use schemars::JsonSchema;
use serde::Serialize;
use sim::plan::Precision;
use sim::quality::OwnShard;

use crate::render::json::{Amount, Execution, Plan, Question, Word};
use crate::render::words;

/// The fastest plan, with its proof and its rivals.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub(crate) struct PlanAnswer {
    /// What was asked, with every default filled in.
    pub question: Question,
    /// How plans are executed.
    pub execution: Execution,
    /// The chosen plan: of those that the evidence cannot tell from the fastest, the first in the order: runs on the
    /// engine, exact before stale before lossy, fewer GPUs, fewer dimensions, faster. With --fastest the fastest.
    pub choice: Plan,
    /// The plan predicted fastest.
    pub fastest: Plan,
    /// The fastest plan whose output equals the one-GPU output; null where none may be chosen.
    pub fastest_exact: Option<Plan>,
    /// The fastest plan that the engine has a command for; null where none was simulated.
    pub fastest_launchable: Option<Plan>,
    /// The indifference set: simulated plans that the fastest is not faster than with 90 % probability, fastest first.
    pub tied: Vec<Tied>,
    /// Further plans that their lower bounds alone do not tell from the fastest.
    pub tied_by_bound: usize,
    /// What compression and staleness gain.
    pub levers: Vec<LeverFound>,
    /// The most promising plan of every kind, fastest first; the N fastest with --top N.
    pub plans: Vec<Plan>,
    /// One GPU.
    pub single: Plan,
    /// What the plans are made of: the fastest of these is proved, not of all that can be thought of.
    pub space: Space,
    /// Legal plans.
    pub legal: usize,
    /// Those that the filter lets pass and that fit.
    pub considered: usize,
    /// Those of them that were simulated.
    pub simulated: usize,
    /// Those dropped because their lower bounds exceed the choice: considered = simulated + pruned.
    pub pruned: usize,
    /// Plans that are not legal.
    pub illegal: Vec<Illegal>,
    /// How a budget was spent on the chosen layout; null without a budget that is judged by a trace.
    pub budget: Option<Spent>,
    /// What the comparison shows, one sentence each; for people.
    pub findings: Vec<String>,
    /// Where the numbers come from, one sentence each; for people.
    pub provenance: Vec<String>,
}

/// What the plans of a search are made of: every legal product of guidance, batch, tensor, pipeline and Ulysses degrees with
/// an exchange (ring, gather, DistriFusion, two-dimensional), and of the following.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub(crate) struct Space {
    /// Ranks, at most.
    pub gpus: u32,
    /// Orders in which ranks take all of them: islands one after another, round them, slow GPUs last.
    pub orders: usize,
    /// Patches of a pipeline for each of its stages.
    pub patches_per_stage: Vec<u32>,
    /// Warm-up steps of pipelines.
    pub pipeline_warmups: Vec<u32>,
    /// Warm-up steps of other plans that are stale or compressed.
    pub warmup: u32,
    /// Ranks that decode together, at most; plans with fewer are slower.
    pub decoders: u32,
    /// Compressors that all layers have alike, besides none.
    pub compressors: Vec<String>,
    /// Whether each layer has its own too, under a budget and a trace.
    pub per_layer: bool,
    /// Precisions of products and weights.
    pub precisions: Vec<Word<Precision>>,
}

impl From<&SearchedSpace> for Space {
    fn from(of: &SearchedSpace) -> Self {
        Self {
            gpus: of.gpus,
            orders: of.orders,
            patches_per_stage: of.patches_per_stage.clone(),
            pipeline_warmups: of.pipeline_warmups.clone(),
            warmup: of.warmup,
            decoders: of.decoders,
            compressors: of.compressors.iter().map(ToString::to_string).collect(),
            per_layer: of.per_layer,
            precisions: of.precisions.iter().copied().map(Word).collect(),
        }
    }
}

/// A plan that is tied with the fastest.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub(crate) struct Tied {
    /// The plan.
    pub plan: String,
    /// Simulated latency, seconds.
    pub latency_s: Amount,
    /// Probability that the fastest is faster.
    pub behind: Amount,
}

/// What an inexact lever gains.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub(crate) struct LeverFound {
    /// Which.
    #[cfg_attr(test, schemars(extend("enum" = ["compression", "staleness"])))]
    pub lever: &'static str,
    /// Whether it is faster, with 90 % probability; tie: the evidence does not tell.
    #[cfg_attr(test, schemars(extend("enum" = ["yes", "tie", "no"])))]
    pub pays: &'static str,
    /// The probability that it is faster.
    pub probability: Amount,
    /// The fastest plan with it.
    pub with: String,
    /// Its latency, seconds.
    pub with_s: Amount,
    /// The fastest plan without it.
    pub without: String,
    /// Its latency, seconds.
    pub without_s: Amount,
}

impl LeverFound {
    fn of(finding: &Finding) -> Option<Self> {
        let Finding::Lever {
            lever,
            pays,
            probability,
            with,
            without,
        } = finding
        else {
            return None;
        };
        Some(Self {
            lever: match lever {
                Lever::Compression => "compression",
                Lever::Staleness => "staleness",
            },
            pays: match pays {
                Pays::Yes => "yes",
                Pays::Tie => "tie",
                Pays::No => "no",
            },
            probability: (*probability).into(),
            with: with.plan.to_string(),
            with_s: with.latency.as_secs_f64().into(),
            without: without.plan.to_string(),
            without_s: without.latency.as_secs_f64().into(),
        })
    }
}

/// A plan that is not legal.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub(crate) struct Illegal {
    /// The plan.
    pub plan: String,
    /// Why it is not legal, and what would be.
    pub reason: String,
}

/// How a budget was spent on the chosen layout.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub(crate) struct Spent {
    /// The budget: psnr>=N (dB) or rel-l2<=X.
    pub budget: String,
    /// A predicted rel_l2 times this is what 19 of 20 runs keep.
    pub confidence_factor: Amount,
    /// The largest relative L2 deviation that keeps the budget.
    pub rel_l2_limit: Amount,
    /// The best assignment of compressors to layers on the chosen layout, chosen or not; null where it cannot be
    /// compressed.
    pub per_layer: Option<Assigned>,
    /// One compressor in all layers, on the same layout; uncompressed first. Empty where per_layer is null.
    pub uniform: Vec<Uniform>,
}

/// One compressor in all layers.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub(crate) struct Uniform {
    /// The compressor; raw is none.
    pub compressor: String,
    /// Latency in the closed form, seconds.
    pub latency_s: Amount,
    /// Predicted relative L2 deviation of the output.
    pub rel_l2: Amount,
    /// Whether it keeps the budget.
    pub keeps: bool,
}

/// The best assignment of compressors to layers.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub(crate) struct Assigned {
    /// The plan with the assignment.
    pub plan: String,
    /// What a unit of the budget saves at the margin: seconds per squared relative L2 deviation (the Lagrange
    /// multiplier).
    pub multiplier_s: Amount,
    /// How far from the cheapest assignment it can be: (cost - lower bound) / cost, in time of the closed form.
    pub gap: Amount,
    /// The assignment again with each option's cost asked of the simulation; null where no compressor per layer was
    /// chosen.
    pub coupled: Option<Coupled>,
    /// Assignments for other budgets on the same layout, slowest and least deviating first.
    pub frontier: Vec<FrontierPoint>,
}

/// The assignment again with each option's cost asked of the simulation.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub(crate) struct Coupled {
    /// Assignments simulated, the one of the closed form's costs included.
    pub assignments: usize,
    /// Why it ended: the simulated costs lead to the assignment they were asked for; to an earlier one; to a slower
    /// one; or the limit on rounds was met.
    #[cfg_attr(test, schemars(extend("enum" = ["stable", "repeated", "worse", "rounds"])))]
    pub end: &'static str,
    /// Simulated latency of the fastest of them, seconds.
    pub latency_s: Amount,
    /// By how much it is faster than the assignment of the closed form's costs, seconds.
    pub gain_s: Amount,
}

/// An assignment for another budget.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub(crate) struct FrontierPoint {
    /// Latency in the closed form, seconds.
    pub latency_s: Amount,
    /// Predicted relative L2 deviation of the output.
    pub rel_l2: Amount,
}

/// The compressor of each layer and phase, which `ditplan_capture.execute` runs.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub(crate) struct Assignment {
    /// The model.
    pub model: String,
    /// Ranks that share the sequence.
    pub ranks: u32,
    /// How ranks get each other's K and V. ring: a rank's own shard is exact; gather: every shard is reconstructed;
    /// stale: those of the step before.
    #[cfg_attr(test, schemars(extend("enum" = ["ring", "gather", "stale"])))]
    pub strategy: &'static str,
    /// First steps, uncompressed.
    pub warmup: u32,
    /// First step of each phase; the first is 0.
    pub phases: Vec<u32>,
    /// Every layer, in order.
    pub layers: Vec<LayerCompressors>,
}

/// The compressors of a layer.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub(crate) struct LayerCompressors {
    /// The layer, from 0.
    pub layer: usize,
    /// Its compressor in each phase; raw is none.
    pub compressors: Vec<String>,
}

impl PlanAnswer {
    /// The answer; `top` limits how many plans are listed.
    pub(super) fn new(answer: &Answer, top: Option<usize>) -> Self {
        let shown = top.unwrap_or(answer.plans.len());
        let single = answer.single.latency.as_secs_f64();
        let listed = |candidate: &Candidate| Plan::new(candidate, single);
        let illegal = answer.illegal.iter();
        let tied = answer.tied().map(|one| Tied {
            plan: one.plan.to_string(),
            latency_s: one.latency.as_secs_f64().into(),
            behind: one.behind.into(),
        });
        Self {
            question: (&answer.question).into(),
            execution: (&answer.question).into(),
            choice: listed(&answer.choice),
            fastest: listed(&answer.plans[0]),
            fastest_exact: answer.fastest_exact().map(listed),
            fastest_launchable: answer.fastest_launchable().map(listed),
            tied: tied.collect(),
            tied_by_bound: answer.tied_by_bound,
            levers: answer.findings.iter().filter_map(LeverFound::of).collect(),
            plans: answer.plans.iter().take(shown).map(listed).collect(),
            single: listed(&answer.single),
            space: (&answer.space).into(),
            legal: answer.legal,
            considered: answer.considered,
            simulated: answer.simulated,
            pruned: answer.pruned,
            illegal: illegal
                .map(|one| Illegal {
                    plan: one.which.to_string(),
                    reason: one.why.to_string(),
                })
                .collect(),
            budget: answer.spent.as_ref().map(Spent::from),
            findings: answer.findings.iter().map(words::finding).collect(),
            provenance: words::sources(&answer.provenance),
        }
    }
}

/// The name of a compressor, or of none.
fn name(compressor: Option<Compressor>) -> String {
    compressor.map_or_else(|| "raw".to_owned(), |compressor| compressor.to_string())
}

impl From<&search::Spent> for Spent {
    fn from(spent: &search::Spent) -> Self {
        let uniform = spent.uniform.iter().map(|one| Uniform {
            compressor: name(one.compressor),
            latency_s: one.latency_s.into(),
            rel_l2: one.deviation.into(),
            keeps: one.keeps,
        });
        Self {
            budget: spent.budget.to_string(),
            confidence_factor: spent.factor.into(),
            rel_l2_limit: spent.limit.into(),
            per_layer: spent.assigned.as_ref().map(Assigned::from),
            uniform: uniform.collect(),
        }
    }
}

impl From<&search::Assigned> for Assigned {
    fn from(assigned: &search::Assigned) -> Self {
        let coupled = assigned.coupled.as_ref().map(|rounds| Coupled {
            assignments: rounds.history.len(),
            end: rounds.end.word(),
            latency_s: rounds.best().latency.into(),
            gain_s: (rounds.history[0].latency - rounds.best().latency).into(),
        });
        let frontier = assigned.frontier.iter().map(|point| FrontierPoint {
            latency_s: point.latency_s.into(),
            rel_l2: point.deviation.into(),
        });
        Self {
            plan: assigned.plan.to_string(),
            multiplier_s: assigned.certificate.multiplier.into(),
            gap: assigned.certificate.gap.into(),
            coupled,
            frontier: frontier.collect(),
        }
    }
}

impl From<&Answer> for Assignment {
    fn from(answer: &Answer) -> Self {
        let plan = &answer.choice.plan;
        let starts = plan.compression.phase_starts();
        let of = |layer: usize| LayerCompressors {
            layer,
            compressors: starts
                .iter()
                .map(|start| name(plan.compression.at(*start, layer)))
                .collect(),
        };
        Self {
            model: answer.question.model.name.to_owned(),
            ranks: shards(plan),
            strategy: match own_shard(plan) {
                _ if plan.is_stale() => "stale",
                OwnShard::Exact => "ring",
                OwnShard::Lossy => "gather",
            },
            warmup: plan.warmup,
            layers: (0..answer.layers).map(of).collect(),
            phases: starts,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::{json, sample};

    #[test]
    fn top_limits_the_list_and_nothing_else() {
        let whole = json::value(&PlanAnswer::new(&sample::answer(), None));
        let one = json::value(&PlanAnswer::new(&sample::answer(), Some(1)));
        assert_eq!(one["plans"].as_array().unwrap().len(), 1);
        assert_eq!(one["considered"], whole["considered"]);
        assert_eq!(one["choice"], whole["choice"]);
    }
}
