//! One valid timeline; each negative test changes one thing in it.

use super::*;

fn span(device: usize, stream: Stream, class: SpanClass, start: u64, end: u64) -> Span {
    Span {
        device: DeviceId::new(device),
        stream,
        class,
        step: 1,
        layer: 2,
        start: SimTime::from_ps(start),
        end: SimTime::from_ps(end),
        bytes: Bytes::new(if class == SpanClass::Communication {
            4096
        } else {
            0
        }),
    }
}

fn spans() -> Vec<Span> {
    vec![
        span(0, Stream::Compute, SpanClass::Linear, 0, 1_234_567),
        span(
            0,
            Stream::Communication,
            SpanClass::Communication,
            1_234_567,
            2_000_000,
        ),
        span(
            1,
            Stream::Compute,
            SpanClass::Attention,
            2_000_000,
            3_000_001,
        ),
    ]
}

fn samples(times: [u64; 2]) -> Vec<LinkUse> {
    let sample = |at| (SimTime::from_ps(at), Bandwidth::new(1_000 + at));
    vec![LinkUse {
        link: LinkId::new(3),
        name: "gpu0 \"up\"".to_owned(),
        samples: times.map(sample).to_vec(),
    }]
}

fn timeline() -> Timeline {
    let message = Message {
        sender: 1,
        receiver: 2,
    };
    Timeline::new(Source::Simulated, "a \"test\"".to_owned(), spans())
        .and_then(|timeline| timeline.with_messages(vec![message]))
        .and_then(|timeline| timeline.with_links(samples([1_234_567, 2_000_000])))
        .expect("the fixture is valid")
}

