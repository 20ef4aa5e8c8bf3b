//! CompactFusion: the fork of xDiT with compressed, gathered and displaced K and V.
//!
//! Its settings stand in `examples/configs.py` under a name, taken from the environment.

use kernels::Compressor;
use sim::model::{CompactFusion, Model, known};
use sim::plan::{Compression, Exchange};

use super::{PROMPT, Run, shell};

/// The steps that its settings run synchronously and uncompressed.
const WARMUP: u32 = 1;

/// The command, or why there is none.
pub(super) fn command(run: &Run<'_>) -> Result<String, String> {
    let plan = run.plan;
    let method = method(plan.exchange, &plan.compression, plan.ulysses)?;
    if plan.cfg * plan.data * plan.tensor > 1 || plan.pipeline.stages > 1 || plan.ulysses > 1 {
        return Err(format!(
            "CompactFusion runs such an exchange alone, not as part of {}",
            plan.strategy()
        ));
    }
    if plan.warmup != WARMUP && method != "patch" {
        return Err(format!(
            "CompactFusion's settings have a warm-up of {WARMUP} step, not {}: edit warmup_steps in its \
             examples/configs.py",
            plan.warmup
        ));
    }
    let Some(CompactFusion { settings, example }) = &run.model.engines.compact_fusion else {
        let ready = |model: &&Model| model.engines.compact_fusion.is_some();
        let ready: Vec<&str> = known()
            .iter()
            .filter(ready)
            .map(|model| &*model.name)
            .collect();
        return Err(format!(
            "CompactFusion takes its settings from the command line for {}, not {}",
            ready.join(" and "),
            run.model.name
        ));
    };
    let (_, repository) = run.engines()?;
    let mut words = vec![
        "COMPACT_TEST_ENABLE=1 COMPACT_TEST_LOOP=1 COMPACT_TEST_SAVE_DIR=results PYTHONPATH=."
            .to_owned(),
        format!("COMPACT_TEST_MODEL={settings} COMPACT_TEST_METHOD={method}"),
    ];
    words.extend(run.torchrun()?);
    words.push(format!(
        "examples/{example} --model {repository} --no_use_resolution_binning"
    ));
    words.push(format!("--ring_degree {}", plan.exchange.degree()));
    run.shape(&mut words);
    words.push(format!("--prompt {PROMPT}"));
    Ok(format!(
        "# in a checkout of CompactFusion, xDiT's fork (github.com/Cobalt-27/CompactFusion@c30d06b)\n{}",
        shell(&words)
    ))
}

/// Its name for an exchange with a compressor.
fn method(
    exchange: Exchange,
    compression: &Compression,
    ulysses: u32,
) -> Result<&'static str, String> {
    if let Compression::Mixed(_) = compression {
        return Err(
            "CompactFusion has one compressor for all layers: export the assignment with --emit assignment and run \
             it with ditplan_capture's hook"
                .to_owned(),
        );
    }
    match (exchange, compression.uniform()) {
        (Exchange::Ring(1), Some(_)) if ulysses > 1 => Err(
            "no engine compresses Ulysses messages yet: CompactFusion compresses Ring and all-gather".to_owned(),
        ),
        (Exchange::Ring(_), Some(Compressor::OneBit)) => Ok("binary"),
        (Exchange::Ring(_), Some(Compressor::TwoBit)) => Ok("int2"),
        (Exchange::Ring(_), Some(Compressor::LowRank(8))) => Ok("lowrank8"),
        (Exchange::Ring(_), Some(Compressor::LowRank(12))) => Ok("lowrank12"),
        (Exchange::Ring(_), Some(Compressor::LowRankInt4(32))) => Ok("lowrankq32"),
        (Exchange::Gather(_), Some(Compressor::TwoBit)) => Ok("int2patch"),
        (Exchange::Gather(_), None) => Ok("patch"),
        (Exchange::Displaced(_), None) => Ok("df"),
        (_, Some(compressor)) => Err(format!(
            "CompactFusion has no ready settings for {compressor} on this exchange"
        )),
        (_, None) => Err("CompactFusion has no ready settings for this exchange".to_owned()),
    }
}
