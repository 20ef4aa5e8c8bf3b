use sim::model::Split;

use super::*;

mod flags;
mod refusals;

fn launched(engine: Engine, plan: &str, model: &str) -> Result<String, Refusal> {
    let plan: Plan = plan.parse().unwrap();
    let model = sim::model::find(model).unwrap();
    let job = Job {
        plan: &plan,
        model,
        request: &model.default,
        compilation: Compilation::Eager,
        gpus_per_box: 8,
    };
    Launch::of(engine, &job).command
}

/// A command without its line breaks.
fn flat(command: &str) -> String {
    command.replace("\\\n  ", "")
}

#[test]
fn every_model_has_weights_and_a_single_gpu_command_or_a_reason() {
    for model in sim::model::known() {
        let own = model.name == "dit-digits";
        assert_eq!(model.engines.repository.is_some(), !own, "{}", model.name);
        for engine in Engine::BUILT_IN {
            let launched = launched(engine, "none", &model.name);
            assert!(
                !matches!(launched, Err(Refusal::NoWeights { .. })),
                "{launched:?}"
            );
        }
    }
}

#[test]
fn xdit_is_told_every_degree() {
    let command =
        flat(&launched(Engine::Xdit, "cfg2+ulysses2+ring2+vae-p8", "SD3.5-large").unwrap());
    for word in [
        "xdit --model SD3.5",
        "--ulysses_degree 2",
        "--ring_degree 2",
        "--use_cfg_parallel",
        "--use_parallel_vae",
        "--num_inference_steps 28",
    ] {
        assert!(command.contains(word), "{command}");
    }
    let staged = flat(&launched(Engine::Xdit, "pipefusion4 warmup=1", "SD3.5-large").unwrap());
    assert!(
        staged.contains("--pipefusion_parallel_degree 4 --height"),
        "{staged}"
    );
    let staged = flat(&launched(Engine::Xdit, "pipefusion4(m8) warmup=2", "PixArt-alpha").unwrap());
    assert!(
        staged.contains("--num_pipeline_patch 8 --warmup_steps 2"),
        "{staged}"
    );
    assert!(
        staged.contains("torchrun --nproc_per_node=4 examples/pixartalpha_example.py"),
        "{staged}"
    );
}

/// Nothing of the kind, for any model.
fn lacks(feature: Feature) -> Refusal {
    Refusal::Lacks { feature }
}

/// An exclusion of the engine's file that begins so.
fn excluded(because: &str) -> Refusal {
    Refusal::Excluded {
        because: because.to_owned(),
    }
}

/// Whether a refusal is the expected one; of exclusions the beginning is.
fn is(found: &Refusal, expected: &Refusal) -> bool {
    match (found, expected) {
        (Refusal::Excluded { because }, Refusal::Excluded { because: begins }) => {
            because.starts_with(begins)
        }
        _ => found == expected,
    }
}

#[test]
fn what_an_engine_lacks_is_named() {
    let compact = Refusal::CompactFusion;
    let not_split = |split, model: &str| Refusal::NotSplit {
        split,
        model: model.to_owned(),
    };
    for (engine, plan, model, refusal) in [
        (
            Engine::Xdit,
            "ulysses4/1bit",
            "FLUX.1-dev",
            compact(CompactRefusal::Ulysses),
        ),
        (Engine::Xdit, "tp2", "FLUX.1-dev", lacks(Feature::Tensor)),
        (
            Engine::Xdit,
            "ring4/1bit warmup=2 loop=fused",
            "FLUX.1-dev",
            compact(CompactRefusal::Warmup { has: 1, asked: 2 }),
        ),
        (
            Engine::Xdit,
            "ring4/1bit",
            "FLUX.1-dev",
            compact(CompactRefusal::FusedLoop),
        ),
        (
            Engine::Xdit,
            "ring4 loop=fused",
            "FLUX.1-dev",
            compact(CompactRefusal::NoSettings { compressor: None }),
        ),
        (
            Engine::Sglang,
            "ring4 loop=fused",
            "FLUX.1-dev",
            lacks(Feature::FusedLoop),
        ),
        (
            Engine::Xdit,
            "pipefusion4 warmup=0",
            "FLUX.1-dev",
            excluded("'s runner starts PipeFusion"),
        ),
        (
            Engine::Xdit,
            "pipefusion4(m8) warmup=1",
            "FLUX.1-dev",
            excluded("'s runner starts PipeFusion"),
        ),
        (
            Engine::Xdit,
            "attention2d2x2",
            "FLUX.1-dev",
            lacks(Feature::Attention2d),
        ),
        (
            Engine::Xdit,
            "cfg2",
            "Qwen-Image",
            not_split(Split::Guidance, "Qwen-Image"),
        ),
        (
            Engine::Sglang,
            "pipefusion4",
            "FLUX.1-dev",
            lacks(Feature::Stages),
        ),
        (
            Engine::Sglang,
            "ring4/2bit",
            "FLUX.1-dev",
            lacks(Feature::Compressed),
        ),
        (
            Engine::Diffusers,
            "ring4",
            "FLUX.1-dev",
            excluded("gathers K and V"),
        ),
        (
            Engine::Diffusers,
            "ulysses2",
            "PixArt-alpha",
            not_split(Split::Sequence, "PixArt-alpha"),
        ),
    ] {
        let found = launched(engine, plan, model).expect_err(plan);
        assert!(is(&found, &refusal), "{plan}: {found:?}");
    }
    let schnell = launched(Engine::Xdit, "ulysses2", "FLUX.1-schnell").unwrap_err();
    assert!(matches!(schnell, Refusal::NotStarted { .. }), "{schnell:?}");
}

