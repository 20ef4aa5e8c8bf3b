//! `calibrate`: measures the GPU found through `ditplan_capture`, and says what was measured.
//! `--nccl-tests` takes a host's collectives from logs instead.

use std::ffi::OsString;
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Result, anyhow, bail};
use clap::{Args, ValueEnum};
#[cfg(test)]
use planner::profile::Part;
use planner::profile::summary::{PartSummary, Summary};
use planner::profile::{Accept, Profile};
#[cfg(test)]
use schemars::JsonSchema;
use serde::Serialize;

use self::nccl::NcclArguments;
use crate::ending::{self, Stopped};
use crate::question::Format;
use crate::render::json::{Amount, Score, pretty};
use crate::render::text::{self, heading};

mod nccl;

/// Ends with 3 where Python lacks a module.
const HAS_MODULES: &str = "import importlib.util as u, sys; \
    sys.exit(0 if u.find_spec('torch') and u.find_spec('ditplan_capture') else 3)";
/// How the Python side comes to be.
const INSTALL: &str = "install it from a checkout with `pip install ./traces/capture` beside a PyTorch for your CUDA, or name a Python that has both with --python";
/// What `ditplan_capture.calibrate` ends with when it was stopped.
const STOPPED: i32 = 130;

/// What is measured, and where to.
#[derive(Debug, Args)]
pub(crate) struct CalibrateArguments {
    /// The profile's directory; one that is there is continued. With --nccl-tests, the machine file
    /// [default there: print it]
    #[arg(long, value_name = "DIR", required_unless_present_any = ["summary", "nccl_tests"])]
    pub out: Option<PathBuf>,
    /// Measure nothing: say what a profile holds
    #[arg(long, value_name = "DIR", conflicts_with_all = ["out", "device", "parts", "toy", "budget_s", "python"])]
    pub summary: Option<PathBuf>,
    #[command(flatten)]
    pub nccl: NcclArguments,
    /// What is measured; a processor's profile only tries the path out
    #[arg(long, value_enum, default_value_t = DeviceArgument::Cuda)]
    pub device: DeviceArgument,
    /// Which parts, separated by commas: attention, gemm, copies, blocks, memory, launch, interference
    /// [default: all]
    #[arg(long, value_name = "PARTS")]
    pub parts: Option<String>,
    /// Tiny shapes, to try the program out
    #[arg(long)]
    pub toy: bool,
    /// Seconds after which nothing more is begun; the same command continues
    #[arg(long, value_name = "SECONDS")]
    pub budget_s: Option<f64>,
    /// The Python that has PyTorch and ditplan_capture
    #[arg(long, value_name = "PYTHON", default_value = "python3")]
    pub python: PathBuf,
    #[command(flatten)]
    pub format: Format,
}

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum DeviceArgument {
    /// The GPU that PyTorch finds first
    Cuda,
    /// The processor
    Cpu,
}

/// What a profile of a GPU holds (docs/profiles.md).
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub(crate) struct CalibrateAnswer {
    /// The profile's directory.
    pub profile: String,
    /// The device's own name.
    pub gpu: String,
    /// Whether it is a processor's: it tries the path out, and nothing is predicted from it.
    pub processor: bool,
    /// Whether only tiny shapes were measured.
    pub toy: bool,
    /// What a reader must know, one sentence each.
    pub notes: Vec<String>,
    /// Parts that have points.
    pub parts: Vec<Measured>,
    /// Parts that are not complete.
    pub partial: Vec<String>,
}

/// A part that has points.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(JsonSchema))]
pub(crate) struct Measured {
    /// The part, in words.
    #[cfg_attr(test, schemars(extend("enum" = Part::ALL.map(Part::words))))]
    pub part: &'static str,
    /// Its file in the directory.
    #[cfg_attr(test, schemars(extend("enum" = Part::ALL.map(Part::file))))]
    pub file: &'static str,
    /// Measured points.
    #[cfg_attr(test, schemars(range(min = 1)))]
    pub points: usize,
    /// Median over points of (p90 - p10) / median of the repeats, percent; null without repeats.
    pub spread_pct: Option<Amount>,
    /// Errors of ditplan's built-in predictions over these measurements; null where it predicts no such points.
    pub built_in: Option<Score>,
}

impl From<&Summary> for CalibrateAnswer {
    fn from(of: &Summary) -> Self {
        let parts = of.parts.iter().map(|part| Measured {
            part: part.part.words(),
            file: part.part.file(),
            points: part.points,
            spread_pct: part.spread_pct.map(Amount::from),
            built_in: part.built_in.as_ref().map(Score::from),
        });
        Self {
            profile: of.profile.clone(),
            gpu: of.gpu.clone(),
            processor: of.processor,
            toy: of.toy,
            notes: of.notes.clone(),
            parts: parts.collect(),
            partial: of.partial.clone(),
        }
    }
}

