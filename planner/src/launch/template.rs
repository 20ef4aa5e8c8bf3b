//! Commands and scripts as an engine's file writes them: lines, some under conditions, with places for a job's values.
//!
//! ```text
//! sglang generate --model-path {repository}
//! [tp] --tp-size {tp}                          only of plans with tensor parallelism
//! [!video !image] ...                          only where both are not so
//! {residency}                                  the lines of the residency
//! --json '{{"n": {batch}}}'                    doubled braces are braces
//! ```
//!
//! A library of templates (minijinja) would be a tenth of the program for these five rules.

use serde::Deserialize;
use sim::model::OnEngine;
use sim::plan::Weights;

use super::feature::Guard;
use super::words::words;
use super::{Case, PROMPT, Refusal, compact};

words! {
    /// A value of a job that a template has a place for.
    pub(super) enum Value ("no place for a value") {
        /// The repository of the model's weights.
        Repository = "repository",
        /// What the engine calls the model: its repository unless the entry says a `name`.
        Name = "name",
        /// The engine's script.
        Script = "script",
        /// The task.
        Task = "task",
        /// Ranks.
        Ranks = "ranks",
        /// Ranks that hold the same weights.
        Replicas = "replicas",
        /// The degree of the data dimension.
        Data = "dp",
        /// Of guidance.
        Guidance = "cfg",
        /// Of Ulysses.
        Ulysses = "ulysses",
        /// Of the ring.
        Ring = "ring",
        /// Of the gather.
        Gather = "allgather-kv",
        /// Stages of a pipeline.
        Stages = "pipefusion",
        /// Its patches.
        Patches = "patches",
        /// Steps of warm-up.
        Warmup = "warmup",
        /// The degree of tensor parallelism.
        Tensor = "tp",
        /// Ranks that decode the VAE.
        Vae = "vae-p",
        /// Boxes.
        Boxes = "boxes",
        /// Ranks in each.
        PerBox = "per-box",
        /// Numbers of the GPUs, with commas.
        Devices = "devices",
        /// Pixels.
        Height = "height",
        /// Pixels.
        Width = "width",
        /// Frames.
        Frames = "frames",
        /// Denoising steps.
        Steps = "steps",
        /// Outputs.
        Batch = "batch",
        /// Text tokens.
        TextTokens = "text-tokens",
        /// The prompt, in double quotes.
        Prompt = "prompt",
        /// As many prompts as outputs.
        Prompts = "prompts",
        /// The images that the request begins with.
        Images = "images",
        /// Blocks whose weights stay on the GPU.
        Resident = "resident",
        /// Blocks copied ahead.
        Ahead = "ahead",
        /// The lines of the residency.
        Residency = "residency",
        /// The lines of the precision.
        Precision = "precision",
        /// CompactFusion's name of its settings for the model.
        CompactSettings = "compact-settings",
        /// For the messages of the plan.
        CompactMethod = "compact-method",
        /// Its example.
        CompactExample = "compact-example",
    }
}

/// A text with conditions and places.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct Template(Vec<Line>);

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Line {
    guard: Guard,
    pieces: Vec<Piece>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Piece {
    Text(String),
    Value(Value),
}

impl TryFrom<String> for Template {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let lines = text.trim_end().lines().enumerate();
        let line = |(index, line)| {
            read(line).map_err(|fault| format!("line {} of it: {fault}", index + 1))
        };
        lines.map(line).collect::<Result<_, _>>().map(Self)
    }
}

/// A line with its condition.
fn read(line: &str) -> Result<Line, String> {
    let guarded = line.strip_prefix('[').and_then(|rest| rest.split_once(']'));
    let (guard, text) = guarded.unwrap_or(("", line));
    let text = match guarded {
        Some(_) => text.strip_prefix(' ').unwrap_or(text),
        None => text,
    };
    Ok(Line {
        guard: guard.parse()?,
        pieces: pieces(text)?,
    })
}

/// Text and places of a line.
fn pieces(line: &str) -> Result<Vec<Piece>, String> {
    let mut pieces = Vec::new();
    let mut text = String::new();
    let mut rest = line;
    while let Some(at) = rest.find(['{', '}']) {
        text.push_str(&rest[..at]);
        let (brace, after) = rest[at..].split_at(1);
        if let Some(after) = after.strip_prefix(brace) {
            text.push_str(brace);
            rest = after;
            continue;
        }
        let place = after.split_once('}').filter(|_| brace == "{");
        let (word, after) = place.ok_or_else(|| {
            format!("a \"{brace}\" stands alone: write \"{brace}{brace}\" for one that is meant")
        })?;
        pieces.push(Piece::Text(std::mem::take(&mut text)));
        pieces.push(Piece::Value(word.parse()?));
        rest = after;
    }
    text.push_str(rest);
    pieces.push(Piece::Text(text));
    pieces.retain(|piece| *piece != Piece::Text(String::new()));
    Ok(pieces)
}

impl Template {
    /// Whether it has a place for a value.
    pub(super) fn says(&self, value: Value) -> bool {
        let mut pieces = self.0.iter().flat_map(|line| &line.pieces);
        pieces.any(|piece| *piece == Piece::Value(value))
    }

