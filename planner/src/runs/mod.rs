//! Measured runs: what was run where, and how long it took.
//!
//! ```text
//! row of a published table ─┐
//! [[host.run]] of a machine ┴▶ Run = machine, model, request, plans, value ─▶ calibration, or a prediction's test
//! ```
//! The one place where cells become the simulator's inputs: built-in runs, a user's own and those that `validate`
//! predicts are read alike. What a row means beyond its cells is in `data/sources.toml`.
//!
//! Guarantees: a run that cannot be read has a reason; a lever that the simulator does not know is one.

pub mod cell;
mod execution;
pub mod host;
mod library;
mod reason;
mod request;
pub mod row;
pub mod source;

use std::sync::Arc;

use kernels::AttentionKernel;
use sim::legality::{self, Illegal};
use sim::model::{self, Model, Request, UnknownModel};
use sim::plan::{Components, Compression, Encoders, Execution, Plan, Precision, RingLoop, Weights};
use sim::platform::Platform;
use sim::workload::Workload;
use thiserror::Error;
use topologies::host::{Calibrates, Compilation, Covers, MeasuredRun, PublishedHost};
use topologies::{Gpu, Machine, SimDuration};

pub(crate) use self::library::one_gpu_runs;
pub use self::library::{Elsewhere, Known};
pub use self::reason::{CellError, Lever, NoRun};
use crate::launch::Engine;
use cell::{Split, Strategy};
use host::{Machines, Place, Span};
use row::{Metric, Row, Value};
use source::{Facts, Loop, Times};

/// A measured run.
#[derive(Clone, Debug)]
pub struct Run {
    /// Where it is written: file and line.
    pub name: String,
    /// Index of its file.
    pub file: usize,
    /// Its line there, from 1; 0 for a run of a machine file.
    pub line: u64,
    /// The table that it stands in.
    pub table: String,
    /// Whose machine.
    pub host: PublishedHost,
    /// Who measured.
    pub project: String,
    /// The machine; the run used its first GPUs.
    pub machine: Arc<Machine>,
    /// What messages among its GPUs cost.
    pub platform: Arc<Platform>,
    /// How many.
    pub gpus: u32,
    /// How its ranks sit.
    pub span: Span,
    /// The model.
    pub model: &'static Model,
    /// What was asked of it.
    pub request: Request,
    /// What one forward pass does.
    pub workload: Workload,
    /// The plans; the fastest where the split is not printed.
    pub strategy: Strategy,
    /// Whether the model was compiled, and by what.
    pub compiler: Compiler,
    /// Who executed it, as far as that changes a time.
    pub engine: Engine,
    /// Who computed attention.
    pub attention: AttentionKernel,
    /// What the value covers.
    pub covers: Metric,
    /// The value.
    pub value: Value,
    /// How it was published: printed, digitised ...
    pub quality: String,
    /// Why the source itself casts doubt on it.
    pub doubt: Option<Doubt>,
    /// What alone it may calibrate.
    pub role: Option<Calibrates>,
    /// What its source's tables mean.
    pub facts: Facts,
    /// The strategy as it was published.
    pub strategy_cell: String,
}

/// What compiled a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Compiler {
    /// Nothing.
    None,
    /// `torch.compile`.
    Torch,
    /// OneDiff.
    OneDiff,
}

impl Compiler {
    fn of(cell: &str) -> Self {
        match cell {
            "onediff" => Self::OneDiff,
            _ if cell.starts_with("yes") => Self::Torch,
            _ => Self::None,
        }
    }

    /// Eager or compiled.
    #[must_use]
    pub const fn compilation(self) -> Compilation {
        match self {
            Self::None => Compilation::Eager,
            Self::Torch | Self::OneDiff => Compilation::Compiled,
        }
    }
}

/// Boards run above the boost clock of their sheet: published Z-Image runs on RTX 5090 take 1.07 to 1.11 times its peak.
const ABOVE_SHEET: f64 = 1.15;

/// No request is served in less.
const SHORTEST: SimDuration = SimDuration::new(1_000_000);

/// Why a source doubts its own row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Doubt {
    /// Its column of quality says so, in this word.
    Marked(String),
    /// It is of a state of the code that the source replaced.
    Replaced,
    /// Its steps, in these words, are an assumption.
    Steps(String),
    /// Its value may hold the time to compile.
    Compiling,
}

