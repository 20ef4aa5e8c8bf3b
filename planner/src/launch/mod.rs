//! The command that runs a plan, or why an engine cannot run it.
//!
//! | engine | what it runs |
//! |---|---|
//! | xDiT | CFG, Ulysses, Ring, PipeFusion, data; the rest is CompactFusion's, a fork of it |
//! | SGLang Diffusion | CFG, Ulysses, Ring, tensor |
//! | diffusers | Ulysses and Ring, one of them, K and V gathered |
//! | cache-dit | Ulysses, Ring, tensor, with diffusers' pipelines |
//!
//! PipeFusion, the code of its paper, is an engine for what was published with it: no command is written.
//!
//! Flags are those of xDiT 0.7.0, SGLang 0.5.23, diffusers 0.42.1 and cache-dit 1.5.3, whose own code `tests/engines` passes
//! commands to, and of CompactFusion c30d06b. Not checked here: that the plan is legal, and that it fits.

mod attention;
mod cache_dit;
mod compact;
mod decoding;
mod diffusers;
mod file;
mod padding;
mod refusal;
mod sglang;
mod xdit;

use std::collections::BTreeSet;
use std::fmt;

use sim::execution::Software;
use sim::legality::Padding;
use sim::model::{Engines, Guidance, Model, Request};
use sim::plan::Plan;
use topologies::DeviceId;
use topologies::host::Compilation;

pub use self::refusal::{CompactRefusal, Refusal};

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
    /// The code of the PipeFusion paper, from before xDiT.
    PipeFusion,
}

impl fmt::Display for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Xdit => "xDiT",
            Self::Sglang => "SGLang Diffusion",
            Self::Diffusers => "diffusers",
            Self::CacheDit => "cache-dit",
            Self::PipeFusion => "PipeFusion",
        })
    }
}

impl Engine {
    /// Whose pipeline it runs.
    #[must_use]
    pub const fn software(self) -> Software {
        match self {
            Self::PipeFusion => Software::PipeFusionLegacy,
            Self::Sglang => Software::Sglang,
            Self::Xdit | Self::Diffusers | Self::CacheDit => Software::Other,
        }
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
        let command = match engine {
            Engine::Xdit => xdit::command(job),
            Engine::Sglang => sglang::command(job),
            Engine::Diffusers => diffusers::command(job),
            Engine::CacheDit => cache_dit::command(job),
            Engine::PipeFusion => Err(Refusal::NoCommand),
        };
        Self { engine, command }
    }
}

/// Whether an engine starts the model at all: on one GPU.
#[must_use]
pub fn starts(engine: Engine, model: &Model, request: &Request) -> bool {
    let plan = Plan::single(DeviceId::new(0));
    let job = Job {
        plan: &plan,
        model,
        request,
        compilation: Compilation::Eager,
        gpus_per_box: 1,
    };
    Launch::of(engine, &job).command.is_ok()
}

impl Job<'_> {
    /// What engines know of the model, and its repository; or why no engine runs it.
    fn engines(&self) -> Result<(&Engines, &str), Refusal> {
        let engines = &self.model.engines;
        match (&engines.repository, &engines.absent) {
            (Some(repository), _) => Ok((engines, repository)),
            (None, Some(reason)) => Err(Refusal::Absent {
                reason: reason.clone(),
            }),
            (None, None) => Err(Refusal::NoWeights {
                model: self.model.name.clone(),
            }),
        }
    }

    /// Whether ranks pad tokens or heads.
    fn is_padded(&self) -> bool {
        let workload = self.model.workload(self.request);
        workload.is_ok_and(|workload| {
            Padding::of(self.model, &workload, self.plan) != Padding::default()
        })
    }

    /// `--flag value` words of the image or video, with underscores.
    fn shape(&self, flags: &mut Vec<String>) {
        let Request {
            resolution, frames, ..
        } = self.request;
        flags.push(format!("--height {}", resolution.height));
        flags.push(format!("--width {}", resolution.width));
        if *frames > 1 {
            flags.push(format!("--num_frames {frames}"));
        }
        flags.push(format!("--num_inference_steps {}", self.request.steps));
    }

    /// The images that the request begins with.
    fn images(&self) -> Vec<String> {
        let images = 1..=self.model.engines.images;
        images.map(|number| format!("image{number}.png")).collect()
    }

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

    /// `CUDA_VISIBLE_DEVICES=0,2,1,3`, where the ranks are not on a box's first GPUs in order.
    fn visible_devices(&self) -> Option<String> {
        let (_, gpus) = self.boxes().ok()?;
        let in_order = gpus.iter().copied().eq(0..gpus.len());
        let ids: Vec<String> = gpus.iter().map(ToString::to_string).collect();
        (!in_order).then(|| format!("CUDA_VISIBLE_DEVICES={}", ids.join(",")))
    }

    /// Where processes are started: `torchrun` with its count; of several boxes the same command runs in each, and
    /// they meet at `$HEAD`, one of them.
    fn torchrun(&self) -> Result<Vec<String>, Refusal> {
        let (boxes, gpus) = self.boxes()?;
        let mut words: Vec<String> = self.visible_devices().into_iter().collect();
        words.push(format!("torchrun --nproc_per_node={}", gpus.len()));
        if boxes > 1 {
            words.push(format!(
                "--nnodes={boxes} --rdzv_backend=c10d --rdzv_endpoint=$HEAD:29500"
            ));
        }
        Ok(words)
    }
}

/// Flags as words of a command line: each with its values.
fn given(flags: &str) -> Vec<String> {
    let words = flags.split(" --").map(str::trim);
    let words = words.filter(|word| !word.is_empty());
    words
        .map(|word| format!("--{}", word.trim_start_matches("--")))
        .collect()
}

/// The prompt every command asks for.
const PROMPT: &str = "\"a cup of coffee on a wooden desk\"";

/// Words as one shell command, in lines of at most 96 columns.
fn shell(words: &[String]) -> String {
    let mut command = String::new();
    let mut column = 0;
    for word in words {
        if column > 0 && column + 1 + word.len() > 94 {
            command.push_str(" \\\n  ");
            column = 2;
        } else if column > 0 {
            command.push(' ');
            column += 1;
        }
        command.push_str(word);
        column += word.len();
    }
    command
}

#[cfg(test)]
mod tests;
