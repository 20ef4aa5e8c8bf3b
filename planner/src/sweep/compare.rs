//! Two plans or two machines side by side: where the difference comes from, and what would undo it.

use std::collections::BTreeMap;
use std::sync::Arc;

use rayon::prelude::*;
use sim::plan::Plan;
use topologies::LinkKind;
use traces::timeline::SpanClass;

use super::Found;
use super::field::{Field, Value};
use crate::interval::{self, Term};
use crate::runs::Known;
use crate::search::{self, PlanningError, Question, Shared};

/// Factors beyond this are no answer.
const FARTHEST: f64 = 16.0;

/// One of the two: a question, and the plan for it.
#[derive(Clone, Debug)]
pub struct Side {
    /// What is asked.
    pub question: Question,
    /// The plan; none lets the planner choose.
    pub plan: Option<Plan>,
}

/// A change after which the slower side is as fast as the other.
#[derive(Clone, Debug, PartialEq)]
pub struct Turn {
    /// What changes.
    pub field: Field,
    /// As it is; factors are 1.
    pub from: Value,
    /// Where both are equal.
    pub to: Value,
}

/// What the two sides rest on, so that like is compared with like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Footing {
    /// Each on what is known of its machine: of both something was measured, or of neither.
    Each,
    /// What this side's runs say of its GPU and host, for the other too, which has the same GPUs and no run.
    Carried(usize),
    /// This side without its own runs, as the other has none, and other GPUs.
    Without(usize),
}

/// Two sides and what separates them.
#[derive(Clone, Debug)]
pub struct Comparison {
    /// What they rest on.
    pub footing: Footing,
    /// The probability that the slower is slower.
    pub sure: f64,
    /// What was found of each.
    pub sides: [Found; 2],
    /// Seconds on the critical path of each side, by kind of work, largest difference first.
    pub classes: Vec<(SpanClass, [f64; 2])>,
    /// Which side is slower: 0 or 1.
    pub slower: usize,
    /// One change at a time that would make the slower as fast.
    pub turns: Vec<Turn>,
    /// Inputs of which no change up to 16-fold would.
    pub never: Vec<Field>,
}

/// Compares two sides.
///
/// # Errors
/// A [`PlanningError`] of either.
pub fn compare(mut sides: [Side; 2]) -> Result<Comparison, PlanningError> {
    let footing = level(&mut sides);
    // One request: a host may have prompts of a length of its own.
    let asked = match footing {
        Footing::Carried(from) => from,
        Footing::Each | Footing::Without(_) => 0,
    };
    sides[1 - asked].question.request = sides[asked].question.request;
    let shared = [Shared::default(), Shared::default()];
    let find = |index: usize| {
        let Side { question, plan } = &sides[index];
        match plan {
            None => search::winner(question, &shared[index]),
            Some(plan) => search::judge(question, plan, &shared[index]),
        }
    };
    let found = [find(0)?, find(1)?];
    let seconds = |found: &Found| found.candidate.latency.as_secs_f64();
    let slower = usize::from(seconds(&found[1]) >= seconds(&found[0]));
    // On one machine a change concerns both plans; of two machines, the slower one is changed.
    let same = sides[0].question.machine.name == sides[1].question.machine.name;
    let fixed = |index: usize| {
        (
            &sides[index].question,
            &found[index].candidate.plan,
            &shared[index],
        )
    };
    let (loser, winner) = (fixed(slower), fixed(1 - slower));
    let lead = |field: Field, value: Value| -> Option<f64> {
        let time = |(question, plan, shared): (&Question, &Plan, &Shared), changed: bool| {
            let mut question = question.clone();
            if changed {
                field.set(&mut question, value).ok()?;
            }
            Some(seconds(&search::judge(&question, plan, shared).ok()?))
        };
        Some(time(loser, true)? / time(winner, same)?)
    };
    // Where both take the same there is nothing to turn.
    let inputs = match seconds(&found[0]) == seconds(&found[1]) {
        true => Vec::new(),
        false => inputs(loser.0),
    };
    let turned: Vec<(Field, Option<Turn>)> = inputs
        .into_par_iter()
        .map(|(field, from, at)| {
            let turn = crossing(|factor| lead(field, at(factor)));
            let turn = turn.map(|factor| Turn {
                field,
                from,
                to: at(factor),
            });
            (field, turn)
        })
        .collect();
    let never = turned.iter().filter(|(_, turn)| turn.is_none());
    let never = never.map(|(field, _)| *field).collect();
    let turns = turned.into_iter().filter_map(|(_, turn)| turn).collect();
    Ok(Comparison {
        footing,
        sure: sure(&sides, &found, slower),
        classes: classes(&found),
        sides: found,
        slower,
        turns,
        never,
    })
}

