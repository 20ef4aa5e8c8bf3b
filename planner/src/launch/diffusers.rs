//! diffusers: a script for `torchrun`, with its context parallelism.

use sim::plan::{Exchange, RingLoop};
use topologies::host::Compilation;

use super::file::{computed, kept};
use super::refusal::check;
use super::{Engine, Job, PROMPT, Refusal, shell};

/// The command, or why there is none.
pub(super) fn command(job: &Job<'_>) -> Result<String, Refusal> {
    let plan = job.plan;
    let (engines, repository) = job.engines()?;
    starts(job)?;
    let is_split = plan.ranks() > 1;
    check([
        (
            is_split && !engines.diffusers,
            Refusal::NoContextParallelism,
        ),
        (!plan.compression.is_raw(), Refusal::Uncompressed),
        (plan.ring_loop == RingLoop::Fused, Refusal::OwnRingLoop),
        (plan.is_stale(), Refusal::SynchronousOnly),
        (
            matches!(plan.exchange, Exchange::Ring(n) if n > 1),
            Refusal::RingGathers,
        ),
        (
            matches!(plan.exchange, Exchange::Attention2d { .. }),
            Refusal::NoAttention2d,
        ),
        (
            plan.cfg * plan.data * plan.tensor > 1,
            Refusal::UlyssesAndGatherOnly,
        ),
        (plan.vae > 1, Refusal::VaeOnEvery),
    ])?;
    let start = shell(&job.torchrun()?);
    let script = script(
        job,
        repository,
        &(computed(Engine::Diffusers, job)?.to_owned() + &kept(Engine::Diffusers, job)?),
    );
    Ok(format!("cat > run.py <<'EOF'\n{script}EOF\n{start} run.py"))
}

/// Whether diffusers has a pipeline that starts the model.
pub(super) fn starts(job: &Job<'_>) -> Result<(), Refusal> {
    let absent = job.model.engines.diffusers_absent.clone();
    absent.map_or(Ok(()), |reason| {
        Err(Refusal::NotStarted {
            model: job.model.name.clone(),
            reason,
        })
    })
}

/// The script that every rank runs.
fn script(job: &Job<'_>, repository: &str, kept: &str) -> String {
    let plan = job.plan;
    let mut lines = vec![
        "import torch".to_owned(),
        "import torch.distributed as dist".to_owned(),
        "from diffusers import ContextParallelConfig, DiffusionPipeline".to_owned(),
        "dist.init_process_group(\"nccl\")".to_owned(),
        "torch.cuda.set_device(dist.get_rank() % torch.cuda.device_count())".to_owned(),
        "pipe = DiffusionPipeline.from_pretrained(".to_owned(),
        format!("    \"{repository}\", torch_dtype=torch.bfloat16"),
        ")".to_owned(),
        "experts = [m for m in (pipe.transformer, getattr(pipe, \"transformer_2\", None)) if m]"
            .to_owned(),
        "for expert in experts:".to_owned(),
        "    expert.set_attention_backend(\"_native_cudnn\")".to_owned(),
    ];
    if plan.ranks() > 1 {
        let anything = if job.is_padded() {
            ", ulysses_anything=True"
        } else {
            ""
        };
        lines.push(format!(
            "    degrees = dict(ring_degree={}, ulysses_degree={}{anything})",
            plan.exchange.degree(),
            plan.ulysses
        ));
        lines.push(
            "    expert.enable_parallelism(config=ContextParallelConfig(**degrees))".to_owned(),
        );
    }
    if job.compilation == Compilation::Compiled {
        lines.push("    expert.compile()".to_owned());
    }
    lines.extend(kept.trim().lines().map(str::to_owned));
    lines.extend(call(job));
    lines.join("\n") + "\n"
}

/// The call of the pipeline and the end of the script.
pub(super) fn call(job: &Job<'_>) -> Vec<String> {
    let request = job.request;
    let mut arguments = vec![
        format!("prompt=[{PROMPT}] * {}", request.batch),
        format!("height={}", request.resolution.height),
        format!("width={}", request.resolution.width),
    ];
    for image in job.images() {
        arguments.push(format!("image=load_image(\"{image}\")"));
    }
    if request.frames > 1 {
        arguments.push(format!("num_frames={}", request.frames));
    }
    arguments.push(format!("num_inference_steps={}", request.steps));
    if job.guidance_is_off() {
        arguments.push("guidance_scale=1.0".to_owned());
    }
    arguments.push("generator=torch.Generator().manual_seed(0)".to_owned());
    let mut lines = Vec::new();
    if !job.images().is_empty() {
        lines.push("from diffusers.utils import load_image".to_owned());
    }
    lines.push("pipe(".to_owned());
    lines.extend(arguments.iter().map(|argument| format!("    {argument},")));
    lines.push(")".to_owned());
    lines.push("dist.destroy_process_group()".to_owned());
    lines
}
