//! What each engine is told: a flag at its default is absent, above it it stands with its number.

use super::*;
use crate::launch::template::wrapped;

const XDIT: &[&str] = &[
    "--data_parallel_degree",
    "--ulysses_degree",
    "--ring_degree",
    "--pipefusion_parallel_degree",
    "--num_pipeline_patch",
    "--warmup_steps",
    "--use_cfg_parallel",
    "--use_parallel_vae",
    "--use_torch_compile",
    "--num_frames",
    "--nnodes",
    "--guidance_scale",
    "CUDA_VISIBLE_DEVICES",
];
const SGLANG: &[&str] = &[
    "--tp-size",
    "--enable-torch-compile",
    "--num-frames",
    "--num-outputs-per-prompt",
    "--guidance-scale",
    "CUDA_VISIBLE_DEVICES",
];
const DIFFUSERS: &[&str] = &[
    "degrees = ",
    "ulysses_anything",
    "enable_parallelism",
    "compile()",
    "num_frames",
    "guidance_scale",
    "--nnodes",
    "CUDA_VISIBLE_DEVICES",
];
const CACHE_DIT: &[&str] = &[
    "ulysses_size",
    "ring_size",
    "tp_size",
    "ring_rotate_method",
    "ulysses_anything",
    "extra_parallel_modules",
    "enable_cache",
    "compile()",
    "num_frames",
    "guidance_scale",
    "--nnodes",
    "CUDA_VISIBLE_DEVICES",
];

/// At its default a flag is absent; above it, it stands with its number. Each line names all flags that its plan needs.
#[test]
fn flags_stand_exactly_where_they_say_something() {
    use Engine::{CacheDit, Diffusers, Sglang, Xdit};
    for (engine, flags, plan, model, present) in [
        (Xdit, XDIT, "none", "PixArt-alpha", &[][..]),
        (
            Xdit,
            XDIT,
            "ulysses2",
            "PixArt-alpha",
            &["--ulysses_degree 2"],
        ),
        (Xdit, XDIT, "ring2", "PixArt-alpha", &["--ring_degree 2"]),
        (Xdit, XDIT, "cfg2", "PixArt-alpha", &["--use_cfg_parallel"]),
        (
            Xdit,
            XDIT,
            "ring2+vae-p2",
            "FLUX.1-dev",
            &["--ring_degree 2", "--use_parallel_vae"],
        ),
        (
            Xdit,
            XDIT,
            "pipefusion2(m4) warmup=3",
            "PixArt-alpha",
            &[
                "--pipefusion_parallel_degree 2",
                "--num_pipeline_patch 4",
                "--warmup_steps 3",
            ],
        ),
        (Xdit, XDIT, "none", "CogVideoX-5b", &["--num_frames 49"]),
        (Sglang, SGLANG, "none", "FLUX.1-dev", &[]),
        (Sglang, SGLANG, "ulysses2", "FLUX.1-dev", &[]),
        (Sglang, SGLANG, "tp2", "FLUX.1-dev", &["--tp-size 2"]),
        (
            Sglang,
            SGLANG,
            "none",
            "Wan2.1-T2V-1.3B",
            &["--num-frames 81"],
        ),
        (Diffusers, DIFFUSERS, "none", "FLUX.1-dev", &[]),
        (
            Diffusers,
            DIFFUSERS,
            "ulysses2",
            "FLUX.1-dev",
            &[
                "degrees = dict(ring_degree=1, ulysses_degree=2)",
                "enable_parallelism",
            ],
        ),
        (
            Diffusers,
            DIFFUSERS,
            "none",
            "Wan2.1-T2V-1.3B",
            &["num_frames=81"],
        ),
        (CacheDit, CACHE_DIT, "none", "FLUX.1-dev", &[]),
        (
            CacheDit,
            CACHE_DIT,
            "ulysses2",
            "FLUX.1-dev",
            &["ulysses_size=2", "enable_cache"],
        ),
        (
            CacheDit,
            CACHE_DIT,
            "ring2",
            "FLUX.1-dev",
            &["ring_size=2", "ring_rotate_method=\"p2p\"", "enable_cache"],
        ),
        (
            CacheDit,
            CACHE_DIT,
            "tp2+vae-p2",
            "FLUX.1-dev",
            &[
                "tp_size=2",
                "extra_parallel_modules=[pipe.vae]",
                "enable_cache",
            ],
        ),
        (
            CacheDit,
            CACHE_DIT,
            "none",
            "Wan2.1-T2V-1.3B",
            &["num_frames=81"],
        ),
    ] {
        let command = changed(engine, plan, model, |_| {}, Compilation::Eager);
        let command = command.unwrap_or_else(|why| panic!("{engine} {plan}: {why:?}"));
        for word in present {
            assert!(command.contains(word), "{engine} {plan} {word}: {command}");
        }
        for flag in flags {
            let named = present.iter().any(|word| word.contains(flag));
            let context = format!("{engine} {plan} {flag}: {command}");
            assert_eq!(command.contains(flag), named, "{context}");
        }
    }
}

