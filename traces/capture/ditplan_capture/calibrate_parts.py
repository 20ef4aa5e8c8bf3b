"""What `calibrate` measures: for each part its file, its columns, and its points in order of importance."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Callable, Iterator, Sequence

import torch

from . import measured_ops as ops
from .block_times import block_points
from .machine_profile import software_name
from .measured_copies import COPIES, INTERFERENCE, copy_points, interference_points
from .model_shapes import SHAPES, TOY, Shape, attentions, ordered, products
from .point_file import TIMES
from .stopwatch import Stopwatch, host_time

#: Columns of the tables: the machine, the software, the number format, the kernel.
TABLE = ("system", "software", "dtype", "kernel")
LAUNCH_COUNTS = (1000, 100, 10, 1)


@dataclass(frozen=True)
class Point:
    """One thing to measure; `measure` gives the columns after the key. Tier 0 is most important."""

    part: str
    tier: int
    key: tuple
    measure: Callable[[], Sequence]
    words: str


@dataclass(frozen=True)
class Part:
    """A part of the calibration: its file and columns."""

    name: str
    file: str
    key: tuple[str, ...]
    rest: tuple[str, ...] = TIMES


#: In the order in which points of equal importance are measured.
PARTS = (
    Part("attention", "attention.csv", (*TABLE, "causal", "batch", "seq_len", "heads", "head_dim")),
    Part("rectangular", "attention_rectangular.csv", (*TABLE, "causal", "batch", "query_len", "key_len", "heads", "head_dim")),
    Part("gemm", "gemm.csv", (*TABLE, "m", "n", "k")),
    Part("copies", "copies.csv", COPIES),
    Part("blocks", "blocks.csv", ("model", "block", "mode", "batch", "tokens", "text_tokens", "ranks")),
    Part("memory", "memory.csv", ("op", "dtype", "rows", "columns"), ("bytes", *TIMES)),
    Part("launch", "launch.csv", ("mode", "kernels")),
    Part("interference", "interference.csv", INTERFERENCE),
)
#: Parts that a name on the command line stands for.
GROUPS = {"attention": ("attention", "rectangular")}


@dataclass(frozen=True)
class Setting:
    """Where and how points are measured."""

    stopwatch: Stopwatch
    system: str
    toy: bool
    compiled: bool

    @property
    def dtype(self) -> torch.dtype:
        """bfloat16, as users run; float32 for trying out on a processor, where half types are emulated."""
        return torch.float32 if self.toy and self.stopwatch.device.type == "cpu" else torch.bfloat16

    @property
    def dtype_name(self) -> str:
        return str(self.dtype).removeprefix("torch.")

    @property
    def shapes(self) -> tuple[Shape, ...]:
        return TOY if self.toy else SHAPES

    def table(self, kernel: str) -> tuple[str, str, str, str]:
        return self.system, software_name(), self.dtype_name, kernel


def points(setting: Setting, wanted: Sequence[str]) -> list[Point]:
    """All points of the wanted parts, tier by tier, parts in turn within a tier."""
    sources = {
        "attention": _attention, "rectangular": _rectangular, "gemm": _gemm, "copies": _copies,
        "blocks": _blocks, "memory": _memory, "launch": _launch, "interference": _interference,
    }
    order = {part.name: place for place, part in enumerate(PARTS)}
    found = [point for name in wanted for point in sources[name](setting)]
    return sorted(found, key=lambda point: (point.tier, order[point.part]))


def _attention(setting: Setting) -> Iterator[Point]:
    for tier, batch, heads, queries, keys, head_dim in ordered(attentions(setting.shapes)):
        if queries == keys:
            for place, kernel in enumerate(ops.attention_kernels(setting.stopwatch.device)):
                key = (*setting.table(kernel), False, batch, queries, heads, head_dim)
                yield _call(setting, "attention", tier + place, key, kernel, batch, heads, queries, keys, head_dim)


def _rectangular(setting: Setting) -> Iterator[Point]:
    for tier, batch, heads, queries, keys, head_dim in ordered(attentions(setting.shapes)):
        if queries != keys:
            for place, kernel in enumerate(ops.attention_kernels(setting.stopwatch.device)):
                key = (*setting.table(kernel), False, batch, queries, keys, heads, head_dim)
                yield _call(setting, "rectangular", tier + place, key, kernel, batch, heads, queries, keys, head_dim)


def _call(setting: Setting, part: str, tier: int, key: tuple, kernel: str, *shape: int) -> Point:
    def measure() -> Sequence:
        return ops.attention(setting.stopwatch, kernel, setting.dtype, *shape).row()

    batch, heads, queries, keys, head_dim = shape
    return Point(part, tier, key, measure, f"{kernel} {batch}x{heads} heads of {head_dim}, {queries} queries, {keys} keys")


def _gemm(setting: Setting) -> Iterator[Point]:
    for tier, m, n, k in ordered(products(setting.shapes)):
        def measure(m=m, n=n, k=k) -> Sequence:
            return ops.gemm(setting.stopwatch, setting.dtype, m, n, k).row()

        yield Point("gemm", tier, (*setting.table("torch_linear"), m, n, k), measure, f"product {m} x {n} x {k}")


def _memory(setting: Setting) -> Iterator[Point]:
    sizes = [(48, 64), (64, 64)] if setting.toy else [
        (4608, 3072), (576, 3072), (32760, 5120), (4096, 1536), (118800, 3072), (16384, 1152), (1152, 3072), (4608, 12288),
    ]
    for place, (rows, columns) in enumerate(sizes):
        for op in ops.MEMORY_OPS:
            def measure(op=op, rows=rows, columns=columns) -> Sequence:
                moved, timing = ops.memory(setting.stopwatch, op, setting.dtype, rows, columns)
                return moved, *timing.row()

            yield Point("memory", place // 3, (op, setting.dtype_name, rows, columns), measure, f"{op} of {rows} x {columns}")


def _launch(setting: Setting) -> Iterator[Point]:
    modes = ["eager"] + (["graph"] if setting.stopwatch.device.type == "cuda" else [])
    modes += ["compiled"] if setting.compiled else []
    for tier, mode in enumerate(modes):
        for kernels in [n for n in LAUNCH_COUNTS if mode != "compiled" or n <= 100]:
            def measure(mode=mode, kernels=kernels) -> Sequence:
                return host_time(ops.chain(setting.stopwatch.device, mode, kernels), setting.stopwatch, 20).row()

            yield Point("launch", 3 if mode == "compiled" else min(tier, 1), (mode, kernels), measure, f"{kernels} tiny kernels, {mode}")


def _copies(setting: Setting) -> Iterator[Point]:
    for tier, key, measure in copy_points(setting.stopwatch, setting.toy):
        yield Point("copies", tier, key, measure, f"copy {key[0]}, {key[2]} bytes")


def _interference(setting: Setting) -> Iterator[Point]:
    for tier, key, measure in interference_points(setting.stopwatch, setting.toy, setting.dtype):
        yield Point("interference", tier, key, measure, f"{key[0]} beside copies: {key[1]}")


def _blocks(setting: Setting) -> Iterator[Point]:
    for tier, key, measure in block_points(setting.stopwatch, setting.shapes, setting.dtype, setting.compiled):
        yield Point("blocks", tier, key, measure, f"{key[0]} {key[1]} block, {key[2]}, 1/{key[6]} of the sequence")
