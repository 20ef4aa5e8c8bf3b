//! From what was typed to what is asked: flags that commands share, and the files that they name.

mod arguments;
pub(crate) mod arrivals;
pub(crate) mod files;
pub(crate) mod prices;
mod quality;

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, bail, ensure};
use kernels::AttentionKernel;
use sim::model::{self, Guidance, Model, Request};
use sim::plan::{Plan, Precision};
use topologies::host::Compilation;
use topologies::import::{self, Hints};
use topologies::{Faults, Gpu, LinkKind, Machine};

pub(crate) use arguments::{Compile, EngineArgument, Format, GuidanceArgument, QuestionArguments};
use planner::launch::{Engine, starts};
use planner::profile::{Accept, Profile};
use planner::runs::Known;
use planner::search::{Filter, Question};

/// How many plans are shown to people.
pub(crate) const SHOWN: usize = 10;

/// The question about one model on one machine.
pub(crate) fn question(typed: &QuestionArguments, filter: Filter) -> Result<Question> {
    let model = model_of(&typed.model)?;
    let measured = machine(&typed.machine)?;
    let mut machine = measured.clone();
    if let Some(rate) = typed.network {
        let networked = machine
            .links
            .iter()
            .any(|link| link.kind == LinkKind::Network);
        ensure!(
            networked,
            "--network: {} has no network links to change",
            machine.name
        );
        machine = machine.with_bandwidth(Some(LinkKind::Network), rate)?;
    }
    let known = Arc::new(Known::of_machine(&measured)?);
    let request = request(typed, model, &known)?;
    let quality = quality::of(typed.trace.as_deref(), filter.budget, model, &request)?;
    let profile = typed.profile.as_deref();
    let profile = profile
        .map(|path| profile_of(path, &measured))
        .transpose()?;
    let has = u32::try_from(machine.gpus.len()).expect("a machine has fewer than 2^32 GPUs");
    let gpus = typed.gpus.unwrap_or(has);
    ensure!(
        (1..=has).contains(&gpus),
        "{} has {has} GPUs: --gpus must be from 1 to {has}, not {gpus}",
        machine.name
    );
    let faults = typed.fault.as_deref().map(str::parse::<Faults>);
    let faults = faults.transpose().context("--fault")?.unwrap_or_default();
    let machine = faults.rewired(machine).context("--fault")?;
    let faults = faults.checked(&machine).context("--fault")?;
    let attention = attention(typed.attention_kernel.as_deref(), &machine.gpus[0])?;
    if let Some(kernel) = attention.filter(|kernel| kernel.is_lossy()) {
        let asks = filter.exact_only || filter.max_fid.is_some() || filter.budget.is_some();
        ensure!(
            !asks,
            "--attention-kernel: {kernel} is lossy, and by how much nothing here predicts: leave out --exact, \
             --max-fid and --budget, or take another kernel"
        );
    }
    let engine = match &typed.engine {
        None | Some(EngineArgument::Any) => Engine::Xdit,
        Some(EngineArgument::BuiltIn(engine)) => *engine,
        Some(EngineArgument::File(path)) => engine_of(path)?,
    };
    let mut filter = filter;
    filter.launchable |=
        typed.engine != Some(EngineArgument::Any) && starts(engine, model, &request);
    Ok(Question {
        model,
        request,
        measured,
        known,
        faults,
        gpus,
        engine,
        attention,
        compilation: match typed.compile {
            Compile::No | Compile::Auto => Compilation::Eager,
            Compile::Yes => Compilation::Compiled,
        },
        either_compilation: typed.compile == Compile::Auto,
        precision: precision(typed.precision.as_deref(), &machine.gpus[0])?,
        filter,
        quality,
        profile,
        fastest: false,
        shown: SHOWN,
        machine,
    })
}

/// The engine that a user's file describes.
fn engine_of(path: &Path) -> Result<Engine> {
    let file = path.display().to_string();
    let bytes =
        files::bytes(path).with_context(|| format!("--engine: the file {file} cannot be read"))?;
    Ok(Engine::read(import::text(&bytes, &file)?, &file)?)
}

/// The precision of this name, if it runs on the GPU; none for any.
fn precision(name: Option<&str>, gpu: &Gpu) -> Result<Option<Precision>> {
    let known = || Precision::ALL.into_iter();
    let precision = match name {
        None => Precision::Bf16,
        Some("any") => return Ok(None),
        Some(name) => known().find(|one| one.word() == name).with_context(|| {
            let words: Vec<&str> = known().map(Precision::word).collect();
            format!(
                "--precision: \"{name}\" is not known: take one of {}, or any",
                words.join(", ")
            )
        })?,
    };
    let runs: Vec<&str> = known()
        .filter(|one| one.runs_on(gpu))
        .map(Precision::word)
        .collect();
    ensure!(
        precision.runs_on(gpu),
        "--precision: {precision} does not run on {}: take one of {}",
        gpu.name,
        runs.join(", ")
    );
    Ok(Some(precision))
}

