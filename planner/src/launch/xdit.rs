//! xDiT: its runner, or one of its examples.

use sim::model::{Split, Xdit, XditStart};
use sim::plan::{Exchange, Pipeline, RingLoop};
use topologies::host::Compilation;

use super::file::{computed, kept};
use super::refusal::check;
use super::{Engine, Job, PROMPT, Refusal, compact, given, shell};

/// The warm-up of its runner, which has no flag for it.
const RUNNER_WARMUP: u32 = 1;

/// The command, or why there is none.
pub(super) fn command(job: &Job<'_>) -> Result<String, Refusal> {
    let plan = job.plan;
    if !plan.compression.is_raw()
        || plan.ring_loop == RingLoop::Fused
        || matches!(plan.exchange, Exchange::Displaced(n) | Exchange::Gather(n) if n > 1)
    {
        return compact::command(job);
    }
    let (engines, repository) = job.engines()?;
    is_split(job, &engines.xdit)?;
    let is_runner = matches!(engines.xdit.start, XditStart::Runner(_));
    let Pipeline { stages, patches } = plan.pipeline;
    if is_runner && stages > 1 && (patches, plan.warmup) != (stages, RUNNER_WARMUP) {
        return Err(Refusal::RunnerPipeline { patches: stages });
    }
    let mut words = match &engines.xdit.start {
        XditStart::Absent(reason) => {
            return Err(Refusal::NotStarted {
                model: job.model.name.clone(),
                reason: reason.clone(),
            });
        }
        XditStart::Runner(name) => {
            let mut words: Vec<String> = job.visible_devices().into_iter().collect();
            words.push(format!("xdit --model {name}"));
            if let Some(task) = &engines.xdit.task {
                words.push(format!("--task {task}"));
            }
            if !job.images().is_empty() {
                words.push(format!("--input_images {}", job.images().join(" ")));
            }
            let (boxes, gpus) = job.boxes()?;
            if boxes > 1 {
                words.push(format!(
                    "--nnodes {boxes} --nproc_per_node {} --node_rank $NODE_RANK --master_addr $HEAD",
                    gpus.len()
                ));
            }
            words
        }
        XditStart::Example(script) => {
            let mut words = job.torchrun()?;
            words.push(format!("examples/{script} --model {repository}"));
            words.push("--no_use_resolution_binning".to_owned());
            words
        }
    };
    words.extend(given(&kept(Engine::Xdit, job)?));
    words.extend(given(computed(Engine::Xdit, job)?));
    flags(job, is_runner, &mut words);
    Ok(shell(&words))
}

/// Whether xDiT runs this plan of this model.
fn is_split(job: &Job<'_>, xdit: &Xdit) -> Result<(), Refusal> {
    let plan = job.plan;
    let not = |split: Split| {
        let model = job.model.name.clone();
        Refusal::NotSplit { split, model }
    };
    let lacks = |split: Split| !xdit.splits.contains(&split);
    check([
        (
            matches!(plan.exchange, Exchange::Attention2d { .. }),
            Refusal::NoAttention2d,
        ),
        (plan.vae > 1 && !xdit.parallel_vae, Refusal::VaeOnEvery),
        (plan.tensor > 1, not(Split::Tensor)),
        (plan.cfg > 1 && lacks(Split::Guidance), not(Split::Guidance)),
        (
            plan.pipeline.stages > 1 && lacks(Split::Stages),
            not(Split::Stages),
        ),
        (
            plan.sequence() > 1 && lacks(Split::Sequence),
            not(Split::Sequence),
        ),
    ])
}

/// The degrees and the request.
fn flags(job: &Job<'_>, is_runner: bool, words: &mut Vec<String>) {
    let plan = job.plan;
    let mut degree = |flag: &str, degree: u32| {
        if degree > 1 {
            words.push(format!("--{flag} {degree}"));
        }
    };
    degree("data_parallel_degree", plan.data);
    degree("ulysses_degree", plan.ulysses);
    degree("ring_degree", plan.exchange.degree());
    let Pipeline { stages, patches } = plan.pipeline;
    degree("pipefusion_parallel_degree", stages);
    if stages > 1 && !is_runner {
        words.push(format!("--num_pipeline_patch {patches}"));
        words.push(format!("--warmup_steps {}", plan.warmup));
    }
    if plan.cfg > 1 {
        words.push("--use_cfg_parallel".to_owned());
    }
    if plan.vae > 1 {
        words.push("--use_parallel_vae".to_owned());
    }
    if job.compilation == Compilation::Compiled {
        words.push("--use_torch_compile".to_owned());
    }
    job.shape(words);
    if job.model.engines.xdit.text_length {
        words.push(format!("--max_sequence_length {}", job.request.text_tokens));
    }
    if job.guidance_is_off() {
        words.push("--guidance_scale 1.0".to_owned());
    }
    words.push(format!("--prompt {PROMPT}"));
    words.extend((1..job.request.batch).map(|_| PROMPT.to_owned()));
}
