//! How long a cost takes: asked before, exactly measured, interpolated, and the tables' first use.
//!
//! `cargo bench -p kernels --bench lookup`

use divan::{Bencher, black_box};
use kernels::{CostModel, Exclude, GemmRow, Op, Tables};
use topologies::{DType, gpu};

fn main() {
    divan::main();
}

const GEMM_OP: Op = Op::Gemm {
    m: 4608,
    n: 12_288,
    k: 3072,
    dtype: DType::Bf16,
};

#[divan::bench]
fn remembered(bencher: Bencher) {
    let (tables, h100) = (Tables::built_in(), gpu::find("H100-SXM").unwrap());
    bencher.bench(|| tables.cost(black_box(&GEMM_OP), h100));
}

#[divan::bench(args = [Exclude::Nothing, Exclude::This, Exclude::Lines])]
fn matrix_product(bencher: Bencher, exclude: Exclude) {
    let row = GemmRow {
        system: "h100_sxm",
        software: "vllm 0.24.0",
        dtype: DType::Bf16,
        kernel: "torch.nn.functional.linear",
        m: 4096,
        n: 12_288,
        k: 3072,
    };
    bencher.bench(|| Tables::built_in().predict_gemm(black_box(&row), exclude));
}

#[divan::bench]
fn attention(bencher: Bencher) {
    let row = kernels::AttentionRow {
        system: "h100_sxm",
        software: "vllm 0.24.0",
        kernel: "vllm_vit_flash_attn_fa3",
        mask: kernels::Mask::Full,
        batch: 1,
        seq_len: 4608,
        heads: 24,
        head_dim: 64,
    };
    bencher.bench(|| Tables::built_in().predict_attention(black_box(&row), Exclude::Nothing));
}

#[divan::bench]
fn read_tables() -> Tables {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tables");
    let read = |name| std::fs::read(format!("{folder}/{name}")).expect("the tables are committed");
    Tables::read(&read("gemm.bin"), &read("attention.bin")).expect("the tables are sound")
}
