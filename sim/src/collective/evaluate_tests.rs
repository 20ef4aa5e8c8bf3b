//! The hold-outs as a report, and the figures that must not get worse.

use kernels::Provenance;
use topologies::{Bytes, CollectiveKind};

use super::evaluate::{Baseline, HoldOut, Score, Scored};
use super::{Ask, CollectiveCost, Element, Exclude, Fabric, NcclTable, Row, System};

fn regime(row: &Row) -> (&'static str, &'static str) {
    let family = match System::named(&row.system).unwrap().fabric {
        Fabric::NvLink(_) => "NVLink",
        Fabric::Pcie(_) if row.system == "l40s" => "broken",
        Fabric::Pcie(_) => "PCIe",
    };
    let class = match row.size.get() {
        0..65_536 => "small",
        65_536..16_777_216 => "middle",
        _ => "large",
    };
    (family, class)
}

const REGIMES: [(&str, &str); 9] = [
    ("NVLink", "small"),
    ("NVLink", "middle"),
    ("NVLink", "large"),
    ("PCIe", "small"),
    ("PCIe", "middle"),
    ("PCIe", "large"),
    ("broken", "small"),
    ("broken", "middle"),
    ("broken", "large"),
];

fn part(scored: &[Scored], of: (&str, &str)) -> Score {
    Score::of(scored.iter().filter(|one| regime(&one.row) == of)).unwrap()
}

fn print(name: &str, scored: &[Scored]) {
    let line = |name: String, score: Score| {
        let percent = |value: f64| value * 100.0;
        println!(
            "{name:24} n {:5} mean {:5.1} median {:5.1} p90 {:5.1} max {:6.1} bias {:+5.1} inside {:4.1}",
            score.rows,
            percent(score.mean),
            percent(score.median),
            percent(score.p90),
            percent(score.max),
            percent(score.bias),
            percent(score.inside)
        );
    };
    line(name.to_owned(), Score::of(scored).unwrap());
    for of in REGIMES {
        let rows = scored.iter().filter(|one| regime(&one.row) == of);
        if let Some(score) = Score::of(rows) {
            line(format!("  {} {}", of.0, of.1), score);
        }
    }
    for system in ["a100_sxm", "b200_sxm", "h100_sxm", "h200_sxm"] {
        let rows = scored.iter().filter(|one| one.row.system == system);
        if let Some(score) = Score::of(rows) {
            line(format!("  {system}"), score);
        }
    }
}

fn baseline(table: &NcclTable, baseline: Baseline) -> Vec<Scored> {
    let score = |row: Row| Scored {
        predicted: CollectiveCost {
            time: table.baseline(&row, baseline).unwrap(),
            provenance: Provenance::Interpolated,
            half_width: 0.0,
            note: String::new(),
        },
        row,
    };
    table.rows().into_iter().map(score).collect()
}

/// Prints every hold-out: `cargo test -p sim hold_outs -- --ignored --nocapture`.
#[test]
#[ignore = "a report, not a check"]
fn hold_outs() {
    let table = NcclTable::built_in();
    for what in [
        HoldOut::Row,
        HoldOut::HalfOfSizes,
        HoldOut::Operation,
        HoldOut::Ranks,
        HoldOut::Version,
        HoldOut::SystemDatasheet,
        HoldOut::SystemAnchored,
    ] {
        print(&format!("{what:?}"), &table.hold_out(what).unwrap());
    }
    for what in [Baseline::AlphaBeta, Baseline::LogLog] {
        print(&format!("{what:?}"), &baseline(table, what));
    }
}

#[test]
fn a_row_left_out_is_predicted_to_1_2_percent_and_its_interval_holds() {
    let scored = NcclTable::built_in().hold_out(HoldOut::Row).unwrap();
    let all = Score::of(&scored).unwrap();
    assert_eq!(all.rows, 3971);
    assert!(
        all.median < 0.012 && all.p90 < 0.080 && all.mean < 0.036,
        "{all:?}"
    );
    for of in REGIMES {
        let score = part(&scored, of);
        assert!(
            score.inside > 0.87 && score.inside < 0.97,
            "{of:?} {score:?}"
        );
    }
}

#[test]
fn intervals_hold_for_what_was_hidden() {
    let table = NcclTable::built_in();
    for what in [
        HoldOut::HalfOfSizes,
        HoldOut::Operation,
        HoldOut::Ranks,
        HoldOut::Version,
    ] {
        let score = Score::of(&table.hold_out(what).unwrap()).unwrap();
        assert!(score.inside > 0.88, "{what:?} {score:?}");
    }
}

