//! Strategies that use the step before: PipeFusion's stages and patches, DistriFusion's gathers.
//!
//! ```text
//! A_image = L d e bytes of L = 4096 image tokens; K = 57 blocks; P stages, M patches, N ranks
//! pipefusion     M sends of A_image/M a step from every stage to the next, of A_image in warm-up
//!                a steady step: max(M times the slowest stage's patch, a patch through all stages)
//!                a warm-up step: all stages one after another
//! distrifusion   a gather of 2A a block, for the next step: 2 K (N-1)/N A sent
//! ```

use topologies::CollectiveKind::AllGather;
use topologies::SimDuration;

use super::flux::{A, D, IMAGE, K, PASSES, S, TEXT, head, modulation, on_tokens, shard, tail};
use super::{Done, Messages, Rig, done, messages, plan, preset};

/// What a stage does with `micros` patches of `image` tokens; the first one embeds, the last one projects.
fn stage(double: u64, single: u64, micros: u64, ends: (bool, bool)) -> Done {
    let (blocks, image) = (double + single, IMAGE / micros);
    // Text is not cut into patches: every patch brings all of it.
    let tokens = image + TEXT;
    let mut linear = on_tokens(blocks, tokens) + modulation(double, single);
    if ends.0 {
        linear += head(image, TEXT);
    }
    if ends.1 {
        linear += tail(image);
    }
    Done {
        linear: micros * linear,
        attention: micros * blocks * 4 * tokens * S * D,
        elementwise: micros * blocks * PASSES * tokens * D * 2,
        attentions: micros,
        ..Done::default()
    }
}

/// 57 blocks on 4 stages are 15, 15, 15 and 12; the first 19 are double.
#[test]
fn stages_do_their_blocks_and_pass_on_patches() {
    let rig = Rig::flux("4xl20-pcie");
    let split = [(15, 0), (4, 11), (0, 15), (0, 12)];
    let hop = |count: u64| Messages::from([((None, 2), (count, IMAGE * D * 2))]);
    for patches in [4, 8, 16] {
        let run = rig.run(&plan(&format!("pipefusion4(m{patches}) warmup=1")));
        for (gpu, (double, single)) in split.into_iter().enumerate() {
            let ends = (gpu == 0, gpu == 3);
            // Warm-up: everything at once. Then patch by patch.
            for (step, micros) in [(0, 1), (1, patches), (2, patches)] {
                let context = format!("{patches} patches, step {step} on gpu{gpu}");
                let expected = stage(double, single, micros, ends);
                assert_eq!(done(&run.graph, step, gpu), expected, "{context}");
                assert_eq!(messages(&run.graph, step, gpu), hop(micros), "{context}");
            }
        }
    }
}

/// FLUX.1 in so many steps on 8 H100, where a hop takes nothing beside a patch's work.
fn in_steps(steps: u32) -> Rig {
    Rig::new(&preset("8xh100-sxm"), "FLUX.1-dev", |request| {
        request.steps = steps
    })
}

/// What a further step takes, simulated and in closed form, seconds.
fn one_more(line: impl Fn(u32) -> String, steps: u32) -> [f64; 2] {
    let (before, after) = (in_steps(steps), in_steps(steps + 1));
    let (short, long) = (plan(&line(steps)), plan(&line(steps + 1)));
    let simulated = after.run(&long).totals.denoise - before.run(&short).totals.denoise;
    let closed = after.closed_form(&long).total - before.closed_form(&short).total;
    [simulated, closed].map(SimDuration::as_secs_f64)
}

/// Stages of 19 double, 19 and 19 single blocks: where there are as many patches as stages, the slowest works all the
/// time; where there are fewer, a patch goes through all stages before its next step begins.
#[test]
fn a_steady_step_takes_the_slowest_stage_or_the_way_through_all() {
    let patch = |micros: u64| {
        [
            (19, 0, (true, false)),
            (0, 19, (false, false)),
            (0, 19, (false, true)),
        ]
        .map(|(double, single, ends)| {
            let all = stage(double, single, micros, ends);
            (all.linear + all.attention + all.elementwise) as f64 * 1e-12 / micros as f64
        })
    };
    for patches in [1, 2, 4, 8, 16] {
        let each = patch(patches);
        let slowest = each.into_iter().fold(0.0, f64::max);
        let expected = (patches as f64 * slowest).max(each.iter().sum());
        for found in one_more(|_| format!("pipefusion3(m{patches}) warmup=1"), 5) {
            assert!(
                (found / expected - 1.0).abs() < 1e-4,
                "{patches}: {found} s, not {expected} s"
            );
        }
    }
    // A warm-up step has no parallelism at all.
    let expected: f64 = patch(1).iter().sum();
    for found in one_more(|steps| format!("pipefusion3(m4) warmup={steps}"), 2) {
        assert!(
            (found / expected - 1.0).abs() < 1e-4,
            "{found} s, not {expected} s"
        );
    }
}