/// A run of a machine file that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{place}: {key} {fault}: correct it, or remove the run")]
pub struct RunError {
    /// File and line.
    pub place: String,
    /// The key.
    pub key: &'static str,
    /// What is wrong with it.
    pub fault: String,
}

impl Run {
    /// The run of a row.
    ///
    /// # Errors
    /// Why there is none.
    pub fn of_row(row: &Row, machines: &mut Machines) -> Result<Self, NoRun> {
        let model = request::model_of(&row.model)?;
        let facts = Facts::of(&row.source, model);
        request::refuse_odd_cells(row)?;
        request::refuse_levers(row)?;
        let owner = facts.owner.clone().unwrap_or_default();
        let host = host::published(row, &owner);
        let span = Span::of(row)?;
        if span == Span::OneBox {
            host::gpu_of(row)?;
        }
        if row.gpus == 0 {
            return Err(NoRun::GpusNotStated);
        }
        let Place { machine, platform } = machines.of(row, &host)?;
        let attention = request::attention(row, &facts, &machine.gpus[0])?;
        let request = request::of_row(row, model, &facts)?;
        let workload = Workload::new(model, &request)?;
        let strategy = executed(row, model, &workload, &facts)?;
        if let Some(plan) = strategy
            .plans
            .iter()
            .find(|plan| !plan.execution.precision.runs_on(&machine.gpus[0]))
        {
            let precision = plan.execution.precision.to_string();
            return Err(NoRun::Lever(Lever::Precision, precision));
        }
        let covers = match (row.metric, facts.times) {
            (Metric::Latency, Some(Times::Loop)) => Metric::Denoise,
            (metric, _) => metric,
        };
        Ok(Self {
            name: row.name.clone(),
            file: row.file,
            line: row.line,
            table: row.table.clone(),
            project: facts.project.clone().unwrap_or_default(),
            host,
            machine,
            platform,
            gpus: row.gpus,
            span,
            model,
            request,
            workload,
            strategy,
            compiler: Compiler::of(&row.compile),
            engine: facts.engine(),
            attention,
            covers,
            value: row.value,
            quality: row.quality.clone(),
            doubt: doubt(row),
            role: None,
            facts,
            strategy_cell: row.strategy.clone(),
        })
    }

