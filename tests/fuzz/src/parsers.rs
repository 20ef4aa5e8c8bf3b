//! Every parser as a function of bytes: it must come back, whatever the bytes are.
//!
//! ```text
//! tests/fuzz/fuzz_targets/NAME.rs ─┐
//!                            ├─▶ parsers::NAME(bytes) ─▶ the parser a file of that kind reaches in the program
//! tests/parsers.rs ──────────┘
//! ```
//! A parser that accepts its input has its printer run too, where it has one: what is printed must read back as
//! the same thing. Readers of directories get one, made of the parts of the input.
//!
//! Not checked: that what is read is right (the crates' own tests do).

use std::path::{Path, PathBuf};
use std::str::FromStr;

use kernels::wire::Shape;
use kernels::{Compressor, store};
use planner::capacity::{Criterion, Slo};
use planner::csv_input::Table;
use planner::profile::{Accept, Profile};
use planner::runs;
use planner::search::Budget;
use planner::sweep::{Axis, Field};
use planner::validate::live;
use sim::collective::{NcclTable, Row};
use sim::model::{Resolution, file};
use sim::plan::{Compression, Plan};
use sim::serving::Rate;
use topologies::import::{self, Hints};
use topologies::{
    Bandwidth, Bytes, FlopRate, Flops, Machine, SimDuration, export, gpu_table, hypothetical,
};
use traces::timeline::{self, kineto};
use traces::trace::{Calibrated, ClosedLoop, ErrorRow, Statistic, Tensor, Trace, read_rows};

#[allow(dead_code, reason = "the program uses the rest")]
#[path = "../../../ditplan/src/commands/serve/http.rs"]
mod http;

/// A parser under test.
pub type Parser = fn(&[u8]);

/// All of them, by the name of their target.
pub const ALL: &[(&str, Parser)] = &[
    ("arrivals", arrivals),
    ("codecs", codecs),
    ("gpu_table", gpu_csv),
    ("http", http_request),
    ("kernel_table", kernel_table),
    ("kineto", kineto_trace),
    ("live_run", live_run),
    ("machine", machine),
    ("model_config", model_config),
    ("nccl_csv", nccl_csv),
    ("nccl_table", nccl_table),
    ("nccl_tests", nccl_log),
    ("nccl_xml", nccl_xml),
    ("plan", plan),
    ("profile", profile),
    ("published", published_csv),
    ("smi_query", smi_query),
    ("smi_topology", smi_topology),
    ("timeline", timeline_json),
    ("trace", trace),
    ("trace_tables", trace_tables),
    ("words", words),
];

/// What a file is called in errors.
const FILE: &str = "input";

/// The text, as the program reads files of text.
fn text(bytes: &[u8]) -> Option<&str> {
    import::text(bytes, FILE).ok()
}

/// A machine that was accepted is used: its routes, its summary, its copies in other formats.
fn used(machine: &Machine) {
    let _ = (machine.summary(), machine.islands());
    let _ = (export::nccl_xml(machine), export::simgrid_xml(machine));
}

/// Our machine files, and machines by one line such as `16xL20@25GB/s`.
pub fn machine(bytes: &[u8]) {
    let Some(text) = text(bytes) else { return };
    if let Ok(machine) = Machine::from_toml(text, FILE) {
        used(&machine);
    }
    if let Ok(machine) = hypothetical::machine(text.trim()) {
        used(&machine);
    }
}

/// Topologies that NCCL dumps.
pub fn nccl_xml(bytes: &[u8]) {
    imported(bytes, None);
}

/// `nvidia-smi topo -m`.
pub fn smi_topology(bytes: &[u8]) {
    imported(bytes, None);
}

/// `nvidia-smi -q -x`, beside a topology of two GPUs.
pub fn smi_query(bytes: &[u8]) {
    let topology = b"\tGPU0\tGPU1\tCPU Affinity\tNUMA Affinity\nGPU0\t X \tPIX\t0-47\t0\nGPU1\tPIX\t X \t0-47\t0\n";
    let Some(text) = text(bytes) else { return };
    imported(topology, Some((text.to_owned(), FILE.to_owned())));
}

fn imported(bytes: &[u8], smi_xml: Option<(String, String)>) {
    for gpu in [None, Some("L40S".to_owned())] {
        let hints = Hints {
            gpu,
            smi_xml: smi_xml.clone(),
            ..Hints::default()
        };
        if let Ok(found) = import::machine(bytes, FILE, &hints) {
            used(&found.machine);
        }
    }
}