#[test]
fn compressed_ring_goes_to_the_fork() {
    let command = launched(Engine::Xdit, "ring4/1bit loop=fused", "FLUX.1-dev").unwrap();
    assert!(command.contains("COMPACT_TEST_METHOD=binary"), "{command}");
    assert!(command.contains("--ring_degree 4"), "{command}");
    let stale = launched(Engine::Xdit, "distrifusion4 warmup=1", "FLUX.1-dev").unwrap();
    assert!(stale.contains("COMPACT_TEST_METHOD=df"), "{stale}");
}

#[test]
fn ranks_beyond_a_box_start_in_every_box() {
    let command = flat(&launched(Engine::Xdit, "ulysses8+ring2", "PixArt-alpha").unwrap());
    assert!(
        command.contains(
            "torchrun --nproc_per_node=8 --nnodes=2 --rdzv_backend=c10d --rdzv_endpoint=$HEAD:29500"
        ),
        "{command}"
    );
    let sglang = flat(&launched(Engine::Sglang, "ulysses8+ring2", "FLUX.1-dev").unwrap());
    let words = "--num-gpus 16 --nnodes 2 --node-rank $NODE_RANK --dist-init-addr $HEAD:29500 --ulysses-degree 8";
    assert!(sglang.contains(words), "{sglang}");
    assert!(launched(Engine::Xdit, "ulysses4+ring3", "PixArt-alpha").is_err());
}

#[test]
fn another_order_of_gpus_is_said() {
    let plan = "ulysses2+ring2".parse::<Plan>().unwrap();
    let plan = plan.placed([0, 2, 1, 3].map(DeviceId::new).to_vec());
    let model = sim::model::find("FLUX.1-dev").unwrap();
    let job = Job {
        plan: &plan,
        model,
        request: &model.default,
        compilation: Compilation::Compiled,
        gpus_per_box: 4,
    };
    let command = Launch::of(Engine::Xdit, &job).command.unwrap();
    assert!(
        command.starts_with("CUDA_VISIBLE_DEVICES=0,2,1,3 xdit --model FLUX.1-dev"),
        "{command}"
    );
    assert!(command.contains("--use_torch_compile"), "{command}");
}

#[test]
fn no_line_of_a_command_is_wider_than_a_page() {
    let script = launched(Engine::Diffusers, "allgather-kv8", "Wan2.1-T2V-1.3B").unwrap();
    assert!(script.lines().all(|line| line.len() <= 98), "{script}");
    assert!(
        script.contains("torchrun --nproc_per_node=8 run.py"),
        "{script}"
    );
    let command = launched(Engine::Sglang, "ulysses4+ring2", "Wan2.2-T2V-A14B").unwrap();
    assert!(command.lines().all(|line| line.len() <= 100), "{command}");
    let command = flat(&command);
    assert!(
        command.contains("--num-gpus 8 --ulysses-degree 4 --ring-degree 2"),
        "{command}"
    );
}

