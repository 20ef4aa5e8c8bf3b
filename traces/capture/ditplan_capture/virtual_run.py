"""A run of virtual ranks: every step and block of a stack under a plan, its result against one rank's.

Layer 0 of a span is the embedding, 1 to K are the blocks, K + 1 is the output (of a pipeline: the layer is the stage).
"""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass, field
from typing import Callable, Optional

import torch
from torch import Tensor

from .blocks import Hidden, Inputs
from .virtual_exchange import Exchange
from .virtual_machine import Machine
from .virtual_pipeline import Pipeline
from .virtual_plan import Plan, read_plan
from .wire_codec import WireCodec

#: How far an exact strategy may be from one rank: rounding, gathered over blocks and steps, by type.
ROUNDING = {torch.float32: 2e-5, torch.bfloat16: 3e-2, torch.float16: 5e-3}


@dataclass
class Result:
    """What repeats of a run gave."""

    latent: Tensor
    makespan_us: list[float] = field(default_factory=list)
    host_issue_us: list[float] = field(default_factory=list)
    classes_us: dict[str, list[float]] = field(default_factory=dict)
    exposed_us: list[float] = field(default_factory=list)
    timelines: list[tuple[list[dict], list[tuple[int, int]]]] = field(default_factory=list)

    def median_timeline(self) -> tuple[list[dict], list[tuple[int, int]]]:
        """Spans and messages of the repeat whose makespan is the median."""
        middle = statistics.median_low(self.makespan_us)
        return self.timelines[self.makespan_us.index(middle)]


class Shares:
    """Which rows each of N ranks has: 1/N of the image, and of the text where N divides it (else all of it)."""

    def __init__(self, stack: torch.nn.Module, ranks: int) -> None:
        image, text = stack.shape.image, stack.text_rows
        if image % ranks:
            raise ValueError(f"{image} image tokens are not cut over {ranks} ranks; give --tokens that {ranks} divides")
        self.ranks, self.rows = ranks, image // ranks
        self.text_sent = text % ranks == 0
        self.text_rows = text // ranks if self.text_sent else text

    @property
    def whole_text(self) -> int:
        """Text rows that every rank has and none sends."""
        return 0 if self.text_sent else self.text_rows

    def image(self, rank: int) -> slice:
        return slice(rank * self.rows, (rank + 1) * self.rows)

    def text(self, rank: int) -> slice:
        return slice(rank * self.text_rows, (rank + 1) * self.text_rows) if self.text_sent else slice(0, None)


def sequence(machine: Machine, stack: torch.nn.Module, plan: Plan, steps: int, codec: Optional[WireCodec], kernel: str) -> Tensor:
    """All steps of ranks that share the sequence; the final latent."""
    shares = Shares(stack, plan.ranks)
    if plan.strategy == "ulysses" and stack.shape.heads % plan.ranks:
        raise ValueError(f"plan `{plan.line}`: {stack.shape.heads} heads are not cut over {plan.ranks} ranks")
    exchange = Exchange(machine, plan, kernel, shares.whole_text, codec)
    ranks = range(plan.ranks)
    z = [stack.noise[:, shares.image(rank)].contiguous() for rank in ranks]
    text = [None if stack.text is None else stack.text[:, shares.text(rank)] for rank in ranks]
    for step in range(steps):
        inputs = [stack.inputs(step, shares.text(rank), shares.image(rank), machine.mark) for rank in ranks]
        hidden = []
        for rank in ranks:
            machine.at(rank, step, 0)
            with machine.mark("linear"):
                hidden.append(stack.start(z[rank], text[rank], step))
        for index, block in enumerate(stack.blocks):
            hidden = one_block(machine, exchange, block, (step, index + 1), hidden, inputs)
        for rank in ranks:
            machine.at(rank, step, len(stack.blocks) + 1)
            with machine.mark("linear"):
                z[rank] = stack.finish(hidden[rank], z[rank], step)
    return torch.cat(z, dim=1)


