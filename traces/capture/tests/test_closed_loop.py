"""Virtual ranks on a tiny model: exact communication changes nothing, lossy communication does as it should."""

import pytest
import torch

from ditplan_capture.assignment import Assignment, phase_of, rules_of
from ditplan_capture.closed_loop import Prompts, Run, deviations, geometric_mean, run, sample
from ditplan_capture.dit import Config, DigitsDiT
from ditplan_capture.ranks import Shards
from ditplan_capture.residual import Channel, NonFiniteActivation, Rules
from ditplan_capture.codecs import codec

TINY = Config(layers=2, hidden=32, heads=2, pixels=8, text_tokens=4)
STEPS = 8


@pytest.fixture(scope="module")
def model() -> DigitsDiT:
    """Random weights, gates opened so that attention matters."""
    torch.manual_seed(0)
    model = DigitsDiT(TINY)
    for p in model.parameters():
        torch.nn.init.normal_(p, std=0.15) if p.dim() > 1 else None
    return model.eval().requires_grad_(False)


PROMPTS = Prompts.make("T", 4, 100)


def distance(model, assignment, **how) -> float:
    reference = sample(model, PROMPTS, STEPS)
    pictures = run(model, PROMPTS, assignment, Run(steps=STEPS, **how))
    return geometric_mean(deviations(pictures, reference))


def uniform(name: str) -> Assignment:
    return Assignment.uniform(name, TINY.layers)


@pytest.mark.parametrize("ranks", [1, 2, 4, 8])
@pytest.mark.parametrize("strategy", ["ring", "gather"])
def test_raw_on_any_ranks_is_the_plain_run(model, ranks, strategy):
    reference = sample(model, PROMPTS, STEPS)
    how = Run(ranks=ranks, steps=STEPS, strategy=strategy)
    assert torch.allclose(run(model, PROMPTS, uniform("raw"), how, skip_idle=False), reference, atol=2e-3)
    assert torch.equal(run(model, PROMPTS, uniform("raw"), how), reference)


def test_one_rank_of_a_ring_is_exact_and_of_a_gather_is_not(model):
    assert distance(model, uniform("1bit"), ranks=1) < 1e-3
    assert distance(model, uniform("1bit"), ranks=1, strategy="gather") > 1e-3


def test_stale_differs_from_raw(model):
    assert distance(model, uniform("stale")) > 3e-3


def test_feedback_is_better_than_none_and_than_no_base(model):
    with_feedback = distance(model, uniform("1bit"))
    assert with_feedback < distance(model, uniform("1bit"), rules=Rules(feedback=False))
    assert with_feedback < distance(model, uniform("1bit"), rules=Rules(order=0))


def test_more_bits_are_better(model):
    one, two, four, eight = (distance(model, uniform(n)) for n in ("1bit", "2bit", "int4", "int8"))
    assert min(one, two) > four > eight


def test_runs_repeat_exactly(model):
    mixed = Assignment.of(["2bit", ["int4", "1bit", "raw"]], ["raw", "stale"])
    how = Run(steps=STEPS)
    assert torch.equal(run(model, PROMPTS, mixed, how), run(model, PROMPTS, mixed, how))


@pytest.mark.parametrize("ranks", [1, 2, 4, 8])
def test_shards_split_and_join(ranks):
    shards = Shards(ranks, 4, 16)
    x = torch.arange(2 * 20 * 3.0).view(2, 20, 3)
    assert torch.equal(shards.join(shards.queries(x)), x)
    parts = shards.split(x)
    seen = shards.views(x, parts, parts, own_exact=True)
    assert seen.shape == (2, ranks, 20, 3)
    for r in range(ranks):
        assert torch.equal(seen[:, r].flatten(1).sort(1)[0], x.flatten(1).sort(1)[0])


def test_ring_views_hold_the_own_shard_exactly():
    shards = Shards(4, 4, 16)
    x = torch.randn(1, 20, 3)
    exact = shards.split(x)
    seen = shards.views(x, exact, torch.zeros_like(exact), own_exact=True)
    for r in range(4):
        own = seen[0, r].view(4, 5, 3)
        assert torch.equal(own[r], exact[0, r]) and own.count_nonzero() == own[r].count_nonzero()


def test_phases_are_thirds():
    assert [phase_of(s, 28) for s in (0, 9, 10, 18, 19, 27)] == [0, 0, 1, 1, 2, 2]


def test_assignments_round_trip():
    a = Assignment.of(["2bit", ["int4", "1bit", "raw"]], ["raw", "sparse(1:8)"])
    assert Assignment.from_json(a.to_json()) == a
    text = a.to_json(Rules(feedback=False))
    assert rules_of(text) == Rules(feedback=False) and rules_of(a.to_json()) == Rules() and Assignment.from_json(text) == a
    assert a.name("k", 1, 2) == "raw" and a.idle(0) is False
    with pytest.raises(ValueError, match="unknown compressor"):
        Assignment.of(["2bits"])


def test_a_constant_signal_is_learnt_with_feedback():
    channel = Channel(Rules())
    channel.send(torch.zeros(6, 8), None)
    x = torch.randn(6, 8, generator=torch.Generator().manual_seed(1)).half().float()
    errors = [float((channel.send(x, codec("1bit")) - x).norm()) for _ in range(12)]
    assert errors[-1] < 0.2 * errors[0]


def test_a_non_finite_activation_is_named(model):
    bad = DigitsDiT(TINY).eval().requires_grad_(False)
    bad.blocks[1].qkv.bias[70] = float("nan")
    with pytest.raises(NonFiniteActivation, match="step 0, layer 1, tensor v: element"):
        run(bad, PROMPTS, uniform("1bit"), Run(steps=STEPS))