#[test]
fn cache_dit_is_told_every_size() {
    let script = launched(Engine::CacheDit, "ulysses2+ring2", "FLUX.1-dev").unwrap();
    for line in [
        "    ulysses_size=2,",
        "    ring_size=2,",
        "    ring_rotate_method=\"p2p\",",
        "cache_dit.enable_cache(pipe, parallelism_config=parallelism)",
        "torchrun --nproc_per_node=4 run.py",
    ] {
        assert!(
            script.lines().any(|found| found == line),
            "{line}:\n{script}"
        );
    }
    assert!(
        launched(Engine::CacheDit, "tp2", "FLUX.1-dev")
            .unwrap()
            .contains("    tp_size=2,")
    );
    assert!(
        !launched(Engine::CacheDit, "none", "FLUX.1-dev")
            .unwrap()
            .contains("parallelism =")
    );
    let not_split = |split, model: &str| Refusal::NotSplit {
        split,
        model: model.to_owned(),
    };
    for (plan, model, refusal) in [
        (
            "ring4/1bit warmup=1",
            "FLUX.1-dev",
            excluded("sends K and V uncompressed (or"),
        ),
        ("pipefusion4", "FLUX.1-dev", lacks(Feature::Stages)),
        ("allgather-kv4", "FLUX.1-dev", lacks(Feature::Gather)),
        ("cfg2", "Qwen-Image", lacks(Feature::Guidance)),
        (
            "ulysses2",
            "SD3-medium",
            not_split(Split::Sequence, "SD3-medium"),
        ),
        ("tp2", "SD3-medium", not_split(Split::Tensor, "SD3-medium")),
        (
            "distrifusion4 warmup=1",
            "FLUX.1-dev",
            lacks(Feature::Displaced),
        ),
    ] {
        let found = launched(Engine::CacheDit, plan, model).expect_err(plan);
        assert!(is(&found, &refusal), "{plan}: {found:?}");
    }
}

/// vLLM-Omni is told degrees when it is started, and the shape by a request.
#[test]
fn vllm_omni_is_served_and_asked() {
    let of = |plan: &str, model: &str| flat(&launched(Engine::VllmOmni, plan, model).unwrap());
    let image = of("cfg2+ulysses2+ring2+vae-p8", "Qwen-Image");
    for word in [
        "vllm serve Qwen/Qwen-Image --omni --num-gpus 8 --usp 2 --ring 2",
        "--cfg-parallel-size 2 --vae-patch-parallel-size 8 --enforce-eager\n# when it listens",
        "/v1/images/generations",
        "\"n\":1,\"size\":\"1024x1024\",\"num_inference_steps\":50}'",
    ] {
        assert!(image.contains(word), "{word}: {image}");
    }
    let video = of("allgather-kv4", "Wan2.1-I2V-14B");
    for word in [
        "--allgather-degree 4",
        "-F num_frames=81 -F input_reference=@image1.png",
    ] {
        assert!(video.contains(word), "{word}: {video}");
    }
    let layers = of("ulysses2 residency=layerwise(9)", "Wan2.1-T2V-14B");
    assert!(layers.contains("\"resident_layers\":9}}}'"), "{layers}");
    for (plan, model, refusal) in [
        (
            "ulysses2+allgather-kv2",
            "Qwen-Image",
            excluded("gathers K and V alone"),
        ),
        (
            "dp2",
            "Qwen-Image",
            excluded("takes no --data-parallel-size"),
        ),
        (
            "ulysses16",
            "Qwen-Image",
            excluded("is started here in one box"),
        ),
        (
            "ulysses2",
            "FLUX.1-dev",
            Refusal::NotSplit {
                split: Split::Sequence,
                model: "FLUX.1-dev".to_owned(),
            },
        ),
        (
            "none",
            "HunyuanVideo",
            Refusal::NotListed {
                model: "HunyuanVideo".to_owned(),
            },
        ),
    ] {
        let found = launched(Engine::VllmOmni, plan, model).expect_err(plan);
        assert!(is(&found, &refusal), "{plan}: {found:?}");
    }
}

/// A request that begins with an image says so to every engine, and a runner of several tasks is told which.
#[test]
fn images_and_tasks_are_said() {
    for (engine, model, word) in [
        (Engine::Xdit, "Wan2.1-I2V-14B", "--input_images image1.png"),
        (Engine::Sglang, "Wan2.1-I2V-14B", "--image-path image1.png"),
        (
            Engine::Diffusers,
            "Qwen-Image-Edit",
            "image=load_image(\"image1.png\")",
        ),
        (
            Engine::CacheDit,
            "Wan2.2-I2V-A14B",
            "image=load_image(\"image1.png\")",
        ),
        (Engine::Xdit, "Wan2.2-TI2V-5B", "--task t2v"),
    ] {
        let with = flat(&launched(engine, "ulysses2", model).unwrap());
        assert!(with.contains(word), "{with}");
        let without = flat(&launched(engine, "ulysses2", "FLUX.1-dev").unwrap());
        assert!(
            !without.contains("image1") && !without.contains("--task"),
            "{without}"
        );
    }
}

/// What is launched, changed in one thing: the model's usual request, eager, eight GPUs a box, else.
fn changed(
    engine: Engine,
    plan: &str,
    model: &str,
    change: impl Fn(&mut Request),
    compilation: Compilation,
) -> Result<String, Refusal> {
    let plan: Plan = plan.parse().unwrap();
    let model = sim::model::find(model).unwrap();
    let mut request = model.default;
    change(&mut request);
    let job = Job {
        plan: &plan,
        model,
        request: &request,
        compilation,
        gpus_per_box: 8,
    };
    Launch::of(engine, &job).command.map(|text| flat(&text))
}
