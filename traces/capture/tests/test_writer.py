"""Bounded memory, half-finished runs, and the bytes on disk."""

from __future__ import annotations

import json
import os
import signal
import struct
import subprocess
import sys
import textwrap
import time

import pytest
import torch
from conftest import manifest_of, shards_of
from safetensors import safe_open

import ditplan_capture
from ditplan_capture.writer import TraceWriter


def writer(path, steps=(0, 1), tensors=2, **options):
    return TraceWriter(path, {"samples": []}, steps, tensors_per_step=tensors, **options)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_a_shard_reads_back_byte_for_byte(tmp_path, dtype):
    x = {name: torch.randn(2, 7, 3, 5).to(dtype) for name in "kv"}
    trace = writer(tmp_path / "t", steps=[4])
    for name in "kv":
        trace.put(4, 0, name, x[name])
    trace.end_step(4)
    assert trace.close() == "complete"
    path = tmp_path / "t" / "kv-00001-of-00001.safetensors"
    with safe_open(path, "pt") as file:
        assert file.metadata() == {"step": "4"}
        for name in "kv":
            stored = file.get_tensor(f"layers.0.{name}")
            assert stored.dtype == dtype and torch.equal(stored, x[name])
    content = path.read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    start, end = json.loads(content[8 : 8 + length])["layers.0.v"]["data_offsets"]
    raw = content[8 + length + start : 8 + length + end]
    assert raw == x["v"].view(torch.uint8).numpy().tobytes() and len(content) == 8 + length + end
    assert (8 + length) % 64 == 0, "tensors are aligned for mapping"


def test_parts_of_a_tensor_are_joined_in_order(tmp_path):
    parts = [torch.randn(n, 4, 2, 8) for n in (2, 1, 3)]
    trace = writer(tmp_path / "t", steps=[0])
    for part in parts:
        trace.put(0, 0, "k", part)
        trace.put(0, 0, "v", part + 1)
    trace.end_step(0)
    trace.close()
    (shard,) = shards_of(tmp_path / "t")
    assert torch.equal(shard["layers.0.k"], torch.cat(parts))
    assert torch.equal(shard["layers.0.v"], torch.cat(parts) + 1)


def test_copies_stay_within_the_bound(tmp_path):
    """64 KiB for steps of 2 MiB: the model waits for the disk, and the content is the same."""
    limit = 64 << 10
    trace = writer(tmp_path / "t", max_buffer_bytes=limit)
    x = torch.randn(2, 128, 4, 256)
    for step in range(2):
        trace.put(step, 0, "k", x + step)
        trace.put(step, 0, "v", x - step)
        trace.end_step(step)
    trace.close()
    assert 0 < trace.peak_buffer_bytes <= limit
    assert manifest_of(tmp_path / "t")["capture"]["peak_buffer_bytes"] == trace.peak_buffer_bytes
    assert torch.equal(shards_of(tmp_path / "t")[1]["layers.0.k"], x + 1)


def test_a_bound_below_one_token_is_refused(tmp_path):
    trace = writer(tmp_path / "t", max_buffer_bytes=100)
    with pytest.raises(ValueError, match="max_buffer_bytes=100 is less than one token"):
        trace.put(0, 0, "k", torch.zeros(1, 1, 1, 64))
    trace.close(failed=True)


def test_a_non_finite_value_is_named_and_refused(tmp_path):
    x = torch.zeros(2, 3, 2, 4)
    x[1, 2, 0, 3] = float("inf")
    trace = writer(tmp_path / "t")
    trace.put(0, 5, "v", x)
    with pytest.raises(RuntimeError, match=r"step 0, layers.5.v: element \[1, 2, 0, 3\]"):
        trace.flush()
    with pytest.raises(RuntimeError):
        trace.close()
    assert manifest_of(tmp_path / "t")["state"] == "partial"


def test_values_beyond_float16_are_refused_with_the_remedy(flux_case, tmp_path):
    flux_case.model.transformer_blocks[1].attn.to_v.bias.data.fill_(1e5)
    with pytest.raises((ValueError, RuntimeError), match="layer.*1.*bfloat16"):
        with ditplan_capture.record(flux_case.model, tmp_path / "t", scheduler=flux_case.scheduler):
            flux_case.run(2)


def test_an_exception_leaves_a_partial_trace(flux_case, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        with ditplan_capture.record(flux_case.model, tmp_path / "t", scheduler=flux_case.scheduler):
            flux_case.run(5, stop_after=3)
            raise KeyboardInterrupt
    manifest = manifest_of(tmp_path / "t")
    assert manifest["state"] == "partial"
    assert [file.get("step") for file in manifest["files"]] == [0, 1, 2, None]
    assert len(shards_of(tmp_path / "t")) == 3
    assert not list((tmp_path / "t").glob("*.tmp*"))


def test_an_exception_within_a_step_leaves_that_step_out(flux_case, tmp_path):
    block = flux_case.model.single_transformer_blocks[0]
    calls = []

    def fail(*_):
        calls.append(1)
        if len(calls) == 2:
            raise OSError("the card fell off the bus")

    block.register_forward_pre_hook(fail)
    with pytest.raises(OSError):
        with ditplan_capture.record(flux_case.model, tmp_path / "t", scheduler=flux_case.scheduler):
            flux_case.run(4)
    assert [file.get("step") for file in manifest_of(tmp_path / "t")["files"]] == [0, None]


def test_a_run_that_ends_early_warns_and_is_partial(flux_case, tmp_path):
    with pytest.warns(UserWarning, match="after 2 of 4 steps"):
        with ditplan_capture.record(flux_case.model, tmp_path / "t", scheduler=flux_case.scheduler):
            flux_case.run(4, stop_after=2)
    assert manifest_of(tmp_path / "t")["state"] == "partial"


def test_a_killed_process_leaves_a_readable_partial_trace(tmp_path):
    script = textwrap.dedent("""
        import sys, time, torch, ditplan_capture
        from ditplan_capture.dit import Config, DigitsDiT, sigmas
        torch.set_num_threads(1)
        model, levels = DigitsDiT(Config(layers=2, pixels=8)), sigmas(8)
        with ditplan_capture.record(model, sys.argv[1], sigmas=levels, prompts=["a"]), torch.no_grad():
            for step, level in enumerate(levels[:-1]):
                model(torch.randn(1, 1, 8, 8), level.float().expand(1), torch.tensor([1]))
                if step == 3:
                    print("running", flush=True)
                    time.sleep(60)
    """)
    run = subprocess.Popen([sys.executable, "-c", script, str(tmp_path / "t")], stdout=subprocess.PIPE)
    assert run.stdout.readline() == b"running\n"
    deadline = time.monotonic() + 20
    while len(manifest_of(tmp_path / "t")["files"]) < 3 and time.monotonic() < deadline:
        time.sleep(0.05)
    os.kill(run.pid, signal.SIGKILL)
    run.wait()
    run.stdout.close()
    manifest = manifest_of(tmp_path / "t")
    assert manifest["state"] == "partial"
    assert [file["step"] for file in manifest["files"]] == [0, 1, 2], "step 3 was under way"
    for shard in shards_of(tmp_path / "t"):
        assert set(shard) == {"layers.0.k", "layers.0.v", "layers.1.k", "layers.1.v"}
