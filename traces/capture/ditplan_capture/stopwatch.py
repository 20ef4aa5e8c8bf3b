"""How long work on a device takes: median of repeats, with CUDA events or the host's clock.

```text
host    sleep | start work work end | start work work end | ...        all queued while the device sleeps,
device        └ start work work end   start work work end                so that launching never shows
```
A sample is the time between two events over as many calls as fill `SAMPLE_US`. Inputs rotate over as many buffers as
exceed the second-level cache twice, so that a call finds nothing of the one before.

Not removed: the time of the events themselves, about a hundredth of a sample.
"""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass
from typing import Callable, Sequence

import torch

#: Device time of one sample that calls are gathered for [us].
SAMPLE_US = 100.0
#: Time spent on the repeats of a point [us], and their least and largest number.
POINT_US, LEAST, MOST = 120_000.0, 5, 60
#: Launches that the device's queue holds without the host waiting (1,024; events count too).
QUEUE = 800
#: Host time of one call of a small operation, generously [us].
HOST_CALL_US = 25.0


@dataclass(frozen=True)
class Timing:
    """Times of one call [us]."""

    median_us: float
    repeats: int
    p10_us: float
    p90_us: float

    def row(self) -> tuple[float, int, float, float]:
        """As the columns latency_us, repeats, p10_us, p90_us."""
        return self.median_us, self.repeats, self.p10_us, self.p90_us


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which `share` of the values lie, interpolated between neighbours."""
    ranked = sorted(values)
    at = share * (len(ranked) - 1)
    low = int(at)
    high = min(low + 1, len(ranked) - 1)
    return ranked[low] + (at - low) * (ranked[high] - ranked[low])


def timing(samples_us: Sequence[float]) -> Timing:
    """Median and spread of samples."""
    return Timing(statistics.median(samples_us), len(samples_us), percentile(samples_us, 0.1), percentile(samples_us, 0.9))


@dataclass(frozen=True)
class Stopwatch:
    """Times calls on `device`; `point_us` and `most` bound the repeats of a point."""

    device: torch.device
    point_us: float = POINT_US
    most: int = MOST

    def synchronize(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def buffers(self, bytes_of_one: int) -> int:
        """How many sets of inputs exceed the second-level cache twice; 16 at most, 2 on a processor."""
        if self.device.type != "cuda":
            return 2
        cache = getattr(torch.cuda.get_device_properties(self.device), "L2_cache_size", 64 << 20)
        return max(1, min(16, -(-2 * cache // max(1, bytes_of_one)) + 1))

    def time(self, call: Callable[[int], object]) -> Timing:
        """Times `call(i)`, i = 0, 1, ... choosing the inputs; the first calls are not counted."""
        for i in range(2):
            call(i)
        self.synchronize()
        one = self._once(call)
        if self.device.type == "cuda" and one < SAMPLE_US:
            one = self._events(call, 8, 1, one)[0]
        inner = max(1, min(QUEUE // 8, round(SAMPLE_US / max(one, 0.1)))) if one < SAMPLE_US else 1
        repeats = max(LEAST, min(self.most, int(self.point_us / (one * inner))))
        if one > self.point_us:
            repeats = 3
        if self.device.type == "cuda":
            return timing(self._events(call, inner, repeats, one))
        return timing([self._once(call, inner) for _ in range(repeats)])

    def _once(self, call: Callable[[int], object], inner: int = 1) -> float:
        """Host time of `inner` calls, until the device has done them, for one [us]."""
        self.synchronize()
        began = time.perf_counter_ns()
        for i in range(inner):
            call(i)
        self.synchronize()
        return (time.perf_counter_ns() - began) / 1000 / inner

    def _events(self, call: Callable[[int], object], inner: int, repeats: int, one_us: float) -> list[float]:
        samples: list[float] = []
        at_once = max(1, min(repeats, QUEUE // (4 * inner)))
        number = 0
        while len(samples) < repeats:
            count = min(at_once, repeats - len(samples))
            pairs = [(torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)) for _ in range(count)]
            self.hold(HOST_CALL_US * inner * min(count, 1 + int(HOST_CALL_US * 20 / max(one_us, 1.0))))
            for start, end in pairs:
                start.record()
                for _ in range(inner):
                    call(number)
                    number += 1
                end.record()
            torch.cuda.synchronize(self.device)
            samples += [1000 * start.elapsed_time(end) / inner for start, end in pairs]
        return samples

    def hold(self, microseconds: float) -> None:
        """Keeps the current stream busy for about so long, so that the host gets ahead of it."""
        if self.device.type == "cuda":
            torch.cuda._sleep(int(min(microseconds, 100_000.0) * 2000))


def host_time(call: Callable[[], object], stopwatch: Stopwatch, repeats: int) -> Timing:
    """Times `call` by the host's clock, device work included: what launching costs shows here."""
    for _ in range(2):
        call()
    samples = []
    for _ in range(repeats):
        stopwatch.synchronize()
        began = time.perf_counter_ns()
        call()
        stopwatch.synchronize()
        samples.append((time.perf_counter_ns() - began) / 1000)
    return timing(samples)
