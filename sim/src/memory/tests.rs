//! Theorems first, then worked examples.

use super::*;
use crate::model::{find, known};
use crate::plan::stage_blocks;
use topologies::gpu;

fn at_most(name: &str, plan: &str, stored: Stored) -> Memory {
    let model = find(name).unwrap();
    let workload = model.workload(&model.default).unwrap();
    let card = gpu::find("H100-SXM").unwrap();
    peak(&workload, &plan.parse().unwrap(), card, &stored)
}

fn of(name: &str, plan: &str) -> Memory {
    at_most(name, plan, Stored::default())
}

#[test]
fn parts_add_up_and_fit_is_the_difference() {
    let card = gpu::find("H100-SXM").unwrap();
    for model in known() {
        let memory = of(&model.name, "none");
        let sum = memory.weights
            + memory.encoders
            + memory.activations
            + memory.kv_cache
            + memory.bases
            + memory.vae
            + memory.runtime;
        assert_eq!(sum, memory.total, "{}", model.name);
        match memory.fits {
            Fit::Fits(spare) => assert_eq!(memory.total + spare, card.memory),
            Fit::Exceeds(missing) => assert_eq!(card.memory + missing, memory.total),
        }
    }
}

#[test]
fn splitting_never_needs_more_but_for_buffers_and_caches() {
    // Two experts are left out: split, both may stay where one did.
    let single = known().iter().filter(|model| model.experts.count() == 1);
    for model in single {
        let whole = of(&model.name, "none");
        for plan in [
            "ulysses2",
            "ring2",
            "allgather-kv2",
            "attention2d2x2",
            "tp2",
            "pipefusion2",
        ] {
            let split = of(&model.name, plan);
            assert!(
                split.weights <= whole.weights && split.encoders == whole.encoders,
                "{} {plan}",
                model.name
            );
            let (own, caches) = (split.total.get(), split.kv_cache.get());
            let buffers = split.runtime.get() - whole.runtime.get();
            assert!(
                own - caches - buffers <= whole.total.get(),
                "{} {plan}",
                model.name
            );
        }
    }
}

#[test]
fn each_relief_relieves() {
    let name = "Wan2.1-T2V-14B";
    let default = Stored::default();
    let base = at_most(name, "ulysses4", default).total;
    for less in [
        "in-turn",
        "encoders-split",
        "encoders-in-turn",
        "encoders-elsewhere",
        "fsdp",
        "layerwise(20)",
        "layerwise(0)",
    ] {
        let line = format!("ulysses4 residency={less}");
        assert!(at_most(name, &line, default).total < base, "{less}");
    }
    for decoding in [Decoding::Skipped, Decoding::Elsewhere] {
        let less = Stored {
            decoding,
            ..default
        };
        assert!(at_most(name, "ulysses4", less).total < base, "{less:?}");
    }
    let single = Stored {
        weight_precision: Precision::Fp32,
        ..default
    };
    assert!(at_most(name, "ulysses4", single).total > base);
}

#[test]
fn caches_have_the_size_of_keys_and_values() {
    // FLUX: K and V of a block are 2 A = 56.6 MB. Last stage of four: 57 - 3 x 15 = 12 blocks.
    let pair = 2 * 28_311_552;
    assert_eq!(
        of("FLUX.1-dev", "pipefusion4").kv_cache,
        Bytes::new(15 * pair)
    );
    assert_eq!(
        of("FLUX.1-dev", "pipefusion4+ulysses2").kv_cache,
        Bytes::new(15 * pair / 2)
    );
    assert_eq!(
        of("FLUX.1-dev", "distrifusion4 warmup=4").kv_cache,
        Bytes::new(2 * 57 * pair)
    );
    assert_eq!(of("FLUX.1-dev", "ulysses4").kv_cache, Bytes::ZERO);
}

#[test]
fn bases_do_not_shrink_with_ring_ranks() {
    // 4 x tokens x width x layers bytes on every rank: 4 x 4608 x 3072 x 57 = 3.23 GB.
    let bases = |plan| of("FLUX.1-dev", plan).bases.get();
    assert_eq!(bases("ring2/1bit"), 4 * 4608 * 3072 * 57);
    assert_eq!(bases("ring8/1bit"), bases("ring2/1bit"));
    assert_eq!(bases("ulysses2+ring2/1bit"), bases("ring2/1bit") / 2);
    // HunyuanVideo 720p, 129 frames: 87.6 GB published, by far the most there is.
    let video = of("HunyuanVideo", "ring8/1bit");
    assert!((video.bases.as_f64() / 87.6e9 - 1.0).abs() < 0.01 && !video.fits.is_fit());
}

#[test]
fn stages_follow_the_published_split() {
    let sizes = |blocks, stages| -> Vec<usize> {
        stage_blocks(blocks, stages)
            .into_iter()
            .map(|range| range.len())
            .collect()
    };
    assert_eq!(sizes(57, 4), [15, 15, 15, 12]);
    assert_eq!(sizes(57, 8), [8, 8, 8, 8, 8, 8, 8, 1]);
    // ceil(28 / 8) = 4 would leave the eighth stage without a block.
    assert_eq!(sizes(28, 8), [4, 4, 4, 4, 3, 3, 3, 3]);
    assert_eq!(sizes(5, 5), [1; 5]);
    for (blocks, stages) in [(40, 7), (30, 16), (42, 11), (10, 6)] {
        let ranges = stage_blocks(blocks, stages);
        assert_eq!(ranges.len(), stages);
        assert!(ranges.iter().all(|range| !range.is_empty()));
        assert_eq!((ranges[0].start, ranges[stages - 1].end), (0, blocks));
        assert!(ranges.windows(2).all(|pair| pair[0].end == pair[1].start));
    }
}

#[test]
fn as_many_blocks_stay_as_fit() {
    let model = find("FLUX.1-dev").unwrap();
    let workload = model.workload(&model.default).unwrap();
    let plan: Plan = "none residency=encoders-in-turn".parse().unwrap();
    let card = gpu::find("RTX4090").unwrap();
    let most =
        |card: &topologies::Gpu| most_resident(&workload, &plan, card, plan.execution.residency, 1);
    let (residency, memory) = most(card).expect("some fit");
    assert!(memory.fits.is_fit());
    let Weights::Layerwise { resident, ahead: 1 } = residency.transformer else {
        panic!("{residency}");
    };
    assert!((30..57).contains(&resident), "{resident}");
    let line = format!(
        "none residency=layerwise({})+encoders-in-turn",
        resident + 1
    );
    let next: Plan = line.parse().unwrap();
    assert!(
        !peak(&workload, &next, card, &Stored::default())
            .fits
            .is_fit()
    );
    let mut small = card.clone();
    small.memory = Bytes::new(1_000_000_000);
    assert_eq!(most(&small), None);
}

#[test]
fn both_experts_stay_unless_components_take_turns() {
    let weights = |line: &str| of("Wan2.2-T2V-A14B", line).weights.get();
    let (both, one) = (weights("ulysses8"), weights("ulysses8 residency=in-turn"));
    assert_eq!(both, 2 * one);
}
