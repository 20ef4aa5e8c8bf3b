"""One device that plays N ranks: a compute queue that all share, and a copy stream each way to pinned host memory.

```text
compute  rank 0 linear | rank 1 linear | ... | rank 0 attention | rank 1 attention | wait | decode ...
down                     rank 0 -> host | rank 1 -> host | ...
up                                        host -> rank 1 | host -> rank 2 | ...
```
Guarantees: work runs in the order in which it is given; a message goes down when its sender's work before it is done,
and up when it is down; a host buffer is not written before its last reader has read it. Every span is timed on the
device by events around it (on a processor by the host's clock, where everything runs one after another).

Not modelled: ranks computing at the same time, links between devices other than the host's.
"""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass, field
from typing import Iterator, Optional, Sequence

import torch
from torch import Tensor


@dataclass
class Span:
    """One piece of work; start and end are CUDA events or nanoseconds of the host's clock."""

    device: int
    stream: str
    kind: str
    step: int
    layer: int
    bytes: int
    start: object
    end: object = None


@dataclass
class _Slot:
    """Pinned host memory of one message, and when its last reader is done."""

    tensors: list[Tensor]
    free: Optional[torch.cuda.Event] = None


@dataclass
class Machine:
    """The device, its queues, and what ran on them in this run."""

    device: torch.device
    graph: bool = False
    spans: list[Span] = field(default_factory=list)
    messages: list[tuple[int, int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.cuda = self.device.type == "cuda"
        self.rank = self.step = self.layer = 0
        self._down, self._up = (torch.cuda.Stream(self.device) for _ in range(2)) if self.cuda else (None, None)
        self._slots: dict[object, _Slot] = {}
        self._turns: dict[object, int] = {}
        self._buffers: dict[object, Tensor] = {}
        self._kept: list[object] = []
        self._boundary: object = None
        self._last_copies: list[torch.cuda.Event] = []

    def begin(self) -> None:
        """A new run: nothing is under way, no spans."""
        self.spans, self.messages, self._kept, self._last_copies, self._boundary = [], [], [], [], None
        for slot in self._slots.values():
            slot.free = None

    def at(self, rank: int, step: int, layer: int) -> None:
        """What follows is work of this rank, step and layer."""
        self.rank, self.step, self.layer = rank, step, layer

    @contextlib.contextmanager
    def mark(self, kind: str) -> Iterator[None]:
        """Times the compute queued inside as one span of class `kind`."""
        span = Span(self.rank, "compute", kind, self.step, self.layer, 0, self._boundary or self._stamp(None))
        self.spans.append(span)
        yield
        span.end = self._stamp(None)
        # The next span starts here unless something is waited for: an event on the device costs about a microsecond.
        self._boundary = span.end if self.cuda else None

    def buffer(self, key: object, like: Tensor) -> Tensor:
        """A device buffer of that name, shaped as `like`; the same one each time."""
        held = self._buffers.get(key)
        if held is None or held.shape != like.shape or held.dtype != like.dtype:
            held = self._buffers[key] = torch.empty_like(like, memory_format=torch.contiguous_format)
        return held

    def ready(self) -> Optional[torch.cuda.Event]:
        """A moment on the compute queue: everything given so far is done."""
        if not self.cuda:
            return None
        event = torch.cuda.Event()
        event.record()
        return event

    def send(self, target: int, tensors: Sequence[Tensor], name: object, ready: Optional[torch.cuda.Event]) -> "Arrival":
        """A message from the current rank to `target`, sent at `ready`; `name` tells messages under way apart."""
        into = [self.buffer((name, self.rank, target, i), x) for i, x in enumerate(tensors)]
        slot = self._slot(target, tensors)
        size = sum(x.numel() * x.element_size() for x in tensors)
        down = self._copy(self._down, self.rank, slot.tensors, tensors, size, [ready, slot.free])
        sent = len(self.spans) - 1
        up = self._copy(self._up, target, into, slot.tensors, size, [down])
        slot.free = up
        self.messages.append((sent, len(self.spans) - 1))
        if self.cuda:
            self._last_copies = [down, up]
        return Arrival(into, up)

    def wait(self, arrival: "Arrival") -> list[Tensor]:
        """What follows on the compute queue waits for a message; its tensors."""
        if arrival.event is not None:
            self._boundary = None
            torch.cuda.current_stream().wait_event(arrival.event)
        return arrival.tensors

    def join(self) -> None:
        """The compute queue waits for both copy streams: the run's end."""
        for event in self._last_copies:
            torch.cuda.current_stream().wait_event(event)

    def synchronize(self) -> None:
        if self.cuda:
            torch.cuda.synchronize(self.device)

    def rows(self) -> list[dict]:
        """The spans as rows of `timeline.json`, in the order given; the first start is 0. Call when all is done."""
        if not self.spans:
            return []
        origin = self.spans[0].start
        moments = [(self._since(origin, span.start), self._since(origin, span.end)) for span in self.spans]
        early = min(start for start, _ in moments)
        return [
            {
                "device": span.device, "stream": span.stream, "class": span.kind, "step": span.step, "layer": span.layer,
                "start_ps": start - early, "end_ps": max(start, end) - early, "bytes": span.bytes,
            }
            for span, (start, end) in zip(self.spans, moments)
        ]

    def _slot(self, target: int, tensors: Sequence[Tensor]) -> _Slot:
        """Host memory for a message to `target`: two slots in turn for each pair of ranks and size."""
        pair = (self.rank, target, *((x.shape, x.dtype) for x in tensors))
        self._turns[pair] = turn = 1 - self._turns.get(pair, 1)
        if (pair, turn) not in self._slots:
            self._slots[pair, turn] = _Slot([torch.empty(x.shape, dtype=x.dtype, pin_memory=torch.cuda.is_available()) for x in tensors])
        return self._slots[pair, turn]

    def _copy(self, stream: object, rank: int, to: Sequence[Tensor], source: Sequence[Tensor], size: int, after: Sequence) -> object:
        """Copies on a stream once `after` has happened; an event when it is done."""
        if not self.cuda:
            span = Span(rank, "communication", "communication", self.step, self.layer, size, self._stamp(None))
            for a, b in zip(to, source):
                a.copy_(b)
            span.end = self._stamp(None)
            self.spans.append(span)
            return None
        with torch.cuda.stream(stream):
            for event in after:
                if event is not None:
                    stream.wait_event(event)
            span = Span(rank, "communication", "communication", self.step, self.layer, size, self._stamp(stream))
            for a, b in zip(to, source):
                a.copy_(b, non_blocking=True)
                self._keep(b, stream)
            span.end = self._stamp(stream)
            self.spans.append(span)
            done = torch.cuda.Event()
            done.record(stream)
        return done

    def _keep(self, tensor: Tensor, stream: object) -> None:
        """The memory of a message is not used again before it is sent."""
        if self.graph:
            self._kept.append(tensor)
        elif tensor.is_cuda:
            tensor.record_stream(stream)

    def _stamp(self, stream: object) -> object:
        if not self.cuda:
            return time.perf_counter_ns()
        event = torch.cuda.Event(enable_timing=True, **({"external": True} if self.graph else {}))
        event.record(stream if stream is not None else torch.cuda.current_stream())
        return event

    def _since(self, origin: object, moment: object) -> int:
        """Picoseconds between two stamps."""
        if self.cuda:
            return round(origin.elapsed_time(moment) * 1e6) * 1000
        return (moment - origin) * 1000


@dataclass(frozen=True)
class Arrival:
    """A message under way: where it will be, and the event of its being there (None: it is)."""

    tensors: list[Tensor]
    event: Optional[torch.cuda.Event]
