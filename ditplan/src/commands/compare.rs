//! `compare`: two plans, or two machines, and what separates them.

use std::path::Path;

use anyhow::{Result, bail, ensure};
use clap::Args;
use planner::search::{CONFIDENCE_OF_ORDER, Filter, Question};
use planner::sweep::{Comparison, Field, Footing, Side, Turn, compare};
#[cfg(test)]
use schemars::JsonSchema;
use serde::Serialize;
use sim::plan::Plan;
use topologies::Machine;
use topologies::suggest::nearest;
use traces::timeline::SpanClass;

use crate::question::{self, Format, QuestionArguments};
use crate::render::json::{self, Amount, Word};
use crate::render::plans;
use crate::render::text::{self, bulleted, heading};
use crate::render::words;

/// What is compared, and for which question.
#[derive(Debug, Args)]
pub(crate) struct CompareArguments {
    /// A plan (ring4/1bit), or a machine, of which the choice of `plan` is taken
    #[arg(value_name = "A")]
    pub one: String,
    /// Another
    #[arg(value_name = "B")]
    pub other: String,
    #[command(flatten)]
    pub question: QuestionArguments,
    /// Consider only plans whose output equals the one-GPU output
    #[arg(long)]
    pub exact: bool,
    #[command(flatten)]
    pub format: Format,
}

/// What `compare` prints.
pub(crate) fn answer(typed: &CompareArguments) -> Result<String> {
    let sides = [side(&typed.one, typed)?, side(&typed.other, typed)?];
    ensure!(
        sides[0].plan.is_some() == sides[1].plan.is_some(),
        "{} and {}: compare two plans, or two machines",
        typed.one,
        typed.other
    );
    let plans = sides[0].plan.is_some();
    ensure!(
        !(plans && typed.exact),
        "--exact is for machines, whose plans are chosen: leave it out to compare {} and {}",
        typed.one,
        typed.other
    );
    ensure!(
        plans || typed.question.machine == topologies::machine::DEFAULT_PRESET,
        "{} and {} are compared, not --machine {}: leave it out",
        typed.one,
        typed.other,
        typed.question.machine
    );
    let question = sides[0].question.clone();
    let found = compare(sides)?;
    let names = [&typed.one, &typed.other];
    if typed.format.json {
        return Ok(json::pretty(&CompareAnswer::new(&question, &found)));
    }
    Ok(report(&plans::asked(&question), names, &found))
}

/// A plan on the question's machine, or a machine with the planner's choice.
fn side(text: &str, typed: &CompareArguments) -> Result<Side> {
    let filter = Filter {
        exact_only: typed.exact,
        ..Filter::default()
    };
    if text.parse::<Plan>().is_ok() {
        let question = question::question(&typed.question, filter)?;
        let plan = Some(question::plan(text, &question)?);
        return Ok(Side { question, plan });
    }
    if let Some(sentence) = neither(text) {
        bail!("{sentence}");
    }
    let mut of_machine = typed.question.clone();
    text.clone_into(&mut of_machine.machine);
    let question = question::question(&of_machine, filter)?;
    Ok(Side {
        question,
        plan: None,
    })
}

/// What is said of a word that is neither a plan nor a machine, with the nearest of both; none of a machine, a file or what
/// looks like one.
fn neither(text: &str) -> Option<String> {
    let is_file = text.ends_with(".toml") || Path::new(text).is_file();
    if is_file || text.contains('@') || Machine::preset(text).is_ok() {
        return None;
    }
    if text.parse::<Plan>().is_ok() {
        return None;
    }
    let machine = nearest(text, topologies::machine::presets())?;
    // The first part alone, without its degree, compressor and setting.
    let end = text.find(|c: char| c.is_ascii_digit() || "+/ (".contains(c));
    let (word, rest) = text.split_at(end.unwrap_or(text.len()));
    let plan = match nearest(word, PARTS)? {
        // A machine starts with its number of GPUs.
        _ if word.is_empty() => "written as ring4 or ulysses2+ring2/1bit".to_owned(),
        part if format!("{part}{rest}").parse::<Plan>().is_ok() => format!("{part}{rest}"),
        part => format!("{part}N"),
    };
    Some(format!(
        "\"{text}\" is neither a plan nor a machine: the nearest plan is {plan}, the nearest machine {machine} (`ditplan \
         machines` lists them)"
    ))
}

