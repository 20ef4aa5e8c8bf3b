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
//! Guarantees: times start at 0 and keep the nanosecond; a damaged file is a [`KinetoError`] with its place. Files up
//! to [`LARGEST_TIMELINE`] bytes, gzipped or not.
//!
//! Not read: operators of the CPU, launches, layers, which span waited for which.

mod error;
mod names;

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::Value;
use topologies::{Bytes, CollectiveKind, DeviceId, SimDuration, SimTime};

use super::{Source, Span, SpanClass, Stream, Timeline};
use crate::bounded::{self, LARGEST_TIMELINE};

pub use error::KinetoError;
pub use names::classify;
use names::{element_bytes, kind};

/// The longest trace: 30 days.
const LONGEST_US: f64 = 30.0 * 86_400e6;
/// GPUs of a host, generously.
const MOST_DEVICES: u64 = 1024;

#[derive(Deserialize)]
struct File<'a> {
    #[serde(borrow, rename = "traceEvents")]
    events: Vec<Event<'a>>,
    #[serde(default, rename = "deviceProperties", alias = "computeProperties")]
    devices: Vec<Value>,
    #[serde(default, rename = "distributedInfo")]
    distributed: Value,
}

#[derive(Deserialize)]
struct Event<'a> {
    #[serde(borrow, default)]
    ph: Cow<'a, str>,
    #[serde(borrow, default)]
    cat: Cow<'a, str>,
    #[serde(borrow, default)]
    name: Cow<'a, str>,
    #[serde(default)]
    ts: Option<f64>,
    #[serde(default)]
    dur: Option<f64>,
    #[serde(default)]
    pid: Value,
    #[serde(default)]
    args: Arguments,
}

/// The arguments that are read; their types drift between versions.
#[derive(Default, Deserialize)]
struct Arguments {
    #[serde(default)]
    device: Value,
    #[serde(default, rename = "Collective name")]
    collective: Value,
    #[serde(default)]
    dtype: Value,
    #[serde(default, rename = "In msg nelems")]
    elements_in: Value,
    #[serde(default, rename = "Out msg nelems")]
    elements_out: Value,
    #[serde(default, rename = "Group size")]
    group: Value,
}

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

fn number(value: &Value) -> Option<u64> {
    value
        .as_u64()
        .or_else(|| value.as_str()?.trim().parse().ok())
}

/// Reads a trace; `file` is its name in errors and in the timeline's provenance.
///
/// # Errors
/// [`KinetoError`], one sentence.
pub fn read_kineto(bytes: &[u8], file: &str) -> Result<Kineto, KinetoError> {
    let unpacked = bounded::unpack(bytes, LARGEST_TIMELINE).map_err(|cause| KinetoError::Read {
        file: file.to_owned(),
        cause,
    })?;
    let json = |cause| KinetoError::Json {
        file: file.to_owned(),
        cause,
    };
    let trace: File<'_> = serde_json::from_slice(&unpacked).map_err(json)?;
    let steps = step_ranges(&trace.events);
    let mut reader = Reader {
        file,
        steps,
        origin: f64::INFINITY,
        assumed: Vec::new(),
    };
    let on_gpu = |event: &Event<'_>| {
        let category = event.cat.to_lowercase();
        event.ph == "X"
            && matches!(
                category.as_str(),
                "kernel" | "gpu_memcpy" | "gpu_memset" | "memcpy" | "memset"
            )
    };
    let work: Vec<(usize, &Event<'_>)> = trace
        .events
        .iter()
        .enumerate()
        .filter(|(_, event)| on_gpu(event))
        .collect();
    if work.is_empty() {
        return Err(KinetoError::NoGpu {
            file: file.to_owned(),
        });
    }
    for (index, event) in &work {
        reader.origin = reader.origin.min(reader.times(*index, event)?.0);
    }
    let (mut spans, mut collectives) = (Vec::with_capacity(work.len()), Vec::new());
    for (index, event) in &work {
        let (span, collective) = reader.span(*index, event)?;
        spans.push(span);
        collectives.extend(collective);
    }
    let unknown = spans
        .iter()
        .filter(|span| span.class == SpanClass::Other)
        .count();
    if unknown > 0 {
        reader.assumed.push(format!(
            "{unknown} kernels of unknown names are in no class"
        ));
    }
    let unsized_count = collectives
        .iter()
        .filter(|message| message.size.is_none())
        .count();
    if unsized_count > 0 {
        reader.assumed.push(format!(
            "{unsized_count} messages without a noted size count as time only"
        ));
    }
    let gpu = trace
        .devices
        .first()
        .and_then(|device| device["name"].as_str());
    let timeline = Timeline::new(Source::Measured, format!("PyTorch profiler, {file}"), spans);
    Ok(Kineto {
        timeline: timeline.expect("a duration that is not negative ends after its start"),
        collectives,
        rank: number(&trace.distributed["rank"]).and_then(|rank| u32::try_from(rank).ok()),
        gpu: gpu.map(str::to_owned),
        steps: reader.steps.len(),
        assumed: reader.assumed,
    })
}

