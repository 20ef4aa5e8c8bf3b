//! What phases hold, in every residency: components in turn, single precision, decoders that keep frames.

use sim::memory::{
    Components, Decoding, EncoderCopies, Phase, Precision, Residency, WeightSharding, first_fit,
    peak, peak_of,
};
use sim::workload::Workload;
use topologies::gpu;

use super::memory::{A, D, LOOP, kept, of, workload};
use super::plan;

/// A decoder that works on some frames at a time keeps two of each of its seven full-resolution convolutions, half as
/// wide as the widest; one that decodes an image, or all at once, keeps none.
#[test]
fn causal_decoders_keep_frames() {
    let here = Residency {
        decoding: Decoding::Here,
        ..LOOP
    };
    for (name, frames, widest, bytes, at_once) in [
        ("Wan2.1-T2V-1.3B", 81, 192, 4, 4),
        ("Wan2.1-T2V-1.3B", 5, 192, 4, 4),
        ("Wan2.1-T2V-1.3B", 1, 192, 4, 4),
        ("CogVideoX-5b", 49, 256, 2, 8),
    ] {
        let work = workload(name, |request| request.frames = frames);
        let vae = &work.model.vae;
        assert_eq!((vae.widest, vae.element_bytes), (widest, bytes), "{name}");
        let pixels = work.request.resolution.pixels();
        let frames = u64::from(frames);
        let kept = if frames > at_once {
            2 * 7 * (widest / 2) * bytes * pixels
        } else {
            0
        };
        let alive = 5 * widest * bytes * pixels * frames.min(at_once);
        for (line, ranks) in [("ulysses2", 1), ("ulysses2+vae-p2", 2)] {
            let weights = vae.parameters * bytes;
            let found = kept_while_decoding(&work, line, here);
            let expected = weights + (alive + kept).div_ceil(ranks);
            assert_eq!(found, expected, "{name}, {frames} frames, {line}");
        }
    }
}

/// Bytes of the VAE where decoding is the fullest phase.
fn kept_while_decoding(work: &Workload, line: &str, residency: Residency) -> u64 {
    // In turn, nothing else is there while it decodes.
    let in_turn = Residency {
        components: Components::InTurn,
        encoders: EncoderCopies::Elsewhere,
        weights: WeightSharding::HostBlocks,
        ..residency
    };
    let memory = kept(work, line, in_turn);
    assert_eq!(memory.phase, Phase::Decode, "{line}");
    assert_eq!((memory.weights.get(), memory.activations.get()), (0, 0));
    memory.vae.get()
}

/// Components in turn: each phase holds its own weights and no other's.
#[test]
fn in_turn_a_phase_holds_its_own() {
    let flux = workload("FLUX.1-dev", |_| {});
    let turn = Residency {
        components: Components::InTurn,
        ..LOOP
    };
    for line in ["none", "ring4/1bit", "pipefusion4"] {
        let (all, own) = (of(&flux, line), kept(&flux, line, turn));
        assert_eq!(own.phase, Phase::Denoise, "{line}");
        assert_eq!((own.encoders.get(), own.vae.get()), (0, 0), "{line}");
        let but_encoders = all.total.get() - all.encoders.get();
        assert_eq!(own.total.get(), but_encoders, "{line}");
        assert_eq!((own.kv_cache, own.bases), (all.kv_cache, all.bases));
    }
    // An encoder larger than all else is the fullest phase, and nothing of the loop is there.
    let blocks = Residency {
        weights: WeightSharding::HostBlocks,
        ..turn
    };
    let encoding = kept(&flux, "none", blocks);
    assert_eq!(encoding.phase, Phase::Encode);
    let others = [
        encoding.weights,
        encoding.activations,
        encoding.kv_cache,
        encoding.vae,
    ];
    assert!(
        others.into_iter().all(|bytes| bytes.get() == 0),
        "{encoding:?}"
    );
    assert_eq!(
        encoding.allocated().get(),
        encoding.encoders.get(),
        "{encoding:?}"
    );
}

