use topologies::gpu;

use super::*;
use crate::launch::Job;

#[test]
fn every_engine_has_a_file_of_its_own_and_keeps_weights_resident_first() {
    let mut words = std::collections::BTreeSet::new();
    for engine in Engine::BUILT_IN {
        let file = engine.file();
        assert_eq!(file.name, engine.to_string());
        assert!(!file.version.is_empty() && !file.source.is_empty());
        assert_eq!(file.residency[0].residency, Residency::RESIDENT, "{engine}");
        assert!(words.insert(&file.models), "{engine}");
        assert_eq!(file.command.is_none(), engine == Engine::PipeFusion);
    }
    for model in sim::model::known() {
        for word in model.engines.on.keys() {
            assert!(words.contains(word), "{} has an entry {word}", model.name);
        }
    }
}

#[test]
fn what_is_offered_has_a_command() {
    for engine in Engine::BUILT_IN {
        let model = sim::model::find("FLUX.1-dev").unwrap();
        let command = |plan: &Plan| {
            let job = Job::usual(model, plan);
            let case = Case::of(engine, &job);
            let found = case.residency()?;
            found.command.lines(&case).map(|lines| lines.join(" "))
        };
        for line in ["none", "ulysses4", "tp2", "cfg2+ring2"] {
            let plan: Plan = line.parse().unwrap();
            for (residency, any) in engine.residencies(model, &plan) {
                let one = plan.clone().with_residency(residency);
                assert!(command(&one).is_ok(), "{engine} {one}");
                let Weights::Layerwise { ahead, .. } = residency.transformer else {
                    continue;
                };
                let transformer = Weights::Layerwise { resident: 7, ahead };
                let some = plan.clone().with_residency(Residency {
                    transformer,
                    ..residency
                });
                assert_eq!(command(&some).is_ok(), any, "{engine} {some}");
            }
        }
    }
}

/// Weights are sharded where the model's entry says that the engine can, beside no tensor parallelism, on several ranks.
#[test]
fn weights_are_sharded_where_an_engine_can() {
    for engine in [Engine::Xdit, Engine::Sglang, Engine::VllmOmni] {
        for model in sim::model::known() {
            let entry = model.engines.on.get(&engine.file().models);
            let can = entry.is_some_and(|entry| entry.splits.contains(&sim::model::Split::Weights));
            for (line, several) in [("ulysses2", true), ("tp2", false)] {
                let plan: Plan = line.parse().unwrap();
                let offered = engine.residencies(model, &plan);
                let sharded = offered
                    .iter()
                    .any(|(one, _)| one.transformer == Weights::Sharded);
                assert_eq!(sharded, can && several, "{engine} {} {line}", model.name);
            }
        }
    }
}

#[test]
fn engines_take_their_own_kernels() {
    let on = |engine: Engine, name: &str| engine.attention(gpu::find(name).unwrap()).name();
    for (engine, name, kernel) in [
        (Engine::Sglang, "H100-SXM", "fa3"),
        (Engine::VllmOmni, "H100-SXM", "fa3"),
        (Engine::Diffusers, "H100-SXM", "fa2"),
        (Engine::Diffusers, "B200", "cudnn"),
        (Engine::Sglang, "B200", "cudnn"),
        (Engine::VllmOmni, "B200", "cudnn"),
        (Engine::Xdit, "L20", "fa2"),
        (Engine::CacheDit, "RTX5090", "fa2"),
        (Engine::Xdit, "T4", "xformers"),
        (Engine::Xdit, "MI300X", "aiter"),
    ] {
        assert_eq!(on(engine, name), kernel, "{engine} {name}");
    }
    for (gpu, engine) in gpu::known()
        .iter()
        .flat_map(|gpu| Engine::BUILT_IN.map(|e| (gpu, e)))
    {
        assert!(engine.attention(gpu).runs_on(gpu), "{engine} {}", gpu.name);
    }
}

/// The text of an engine with one thing changed, read.
fn changed(from: &str, to: &str) -> Result<Engine, FileError> {
    let text = include_str!("../../../engines/sglang.toml");
    assert!(text.contains(from), "{from}");
    Engine::read(&text.replacen(from, to, 1), "mine.toml")
}

#[test]
fn a_file_of_a_user_is_an_engine() {
    let mine = changed("name = \"SGLang Diffusion\"", "name = \"mine\"").unwrap();
    assert_eq!(mine.to_string(), "mine");
    assert_eq!(
        Ok(mine),
        changed("name = \"SGLang Diffusion\"", "name = \"mine\"")
    );
    assert_ne!(
        Ok(mine),
        changed("name = \"SGLang Diffusion\"", "name = \"other\"")
    );
    let model = sim::model::find("FLUX.1-dev").unwrap();
    let plan: Plan = "ulysses2+ring2".parse().unwrap();
    let job = Job::usual(model, &plan);
    let of = |engine| crate::launch::Launch::of(engine, &job).command;
    assert_eq!(of(mine), of(Engine::Sglang));
    assert_eq!(mine.software(), Engine::Sglang.software());
}

/// One mistake each: the error names the file, the line where it is known, the key and what to do.
#[test]
fn a_mistake_in_a_file_is_told_with_its_key() {
    for (from, to, said) in [
        (
            "name = ",
            "nome = ",
            "mine.toml, line 1, key nome: is no key here: did you mean \"name\"?",
        ),
        (
            "unlisted = \"refused\"",
            "unlisted = \"refuse\"",
            "key unlisted: \"refuse\" is no way with models; did you mean \"refused\"?",
        ),
        (
            "runs = [\"cfg\"",
            "runs = [\"cgf\"",
            "key runs[0]: \"cgf\" is nothing that a job has; did you mean \"cfg\"?",
        ),
        (
            "--num-gpus {ranks}",
            "--num-gpus {rank}",
            "key command: line 2 of it: \"rank\" is no place for a value; did you mean \"ranks\"?",
        ),
        (
            "--num-gpus {ranks}",
            "--num-gpus {ranks",
            "key command: line 2 of it: a \"{\" stands alone: write \"{{\"",
        ),
        (
            "[tp] --tp-size",
            "[tpp] --tp-size",
            "line 9 of it: \"tpp\" is nothing that a job has",
        ),
        ("when = \"dp\"", "when = \"!dpp\"", "key exclude[1].when"),
        (
            "words = \"resident\"",
            "words = \"in-turn\"",
            "key residency: does not begin with words = \"resident\": say first",
        ),
        (
            "words = \"resident\"",
            "words = \"resident!\"",
            "key residency[0].words: \"resident!\" is nothing that a plan says",
        ),
        ("decoders = 1", "decoders = 0", "key decoders: is 0: say 1"),
        (
            "fa4 = \"cudnn\"",
            "fa4 = \"cuddn\"",
            "key attention: \"cuddn\" is no attention kernel; did you mean \"cudnn\"?",
        ),
        (
            "tokens = [\"!comp",
            "tokens = [\"video !comp",
            "\"video\" is not a matter of plans alone",
        ),
        (
            "models = \"sglang\"\n",
            "",
            "key models: is missing: docs/engines.md",
        ),
    ] {
        let error = changed(from, to).unwrap_err().to_string();
        assert!(error.starts_with("mine.toml"), "{error}");
        assert!(error.contains(said), "{said}\n{error}");
    }
}
