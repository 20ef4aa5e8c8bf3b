//! `trace kineto`: what PyTorch's profiler saw of one rank, and how far its messages are from a plan's.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use clap::Args;
use planner::search::{self, Evaluation, Filter};
#[cfg(test)]
use schemars::JsonSchema;
use serde::Serialize;
use sim::graph::Exchange;
use topologies::{Bytes, CollectiveKind, DeviceId, SimDuration};
use traces::bounded;
use traces::timeline::kineto::{self, Kineto};
use traces::timeline::{self, SpanClass};
use traces::whole;

use crate::question::{self, Format, QuestionArguments};
use crate::render::json::{Amount, Word, pretty};
use crate::render::text::{self, bulleted, duration, heading};

/// The question of `trace kineto`.
#[derive(Debug, Args)]
pub(super) struct KinetoArguments {
    /// What export_chrome_trace wrote, .json or .json.gz, of one rank
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Compare with this plan, for the model, machine and --steps (those that were profiled) given
    #[arg(long, value_name = "PLAN")]
    plan: Option<String>,
    /// Write the spans as our timeline.json
    #[arg(long, value_name = "FILE")]
    timeline: Option<PathBuf>,
    #[command(flatten)]
    question: QuestionArguments,
    #[command(flatten)]
    format: Format,
}

/// Messages of one kind in a group of one size.
#[derive(Clone, Copy, Debug, Default)]
struct Sum {
    count: u64,
    bytes: Bytes,
    time: SimDuration,
}

/// Kind (in words) and ranks, where noted.
type Key = (String, Option<u32>);

/// What `trace kineto` prints.
pub(super) fn answer(typed: &KinetoArguments) -> Result<String> {
    let file = typed.file.display().to_string();
    let input = bounded::plain(&typed.file).with_context(|| format!("{file} cannot be read"))?;
    let found = kineto::read_kineto(input, &file)?;
    if let Some(path) = &typed.timeline {
        whole::write_with(path, |out| timeline::write(&found.timeline, out))
            .with_context(|| format!("{} cannot be written", path.display()))?;
    }
    let plan = typed
        .plan
        .as_deref()
        .map(|plan| planned(typed, plan, &found))
        .transpose()?;
    if typed.format.json {
        return Ok(pretty(&KinetoAnswer::new(&found, plan.as_ref())));
    }
    Ok(page(&found, plan.as_ref()))
}

/// What a plan's messages are for one of its ranks, and what its work takes.
struct Planned {
    name: String,
    steps: u32,
    rank: u32,
    messages: BTreeMap<Key, Sum>,
    classes: BTreeMap<SpanClass, SimDuration>,
}

fn planned(typed: &KinetoArguments, line: &str, found: &Kineto) -> Result<Planned> {
    let question = question::question(&typed.question, Filter::default())?;
    let plan = question::plan(line, &question)?;
    let evaluation = search::evaluate(&question, &plan)?;
    let rank = found.rank.unwrap_or(0);
    let placement = &evaluation.candidate.plan.placement;
    ensure!(
        (rank as usize) < placement.len(),
        "the trace is of rank {rank}, {line} has {} ranks: give the plan that was run",
        placement.len()
    );
    let device = placement[rank as usize];
    Ok(Planned {
        name: evaluation.candidate.plan.to_string(),
        steps: question.request.steps,
        rank,
        messages: messages_of(&evaluation, device),
        classes: classes_of(&evaluation, device),
    })
}

fn messages_of(evaluation: &Evaluation, device: DeviceId) -> BTreeMap<Key, Sum> {
    let run = &evaluation.simulation;
    let mut sums: BTreeMap<Key, Sum> = BTreeMap::new();
    for task in run.graph.ids() {
        let Some((exchange, lead)) = run.graph.exchange(task) else {
            continue;
        };
        let (kind, ranks, size) = match exchange {
            Exchange::Collective { kind, group, size }
                if lead == task && group.contains(&device) =>
            {
                (*kind, group.len(), *size)
            }
            Exchange::Send { to, size }
                if run.graph.task(task).device == device || *to == device =>
            {
                (CollectiveKind::RingPass, 2, *size)
            }
            _ => continue,
        };
        let (start, end) = (
            run.outcome.start[task.index()],
            run.outcome.end[task.index()],
        );
        let sum = sums
            .entry((kind.to_string(), u32::try_from(ranks).ok()))
            .or_default();
        sum.count += 1;
        sum.bytes += size;
        sum.time += end.since(start);
    }
    sums
}

