"""The order of copy streams: a stand-in for CUDA's streams and events, whose times follow from what waits for what."""

from __future__ import annotations

import contextlib

import pytest
import torch
from test_virtual import stack

from ditplan_capture.virtual_machine import Machine
from ditplan_capture.virtual_plan import read_plan
from ditplan_capture.virtual_run import ROUNDING, execute, one_rank, relative_error, repeated
from ditplan_capture.wire_codec import TorchWire

CUDA = torch.device("cuda")


class Stream:
    """A queue whose clock moves by one microsecond with each event recorded on it, and by waiting."""

    def __init__(self, *_: object) -> None:
        self.now = 0

    def wait_event(self, event: "Event") -> None:
        self.now = max(self.now, event.at)


class Event:
    """A moment of a stream [us]."""

    def __init__(self, enable_timing: bool = False) -> None:
        self.at = 0

    def record(self, stream: Stream | None = None) -> None:
        stream = stream or torch.cuda.current_stream()
        stream.now += 1
        self.at = stream.now

    def elapsed_time(self, other: "Event") -> float:
        return (other.at - self.at) / 1000


@pytest.fixture
def streams(monkeypatch) -> None:
    compute = Stream()
    monkeypatch.setattr(torch.cuda, "Stream", Stream)
    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda *_: compute)
    monkeypatch.setattr(torch.cuda, "stream", lambda _: contextlib.nullcontext())
    monkeypatch.setattr(torch.cuda, "synchronize", lambda *_: None)


@pytest.mark.parametrize("line", ["ring4", "ring4/2bit", "allgather-kv4", "ulysses4", "distrifusion4", "pipefusion3(m4)"])
@pytest.mark.parametrize("model", ["flux", "wan"])
def test_messages_wait_for_their_data(streams, model, line):
    own, plan, machine = stack(model, steps=3), read_plan(line), Machine(CUDA)
    wire = TorchWire(plan.compressor) if plan.lossy else None
    result = repeated(machine, own, plan, 3, wire, repeats=2)
    rows = machine.rows()
    assert min(row["start_ps"] for row in rows) == 0
    for sender, receiver in machine.messages:
        down, up = rows[sender], rows[receiver]
        assert down["end_ps"] < up["start_ps"], "a message goes up when it is down"
        before = [r for r in rows[:sender] if r["stream"] == "compute" and r["device"] == down["device"]]
        assert before and before[-1]["end_ps"] < down["start_ps"], "sent when the work before it is done"
    assert len(result.makespan_us) == 2 and result.makespan_us[0] == pytest.approx(result.makespan_us[1])
    if plan.exact:
        assert relative_error(result.latent, one_rank(Machine(CUDA), own, 3)) < ROUNDING[torch.float32]


def test_a_host_buffer_waits_for_its_last_reader(streams):
    machine, x = Machine(CUDA), torch.zeros(4)
    for _ in range(3):
        machine.send(1, [x], "a", machine.ready())
    (_, first_up), (_, _), (third_down, _) = machine.messages
    rows = machine.rows()
    assert rows[third_down]["start_ps"] > rows[first_up]["end_ps"], "two slots in turn"


def test_compute_waits_for_what_it_reads(streams):
    machine, x = Machine(CUDA), torch.zeros(4)
    arrival = machine.send(1, [x], "a", machine.ready())
    machine.at(1, 0, 0)
    with machine.mark("attention"):
        pass
    machine.wait(arrival)
    with machine.mark("attention"):
        pass
    rows = machine.rows()
    assert rows[2]["start_ps"] < rows[1]["end_ps"] <= rows[3]["start_ps"]


@pytest.mark.parametrize("line, waits", [("allgather-kv4", True), ("distrifusion4", False)])
def test_attention_waits_for_this_steps_gather_unless_it_is_stale(streams, line, waits):
    machine = Machine(CUDA)
    execute(machine, stack("flux", steps=4), read_plan(line), 4)
    rows = machine.rows()
    here = {"step": 3, "layer": 2}
    arrivals = {receiver for _, receiver in machine.messages}
    late = []
    for rank in range(4):
        spot = [(at, r) for at, r in enumerate(rows) if r["device"] == rank and r.items() >= here.items()]
        arrived = max(r["end_ps"] for at, r in spot if at in arrivals)
        late.append(min(r["start_ps"] for _, r in spot if r["class"] == "attention") >= arrived)
    assert all(late) if waits else not all(late)


def test_short_calls_are_timed_by_many_at_once(streams, monkeypatch):
    from ditplan_capture.stopwatch import Stopwatch

    monkeypatch.setattr(torch.cuda, "_sleep", lambda cycles: None)
    calls = []

    def call(i: int) -> None:
        calls.append(i)
        torch.cuda.current_stream().now += 5

    timed = Stopwatch(CUDA).time(call)
    assert timed.median_us == pytest.approx(5.0, rel=0.03) and timed.repeats == 60
    assert calls[-1] > 60 * 10, "inputs rotate through all samples"
