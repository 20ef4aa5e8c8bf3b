//! What each engine runs, and for which reason not the rest.

use sim::execution::Software;

use super::*;

/// Of every model: what an engine's tables leave out is refused for that reason, and nothing else of a plan of two.
#[test]
fn a_model_is_split_as_the_tables_of_the_engines_say() {
    for model in sim::model::known() {
        let engines = &model.engines;
        if engines.repository.is_none() {
            continue;
        }
        let name = model.name.as_str();
        let starts = !matches!(engines.xdit.start, sim::model::XditStart::Absent(_));
        let cuts = [
            ("ulysses2", Split::Sequence),
            ("ring2", Split::Sequence),
            ("pipefusion2 warmup=1", Split::Stages),
            ("cfg2", Split::Guidance),
            ("tp2", Split::Tensor),
        ];
        for (line, split) in cuts {
            let xdit = launched(Engine::Xdit, line, name);
            let runs = split != Split::Tensor && engines.xdit.splits.contains(&split);
            let not_split = Refusal::NotSplit {
                split,
                model: name.to_owned(),
            };
            assert_eq!(xdit == Err(not_split), !runs, "{name} {line}");
            assert_eq!(xdit.is_ok(), runs && starts, "{name} {line}");
            let cache_dit = launched(Engine::CacheDit, line, name);
            match split {
                Split::Sequence | Split::Tensor => {
                    let listed = engines.cache_dit.contains(&split);
                    assert_eq!(cache_dit.is_ok(), listed, "{name} {line}");
                }
                _ => assert!(cache_dit.is_err(), "{name} {line}"),
            }
            let sglang = launched(Engine::Sglang, line, name);
            let runs = engines.sglang && split != Split::Stages;
            assert_eq!(sglang.is_ok(), runs, "{name} {line}");
        }
        let ulysses = launched(Engine::Diffusers, "ulysses2", name);
        assert_eq!(ulysses.is_ok(), engines.diffusers, "{name}");
        for engine in [Engine::Diffusers, Engine::CacheDit] {
            let starts = engines.diffusers_absent.is_none();
            assert_eq!(launched(engine, "none", name).is_ok(), starts, "{name}");
        }
        let decoded = launched(Engine::Xdit, "ulysses2+vae-p2", name);
        let every = decoded == Err(Refusal::VaeOnEvery);
        assert_eq!(every, !engines.xdit.parallel_vae, "{name}");
        for (engine, one, eight, sixteen) in [
            (Engine::Xdit, 1, 8, 8),
            (Engine::CacheDit, 1, 8, 16),
            (Engine::Sglang, 1, 1, 1),
            (Engine::Diffusers, 1, 1, 1),
        ] {
            let shared = engine != Engine::Xdit || engines.xdit.parallel_vae;
            let expected = if shared {
                [one, eight, sixteen]
            } else {
                [1; 3]
            };
            let found = [1, 8, 16].map(|ranks| engine.decoders(model, ranks));
            assert_eq!(found, expected, "{engine} {name}");
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
        (Sglang, "allgather-kv4", Refusal::RingAndUlyssesOnly),
        (Sglang, "attention2d2x2", Refusal::RingAndUlyssesOnly),
        (Sglang, "dp2", Refusal::OneReplica),
        (Sglang, "ulysses2+vae-p2", Refusal::VaeItself),
        (Diffusers, "allgather-kv4/2bit", Refusal::Uncompressed),
        (Diffusers, "ring4 loop=fused", Refusal::OwnRingLoop),
        (Diffusers, "pipefusion2", Refusal::SynchronousOnly),
        (Diffusers, "distrifusion2", Refusal::SynchronousOnly),
        (Diffusers, "attention2d2x2", Refusal::NoAttention2d),
        (Diffusers, "cfg2", Refusal::UlyssesAndGatherOnly),
        (Diffusers, "dp2", Refusal::UlyssesAndGatherOnly),
        (Diffusers, "tp2", Refusal::UlyssesAndGatherOnly),
        (Diffusers, "ulysses2+vae-p2", Refusal::VaeOnEvery),
        (CacheDit, "ring4 loop=fused", Refusal::OwnRingLoop),
        (CacheDit, "attention2d2x2", Refusal::NoAttention2d),
        (CacheDit, "dp2", Refusal::NeitherGuidanceNorBatch),
        (CacheDit, "ulysses4+vae-p2", Refusal::VaeOnOneOrAll),
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
        assert_eq!(found, Err(refusal), "{engine} {line}");
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
    for engine in [Xdit, Sglang, Diffusers, CacheDit, Engine::PipeFusion] {
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
