//! The profiler's JSON, read event by event: of a gigabyte, only what ran on the GPU is kept.

use std::fmt;

use serde::de::{Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::super::SpanClass;
use super::classify;
use super::names::{element_bytes, kind};
use topologies::CollectiveKind;

/// Most kernels and copies that are kept.
const MOST_WORK: usize = 2_000_000;
/// Most ranges of steps.
const MOST_STEPS: usize = 100_000;

/// What is kept of a trace.
#[derive(Deserialize)]
pub(super) struct File {
    #[serde(rename = "traceEvents")]
    pub(super) events: Events,
    #[serde(default, rename = "deviceProperties", alias = "computeProperties")]
    pub(super) devices: Devices,
    #[serde(default, rename = "distributedInfo")]
    pub(super) distributed: Option<Distributed>,
}

/// Who wrote the trace.
#[derive(Default, Deserialize)]
pub(super) struct Distributed {
    #[serde(default)]
    pub(super) rank: Scalar,
}

#[derive(Deserialize)]
struct Event {
    #[serde(default)]
    ph: String,
    #[serde(default)]
    cat: String,
    #[serde(default)]
    name: String,
    #[serde(default)]
    ts: Option<f64>,
    #[serde(default)]
    dur: Option<f64>,
    #[serde(default)]
    pid: Scalar,
    #[serde(default)]
    args: Arguments,
}

/// The arguments that are read; their types drift between versions.
#[derive(Default, Deserialize)]
struct Arguments {
    #[serde(default)]
    device: Scalar,
    #[serde(default, rename = "Collective name")]
    collective: Scalar,
    #[serde(default)]
    dtype: Scalar,
    #[serde(default, rename = "In msg nelems")]
    elements_in: Scalar,
    #[serde(default, rename = "Out msg nelems")]
    elements_out: Scalar,
    #[serde(default, rename = "Group size")]
    group: Scalar,
}

/// Something that ran on the GPU.
pub(super) struct Work {
    /// Position among the events, from 0.
    pub(super) event: usize,
    /// Start, us.
    pub(super) ts: Option<f64>,
    /// Duration, us.
    pub(super) dur: Option<f64>,
    pub(super) device: u64,
    pub(super) class: SpanClass,
    pub(super) message: Option<Message>,
}

/// What a kernel of NCCL carries.
pub(super) struct Message {
    pub(super) name: String,
    pub(super) kind: Option<CollectiveKind>,
    pub(super) group: Option<u32>,
    /// Bytes of nccl-tests' size.
    pub(super) size: Option<u64>,
}

/// The events that are kept, in order of the file.
#[derive(Default)]
pub(super) struct Events {
    pub(super) work: Vec<Work>,
    on_gpu: Vec<(f64, f64)>,
    on_cpu: Vec<(f64, f64)>,
}

impl Events {
    fn add(&mut self, index: usize, event: Event) -> Result<(), String> {
        let category = event.cat.to_lowercase();
        let ran = matches!(
            category.as_str(),
            "kernel" | "gpu_memcpy" | "gpu_memset" | "memcpy" | "memset"
        );
        if event.ph == "X" && ran {
            if self.work.len() == MOST_WORK {
                return Err(format!(
                    "more than {MOST_WORK} kernels: profile fewer steps"
                ));
            }
            self.work.push(Work::of(index, &event));
        }
        let ranges = match event.cat.as_str() {
            "gpu_user_annotation" => &mut self.on_gpu,
            "user_annotation" => &mut self.on_cpu,
            _ => return Ok(()),
        };
        if let (Some(start), Some(duration)) = (event.ts, event.dur)
            && event.name.starts_with("ProfilerStep")
        {
            if ranges.len() == MOST_STEPS {
                return Err(format!("more than {MOST_STEPS} steps: profile fewer"));
            }
            ranges.push((start, start + duration));
        }
        Ok(())
    }

    /// The ranges `ProfilerStep#N` in order of time: the GPU's own where there are some.
    pub(super) fn steps(&mut self) -> Vec<(f64, f64)> {
        let mut ranges = std::mem::take(match self.on_gpu.is_empty() {
            true => &mut self.on_cpu,
            false => &mut self.on_gpu,
        });
        ranges.sort_by(|a, b| a.0.total_cmp(&b.0));
        ranges
    }
}

impl Work {
    fn of(index: usize, event: &Event) -> Self {
        let class = classify(&event.name);
        let device = event.args.device.number();
        Self {
            event: index,
            ts: event.ts,
            dur: event.dur,
            device: device.or_else(|| event.pid.number()).unwrap_or(0),
            class,
            message: (class == SpanClass::Communication).then(|| Message::of(event)),
        }
    }
}

impl Message {
    fn of(event: &Event) -> Self {
        let args = &event.args;
        let noted = args.collective.text().filter(|name| !name.is_empty());
        let kernel = event.name.split('(').next().unwrap_or_default();
        let name = noted.unwrap_or(kernel);
        // NCCL's kernel of all-to-all is that of send and receive: without a note it may be either.
        let kind = kind(name).filter(|kind| noted.is_some() || *kind != CollectiveKind::RingPass);
        let sent = || args.elements_in.number().filter(|count| *count > 0);
        let elements = match kind {
            Some(CollectiveKind::AllGather) => args.elements_out.number(),
            _ => sent().or_else(|| args.elements_out.number()),
        };
        let each = args.dtype.text().and_then(element_bytes);
        let size = elements
            .zip(each)
            .and_then(|(count, each)| count.checked_mul(each));
        let group = args
            .group
            .number()
            .and_then(|group| u32::try_from(group).ok());
        Self {
            name: name.chars().take(80).collect(),
            kind,
            group: group.filter(|group| *group > 0),
            size: size.filter(|size| *size < 1 << 50),
        }
    }
}

impl<'de> Deserialize<'de> for Events {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Each;
        impl<'de> Visitor<'de> for Each {
            type Value = Events;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of events")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Events, A::Error> {
                let mut events = Events::default();
                let mut index = 0;
                while let Some(event) = list.next_element()? {
                    events.add(index, event).map_err(A::Error::custom)?;
                    index += 1;
                }
                Ok(events)
            }
        }
        from.deserialize_seq(Each)
    }
}

