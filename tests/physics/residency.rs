//! What phases hold, in every residency: components in turn, single precision, decoders that keep frames.

use planner::search::Question;
use sim::legality;
use sim::memory::{Decoding, Phase, Precision, Stored, peak, peak_of};
use sim::plan::{Plan, Residency, Weights};
use sim::workload::Workload;
use topologies::{Gpu, gpu};

use super::memory::{A, D, LOOP, kept, of, workload};
use super::plan;

/// A decoder that works on some frames at a time keeps two of each of its seven full-resolution convolutions, half as
/// wide as the widest; one that decodes an image, or all at once, keeps none.
#[test]
fn causal_decoders_keep_frames() {
    let here = Stored {
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
fn kept_while_decoding(work: &Workload, line: &str, stored: Stored) -> u64 {
    // In turn, nothing else is there while it decodes.
    let line = format!("{line} residency=in-turn+layerwise(0)+encoders-elsewhere");
    let memory = kept(work, &line, stored);
    assert_eq!(memory.phase, Phase::Decode, "{line}");
    assert_eq!((memory.weights.get(), memory.activations.get()), (0, 0));
    memory.vae.get()
}

/// Components in turn: each phase holds its own weights and no other's.
#[test]
fn in_turn_a_phase_holds_its_own() {
    let flux = workload("FLUX.1-dev", |_| {});
    let in_turn = |line: &str| format!("{line} residency=in-turn");
    for line in ["none", "ring4/1bit", "pipefusion4"] {
        let (all, own) = (of(&flux, line), kept(&flux, &in_turn(line), LOOP));
        assert_eq!(own.phase, Phase::Denoise, "{line}");
        assert_eq!((own.encoders.get(), own.vae.get()), (0, 0), "{line}");
        let but_encoders = all.total.get() - all.encoders.get();
        assert_eq!(own.total.get(), but_encoders, "{line}");
        assert_eq!((own.kv_cache, own.bases), (all.kv_cache, all.bases));
    }
    // An encoder larger than all else is the fullest phase, and nothing of the loop is there.
    let encoding = kept(&flux, "none residency=in-turn+layerwise(0)", LOOP);
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
    let single = Stored {
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

/// The fullest rank decides.
#[test]
fn the_fullest_rank_decides() {
    let flux = workload("FLUX.1-dev", |_| {});
    let gpu = gpu::find("H100-SXM").expect("a known GPU");
    for line in ["pipefusion4", "pipefusion8", "pipefusion2+ulysses2"] {
        let plan = plan(line);
        let ranks = (0..plan.ranks()).map(|rank| peak_of(&flux, &plan, gpu, &LOOP, rank).total);
        let fullest = ranks.max().expect("ranks");
        assert_eq!(peak(&flux, &plan, gpu, &LOOP).total, fullest, "{line}");
    }
}

/// What of a plan fits: itself, or where it does not, every residency that the engine offers, with as many blocks as fit.
pub(super) fn fitting(
    question: &Question,
    workload: &Workload,
    gpu: &Gpu,
    plan: &Plan,
) -> Vec<Plan> {
    let fits = |plan: &Plan| peak(workload, plan, gpu, &Stored::default()).fits.is_fit();
    if fits(plan) {
        return vec![plan.clone()];
    }
    let mut all = Vec::new();
    let blocks = u32::try_from(workload.layers.order.len()).expect("few blocks");
    for (residency, any_stay) in question.engine.residencies(question.model, plan) {
        let stay = match residency.transformer {
            Weights::Layerwise { .. } if any_stay => (0..blocks).rev().collect(),
            _ => vec![0],
        };
        let with = stay.into_iter().map(|resident| {
            let transformer = match residency.transformer {
                Weights::Layerwise { ahead, .. } => Weights::Layerwise { resident, ahead },
                other => other,
            };
            plan.clone().with_residency(Residency {
                transformer,
                ..residency
            })
        });
        let gpus = question.gpus as usize;
        let pads = question.engine.pads(plan);
        let mut legal = with.filter(|plan| {
            legality::check_padded(question.model, workload, plan, gpus, pads).is_ok()
        });
        all.extend(legal.find(fits));
    }
    all
}
