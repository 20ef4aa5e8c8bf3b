use std::path::PathBuf;

use super::*;
use topologies::host::Compilation;

/// A profile of a processor as `ditplan_capture.calibrate --device cpu --toy` wrote it.
fn toy() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../tests/data/profile-cpu-toy")
}

/// A directory with some of the files of a profile of an H200; the times are made up.
fn made_up(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let about = r#"{"format": 1, "gpu": "NVIDIA H200", "device": "cuda", "system": "h200_sxm",
        "torch": "2.0", "date": "2026-01-01T00:00Z", "parts": {"gemm": "partial"}, "command": "x"}"#;
    std::fs::write(folder.path().join("profile.json"), about).unwrap();
    for (name, text) in files {
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    folder
}

const GEMM: &str = "system,software,dtype,kernel,m,n,k,latency_us,repeats,p10_us,p90_us\n\
    h200_sxm,torch 2.0,bfloat16,torch_linear,4096,3072,3072,120.0,20,119.0,123.0\n";

fn refused(files: &[(&str, &str)]) -> String {
    let folder = made_up(files);
    let error = Profile::read(folder.path(), Accept::Gpu).unwrap_err();
    error.to_string()
}

#[test]
fn a_recorded_profile_has_all_its_parts() {
    let profile = Profile::read(&toy(), Accept::Any).unwrap();
    let counts: Vec<usize> = Part::ALL.map(|part| profile.points(part).len()).to_vec();
    assert!(counts[..8].iter().all(|count| *count > 0), "{counts:?}");
    assert!(profile.memory().unwrap().bytes_per_us > 0.0);
    let summary = profile.summary();
    assert!(summary.processor && summary.toy && summary.partial.is_empty());
    assert!(summary.parts.iter().all(|part| part.built_in.is_none()));
    assert!(profile.title().contains("toy profile") && profile.title().contains("(cpu)"));
}

#[test]
fn a_processors_profile_is_refused_as_a_gpus() {
    let error = Profile::read(&toy(), Accept::Gpu).unwrap_err().to_string();
    assert!(
        error.contains("device cpu") && error.contains("ditplan calibrate"),
        "{error}"
    );
}

#[test]
fn every_file_may_be_absent_but_not_all() {
    let folder = made_up(&[("gemm.csv", GEMM)]);
    let profile = Profile::read(folder.path(), Accept::Gpu).unwrap();
    assert_eq!(profile.gpu.name, "H200-SXM");
    let summary = profile.summary();
    assert_eq!((summary.parts.len(), summary.parts[0].points), (1, 1));
    // (123 - 119) / 120.
    assert!((summary.parts[0].spread_pct.unwrap() - 100.0 * 4.0 / 120.0).abs() < 1e-9);
    assert_eq!(summary.parts[0].built_in.unwrap().mapped, 1);
    assert_eq!(summary.partial, ["gemm"]);
    assert!(refused(&[]).contains("no measured point"));
    let header = GEMM.lines().next().unwrap().to_owned() + "\n";
    assert!(refused(&[("gemm.csv", &header)]).contains("no measured point"));
}

#[test]
fn a_wrong_file_is_named_with_its_place() {
    for (from, to, said) in [
        ("latency_us", "latency", "column \"latency_us\" is missing"),
        (
            "120.0",
            "-3",
            "line 2, column \"latency_us\": \"-3\" is not a number above 0 and below 10^12",
        ),
        ("4096", "0", "line 2, column \"m\""),
        (
            "bfloat16",
            "float32",
            "column \"dtype\": \"float32\" is not bfloat16, float16 or fp8",
        ),
        (
            "h200_sxm,torch",
            "h100_sxm,torch",
            "\"h100_sxm\" stands in a profile of \"h200_sxm\"",
        ),
        (",123.0\n", ",12", "line 2: the line is cut short"),
        (
            ",20,119.0,123.0",
            "",
            "line 2: 8 fields where the header has 11",
        ),
    ] {
        let error = refused(&[("gemm.csv", &GEMM.replacen(from, to, 1))]);
        assert!(
            error.contains(said) && error.contains("gemm.csv"),
            "{error}"
        );
    }
    let copies = "direction,pinned,bytes,latency_us\nsideways,True,65536,4.0\n";
    assert!(refused(&[("copies.csv", copies)]).contains("d2d, d2h, h2d or both"));
    let codecs = "compressor,direction,kernel,dtype,base,rows,channels,latency_us\n\
        9bit,encode,ditplan,bf16,bf16,1,1,4.0\n";
    assert!(refused(&[("compressors.csv", codecs)]).contains("column \"compressor\": \"9bit\""));
}

