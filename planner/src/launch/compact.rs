//! CompactFusion: the fork of xDiT with compressed, gathered and displaced K and V.
//!
//! Its settings stand in `examples/configs.py` under a name, taken from the environment.

use kernels::Compressor;
use sim::model::{CompactFusion, known};
use sim::plan::{Compression, Exchange, Plan, Residency, RingLoop};

use super::{CompactRefusal, Job, PROMPT, Refusal, shell};

/// The steps that its settings run synchronously and uncompressed.
const WARMUP: u32 = 1;

/// The command, or why there is none.
pub(super) fn command(job: &Job<'_>) -> Result<String, Refusal> {
    let plan = job.plan;
    let method = method(plan)?;
    if plan.cfg * plan.data * plan.tensor > 1 || plan.pipeline.stages > 1 || plan.ulysses > 1 {
        let strategy = plan.strategy();
        return Err(CompactRefusal::Alone { strategy }.into());
    }
    if plan.warmup != WARMUP && method != "patch" {
        return Err(CompactRefusal::Warmup {
            has: WARMUP,
            asked: plan.warmup,
        }
        .into());
    }
    let Some(CompactFusion { settings, example }) = &job.model.engines.compact_fusion else {
        let ready = known().iter();
        let ready = ready.filter(|model| model.engines.compact_fusion.is_some());
        return Err(CompactRefusal::Model {
            model: job.model.name.clone(),
            ready: ready.map(|model| model.name.clone()).collect(),
        }
        .into());
    };
    let (_, repository) = job.engines()?;
    let residency = plan.execution.residency;
    if residency != Residency::RESIDENT {
        return Err(Refusal::Residency { residency });
    }
    let precision = plan.execution.precision;
    if precision.is_lossy() {
        return Err(Refusal::Precision { precision });
    }
    let mut words = vec![
        "COMPACT_TEST_ENABLE=1 COMPACT_TEST_LOOP=1 COMPACT_TEST_SAVE_DIR=results PYTHONPATH=."
            .to_owned(),
        format!("COMPACT_TEST_MODEL={settings} COMPACT_TEST_METHOD={method}"),
    ];
    words.extend(job.torchrun()?);
    words.push(format!(
        "examples/{example} --model {repository} --no_use_resolution_binning"
    ));
    words.push(format!("--ring_degree {}", plan.exchange.degree()));
    if plan.vae > 1 {
        words.push("--use_parallel_vae".to_owned());
    }
    job.shape(&mut words);
    words.push(format!("--prompt {PROMPT}"));
    Ok(format!(
        "# in a checkout of CompactFusion, xDiT's fork (github.com/Cobalt-27/CompactFusion@c30d06b)\n{}",
        shell(&words)
    ))
}

/// Its name for an exchange with a compressor.
fn method(plan: &Plan) -> Result<&'static str, CompactRefusal> {
    if let Compression::Mixed(_) = plan.compression {
        return Err(CompactRefusal::OneCompressor);
    }
    let compressor = plan.compression.uniform();
    if compressor.is_some() && plan.has_ring() && plan.ring_loop == RingLoop::Engine {
        return Err(CompactRefusal::FusedLoop);
    }
    Ok(match (plan.exchange, compressor) {
        (Exchange::Ring(1), Some(_)) if plan.ulysses > 1 => return Err(CompactRefusal::Ulysses),
        (Exchange::Ring(_), Some(Compressor::OneBit)) => "binary",
        (Exchange::Ring(_), Some(Compressor::TwoBit)) => "int2",
        (Exchange::Ring(_), Some(Compressor::LowRank(8))) => "lowrank8",
        (Exchange::Ring(_), Some(Compressor::LowRank(12))) => "lowrank12",
        (Exchange::Ring(_), Some(Compressor::LowRankInt4(32))) => "lowrankq32",
        (Exchange::Gather(_), Some(Compressor::TwoBit)) => "int2patch",
        (Exchange::Gather(_), None) => "patch",
        (Exchange::Displaced(_), None) => "df",
        (_, compressor) => return Err(CompactRefusal::NoSettings { compressor }),
    })
}
