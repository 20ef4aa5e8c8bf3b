"""The campaign of dit-digits: what is committed is what is drawn, its split is disjoint, runs continue."""

import json
from pathlib import Path

import pytest
import torch

from ditplan_capture import campaign
from ditplan_capture.closed_loop import Prompts
from ditplan_capture.dit import Config, DigitsDiT
from ditplan_capture.record_digits import Stored, record
from ditplan_capture.replay import Trace, energy, replay, slot_rows
from ditplan_capture.sensitivity import sensitivities
from ditplan_capture.tables import list_file, read_runs, write_runs
from ditplan_capture.train_digits import load_weights, rate_factor, shifted, write_weights

DATA = Path(__file__).resolve().parents[2] / "data" / "dit-digits"
TINY = Config(layers=2, hidden=32, heads=2, pixels=8, text_tokens=4)


@pytest.fixture(scope="module")
def model() -> DigitsDiT:
    torch.manual_seed(0)
    model = DigitsDiT(TINY)
    for p in model.parameters():
        torch.nn.init.normal_(p, std=0.15) if p.dim() > 1 else None
    return model.eval().requires_grad_(False)


def test_the_committed_assignments_are_the_drawn_ones():
    committed = json.loads((DATA / "assignments.json").read_text())
    assert json.loads(json.dumps(campaign.plan(committed["seed"]))) == committed


def test_the_second_draws_are_the_committed_ones_and_bring_no_other_runs():
    committed = json.loads((DATA / "assignments-second.json").read_text())
    assert json.loads(json.dumps(campaign.plan(committed["seed"], draws=campaign.SECOND_DRAWS))) == committed
    specs = campaign.all_specs(committed)
    assert len(specs) == 48 and {s.prompts for s in specs} == {"D"}


def test_ids_are_unique_and_test_runs_use_prompts_that_do_not_fit():
    specs = campaign.all_specs(json.loads((DATA / "assignments.json").read_text()))
    assert len({s.id for s in specs}) == len(specs)
    fitted = {s.prompts for s in specs if s.split == "fit"}
    assert fitted == {"A", "C"}
    for s in specs:
        if s.purpose in ("mixed", "phase") and s.split != "fit":
            assert s.prompts not in fitted
    seeds = [seed for p in campaign.PROMPTS.values() for seed in p.seeds]
    assert len(set(seeds)) == len(seeds)


def test_48_mixed_and_16_phase_runs_are_held_apart():
    specs = campaign.all_specs(json.loads((DATA / "assignments.json").read_text()))
    held = [s.purpose for s in specs if s.split == "test" and s.prompts == "B"]
    assert held.count("mixed") == 48 and held.count("phase") == 16


def test_a_batch_counts_only_when_all_runs_of_the_group_have_it():
    specs = campaign.fixed_specs()[:2]
    one = {(s.id, 0): [1.0] for s in specs}
    assert campaign.collected(specs, one | {(specs[0].id, 16): [2.0]})[specs[0].id] == [1.0]
    both = one | {(s.id, 16): [2.0] for s in specs}
    assert campaign.collected(specs, both)[specs[0].id] == [1.0, 2.0]
    assert campaign.collected(specs, {(specs[0].id, 0): [1.0]}) == {specs[0].id: [1.0]}


def test_the_log_survives_a_cut_line(tmp_path):
    (tmp_path / "worker-0.jsonl").write_text('{"id":"a","first":0,"deviations":[0.1]}\n{"id":"b","fir')
    assert campaign.read_log(tmp_path) == {("a", 0): [0.1]}


def test_runs_come_back(tmp_path):
    specs = campaign.fixed_specs()[:3] + campaign.ablations()[:1]
    assert write_runs(tmp_path / "runs.csv.gz", specs, {s.id: [0.01, 0.04] for s in specs}) == 4
    rows = read_runs(tmp_path / "runs.csv.gz")
    assert [r.id for r in rows] == [s.id for s in specs]
    assert rows[0].assignment == specs[0].assignment and rows[0].deviation == pytest.approx(0.02)


def test_a_recorded_trace_replays(model, tmp_path):
    prompts = Prompts.make("T", 2, 0)
    record(model, prompts, 6, tmp_path / "trace")
    trace = Trace.open(tmp_path / "trace")
    assert trace.manifest["state"] == "complete" and len(trace.dsigma) == 6
    rows = list(slot_rows(trace, 4, 1, "k", ["1bit", "int8", "stale"], None))
    coherent = {r[5]: r[8] for r in rows if r[0] == "coherent"}
    incoherent = {r[5]: r[8] for r in rows if r[0] == "incoherent"}
    assert coherent["int8"] < coherent["1bit"] and incoherent["stale"] > 0
    # Stale errors telescope: with equal steps their sum is dsigma (x_0 - x_last).
    xs = trace.slot(1, "k", None)
    mean = torch.stack([energy(x) for x in xs]).mean(0)
    assert coherent["stale"] == pytest.approx(float((energy(xs[0] - xs[-1]) / 36 / mean).mean()), rel=1e-4)
    assert {r[5]: r[8] for r in rows if r[0] == "bytes"}["stale"] == 5 * 32 * 2
    assert sum(r[0] == "gram" for r in rows) == 9 * 10 // 2


def test_a_part_can_be_stored(model, tmp_path):
    whole, part = tmp_path / "whole", tmp_path / "part"
    record(model, Prompts.make("T", 3, 0), 4, whole)
    record(model, Prompts.make("T", 3, 0), 4, part, Stored(layers=(1,), samples=(2,)))
    a, b = Trace.open(whole), Trace.open(part)
    assert b.manifest["recorded"]["layers"] == [1] and b.manifest["recorded"]["samples"] == [2]
    assert torch.equal(a.slot(1, "v", None)[3][2:], b.slot(1, "v", None)[3])
    assert (whole / "stats.csv.gz").read_bytes() == (part / "stats.csv.gz").read_bytes()
    (part / "quality.json").write_text("{}")
    list_file(part, "quality.json")
    list_file(part, "quality.json")
    names = [f["name"] for f in Trace.open(part).manifest["files"]]
    assert names.count("quality.json") == 1 and len(names) == 6


def test_replaying_int8_is_nearly_exact():
    xs = [torch.randn(1, 2, 5, 64, generator=torch.Generator().manual_seed(i)).half().float() for i in range(4)]
    r = replay(xs, [0.25] * 4, "int8")
    assert r.lost < 1e-3 * r.residual


def test_noise_injection_is_linear(model):
    prompts = Prompts.make("T", 2, 0)
    one = sensitivities(model, prompts, 4, relative=0.01)
    two = sensitivities(model, prompts, 4, relative=0.02)
    assert one == pytest.approx(two, rel=0.2) and min(one) > 0
    assert sensitivities(model, prompts, 4, at=[])[0] == 0.0


def test_weights_come_back_in_half_precision(model, tmp_path):
    write_weights(model, tmp_path / "m.safetensors")
    loaded = load_weights(tmp_path / "m.safetensors")
    assert loaded.config == TINY
    for a, b in zip(loaded.parameters(), model.parameters()):
        assert torch.equal(a, b.half().float())


def test_training_helpers():
    assert rate_factor(0, 1000) == pytest.approx(1 / 60) and rate_factor(300, 1000) == 1 and rate_factor(999, 1000) == pytest.approx(1 / 400)
    x = torch.randn(5, 1, 8, 8)
    assert shifted(x, 1).shape == x.shape