/// The probability that the slower side is slower: two machines share what is uncertain of GPUs alike, one machine all.
fn sure(sides: &[Side; 2], found: &[Found; 2], slower: usize) -> f64 {
    let [first, second] = [0, 1].map(|index: usize| &sides[index].question.machine);
    let same = first.name == second.name;
    let alike = first.gpus[0].name == second.gpus[0].name;
    // One plan on GPUs alike is executed in one way.
    let executed_alike = alike && found[0].candidate.plan == found[1].candidate.plan;
    let uncertain = [0, 1].map(|index: usize| {
        let mut uncertainty = found[index].candidate.uncertainty.clone();
        if executed_alike {
            uncertainty.own = 0.0;
        }
        uncertainty
    });
    let of = |index: usize| (found[index].candidate.latency, &uncertain[index]);
    let shares = |term: Term| same || alike && !term.is_of_links();
    interval::faster_sharing(of(1 - slower), of(slower), shares)
}

/// Gives both sides the same footing.
fn level(sides: &mut [Side; 2]) -> Footing {
    let measured = [0, 1].map(|side: usize| !sides[side].question.known.own.is_empty());
    let from = match measured {
        [true, false] => 0,
        [false, true] => 1,
        _ => return Footing::Each,
    };
    let gpu = |side: usize| &sides[side].question.machine.gpus[0].name;
    let carried = gpu(0) == gpu(1);
    let known = &sides[from].question.known;
    let (side, known, footing) = match carried {
        true => (
            1 - from,
            Known {
                own: known.own.clone(),
                carried,
                elsewhere: known.elsewhere.clone(),
            },
            Footing::Carried(from),
        ),
        false => (
            from,
            Known {
                elsewhere: known.elsewhere.clone(),
                ..Known::default()
            },
            Footing::Without(from),
        ),
    };
    sides[side].question.known = Arc::new(known);
    footing
}

type Input = (Field, Value, Box<dyn Fn(f64) -> Value + Send + Sync>);

/// What may be changed by a factor, and how.
fn inputs(question: &Question) -> Vec<Input> {
    let mut inputs: Vec<Input> = [Field::Compute, Field::Memory]
        .map(|field| -> Input { (field, Value::Number(1.0), Box::new(Value::Number)) })
        .into();
    for kind in [LinkKind::Pcie, LinkKind::Nvlink, LinkKind::Network] {
        let mut links = question.machine.links.iter();
        if let Some(link) = links.find(|link| link.kind == kind) {
            let capacity = link.capacity;
            inputs.push((
                Field::Bandwidth(Some(kind)),
                Value::Rate(capacity),
                Box::new(move |factor| Value::Rate(capacity.scaled(factor))),
            ));
        }
    }
    inputs
}

/// The factor nearest to 1, in octaves, at which `lead` (loser over winner) falls to 1.
fn crossing(lead: impl Fn(f64) -> Option<f64>) -> Option<f64> {
    let mut octave = 1.0;
    while octave <= FARTHEST.log2() {
        for sign in [1.0, -1.0] {
            let (near, far) = (sign * (octave - 1.0), sign * octave);
            if lead(f64::exp2(far)).is_some_and(|lead| lead <= 1.0) {
                let (mut near, mut far) = (near, far);
                for _ in 0..12 {
                    let middle = f64::midpoint(near, far);
                    if lead(middle.exp2())? <= 1.0 {
                        far = middle;
                    } else {
                        near = middle;
                    }
                }
                return Some(far.exp2());
            }
        }
        octave += 1.0;
    }
    None
}

/// Seconds of both by kind of work, the largest difference first.
fn classes(found: &[Found; 2]) -> Vec<(SpanClass, [f64; 2])> {
    let mut classes: BTreeMap<SpanClass, [f64; 2]> = BTreeMap::new();
    for (index, one) in found.iter().enumerate() {
        for (class, time) in &one.candidate.by_class {
            classes.entry(*class).or_default()[index] += time.as_secs_f64();
        }
    }
    let mut classes: Vec<_> = classes.into_iter().collect();
    let difference = |pair: &[f64; 2]| (pair[1] - pair[0]).abs();
    classes.sort_by(|a, b| {
        difference(&b.1)
            .total_cmp(&difference(&a.1))
            .then(a.0.cmp(&b.0))
    });
    classes
}
