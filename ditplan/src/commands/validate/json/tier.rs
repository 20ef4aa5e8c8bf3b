//! Errors by kind of measurement, as JSON.

use planner::validate::tier;
#[cfg(test)]
use schemars::JsonSchema;
use serde::Serialize;

use crate::render::json::{Baselines, Score, baselines};
use crate::render::words;

/// Errors of one kind of measurement, each predicted with its own row left out.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub(crate) struct Tier {
    /// What was scored.
    pub source: String,
    /// Errors of all rows.
    #[serde(flatten)]
    pub score: Score,
    /// Errors of simpler models on the same rows, by their names.
    pub baselines: Baselines,
    /// Errors by testbed and kind.
    pub strata: Vec<Stratum>,
    /// How predictions were reached, most rows first.
    pub methods: Vec<Method>,
    /// Rows without a prediction.
    pub unmapped: Vec<Unmapped>,
}

/// Errors of some of the rows.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub(crate) struct Stratum {
    /// What its rows have in common.
    pub name: String,
    /// Their errors.
    #[serde(flatten)]
    pub score: Score,
    /// Errors of simpler models on the same rows, by their names.
    pub baselines: Baselines,
}

/// How some predictions were reached.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub(crate) struct Method {
    /// Provenance, table, substitute; in words.
    pub how: String,
    /// Rows predicted so.
    pub n: usize,
}

/// A row without a prediction.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub(crate) struct Unmapped {
    /// The row: file and line, or what it is.
    pub row: String,
    /// Why it has no prediction.
    pub reason: String,
}

impl From<&tier::Tier> for Tier {
    fn from(tier: &tier::Tier) -> Self {
        let methods = tier.methods.iter().map(|method| Method {
            how: method.how.clone(),
            n: method.n,
        });
        Self {
            source: tier.source.clone(),
            score: (&tier.score).into(),
            baselines: baselines(&tier.baselines),
            strata: all(&tier.strata),
            methods: methods.collect(),
            unmapped: all(&tier.unmapped),
        }
    }
}

impl From<&tier::Stratum> for Stratum {
    fn from(of: &tier::Stratum) -> Self {
        Self {
            name: of.name.clone(),
            score: (&of.score).into(),
            baselines: baselines(&of.baselines),
        }
    }
}

impl From<&tier::Unmapped> for Unmapped {
    fn from(of: &tier::Unmapped) -> Self {
        Self {
            row: of.row.clone(),
            reason: words::reason(&of.reason),
        }
    }
}

/// All of a list as JSON.
pub(super) fn all<'a, T: 'a, U: From<&'a T>>(list: &'a [T]) -> Vec<U> {
    list.iter().map(U::from).collect()
}
