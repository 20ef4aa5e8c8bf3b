//! From what was typed to what is asked.

use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use planner::capacity::recorded::{self, Recorded, Wanted};
use planner::capacity::{Market, Objective, Question, Shape, Slo};
use planner::search::{self, Filter};
use sim::model::{self, Request};
use traces::bounded::{self, TABLE};

use super::arguments::{CapacityArguments, ObjectiveArgument};
use super::patterns::{rules, source};
use crate::question::arrivals::is_pattern;
use crate::question::prices::prices;
use crate::question::{self, QuestionArguments};

/// Runs of more requests are replicated less.
const LONG: usize = 50_000;

/// The question of `capacity`.
pub(super) fn question(typed: &CapacityArguments) -> Result<Question> {
    let record = is_file(&typed.arrivals).then(|| record(&typed.arrivals));
    let record = record.transpose()?;
    let wanted = wanted(typed, record.as_ref())?;
    let markets = markets(typed, &wanted)?;
    let source = source(typed, &wanted, record)?;
    let shares = source.shares();
    let usual = asked_default(typed)?;
    let requests = markets[0].questions.iter().map(|one| one.request);
    let shapes = requests.zip(shares).map(|(request, share)| Shape {
        name: name(&request, &usual),
        share,
        request,
    });
    let shapes: Vec<Shape> = shapes.collect();
    for (place, shape) in shapes.iter().enumerate() {
        let before = shapes[..place].iter().any(|other| other.name == shape.name);
        ensure!(
            !before,
            "--mix has {} twice: give it one weight",
            shape.name
        );
    }
    Ok(Question {
        slo: objective(typed, &shapes, &usual)?,
        rules: rules(typed)?,
        objective: match typed.objective {
            ObjectiveArgument::Gpus => Objective::Gpus,
            ObjectiveArgument::Dollars => Objective::Dollars,
        },
        replications: typed.replications.unwrap_or(match source.requests() {
            ..=LONG => 10,
            _ => 4,
        }),
        seed: typed.seed,
        most_gpus: typed.max_gpus,
        shapes,
        markets,
        source,
    })
}

/// The model's usual request, in the steps that were asked for.
fn asked_default(typed: &CapacityArguments) -> Result<Request> {
    let usual = model::find(&typed.model)?.default;
    Ok(Request {
        steps: typed.steps.unwrap_or(usual.steps),
        ..usual
    })
}

/// `1280x720x81@50`: frames and steps where they are not the usual ones.
fn name(request: &Request, usual: &Request) -> String {
    let mut name = request.resolution.to_string();
    if request.frames != usual.frames {
        name.push_str(&format!("x{}", request.frames));
    }
    if request.steps != usual.steps {
        name.push_str(&format!("@{}", request.steps));
    }
    name
}

/// The recorded requests of a file.
fn record(arrivals: &str) -> Result<Recorded> {
    let file = bounded::open(Path::new(arrivals), TABLE)
        .with_context(|| format!("--arrivals: {arrivals} cannot be read"))?;
    Ok(recorded::read(file, arrivals)?)
}

/// A known pattern is never a file: `serve` rests on it.
fn is_file(arrivals: &str) -> bool {
    !is_pattern(arrivals)
        && (arrivals.to_lowercase().ends_with(".csv")
            || arrivals.contains('/')
            || Path::new(arrivals).exists())
}

/// The shapes, with their weights.
fn wanted(typed: &CapacityArguments, record: Option<&Recorded>) -> Result<Vec<(Wanted, f64)>> {
    let Some(record) = record else {
        let Some(mix) = &typed.mix else {
            let size = asked_default(typed)?.resolution.to_string();
            let usual = Wanted {
                size,
                frames: None,
                steps: None,
            };
            return Ok(vec![(usual, 1.0)]);
        };
        let shapes: Vec<_> = mix.split(',').map(weighted).collect::<Result<_>>()?;
        ensure!(
            shapes.len() <= 16,
            "--mix has {} shapes: give at most 16",
            shapes.len()
        );
        return Ok(shapes);
    };
    ensure!(
        typed.mix.is_none(),
        "--mix and --arrivals {}: the file says what was asked for, leave --mix out",
        typed.arrivals
    );
    Ok(record.shapes.clone())
}

/// Reads `1280x720x81@50:0.3`.
fn weighted(text: &str) -> Result<(Wanted, f64)> {
    let (name, weight) = match text.rsplit_once(':') {
        Some((name, weight)) => {
            let number = weight.trim().parse::<f64>().ok();
            let number = number.filter(|weight| *weight > 0.0 && weight.is_finite());
            (name, number.with_context(|| {
                format!("--mix: \"{}\" is not a weight: give a positive number, for instance 1024x1024:0.7", weight.trim())
            })?)
        }
        None => (text, 1.0),
    };
    Ok((shape(name).context("--mix")?, weight))
}

