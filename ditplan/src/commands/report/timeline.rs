//! The first steps of a timeline, small enough for a page.

use serde_json::{Value, json};
use traces::timeline::{Span, SpanClass, Stream, Timeline};

/// Spans of a page at most.
const MOST: usize = 24_000;

/// Whole steps from the first on, as many as fit; `[device, stream, class, step, layer, start, end, bytes]` each, times
/// in microseconds.
pub(super) fn of(timeline: &Timeline) -> Value {
    let last = timeline
        .spans()
        .iter()
        .map(|span| span.step)
        .max()
        .unwrap_or(0);
    let within = |steps: u32| {
        timeline
            .spans()
            .iter()
            .filter(move |span| span.step < steps)
    };
    let steps = (1..=last + 1)
        .take_while(|&steps| within(steps).count() <= MOST)
        .last()
        .unwrap_or(1)
        .min(4);
    let row = |span: &Span| {
        let us = |time: topologies::SimTime| (time.as_us_f64() * 1e3).round() / 1e3;
        json!([
            span.device.index(),
            span.stream as usize,
            span.class as usize,
            span.step,
            span.layer,
            us(span.start),
            us(span.end),
            span.bytes.get(),
        ])
    };
    let spans: Vec<&Span> = within(steps).take(MOST).collect();
    let devices = spans.iter().map(|span| span.device.index() + 1).max();
    json!({
        "streams": Stream::ALL.iter().map(|stream| stream.word()).collect::<Vec<_>>(),
        "classes": SpanClass::ALL.iter().map(|class| class.word()).collect::<Vec<_>>(),
        "devices": devices.unwrap_or(0),
        "spans": spans.into_iter().map(row).collect::<Vec<_>>(),
        "note": format!("Steps 0 to {} of {}.", steps - 1, last + 1),
    })
}
