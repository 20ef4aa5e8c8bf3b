//! `timeline.json`: a timeline without loss, one span per line.
//!
//! ```text
//! {"format":"ditplan-timeline","version":1,"source":"simulated","provenance":"...",
//!  "time_unit":"ps","bytes_unit":"B","bandwidth_unit":"B/s",
//!  "messages":[[sender span, receiver span],...],
//!  "links":[{"link":0,"name":"...","samples":[[time, rate],...]},...],
//!  "spans":[
//!   {"device":0,"stream":"compute","class":"linear","step":0,"layer":0,"start_ps":0,"end_ps":9,"bytes":0},
//!   ...]}
//! ```
//!
//! Guarantees: what [`write()`] writes, [`read`] reads back equal; [`read`] refuses unknown keys,
//! another version, and everything that is not a [`Timeline`].

use std::io::{self, BufReader, Read, Write};

use serde::{Deserialize, Serialize};
use thiserror::Error;
use topologies::{Bandwidth, Bytes, DeviceId, LinkId, SimTime};

use crate::bounded::{self, TIMELINE};

use super::{LinkUse, Message, Source, Span, SpanClass, Stream, Timeline, TimelineError};

/// The word in every file.
const FORMAT: &str = "ditplan-timeline";
/// The version written, and the only one read.
const VERSION: u32 = 1;