/// Reads `1280x720x81@50`.
fn shape(text: &str) -> Result<Wanted> {
    let wrong = || {
        format!(
            "\"{}\" is not a shape: write width x height, then x frames and @steps if need be, for instance 1280x720x81@50",
            text.trim()
        )
    };
    let (size, steps) = match text.trim().split_once('@') {
        Some((size, steps)) => (size, Some(steps.trim().parse().ok().with_context(wrong)?)),
        None => (text.trim(), None),
    };
    let sides: Vec<&str> = size.split(['x', 'X']).map(str::trim).collect();
    let (size, frames) = match sides.as_slice() {
        [width, height] => (format!("{width}x{height}"), None),
        [width, height, frames] => {
            let frames = frames.parse().ok().with_context(wrong)?;
            (format!("{width}x{height}"), Some(frames))
        }
        _ => bail!(wrong()),
    };
    Ok(Wanted {
        size,
        frames,
        steps,
    })
}

/// The objective, with its shapes under their names.
fn objective(typed: &CapacityArguments, shapes: &[Shape], usual: &Request) -> Result<Slo> {
    let mut slo: Slo = typed.slo.parse().context("--slo")?;
    for criterion in &mut slo.criteria {
        let Some(text) = &criterion.shape else {
            continue;
        };
        let meant = shape(text).context("--slo")?;
        let request = Request {
            resolution: meant.size.parse().context("--slo")?,
            frames: meant.frames.unwrap_or(usual.frames),
            steps: meant.steps.unwrap_or(usual.steps),
            ..*usual
        };
        let meant = name(&request, usual);
        let known: Vec<&str> = shapes.iter().map(|shape| shape.name.as_str()).collect();
        ensure!(
            known.contains(&meant.as_str()),
            "--slo is about {meant}, which nobody asks for: the mix has {}",
            known.join(", ")
        );
        criterion.shape = Some(meant);
    }
    Ok(slo)
}

/// The planner's questions: every shape on every machine.
fn markets(typed: &CapacityArguments, wanted: &[(Wanted, f64)]) -> Result<Vec<Market>> {
    let prices = prices(&typed.price)?;
    let mut markets = Vec::new();
    for machine in &typed.machine {
        let one = |(wanted, _): &(Wanted, f64)| one_question(typed, machine, wanted);
        let questions: Vec<search::Question> = wanted.iter().map(one).collect::<Result<_>>()?;
        let gpu = &questions[0].machine.gpus[0];
        let own = prices.iter().find(|(name, _)| *name == gpu.name);
        markets.push(Market {
            price: own.map(|(_, price)| *price).or(gpu.price_per_hour),
            price_source: match own {
                Some(_) => "--price".to_owned(),
                None => gpu.price_source.clone(),
            },
            questions,
        });
    }
    let has = |name: &str| {
        let mut machines = markets.iter().map(Market::machine);
        machines.any(|machine| machine.gpus.iter().any(|gpu| gpu.name == name))
    };
    if let Some((name, _)) = prices.iter().find(|(name, _)| !has(name)) {
        bail!(
            "--price is for {name}, which no --machine has: name one that has it, or leave the price out"
        );
    }
    Ok(markets)
}

fn one_question(
    typed: &CapacityArguments,
    machine: &str,
    wanted: &Wanted,
) -> Result<search::Question> {
    let question = QuestionArguments {
        fault: None,
        model: typed.model.clone(),
        machine: machine.to_owned(),
        gpus: None,
        size: Some(wanted.size.clone()),
        frames: wanted.frames,
        steps: wanted.steps.or(typed.steps),
        text_tokens: None,
        network: None,
        trace: None,
        batch: 1,
        guidance: typed.guidance,
        engine: Some(typed.engine.clone()),
        attention_kernel: typed.attention_kernel.clone(),
        precision: typed.precision.clone(),
        compile: typed.compile,
        profile: typed.profile.clone(),
    };
    if let Some(fid) = typed.max_fid {
        ensure!(
            fid.is_finite() && fid >= 0.0,
            "--max-fid is {fid}: a FID is not negative, 0 allows exact plans only"
        );
    }
    let filter = Filter {
        exact_only: typed.exact,
        max_fid: typed.max_fid,
        ..Filter::default()
    };
    Ok(search::Question {
        fastest: typed.fastest,
        ..question::question(&question, filter)?
    })
}
