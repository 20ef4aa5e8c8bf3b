//! cache-dit: a script for `torchrun`; its caches stay off, its context and tensor parallelism are used.
//!
//! Its rings pass K and V; the "allgather" of its configuration is refused when a model is split (1.5.3).
//!
//! Source: vipshop/cache-dit, README and `docs/User_Guide.md` (parallelism): `enable_cache` without a cache
//! configuration and with `ParallelismConfig(ulysses_size, ring_size, tp_size, ring_rotate_method,
//! extra_parallel_modules)`; the models of its lists of context and tensor parallelism.

use sim::model::Split;
use sim::plan::{Exchange, RingLoop};
use topologies::host::Compilation;

use super::file::{computed, kept};
use super::refusal::check;
use super::{Engine, Job, Refusal, diffusers, shell};

/// The command, or why there is none.
pub(super) fn command(job: &Job<'_>) -> Result<String, Refusal> {
    let plan = job.plan;
    let (engines, repository) = job.engines()?;
    diffusers::starts(job)?;
    let splits = |split| engines.cache_dit.contains(&split);
    let not_listed = |split| Refusal::NotListed { split };
    check([
        (
            plan.sequence() > 1 && !splits(Split::Sequence),
            not_listed(Split::Sequence),
        ),
        (
            plan.tensor > 1 && !splits(Split::Tensor),
            not_listed(Split::Tensor),
        ),
        (!plan.compression.is_raw(), Refusal::UncompressedOrFp8),
        (plan.ring_loop == RingLoop::Fused, Refusal::OwnRingLoop),
        (plan.pipeline.stages > 1, Refusal::NoPipeFusion),
        (plan.is_stale(), Refusal::SynchronousOnly),
        (
            matches!(plan.exchange, Exchange::Attention2d { .. }),
            Refusal::NoAttention2d,
        ),
        (
            matches!(plan.exchange, Exchange::Gather(n) if n > 1),
            Refusal::RingAndUlyssesOnly,
        ),
        (plan.cfg * plan.data > 1, Refusal::NeitherGuidanceNorBatch),
        (
            plan.vae > 1 && plan.vae != plan.ranks(),
            Refusal::VaeOnOneOrAll,
        ),
    ])?;
    let start = shell(&job.torchrun()?);
    let script = script(
        job,
        repository,
        &(computed(Engine::CacheDit, job)?.to_owned() + &kept(Engine::CacheDit, job)?),
    );
    Ok(format!("cat > run.py <<'EOF'\n{script}EOF\n{start} run.py"))
}

/// The script that every rank runs.
fn script(job: &Job<'_>, repository: &str, kept: &str) -> String {
    let plan = job.plan;
    let mut lines: Vec<String> = [
        "import cache_dit",
        "import torch",
        "import torch.distributed as dist",
        "from cache_dit import ParallelismConfig",
        "from diffusers import DiffusionPipeline",
        "dist.init_process_group(\"cpu:gloo,cuda:nccl\")",
        "torch.cuda.set_device(dist.get_rank() % torch.cuda.device_count())",
        "pipe = DiffusionPipeline.from_pretrained(",
    ]
    .map(str::to_owned)
    .to_vec();
    lines.push(format!("    \"{repository}\", torch_dtype=torch.bfloat16"));
    lines.push(")".to_owned());
    lines.extend(kept.trim().lines().map(str::to_owned));
    let mut sizes = Vec::new();
    for (name, size) in [
        ("ulysses_size", plan.ulysses),
        ("ring_size", plan.exchange.degree()),
        ("tp_size", plan.tensor),
    ] {
        if size > 1 {
            sizes.push(format!("    {name}={size},"));
        }
    }
    if plan.exchange.degree() > 1 {
        sizes.push("    ring_rotate_method=\"p2p\",".to_owned());
    }
    if job.is_padded() {
        sizes.push("    ulysses_anything=True,".to_owned());
    }
    if plan.vae > 1 {
        sizes.push("    extra_parallel_modules=[pipe.vae],".to_owned());
    }
    if plan.ranks() > 1 {
        lines.push("parallelism = ParallelismConfig(".to_owned());
        lines.extend(sizes);
        lines.push(")".to_owned());
        lines.push("cache_dit.enable_cache(pipe, parallelism_config=parallelism)".to_owned());
    }
    if job.compilation == Compilation::Compiled {
        lines.push("cache_dit.set_compile_configs()".to_owned());
        lines.push("pipe.transformer = torch.compile(pipe.transformer)".to_owned());
    }
    lines.extend(diffusers::call(job));
    lines.join("\n") + "\n"
}