/// Logs of nccl-tests, text or JSON, and what is made of them.
pub fn nccl_log(bytes: &[u8]) {
    let Some(text) = text(bytes) else { return };
    if let Ok(log) = import::nccl_tests(text, FILE) {
        let _ = (log.rates(FILE), log.toml(FILE), log.csv("system", "nccl"));
    }
}

/// The table of GPUs.
pub fn gpu_csv(bytes: &[u8]) {
    if let Some(text) = text(bytes) {
        let _ = gpu_table::parse(text, FILE);
    }
}

/// A model file, or `config.json` of a transformer.
pub fn model_config(bytes: &[u8]) {
    let Some(text) = text(bytes) else { return };
    if let Ok(found) = file::read(text, FILE) {
        let _ = found.model.workload(&found.model.default);
    }
}

/// A line of a plan; what is printed reads back as the same plan.
pub fn plan(bytes: &[u8]) {
    let Some(text) = text(bytes) else { return };
    if let Ok(plan) = text.parse::<Plan>() {
        assert_eq!(plan.placement.len(), plan.ranks() as usize);
        assert_eq!(plan.to_string().parse::<Plan>(), Ok(plan));
    }
    round_trip::<Compression>(text);
    round_trip::<Compressor>(text);
}

/// Whatever reads prints a line that reads as the same thing.
fn round_trip<T>(text: &str)
where
    T: FromStr + PartialEq + ToString + std::fmt::Debug,
    T::Err: std::fmt::Debug + std::fmt::Display,
{
    match text.parse::<T>() {
        Ok(read) => assert_eq!(
            read.to_string()
                .parse::<T>()
                .expect("what is printed reads back"),
            read
        ),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

/// Sizes, rates, units, objectives, budgets, axes: everything that is one word of a command line.
pub fn words(bytes: &[u8]) {
    let Some(text) = text(bytes) else { return };
    round_trip::<Resolution>(text);
    let _ = (text.parse::<Bandwidth>(), text.parse::<Bytes>());
    let _ = (text.parse::<FlopRate>(), text.parse::<Flops>());
    let _ = (text.parse::<SimDuration>(), text.parse::<Rate>());
    let _ = (text.parse::<Budget>(), text.parse::<Field>());
    let _ = (text.parse::<Criterion>(), text.parse::<Slo>());
    if let Ok(axis) = text.parse::<Axis>() {
        let _ = axis.to_string();
    }
}

/// Requests to `ditplan serve`.
pub fn http_request(bytes: &[u8]) {
    if let Ok(request) = http::read(&mut &bytes[..]) {
        assert!(request.body.len() <= http::BODY);
        let _ = (request.header("Host"), request.header("Origin"));
    }
}

/// A table of kernels in our binary format. The checksum is made right: what lies behind it is what is tried.
pub fn kernel_table(bytes: &[u8]) {
    let _ = store::decode(bytes, FILE);
    if let Ok(tables) = store::decode(&with_checksum(bytes), FILE) {
        assert_eq!(store::decode(&store::encode(&tables), FILE), Ok(tables));
    }
}

/// A table of collectives in our binary format, its checksum made right.
pub fn nccl_table(bytes: &[u8]) {
    let _ = NcclTable::decode(bytes);
    if let Ok(table) = NcclTable::decode(&with_checksum(bytes)) {
        let _ = table.rows();
    }
}

/// The bytes with their FNV-1a checksum behind them.
fn with_checksum(bytes: &[u8]) -> Vec<u8> {
    let hash = bytes.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    [bytes, &hash.to_le_bytes()].concat()
}

/// Measured collectives as CSV.
pub fn nccl_csv(bytes: &[u8]) {
    let Some(text) = text(bytes) else { return };
    if let Ok(rows) = Row::parse_csv(text, FILE)
        && !rows.is_empty()
    {
        let _ = NcclTable::from_rows(&rows).rows();
    }
}

/// Published runs: every row with its model, machine and plan.
pub fn published_csv(bytes: &[u8]) {
    let Ok(table) = Table::from_bytes(bytes, FILE) else {
        return;
    };
    let mut machines = runs::host::Machines::default();
    for row in runs::row::read(&table, 0).unwrap_or_default() {
        let _ = runs::Run::of_row(&row, &mut machines);
    }
}

/// Recorded requests.
pub fn arrivals(bytes: &[u8]) {
    let _ = planner::capacity::recorded::read(bytes, FILE);
}

/// Traces of PyTorch's profiler.
pub fn kineto_trace(bytes: &[u8]) {
    if let Ok(found) = kineto::read_kineto(bytes, FILE) {
        written(&found.timeline);
    }
}

/// Our timelines, simulated or measured.
pub fn timeline_json(bytes: &[u8]) {
    if let Ok(read) = timeline::read(bytes, FILE) {
        written(&read);
    }
}

/// What is written reads back; and Perfetto's format is written too.
fn written(read: &timeline::Timeline) {
    let mut out = Vec::new();
    timeline::write(read, &mut out).expect("memory takes what is written");
    let back = timeline::read(out.as_slice(), FILE).expect("what is written reads back");
    assert_eq!(&back, read);
    timeline::write_chrome(read, std::io::sink()).expect("nothing is kept");
}

/// Messages of every compressor: first byte which, second and third the shape.
pub fn codecs(bytes: &[u8]) {
    let [which, rows, channels, message @ ..] = bytes else {
        return;
    };
    let size = u16::from(which / 16);
    let all = [
        Compressor::OneBit,
        Compressor::TwoBit,
        Compressor::TwoBitFitted,
        Compressor::Int8,
        Compressor::Int4,
        Compressor::Fp8,
        Compressor::LowRank(1 + size),
        Compressor::LowRankInt4(1 + size),
        Compressor::Sparse(2 + size),
    ];
    let compressor = all[usize::from(*which) % all.len()];
    let shape = Shape::new(1 + usize::from(*rows), 1 + usize::from(*channels));
    let wanted = compressor.message_bytes(shape.rows() as u64, shape.channels() as u64);
    let _ = compressor.decode(message, shape);
    // A message of the right length, so that more than the length is tried.
    let mut whole = message.to_vec();
    whole.resize(wanted.get() as usize, 0);
    if let Ok(decoded) = compressor.decode(&whole, shape) {
        assert!(decoded.iter().all(|value| value.is_finite()));
    }
}

/// Between the parts of an input that becomes a directory.
const CUT: &[u8] = b"\n%%%%\n";

/// A directory with the parts of the input under these names.
fn directory(bytes: &[u8], names: &[&str]) -> PathBuf {
    thread_local! {
        static HERE: tempfile::TempDir = tempfile::tempdir().expect("a directory for temporary files");
    }
    let here = HERE.with(|directory| directory.path().to_owned());
    let mut rest = Some(bytes);
    for name in names {
        let path = here.join(name);
        let part = rest.map(|bytes| {
            let cut = bytes.windows(CUT.len()).position(|window| window == CUT);
            let part = &bytes[..cut.unwrap_or(bytes.len())];
            rest = cut.map(|cut| &bytes[cut + CUT.len()..]);
            part
        });
        put(&path, part.filter(|part| !part.is_empty()));
    }
    here
}

/// The file has these bytes, or is not there.
fn put(path: &Path, bytes: Option<&[u8]>) {
    let done = match bytes {
        Some(bytes) => std::fs::write(path, bytes),
        None => match std::fs::remove_file(path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
            other => other,
        },
    };
    done.expect("temporary files can be written");
}

/// A profile: `profile.json` and the tables of all parts.
pub fn profile(bytes: &[u8]) {
    let mut names = vec!["profile.json"];
    names.extend(planner::profile::Part::ALL.map(planner::profile::Part::file));
    let directory = directory(bytes, &names);
    if let Ok(profile) = Profile::read(&directory, Accept::Any) {
        let _ = (profile.title(), profile.memory());
    }
}

/// A run of virtual ranks: `plan.json` and `timeline.json`.
pub fn live_run(bytes: &[u8]) {
    let directory = directory(bytes, &["plan.json", "timeline.json"]);
    let _ = live::read(&[directory]);
}

/// A trace: manifest, first shard, tables.
pub fn trace(bytes: &[u8]) {
    let shard = "kv-00001-of-00001.safetensors";
    let directory = directory(
        bytes,
        &["manifest.json", shard, "stats.csv", "quality.json"],
    );
    for trace in [Trace::open(&directory), Trace::open_partial(&directory)] {
        let Ok(trace) = trace else { continue };
        let _ = trace.verify(|_| {});
        for step in trace.steps() {
            let Ok(view) = trace.step(step) else { continue };
            for tensor in Tensor::ALL {
                let found = view.tensor(trace.manifest().recorded.layers[0], tensor);
                let _ = found.map(|tensor| tensor.sample(0).non_finite());
            }
        }
    }
}

/// The tables beside a trace's shards, and its calibration.
pub fn trace_tables(bytes: &[u8]) {
    const MANIFEST: &[u8] = include_bytes!("../../../traces/data/dit-digits/28steps/manifest.json");
    let _ = Calibrated::parse(FILE, [MANIFEST, b"", bytes]);
    let _ = read_rows::<ErrorRow>(bytes, FILE);
    let _ = read_rows::<Statistic>(bytes, FILE);
    let _ = read_rows::<ClosedLoop>(bytes, FILE);
}
