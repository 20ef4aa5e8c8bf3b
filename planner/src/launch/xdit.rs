//! xDiT: its runner, or one of its examples.

use sim::model::{Split, Xdit, XditStart};
use sim::plan::{Exchange, Pipeline, RingLoop};
use topologies::host::Compilation;

use super::refusal::check;
use super::{PROMPT, Refusal, Run, compact, shell};

/// The command, or why there is none.
pub(super) fn command(run: &Run<'_>) -> Result<String, Refusal> {
    let plan = run.plan;
    if !plan.compression.is_raw()
        || plan.ring_loop == RingLoop::Fused
        || matches!(plan.exchange, Exchange::Displaced(n) | Exchange::Gather(n) if n > 1)
    {
        return compact::command(run);
    }
    let (engines, repository) = run.engines()?;
    is_split(run, &engines.xdit)?;
    let mut words = match &engines.xdit.start {
        XditStart::Absent(reason) => {
            return Err(Refusal::NotStarted {
                model: run.model.name.clone(),
                reason: reason.clone(),
            });
        }
        XditStart::Runner(name) => {
            let mut words: Vec<String> = run.visible_devices().into_iter().collect();
            words.push(format!("xdit --model {name}"));
            let boxes = run.boxes()?;
            if boxes > 1 {
                words.push(format!(
                    "--nnodes {boxes} --nproc_per_node {} --node_rank $BOX --master_addr $FIRST_BOX",
                    run.gpus_per_box
                ));
            }
            words
        }
        XditStart::Example(script) => {
            let mut words = run.torchrun()?;
            words.push(format!("examples/{script} --model {repository}"));
            words.push("--no_use_resolution_binning".to_owned());
            words
        }
    };
    flags(run, &mut words);
    Ok(shell(&words))
}

/// Whether xDiT runs this plan of this model.
fn is_split(run: &Run<'_>, xdit: &Xdit) -> Result<(), Refusal> {
    let plan = run.plan;
    let not = |split: Split| {
        let model = run.model.name.clone();
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
pub(super) fn flags(run: &Run<'_>, words: &mut Vec<String>) {
    let plan = run.plan;
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
    if stages > 1 {
        words.push(format!("--num_pipeline_patch {patches}"));
        words.push(format!("--warmup_steps {}", plan.warmup));
    }
    if plan.cfg > 1 {
        words.push("--use_cfg_parallel".to_owned());
    }
    if plan.vae > 1 {
        words.push("--use_parallel_vae".to_owned());
    }
    if run.compilation == Compilation::Compiled {
        words.push("--use_torch_compile".to_owned());
    }
    run.shape(words);
    if run.model.engines.xdit.text_length {
        words.push(format!("--max_sequence_length {}", run.request.text_tokens));
    }
    if run.guidance_is_off() {
        words.push("--guidance_scale 1.0".to_owned());
    }
    words.push(format!("--prompt {PROMPT}"));
    words.extend((1..run.request.batch).map(|_| PROMPT.to_owned()));
}