/// The name of the first GPU.
#[derive(Default)]
pub(super) struct Devices(pub(super) Option<String>);

impl<'de> Deserialize<'de> for Devices {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Device {
            #[serde(default)]
            name: Scalar,
        }
        struct First;
        impl<'de> Visitor<'de> for First {
            type Value = Devices;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of devices")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Devices, A::Error> {
                let first: Option<Device> = list.next_element()?;
                while list.next_element::<IgnoredAny>()?.is_some() {}
                let name = first.as_ref().and_then(|device| device.name.text());
                Ok(Devices(name.map(str::to_owned)))
            }
        }
        from.deserialize_seq(First)
    }
}

/// A count or a word; whatever else stands there is nothing, and is not kept.
#[derive(Default)]
pub(super) enum Scalar {
    #[default]
    Nothing,
    Count(u64),
    Text(String),
}

impl Scalar {
    /// The count, also where it stands in quotes.
    pub(super) fn number(&self) -> Option<u64> {
        match self {
            Self::Nothing => None,
            Self::Count(count) => Some(*count),
            Self::Text(text) => text.trim().parse().ok(),
        }
    }

    fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Nothing | Self::Count(_) => None,
        }
    }
}

impl<'de> Deserialize<'de> for Scalar {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Any;
        impl<'de> Visitor<'de> for Any {
            type Value = Scalar;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("anything")
            }

            fn visit_u64<E>(self, count: u64) -> Result<Scalar, E> {
                Ok(Scalar::Count(count))
            }

            fn visit_str<E>(self, text: &str) -> Result<Scalar, E> {
                Ok(Scalar::Text(text.to_owned()))
            }

            fn visit_i64<E>(self, _: i64) -> Result<Scalar, E> {
                Ok(Scalar::Nothing)
            }

            fn visit_f64<E>(self, _: f64) -> Result<Scalar, E> {
                Ok(Scalar::Nothing)
            }

            fn visit_bool<E>(self, _: bool) -> Result<Scalar, E> {
                Ok(Scalar::Nothing)
            }

            fn visit_unit<E>(self) -> Result<Scalar, E> {
                Ok(Scalar::Nothing)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Scalar, A::Error> {
                while list.next_element::<IgnoredAny>()?.is_some() {}
                Ok(Scalar::Nothing)
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Scalar, A::Error> {
                while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                Ok(Scalar::Nothing)
            }
        }
        from.deserialize_any(Any)
    }
}
