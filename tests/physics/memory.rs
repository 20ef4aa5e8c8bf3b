//! What a rank holds, in units of weights and activations.
//!
//! ```text
//! A one activation of all tokens, K blocks, N ranks
//!                  weights        K and V kept between steps      held while a block attends
//! ulysses          W              -                               4 A/N
//! ring             W              -                               two shards of 2A/N, 4 A/N of fp32 sums
//! all-gather-kv    W              -                               2 A
//! attention2d RxC  W              -                               A/R of Q, 2A/C of K and V
//! distrifusion     W              two copies of 2 K A             2 A
//! pipefusion P     its blocks     2 A a block of the stage, over Ulysses x ring
//! tensor           products / N   -                               -
//! compressor       W              2 A a block, over Ulysses
//! ```

use sim::memory::{
    Components, Decoding, EncoderCopies, Memory, Phase, Precision, Residency, WeightSharding, peak,
    peak_of,
};
use sim::model::{self, Request};
use sim::plan::Plan;
use sim::workload::Workload;
use topologies::gpu;

use super::plan;

/// FLUX.1: width, blocks, bytes of an activation of 4608 tokens.
const D: u64 = 3072;
const K: u64 = 57;
const A: u64 = 4608 * D * 2;

fn workload(name: &str, change: impl Fn(&mut Request)) -> Workload {
    let model = model::find(name).expect("a known model");
    let mut request = model.default;
    change(&mut request);
    Workload::new(model, &request).expect("a possible request")
}

/// The VAE stands elsewhere, so that the loop is the phase with the most.
const LOOP: Residency = Residency {
    components: Components::Together,
    encoders: EncoderCopies::Whole,
    encoder_precision: Precision::Bf16,
    weights: WeightSharding::Whole,
    weight_precision: Precision::Bf16,
    decoding: Decoding::Elsewhere,
};

fn of(workload: &Workload, line: &str) -> Memory {
    let gpu = gpu::find("H100-SXM").expect("a known GPU");
    let memory = peak(workload, &plan(line), gpu, &LOOP);
    assert_eq!(memory.phase, Phase::Denoise, "{line}");
    memory
}

/// Bytes of FLUX.1's weights in blocks that tensor parallelism splits: 24 d^2 a double block, 12 d^2 a single one.
const SPLIT: u64 = (19 * 24 + 38 * 12) * D * D * 2;
/// Of their modulation: 12 d^2 and 3 d^2.
const MODULATION: u64 = (19 * 12 + 38 * 3) * D * D * 2;
/// Of embedders and the output layer.
const ENDS: u64 = ((64 + 4096 + 2 * 256 + 768 + 3 * D) * D + (2 * D + 64) * D) * 2;

#[test]
fn weights_are_whole_but_for_tensor_ranks_and_stages() {
    let flux = workload("FLUX.1-dev", |_| {});
    let whole = SPLIT + MODULATION + ENDS;
    for line in [
        "none",
        "ulysses4",
        "ring4",
        "allgather-kv4",
        "attention2d2x2",
        "distrifusion4 warmup=1",
    ] {
        assert_eq!(of(&flux, line).weights.get(), whole, "{line}");
    }
    for degree in [2, 4, 8] {
        let line = format!("tp{degree}");
        let expected = SPLIT / degree + MODULATION + ENDS;
        assert_eq!(of(&flux, &line).weights.get(), expected, "{line}");
    }
    for line in [
        "pipefusion4",
        "pipefusion8",
        "pipefusion2+ulysses2",
        "pipefusion3",
    ] {
        let plan: Plan = plan(line);
        let gpu = gpu::find("H100-SXM").expect("a known GPU");
        let stride = plan.ranks() / plan.pipeline.stages;
        let of_rank = |rank| peak_of(&flux, &plan, gpu, &LOOP, rank).weights;
        let stages = (0..plan.pipeline.stages).map(|stage| of_rank(stage * stride).get());
        assert_eq!(
            stages.sum::<u64>(),
            whole,
            "{line}: stages hold the model once"
        );
    }
}

