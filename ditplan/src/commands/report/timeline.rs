//! The first steps of a timeline, small enough for a page.

#[cfg(test)]
use schemars::JsonSchema;
use serde::Serialize;
use topologies::SimTime;
use traces::timeline::{Span, SpanClass, Stream, Timeline};

use crate::render::json::Word;

/// Spans of a page at most.
const MOST: usize = 24_000;

/// The first steps of a run.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub(crate) struct FirstSteps {
    /// Names of the streams.
    pub streams: Vec<&'static str>,
    /// Names of the kinds of work.
    pub classes: Vec<Word<SpanClass>>,
    /// Devices that have spans.
    pub devices: usize,
    /// [device, stream, class, step, layer, start, end, bytes] each: stream and class are indices into streams and
    /// classes, times are microseconds.
    pub spans: Vec<Row>,
    /// Which steps it shows.
    pub note: String,
}

/// A span as a list: device, stream, class, step, layer, start, end, bytes.
type Row = (usize, usize, usize, u32, u32, f64, f64, u64);

impl FirstSteps {
    /// Whole steps from the first on, as many as fit.
    pub(super) fn of(timeline: &Timeline) -> Self {
        let spans = timeline.spans();
        let last = spans.iter().map(|span| span.step).max().unwrap_or(0);
        let within = |steps: u32| spans.iter().filter(move |span| span.step < steps);
        let steps = (1..=last + 1)
            .take_while(|&steps| within(steps).count() <= MOST)
            .last()
            .unwrap_or(1)
            .min(4);
        let shown = || within(steps).take(MOST);
        let devices = shown().map(|span| span.device.index() + 1).max();
        Self {
            streams: Stream::ALL.iter().map(|stream| stream.word()).collect(),
            classes: SpanClass::ALL.iter().copied().map(Word).collect(),
            devices: devices.unwrap_or(0),
            spans: shown().map(row).collect(),
            note: format!("Steps 0 to {} of {}.", steps - 1, last + 1),
        }
    }
}

fn row(span: &Span) -> Row {
    let us = |time: SimTime| (time.as_us_f64() * 1e3).round() / 1e3;
    (
        span.device.index(),
        span.stream as usize,
        span.class as usize,
        span.step,
        span.layer,
        us(span.start),
        us(span.end),
        span.bytes.get(),
    )
}
