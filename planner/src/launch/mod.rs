//! The command that runs a plan, or why an engine cannot run it.
//!
//! An engine at a version is a file, `planner/engines/*.toml`: what it runs, what excludes what, which flag or line each
//! becomes, what it takes unless told ([docs/engines.md](../../../docs/engines.md)). What a model is to each engine stands in
//! the model's file. CompactFusion alone is code: it has a name of its settings for each message.
//!
//! Flags are those of the versions in the files, whose own code `tests/engines` passes commands to, and of CompactFusion
//! c30d06b. Not checked here: that the plan is legal, and that it fits.

mod compact;
mod feature;
mod file;
mod refusal;
mod template;
mod words;

use std::collections::BTreeSet;
use std::fmt;

use sim::model::{Guidance, Model, OnEngine, Request};
use sim::plan::Plan;
use topologies::DeviceId;
use topologies::host::Compilation;

pub use self::feature::Feature;
pub use self::file::EngineFile;
pub use self::refusal::{CompactRefusal, Refusal};

use self::file::Unlisted;

/// Who executes a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Engine {
    /// xDiT.
    Xdit,
    /// SGLang Diffusion.
    Sglang,
    /// Hugging Face diffusers.
    Diffusers,
    /// cache-dit, on diffusers.
    CacheDit,
    /// vLLM-Omni.
    VllmOmni,
    /// The code of the PipeFusion paper, from before xDiT.
    PipeFusion,
    /// One that a user's own file describes.
    Own(&'static EngineFile),
}

impl Engine {
    /// Those that are built in.
    pub const BUILT_IN: [Self; 6] = [
        Self::Xdit,
        Self::Sglang,
        Self::Diffusers,
        Self::CacheDit,
        Self::VllmOmni,
        Self::PipeFusion,
    ];
}

impl fmt::Display for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file().name)
    }
}

/// What is to be launched.
#[derive(Clone, Copy, Debug)]
pub struct Job<'a> {
    /// The plan.
    pub plan: &'a Plan,
    /// The model.
    pub model: &'a Model,
    /// The request.
    pub request: &'a Request,
    /// Eager or compiled.
    pub compilation: Compilation,
    /// GPUs of every box, of which the first has the first GPUs; a plan on more is started in each of its boxes.
    pub gpus_per_box: u32,
}

/// The command that runs a plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Launch {
    /// Who executes it.
    pub engine: Engine,
    /// The shell command, or why there is none.
    pub command: Result<String, Refusal>,
}

impl Launch {
    /// How an engine runs a plan.
    #[must_use]
    pub fn of(engine: Engine, job: &Job<'_>) -> Self {
        let command = Case::of(engine, job).command();
        Self { engine, command }
    }
}

/// Whether an engine starts the model at all: on one GPU.
#[must_use]
pub fn starts(engine: Engine, model: &Model, request: &Request) -> bool {
    let plan = Plan::single(DeviceId::new(0));
    let job = Job {
        request,
        ..Job::usual(model, &plan)
    };
    Launch::of(engine, &job).command.is_ok()
}

/// A job before an engine.
struct Case<'a> {
    job: &'a Job<'a>,
    file: &'static EngineFile,
    /// What the engine knows of the model.
    entry: Option<&'a OnEngine>,
}

impl<'a> Case<'a> {
    fn of(engine: Engine, job: &'a Job<'a>) -> Self {
        let file = engine.file();
        let entry = job.model.engines.on.get(&file.models);
        Self { job, file, entry }
    }

    /// The command, or why there is none.
    fn command(&self) -> Result<String, Refusal> {
        let left = self.file.compact_fusion.as_ref();
        if let Some(left) = left.filter(|left| left.runs.iter().any(|one| one.is_of(self))) {
            compact::runs(self)?;
            return Ok(template::shell(&left.command.lines(self)?));
        }
        let command = self.file.command.as_ref().ok_or(Refusal::NoCommand)?;
        self.repository()?;
        self.starts()?;
        self.is_run()?;
        self.residency()?;
        self.precision()?;
        self.job.boxes()?;
        let command = template::shell(&command.lines(self)?);
        let Some(script) = &self.file.script else {
            return Ok(command);
        };
        let script = script.lines(self)?.join("\n");
        Ok(format!("cat > run.py <<'EOF'\n{script}\nEOF\n{command}"))
    }

