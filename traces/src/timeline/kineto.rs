//! Timelines of PyTorch's profiler (Kineto), Chrome JSON: what ran on the GPU of one rank.
//!
//! ```text
//! {"traceEvents": [{"ph": "X", "cat": "kernel", "name": "...", "ts": us, "dur": us,
//!                   "args": {"device": 0, "Collective name": "allreduce", "In msg nelems": ..., "dtype": ...}}, ...]}
//! ```
//! Read: complete events of kernels, copies and fills; their class by name ([`classify`]); steps by the ranges
//! `ProfilerStep#N`; what NCCL kernels carry, where the profiler noted it (PyTorch 2.2 and later, not in CUDA graphs).
//! Names as in pytorch/kineto `libkineto/src/output_json.cpp`, of versions from 2021 to 2025.
//!
//! Guarantees: times start at 0 and keep the nanosecond; a damaged file is a [`KinetoError`] with its place; of a file,
//! gzipped or not, within the limits of [`PROFILE`], only what ran on the GPU is held.
//!
//! Not read: operators of the CPU, launches, layers, which span waited for which.

mod error;
mod file;
mod names;

use std::io::{BufReader, Read};

use topologies::{Bytes, CollectiveKind, DeviceId, SimDuration, SimTime};

use super::{Source, Span, SpanClass, Stream, Timeline};
use crate::bounded::{self, PROFILE};

pub use error::KinetoError;
use file::{File, Work};
pub use names::classify;

/// The longest trace: 30 days.
const LONGEST_US: f64 = 30.0 * 86_400e6;
/// GPUs of a host, generously.
const MOST_DEVICES: u64 = 1024;

/// A message of a rank.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Collective {
    /// As the trace says it, for instance `_allgather_base`.
    pub name: String,
    /// What it is, where it is one of ours; send and receive are a ring pass.
    pub kind: Option<CollectiveKind>,
    /// Ranks that take part, where noted.
    pub group: Option<u32>,
    /// nccl-tests' size, where elements and type are noted.
    pub size: Option<Bytes>,
    /// How long its kernel ran; waiting for other ranks counts.
    pub time: SimDuration,
}

/// What a trace holds.
#[derive(Clone, Debug, PartialEq)]
pub struct Kineto {
    /// What ran on the GPU.
    pub timeline: Timeline,
    /// Messages, in order of the file.
    pub collectives: Vec<Collective>,
    /// The rank that was profiled, where noted.
    pub rank: Option<u32>,
    /// The GPU, where noted.
    pub gpu: Option<String>,
    /// Ranges `ProfilerStep#N`.
    pub steps: usize,
    /// What was assumed.
    pub assumed: Vec<String>,
}

/// Reads a trace, gzipped or not; `file` is its name in errors and in the timeline's provenance.
///
/// # Errors
/// [`KinetoError`], one sentence.
pub fn read_kineto(input: impl Read, file: &str) -> Result<Kineto, KinetoError> {
    let unread = |cause| KinetoError::Read {
        file: file.to_owned(),
        cause,
    };
    let input = bounded::stream(input, PROFILE).map_err(unread)?;
    let trace: Result<File, _> = serde_json::from_reader(BufReader::new(input));
    let mut trace = trace.map_err(|cause| match cause.is_io() {
        true => unread(cause.into()),
        false => KinetoError::Json {
            file: file.to_owned(),
            cause,
        },
    })?;
    let mut reader = Reader {
        file,
        steps: trace.events.steps(),
        origin: f64::INFINITY,
        assumed: Vec::new(),
    };
    let work = trace.events.work;
    if work.is_empty() {
        return Err(KinetoError::NoGpu {
            file: file.to_owned(),
        });
    }
    for one in &work {
        reader.origin = reader.origin.min(reader.times(one)?.0);
    }
    let (mut spans, mut collectives) = (Vec::with_capacity(work.len()), Vec::new());
    for one in work {
        let (span, collective) = reader.span(one)?;
        spans.push(span);
        collectives.extend(collective);
    }
    reader.assume(&spans, &collectives);
    let timeline = Timeline::new(Source::Measured, format!("PyTorch profiler, {file}"), spans);
    let rank = trace.distributed.and_then(|about| about.rank.number());
    Ok(Kineto {
        timeline: timeline.expect("a duration that is not negative ends after its start"),
        collectives,
        rank: rank.and_then(|rank| u32::try_from(rank).ok()),
        gpu: trace.devices.0,
        steps: reader.steps.len(),
        assumed: reader.assumed,
    })
}

