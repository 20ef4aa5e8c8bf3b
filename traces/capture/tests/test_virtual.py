"""Virtual ranks: exact strategies agree with one rank, lossy and stale ones do not, timelines are ditplan's."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch

from ditplan_capture import virtual
from ditplan_capture.attention_parts import finish, first, merge, with_lse
from ditplan_capture.codecs import codec
from ditplan_capture.dit import Config, DigitsDiT
from ditplan_capture.message_layout import from_message, to_message
from ditplan_capture.model_shapes import TOY
from ditplan_capture.residual import Channel, Rules
from ditplan_capture.train_digits import write_weights
from ditplan_capture.virtual_campaign import CASES, directory, possible, runs
from ditplan_capture.virtual_machine import Machine
from ditplan_capture.virtual_model import DigitsStack, Stack
from ditplan_capture.virtual_pipeline import blocks_by_stage, slots
from ditplan_capture.virtual_plan import read_plan
from ditplan_capture.virtual_run import execute, exposed_us, one_rank, relative_error
from ditplan_capture.wire_codec import TorchWire

CPU = torch.device("cpu")
NAMES = ("1bit", "2bit", "2bit-fitted", "int8", "int4", "fp8", "sparse(1:8)", "sparse(1:2)", "lowrank(3)", "lowrank-int4(3)")
SHAPES = {
    "flux": replace(TOY[0], heads=8, head_dim=8), "wan": replace(TOY[1], heads=8, head_dim=8),
    "sd3": replace(TOY[0], family="sd3", heads=8, head_dim=8, text=5, batch=2),
}


def stack(name: str, blocks: int = 3, steps: int = 3) -> Stack:
    return Stack(SHAPES[name], blocks, steps, CPU, torch.float32, "flash")


def result(model: torch.nn.Module, line: str, steps: int = 3) -> tuple[float, Machine]:
    """Relative error of a plan against one rank, and the machine after it."""
    plan, machine = read_plan(line), Machine(CPU)
    wire = TorchWire(plan.compressor) if plan.lossy else None
    return relative_error(execute(machine, model, plan, steps, wire), one_rank(Machine(CPU), model, steps)), machine


@pytest.mark.parametrize("line", ["ring", "allgather-kv", "ulysses"])
@pytest.mark.parametrize("ranks", [2, 4, 8])
@pytest.mark.parametrize("model", list(SHAPES))
def test_exact_strategies_agree_with_one_rank(model, ranks, line):
    error, _ = result(stack(model, blocks=2, steps=2), f"{line}{ranks}", 2)
    assert error < 2e-6


@pytest.mark.parametrize("line", ["distrifusion4 warmup=2", "pipefusion3(m4) warmup=3", "pipefusion2 warmup=3"])
@pytest.mark.parametrize("model", list(SHAPES))
def test_stale_strategies_are_exact_in_warm_up_and_only_there(model, line):
    own = stack(model, steps=6)
    assert result(own, line, 3)[0] < 2e-6
    assert 1e-5 < result(own, line, 6)[0] < 0.5


def test_fewer_bits_are_further_from_the_truth():
    own = stack("flux")
    errors = [result(own, f"ring4/{name}")[0] for name in ("1bit", "2bit", "int4", "int8")]
    assert errors == sorted(errors, reverse=True) and errors[-1] > 0
    assert result(own, "ring4/1bit warmup=3")[0] < 2e-6, "warm-up is raw"
    assert result(own, "allgather-kv4/2bit")[0] > result(own, "ring4/2bit")[0], "a gather's own shard is lossy too"


@pytest.mark.parametrize("line", ["ring2", "ulysses2", "allgather-kv4", "pipefusion2 warmup=2", "distrifusion2 warmup=1"])
def test_the_trained_models_blocks_are_cut_exactly(line):
    torch.manual_seed(0)
    model = DigitsDiT(Config(layers=2, hidden=32, heads=2, pixels=8, text_tokens=4) if "4" not in line else Config(layers=2, hidden=64, heads=4, pixels=8))
    for p in model.parameters():
        torch.nn.init.normal_(p, std=0.15) if p.dim() > 1 else None
    own = DigitsStack(model.eval().requires_grad_(False), [1, 2], 2, CPU, torch.float32, "flash")
    assert result(own, line, 2)[0] < 2e-6


def test_a_stack_of_the_trained_model_is_the_model():
    from ditplan_capture.closed_loop import Prompts, sample
    from ditplan_capture.dit import plain_attention

    torch.manual_seed(0)
    model = DigitsDiT(Config(layers=2, hidden=32, heads=2, pixels=8, text_tokens=4))
    for p in model.parameters():
        torch.nn.init.normal_(p, std=0.15) if p.dim() > 1 else None
    model = model.eval().requires_grad_(False)
    prompts = Prompts("x", (3,), (11,))
    picture = sample(model, prompts, 4, plain_attention)
    own = DigitsStack(model, [3], 4, CPU, torch.float32, "flash", seed=11)
    rows = torch.nn.functional.pixel_unshuffle(picture, 2).flatten(2).transpose(1, 2)
    assert relative_error(one_rank(Machine(CPU), own, 4), rows) < 1e-5


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("rows, channels", [(8, 64), (7, 70), (1, 3)])
def test_messages_are_the_bytes_of_the_wire(name, rows, channels):
    r = torch.randn(rows, channels, generator=torch.Generator().manual_seed(rows))
    one = codec(name)
    parts, message = one.encode(r), torch.empty(one.message_bytes(rows, channels), dtype=torch.uint8)
    to_message(one, parts, message, rows, channels)
    assert message.numpy().tobytes() == one.wire(parts)
    back = one.decode(from_message(one, message, rows, channels), rows, channels)
    assert torch.equal(back, one.decode(parts, rows, channels))


@pytest.mark.parametrize("name", ["1bit", "2bit-fitted", "int4"])
def test_wires_follow_the_residual_protocol(name):
    torch.manual_seed(3)
    wire, channel = TorchWire(name), Channel(Rules())
    x = torch.randn(6, 64)
    sender, receiver = x.half(), x.half()
    channel.send(x, None)
    for _ in range(3):
        x = x + 0.1 * torch.randn(6, 64)
        wire.decode(wire.encode(x, sender), receiver)
        assert torch.equal(sender, receiver) and torch.equal(receiver.float(), channel.send(x, codec(name)))


def test_parts_of_attention_merge_to_the_whole():
    q, k, v = (torch.randn(2, rows, 3, 16) for rows in (5, 12, 12))
    total = first(with_lse(q, k[:, :3], v[:, :3], "flash"))
    for cut in (slice(3, 4), slice(4, 12)):
        total = merge(total, with_lse(q, k[:, cut], v[:, cut], "math"))
    assert torch.allclose(finish(total, torch.float32), with_lse(q, k, v, "math")[0].transpose(1, 2), atol=1e-6)


def test_stages_hold_consecutive_blocks():
    assert blocks_by_stage(6, 4) == [range(0, 2), range(2, 4), range(4, 5), range(5, 6)]
    assert blocks_by_stage(7, 3) == [range(0, 3), range(3, 6), range(6, 7)]


@pytest.mark.parametrize("stages, patches", [(2, 2), (4, 4), (4, 8), (4, 2), (3, 1)])
def test_pipelines_wait_only_for_what_was_sent(stages, patches):
    order = slots(stages, patches, 3)
    place = {key: at for at, key in enumerate(order)}
    assert len(order) == 3 * stages * patches == len(place)
    for stage, step, patch in order:
        if stage:
            assert place[stage - 1, step, patch] < place[stage, step, patch]
        elif step:
            assert place[stages - 1, step - 1, patch] < place[stage, step, patch]


@pytest.mark.parametrize("line, messages", [("ring4", 3 * 4), ("allgather-kv4", 4 * 3), ("ulysses4", 2 * 4 * 3)])
def test_messages_carry_the_bytes_of_the_closed_form(line, messages):
    own = stack("flux", blocks=1, steps=1)
    _, machine = result(own, line, 1)
    assert len(machine.messages) == messages
    sent = sum(machine.spans[sender].bytes for sender, _ in machine.messages)
    shard = 2 * (own.shape.attended // 4) * own.shape.hidden * 4
    whole = {"ring4": messages * shard, "allgather-kv4": messages * shard, "ulysses4": 12 * (shard * 3 // 2 + shard // 2) // 4}
    assert sent == whole[line]
    assert sent == sum(machine.spans[receiver].bytes for _, receiver in machine.messages)


def test_a_message_of_a_lossy_step_has_its_wires_bytes():
    own = stack("wan", blocks=1, steps=2)
    _, machine = result(own, "ring2/1bit", 2)
    sizes = {machine.spans[sender].step: machine.spans[sender].bytes for sender, _ in machine.messages}
    assert sizes == {0: 2 * 24 * 64 * 4, 1: 2 * codec("1bit").message_bytes(24, 64)}


def test_the_timeline_is_what_the_rust_reader_takes(tmp_path):
    virtual_run("--model", "toy", "--plan", "ring2/1bit", "--blocks", 2, "--steps", 2, "--repeats", 3, "--out", tmp_path)
    file, plan = (json.loads((tmp_path / name).read_text()) for name in ("timeline.json", "plan.json"))
    assert list(file) == ["format", "version", "source", "provenance", "time_unit", "bytes_unit", "bandwidth_unit", "messages", "links", "spans"]
    assert (file["format"], file["version"], file["source"]) == ("ditplan-timeline", 1, "measured")
    spans = file["spans"]
    assert all(list(s) == ["device", "stream", "class", "step", "layer", "start_ps", "end_ps", "bytes"] for s in spans)
    assert all(type(value) is int for s in spans for key, value in s.items() if key not in ("stream", "class"))
    assert {s["stream"] for s in spans} == {"compute", "communication"}
    assert {s["class"] for s in spans} == {"linear", "attention", "elementwise", "encode", "decode", "communication"}
    assert min(s["start_ps"] for s in spans) == 0 and all(s["start_ps"] <= s["end_ps"] for s in spans)
    assert {s["layer"] for s in spans} == {0, 1, 2, 3} and {s["device"] for s in spans} == {0, 1}
    for sender, receiver in file["messages"]:
        assert spans[sender]["device"] != spans[receiver]["device"] and spans[receiver]["start_ps"] >= spans[sender]["start_ps"]
    assert set(plan) >= {"model", "blocks", "tokens", "text_tokens", "heads", "head_dim", "batch", "steps", "plan", "ranks", "repeats", "makespan_us", "numerics"}
    assert len(plan["makespan_us"]) == 3 and plan["numerics"]["expected"] == "lossy" and plan["codec"] == "torch"
    assert plan["machine"]["device"] == plan["machine"]["system"] == "cpu"
    assert max(s["end_ps"] for s in spans) / 1e6 == pytest.approx(sorted(plan["makespan_us"])[1])


def test_exposed_communication_is_where_nothing_computes():
    def row(stream: str, start: int, end: int) -> dict:
        return {"stream": stream, "start_ps": start * 10**6, "end_ps": end * 10**6}

    rows = [row("compute", 0, 10), row("communication", 5, 14), row("communication", 12, 16), row("compute", 15, 20)]
    assert exposed_us(rows) == 5.0
    assert exposed_us(rows[:1]) == 0.0


def virtual_run(*arguments: object) -> None:
    with pytest.raises(SystemExit) as ended:
        virtual.main(["--device", "cpu", *map(str, arguments)])
    assert ended.value.code == 0


@pytest.mark.parametrize("arguments, sentence", [
    (["--model", "toy", "--plan", "spiral4"], "virtual ranks execute one of none, ring"),
    (["--model", "toy", "--plan", "cfg2+ring2"], "virtual ranks execute one of"),
    (["--model", "toy", "--plan", "ring4/3bit"], "unknown compressor `3bit`"),
    (["--model", "toy", "--plan", "ulysses2/1bit"], "messages of ulysses are sent raw"),
    (["--model", "toy", "--plan", "ring4/1bit warmup=0"], "one step of warm-up at least"),
    (["--model", "toy", "--plan", "ring4 speed=2"], "`speed=2` is not a setting"),
    (["--model", "toy", "--plan", "ring5"], "not cut over 5 ranks"),
    (["--model", "toy", "--plan", "ulysses8"], "heads are not cut over 8 ranks"),
    (["--model", "toy", "--plan", "pipefusion8"], "blocks for 8 stages"),
    (["--model", "toy", "--plan", "pipefusion2(m5)"], "not cut in 5 patches"),
    (["--model", "toy", "--plan", "none", "--steps", "0"], "1 at least"),
    (["--model", "toy", "--plan", "none", "--graph"], "CUDA graphs need --device cuda"),
    (["--model", "toy", "--plan", "ring2/1bit", "--codec", "cuda"], "--codec cuda: "),
    (["--model", "dit-digits", "--plan", "none"], "give its weights"),
])
def test_wrong_arguments_are_one_sentence(tmp_path, capsys, arguments, sentence):
    with pytest.raises(SystemExit) as ended:
        virtual.main([*arguments, "--device", "cpu", "--out", str(tmp_path / "o")])
    error = capsys.readouterr().err
    assert ended.value.code == 2 and sentence in error and error.count("\n") == 1


def test_the_trained_model_runs_from_its_file(tmp_path):
    torch.manual_seed(1)
    write_weights(DigitsDiT(Config(layers=2, hidden=32, heads=2)), tmp_path / "m.safetensors")
    virtual_run("--model", "dit-digits", "--weights", tmp_path / "m.safetensors", "--plan", "ring2", "--steps", 2, "--repeats", 1, "--out", tmp_path / "o")


def test_the_campaign_has_sixty_runs_of_plan_and_shape():
    todo = [(case, plan) for case, plan in runs(CASES) if possible(case, plan)]
    assert len(todo) >= 60 and len({directory(case, plan) for case, plan in todo}) == len(todo)
    assert {read_plan(plan).ranks for _, plan in todo} == {1, 2, 4, 8}
