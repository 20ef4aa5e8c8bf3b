//! Other programs' files: machines, models and runs that come in, machines and plans that go out.

use std::fs;

use tempfile::TempDir;

use crate::wrong_input::{complaint, says};
use crate::{json, printed, words};

/// A sample of another program's file.
fn sample(name: &str) -> String {
    format!(
        "{}/../topologies/data/samples/{name}",
        env!("CARGO_MANIFEST_DIR")
    )
}

fn kineto(name: &str) -> String {
    format!(
        "{}/../traces/data/kineto/{name}",
        env!("CARGO_MANIFEST_DIR")
    )
}

/// A folder for one test, and the path of a file in it.
fn folder(name: &str) -> (TempDir, String) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join(name).display().to_string();
    (folder, path)
}

#[test]
fn every_command_takes_a_topology_by_its_content() {
    let answer = json(&[
        "simulate",
        "--plan",
        "ulysses4",
        "--machine",
        &sample("nccl-h100-vm.xml"),
        "--steps",
        "2",
        "--json",
    ]);
    assert_eq!(answer["question"]["machine"], "nccl-h100-vm");
    let sources = answer["provenance"].to_string();
    for word in ["virtual machine", "peer-to-peer access is on", "22 GB/s"] {
        assert!(sources.contains(word), "{word}: {sources}");
    }
    let sentence = complaint(&["plan", "--machine", &sample("topo-8x-pix.txt")]);
    says(
        &sentence,
        &[
            "topo-8x-pix.txt does not say which GPUs these are",
            "--gpu NAME",
            "--smi-xml",
        ],
    );
}

#[test]
fn an_imported_machine_is_a_file_that_plans() {
    let (_folder, path) = folder("box.toml");
    let said = printed(&[
        "machines",
        "import",
        &sample("topo-8x-pix.txt"),
        "--gpu",
        "L40S",
        "--out",
        &path,
    ]);
    for word in [
        "8 x L40S",
        "PCIe 32 GB/s, 2 sockets",
        "Assumed",
        "NCCL's figure for AMD",
    ] {
        assert!(said.contains(word), "{word}:\n{said}");
    }
    let answer = json(&[
        "simulate",
        "--plan",
        "ulysses2+ring4",
        "--machine",
        &path,
        "--steps",
        "2",
        "--json",
    ]);
    assert_eq!(answer["question"]["gpus"], 8);
    let text = printed(&[
        "machines",
        "import",
        &sample("topo-8x-pix.txt"),
        "--gpu",
        "L40S",
    ]);
    assert_eq!(
        text,
        fs::read_to_string(&path)
            .unwrap()
            .replace("\"box\"", "\"topo-8x-pix\"")
    );
}

#[test]
fn a_described_machine_has_the_links_of_its_slots() {
    let (_folder, path) = folder("topo.txt");
    fs::write(
        &path,
        "\tGPU0\tGPU1\tCPU Affinity\nGPU0\t X \tPHB\t0-7\nGPU1\tPHB\t X \t0-7\n",
    )
    .unwrap();
    let text = printed(&[
        "machines",
        "import",
        &path,
        "--smi-xml",
        &sample("smi-2xl4.xml"),
    ]);
    assert!(
        text.contains("model = \"L4\"") && text.contains("bandwidth = \"16 GB/s\""),
        "{text}"
    );
}

#[test]
fn wrong_imports_are_one_sentence() {
    let sentence = complaint(&["machines", "import", &sample("smi-2xl4.xml")]);
    says(&sentence, &["nvidia-smi -q -x", "--smi-xml"]);
    says(
        &complaint(&["machines", "import", "/no/such/file"]),
        &["/no/such/file cannot be read"],
    );
    let (_folder, path) = folder("cut.xml");
    let whole = fs::read_to_string(sample("nccl-h200.xml")).unwrap();
    fs::write(&path, &whole[..whole.len() / 2]).unwrap();
    says(
        &complaint(&["machines", "import", &path]),
        &["cut.xml, line", "the XML is broken"],
    );
    fs::write(&path, [0xff, 0xfe, 0x3c, 0x00]).unwrap();
    says(
        &complaint(&["plan", "--machine", &path]),
        &["is UTF-16: save it as UTF-8"],
    );
}