/// The ranges `ProfilerStep#N` in order of time: the GPU's own where there are some.
fn step_ranges(events: &[Event<'_>]) -> Vec<(f64, f64)> {
    let of = |category: &str| -> Vec<(f64, f64)> {
        let fits =
            |event: &&Event<'_>| event.cat == category && event.name.starts_with("ProfilerStep");
        let times = |event: &Event<'_>| Some((event.ts?, event.ts? + event.dur?));
        events.iter().filter(fits).filter_map(times).collect()
    };
    let mut ranges = of("gpu_user_annotation");
    if ranges.is_empty() {
        ranges = of("user_annotation");
    }
    ranges.sort_by(|a, b| a.0.total_cmp(&b.0));
    ranges
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
    fn times(&self, index: usize, event: &Event<'_>) -> Result<(f64, f64), KinetoError> {
        let (Some(start), Some(duration)) = (event.ts, event.dur) else {
            return Err(self.fault(index, "has no ts or no dur"));
        };
        if !start.is_finite() || !(0.0..=LONGEST_US).contains(&duration) {
            return Err(self.fault(
                index,
                format!("starts at {start} us and lasts {duration} us"),
            ));
        }
        Ok((start, duration))
    }

    fn span(
        &mut self,
        index: usize,
        event: &Event<'_>,
    ) -> Result<(Span, Option<Collective>), KinetoError> {
        let (start, duration) = self.times(index, event)?;
        if start - self.origin > LONGEST_US {
            return Err(self.fault(
                index,
                format!("starts {:.0} us after the first", start - self.origin),
            ));
        }
        // Nanoseconds: what the profiler has.
        let ps = |us: f64| (us * 1e3).round() as u64 * 1000;
        let from = ps(start - self.origin);
        let device = number(&event.args.device)
            .or_else(|| number(&event.pid))
            .unwrap_or(0);
        if device >= MOST_DEVICES {
            return Err(self.fault(index, format!("ran on device {device}")));
        }
        let class = classify(&event.name);
        let is_message = class == SpanClass::Communication;
        let time = SimDuration::new(ps(duration));
        let collective = is_message.then(|| message(event, time));
        let step = self
            .steps
            .iter()
            .position(|(from, until)| (*from..*until).contains(&start));
        let span = Span {
            device: DeviceId::new(device as usize),
            stream: if is_message {
                Stream::Communication
            } else {
                Stream::Compute
            },
            class,
            step: step.unwrap_or(0) as u32,
            layer: 0,
            start: SimTime::from_ps(from),
            end: SimTime::from_ps(from + time.get()),
            bytes: collective
                .as_ref()
                .and_then(|message| message.size)
                .unwrap_or_default(),
        };
        Ok((span, collective))
    }
}

/// What a kernel of NCCL carries.
fn message(event: &Event<'_>, time: SimDuration) -> Collective {
    let args = &event.args;
    let noted = args.collective.as_str().filter(|name| !name.is_empty());
    let kernel = event.name.split('(').next().unwrap_or_default();
    let name = noted.unwrap_or(kernel);
    // NCCL's kernel of all-to-all is that of send and receive: without a note it may be either.
    let kind = kind(name).filter(|kind| noted.is_some() || *kind != CollectiveKind::RingPass);
    let elements = match kind {
        Some(CollectiveKind::AllGather) => number(&args.elements_out),
        _ => number(&args.elements_in)
            .filter(|count| *count > 0)
            .or_else(|| number(&args.elements_out)),
    };
    let each = args.dtype.as_str().and_then(element_bytes);
    let size = elements
        .zip(each)
        .and_then(|(count, each)| count.checked_mul(each));
    let group = number(&args.group).and_then(|group| u32::try_from(group).ok());
    Collective {
        name: name.chars().take(80).collect(),
        kind,
        group: group.filter(|group| *group > 0),
        size: size.filter(|size| *size < 1 << 50).map(Bytes::new),
        time,
    }
}

#[cfg(test)]
mod tests;