/// What `calibrate` prints.
pub(crate) fn answer(typed: &CalibrateArguments) -> Result<String> {
    if !typed.nccl.nccl_tests.is_empty() {
        return nccl::answer(&typed.nccl, typed.out.as_deref());
    }
    let directory = match (&typed.summary, &typed.out) {
        (Some(directory), _) => directory,
        (None, Some(out)) => {
            check_python(&typed.python)?;
            measure(typed, out)?;
            out
        }
        (None, None) => bail!("calibrate: give --out DIR, or --summary DIR"),
    };
    let summary = Profile::read(directory, Accept::Any)?.summary();
    if typed.format.json {
        return Ok(pretty(&CalibrateAnswer::from(&summary)));
    }
    Ok(report(&summary))
}

/// Refuses a Python that is not there or lacks a module.
fn check_python(python: &Path) -> Result<()> {
    let mut command = Command::new(python);
    command.args(["-c", HAS_MODULES]).stdin(Stdio::null());
    let found = command
        .output()
        .map_err(|error| not_started(python, &error))?;
    match found.status.code() {
        Some(0) => Ok(()),
        Some(3) => bail!(
            "{} has no PyTorch or no ditplan_capture: {INSTALL}",
            python.display()
        ),
        _ => bail!(
            "{} does not run Python ({}): name one with --python",
            python.display(),
            String::from_utf8_lossy(&found.stderr)
                .lines()
                .last()
                .unwrap_or("no message")
        ),
    }
}

fn not_started(python: &Path, error: &std::io::Error) -> anyhow::Error {
    let name = python.display();
    match error.kind() {
        ErrorKind::NotFound => {
            anyhow!("{name} is not found: calibrating needs Python with ditplan_capture; {INSTALL}")
        }
        _ => anyhow!("{name} cannot be started ({error}): name another Python with --python"),
    }
}

/// Runs the measurement; its progress goes to standard error. Ctrl-C reaches it too: it ends the point
/// under way and keeps what it has, while this program waits for it.
fn measure(typed: &CalibrateArguments, out: &Path) -> Result<()> {
    let mut command = Command::new(&typed.python);
    command
        .args(["-m", "ditplan_capture.calibrate"])
        .args(given(typed, out));
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    ending::wait_for_other();
    let ran = command
        .spawn()
        .and_then(std::process::Child::wait_with_output);
    let ran = ran.map_err(|error| not_started(&typed.python, &error))?;
    let said = String::from_utf8_lossy(&ran.stdout);
    for line in said.lines() {
        let _ = writeln!(std::io::stderr(), "{line}");
    }
    match ran.status.code() {
        Some(0) => Ok(()),
        Some(STOPPED) => bail!(Stopped(format!(
            "calibrate was stopped: {} keeps what was measured, and the same command goes on",
            out.display()
        ))),
        Some(code) => {
            bail!("the measurement ended with exit code {code}: what it said stands above")
        }
        None => bail!("the measurement was killed: the same command goes on behind the last point"),
    }
}

/// The arguments of `ditplan_capture.calibrate`.
fn given(typed: &CalibrateArguments, out: &Path) -> Vec<OsString> {
    let device = match typed.device {
        DeviceArgument::Cuda => "cuda",
        DeviceArgument::Cpu => "cpu",
    };
    let mut given: Vec<OsString> =
        vec!["--out".into(), out.into(), "--device".into(), device.into()];
    if let Some(parts) = &typed.parts {
        given.extend(["--parts".into(), parts.into()]);
    }
    if let Some(seconds) = typed.budget_s {
        given.extend(["--budget-s".into(), seconds.to_string().into()]);
    }
    if typed.toy {
        given.push("--toy".into());
    }
    given
}

/// The summary for people.
fn report(summary: &Summary) -> String {
    let mut page = heading(&format!("{}: {}", summary.profile, summary.gpu));
    let header = [
        "part",
        "points",
        "spread, %",
        "built-in: median, %",
        "p90, %",
        "bias, %",
    ];
    let mut table = text::table(&header, &[1, 2, 3, 4, 5]);
    let percent =
        |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |value| format!("{value:.1}"));
    for PartSummary {
        part,
        points,
        spread_pct,
        built_in,
        ..
    } in &summary.parts
    {
        let of = |field: fn(&planner::validate::statistics::Score) -> f64| {
            percent(built_in.as_ref().map(field))
        };
        table.add_row([
            part.words().to_owned(),
            points.to_string(),
            percent(*spread_pct),
            of(|score| score.median_pct),
            of(|score| score.p90_pct),
            of(|score| score.bias_pct),
        ]);
    }
    page.push_str(&text::rendered(&mut table));
    let mut say = |sentence: &str| page.push_str(&text::wrapped(&format!("  {sentence}"), 4));
    say(
        "spread: (p90 - p10) / median of the repeats, median over points; built-in: the difference of ditplan's own prediction from the measurement",
    );
    if summary.processor {
        say(
            "a processor (cpu): it tries the path out and is no GPU's profile; nothing is predicted of it",
        );
    }
    if summary.toy {
        say("a toy profile: tiny shapes, to try the program out");
    }
    if !summary.partial.is_empty() {
        say(&format!(
            "not complete: {}; the same command goes on",
            summary.partial.join(", ")
        ));
    }
    for note in &summary.notes {
        say(note);
    }
    page
}
