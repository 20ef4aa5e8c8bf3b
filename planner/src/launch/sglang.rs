//! SGLang Diffusion: `sglang generate`.

use sim::plan::Exchange;
use topologies::host::Compilation;

use super::{PROMPT, Run, shell};

/// The command, or why there is none.
pub(super) fn command(run: &Run<'_>) -> Result<String, String> {
    let plan = run.plan;
    let (engines, repository) = run.engines()?;
    let refused = [
        (!engines.sglang, "has no pipeline of its own for this model"),
        (!plan.compression.is_raw(), "sends K and V uncompressed"),
        (plan.pipeline.stages > 1, "has no PipeFusion"),
        (
            !matches!(plan.exchange, Exchange::Ring(_)),
            "exchanges K and V by Ring and Ulysses only",
        ),
        (plan.data > 1, "runs one replica a command"),
        (
            plan.vae > 1,
            "decides by itself how many ranks decode the VAE",
        ),
        (
            plan.ranks() > run.gpus_per_box,
            "is started here in one box only",
        ),
    ];
    if let Some((_, reason)) = refused.into_iter().find(|(applies, _)| *applies) {
        return Err(format!("SGLang Diffusion {reason}"));
    }
    let mut words: Vec<String> = run.visible_devices().into_iter().collect();
    words.push(format!(
        "sglang generate --model-path {repository} --num-gpus {}",
        plan.ranks()
    ));
    words.push(format!("--ulysses-degree {}", plan.ulysses));
    words.push(format!("--ring-degree {}", plan.exchange.degree()));
    words.push(format!("--enable-cfg-parallel {}", plan.cfg > 1));
    if plan.tensor > 1 {
        words.push(format!("--tp-size {}", plan.tensor));
    }
    if run.compilation == Compilation::Compiled {
        words.push("--enable-torch-compile".to_owned());
    }
    let mut shape = Vec::new();
    run.shape(&mut shape);
    words.extend(shape.into_iter().map(|flag| flag.replace('_', "-")));
    if run.request.batch > 1 {
        words.push(format!("--num-outputs-per-prompt {}", run.request.batch));
    }
    if run.guidance_is_off() {
        words.push("--guidance-scale 1.0".to_owned());
    }
    words.push(format!("--save-output --prompt {PROMPT}"));
    Ok(shell(&words))
}