/// As many prompts as images, one compiler flag where it is compiled, padding where a degree leaves a rest.
#[test]
fn batches_compilers_and_padding_are_told() {
    use Compilation::{Compiled, Eager};
    let count = |text: &str, word: &str| text.matches(word).count();
    for batch in [1, 2, 3] {
        let of = |engine| {
            let set = |request: &mut Request| request.batch = batch;
            changed(engine, "none", "FLUX.1-dev", set, Eager).unwrap()
        };
        assert_eq!(count(&of(Engine::Xdit), PROMPT), batch as usize);
        let outputs = format!("--num-outputs-per-prompt {batch}");
        assert_eq!(count(&of(Engine::Sglang), &outputs) == 1, batch > 1);
        for engine in [Engine::Diffusers, Engine::CacheDit] {
            let prompts = format!("prompt=[{PROMPT}] * {batch},");
            assert!(of(engine).contains(&prompts), "{engine} {batch}");
        }
    }
    for (engine, word) in [
        (Engine::Xdit, "--use_torch_compile"),
        (Engine::Sglang, "--enable-torch-compile"),
        (Engine::Diffusers, "expert.compile()"),
        (Engine::CacheDit, "expert.compile()"),
    ] {
        for compilation in [Eager, Compiled] {
            let text = changed(engine, "none", "FLUX.1-dev", |_| {}, compilation).unwrap();
            let said = count(&text, word) == 1;
            assert_eq!(said, compilation == Compiled, "{engine}: {text}");
        }
    }
    // 126 x 126 tokens over eight ranks leave a rest, 128 x 128 do not.
    for (side, padded) in [(2016, true), (2048, false)] {
        for engine in [Engine::Diffusers, Engine::CacheDit] {
            let set = |request: &mut Request| {
                request.resolution = sim::model::Resolution::square(side);
            };
            let text = changed(engine, "ulysses8", "FLUX.1-dev", set, Eager).unwrap();
            let said = text.contains("ulysses_anything");
            assert_eq!(said, padded, "{engine} {side}: {text}");
        }
    }
}

