"""Timelines: a real profile on the CPU, a hand-written one of a GPU, and the classes of kernels."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ditplan_capture.kernel_class import classify
from ditplan_capture.timeline import block_name, spans, timeline, write

SPAN_KEYS = ["device", "stream", "class", "step", "layer", "start_ps", "end_ps", "bytes"]


@pytest.mark.parametrize("name, kind", [
    ("void pytorch_flash::flash_fwd_kernel<Flash_fwd_kernel_traits<128, cutlass::bfloat16_t>>", "attention"),
    ("fmha_cutlassF_bf16_aligned_64x64_rf_sm80", "attention"),
    ("cudnn_generated_fort_native_sdpa_sm90_flash_fprop", "attention"),
    ("sm90_xmma_gemm_bf16bf16_bf16f32_f32_tn_n_tilesize128x128x64", "linear"),
    ("nvjet_tst_192x192_64x4_2x1_v_bz_TNN", "linear"),
    ("void cutlass::device_kernel<at::cuda::detail::enable_3x_kernel_for_sm9x<GemmUniversal>>", "linear"),
    ("void at::native::vectorized_elementwise_kernel<4, GeluCUDAKernelImpl>", "elementwise"),
    ("void at::native::(anonymous namespace)::vectorized_layer_norm_kernel<c10::BFloat16, float>", "elementwise"),
    ("ncclDevKernel_AllGather_RING_LL(ncclDevKernelArgsStorage<4096>)", "communication"),
    ("triton_poi_fused_add_mul_3", "elementwise"),
    ("Memcpy DtoD (Device -> Device)", "elementwise"),
    ("ditplan_1bit_encode", "encode"), ("ditplan_1bit_decode", "decode"), ("spin", "other"),
    ("aten::linear", "linear"), ("aten::scaled_dot_product_attention", "attention"), ("aten::gelu", "elementwise"),
])
def test_kernels_are_known_by_name(name, kind):
    assert classify(name) == kind


def test_blocks_are_named_up_to_the_last_number():
    assert block_name("transformer_blocks.12.attn1") == "transformer_blocks.12"
    assert block_name("blocks.3") == "blocks.3"


def test_a_cpu_profile_has_every_step_and_layer(flux_case, tmp_path):
    with timeline(flux_case.model, tmp_path / "timeline.json", scheduler=flux_case.scheduler):
        flux_case.run(2)
    file = json.loads((tmp_path / "timeline.json").read_text())
    assert (file["format"], file["version"], file["source"]) == ("ditplan-timeline", 1, "measured")
    rows = file["spans"]
    assert all(list(row) == SPAN_KEYS for row in rows)
    assert rows[0]["start_ps"] == 0 and all(row["end_ps"] >= row["start_ps"] for row in rows)
    attention = [(row["step"], row["layer"]) for row in rows if row["class"] == "attention"]
    assert attention == [(step, layer) for step in (0, 1) for layer in (0, 1, 2)]
    linear = [row for row in rows if row["class"] == "linear" and (row["step"], row["layer"]) == (1, 2)]
    assert len(linear) == 6, "a single block: adaLN, q, k, v, MLP in, MLP and attention out"
    ends = {}
    for row in rows:
        assert row["start_ps"] >= ends.get(row["stream"], 0) - 1000, "outermost operators do not overlap"
        ends[row["stream"]] = row["end_ps"]


def event(cat, name, ts, dur, tid=1, **args):
    return {"ph": "X", "cat": cat, "name": name, "ts": ts, "dur": dur, "pid": 0, "tid": tid, "args": args}


#: One block of step 2 launches three kernels; they run after the block has returned.
GPU_PROFILE = {"traceEvents": [
    {"ph": "M", "name": "process_name"},
    event("user_annotation", "ditplan step 2", 100.0, 50.0),
    event("user_annotation", "ditplan step 2 layer 5", 110.0, 20.0),
    event("cuda_runtime", "cudaLaunchKernel", 112.0, 2.5, correlation=1),
    event("cuda_runtime", "cudaLaunchKernel", 116.0, 2.0, correlation=2),
    event("cuda_runtime", "cudaLaunchKernelExC", 135.0, 2.0, correlation=3),
    event("user_annotation", "ditplan vae", 160.0, 10.0),
    event("cuda_runtime", "cudaLaunchKernel", 161.0, 2.0, correlation=4),
    event("cuda_runtime", "cudaStreamSynchronize", 163.0, 60.0, correlation=9),
    event("kernel", "sm90_xmma_gemm_bf16", 120.0, 30.125, tid=7, device=1, stream=7, correlation=1),
    event("kernel", "flash_fwd_kernel", 151.0, 40.0, tid=7, device=1, stream=7, correlation=2),
    {**event("kernel", "ncclDevKernel_SendRecv", 152.0, 9.0, tid=20, device=1, stream=20, correlation=3),
     "args": {"device": 1, "correlation": 3, "In msg nelems": 1024, "dtype": "BFloat16"}},
    event("kernel", "cudnn_conv", 200.0, 5.0, tid=7, device=1, stream=7, correlation=4),
]}


def test_kernels_belong_to_the_range_that_launched_them():
    rows = [tuple(row.values()) for row in spans(GPU_PROFILE)]
    assert rows == [
        (1, "host", "launch", 2, 5, 0, 2_500_000, 0),
        (1, "host", "launch", 2, 5, 4_000_000, 6_000_000, 0),
        (1, "compute", "linear", 2, 5, 8_000_000, 38_125_000, 0),
        (1, "host", "launch", 2, 0, 23_000_000, 25_000_000, 0),
        (1, "compute", "attention", 2, 5, 39_000_000, 79_000_000, 0),
        (1, "communication", "communication", 2, 0, 40_000_000, 49_000_000, 2048),
        (1, "host", "launch", 0, 0, 49_000_000, 51_000_000, 0),
        (1, "compute", "vae", 0, 0, 88_000_000, 93_000_000, 0),
    ]


def test_the_file_is_the_one_that_the_rust_tests_read(tmp_path):
    write(tmp_path / "t.json", spans(GPU_PROFILE), "a hand-written profile")
    assert (tmp_path / "t.json").read_bytes() == (Path(__file__).parent / "data" / "timeline.json").read_bytes()


def test_an_empty_timeline_is_valid(tmp_path):
    write(tmp_path / "t.json", spans({"traceEvents": []}), "nothing")
    assert json.loads((tmp_path / "t.json").read_text())["spans"] == []
