"""Times of whole blocks at a rank's share of the sequence, eager and compiled, as PyTorch users run them.

A rank of N has 1/N of the image rows, and of the text where N divides it; its attention sees all keys and values,
which are there already. Calls follow each other without pauses; where launching is slower than the device, that shows.
"""

from __future__ import annotations

import time
from typing import Callable, Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from .blocks import Hidden, Inputs, defaults, make_block, rope_table
from .model_shapes import Shape, share_of
from .stopwatch import Stopwatch, Timing, timing

RANKS = (1, 2, 4, 8)
#: Seconds and repeats of a point at most; calls in one repeat.
POINT_S, REPEATS, CALLS = 1.0, 12, 4
#: Compiling takes far longer than measuring: only these many models are compiled, the numbers of ranks FIRST before others.
COMPILED_MODELS, COMPILED_FIRST = 3, (1, 4)

Found = tuple[int, tuple, Callable[[], Sequence]]


def kinds(shape: Shape) -> tuple[str, ...]:
    """The distinct blocks of a model."""
    return {"flux": ("double", "single"), "sd3": ("joint",), "wan": ("cross",)}[shape.family]


def block_points(stopwatch: Stopwatch, shapes: Sequence[Shape], dtype: torch.dtype, compiled: bool) -> Iterator[Found]:
    """Eager blocks of the most important models first, compiled ones after them."""
    for place, shape in enumerate(shapes):
        for kind in kinds(shape):
            for ranks in RANKS:
                for mode in ["eager"] + (["compiled"] if compiled and place < COMPILED_MODELS else []):
                    def measure(shape=shape, kind=kind, mode=mode, ranks=ranks) -> Sequence:
                        return block_time(stopwatch, shape, kind, mode, ranks, dtype).row()

                    late = 0 if mode == "eager" else 2 if ranks in COMPILED_FIRST else 4
                    yield place // 3 + late, (shape.model, kind, mode, shape.batch, shape.image, shape.text, ranks), measure


def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Whatever attention PyTorch chooses."""
    return F.scaled_dot_product_attention(*(x.transpose(1, 2) for x in (q, k, v))).transpose(1, 2)


@torch.no_grad()
def block_time(stopwatch: Stopwatch, shape: Shape, kind: str, mode: str, ranks: int, dtype: torch.dtype) -> Timing:
    """Time of one block of `shape` on one rank of `ranks`."""
    with defaults(stopwatch.device, dtype):
        block = make_block(kind, shape).eval()
        call = _call(block, shape, kind, ranks)
    if mode == "compiled":
        torch._dynamo.reset()
        call = torch.compile(call, dynamic=False)
    return _running(stopwatch, call)


def _call(block: torch.nn.Module, shape: Shape, kind: str, ranks: int) -> Callable[[], Tensor]:
    """The block on random rows: own queries, and keys and values of the other ranks beside its own."""
    batch, image = shape.batch, share_of(shape.image, ranks)
    text = 0 if not shape.joint else shape.text // ranks if shape.text % ranks == 0 else shape.text
    cond = torch.randn(batch, shape.hidden) if kind != "cross" else torch.randn(batch, 6, shape.hidden)
    cos, sin = rope_table(shape, torch.empty(0).device)
    rope = (cos[: text + image], sin[: text + image])
    context = torch.randn(batch, shape.text, shape.context) if shape.context else None
    inputs = Inputs(cond, rope, context, attend)
    others = shape.attended - text - image
    far = torch.randn(2, batch, max(0, others), shape.heads, shape.head_dim)
    x, t = torch.randn(batch, image, shape.hidden), torch.randn(batch, text, shape.hidden)
    start = Hidden(torch.cat([t, x], 1), None, text) if kind == "single" else Hidden(x, t if shape.joint else None)

    def call() -> Tensor:
        q, k, v, saved = block.before(start, inputs)
        if others > 0:
            k, v = torch.cat([k, far[0]], 1), torch.cat([v, far[1]], 1)
        return block.after(attend(q, k, v), saved, inputs).image

    return call


def _running(stopwatch: Stopwatch, call: Callable[[], object]) -> Timing:
    """Host time of calls that follow each other, for one call."""
    for _ in range(3):
        call()
    samples, began = [], time.monotonic()
    while len(samples) < 3 or (len(samples) < REPEATS and time.monotonic() - began < POINT_S):
        samples.append(stopwatch._once(lambda _: call(), CALLS))
    return timing(samples)
