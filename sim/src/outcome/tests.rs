use super::*;
use crate::engine::run;
use crate::graph::{Path, Task};
use crate::testing::{busy, join, ps, transfer};
use topologies::LinkId;

const BYTE_PER_PS: Bandwidth = Bandwidth::new(1_000_000_000_000);

/// gpu0 computes 10, encodes 4, sends 20 bytes (latency 2), gpu1 launches 3 and computes 5; gpu0
/// meanwhile computes 8 more. Ends at 10 + 4 + 22 + 3 + 5 = 44.
fn two_gpus() -> (TaskGraph, Outcome) {
    let mut graph = TaskGraph::new();
    let path = graph.intern(Path::single(ps(2), &[LinkId::new(0)]));
    let linear = graph.push(busy(0, 10), &[]);
    let encode = Task {
        stream: Stream::Codec,
        class: SpanClass::Encode,
        ..busy(0, 4)
    };
    let encode = graph.push(encode, &[linear]);
    let attention = Task {
        class: SpanClass::Attention,
        ..busy(0, 8)
    };
    graph.push(attention, &[linear]);
    let sent = graph.push(transfer(0, path, 20), &[encode]);
    let arrived = graph.push(join(1), &[sent]);
    let launch = Task {
        class: SpanClass::Launch,
        ..busy(1, 3)
    };
    let launch = graph.push(launch, &[arrived]);
    graph.push(busy(1, 5), &[launch]);
    let outcome = run(&graph, &[BYTE_PER_PS]).unwrap();
    assert_eq!(outcome.makespan(), ps(44));
    (graph, outcome)
}

#[test]
fn the_parts_of_a_device_add_up_to_the_run() {
    let (graph, outcome) = two_gpus();
    let [first, second] = &device_use(&graph, &outcome)[..] else {
        panic!("two devices");
    };
    // gpu0: computes 0..18; the encoder's 10..14 is hidden; waits 18..44.
    assert_eq!(
        (first.compute, first.launch, first.codec, first.waiting),
        (ps(18), ps(0), ps(0), ps(26))
    );
    assert_eq!(first.busy(SpanClass::Encode), ps(4));
    assert_eq!(first.busy(SpanClass::Communication), ps(22));
    // gpu1: waits 0..36, launches 36..39, computes 39..44.
    assert_eq!(
        (second.compute, second.launch, second.codec, second.waiting),
        (ps(5), ps(3), ps(0), ps(36))
    );
    assert_eq!(second.exposed(), ps(36));
}

#[test]
fn a_codec_that_nothing_hides_is_exposed() {
    let mut graph = TaskGraph::new();
    let linear = graph.push(busy(0, 10), &[]);
    let encode = Task {
        stream: Stream::Codec,
        class: SpanClass::Encode,
        ..busy(0, 4)
    };
    graph.push(encode, &[linear]);
    let outcome = run(&graph, &[]).unwrap();
    let device = &device_use(&graph, &outcome)[0];
    assert_eq!((device.codec, device.exposed()), (ps(4), ps(4)));
}

#[test]
fn the_critical_path_has_no_gap() {
    let (graph, outcome) = two_gpus();
    let path: Vec<usize> = critical_path(&graph, &outcome)
        .iter()
        .map(|id| id.index())
        .collect();
    assert_eq!(path, [0, 1, 3, 5, 6]);
    // Communication 22, linear 10 + 5, encode 4, launch 3: 44.
    assert_eq!(
        critical_path_by_class(&graph, &outcome),
        [
            (SpanClass::Communication, ps(22)),
            (SpanClass::Linear, ps(15)),
            (SpanClass::Encode, ps(4)),
            (SpanClass::Launch, ps(3)),
        ]
    );
}

#[test]
fn the_timeline_has_spans_messages_and_links() {
    let (graph, outcome) = two_gpus();
    let names = ["up".to_owned()];
    let timeline = timeline(&graph, &outcome, &names, "two GPUs".to_owned());
    assert_eq!(timeline.spans().len(), 6, "all tasks but the join");
    assert_eq!(timeline.end(), SimTime::from_ps(44));
    // The transfer is span 3; the join leads to the launch, span 4, on the other device.
    let message = Message {
        sender: 3,
        receiver: 4,
    };
    assert_eq!(timeline.messages(), [message]);
    // 20 bytes at one byte per ps from 14 + 2 to 36.
    let samples = [(16, BYTE_PER_PS), (36, Bandwidth::ZERO)];
    let samples = samples.map(|(at, rate)| (SimTime::from_ps(at), rate));
    assert_eq!(timeline.links()[0].samples, samples);
    assert_eq!(bytes_per_link(&graph, 1), [Bytes::new(20)]);
}

#[test]
fn covered_time_counts_overlaps_once() {
    let at = SimTime::from_ps;
    // [0, 4) and [2, 6) and [3, 5) cover 6; [8, 9) one more.
    let mut intervals = [
        (at(8), at(9)),
        (at(2), at(6)),
        (at(0), at(4)),
        (at(3), at(5)),
    ];
    assert_eq!(covered(&mut intervals), ps(7));
}
