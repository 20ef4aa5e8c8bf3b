//! cache-dit: a script for `torchrun`; its caches stay off, its context and tensor parallelism are used.
//!
//! Source: vipshop/cache-dit, README and `docs/User_Guide.md` (parallelism): `enable_cache` without a cache
//! configuration and with `ParallelismConfig(ulysses_size, ring_size, tp_size, ring_rotate_method,
//! extra_parallel_modules)`; the models of its lists of context and tensor parallelism.

use sim::plan::Exchange;
use topologies::host::Compilation;

use super::{Run, diffusers, shell, weights};

/// Models whose sequence it splits.
const CONTEXT: &[&str] = &[
    "FLUX.1-dev",
    "FLUX.1-schnell",
    "FLUX.2-dev",
    "Qwen-Image",
    "Qwen-Image-Edit",
    "LTX-Video-2B",
    "LTX-Video-13B",
    "Wan2.1-T2V-1.3B",
    "Wan2.1-T2V-14B",
    "Wan2.1-I2V-14B",
    "Wan2.2-T2V-A14B",
    "Wan2.2-I2V-A14B",
    "Wan2.2-TI2V-5B",
    "HunyuanVideo",
    "CogVideoX-2b",
    "CogVideoX-5b",
    "CogVideoX1.5-5B",
    "Z-Image-Turbo",
];
/// Models whose layers it splits.
const TENSOR: &[&str] = &[
    "FLUX.1-dev",
    "FLUX.1-schnell",
    "FLUX.2-dev",
    "Qwen-Image",
    "Qwen-Image-Edit",
    "Wan2.1-T2V-1.3B",
    "Wan2.1-T2V-14B",
    "Wan2.1-I2V-14B",
    "Wan2.2-T2V-A14B",
    "Wan2.2-I2V-A14B",
    "Wan2.2-TI2V-5B",
    "HunyuanVideo",
];

/// The command, or why there is none.
pub(super) fn command(run: &Run<'_>) -> Result<String, String> {
    let (plan, model) = (run.plan, run.model.name);
    let weights = weights::of(model)?;
    let refused = [
        (
            plan.sequence() > 1 && !CONTEXT.contains(&model),
            "lists no context parallelism for this model",
        ),
        (
            plan.tensor > 1 && !TENSOR.contains(&model),
            "lists no tensor parallelism for this model",
        ),
        (
            !plan.compression.is_raw(),
            "sends K and V uncompressed (or Ulysses in fp8, which is not planned here)",
        ),
        (plan.pipeline.stages > 1, "has no PipeFusion"),
        (plan.is_stale(), "runs synchronous plans only"),
        (
            matches!(plan.exchange, Exchange::Attention2d { .. }),
            "has no Attention2D",
        ),
        (
            plan.cfg * plan.data > 1,
            "splits neither guidance nor batch",
        ),
        (
            plan.vae > 1 && plan.vae != plan.ranks(),
            "decodes the VAE on one rank or on all",
        ),
    ];
    if let Some((_, reason)) = refused.into_iter().find(|(applies, _)| *applies) {
        return Err(format!("cache-dit {reason}"));
    }
    let start = shell(&run.torchrun()?);
    let script = script(run, weights.repository);
    Ok(format!("cat > run.py <<'EOF'\n{script}EOF\n{start} run.py"))
}

/// The script that every rank runs.
fn script(run: &Run<'_>, repository: &str) -> String {
    let plan = run.plan;
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
    lines.push(").to(\"cuda\")".to_owned());
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
    match plan.exchange {
        Exchange::Ring(degree) if degree > 1 => {
            sizes.push("    ring_rotate_method=\"p2p\",".to_owned())
        }
        Exchange::Gather(degree) if degree > 1 => {
            sizes.push("    ring_rotate_method=\"allgather\",".to_owned())
        }
        _ => {}
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
    if run.compilation == Compilation::Compiled {
        lines.push("cache_dit.set_compile_configs()".to_owned());
        lines.push("pipe.transformer = torch.compile(pipe.transformer)".to_owned());
    }
    lines.extend(diffusers::call(run));
    lines.join("\n") + "\n"
}
