//! What measured blocks say beyond their products and attention: memory-bound passes, launch time.
//!
//! ```text
//! passes = (block on one rank - products - attention) x memory rate / bytes of its activation
//! launch = sqrt(T8^2 - (T1 / 8)^2)      where eighths of the sequence no longer halve the quarters' time
//! ```
//! The second line turns the combination of `sim::launch` around.

use std::collections::BTreeMap;

use kernels::{AttentionKernel, CostModel, MemoryRate, Op};
use sim::launch;
use sim::model::{self, Model};
use sim::workload::{
    AttentionCall, Block, BlockKind, ELEMENT_BYTES, Role, Shard, TokenCounts, Tokens,
};
use topologies::{DType, Gpu};

use super::points::{BlockPoint, Point, What};
use crate::validate::statistics::median;

/// Eighths that take more than this of the quarters' time are bound by launching.
const LAUNCH_BOUND: f64 = 0.85;

/// The kind of block that a profile calls `name`.
fn kind(name: &str) -> Option<BlockKind> {
    match name {
        "double" | "joint" => Some(BlockKind::Double),
        "single" => Some(BlockKind::Single),
        "cross" => Some(BlockKind::CrossAttention),
        _ => None,
    }
}

fn blocks(points: &[Point]) -> impl Iterator<Item = (&BlockPoint, f64)> {
    points.iter().filter_map(|point| match &point.what {
        What::Block(block) => Some((block, point.us)),
        _ => None,
    })
}

/// Passes over a block's activation by kind of block, from blocks of `model` on one rank; from all
/// models' where this one's were not measured. True with it where they were.
pub(super) fn passes(
    points: &[Point],
    model: &Model,
    compiled: bool,
    rate: MemoryRate,
    (costs, gpu): (&dyn CostModel, &Gpu),
) -> (BTreeMap<BlockKind, f64>, bool) {
    let mut own: BTreeMap<BlockKind, Vec<f64>> = BTreeMap::new();
    let mut all: BTreeMap<BlockKind, Vec<f64>> = BTreeMap::new();
    let whole = blocks(points).filter(|(block, _)| block.ranks == 1 && block.compiled == compiled);
    for (point, us) in whole {
        let Some(found) = passes_of(point, us, rate, (costs, gpu)) else {
            continue;
        };
        if model::find(&point.model).is_ok_and(|known| known.name == model.name) {
            own.entry(found.0).or_default().push(found.1);
        }
        all.entry(found.0).or_default().push(found.1);
    }
    let measured = !own.is_empty();
    let source = if measured { own } else { all };
    let medians = source.into_iter().map(|(kind, list)| (kind, median(list)));
    (medians.collect(), measured)
}

fn passes_of(
    point: &BlockPoint,
    us: f64,
    rate: MemoryRate,
    (costs, gpu): (&dyn CostModel, &Gpu),
) -> Option<(BlockKind, f64)> {
    let kind = kind(&point.block)?;
    let model = model::find(&point.model).ok()?;
    let workload = model.workload(&model.default).ok()?;
    let mut block = workload
        .layers
        .kinds
        .into_iter()
        .find(|block| block.kind == kind)?;
    block.tokens = TokenCounts {
        image: point.tokens,
        text: point.text_tokens,
        audio: 0,
    };
    let time = |op: Op| Some(costs.cost(&op, gpu).ok()?.time.as_us_f64());
    let mut rest = us;
    for gemm in block.gemms(&Shard::whole(point.batch)) {
        if gemm.role == Role::Depthwise {
            continue;
        }
        let (m, n, k, dtype) = (gemm.m, gemm.n, gemm.k, DType::Bf16);
        rest -= time(Op::Gemm { m, n, k, dtype })?;
    }
    for call in &block.attention {
        rest -= time(whole_attention(&block, call, point.batch, gpu))?;
    }
    let joint = block
        .attention
        .iter()
        .any(|call| call.keys == Tokens::Joint);
    let tokens = point.tokens + if joint { point.text_tokens } else { 0 };
    let bytes = (point.batch * tokens * block.hidden * ELEMENT_BYTES) as f64;
    let passes = rest * rate.bytes_per_us / bytes;
    (passes > 1.0).then_some((kind, passes))
}

