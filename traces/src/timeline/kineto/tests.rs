use std::io::Write;

use super::*;

const HTA: &str = include_str!("../../../data/kineto/hta-backward.json");
const V100: &str = include_str!("../../../data/kineto/kineto-v100.json");
const ULYSSES: &str = include_str!("../../../data/kineto/synthetic-ulysses4.json");

fn read(text: &str) -> Kineto {
    read_kineto(text.as_bytes(), "x.json").unwrap_or_else(|error| panic!("{error}"))
}

fn refused(text: &str) -> String {
    read_kineto(text.as_bytes(), "x.json")
        .unwrap_err()
        .to_string()
}

#[test]
fn kernels_are_classed_by_their_names() {
    let found = read(HTA);
    let spans = found.timeline.spans();
    assert_eq!((spans.len(), found.steps, found.rank), (1, 1, Some(0)));
    assert_eq!(spans[0].class, SpanClass::Linear);
    assert_eq!(
        (spans[0].start, spans[0].duration().get()),
        (SimTime::ZERO, 45_000_000)
    );
    let old = read(V100);
    assert_eq!(old.timeline.spans().len(), 6);
    assert_eq!(old.gpu.as_deref(), Some("Tesla V100-DGXS-32GB"));
    let linear = old
        .timeline
        .spans()
        .iter()
        .filter(|span| span.class == SpanClass::Linear);
    assert_eq!(linear.count(), 1);
    // The last kernel starts 2122 us after the first and lasts 1 us.
    assert_eq!(old.timeline.end().as_ps(), 2_123_000_000);
}

#[test]
fn messages_carry_what_the_profiler_noted() {
    let found = read(ULYSSES);
    assert_eq!(found.collectives.len(), 3);
    let first = &found.collectives[0];
    assert_eq!(
        (first.kind, first.group),
        (Some(CollectiveKind::AllToAll), Some(4))
    );
    assert_eq!(first.size, Some(Bytes::new(20_447_232)));
    assert_eq!(first.time.get(), 120_125_000);
    // An all-gather's size is what is gathered.
    assert_eq!(found.collectives[2].size, Some(Bytes::new(8_388_608)));
    let spans = found.timeline.spans();
    assert_eq!(
        spans.iter().map(|span| span.step).collect::<Vec<_>>(),
        [0, 0, 0, 0, 0, 0, 1, 1]
    );
    assert_eq!(spans[7].class, SpanClass::Other);
    assert!(
        found
            .assumed
            .iter()
            .any(|line| line.starts_with("1 kernels of unknown names"))
    );
}

#[test]
fn a_send_and_receive_kernel_without_a_note_may_be_anything() {
    let found = read(&ULYSSES.replace("\"Collective name\"", "\"Other\""));
    assert_eq!(
        (
            found.collectives[0].kind,
            found.collectives[0].name.as_str()
        ),
        (None, "ncclDevKernel_SendRecv")
    );
    assert_eq!(found.collectives[2].kind, Some(CollectiveKind::AllGather));
}

#[test]
fn a_gzipped_trace_reads_alike() {
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(ULYSSES.as_bytes()).unwrap();
    let packed = packed.finish().unwrap();
    assert_eq!(read_kineto(&packed[..], "x.json").unwrap(), read(ULYSSES));
    assert!(
        read_kineto(&packed[..packed.len() / 2], "x.json")
            .unwrap_err()
            .to_string()
            .contains("cannot be read")
    );
}

#[test]
fn faults_name_the_event() {
    assert!(refused("").contains("no profiler's trace"));
    assert!(refused("{\"traceEvents\": []}").contains("no work of a GPU"));
    assert!(
        refused(&HTA.replace("\"dur\": 45", "\"dur\": -45")).contains("x.json, event 3: starts at")
    );
    assert!(refused(&HTA.replace("\"dur\": 45, ", "")).contains("has no ts or no dur"));
    assert!(
        refused(&HTA.replace("\"device\": 0", "\"device\": 99999")).contains("ran on device 99999")
    );
    assert!(refused(&V100.replacen("1621401187234156", "1", 1)).contains("after the first"));
    let deep = format!("{{\"traceEvents\": {}", "[".repeat(100_000));
    assert!(refused(&deep).contains("no profiler's trace"));
}

#[test]
fn damaged_traces_never_panic() {
    for text in [HTA, V100, ULYSSES] {
        let mut variants: Vec<Vec<u8>> = (1..14)
            .map(|share| text.as_bytes()[..text.len() * share / 14].to_vec())
            .collect();
        for (from, to) in [
            ("0", "9e99"),
            ("1", "-1"),
            ("\"ts\"", "\"tss\""),
            ("kernel", "cpu_op"),
            (": 4", ": \"4\""),
            ("BFloat16", "Odd"),
            ("\"dur\"", "\"dur\": null, \"d\""),
            ("\"args\": {", "\"args\": {\"a\": {"),
            (",", ""),
            ("[", "{"),
        ] {
            variants.push(text.replace(from, to).into_bytes());
        }
        variants.push(text.encode_utf16().flat_map(u16::to_le_bytes).collect());
        variants.push([&[0x1f, 0x8b][..], text.as_bytes()].concat());
        assert!(variants.len() >= 20);
        for variant in variants {
            match read_kineto(&variant[..], "x.json") {
                Ok(found) => assert!(!found.timeline.spans().is_empty()),
                Err(error) => assert!(error.to_string().starts_with("x.json"), "{error}"),
            }
        }
    }
}