    /// Its lines of a job.
    ///
    /// # Errors
    /// The engine has no such residency or precision, or ranks fill no boxes.
    pub(super) fn lines(&self, case: &Case<'_>) -> Result<Vec<String>, Refusal> {
        let mut lines = Vec::new();
        for line in self.0.iter().filter(|line| line.guard.holds(case)) {
            match line.pieces[..] {
                [Piece::Value(Value::Residency)] => {
                    lines.extend(case.residency()?.command.lines(case)?);
                }
                [Piece::Value(Value::Precision)] => {
                    if let Some(found) = case.precision()? {
                        lines.extend(found.command.lines(case)?);
                    }
                }
                _ => lines.push(line.of(case)?),
            }
        }
        Ok(lines)
    }
}

impl Line {
    fn of(&self, case: &Case<'_>) -> Result<String, Refusal> {
        let one = |piece: &Piece| match piece {
            Piece::Text(text) => Ok(text.clone()),
            Piece::Value(value) => case.value(*value),
        };
        self.pieces.iter().map(one).collect()
    }
}

/// Lines as shell commands of at most 96 columns; a line that starts with `#` stands between two of them.
pub(super) fn shell(lines: &[String]) -> String {
    let mut commands: Vec<String> = Vec::new();
    for part in lines.chunk_by(|a, b| !a.starts_with('#') && !b.starts_with('#')) {
        let words: Vec<String> = part.iter().flat_map(|line| split(line)).collect();
        commands.push(match part {
            [comment] if comment.starts_with('#') => comment.clone(),
            _ => wrapped(&words),
        });
    }
    commands.join("\n")
}

/// The words of a line outside quotes, each flag with its first value.
fn split(line: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    let mut quote = None;
    let mut word = String::new();
    for letter in line.chars().chain([' ']) {
        match quote {
            Some(open) if letter == open => quote = None,
            None if letter == '"' || letter == '\'' => quote = Some(letter),
            None if letter == ' ' => {
                let flag = words.last_mut().filter(|last| {
                    last.starts_with('-') && !last.contains(['=', ' ']) && !word.starts_with('-')
                });
                match flag {
                    _ if word.is_empty() => {}
                    Some(flag) => *flag = format!("{flag} {word}"),
                    None => words.push(word.clone()),
                }
                word.clear();
                continue;
            }
            _ => {}
        }
        word.push(letter);
    }
    words
}

/// Words in lines of at most 96 columns.
pub(super) fn wrapped(words: &[String]) -> String {
    let mut command = String::new();
    let mut column = 0;
    for word in words {
        if column > 0 && column + 1 + word.len() > 94 {
            command.push_str(" \\\n  ");
            column = 2;
        } else if column > 0 {
            command.push(' ');
            column += 1;
        }
        command.push_str(word);
        column += word.len();
    }
    command
}

impl Case<'_> {
    /// What stands in the place of a value.
    fn value(&self, value: Value) -> Result<String, Refusal> {
        let (job, plan, request) = (self.job, self.job.plan, self.job.request);
        let (resident, ahead) = match plan.execution.residency.transformer {
            Weights::Layerwise { resident, ahead } => (resident, ahead),
            Weights::Resident | Weights::Sharded => (0, 0),
        };
        let entry =
            |of: fn(&OnEngine) -> &Option<String>| self.entry.and_then(|entry| of(entry).clone());
        let count = match value {
            Value::Ranks => plan.ranks(),
            Value::Replicas => plan.replicas(),
            Value::Data => plan.data,
            Value::Guidance => plan.cfg,
            Value::Ulysses => plan.ulysses,
            Value::Ring if plan.has_ring() => plan.exchange.degree(),
            Value::Ring => 1,
            Value::Gather if plan.has_ring() => 1,
            Value::Gather => plan.exchange.degree(),
            Value::Stages => plan.pipeline.stages,
            Value::Patches => plan.pipeline.patches,
            Value::Warmup => plan.warmup,
            Value::Tensor => plan.tensor,
            Value::Vae => plan.vae,
            Value::Boxes => job.boxes()?.0,
            Value::PerBox => plan.ranks() / job.boxes()?.0,
            Value::Height => request.resolution.height,
            Value::Width => request.resolution.width,
            Value::Frames => request.frames,
            Value::Steps => request.steps,
            Value::Batch => request.batch,
            Value::TextTokens => request.text_tokens,
            Value::Resident => resident,
            Value::Ahead => ahead,
            Value::Repository => return self.repository(),
            Value::Name => {
                let name = entry(|entry| &entry.name);
                return name.map_or_else(|| self.repository(), Ok);
            }
            Value::Script => return Ok(entry(|entry| &entry.script).unwrap_or_default()),
            Value::Task => return Ok(entry(|entry| &entry.task).unwrap_or_default()),
            Value::Devices => return Ok(job.devices().unwrap_or_default()),
            Value::Prompt => return Ok(PROMPT.to_owned()),
            Value::Prompts => return Ok(vec![PROMPT; request.batch as usize].join(" ")),
            Value::Images => {
                let images = 1..=job.model.engines.images;
                let images = images.map(|number| format!("image{number}.png"));
                return Ok(images.collect::<Vec<_>>().join(" "));
            }
            Value::CompactSettings => return Ok(compact::settings(job.model)?.settings.clone()),
            Value::CompactExample => return Ok(compact::settings(job.model)?.example.clone()),
            Value::CompactMethod => return Ok(compact::method(plan)?.to_owned()),
            // A line of its own; beside other text they would have no meaning, and no file that is read has them there.
            Value::Residency | Value::Precision => return Ok(String::new()),
        };
        Ok(count.to_string())
    }
}