def one_block(
    machine: Machine, exchange: Exchange, block: torch.nn.Module, spot: tuple[int, int], hidden: list[Hidden], inputs: list[Inputs]
) -> list[Hidden]:
    """A block on every rank: before, the exchange with attention, after."""
    step, layer = spot
    triples, saved = [], []
    for rank, h in enumerate(hidden):
        machine.at(rank, step, layer)
        *triple, kept = block.before(h, inputs[rank])
        triples.append(tuple(triple))
        saved.append(kept)
    outs = exchange.attended(step, layer, triples)
    result = []
    for rank, out in enumerate(outs):
        machine.at(rank, step, layer)
        result.append(block.after(out, saved[rank], inputs[rank]))
    return result


@torch.no_grad()
def execute(machine: Machine, stack: torch.nn.Module, plan: Plan, steps: int, codec: Optional[WireCodec] = None) -> Tensor:
    """One run; the final latent [samples, image tokens, channels]."""
    if plan.strategy == "pipefusion":
        return Pipeline(machine, stack, plan).run(steps)
    return sequence(machine, stack, plan, steps, codec, stack.kernel)


def repeated(machine: Machine, stack: torch.nn.Module, plan: Plan, steps: int, codec: Optional[WireCodec], repeats: int) -> Result:
    """`repeats` timed runs after one that is not timed."""
    run: Callable[[], Tensor] = lambda: execute(machine, stack, plan, steps, codec)  # noqa: E731
    machine.begin()
    result = Result(run())
    machine.synchronize()
    if machine.graph:
        run = _captured(machine, run)
    for _ in range(repeats):
        if not machine.graph:
            machine.begin()
        machine.synchronize()
        began = time.perf_counter_ns()
        run()
        if not machine.graph:
            machine.join()
        issued = (time.perf_counter_ns() - began) / 1000
        machine.synchronize()
        _add(result, machine, issued)
    return result


def _captured(machine: Machine, run: Callable[[], Tensor]) -> Callable[[], object]:
    """The run as a CUDA graph: nothing is launched by the host while it runs."""
    machine.begin()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        run()
        machine.join()
    return graph.replay


def _add(result: Result, machine: Machine, issued_us: float) -> None:
    rows = machine.rows()
    result.makespan_us.append(max(row["end_ps"] for row in rows) / 1e6)
    result.host_issue_us.append(issued_us)
    sums: dict[str, float] = {}
    for row in rows:
        sums[row["class"]] = sums.get(row["class"], 0.0) + (row["end_ps"] - row["start_ps"]) / 1e6
    for kind in sums:
        result.classes_us.setdefault(kind, []).append(sums[kind])
    result.exposed_us.append(exposed_us(rows))
    result.timelines.append((rows, list(machine.messages)))


def exposed_us(rows: list[dict]) -> float:
    """Time in which a copy runs and no compute does, microseconds."""
    compute = _union([(r["start_ps"], r["end_ps"]) for r in rows if r["stream"] == "compute"])
    both = _union([(r["start_ps"], r["end_ps"]) for r in rows])
    copies = _union([(r["start_ps"], r["end_ps"]) for r in rows if r["stream"] == "communication"])
    if not copies:
        return 0.0
    return (_length(both) - _length(compute)) / 1e6


def _union(spans: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """The same time in disjoint intervals."""
    merged: list[tuple[int, int]] = []
    for start, end in sorted(spans):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged


def _length(spans: list[tuple[int, int]]) -> int:
    return sum(end - start for start, end in spans)


def relative_error(x: Tensor, reference: Tensor) -> float:
    """||x - reference|| / ||reference||."""
    difference = (x.double() - reference.double()).norm()
    return float(difference / reference.double().norm())


def numerics(plan: Plan, latent: Tensor, reference: Tensor) -> dict:
    """The result against one rank's: what was expected, and whether it came."""
    error = relative_error(latent, reference)
    tolerance = ROUNDING[latent.dtype] if plan.exact else None
    finite = bool(torch.isfinite(latent).all())
    expected = "rounding" if plan.exact else "stale" if plan.stale else "lossy"
    return {
        "relative_error": error, "expected": expected, "tolerance": tolerance, "finite": finite,
        "ok": finite and (tolerance is None or error <= tolerance),
    }


def one_rank(machine: Machine, stack: torch.nn.Module, steps: int) -> Tensor:
    """The result of one rank without any exchange."""
    machine.begin()
    return execute(machine, stack, read_plan("none"), steps)