    /// The repository of the model's weights, or why no engine runs it.
    fn repository(&self) -> Result<String, Refusal> {
        let engines = &self.job.model.engines;
        match (&engines.repository, &engines.absent) {
            (Some(repository), _) => Ok(repository.clone()),
            (None, Some(reason)) => Err(Refusal::Absent {
                reason: reason.clone(),
            }),
            (None, None) => Err(Refusal::NoWeights {
                model: self.job.model.name.clone(),
            }),
        }
    }

    /// Whether the engine starts the model.
    fn starts(&self) -> Result<(), Refusal> {
        let model = || self.job.model.name.clone();
        match self.entry {
            Some(OnEngine {
                absent: Some(reason),
                ..
            }) => Err(Refusal::NotStarted {
                model: model(),
                reason: reason.clone(),
            }),
            None if self.file.unlisted == Unlisted::Refused => {
                Err(Refusal::NotListed { model: model() })
            }
            _ => Ok(()),
        }
    }

    /// Whether the engine runs such a plan of the model.
    fn is_run(&self) -> Result<(), Refusal> {
        let model = || self.job.model.name.clone();
        if let Some(found) = self.file.exclude.iter().find(|one| one.when.holds(self)) {
            return Err(Refusal::Excluded {
                because: found.because.clone(),
            });
        }
        for &feature in feature::LAYOUT.iter().filter(|one| one.is_of(self)) {
            if !self.file.runs.contains(&feature) {
                return Err(Refusal::Lacks { feature });
            }
            if let Some(split) = feature.split()
                && !self
                    .entry
                    .is_some_and(|entry| entry.splits.contains(&split))
            {
                return Err(Refusal::NotSplit {
                    split,
                    model: model(),
                });
            }
        }
        if Feature::Vae.is_of(self) && self.entry.is_some_and(|entry| !entry.parallel_vae) {
            return Err(Refusal::VaeAlone { model: model() });
        }
        Ok(())
    }
}

impl<'a> Job<'a> {
    /// A plan of the model's usual request in one box, eager.
    fn usual(model: &'a Model, plan: &'a Plan) -> Self {
        Self {
            plan,
            model,
            request: &model.default,
            compilation: Compilation::Eager,
            gpus_per_box: u32::MAX,
        }
    }
}

impl Job<'_> {
    /// Whether the pipeline's own guidance has to be switched off.
    fn guidance_is_off(&self) -> bool {
        self.model.uses_guidance() && self.request.guidance == Guidance::None
    }

    /// How many boxes the ranks stand in and on which GPUs of each, as every box numbers its own; or why no command
    /// starts them so: launchers number ranks box by box, equally many in each.
    fn boxes(&self) -> Result<(u32, Vec<usize>), Refusal> {
        let per_box = self.gpus_per_box as usize;
        let number = |gpu: &DeviceId| gpu.index() / per_box;
        let runs = self.plan.placement.chunk_by(|a, b| number(a) == number(b));
        let runs: Vec<&[DeviceId]> = runs.collect();
        let own = |run: &[DeviceId]| -> Vec<usize> {
            run.iter().map(|gpu| gpu.index() % per_box).collect()
        };
        let gpus = own(runs[0]);
        let numbers: BTreeSet<usize> = runs.iter().map(|run| number(&run[0])).collect();
        if numbers.len() == runs.len() && runs.iter().any(|run| run.len() != gpus.len()) {
            return Err(Refusal::UnevenBoxes {
                ranks: self.plan.ranks(),
                gpus_per_box: self.gpus_per_box,
            });
        }
        if numbers.len() < runs.len() || runs.iter().any(|run| own(run) != gpus) {
            return Err(Refusal::ScatteredRanks);
        }
        let boxes = u32::try_from(runs.len()).expect("a plan has fewer than 2^32 ranks");
        Ok((boxes, gpus))
    }

    /// The numbers of its GPUs (`0,2,1,3`), where the ranks are not on a box's first ones in order.
    fn devices(&self) -> Option<String> {
        let (_, gpus) = self.boxes().ok()?;
        let in_order = gpus.iter().copied().eq(0..gpus.len());
        let ids: Vec<String> = gpus.iter().map(ToString::to_string).collect();
        (!in_order).then(|| ids.join(","))
    }
}

/// The prompt every command asks for.
const PROMPT: &str = "\"a cup of coffee on a wooden desk\"";

#[cfg(test)]
mod tests;
