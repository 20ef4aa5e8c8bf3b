//! What the runs come to: a table by kind, every run as CSV, the same as JSON with where it was measured.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use planner::validate::statistics::Score;
use serde::Serialize;

use crate::link::Queues;
use crate::machine::Calibration;
use crate::measure::Measured;
use crate::stat::{Estimate, bootstrap};
use crate::testbed::megabytes;

/// The objective: at most this median error, percent.
pub(crate) const MEDIAN_PCT: f64 = 5.0;
/// The objective: at most this 90th percentile of errors, percent.
pub(crate) const P90_PCT: f64 = 12.0;

/// Where and when it was measured.
#[derive(Clone, Debug, Serialize)]
struct Provenance {
    date: String,
    kernel: String,
    cpu: String,
    cores: usize,
    /// Of the last minute, when the runs were over.
    load: String,
    transport: &'static str,
    links: &'static str,
}

/// Errors of the runs of a kind.
#[derive(Clone, Debug, Serialize)]
struct Kind {
    name: String,
    #[serde(flatten)]
    score: Score,
    /// 95 % interval of the median error's size.
    median_lo_pct: f64,
    median_hi_pct: f64,
    /// Half of the 95 % interval of a run's measured median, the median over runs.
    noise_pct: f64,
    /// Errors of simpler models on the same runs.
    baselines: BTreeMap<&'static str, Score>,
}

/// The whole report.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Report {
    provenance: Provenance,
    calibration: Calibration,
    /// Bytes and milliseconds of the flow that calibrated.
    sweep: Vec<(u64, f64)>,
    repeats: u32,
    /// All runs over fair queues, by kind, and what simpler models say of them.
    all: Kind,
    kinds: Vec<Kind>,
    /// Runs over plain queues, which the simulator does not claim to describe.
    fifo: Option<Kind>,
    fifo_kinds: Vec<Kind>,
}

fn error_pct(one: &Measured, measured_ms: f64) -> f64 {
    100.0 * (one.predicted_ms / measured_ms - 1.0)
}

/// A run in a line.
pub(crate) fn line(one: &Measured) -> String {
    let Estimate { lo, median, hi } = bootstrap(&one.repeats_ms);
    format!(
        "{:>+6.1} %  {:8.2} ms predicted, {median:8.2} ({lo:.2}-{hi:.2}) measured  {:24} {} {} {}",
        error_pct(one, median),
        one.predicted_ms,
        one.case.kind(),
        one.case.net,
        one.case.detail(),
        one.case.flow_list(),
    )
}

impl Kind {
    fn of(name: &str, runs: &[&Measured]) -> Self {
        let medians: Vec<Estimate> = runs.iter().map(|run| bootstrap(&run.repeats_ms)).collect();
        let score = |predicted: &dyn Fn(&Measured) -> f64| {
            let pairs = runs.iter().zip(&medians);
            let pairs = pairs.map(|(run, measured)| (measured.median, predicted(run)));
            Score::of_pairs(runs.len(), pairs)
        };
        let errors = runs.iter().zip(&medians);
        let errors: Vec<f64> = errors
            .map(|(run, measured)| error_pct(run, measured.median).abs())
            .collect();
        let noise = medians
            .iter()
            .map(|one| 50.0 * (one.hi - one.lo) / one.median);
        let of_median = bootstrap(&errors);
        let names = runs
            .first()
            .map(|run| &run.baselines[..])
            .unwrap_or_default();
        let baselines = names
            .iter()
            .enumerate()
            .map(|(at, (name, _))| (*name, score(&|run: &Measured| run.baselines[at].1)));
        Self {
            name: name.to_owned(),
            score: score(&|run: &Measured| run.predicted_ms),
            median_lo_pct: of_median.lo,
            median_hi_pct: of_median.hi,
            noise_pct: bootstrap(&noise.collect::<Vec<_>>()).median,
            baselines: baselines.collect(),
        }
    }
}

impl Provenance {
    fn read() -> Result<Self> {
        let date = Command::new("date").args(["-u", "+%F %T UTC"]).output()?;
        let read = |path: &str| {
            std::fs::read_to_string(path).with_context(|| format!("{path} cannot be read"))
        };
        let cpu = read("/proc/cpuinfo")?;
        let model = cpu.lines().find_map(|line| line.strip_prefix("model name"));
        let model = model.map(|model| model.trim_start_matches([' ', '\t', ':']));
        let kernel = read("/proc/sys/kernel/osrelease")?;
        Ok(Self {
            date: String::from_utf8_lossy(&date.stdout).trim().to_owned(),
            kernel: kernel.trim().to_owned(),
            cpu: model.unwrap_or("unknown").to_owned(),
            cores: std::thread::available_parallelism()?.get(),
            load: read("/proc/loadavg")?
                .split(' ')
                .next()
                .unwrap_or_default()
                .to_owned(),
            transport: "TCP cubic, MTU 1500, a connection for each direction and channel",
            links: "veth, HTB at both ends; a queue for each connection, or one of 256 KiB (FIFO); no delay added",
        })
    }
}

fn by_kind(runs: &[&Measured]) -> Vec<Kind> {
    let mut kinds: BTreeMap<String, Vec<&Measured>> = BTreeMap::new();
    for run in runs {
        kinds.entry(run.case.kind()).or_default().push(run);
    }
    let kinds = kinds.iter();
    kinds.map(|(name, runs)| Kind::of(name, runs)).collect()
}

