//! SGLang Diffusion: `sglang generate`.

use sim::plan::{Exchange, RingLoop};
use topologies::host::Compilation;

use super::file::{computed, kept};
use super::refusal::check;
use super::{Engine, Job, PROMPT, Refusal, given, shell};

/// The command, or why there is none.
pub(super) fn command(job: &Job<'_>) -> Result<String, Refusal> {
    let plan = job.plan;
    let (engines, repository) = job.engines()?;
    check([
        (!engines.sglang, Refusal::NoPipeline),
        (!plan.compression.is_raw(), Refusal::Uncompressed),
        (plan.ring_loop == RingLoop::Fused, Refusal::OwnRingLoop),
        (plan.pipeline.stages > 1, Refusal::NoPipeFusion),
        (
            !matches!(plan.exchange, Exchange::Ring(_)),
            Refusal::RingAndUlyssesOnly,
        ),
        (plan.data > 1, Refusal::OneReplica),
        (plan.vae > 1, Refusal::VaeItself),
    ])?;
    let mut words: Vec<String> = job.visible_devices().into_iter().collect();
    words.push(format!(
        "sglang generate --model-path {repository} --num-gpus {}",
        plan.ranks()
    ));
    let (boxes, _) = job.boxes()?;
    if boxes > 1 {
        // --num-gpus counts the GPUs of all (sglang 0.5.23, multimodal_gen/runtime/server_args.py).
        words.push(format!(
            "--nnodes {boxes} --node-rank $NODE_RANK --dist-init-addr $HEAD:29500"
        ));
    }
    words.push(format!("--ulysses-degree {}", plan.ulysses));
    words.push(format!("--ring-degree {}", plan.exchange.degree()));
    words.push(format!("--enable-cfg-parallel {}", plan.cfg > 1));
    if plan.tensor > 1 {
        words.push(format!("--tp-size {}", plan.tensor));
    }
    words.extend(given(&kept(Engine::Sglang, job)?));
    words.extend(given(computed(Engine::Sglang, job)?));
    if job.compilation == Compilation::Compiled {
        words.push("--enable-torch-compile".to_owned());
    }
    let mut shape = Vec::new();
    job.shape(&mut shape);
    words.extend(shape.into_iter().map(|flag| flag.replace('_', "-")));
    if job.request.batch > 1 {
        words.push(format!("--num-outputs-per-prompt {}", job.request.batch));
    }
    if job.guidance_is_off() {
        words.push("--guidance-scale 1.0".to_owned());
    }
    if !job.images().is_empty() {
        words.push(format!("--image-path {}", job.images().join(" ")));
    }
    words.push(format!("--save-output --prompt {PROMPT}"));
    Ok(shell(&words))
}
