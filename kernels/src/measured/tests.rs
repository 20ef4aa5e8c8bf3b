use topologies::{DType, Gpu, gpu};

use super::*;
use crate::attention_kernel::AttentionKernel;
use crate::cost::{Cost, CostModel, Provenance};
use crate::op::Op;

fn h200() -> &'static Gpu {
    gpu::find("H200-SXM").unwrap()
}

/// Nothing measured but what a test adds.
fn nothing() -> Measurements {
    Measurements {
        gpu: h200().clone(),
        system: "h200_sxm".into(),
        software: "torch 0".into(),
        gemm: Vec::new(),
        attention: Vec::new(),
        attention_kernel: None,
        memory: None,
        codecs: Vec::new(),
    }
}

/// Products of eight sizes of m at `us` microseconds for 1024 rows.
fn products(us: f64) -> Measurements {
    let point = |m: u32| GemmPoint {
        dtype: DType::Bf16,
        kernel: "torch_linear".into(),
        shape: [m, 3072, 3072],
        us: us * f64::from(m) / 1024.0,
    };
    Measurements {
        gemm: [256, 512, 768, 1024, 1536, 2048, 3072, 4096]
            .map(point)
            .to_vec(),
        ..nothing()
    }
}

/// Attention with heads of 128 by two kernels, and one rectangle.
fn attentions() -> Measurements {
    let point = |kernel: &str, queries: u32, keys: u32, us: f64| AttentionPoint {
        kernel: kernel.into(),
        batch: 1,
        heads: 24,
        queries,
        keys,
        head_dim: 128,
        us,
    };
    let attention = vec![
        point("torch_sdpa_cudnn", 1024, 1024, 40.0),
        point("torch_sdpa_flash", 1024, 1024, 50.0),
        point("torch_sdpa_flash", 4096, 4096, 700.0),
        point("torch_sdpa_flash", 1024, 4096, 190.0),
    ];
    Measurements {
        attention,
        ..nothing()
    }
}

fn gemm(m: u64) -> Op {
    let (n, k, dtype) = (3072, 3072, DType::Bf16);
    Op::Gemm { m, n, k, dtype }
}

fn attention(queries: u64, keys: u64, head_dim: u64) -> Op {
    Op::Attention {
        kernel: AttentionKernel::FlashAttention2,
        batch: 1,
        heads: 24,
        queries,
        keys,
        head_dim,
    }
}

fn cost(measured: &Measurements, op: Op, name: &str) -> Cost {
    let tables = Tables::built_in_with(measured).unwrap();
    tables.cost(&op, gpu::find(name).unwrap()).unwrap()
}

fn built_in(op: Op, name: &str) -> Cost {
    let gpu = gpu::find(name).unwrap();
    Tables::built_in().cost(&op, gpu).unwrap()
}

#[test]
fn a_measured_product_comes_back_as_measured() {
    let found = cost(&products(30.0), gemm(2048), "H200-SXM");
    assert!((found.time.as_us_f64() / 60.0 - 1.0).abs() < 1e-3);
    assert_eq!(found.provenance, Provenance::Measured);
}

#[test]
fn between_measured_products_the_time_lies_between() {
    let found = cost(&products(30.0), gemm(2500), "H200-SXM");
    assert!((60.0..90.0).contains(&found.time.as_us_f64()), "{found:?}");
    assert_eq!(found.provenance, Provenance::Interpolated);
}

#[test]
fn other_gpus_and_shapes_beyond_are_answered_as_without_the_profile() {
    let measured = products(30.0);
    for (op, name) in [(gemm(2048), "H100-SXM"), (gemm(16_384), "H200-SXM")] {
        assert_eq!(cost(&measured, op, name), built_in(op, name), "{name}");
    }
    let wide = attention(1024, 1024, 64);
    assert_eq!(
        cost(&attentions(), wide, "H200-SXM"),
        built_in(wide, "H200-SXM")
    );
}

