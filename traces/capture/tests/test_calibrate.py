"""Calibration: files of points that continue, interruption, the order of points, refusals."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from ditplan_capture import calibrate
from ditplan_capture.calibrate_parts import PARTS, Setting, points
from ditplan_capture.machine_profile import clock_row, system_name
from ditplan_capture.model_shapes import SHAPES, attentions, ordered, products, share_of
from ditplan_capture.point_file import PointFile, WrongFile, read
from ditplan_capture.stopwatch import Stopwatch, percentile, timing

TOY = ["--device", "cpu", "--toy", "--parts", "attention,copies,launch"]


def run(*arguments: object) -> int:
    """The exit status of the program."""
    with pytest.raises(SystemExit) as ended:
        calibrate.main([str(argument) for argument in arguments])
    return ended.value.code


def test_a_point_file_continues(tmp_path):
    file = PointFile(tmp_path / "x.csv", ("a", "b"), ("latency_us",))
    file.add((1, "p"), (2.5,))
    file.close()
    again = PointFile(tmp_path / "x.csv", ("a", "b"), ("latency_us",))
    assert (1, "p") in again and (2, "p") not in again
    again.add((2, "p"), (1e-7,))
    assert (tmp_path / "x.csv").read_text() == "a,b,latency_us\n1,p,2.5\n2,p,1e-07\n"


@pytest.mark.parametrize("torn", ["2,p", "2,p,1.", "2", ""])
def test_a_torn_last_line_is_dropped(tmp_path, torn):
    path = tmp_path / "x.csv"
    path.write_text("a,b,latency_us\n1,p,2.5\n" + torn)
    file = PointFile(path, ("a", "b"), ("latency_us",))
    assert file.done == {("1", "p")}
    file.add((2, "p"), (3.0,))
    assert path.read_text() == "a,b,latency_us\n1,p,2.5\n2,p,3\n"


def test_a_torn_header_is_written_again(tmp_path):
    path = tmp_path / "x.csv"
    path.write_text("a,b,lat")
    PointFile(path, ("a", "b"), ("latency_us",)).close()
    assert path.read_text() == "a,b,latency_us\n"


def test_other_columns_are_refused(tmp_path):
    (tmp_path / "x.csv").write_text("c,d\n1,2\n")
    with pytest.raises(WrongFile, match="its columns are c,d"):
        PointFile(tmp_path / "x.csv", ("a", "b"), ("latency_us",))


def test_a_budget_stops_and_the_same_command_continues(tmp_path, capsys):
    assert run("--out", tmp_path, *TOY, "--budget-s", "0") == 0
    assert "partial: --budget-s is used up" in capsys.readouterr().out
    profile = json.loads((tmp_path / "profile.json").read_text())
    assert profile["parts"] == {name: "partial" for name in ("attention", "rectangular", "copies", "launch")}
    assert len(list(read(tmp_path / "attention.csv"))) == 0
    assert run("--out", tmp_path, *TOY) == 0
    profile = json.loads((tmp_path / "profile.json").read_text())
    assert (profile["device"], profile["system"], set(profile["parts"].values())) == ("cpu", "cpu", {"complete"})
    rows = list(read(tmp_path / "attention.csv"))
    assert rows[0]["causal"] == "False" and rows[0]["system"] == "cpu"
    assert all(float(r["p10_us"]) <= float(r["latency_us"]) <= float(r["p90_us"]) for r in rows)
    before = (tmp_path / "attention.csv").read_bytes()
    assert run("--out", tmp_path, *TOY) == 0
    assert (tmp_path / "attention.csv").read_bytes() == before, "measured twice"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_keeps_what_is_done(tmp_path, number):
    command = [sys.executable, "-m", "ditplan_capture.calibrate", "--out", str(tmp_path), "--device", "cpu", "--parts", "memory"]
    environment = os.environ | {"PYTHONPATH": str(Path(calibrate.__file__).parents[1]), "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment)
    file, until = tmp_path / "memory.csv", time.monotonic() + 60
    while time.monotonic() < until and not (file.exists() and file.read_text().count("\n") >= 2):
        time.sleep(0.05)
    process.send_signal(number)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 130 and "partial: it was stopped" in out
    assert file.read_text().endswith("\n") and len(list(read(file))) >= 1
    assert json.loads((tmp_path / "profile.json").read_text())["parts"] == {"memory": "partial"}


def test_a_directory_of_another_device_is_refused(tmp_path, capsys):
    assert run("--out", tmp_path, *TOY, "--budget-s", "0") == 0
    profile = json.loads((tmp_path / "profile.json").read_text())
    (tmp_path / "profile.json").write_text(json.dumps(profile | {"gpu": "NVIDIA H200", "device": "cuda"}))
    capsys.readouterr()
    assert run("--out", tmp_path, *TOY) == 2
    error = capsys.readouterr().err
    assert "holds points of NVIDIA H200, cuda" in error and error.count("\n") == 1


def test_toy_shapes_are_not_mixed_with_others(tmp_path, capsys):
    assert run("--out", tmp_path, *TOY, "--budget-s", "0") == 0
    assert run("--out", tmp_path, "--device", "cpu", "--budget-s", "0") == 2
    assert "mixes toy shapes with others" in capsys.readouterr().err


@pytest.mark.parametrize("arguments, sentence", [
    (["--device", "cpu", "--parts", "spiral"], "part `spiral`: known are attention"),
    pytest.param(["--device", "cuda"], "PyTorch finds no CUDA device", marks=pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU is here")),
])
def test_wrong_arguments_are_one_sentence(tmp_path, capsys, arguments, sentence):
    assert run("--out", tmp_path / "p", *arguments) == 2
    error = capsys.readouterr().err
    assert sentence in error and error.count("\n") == 1


def test_what_no_table_has_is_measured_first():
    setting = Setting(Stopwatch(torch.device("cpu")), "cpu", toy=False, compiled=True)
    found = points(setting, [part.name for part in PARTS])
    assert [p.part for p in found[:10]] == ["attention"] * 10
    assert {p.key[-1] for p in found if p.part == "attention" and p.tier == 0} == {128}
    assert len({(p.part, p.key) for p in found}) == len(found), "no point twice"
    widths = {p.key[-1] for p in found if p.part == "attention"}
    assert widths == {128, 64, 72, 88}
    assert all(key[6] < key[7] for key in (p.key for p in found if p.part == "rectangular") if key[7] > 600)


def test_shapes_are_cut_at_every_share_and_degree():
    flux = SHAPES[:1]
    m = {point[1] for point in ordered(products(flux))}
    assert {4608, 2304, 1152, 576, 1536, 768} <= m and {512, 256, 128, 64} <= m
    assert (4608, 12288 // 8, 3072) in {point[1:] for point in ordered(products(flux))}
    calls = {point[1:] for point in ordered(attentions(flux))}
    assert {(1, 24, 1152, 1152, 128), (1, 24, 1152, 4608, 128), (1, 6, 4608, 4608, 128)} <= calls
    assert share_of(333, 2) == 167


@pytest.mark.parametrize("gpu, system", [
    ("NVIDIA H200", "h200_sxm"), ("NVIDIA H100 80GB HBM3", "h100_sxm"), ("NVIDIA H100 PCIe", "h100_pcie"), ("NVIDIA L40S", "l40s"),
    ("NVIDIA A100-SXM4-80GB", "a100_sxm"), ("NVIDIA RTX PRO 6000 Blackwell", "rtx_pro_6000"), ("NVIDIA GeForce RTX 4090", "rtx_4090"),
])
def test_systems_are_named_as_in_the_tables(gpu, system):
    assert system_name(gpu, "cuda") == system
    assert system_name(gpu, "cpu") == "cpu"


def test_clocks_are_read_from_nvidia_smi():
    row = clock_row("1980, 3201, 410.25, 51, 0x0000000000000004\n", 12.34)
    assert row == {"at_s": 12.3, "sm_mhz": 1980.0, "memory_mhz": 3201.0, "power_w": 410.25, "temperature_c": 51.0, "throttle": "0x0000000000000004"}
    assert clock_row("1980, [N/A], 1, 2, Active", 0)["memory_mhz"] is None
    assert clock_row("Unable to determine", 0) is None


def test_the_spread_is_of_repeats():
    assert percentile([1.0, 2.0, 3.0], 0.5) == 2.0 and percentile([1.0, 2.0], 0.9) == pytest.approx(1.9)
    assert timing([3.0, 1.0, 2.0]).row() == (2.0, 3, pytest.approx(1.2), pytest.approx(2.8))