#[test]
fn both_baselines_are_beaten_by_half() {
    let table = NcclTable::built_in();
    let ours = Score::of(&table.hold_out(HoldOut::Row).unwrap()).unwrap();
    for what in [Baseline::AlphaBeta, Baseline::LogLog] {
        let theirs = Score::of(&baseline(table, what)).unwrap();
        assert!(
            ours.median < theirs.median / 2.0 && ours.p90 < theirs.p90,
            "{what:?} {theirs:?}"
        );
    }
}

#[test]
fn the_table_gives_back_its_rows_and_its_bytes() {
    let table = NcclTable::built_in();
    let again = NcclTable::decode(&table.encode()).unwrap();
    assert_eq!(&again, table);
    for row in table.rows().iter().step_by(97) {
        let cost = table.predict(row, Exclude::Nothing).unwrap();
        assert_eq!(
            (cost.provenance, cost.time),
            (Provenance::Measured, row.time)
        );
    }
    let cut = &table.encode()[..7000];
    assert!(NcclTable::decode(cut).is_err());
}

#[test]
fn a_csv_line_that_cannot_be_read_is_named() {
    let text = "system,nccl,op,dtype,num_gpus,size_bytes,latency_us
a100_sxm,2.27.3,gather,half,2,512,8.98\n";
    let error = Row::parse_csv(text, "mine.csv").unwrap_err().to_string();
    assert!(error.starts_with("mine.csv:2: op \"gather\""), "{error}");
}

fn ask(kind: CollectiveKind, ranks: u32, size: u64) -> Ask {
    Ask {
        kind,
        element: Element::Half,
        ranks,
        size: Bytes::new(size),
    }
}

fn time(system: &str, version: Option<&str>, ask: Ask) -> CollectiveCost {
    let system = System::named(system).unwrap();
    NcclTable::built_in().time(&system, version, ask).unwrap()
}

#[test]
fn every_substitute_is_named() {
    let gather = ask(CollectiveKind::AllGather, 8, 1 << 26);
    for (system, version, ask, word) in [
        ("h200_sxm", Some("2.29.2"), gather, "2.26.2"),
        ("gb200", None, gather, "b200_sxm"),
        (
            "gb200",
            None,
            Ask {
                ranks: 72,
                ..gather
            },
            "72 ranks",
        ),
        ("b300_sxm", None, gather, "b200_sxm"),
        ("a100_pcie", None, gather, "nccl-tests"),
        (
            "h100_sxm",
            Some("2.23"),
            Ask { ranks: 6, ..gather },
            "6 ranks",
        ),
        (
            "a100_sxm",
            None,
            Ask {
                kind: CollectiveKind::RingPass,
                ..gather
            },
            "all-to-all",
        ),
        (
            "l40s",
            None,
            Ask {
                size: Bytes::new(1 << 32),
                ..gather
            },
            "faulty",
        ),
    ] {
        let cost = time(system, version, ask);
        assert!(cost.note.contains(word), "{system}: {}", cost.note);
        assert!(cost.provenance > Provenance::Measured);
    }
}

#[test]
fn export_variants_are_slower_by_their_links_and_as_fast_when_small() {
    // H800: 200 of 450 GB/s, so large messages take 2.25 times as long as on H200.
    let large = ask(CollectiveKind::AllGather, 8, 1 << 29);
    let ratio = |ask| {
        time("h800", None, ask).time.as_us_f64() / time("h200_sxm", None, ask).time.as_us_f64()
    };
    assert!((ratio(large) - 2.25).abs() < 0.03);
    assert!((ratio(ask(CollectiveKind::AllGather, 8, 512)) - 1.0).abs() < 0.01);
    assert_eq!(
        time("h20", None, large).time,
        time("h200_sxm", None, large).time
    );
}

#[test]
fn a_ring_hop_is_near_the_published_line_at_its_ends() {
    // Vidur: A100 8 us + 230 GB/s, H100 5 us + 350 GB/s. Ours come from all-to-all on two ranks.
    for (system, start, rate) in [("a100_sxm", 8.0, 230e9), ("h100_sxm", 5.0, 350e9)] {
        for power in [10, 24, 28] {
            let size = f64::from(1_u32 << power);
            let ours = time(system, None, ask(CollectiveKind::RingPass, 8, 1 << power));
            let line = start + size / rate * 1e6;
            let ratio = ours.time.as_us_f64() / line;
            assert!((0.7..1.8).contains(&ratio), "{system} 2^{power}: {ratio}");
        }
    }
}
