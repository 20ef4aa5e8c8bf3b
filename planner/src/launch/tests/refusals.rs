//! What each engine runs, and for which reason not the rest.

use sim::execution::Software;

use super::*;

/// Of every model and engine: what the model's entry leaves out is refused for that reason, and nothing else of a plan of
/// two that the engine runs at all.
#[test]
fn a_model_is_split_as_its_entries_say() {
    let cuts = [
        ("ulysses2", Feature::Ulysses, Split::Sequence),
        ("ring2", Feature::Ring, Split::Sequence),
        ("allgather-kv2", Feature::Gather, Split::Sequence),
        ("pipefusion2 warmup=1", Feature::Stages, Split::Stages),
        ("cfg2", Feature::Guidance, Split::Guidance),
        ("tp2", Feature::Tensor, Split::Tensor),
    ];
    for (engine, word, runs, alone) in [
        (Engine::Xdit, "xdit", &[0, 1, 3, 4][..], false),
        (Engine::Sglang, "sglang", &[0, 1, 2, 4, 5], false),
        (Engine::Diffusers, "diffusers", &[0, 2], true),
        (Engine::CacheDit, "cache-dit", &[0, 1, 5], true),
        (Engine::VllmOmni, "vllm-omni", &[0, 1, 2, 4, 5], false),
    ] {
        for model in sim::model::known()
            .iter()
            .filter(|one| one.engines.repository.is_some())
        {
            let entry = model.engines.on.get(word);
            let absent = entry.is_some_and(|entry| entry.absent.is_some());
            let starts = !absent && (alone || entry.is_some());
            let name = model.name.as_str();
            assert_eq!(
                launched(engine, "none", name).is_ok(),
                starts,
                "{engine} {name}"
            );
            for (number, (line, _, split)) in cuts.iter().enumerate() {
                // Left to CompactFusion.
                if (engine, number) == (Engine::Xdit, 2) {
                    continue;
                }
                let listed = entry.is_some_and(|entry| entry.splits.contains(split));
                let found = launched(engine, line, name);
                let expected = starts && runs.contains(&number) && listed;
                assert_eq!(found.is_ok(), expected, "{engine} {name} {line}: {found:?}");
                let not_split = found
                    == Err(Refusal::NotSplit {
                        split: *split,
                        model: name.into(),
                    });
                let expected = starts && runs.contains(&number) && !listed;
                assert_eq!(not_split, expected, "{engine} {name} {line}: {found:?}");
            }
            let shared = entry.is_none_or(|entry| entry.parallel_vae);
            let most = match engine {
                Engine::Xdit | Engine::VllmOmni if shared => [1, 8, 8],
                Engine::CacheDit if shared => [1, 8, 16],
                _ => [1; 3],
            };
            let found = [1, 8, 16].map(|ranks| engine.decoders(model, ranks));
            assert_eq!(found, most, "{engine} {name}");
        }
    }
}

/// One thing that an engine does not do, each refused for its own reason; and what stands just inside.
#[test]
fn every_refusal_has_its_plan() {
    use Engine::{CacheDit, Diffusers, Sglang, Xdit};
    let alone = |strategy: &str| {
        Refusal::CompactFusion(CompactRefusal::Alone {
            strategy: strategy.to_owned(),
        })
    };
    for (engine, line, refusal) in [
        (
            Sglang,
            "ulysses2+allgather-kv2",
            excluded("gathers K and V alone"),
        ),
        (Sglang, "attention2d2x2", lacks(Feature::Attention2d)),
        (Sglang, "dp2", excluded("gives a request to one replica")),
        (Sglang, "ulysses2+vae-p2", excluded("decides by itself")),
        (Diffusers, "allgather-kv4/2bit", lacks(Feature::Compressed)),
        (
            Diffusers,
            "ring4 loop=fused",
            excluded("gathers K and V where it says ring"),
        ),
        (Diffusers, "pipefusion2", lacks(Feature::Stages)),
        (Diffusers, "distrifusion2", lacks(Feature::Displaced)),
        (Diffusers, "attention2d2x2", lacks(Feature::Attention2d)),
        (Diffusers, "cfg2", lacks(Feature::Guidance)),
        (Diffusers, "dp2", lacks(Feature::Data)),
        (Diffusers, "tp2", lacks(Feature::Tensor)),
        (Diffusers, "ulysses2+vae-p2", lacks(Feature::Vae)),
        (CacheDit, "ring4 loop=fused", lacks(Feature::FusedLoop)),
        (CacheDit, "attention2d2x2", lacks(Feature::Attention2d)),
        (CacheDit, "dp2", lacks(Feature::Data)),
        (
            CacheDit,
            "ulysses4+vae-p2",
            excluded("decodes the VAE on one rank"),
        ),
        (
            Xdit,
            "ulysses4+vae-p2",
            excluded("decodes the VAE on one rank"),
        ),
        (
            Xdit,
            "dp2+ring2/1bit loop=fused warmup=1",
            alone("dp2+ring2"),
        ),
        (
            Xdit,
            "cfg2+ring2/1bit loop=fused warmup=1",
            alone("cfg2+ring2"),
        ),
        (
            Xdit,
            "ulysses2+ring2/1bit loop=fused warmup=1",
            alone("ulysses2+ring2"),
        ),
        (
            Xdit,
            "ring2+tp2/1bit loop=fused warmup=1",
            alone("ring2+tp2"),
        ),
    ] {
        let found = launched(engine, line, "FLUX.1-dev");
        let found = found.expect_err(line);
        assert!(is(&found, &refusal), "{engine} {line}: {found:?}");
    }
    for (engine, line) in [
        (CacheDit, "ulysses4+vae-p4"),
        (Sglang, "cfg2+ulysses2+tp2"),
        (Diffusers, "ulysses2+allgather-kv2"),
        (Xdit, "cfg2+dp2+pipefusion2+ulysses2"),
    ] {
        let found = changed(engine, line, "FLUX.1-dev", |_| {}, Compilation::Eager);
        assert!(
            found.is_ok() || engine == Xdit,
            "{engine} {line}: {found:?}"
        );
    }
    for engine in Engine::BUILT_IN {
        let none = launched(engine, "none", "dit-digits");
        assert!(none.is_err(), "{engine}");
        let expected = match engine {
            Engine::PipeFusion => Software::PipeFusionLegacy,
            Sglang => Software::Sglang,
            _ => Software::Other,
        };
        assert_eq!(engine.software(), expected);
    }
}

