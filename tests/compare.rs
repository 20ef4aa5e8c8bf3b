//! `compare`: two plans or two machines, and what would turn the tables. And what shells read.

use super::{json, printed, refused};

#[test]
fn the_difference_is_explained_and_undone() {
    let report = json(&[
        "compare",
        "ulysses4",
        "pipefusion4 warmup=1",
        "--machine",
        "4xL20@2GB/s",
        "--json",
    ]);
    assert_eq!(report["slower"], 0);
    let latency = |index: usize| {
        report["sides"][index]["latency_s"]
            .as_f64()
            .expect("a time")
    };
    let classes = report["classes"].as_array().expect("classes");
    for index in 0..2 {
        let parts = classes
            .iter()
            .map(|class| class["time_s"][index].as_f64().expect("a time"));
        let sum: f64 = parts.sum();
        // Text encoder and VAE are no part of the steps' critical path: about a second.
        let rest = latency(index) - sum;
        assert!((0.0..1.5).contains(&rest), "{sum} {}", latency(index));
    }
    // The named bandwidth indeed makes both equal.
    let turns = report["turns"].as_array().expect("turns");
    let turn = turns
        .iter()
        .find(|turn| turn["field"] == "nvlink.bandwidth")
        .expect("a bandwidth");
    let rate = format!(
        "nvlink.bandwidth={}GB/s",
        turn["to"].as_f64().expect("a rate")
    );
    let swept = json(&[
        "sweep",
        "--machine",
        "4xL20@2GB/s",
        "--vary",
        &rate,
        "--plan",
        "ulysses4",
        "--plan",
        "pipefusion4 warmup=1",
        "--json",
    ]);
    let time = |row: usize| swept["rows"][row]["latency_s"].as_f64().expect("a time");
    assert!(
        (time(0) / time(1) - 1.0).abs() < 0.01,
        "{} {}",
        time(0),
        time(1)
    );
}

#[test]
fn machines_are_compared_by_their_best_plans() {
    let page = printed(&["compare", "4xl20-pcie", "4xh20-nvlink"]);
    assert!(
        page.contains("What would have to change") && page.contains("communication"),
        "{page}"
    );
    let sentence = refused(&["compare", "ring4", "8xh100-sxm"]);
    assert!(
        sentence.contains("two plans, or two machines"),
        "{sentence}"
    );
}

/// A preset has runs of its own, a hypothetical machine none: what they say of the GPU is carried over, or nobody has it.
#[test]
fn like_is_compared_with_like() {
    let compared = |other: &str, model: &str| {
        json(&[
            "compare",
            "8xh100-sxm",
            other,
            "--model",
            model,
            "--exact",
            "--json",
        ])
    };
    let carried = compared("8xH100-SXM@nvlink6", "HunyuanVideo");
    assert_eq!(carried["footing"], "carried");
    assert_eq!(carried["footing_of"], 0);
    // Faster links change no matrix product: without the footing the two were 22 % apart.
    let classes = carried["classes"].as_array().expect("classes");
    let linear = classes.iter().find(|class| class["class"] == "linear");
    let of = |side: usize| {
        linear.expect("matrix products")["time_s"][side]
            .as_f64()
            .expect("a time")
    };
    assert!((of(0) / of(1) - 1.0).abs() < 0.01, "{} {}", of(0), of(1));

    // One GPU is one GPU, whatever joins it to others, and whatever prompts its host is asked with.
    for pair in [
        ["4xl20-pcie", "4xL20@pcie4"],
        ["4xH20@nvlink4", "4xh20-nvlink"],
    ] {
        let [one, other] = pair;
        let alone = json(&["compare", one, other, "--gpus", "1", "--json"]);
        assert_eq!(alone["footing"], "carried", "{pair:?}");
        let [one, other] = [0, 1].map(|side| alone["sides"][side]["latency_s"].as_f64());
        let away = one.expect("a time") / other.expect("a time") - 1.0;
        assert!(away.abs() < 1e-3, "{pair:?}: {away}");
    }

    let without = compared("8xB200-SXM@nvlink5", "HunyuanVideo");
    assert_eq!(without["footing"], "without");
    for side in 0..2 {
        let rests_on = without["rests_on"][side].as_str().expect("words");
        assert!(!rests_on.starts_with("own"), "{rests_on}");
    }
    // Each side alone: what `plan` says of it.
    let each = compared("8xa100-sxm", "FLUX.1-dev");
    assert_eq!(each["footing"], "each");
    let planned = json(&[
        "plan",
        "--machine",
        "8xa100-sxm",
        "--exact",
        "--fastest",
        "--json",
    ]);
    assert_eq!(
        each["sides"][1]["latency_s"],
        planned["choice"]["latency_s"]
    );
}

