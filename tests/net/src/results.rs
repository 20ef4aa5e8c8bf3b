//! The committed measurement, predicted again by the simulator as it is now.

use std::collections::BTreeMap;

use planner::validate::statistics::Score;

use crate::cases::{Case, Flow, Prepared};
use crate::drawn::{self, Extent};
use crate::link::Queues;
use crate::machine::{self, Calibration};
use crate::report::{MEDIAN_PCT, P90_PCT};

const RUNS: &str = include_str!("../results/full/runs.csv");
const SUMMARY: &str = include_str!("../results/full/summary.json");

/// The committed calibration.
fn calibration() -> Calibration {
    let summary: serde_json::Value = serde_json::from_str(SUMMARY).unwrap();
    let figure = |name: &str| summary["calibration"][name].as_f64().unwrap();
    Calibration {
        efficiency: figure("efficiency"),
        latency_us: figure("latency_us"),
    }
}

/// `0>3:4700000 1>2:9` as flows.
fn flows(text: &str) -> Vec<Flow> {
    let flow = |one: &str| {
        let (ends, bytes) = one.split_once(':').unwrap();
        let (from, to) = ends.split_once('>').unwrap();
        Flow {
            from: from.parse().unwrap(),
            to: to.parse().unwrap(),
            bytes: bytes.parse().unwrap(),
        }
    };
    text.split_whitespace().map(flow).collect()
}

/// The cases that were measured, in the order of the file: drawn again, but for the flows, whose sizes depend on
/// the simulator of that day.
fn drawn(calibration: Calibration) -> Vec<Case> {
    let of = |net| drawn::of(net, Extent::Full, calibration).unwrap();
    drawn::nets(Extent::Full).into_iter().flat_map(of).collect()
}

/// Median error at most 5 %, nine of ten at most 12 %, over at least 100 runs of 8 kinds; and every kind's median
/// at most 5 %.
#[test]
fn the_committed_runs_are_predicted() {
    let calibration = calibration();
    let mut rows = csv::Reader::from_reader(RUNS.as_bytes());
    let headers = rows.headers().unwrap().clone();
    let column = |name| headers.iter().position(|header| header == name).unwrap();
    let (kind, detail, flow_list, measured) = (
        column("kind"),
        column("detail"),
        column("flows"),
        column("measured_ms"),
    );
    let mut kinds: BTreeMap<String, Vec<(f64, f64)>> = BTreeMap::new();
    let rows: Vec<csv::StringRecord> = rows.records().map(Result::unwrap).collect();
    let cases = drawn(calibration);
    assert_eq!(rows.len(), cases.len());
    for (row, mut case) in rows.iter().zip(cases) {
        assert_eq!((&row[kind], &row[detail]), (&*case.kind(), &*case.detail()));
        case.flows = flows(&row[flow_list]);
        let platform = machine::platform(case.net, calibration).unwrap();
        let prepared = Prepared::new(&case, &platform).unwrap();
        let predicted = prepared.simulated(&platform).unwrap().as_us_f64() / 1e3;
        if case.net.queues == Queues::Fair {
            let pair = (row[measured].parse().unwrap(), predicted);
            kinds.entry(case.kind()).or_default().push(pair);
        }
    }
    let score = |pairs: Vec<(f64, f64)>| Score::of_pairs(pairs.len(), pairs.into_iter());
    let all = score(kinds.values().flatten().copied().collect());
    assert!(
        all.n >= 100 && kinds.len() >= 8,
        "{} {}",
        all.n,
        kinds.len()
    );
    assert!(
        all.median_pct <= MEDIAN_PCT && all.p90_pct <= P90_PCT,
        "{all:?}"
    );
    for (kind, pairs) in kinds {
        let score = score(pairs);
        assert!(score.median_pct <= MEDIAN_PCT, "{kind}: {score:?}");
    }
}