/// Parts of a plan, without their degrees.
const PARTS: [&str; 9] = [
    "dp",
    "cfg",
    "pipefusion",
    "ulysses",
    "ring",
    "allgather-kv",
    "distrifusion",
    "tp",
    "vae-p",
];

fn report(title: &str, names: [&String; 2], found: &Comparison) -> String {
    let [one, other] = &found.sides;
    let mut table = text::table(&["", names[0], names[1], "difference"], &[1, 2, 3]);
    let [before, after] = [one, other].map(|side| side.candidate.latency.as_secs_f64());
    let difference = after - before;
    let row = |of: [String; 2], difference: String| {
        let [one, other] = of;
        vec![one, other, difference]
    };
    let plans = [
        one.candidate.plan.to_string(),
        other.candidate.plan.to_string(),
    ];
    table.add_row([vec!["plan".to_owned()], row(plans, String::new())].concat());
    let latency = [one, other].map(|side| format!("{} s", plans::interval(&side.candidate)));
    table.add_row(
        [
            vec!["latency".to_owned()],
            row(latency, format!("{difference:+.3} s")),
        ]
        .concat(),
    );
    for (class, [a, b]) in &found.classes {
        let times = [format!("{a:.3} s"), format!("{b:.3} s")];
        table.add_row(
            [
                vec![format!("  {class}")],
                row(times, format!("{:+.3} s", b - a)),
            ]
            .concat(),
        );
    }
    let around = [0, 1].map(|side| {
        let steps: f64 = found.classes.iter().map(|(_, times)| times[side]).sum();
        (found.sides[side].candidate.latency.as_secs_f64() - steps).max(0.0)
    });
    table.add_row(
        [
            vec!["  text encoders, VAE".to_owned()],
            row(
                around.map(|time| format!("{time:.3} s")),
                format!("{:+.3} s", around[1] - around[0]),
            ),
        ]
        .concat(),
    );
    let memory = [one, other].map(|side| plans::memory(&side.candidate));
    table.add_row([vec!["memory".to_owned()], row(memory, String::new())].concat());
    let evidence = [one, other].map(|side| side.candidate.uncertainty.rests_on().to_string());
    table.add_row([vec!["rests on".to_owned()], row(evidence, String::new())].concat());
    let slower = names[found.slower];
    let mut notes: Vec<String> = found
        .turns
        .iter()
        .map(|turn| format!("{slower} would be as fast with {}", change(turn)))
        .collect();
    if difference == 0.0 {
        notes = vec!["nothing: both take the same".to_owned()];
    } else if !found.never.is_empty() {
        let fields: Vec<String> = found.never.iter().map(ToString::to_string).collect();
        notes.push(format!(
            "no change of {} up to 16-fold would make {slower} as fast",
            fields.join(", ")
        ));
    }
    format!(
        "{}{}{}\n{}{}\n{}{}",
        heading(title),
        text::rendered(&mut table),
        plans::residencies([&one.candidate, &other.candidate].into_iter()),
        heading("Which is faster"),
        bulleted(&verdict(names, found)),
        heading("What would have to change"),
        bulleted(&notes)
    )
}

/// Which is faster, how sure, and on what footing they are compared.
fn verdict(names: [&String; 2], found: &Comparison) -> Vec<String> {
    let faster = names[1 - found.slower];
    let sure = words::share(found.sure);
    let verdict = match found.sure >= CONFIDENCE_OF_ORDER {
        true => format!("{faster}, with {sure} probability"),
        false => format!(
            "not known, a tie: {faster} is {sure} likely to be the faster, from what the two do not share"
        ),
    };
    let footing = match found.footing {
        Footing::Each => None,
        Footing::Carried(from) => Some(format!(
            "what the runs of {} say of GPU and host is carried over to {}, which has the same GPUs and no run of its own; \
             its links are as their data say",
            names[from],
            names[1 - from]
        )),
        Footing::Without(of) => Some(format!(
            "{} has no run of its own, and other GPUs: {} is compared without its own runs too",
            names[1 - of],
            names[of]
        )),
    };
    [verdict].into_iter().chain(footing).collect()
}