struct Reader<'a> {
    file: &'a str,
    steps: Vec<(f64, f64)>,
    origin: f64,
    assumed: Vec<String>,
}

impl Reader<'_> {
    fn fault(&self, event: usize, fault: impl Into<String>) -> KinetoError {
        let remedy = "export the trace again";
        KinetoError::Event {
            file: self.file.to_owned(),
            event,
            fault: fault.into(),
            remedy,
        }
    }

    /// Start and duration, us.
    fn times(&self, work: &Work) -> Result<(f64, f64), KinetoError> {
        let (Some(start), Some(duration)) = (work.ts, work.dur) else {
            return Err(self.fault(work.event, "has no ts or no dur"));
        };
        if !start.is_finite() || !(0.0..=LONGEST_US).contains(&duration) {
            let fault = format!("starts at {start} us and lasts {duration} us");
            return Err(self.fault(work.event, fault));
        }
        Ok((start, duration))
    }

    /// The step whose range holds a moment, us.
    fn step(&self, moment: f64) -> Option<usize> {
        let begun = self.steps.partition_point(|(from, _)| *from <= moment);
        let last = begun.checked_sub(1)?;
        (moment < self.steps[last].1).then_some(last)
    }

    fn span(&self, work: Work) -> Result<(Span, Option<Collective>), KinetoError> {
        let (start, duration) = self.times(&work)?;
        if start - self.origin > LONGEST_US {
            let fault = format!("starts {:.0} us after the first", start - self.origin);
            return Err(self.fault(work.event, fault));
        }
        if work.device >= MOST_DEVICES {
            return Err(self.fault(work.event, format!("ran on device {}", work.device)));
        }
        // Nanoseconds: what the profiler has.
        let ps = |us: f64| (us * 1e3).round() as u64 * 1000;
        let from = ps(start - self.origin);
        let time = SimDuration::new(ps(duration));
        let collective = work.message.map(|message| Collective {
            name: message.name,
            kind: message.kind,
            group: message.group,
            size: message.size.map(Bytes::new),
            time,
        });
        let size = collective.as_ref().and_then(|message| message.size);
        let span = Span {
            device: DeviceId::new(work.device as usize),
            stream: match work.class {
                SpanClass::Communication => Stream::Communication,
                _ => Stream::Compute,
            },
            class: work.class,
            step: self.step(start).unwrap_or(0) as u32,
            layer: 0,
            start: SimTime::from_ps(from),
            end: SimTime::from_ps(from + time.get()),
            bytes: size.unwrap_or_default(),
        };
        Ok((span, collective))
    }

    /// Notes what the trace does not say.
    fn assume(&mut self, spans: &[Span], collectives: &[Collective]) {
        let unknown = spans.iter().filter(|span| span.class == SpanClass::Other);
        let unknown = unknown.count();
        if unknown > 0 {
            let what = format!("{unknown} kernels of unknown names are in no class");
            self.assumed.push(what);
        }
        let sizeless = collectives.iter().filter(|message| message.size.is_none());
        let sizeless = sizeless.count();
        if sizeless > 0 {
            let what = format!("{sizeless} messages without a noted size count as time only");
            self.assumed.push(what);
        }
    }
}

#[cfg(test)]
mod tests;
