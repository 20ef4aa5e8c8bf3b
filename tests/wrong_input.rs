//! Every mistake of the user's is one sentence on standard error and exit code 2.
//!
//! Machine files differ from one valid file by one thing.

use std::fs;
use std::path::PathBuf;

use tempfile::TempDir;

use crate::ditplan;

/// A machine file that is right.
const MACHINE: &str = r#"
name = "bench"
sockets = ["socket0"]

[host]
name = "bench"
source = "a test"

[[gpus]]
model = "L20"
count = 4
attach = "socket0"

[pcie]
bandwidth = "32 GB/s"
"#;

/// The complaint about these arguments: one line, without `error: `.
pub(crate) fn complaint(arguments: &[&str]) -> String {
    let assert = ditplan(arguments)
        .env("RUST_BACKTRACE", "1")
        .assert()
        .code(2);
    let output = assert.get_output();
    assert!(
        output.stdout.is_empty(),
        "nothing is printed beside a mistake"
    );
    let stderr = String::from_utf8(output.stderr.clone()).expect("a complaint is UTF-8");
    assert_eq!(stderr.lines().count(), 1, "one sentence:\n{stderr}");
    let sentence = stderr.trim_end().strip_prefix("error: ");
    sentence.expect("a complaint starts with error:").to_owned()
}

/// Asserts that a complaint says all of these.
pub(crate) fn says(sentence: &str, words: &[&str]) {
    for word in words {
        assert!(
            sentence.contains(word),
            "\"{word}\" is missing in: {sentence}"
        );
    }
}

/// A file with this text.
fn file(name: &str, text: &str) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join(name);
    fs::write(&path, text).expect("a temporary file");
    (folder, path)
}

/// The complaint about a machine file.
fn machine_complaint(text: &str) -> String {
    let (_folder, path) = file("bench.toml", text);
    complaint(&["plan", "--machine", path.to_str().expect("a UTF-8 path")])
}

#[test]
fn an_unknown_model_lists_the_known_ones_and_the_nearest() {
    let sentence = complaint(&["plan", "--model", "FLUX.1-dve"]);
    says(
        &sentence,
        &[
            "FLUX.1-dve",
            "did you mean \"FLUX.1-dev\"",
            "Qwen-Image",
            "HunyuanVideo",
        ],
    );
}

#[test]
fn an_unknown_machine_lists_the_known_ones_and_the_nearest() {
    let sentence = complaint(&["plan", "--machine", "8xh100"]);
    says(
        &sentence,
        &["8xh100", "did you mean 8xh100-sxm", "gb200-nvl72", ".toml"],
    );
}

#[test]
fn an_unknown_gpu_lists_the_known_ones_and_the_nearest() {
    let sentence = machine_complaint(&MACHINE.replace("\"L20\"", "\"L200\""));
    says(
        &sentence,
        &["bench.toml", "L200", "L20", "H100-SXM", "RTX4090"],
    );
}

#[test]
fn a_bare_number_is_refused_with_file_line_and_key() {
    let sentence = machine_complaint(&MACHINE.replace("\"32 GB/s\"", "32"));
    says(
        &sentence,
        &["bench.toml", "line 15", "pcie.bandwidth", "GB/s"],
    );
    let quoted = machine_complaint(&MACHINE.replace("\"32 GB/s\"", "\"32\""));
    says(
        &quoted,
        &["bench.toml", "pcie.bandwidth", "no unit", "GB/s"],
    );
}

#[test]
fn a_negative_bandwidth_is_refused() {
    let sentence = machine_complaint(&MACHINE.replace("32 GB/s", "-32 GB/s"));
    says(&sentence, &["bench.toml", "pcie.bandwidth", "-32 GB/s"]);
}

#[test]
fn an_isolated_gpu_is_named() {
    // Two sockets without a link between them.
    let apart = r#"
name = "bench"
sockets = ["socket0", "socket1"]


[host]
name = "bench"
source = "a test"

[[gpus]]
model = "L20"
count = 1
attach = "socket0"

[[gpus]]
model = "L20"
count = 1
attach = "socket1"
"#;
    let sentence = machine_complaint(apart);
    says(
        &sentence,
        &["bench.toml", "gpu0 cannot reach gpu1", "connect them"],
    );
}

#[test]
fn an_empty_machine_file_says_what_to_write() {
    let sentence = machine_complaint("");
    says(&sentence, &["bench.toml is empty", "[[gpus]]"]);
}

#[test]
fn a_machine_file_that_is_not_there_is_named() {
    let sentence = complaint(&["plan", "--machine", "no-such.toml"]);
    says(&sentence, &["no-such.toml", "cannot be read"]);
}

#[test]
fn broken_toml_has_its_line() {
    let sentence = machine_complaint(&MACHINE.replace("count = 4", "count = "));
    says(&sentence, &["bench.toml", "line 11"]);
}

#[test]
fn more_gpus_than_the_machine_has_are_refused() {
    for count in ["0", "5"] {
        let sentence = complaint(&["plan", "--gpus", count]);
        says(&sentence, &["4xl20-pcie", "from 1 to 4", count]);
    }
}

#[test]
fn a_request_that_the_model_cannot_serve_is_refused() {
    for (arguments, words) in [
        (["--size", "1024"], ["1024", "1280x720"]),
        (["--size", "1000x1024"], ["1000", "1008"]),
        (["--frames", "9"], ["images", "9"]),
        (["--steps", "0"], ["step", "0"]),
        (["--batch", "0"], ["image", "0"]),
        (["--max-fid", "NaN"], ["FID", "NaN"]),
    ] {
        says(&complaint(&["plan", arguments[0], arguments[1]]), &words);
    }
}

