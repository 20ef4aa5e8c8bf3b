//! How much each input moves the answer: every input a share lower and higher, planned again.

use rayon::prelude::*;
use topologies::{LinkKind, SimDuration};

use super::field::{Field, Value};
use crate::search::{self, PlanningError, Question, Shared};

/// One input's effect.
#[derive(Clone, Debug, PartialEq)]
pub struct Swing {
    /// What was changed.
    pub field: Field,
    /// Its values: lower, as asked, higher.
    pub values: [String; 3],
    /// The best plan's latency at the lower and at the higher value, seconds.
    pub latency_s: [f64; 2],
    /// The best plan there.
    pub plans: [String; 2],
}

/// The latency of the answer, and the swing of each input by `share` (0.2 is 20 %), widest first.
///
/// # Errors
/// A [`PlanningError`] of the question itself; an input that cannot move is left out.
pub fn tornado(question: &Question, share: f64) -> Result<(f64, Vec<Swing>), PlanningError> {
    let shared = Shared::default();
    let base = search::winner(question, &shared)?;
    let inputs = inputs(question, share);
    let mut swings: Vec<Swing> = inputs
        .into_par_iter()
        .filter_map(|(field, [low, middle, high])| {
            let found = |value: Value| {
                let mut question = question.clone();
                field.set(&mut question, value).ok()?;
                let winner = search::winner(&question, &shared).ok()?;
                let candidate = winner.candidate;
                Some((candidate.latency.as_secs_f64(), candidate.plan.to_string()))
            };
            let (low_found, high_found) = (found(low)?, found(high)?);
            Some(Swing {
                field,
                values: [low, middle, high].map(|value| value.to_string()),
                latency_s: [low_found.0, high_found.0],
                plans: [low_found.1, high_found.1],
            })
        })
        .collect();
    let width = |swing: &Swing| (swing.latency_s[1] - swing.latency_s[0]).abs();
    swings.sort_by(|a, b| width(b).total_cmp(&width(a)).then(a.field.cmp(&b.field)));
    Ok((base.candidate.latency.as_secs_f64(), swings))
}

/// Every input that the question has, lower, as it is, and higher.
fn inputs(question: &Question, share: f64) -> Vec<(Field, [Value; 3])> {
    let factors = [1.0 - share, 1.0, 1.0 + share];
    let mut inputs = vec![
        (Field::Compute, factors.map(Value::Number)),
        (Field::Memory, factors.map(Value::Number)),
        (
            Field::Steps,
            factors.map(|factor| count(question.request.steps, factor)),
        ),
    ];
    // Multiples of 16, as shares of a sequence: others are copied to every rank, which is another effect.
    let tokens = |factor: f64| {
        let sixteens = f64::from(question.request.text_tokens) * factor / 16.0;
        Value::Count(16 * (sixteens.round() as u32).max(1))
    };
    inputs.push((Field::TextTokens, factors.map(tokens)));
    for kind in [
        LinkKind::Pcie,
        LinkKind::Socket,
        LinkKind::Nvlink,
        LinkKind::Network,
    ] {
        let mut links = question.machine.links.iter();
        let Some(link) = links.find(|link| link.kind == kind) else {
            continue;
        };
        let rate = |factor: f64| Value::Rate(link.capacity.scaled(factor));
        let latency =
            |factor: f64| Value::Time(SimDuration::from_us_f64(link.latency.as_us_f64() * factor));
        inputs.push((Field::Bandwidth(Some(kind)), factors.map(rate)));
        inputs.push((Field::Latency(Some(kind)), factors.map(latency)));
    }
    inputs
}

fn count(count: u32, factor: f64) -> Value {
    Value::Count(((f64::from(count) * factor).round() as u32).max(1))
}