/// The attention kernel of this name, if it runs on the GPU.
fn attention(name: Option<&str>, gpu: &Gpu) -> Result<Option<AttentionKernel>> {
    let Some(name) = name else { return Ok(None) };
    let kernel = AttentionKernel::named(name, gpu.architecture).context("--attention-kernel")?;
    let runs = AttentionKernel::ALL
        .into_iter()
        .filter(|one| one.runs_on(gpu));
    let runs: Vec<&str> = runs.map(AttentionKernel::name).collect();
    ensure!(
        kernel.runs_on(gpu),
        "--attention-kernel: {kernel} is not built for {}: take one of {}",
        gpu.name,
        runs.join(", ")
    );
    Ok(Some(kernel))
}

/// The profile in a directory, of the GPU that the machine has.
fn profile_of(directory: &Path, measured: &Machine) -> Result<Arc<Profile>> {
    let named = || format!("--profile {}", directory.display());
    let profile = Profile::read(directory, Accept::Gpu).with_context(named)?;
    profile.check(&measured.name, &measured.gpus[0])?;
    Ok(Arc::new(profile))
}

/// The plan to simulate, on the GPUs that may be used.
pub(crate) fn plan(line: &str, question: &Question) -> Result<Plan> {
    let plan: Plan = line.parse()?;
    ensure!(
        plan.ranks() <= question.gpus,
        "{plan} needs {} GPUs, {} has {} for it: name a larger machine or a smaller plan",
        plan.ranks(),
        question.machine.name,
        question.gpus
    );
    Ok(plan)
}

/// What is asked of the model; a size or a count that it cannot serve is refused here.
fn request(typed: &QuestionArguments, model: &Model, known: &Known) -> Result<Request> {
    let usual = model.default;
    let mut of_model = known.own.iter().filter(|run| run.model == model);
    let measured = of_model.next().map(|run| run.request.text_tokens);
    let text_tokens = typed.text_tokens.or(measured).unwrap_or(usual.text_tokens);
    ensure!(
        text_tokens > 0 || usual.text_tokens == 0,
        "--text-tokens is 0: give at least 1"
    );
    let resolution = typed.size.as_deref().map(str::parse).transpose()?;
    let request = Request {
        resolution: resolution.unwrap_or(usual.resolution),
        frames: typed.frames.unwrap_or(usual.frames),
        steps: typed.steps.unwrap_or(usual.steps),
        batch: typed.batch,
        guidance: match typed.guidance {
            GuidanceArgument::Default => usual.guidance,
            GuidanceArgument::None => Guidance::None,
            GuidanceArgument::Batched => Guidance::Batched,
            GuidanceArgument::Sequential => Guidance::Sequential,
            GuidanceArgument::Triple => Guidance::Triple,
        },
        text_tokens,
    };
    model.grid(&request)?;
    Ok(request)
}

/// The model of this name, or of this file: our TOML, or a `config.json` (or the folder that holds it).
fn model_of(name: &str) -> Result<&'static Model> {
    let path = Path::new(name);
    let ending = path.extension().and_then(OsStr::to_str).unwrap_or_default();
    let is_file = matches!(ending, "json" | "toml") || path.exists();
    match model::find(name) {
        Ok(model) => return Ok(model),
        Err(unknown) if !is_file => return Err(unknown.into()),
        Err(_) => {}
    }
    let inside = ["config.json", "transformer/config.json"].map(|file| path.join(file));
    let path = match path.is_dir() {
        true => inside
            .iter()
            .find(|file| file.is_file())
            .map(PathBuf::as_path),
        false => Some(path),
    };
    let Some(path) = path else {
        bail!(
            "{name} is a directory without config.json: give the transformer's config.json, or a model file"
        );
    };
    let file = path.display().to_string();
    let bytes =
        files::bytes(path).with_context(|| format!("the model file {file} cannot be read"))?;
    let found = model::file::read(import::text(&bytes, &file)?, &file)?;
    if found.known {
        return Ok(model::find(&found.model.name)?);
    }
    // One model a run: it lives as long as the program.
    Ok(Box::leak(Box::new(found.model)))
}

/// The preset of this name, or the machine in this file: our TOML, nvidia-smi topo -m, an NCCL topology.
pub(crate) fn machine(name: &str) -> Result<Machine> {
    // A known name never opens a file: `serve` rests on it.
    let unknown = match Machine::preset(name) {
        Ok(machine) => return Ok(machine),
        Err(unknown) => unknown,
    };
    let path = Path::new(name);
    let looks_like_one = name.ends_with(".toml") || name.contains('/');
    if !path.is_file() && (name.contains('@') || !looks_like_one) {
        return Err(unknown.into());
    }
    if path.is_dir() {
        bail!("{name} is a directory: give a machine file");
    }
    let bytes =
        files::bytes(path).with_context(|| format!("the machine file {name} cannot be read"))?;
    Ok(import::machine(&bytes, name, &Hints::default())?.machine)
}