#[test]
fn a_plan_that_cannot_be_read_is_refused() {
    for (plan, words) in [
        ("spiral4", ["spiral4", "ulyssesN"]),
        ("ring4/3bit", ["3bit", "2bit"]),
        ("ring4 cold=1", ["cold=1", "warmup=N"]),
        ("ring8", ["8 GPUs", "4xl20-pcie"]),
    ] {
        says(&complaint(&["simulate", "--plan", plan]), &words);
    }
}

#[test]
fn a_degree_that_does_not_divide_the_heads_is_refused() {
    let arguments = ["simulate", "--machine", "8xh100-sxm", "--plan", "ulysses5"];
    says(
        &complaint(&arguments),
        &["ulysses 5", "24 heads", "FLUX.1-dev"],
    );
}

#[test]
fn no_plan_within_the_quality_asked_is_not_an_empty_table() {
    // Exact plans have a FID of 0, so some plan always remains.
    ditplan(&["plan", "--exact", "--max-fid", "0"])
        .assert()
        .success();
}

#[test]
fn a_table_with_a_missing_column_names_file_and_column() {
    let (_folder, path) = file(
        "gemm.csv",
        "system,software,dtype,kernel,m,n,k\na100_sxm,x,bf16,gemm,64,64,64\n",
    );
    let sentence = complaint(&["validate", "--gemm", path.to_str().expect("a UTF-8 path")]);
    says(&sentence, &["gemm.csv", "latency_us"]);
}

#[test]
fn an_empty_table_is_refused() {
    for option in [
        "--gemm",
        "--attention",
        "--nccl",
        "--operations",
        "--published",
    ] {
        let (_folder, path) = file("nothing.csv", "");
        let sentence = complaint(&["validate", option, path.to_str().expect("a UTF-8 path")]);
        says(&sentence, &["nothing.csv has no rows", "header"]);
    }
}

#[test]
fn a_table_that_is_not_there_is_named() {
    says(
        &complaint(&["validate", "--nccl", "no-such.csv"]),
        &["no-such.csv"],
    );
}

/// A user's own file of an engine is planned with under its name; one mistake in it is told with file, key and remedy.
#[test]
fn an_engine_of_ones_own_is_planned_with_or_refused_by_its_key() {
    let text = include_str!("../planner/engines/sglang.toml");
    let mine = text
        .replace("name = \"SGLang Diffusion\"", "name = \"my engine\"")
        .replace("sglang generate", "my-engine");
    let (_folder, path) = file("mine.toml", &mine);
    let typed = path.display().to_string();
    let asked = ["plan", "--emit", "command", "--engine"];
    let assert = ditplan(&[&asked[..], &[&typed]].concat())
        .assert()
        .success();
    let printed = String::from_utf8(assert.get_output().stdout.clone()).expect("UTF-8");
    assert!(printed.contains("my-engine --model-path"), "{printed}");
    for (from, to, words) in [
        (
            "version",
            "versoin",
            &["key versoin", "did you mean \"version\"?"][..],
        ),
        (
            "{ranks}",
            "{rank}",
            &["key command", "did you mean \"ranks\"?"],
        ),
        (
            "runs = [",
            "runs = [7, ",
            &["key runs[0]", "docs/engines.md"],
        ),
    ] {
        let (_folder, path) = file("bad.toml", &mine.replacen(from, to, 1));
        let typed = path.display().to_string();
        let sentence = complaint(&["plan", "--engine", &typed]);
        says(&sentence, &[words, &["bad.toml"]].concat());
    }
    says(
        &complaint(&["plan", "--engine", "nowhere.toml"]),
        &["--engine", "nowhere.toml cannot be read"],
    );
}

#[test]
fn what_is_typed_wrong_exits_with_2() {
    for arguments in [
        &["plan", "--engine", "cuda"][..],
        &["dream"],
        &[],
        &["simulate"],
    ] {
        ditplan(arguments).assert().code(2);
    }
}

#[cfg(not(feature = "cuda"))]
#[test]
fn without_the_gpus_compressors_cuda_says_how_to_build_them() {
    for command in [
        &["cuda", "check"][..],
        &["cuda", "sweep", "--out", "no-such"],
    ] {
        says(&complaint(command), &["--features cuda"]);
    }
}

/// What one option asks and another takes away.
#[test]
fn options_that_would_be_ignored_are_refused() {
    for (arguments, words) in [
        (
            "sweep --plan ring4/1bit --vary psnr=20,50",
            &["--vary psnr", "leave out --plan"][..],
        ),
        (
            "sweep --vary psnr=20,50",
            &["needs a recorded trace", "--trace"],
        ),
        (
            "sweep --vary steps=10,20 --steps 5",
            &["--vary steps", "one of them"],
        ),
        (
            "compare ring4/1bit ring4/2bit --exact",
            &["--exact", "leave it out"],
        ),
        (
            "compare 4xl20-pcie 8xh100-sxm --machine 4xh20-nvlink",
            &["4xh20-nvlink"],
        ),
        (
            "plan --engine sglang --emit xdit",
            &["--emit", "leave --engine out"],
        ),
        (
            "plan --robust --faults nofile.txt",
            &["nofile.txt", "no such file"],
        ),
    ] {
        let arguments: Vec<&str> = arguments.split(' ').collect();
        says(&complaint(&arguments), words);
    }
}

#[test]
fn a_run_of_months_is_refused_in_a_sentence() {
    for arguments in [
        "simulate --plan ring4 --machine 4xL20@1B/s",
        "simulate --plan ring4 --model Wan2.1-T2V-14B --size 4096x4000 --frames 257 --steps 10000",
    ] {
        let arguments: Vec<&str> = arguments.split(' ').collect();
        says(&complaint(&arguments), &["longer than 53 days"]);
    }
}