#[test]
fn the_same_plan_twice_is_a_tie() {
    let report = json(&["compare", "ring4", "ring4", "--json"]);
    assert_eq!(report["probability"], 0.5);
    let page = printed(&["compare", "ring4", "allgather-kv4"]);
    assert!(page.contains("Which is faster"), "{page}");
}

#[test]
fn shells_and_manuals_know_every_command() {
    for shell in ["bash", "zsh", "fish"] {
        let script = printed(&["completions", shell]);
        assert!(
            script.contains("ditplan") && script.contains("sweep"),
            "{shell}"
        );
    }
    assert!(printed(&["man"]).contains("compare"));
    let folder = tempfile::tempdir().expect("a folder");
    let out = folder.path().to_str().expect("a name");
    printed(&["man", "--out", out]);
    assert!(folder.path().join("ditplan-sweep.1").exists());
}

/// A word that is neither gets the nearest of both; a heading breaks where a plan may.
#[test]
fn a_word_that_is_neither_plan_nor_machine_is_told() {
    for (word, plan, machine) in [
        ("rign4", "ring4", "4xrtx4090"),
        ("ulyses4/1bit", "ulysses4/1bit", "machine"),
        ("8xh100-smx", "written as ring4", "8xh100-sxm"),
    ] {
        let sentence = refused(&["compare", word, "ring4"]);
        for part in ["neither a plan nor a machine", plan, machine] {
            assert!(sentence.contains(part), "{sentence}");
        }
    }
}

#[test]
fn no_line_is_wider_than_a_hundred_columns_and_plans_stay_whole() {
    let plans = [
        "ulysses2+ring2/1bit warmup=1 loop=fused",
        "ulysses2+ring2+vae-p4/lowrank-int4(32) warmup=1 loop=fused",
    ];
    let wide = [
        "plan",
        "--machine",
        "8xl20-pcie",
        "--model",
        "Wan2.1-T2V-14B",
    ];
    let digits = "plan --model dit-digits --machine 4xT4@1GB/s --batch 1024 --strategy ring4 --budget psnr>=50 --per phase";
    let pages = [
        printed(&["compare", plans[0], plans[1]]),
        printed(&["simulate", "--plan", plans[1]]),
        printed(&wide),
        printed(&crate::words(digits)),
    ];
    for page in &pages {
        for line in page.lines() {
            assert!(line.chars().count() <= 100, "{line}");
        }
    }
    // A line ends behind a blank, a plus or a slash.
    let heading: Vec<&str> = pages[0]
        .lines()
        .skip(1)
        .take_while(|line| !line.starts_with("plan"))
        .collect();
    let whole = |word: &str| {
        plans.iter().any(|plan| {
            plan.split_inclusive(['+', '/', ' '])
                .any(|part| word.ends_with(part.trim_end()))
        })
    };
    let mut words = heading.iter().flat_map(|line| line.split_whitespace());
    assert!(
        heading.len() > 1 && words.all(|word| whole(word) || word == "difference"),
        "{heading:?}"
    );
}