/// The residual stream in single precision is twice as large: 2 of 6 A of attention, 4 of 12 A of the feed-forward part.
#[test]
fn single_precision_doubles_the_residual_stream() {
    let pixart = workload("PixArt-alpha", |_| {});
    let one = 2 * 4096 * 1152 * 2;
    let single = Residency {
        weight_precision: Precision::Fp32,
        ..LOOP
    };
    for (line, ranks, in_own_activations) in [
        ("none", 1, 8 + 8),
        ("tp2", 1, 8 + 4),
        // Attention: 4 A of the stream, 4 A of Q, K, V and output, and 8 A that are gathered.
        ("allgather-kv8", 8, 8 + 16),
        ("ring8", 8, 8 + 4 + 4),
    ] {
        let held = kept(&pixart, line, single).activations.get();
        assert_eq!(held, in_own_activations * one / ranks, "{line}");
    }
    let flux = workload("FLUX.1-dev", |_| {});
    for (line, width) in [("none", 3 * 2 + 13), ("tp2", 3 * 2 + 13 / 2)] {
        let held = kept(&flux, line, single).activations.get();
        let expected = width * A;
        assert!(held.abs_diff(expected) <= A / 2, "{line}: {held}");
    }
}

/// Text that does not divide is on every rank: 510 of its tokens stand beside a part of the image's.
#[test]
fn text_that_does_not_divide_is_held_whole() {
    let of_text = |tokens| workload("FLUX.1-dev", move |request| request.text_tokens = tokens);
    for (text, line, tokens) in [
        (512, "ulysses4", 1024 + 128),
        (510, "ulysses4", 1024 + 510),
        (510, "ulysses2", 2048 + 255),
        (510, "none", 4096 + 510),
    ] {
        let held = of(&of_text(text), line).activations.get();
        assert_eq!(held, 16 * tokens * D * 2, "{text} of text, {line}");
    }
}

/// Two transformers stay where both fit, else one; the first residency that fits is the fastest, and the last of all
/// leaves the least.
#[test]
fn the_fullest_rank_decides_and_the_first_fit_is_tried_in_order() {
    let flux = workload("FLUX.1-dev", |_| {});
    let gpu = gpu::find("H100-SXM").expect("a known GPU");
    for line in ["pipefusion4", "pipefusion8", "pipefusion2+ulysses2"] {
        let plan = plan(line);
        let ranks = (0..plan.ranks()).map(|rank| peak_of(&flux, &plan, gpu, &LOOP, rank).total);
        let fullest = ranks.max().expect("ranks");
        assert_eq!(peak(&flux, &plan, gpu, &LOOP).total, fullest, "{line}");
    }
    let mut card = gpu.clone();
    let whole = Residency::default();
    let in_turn = Residency {
        components: Components::InTurn,
        ..whole
    };
    let sharded = Residency {
        weights: WeightSharding::Sharded,
        encoders: EncoderCopies::Sharded,
        ..whole
    };
    let both = Residency {
        components: Components::InTurn,
        ..sharded
    };
    let line = plan("ulysses4");
    let need = |residency| peak(&flux, &line, gpu, &residency).total;
    for residency in [whole, in_turn, sharded, both] {
        // With exactly as much as it needs, it fits; with a byte less, one that needs less is taken.
        card.memory = need(residency);
        let (found, memory) = first_fit(&flux, &line, &card).expect("it fits");
        assert!(need(found) <= card.memory && memory.total == need(found));
        let earlier = [whole, in_turn, sharded, both].into_iter();
        let first = earlier.clone().find(|one| need(*one) <= card.memory);
        assert_eq!(Some(found), first);
        card.memory = topologies::Bytes::new(need(residency).get() - 1);
        let next = first_fit(&flux, &line, &card).map(|(found, _)| found);
        let first = earlier.clone().find(|one| need(*one) <= card.memory);
        assert_eq!(next, first);
    }
    // One GPU has nobody to share weights with.
    card.memory = topologies::Bytes::new(10_000_000_000);
    assert_eq!(first_fit(&flux, &plan("none"), &card), None);
}