/// Ranks start in the boxes that they stand in, equally many in each, on GPUs that each box counts by itself. A box that
/// ranks fill exactly is one box.
#[test]
fn ranks_fill_boxes_from_the_first_gpu_on() {
    let xdit = |model: &str, line: &str, gpus_per_box: u32, placement: &[usize]| {
        let plan: Plan = line.parse().unwrap();
        let plan = match placement {
            [] => plan,
            gpus => plan.placed(gpus.iter().copied().map(DeviceId::new).collect()),
        };
        let model = sim::model::find(model).unwrap();
        let job = Job {
            plan: &plan,
            model,
            request: &model.default,
            compilation: Compilation::Eager,
            gpus_per_box,
        };
        Launch::of(Engine::Xdit, &job)
            .command
            .map(|text| flat(&text))
    };
    let flux = |line, gpus, placement: &[usize]| xdit("FLUX.1-dev", line, gpus, placement);
    for (line, per_box, boxes) in [
        ("ring2", 2, None),
        ("ring2", 8, None),
        (
            "ring4",
            2,
            Some("--nnodes 2 --nproc_per_node 2 --node_rank"),
        ),
        (
            "ring8",
            2,
            Some("--nnodes 4 --nproc_per_node 2 --node_rank"),
        ),
    ] {
        let text = flux(line, per_box, &[]).unwrap();
        assert_eq!(text.contains("--nnodes"), boxes.is_some(), "{text}");
        assert!(text.contains(boxes.unwrap_or("xdit --model")), "{text}");
        let script = xdit("PixArt-alpha", line, per_box, &[]).unwrap();
        let boxes = boxes.map(|text| text.replace("--nproc_per_node 2", ""));
        let torchrun = match &boxes {
            None => format!("torchrun --nproc_per_node={} examples", &line[4..]),
            Some(text) => format!(
                "torchrun --nproc_per_node=2 --nnodes={} --rdzv",
                &text[9..10]
            ),
        };
        assert!(script.contains(&torchrun), "{script}");
    }
    let uneven = Refusal::UnevenBoxes {
        ranks: 8,
        gpus_per_box: 3,
    };
    assert_eq!(flux("ring8", 3, &[]), Err(uneven));
    for (per_box, placement, said) in [
        (8, [0, 1, 2, 3], None),
        (8, [0, 2, 1, 3], Some("CUDA_VISIBLE_DEVICES=0,2,1,3 xdit")),
        (8, [4, 5, 6, 7], Some("CUDA_VISIBLE_DEVICES=4,5,6,7 xdit")),
        (4, [0, 2, 1, 3], Some("CUDA_VISIBLE_DEVICES=0,2,1,3 xdit")),
        // In a further box GPUs are counted from its own first; of two boxes each starts its part.
        (4, [4, 5, 6, 7], None),
        (4, [6, 7, 4, 5], Some("CUDA_VISIBLE_DEVICES=2,3,0,1 xdit")),
        (4, [0, 1, 4, 5], None),
        (4, [2, 3, 6, 7], Some("CUDA_VISIBLE_DEVICES=2,3 xdit")),
        (2, [2, 3, 0, 1], None),
    ] {
        let text = flux("ring4", per_box, &placement).unwrap();
        assert!(text.starts_with(said.unwrap_or("xdit --model")), "{text}");
    }
    assert!(matches!(
        flux("ring4", 2, &[0, 1, 2, 4]),
        Err(Refusal::UnevenBoxes { .. })
    ));
    assert_eq!(
        flux("ring4", 2, &[0, 2, 1, 3]),
        Err(Refusal::ScatteredRanks)
    );
    assert_eq!(
        flux("ring4", 4, &[0, 1, 4, 6]),
        Err(Refusal::ScatteredRanks)
    );
    let alone = launched(Engine::Sglang, "ulysses8", "FLUX.1-dev").unwrap();
    assert!(!alone.contains("--nnodes"), "{alone}");
}

/// A line takes as many words as go into 94 columns, of which two are the indent of all but the first.
#[test]
fn lines_break_where_a_word_would_pass_the_width() {
    let words = |lengths: &[usize]| -> Vec<String> {
        lengths.iter().map(|length| "w".repeat(*length)).collect()
    };
    for (lengths, lines) in [
        (&[60, 33][..], &[94][..]),
        (&[60, 34], &[60, 36]),
        (&[60, 34, 57], &[60, 94]),
        (&[60, 34, 58], &[60, 36, 60]),
        (&[30, 30, 32], &[94]),
        (&[30, 30, 33], &[61, 35]),
        (&[94, 1], &[94, 3]),
        (&[95], &[95]),
    ] {
        let command = wrapped(&words(lengths));
        let found: Vec<usize> = command
            .lines()
            .map(|line| line.trim_end_matches(" \\").len())
            .collect();
        assert_eq!(found, lines, "{lengths:?}");
        assert_eq!(
            flat(&command).matches('w').count(),
            lengths.iter().sum::<usize>()
        );
    }
}