fn classes_of(evaluation: &Evaluation, device: DeviceId) -> BTreeMap<SpanClass, SimDuration> {
    let timeline = evaluation.timeline(String::new());
    let spans = timeline.spans().iter();
    let spans = spans.filter(|span| span.device == device);
    let mut sums = BTreeMap::new();
    for span in spans {
        *sums.entry(span.class).or_default() += span.duration();
    }
    sums
}

/// The trace's messages by kind and group.
fn measured(found: &Kineto) -> BTreeMap<Key, Sum> {
    let mut sums: BTreeMap<Key, Sum> = BTreeMap::new();
    for message in &found.collectives {
        let kind = message
            .kind
            .map_or_else(|| message.name.clone(), |kind| kind.to_string());
        let sum = sums.entry((kind, message.group)).or_default();
        sum.count += 1;
        sum.bytes += message.size.unwrap_or_default();
        sum.time += message.time;
    }
    sums
}

/// The trace's time and kernels by class.
fn classes(found: &Kineto) -> BTreeMap<SpanClass, (u64, SimDuration)> {
    let mut sums: BTreeMap<SpanClass, (u64, SimDuration)> = BTreeMap::new();
    for span in found.timeline.spans() {
        let (count, time) = sums.entry(span.class).or_default();
        *count += 1;
        *time += span.duration();
    }
    sums
}

/// Bytes of a kind of collective, whatever its group.
fn volume(sums: &BTreeMap<Key, Sum>, kind: &str) -> Bytes {
    sums.iter()
        .filter(|((of, _), _)| of == kind)
        .map(|(_, sum)| sum.bytes)
        .sum()
}

/// Sentences on how far the measured messages are from the plan's.
fn differences(found: &Kineto, plan: &Planned) -> Vec<String> {
    let own = measured(found);
    let mut kinds: Vec<&str> = own
        .keys()
        .chain(plan.messages.keys())
        .map(|(kind, _)| kind.as_str())
        .collect();
    kinds.sort_unstable();
    kinds.dedup();
    let mut lines: Vec<String> = kinds
        .into_iter()
        .map(|kind| {
            let (ran, expected) = (volume(&own, kind), volume(&plan.messages, kind));
            match (ran.get(), expected.get()) {
                (0, 0) => format!("{kind}: no bytes are noted"),
                (0, _) => format!("{kind}: the plan moves {expected}, the trace notes none"),
                (_, 0) => format!("{kind}: the trace moved {ran}, the plan has none"),
                (a, b) => {
                    let share = 100.0 * (a as f64 / b as f64 - 1.0);
                    format!("{kind}: the trace moved {ran}, the plan {expected} ({share:+.1} %)")
                }
            }
        })
        .collect();
    lines.push(format!(
        "sizes are nccl-tests' (an all-gather's is the gathered whole); the plan is of {} steps, the trace of {}",
        plan.steps,
        match found.steps {
            0 => "an unknown number of".to_owned(),
            steps => steps.to_string(),
        } + " profiled steps: profile as many as --steps says"
    ));
    lines
}

fn page(found: &Kineto, plan: Option<&Planned>) -> String {
    let spans = found.timeline.spans();
    let gpu = found.gpu.as_deref().unwrap_or("GPU not noted");
    let title = format!(
        "{} spans in {}",
        spans.len(),
        duration(found.timeline.end().since(topologies::SimTime::ZERO))
    );
    let rank = found
        .rank
        .map_or_else(String::new, |rank| format!(", rank {rank}"));
    let mut page = heading(&format!("{gpu}{rank}: {title}"));
    let mut header = vec!["class", "spans", "time"];
    if plan.is_some() {
        header.push("plan");
    }
    let mut table = text::table(&header, &[1, 2, 3]);
    for (class, (count, time)) in classes(found) {
        let mut row = vec![class.word().to_owned(), count.to_string(), duration(time)];
        row.extend(
            plan.map(|plan| duration(plan.classes.get(&class).copied().unwrap_or_default())),
        );
        table.add_row(row);
    }
    page.push_str(&(text::rendered(&mut table) + "\n"));
    if !found.collectives.is_empty() {
        let mut table = text::table(
            &["message", "ranks", "count", "size", "time", "bus bandwidth"],
            &[1, 2, 3, 4, 5],
        );
        for ((kind, group), sum) in measured(found) {
            table.add_row(vec![
                kind.clone(),
                group.map_or_else(|| "?".to_owned(), |group| group.to_string()),
                sum.count.to_string(),
                sum.bytes.to_string(),
                duration(sum.time),
                bus_bandwidth(&kind, group, &sum)
                    .map_or_else(|| "?".to_owned(), |rate| format!("{:.1} GB/s", rate / 1e9)),
            ]);
        }
        page.push_str(&(text::rendered(&mut table) + "\n"));
    }
    if let Some(plan) = plan {
        page.push_str(&heading(&format!(
            "Beside {}, rank {}",
            plan.name, plan.rank
        )));
        page.push_str(&(bulleted(&differences(found, plan)) + "\n"));
    }
    let mut said = found.assumed.clone();
    said.push(
        "classes are by kernel name; a message's time holds its waiting for other ranks".to_owned(),
    );
    page + &heading("Assumed") + &bulleted(&said)
}

