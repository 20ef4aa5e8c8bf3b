//! Timelines for `chrome://tracing` and <https://ui.perfetto.dev>: one process per GPU, one thread
//! per stream, a counter per link, an arrow per message.
//!
//! Format: "Trace Event Format" (Google, 2016), JSON object form. Its times are microseconds as
//! floats; they are written with three decimals, so to the nanosecond, rounded to nearest.

use std::collections::BTreeSet;
use std::io::{self, Write};

use serde_json::json;
use topologies::{DeviceId, SimTime};

use super::{LinkUse, Message, Span, Stream, Timeline};

/// The process number under which the links' counters stand: no machine has so many GPUs.
const LINKS_PROCESS: usize = 1_000_000;

/// Writes events one by one, with the commas between.
struct Events<W> {
    out: W,
    first: bool,
}

impl<W: Write> Events<W> {
    /// Writes one event.
    fn push(&mut self, event: std::fmt::Arguments<'_>) -> io::Result<()> {
        let separator = if self.first { "\n" } else { ",\n" };
        self.first = false;
        write!(self.out, "{separator}{event}")
    }

    /// Names a process, or a thread where one is given.
    fn name(&mut self, process: usize, thread: Option<usize>, name: &str) -> io::Result<()> {
        let args = json!({ "name": name });
        match thread {
            Some(tid) => self.push(format_args!(
                r#"{{"ph":"M","name":"thread_name","pid":{process},"tid":{tid},"args":{args}}}"#
            )),
            None => self.push(format_args!(
                r#"{{"ph":"M","name":"process_name","pid":{process},"args":{args}}}"#
            )),
        }
    }
}

/// Microseconds with three decimals, from the integer: exact to the nanosecond at any length.
fn us(time: SimTime) -> String {
    ns_as_us((time.as_ps() + 500) / 1000)
}

fn ns_as_us(ns: u64) -> String {
    format!("{}.{:03}", ns / 1000, ns % 1000)
}

/// The duration that makes start + duration the rounded end, so that neighbours still touch.
fn duration_us(span: &Span) -> String {
    ns_as_us((span.end.as_ps() + 500) / 1000 - (span.start.as_ps() + 500) / 1000)
}

fn write_span(events: &mut Events<impl Write>, span: &Span) -> io::Result<()> {
    let Span {
        class, step, layer, ..
    } = span;
    let (pid, tid) = (span.device.index(), span.stream as usize);
    let (ts, dur, bytes) = (us(span.start), duration_us(span), span.bytes.get());
    events.push(format_args!(
        r#"{{"ph":"X","name":"{class}","cat":"{class}","pid":{pid},"tid":{tid},"ts":{ts},"dur":{dur},"args":{{"step":{step},"layer":{layer},"bytes":{bytes}}}}}"#
    ))
}

fn write_arrow(
    events: &mut Events<impl Write>,
    id: usize,
    spans: &[Span],
    message: &Message,
) -> io::Result<()> {
    let ends = [("s", message.sender), ("f", message.receiver)];
    for (phase, span) in ends {
        let Span {
            device,
            stream,
            start,
            ..
        } = spans[span];
        let (pid, tid, ts) = (device.index(), stream as usize, us(start));
        // "bp":"e" binds the arrow to the span that encloses its end, not to the next one.
        events.push(format_args!(
            r#"{{"ph":"{phase}","bp":"e","name":"message","cat":"message","id":{id},"pid":{pid},"tid":{tid},"ts":{ts}}}"#
        ))?;
    }
    Ok(())
}

fn write_counter(events: &mut Events<impl Write>, link: &LinkUse) -> io::Result<()> {
    let name = json!(link.name);
    for (at, rate) in &link.samples {
        let (ts, rate) = (us(*at), rate.get());
        events.push(format_args!(
            r#"{{"ph":"C","name":{name},"pid":{LINKS_PROCESS},"ts":{ts},"args":{{"bytes_per_s":{rate}}}}}"#
        ))?;
    }
    Ok(())
}

/// Writes `timeline` in the Trace Event Format, event by event, to any `out`.
///
/// # Errors
/// Those of `out`.
pub fn write_chrome(timeline: &Timeline, mut out: impl Write) -> io::Result<()> {
    let metadata = json!({
        "source": timeline.source().word(),
        "provenance": timeline.provenance(),
        "time": "us, to the nanosecond",
        "bytes": "B",
        "bandwidth": "B/s",
    });
    write!(
        out,
        r#"{{"displayTimeUnit":"ns","otherData":{metadata},"traceEvents":["#
    )?;
    let mut events = Events { out, first: true };
    let spans = timeline.spans();
    let tracks: BTreeSet<(DeviceId, Stream)> = spans
        .iter()
        .map(|span| (span.device, span.stream))
        .collect();
    let devices: BTreeSet<DeviceId> = tracks.iter().map(|&(device, _)| device).collect();
    for device in devices {
        events.name(device.index(), None, &device.to_string())?;
    }
    for (device, stream) in tracks {
        events.name(device.index(), Some(stream as usize), stream.word())?;
    }
    if !timeline.links().is_empty() {
        events.name(LINKS_PROCESS, None, "links")?;
    }
    for span in spans {
        write_span(&mut events, span)?;
    }
    for (id, message) in timeline.messages().iter().enumerate() {
        write_arrow(&mut events, id, spans, message)?;
    }
    for link in timeline.links() {
        write_counter(&mut events, link)?;
    }
    let mut out = events.out;
    out.write_all(b"\n]}\n")?;
    out.flush()
}