#[test]
fn a_directory_that_is_no_profile_says_what_one_is() {
    let folder = tempfile::tempdir().unwrap();
    let read = || {
        Profile::read(folder.path(), Accept::Gpu)
            .unwrap_err()
            .to_string()
    };
    assert!(read().contains("ditplan calibrate --out DIR"));
    for (text, said) in [
        ("{", "line 1"),
        (r#"{"format": 1}"#, "missing field"),
        ("[]", "invalid"),
    ] {
        std::fs::write(folder.path().join("profile.json"), text).unwrap();
        assert!(read().contains(said), "{}", read());
    }
    let other = made_up(&[]);
    let path = other.path().join("profile.json");
    let text = std::fs::read_to_string(&path).unwrap();
    for (from, to, said) in [
        ("\"format\": 1", "\"format\": 9", "has format 9"),
        (
            "NVIDIA H200\", \"device\": \"cuda\", \"system\": \"h200_sxm",
            "Z9\", \"device\": \"cuda\", \"system\": \"z9",
            "no datasheet",
        ),
    ] {
        std::fs::write(&path, text.replacen(from, to, 1)).unwrap();
        let launch = "mode,kernels,latency_us\neager,100,500.0\n";
        std::fs::write(other.path().join("launch.csv"), launch).unwrap();
        let error = Profile::read(other.path(), Accept::Gpu)
            .unwrap_err()
            .to_string();
        assert!(error.contains(said), "{error}");
    }
}

#[test]
fn a_profile_of_another_gpu_is_refused() {
    let folder = made_up(&[("gemm.csv", GEMM)]);
    let profile = Profile::read(folder.path(), Accept::Gpu).unwrap();
    assert!(
        profile
            .check("m", gpu::find("NVIDIA H200").unwrap())
            .is_ok()
    );
    let error = profile
        .check("4xl20", gpu::find("L20").unwrap())
        .unwrap_err();
    assert!(
        error
            .to_string()
            .contains("is a profile of H200-SXM, but 4xl20 has L20")
    );
}

#[test]
fn what_is_replaced_is_said() {
    let memory =
        "op,dtype,rows,columns,bytes,latency_us\ncopy,bfloat16,4608,12288,226492416,56.0\n";
    let folder = made_up(&[("gemm.csv", GEMM), ("memory.csv", memory)]);
    let profile = Profile::read(folder.path(), Accept::Gpu).unwrap();
    let flux = sim::model::find("FLUX.1-dev").unwrap();
    let said = profile.says(flux, Compilation::Eager, true);
    let [
        Statement::Profile { .. },
        Statement::Products { count: 1, .. },
        Statement::Memory {
            rate,
            datasheet,
            passes,
            ..
        },
    ] = said.as_slice()
    else {
        panic!("{said:?}");
    };
    assert_eq!((rate.bytes_per_us / 1e3).round(), 4045.0);
    assert_eq!(datasheet.get(), 4_800_000_000_000);
    assert!(passes.is_empty());
    // No block was measured: the usual passes run at the measured rate.
    let host = profile.host(flux, Compilation::Eager);
    assert!(host.passes.is_empty() && !host.blocks_measured && host.launch.is_none());
}

#[test]
fn measured_codecs_replace_published_ones_in_16_bit_bases_only() {
    let header = "compressor,direction,kernel,dtype,base,rows,channels,latency_us\n";
    let row = |kernel, base, us| format!("1bit,encode,{kernel},bf16,{base},1088,3072,{us}\n");
    let text = [
        header.to_owned(),
        row("original", "bf16", 90.0),
        row("ditplan", "int8", 8.0),
        row("ditplan", "f16", 12.0),
        row("ditplan", "bf16", 11.0),
    ];
    let folder = made_up(&[("compressors.csv", &text.concat())]);
    let profile = Profile::read(folder.path(), Accept::Gpu).unwrap();
    let op = kernels::Op::Encode {
        compressor: kernels::Compressor::OneBit,
        rows: 1088,
        channels: 3072,
    };
    let found = kernels::CostModel::cost(profile.tables(), &op, &profile.gpu).unwrap();
    assert_eq!(found.time.as_us_f64(), 11.0);
}