/// Bytes per second over the busiest link, waiting included.
fn bus_bandwidth(kind: &str, group: Option<u32>, sum: &Sum) -> Option<f64> {
    let kind: CollectiveKind = kind.parse().ok()?;
    let seconds = sum.time.as_secs_f64();
    let ranks = group.filter(|ranks| *ranks > 1)?;
    (seconds > 0.0 && sum.bytes > Bytes::ZERO)
        .then(|| sum.bytes.as_f64() / seconds * kind.bus_factor(ranks))
}

/// A rank's profiler trace summed up, and a plan's messages beside it.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub(crate) struct KinetoAnswer {
    /// The GPU; null where not noted.
    pub gpu: Option<String>,
    /// The rank that was profiled; null where not noted.
    pub rank: Option<u32>,
    /// Ranges ProfilerStep#N; 0 where there are none.
    pub profiled_steps: usize,
    /// The end of the last span, seconds from the start of the first.
    pub end_s: Amount,
    /// Spans by kind of work; by kernel name.
    pub classes: Vec<Class>,
    /// Messages by kind and group.
    pub messages: Vec<Message>,
    /// The plan of --plan; null without it.
    pub plan: Option<PlanMessages>,
    /// What was assumed, one sentence each.
    pub assumed: Vec<String>,
}

/// Spans of one kind of work.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub(crate) struct Class {
    /// Kind of work. linear: matrix products; attention; elementwise: norms, activations, sums, merges; encode,
    /// decode: compressing and decompressing messages; launch: gaps that the host causes; communication: messages
    /// between GPUs; text-encoder; vae; other.
    pub class: Word<SpanClass>,
    /// How many.
    pub spans: u64,
    /// Their time, seconds.
    pub time_s: Amount,
}

/// Messages of one kind and group.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub(crate) struct Message {
    /// all-gather, reduce-scatter, all-reduce, all-to-all, ring-pass, or the name of a kernel of no known kind.
    pub kind: String,
    /// Ranks of its group; null where not noted.
    pub ranks: Option<u32>,
    /// How many.
    pub count: u64,
    /// Their sizes together, bytes, as nccl-tests counts (an all-gather's is the gathered whole); 0 where not noted.
    pub bytes: u64,
    /// Their time, seconds; in a trace waiting for other ranks included.
    pub time_s: Amount,
}

/// A plan's messages.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub(crate) struct PlanMessages {
    /// A plan in one line, as `simulate --plan` reads it: cfg2+ulysses2+ring2/1bit warmup=1. `none` is one GPU.
    pub plan: String,
    /// Its denoising steps.
    pub steps: u32,
    /// The rank whose messages these are.
    pub rank: u32,
    /// Its messages by kind and group, simulated.
    pub messages: Vec<Message>,
    /// How far the traced messages are from these, one sentence each.
    pub differences: Vec<String>,
}

impl KinetoAnswer {
    fn new(found: &Kineto, plan: Option<&Planned>) -> Self {
        let classes = classes(found).into_iter();
        let plan = plan.map(|plan| PlanMessages {
            plan: plan.name.clone(),
            steps: plan.steps,
            rank: plan.rank,
            messages: plan.messages.iter().map(Message::from).collect(),
            differences: differences(found, plan),
        });
        Self {
            gpu: found.gpu.clone(),
            rank: found.rank,
            profiled_steps: found.steps,
            end_s: (found.timeline.end().as_ps() as f64 / 1e12).into(),
            classes: classes
                .map(|(class, (spans, time))| Class {
                    class: Word(class),
                    spans,
                    time_s: time.into(),
                })
                .collect(),
            messages: measured(found).iter().map(Message::from).collect(),
            plan,
            assumed: found.assumed.clone(),
        }
    }
}

impl From<(&Key, &Sum)> for Message {
    fn from(((kind, ranks), sum): (&Key, &Sum)) -> Self {
        Self {
            kind: kind.clone(),
            ranks: *ranks,
            count: sum.count,
            bytes: sum.bytes.get(),
            time_s: sum.time.into(),
        }
    }
}
