//! Recorded requests: CSV with the columns `time` (seconds), `size` and, if need be, `frames` and `steps`.

use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use sim::serving::{Arrival, Pattern, Rate, Source, SourceError};
use topologies::{SimDuration, SimTime};

use super::asked::Wanted;

/// The most requests that are read.
const MOST: usize = 2_000_000;
/// The most different shapes.
const MOST_SHAPES: usize = 16;
/// The longest record, in seconds: 100 days.
const LONGEST_S: f64 = 100.0 * 86_400.0;

/// The requests of a file.
#[derive(Debug)]
pub(super) struct Recorded {
    /// Shapes in the order of their first request, with how often they were asked for.
    pub shapes: Vec<(Wanted, f64)>,
    arrivals: Vec<Arrival>,
    rate: Rate,
}

impl Recorded {
    /// The requests as a source: at another rate, all of them closer together or further apart.
    pub fn source(
        self,
        weights: Vec<f64>,
        rate: Option<Rate>,
        seed: u64,
    ) -> Result<Source, SourceError> {
        let count = self.arrivals.len();
        let recorded = Pattern::Recorded(self.arrivals);
        let source = Source::new(recorded, weights.clone(), count, self.rate, seed)?;
        let Some(rate) = rate else {
            return Ok(source);
        };
        let moved = Pattern::Recorded(source.stream(rate, 0).arrivals);
        Source::new(moved, weights, count, rate, seed)
    }
}

/// Where a column stands.
struct Columns {
    time: usize,
    size: usize,
    frames: Option<usize>,
    steps: Option<usize>,
}

impl Columns {
    fn of(header: &csv::StringRecord, file: &str) -> Result<Self> {
        const KNOWN: [&str; 4] = ["time", "size", "frames", "steps"];
        if let Some(other) = header.iter().find(|name| !KNOWN.contains(name)) {
            bail!(
                "{file}, line 1: column \"{other}\" is not known: name the columns time, size and, if need be, frames and steps"
            );
        }
        let at = |name| header.iter().position(|known| known == name);
        let must = |name| {
            at(name).with_context(|| {
                format!("{file}, line 1: column {name} is missing: write the header time,size")
            })
        };
        Ok(Self {
            time: must("time")?,
            size: must("size")?,
            frames: at("frames"),
            steps: at("steps"),
        })
    }
}

/// Reads the requests of a file.
pub(super) fn read(path: &Path) -> Result<Recorded> {
    let file = path.display().to_string();
    let reader = csv::ReaderBuilder::new()
        .trim(csv::Trim::All)
        .from_path(path);
    let mut reader = reader.with_context(|| format!("--arrivals: {file} cannot be read"))?;
    let header = reader
        .headers()
        .with_context(|| format!("{file} is not CSV"))?
        .clone();
    let columns = Columns::of(&header, &file)?;
    let mut shapes: Vec<(Wanted, f64)> = Vec::new();
    let mut times: Vec<(f64, usize)> = Vec::new();
    for row in reader.records() {
        let row = row.with_context(|| format!("{file} is not CSV"))?;
        let line = row.position().map_or(0, csv::Position::line);
        let (time, wanted) = request(&row, &columns, &file, line)?;
        if let Some((before, _)) = times.last().filter(|(before, _)| *before > time) {
            bail!(
                "{file}, line {line}: time {time} is before {before} of the line above: sort the file by time"
            );
        }
        let place = shapes.iter().position(|(known, _)| *known == wanted);
        let place = place.unwrap_or_else(|| {
            shapes.push((wanted, 0.0));
            shapes.len() - 1
        });
        ensure!(
            shapes.len() <= MOST_SHAPES,
            "{file}, line {line}: more than {MOST_SHAPES} different shapes: merge those that are nearly alike"
        );
        ensure!(
            times.len() < MOST,
            "{file} has more than {MOST} requests: cut it"
        );
        shapes[place].1 += 1.0;
        times.push((time, place));
    }
    let (Some((first, _)), Some((last, _))) = (times.first(), times.last()) else {
        bail!("{file} has no requests: give a line for each, for instance 0.5,1024x1024");
    };
    let span = last - first;
    ensure!(
        span > 0.0 && span <= LONGEST_S,
        "{file}: its requests come within {span} s: give a record longer than a moment and shorter than 100 days"
    );
    let rate = Rate::per_second((times.len() - 1) as f64 / span)?;
    let arrival = |(time, shape): &(f64, usize)| Arrival {
        at: SimTime::ZERO + SimDuration::from_secs_f64(time - first),
        shape: *shape,
    };
    Ok(Recorded {
        arrivals: times.iter().map(arrival).collect(),
        shapes,
        rate,
    })
}

fn request(
    row: &csv::StringRecord,
    columns: &Columns,
    file: &str,
    line: u64,
) -> Result<(f64, Wanted)> {
    let text = |column: usize| row.get(column).unwrap_or_default();
    let time = text(columns.time);
    let seconds = time
        .parse::<f64>()
        .ok()
        .filter(|seconds| seconds.is_finite() && *seconds >= 0.0);
    let seconds = seconds.with_context(|| {
        format!("{file}, line {line}: time is \"{time}\": give seconds, for instance 12.5")
    })?;
    let count = |column: Option<usize>, key: &str| match column.map(text) {
        None | Some("") => Ok(None),
        Some(digits) => digits.parse::<u32>().map(Some).ok().with_context(|| {
            format!("{file}, line {line}: {key} is \"{digits}\": give a whole number")
        }),
    };
    let wanted = Wanted {
        size: text(columns.size).to_owned(),
        frames: count(columns.frames, "frames")?,
        steps: count(columns.steps, "steps")?,
    };
    let size = wanted.size.parse::<sim::model::Resolution>();
    size.with_context(|| format!("{file}, line {line}: size"))?;
    Ok((seconds, wanted))
}