/// Why a `timeline.json` cannot be used.
#[derive(Debug, Error)]
pub enum ReadError {
    /// Not JSON, cut short, or with wrong or missing keys.
    #[error("{file}: not a timeline: {cause}")]
    Json {
        /// The file, as the caller names it.
        file: String,
        /// What is wrong, with line and column.
        cause: serde_json::Error,
    },
    /// A format or version that this program does not know.
    #[error(
        "{file}: has format \"{format}\" version {version}; this program reads {FORMAT} version {VERSION}"
    )]
    Version {
        /// The file, as the caller names it.
        file: String,
        /// The format found.
        format: String,
        /// The version found.
        version: u32,
    },
    /// The spans are not a timeline.
    #[error("{file}: {cause}")]
    Invalid {
        /// The file, as the caller names it.
        file: String,
        /// Which rule is broken, and where.
        cause: TimelineError,
    },
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SpanRow {
    device: u32,
    stream: Stream,
    class: SpanClass,
    step: u32,
    layer: u32,
    start_ps: u64,
    end_ps: u64,
    bytes: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct LinkRow {
    link: u32,
    name: String,
    samples: Vec<(u64, u64)>,
}

/// Units as words, so that a file explains itself; another unit is refused.
#[derive(Serialize, Deserialize)]
enum TimeUnit {
    #[serde(rename = "ps")]
    Picoseconds,
}

#[derive(Serialize, Deserialize)]
enum BytesUnit {
    #[serde(rename = "B")]
    Bytes,
}

#[derive(Serialize, Deserialize)]
enum BandwidthUnit {
    #[serde(rename = "B/s")]
    BytesPerSecond,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileRows {
    format: String,
    version: u32,
    source: Source,
    provenance: String,
    #[serde(rename = "time_unit")]
    _time: TimeUnit,
    #[serde(rename = "bytes_unit")]
    _bytes: BytesUnit,
    #[serde(rename = "bandwidth_unit")]
    _bandwidth: BandwidthUnit,
    messages: Vec<(usize, usize)>,
    links: Vec<LinkRow>,
    spans: Vec<SpanRow>,
}

fn index(index: usize) -> u32 {
    u32::try_from(index).expect("identifiers fit in 32 bits")
}

impl From<&Span> for SpanRow {
    fn from(span: &Span) -> Self {
        Self {
            device: index(span.device.index()),
            stream: span.stream,
            class: span.class,
            step: span.step,
            layer: span.layer,
            start_ps: span.start.as_ps(),
            end_ps: span.end.as_ps(),
            bytes: span.bytes.get(),
        }
    }
}

impl From<SpanRow> for Span {
    fn from(row: SpanRow) -> Self {
        Self {
            device: DeviceId::new(row.device as usize),
            stream: row.stream,
            class: row.class,
            step: row.step,
            layer: row.layer,
            start: SimTime::from_ps(row.start_ps),
            end: SimTime::from_ps(row.end_ps),
            bytes: Bytes::new(row.bytes),
        }
    }
}

impl From<&LinkUse> for LinkRow {
    fn from(link: &LinkUse) -> Self {
        let samples = link.samples.iter();
        Self {
            link: index(link.link.index()),
            name: link.name.clone(),
            samples: samples.map(|(at, rate)| (at.as_ps(), rate.get())).collect(),
        }
    }
}

impl From<LinkRow> for LinkUse {
    fn from(row: LinkRow) -> Self {
        let samples = row.samples.into_iter();
        Self {
            link: LinkId::new(row.link as usize),
            name: row.name,
            samples: samples
                .map(|(at, rate)| (SimTime::from_ps(at), Bandwidth::new(rate)))
                .collect(),
        }
    }
}

/// Writes `timeline` as `timeline.json`, span by span; nothing of its size is held in memory.
///
/// # Errors
/// Those of `out`.
pub fn write(timeline: &Timeline, mut out: impl Write) -> io::Result<()> {
    let provenance = serde_json::to_string(timeline.provenance())?;
    let source = timeline.source();
    write!(
        out,
        "{{\"format\":\"{FORMAT}\",\"version\":{VERSION},\"source\":\"{source}\",\
         \"provenance\":{provenance},\"time_unit\":\"ps\",\"bytes_unit\":\"B\",\
         \"bandwidth_unit\":\"B/s\",\n\"messages\":["
    )?;
    for (position, message) in timeline.messages().iter().enumerate() {
        let comma = if position == 0 { "" } else { "," };
        write!(out, "{comma}[{},{}]", message.sender, message.receiver)?;
    }
    write!(out, "],\n\"links\":[")?;
    for (position, link) in timeline.links().iter().enumerate() {
        out.write_all(if position == 0 { b"\n" } else { b",\n" })?;
        serde_json::to_writer(&mut out, &LinkRow::from(link))?;
    }
    write!(out, "],\n\"spans\":[")?;
    for (position, span) in timeline.spans().iter().enumerate() {
        out.write_all(if position == 0 { b"\n" } else { b",\n" })?;
        serde_json::to_writer(&mut out, &SpanRow::from(span))?;
    }
    out.write_all(b"]}\n")?;
    out.flush()
}

/// Reads a `timeline.json`; `file` is its name in errors.
///
/// # Errors
/// A [`ReadError`] that names `file`; nothing of a faulty file is used.
pub fn read(input: impl Read, file: &str) -> Result<Timeline, ReadError> {
    let file = || file.to_owned();
    let json = |cause| ReadError::Json {
        file: file(),
        cause,
    };
    let input =
        bounded::stream(input, TIMELINE).map_err(|error| json(serde::de::Error::custom(error)))?;
    let rows: FileRows = serde_json::from_reader(BufReader::new(input)).map_err(json)?;
    if rows.format != FORMAT || rows.version != VERSION {
        return Err(ReadError::Version {
            file: file(),
            format: rows.format,
            version: rows.version,
        });
    }
    let spans = rows.spans.into_iter().map(Span::from).collect();
    let messages = rows.messages.into_iter();
    let messages = messages
        .map(|(sender, receiver)| Message { sender, receiver })
        .collect();
    let links = rows.links.into_iter().map(LinkUse::from).collect();
    Timeline::new(rows.source, rows.provenance, spans)
        .and_then(|timeline| timeline.with_messages(messages))
        .and_then(|timeline| timeline.with_links(links))
        .map_err(|cause| ReadError::Invalid {
            file: file(),
            cause,
        })
}
