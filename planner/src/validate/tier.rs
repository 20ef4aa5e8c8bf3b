//! What a tier reports: errors of all rows, of the baselines on the same rows, and of each stratum.

use std::collections::BTreeMap;

use super::reason::Reason;
use super::statistics::{Outcome, Score};

/// A row with its prediction.
#[derive(Clone, Debug, PartialEq)]
pub struct Scored {
    /// Measured and predicted.
    pub outcome: Outcome,
    /// The strata that the row belongs to.
    pub strata: Vec<String>,
    /// What simpler models say, in the order of the tier's baselines.
    pub baselines: Vec<(&'static str, Option<f64>)>,
    /// How the prediction was reached.
    pub how: String,
}

/// A row without a prediction.
#[derive(Clone, Debug, PartialEq)]
pub struct Unmapped {
    /// The row: file and line, or what it is.
    pub row: String,
    /// Why it has no prediction.
    pub reason: Reason,
}

/// The errors of a stratum.
#[derive(Clone, Debug, PartialEq)]
pub struct Stratum {
    /// What its rows have in common.
    pub name: String,
    /// Their errors.
    pub score: Score,
    /// Errors of simpler models on the same rows.
    pub baselines: BTreeMap<&'static str, Score>,
}

/// How predictions of a tier were reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Method {
    /// In words: provenance, table, substitute.
    pub how: String,
    /// Rows predicted so.
    pub n: usize,
}

/// One tier's report.
#[derive(Clone, Debug, PartialEq)]
pub struct Tier {
    /// What was scored.
    pub source: String,
    /// Errors of all rows.
    pub score: Score,
    /// Errors of simpler models on the same rows.
    pub baselines: BTreeMap<&'static str, Score>,
    /// Errors by testbed and kind.
    pub strata: Vec<Stratum>,
    /// How predictions were reached, most rows first.
    pub methods: Vec<Method>,
    /// Rows without a prediction.
    pub unmapped: Vec<Unmapped>,
    /// Measured and predicted, for plots.
    pub points: Vec<(f64, f64)>,
}

impl Tier {
    /// The report of rows in the order of the file.
    #[must_use]
    pub fn of(source: String, rows: Vec<Result<Scored, Unmapped>>) -> Self {
        let n = rows.len();
        let (mut scored, mut unmapped) = (Vec::new(), Vec::new());
        for row in rows {
            match row {
                Ok(row) => scored.push(row),
                Err(row) => unmapped.push(row),
            }
        }
        let outcomes: Vec<Outcome> = scored.iter().map(|row| row.outcome).collect();
        Self {
            source,
            score: Score::of(n, &outcomes),
            baselines: baselines(&scored.iter().collect::<Vec<_>>()),
            strata: strata(&scored.iter().collect::<Vec<_>>()),
            methods: methods(&scored),
            unmapped,
            points: outcomes
                .iter()
                .map(|one| (one.measured, one.predicted))
                .collect(),
        }
    }
}

/// Errors of every baseline, over the rows that it covers.
#[must_use]
pub fn baselines(scored: &[&Scored]) -> BTreeMap<&'static str, Score> {
    let mut pairs: BTreeMap<&'static str, Vec<(f64, f64)>> = BTreeMap::new();
    for row in scored {
        for (name, value) in &row.baselines {
            let list = pairs.entry(name).or_default();
            list.extend(value.map(|value| (row.outcome.measured, value)));
        }
    }
    let score = |list: Vec<(f64, f64)>| Score::of_pairs(scored.len(), list.into_iter());
    pairs
        .into_iter()
        .map(|(name, list)| (name, score(list)))
        .collect()
}

/// Errors of every stratum, by name.
#[must_use]
pub fn strata(scored: &[&Scored]) -> Vec<Stratum> {
    let mut groups: BTreeMap<&str, Vec<&Scored>> = BTreeMap::new();
    for row in scored {
        for name in &row.strata {
            groups.entry(name).or_default().push(row);
        }
    }
    let stratum = |(name, rows): (&str, Vec<&Scored>)| {
        let outcomes: Vec<Outcome> = rows.iter().map(|row| row.outcome).collect();
        Stratum {
            name: name.to_owned(),
            score: Score::of(outcomes.len(), &outcomes),
            baselines: baselines(&rows),
        }
    };
    groups.into_iter().map(stratum).collect()
}

fn methods(scored: &[Scored]) -> Vec<Method> {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for row in scored {
        *counts.entry(&row.how).or_default() += 1;
    }
    let mut methods: Vec<Method> = counts
        .into_iter()
        .map(|(how, n)| Method {
            how: how.to_owned(),
            n,
        })
        .collect();
    methods.sort_by_key(|method| std::cmp::Reverse(method.n));
    methods
}
