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

use std::io::Read;

use sim::memory::{Decoding, Memory, Phase, Precision, Stored, peak, peak_of};
use sim::model::{self, Request};
use sim::plan::Plan;
use sim::workload::Workload;
use topologies::gpu;

use super::plan;
use crate::json;

/// FLUX.1: width, blocks, bytes of an activation of 4608 tokens.
pub(super) const D: u64 = 3072;
const K: u64 = 57;
pub(super) const A: u64 = 4608 * D * 2;

pub(super) fn workload(name: &str, change: impl Fn(&mut Request)) -> Workload {
    let model = model::find(name).expect("a known model");
    let mut request = model.default;
    change(&mut request);
    Workload::new(model, &request).expect("a possible request")
}

/// The VAE stands elsewhere, so that the loop is the phase with the most.
pub(super) const LOOP: Stored = Stored {
    encoder_precision: Precision::Bf16,
    weight_precision: Precision::Bf16,
    decoding: Decoding::Elsewhere,
    quantised_there: false,
};

pub(super) fn of(workload: &Workload, line: &str) -> Memory {
    let memory = kept(workload, line, LOOP);
    assert_eq!(memory.phase, Phase::Denoise, "{line}");
    memory
}

pub(super) fn kept(workload: &Workload, line: &str, stored: Stored) -> Memory {
    let gpu = gpu::find("H100-SXM").expect("a known GPU");
    peak(workload, &plan(line), gpu, &stored)
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
        // With Ulysses inside, copies of Q, K, V and output of the rank's heads besides.
        ("ulysses2+ring4", 8, 6 + 4 + 4 + 4),
        ("ulysses2+allgather-kv4", 8, 6 + 8 + 4),
        ("ulysses2+attention2d2x2", 8, 6 + 2 + 4 + 4),
        // Tensor ranks divide Q, K, V and output, and what is gathered.
        ("allgather-kv8+tp2", 8, 2 + 2 + 8),
        ("tp2", 1, 4 + 4),
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

/// Ranks that would hold the same weights share them, and hold two blocks at a time whole: one in use, one ahead. Of
/// blocks that come from the host, those two and the ends.
#[test]
fn shared_weights_leave_a_part_and_two_blocks() {
    let flux = workload("FLUX.1-dev", |_| {});
    let whole = SPLIT + MODULATION + ENDS;
    let two = 2 * (24 + 12) * D * D * 2;
    let halves = SPLIT / 2 + MODULATION + ENDS;
    let two_halves = 2 * (24 / 2 + 12) * D * D * 2;
    for (line, bytes) in [
        ("ulysses4 residency=fsdp", whole / 4 + two),
        ("ring2+ulysses2 residency=fsdp", whole / 4 + two),
        ("tp2 residency=fsdp", halves),
        ("tp2+ulysses4 residency=fsdp", halves / 4 + two_halves),
        ("none residency=layerwise(0)", ENDS + two),
        ("ulysses8 residency=layerwise(0)", ENDS + two),
        ("none residency=layerwise(0,0)", ENDS + two / 2),
        (
            "none residency=layerwise(19)",
            (whole - ENDS) / 3 + ENDS + two,
        ),
        (
            "none residency=layerwise(56)",
            (whole - ENDS) * 56 / 57 + ENDS + two / 2,
        ),
    ] {
        let found = kept(&flux, line, LOOP).weights.get();
        assert_eq!(found, bytes, "{line}");
    }
    let single = Stored {
        weight_precision: Precision::Fp32,
        ..LOOP
    };
    assert_eq!(kept(&flux, "none", single).weights.get(), 2 * whole);
}

/// T5-XXL and CLIP-L are 9.8 GB in two bytes; a T5's feed-forward output stays in four where the rest is fp16.
#[test]
fn encoders_are_whole_shared_or_elsewhere() {
    let flux = workload("FLUX.1-dev", |_| {});
    let with = |line| kept(&flux, line, LOOP).encoders.get();
    let whole = with("ulysses4");
    assert!((whole as f64 / 9.8e9 - 1.0).abs() < 0.01, "{whole}");
    for (line, held) in [
        ("ulysses4 residency=encoders-split", whole.div_ceil(4)),
        ("ulysses2+tp4 residency=encoders-split", whole.div_ceil(8)),
        ("ulysses4 residency=encoders-elsewhere", 0),
        // The loop is the fullest phase, and they are not there.
        ("ulysses4 residency=encoders-in-turn", 0),
    ] {
        assert_eq!(with(line), held, "{line}");
    }
    let precise = |encoder_precision| {
        let stored = Stored {
            encoder_precision,
            ..LOOP
        };
        kept(&flux, "none", stored).encoders.get()
    };
    assert_eq!(precise(Precision::Fp32), 2 * whole);
    // 24 layers of 10240 x 4096 that stay in four bytes: two more each.
    let more = precise(Precision::Fp16) - whole;
    assert!(
        (more as f64 / (24.0 * 10_240.0 * 4096.0 * 2.0) - 1.0).abs() < 0.05,
        "{more}"
    );
}

/// Decoding FLUX.1's image holds 5 activations of 256 channels in two bytes a pixel, over the ranks that share it.
#[test]
fn a_shared_decoder_shares_its_activations() {
    let flux = workload("FLUX.1-dev", |_| {});
    let here = Stored {
        decoding: Decoding::Here,
        ..LOOP
    };
    let of = |line, decoding| {
        let memory = kept(&flux, line, Stored { decoding, ..here });
        (memory.phase, memory.vae.get())
    };
    let (_, weights) = of("ulysses4", Decoding::Skipped);
    let activations = 5 * 256 * 2 * 1024 * 1024;
    for (line, ranks) in [
        ("none", 1),
        ("ulysses4", 1),
        ("ulysses4+vae-p2", 2),
        ("ulysses4+vae-p4", 4),
    ] {
        let decoding = (Phase::Decode, weights + activations / ranks);
        assert_eq!(of(line, Decoding::Here), decoding, "{line}");
    }
    assert_eq!(of("ulysses4", Decoding::Elsewhere).1, 0);
}

/// A context, and buffers of NCCL for each dimension that sends messages.
#[test]
fn every_dimension_has_its_communicator() {
    let pixart = workload("PixArt-alpha", |request| request.batch = 2);
    for (line, communicators) in [
        ("none", 0),
        ("dp2", 0),
        ("cfg2", 1),
        ("tp2", 1),
        ("attention2d2x2", 1),
        ("ulysses2+ring2", 2),
        ("cfg2+pipefusion2+ulysses2+ring2+tp2", 5),
    ] {
        let runtime = kept(&pixart, line, LOOP).runtime.get();
        assert_eq!(runtime, 600_000_000 + communicators * 300_000_000, "{line}");
    }
}

/// What the projects measured, counted as each of them counts (planner/data/sources.toml).
#[test]
fn published_peaks_are_near() {
    let packed = include_bytes!("../../planner/data/published_latency.csv.gz");
    let mut text = String::new();
    let mut reader = flate2::read::GzDecoder::new(&packed[..]);
    reader.read_to_string(&mut text).expect("text");
    let is_peak = |(at, line): &(usize, &str)| {
        *at == 0 || line.contains(",peak_mem,") || line.contains(",OOM,")
    };
    let rows: Vec<&str> = text
        .lines()
        .enumerate()
        .filter(is_peak)
        .map(|(_, line)| line)
        .collect();
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("peaks.csv");
    std::fs::write(&file, rows.join("\n")).expect("a file");
    let file = file.to_str().expect("a UTF-8 path");
    let report = json(&["validate", "--published", file, "--json"]);
    let memory = &report["tiers"]["published"]["memory"];
    let figure = |name: &str| memory[name].as_f64().expect("a number");
    assert!(
        figure("mapped") >= 80.0 && figure("median_pct") < 8.0 && figure("p90_pct") < 35.0,
        "{memory:#}"
    );
    // PixArt at 8192x8192 with Ulysses ran out: that code keeps 56 A more than Ulysses needs, xDiT's later one does not.
    assert_eq!(
        (figure("oom_right"), figure("oom_wrong")),
        (5.0, 1.0),
        "{memory:#}"
    );
    // 24.0 GB of 24 (25.8 on the real card), published 22.6.
    assert_eq!(figure("ran_but_predicted_oom"), 1.0, "{memory:#}");
}

/// Images of a batch decode together: each further one adds three quarters of the first; replicas decode their own.
#[test]
fn a_batch_decodes_together() {
    let here = Stored {
        decoding: Decoding::Here,
        ..LOOP
    };
    let held = |batch, line: &str| {
        let flux = workload("FLUX.1-dev", move |request| request.batch = batch);
        let memory = kept(
            &flux,
            &format!("{line} residency=in-turn+layerwise(0)"),
            here,
        );
        (memory.phase == Phase::Decode).then_some(memory.vae.get())
    };
    let one = 5 * 256 * 2 * 1024 * 1024;
    let of = |images: u64| one + one * (images - 1) * 3 / 4;
    let sixteen = held(16, "none").expect("decoding is the fullest phase");
    let eight = held(16, "dp2").expect("decoding is the fullest phase");
    assert_eq!(sixteen - eight, of(16) - of(8));
    assert!(sixteen > of(16) && sixteen < of(17));
}

/// Weights that are quantised on the GPU are there in 16 bits first.
#[test]
fn quantising_on_the_gpu_needs_room_for_16_bits() {
    let flux = workload("FLUX.1-dev", |_| {});
    let there = Stored {
        quantised_there: true,
        ..LOOP
    };
    let quantised = kept(&flux, "none precision=fp8", there);
    let plain = kept(&flux, "none", LOOP);
    assert_eq!(quantised.weights, plain.weights);
    assert_eq!(quantised.phase, Phase::Encode);
    assert!(kept(&flux, "none precision=fp8", LOOP).total < quantised.total);
    assert_eq!(kept(&flux, "none", there).total, plain.total);
}