#[test]
fn an_exported_machine_comes_back() {
    let (_folder, path) = folder("b200.xml");
    let said = printed(&[
        "machines",
        "export",
        "8xb200-sxm",
        "--format",
        "nccl-xml",
        "--out",
        &path,
    ]);
    assert!(said.contains("NCCL takes its own figure"), "{said}");
    let (_other, toml) = folder("b200.toml");
    let back = printed(&["machines", "import", &path, "--out", &toml]);
    assert!(
        back.starts_with("8xb200-sxm: 8 x B200, NVLink 900 GB/s"),
        "{back}"
    );
    let platform = printed(&words("machines export 4xl20-pcie --format simgrid-xml"));
    assert!(platform.starts_with("<?xml") && platform.contains("<platform version=\"4.1\">"));
    assert!(platform.contains("<!-- Not in the format: protocols of NCCL"));
    let printed_xml = printed(&["machines", "export", "8xb200-sxm", "--format", "nccl-xml"]);
    fs::write(&path, printed_xml).unwrap();
    assert_eq!(
        printed(&["machines", "import", &path, "--out", &toml]),
        back
    );
}

#[test]
fn rates_of_a_log_become_the_hosts() {
    let (_folder, path) = folder("box.toml");
    printed(&[
        "machines",
        "import",
        &sample("nccl-h100-vm.xml"),
        "--out",
        &path,
    ]);
    let (_other, out) = folder("rated.toml");
    let log = sample("nccl-tests.json");
    let said = printed(&[
        "calibrate",
        "--nccl-tests",
        &log,
        "--machine",
        &path,
        "--out",
        &out,
    ]);
    assert!(said.contains("all-to-all among 4: 14 GB/s"), "{said}");
    assert!(
        fs::read_to_string(&out)
            .unwrap()
            .contains("bus_bandwidth = \"14 GB/s\"")
    );
    let answer = json(&[
        "simulate",
        "--plan",
        "ulysses4",
        "--machine",
        &out,
        "--steps",
        "2",
        "--json",
    ]);
    assert_eq!(answer["question"]["gpus"], 4);
    let twice = complaint(&["calibrate", "--nccl-tests", &log, "--machine", &out]);
    says(&twice, &["already has a rate of all-to-all among 4 ranks"]);
    let many = complaint(&[
        "calibrate",
        "--nccl-tests",
        &sample("nccl-tests-16xh200.txt"),
        "--machine",
        &path,
    ]);
    says(&many, &["16 ranks took part", "has 4 GPUs"]);
    let (_third, csv) = folder("rows.csv");
    printed(&[
        "calibrate",
        "--nccl-tests",
        &sample("nccl-tests-4xv100.txt"),
        "--machine",
        &path,
        "--csv",
        &csv,
    ]);
    let rows = fs::read_to_string(&csv).unwrap();
    assert!(
        rows.starts_with("system,nccl,op,dtype,num_gpus,size_bytes,latency_us\n"),
        "{rows}"
    );
    assert_eq!(rows.lines().count(), 5);
    assert!(sim::collective::Row::parse_csv(&rows, "rows.csv").is_ok());
}

const FLUX: &str = r#"{"_class_name": "FluxTransformer2DModel", "attention_head_dim": 128, "guidance_embeds": true,
    "in_channels": 64, "joint_attention_dim": 4096, "num_attention_heads": 24, "num_layers": 19,
    "num_single_layers": 38, "patch_size": 1, "pooled_projection_dim": 768}"#;

#[test]
fn a_known_configuration_is_the_built_in_model() {
    let (_folder, path) = folder("config.json");
    fs::write(&path, FLUX).unwrap();
    let ask = |model: &str| json(&["simulate", "--plan", "ring4", "--model", model, "--json"]);
    assert_eq!(ask(&path), ask("FLUX.1-dev"));
}

#[test]
fn an_unknown_configuration_plans_and_says_what_was_assumed() {
    let (held, path) = folder("config.json");
    fs::write(
        &path,
        FLUX.replace("\"num_layers\": 19", "\"num_layers\": 5"),
    )
    .unwrap();
    let answer = json(&[
        "simulate",
        "--plan",
        "ring4",
        "--model",
        held.path().to_str().unwrap(),
        "--json",
    ]);
    let sources = answer["provenance"].to_string();
    assert!(
        sources.contains("FluxTransformer2DModel") && sources.contains("those of FLUX.1-dev"),
        "{sources}"
    );
    let whole = json(&["simulate", "--plan", "ring4", "--json"]);
    let latency = |answer: &serde_json::Value| {
        answer["plan"]["latency_s"]
            .as_f64()
            .or(answer["choice"]["latency_s"].as_f64())
    };
    assert!(latency(&answer).unwrap() < latency(&whole).unwrap());
    fs::write(&path, FLUX.replace("19", "\"19\"")).unwrap();
    says(
        &complaint(&["plan", "--model", &path]),
        &["config.json, key num_layers", "whole number"],
    );
}