impl Report {
    /// The report of all runs.
    ///
    /// # Errors
    /// When the kernel does not say where it runs.
    pub(crate) fn new(
        all: &[Measured],
        calibration: Calibration,
        sweep: &[(u64, f64)],
        repeats: u32,
    ) -> Result<Self> {
        let of = |queues: Queues| -> Vec<&Measured> {
            all.iter()
                .filter(|run| run.case.net.queues == queues)
                .collect()
        };
        let (fair, fifo) = (of(Queues::Fair), of(Queues::Fifo));
        Ok(Self {
            provenance: Provenance::read()?,
            calibration,
            sweep: sweep.to_vec(),
            repeats,
            all: Kind::of("all", &fair),
            kinds: by_kind(&fair),
            fifo: (!fifo.is_empty()).then(|| Kind::of("FIFO: all", &fifo)),
            fifo_kinds: by_kind(&fifo),
        })
    }

    /// Whether the errors are as small as they should be.
    ///
    /// # Errors
    /// When the objective is missed.
    pub(crate) fn check(&self) -> Result<()> {
        let Score {
            median_pct,
            p90_pct,
            ..
        } = self.all.score;
        ensure!(
            median_pct <= MEDIAN_PCT && p90_pct <= P90_PCT,
            "median error {median_pct:.1} % (at most {MEDIAN_PCT}), nine of ten below {p90_pct:.1} % (at most \
             {P90_PCT}), at a noise of {:.1} %: the simulator is wrong, or the machine too busy to measure on",
            self.all.noise_pct
        );
        Ok(())
    }

    /// Writes `runs.csv`, `summary.json` and `table.txt` into a folder.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub(crate) fn write(&self, all: &[Measured], out: &Path) -> Result<()> {
        std::fs::create_dir_all(out)
            .with_context(|| format!("{} cannot be made: choose another --out", out.display()))?;
        let mut rows = csv::Writer::from_path(out.join("runs.csv"))?;
        rows.write_record([
            "kind",
            "hosts",
            "rate_MBps",
            "core_MBps",
            "detail",
            "flows",
            "predicted_ms",
            "measured_ms",
            "measured_lo_ms",
            "measured_hi_ms",
            "error_pct",
            "error_lo_pct",
            "error_hi_pct",
            "repeats_ms",
            "coding_overrun_ms",
        ])?;
        for run in all {
            rows.write_record(record(run))?;
        }
        rows.flush()?;
        let json = serde_json::to_string_pretty(self)?;
        std::fs::write(out.join("summary.json"), json + "\n")?;
        std::fs::write(out.join("table.txt"), format!("{self}\n"))?;
        Ok(())
    }
}

fn record(run: &Measured) -> Vec<String> {
    let net = run.case.net;
    let Estimate { lo, median, hi } = bootstrap(&run.repeats_ms);
    let repeats: Vec<String> = run.repeats_ms.iter().map(|ms| format!("{ms:.3}")).collect();
    let core = net.core.map(|core| megabytes(core).to_string());
    vec![
        run.case.kind(),
        net.hosts.to_string(),
        megabytes(net.rate).to_string(),
        core.unwrap_or_default(),
        run.case.detail(),
        run.case.flow_list(),
        format!("{:.3}", run.predicted_ms),
        format!("{median:.3}"),
        format!("{lo:.3}"),
        format!("{hi:.3}"),
        format!("{:.2}", error_pct(run, median)),
        format!("{:.2}", error_pct(run, hi)),
        format!("{:.2}", error_pct(run, lo)),
        repeats.join(" "),
        format!("{:.3}", run.overrun_ms),
    ]
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let interval = format!("({:.1}-{:.1})", self.median_lo_pct, self.median_hi_pct);
        let Score {
            n,
            median_pct,
            p90_pct,
            max_pct,
            bias_pct,
            ..
        } = self.score;
        let noise = self.noise_pct;
        write!(
            f,
            "{n:4} {median_pct:6.1} {interval:12} {p90_pct:6.1} {max_pct:6.1} {bias_pct:+6.1} {noise:6.1}  {}",
            self.name
        )
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Provenance {
            date,
            kernel,
            cpu,
            cores,
            load,
            ..
        } = &self.provenance;
        let Calibration {
            efficiency,
            latency_us,
        } = self.calibration;
        writeln!(
            f,
            "{date}, Linux {kernel}, {cpu}, {cores} cores, load {load}"
        )?;
        writeln!(
            f,
            "calibrated on one flow: {efficiency:.4} of the link's rate, {latency_us:.0} us; {} repeats",
            self.repeats
        )?;
        writeln!(
            f,
            "error of the predicted time, %; noise: half of a measured median's 95 % interval\n"
        )?;
        writeln!(
            f,
            "runs median (95 %)          p90    max   bias  noise  kind"
        )?;
        for kind in std::iter::once(&self.all).chain(&self.kinds) {
            writeln!(f, "{kind}")?;
        }
        for (name, score) in &self.all.baselines {
            let Score {
                n,
                median_pct,
                p90_pct,
                max_pct,
                bias_pct,
                ..
            } = score;
            writeln!(
                f,
                "{n:4} {median_pct:6.1} {:12} {p90_pct:6.1} {max_pct:6.1} {bias_pct:+6.1}        baseline: {name}",
                ""
            )?;
        }
        if self.fifo.is_some() {
            writeln!(
                f,
                "\nbeyond the model: one queue before each link, TCP shares by losing packets"
            )?;
        }
        for kind in self.fifo.iter().chain(&self.fifo_kinds) {
            writeln!(f, "{kind}")?;
        }
        Ok(())
    }
}