    /// The run of a machine file.
    ///
    /// # Errors
    /// [`RunError`] naming file, line and key.
    pub fn of_machine(run: &MeasuredRun, place: &Place) -> Result<Self, RunError> {
        let machine = &place.machine;
        let fault = |key: &'static str| {
            move |fault: String| RunError {
                place: run.place.clone(),
                key,
                fault,
            }
        };
        let model = model::find(&run.model).map_err(|error| {
            let UnknownModel { name, nearest, .. } = error;
            fault("host.run.model")(format!("is \"{name}\", the nearest known is \"{nearest}\""))
        })?;
        let has = machine.gpus.len();
        if run.gpus as usize > has {
            return Err(fault("host.run.gpus")(format!(
                "is {}, the machine has {has}",
                run.gpus
            )));
        }
        let request = request::of_machine(run, model);
        let workload = Workload::new(model, &request);
        let workload = workload.map_err(|error| fault("host.run")(error.to_string()))?;
        if run.latency < SHORTEST {
            let why = format!(
                "is {}: write what was measured, at least {SHORTEST}",
                run.latency
            );
            return Err(fault("host.run.latency")(why));
        }
        let row = Row {
            gpus: run.gpus,
            strategy: run.strategy.clone(),
            ..Row::default()
        };
        let facts = Facts::default();
        let gpu = &machine.gpus[0];
        let named = |name: &String| AttentionKernel::named(name, gpu.architecture);
        let attention = run.attention.as_ref().map(named).transpose();
        let attention =
            attention.map_err(|error| fault("host.run.attention")(format!("is an {error}")))?;
        let attention = attention.unwrap_or_else(|| Engine::Xdit.attention(gpu));
        if !attention.runs_on(gpu) {
            let why = format!("is {attention}, which is not built for {}", gpu.name);
            return Err(fault("host.run.attention")(why));
        }
        let strategy = match cell::line(&run.strategy, run.gpus) {
            Some(line) => line,
            None => strategy(&row, model, &workload, &facts),
        };
        let strategy = strategy.map_err(|error| fault("host.run.strategy")(error.to_string()))?;
        let owner = machine.host.name.clone();
        let read = Self {
            name: run.place.clone(),
            file: 0,
            line: 0,
            table: String::new(),
            host: PublishedHost {
                owner: owner.clone(),
                gpu: machine.gpus[0].name.clone(),
                interconnect: machine.interconnect(),
            },
            project: owner,
            machine: Arc::clone(machine),
            platform: Arc::clone(&place.platform),
            gpus: run.gpus,
            span: Span::OneBox,
            model,
            request,
            workload,
            strategy,
            compiler: match run.compiled {
                Compilation::Eager => Compiler::None,
                Compilation::Compiled => Compiler::Torch,
            },
            engine: Engine::Xdit,
            attention,
            covers: match run.covers {
                Covers::All => Metric::Latency,
                Covers::Steps => Metric::Denoise,
            },
            value: Value::Number(run.latency.as_secs_f64()),
            quality: "printed".to_owned(),
            doubt: None,
            role: run.calibrates,
            facts,
            strategy_cell: run.strategy.clone(),
        };
        match read.beyond_peak() {
            None => Ok(read),
            Some(times) => Err(fault("host.run.latency")(format!(
                "is {}, which takes {times:.2} times the peak of {} {}",
                run.latency, run.gpus, read.machine.gpus[0].name
            ))),
        }
    }

    /// Whether its plans may run.
    ///
    /// # Errors
    /// Why one may not.
    pub fn check(&self) -> Result<(), Illegal> {
        let check = |plan: &Plan| {
            let pads = self.engine.pads(plan);
            legality::check_padded(self.model, &self.workload, plan, self.gpus as usize, pads)
        };
        let mut plans = self.strategy.plans.iter();
        plans.try_for_each(|plan| check(plan).map(drop))
    }

    /// How many times the sheet's peak of its GPUs its value implies, where that is more than any board reaches.
    #[must_use]
    pub fn beyond_peak(&self) -> Option<f64> {
        let seconds = self.measured().filter(|_| self.covers.is_latency())?;
        let whole = self.workload.denoise_flops().as_f64();
        let attention = self.workload.attention_flops().as_f64();
        let linear = self.workload.linear_flops().as_f64();
        // Attention in 8 bits has another peak.
        let counted = match self.attention.is_lossy() {
            true => whole * linear / (linear + attention),
            false => whole,
        };
        let peak = self.gpu().peak_bf16.as_f64() * f64::from(self.gpus);
        let times = counted / seconds / peak;
        (times > ABOVE_SHEET).then_some(times)
    }

    /// The measured value, in seconds or bytes; none for out of memory.
    #[must_use]
    pub fn measured(&self) -> Option<f64> {
        match self.value {
            Value::Number(value) => Some(value),
            Value::OutOfMemory | Value::Missing => None,
        }
    }

    /// The GPU that it ran on.
    #[must_use]
    pub fn gpu(&self) -> &Gpu {
        &self.machine.gpus[0]
    }

    /// Whether it is written in a machine file, not in a published table.
    #[must_use]
    pub const fn is_of_machine_file(&self) -> bool {
        self.line == 0
    }

    /// Whether it used one GPU.
    #[must_use]
    pub const fn is_one_gpu(&self) -> bool {
        self.gpus == 1
    }

    /// Whether it says how ranks are split.
    #[must_use]
    pub fn is_printed_split(&self) -> bool {
        self.strategy.split == Split::Printed
    }

    /// Whether its value is printed, not read off a chart.
    #[must_use]
    pub fn is_digitised(&self) -> bool {
        self.quality == "digitised"
    }

    /// Whether GPU time is what it is in 16 bits with weights on the GPU: what may calibrate a host.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        let Execution {
            residency,
            precision,
        } = self.plan().execution;
        let stays = matches!(residency.transformer, Weights::Resident | Weights::Sharded)
            && residency.components == Components::Together
            && residency.encoders == Encoders::Whole;
        stays && precision == Precision::Bf16
    }

    /// The plan, or the first of them.
    #[must_use]
    pub fn plan(&self) -> &Plan {
        &self.strategy.plans[0]
    }

    /// Forward passes that the value covers.
    #[must_use]
    pub fn forwards(&self, plan: &Plan) -> f64 {
        let per_step = self
            .workload
            .forwards_per_step
            .div_ceil(u64::from(plan.cfg));
        per_step as f64 * f64::from(self.workload.request.steps)
    }

    /// What runs of the same request on the same host have in common.
    #[must_use]
    pub fn key(&self) -> Key<'_> {
        (
            &self.host,
            &self.model.name,
            self.request,
            self.compiler,
            self.covers,
            self.plan().execution,
        )
    }

    /// In a sentence: `FLUX.1-dev 1024x1024 ring4 on 4 GPU, 10.9 s`.
    #[must_use]
    pub fn title(&self) -> String {
        let seconds = SimDuration::from_secs_f64(self.measured().unwrap_or_default());
        let size = self.request.resolution;
        let (model, plan) = (&self.model.name, self.plan());
        let compilation = self.compiler.compilation();
        format!(
            "{model} {size} {plan} {compilation} on {} GPU, {seconds}",
            self.gpus
        )
    }
}