/// The settings of CompactFusion for each message that it sends, and for no other.
#[test]
fn compact_fusion_has_a_method_for_each_message() {
    let compact = |line: &str| {
        let text = launched(Engine::Xdit, line, "FLUX.1-dev").ok()?;
        let text = flat(&text);
        let (_, method) = text.split_once("COMPACT_TEST_METHOD=")?;
        Some(method.split(' ').next()?.to_owned())
    };
    for (line, method) in [
        ("ring4/1bit loop=fused warmup=1", Some("binary")),
        ("ring4/2bit loop=fused warmup=1", Some("int2")),
        ("ring4/lowrank(8) loop=fused warmup=1", Some("lowrank8")),
        ("ring4/lowrank(12) loop=fused warmup=1", Some("lowrank12")),
        ("ring4/lowrank(16) loop=fused warmup=1", None),
        (
            "ring4/lowrank-int4(32) loop=fused warmup=1",
            Some("lowrankq32"),
        ),
        ("ring4/lowrank-int4(16) loop=fused warmup=1", None),
        ("ring4/sparse(1:8) loop=fused warmup=1", None),
        ("allgather-kv4/2bit warmup=1", Some("int2patch")),
        ("allgather-kv4/1bit warmup=1", None),
        ("allgather-kv4", Some("patch")),
        ("allgather-kv4 warmup=3", Some("patch")),
        ("distrifusion4 warmup=1", Some("df")),
        ("distrifusion4 warmup=2", None),
        ("distrifusion4 warmup=0", None),
    ] {
        assert_eq!(compact(line).as_deref(), method, "{line}");
    }
    let vae = |line: &str| {
        let text = launched(Engine::Xdit, line, "FLUX.1-dev").unwrap();
        text.contains("--use_parallel_vae")
    };
    assert!(vae("ring4+vae-p4/1bit loop=fused warmup=1"));
    assert!(!vae("ring4/1bit loop=fused warmup=1"));
    let other = launched(Engine::Xdit, "ring4/1bit loop=fused warmup=1", "SD3-medium");
    let Err(Refusal::CompactFusion(CompactRefusal::Model { model, ready })) = other else {
        panic!("{other:?}");
    };
    assert_eq!(model, "SD3-medium");
    assert!(ready.contains(&"FLUX.1-dev".to_owned()) && !ready.contains(&model));
}

/// What each engine pads: of raw plans in its own loop, tokens of rings and Ulysses, and heads where it says so.
#[test]
fn engines_pad_what_their_table_says() {
    let pads = |engine: Engine, line: &str| {
        let pads = engine.pads(&line.parse().unwrap());
        (pads.tokens, pads.heads)
    };
    for (engine, ulysses, ring) in [
        (Engine::Xdit, (true, false), (true, false)),
        (Engine::Sglang, (true, false), (true, false)),
        (Engine::VllmOmni, (true, true), (true, false)),
        (Engine::Diffusers, (true, false), (false, false)),
        (Engine::CacheDit, (true, true), (false, false)),
        (Engine::PipeFusion, (false, false), (false, false)),
    ] {
        assert_eq!(pads(engine, "ulysses8"), ulysses, "{engine}");
        assert_eq!(pads(engine, "ring8"), ring, "{engine}");
        for line in ["ring8 loop=fused", "ring8/1bit", "ulysses8/1bit"] {
            assert_eq!(pads(engine, line), (false, false), "{engine} {line}");
        }
    }
}
