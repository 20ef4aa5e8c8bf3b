//! What `plan --robust --json` prints.

use planner::search::{Candidate, Column, Replan, Robust, RobustPlan};
#[cfg(test)]
use schemars::JsonSchema;
use serde::Serialize;

use crate::render::json::{Amount, Plan, Question};
use crate::render::words;

/// The plan that is least slow in the worst of a set of faults.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub(crate) struct RobustAnswer {
    /// What was asked, with every default filled in.
    pub question: Question,
    /// The kinds of fault.
    pub faults: Vec<FaultKind>,
    /// The most robust plan: the first in the order of `plan` of those whose worst case the evidence cannot tell from the
    /// least; with --fastest the least.
    pub choice: FacedPlan,
    /// The choice of `plan` where nothing is wrong.
    pub nominal: FacedPlan,
    /// All simulated plans, least worst case first; the first N with --top N.
    pub plans: Vec<FacedPlan>,
    /// What to run when GPUs are lost.
    pub replans: Vec<ReplanFor>,
    /// Legal plans.
    pub considered: usize,
    /// Those that fit into memory and pass the question's limits.
    pub fitting: usize,
    /// Those that were simulated.
    pub simulated: usize,
    /// Simulations, one for each plan and case.
    pub runs: usize,
    /// Plans dropped by their lower bounds: fitting = simulated + pruned.
    pub pruned: usize,
    /// No plan that was not simulated has a worst case below this, seconds; null where all were simulated.
    pub next_bound_s: Option<Amount>,
    /// Where the numbers come from, one sentence each; for people.
    pub provenance: Vec<String>,
}

/// A plan, and what it takes when something is wrong.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub(crate) struct FacedPlan {
    /// The plan, where nothing is wrong.
    pub plan: Plan,
    /// Its latency where nothing is wrong, seconds.
    pub latency_s: Amount,
    /// Its latency in the worst case of each kind of fault, in the order of `faults`, seconds. Where the fault takes
    /// a GPU of its own: that of the best plan for the GPUs that are left.
    pub fault_latency_s: Vec<Amount>,
    /// That case, by kind.
    pub worst_case: Vec<String>,
    /// The longest of all these, seconds.
    pub worst_s: Amount,
    /// The most by which it is slower than the best plan for the same case, seconds.
    pub regret_s: Amount,
}

/// A kind of fault, and the best plan for it.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub(crate) struct FaultKind {
    /// The kind, in words.
    pub name: String,
    /// Its cases: each GPU or link that it can happen to.
    pub cases: Vec<String>,
    /// The case that is worst for the best plan for it.
    pub known_case: String,
    /// The best plan for that case if one knew; its times are those with the fault.
    pub known: Plan,
}

/// What to run when GPUs are lost.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub(crate) struct ReplanFor {
    /// What is lost.
    pub case: String,
    /// How many cases have this answer, this one included.
    pub alike: usize,
    /// What `plan` chooses for what is left.
    pub plan: Plan,
}

/// A plan; one GPU is not simulated, so there is no speed-up over it.
fn plan(candidate: &Candidate) -> Plan {
    Plan::new(candidate, f64::NAN)
}

impl RobustAnswer {
    /// The answer, with the first `shown` plans.
    pub(super) fn new(found: &Robust, shown: usize) -> Self {
        let faced = |one: &RobustPlan| FacedPlan::new(one, &found.columns);
        Self {
            question: (&found.question).into(),
            faults: found.columns.iter().map(FaultKind::from).collect(),
            choice: faced(&found.choice),
            nominal: faced(&found.nominal),
            plans: found.plans.iter().take(shown).map(faced).collect(),
            replans: found.replans.iter().map(ReplanFor::from).collect(),
            considered: found.considered,
            fitting: found.fitting,
            simulated: found.plans.len(),
            runs: found.runs,
            pruned: found.pruned,
            next_bound_s: found.next_bound.map(Amount::from),
            provenance: words::sources(&found.provenance),
        }
    }
}

impl FacedPlan {
    fn new(faced: &RobustPlan, columns: &[Column]) -> Self {
        let cases = faced.worst_cases.iter().zip(columns);
        Self {
            plan: plan(&faced.candidate),
            latency_s: faced.candidate.latency.into(),
            fault_latency_s: faced.latencies.iter().map(|time| (*time).into()).collect(),
            worst_case: cases
                .map(|(index, column)| column.kind.cases[*index].to_string())
                .collect(),
            worst_s: faced.worst.into(),
            regret_s: faced.regret.into(),
        }
    }
}

impl From<&Column> for FaultKind {
    fn from(column: &Column) -> Self {
        Self {
            name: column.kind.name.clone(),
            cases: column.kind.cases.iter().map(ToString::to_string).collect(),
            known_case: column.case.to_string(),
            known: plan(&column.known),
        }
    }
}

impl From<&Replan> for ReplanFor {
    fn from(replan: &Replan) -> Self {
        Self {
            case: replan.case.to_string(),
            alike: replan.alike,
            plan: plan(&replan.candidate),
        }
    }
}