fn change(turn: &Turn) -> String {
    match (turn.from, turn.to) {
        (planner::sweep::Value::Number(_), planner::sweep::Value::Number(to)) => {
            format!("{} x {to:.2}", turn.field)
        }
        (from, to) => format!(
            "{} {:.3} {} instead of {from}",
            turn.field,
            to.number(),
            turn.field.unit()
        ),
    }
}

/// Two plans, or the best plans of two machines, side by side.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub(crate) struct CompareAnswer {
    /// What was asked of the first side.
    pub question: json::Question,
    /// Both, in the order given. A plan has an empty why_slower here.
    pub sides: [json::Plan; 2],
    /// What each side rests on, in words.
    pub rests_on: [String; 2],
    /// What they rest on together. each: on what is known of its machine; carried: GPU and host of `footing_of` by its
    /// runs, for the other too, which has the same GPUs and no run; without: `footing_of` without its own runs, as the
    /// other has none, and other GPUs.
    #[cfg_attr(test, schemars(extend("enum" = ["each", "carried", "without"])))]
    pub footing: &'static str,
    /// The side that the footing is about: 0 or 1; null where each stands on its own.
    pub footing_of: Option<usize>,
    /// Which side is slower: 0 or 1.
    pub slower: usize,
    /// The probability that it is, from what the two do not share. Below 0.9 the evidence cannot tell the two.
    pub probability: Amount,
    /// Time by kind of work, the largest difference first.
    pub classes: Vec<Class>,
    /// Changes, one at a time, after which the slower side is as fast as the other.
    pub turns: Vec<TurnAt>,
    /// Inputs of which no change up to 16-fold would.
    pub never: Vec<Word<Field>>,
}

/// Time of one kind of work.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub(crate) struct Class {
    /// Kind of work. linear: matrix products; attention; elementwise: norms, activations, sums, merges; encode,
    /// decode: compressing and decompressing messages; launch: gaps that the host causes; communication: messages
    /// between GPUs; text-encoder; vae; other.
    pub class: Word<SpanClass>,
    /// Seconds on the critical path of the denoising loop, of either side.
    pub time_s: [Amount; 2],
}

/// A change after which both are equally fast.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub(crate) struct TurnAt {
    /// What changes.
    pub field: Word<Field>,
    /// Its value as it is, in `unit`; 1 for factors.
    pub from: Amount,
    /// Its value where both are equal, in `unit`.
    pub to: Amount,
    /// The unit of from and to.
    #[cfg_attr(test, schemars(extend("enum" = ["times", "GB/s"])))]
    pub unit: &'static str,
}

impl CompareAnswer {
    fn new(question: &Question, found: &Comparison) -> Self {
        let side = |index: usize| {
            let one = &found.sides[index];
            let single = one.candidate.latency.as_secs_f64() * one.speed_up;
            json::Plan::new(&one.candidate, single)
        };
        let classes = found.classes.iter().map(|(class, times)| Class {
            class: Word(*class),
            time_s: times.map(Amount::from),
        });
        let turns = found.turns.iter().map(|turn| TurnAt {
            field: Word(turn.field),
            from: turn.from.number().into(),
            to: turn.to.number().into(),
            unit: turn.field.unit(),
        });
        let rests_on = |side: usize| {
            found.sides[side]
                .candidate
                .uncertainty
                .rests_on()
                .to_string()
        };
        let (footing, footing_of) = match found.footing {
            Footing::Each => ("each", None),
            Footing::Carried(from) => ("carried", Some(from)),
            Footing::Without(of) => ("without", Some(of)),
        };
        Self {
            question: question.into(),
            sides: [side(0), side(1)],
            rests_on: [rests_on(0), rests_on(1)],
            footing,
            footing_of,
            slower: found.slower,
            probability: found.sure.into(),
            classes: classes.collect(),
            turns: turns.collect(),
            never: found.never.iter().copied().map(Word).collect(),
        }
    }
}
