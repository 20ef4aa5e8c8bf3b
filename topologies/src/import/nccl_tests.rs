//! Logs of nccl-tests, as text and as JSON (`-J`): rows of the NCCL table, rates of a host.
//!
//! ```text
//! #       size         count      type   redop    root     time   algbw   busbw #wrong     time ...
//! #        (B)    (elements)                               (us)  (GB/s)  (GB/s)            (us)
//!   1073741824     268435456     float     sum      -1   4389.5  244.62  458.65      0   4331.1 ...
//! ```
//!
//! Read: the out-of-place columns, whose places the header gives (they differ between versions); ranks from
//! the `Rank` lines (or `config.devices`); the test from its name, wherever it stands. Sections of several
//! tests in one log are kept apart.
//!
//! Not read: in-place columns, per-iteration times, `#wrong` other than as a fault.

mod rates;

use serde_json::Value;
use thiserror::Error;

use crate::host::CollectiveKind;
use crate::units::{Bandwidth, Bytes, SimDuration};

/// Rows of the largest log that is read.
const MOST_ROWS: usize = 100_000;
/// Above all links between GPUs, of today and foreseen: 100 TB/s.
const FASTEST: Bandwidth = Bandwidth::new(100_000_000_000_000);

/// Names of the tests, longest first where one contains another, with the names in our tables.
const TESTS: [(&str, CollectiveKind, &str); 6] = [
    (
        "reduce_scatter_perf",
        CollectiveKind::ReduceScatter,
        "reduce_scatter",
    ),
    ("all_reduce_perf", CollectiveKind::AllReduce, "all_reduce"),
    ("all_gather_perf", CollectiveKind::AllGather, "all_gather"),
    ("alltoall_perf", CollectiveKind::AllToAll, "alltoall"),
    ("all_to_all_perf", CollectiveKind::AllToAll, "alltoall"),
    ("sendrecv_perf", CollectiveKind::RingPass, "sendrecv"),
];

/// Why a log gives no rates.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{file}, line {line}: {fault}: {remedy}")]
pub struct LogError {
    /// The file.
    pub file: String,
    /// The line, from 1; 0 for the file as a whole.
    pub line: usize,
    /// What is wrong.
    pub fault: String,
    /// What to do.
    pub remedy: String,
}

/// One measured time.
#[derive(Clone, Debug, PartialEq)]
pub struct NcclRow {
    /// The test.
    pub kind: CollectiveKind,
    /// Ranks, one GPU each.
    pub ranks: u32,
    /// Element type, as the log says it.
    pub element: String,
    /// nccl-tests' size.
    pub size: Bytes,
    /// Out-of-place time.
    pub time: SimDuration,
}

impl NcclRow {
    /// Bus bandwidth, from size and time: more digits than the log prints.
    #[must_use]
    pub fn bus_bandwidth(&self) -> Bandwidth {
        let rate = self.size.as_f64() / self.time.as_secs_f64() * self.kind.bus_factor(self.ranks);
        Bandwidth::new(rate as u64)
    }
}

/// What a log holds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct NcclLog {
    /// Measured times, in the order of the file.
    pub rows: Vec<NcclRow>,
    /// What was assumed or left out.
    pub assumed: Vec<String>,
    /// The GPU of rank 0, where the log names it.
    pub gpu: Option<String>,
}

fn test_named(line: &str) -> Option<CollectiveKind> {
    TESTS
        .iter()
        .find(|(name, ..)| line.contains(name))
        .map(|(_, kind, _)| *kind)
}

/// What has been read of the section that a line is in.
#[derive(Default)]
struct Section {
    kind: Option<CollectiveKind>,
    ranks: u32,
    /// Places of time and of the columns in all: `None` before a header.
    columns: Option<(usize, usize)>,
}

/// Reads a log; `file` is its name for errors, and names the test where the log does not.
///
/// # Errors
/// [`LogError`]: no row, a row before its header, ranks or test unknown, a time of zero, wrong results.
pub fn nccl_tests(text: &str, file: &str) -> Result<NcclLog, LogError> {
    let log = if text.trim_start().starts_with('{') {
        json(text, file)?
    } else {
        table(text, file)?
    };
    if log.rows.is_empty() {
        let remedy = "give the output of all_reduce_perf, alltoall_perf, all_gather_perf, reduce_scatter_perf or \
                      sendrecv_perf";
        return Err(fault(file, 0, "no row of a test is in it", remedy));
    }
    Ok(log)
}

fn fault(file: &str, line: usize, fault: impl Into<String>, remedy: &str) -> LogError {
    LogError {
        file: file.to_owned(),
        line,
        fault: fault.into(),
        remedy: remedy.to_owned(),
    }
}

fn table(text: &str, file: &str) -> Result<NcclLog, LogError> {
    let mut log = NcclLog::default();
    let mut section = Section {
        kind: test_named(file),
        ..Section::default()
    };
    for (index, line) in text.lines().enumerate() {
        let (line, words) = (line.trim(), line.split_whitespace().collect::<Vec<_>>());
        if let Some(kind) = test_named(line) {
            section.kind = Some(kind);
        }
        match words.as_slice() {
            ["#", "nThread", ..] | ["#", "Using", "devices", ..] => section.ranks = 0,
            ["#", "Rank", _, rest @ ..] => {
                section.ranks += 1;
                if let Some(at) = rest.iter().position(|word| word.starts_with('[')) {
                    log.gpu.get_or_insert_with(|| rest[at + 1..].join(" "));
                }
            }
            ["#", "size", names @ ..] => {
                let time = names
                    .iter()
                    .position(|name| matches!(*name, "time" | "cputime"));
                section.columns = time.map(|time| (time + 1, names.len() + 1));
            }
            [size, ..] if size.parse::<u64>().is_ok() && words.len() >= 8 => {
                row(&mut log, &section, &words, file, index + 1)?;
            }
            _ => {}
        }
    }
    Ok(log)
}

