//! What `plan` prints for people.

use crate::{printed, words};

#[test]
fn the_default_question_fills_one_page() {
    let page = printed(&["plan"]);
    let words = page.split_whitespace().collect::<Vec<_>>().join(" ");
    for part in [
        "FLUX.1-dev 1024x1024, 28 steps",
        "speed-up",
        "one GPU",
        "Choice: ",
        "No schedule of this plan is faster",
        "may be chosen",
        "Why the others lose",
        "Launch",
        "Where the numbers come from",
    ] {
        assert!(words.contains(part.trim_end()), "{part}\n{page}");
    }
    for line in page.lines() {
        assert!(line.chars().count() <= 100, "{line}");
    }
}

/// Eight GPUs decode a video together, which SGLang Diffusion does not: its command is that of the fastest plan that does
/// without.
#[test]
fn an_engine_without_a_parallel_vae_uses_all_gpus_of_a_video() {
    let video = words("plan --model Wan2.1-T2V-14B --machine 8xh100-sxm --exact");
    for engine in ["sglang", "diffusers"] {
        let command = printed(&[&video[..], &["--emit", engine]].concat());
        let gpus = ["--num-gpus 8", "--nproc_per_node=8"];
        assert!(
            gpus.iter().any(|words| command.contains(words)),
            "{command}"
        );
    }
}

#[test]
fn weights_that_fit_only_in_parts_are_told_and_paid() {
    let page = |plan: &str, machine: &str| {
        let page = printed(&["simulate", "--plan", plan, "--machine", machine]);
        page.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    let small = page("ring4", "4xRTX4090@pcie4");
    assert!(small.contains("This does not run"), "{small}");
    let fits = small.split("--plan \"").nth(1).expect("what fits");
    let fits = fits.split('"').next().expect("a plan");
    assert!(fits.starts_with("ring4 residency="), "{fits}");
    let moved = page(fits, "4xRTX4090@pcie4");
    assert!(
        moved.contains("in the latency") && !moved.contains("OOM"),
        "{moved}"
    );
    assert!(!page("ring4", "4xRTX4090-48GB@pcie4").contains("This does not run"));
    let assumed = "weights that move: copies at";
    assert!(moved.contains(assumed), "{moved}");
    let resident = page("ring4", "4xRTX4090-48GB@pcie4");
    assert!(!resident.contains(assumed), "{resident}");
}

#[test]
fn on_nvlink_it_says_that_nothing_measured_tells_whether_compression_pays() {
    let page = printed(&["plan", "--machine", "4xh20-nvlink"]);
    let flat = page.split_whitespace().collect::<Vec<_>>().join(" ");
    for part in [
        "whether compression pays here is not known, a tie",
        "cannot tell",
        "Choice: allgather-kv4",
        "fastest distrifusion4",
    ] {
        assert!(flat.contains(part), "{part}\n{page}");
    }
}