fn written() -> String {
    let mut out = Vec::new();
    write(&timeline(), &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

#[test]
fn a_file_reads_back_equal() {
    assert_eq!(read(written().as_bytes(), "t.json").unwrap(), timeline());
}

#[test]
fn an_empty_timeline_reads_back_equal() {
    let empty = Timeline::new(Source::Measured, String::new(), Vec::new()).unwrap();
    let mut out = Vec::new();
    write(&empty, &mut out).unwrap();
    assert_eq!(read(out.as_slice(), "t.json").unwrap(), empty);
    assert_eq!(empty.end(), SimTime::ZERO);
}

#[test]
fn a_file_with_one_wrong_thing_is_refused_by_name() {
    let cases = [
        ("\"version\":1", "\"version\":2", "version 2"),
        ("\"ditplan-timeline\"", "\"other\"", "format \"other\""),
        (
            "\"time_unit\":\"ps\"",
            "\"time_unit\":\"ms\"",
            "unknown variant `ms`",
        ),
        (
            "\"stream\":\"compute\"",
            "\"stream\":\"comput\"",
            "unknown variant",
        ),
        ("\"start_ps\":0,", "", "missing field `start_ps`"),
        (
            "\"layer\":2",
            "\"layer\":2,\"colour\":1",
            "unknown field `colour`",
        ),
        ("\"start_ps\":0", "\"start_ps\":9999999", "before its start"),
        ("[[1,2]]", "[[1,3]]", "names span 3"),
        ("[[1,2]]", "[[2,1]]", "starts before the sender's"),
        ("[1234567,1235567]", "[2000000,1235567]", "is not later"),
        ("]}\n", "", "EOF"),
    ];
    for (right, wrong, expected) in cases {
        let text = written();
        assert!(text.contains(right), "the fixture has {right}");
        let error = read(text.replace(right, wrong).as_bytes(), "t.json").unwrap_err();
        let error = error.to_string();
        assert!(error.starts_with("t.json: "), "{error}");
        assert!(error.contains(expected), "{error} says {expected}");
    }
}

fn events() -> Vec<serde_json::Value> {
    let mut out = Vec::new();
    write_chrome(&timeline(), &mut out).unwrap();
    let file: serde_json::Value = serde_json::from_slice(&out).unwrap();
    assert_eq!(file["otherData"]["source"], "simulated");
    assert_eq!(file["otherData"]["provenance"], "a \"test\"");
    file["traceEvents"].as_array().unwrap().clone()
}

fn of_phase(phase: &str) -> Vec<serde_json::Value> {
    let events = events().into_iter();
    events.filter(|event| event["ph"] == phase).collect()
}

#[test]
fn chrome_gets_a_process_per_gpu_and_a_thread_per_stream() {
    let names: Vec<_> = of_phase("M")
        .into_iter()
        .map(|event| (event["pid"].clone(), event["args"]["name"].clone()))
        .collect();
    let expected = [
        (0, "gpu0"),
        (1, "gpu1"),
        (0, "compute"),
        (0, "communication"),
        (1, "compute"),
        (1_000_000, "links"),
    ];
    assert_eq!(names, expected.map(|(pid, name)| (pid.into(), name.into())));
}

#[test]
fn chrome_spans_have_nanoseconds_and_still_touch() {
    let spans = of_phase("X");
    // 1,234,567 ps = 1.234567 us, to the nanosecond 1.235 us.
    assert_eq!(spans[0]["dur"].as_f64(), Some(1.235));
    assert_eq!(spans[1]["ts"].as_f64(), Some(1.235));
    assert_eq!(spans[1]["dur"].as_f64(), Some(0.765));
    assert_eq!(spans[1]["args"]["bytes"], 4096);
    assert_eq!(spans[2]["name"], "attention");
}

#[test]
fn chrome_arrows_go_from_sender_to_receiver_and_counters_have_rates() {
    let (sent, received) = (of_phase("s"), of_phase("f"));
    assert_eq!(sent[0]["id"], received[0]["id"]);
    assert_eq!((&sent[0]["pid"], &sent[0]["tid"]), (&0.into(), &1.into()));
    assert_eq!(
        (&received[0]["pid"], &received[0]["tid"]),
        (&1.into(), &0.into())
    );
    assert_eq!(received[0]["ts"].as_f64(), Some(2.0));
    let counters = of_phase("C");
    assert_eq!(counters[0]["name"], "gpu0 \"up\"");
    assert_eq!(counters[0]["args"]["bytes_per_s"], 1_235_567);
}

/// What `ditplan_capture.timeline` writes; its own tests compare with the same file.
#[test]
fn a_captured_timeline_reads_back_equal() {
    let file = include_str!("../../capture/tests/data/timeline.json");
    let timeline = read(file.as_bytes(), "timeline.json").unwrap();
    assert_eq!(timeline.source(), Source::Measured);
    assert_eq!(timeline.spans().len(), 8);
    let message = timeline.spans()[5];
    assert_eq!(message.class, SpanClass::Communication);
    assert_eq!((message.step, message.bytes), (2, Bytes::new(2048)));
    assert_eq!(timeline.end(), SimTime::from_ps(93_000_000));
    let mut out = Vec::new();
    write(&timeline, &mut out).unwrap();
    assert_eq!(read(out.as_slice(), "again").unwrap(), timeline);
}

/// What `ditplan_capture.virtual` writes: two ranks, two steps, one block, K and V in one bit in the second step.
#[test]
fn a_timeline_of_virtual_ranks_reads_back_equal() {
    let file = include_str!("../../capture/tests/data/virtual-timeline.json");
    let timeline = read(file.as_bytes(), "virtual-timeline.json").unwrap();
    assert_eq!(timeline.source(), Source::Measured);
    let spans = timeline.spans();
    assert_eq!(timeline.messages().len(), 4);
    for message in timeline.messages() {
        let (sender, receiver) = (spans[message.sender], spans[message.receiver]);
        assert_ne!(sender.device, receiver.device);
        assert_eq!(sender.bytes, receiver.bytes);
        assert!(sender.end <= receiver.start, "a message goes down, then up");
    }
    let coded = spans.iter().filter(|span| span.class == SpanClass::Decode);
    assert!(coded.clone().count() > 0 && coded.clone().all(|span| span.stream == Stream::Compute));
    let mut out = Vec::new();
    write(&timeline, &mut out).unwrap();
    assert_eq!(read(out.as_slice(), "again").unwrap(), timeline);
}