/// A row of the table.
fn row(
    log: &mut NcclLog,
    section: &Section,
    words: &[&str],
    file: &str,
    line: usize,
) -> Result<(), LogError> {
    let Some((mut time, columns)) = section.columns else {
        return Err(fault(
            file,
            line,
            "a row stands before its header",
            "keep the lines that start with #",
        ));
    };
    // Tests without an operation or a root leave those columns blank in old versions.
    if words.len() < columns {
        time = time.saturating_sub(columns - words.len());
    }
    let number = |at: usize| words.get(at).and_then(|word| word.parse::<f64>().ok());
    let (Some(size), Some(us)) = (words[0].parse::<u64>().ok(), number(time)) else {
        return Err(fault(
            file,
            line,
            "a row cannot be read",
            "copy the whole line",
        ));
    };
    let wrong = number(time + 3).unwrap_or(0.0);
    let element = words.get(2).copied().unwrap_or_default();
    push(log, section, (size, us, wrong, element), file, line)
}

/// Adds a row, after the checks that text and JSON share.
fn push(
    log: &mut NcclLog,
    section: &Section,
    (size, us, wrong, element): (u64, f64, f64, &str),
    file: &str,
    line: usize,
) -> Result<(), LogError> {
    let refused = |what: String, remedy| Err(fault(file, line, what, remedy));
    let Some(kind) = section.kind else {
        let remedy = "keep the command line in the log, or name the file like the test (all_reduce_perf.log)";
        return refused("the log does not say which test it is".to_owned(), remedy);
    };
    if !(2..=100_000).contains(&section.ranks) {
        let remedy = "keep the lines \"#  Rank ...\", one for each of 2 ranks or more";
        return refused(format!("{} ranks took part", section.ranks), remedy);
    }
    if log.rows.len() >= MOST_ROWS {
        return refused(format!("the log has more than {MOST_ROWS} rows"), "cut it");
    }
    // Up to 1e-1: old versions print the largest error of a float reduction instead of a count.
    if wrong >= 1.0 {
        return refused(format!("{wrong} results were wrong"), "repeat the test");
    }
    if size == 0 {
        return Ok(());
    }
    if !(us > 0.0 && us < 1e12) {
        return refused(format!("a time of {us} us"), "repeat the test");
    }
    let row = NcclRow {
        kind,
        ranks: section.ranks,
        element: element.to_owned(),
        size: Bytes::new(size),
        time: SimDuration::from_us_f64(us),
    };
    if row.bus_bandwidth() > FASTEST {
        let what = format!("{size} bytes in {us} us, which no link carries");
        return refused(what, "copy the whole line");
    }
    log.rows.push(row);
    Ok(())
}

/// The JSON of `-J`: `config`, `results` with `out_of_place` {`time` in us, `alg_bw`, `bus_bw`, `nwrong`}.
fn json(text: &str, file: &str) -> Result<NcclLog, LogError> {
    let root: Value = serde_json::from_str(text).map_err(|error| {
        fault(
            file,
            error.line(),
            format!("the JSON is broken, {error}"),
            "let the test end by itself",
        )
    })?;
    let config = &root["config"];
    let count = |value: &Value| value.as_u64().unwrap_or(1);
    let devices = config["devices"].as_array().map_or(0, Vec::len) as u64;
    let own = count(&config["nthreads"]).saturating_mul(count(&config["ngpus"]));
    let gpu = config["devices"][0]["device_info"].as_str();
    let mut log = NcclLog {
        gpu: gpu.map(str::to_owned),
        ..NcclLog::default()
    };
    let named = |value: &Value| value.as_str().and_then(test_named);
    let fields = root
        .as_object()
        .into_iter()
        .flat_map(|fields| fields.values());
    let words = fields.flat_map(|value| {
        value
            .as_array()
            .map_or(std::slice::from_ref(value), Vec::as_slice)
    });
    let kind = words.filter_map(named).next().or_else(|| test_named(file));
    let section = Section {
        kind,
        ranks: u32::try_from(devices.max(own)).unwrap_or(u32::MAX),
        columns: None,
    };
    for result in root["results"].as_array().into_iter().flatten() {
        let body = &result["out_of_place"];
        let time = body["time"].as_f64().or_else(|| body["cpu_time"].as_f64());
        let (Some(size), Some(us)) = (result["size"].as_u64(), time) else {
            log.assumed
                .push("results without an out-of-place time are left out".to_owned());
            continue;
        };
        let wrong = body["nwrong"].as_f64().unwrap_or(0.0);
        let element = result["type"].as_str().unwrap_or("float");
        push(&mut log, &section, (size, us, wrong, element), file, 0)?;
    }
    log.assumed.dedup();
    Ok(log)
}

#[cfg(test)]
mod tests;
