"""Kills at random moments: what was finished stays, nothing half-written is taken for whole, the next run goes on.

DITPLAN_KILLS=N kills N times instead of a few. Children are forked, so that a kill costs no import of PyTorch.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import time
from pathlib import Path
from typing import Callable

import torch

import ditplan_capture
from ditplan_capture import calibrate
from ditplan_capture.dit import Config, DigitsDiT, sigmas
from ditplan_capture.point_file import read

KILLS = int(os.environ.get("DITPLAN_KILLS", "6"))


def child(work: Callable[[], object]) -> int:
    """Runs `work` in a process of its own; its id."""
    number = os.fork()
    if number:
        return number
    quiet = os.open(os.devnull, os.O_WRONLY)
    os.dup2(quiet, 1)
    os.dup2(quiet, 2)
    try:
        work()
    finally:
        os._exit(0)


def run(work: Callable[[], object]) -> float:
    """Runs it to its end; the seconds it took."""
    began = time.monotonic()
    os.waitpid(child(work), 0)
    return time.monotonic() - began


def kill(work: Callable[[], object], after: float) -> bool:
    """Kills it after so many seconds; whether it was still running."""
    number = child(work)
    time.sleep(after)
    running = os.waitpid(number, os.WNOHANG) == (0, 0)
    if running:
        os.kill(number, signal.SIGKILL)
        os.waitpid(number, 0)
    return running


def test_calibrate_goes_on_after_kills(tmp_path):
    torch.set_num_threads(1)
    out, random_moment = tmp_path / "p", random.Random(2026)

    def work(directory: Path) -> Callable[[], object]:
        arguments = ["--out", str(directory), "--device", "cpu", "--toy", "--parts", "attention,memory,launch"]
        return lambda: calibrate.main(arguments)

    whole = run(work(tmp_path / "whole"))
    hit, before = 0, {}
    for _ in range(KILLS):
        # Moments late enough that some point is there, early enough that many kills fit into one run.
        hit += kill(work(out), whole * random_moment.uniform(0.05, 0.5))
        for file in out.glob("*.csv"):
            content = file.read_bytes()
            kept = content[: content.rfind(b"\n") + 1]
            assert kept.startswith(before.get(file.name, b"")), f"{file.name} lost lines"
            before[file.name] = kept
        if (out / "profile.json").exists():
            json.loads((out / "profile.json").read_text())
    run(work(out))
    for file in (tmp_path / "whole").glob("*.csv"):
        rows = [tuple(row.values()) for row in read(out / file.name)]
        times = list(next(read(file))).index("latency_us")
        keys = [row[:times] for row in rows]
        assert (out / file.name).read_bytes().startswith(before.get(file.name, b""))
        assert len(keys) == len(set(keys)) == len(list(read(file))), f"{file.name}: a point is missing or twice"
    assert set(json.loads((out / "profile.json").read_text())["parts"].values()) == {"complete"}
    assert hit, "every run was over before it could be killed"
    print(f"calibrate: {hit} kills, no point lost")


def record(directory: Path) -> None:
    """Records eight steps of a tiny model."""
    torch.manual_seed(0)
    model, levels = DigitsDiT(Config(layers=2, pixels=8)), sigmas(8)
    with ditplan_capture.record(model, directory, sigmas=levels, prompts=["a"]), torch.no_grad():
        for level in levels[:-1]:
            model(torch.randn(1, 1, 8, 8), level.float().expand(1), torch.tensor([1]))


def test_a_capture_killed_at_any_moment_lists_whole_shards_only(tmp_path):
    torch.set_num_threads(1)
    random_moment, hit, partial = random.Random(7), 0, 0
    whole = run(lambda: record(tmp_path / "whole"))
    reference = json.loads((tmp_path / "whole" / "manifest.json").read_text())
    assert reference["state"] == "complete"
    sums = {file["name"]: file["sha256"] for file in reference["files"]}
    for number in range(KILLS):
        directory = tmp_path / str(number)
        running = kill(lambda: record(directory), whole * random_moment.uniform(0.0, 1.1))
        hit += running
        if not (directory / "manifest.json").exists():
            assert running, "a run that ended wrote a manifest"
            continue
        manifest = json.loads((directory / "manifest.json").read_text())
        partial += manifest["state"] == "partial"
        for file in manifest["files"]:
            content = (directory / file["name"]).read_bytes()
            assert (len(content), hashlib.sha256(content).hexdigest()) == (file["bytes"], file["sha256"])
            assert file["sha256"] == sums[file["name"]], "the same bytes as without a kill"
        steps = [file["step"] for file in manifest["files"] if "step" in file]
        assert steps == list(range(len(steps))), "steps are kept in order"
        assert manifest["state"] == "partial" or len(steps) == 8
    print(f"capture: {hit} kills, {partial} partial traces, no step lost")
    assert hit
