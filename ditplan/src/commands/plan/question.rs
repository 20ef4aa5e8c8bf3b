//! From what was typed behind `plan` to what is asked.

use anyhow::{Context, Result, ensure};
use planner::search::{ALL_KINDS, Budget, Filter, Granularity, Question};
use sim::plan::Plan;

use super::arguments::{Granularity as Typed, PlanArguments};
use crate::question::{SHOWN, question};

/// The question of `plan`.
pub(crate) fn plan_question(typed: &PlanArguments) -> Result<Question> {
    let all = if typed.format.json || typed.plot.is_some() {
        ALL_KINDS
    } else {
        SHOWN
    };
    Ok(Question {
        fastest: typed.fastest,
        shown: typed.top.unwrap_or(all),
        ..question(&typed.question, filter(typed)?)?
    })
}

/// The filter of `plan`.
fn filter(typed: &PlanArguments) -> Result<Filter> {
    if let Some(fid) = typed.max_fid {
        ensure!(
            fid.is_finite() && fid >= 0.0,
            "--max-fid is {fid}: a FID is not negative, 0 allows exact plans only"
        );
    }
    let budget = typed
        .budget
        .as_deref()
        .map(str::parse::<Budget>)
        .transpose();
    let strategy = typed
        .strategy
        .as_deref()
        .map(str::parse::<Plan>)
        .transpose();
    Ok(Filter {
        strategy: strategy.context("--strategy")?.map(|plan| plan.strategy()),
        exact_only: typed.exact,
        max_fid: typed.max_fid,
        budget: budget.context("--budget")?,
        launchable: false,
        granularity: match typed.per {
            None | Some(Typed::Layer) => Granularity::Layer,
            Some(Typed::Phase) => Granularity::LayerAndPhase,
        },
    })
}
