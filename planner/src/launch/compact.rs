//! CompactFusion: the fork of xDiT with compressed, gathered and displaced K and V.
//!
//! Its settings stand in `examples/configs.py` under a name, taken from the environment.

use kernels::Compressor;
use sim::model::{CompactFusion, Model, known};
use sim::plan::{Compression, Exchange, Plan, Residency, RingLoop};

use super::{Case, CompactRefusal, Refusal};

/// The steps that its settings run synchronously and uncompressed.
const WARMUP: u32 = 1;

/// Whether it runs the plan of a case, or why it does not.
pub(super) fn runs(case: &Case<'_>) -> Result<(), Refusal> {
    let plan = case.job.plan;
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
    settings(case.job.model)?;
    let residency = plan.execution.residency;
    if residency != Residency::RESIDENT {
        return Err(Refusal::Residency { residency });
    }
    let precision = plan.execution.precision;
    if precision.is_lossy() {
        return Err(Refusal::Precision { precision });
    }
    Ok(())
}

/// Its settings for a model.
pub(super) fn settings(model: &Model) -> Result<&CompactFusion, CompactRefusal> {
    let settings = model.engines.compact_fusion.as_ref();
    settings.ok_or_else(|| {
        let ready = known().iter();
        let ready = ready.filter(|model| model.engines.compact_fusion.is_some());
        CompactRefusal::Model {
            model: model.name.clone(),
            ready: ready.map(|model| model.name.clone()).collect(),
        }
    })
}

/// Its name for an exchange with a compressor.
pub(super) fn method(plan: &Plan) -> Result<&'static str, CompactRefusal> {
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