/// All of a block's attention call on one rank.
fn whole_attention(block: &Block, call: &AttentionCall, rows: u64, gpu: &Gpu) -> Op {
    Op::Attention {
        kernel: AttentionKernel::usual(gpu),
        batch: rows * call.sequences,
        heads: call.heads,
        queries: block.tokens.of(call.queries).div_ceil(call.sequences),
        keys: block.tokens.of(call.keys).div_ceil(call.sequences),
        head_dim: call.head_dim,
    }
}

/// The host's launch factor from eager blocks that launching bounds; none where none is.
pub(super) fn launch_factor(points: &[Point]) -> Option<f64> {
    let mut by_block: BTreeMap<(&str, &str, u64), BTreeMap<u64, f64>> = BTreeMap::new();
    for (point, us) in blocks(points).filter(|(point, _)| !point.compiled) {
        let key = (point.model.as_str(), point.block.as_str(), point.tokens);
        by_block.entry(key).or_default().insert(point.ranks, us);
    }
    let factor = |((name, ..), times): ((&str, &str, u64), BTreeMap<u64, f64>)| {
        let (whole, quarter, eighth) = (times.get(&1)?, times.get(&4)?, times.get(&8)?);
        let model = model::find(name).ok()?;
        let base_us = 1000.0 * launch::base_ms(model, model.default.frames > 1);
        let launch = (eighth.powi(2) - (whole / 8.0).powi(2)).sqrt();
        (eighth > &(LAUNCH_BOUND * quarter) && launch > 0.0).then_some(launch / base_us)
    };
    let factors: Vec<f64> = by_block.into_iter().filter_map(factor).collect();
    (!factors.is_empty()).then(|| median(factors))
}

#[cfg(test)]
mod tests {
    use super::*;
    use kernels::Tables;
    use topologies::gpu;

    fn point(ranks: u64, us: f64) -> Point {
        let block = BlockPoint {
            model: "FLUX.1-dev".into(),
            block: "single".into(),
            compiled: false,
            batch: 1,
            tokens: 4096,
            text_tokens: 512,
            ranks,
        };
        Point {
            what: What::Block(block),
            us,
            spread: None,
        }
    }

    #[test]
    fn passes_are_what_products_and_attention_leave_of_a_block() {
        let rate = MemoryRate {
            bytes_per_us: 4e6,
            floor_us: 1.0,
        };
        let flux = model::find("FLUX.1-dev").unwrap();
        let costs = (
            Tables::built_in() as &dyn CostModel,
            gpu::find("H200-SXM").unwrap(),
        );
        let of = |us| passes(&[point(1, us)], flux, false, rate, costs);
        let (some, measured) = of(4000.0);
        let (more, _) = of(4000.0 + 4608.0 * 3072.0 * 2.0 * 10.0 / 4e6);
        assert!(measured);
        // Ten passes more over 4608 x 3072 values of 2 bytes.
        let longer = more[&BlockKind::Single] - some[&BlockKind::Single];
        assert!((longer - 10.0).abs() < 1e-9, "{longer}");
        assert!(
            of(10.0).0.is_empty(),
            "a block shorter than its products says nothing"
        );
    }

    #[test]
    fn launch_bound_blocks_give_the_factor_and_others_none() {
        // FLUX: 1.23 ms a block at factor 1; an eighth of 1600 us takes 200 us.
        let launch = (1230.0_f64.powi(2) + 200.0_f64.powi(2)).sqrt();
        let bound = [point(1, 1600.0), point(4, 1290.0), point(8, launch)];
        assert!((launch_factor(&bound).unwrap() - 1.0).abs() < 1e-9);
        let free = [point(1, 16_000.0), point(4, 4000.0), point(8, 2000.0)];
        assert_eq!(launch_factor(&free), None);
    }
}
