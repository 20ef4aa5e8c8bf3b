"""The response to errors over the steps: its shape, its way into a trace and into replay."""

import json
import math

import pytest
import torch

from ditplan_capture import step_response
from ditplan_capture.closed_loop import Prompts
from ditplan_capture.dit import Config, DigitsDiT, sigmas
from ditplan_capture.replay import Trace, interpolated
from ditplan_capture.step_response import Everywhere, measured, put, response

LEVELS = [1.0, 0.75, 0.5, 0.25, 0.0]


def test_neighbours_are_averaged_the_raw_step_is_left_out_and_the_mean_is_one():
    found = response(LEVELS, [100.0, 4.0, 2.0, 3.0])
    assert found["levels"] == [0.5, 0.25, 0.0]
    smooth = [3.0, 3.0, 2.5]
    assert found["weights"] == pytest.approx([s / (sum(smooth) / 3) for s in smooth], rel=1e-4)


def test_it_is_linear_between_its_levels_and_constant_beyond():
    found = {"levels": [0.5, 0.25, 0.0], "weights": [1.0, 3.0, 2.0]}
    assert [interpolated(found, x) for x in (0.9, 0.5, 0.375, 0.25, 0.1, 0.0, -1)] == pytest.approx([1, 1, 2, 3, 2.4, 2, 2])


def test_replay_weighs_a_step_by_the_root_at_its_end(tmp_path):
    sampler = {"steps": 4, "sigmas": LEVELS}
    assert Trace(tmp_path, {"sampler": sampler}).dsigma == [0.25] * 4
    sampler["response"] = {"levels": [0.75, 0.0], "weights": [4.0, 1.0]}
    assert Trace(tmp_path, {"sampler": sampler}).dsigma == pytest.approx([0.25 * math.sqrt(w) for w in (4, 3, 2, 1)])


def test_errors_replayed_without_it_leave_the_trace(tmp_path):
    files = [{"name": "errors.csv.gz"}, {"name": "stats.csv.gz"}]
    (tmp_path / "manifest.json").write_text(json.dumps({"sampler": {"sigmas": LEVELS}, "files": files}))
    (tmp_path / "errors.csv.gz").write_bytes(b"old")
    assert put(tmp_path, {"levels": [0.0], "weights": [1.0]})
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    assert manifest["sampler"]["response"]["weights"] == [1.0]
    assert [f["name"] for f in manifest["files"]] == ["stats.csv.gz"] and not (tmp_path / "errors.csv.gz").exists()
    assert not put(tmp_path, {"levels": [0.0], "weights": [1.0]})


def test_noise_enters_at_one_step_only():
    torch.manual_seed(0)
    everywhere = Everywhere(2, 0.5, at=1)
    q = torch.randn(1, 2, 4, 8)
    plain = [everywhere(0, q, q, q)]
    everywhere.step = 1
    plain.append(everywhere(0, q, q, q))
    everywhere.step = 2
    plain.append(everywhere(0, q, q, q))
    assert torch.equal(plain[0], plain[2]) and not torch.equal(plain[0], plain[1])


def test_a_trace_without_one_is_refused_as_a_source(tmp_path, monkeypatch, capsys):
    (tmp_path / "manifest.json").write_text(json.dumps({"sampler": {"sigmas": LEVELS}, "files": []}))
    monkeypatch.setattr("sys.argv", ["step_response", str(tmp_path), "--of", str(tmp_path)])
    with pytest.raises(SystemExit):
        step_response.main()
    assert "no sampler.response; measure it with --model" in capsys.readouterr().err


def test_twice_the_noise_is_the_same_response():
    torch.manual_seed(0)
    model = DigitsDiT(Config(layers=2, hidden=32, heads=2, pixels=8, text_tokens=4)).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    prompts = Prompts.make("t", 2, 5)
    one, two = (measured(model, prompts, sigmas(3).tolist(), eps) for eps in (0.01, 0.02))
    assert one == pytest.approx(two, rel=0.2) and min(one) > 0
