"""Executing an assignment: raw changes nothing, lossy is what the closed-loop simulation gives, mistakes are named."""

from __future__ import annotations

import pytest
import torch

import ditplan_capture
from ditplan_capture.assignment import Assignment
from ditplan_capture.closed_loop import Prompts, Run, run, sample
from ditplan_capture.dit import Config, DigitsDiT
from ditplan_capture.residual import Rules


def plan(layers: dict[int, list], **changes) -> dict:
    entries = [{"layer": layer, "compressors": names} for layer, names in layers.items()]
    base = {"model": "m", "ranks": 2, "strategy": "ring", "warmup": 1, "phases": [0], "layers": entries}
    return {**base, **changes}


def deviation(a: torch.Tensor, b: torch.Tensor) -> float:
    return ((a - b).norm() / b.norm()).item()


def test_raw_messages_change_nothing_but_rounding_and_compression_does(case):
    """float32 models send float16, so raw deviates by rounding only; one bit a value by much more."""
    plain = case.run(4)
    with ditplan_capture.execute(case.model, plan({0: ["raw"]}), scheduler=case.scheduler) as ranks:
        raw = case.run(4)
    raw_bytes = ranks.message_bytes
    everywhere = {layer: ["1bit"] for layer in range(case.layers)}
    with ditplan_capture.execute(case.model, plan(everywhere), scheduler=case.scheduler) as ranks:
        lossy = case.run(4)
    assert ranks.step == 4
    assert deviation(raw, plain) < 2e-3
    assert deviation(lossy, plain) > 1.2 * deviation(raw, plain)
    assert ranks.message_bytes < 0.5 * raw_bytes
    assert torch.equal(plain, case.run(4)), "nothing is left behind"


def test_layers_that_are_sent_raw_are_counted(flux_case):
    """2 tensors x 3 layers x 2 samples x 4 steps; text of 5 is whole on both ranks, 16 image tokens x 32 channels x 2 B."""
    with ditplan_capture.execute(flux_case.model, plan({}), scheduler=flux_case.scheduler) as ranks:
        flux_case.run(4)
    assert ranks.message_bytes == 2 * 3 * 2 * 4 * 16 * 32 * 2


@pytest.mark.parametrize("strategy, compressors", [
    ("ring", [["1bit", "int4", "2bit"], ["raw", "2bit-fitted", "int8"]]),
    ("gather", [["lowrank-int4(2)"] * 3, ["fp8", "1bit", "raw"]]),
    ("stale", [["stale"] * 3, ["stale", "1bit", "stale"]]),
])
def test_the_digits_model_gives_what_the_closed_loop_gives(strategy, compressors):
    torch.manual_seed(5)
    model = DigitsDiT(Config(layers=2, pixels=8)).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.15)
    prompts, steps = Prompts.make("A", 2, 100), 9
    how = Run(ranks=2, steps=steps, strategy="gather" if strategy == "gather" else "ring", rules=Rules())
    expected = run(model, prompts, Assignment.of(compressors), how, skip_idle=False)
    assignment = plan(dict(enumerate(compressors)), strategy=strategy, phases=[0, 3, 6])
    with ditplan_capture.execute(model, assignment):
        executed = sample(model, prompts, steps)
    assert deviation(expected, sample(model, prompts, steps)) > 1e-5, "the compressors do something"
    torch.testing.assert_close(executed, expected, rtol=1e-4, atol=1e-5)


def test_keys_and_values_may_differ(flux_case):
    both = plan({1: ["int4"]})
    apart = plan({1: [{"k": "int4", "v": "int4"}]})
    keys = plan({1: [{"k": "int4", "v": "raw"}]})
    results = []
    for assignment in (both, apart, keys):
        with ditplan_capture.execute(flux_case.model, assignment, scheduler=flux_case.scheduler):
            results.append(flux_case.run(3))
    assert torch.equal(results[0], results[1]) and not torch.equal(results[0], results[2])


@pytest.mark.parametrize("assignment, words", [
    (plan({3: ["1bit"]}), "layers 0 to 2"), (plan({0: ["3bit"]}), "3bit"), (plan({0: ["1bit", "2bit"]}), "2 compressors for 1"),
    (plan({}, strategy="torus"), "known are ring"), (plan({}, phases=[3]), "the first 0"), (plan({}, colour="red"), "colour"),
    (plan({}, ranks=3), "3 ranks"),
])
def test_mistakes_are_named(flux_case, assignment, words):
    with pytest.raises(ValueError, match=words):
        with ditplan_capture.execute(flux_case.model, assignment, scheduler=flux_case.scheduler):
            flux_case.run(1)
