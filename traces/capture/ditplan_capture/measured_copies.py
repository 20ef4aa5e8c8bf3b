"""Copies between the device and the host, and what they do to compute that runs beside them.

Directions: `d2d`, `h2d`, `d2h`, and `both` (one stream each way at once; `bytes` each way, time until both are done).
On a processor all of them are copies in memory; such a profile says `cpu`.
"""

from __future__ import annotations

from typing import Callable, Iterator, Sequence

import torch
import torch.nn.functional as F

from .stopwatch import Stopwatch, Timing, timing

COPIES = ("direction", "pinned", "bytes")
INTERFERENCE = ("compute", "copy")
#: A measurement: tier, key, what gives the columns after it.
Found = tuple[int, tuple, Callable[[], Sequence]]

SIZES = (4 << 20, 16 << 20, 64 << 20, 1 << 20, 1 << 18, 1 << 16, 256 << 20, 4096)
TOY_SIZES = (1 << 16, 1 << 18)
#: Bytes of one background copy; many run one after another.
BACKGROUND = 64 << 20


class Lanes:
    """A stream for each way; on a processor work is done at once."""

    def __init__(self, device: torch.device) -> None:
        self.cuda = device.type == "cuda"
        self.down = torch.cuda.Stream(device) if self.cuda else None
        self.up = torch.cuda.Stream(device) if self.cuda else None

    def copy(self, lane: object, to: torch.Tensor, source: torch.Tensor) -> None:
        if lane is None:
            to.copy_(source)
            return
        with torch.cuda.stream(lane):
            to.copy_(source, non_blocking=True)


def _host(size: int, pinned: bool) -> torch.Tensor:
    return torch.randint(0, 255, (size,), dtype=torch.uint8, pin_memory=pinned and torch.cuda.is_available())


def copy_points(stopwatch: Stopwatch, toy: bool) -> Iterator[Found]:
    """Each direction at each size from pinned memory; pageable memory at two sizes."""
    for place, size in enumerate(TOY_SIZES if toy else SIZES):
        for direction in ("d2h", "h2d", "both", "d2d"):
            for pinned in (True, False) if direction in ("d2h", "h2d") and place < 2 else (True,):
                def measure(direction=direction, pinned=pinned, size=size) -> Sequence:
                    return measure_copy(stopwatch, direction, pinned, size).row()

                yield place // 3 + (not pinned), (direction, pinned, size), measure


def measure_copy(stopwatch: Stopwatch, direction: str, pinned: bool, size: int) -> Timing:
    """Time of one copy (or of one each way) of `size` bytes."""
    device, sets = stopwatch.device, 2
    on_device = [torch.randint(0, 255, (size,), dtype=torch.uint8, device=device) for _ in range(2 * sets)]
    hosts = [_host(size, pinned) for _ in range(2 * sets)] if direction != "d2d" else []

    def call(i: int) -> None:
        at = i % sets
        if direction == "d2d":
            on_device[at].copy_(on_device[sets + at])
        elif direction == "d2h":
            hosts[at].copy_(on_device[at], non_blocking=True)
        else:
            on_device[at].copy_(hosts[at], non_blocking=True)

    if direction != "both":
        return stopwatch.time(call)
    return _both(stopwatch, on_device, hosts)


def _both(stopwatch: Stopwatch, on_device: list, hosts: list, repeats: int = 20) -> Timing:
    lanes, samples = Lanes(stopwatch.device), []
    for repeat in range(repeats + 2):
        stopwatch.synchronize()
        lanes_done = _timed_both(stopwatch, lanes, on_device, hosts)
        if repeat >= 2:
            samples.append(lanes_done)
    return timing(samples)


def _timed_both(stopwatch: Stopwatch, lanes: Lanes, on_device: list, hosts: list) -> float:
    """Microseconds until a copy down and a copy up, started together, are both done."""
    if not lanes.cuda:
        return stopwatch._once(lambda _: (hosts[0].copy_(on_device[0]), on_device[1].copy_(hosts[1])))
    main = torch.cuda.current_stream()
    start = torch.cuda.Event(enable_timing=True)
    ends = [torch.cuda.Event(enable_timing=True) for _ in range(2)]
    stopwatch.hold(200.0)
    start.record()
    for lane in (lanes.down, lanes.up):
        lane.wait_event(start)
    lanes.copy(lanes.down, hosts[0], on_device[0])
    ends[0].record(lanes.down)
    lanes.copy(lanes.up, on_device[1], hosts[1])
    ends[1].record(lanes.up)
    main.wait_event(ends[0])
    main.wait_event(ends[1])
    stopwatch.synchronize()
    return 1000 * max(start.elapsed_time(end) for end in ends)


def interference_points(stopwatch: Stopwatch, toy: bool, dtype: torch.dtype) -> Iterator[Found]:
    """A product and an attention alone, and with copies beside them all the time."""
    for compute in ("gemm", "attention"):
        for copy in ("none", "h2d", "d2h", "both"):
            def measure(compute=compute, copy=copy) -> Sequence:
                return interference(stopwatch, compute, copy, toy, dtype).row()

            yield 1, (compute, copy), measure


def interference(stopwatch: Stopwatch, compute: str, copy: str, toy: bool, dtype: torch.dtype) -> Timing:
    """Time of a FLUX-sized product (4608 x 12288 x 3072) or attention (24 heads of 128, 4608 tokens) beside `copy`."""
    device, tokens = stopwatch.device, 48 if toy else 4608
    width, heads, head_dim = (64, 4, 16) if toy else (3072, 24, 128)
    if compute == "gemm":
        x, w = torch.randn(tokens, width, device=device, dtype=dtype), torch.randn(4 * width, width, device=device, dtype=dtype)
        call = lambda: F.linear(x, w)  # noqa: E731
    else:
        q, k, v = (torch.randn(1, heads, tokens, head_dim, device=device, dtype=dtype) for _ in range(3))
        call = lambda: F.scaled_dot_product_attention(q, k, v)  # noqa: E731
    size = 1 << 16 if toy else BACKGROUND
    down = (_host(size, True), torch.randint(0, 255, (size,), dtype=torch.uint8, device=device))
    up = (_host(size, True), torch.randint(0, 255, (size,), dtype=torch.uint8, device=device))
    lanes, samples = Lanes(device), []
    for repeat in range(12):
        stopwatch.synchronize()
        samples += _beside(stopwatch, lanes, call, copy, down, up)[: None if repeat >= 2 else 0]
    return timing(samples)


def _beside(stopwatch: Stopwatch, lanes: Lanes, call: Callable, copy: str, down: tuple, up: tuple, calls: int = 4) -> list[float]:
    """Microseconds of each of `calls` calls, background copies queued first so that they outlast them."""
    for _ in range(4 if lanes.cuda else 1):
        if copy in ("d2h", "both"):
            lanes.copy(lanes.down, *down)
        if copy in ("h2d", "both"):
            lanes.copy(lanes.up, up[1], up[0])
    if not lanes.cuda:
        return [stopwatch._once(lambda _: call())]
    events = [torch.cuda.Event(enable_timing=True) for _ in range(calls + 1)]
    stopwatch.hold(100.0)
    events[0].record()
    for event in events[1:]:
        call()
        event.record()
    stopwatch.synchronize()
    return [1000 * a.elapsed_time(b) for a, b in zip(events, events[1:])]
