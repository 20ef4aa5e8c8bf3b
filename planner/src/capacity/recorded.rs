//! Recorded requests: CSV with the columns `time` (seconds), `size` and, if need be, `frames` and `steps`.
//!
//! Guarantees: at most [`MOST`] requests of [`MOST_SHAPES`] shapes within [`LONGEST_S`] seconds, in order of time;
//! anything else is a [`RecordError`] with its line.

use std::io::Read;

use sim::serving::{Arrival, Pattern, Rate, Source, SourceError};
use thiserror::Error;
use topologies::{SimDuration, SimTime};

/// The most requests that are read.
pub const MOST: usize = 2_000_000;
/// The most different shapes.
pub const MOST_SHAPES: usize = 16;
/// The longest record, in seconds: 100 days.
pub const LONGEST_S: f64 = 100.0 * 86_400.0;

/// Why a file is no record of requests: where, what is wrong, what to do.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{place}: {what}")]
pub struct RecordError {
    /// The file, and the line where one is at fault.
    pub place: String,
    /// What is wrong with it, and what to do.
    pub what: String,
}

/// What a request asks for, before the model has had its say.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Wanted {
    /// Width x height.
    pub size: String,
    /// Frames; the model's where there is none.
    pub frames: Option<u32>,
    /// Steps; those of the question or the model's where there is none.
    pub steps: Option<u32>,
}

/// The requests of a file.
#[derive(Clone, Debug)]
pub struct Recorded {
    /// Shapes in the order of their first request, with how often they were asked for.
    pub shapes: Vec<(Wanted, f64)>,
    arrivals: Vec<Arrival>,
    rate: Rate,
}

impl Recorded {
    /// The requests as a source: at another rate, all of them closer together or further apart.
    ///
    /// # Errors
    /// [`SourceError`] for weights that are none of these shapes'.
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

/// The error of a line of a file; of the whole file where there is none.
fn wrong(file: &str, line: Option<u64>, what: impl Into<String>) -> RecordError {
    let place = match line {
        Some(line) => format!("{file}, line {line}"),
        None => file.to_owned(),
    };
    RecordError {
        place,
        what: what.into(),
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
    fn of(header: &csv::StringRecord, file: &str) -> Result<Self, RecordError> {
        const KNOWN: [&str; 4] = ["time", "size", "frames", "steps"];
        if let Some(other) = header.iter().find(|name| !KNOWN.contains(name)) {
            let what = format!(
                "column \"{other}\" is not known: name the columns time, size and, if need be, frames and steps"
            );
            return Err(wrong(file, Some(1), what));
        }
        let at = |name| header.iter().position(|known| known == name);
        let must = |name| {
            at(name).ok_or_else(|| {
                let what = format!("column {name} is missing: write the header time,size");
                wrong(file, Some(1), what)
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

/// Reads the requests of a file; `file` is its name in errors.
///
/// ```
/// let text = "time,size\n0.5,1024x1024\n2.5,1024x1024\n";
/// let found = planner::capacity::recorded::read(text.as_bytes(), "requests.csv")?;
/// assert_eq!(found.shapes[0].1, 2.0);
/// # Ok::<(), planner::capacity::recorded::RecordError>(())
/// ```
///
/// # Errors
/// [`RecordError`], one sentence.
pub fn read(input: impl Read, file: &str) -> Result<Recorded, RecordError> {
    let mut reader = csv::ReaderBuilder::new()
        .trim(csv::Trim::All)
        .from_reader(input);
    let no_csv = |error: csv::Error| wrong(file, None, format!("it is not CSV: {error}"));
    let header = reader.headers().map_err(no_csv)?.clone();
    let columns = Columns::of(&header, file)?;
    let mut shapes: Vec<(Wanted, f64)> = Vec::new();
    let mut times: Vec<(f64, usize)> = Vec::new();
    for row in reader.records() {
        let row = row.map_err(no_csv)?;
        let line = row.position().map_or(0, csv::Position::line);
        let fault = |what: String| wrong(file, Some(line), what);
        let (time, wanted) = request(&row, &columns).map_err(fault)?;
        if let Some((before, _)) = times.last().filter(|(before, _)| *before > time) {
            let what = "of the line above: sort the file by time";
            return Err(fault(format!("time {time} is before {before} {what}")));
        }
        let place = shapes.iter().position(|(known, _)| *known == wanted);
        let place = place.unwrap_or_else(|| {
            shapes.push((wanted, 0.0));
            shapes.len() - 1
        });
        if shapes.len() > MOST_SHAPES {
            let what = "different shapes: merge those that are nearly alike";
            return Err(fault(format!("more than {MOST_SHAPES} {what}")));
        }
        if times.len() >= MOST {
            return Err(fault(format!("more than {MOST} requests: cut the file")));
        }
        shapes[place].1 += 1.0;
        times.push((time, place));
    }
    collected(shapes, &times).map_err(|what| wrong(file, None, what))
}

/// The requests, from the first on.
fn collected(shapes: Vec<(Wanted, f64)>, times: &[(f64, usize)]) -> Result<Recorded, String> {
    let (Some((first, _)), Some((last, _))) = (times.first(), times.last()) else {
        let example = "give a line for each, for instance 0.5,1024x1024";
        return Err(format!("it has no requests: {example}"));
    };
    let span = last - first;
    // A moment is a nanosecond: rates above it are no rates of requests.
    if !(1e-9..=LONGEST_S).contains(&span) {
        let what = "give a record longer than a moment and shorter than 100 days";
        return Err(format!("its requests come within {span} s: {what}"));
    }
    let rate = Rate::per_second((times.len() - 1) as f64 / span);
    let arrival = |(time, shape): &(f64, usize)| Arrival {
        at: SimTime::ZERO + SimDuration::from_secs_f64(time - first),
        shape: *shape,
    };
    Ok(Recorded {
        arrivals: times.iter().map(arrival).collect(),
        shapes,
        rate: rate.map_err(|error| error.to_string())?,
    })
}

fn request(row: &csv::StringRecord, columns: &Columns) -> Result<(f64, Wanted), String> {
    let text = |column: usize| row.get(column).unwrap_or_default();
    let time = text(columns.time);
    let seconds = time
        .parse::<f64>()
        .ok()
        .filter(|seconds| seconds.is_finite() && *seconds >= 0.0);
    let seconds =
        seconds.ok_or_else(|| format!("time is \"{time}\": give seconds, for instance 12.5"))?;
    let count = |column: Option<usize>, key: &str| match column.map(text) {
        None | Some("") => Ok(None),
        Some(digits) => digits
            .parse::<u32>()
            .map(Some)
            .map_err(|_| format!("{key} is \"{digits}\": give a whole number")),
    };
    let wanted = Wanted {
        size: text(columns.size).to_owned(),
        frames: count(columns.frames, "frames")?,
        steps: count(columns.steps, "steps")?,
    };
    let size = wanted.size.parse::<sim::model::Resolution>();
    size.map_err(|error| format!("size: {error}"))?;
    Ok((seconds, wanted))
}