#[test]
fn a_shown_model_is_taken_back_and_another_name_or_file_changes_nothing() {
    let (_folder, path) = folder("PixArt.toml");
    let shown = printed(&["models", "show", "FLUX.1-dev"]);
    let ask = |model: &str| json(&["simulate", "--plan", "ring4", "--model", model, "--json"]);
    for name in ["FLUX.1-dev", "mine"] {
        let text = shown.replacen("name = \"FLUX.1-dev\"", &format!("name = \"{name}\""), 1);
        fs::write(&path, text).unwrap();
        assert_eq!(ask(&path), ask("FLUX.1-dev"), "{name}");
    }
    let smaller = shown
        .replacen("name = \"FLUX.1-dev\"", "name = \"mine\"", 1)
        .replacen("double = 19", "double = 5", 1);
    fs::write(&path, &smaller).unwrap();
    let (mine, whole) = (ask(&path), ask("FLUX.1-dev"));
    assert_eq!(mine["question"]["model"], "mine");
    let latency = |answer: &serde_json::Value| answer["choice"]["latency_s"].as_f64().unwrap();
    assert!(latency(&mine) < latency(&whole));
    fs::write(&path, smaller.replacen("single = 38", "singel = 38", 1)).unwrap();
    says(
        &complaint(&["plan", "--model", &path]),
        &[
            "PixArt.toml, line 10, key family.joint.singel",
            "did you mean \"single\"?",
        ],
    );
    says(
        &complaint(&["plan", "--model", "nowhere.toml"]),
        &["the model file nowhere.toml cannot be read"],
    );
}

#[test]
fn a_profiled_run_is_summed_up_and_compared_with_its_plan() {
    let file = kineto("synthetic-ulysses4.json");
    let page = printed(&["trace", "kineto", &file]);
    for word in [
        "NVIDIA L20, rank 0: 8 spans",
        "attention",
        "all-to-all",
        "all-gather",
        "1 kernels of unknown names",
    ] {
        assert!(page.contains(word), "{word}:\n{page}");
    }
    let (_folder, out) = folder("timeline.json");
    let answer = json(&[
        "trace",
        "kineto",
        &file,
        "--plan",
        "ulysses4",
        "--steps",
        "2",
        "--timeline",
        &out,
        "--json",
    ]);
    assert_eq!(answer["profiled_steps"], 2);
    let lines = answer["plan"]["differences"].to_string();
    assert!(
        lines.contains("all-to-all: the trace moved 27.26 MB, the plan"),
        "{lines}"
    );
    assert!(
        lines.contains("all-gather: the trace moved 8.389 MB, the plan has none"),
        "{lines}"
    );
    let written = fs::File::open(&out).unwrap();
    assert_eq!(
        traces::timeline::read(written, "timeline.json")
            .unwrap()
            .spans()
            .len(),
        8
    );
    let none = complaint(&[
        "trace",
        "kineto",
        &file,
        "--plan",
        "none",
        "--machine",
        "/no/machine",
    ]);
    says(&none, &["/no/machine"]);
    says(
        &complaint(&["trace", "kineto", &sample("nccl-tests.json")]),
        &["no profiler's trace"],
    );
}

#[test]
fn a_command_alone_is_printed_for_each_engine() {
    let emit = |engine: &str, more: &[&str]| printed(&[&["plan", "--emit", engine], more].concat());
    let exact = emit("sglang", &["--strategy", "ulysses4", "--exact"]);
    assert!(
        exact.starts_with("sglang generate --model-path black-forest-labs/FLUX.1-dev"),
        "{exact}"
    );
    // The best plan is compressed: xDiT's fork has no ready settings for it.
    let xdit = emit("xdit", &["--fastest"]);
    let mut lines = xdit.lines();
    assert!(
        lines
            .next()
            .unwrap()
            .starts_with("# xDiT cannot run the best plan, allgather-kv4+vae-p4/1bit ("),
        "{xdit}"
    );
    assert!(
        lines
            .next()
            .unwrap()
            .starts_with("# The nearest that it can run is ring4+vae-p4/1bit: "),
        "{xdit}"
    );
    assert!(xdit.contains("COMPACT_TEST_METHOD=binary"));
    let script = emit("cache-dit", &["--exact"]);
    assert!(
        script.contains("cache_dit.enable_cache(pipe, parallelism_config=parallelism)"),
        "{script}"
    );
    let gathered = emit("diffusers", &["--fastest"]);
    assert!(
        gathered.starts_with("# diffusers cannot run the best plan")
            && gathered.contains("% slower."),
        "{gathered}"
    );
    let none = complaint(&["plan", "--model", "dit-digits", "--emit", "sglang"]);
    says(
        &none,
        &[
            "SGLang Diffusion has no command for any plan of dit-digits",
            "try another --emit",
        ],
    );
}