/// What runs of one request on one host share: the one-GPU run and those on several.
pub type Key<'a> = (
    &'a PublishedHost,
    &'a str,
    Request,
    Compiler,
    Metric,
    Execution,
);

/// The plans of a row, executed as its cells say.
fn executed(
    row: &Row,
    model: &'static Model,
    workload: &Workload,
    facts: &Facts,
) -> Result<Strategy, NoRun> {
    let (execution, cell) = execution::of_row(row, facts)?;
    let row = Row {
        strategy: cell,
        ..row.clone()
    };
    let mut strategy = strategy(&row, model, workload, facts)?;
    for plan in &mut strategy.plans {
        plan.execution = execution;
    }
    Ok(strategy)
}

/// The plans of a row, with its compressor.
fn strategy(
    row: &Row,
    model: &'static Model,
    workload: &Workload,
    facts: &Facts,
) -> Result<Strategy, CellError> {
    let legal = |plan: &Plan| {
        let pads = facts.engine().pads(plan);
        legality::check_padded(model, workload, plan, row.gpus as usize, pads).is_ok()
    };
    let context = cell::Context {
        gpus: row.gpus,
        rows: u32::try_from(workload.rows * workload.forwards_per_step).unwrap_or(u32::MAX),
        warmup: &row.warmup,
        pipeline_warmup: facts.pipeline_warmup.unwrap_or(0),
        legal: &legal,
    };
    let mut strategy = cell::read(&row.strategy, &context)?;
    if let Some(compressor) = cell::compressor(&row.compressor)? {
        let stated = row::first_count(&row.warmup).map(|(count, _)| count);
        for plan in &mut strategy.plans {
            plan.compression = Compression::Uniform(compressor);
            plan.warmup = stated.or(facts.compressed_warmup).unwrap_or(1);
            plan.ring_loop = match facts.compressed_loop {
                Some(Loop::Fused) if plan.has_ring() => RingLoop::Fused,
                _ => RingLoop::Engine,
            };
        }
    }
    if let Some(word) = row
        .compressor
        .to_lowercase()
        .split(' ')
        .next()
        .filter(|word| !word.is_empty())
    {
        strategy.family = format!("{}/{word}", strategy.family);
    }
    if row.per_step {
        for plan in &mut strategy.plans {
            plan.warmup = 0;
        }
    }
    Ok(strategy)
}

/// Why the source itself casts doubt on the row.
fn doubt(row: &Row) -> Option<Doubt> {
    let bracket = row::first_count(&row.steps).is_some_and(|(_, rest)| rest.starts_with('('));
    if matches!(row.quality.as_str(), "suspect" | "assumed") {
        Some(Doubt::Marked(row.quality.clone()))
    } else if row.strategy.contains("(before") {
        Some(Doubt::Replaced)
    } else if bracket {
        Some(Doubt::Steps(row.steps.clone()))
    } else if row.compile.starts_with("yes(s") {
        Some(Doubt::Compiling)
    } else {
        None
    }
}