/// A hop carries all rows of the batch, a rank's part of the sequence, and a patch of it.
#[test]
fn a_hop_carries_every_row_of_a_patch() {
    let rig = Rig::new(&preset("8xh100-sxm"), "PixArt-alpha", |request| {
        (request.steps, request.batch) = (3, 4);
    });
    // PixArt: 4096 tokens of 1152 channels; 4 images, each with two branches of guidance.
    let (rows, token) = (8, 1152 * 2);
    for (line, rows, ranks) in [
        ("pipefusion4 warmup=1", rows, 1),
        ("pipefusion4(m16) warmup=1", rows, 1),
        ("cfg2+pipefusion4 warmup=1", rows / 2, 1),
        ("dp2+pipefusion4 warmup=1", rows / 2, 1),
        ("pipefusion2+ulysses4 warmup=1", rows, 4),
        ("pipefusion4+ring2 warmup=1", rows, 2),
    ] {
        let plan = plan(line);
        let run = rig.run(&plan);
        let bytes = rows * 4096 * token / ranks;
        for (step, sends) in [(0, 1), (1, u64::from(plan.pipeline.patches))] {
            let sent = messages(&run.graph, step, 0);
            assert_eq!(sent[&(None, 2)], (sends, bytes), "{line}, step {step}");
        }
    }
}

/// DistriFusion's steps up to the warm-up are synchronous, counted from 0, so one more than `warmup`: those are
/// all-gather-kv's. Every later one moves the same bytes and waits less.
#[test]
fn displaced_steps_begin_after_the_warm_up() {
    let steps = |steps| {
        Rig::new(&preset("4xl20-pcie"), "FLUX.1-dev", move |request| {
            request.steps = steps;
        })
    };
    for warmup in [0, 1, 3] {
        let line = format!("distrifusion4 warmup={warmup}");
        let denoise = |rig: &Rig| {
            [&line[..], "allgather-kv4"].map(|line| rig.run(&plan(line)).totals.denoise)
        };
        let [displaced, gathered] = denoise(&steps(warmup + 1));
        assert_eq!(displaced, gathered, "{line}: all steps are synchronous");
        let [displaced, gathered] = denoise(&steps(warmup + 2));
        assert!(
            displaced < gathered,
            "{line}: the last step is not synchronous"
        );
    }
    let run = steps(4).run(&plan("distrifusion4 warmup=1"));
    for gpu in 0..4 {
        for step in 0..4 {
            let gather = Messages::from([((Some(AllGather), 4), (K, K * 2 * A))]);
            assert_eq!(messages(&run.graph, step, gpu), gather, "step {step}");
            assert_eq!(done(&run.graph, step, gpu), shard(4), "step {step}");
        }
    }
}

/// The first use of a pipeline's shapes costs 60 ms a stage on PCIe, nothing on NVLink (docs/calibration.md section 5).
#[test]
fn the_first_warm_up_step_sets_up_its_stages() {
    for (machine, each) in [("4xl20-pcie", 0.060), ("8xh100-sxm", 0.0)] {
        let denoise = |steps: u32| {
            let rig = Rig::new(&preset(machine), "FLUX.1-dev", |request| {
                request.steps = steps
            });
            let line = format!("pipefusion4 warmup={steps}");
            rig.run(&plan(&line)).totals.denoise.as_secs_f64()
        };
        let (one, two, three) = (denoise(1), denoise(2), denoise(3));
        assert!((three - two - (two - one)).abs() < 1e-9, "{machine}");
        let first = one - (two - one);
        assert!((first - 4.0 * each).abs() < 1e-6, "{machine}: {first} s");
    }
}

/// What a stage's ranks send among each other is exposed, by its kind; stages alone expose nothing.
#[test]
fn messages_within_stages_are_exposed() {
    let rig = Rig::flux("4xl20-pcie");
    let exposed = |line: &str| rig.closed_form(&plan(line)).exposed;
    assert!(exposed("pipefusion4 warmup=1").is_empty());
    for (line, kind) in [
        (
            "pipefusion2+ulysses2 warmup=1",
            topologies::CollectiveKind::AllToAll,
        ),
        (
            "pipefusion2+ring2 warmup=1",
            topologies::CollectiveKind::RingPass,
        ),
    ] {
        let found = exposed(line);
        let kinds: Vec<_> = found.keys().map(|(kind, _)| *kind).collect();
        assert_eq!(kinds, [kind], "{line}");
        assert!(
            found.values().all(|time| *time > SimDuration::ZERO),
            "{line}"
        );
    }
}