#[test]
fn beyond_what_is_measured_a_gpu_without_a_table_still_uses_its_own() {
    let measured = Measurements {
        gpu: gpu::find("L20").unwrap().clone(),
        system: "l20".into(),
        ..products(150.0)
    };
    let found = cost(&measured, gemm(16_384), "L20");
    assert_eq!(found.provenance, Provenance::Extrapolated);
    // 16 times the rows of 150 us.
    let ratio = found.time.as_us_f64() / 2400.0;
    assert!((0.6..1.6).contains(&ratio), "{ratio}");
}

#[test]
fn the_usual_attention_kernel_answers_unless_another_is_asked_for() {
    let op = attention(1024, 1024, 128);
    assert_eq!(cost(&attentions(), op, "H200-SXM").time.as_us_f64(), 50.0);
    let asked = Measurements {
        attention_kernel: Some("torch_sdpa_cudnn".into()),
        ..attentions()
    };
    assert_eq!(cost(&asked, op, "H200-SXM").time.as_us_f64(), 40.0);
}

#[test]
fn a_measured_rectangle_is_exact_and_others_lie_near_its_work() {
    let measured = attentions();
    let exact = cost(&measured, attention(1024, 4096, 128), "H200-SXM");
    assert_eq!(exact.time.as_us_f64(), 190.0);
    let other = cost(&measured, attention(2048, 4096, 128), "H200-SXM");
    assert!(
        (190.0..700.0).contains(&other.time.as_us_f64()),
        "{other:?}"
    );
}

#[test]
fn a_what_if_of_the_gpu_moves_its_own_measurements() {
    let faster = h200().scaled(2.0, 2.0);
    let tables = Tables::built_in_with(&products(30.0)).unwrap();
    let us = tables.cost(&gemm(4096), &faster).unwrap().time.as_us_f64();
    assert!((50.0..100.0).contains(&us), "{us}");
}

#[test]
fn memory_bound_work_takes_the_measured_rate_and_at_least_the_floor() {
    let measured = Measurements {
        memory: Some(MemoryRate {
            bytes_per_us: 4e6,
            floor_us: 2.0,
        }),
        ..nothing()
    };
    let us = |bytes| {
        let op = Op::MemoryBound { bytes, kernels: 1 };
        cost(&measured, op, "H200-SXM").time.as_us_f64()
    };
    // 400 MB at 4 TB/s: 100 us.
    assert!((us(400_000_000) - 100.0).abs() < 1e-6);
    assert!((us(64) - 2.0).abs() < 1e-6);
}

#[test]
fn codec_times_lie_between_those_of_measured_sizes() {
    let point = |rows: u32, us: f64| CodecPoint {
        compressor: Compressor::OneBit,
        way: Way::Encode,
        rows,
        channels: 1024,
        us,
    };
    let measured = Measurements {
        codecs: vec![point(4096, 40.0), point(1024, 10.0)],
        ..nothing()
    };
    let us = |rows| {
        let op = Op::Encode {
            compressor: Compressor::OneBit,
            rows,
            channels: 1024,
        };
        cost(&measured, op, "H200-SXM").time.as_us_f64()
    };
    // Log-linear between, in proportion above, held below.
    let expected = [(1024, 10.0), (2048, 20.0), (8192, 80.0), (16, 10.0)];
    for (rows, wanted) in expected {
        assert!((us(rows) - wanted).abs() < 1e-3, "{rows}: {}", us(rows));
    }
    let decode = Op::Decode {
        compressor: Compressor::OneBit,
        rows: 1024,
        channels: 1024,
    };
    assert_eq!(
        cost(&measured, decode, "H200-SXM"),
        built_in(decode, "H200-SXM")
    );
}

#[test]
fn a_time_that_no_kernel_takes_is_refused() {
    let error = Tables::built_in_with(&products(1e-6)).err().unwrap();
    assert!(error.to_string().contains("no time of a kernel"), "{error}");
}