#[test]
fn caches_and_bases_are_keys_and_values_of_the_blocks_a_rank_runs() {
    let flux = workload("FLUX.1-dev", |_| {});
    // The fullest stage of 57 blocks: 29 of 2, 15 of 4, 8 of 8.
    for (line, cache) in [
        ("pipefusion2", 29 * 2 * A),
        ("pipefusion2+ring2", 29 * 2 * A / 2),
        ("pipefusion2+ring4", 29 * 2 * A / 4),
        ("pipefusion2+ulysses2", 29 * 2 * A / 2),
        ("pipefusion2+ulysses2+ring4", 29 * 2 * A / 8),
        ("pipefusion4+tp2", 15 * 2 * A / 2),
        ("pipefusion8(m16)", 8 * 2 * A),
        ("distrifusion2 warmup=1", 2 * K * 2 * A),
        ("distrifusion8 warmup=1", 2 * K * 2 * A),
        ("ring8", 0),
        ("allgather-kv8", 0),
        ("attention2d2x4", 0),
    ] {
        assert_eq!(of(&flux, line).kv_cache.get(), cache, "{line}");
    }
    for (line, bases) in [
        ("ring2/1bit", K * 2 * A),
        ("ring8/2bit", K * 2 * A),
        ("allgather-kv4/1bit", K * 2 * A),
        ("ulysses4/1bit", K * 2 * A / 4),
        ("ulysses4+ring2/1bit", K * 2 * A / 4),
        ("ring4", 0),
    ] {
        assert_eq!(of(&flux, line).bases.get(), bases, "{line}");
    }
}

/// PixArt's feed-forward part holds 12 A of a rank's own tokens, attention 6 A and what its exchange gathers.
#[test]
fn gathered_queries_and_keys_are_held_beside_a_block() {
    let pixart = workload("PixArt-alpha", |_| {});
    let one = 2 * 4096 * 1152 * 2;
    for (line, ranks, in_own_activations) in [
        ("none", 1, 12),
        ("ulysses8", 8, 12),
        // Two shards of K and V in flight; output and sum in single precision.
        ("ring8", 8, 6 + 4 + 4),
        ("ring2", 2, 6 + 4 + 4),
        ("allgather-kv2", 2, 12),
        ("allgather-kv8", 8, 6 + 16),
        ("distrifusion8 warmup=1", 8, 6 + 16),
        // Q of a row: A/R is N/R of a rank's own; K and V of a column: 2A/C.
        ("attention2d2x4", 8, 6 + 4 + 4),
        ("attention2d4x2", 8, 6 + 2 + 8),
        ("attention2d2x8", 16, 6 + 8 + 4),
        ("attention2d8x2", 16, 6 + 2 + 16),
    ] {
        let held = of(&pixart, line).activations.get();
        assert_eq!(held, in_own_activations * one / ranks, "{line}");
    }
}

/// What a rank keeps follows the rows that it runs: all of a batch, half of them where guidance or data are split.
#[test]
fn rows_multiply_activations_and_caches() {
    let of_batch = |batch| workload("PixArt-alpha", move |request| request.batch = batch);
    let (one, four) = (of_batch(1), of_batch(4));
    for line in ["pipefusion4", "pipefusion2+ring2", "distrifusion4 warmup=1"] {
        let (small, large) = (of(&one, line), of(&four, line));
        assert_eq!(4 * small.kv_cache.get(), large.kv_cache.get(), "{line}");
        assert_eq!(
            4 * small.activations.get(),
            large.activations.get(),
            "{line}"
        );
        for split in ["cfg2", "dp2"] {
            let half = of(&four, &format!("{split}+{line}"));
            assert_eq!(
                2 * half.kv_cache.get(),
                large.kv_cache.get(),
                "{split}+{line}"
            );
            assert_eq!(
                2 * half.activations.get(),
                large.activations.get(),
                "{split}+{line}"
            );
        }
    }
}
